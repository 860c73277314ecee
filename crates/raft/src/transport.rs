//! How servers reach each other: bytes to a peer, bytes back.
//!
//! The messages are encoded here (`codec`), so a transport only moves them: it dials, frames,
//! encrypts. The receiving side passes what arrives to [`Raft::handle`](crate::Raft::handle) and
//! [`Raft::handle_snapshot`](crate::Raft::handle_snapshot) and sends back what they return.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::snapshot::SnapshotStream;
use crate::types::{Member, RaftNodeId};

/// A boxed answer of a [`Transport`].
pub type TransportFuture<'a> =
    Pin<Box<dyn Future<Output = Result<Bytes, TransportError>> + Send + 'a>>;

/// Why a peer gave no answer. It may still have acted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// There is no connection and none could be made; wait before the next attempt.
    #[error("peer is unreachable: {0}")]
    Unreachable(String),
    /// The connection broke, or the answer did not come in time.
    #[error("peer did not answer: {0}")]
    Failed(String),
}

/// Sends consensus messages to peers. Implementations are shared by all tasks.
pub trait Transport: Send + Sync + 'static {
    /// Sends one request and waits for its answer, up to `limit`.
    fn call(
        &self,
        target: RaftNodeId,
        member: &Member,
        request: Bytes,
        limit: Duration,
    ) -> TransportFuture<'_>;

    /// Sends a snapshot: a header, then the bytes of `body` to their end; waits for the answer.
    fn send_snapshot(
        &self,
        target: RaftNodeId,
        member: &Member,
        header: Bytes,
        body: SnapshotStream,
    ) -> TransportFuture<'_>;
}

/// The transport of a server without peers.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoPeers;

impl NoPeers {
    fn refuse(target: RaftNodeId) -> TransportFuture<'static> {
        let err = TransportError::Unreachable(format!(
            "this server cannot reach other servers ({target})"
        ));
        Box::pin(std::future::ready(Err(err)))
    }
}

impl Transport for NoPeers {
    fn call(&self, target: RaftNodeId, _: &Member, _: Bytes, _: Duration) -> TransportFuture<'_> {
        Self::refuse(target)
    }

    fn send_snapshot(
        &self,
        target: RaftNodeId,
        _: &Member,
        _: Bytes,
        _: SnapshotStream,
    ) -> TransportFuture<'_> {
        Self::refuse(target)
    }
}
