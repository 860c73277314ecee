//! The transport as the consensus library sees it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    TransferLeaderResponse, VoteRequest, VoteResponse,
};

use crate::codec::{Answer, Request};
use crate::snapshot::SnapshotData;
use crate::transport::{Transport, TransportError};
use crate::types::{Member, RaftNodeId, Snapshot, TypeConfig, Vote};

/// Makes one [`Peer`] per target.
pub(crate) struct Network(pub(crate) Arc<dyn Transport>);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: RaftNodeId, node: &Member) -> Peer {
        Peer {
            transport: self.0.clone(),
            target,
            member: node.clone(),
        }
    }
}

pub(crate) struct Peer {
    transport: Arc<dyn Transport>,
    target: RaftNodeId,
    member: Member,
}

impl Peer {
    async fn call(
        &self,
        request: Request,
        limit: Duration,
    ) -> Result<Answer, RPCError<TypeConfig>> {
        let bytes = self
            .transport
            .call(self.target, &self.member, request.encode(), limit)
            .await
            .map_err(rpc_error)?;
        decode(bytes)
    }
}

fn decode(bytes: Bytes) -> Result<Answer, RPCError<TypeConfig>> {
    match Answer::decode(bytes) {
        Ok(Answer::Failed(text)) => Err(NetworkError::from_string(text).into()),
        Ok(answer) => Ok(answer),
        Err(err) => Err(NetworkError::new(&err).into()),
    }
}

fn rpc_error(err: TransportError) -> RPCError<TypeConfig> {
    match err {
        TransportError::Unreachable(_) => Unreachable::new(&err).into(),
        TransportError::Failed(_) => NetworkError::new(&err).into(),
    }
}

fn streaming_error(err: RPCError<TypeConfig>) -> StreamingError<TypeConfig> {
    match err {
        RPCError::Unreachable(err) => err.into(),
        RPCError::Network(err) => err.into(),
        RPCError::Timeout(err) => err.into(),
        RPCError::RemoteError(_) => NetworkError::from_string("remote error").into(),
    }
}

fn unexpected<T>() -> Result<T, RPCError<TypeConfig>> {
    Err(NetworkError::from_string("the peer answered another question").into())
}

impl RaftNetworkV2<TypeConfig> for Peer {
    type SnapshotData = SnapshotData;

    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Request::Append(rpc), option.soft_ttl()).await? {
            Answer::Append(response) => Ok(response),
            _ => unexpected(),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Request::Vote(rpc), option.soft_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => unexpected(),
        }
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Request::PreVote(rpc), option.soft_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            _ => unexpected(),
        }
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + Send + 'static,
        _option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let mut header = snapshot.snapshot.header.clone();
        header.vote = Some(vote);
        let body = snapshot.snapshot.stream();
        let sent = self
            .transport
            .send_snapshot(self.target, &self.member, header.encode(), body);
        let bytes = tokio::select! {
            biased;
            closed = cancel => return Err(closed.into()),
            answer = sent => answer.map_err(|err| streaming_error(rpc_error(err)))?,
        };
        match decode(bytes).map_err(streaming_error)? {
            Answer::Snapshot(response) => Ok(response),
            _ => unexpected().map_err(streaming_error),
        }
    }

    async fn transfer_leader(
        &mut self,
        req: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferLeaderResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(Request::Transfer(req), option.soft_ttl()).await? {
            Answer::Transfer(response) => Ok(response),
            _ => unexpected(),
        }
    }
}
