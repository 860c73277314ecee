//! The validated configuration of an agent. Nothing of the file format is left in it.
//!
//! Made by `load` only. Units are in the types (`Duration`, sizes in bytes). [`Reloadable`] holds what a reload may
//! change; all else needs a restart. Keys and defaults: spec config.md sections 3 to 9. Secrets do not print.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use tribune_types::caller::Token;
use tribune_types::definition::{CheckDefinition, ServiceDefinition};
use tribune_types::id::NodeId;
use tribune_types::text::TextMap;
use tribune_types::value::ValueMap;

use crate::error::Secret;
use crate::watch::Watch;

/// Everything an agent is told at start.
#[derive(Debug, Clone)]
pub struct Config {
    /// `-dev`: nothing on disk, one-server cluster.
    pub dev_mode: bool,
    /// Who this agent is.
    pub node: NodeConfig,
    /// Datacenter name, `^[a-z0-9_-]+$`. Default `dc1`.
    pub datacenter: String,
    /// Authority for ACLs and certificates. Default: the own datacenter.
    pub primary_datacenter: String,
    /// Where state is kept; `None` only in dev mode.
    pub data_dir: Option<PathBuf>,
    /// Written at start, removed at exit.
    pub pid_file: Option<PathBuf>,
    /// Server mode and its start.
    pub server: ServerConfig,
    /// Own addresses towards the cluster.
    pub addrs: ClusterAddrs,
    /// Addresses of the fronts.
    pub listeners: Listeners,
    /// Port ranges the agent gives out.
    pub port_ranges: PortRanges,
    /// DNS zones; the rest of DNS is reloadable.
    pub dns: DnsZones,
    /// HTTP behaviour.
    pub http: HttpConfig,
    /// Limits that need a restart.
    pub limits: LimitsConfig,
    /// Timing of servers.
    pub performance: PerformanceConfig,
    /// Consensus.
    pub raft: RaftConfig,
    /// LAN gossip timing.
    pub gossip_lan: GossipConfig,
    /// WAN gossip timing.
    pub gossip_wan: GossipConfig,
    /// Joining other agents.
    pub join: JoinConfig,
    /// Gossip encryption.
    pub encrypt: EncryptConfig,
    /// Seeds of the replicated autopilot settings.
    pub autopilot: AutopilotSeed,
    /// Coordinate updates.
    pub coordinate: CoordinateConfig,
    /// Metrics.
    pub telemetry: TelemetryConfig,
    /// TLS settings that need a restart; files are reloadable.
    pub tls: TlsConfig,
    /// ACL settings; tokens are reloadable.
    pub acl: AclConfig,
    /// Service mesh.
    pub connect: ConnectConfig,
    /// Certificates handed to clients.
    pub auto_encrypt: AutoEncryptConfig,
    /// Configuration handed to clients.
    pub auto_config: AutoConfigConfig,
    /// Health checks.
    pub checks: ChecksConfig,
    /// Log outputs; the level is reloadable.
    pub log: LogConfig,
    /// Browser interface.
    pub ui: UiConfig,
    /// Signals and leaving.
    pub leave: LeaveConfig,
    /// Small switches.
    pub flags: FeatureFlags,
    /// What a reload may change.
    pub reloadable: Reloadable,
}

/// Who this agent is.
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// Name, unique in the cluster. Default: host name.
    pub name: String,
    /// ID from the configuration; without one the agent reads, derives or draws it.
    pub id: Option<NodeId>,
    /// `disable_host_node_id`: do not derive the ID from the host's UUID. Default true.
    pub disable_host_id: bool,
    /// `server_name`: TLS name. Default empty, meaning the node name.
    pub server_name: String,
    /// `tagged_addresses` with the derived ones: `lan`, `wan`, `lan_ipv4`, ...
    pub tagged_addresses: BTreeMap<String, String>,
}

/// Server mode and its start.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Server or client agent. Default false, in dev mode true.
    pub enabled: bool,
    /// Elect itself at once. Default false.
    pub bootstrap: bool,
    /// Wait for so many servers before the first election; 0 is off, never 1.
    pub bootstrap_expect: u32,
    /// Server protocol version. Default 2, range 2 to 3.
    pub protocol: u8,
    /// Lowest session TTL. Default 10 s.
    pub session_ttl_min: Duration,
    /// How often the leader looks at the health of servers: 2 s, dev 10 ms.
    pub health_interval: Duration,
}

/// Own addresses towards the cluster.
#[derive(Debug, Clone)]
pub struct ClusterAddrs {
    /// Default listening address. Default `0.0.0.0`.
    pub bind: IpAddr,
    /// LAN address told to others.
    pub advertise_lan: IpAddr,
    /// WAN address told to others. Default: the LAN one.
    pub advertise_wan: IpAddr,
    /// Where servers take RPC.
    pub rpc_bind: SocketAddr,
    /// RPC address told to others.
    pub rpc_advertise: SocketAddr,
    /// LAN gossip listener.
    pub serf_lan_bind: SocketAddr,
    /// LAN gossip address told to others.
    pub serf_lan_advertise: SocketAddr,
    /// WAN gossip listener; `None` when `ports.serf_wan` is not positive.
    pub serf_wan_bind: Option<SocketAddr>,
    /// WAN gossip address told to others.
    pub serf_wan_advertise: Option<SocketAddr>,
    /// Networks LAN gossip peers may come from; empty means all.
    pub serf_lan_allowed: Vec<IpNet>,
    /// Networks WAN gossip peers may come from; empty means all.
    pub serf_wan_allowed: Vec<IpNet>,
}

/// One listening address of a front.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ListenAddr {
    /// IP address and port.
    Tcp(SocketAddr),
    /// Path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddr::Tcp(addr) => write!(f, "{addr}"),
            ListenAddr::Unix(path) => write!(f, "unix://{}", path.display()),
        }
    }
}

/// Addresses of the fronts; an empty list means the front is off.
#[derive(Debug, Clone)]
pub struct Listeners {
    /// `client_addr`. Default `127.0.0.1`.
    pub client: Vec<ListenAddr>,
    /// DNS over UDP and TCP.
    pub dns: Vec<SocketAddr>,
    /// HTTP API.
    pub http: Vec<ListenAddr>,
    /// HTTP API over TLS.
    pub https: Vec<ListenAddr>,
    /// gRPC (xDS).
    pub grpc: Vec<ListenAddr>,
    /// Configured port, -1 when off, as `/v1/agent/self` shows it. Default 8600.
    pub dns_port: i32,
    /// Configured port, -1 when off. Default 8500.
    pub http_port: i32,
    /// Configured port, -1 when off. Default -1.
    pub https_port: i32,
    /// Configured port, -1 when off. Default -1, dev 8502.
    pub grpc_port: i32,
    /// Owner and mode of Unix sockets.
    pub unix_sockets: UnixSocketConfig,
}

/// Owner and mode of Unix sockets; empty keeps the system's.
#[derive(Debug, Clone, Default)]
pub struct UnixSocketConfig {
    /// User name or number.
    pub user: String,
    /// Group number.
    pub group: String,
    /// Octal mode.
    pub mode: String,
}

/// An inclusive range of ports; both 0 turns it off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub min: u16,
    /// Highest port.
    pub max: u16,
}

/// Port ranges the agent gives out.
#[derive(Debug, Clone)]
pub struct PortRanges {
    /// Sidecars without a port. Default 21000 to 21255.
    pub sidecar: PortRange,
    /// Exposed checks. Default 21500 to 21755.
    pub expose: PortRange,
}

/// DNS zones.
#[derive(Debug, Clone)]
pub struct DnsZones {
    /// Zone, as configured. Default `consul.`.
    pub domain: String,
    /// Second zone; empty means none.
    pub alt_domain: String,
}

/// HTTP behaviour.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Path prefixes answered with 403.
    pub block_endpoints: Vec<String>,
    /// Networks that may write agent endpoints; empty means all.
    pub allow_write_from: Vec<IpNet>,
    /// Headers added to every answer.
    pub response_headers: BTreeMap<String, String>,
    /// Serve `?cached` from the agent cache. Default true.
    pub use_cache: bool,
    /// Blocking query wait if none is given. Default 300 s.
    pub default_query_time: Duration,
    /// Upper bound of `wait`. Default 600 s.
    pub max_query_time: Duration,
    /// Reads without a mode may be stale by so much; 0 is off.
    pub discovery_max_stale: Duration,
    /// `/debug/pprof` without ACLs. Default false.
    pub enable_debug: bool,
    /// Allow unprintable characters in paths. Default false.
    pub allow_unprintable: bool,
    /// `translate_wan_addrs`. Default false.
    pub translate_wan_addrs: bool,
}

/// Limits that need a restart.
#[derive(Debug, Clone)]
pub struct LimitsConfig {
    /// Time a TLS handshake on HTTPS may take. Default 5 s.
    pub https_handshake_timeout: Duration,
    /// Time a handshake on the server port may take. Default 5 s.
    pub rpc_handshake_timeout: Duration,
    /// Connections per source on the server port; 0 is no limit. Default 100.
    pub rpc_max_conns_per_client: u32,
    /// Largest KV value. Default 524288 bytes.
    pub kv_value_size_max: u64,
    /// Largest transaction body. Default 524288 bytes.
    pub txn_size_max: u64,
}

/// Timing of servers.
#[derive(Debug, Clone)]
pub struct PerformanceConfig {
    /// Scales the consensus timing. Default 5, dev 1, range 1 to 10.
    pub raft_multiplier: u32,
    /// Dwell time on a graceful leave. Default 5 s.
    pub leave_drain_time: Duration,
    /// Retry window while there is no leader. Default 7 s.
    pub rpc_hold_timeout: Duration,
}

/// Consensus.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// Protocol version of the configuration. Default 3, range 1 to 3 (only 3 is spoken).
    pub protocol: u8,
    /// Entries between snapshots. Default 16384.
    pub snapshot_threshold: u64,
    /// How often the threshold is looked at. Default 30 s.
    pub snapshot_interval: Duration,
    /// Entries kept behind a snapshot. Default 10240.
    pub trailing_logs: u64,
    /// Follower patience, multiplied already. Default 1 s × multiplier, dev 35 ms.
    pub heartbeat_timeout: Duration,
    /// Candidate patience, multiplied already. Default 1 s × multiplier, dev 52 ms.
    pub election_timeout: Duration,
    /// Leader lease, multiplied already. Default 500 ms × multiplier, dev 20 ms.
    pub leader_lease_timeout: Duration,
}

/// Gossip timing of one pool.
#[derive(Debug, Clone)]
pub struct GossipConfig {
    /// Peers per gossip round.
    pub gossip_nodes: u32,
    /// Time between rounds.
    pub gossip_interval: Duration,
    /// Time between probes.
    pub probe_interval: Duration,
    /// Patience with one probe.
    pub probe_timeout: Duration,
    /// Length of suspicion.
    pub suspicion_mult: u32,
    /// Repetition of broadcasts.
    pub retransmit_mult: u32,
    /// Dead members are forgotten after this. Default 72 h.
    pub reconnect_timeout: Duration,
}

/// Joining other agents.
#[derive(Debug, Clone)]
pub struct JoinConfig {
    /// Tried once at start.
    pub start_lan: Vec<String>,
    /// Tried once at start.
    pub start_wan: Vec<String>,
    /// Tried until it works.
    pub retry_lan: Vec<String>,
    /// Tried until it works.
    pub retry_wan: Vec<String>,
    /// Time between tries. Default 30 s.
    pub retry_interval_lan: Duration,
    /// Time between tries. Default 30 s.
    pub retry_interval_wan: Duration,
    /// Tries before the agent gives up; 0 never.
    pub retry_max_lan: u32,
    /// Tries before the agent gives up; 0 never.
    pub retry_max_wan: u32,
    /// Rejoin after an intentional leave. Default false.
    pub rejoin_after_leave: bool,
    /// Mesh gateways of the primary datacenter.
    pub primary_gateways: Vec<String>,
    /// How often the gateways are resolved again. Default 30 s.
    pub primary_gateways_interval: Duration,
}

/// Gossip encryption.
#[derive(Debug, Clone)]
pub struct EncryptConfig {
    /// Base64 of 16, 24 or 32 bytes; empty is off.
    pub key: Secret,
    /// Refuse plain gossip. Default true.
    pub verify_incoming: bool,
    /// Send no plain gossip. Default true.
    pub verify_outgoing: bool,
    /// Keep keys in memory only. Default false, dev true.
    pub disable_keyring_file: bool,
}

/// Seeds of the replicated autopilot settings.
#[derive(Debug, Clone)]
pub struct AutopilotSeed {
    /// Default true.
    pub cleanup_dead_servers: bool,
    /// Default 200 ms.
    pub last_contact_threshold: Duration,
    /// Default 250.
    pub max_trailing_logs: u64,
    /// Default 0.
    pub min_quorum: u64,
    /// Default 10 s.
    pub server_stabilization_time: Duration,
}

/// Coordinate updates.
#[derive(Debug, Clone)]
pub struct CoordinateConfig {
    /// Send and keep none. Default false.
    pub disabled: bool,
    /// Batch size on servers: 128.
    pub update_batch_size: u32,
    /// Batches per period: 5.
    pub update_batches_max: u32,
    /// Period of batches: 5 s, dev 100 ms.
    pub update_period: Duration,
    /// Updates per second of the whole cluster: 64.
    pub sync_rate_target: f64,
    /// Least time between updates of one agent: 15 s.
    pub sync_interval_min: Duration,
}

/// Metrics.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// Default `consul`.
    pub metrics_prefix: String,
    /// Gauges without the host name. Default false.
    pub disable_hostname: bool,
    /// Pass what no rule names. Default true.
    pub filter_default: bool,
    /// Prometheus form of metrics; 0 is off.
    pub prometheus_retention: Duration,
    /// `host:port`, TCP; empty is off.
    pub statsite_address: String,
    /// `host:port`, UDP; empty is off.
    pub statsd_address: String,
    /// `host:port` or `unix://path`; empty is off.
    pub dogstatsd_address: String,
    /// Tags sent with every metric.
    pub dogstatsd_tags: Vec<String>,
    /// A `circonus_*` key is set.
    pub circonus: bool,
}

/// Lowest TLS version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// 1.0; treated as 1.2, the lowest version there is.
    Tls10,
    /// 1.1; treated as 1.2, the lowest version there is.
    Tls11,
    /// 1.2.
    Tls12,
    /// 1.3.
    Tls13,
}

/// TLS settings that need a restart.
#[derive(Debug, Clone)]
pub struct TlsConfig {
    /// Default `tls12`.
    pub min_version: TlsVersion,
    /// Names as Go spells them; empty means the defaults.
    pub cipher_suites: Vec<String>,
    /// Default false.
    pub prefer_server_cipher_suites: bool,
    /// Use the agent's certificate for health checks. Default false.
    pub enable_for_checks: bool,
}

/// TLS files and verification, applied by a reload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// CA bundle.
    pub ca_file: Option<PathBuf>,
    /// Directory of CA files.
    pub ca_path: Option<PathBuf>,
    /// Certificate chain.
    pub cert_file: Option<PathBuf>,
    /// Private key.
    pub key_file: Option<PathBuf>,
    /// Both RPC and HTTPS demand client certificates.
    pub verify_incoming: bool,
    /// RPC demands client certificates.
    pub verify_incoming_rpc: bool,
    /// HTTPS demands client certificates.
    pub verify_incoming_https: bool,
    /// Outgoing RPC uses TLS. Implied by `verify_server_hostname`.
    pub verify_outgoing: bool,
    /// Servers must show `server.<dc>.<domain>`.
    pub verify_server_hostname: bool,
}

impl TlsFiles {
    /// True if the HTTPS listener demands a client certificate.
    pub fn https_client_auth(&self) -> bool {
        self.verify_incoming || self.verify_incoming_https
    }
}

/// ACL settings.
#[derive(Debug, Clone)]
pub struct AclConfig {
    /// Default false; `acl_datacenter` turns it on.
    pub enabled: bool,
    /// Default `allow`.
    pub default_policy: String,
    /// Default `extend-cache`.
    pub down_policy: String,
    /// Default 30 s.
    pub policy_ttl: Duration,
    /// Default 30 s.
    pub role_ttl: Duration,
    /// Default 30 s.
    pub token_ttl: Duration,
    /// Default false.
    pub enable_key_list_policy: bool,
    /// Default false.
    pub enable_token_replication: bool,
    /// Default false.
    pub enable_token_persistence: bool,
    /// Initial management token.
    pub master_token: Token,
}

/// Tokens of the agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AclTokens {
    /// For requests without a token.
    pub default: Token,
    /// For the agent's own work.
    pub agent: Token,
    /// For agent endpoints while servers are away.
    pub agent_master: Token,
    /// For replication from the primary.
    pub replication: Token,
}

/// Service mesh.
#[derive(Debug, Clone)]
pub struct ConnectConfig {
    /// Default false, dev true.
    pub enabled: bool,
    /// `consul`, `vault`, `aws-pca`; empty means `consul`.
    pub ca_provider: String,
    /// Provider settings, keys in the CamelCase of the API.
    pub ca_config: ValueMap,
    /// WAN federation through mesh gateways. Default false.
    pub mesh_gateway_wan_federation: bool,
}

/// Certificates handed to clients.
#[derive(Debug, Clone)]
pub struct AutoEncryptConfig {
    /// Client side.
    pub tls: bool,
    /// Server side.
    pub allow_tls: bool,
    /// Extra names.
    pub dns_san: Vec<String>,
    /// Extra addresses.
    pub ip_san: Vec<IpAddr>,
}

/// Configuration handed to clients.
#[derive(Debug, Clone)]
pub struct AutoConfigConfig {
    /// Client side.
    pub enabled: bool,
    /// JWT.
    pub intro_token: Secret,
    /// File of the JWT.
    pub intro_token_file: Option<PathBuf>,
    /// Servers to ask.
    pub server_addresses: Vec<String>,
    /// Extra names.
    pub dns_sans: Vec<String>,
    /// Extra addresses.
    pub ip_sans: Vec<IpAddr>,
    /// Server side.
    pub authorization_enabled: bool,
}

/// Health checks.
#[derive(Debug, Clone)]
pub struct ChecksConfig {
    /// Bytes of output kept. Default 4096, at least 1.
    pub output_size_max: usize,
    /// Delay of output-only updates. Default 5 min; 0 sends at once.
    pub update_interval: Duration,
    /// Scripts from files and the API. Default false.
    pub enable_scripts: bool,
    /// Scripts from files. Default false; true with `enable_scripts`.
    pub enable_local_scripts: bool,
    /// How often critical services are looked at: 30 s.
    pub reap_interval: Duration,
    /// Least `deregister_critical_service_after`: 1 min.
    pub deregister_interval_min: Duration,
    /// Period of the full sync: 1 min.
    pub sync_interval: Duration,
}

/// Log level names of Consul.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Bytes.
    Trace,
    /// Decisions.
    Debug,
    /// State changes.
    Info,
    /// May need a human.
    Warn,
    /// Needs a human.
    Error,
}

impl LogLevel {
    /// Parses any letter case of the names of config.md section 4.
    pub fn parse(name: &str) -> Option<LogLevel> {
        Some(match name.to_ascii_uppercase().as_str() {
            "TRACE" => LogLevel::Trace,
            "DEBUG" => LogLevel::Debug,
            "INFO" => LogLevel::Info,
            "WARN" => LogLevel::Warn,
            "ERR" | "ERROR" => LogLevel::Error,
            _ => return None,
        })
    }

    /// The name as `/v1/agent/self` shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            LogLevel::Trace => "TRACE",
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warn => "WARN",
            LogLevel::Error => "ERR",
        }
    }
}

/// Log outputs.
#[derive(Debug, Clone)]
pub struct LogConfig {
    /// JSON lines. Default false.
    pub json: bool,
    /// File or, with a trailing slash, directory; empty is off.
    pub file: String,
    /// Rotate at this size; 0 never.
    pub rotate_bytes: u64,
    /// Rotate after this time. Default 24 h.
    pub rotate_duration: Duration,
    /// Archives kept; 0 all, -1 none.
    pub rotate_max_files: i64,
    /// Send to syslog. Default false.
    pub syslog: bool,
    /// Default `LOCAL0`.
    pub syslog_facility: String,
}

/// Browser interface.
#[derive(Debug, Clone)]
pub struct UiConfig {
    /// Default false, dev true.
    pub enabled: bool,
    /// Own files.
    pub dir: Option<PathBuf>,
    /// One leading and one trailing slash. Default `/ui/`.
    pub content_path: String,
}

/// Signals and leaving.
#[derive(Debug, Clone)]
pub struct LeaveConfig {
    /// SIGTERM leaves. Default: clients true, servers false.
    pub on_terminate: bool,
    /// SIGINT does not leave. Default: clients false, servers true.
    pub skip_on_interrupt: bool,
}

/// Small switches.
#[derive(Debug, Clone)]
pub struct FeatureFlags {
    /// Refuse `consul exec` jobs. Default true.
    pub disable_remote_exec: bool,
    /// Default false.
    pub disable_update_check: bool,
    /// Default false.
    pub disable_anonymous_signature: bool,
    /// Merge service and proxy defaults into registrations. Default false, as the 1.8.7 binary has it.
    pub enable_central_service_config: bool,
}

/// DNS answers. All of it is reloadable.
#[derive(Debug, Clone, PartialEq)]
pub struct DnsConfig {
    /// Default true.
    pub allow_stale: bool,
    /// Default 87600 h.
    pub max_stale: Duration,
    /// Default 0.
    pub node_ttl: Duration,
    /// Service name, `*` or `prefix*` to TTL.
    pub service_ttl: BTreeMap<String, Duration>,
    /// Set TC when records were cut. Default false.
    pub enable_truncate: bool,
    /// Drop warning instances too. Default false.
    pub only_passing: bool,
    /// Upstream servers in order, without duplicates: `ip`, `ip:port` or `host:port`.
    pub recursors: Vec<String>,
    /// Default 2 s.
    pub recursor_timeout: Duration,
    /// Default false.
    pub disable_compression: bool,
    /// Default 3.
    pub udp_answer_limit: usize,
    /// 0 is no limit. Default 0.
    pub a_record_limit: usize,
    /// Default true.
    pub node_meta_txt: bool,
    /// SOA numbers in seconds.
    pub soa: SoaConfig,
    /// Answer from the agent cache. Default false.
    pub use_cache: bool,
    /// Default 0.
    pub cache_max_age: Duration,
}

/// SOA numbers in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SoaConfig {
    /// Default 3600.
    pub refresh: u32,
    /// Default 600.
    pub retry: u32,
    /// Default 86400.
    pub expire: u32,
    /// Default 0.
    pub min_ttl: u32,
}

/// What a reload may change. Compare two values to see what did.
#[derive(Debug, Clone)]
pub struct Reloadable {
    /// Default INFO, dev DEBUG.
    pub log_level: LogLevel,
    /// At most 64 pairs, keys ≤128 of `[A-Za-z0-9_-]`, values ≤512.
    pub node_meta: TextMap,
    /// Services to register (`service` and `services`).
    pub services: Vec<ServiceDefinition>,
    /// Checks to register (`check` and `checks`).
    pub checks: Vec<CheckDefinition>,
    /// Watches to run.
    pub watches: Vec<Watch>,
    /// Tokens of the agent.
    pub tokens: AclTokens,
    /// Certificates and verification.
    pub tls: TlsFiles,
    /// DNS answers and recursors.
    pub dns: DnsConfig,
    /// Requests per second that an agent makes of its servers, or of itself as one; `None` is no limit.
    pub rpc_rate: Option<f64>,
    /// Burst of `rpc_rate`. Default 1000.
    pub rpc_max_burst: u32,
    /// HTTP and HTTPS connections per source; 0 is no limit. Default 200.
    pub http_max_conns_per_client: u32,
    /// Fetches per second of one cache entry; `None` is no limit.
    pub cache_entry_fetch_rate: Option<f64>,
    /// Default 2.
    pub cache_entry_fetch_burst: u32,
    /// Metric prefixes that pass.
    pub telemetry_allowed_prefixes: Vec<String>,
    /// Metric prefixes that do not.
    pub telemetry_blocked_prefixes: Vec<String>,
    /// Store no check output. Default false.
    pub discard_check_output: bool,
    /// Entries the leader writes when absent, keys in the CamelCase of the API.
    pub config_entries: Vec<ValueMap>,
}
