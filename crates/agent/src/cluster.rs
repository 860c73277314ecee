//! The cluster half of the agent: where replicated data is read and written.
//!
//! A server agent serves itself, through its leader where it must, and asks the servers of other datacenters for what is
//! theirs; a client agent asks servers. Nothing above this module needs to know which.

use std::sync::Arc;

use tribune_config::Config;
use tribune_server::{Origin, Server, SnapshotRestore, SnapshotSave};
use tribune_types::autopilot::OperatorHealth;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::query::{Consistency, Query, ReadOptions};
use tribune_types::text::Text;
use tribune_types::write::{Write, WriteReply};

use crate::Answer;
use crate::client::Client;
use crate::federation::{Remote, Router};
use crate::own_requests::OwnRequests;

/// The way to the servers.
pub(crate) enum Cluster {
    /// The server of this process.
    Own {
        /// It.
        server: Server,
        /// The datacenter.
        datacenter: Text,
        /// The ways to the others; `None` without a WAN pool.
        router: Option<Arc<Router>>,
        /// What this agent itself asks.
        own: OwnRequests,
    },
    /// Servers elsewhere.
    Remote(Arc<Client>),
}

impl Cluster {
    /// The way into the server of this process, and from there to other datacenters.
    pub(crate) fn own(
        server: Server,
        datacenter: Text,
        router: Option<Arc<Router>>,
        own: OwnRequests,
    ) -> Cluster {
        Cluster::Own {
            server,
            datacenter,
            router,
            own,
        }
    }

    /// Takes in new limits.
    pub(crate) fn reload(&self, config: &Config) {
        match self {
            Cluster::Own { own, .. } => own.reload(config),
            Cluster::Remote(client) => client.reload(config),
        }
    }

    /// Counts a request of this agent, as against those that arrive on the server port. A client counts what it sends.
    ///
    /// # Errors
    /// There were too many.
    pub(crate) fn admit(&self) -> Result<(), RpcError> {
        match self {
            Cluster::Own { own, .. } => own.admit(),
            Cluster::Remote(_) => Ok(()),
        }
    }

    /// The ways to other datacenters, if this agent knows any itself.
    pub(crate) fn router(&self) -> Option<&Arc<Router>> {
        match self {
            Cluster::Own { router, .. } => router.as_ref(),
            Cluster::Remote(_) => None,
        }
    }

    /// The way to the datacenter of a request, if this agent is a server and it is another one than its own.
    ///
    /// # Errors
    /// `NoPath` and `RemoteUnreachable`.
    pub(crate) fn abroad(&self, asked: Option<&str>) -> Result<Option<Arc<Remote>>, RpcError> {
        match (self, asked) {
            (
                Cluster::Own {
                    datacenter, router, ..
                },
                Some(dc),
            ) if dc != &**datacenter => match router {
                Some(router) => router.route(dc).map(Some),
                None => Err(RpcError::NoPath),
            },
            _ => Ok(None),
        }
    }

    /// The server of this process, if it is one.
    pub(crate) fn server(&self) -> Option<&Server> {
        match self {
            Cluster::Own { server, .. } => Some(server),
            Cluster::Remote(_) => None,
        }
    }

    /// The client half, if this agent is a client.
    pub(crate) fn client(&self) -> Option<&Client> {
        match self {
            Cluster::Own { .. } => None,
            Cluster::Remote(client) => Some(client),
        }
    }

    /// As [`crate::Handle::read_now`]; a client never has the data.
    pub(crate) fn read_now(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
    ) -> Option<Result<Answer, RpcError>> {
        if let Some(answer) = self.of_all(query, options) {
            return Some(Ok(answer));
        }
        self.server()?.read_now(caller, query, options)
    }

    /// The answer to what is asked about all datacenters.
    fn of_all(&self, query: &Query, options: &ReadOptions) -> Option<Answer> {
        self.router()?.answer(query, options)
    }

    /// As [`crate::Handle::read`].
    pub(crate) async fn read(
        &self,
        caller: &Caller,
        query: Query,
        options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        if let Some(answer) = self.of_all(&query, options) {
            return Ok(answer);
        }
        // Boxed, so that a query that waits in a server is no larger for it.
        if let Some(remote) = self.abroad(options.datacenter.as_deref())? {
            return Box::pin(async move { remote.client().read(caller, query, options).await })
                .await;
        }
        match self {
            Cluster::Own { server, .. } => server.read(caller, query, options).await,
            Cluster::Remote(client) => Box::pin(client.read(caller, query, options)).await,
        }
    }

    /// As [`crate::Handle::write`].
    pub(crate) async fn write(
        &self,
        origin: Origin,
        caller: &Caller,
        datacenter: Option<&str>,
        write: Write,
    ) -> Result<WriteReply, RpcError> {
        if let Some(remote) = self.abroad(datacenter)? {
            let written = async move { remote.client().write(caller, None, write).await };
            return Box::pin(written).await;
        }
        match self {
            Cluster::Own { server, .. } => {
                server.write_from(origin, caller, datacenter, write).await
            }
            Cluster::Remote(client) => Box::pin(client.write(caller, datacenter, write)).await,
        }
    }

    /// As [`crate::Handle::snapshot_save`].
    pub(crate) async fn snapshot_save(
        &self,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotSave, RpcError> {
        if let Some(remote) = self.abroad(options.datacenter.as_deref())? {
            let saved = async move { remote.client().snapshot_save(caller, options).await };
            return Box::pin(saved).await;
        }
        match self {
            Cluster::Own { server, .. } => server.snapshot_save(caller, options).await,
            Cluster::Remote(client) => Box::pin(client.snapshot_save(caller, options)).await,
        }
    }

    /// As [`crate::Handle::snapshot_restore`].
    pub(crate) async fn snapshot_restore(
        &self,
        origin: Origin,
        caller: &Caller,
        options: &ReadOptions,
    ) -> Result<SnapshotRestore, RpcError> {
        let datacenter = options.datacenter.as_deref();
        if let Some(remote) = self.abroad(datacenter)? {
            let begun = async move { remote.client().snapshot_restore(caller, options).await };
            return Box::pin(begun).await;
        }
        match self {
            Cluster::Own { .. } if options.consistency == Consistency::Stale => Err(
                RpcError::Invalid("stale not allowed for restore".to_owned()),
            ),
            Cluster::Own { server, .. } => {
                server.snapshot_restore(origin, caller, datacenter).await
            }
            Cluster::Remote(client) => client.snapshot_restore(caller, options).await,
        }
    }

    /// As [`crate::Handle::status_leader`].
    pub(crate) async fn status_leader(&self, dc: Option<&str>) -> Result<String, RpcError> {
        if let Some(remote) = self.abroad(dc)? {
            return remote.client().status_leader(None).await;
        }
        match self {
            Cluster::Own { server, .. } => Ok(server.status_leader()),
            Cluster::Remote(client) => client.status_leader(dc).await,
        }
    }

    /// As [`crate::Handle::status_peers`].
    pub(crate) async fn status_peers(&self, dc: Option<&str>) -> Result<Vec<String>, RpcError> {
        if let Some(remote) = self.abroad(dc)? {
            return remote.client().status_peers(None).await;
        }
        match self {
            Cluster::Own { server, .. } => Ok(server.status_peers()),
            Cluster::Remote(client) => client.status_peers(dc).await,
        }
    }

    /// As [`crate::Handle::operator_health`].
    pub(crate) async fn operator_health(
        &self,
        origin: Origin,
        caller: &Caller,
        dc: Option<&str>,
    ) -> Result<OperatorHealth, RpcError> {
        if let Some(remote) = self.abroad(dc)? {
            return remote.client().operator_health(caller, None).await;
        }
        match self {
            Cluster::Own { server, .. } => Box::pin(server.operator_health(origin, caller)).await,
            Cluster::Remote(client) => client.operator_health(caller, dc).await,
        }
    }
}
