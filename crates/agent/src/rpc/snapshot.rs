//! Streamed snapshots on the server port, as calls on the handle (rpc.md section 10.5).

use std::net::SocketAddr;

use bytes::Bytes;
use tokio::sync::mpsc;
use tribune_net::SnapshotReply;
use tribune_server::Origin;
use tribune_types::error::RpcError;
use tribune_types::query::{Consistency, QueryMeta, ReadOptions};
use tribune_wire::rpc::{self, SnapshotCall, SnapshotOp};

use super::{RpcServer, caller, datacenter};
use crate::handle::SnapshotRestore;

impl RpcServer {
    /// Serves one request. An archive to restore is handed on as it arrives; nothing is replaced before all of it is here
    /// and whole.
    pub(super) async fn serve_snapshot(
        &self,
        peer: SocketAddr,
        request: &[u8],
        archive: mpsc::Receiver<Bytes>,
    ) -> SnapshotReply {
        let served = match rpc::decode_snapshot(request) {
            Ok(call) => match call.op {
                SnapshotOp::Save => self.save(peer, &call).await,
                SnapshotOp::Restore => self.restore(peer, &call, archive).await,
            },
            Err(err) => Err(RpcError::Invalid(err.to_string())),
        };
        served.unwrap_or_else(|err| SnapshotReply {
            head: rpc::encode_snapshot_reply(&err.to_string(), &QueryMeta::default()),
            archive: None,
        })
    }

    async fn save(&self, peer: SocketAddr, call: &SnapshotCall) -> Result<SnapshotReply, RpcError> {
        let options = options(call)?;
        let caller = caller(&call.envelope, peer);
        let save = self.handle.snapshot_save(&caller, &options).await?;
        Ok(SnapshotReply {
            head: rpc::encode_snapshot_reply("", &save.meta),
            archive: Some(save.chunks),
        })
    }

    async fn restore(
        &self,
        peer: SocketAddr,
        call: &SnapshotCall,
        mut archive: mpsc::Receiver<Bytes>,
    ) -> Result<SnapshotReply, RpcError> {
        let options = options(call)?;
        let caller = caller(&call.envelope, peer);
        let origin = match call.passed_on {
            false => Origin::Asked,
            true => Origin::PassedOn,
        };
        let SnapshotRestore { chunks, done } = self
            .handle
            .snapshot_restore_from(origin, &caller, &options)
            .await?;
        while let Some(piece) = archive.recv().await {
            // A closed channel means that the outcome is known already.
            if chunks.send(piece).await.is_err() {
                break;
            }
        }
        drop(chunks);
        done.await.map_err(|_| RpcError::ShuttingDown)??;
        let meta = QueryMeta {
            known_leader: true,
            ..QueryMeta::default()
        };
        Ok(SnapshotReply {
            head: rpc::encode_snapshot_reply("", &meta),
            archive: None,
        })
    }
}

/// Where a call is served, and how.
fn options(call: &SnapshotCall) -> Result<ReadOptions, RpcError> {
    Ok(ReadOptions {
        datacenter: Some(datacenter(&call.envelope)?),
        consistency: if call.stale {
            Consistency::Stale
        } else {
            Consistency::Default
        },
        ..ReadOptions::default()
    })
}
