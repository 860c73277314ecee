//! The way to the other servers of the peer set, and what they ask of this one.
//!
//! Out: the messages of the consensus layer, sent to whoever has the identity they are for, at the address where the pool
//! says that it lives; a server that comes back elsewhere is found before the log knows. In: their messages, and what
//! servers ask one another before there is a log (`bootstrapping`).
//!
//! Only servers that the pool or the peer set knows are listened to. The connection below has made sure that the caller
//! meant this server and none that had its address before (`tribune_net::Peers`).

use std::collections::BTreeSet;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, ReadBuf};
use tracing::{debug, info, warn};
use tribune_net::{PeerError, PeerHandler, PeerId, Peers};
use tribune_raft::{
    Member, RaftNodeId, SnapshotStream, Transport, TransportError, TransportFuture,
};
use tribune_types::id::NodeId;

use crate::Server;
use crate::bootstrapping;
use crate::directory::Directory;

/// What a server is called towards its peers.
pub(crate) fn peer_id(id: NodeId) -> PeerId {
    PeerId(id.0)
}

/// Carries the messages of the consensus layer.
pub(crate) struct PeerTransport {
    peers: Peers,
    directory: Arc<Directory>,
    /// Servers that could not be reached the last time: said once.
    silent: Mutex<BTreeSet<RaftNodeId>>,
}

impl PeerTransport {
    pub(crate) fn new(peers: Peers, directory: Arc<Directory>) -> PeerTransport {
        PeerTransport {
            peers,
            directory,
            silent: Mutex::default(),
        }
    }

    /// Notes how a message fared.
    fn note(&self, target: RaftNodeId, addr: SocketAddr, outcome: Option<&PeerError>) {
        let mut silent = self.silent.lock();
        match outcome {
            None if silent.is_empty() => {}
            None => {
                if silent.remove(&target) {
                    info!(server = %target, %addr, "server can be reached again");
                }
            }
            // Late answers are nothing to speak of.
            Some(PeerError::Failed(_)) => {}
            Some(PeerError::Unreachable(why)) => {
                if silent.insert(target) {
                    warn!(server = %target, %addr, err = %why, "server cannot be reached");
                }
            }
        }
    }

    fn addr(&self, target: RaftNodeId, member: &Member) -> Result<SocketAddr, TransportError> {
        let found = self.directory.addr_of(target, &member.addr);
        found.ok_or_else(|| TransportError::Unreachable(format!("{:?} is no address", member.addr)))
    }
}

impl Transport for PeerTransport {
    fn call(
        &self,
        target: RaftNodeId,
        member: &Member,
        request: Bytes,
        limit: Duration,
    ) -> TransportFuture<'_> {
        let addr = self.addr(target, member);
        Box::pin(async move {
            let addr = addr?;
            let called = self.peers.call(peer_id(target), addr, request, limit).await;
            self.note(target, addr, called.as_ref().err());
            called.map_err(transport_error)
        })
    }

    fn send_snapshot(
        &self,
        target: RaftNodeId,
        member: &Member,
        header: Bytes,
        body: SnapshotStream,
    ) -> TransportFuture<'_> {
        let addr = self.addr(target, member);
        Box::pin(async move {
            let sent = self
                .peers
                .send_snapshot(peer_id(target), addr?, header, Body::new(body));
            sent.await.map_err(transport_error)
        })
    }
}

/// A snapshot to read from.
struct Body {
    stream: SnapshotStream,
    chunk: Bytes,
}

impl Body {
    fn new(stream: SnapshotStream) -> Body {
        Body {
            stream,
            chunk: Bytes::new(),
        }
    }
}

impl AsyncRead for Body {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let body = &mut *self;
        if body.chunk.is_empty() {
            body.chunk = body.stream.next_chunk()?.unwrap_or_default();
        }
        let count = body.chunk.len().min(buffer.remaining());
        buffer.put_slice(&body.chunk.split_to(count));
        Poll::Ready(Ok(()))
    }
}

fn transport_error(err: PeerError) -> TransportError {
    match err {
        PeerError::Unreachable(why) => TransportError::Unreachable(why),
        PeerError::Failed(why) => TransportError::Failed(why),
    }
}

/// Answers the other servers.
struct PeerService(Server);

impl PeerService {
    fn is_known(&self, id: NodeId) -> bool {
        let is_peer = || {
            let peers = self.0.raft().membership().peers;
            peers.iter().any(|peer| peer.id == id)
        };
        let known = self.0.directory().knows(id) || is_peer();
        if !known {
            debug!(peer = %id, "a server that neither the pool nor the peer set knows is not listened to");
        }
        known
    }
}

impl PeerHandler for PeerService {
    fn own_id(&self) -> PeerId {
        peer_id(self.0.options().id)
    }

    fn call<'a>(
        &'a self,
        from: PeerId,
        _: SocketAddr,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        let from = tribune_types::id::Uuid(from.0);
        Box::pin(async move {
            if !self.is_known(from) {
                // No answer of any message: the caller takes it for a failure.
                return Bytes::new();
            }
            match bootstrapping::answer(&self.0, from, &request) {
                Some(answer) => answer,
                None => self.0.raft().handle(request).await,
            }
        })
    }

    fn snapshot<'a>(
        &'a self,
        from: PeerId,
        header: Bytes,
        body: &'a mut (dyn AsyncRead + Send + Unpin),
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        let from = tribune_types::id::Uuid(from.0);
        Box::pin(async move {
            if !self.is_known(from) {
                return Bytes::new();
            }
            self.0.raft().handle_snapshot(header, body).await
        })
    }
}

impl Server {
    /// Serves the other servers of the peer set, for the server port.
    pub fn peer_handler(&self) -> Arc<dyn PeerHandler> {
        Arc::new(PeerService(self.clone()))
    }
}
