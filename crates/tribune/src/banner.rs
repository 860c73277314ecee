//! What an agent prints before its log: who it is and where it listens (agent.md section 12).

use std::fmt::Write;

use tribune_agent::Handle;
use tribune_agent::info::COMPATIBLE_VERSION;
use tribune_config::Config;

/// The lines between `==> Starting` and the log.
pub(crate) fn banner(config: &Config, handle: &Handle, revision: &str) -> String {
    let identity = handle.identity();
    let listeners = &config.listeners;
    let client: Vec<String> = listeners
        .client
        .iter()
        .map(|addr| match addr {
            tribune_config::ListenAddr::Tcp(addr) => addr.ip().to_string(),
            tribune_config::ListenAddr::Unix(path) => path.display().to_string(),
        })
        .collect();
    let bootstrap = config.server.bootstrap;
    let segment = if identity.server { "<all>" } else { "" };
    let addrs = &config.addrs;
    let wan = addrs
        .serf_wan_bind
        .map_or(-1, |addr| i32::from(addr.port()));
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{name:>18}: {value}");
    };
    line("Version", format!("'{COMPATIBLE_VERSION}' ({revision})"));
    line("Node ID", format!("'{}'", identity.id));
    line("Node name", format!("'{}'", identity.node));
    line(
        "Datacenter",
        format!("'{}' (Segment: '{segment}')", identity.datacenter),
    );
    line(
        "Server",
        format!("{} (Bootstrap: {bootstrap})", identity.server),
    );
    line(
        "Client Addr",
        format!(
            "[{}] (HTTP: {}, HTTPS: {}, gRPC: {}, DNS: {})",
            client.join(" "),
            listeners.http_port,
            listeners.https_port,
            listeners.grpc_port,
            listeners.dns_port
        ),
    );
    line(
        "Cluster Addr",
        format!(
            "{} (LAN: {}, WAN: {wan})",
            addrs.advertise_lan,
            addrs.serf_lan_bind.port()
        ),
    );
    line(
        "Encrypt",
        format!(
            "Gossip: {}, TLS-Outgoing: {}, TLS-Incoming: {}, Auto-Encrypt-TLS: false",
            handle.is_gossip_encrypted(),
            config.reloadable.tls.verify_outgoing,
            config.reloadable.tls.verify_incoming
        ),
    );
    out
}
