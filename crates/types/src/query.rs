//! Reads: what can be asked of the servers, and the answers.
//!
//! A query is plain data, so that the authoriser, the forwarding between servers, the sharing of equal blocking queries
//! and the evaluation all work on the same value. Equal queries have equal answers in one version of the state.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::autopilot::AutopilotConfig;
use crate::catalog::{Check, Node, Service, ServiceKind, Status};
use crate::coordinate::{CoordinateEntry, DatacenterMap};
use crate::id::{Index, SessionId, Uuid};
use crate::kv::{Key, KvEntry};
use crate::prepared::PreparedQuery;
use crate::raft::RaftConfiguration;
use crate::session::Session;
use crate::text::{Text, TextMap};

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Query {
    /// One key.
    KvGet {
        /// The key.
        key: Key,
    },
    /// All pairs of a prefix, in key order.
    KvList {
        /// The prefix; empty for all.
        prefix: Key,
    },
    /// Key names of a prefix, cut after the first separator past the prefix.
    KvKeys {
        /// The prefix; empty for all.
        prefix: Key,
        /// Separator; empty for none.
        separator: Key,
    },
    /// One session.
    SessionGet {
        /// Its ID.
        id: SessionId,
    },
    /// Sessions of a node.
    SessionsOfNode {
        /// Node name.
        node: Text,
    },
    /// All sessions.
    Sessions,
    /// Nodes.
    Nodes(ListOptions),
    /// Service names with the union of their tags.
    Services {
        /// Only services on nodes with this metadata.
        node_meta: TextMap,
    },
    /// Instances of a service, without checks.
    ServiceNodes(ServiceQuery),
    /// Instances that have an address of their own, or a tagged one, of exactly this text. Answer: `ServiceNodes`.
    ServicesAt {
        /// The address.
        address: Text,
        /// Filter, metadata, sorting.
        options: ListOptions,
    },
    /// A node with its services, by name, ID or unique ID prefix.
    NodeServices {
        /// Name, ID or ID prefix.
        node: Text,
        /// Filter on the services; empty for none.
        filter: Text,
    },
    /// Services linked to a gateway.
    GatewayServices {
        /// Gateway service name.
        gateway: Text,
    },
    /// Checks of a node.
    NodeChecks {
        /// Name, ID or ID prefix.
        node: Text,
        /// Filter expression; empty for none.
        filter: Text,
    },
    /// Checks of a service.
    ServiceChecks {
        /// Service name.
        service: Text,
        /// Filter, metadata, sorting.
        options: ListOptions,
    },
    /// Checks in a state; `None` is any.
    ChecksInState {
        /// The state.
        state: Option<Status>,
        /// Filter, metadata, sorting.
        options: ListOptions,
    },
    /// Instances of a service with their checks.
    ServiceHealth {
        /// Which instances.
        service: ServiceQuery,
        /// Leave out instances with a check that is not passing. Does not change the index.
        passing_only: bool,
    },
    /// Coordinates of all nodes, or of one.
    Coordinates {
        /// Only this node.
        node: Option<Text>,
        /// Network segment; `None` for all.
        segment: Option<Text>,
    },
    /// Names of known datacenters, nearest first.
    Datacenters,
    /// Coordinates of the servers of each datacenter.
    DatacenterMaps,
    /// Nodes with services and checks, for the UI; one node if named.
    NodeDump {
        /// Only this node.
        node: Option<Text>,
        /// Filter expression; empty for none.
        filter: Text,
    },
    /// All instances with node and checks, for the UI's service summary.
    ServiceDump {
        /// Only instances of this kind.
        kind: Option<ServiceKind>,
        /// Filter expression; empty for none.
        filter: Text,
    },
    /// The peer set.
    RaftConfiguration,
    /// Autopilot settings.
    AutopilotConfig,
    /// All prepared queries.
    PreparedQueries,
    /// One prepared query. An unknown one is an error.
    PreparedQuery {
        /// Its ID.
        id: Uuid,
    },
    /// What has this address: a node, else a service (for reverse DNS).
    Reverse {
        /// The address.
        addr: IpAddr,
    },
}

/// How to narrow and sort a list. Defaults narrow nothing.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ListOptions {
    /// Only items on nodes with all these pairs.
    pub node_meta: TextMap,
    /// Filter expression; empty for none.
    pub filter: Text,
    /// Sort by distance from this node; empty for none. `_agent` is already resolved.
    pub near: Text,
}

/// Which instances of a service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct ServiceQuery {
    /// Service name, any letter case.
    pub name: Text,
    /// All of these tags, any letter case.
    pub tags: Vec<Text>,
    /// What the name refers to.
    pub endpoint: Endpoint,
    /// Metadata, filter and sorting.
    pub options: ListOptions,
}

/// What a service name refers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Endpoint {
    /// The instances of that name.
    #[default]
    Service,
    /// The mesh-capable endpoints for it: proxies, native instances, gateways.
    Connect,
    /// The ingress gateways that expose it.
    Ingress,
}

/// Read guarantee.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Consistency {
    /// From the leader under its lease.
    #[default]
    Default,
    /// From the leader after it confirmed its leadership.
    Consistent,
    /// From any server.
    Stale,
}

impl Consistency {
    /// The word of the `X-Consul-Effective-Consistency` header.
    pub fn as_str(self) -> &'static str {
        match self {
            Consistency::Default => "leader",
            Consistency::Consistent => "consistent",
            Consistency::Stale => "stale",
        }
    }
}

/// How to read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// Datacenter; `None` is the agent's.
    pub datacenter: Option<Text>,
    /// Wait until the index is above this; 0 does not wait.
    pub min_index: Index,
    /// How long to wait; `None` is the default of the servers. Capped there, and lengthened by up to a sixteenth.
    pub wait: Option<Duration>,
    /// Guarantee.
    pub consistency: Consistency,
    /// With `Stale`: repeat at the leader if the answer is older.
    pub max_stale: Option<Duration>,
}

/// What an answer says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryMeta {
    /// Index to wait for next; at least 1.
    pub index: Index,
    /// A leader is known.
    pub known_leader: bool,
    /// Age of the answering server's view.
    pub last_contact: Duration,
    /// Guarantee in effect.
    pub consistency: Consistency,
}

/// An answer's data. Which variant belongs to which query is said there.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// `KvGet` (none or one) and `KvList`.
    Kv(Vec<Arc<KvEntry>>),
    /// `KvKeys`.
    Keys(Vec<Key>),
    /// `SessionGet`, `SessionsOfNode`, `Sessions`.
    Sessions(Vec<Arc<Session>>),
    /// `Nodes`.
    Nodes(Vec<Arc<Node>>),
    /// `Services`: name and sorted tags, by name.
    Services(Vec<(Text, Vec<Text>)>),
    /// `ServiceNodes` and `ServicesAt`.
    ServiceNodes(Vec<(Arc<Node>, Arc<Service>)>),
    /// `NodeServices`; `None` for an unknown node. Services in ID order.
    NodeServices(Option<(Arc<Node>, Vec<Arc<Service>>)>),
    /// `NodeChecks`, `ServiceChecks`, `ChecksInState`.
    Checks(Vec<Arc<Check>>),
    /// `ServiceHealth` and `ServiceDump`.
    Instances(Vec<Instance>),
    /// `NodeDump`.
    NodeDump(Vec<NodeDump>),
    /// `Coordinates`.
    Coordinates(Vec<Arc<CoordinateEntry>>),
    /// `Datacenters`.
    Datacenters(Vec<Text>),
    /// `DatacenterMaps`.
    DatacenterMaps(Vec<DatacenterMap>),
    /// `RaftConfiguration`.
    RaftConfiguration(RaftConfiguration),
    /// `AutopilotConfig`; `None` before a leader stored any.
    Autopilot(Option<AutopilotConfig>),
    /// `GatewayServices`: none can exist until gateways are built.
    GatewayServices,
    /// `PreparedQueries`, and `PreparedQuery` with one.
    PreparedQueries(Vec<Arc<PreparedQuery>>),
    /// `Reverse`.
    Reverse(Option<ReverseMatch>),
}

/// An instance with its node and the checks of both.
#[derive(Debug, Clone, PartialEq)]
pub struct Instance {
    /// The node.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<Service>,
    /// Checks of the instance and of its node.
    pub checks: Arc<[Arc<Check>]>,
}

impl Instance {
    /// The worst status of all checks; passing without any.
    pub fn status(&self) -> Status {
        self.checks
            .iter()
            .map(|c| c.status)
            .max()
            .unwrap_or(Status::Passing)
    }
}

/// A node with everything on it.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeDump {
    /// The node.
    pub node: Arc<Node>,
    /// Its services in ID order.
    pub services: Vec<Arc<Service>>,
    /// Its checks in ID order.
    pub checks: Vec<Arc<Check>>,
}

/// What an address belongs to.
#[derive(Debug, Clone, PartialEq)]
pub enum ReverseMatch {
    /// A node with this address.
    Node(Arc<Node>),
    /// An instance with this own address.
    Service(Arc<Service>),
}
