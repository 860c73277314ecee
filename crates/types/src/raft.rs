//! The peer set as operators see it.

use std::time::Duration;

use crate::id::{Index, NodeId, Term};
use crate::text::Text;

/// One server of the peer set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftServer {
    /// Node identity.
    pub id: NodeId,
    /// Node name; `(unknown)` if gossip does not know it.
    pub node: Text,
    /// `ip:port` of the server RPC.
    pub address: Text,
    /// It leads.
    pub leader: bool,
    /// It votes.
    pub voter: bool,
    /// Version of the peer protocol, `3`.
    pub protocol_version: Text,
}

/// The peer set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RaftConfiguration {
    /// Servers.
    pub servers: Vec<RaftServer>,
    /// Log index of the membership.
    pub index: Index,
}

/// How far the log of one server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServerStats {
    /// Time since it heard the leader; zero on the leader, `None` if never.
    pub last_contact: Option<Duration>,
    /// Term of its last log entry.
    pub last_term: Term,
    /// Index of its last log entry.
    pub last_index: u64,
}
