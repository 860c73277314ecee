//! The blocks of a service that describe proxies and gateways. Stored and returned as registered.

use crate::text::Text;
use crate::value::ValueMap;

/// Configuration of a proxy or gateway instance.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ProxyConfig {
    /// Name of the service this proxy stands for.
    pub destination_service_name: Text,
    /// Instance this proxy stands for; empty if it serves no single local instance.
    pub destination_service_id: Text,
    /// Where the local instance listens.
    pub local_service_address: Text,
    /// Port of the local instance; 0 if unset.
    pub local_service_port: i64,
    /// Opaque settings for the proxy implementation. `None` is null.
    pub config: Option<ValueMap>,
    /// Services the proxy dials. `None` is null.
    pub upstreams: Option<Vec<Upstream>>,
    /// `""`, `none`, `local` or `remote`.
    pub mesh_gateway_mode: Text,
    /// Paths served without mutual TLS.
    pub expose: ExposeConfig,
}

/// One dialled service of a proxy.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Upstream {
    /// `service` or `prepared_query`; empty means service.
    pub destination_type: Text,
    /// Enterprise namespace.
    pub destination_namespace: Text,
    /// Service or query name.
    pub destination_name: Text,
    /// Datacenter; empty means local.
    pub datacenter: Text,
    /// Local bind address; empty means 127.0.0.1.
    pub local_bind_address: Text,
    /// Local bind port.
    pub local_bind_port: i64,
    /// Opaque settings. `None` is null.
    pub config: Option<ValueMap>,
    /// `""`, `none`, `local` or `remote`.
    pub mesh_gateway_mode: Text,
    /// Hosts of an ingress gateway listener (set by servers only).
    pub ingress_hosts: Vec<Text>,
}

/// Plain HTTP paths exposed through a proxy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExposeConfig {
    /// Expose the paths of all HTTP and gRPC checks.
    pub checks: bool,
    /// Explicit paths. `None` is null.
    pub paths: Option<Vec<ExposePath>>,
}

/// One exposed path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExposePath {
    /// Port the proxy listens on.
    pub listener_port: i64,
    /// Path.
    pub path: Text,
    /// Port of the service behind.
    pub local_path_port: i64,
    /// `http` or `http2`.
    pub protocol: Text,
    /// Made from a check by the agent.
    pub parsed_from_check: bool,
}
