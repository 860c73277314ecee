//! The peer set as operators see it.

use crate::id::{Index, NodeId};
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
