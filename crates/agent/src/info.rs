//! What an agent tells about itself.

use std::collections::BTreeMap;

use tribune_types::catalog::{Check, Service, Status};
use tribune_types::coordinate::Coordinate;
use tribune_types::definition::CheckType;
use tribune_types::id::NodeId;
use tribune_types::member::Member;
use tribune_types::text::{Text, TextMap};
use tribune_types::value::ValueMap;

/// Version of Consul whose behaviour is offered.
pub const COMPATIBLE_VERSION: &str = "1.8.7";

/// Identity of this agent. Never changes while it runs.
#[derive(Debug, Clone)]
pub struct Identity {
    /// Node name.
    pub node: Text,
    /// Node identity.
    pub id: NodeId,
    /// Datacenter.
    pub datacenter: Text,
    /// Acts as a server.
    pub server: bool,
}

/// The parts of `/v1/agent/self`.
#[derive(Debug, Clone)]
pub struct SelfReport {
    /// The settings in effect, nested as operators know them; secrets read `hidden`.
    pub debug_config: ValueMap,
    /// Own coordinate.
    pub coord: Option<Coordinate>,
    /// Own gossip member.
    pub member: Member,
    /// Groups of figures: group, key, value.
    pub stats: BTreeMap<String, BTreeMap<String, String>>,
    /// Node metadata.
    pub meta: TextMap,
    /// Tribune's own version and build.
    pub revision: String,
}

/// A service as registered with this agent.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalService {
    /// The instance.
    pub service: std::sync::Arc<Service>,
    /// Hash of its content, for hash-based blocking.
    pub content_hash: Text,
}

/// A check as registered with this agent.
#[derive(Debug, Clone, PartialEq)]
pub struct LocalCheck {
    /// The check with its latest result.
    pub check: std::sync::Arc<Check>,
    /// How it is run; `None` for checks without a probe (maintenance).
    pub check_type: Option<std::sync::Arc<CheckType>>,
}

/// Health of a local instance: the instance, its checks and the node's, and the word for the whole.
#[derive(Debug, Clone)]
pub struct LocalHealth {
    /// The instance.
    pub service: LocalService,
    /// Its checks and the node's.
    pub checks: Vec<LocalCheck>,
    /// The worst of them.
    pub status: AggregatedStatus,
}

/// Health of an instance in one word. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AggregatedStatus {
    /// All checks pass.
    Passing,
    /// The worst check warns.
    Warning,
    /// A check is critical.
    Critical,
    /// In maintenance mode.
    Maintenance,
}

impl AggregatedStatus {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            AggregatedStatus::Passing => "passing",
            AggregatedStatus::Warning => "warning",
            AggregatedStatus::Critical => "critical",
            AggregatedStatus::Maintenance => "maintenance",
        }
    }
}

impl From<Status> for AggregatedStatus {
    fn from(status: Status) -> AggregatedStatus {
        match status {
            Status::Passing => AggregatedStatus::Passing,
            Status::Warning => AggregatedStatus::Warning,
            Status::Critical => AggregatedStatus::Critical,
        }
    }
}
