//! Autopilot: the replicated settings of server management, and the health it reports.

use std::time::Duration;

use crate::id::{Index, NodeId, Term};
use crate::text::Text;
use crate::time::Wall;

/// Settings stored in the replicated state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AutopilotConfig {
    /// Remove failed servers when a replacement joins.
    pub cleanup_dead_servers: bool,
    /// A server without leader contact for longer is unhealthy.
    pub last_contact_threshold: Duration,
    /// A server further behind (entries) is unhealthy.
    pub max_trailing_logs: u64,
    /// Servers that must stay when dead ones are removed.
    pub min_quorum: u64,
    /// How long a new server must be healthy before it votes.
    pub server_stabilization_time: Duration,
    /// Enterprise; stored and returned.
    pub redundancy_zone_tag: Text,
    /// Enterprise; stored and returned.
    pub disable_upgrade_migration: bool,
    /// Enterprise; stored and returned.
    pub upgrade_version_tag: Text,
    /// When the settings were created.
    pub create: Index,
    /// When they last changed.
    pub modify: Index,
}

impl Default for AutopilotConfig {
    fn default() -> AutopilotConfig {
        AutopilotConfig {
            cleanup_dead_servers: true,
            last_contact_threshold: Duration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: Duration::from_secs(10),
            redundancy_zone_tag: Text::default(),
            disable_upgrade_migration: false,
            upgrade_version_tag: Text::default(),
            create: Index(0),
            modify: Index(0),
        }
    }
}

/// Health of the peer set as the leader sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct OperatorHealth {
    /// All servers are healthy.
    pub healthy: bool,
    /// Healthy voters that may fail without losing the quorum.
    pub failure_tolerance: u32,
    /// One entry per server.
    pub servers: Vec<ServerHealth>,
}

/// Health of one server.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerHealth {
    /// Node identity.
    pub id: NodeId,
    /// Node name.
    pub name: Text,
    /// `ip:port` of the server RPC.
    pub address: Text,
    /// Gossip status as a word: `alive`, `leaving`, `left`, `failed`, `none`.
    pub serf_status: Text,
    /// Version it runs.
    pub version: Text,
    /// It leads.
    pub leader: bool,
    /// Time since it heard the leader; `None` if never.
    pub last_contact: Option<Duration>,
    /// Term of its last log entry.
    pub last_term: Term,
    /// Index of its last log entry.
    pub last_index: u64,
    /// Passed all criteria.
    pub healthy: bool,
    /// It votes.
    pub voter: bool,
    /// Since when `healthy` has not changed; 0 if the server does not answer.
    pub stable_since: Wall,
}
