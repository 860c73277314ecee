//! The settings of simulated agents: what an operator would write, with times short enough for a world of seconds.

use std::net::IpAddr;
use std::time::Duration;

use tribune_config::{Config, Environment, load, parse_agent_flags};

/// The data folder on every simulated disk.
pub(super) const DATA_DIR: &str = "/data";

/// What one agent's settings depend on.
#[derive(Debug, Clone)]
pub(super) struct Role {
    /// Node name, unique in its datacenter.
    pub(super) name: String,
    /// The datacenter.
    pub(super) datacenter: String,
    /// Own address.
    pub(super) ip: IpAddr,
    /// A server, of so many.
    pub(super) server_of: Option<usize>,
    /// Who to join.
    pub(super) join: Vec<IpAddr>,
    /// Who to join of the servers of other datacenters; `None` keeps a server out of the WAN pool.
    pub(super) join_wan: Option<Vec<IpAddr>>,
    /// Forgets servers of other datacenters soon after they failed. A bug put in on purpose.
    pub(super) forgets: bool,
}

/// Validated settings.
///
/// # Errors
/// What the settings loader says.
pub(super) fn config(role: &Role) -> Result<Config, String> {
    let list = |ips: &[IpAddr]| {
        let quoted: Vec<String> = ips.iter().map(|ip| format!("\"{ip}\"")).collect();
        quoted.join(", ")
    };
    let server = match role.server_of {
        None => String::new(),
        Some(1) => "server = true bootstrap = true".to_owned(),
        Some(count) => format!("server = true bootstrap_expect = {count}"),
    };
    let (wan, wan_port) = match &role.join_wan {
        Some(ips) if role.server_of.is_some() => {
            let join = list(ips);
            let join = format!("retry_join_wan = [{join}] retry_interval_wan = \"1s\"");
            (format!("{join} {GOSSIP_WAN}"), 8302)
        }
        _ => (String::new(), -1),
    };
    let hcl = format!(
        r#"
        node_name = "{name}"
        datacenter = "{datacenter}"
        bind_addr = "{ip}"
        data_dir = "{DATA_DIR}"
        {server}
        retry_join = [{join}]
        retry_interval = "1s"
        session_ttl_min = "1s"
        ports {{ http = -1 dns = -1 grpc = -1 serf_wan = {wan_port} }}
        {wan}
        performance {{ raft_multiplier = 1 rpc_hold_timeout = "2s" leave_drain_time = "500ms" }}
        gossip_lan {{ probe_interval = "500ms" probe_timeout = "200ms" gossip_interval = "100ms" }}
        autopilot {{ server_stabilization_time = "500ms" }}
        "#,
        name = role.name,
        datacenter = role.datacenter,
        ip = role.ip,
        join = list(&role.join),
    );
    let flags = parse_agent_flags(&["-hcl", &hcl]).map_err(|err| err.to_string())?;
    let loaded = load(&flags, &Environment::default()).map_err(|err| err.to_string())?;
    let mut config = loaded.config;
    // Shorter than a file may ask for.
    config.raft.heartbeat_timeout = Duration::from_millis(600);
    config.raft.election_timeout = Duration::from_millis(600);
    // Snapshots and purges within every life.
    config.raft.snapshot_threshold = 60;
    config.raft.snapshot_interval = Duration::from_millis(500);
    config.raft.trailing_logs = 20;
    config.checks.sync_interval = Duration::from_secs(5);
    config.server.health_interval = Duration::from_millis(500);
    if role.forgets {
        config.gossip_wan.reconnect_timeout = Duration::from_secs(1);
    }
    Ok(config)
}

/// A round trip between two datacenters takes up to 600 ms.
const GOSSIP_WAN: &str = r#"gossip_wan {
    probe_interval = "700ms" probe_timeout = "600ms" gossip_interval = "200ms" suspicion_mult = 3
}"#;
