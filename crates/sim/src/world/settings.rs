//! The settings of simulated agents: what an operator would write, with times short enough for a world of seconds.

use std::net::IpAddr;
use std::time::Duration;

use tribune_config::{Config, Environment, load, parse_agent_flags};

/// The data folder on every simulated disk.
pub(super) const DATA_DIR: &str = "/data";

/// What one agent's settings depend on.
#[derive(Debug, Clone)]
pub(super) struct Role {
    /// Node name.
    pub(super) name: String,
    /// Own address.
    pub(super) ip: IpAddr,
    /// A server, of so many.
    pub(super) server_of: Option<usize>,
    /// Who to join.
    pub(super) join: Vec<IpAddr>,
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
    let hcl = format!(
        r#"
        node_name = "{name}"
        bind_addr = "{ip}"
        data_dir = "{DATA_DIR}"
        {server}
        retry_join = [{join}]
        retry_interval = "1s"
        session_ttl_min = "1s"
        ports {{ http = -1 dns = -1 grpc = -1 }}
        performance {{ raft_multiplier = 1 rpc_hold_timeout = "2s" leave_drain_time = "500ms" }}
        gossip_lan {{ probe_interval = "500ms" probe_timeout = "200ms" gossip_interval = "100ms" }}
        autopilot {{ server_stabilization_time = "500ms" }}
        "#,
        name = role.name,
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
    Ok(config)
}
