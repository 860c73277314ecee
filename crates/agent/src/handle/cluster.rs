//! Replicated data: reads, writes, snapshots, the peer set.

use tribune_types::autopilot::OperatorHealth;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;
use tribune_types::query::{Query, ReadOptions};
use tribune_types::write::{Write, WriteReply};

use tribune_server::Origin;
pub use tribune_server::{SnapshotRestore, SnapshotSave};

use super::Handle;
use crate::events::{broadcast_error, validate, validate_filters};
use crate::gossip::{AnnounceError, encode_event};
use crate::{Answer, Cached, Freshness, ServerAddr};

impl Handle {
    /// Tells a client agent which servers it may ask, in any order. Without effect on a server.
    pub fn set_servers(&self, servers: Vec<ServerAddr>) {
        if let Some(client) = self.inner.cluster.client() {
            client.set_servers(servers);
        }
    }

    /// Reads without waiting if that is possible right here and now: not blocking, local datacenter, served by this
    /// process under the requested guarantee. `None` means: use [`Handle::read`].
    pub fn read_now(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
    ) -> Option<Result<Answer, RpcError>> {
        let cluster = &self.inner.cluster;
        let done = cluster.read_now(caller, query, options)?;
        Some(cluster.admit().and(done))
    }

    /// Reads, waiting for the index in `options` if one is given. Cancel safe: dropping it unparks the request.
    ///
    /// # Errors
    /// No leader within the hold time, denied, an unknown datacenter, a filter that does not compile.
    pub async fn read(
        &self,
        caller: &Caller,
        query: Query,
        options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        self.inner.cluster.admit()?;
        self.inner.cluster.read(caller, query, options).await
    }

    /// Reads from the agent's cache if what it has will do. `None` means: use [`Handle::read_cached`].
    pub fn read_cached_now(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
        freshness: Freshness,
    ) -> Option<Cached> {
        self.inner.cache.get_now(caller, query, options, freshness)
    }

    /// Reads through the agent's cache, which keeps the answer and keeps it fresh from then on. The guarantee in `options`
    /// is none of its business. Cancel safe.
    ///
    /// # Errors
    /// As [`Handle::read`], if there is no answer that will do.
    pub async fn read_cached(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
        freshness: Freshness,
    ) -> Result<Cached, RpcError> {
        let cache = &self.inner.cache;
        cache.get(caller, query, options, freshness).await
    }

    /// Writes. A dropped write may still happen; it is never half done.
    ///
    /// # Errors
    /// Refusals leave everything unchanged; `FateUnknown` and `Storage` say that the write may or may not have happened.
    pub async fn write(
        &self,
        caller: &Caller,
        datacenter: Option<&str>,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        self.inner.cluster.admit()?;
        self.write_from(Origin::Asked, caller, datacenter, write)
            .await
    }

    /// As [`Handle::write`], for a request that may have come through another server.
    pub(crate) async fn write_from(
        &self,
        origin: Origin,
        caller: &Caller,
        datacenter: Option<&str>,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        let event = match &write {
            Write::EventFire(event) => {
                // Wherever it is fired, its filters are looked at here first.
                validate_filters(event)?;
                Some(event.clone())
            }
            _ => None,
        };
        let cluster = &self.inner.cluster;
        let reply = cluster.write(origin, caller, datacenter, write).await?;
        let own = &self.identity().datacenter;
        if let Some(event) = event
            && cluster.server().is_some()
            && datacenter.is_none_or(|dc| dc == &**own)
        {
            // A client's event is fired by the server that it asked, one for another datacenter by a server there.
            self.fire(*event).await?;
        }
        Ok(reply)
    }

    /// Sends a user event to all agents of the datacenter, this one included.
    async fn fire(&self, event: UserEvent) -> Result<(), RpcError> {
        validate(&event)?;
        let Some(pool) = &self.inner.lan else {
            // Without a pool this agent is all agents.
            self.inner.local.receive_event(event);
            return Ok(());
        };
        let (name, payload) = encode_event(&event);
        let fired = pool.fire(&name, payload).await;
        fired.map_err(|err| match err {
            AnnounceError::ShuttingDown => RpcError::ShuttingDown,
            AnnounceError::Refused(problem) => RpcError::Invalid(broadcast_error(&problem)),
        })
    }

    /// The error of a request that need not be sent, because the servers of its datacenter would refuse it with `text`: in
    /// the words that it would have come back in.
    pub async fn refusal(&self, datacenter: Option<&str>, text: String) -> RpcError {
        const HOP: &str = "rpc error making call: ";
        if let Err(err) = self.reach(datacenter).await {
            return err;
        }
        let client = self.inner.cluster.client().is_some();
        match (client, self.is_abroad(datacenter)) {
            (false, false) => RpcError::Invalid(text),
            (true, true) => RpcError::Remote(format!("{HOP}{HOP}{text}")),
            _ => RpcError::Remote(format!("{HOP}{text}")),
        }
    }

    /// Whether a request for a datacenter would find its way: one that need not be sent fails no other way than one that
    /// is. Only a client asks somebody, and only about other datacenters than its own.
    ///
    /// # Errors
    /// `NoPath` and `RemoteUnreachable`, on a client in the words of its server.
    pub async fn reach(&self, datacenter: Option<&str>) -> Result<(), RpcError> {
        self.inner.cluster.abroad(datacenter)?;
        if let Some(client) = self.inner.cluster.client()
            && self.is_abroad(datacenter)
        {
            client.status_leader(datacenter).await?;
        }
        Ok(())
    }

    fn is_abroad(&self, datacenter: Option<&str>) -> bool {
        datacenter.is_some_and(|dc| dc != &*self.identity().datacenter)
    }

    /// Starts saving a snapshot archive.
    ///
    /// # Errors
    /// Denied, or the asked guarantee cannot be had.
    pub async fn snapshot_save(
        &self,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotSave, RpcError> {
        self.inner.cluster.snapshot_save(caller, options).await
    }

    /// Starts restoring a snapshot archive in the datacenter of `options`. Nothing is replaced before the whole archive was
    /// checked.
    ///
    /// # Errors
    /// Denied, or there is no leader, or any server is to do it, which only the leader can.
    pub async fn snapshot_restore(
        &self,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotRestore, RpcError> {
        self.snapshot_restore_from(Origin::Asked, caller, options)
            .await
    }

    /// As [`Handle::snapshot_restore`], for a request that may have come through another server.
    pub(crate) async fn snapshot_restore_from(
        &self,
        origin: Origin,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotRestore, RpcError> {
        self.inner
            .cluster
            .snapshot_restore(origin, caller, options)
            .await
    }

    /// `ip:port` of the leader's server RPC; empty if there is none.
    ///
    /// # Errors
    /// The datacenter is unknown.
    pub async fn status_leader(&self, datacenter: Option<&str>) -> Result<String, RpcError> {
        self.inner.cluster.admit()?;
        self.inner.cluster.status_leader(datacenter).await
    }

    /// `ip:port` of the server RPC of all peers.
    ///
    /// # Errors
    /// The datacenter is unknown.
    pub async fn status_peers(&self, datacenter: Option<&str>) -> Result<Vec<String>, RpcError> {
        self.inner.cluster.admit()?;
        self.inner.cluster.status_peers(datacenter).await
    }

    /// Health of the peer set as the leader sees it.
    ///
    /// # Errors
    /// Denied, no leader, or the datacenter is unknown.
    pub async fn operator_health(
        &self,
        caller: &Caller,
        datacenter: Option<&str>,
    ) -> Result<OperatorHealth, RpcError> {
        self.inner.cluster.admit()?;
        self.operator_health_from(Origin::Asked, caller, datacenter)
            .await
    }

    /// As [`Handle::operator_health`], for a request that may have come through another server.
    pub(crate) async fn operator_health_from(
        &self,
        origin: Origin,
        caller: &Caller,
        datacenter: Option<&str>,
    ) -> Result<OperatorHealth, RpcError> {
        self.inner
            .cluster
            .operator_health(origin, caller, datacenter)
            .await
    }
}
