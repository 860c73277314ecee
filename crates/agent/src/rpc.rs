//! Calls that arrive on the server port, as calls on the handle (rpc.md sections 2, 5 and 7).
//!
//! In: a method and a body. Out: the body of the reply, or the text of an error in the words of the original, which
//! callers match. Waiting for a leader, guarantees and blocking happen behind the handle.
//!
//! On a server that does not lead, calls for the leader are passed on as they are, and its replies come back as they are;
//! the others are served here.
//!
//! A call for another datacenter is sent there as it is, before anything else of it is looked at, and what comes back is
//! the reply; an empty datacenter is none, except where the original does not look.

mod absent;
mod snapshot;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::mpsc;
use tribune_net::{CallFailure, CallResult, SnapshotReply};
use tribune_server::Origin;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::query::{Query, ReadOptions, Reply};
use tribune_types::text::Text;
use tribune_types::write::Write;
use tribune_wire::rpc::{self, Call, Envelope, Outline, ReplyForm, decode_call};

use crate::Handle;
use absent::{Absent, absent};

/// Why a call fails.
#[derive(Debug)]
enum Failure {
    /// Served, but refused or failed.
    Failed(String),
    /// Not understood; the stream ends, as callers expect.
    NotUnderstood(String),
}

impl From<RpcError> for Failure {
    fn from(err: RpcError) -> Failure {
        let err = match err {
            // Nothing was done: callers shall turn to another server, and these are the words they know.
            RpcError::ShuttingDown => RpcError::NoLeader,
            err => err,
        };
        Failure::Failed(err.to_string())
    }
}

impl From<rpc::Error> for Failure {
    fn from(err: rpc::Error) -> Failure {
        match err {
            rpc::Error::Decode(_) => Failure::NotUnderstood(err.to_string()),
            rpc::Error::Record(_) | rpc::Error::Refused(_) | rpc::Error::Mismatch(_) => {
                Failure::Failed(err.to_string())
            }
        }
    }
}

impl From<Absent> for Failure {
    fn from(absent: Absent) -> Failure {
        match absent {
            Absent::Off(text) => Failure::Failed(text.to_owned()),
            Absent::Unknown(text) => Failure::NotUnderstood(text),
        }
    }
}

/// Serves the calls of one agent.
pub(crate) struct RpcServer {
    handle: Handle,
    requests: metrics::Counter,
    errors: metrics::Counter,
}

impl RpcServer {
    pub(crate) fn new(handle: Handle) -> RpcServer {
        RpcServer {
            handle,
            requests: metrics::counter!("rpc.request"),
            errors: metrics::counter!("rpc.request_error"),
        }
    }

    async fn serve(
        &self,
        origin: Origin,
        peer: SocketAddr,
        method: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, Failure> {
        if let Some(reply) = self.abroad(method, body).await? {
            return Ok(reply);
        }
        if let Some(server) = self.handle.inner.cluster.server()
            && let Some(reply) = server.relay(origin, method, body).await?
        {
            return Ok(reply);
        }
        let Some(call) = decode_call(method, body)? else {
            return Err(absent(method).into());
        };
        let mut reply = Vec::new();
        match call {
            Call::Ping => reply.extend_from_slice(rpc::EMPTY),
            Call::Leader(envelope) => {
                let leader = { &self.handle.inner.cluster }
                    .status_leader(named(&envelope))
                    .await?;
                rpc::encode_text(&leader, &mut reply);
            }
            Call::Peers(envelope) => {
                let peers = { &self.handle.inner.cluster }
                    .status_peers(named(&envelope))
                    .await?;
                rpc::encode_texts(&peers, &mut reply);
            }
            Call::RaftStats => {
                let server = self.handle.inner.cluster.server();
                let server = server.ok_or(RpcError::NoServers)?;
                rpc::encode_server_stats(&server.stats(), &mut reply);
            }
            Call::ServerHealth(envelope) => {
                let dc = datacenter(&envelope)?;
                let caller = caller(&envelope, peer);
                let health = self.handle.operator_health_from(origin, &caller, Some(&dc));
                let health = health.await?;
                rpc::encode_server_health_reply(&health, &mut reply);
            }
            Call::Query {
                envelope,
                query,
                options,
            } => {
                self.read(peer, method, envelope, query, options, &mut reply)
                    .await?
            }
            Call::Write { envelope, write } => {
                self.write(origin, peer, &envelope, write, &mut reply)
                    .await?;
            }
            Call::ExecuteQuery {
                envelope,
                request,
                options,
            } => {
                let (caller, options) = reading(&envelope, peer, options)?;
                let cluster = &self.handle.inner.cluster;
                let executed = cluster.execute_query(&caller, &request, &options);
                rpc::encode_executed_query(&Box::pin(executed).await?, &mut reply);
            }
            Call::ExecuteQueryRemote {
                envelope,
                request,
                options,
            } => {
                let (caller, options) = reading(&envelope, peer, options)?;
                let executed = self
                    .handle
                    .execute_query_remote(&caller, &request, &options);
                rpc::encode_executed_query(&Box::pin(executed).await?, &mut reply);
            }
            Call::ExplainQuery {
                envelope,
                request,
                options,
            } => {
                let (caller, options) = reading(&envelope, peer, options)?;
                let cluster = &self.handle.inner.cluster;
                let explained = cluster.explain_query(&caller, &request, &options);
                rpc::encode_explained_query(&Box::pin(explained).await?, &mut reply);
            }
            Call::Answered {
                envelope,
                reply: known,
            } => {
                if *datacenter(&envelope)? != *self.handle.identity().datacenter {
                    return Err(RpcError::NoPath.into());
                }
                reply = known;
            }
            Call::EventFire(fire) => {
                let event = rpc::unpack_event(&fire.payload)
                    .map_err(|err| Failure::Failed(err.to_string()))?;
                let write = Write::EventFire(Box::new(event));
                self.write(origin, peer, &fire.envelope, write, &mut reply)
                    .await?;
            }
            Call::Keyring(call) => {
                // Servers of other datacenters send this on with the name of theirs: nobody looks at it.
                let caller = caller(&call.envelope, peer);
                let responses = self.handle.keyring(&caller, call.request).await?;
                rpc::encode_keyring_reply(&responses, &mut reply);
            }
        }
        Ok(reply)
    }

    /// Sends a call for another datacenter there; `None` if it is to be served here.
    async fn abroad(&self, method: &str, body: &[u8]) -> Result<Option<Vec<u8>>, RpcError> {
        if rpc::effect_abroad(method).is_none() {
            return Ok(None);
        }
        let outline = match Outline::of(body) {
            Ok(outline) if !outline.datacenter.is_empty() => outline,
            // What is wrong with it, the decoder can tell better.
            _ => return Ok(None),
        };
        let cluster = &self.handle.inner.cluster;
        let Some(remote) = cluster.abroad(Some(&outline.datacenter))? else {
            return Ok(None);
        };
        let deadline = remote.deadline(&outline);
        // Large, and not needed for most calls: kept out of their future.
        let relayed = async move { remote.relay(method, body, deadline).await };
        Box::pin(relayed).await.map(Some)
    }

    async fn read(
        &self,
        peer: SocketAddr,
        method: &str,
        envelope: Envelope,
        query: Query,
        options: ReadOptions,
        reply: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let options = ReadOptions {
            datacenter: match query {
                // Every server knows these; nobody is asked.
                Query::Datacenters | Query::DatacenterMaps => None,
                _ => Some(datacenter(&envelope)?),
            },
            // Agents judge the age of an answer, servers only tell it.
            max_stale: None,
            ..options
        };
        let caller = caller(&envelope, peer);
        let cluster = &self.handle.inner.cluster;
        let answer = cluster.read(&caller, query.clone(), &options).await?;
        let meta = &answer.meta;
        if matches!(answer.reply(), Reply::Kv(_) | Reply::Keys(_)) {
            // Every key has its own.
            rpc::encode_reply(method, &query, answer.reply(), meta, reply)?;
        } else {
            let encoded = answer.shared.encoded(method, meta, |data| {
                let mut out = Vec::new();
                rpc::encode_reply(method, &query, data, meta, &mut out).map(|()| out)
            })?;
            reply.extend_from_slice(&encoded);
        }
        Ok(())
    }

    async fn write(
        &self,
        origin: Origin,
        peer: SocketAddr,
        envelope: &Envelope,
        write: Write,
        reply: &mut Vec<u8>,
    ) -> Result<(), Failure> {
        let dc = datacenter(envelope)?;
        let form = ReplyForm::of(&write);
        let caller = caller(envelope, peer);
        let written = self.handle.write_from(origin, &caller, Some(&dc), write);
        let written = written.await?;
        rpc::encode_write_reply(form, &written, reply);
        Ok(())
    }
}

fn caller(envelope: &Envelope, peer: SocketAddr) -> Caller {
    Caller {
        token: envelope.token.clone(),
        addr: Some(peer.ip()),
    }
}

/// Who reads, and how. Agents judge the age of an answer, servers only tell it.
fn reading(
    envelope: &Envelope,
    peer: SocketAddr,
    options: ReadOptions,
) -> Result<(Caller, ReadOptions), RpcError> {
    let options = ReadOptions {
        datacenter: Some(datacenter(envelope)?),
        max_stale: None,
        ..options
    };
    Ok((caller(envelope, peer), options))
}

/// The datacenter a request is for.
fn datacenter(envelope: &Envelope) -> Result<Text, RpcError> {
    if envelope.datacenter.is_empty() {
        return Err(RpcError::NoPath);
    }
    Ok(envelope.datacenter.clone())
}

/// The datacenter of requests that mean ours if they name none.
fn named(envelope: &Envelope) -> Option<&str> {
    (!envelope.datacenter.is_empty()).then_some(&*envelope.datacenter)
}

impl RpcServer {
    async fn answer(
        &self,
        origin: Origin,
        peer: SocketAddr,
        method: &str,
        body: &[u8],
    ) -> CallResult {
        self.requests.increment(1);
        let served = self.serve(origin, peer, method, body).await;
        served.map_err(|failure| {
            self.errors.increment(1);
            match failure {
                Failure::Failed(text) => CallFailure::failed(text),
                Failure::NotUnderstood(text) => CallFailure::refused(text),
            }
        })
    }
}

impl tribune_net::Handler for RpcServer {
    fn call<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.answer(Origin::Asked, peer, method, body))
    }

    fn passed_on<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.answer(Origin::PassedOn, peer, method, body))
    }

    fn snapshot<'a>(
        &'a self,
        peer: SocketAddr,
        request: &'a [u8],
        archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        Box::pin(self.serve_snapshot(peer, request, archive))
    }
}
