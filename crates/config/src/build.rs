//! The merged tree to the validated [`Config`].
//!
//! Three kinds of problems (config.md section 1), in the order of 1.8.7: rules that stop at once; forms of values
//! (durations, ports, addresses), all together; and what only the start of an agent refuses, not `validate`
//! ([`Built::start_error`]). Warnings never stop.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tribune_types::caller::Token;
use tribune_types::text::text;

use crate::addresses::{Advertised, Host, Reader, Used, advertise, listen, rule, unix_sockets};
use crate::config::*;
use crate::definition;
use crate::error::{ConfigError, Secret};
use crate::get::View;
use crate::load::Environment;
use crate::meta::{check_metadata, text_map};
use crate::rules;
use crate::start::{StartErrors, StartStep};

/// A configuration and what is to be said about it.
pub(crate) struct Built {
    pub(crate) config: Config,
    pub(crate) warnings: Vec<String>,
    /// Fatal for an agent, not for `validate`.
    pub(crate) start_error: Option<ConfigError>,
}

/// Builds and checks.
pub(crate) fn build(
    view: View<'_>,
    dev_mode: bool,
    env: &Environment,
) -> Result<Built, ConfigError> {
    let mut r = Reader {
        view,
        host: &env.interfaces,
        errors: Vec::new(),
    };
    let mut warnings = Vec::new();
    let mut start = StartErrors::default();

    // Definitions first: their value errors lead the list.
    let mut checks = Vec::new();
    for check in view.objects("checks") {
        checks.push(definition::check(check, &mut r.errors));
    }
    let mut services = Vec::new();
    for service in view.objects("services") {
        services.push(definition::service(service, &mut r.errors));
    }

    rules::port_range_order(view, "proxy")?;
    let port_ranges = PortRanges {
        sidecar: rules::port_range(&mut r, "sidecar")?,
        expose: rules::port_range(&mut r, "expose")?,
    };
    let bind = r.bind()?;
    let ports = Ports {
        dns: r.port("ports.dns"),
        http: r.port("ports.http"),
        https: r.port("ports.https"),
        grpc: r.port("ports.grpc"),
        serf_lan: r.port("ports.serf_lan"),
        serf_wan: r.port("ports.serf_wan"),
        server: r.port("ports.server"),
    };
    let serf_lan = r.ip("serf_lan").unwrap_or(bind);
    let serf_wan = r.ip("serf_wan").unwrap_or(bind);
    let Advertised { lan, wan, tagged } = advertise(&mut r, bind)?;
    let raft_multiplier = rules::raft_multiplier(view)?;
    let config_entries = rules::config_entries(view)?;
    let serf_lan_allowed = r.networks("serf_lan_allowed_cidrs")?;
    let serf_wan_allowed = r.networks("serf_wan_allowed_cidrs")?;
    let (cache_rate, cache_burst) = rules::cache(view)?;

    let node_name = match view.str("node_name") {
        "" => env.hostname.clone(),
        name => name.trim().to_owned(),
    };
    let datacenter = view.str("datacenter").to_lowercase();
    let primary = rules::primary_datacenter(view, &datacenter, &mut warnings);
    let hosts = FrontHosts::read(&mut r);
    let recursors = unique(r.names("recursors"));
    let server = view.bool("server");

    rules::datacenter(&datacenter, "datacenter", false)?;
    let content_path = rules::ui_content_path(view.str("ui_content_path"))?;
    let data_dir = rules::data_dir(view, dev_mode, server)?;
    rules::node_name(&node_name, &mut warnings)?;
    rules::segments(view)?;
    rules::dns_hosts(&hosts.dns)?;
    rules::recursors(&recursors)?;
    rules::alt_domain(view.str("alt_domain"), &datacenter)?;
    let bootstrap = rules::bootstrap(view, dev_mode, server, &mut warnings)?;
    let output_size_max = rules::check_output_max_size(view)?;
    rules::datacenter(&primary, "acl_datacenter", true)?;
    rules::ui(view, dev_mode)?;
    let udp_answer_limit = rules::not_negative(view, "dns_config.udp_answer_limit")?;
    let a_record_limit = rules::not_negative(view, "dns_config.a_record_limit")?;
    let node_meta = view.map("node_meta");
    if let Err(e) = check_metadata(node_meta.iter().map(|(k, v)| (k.as_str(), v.as_str())), &[]) {
        return rule(format!("node_meta invalid: {e}"));
    }
    rules::encrypt_form(view.str("encrypt"))?;
    rules::mesh_gateway_federation(view, server, &node_name)?;
    rules::primary_gateways(view, server, &datacenter, &primary)?;

    let allow_write_from = rules::allow_write_from(view, &mut r.errors);
    let cipher_suites = rules::cipher_suites(view.str("tls_cipher_suites"), &mut r.errors);
    let join = JoinConfig {
        start_lan: r.names("start_join"),
        start_wan: r.names("start_join_wan"),
        retry_lan: r.names("retry_join"),
        retry_wan: r.names("retry_join_wan"),
        retry_interval_lan: view.duration("retry_interval", &mut r.errors),
        retry_interval_wan: view.duration("retry_interval_wan", &mut r.errors),
        retry_max_lan: view.count("retry_max"),
        retry_max_wan: view.count("retry_max_wan"),
        rejoin_after_leave: view.bool("rejoin_after_leave"),
        primary_gateways: r.names("primary_gateways"),
        primary_gateways_interval: view.duration("primary_gateways_interval", &mut r.errors),
    };

    let e = &mut r.errors;
    let scaled = |path: &str, e: &mut Vec<String>| view.duration(path, e) * raft_multiplier;
    let raft = RaftConfig {
        protocol: start.version(view.int("raft_protocol"), 1, 3, |v| {
            format!("Protocol version {v} must be >= 1 and <= 3")
        }),
        snapshot_threshold: view.count64("raft_snapshot_threshold"),
        snapshot_interval: view.duration("raft_snapshot_interval", e),
        trailing_logs: view.count64("raft_trailing_logs"),
        heartbeat_timeout: scaled("consul.raft.heartbeat_timeout", e),
        election_timeout: scaled("consul.raft.election_timeout", e),
        leader_lease_timeout: scaled("consul.raft.leader_lease_timeout", e),
    };
    let acl = acl(view, e, &mut start);
    let telemetry = telemetry(view, e);
    let (allowed, blocked) = rules::prefix_filter(view, &mut warnings);
    let auto_config = rules::auto_config(view, env, &mut warnings);
    let auto_encrypt = AutoEncryptConfig {
        tls: view.bool("auto_encrypt.tls"),
        allow_tls: view.bool("auto_encrypt.allow_tls"),
        dns_san: view.list("auto_encrypt.dns_san"),
        ip_san: rules::ips(
            view,
            "auto_encrypt.ip_san",
            "AutoEncrypt.IPSAN",
            &mut warnings,
        ),
    };
    let tls_files = TlsFiles {
        ca_file: view.path("ca_file"),
        ca_path: view.path("ca_path"),
        cert_file: view.path("cert_file"),
        key_file: view.path("key_file"),
        verify_incoming: view.bool("verify_incoming"),
        verify_incoming_rpc: view.bool("verify_incoming_rpc"),
        verify_incoming_https: view.bool("verify_incoming_https"),
        verify_outgoing: view.bool("verify_outgoing") || view.bool("verify_server_hostname"),
        verify_server_hostname: view.bool("verify_server_hostname"),
    };
    let enable_scripts = view.bool("enable_script_checks");
    if enable_scripts && !acl.enabled && view.trees("http_config.allow_write_http_from").is_empty()
    {
        warnings.push(SCRIPT_WARNING.to_owned());
    }
    let connect_enabled =
        view.bool("connect.enabled") || auto_encrypt.allow_tls || auto_config.authorization_enabled;

    let config = Config {
        dev_mode,
        node: NodeConfig {
            name: node_name,
            id: start.node_id(view.str("node_id")),
            disable_host_id: view.bool("disable_host_node_id"),
            server_name: view.string("server_name"),
            tagged_addresses: tagged,
        },
        primary_datacenter: primary,
        data_dir,
        pid_file: view.path("pid_file"),
        server: ServerConfig {
            enabled: server,
            bootstrap: bootstrap.enabled,
            bootstrap_expect: bootstrap.expect,
            protocol: start.version(view.int("protocol"), 2, 3, |v| {
                let side = if v < 2 { "low" } else { "high" };
                format!("Protocol version '{v}' too {side}. Must be in range: [2, 3]")
            }),
            session_ttl_min: view.duration("session_ttl_min", e),
            health_interval: view.duration("consul.server.health_interval", e),
        },
        addrs: ClusterAddrs {
            bind,
            advertise_lan: lan,
            advertise_wan: wan,
            rpc_bind: ports.at(bind, ports.server),
            rpc_advertise: ports.at(lan, ports.server),
            serf_lan_bind: ports.at(serf_lan, ports.serf_lan),
            serf_lan_advertise: ports.at(lan, ports.serf_lan),
            serf_wan_bind: (ports.serf_wan > 0).then(|| ports.at(serf_wan, ports.serf_wan)),
            serf_wan_advertise: (ports.serf_wan > 0).then(|| ports.at(wan, ports.serf_wan)),
            serf_lan_allowed,
            serf_wan_allowed,
        },
        listeners: hosts.listeners(&ports, view),
        port_ranges,
        dns: DnsZones {
            domain: view.string("domain"),
            alt_domain: view.string("alt_domain"),
        },
        http: HttpConfig {
            block_endpoints: view.list("http_config.block_endpoints"),
            allow_write_from,
            response_headers: view.map("http_config.response_headers"),
            use_cache: view.bool("http_config.use_cache"),
            default_query_time: view.duration("default_query_time", e),
            max_query_time: view.duration("max_query_time", e),
            discovery_max_stale: view.duration("discovery_max_stale", e),
            enable_debug: view.bool("enable_debug"),
            allow_unprintable: view.bool("disable_http_unprintable_char_filter"),
            translate_wan_addrs: view.bool("translate_wan_addrs"),
        },
        limits: LimitsConfig {
            https_handshake_timeout: view.duration("limits.https_handshake_timeout", e),
            rpc_handshake_timeout: view.duration("limits.rpc_handshake_timeout", e),
            rpc_max_conns_per_client: view.count("limits.rpc_max_conns_per_client"),
            kv_value_size_max: view.count64("limits.kv_max_value_size"),
            txn_size_max: view.count64("limits.txn_max_req_len"),
        },
        performance: PerformanceConfig {
            raft_multiplier,
            leave_drain_time: view.duration("performance.leave_drain_time", e),
            rpc_hold_timeout: view.duration("performance.rpc_hold_timeout", e),
        },
        raft,
        gossip_lan: gossip(view, "gossip_lan", "reconnect_timeout", e),
        gossip_wan: gossip(view, "gossip_wan", "reconnect_timeout_wan", e),
        join,
        encrypt: EncryptConfig {
            key: Secret::new(view.string("encrypt")),
            verify_incoming: view.bool("encrypt_verify_incoming"),
            verify_outgoing: view.bool("encrypt_verify_outgoing"),
            disable_keyring_file: view.bool("disable_keyring_file"),
        },
        autopilot: AutopilotSeed {
            cleanup_dead_servers: view.bool("autopilot.cleanup_dead_servers"),
            last_contact_threshold: view.duration("autopilot.last_contact_threshold", e),
            max_trailing_logs: view.count64("autopilot.max_trailing_logs"),
            min_quorum: view.count64("autopilot.min_quorum"),
            server_stabilization_time: view.duration("autopilot.server_stabilization_time", e),
        },
        coordinate: CoordinateConfig {
            disabled: view.bool("disable_coordinates"),
            update_batch_size: view.count("consul.coordinate.update_batch_size"),
            update_batches_max: view.count("consul.coordinate.update_max_batches"),
            update_period: view.duration("consul.coordinate.update_period", e),
            sync_rate_target: view
                .opt_float("sync_coordinate_rate_target")
                .unwrap_or(64.0),
            sync_interval_min: view.duration("sync_coordinate_interval_min", e),
        },
        telemetry,
        tls: TlsConfig {
            min_version: start.tls_version(view.str("tls_min_version")),
            cipher_suites,
            prefer_server_cipher_suites: view.bool("tls_prefer_server_cipher_suites"),
            enable_for_checks: view.bool("enable_agent_tls_for_checks"),
        },
        acl,
        connect: ConnectConfig {
            enabled: connect_enabled,
            ca_provider: view.string("connect.ca_provider"),
            ca_config: view
                .object("connect.ca_config")
                .map(|m| definition::camel_case(m.0))
                .unwrap_or_default(),
            mesh_gateway_wan_federation: view.bool("connect.enable_mesh_gateway_wan_federation"),
        },
        auto_encrypt,
        auto_config,
        checks: ChecksConfig {
            output_size_max,
            update_interval: view.duration("check_update_interval", e),
            enable_scripts,
            enable_local_scripts: enable_scripts || view.bool("enable_local_script_checks"),
            reap_interval: view.duration("check_reap_interval", e),
            deregister_interval_min: view.duration("check_deregister_interval_min", e),
            sync_interval: view.duration("ae_interval", e),
        },
        log: LogConfig {
            json: view.bool("log_json"),
            file: view.string("log_file"),
            rotate_bytes: view.count64("log_rotate_bytes"),
            rotate_duration: view.duration("log_rotate_duration", e),
            rotate_max_files: view.int("log_rotate_max_files"),
            syslog: view.bool("enable_syslog"),
            syslog_facility: view.string("syslog_facility"),
        },
        ui: UiConfig {
            enabled: view.bool("ui"),
            dir: view.path("ui_dir"),
            content_path,
        },
        leave: LeaveConfig {
            on_terminate: view.opt_bool("leave_on_terminate").unwrap_or(!server),
            skip_on_interrupt: view.opt_bool("skip_leave_on_interrupt").unwrap_or(server),
        },
        flags: FeatureFlags {
            disable_remote_exec: view.bool("disable_remote_exec"),
            disable_update_check: view.bool("disable_update_check"),
            disable_anonymous_signature: view.bool("disable_anonymous_signature"),
            enable_central_service_config: view.bool("enable_central_service_config"),
        },
        reloadable: Reloadable {
            log_level: start.log_level(view.str("log_level")),
            node_meta: text_map(&node_meta),
            services,
            checks,
            watches: Vec::new(),
            tokens: tokens(view),
            tls: tls_files,
            dns: dns(view, recursors, udp_answer_limit, a_record_limit, e),
            rpc_rate: view
                .opt_float("limits.rpc_rate")
                .filter(|rate| *rate >= 0.0),
            rpc_max_burst: view.count("limits.rpc_max_burst"),
            http_max_conns_per_client: view.count("limits.http_max_conns_per_client"),
            cache_entry_fetch_rate: cache_rate,
            cache_entry_fetch_burst: cache_burst,
            telemetry_allowed_prefixes: allowed,
            telemetry_blocked_prefixes: blocked,
            discard_check_output: view.bool("discard_check_output"),
            config_entries,
        },
        datacenter,
    };
    if !r.errors.is_empty() {
        return Err(ConfigError::Values(r.errors));
    }
    conflicts(&config, &ports)?;
    crate::ca::ca_provider(&config.connect)?;
    rules::auto_encrypt(&config)?;
    rules::auto_config_needs(&config)?;
    let config = start.finish(config, view);
    Ok(Built {
        config,
        warnings,
        start_error: start.first,
    })
}

const SCRIPT_WARNING: &str = "using enable-script-checks without ACLs and without allow_write_http_from is \
    DANGEROUS, use enable-local-script-checks instead, see \
    https://www.hashicorp.com/blog/protecting-consul-from-rce-risk-in-specific-configurations/";

struct Ports {
    dns: i32,
    http: i32,
    https: i32,
    grpc: i32,
    serf_lan: i32,
    serf_wan: i32,
    server: i32,
}

impl Ports {
    fn at(&self, ip: std::net::IpAddr, port: i32) -> SocketAddr {
        SocketAddr::new(ip, u16::try_from(port).unwrap_or(0))
    }
}

/// Hosts of the fronts: `client_addr` unless an address of their own is set.
struct FrontHosts {
    client: Vec<Host>,
    dns: Vec<Host>,
    http: Vec<Host>,
    https: Vec<Host>,
    grpc: Vec<Host>,
}

impl FrontHosts {
    fn read(r: &mut Reader<'_>) -> FrontHosts {
        let mut client = r.hosts("client_addr", "client_addr").unwrap_or_default();
        if client.iter().any(|h| matches!(h, Host::Unix(_))) {
            r.errors
                .push("client_addr cannot be a unix socket".to_owned());
            client.clear();
        }
        let mut own = |name: &str| {
            let key = format!("addresses.{name}");
            r.hosts(&key, &key)
                .filter(|hosts| !hosts.is_empty())
                .unwrap_or_else(|| client.clone())
        };
        let (dns, http, https, grpc) = (own("dns"), own("http"), own("https"), own("grpc"));
        FrontHosts {
            client,
            dns,
            http,
            https,
            grpc,
        }
    }

    fn listeners(&self, ports: &Ports, view: View<'_>) -> Listeners {
        let tcp = |addr| match addr {
            ListenAddr::Tcp(addr) => Some(addr),
            ListenAddr::Unix(_) => None,
        };
        Listeners {
            client: listen(&self.client, ports.http.max(1)),
            dns: listen(&self.dns, ports.dns)
                .into_iter()
                .filter_map(tcp)
                .collect(),
            http: listen(&self.http, ports.http),
            https: listen(&self.https, ports.https),
            grpc: listen(&self.grpc, ports.grpc),
            dns_port: ports.dns,
            http_port: ports.http,
            https_port: ports.https,
            grpc_port: ports.grpc,
            unix_sockets: unix_sockets(view),
        }
    }
}

fn conflicts(config: &Config, ports: &Ports) -> Result<(), ConfigError> {
    let mut used = Used::default();
    let shown = |addr: &ListenAddr| match addr {
        ListenAddr::Tcp(addr) => addr.to_string(),
        ListenAddr::Unix(path) => path.display().to_string(),
    };
    for addr in &config.listeners.dns {
        used.claim("DNS", addr.to_string())?;
    }
    for addr in &config.listeners.http {
        used.claim("HTTP", shown(addr))?;
    }
    for addr in &config.listeners.https {
        used.claim("HTTPS", shown(addr))?;
    }
    for (what, addr, port) in [
        (
            "RPC Advertise",
            Some(config.addrs.rpc_advertise),
            ports.server,
        ),
        (
            "Serf Advertise LAN",
            Some(config.addrs.serf_lan_advertise),
            ports.serf_lan,
        ),
        (
            "Serf Advertise WAN",
            config.addrs.serf_wan_advertise,
            ports.serf_wan,
        ),
    ] {
        if let Some(addr) = addr {
            // Port -1 shows as configured.
            let ip = if addr.is_ipv6() {
                format!("[{}]", addr.ip())
            } else {
                addr.ip().to_string()
            };
            used.claim(what, format!("{ip}:{port}"))?;
        }
    }
    Ok(())
}

fn unique(list: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    list.into_iter()
        .filter(|item| seen.insert(item.clone()))
        .collect()
}

fn gossip(view: View<'_>, pool: &str, reconnect: &str, e: &mut Vec<String>) -> GossipConfig {
    let key = |name: &str| format!("{pool}.{name}");
    GossipConfig {
        gossip_nodes: view.count(&key("gossip_nodes")),
        gossip_interval: view.duration(&key("gossip_interval"), e),
        probe_interval: view.duration(&key("probe_interval"), e),
        probe_timeout: view.duration(&key("probe_timeout"), e),
        suspicion_mult: view.count(&key("suspicion_mult")),
        retransmit_mult: view.count(&key("retransmit_mult")),
        reconnect_timeout: view.duration(reconnect, e),
    }
}

fn dns(
    view: View<'_>,
    recursors: Vec<String>,
    udp_answer_limit: usize,
    a_record_limit: usize,
    e: &mut Vec<String>,
) -> DnsConfig {
    let mut service_ttl = BTreeMap::new();
    for (name, ttl) in view.map("dns_config.service_ttl") {
        let label = format!("dns_config.service_ttl[{name:?}]");
        service_ttl.insert(name, crate::get::duration(&ttl, &label, e));
    }
    DnsConfig {
        allow_stale: view.bool("dns_config.allow_stale"),
        max_stale: view.duration("dns_config.max_stale", e),
        node_ttl: view.duration("dns_config.node_ttl", e),
        service_ttl,
        enable_truncate: view.bool("dns_config.enable_truncate"),
        only_passing: view.bool("dns_config.only_passing"),
        recursors,
        recursor_timeout: view.duration_as("dns_config.recursor_timeout", "recursor_timeout", e),
        disable_compression: view.bool("dns_config.disable_compression"),
        udp_answer_limit,
        a_record_limit,
        node_meta_txt: view.bool("dns_config.enable_additional_node_meta_txt"),
        soa: SoaConfig {
            refresh: view.count("dns_config.soa.refresh"),
            retry: view.count("dns_config.soa.retry"),
            expire: view.count("dns_config.soa.expire"),
            min_ttl: view.count("dns_config.soa.min_ttl"),
        },
        use_cache: view.bool("dns_config.use_cache"),
        cache_max_age: view.duration("dns_config.cache_max_age", e),
    }
}

fn telemetry(view: View<'_>, e: &mut Vec<String>) -> TelemetryConfig {
    TelemetryConfig {
        metrics_prefix: view.string("telemetry.metrics_prefix"),
        disable_hostname: view.bool("telemetry.disable_hostname"),
        filter_default: view.bool("telemetry.filter_default"),
        prometheus_retention: view.duration_as(
            "telemetry.prometheus_retention_time",
            "prometheus_retention_time",
            e,
        ),
        statsite_address: view.string("telemetry.statsite_address"),
        statsd_address: view.string("telemetry.statsd_address"),
        dogstatsd_address: view.string("telemetry.dogstatsd_addr"),
        dogstatsd_tags: view.list("telemetry.dogstatsd_tags"),
        circonus: view
            .object("telemetry")
            .is_some_and(|t| t.0.keys().any(|k| k.starts_with("circonus_"))),
    }
}

/// The value of a key of `acl`, else of its older top-level name.
fn acl_text<'a>(view: View<'a>, key: &str, legacy: &str) -> &'a str {
    view.opt_str(&format!("acl.{key}"))
        .unwrap_or_else(|| view.str(legacy))
}

fn acl(view: View<'_>, e: &mut Vec<String>, start: &mut StartErrors) -> AclConfig {
    let legacy_ttl = view.duration("acl_ttl", e);
    let mut ttl = |key: &str| {
        let own = format!("acl.{key}");
        if view.opt_str(&own).is_some() {
            view.duration(&own, e)
        } else {
            legacy_ttl
        }
    };
    let (policy_ttl, role_ttl, token_ttl) = (ttl("policy_ttl"), ttl("role_ttl"), ttl("token_ttl"));
    let legacy_enabled = !view.str("acl_datacenter").is_empty();
    let default_policy = acl_text(view, "default_policy", "acl_default_policy").to_lowercase();
    let down_policy = acl_text(view, "down_policy", "acl_down_policy").to_lowercase();
    if !matches!(default_policy.as_str(), "allow" | "deny") {
        start.add(
            StartStep::Server,
            format!("Unsupported default ACL policy: {default_policy}"),
        );
    }
    if !matches!(
        down_policy.as_str(),
        "allow" | "deny" | "extend-cache" | "async-cache"
    ) {
        start.add(
            StartStep::Server,
            format!("Unsupported down ACL policy: {down_policy}"),
        );
    }
    AclConfig {
        enabled: view.opt_bool("acl.enabled").unwrap_or(legacy_enabled),
        default_policy,
        down_policy,
        policy_ttl,
        role_ttl,
        token_ttl,
        enable_key_list_policy: view
            .opt_bool("acl.enable_key_list_policy")
            .unwrap_or_else(|| view.bool("acl_enable_key_list_policy")),
        enable_token_replication: view
            .opt_bool("acl.enable_token_replication")
            .unwrap_or_else(|| {
                view.bool("enable_acl_replication") || !view.str("acl_replication_token").is_empty()
            }),
        enable_token_persistence: view.bool("acl.enable_token_persistence"),
        master_token: Token::new(text(acl_text(view, "tokens.master", "acl_master_token"))),
    }
}

fn tokens(view: View<'_>) -> AclTokens {
    let token = |key: &str, legacy: &str| Token::new(text(acl_text(view, key, legacy)));
    AclTokens {
        default: token("tokens.default", "acl_token"),
        agent: token("tokens.agent", "acl_agent_token"),
        agent_master: token("tokens.agent_master", "acl_agent_master_token"),
        replication: token("tokens.replication", "acl_replication_token"),
    }
}
