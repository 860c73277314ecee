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
use tribune_rt::{Env, Stopwatch};

use crate::codec::{Answer, Request};
use crate::figures::PeerFigures;
use crate::leadership::Standing;
use crate::snapshot::SnapshotData;
use crate::transport::{Transport, TransportError};
use crate::types::{Member, RaftNodeId, Snapshot, TypeConfig, Vote};

/// Makes one [`Peer`] per target.
pub(crate) struct Network {
    pub(crate) env: Env,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) standing: Arc<Standing>,
    /// How long a peer has to store entries. The library's limit is the heartbeat's period, which a slow disk
    /// may need for a single sync.
    pub(crate) store_limit: Duration,
}

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = Peer;

    async fn new_client(&mut self, target: RaftNodeId, node: &Member) -> Peer {
        Peer {
            env: self.env.clone(),
            transport: self.transport.clone(),
            standing: self.standing.clone(),
            store_limit: self.store_limit,
            figures: PeerFigures::new(target),
            target,
            member: node.clone(),
        }
    }
}

pub(crate) struct Peer {
    env: Env,
    transport: Arc<dyn Transport>,
    standing: Arc<Standing>,
    store_limit: Duration,
    figures: PeerFigures,
    target: RaftNodeId,
    member: Member,
}

impl Peer {
    async fn call(
        &self,
        request: Request,
        limit: Duration,
    ) -> Result<Answer, RPCError<TypeConfig>> {
        let member = self.member();
        let call = { &self.transport }.call(self.target, &member, request.encode(), limit);
        decode(call.await.map_err(rpc_error)?)
    }

    /// How it is reached now: its address may have changed since this was made.
    fn member(&self) -> Member {
        let known = self.standing.member(self.target);
        known.unwrap_or_else(|| self.member.clone())
    }

    async fn ask_for_vote(
        &self,
        request: Request,
        option: &RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.call(request, option.soft_ttl()).await? {
            Answer::Vote(response) => Ok(response),
            Answer::Removed => {
                self.standing.set_removed(true);
                Err(NetworkError::from_string("this server was removed").into())
            }
            _ => unexpected(),
        }
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
        if let Some(committed) = &rpc.leader_commit {
            self.standing.tell_committed(committed.index);
        }
        let (timer, limit) = if rpc.entries.is_empty() {
            (&self.figures.heartbeat, option.soft_ttl())
        } else {
            self.figures.entries.increment(rpc.entries.len() as u64);
            let limit = option.soft_ttl().max(self.store_limit);
            (&self.figures.append, limit)
        };
        let _timed = Stopwatch::start(&self.env, timer);
        match self.call(Request::Append(rpc), limit).await? {
            Answer::Append(response) => Ok(response),
            _ => unexpected(),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(Request::Vote(rpc), &option).await
    }

    async fn pre_vote(
        &mut self,
        rpc: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_for_vote(Request::PreVote(rpc), &option).await
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
        let member = self.member();
        let sent = { &self.transport }.send_snapshot(self.target, &member, header.encode(), body);
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
        let term = req.from_leader().leader_id.term;
        self.standing.resign(term);
        // Whoever hears this may be elected at any time.
        self.standing.offer(term);
        match self.call(Request::Transfer(req), option.soft_ttl()).await? {
            Answer::Transfer(response) => Ok(response),
            _ => unexpected(),
        }
    }
}
