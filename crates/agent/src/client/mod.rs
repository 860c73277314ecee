//! The cluster half of a client agent: it keeps nothing itself and asks servers.

use std::net::SocketAddr;

use parking_lot::Mutex;
use tribune_types::text::Text;

/// A server that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddr {
    /// Node name; unique in the datacenter.
    pub name: Text,
    /// Its server RPC.
    pub addr: SocketAddr,
    /// Its datacenter.
    pub datacenter: Text,
}

/// The way to the servers of a client agent.
pub(crate) struct Client {
    servers: Mutex<Vec<ServerAddr>>,
}

impl Client {
    /// Knows no server yet.
    pub(crate) fn new() -> Client {
        Client {
            servers: Mutex::default(),
        }
    }

    /// Replaces the servers that may be asked.
    pub(crate) fn set_servers(&self, servers: Vec<ServerAddr>) {
        *self.servers.lock() = servers;
    }

    /// How many servers may be asked.
    pub(crate) fn server_count(&self) -> usize {
        self.servers.lock().len()
    }
}
