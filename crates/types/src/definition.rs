//! Definitions an agent is given, by file or by request: services and checks to run.
//!
//! config.md section 10 and http-api.md section 2 give the keys; the codecs decode into these.

use std::time::Duration;

use crate::catalog::{ServiceAddress, ServiceKind, Status, Weights};
use crate::proxy::ProxyConfig;
use crate::text::{Text, TextMap};

/// A service to register with its agent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ServiceDefinition {
    /// What it is.
    pub kind: ServiceKind,
    /// Instance ID; empty means the name.
    pub id: Text,
    /// Service name.
    pub name: Text,
    /// Tags.
    pub tags: Vec<Text>,
    /// Own address; empty means the node's.
    pub address: Text,
    /// Named addresses, sorted by name.
    pub tagged_addresses: Vec<(Text, ServiceAddress)>,
    /// Metadata.
    pub meta: Option<TextMap>,
    /// Port.
    pub port: i64,
    /// DNS weights, unchecked.
    pub weights: Option<Weights>,
    /// ACL token for the catalog writes of this service.
    pub token: Text,
    /// Anti-entropy adopts tags changed in the catalog.
    pub enable_tag_override: bool,
    /// Proxy block.
    pub proxy: Option<Box<ProxyConfig>>,
    /// Speaks the mesh protocol itself.
    pub connect_native: bool,
    /// Sidecar to register next to it.
    pub sidecar: Option<Box<ServiceDefinition>>,
    /// Its checks (`check` first, then `checks`).
    pub checks: Vec<CheckType>,
}

/// How a check is run. Exactly one probe is set in a valid one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckType {
    /// Check ID; empty means derived.
    pub id: Text,
    /// Name; empty means derived.
    pub name: Text,
    /// Notes.
    pub notes: Text,
    /// Initial status; `None` means critical.
    pub status: Option<Status>,
    /// Command without a shell.
    pub script_args: Vec<Text>,
    /// URL to request.
    pub http: Text,
    /// Header names and values, sorted by name.
    pub header: Vec<(Text, Vec<Text>)>,
    /// Method; empty means GET.
    pub method: Text,
    /// Request body.
    pub body: Text,
    /// `host:port` to connect to.
    pub tcp: Text,
    /// `host:port[/service]` to ask by the gRPC health protocol.
    pub grpc: Text,
    /// gRPC over TLS.
    pub grpc_use_tls: bool,
    /// Do not verify certificates (http, grpc).
    pub tls_skip_verify: bool,
    /// Node to follow; set with or without `alias_service`.
    pub alias_node: Text,
    /// Service instance to follow.
    pub alias_service: Text,
    /// Container to run `script_args` in.
    pub docker_container_id: Text,
    /// Shell in the container.
    pub shell: Text,
    /// Time between runs.
    pub interval: Duration,
    /// Limit of one run; zero means the type's default.
    pub timeout: Duration,
    /// Time to live of reported results.
    pub ttl: Duration,
    /// Successes in a row before passing.
    pub success_before_passing: i64,
    /// Failures in a row before critical.
    pub failures_before_critical: i64,
    /// Remove the service after being critical for so long; zero is never.
    pub deregister_critical_service_after: Duration,
    /// Bytes of output kept; zero means the agent's limit.
    pub output_max_size: i64,
}

/// A stand-alone check, or one bound to a registered service.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CheckDefinition {
    /// The check; `check.id` may be empty, then the name is the ID.
    pub check: CheckType,
    /// Instance it belongs to; empty for a node-level check.
    pub service_id: Text,
    /// ACL token for its catalog writes.
    pub token: Text,
}
