//! Settings of a server, taken by value at start.

use std::path::PathBuf;
use std::time::Duration;

use tribune_types::autopilot::AutopilotConfig;
use tribune_types::id::NodeId;
use tribune_types::text::Text;

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
    pub node_facts: tribune_leader::reconcile::NodeFacts,
    /// Address that other nodes reach this one at.
    pub advertise: std::net::IpAddr,
    /// Port of the server RPC.
    pub rpc_port: u16,
    /// Where the log and snapshots live; `None` keeps them in memory only.
    pub data_dir: Option<PathBuf>,
    /// Found a cluster of one if there is no log yet.
    pub bootstrap: bool,
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
    pub timing: tribune_raft::Timing,
    /// When snapshots of the state are taken, and what they leave of the log.
    pub snapshot: tribune_raft::SnapshotConfig,
}
