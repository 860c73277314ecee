//! Keys whose feature is not built yet: one table that says what happens to each.
//!
//! A feature that is merely absent is named in a warning at start, never silently ignored. A setting that protects
//! something is refused, because an agent that ignored it would leave a door open that its operator believes shut.
//! A row leaves this table in the commit that builds its feature.

use crate::config::Config;
use crate::get::View;

/// What happens when a row applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Warn,
    Refuse,
}

/// One key.
struct Row {
    key: &'static str,
    applies: fn(&Config, View<'_>) -> bool,
    outcome: Outcome,
    sentence: &'static str,
}

const fn warn(
    key: &'static str,
    applies: fn(&Config, View<'_>) -> bool,
    sentence: &'static str,
) -> Row {
    Row {
        key,
        applies,
        outcome: Outcome::Warn,
        sentence,
    }
}

const fn refuse(
    key: &'static str,
    applies: fn(&Config, View<'_>) -> bool,
    sentence: &'static str,
) -> Row {
    Row {
        key,
        applies,
        outcome: Outcome::Refuse,
        sentence,
    }
}

static ROWS: &[Row] = &[
    refuse(
        "acl.enabled",
        |c, _| c.acl.enabled,
        "ACLs are not enforced yet; starting with them enabled would leave every endpoint open",
    ),
    refuse(
        "verify_incoming",
        |c, _| c.reloadable.tls.verify_incoming,
        "TLS on the server port is not built yet; use \"verify_incoming_https\" for the HTTPS listener",
    ),
    refuse(
        "verify_incoming_rpc",
        |c, _| c.reloadable.tls.verify_incoming_rpc,
        "TLS on the server port is not built yet; connections would not be verified",
    ),
    refuse(
        "verify_server_hostname",
        |c, _| c.reloadable.tls.verify_server_hostname,
        "TLS between agents is not built yet; servers would not be verified",
    ),
    refuse(
        "verify_outgoing",
        |c, _| c.reloadable.tls.verify_outgoing,
        "TLS between agents is not built yet; connections would not be verified",
    ),
    refuse(
        "auto_encrypt.tls",
        |c, _| c.auto_encrypt.tls,
        "automatic certificates are not built yet",
    ),
    refuse(
        "auto_encrypt.allow_tls",
        |c, _| c.auto_encrypt.allow_tls,
        "automatic certificates are not built yet",
    ),
    refuse(
        "auto_config.enabled",
        |c, _| c.auto_config.enabled,
        "automatic configuration is not built yet",
    ),
    refuse(
        "auto_config.authorization.enabled",
        |c, _| c.auto_config.authorization_enabled,
        "automatic configuration is not built yet",
    ),
    refuse(
        "acl.tokens.master",
        |c, _| !c.acl.enabled && c.acl.default_policy == "deny",
        "ACLs are not enforced yet, and the default policy is deny",
    ),
    warn(
        "raft_protocol",
        |c, _| c.server.enabled && c.raft.protocol != 3,
        "Tribune's servers have one protocol between them, and tell others that it is version 3",
    ),
    warn(
        "primary_gateways",
        |c, _| !c.join.primary_gateways.is_empty(),
        "mesh gateways are not built yet",
    ),
    warn(
        "primary_datacenter",
        |c, _| c.primary_datacenter != c.datacenter,
        "nothing is replicated from it yet: ACLs, intentions, config entries and certificates are not built",
    ),
    warn(
        "connect.enabled",
        |c, _| c.connect.enabled,
        "the service mesh is not built yet; registrations keep their proxy blocks as data",
    ),
    warn(
        "connect.enable_mesh_gateway_wan_federation",
        |c, _| c.connect.mesh_gateway_wan_federation,
        "federation through mesh gateways is not built yet",
    ),
    warn(
        "ports.grpc",
        |c, _| !c.listeners.grpc.is_empty(),
        "the gRPC API is not built yet; the port stays closed",
    ),
    warn(
        "config_entries.bootstrap",
        |c, _| !c.reloadable.config_entries.is_empty(),
        "config entries are not built yet",
    ),
    warn(
        "enable_central_service_config",
        |c, v| {
            c.flags.enable_central_service_config
                && v.raw("enable_central_service_config").is_some()
        },
        "config entries are not built yet",
    ),
    warn(
        "ui",
        |c, _| c.ui.enabled,
        "the browser interface is not built yet",
    ),
    warn(
        "ui_dir",
        |c, _| c.ui.dir.is_some(),
        "the browser interface is not built yet",
    ),
    warn(
        "telemetry.circonus_*",
        |c, _| c.telemetry.circonus,
        "Circonus is not built",
    ),
    warn(
        "tls_cipher_suites",
        |c, _| !c.tls.cipher_suites.is_empty(),
        "the TLS library's own choice of suites is used; all of them are considered safe",
    ),
    warn(
        "tls_prefer_server_cipher_suites",
        |c, _| c.tls.prefer_server_cipher_suites,
        "the order of suites is the TLS library's",
    ),
    warn(
        "acl.tokens",
        |c, _| c.reloadable.tokens != Default::default() || !c.acl.master_token.is_anonymous(),
        "ACLs are not built yet; tokens have no effect",
    ),
    warn(
        "snapshot_agent",
        |_, v| v.raw("snapshot_agent").is_some(),
        "the snapshot agent is an Enterprise feature",
    ),
];

/// Sentences about settings without effect, and about settings that stop the start.
pub(crate) fn unbuilt(config: &Config, view: View<'_>) -> (Vec<String>, Vec<String>) {
    let (mut warnings, mut refusals) = (Vec::new(), Vec::new());
    for row in ROWS.iter().filter(|row| (row.applies)(config, view)) {
        match row.outcome {
            Outcome::Warn => {
                warnings.push(format!("\"{}\" has no effect: {}", row.key, row.sentence))
            }
            Outcome::Refuse => {
                refusals.push(format!("\"{}\" is refused: {}", row.key, row.sentence))
            }
        }
    }
    (warnings, refusals)
}
