//! Snapshots of a client agent: streamed to and from a server, each on a connection of its own.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tribune_local::servers::ServerAddr;
use tribune_net::{Download, snapshot};
use tribune_server::{SnapshotRestore, SnapshotSave};
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::query::{Consistency, QueryMeta, ReadOptions};
use tribune_types::text::text;
use tribune_wire::rpc::{self, Envelope, SnapshotCall, SnapshotOp};

use super::{Client, Place, datacenter, unreadable};

/// Pieces on their way.
const QUEUE: usize = 4;
/// Time for a connection to come about.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

impl Client {
    /// Fetches an archive. Nothing is tried twice, but servers that cannot be reached are passed over.
    ///
    /// # Errors
    /// There is no server, or what the server says.
    pub(crate) async fn snapshot_save(
        &self,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotSave, RpcError> {
        let call = SnapshotCall {
            envelope: self.envelope(caller, options.datacenter.as_deref()),
            stale: options.consistency == Consistency::Stale,
            op: SnapshotOp::Save,
            passed_on: false,
        };
        let (meta, mut download) = self.exchange(&self.server().await?, &call, None).await?;
        let (tx, chunks) = mpsc::channel(QUEUE);
        self.tasks.spawn("snapshot-fetch", async move {
            while let Some(piece) = download.next().await {
                let piece = piece.map_err(|err| RpcError::Remote(err.to_string()));
                if tx.send(piece).await.is_err() {
                    return;
                }
            }
        });
        let meta = QueryMeta {
            consistency: options.consistency,
            ..meta
        };
        Ok(SnapshotSave { meta, chunks })
    }

    /// Sends an archive. Nothing is tried twice, but servers that cannot be reached are passed over.
    ///
    /// # Errors
    /// There is no server. What the server says is the outcome.
    pub(crate) async fn snapshot_restore(
        self: &std::sync::Arc<Self>,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotRestore, RpcError> {
        let call = SnapshotCall {
            envelope: self.envelope(caller, options.datacenter.as_deref()),
            // Servers refuse it, in words of their own.
            stale: options.consistency == Consistency::Stale,
            op: SnapshotOp::Restore,
            passed_on: false,
        };
        let server = self.server().await?;
        let (chunks, upload) = mpsc::channel(QUEUE);
        let (tx, done) = oneshot::channel();
        let client = std::sync::Arc::clone(self);
        self.tasks.spawn("snapshot-send", async move {
            let outcome = client.exchange(&server, &call, Some(upload)).await;
            let _ = tx.send(outcome.map(drop));
        });
        Ok(SnapshotRestore { chunks, done })
    }

    async fn exchange(
        &self,
        server: &ServerAddr,
        call: &SnapshotCall,
        upload: Option<mpsc::Receiver<Bytes>>,
    ) -> Result<(QueryMeta, Download), RpcError> {
        let request = rpc::encode_snapshot(call);
        let answered = snapshot(&self.env, server.addr, DIAL_TIMEOUT, &request, upload).await;
        let (head, download) = answered.map_err(|err| {
            self.on_failure(server, "snapshot", &err);
            RpcError::Remote(err.to_string())
        })?;
        let (error, meta) = rpc::decode_snapshot_reply(&head).map_err(|err| unreadable(&err))?;
        if !error.is_empty() {
            self.servers.lock().on_failure(&server.name);
            return Err(RpcError::Remote(error));
        }
        Ok((meta, download))
    }

    /// The first server that can be reached now.
    async fn server(&self) -> Result<ServerAddr, RpcError> {
        let mut asked = Vec::new();
        let mut failed = self.nobody();
        loop {
            let server = self.next_server_but(&asked).ok_or(failed)?;
            match self.pool.connect(server.addr).await {
                Ok(()) => return Ok(server),
                Err(err) => {
                    self.on_failure(&server, "snapshot", &err);
                    failed = match self.place {
                        Place::Home(_) => RpcError::Remote(err.to_string()),
                        Place::Abroad(_) => RpcError::RemoteUnreachable,
                    };
                }
            }
            asked.push(server.name);
        }
    }

    fn envelope(&self, caller: &Caller, dc: Option<&str>) -> Envelope {
        Envelope {
            datacenter: text(datacenter(&self.datacenter, dc)),
            token: caller.token.clone(),
        }
    }
}
