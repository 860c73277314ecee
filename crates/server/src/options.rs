//! Settings of a server, taken by value at start.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tribune_leader::reconcile::NodeFacts;
use tribune_raft::{SnapshotConfig, Timing};
use tribune_types::autopilot::AutopilotConfig;
use tribune_types::id::NodeId;
use tribune_types::text::{Text, text};

use crate::recovering::RecoveredServer;

/// How a cluster begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bootstrap {
    /// It does not begin here: this server waits to be added to one.
    No,
    /// This server founds one alone.
    Alone,
    /// It is founded once this many servers that expect the same see one another.
    Expect(u32),
}

impl Bootstrap {
    /// From the two settings of servers, of which at most one is used.
    pub fn of(alone: bool, expect: u32) -> Bootstrap {
        match (alone, expect) {
            (true, _) | (false, 1) => Bootstrap::Alone,
            (false, 0) => Bootstrap::No,
            (false, expect) => Bootstrap::Expect(expect),
        }
    }
}

/// What a server must be told.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// Node name.
    pub node: Text,
    /// Node identity; also the identity in the peer set.
    pub id: NodeId,
    /// Datacenter.
    pub datacenter: Text,
    /// Tagged addresses and metadata this node starts with in the catalog.
    pub node_facts: NodeFacts,
    /// Address that other nodes reach this one at.
    pub advertise: IpAddr,
    /// Port of the server RPC.
    pub rpc_port: u16,
    /// Where the log and snapshots live; `None` keeps them in memory only.
    pub data_dir: Option<PathBuf>,
    /// How a cluster begins if there is no log yet.
    pub bootstrap: Bootstrap,
    /// Peer set to put in place of the stored one, which has lost its majority. Empty: none.
    pub recover: Vec<RecoveredServer>,
    /// Version registered in the catalog.
    pub version: Text,
    /// Wait of a blocking query that names none. Default 300 s.
    pub default_query_time: Duration,
    /// Longest wait of a blocking query. Default 600 s.
    pub max_query_time: Duration,
    /// How long a request waits for a leader. Default 7 s.
    pub rpc_hold_timeout: Duration,
    /// Lowest TTL of a session. Default 10 s.
    pub session_ttl_min: Duration,
    /// How often coordinate updates are committed. Default 5 s, 100 ms in development mode.
    pub coordinate_period: Duration,
    /// How often the health of the peer set is judged. Default 2 s.
    pub health_interval: Duration,
    /// Refuse coordinates.
    pub disable_coordinates: bool,
    /// Autopilot settings to store when there are none yet.
    pub autopilot: AutopilotConfig,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// When snapshots of the state are taken, and what they leave of the log.
    pub snapshot: SnapshotConfig,
}

impl ServerOptions {
    /// A server that founds a cluster of its own in memory, with every setting at its default.
    pub fn new(node: Text, id: NodeId, advertise: IpAddr) -> ServerOptions {
        ServerOptions {
            node,
            id,
            datacenter: text("dc1"),
            node_facts: NodeFacts::default(),
            advertise,
            rpc_port: 8300,
            data_dir: None,
            bootstrap: Bootstrap::Alone,
            recover: Vec::new(),
            version: text("1.8.7"),
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            rpc_hold_timeout: Duration::from_secs(7),
            session_ttl_min: Duration::from_secs(10),
            coordinate_period: Duration::from_secs(5),
            health_interval: Duration::from_secs(2),
            disable_coordinates: false,
            autopilot: AutopilotConfig::default(),
            timing: Timing::default(),
            snapshot: SnapshotConfig::default(),
        }
    }
}
