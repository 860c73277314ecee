//! Catalog records: nodes, service instances and health checks.

use std::time::Duration;

use crate::id::{Index, NodeId};
use crate::proxy::ProxyConfig;
use crate::text::{Text, TextMap};

/// A node of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Identity; nodes registered from outside may have none.
    pub id: Option<NodeId>,
    /// Name, unique in the datacenter in any letter case.
    pub name: Text,
    /// IP address or host name.
    pub address: Text,
    /// Datacenter.
    pub datacenter: Text,
    /// `lan`, `wan`, `lan_ipv4`, ... `None` is null.
    pub tagged_addresses: Option<TextMap>,
    /// Metadata. `None` is null.
    pub meta: Option<TextMap>,
    /// When it was created.
    pub create: Index,
    /// When it last changed.
    pub modify: Index,
}

/// What a service instance is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub enum ServiceKind {
    /// An ordinary service.
    #[default]
    Typical,
    /// A sidecar or other mesh proxy for a service.
    ConnectProxy,
    /// Gateway between datacenters.
    MeshGateway,
    /// Gateway to services outside the mesh.
    TerminatingGateway,
    /// Gateway into the mesh.
    IngressGateway,
}

impl ServiceKind {
    /// The word of the API; empty for an ordinary service.
    pub fn as_str(self) -> &'static str {
        match self {
            ServiceKind::Typical => "",
            ServiceKind::ConnectProxy => "connect-proxy",
            ServiceKind::MeshGateway => "mesh-gateway",
            ServiceKind::TerminatingGateway => "terminating-gateway",
            ServiceKind::IngressGateway => "ingress-gateway",
        }
    }

    /// Parses the word of the API.
    pub fn parse(word: &str) -> Option<ServiceKind> {
        Some(match word {
            "" => ServiceKind::Typical,
            "connect-proxy" => ServiceKind::ConnectProxy,
            "mesh-gateway" => ServiceKind::MeshGateway,
            "terminating-gateway" => ServiceKind::TerminatingGateway,
            "ingress-gateway" => ServiceKind::IngressGateway,
            _ => return None,
        })
    }
}

/// DNS SRV weights by health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Weights {
    /// While all checks pass.
    pub passing: i64,
    /// While the worst check warns.
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Weights {
        Weights {
            passing: 1,
            warning: 1,
        }
    }
}

/// An address with a port, for tagged addresses of services.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: Text,
    /// Port; 0 means the service's port.
    pub port: i64,
}

/// Which empty collections of an instance were given as empty ones instead of being left out.
///
/// The API shows both alike, but agents compare what they read back with what they sent and take the two for different
/// (rpc.md, section 11): an answer to them has to say which it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct GivenEmpty {
    /// The tags.
    pub tags: bool,
    /// The tagged addresses.
    pub tagged_addresses: bool,
}

/// A service instance on a node.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Service {
    /// What it is.
    pub kind: ServiceKind,
    /// Unique on its node.
    pub id: Text,
    /// Name under which instances are found.
    pub name: Text,
    /// Tags in the order given.
    pub tags: Vec<Text>,
    /// Own address; empty means the node's.
    pub address: Text,
    /// Named addresses, sorted by name. Empty is omitted.
    pub tagged_addresses: Vec<(Text, ServiceAddress)>,
    /// Metadata. `None` is null.
    pub meta: Option<TextMap>,
    /// Port; 0 if none.
    pub port: i64,
    /// DNS weights; `None` when never set.
    pub weights: Option<Weights>,
    /// Anti-entropy adopts tags changed in the catalog.
    pub enable_tag_override: bool,
    /// Proxy block; `None` when it is all default.
    pub proxy: Option<Box<ProxyConfig>>,
    /// Speaks the mesh protocol itself.
    pub connect_native: bool,
    /// Made by the agent from a `sidecar_service` block.
    pub locally_registered_as_sidecar: bool,
    /// Collections given as empty ones.
    pub given_empty: GivenEmpty,
    /// When it was created.
    pub create: Index,
    /// When it last changed.
    pub modify: Index,
}

impl Service {
    /// The service this instance gives mesh access to: its destination if it is a proxy, itself if native.
    pub fn connect_name(&self) -> Option<&Text> {
        if self.kind == ServiceKind::ConnectProxy {
            self.proxy.as_ref().map(|p| &p.destination_service_name)
        } else if self.connect_native {
            Some(&self.name)
        } else {
            None
        }
    }
}

/// Health of a check. Ordered from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, PartialOrd, Ord)]
pub enum Status {
    /// All is well.
    Passing,
    /// Works, but needs attention.
    Warning,
    /// Does not work.
    #[default]
    Critical,
}

impl Status {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Status::Passing => "passing",
            Status::Warning => "warning",
            Status::Critical => "critical",
        }
    }

    /// Parses the word of the API (lower case only).
    pub fn parse(word: &str) -> Option<Status> {
        Some(match word {
            "passing" => Status::Passing,
            "warning" => Status::Warning,
            "critical" => Status::Critical,
            _ => return None,
        })
    }
}

/// A health check of a node or service instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Check {
    /// Node name.
    pub node: Text,
    /// Unique on its node.
    pub id: Text,
    /// Name for people.
    pub name: Text,
    /// Result.
    pub status: Status,
    /// Notes for people.
    pub notes: Text,
    /// Output of the last run.
    pub output: Text,
    /// Instance it belongs to; empty for a node-level check.
    pub service_id: Text,
    /// Name of that instance's service.
    pub service_name: Text,
    /// Tags of that instance.
    pub service_tags: Vec<Text>,
    /// These tags were given as an empty list; see [`GivenEmpty`].
    pub tags_given_empty: bool,
    /// `script`, `http`, `tcp`, `ttl`, `grpc`, `docker`, `alias`, `maintenance` or empty.
    pub check_type: Text,
    /// How it is run, if registered through the catalog with a definition.
    pub definition: Option<Box<CheckDetail>>,
    /// When it was created.
    pub create: Index,
    /// When it last changed.
    pub modify: Index,
}

/// The `Definition` object of a catalog check: data for external health monitors.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckDetail {
    /// URL.
    pub http: Text,
    /// Do not verify certificates.
    pub tls_skip_verify: bool,
    /// Header names and values, sorted by name.
    pub header: Vec<(Text, Vec<Text>)>,
    /// Method.
    pub method: Text,
    /// Body.
    pub body: Text,
    /// `host:port`.
    pub tcp: Text,
    /// Time between runs.
    pub interval: Duration,
    /// Bytes of output kept.
    pub output_max_size: u64,
    /// Limit of one run.
    pub timeout: Duration,
    /// Remove the service after being critical for so long; zero is never.
    pub deregister_critical_service_after: Duration,
    /// Command.
    pub script_args: Vec<Text>,
    /// Container to run it in.
    pub docker_container_id: Text,
    /// Shell in the container.
    pub shell: Text,
    /// `host:port[/service]`.
    pub grpc: Text,
    /// gRPC over TLS.
    pub grpc_use_tls: bool,
    /// Node an alias follows.
    pub alias_node: Text,
    /// Service an alias follows.
    pub alias_service: Text,
    /// Time to live.
    pub ttl: Duration,
}

/// Check ID of the node check kept by the leader from gossip.
pub const SERF_HEALTH: &str = "serfHealth";
/// Name of that check.
pub const SERF_HEALTH_NAME: &str = "Serf Health Status";
/// Its output while the member is alive.
pub const SERF_ALIVE_OUTPUT: &str = "Agent alive and reachable";
/// Its output once the member failed.
pub const SERF_FAILED_OUTPUT: &str = "Agent not live or unreachable";
/// Name and ID of the service of the servers themselves.
pub const CONSUL_SERVICE: &str = "consul";
/// Check ID of node maintenance mode.
pub const NODE_MAINTENANCE: &str = "_node_maintenance";
/// Prefix of the check ID of a service's maintenance mode.
pub const SERVICE_MAINTENANCE_PREFIX: &str = "_service_maintenance:";

/// A request to put a node, a service and checks into the catalog.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Register {
    /// Datacenter of the request.
    pub datacenter: Text,
    /// Node identity.
    pub id: Option<NodeId>,
    /// Node name.
    pub node: Text,
    /// Node address.
    pub address: Text,
    /// Node addresses. `None` is null.
    pub tagged_addresses: Option<TextMap>,
    /// Node metadata. `None` is null.
    pub node_meta: Option<TextMap>,
    /// Instance to register.
    pub service: Option<Service>,
    /// Checks to register.
    pub checks: Vec<Check>,
    /// Leave the node record as it is if the node exists.
    pub skip_node_update: bool,
}

/// A request to take a node, service or check out of the catalog. Service wins over check; neither means the node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Deregister {
    /// Datacenter of the request.
    pub datacenter: Text,
    /// Node name.
    pub node: Text,
    /// Instance to remove.
    pub service_id: Text,
    /// Check to remove.
    pub check_id: Text,
}
