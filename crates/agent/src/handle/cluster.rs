//! Replicated data: reads, writes, snapshots, the peer set.

use bytes::Bytes;
use tokio::sync::mpsc;
use tribune_types::autopilot::OperatorHealth;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::query::{Query, QueryMeta, ReadOptions};
use tribune_types::write::{Write, WriteReply};

use super::Handle;
use crate::Answer;

/// A snapshot archive on its way out.
pub struct SnapshotSave {
    /// Index and freshness of the archive.
    pub meta: QueryMeta,
    /// Pieces of the archive in order; an error ends it, and the archive is then incomplete.
    pub chunks: mpsc::Receiver<Result<Bytes, RpcError>>,
}

/// A snapshot archive on its way in: send the pieces, drop the sender at the end, await the outcome.
pub struct SnapshotRestore {
    /// Takes the pieces of the archive in order. Bounded: waits while the servers are behind.
    pub chunks: mpsc::Sender<Bytes>,
    /// Resolves once the state is replaced, or to why it was not.
    pub done: tokio::sync::oneshot::Receiver<Result<(), RpcError>>,
}

impl Handle {
    /// Reads without waiting if that is possible right here and now: not blocking, local datacenter, served by this
    /// process under the requested guarantee. `None` means: use [`Handle::read`].
    pub fn read_now(
        &self,
        _caller: &Caller,
        _query: &Query,
        _options: &ReadOptions,
    ) -> Option<Result<Answer, RpcError>> {
        todo!()
    }

    /// Reads, waiting for the index in `options` if one is given. Cancel safe: dropping it unparks the request.
    pub async fn read(
        &self,
        _caller: &Caller,
        _query: Query,
        _options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        todo!()
    }

    /// Writes. Not cancel safe in the sense that a dropped write may still happen; it is never half done.
    pub async fn write(
        &self,
        _caller: &Caller,
        _datacenter: Option<&str>,
        _write: Write,
    ) -> Result<WriteReply, RpcError> {
        todo!()
    }

    /// Starts saving a snapshot archive.
    pub async fn snapshot_save(
        &self,
        _caller: &Caller,
        _options: &ReadOptions,
    ) -> Result<SnapshotSave, RpcError> {
        todo!()
    }

    /// Starts restoring a snapshot archive. Nothing is replaced before the whole archive was checked.
    pub async fn snapshot_restore(
        &self,
        _caller: &Caller,
        _datacenter: Option<&str>,
    ) -> Result<SnapshotRestore, RpcError> {
        todo!()
    }

    /// `ip:port` of the leader's server RPC; empty if there is none.
    pub async fn status_leader(&self, _datacenter: Option<&str>) -> Result<String, RpcError> {
        todo!()
    }

    /// `ip:port` of the server RPC of all peers.
    pub async fn status_peers(&self, _datacenter: Option<&str>) -> Result<Vec<String>, RpcError> {
        todo!()
    }

    /// Health of the peer set as the leader sees it.
    pub async fn operator_health(
        &self,
        _caller: &Caller,
        _datacenter: Option<&str>,
    ) -> Result<OperatorHealth, RpcError> {
        todo!()
    }
}
