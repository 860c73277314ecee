//! The settings in effect, one by one under the names operators know from 1.8.7.
//!
//! Values are those in effect, defaults included, also where 1.8.7 shows zero for a default it fills in later (Raft, session
//! and rotation figures). Names of features that do not exist here read as they do when they are off. Of watches only
//! the number is told, as there; addresses in certificates are text, which there are lists of bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use tribune_config::config::{DnsConfig, ListenAddr, TlsVersion};
use tribune_config::{Config, Reloadable};
use tribune_types::id::NodeId;
use tribune_types::text::text;
use tribune_types::value::{Value, ValueMap};

use super::definitions;
use super::shown::{HIDDEN, Shown, hide_secrets, list, object, strings, tcp};
use crate::info::COMPATIBLE_VERSION;

/// `DebugConfig` of `/v1/agent/self`. `revision` is Tribune's own version and build.
pub(crate) fn debug_config(config: &Config, node_id: NodeId, revision: &str) -> ValueMap {
    let reloadable = &config.reloadable;
    let (acl, addrs, autopilot, http, join) = (
        &config.acl,
        &config.addrs,
        &config.autopilot,
        &config.http,
        &config.join,
    );
    let (dns, listeners, tls) = (&reloadable.dns, &config.listeners, &reloadable.tls);
    let output_max = config.checks.output_size_max;
    let dns_addrs = ["tcp", "udp"].iter().flat_map(|scheme| {
        listeners
            .dns
            .iter()
            .map(move |addr| format!("{scheme}://{addr}"))
    });
    let service_ttls: ValueMap = dns
        .service_ttl
        .iter()
        .map(|(name, ttl)| (text(name), ttl.shown()))
        .collect();
    let mut out = ValueMap::new();
    let mut put = |name: &str, value: Value| out.insert(text(name), value);
    put("ACLAgentMasterToken", HIDDEN.shown());
    put("ACLAgentToken", HIDDEN.shown());
    put("ACLDatacenter", (&config.primary_datacenter).shown());
    put("ACLDefaultPolicy", (&acl.default_policy).shown());
    put("ACLDisabledTTL", Duration::from_secs(120).shown());
    put("ACLDownPolicy", (&acl.down_policy).shown());
    put("ACLEnableKeyListPolicy", acl.enable_key_list_policy.shown());
    put(
        "ACLEnableTokenPersistence",
        acl.enable_token_persistence.shown(),
    );
    put("ACLMasterToken", HIDDEN.shown());
    put("ACLPolicyTTL", acl.policy_ttl.shown());
    put("ACLReplicationToken", HIDDEN.shown());
    put("ACLRoleTTL", acl.role_ttl.shown());
    put("ACLToken", HIDDEN.shown());
    put("ACLTokenReplication", acl.enable_token_replication.shown());
    put("ACLTokenTTL", acl.token_ttl.shown());
    put("ACLsEnabled", acl.enabled.shown());
    put("AEInterval", config.checks.sync_interval.shown());
    put("AdvertiseAddrLAN", addrs.advertise_lan.shown());
    put("AdvertiseAddrWAN", addrs.advertise_wan.shown());
    put("AllowWriteHTTPFrom", list(&http.allow_write_from).shown());
    put("AutoConfig", auto_config(config).shown());
    put("AutoEncryptAllowTLS", config.auto_encrypt.allow_tls.shown());
    put(
        "AutoEncryptDNSSAN",
        list(&config.auto_encrypt.dns_san).shown(),
    );
    put(
        "AutoEncryptIPSAN",
        list(config.auto_encrypt.ip_san.iter().copied()).shown(),
    );
    put("AutoEncryptTLS", config.auto_encrypt.tls.shown());
    put(
        "AutopilotCleanupDeadServers",
        autopilot.cleanup_dead_servers.shown(),
    );
    put("AutopilotDisableUpgradeMigration", false.shown());
    put(
        "AutopilotLastContactThreshold",
        autopilot.last_contact_threshold.shown(),
    );
    put(
        "AutopilotMaxTrailingLogs",
        autopilot.max_trailing_logs.shown(),
    );
    put("AutopilotMinQuorum", autopilot.min_quorum.shown());
    put("AutopilotRedundancyZoneTag", "".shown());
    put(
        "AutopilotServerStabilizationTime",
        autopilot.server_stabilization_time.shown(),
    );
    put("AutopilotUpgradeVersionTag", "".shown());
    put("BindAddr", addrs.bind.shown());
    put("Bootstrap", config.server.bootstrap.shown());
    put("BootstrapExpect", config.server.bootstrap_expect.shown());
    put("CAFile", (&tls.ca_file).shown());
    put("CAPath", (&tls.ca_path).shown());
    put("Cache", cache(reloadable).shown());
    put("CertFile", (&tls.cert_file).shown());
    put(
        "CheckDeregisterIntervalMin",
        config.checks.deregister_interval_min.shown(),
    );
    put("CheckOutputMaxSize", config.checks.output_size_max.shown());
    put("CheckReapInterval", config.checks.reap_interval.shown());
    put("CheckUpdateInterval", config.checks.update_interval.shown());
    put(
        "Checks",
        list(
            reloadable
                .checks
                .iter()
                .map(|check| definitions::check(check, output_max)),
        )
        .shown(),
    );
    put(
        "ClientAddrs",
        list(listeners.client.iter().map(host)).shown(),
    );
    put(
        "ConfigEntryBootstrap",
        list(reloadable.config_entries.iter().cloned()).shown(),
    );
    put("ConnectCAConfig", config.connect.ca_config.clone().shown());
    put("ConnectCAProvider", (&config.connect.ca_provider).shown());
    put("ConnectEnabled", config.connect.enabled.shown());
    put(
        "ConnectMeshGatewayWANFederationEnabled",
        config.connect.mesh_gateway_wan_federation.shown(),
    );
    put(
        "ConnectSidecarMaxPort",
        config.port_ranges.sidecar.max.shown(),
    );
    put(
        "ConnectSidecarMinPort",
        config.port_ranges.sidecar.min.shown(),
    );
    put("ConnectTestCALeafRootChangeSpread", Duration::ZERO.shown());
    put(
        "ConsulCoordinateUpdateBatchSize",
        config.coordinate.update_batch_size.shown(),
    );
    put(
        "ConsulCoordinateUpdateMaxBatches",
        config.coordinate.update_batches_max.shown(),
    );
    put(
        "ConsulCoordinateUpdatePeriod",
        config.coordinate.update_period.shown(),
    );
    put(
        "ConsulRaftElectionTimeout",
        config.raft.election_timeout.shown(),
    );
    put(
        "ConsulRaftHeartbeatTimeout",
        config.raft.heartbeat_timeout.shown(),
    );
    put(
        "ConsulRaftLeaderLeaseTimeout",
        config.raft.leader_lease_timeout.shown(),
    );
    put(
        "ConsulServerHealthInterval",
        config.server.health_interval.shown(),
    );
    put("DNSARecordLimit", dns.a_record_limit.shown());
    put("DNSAddrs", list(dns_addrs).shown());
    put("DNSAllowStale", dns.allow_stale.shown());
    put("DNSAltDomain", (&config.dns.alt_domain).shown());
    put("DNSCacheMaxAge", dns.cache_max_age.shown());
    put("DNSDisableCompression", dns.disable_compression.shown());
    put("DNSDomain", (&config.dns.domain).shown());
    put("DNSEnableTruncate", dns.enable_truncate.shown());
    put("DNSMaxStale", dns.max_stale.shown());
    put("DNSNodeMetaTXT", dns.node_meta_txt.shown());
    put("DNSNodeTTL", dns.node_ttl.shown());
    put("DNSOnlyPassing", dns.only_passing.shown());
    put("DNSPort", listeners.dns_port.shown());
    put("DNSRecursorTimeout", dns.recursor_timeout.shown());
    put("DNSRecursors", list(&dns.recursors).shown());
    put("DNSSOA", soa(dns).shown());
    put("DNSServiceTTL", service_ttls.shown());
    put("DNSUDPAnswerLimit", dns.udp_answer_limit.shown());
    put("DNSUseCache", dns.use_cache.shown());
    put("DataDir", (&config.data_dir).shown());
    put("Datacenter", (&config.datacenter).shown());
    put("DefaultQueryTime", http.default_query_time.shown());
    put("DevMode", config.dev_mode.shown());
    put(
        "DisableAnonymousSignature",
        config.flags.disable_anonymous_signature.shown(),
    );
    put("DisableCoordinates", config.coordinate.disabled.shown());
    put(
        "DisableHTTPUnprintableCharFilter",
        http.allow_unprintable.shown(),
    );
    put("DisableHostNodeID", config.node.disable_host_id.shown());
    put(
        "DisableKeyringFile",
        config.encrypt.disable_keyring_file.shown(),
    );
    put(
        "DisableRemoteExec",
        config.flags.disable_remote_exec.shown(),
    );
    put(
        "DisableUpdateCheck",
        config.flags.disable_update_check.shown(),
    );
    put(
        "DiscardCheckOutput",
        reloadable.discard_check_output.shown(),
    );
    put("DiscoveryMaxStale", http.discovery_max_stale.shown());
    put(
        "EnableAgentTLSForChecks",
        config.tls.enable_for_checks.shown(),
    );
    put(
        "EnableCentralServiceConfig",
        config.flags.enable_central_service_config.shown(),
    );
    put("EnableDebug", http.enable_debug.shown());
    put(
        "EnableLocalScriptChecks",
        config.checks.enable_local_scripts.shown(),
    );
    put(
        "EnableRemoteScriptChecks",
        config.checks.enable_scripts.shown(),
    );
    put("EnableUI", config.ui.enabled.shown());
    put("EncryptKey", HIDDEN.shown());
    put(
        "EncryptVerifyIncoming",
        config.encrypt.verify_incoming.shown(),
    );
    put(
        "EncryptVerifyOutgoing",
        config.encrypt.verify_outgoing.shown(),
    );
    put("EnterpriseRuntimeConfig", ValueMap::new().shown());
    put("ExposeMaxPort", config.port_ranges.expose.max.shown());
    put("ExposeMinPort", config.port_ranges.expose.min.shown());
    put("GRPCAddrs", urls(&listeners.grpc).shown());
    put("GRPCPort", listeners.grpc_port.shown());
    put(
        "GossipLANGossipInterval",
        config.gossip_lan.gossip_interval.shown(),
    );
    put(
        "GossipLANGossipNodes",
        config.gossip_lan.gossip_nodes.shown(),
    );
    put(
        "GossipLANProbeInterval",
        config.gossip_lan.probe_interval.shown(),
    );
    put(
        "GossipLANProbeTimeout",
        config.gossip_lan.probe_timeout.shown(),
    );
    put(
        "GossipLANRetransmitMult",
        config.gossip_lan.retransmit_mult.shown(),
    );
    put(
        "GossipLANSuspicionMult",
        config.gossip_lan.suspicion_mult.shown(),
    );
    put(
        "GossipWANGossipInterval",
        config.gossip_wan.gossip_interval.shown(),
    );
    put(
        "GossipWANGossipNodes",
        config.gossip_wan.gossip_nodes.shown(),
    );
    put(
        "GossipWANProbeInterval",
        config.gossip_wan.probe_interval.shown(),
    );
    put(
        "GossipWANProbeTimeout",
        config.gossip_wan.probe_timeout.shown(),
    );
    put(
        "GossipWANRetransmitMult",
        config.gossip_wan.retransmit_mult.shown(),
    );
    put(
        "GossipWANSuspicionMult",
        config.gossip_wan.suspicion_mult.shown(),
    );
    put("HTTPAddrs", urls(&listeners.http).shown());
    put("HTTPBlockEndpoints", list(&http.block_endpoints).shown());
    put(
        "HTTPMaxConnsPerClient",
        reloadable.http_max_conns_per_client.shown(),
    );
    put("HTTPPort", listeners.http_port.shown());
    put("HTTPResponseHeaders", map(&http.response_headers).shown());
    put("HTTPSAddrs", urls(&listeners.https).shown());
    put(
        "HTTPSHandshakeTimeout",
        config.limits.https_handshake_timeout.shown(),
    );
    put("HTTPSPort", listeners.https_port.shown());
    put("HTTPUseCache", http.use_cache.shown());
    put("KVMaxValueSize", config.limits.kv_value_size_max.shown());
    put("KeyFile", HIDDEN.shown());
    put(
        "LeaveDrainTime",
        config.performance.leave_drain_time.shown(),
    );
    put("LeaveOnTerm", config.leave.on_terminate.shown());
    put("Logging", logging(config).shown());
    put("MaxQueryTime", http.max_query_time.shown());
    put("NodeID", node_id.to_string().shown());
    put("NodeMeta", strings(&reloadable.node_meta).shown());
    put("NodeName", (&config.node.name).shown());
    put("NonVotingServer", false.shown());
    put("PidFile", (&config.pid_file).shown());
    put("PrimaryDatacenter", (&config.primary_datacenter).shown());
    put(
        "PrimaryGateways",
        list(&config.join.primary_gateways).shown(),
    );
    put(
        "PrimaryGatewaysInterval",
        config.join.primary_gateways_interval.shown(),
    );
    put("RPCAdvertiseAddr", tcp(addrs.rpc_advertise).shown());
    put("RPCBindAddr", tcp(addrs.rpc_bind).shown());
    put(
        "RPCHandshakeTimeout",
        config.limits.rpc_handshake_timeout.shown(),
    );
    put(
        "RPCHoldTimeout",
        config.performance.rpc_hold_timeout.shown(),
    );
    put("RPCMaxBurst", reloadable.rpc_max_burst.shown());
    put(
        "RPCMaxConnsPerClient",
        config.limits.rpc_max_conns_per_client.shown(),
    );
    put("RPCProtocol", config.server.protocol.shown());
    put("RPCRateLimit", reloadable.rpc_rate.unwrap_or(-1.0).shown());
    put("RaftProtocol", config.raft.protocol.shown());
    put(
        "RaftSnapshotInterval",
        config.raft.snapshot_interval.shown(),
    );
    put(
        "RaftSnapshotThreshold",
        config.raft.snapshot_threshold.shown(),
    );
    put("RaftTrailingLogs", config.raft.trailing_logs.shown());
    put(
        "ReconnectTimeoutLAN",
        config.gossip_lan.reconnect_timeout.shown(),
    );
    put(
        "ReconnectTimeoutWAN",
        config.gossip_wan.reconnect_timeout.shown(),
    );
    put("RejoinAfterLeave", join.rejoin_after_leave.shown());
    put("RetryJoinIntervalLAN", join.retry_interval_lan.shown());
    put("RetryJoinIntervalWAN", join.retry_interval_wan.shown());
    put("RetryJoinLAN", list(&join.retry_lan).shown());
    put("RetryJoinMaxAttemptsLAN", join.retry_max_lan.shown());
    put("RetryJoinMaxAttemptsWAN", join.retry_max_wan.shown());
    put("RetryJoinWAN", list(&join.retry_wan).shown());
    put("Revision", revision.shown());
    put("SegmentLimit", 64_i32.shown());
    put("SegmentName", "".shown());
    put("SegmentNameLimit", 64_i32.shown());
    put("Segments", list([""; 0]));
    put(
        "SerfAdvertiseAddrLAN",
        tcp(addrs.serf_lan_advertise).shown(),
    );
    put(
        "SerfAdvertiseAddrWAN",
        addrs
            .serf_wan_advertise
            .map(tcp)
            .unwrap_or_default()
            .shown(),
    );
    put("SerfAllowedCIDRsLAN", list(&addrs.serf_lan_allowed).shown());
    put("SerfAllowedCIDRsWAN", list(&addrs.serf_wan_allowed).shown());
    put("SerfBindAddrLAN", tcp(addrs.serf_lan_bind).shown());
    put(
        "SerfBindAddrWAN",
        addrs.serf_wan_bind.map(tcp).unwrap_or_default().shown(),
    );
    put("SerfPortLAN", addrs.serf_lan_bind.port().shown());
    put(
        "SerfPortWAN",
        addrs
            .serf_wan_bind
            .map_or(-1, |addr| i32::from(addr.port()))
            .shown(),
    );
    put("ServerMode", config.server.enabled.shown());
    put("ServerName", (&config.node.server_name).shown());
    put("ServerPort", addrs.rpc_bind.port().shown());
    put(
        "Services",
        list(
            reloadable
                .services
                .iter()
                .map(|service| definitions::service(service, output_max)),
        )
        .shown(),
    );
    put("SessionTTLMin", config.server.session_ttl_min.shown());
    put("SkipLeaveOnInt", config.leave.skip_on_interrupt.shown());
    put("StartJoinAddrsLAN", list(&join.start_lan).shown());
    put("StartJoinAddrsWAN", list(&join.start_wan).shown());
    put(
        "SyncCoordinateIntervalMin",
        config.coordinate.sync_interval_min.shown(),
    );
    put(
        "SyncCoordinateRateTarget",
        config.coordinate.sync_rate_target.shown(),
    );
    put("TLSCipherSuites", list(&config.tls.cipher_suites).shown());
    put("TLSMinVersion", tls_version(config.tls.min_version).shown());
    put(
        "TLSPreferServerCipherSuites",
        config.tls.prefer_server_cipher_suites.shown(),
    );
    put(
        "TaggedAddresses",
        map(&config.node.tagged_addresses).shown(),
    );
    put("Telemetry", telemetry(config).shown());
    put("TranslateWANAddrs", http.translate_wan_addrs.shown());
    put("TxnMaxReqLen", config.limits.txn_size_max.shown());
    put("UIContentPath", (&config.ui.content_path).shown());
    put("UIDir", (&config.ui.dir).shown());
    put("UnixSocketGroup", (&listeners.unix_sockets.group).shown());
    put("UnixSocketMode", (&listeners.unix_sockets.mode).shown());
    put("UnixSocketUser", (&listeners.unix_sockets.user).shown());
    put("VerifyIncoming", tls.verify_incoming.shown());
    put("VerifyIncomingHTTPS", tls.verify_incoming_https.shown());
    put("VerifyIncomingRPC", tls.verify_incoming_rpc.shown());
    put("VerifyOutgoing", tls.verify_outgoing.shown());
    put("VerifyServerHostname", tls.verify_server_hostname.shown());
    put("Version", COMPATIBLE_VERSION.shown());
    put("VersionPrerelease", "".shown());
    put(
        "Watches",
        list(reloadable.watches.iter().map(|_| ValueMap::new())).shown(),
    );
    let mut all = Value::Map(out);
    hide_secrets(&mut all);
    match all {
        Value::Map(map) => map,
        _ => ValueMap::new(),
    }
}

fn map(pairs: &BTreeMap<String, String>) -> ValueMap {
    pairs
        .iter()
        .map(|(name, value)| (text(name), value.shown()))
        .collect()
}

fn urls(addrs: &[ListenAddr]) -> Value {
    list(addrs.iter().map(|addr| match addr {
        ListenAddr::Tcp(addr) => tcp(*addr),
        ListenAddr::Unix(_) => addr.to_string(),
    }))
}

/// A client address, which has no port of its own.
fn host(addr: &ListenAddr) -> String {
    match addr {
        ListenAddr::Tcp(addr) => addr.ip().to_string(),
        ListenAddr::Unix(_) => addr.to_string(),
    }
}

fn tls_version(version: TlsVersion) -> &'static str {
    match version {
        TlsVersion::Tls10 => "tls10",
        TlsVersion::Tls11 => "tls11",
        TlsVersion::Tls12 => "tls12",
        TlsVersion::Tls13 => "tls13",
    }
}

fn soa(dns: &DnsConfig) -> Value {
    object([
        ("Expire", dns.soa.expire.shown()),
        ("Minttl", dns.soa.min_ttl.shown()),
        ("Refresh", dns.soa.refresh.shown()),
        ("Retry", dns.soa.retry.shown()),
    ])
}

fn cache(reloadable: &Reloadable) -> Value {
    object([
        (
            "EntryFetchMaxBurst",
            reloadable.cache_entry_fetch_burst.shown(),
        ),
        // No limit is the largest number there.
        (
            "EntryFetchRate",
            reloadable
                .cache_entry_fetch_rate
                .unwrap_or(f64::MAX)
                .shown(),
        ),
    ])
}

fn logging(config: &Config) -> Value {
    let log = &config.log;
    object([
        ("EnableSyslog", log.syslog.shown()),
        ("LogFilePath", (&log.file).shown()),
        ("LogJSON", log.json.shown()),
        ("LogLevel", config.reloadable.log_level.as_str().shown()),
        ("LogRotateBytes", log.rotate_bytes.shown()),
        ("LogRotateDuration", log.rotate_duration.shown()),
        ("LogRotateMaxFiles", log.rotate_max_files.shown()),
        ("Name", "".shown()),
        ("SyslogFacility", (&log.syslog_facility).shown()),
    ])
}

fn telemetry(config: &Config) -> Value {
    let telemetry = &config.telemetry;
    let mut out = ValueMap::new();
    for name in [
        "CirconusAPIApp",
        "CirconusAPIToken",
        "CirconusAPIURL",
        "CirconusBrokerID",
        "CirconusBrokerSelectTag",
        "CirconusCheckDisplayName",
        "CirconusCheckForceMetricActivation",
        "CirconusCheckID",
        "CirconusCheckInstanceID",
        "CirconusCheckSearchTag",
        "CirconusCheckTags",
        "CirconusSubmissionInterval",
        "CirconusSubmissionURL",
    ] {
        out.insert(text(name), "".shown());
    }
    for (name, value) in [
        (
            "AllowedPrefixes",
            list(&config.reloadable.telemetry_allowed_prefixes),
        ),
        (
            "BlockedPrefixes",
            list(&config.reloadable.telemetry_blocked_prefixes),
        ),
        ("Disable", false.shown()),
        ("DisableHostname", telemetry.disable_hostname.shown()),
        ("DogstatsdAddr", (&telemetry.dogstatsd_address).shown()),
        ("DogstatsdTags", list(&telemetry.dogstatsd_tags)),
        ("FilterDefault", telemetry.filter_default.shown()),
        ("MetricsPrefix", (&telemetry.metrics_prefix).shown()),
        (
            "PrometheusRetentionTime",
            telemetry.prometheus_retention.shown(),
        ),
        ("StatsdAddr", (&telemetry.statsd_address).shown()),
        ("StatsiteAddr", (&telemetry.statsite_address).shown()),
    ] {
        out.insert(text(name), value);
    }
    Value::Map(out)
}

fn auto_config(config: &Config) -> Value {
    let auto = &config.auto_config;
    let jwt = object([
        ("BoundAudiences", Value::Null),
        ("BoundIssuer", "".shown()),
        ("ClaimMappings", Value::Null),
        ("ClockSkewLeeway", 0_i32.shown()),
        ("ExpirationLeeway", 0_i32.shown()),
        ("JWKSCACert", "".shown()),
        ("JWKSURL", "".shown()),
        ("JWTSupportedAlgs", Value::Null),
        ("JWTValidationPubKeys", Value::Null),
        ("ListClaimMappings", Value::Null),
        ("NotBeforeLeeway", 0_i32.shown()),
        ("OIDCDiscoveryCACert", "".shown()),
        ("OIDCDiscoveryURL", "".shown()),
    ]);
    let method = object([
        ("ACLAuthMethodEnterpriseFields", ValueMap::new().shown()),
        ("Config", jwt),
        ("Description", "".shown()),
        ("DisplayName", "".shown()),
        ("EnterpriseMeta", ValueMap::new().shown()),
        ("MaxTokenTTL", Duration::ZERO.shown()),
        ("Name", "Auto Config Authorizer".shown()),
        (
            "RaftIndex",
            object([
                ("CreateIndex", 0_i32.shown()),
                ("ModifyIndex", 0_i32.shown()),
            ]),
        ),
        ("TokenLocality", "".shown()),
        ("Type", "jwt".shown()),
    ]);
    let authorizer = object([
        ("AllowReuse", false.shown()),
        ("AuthMethod", method),
        ("ClaimAssertions", list([""; 0])),
        ("Enabled", auto.authorization_enabled.shown()),
    ]);
    object([
        ("Authorizer", authorizer),
        ("DNSSANs", list(&auto.dns_sans)),
        ("Enabled", auto.enabled.shown()),
        ("IPSANs", list(auto.ip_sans.iter().copied())),
        ("IntroToken", HIDDEN.shown()),
        ("IntroTokenFile", (&auto.intro_token_file).shown()),
        ("ServerAddresses", list(&auto.server_addresses)),
    ])
}
