//! Records of the API as the Go client declares them.
//!
//! The order of fields, and which are left out when empty, is what `watch` prints and hands to its handlers
//! (spec http-api.md section 2, seen on the 1.8.7 command). Blocks that the client only passes on keep the server's
//! text.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// `null` reads as the default.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// A node of the catalog.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name.
    pub node: String,
    /// IP address.
    pub address: String,
    /// Home datacenter.
    pub datacenter: String,
    /// Addresses by kind; absent is not the same as empty.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Metadata.
    pub meta: Option<BTreeMap<String, String>>,
    /// Raft index of its creation.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

/// One instance in `/v1/catalog/service/:name`, as far as the command line shows it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceNode {
    /// Node's UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node's name.
    pub node: String,
    /// Node's address.
    pub address: String,
    /// Datacenter.
    pub datacenter: String,
    /// Node's addresses by kind.
    pub tagged_addresses: Option<BTreeMap<String, String>>,
    /// Node's metadata.
    pub node_meta: Option<BTreeMap<String, String>>,
}

/// Address and port under a tag.
#[derive(Debug, Clone, Default, Serialize, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaggedAddress {
    /// Host.
    pub address: String,
    /// Port.
    pub port: i64,
}

/// DNS weights.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// While passing.
    pub passing: i64,
    /// While warning.
    pub warning: i64,
}

/// A service instance as agents and health answers show it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentService {
    /// Kind of proxy or gateway.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Instance ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Service name.
    pub service: String,
    /// Tags.
    pub tags: Option<Vec<String>>,
    /// Metadata.
    pub meta: Option<BTreeMap<String, String>>,
    /// Port, 0 for none.
    pub port: i64,
    /// Address; empty means the node's.
    pub address: String,
    /// Further addresses.
    #[serde(
        skip_serializing_if = "BTreeMap::is_empty",
        deserialize_with = "or_default"
    )]
    pub tagged_addresses: BTreeMap<String, TaggedAddress>,
    /// DNS weights.
    pub weights: Weights,
    /// Others may change the tags.
    pub enable_tag_override: bool,
    /// Raft index of its creation.
    #[serde(skip_serializing_if = "is_zero")]
    pub create_index: u64,
    /// Raft index of its last change.
    #[serde(skip_serializing_if = "is_zero")]
    pub modify_index: u64,
    /// Hash for blocking on one service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content_hash: String,
    /// Proxy block, as the server wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<Box<RawValue>>,
    /// Connect block, as the server wrote it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Box<RawValue>>,
}

/// A check.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct HealthCheck {
    /// Node it is on.
    pub node: String,
    /// ID.
    #[serde(rename = "CheckID")]
    pub check_id: String,
    /// Name for people.
    pub name: String,
    /// `passing`, `warning` or `critical`.
    pub status: String,
    /// Notes for people.
    pub notes: String,
    /// Last output; for maintenance checks the reason.
    pub output: String,
    /// Service instance it belongs to; empty for node checks.
    #[serde(rename = "ServiceID")]
    pub service_id: String,
    /// Name of that service.
    pub service_name: String,
    /// Tags of that service.
    pub service_tags: Option<Vec<String>>,
    /// How it is run.
    #[serde(rename = "Type")]
    pub kind: String,
    /// What was registered; empty for checks that agents sync.
    pub definition: CheckDefinition,
    /// Raft index of its creation.
    pub create_index: u64,
    /// Raft index of its last change.
    pub modify_index: u64,
}

/// The definition block of a check. Times print as Go durations, zero included.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(
    missing_docs,
    reason = "the fields are those of the check registration"
)]
pub struct CheckDefinition {
    pub interval: String,
    pub timeout: String,
    pub deregister_critical_service_after: String,
    #[serde(rename = "HTTP")]
    pub http: String,
    pub header: Option<BTreeMap<String, Vec<String>>>,
    pub method: String,
    pub body: String,
    #[serde(rename = "TLSSkipVerify")]
    pub tls_skip_verify: bool,
    #[serde(rename = "TCP")]
    pub tcp: String,
}

impl Default for CheckDefinition {
    fn default() -> Self {
        let zero = || "0s".to_owned();
        Self {
            interval: zero(),
            timeout: zero(),
            deregister_critical_service_after: zero(),
            http: String::new(),
            header: None,
            method: String::new(),
            body: String::new(),
            tls_skip_verify: false,
            tcp: String::new(),
        }
    }
}

/// An instance with its node and checks.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceEntry {
    /// Its node.
    pub node: Node,
    /// The instance.
    pub service: AgentService,
    /// Checks of instance and node.
    pub checks: Vec<HealthCheck>,
}

/// A user event.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UserEvent {
    /// UUID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Name.
    pub name: String,
    /// Payload in base64.
    pub payload: Option<String>,
    /// Regular expression of nodes.
    pub node_filter: String,
    /// Regular expression of services.
    pub service_filter: String,
    /// Regular expression of tags.
    pub tag_filter: String,
    /// Format version.
    pub version: i64,
    /// Lamport time.
    #[serde(rename = "LTime")]
    pub ltime: u64,
}

/// A member of a gossip pool.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Member {
    /// Node name, with `.dc` in the WAN pool.
    pub name: String,
    /// IP address.
    pub addr: String,
    /// Gossip port.
    pub port: u16,
    /// Tags.
    #[serde(deserialize_with = "or_default")]
    pub tags: BTreeMap<String, String>,
    /// 0 none, 1 alive, 2 leaving, 3 left, 4 failed.
    pub status: i64,
    /// Protocol spoken to it.
    pub delegate_cur: u8,
}

/// The parts of `/v1/agent/self` that commands use.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AgentSelf {
    /// Configuration: `NodeName`, `Datacenter`, `Version` and more.
    #[serde(deserialize_with = "or_default")]
    pub config: BTreeMap<String, serde_json::Value>,
    /// Whole configuration, for debugging.
    #[serde(deserialize_with = "or_default")]
    pub debug_config: BTreeMap<String, serde_json::Value>,
    /// Statistics by group.
    #[serde(deserialize_with = "or_default")]
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
}

impl AgentSelf {
    /// A text of the configuration, empty when absent.
    pub fn config_text(&self, key: &str) -> &str {
        self.config
            .get(key)
            .and_then(|v| v.as_str())
            .unwrap_or_default()
    }
}

/// A network coordinate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(
    missing_docs,
    reason = "the terms of the Vivaldi model, spec gossip.md"
)]
pub struct Coords {
    pub vec: Vec<f64>,
    pub error: f64,
    pub adjustment: f64,
    pub height: f64,
}

/// A coordinate and whose it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CoordEntry {
    /// Node name.
    pub node: String,
    /// Network segment.
    pub segment: String,
    /// Where it is.
    pub coord: Coords,
}

/// Coordinates of the servers of one datacenter.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CoordDatacenter {
    /// Datacenter.
    pub datacenter: String,
    /// Area, `wan`.
    #[serde(rename = "AreaID")]
    pub area_id: String,
    /// Its servers.
    #[serde(deserialize_with = "or_default")]
    pub coordinates: Vec<CoordEntry>,
}

/// The Raft peers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftConfiguration {
    /// Peers.
    #[serde(deserialize_with = "or_default")]
    pub servers: Vec<RaftServer>,
    /// Index of the configuration.
    pub index: u64,
}

/// One Raft peer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftServer {
    /// Raft ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// Node name.
    pub node: String,
    /// `ip:port`.
    pub address: String,
    /// It leads.
    pub leader: bool,
    /// Raft protocol.
    pub protocol_version: String,
    /// It votes.
    pub voter: bool,
}

/// Autopilot's settings, written back whole with the changes.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(
    missing_docs,
    reason = "the fields are those of the autopilot page, spec config.md"
)]
pub struct AutopilotConfig {
    pub cleanup_dead_servers: bool,
    pub last_contact_threshold: String,
    pub max_trailing_logs: u64,
    pub min_quorum: u64,
    pub server_stabilization_time: String,
    pub redundancy_zone_tag: String,
    pub disable_upgrade_migration: bool,
    pub upgrade_version_tag: String,
    pub create_index: u64,
    pub modify_index: u64,
}

/// What one gossip pool says about its keys.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyringPool {
    /// It is the WAN pool.
    #[serde(rename = "WAN")]
    pub wan: bool,
    /// Datacenter of a LAN pool.
    pub datacenter: String,
    /// Network segment of a LAN pool.
    pub segment: String,
    /// Complaints by node.
    #[serde(deserialize_with = "or_default")]
    pub messages: BTreeMap<String, String>,
    /// Nodes that hold each key.
    #[serde(deserialize_with = "or_default")]
    pub keys: BTreeMap<String, u64>,
    /// Nodes that use each key to encrypt.
    #[serde(deserialize_with = "or_default")]
    pub primary_keys: BTreeMap<String, u64>,
    /// Nodes that answered.
    pub num_nodes: u64,
}
