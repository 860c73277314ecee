//! What the binary tells the front: listeners, limits and switches.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

pub use crate::tls::{TlsError, TlsOptions};

/// Where to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// IP address and port; port 0 takes a free one.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Address.
    pub place: Place,
    /// Speak TLS.
    pub tls: bool,
}

/// Owner and mode of Unix sockets; `None` keeps what the system gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UnixPermissions {
    /// Permission bits.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
}

/// Limits on requests and connections.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Connections per client address; 0 is no limit. Further ones are closed at once.
    pub max_conns_per_client: usize,
    /// Time for a TLS handshake.
    pub https_handshake_timeout: Duration,
    /// Largest KV value in bytes.
    pub kv_value_size_max: u64,
    /// Largest transaction body in bytes; raised to `kv_value_size_max` if that is larger.
    pub txn_size_max: u64,
    /// Largest body of other requests in bytes. Consul 1.8 has no such limit.
    pub body_size_max: u64,
    /// How long the head of a request may take from its first byte, and a body may stall.
    pub slow_client_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_conns_per_client: 200,
            https_handshake_timeout: Duration::from_secs(5),
            kv_value_size_max: 512 * 1024,
            txn_size_max: 512 * 1024,
            body_size_max: 8 * 1024 * 1024,
            slow_client_timeout: Duration::from_secs(30),
        }
    }
}

/// Everything about the front.
#[derive(Debug, Clone, Default)]
pub struct HttpOptions {
    /// Listeners, plain and TLS.
    pub listeners: Vec<Listener>,
    /// Owner and mode of Unix sockets.
    pub unix: UnixPermissions,
    /// Certificates; TLS listeners without them accept and fail every handshake, as Consul's do.
    pub tls: Option<TlsOptions>,
    /// Limits.
    pub limits: Limits,
    /// Path prefixes answered with 403.
    pub block_endpoints: Vec<String>,
    /// Networks that may write; empty means all.
    pub allow_write_from: Vec<IpNet>,
    /// Headers added to every answer.
    pub response_headers: BTreeMap<String, String>,
    /// Let paths hold unprintable characters.
    pub allow_unprintable: bool,
    /// Indent JSON without being asked (`-dev`).
    pub pretty_default: bool,
    /// Show the `wan` addresses of nodes in other datacenters.
    pub translate_wan_addrs: bool,
    /// Catalog and health reads without a mode may be stale by so much; zero is off.
    pub discovery_max_stale: Duration,
    /// `?cached` answers carry `X-Cache`.
    pub use_cache: bool,
    /// Wait of blocking reads of the agent itself if the client names none. Zero means 300 s.
    pub default_query_time: Duration,
    /// Upper bound of such waits. Zero means 600 s.
    pub max_query_time: Duration,
    /// ACLs are on: endpoints about tokens are served.
    pub acl_enabled: bool,
}

/// What may change while serving.
#[derive(Debug, Clone)]
pub struct HttpReload {
    /// New certificates; `None` leaves TLS listeners as they are.
    pub tls: Option<TlsOptions>,
    /// Connections per client address; 0 is no limit.
    pub max_conns_per_client: usize,
    /// See [`HttpOptions::discovery_max_stale`].
    pub discovery_max_stale: Duration,
}
