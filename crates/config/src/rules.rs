//! The rules between settings and the ranges of single ones, with the texts of 1.8.7.
//!
//! One function per rule; `build` calls them in the order in which 1.8.7 meets them, because the first stops.

use std::net::IpAddr;

use ipnet::IpNet;
use tribune_types::value::ValueMap;

use crate::addresses::{Host, Reader, rule};
use crate::config::{AutoConfigConfig, Config, PortRange};
use crate::definition::values;
use crate::error::{ConfigError, Secret, multi};
use crate::get::View;
use crate::load::Environment;
use crate::tree::{Object, Tree};

/// A value, or the rule it breaks.
pub(crate) type Checked<T> = Result<T, ConfigError>;

/// `X_min_port` must not lie above `X_max_port`.
pub(crate) fn port_range_order(view: View<'_>, name: &str) -> Checked<()> {
    let (min, max) = (
        view.int(&format!("ports.{name}_min_port")),
        view.int(&format!("ports.{name}_max_port")),
    );
    if max < min {
        return rule(format!(
            "{name}_min_port must be less than {name}_max_port. To disable, set both to zero."
        ));
    }
    Ok(())
}

pub(crate) fn port_range(r: &mut Reader<'_>, name: &str) -> Checked<PortRange> {
    port_range_order(r.view, name)?;
    let mut port =
        |end: &str| u16::try_from(r.port(&format!("ports.{name}_{end}_port"))).unwrap_or(0);
    Ok(PortRange {
        min: port("min"),
        max: port("max"),
    })
}

pub(crate) fn raft_multiplier(view: View<'_>) -> Checked<u32> {
    match view.int("performance.raft_multiplier") {
        n @ 1..=10 => Ok(u32::try_from(n).unwrap_or(1)),
        n => rule(format!(
            "performance.raft_multiplier cannot be {n}. Must be between 1 and 10"
        )),
    }
}

/// Kinds of configuration entries and the keys each may have at its top level, without case and underscores.
const ENTRY_KINDS: &[(&str, &[&str])] = &[
    (
        "service-defaults",
        &["protocol", "meshgateway", "expose", "externalsni"],
    ),
    ("proxy-defaults", &["config", "meshgateway", "expose"]),
    ("service-router", &["routes"]),
    ("service-splitter", &["splits"]),
    (
        "service-resolver",
        &[
            "defaultsubset",
            "subsets",
            "redirect",
            "failover",
            "connecttimeout",
            "loadbalancer",
        ],
    ),
    ("ingress-gateway", &["tls", "listeners"]),
    ("terminating-gateway", &["services"]),
];

/// Keys every entry may have.
const ENTRY_COMMON: &[&str] = &[
    "kind",
    "name",
    "meta",
    "namespace",
    "createindex",
    "modifyindex",
    "raftindex",
];

pub(crate) fn config_entries(view: View<'_>) -> Checked<Vec<ValueMap>> {
    let mut out = Vec::new();
    for (at, entry) in view.objects("config_entries.bootstrap").enumerate() {
        out.push(
            config_entry(entry.0)
                .or_else(|e| rule(format!("config_entries.bootstrap[{at}]: {e}")))?,
        );
    }
    Ok(out)
}

fn config_entry(entry: &Object) -> Result<ValueMap, String> {
    let kind = match entry.get("kind").or_else(|| entry.get("Kind")) {
        Some(Tree::String(kind)) => kind,
        Some(_) => return Err("Kind value in payload is not a string".to_owned()),
        None => return Err("Payload does not contain a kind/Kind key at the top level".to_owned()),
    };
    let Some((_, keys)) = ENTRY_KINDS.iter().find(|(name, _)| name == kind) else {
        return Err(format!("invalid config entry kind: {kind}"));
    };
    let folded = |key: &str| {
        key.chars()
            .filter(|c| *c != '_')
            .flat_map(char::to_lowercase)
            .collect::<String>()
    };
    let unknown: Vec<String> = entry
        .keys()
        .filter(|key| {
            let key = folded(key);
            !keys.contains(&key.as_str()) && !ENTRY_COMMON.contains(&key.as_str())
        })
        .map(|key| format!("invalid config key {key:?}"))
        .collect();
    if unknown.is_empty() {
        Ok(values(entry))
    } else {
        Err(multi(&unknown))
    }
}

pub(crate) fn cache(view: View<'_>) -> Checked<(Option<f64>, u32)> {
    let burst = view.int("cache.entry_fetch_max_burst");
    if burst <= 0 {
        return rule(format!(
            "cache.entry_fetch_max_burst must be strictly positive, was: {burst}"
        ));
    }
    let rate = view.opt_float("cache.entry_fetch_rate");
    match rate {
        Some(rate) if rate <= 0.0 => rule(format!(
            "cache.entry_fetch_rate must be strictly positive, was: {rate}"
        )),
        _ => Ok((rate, view.count("cache.entry_fetch_max_burst"))),
    }
}

pub(crate) fn primary_datacenter(view: View<'_>, own: &str, warnings: &mut Vec<String>) -> String {
    let mut primary = view.str("primary_datacenter").to_lowercase();
    let legacy = view.str("acl_datacenter").to_lowercase();
    if !legacy.is_empty() {
        warnings.push(
            "The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead."
                .to_owned(),
        );
        if primary.is_empty() {
            primary = legacy;
        }
    }
    if primary.is_empty() {
        own.to_owned()
    } else {
        primary
    }
}

/// `^[a-z0-9_-]+$`.
pub(crate) fn datacenter(name: &str, field: &str, may_be_empty: bool) -> Checked<()> {
    if name.is_empty() {
        return if may_be_empty {
            Ok(())
        } else {
            rule(format!("{field} cannot be empty"))
        };
    }
    if !name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    {
        return rule(format!(
            "{field} cannot be {name:?}. Please use only [a-z0-9-_]"
        ));
    }
    Ok(())
}

pub(crate) fn ui_content_path(path: &str) -> Checked<String> {
    if path.is_empty() {
        return Ok("/ui/".to_owned());
    }
    if !path
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'/'))
    {
        return rule(format!(
            "ui-content-path can only contain alphanumeric, -, _, or /. received: {path}"
        ));
    }
    let trimmed = path.trim_matches('/');
    // The API has its paths there; only a whole path of one such part is refused, as in 1.8.7.
    let version = trimmed
        .strip_prefix('v')
        .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
    if version {
        return rule(format!(
            "ui-content-path cannot have 'v[0-9]'. received: /{trimmed}/"
        ));
    }
    Ok(if trimmed.is_empty() {
        "/".to_owned()
    } else {
        format!("/{trimmed}/")
    })
}

pub(crate) fn data_dir(
    view: View<'_>,
    dev_mode: bool,
    server: bool,
) -> Checked<Option<std::path::PathBuf>> {
    let shown = view.str("data_dir");
    let Some(path) = view.path("data_dir") else {
        return if dev_mode {
            Ok(None)
        } else {
            rule("data_dir cannot be empty")
        };
    };
    if dev_mode {
        // Given, but not used: development mode keeps nothing.
        return Ok(None);
    }
    match std::fs::metadata(&path) {
        Ok(meta) if !meta.is_dir() => {
            return rule(format!("data_dir {shown:?} is not a directory"));
        }
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            return rule(format!("Error getting info on data_dir: {e}"));
        }
        _ => {}
    }
    let old = path.join("mdb");
    if server && old.exists() {
        return rule(format!(
            "CRITICAL: Deprecated data folder found at {:?}!\nConsul will refuse to boot with this directory \
             present.\nSee https://www.consul.io/docs/upgrade-specific.html for more information.",
            old.display().to_string()
        ));
    }
    Ok(Some(path))
}

pub(crate) fn node_name(name: &str, warnings: &mut Vec<String>) -> Checked<()> {
    if name.is_empty() {
        return rule("node_name cannot be empty");
    }
    let reason = if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        "due to invalid characters. Valid characters include all alpha-numerics and dashes."
    } else if name.len() > 63 {
        "due to it being too long. Valid lengths are between 1 and 63 bytes."
    } else {
        return Ok(());
    };
    warnings.push(format!(
        "Node name {name:?} will not be discoverable via DNS {reason}"
    ));
    Ok(())
}

pub(crate) fn segments(view: View<'_>) -> Checked<()> {
    if view.str("segment").is_empty() && view.trees("segments").is_empty() {
        return Ok(());
    }
    for segment in view.objects("segments") {
        if segment.int("port") <= 0 {
            return rule(format!(
                "Port for segment {:?} cannot be <= 0",
                segment.str("name")
            ));
        }
    }
    rule("Network segments are not supported in this version of Consul")
}

pub(crate) fn dns_hosts(hosts: &[Host]) -> Checked<()> {
    if hosts.iter().any(|h| matches!(h, Host::Unix(_))) {
        return rule("DNS address cannot be a unix socket");
    }
    Ok(())
}

pub(crate) fn recursors(recursors: &[String]) -> Checked<()> {
    for recursor in recursors {
        if recursor.starts_with("unix://") {
            return rule(format!("DNS Recursors cannot be unix sockets: {recursor}"));
        }
        if recursor
            .trim_matches(['[', ']'])
            .parse::<IpAddr>()
            .is_ok_and(|ip| ip.is_unspecified())
        {
            return rule("DNS recursor address cannot be 0.0.0.0, :: or [::]");
        }
    }
    Ok(())
}

pub(crate) fn alt_domain(domain: &str, datacenter: &str) -> Checked<()> {
    let Some((first, _)) = domain.split_once('.') else {
        return Ok(());
    };
    let reserved = ["service", "connect", "node", "query", "addr"];
    if reserved.contains(&first) || first == datacenter {
        return rule(format!(
            "alt_domain cannot start with {{service,connect,node,query,addr,{datacenter}}}"
        ));
    }
    Ok(())
}

/// How a server starts a cluster.
pub(crate) struct Bootstrap {
    pub(crate) enabled: bool,
    pub(crate) expect: u32,
}

pub(crate) fn bootstrap(
    view: View<'_>,
    dev_mode: bool,
    server: bool,
    warnings: &mut Vec<String>,
) -> Checked<Bootstrap> {
    let mut enabled = view.bool("bootstrap");
    let mut expect = view.int("bootstrap_expect");
    if expect == 1 && !enabled {
        warnings
            .push("BootstrapExpect is set to 1; this is the same as Bootstrap mode.".to_owned());
        enabled = true;
        expect = 0;
    }
    if expect < 0 {
        return rule(format!(
            "bootstrap_expect cannot be {expect}. Must be greater than or equal to zero"
        ));
    }
    if expect > 0 && dev_mode {
        return rule("'bootstrap_expect > 0' not allowed in dev mode");
    }
    if enabled && !server {
        return rule("'bootstrap = true' requires 'server = true'");
    }
    if expect > 0 && !server {
        return rule("'bootstrap_expect > 0' requires 'server = true'");
    }
    if expect > 0 && enabled {
        return rule("'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
    }
    let table = "See https://www.consul.io/docs/internals/consensus.html#deployment-table";
    if expect == 2 {
        warnings.push(format!(
            "bootstrap_expect = 2: A cluster with 2 servers will provide no failure tolerance. {table}"
        ));
    } else if expect > 0 && expect % 2 == 0 {
        warnings.push(format!(
            "bootstrap_expect is even number: A cluster with an even number of servers does not achieve optimum \
             fault tolerance. {table}"
        ));
    }
    if expect > 0 {
        warnings.push(format!("bootstrap_expect > 0: expecting {expect} servers"));
    }
    if enabled {
        warnings.push("bootstrap = true: do not enable unless necessary".to_owned());
    }
    let expect = u32::try_from(expect).unwrap_or(u32::MAX);
    // Development mode is a cluster of one by itself.
    Ok(Bootstrap { enabled, expect })
}

pub(crate) fn check_output_max_size(view: View<'_>) -> Checked<usize> {
    match usize::try_from(view.int("check_output_max_size")) {
        Ok(size) if size >= 1 => Ok(size),
        _ => rule(
            "check_output_max_size must be positive, to discard check output use the discard_check_output flag",
        ),
    }
}

pub(crate) fn ui(view: View<'_>, dev_mode: bool) -> Checked<()> {
    if view.bool("ui") && view.path("ui_dir").is_some() && !dev_mode {
        return rule(
            "Both the ui and ui-dir flags were specified, please provide only one.\n\
             If trying to use your own web UI resources, use the ui-dir flag.\n\
             The web UI is included in the binary so use ui to enable it",
        );
    }
    Ok(())
}

pub(crate) fn not_negative(view: View<'_>, key: &str) -> Checked<usize> {
    let value = view.int(key);
    usize::try_from(value).or_else(|_| {
        rule(format!(
            "{key} cannot be {value}. Must be greater than or equal to zero"
        ))
    })
}

/// The gossip key is base64; its size is looked at when the agent starts.
pub(crate) fn encrypt_form(key: &str) -> Checked<()> {
    match decode_base64(key) {
        Ok(_) => Ok(()),
        Err(at) => rule(format!(
            "encrypt has invalid key: illegal base64 data at input byte {at}"
        )),
    }
}

/// Decoded size in bytes, if it is base64.
pub(crate) fn base64_len(key: &str) -> Option<usize> {
    decode_base64(key).ok()
}

/// Size of padded standard base64, or the offset of the group or byte that is wrong, as Go reports it.
fn decode_base64(key: &str) -> Result<usize, usize> {
    let valid = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    let mut size = 0;
    for (group, chunk) in key.as_bytes().chunks(4).enumerate() {
        let at = group * 4;
        let data = chunk.iter().take_while(|b| valid(**b)).count();
        let last = at + 4 >= key.len();
        let padded = chunk.len() == 4 && data >= 2 && chunk[data..].iter().all(|b| *b == b'=');
        if data == 4 {
            size += 3;
        } else if padded && last {
            size += data - 1;
        } else if padded {
            return Err(at + 4);
        } else if data == chunk.len() {
            // Cut short: Go names the start of the group.
            return Err(at);
        } else {
            return Err(at + data);
        }
    }
    Ok(size)
}

pub(crate) fn mesh_gateway_federation(
    view: View<'_>,
    server: bool,
    node_name: &str,
) -> Checked<()> {
    if !view.bool("connect.enable_mesh_gateway_wan_federation") {
        return Ok(());
    }
    let connect = view.bool("connect.enabled") || view.bool("auto_encrypt.allow_tls");
    if !connect {
        return rule(
            "'connect.enable_mesh_gateway_wan_federation=true' requires 'connect.enabled=true'",
        );
    }
    if !server {
        return rule(
            "'connect.enable_mesh_gateway_wan_federation = true' requires 'server = true'",
        );
    }
    if node_name.contains('/') {
        return rule(
            "'connect.enable_mesh_gateway_wan_federation = true' requires that 'node_name' not contain '/' characters",
        );
    }
    for key in ["start_join_wan", "retry_join_wan"] {
        if !view.trees(key).is_empty() {
            return rule(format!(
                "'{key}' is incompatible with 'connect.enable_mesh_gateway_wan_federation = true'"
            ));
        }
    }
    Ok(())
}

pub(crate) fn primary_gateways(
    view: View<'_>,
    server: bool,
    own: &str,
    primary: &str,
) -> Checked<()> {
    if view.trees("primary_gateways").is_empty() {
        return Ok(());
    }
    if !server {
        return rule("'primary_gateways' requires 'server = true'");
    }
    if own == primary {
        return rule("'primary_gateways' should only be configured in a secondary datacenter");
    }
    Ok(())
}

pub(crate) fn allow_write_from(view: View<'_>, errors: &mut Vec<String>) -> Vec<IpNet> {
    let mut nets = Vec::new();
    for text in view.list("http_config.allow_write_http_from") {
        match text.parse::<IpNet>() {
            Ok(net) => nets.push(net.trunc()),
            Err(_) => errors.push(format!("allow_write_http_from: invalid cidr: {text}")),
        }
    }
    nets
}

/// Suites Consul 1.8 lets an operator name.
const CIPHER_SUITES: &[&str] = &[
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
];

pub(crate) fn cipher_suites(list: &str, errors: &mut Vec<String>) -> Vec<String> {
    if list.is_empty() {
        return Vec::new();
    }
    let names: Vec<&str> = list.split(',').collect();
    match names.iter().find(|name| !CIPHER_SUITES.contains(name)) {
        Some(bad) => {
            errors.push(format!(
                "tls_cipher_suites: invalid tls cipher suites: unsupported cipher {bad:?}"
            ));
            Vec::new()
        }
        None => names.into_iter().map(str::to_owned).collect(),
    }
}

pub(crate) fn prefix_filter(
    view: View<'_>,
    warnings: &mut Vec<String>,
) -> (Vec<String>, Vec<String>) {
    let (mut allowed, mut blocked) = (Vec::new(), Vec::new());
    for filter in view.list("telemetry.prefix_filter") {
        if filter.is_empty() {
            warnings.push("Cannot have empty filter rule in prefix_filter".to_owned());
        } else if let Some(prefix) = filter.strip_prefix('+') {
            allowed.push(prefix.to_owned());
        } else if let Some(prefix) = filter.strip_prefix('-') {
            blocked.push(prefix.to_owned());
        } else {
            warnings.push(format!(
                "Filter rule must begin with either '+' or '-': {filter:?}"
            ));
        }
    }
    (allowed, blocked)
}

pub(crate) fn ips(
    view: View<'_>,
    key: &str,
    name: &str,
    warnings: &mut Vec<String>,
) -> Vec<IpAddr> {
    let mut out = Vec::new();
    for text in view.list(key) {
        match text.parse() {
            Ok(ip) => out.push(ip),
            Err(_) => warnings.push(format!("Cannot parse ip {text:?} from {name}")),
        }
    }
    out
}

pub(crate) fn auto_config(
    view: View<'_>,
    env: &Environment,
    warnings: &mut Vec<String>,
) -> AutoConfigConfig {
    let mut token = view.string("auto_config.intro_token");
    if let Some(from_env) = env.vars.get("CONSUL_INTRO_TOKEN").filter(|t| !t.is_empty()) {
        if !token.is_empty() {
            warnings.push(
                "Both auto_config.intro_token and the CONSUL_INTRO_TOKEN environment variable are set. \
                 Using the value from the environment variable"
                    .to_owned(),
            );
        }
        token.clone_from(from_env);
    }
    AutoConfigConfig {
        enabled: view.bool("auto_config.enabled"),
        intro_token: Secret::new(token),
        intro_token_file: view.path("auto_config.intro_token_file"),
        server_addresses: view.list("auto_config.server_addresses"),
        dns_sans: view.list("auto_config.dns_sans"),
        ip_sans: ips(view, "auto_config.ip_sans", "auto_config.ip_sans", warnings),
        authorization_enabled: view.bool("auto_config.authorization.enabled"),
    }
}

pub(crate) fn auto_encrypt(config: &Config) -> Checked<()> {
    if config.auto_encrypt.allow_tls && !config.server.enabled {
        return rule("auto_encrypt.allow_tls can only be used on a server.");
    }
    if config.auto_encrypt.tls && config.auto_config.enabled && !config.server.enabled {
        return rule("both auto_encrypt.tls and auto_config.enabled cannot be set to true.");
    }
    if config.auto_encrypt.tls && config.server.enabled {
        return rule("auto_encrypt.tls can only be used on a client.");
    }
    Ok(())
}

pub(crate) fn auto_config_needs(config: &Config) -> Checked<()> {
    let auto = &config.auto_config;
    let tls = &config.reloadable.tls;
    if auto.authorization_enabled {
        if !config.server.enabled {
            return rule(
                "auto_config.authorization.enabled cannot be set to true for client agents",
            );
        }
        if tls.cert_file.is_none() {
            return rule(
                "auto_config.authorization.enabled cannot be set without providing a TLS certificate for the server",
            );
        }
    }
    if !auto.enabled {
        return Ok(());
    }
    if !tls.verify_outgoing {
        return rule(
            "auto_config.enabled cannot be set without configuring TLS for server communications",
        );
    }
    if config.server.enabled {
        return rule("auto_config.enabled cannot be set to true for server agents.");
    }
    if auto.intro_token.is_empty() && auto.intro_token_file.is_none() {
        return rule(
            "One of auto_config.intro_token, auto_config.intro_token_file or the CONSUL_INTRO_TOKEN environment \
             variable must be set to enable auto_config",
        );
    }
    if auto.server_addresses.is_empty() {
        return rule("auto_config.enabled is set without providing a list of addresses");
    }
    Ok(())
}
