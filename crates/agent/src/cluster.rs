//! The cluster half of the agent: where replicated data is read and written.
//!
//! A server agent serves itself, through its leader where it must; a client agent asks servers. Nothing above this module
//! needs to know which.

use std::sync::Arc;

use tribune_server::{Origin, Server, SnapshotRestore, SnapshotSave};
use tribune_types::autopilot::OperatorHealth;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::query::{Query, ReadOptions};
use tribune_types::text::Text;
use tribune_types::write::{Write, WriteReply};

use crate::Answer;
use crate::client::Client;

/// The way to the servers.
pub(crate) enum Cluster {
    /// The server of this process.
    Own {
        /// It.
        server: Server,
        /// The datacenter, for requests that the server does not route.
        datacenter: Text,
    },
    /// Servers elsewhere.
    Remote(Arc<Client>),
}

impl Cluster {
    /// The way into the server of this process.
    pub(crate) fn own(server: Server, datacenter: Text) -> Cluster {
        Cluster::Own { server, datacenter }
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
        self.server()?.read_now(caller, query, options)
    }

    /// As [`crate::Handle::read`].
    pub(crate) async fn read(
        &self,
        caller: &Caller,
        query: Query,
        options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        match self {
            Cluster::Own { server, .. } => server.read(caller, query, options).await,
            // Boxed, so that a query that waits in a server is no larger for it.
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
        datacenter: Option<&str>,
    ) -> Result<SnapshotRestore, RpcError> {
        match self {
            Cluster::Own { server, .. } => {
                server.snapshot_restore(origin, caller, datacenter).await
            }
            Cluster::Remote(client) => client.snapshot_restore(caller, datacenter),
        }
    }

    /// As [`crate::Handle::status_leader`].
    pub(crate) async fn status_leader(&self, dc: Option<&str>) -> Result<String, RpcError> {
        match self {
            Cluster::Own { server, datacenter } => {
                own_datacenter(datacenter, dc)?;
                Ok(server.status_leader())
            }
            Cluster::Remote(client) => client.status_leader(dc).await,
        }
    }

    /// As [`crate::Handle::status_peers`].
    pub(crate) async fn status_peers(&self, dc: Option<&str>) -> Result<Vec<String>, RpcError> {
        match self {
            Cluster::Own { server, datacenter } => {
                own_datacenter(datacenter, dc)?;
                Ok(server.status_peers())
            }
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
        match self {
            Cluster::Own { server, datacenter } => {
                own_datacenter(datacenter, dc)?;
                Box::pin(server.operator_health(origin, caller)).await
            }
            Cluster::Remote(client) => client.operator_health(caller, dc).await,
        }
    }
}

fn own_datacenter(own: &str, asked: Option<&str>) -> Result<(), RpcError> {
    match asked {
        Some(dc) if dc != own => Err(RpcError::NoPath),
        _ => Ok(()),
    }
}
