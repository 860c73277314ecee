//! Every key of an agent configuration file of 1.8, with its type. One table; `decode` and `merge` walk it.
//!
//! Source: spec config.md sections 3 to 10. Keys that 1.8 knows but later sources overwrite (section 9) and Enterprise
//! keys are here too, because they are not "unknown". A key that is missing here is an error in a file.

/// The type of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Bool,
    Int,
    /// Unsigned; the name is Go's, for error texts.
    Uint(&'static str),
    Float,
    /// Text; also durations and addresses, which are checked later.
    Str,
    List(&'static Kind),
    Map(&'static Kind),
    Obj(&'static Schema),
    /// Anything; single-element lists lose their list, because HCL writes objects so.
    Any,
}

/// The keys of one object.
#[derive(Debug)]
pub(crate) struct Schema {
    /// Canonical name and type.
    pub(crate) fields: &'static [(&'static str, Kind)],
    /// Other spellings, in lower case, and the canonical name.
    pub(crate) aliases: &'static [(&'static str, &'static str)],
}

impl Schema {
    /// The type of a canonical key.
    pub(crate) fn kind(&self, key: &str) -> Option<Kind> {
        self.fields
            .iter()
            .find(|(name, _)| *name == key)
            .map(|(_, kind)| *kind)
    }
}

use Kind::{Any, Bool, Float, Int, List, Map, Obj, Str, Uint};

const fn plain(fields: &'static [(&'static str, Kind)]) -> Schema {
    Schema {
        fields,
        aliases: &[],
    }
}

const STRS: Kind = List(&Str);
const STR_MAP: Kind = Map(&Str);
const ANY_MAP: Kind = Map(&Any);

static ACL: Schema = plain(&[
    ("enabled", Bool),
    ("tokens", Obj(&TOKENS)),
    ("disabled_ttl", Str),
    ("policy_ttl", Str),
    ("role_ttl", Str),
    ("token_ttl", Str),
    ("down_policy", Str),
    ("default_policy", Str),
    ("enable_key_list_policy", Bool),
    ("enable_token_persistence", Bool),
    ("enable_token_replication", Bool),
    ("msp_disable_bootstrap", Bool),
]);

static TOKENS: Schema = plain(&[
    ("master", Str),
    ("replication", Str),
    ("agent_master", Str),
    ("default", Str),
    ("agent", Str),
    ("managed_service_provider", List(&Obj(&MSP_TOKEN))),
]);

static MSP_TOKEN: Schema = plain(&[("accessor_id", Str), ("secret_id", Str)]);

static ADDRESSES: Schema = plain(&[("dns", Str), ("http", Str), ("https", Str), ("grpc", Str)]);

static AUDIT: Schema = plain(&[("enabled", Bool), ("sink", Map(&Obj(&AUDIT_SINK)))]);

static AUDIT_SINK: Schema = plain(&[
    ("type", Str),
    ("format", Str),
    ("path", Str),
    ("delivery_guarantee", Str),
    ("mode", Str),
    ("rotate_bytes", Int),
    ("rotate_duration", Str),
    ("rotate_max_files", Int),
]);

static AUTO_CONFIG: Schema = plain(&[
    ("enabled", Bool),
    ("intro_token", Str),
    ("intro_token_file", Str),
    ("server_addresses", STRS),
    ("dns_sans", STRS),
    ("ip_sans", STRS),
    ("authorization", Obj(&AUTHORIZATION)),
]);

static AUTHORIZATION: Schema = plain(&[("enabled", Bool), ("static", Obj(&STATIC_AUTHORIZER))]);

static STATIC_AUTHORIZER: Schema = plain(&[
    ("allow_reuse", Bool),
    ("claim_mappings", STR_MAP),
    ("list_claim_mappings", STR_MAP),
    ("jwt_supported_algs", STRS),
    ("bound_audiences", STRS),
    ("claim_assertions", STRS),
    ("jwt_validation_pub_keys", STRS),
    ("oidc_discovery_url", Str),
    ("oidc_discovery_ca_cert", Str),
    ("jwks_url", Str),
    ("jwks_ca_cert", Str),
    ("bound_issuer", Str),
    ("expiration_leeway", Str),
    ("not_before_leeway", Str),
    ("clock_skew_leeway", Str),
]);

static AUTO_ENCRYPT: Schema = plain(&[
    ("tls", Bool),
    ("dns_san", STRS),
    ("ip_san", STRS),
    ("allow_tls", Bool),
]);

static AUTOPILOT: Schema = plain(&[
    ("cleanup_dead_servers", Bool),
    ("disable_upgrade_migration", Bool),
    ("last_contact_threshold", Str),
    ("max_trailing_logs", Int),
    ("min_quorum", Uint("uint")),
    ("redundancy_zone_tag", Str),
    ("server_stabilization_time", Str),
    ("upgrade_version_tag", Str),
]);

static CACHE: Schema = plain(&[("entry_fetch_rate", Float), ("entry_fetch_max_burst", Int)]);

static CONNECT: Schema = plain(&[
    ("enabled", Bool),
    ("ca_provider", Str),
    ("ca_config", ANY_MAP),
    ("enable_mesh_gateway_wan_federation", Bool),
]);

static CONSUL: Schema = plain(&[
    ("coordinate", Obj(&COORDINATE)),
    ("raft", Obj(&RAFT)),
    ("server", Obj(&SERVER)),
]);

static COORDINATE: Schema = plain(&[
    ("update_batch_size", Int),
    ("update_max_batches", Int),
    ("update_period", Str),
]);

static RAFT: Schema = plain(&[
    ("election_timeout", Str),
    ("heartbeat_timeout", Str),
    ("leader_lease_timeout", Str),
]);

static SERVER: Schema = plain(&[("health_interval", Str)]);

static DNS: Schema = plain(&[
    ("allow_stale", Bool),
    ("a_record_limit", Int),
    ("disable_compression", Bool),
    ("enable_truncate", Bool),
    ("max_stale", Str),
    ("node_ttl", Str),
    ("only_passing", Bool),
    ("recursor_timeout", Str),
    ("service_ttl", STR_MAP),
    ("udp_answer_limit", Int),
    ("enable_additional_node_meta_txt", Bool),
    ("soa", Obj(&SOA)),
    ("use_cache", Bool),
    ("cache_max_age", Str),
    ("prefer_namespace", Bool),
]);

static SOA: Schema = plain(&[
    ("refresh", Uint("uint32")),
    ("retry", Uint("uint32")),
    ("expire", Uint("uint32")),
    ("min_ttl", Uint("uint32")),
]);

static GOSSIP: Schema = plain(&[
    ("gossip_nodes", Int),
    ("gossip_interval", Str),
    ("probe_interval", Str),
    ("probe_timeout", Str),
    ("suspicion_mult", Int),
    ("retransmit_mult", Int),
]);

static HTTP: Schema = plain(&[
    ("block_endpoints", STRS),
    ("allow_write_http_from", STRS),
    ("response_headers", STR_MAP),
    ("use_cache", Bool),
]);

static LIMITS: Schema = plain(&[
    ("http_max_conns_per_client", Int),
    ("https_handshake_timeout", Str),
    ("rpc_handshake_timeout", Str),
    ("rpc_max_burst", Int),
    ("rpc_max_conns_per_client", Int),
    ("rpc_rate", Float),
    ("kv_max_value_size", Uint("uint64")),
    ("txn_max_req_len", Uint("uint64")),
]);

static PERFORMANCE: Schema = plain(&[
    ("leave_drain_time", Str),
    ("raft_multiplier", Int),
    ("rpc_hold_timeout", Str),
]);

static PORTS: Schema = plain(&[
    ("dns", Int),
    ("http", Int),
    ("https", Int),
    ("serf_lan", Int),
    ("serf_wan", Int),
    ("server", Int),
    ("grpc", Int),
    ("proxy_min_port", Int),
    ("proxy_max_port", Int),
    ("sidecar_min_port", Int),
    ("sidecar_max_port", Int),
    ("expose_min_port", Int),
    ("expose_max_port", Int),
]);

static SEGMENT: Schema = plain(&[
    ("name", Str),
    ("advertise", Str),
    ("bind", Str),
    ("port", Int),
    ("rpc_listener", Bool),
]);

static TELEMETRY: Schema = plain(&[
    ("circonus_api_app", Str),
    ("circonus_api_token", Str),
    ("circonus_api_url", Str),
    ("circonus_broker_id", Str),
    ("circonus_broker_select_tag", Str),
    ("circonus_check_display_name", Str),
    ("circonus_check_force_metric_activation", Str),
    ("circonus_check_id", Str),
    ("circonus_check_instance_id", Str),
    ("circonus_check_search_tag", Str),
    ("circonus_check_tags", Str),
    ("circonus_submission_interval", Str),
    ("circonus_submission_url", Str),
    ("disable_hostname", Bool),
    ("dogstatsd_addr", Str),
    ("dogstatsd_tags", STRS),
    ("filter_default", Bool),
    ("prefix_filter", STRS),
    ("metrics_prefix", Str),
    ("prometheus_retention_time", Str),
    ("statsd_address", Str),
    ("statsite_address", Str),
]);

static UNIX_SOCKETS: Schema = plain(&[("group", Str), ("mode", Str), ("user", Str)]);

static CONFIG_ENTRIES: Schema = plain(&[("bootstrap", List(&ANY_MAP))]);

/// A check definition.
pub(crate) static CHECK: Schema = Schema {
    fields: &[
        ("id", Str),
        ("name", Str),
        ("notes", Str),
        ("service_id", Str),
        ("token", Str),
        ("status", Str),
        ("args", STRS),
        ("http", Str),
        ("header", Map(&STRS)),
        ("method", Str),
        ("body", Str),
        ("output_max_size", Int),
        ("tcp", Str),
        ("interval", Str),
        ("docker_container_id", Str),
        ("shell", Str),
        ("grpc", Str),
        ("grpc_use_tls", Bool),
        ("tls_skip_verify", Bool),
        ("alias_node", Str),
        ("alias_service", Str),
        ("timeout", Str),
        ("ttl", Str),
        ("success_before_passing", Int),
        ("failures_before_critical", Int),
        ("deregister_critical_service_after", Str),
    ],
    aliases: &[
        ("dockercontainerid", "docker_container_id"),
        ("scriptargs", "args"),
        ("serviceid", "service_id"),
        ("tlsskipverify", "tls_skip_verify"),
        (
            "deregistercriticalserviceafter",
            "deregister_critical_service_after",
        ),
    ],
};

static MESH_GATEWAY: Schema = plain(&[("mode", Str)]);

static EXPOSE: Schema = plain(&[("checks", Bool), ("paths", List(&Obj(&EXPOSE_PATH)))]);

static EXPOSE_PATH: Schema = plain(&[
    ("listener_port", Int),
    ("path", Str),
    ("local_path_port", Int),
    ("protocol", Str),
]);

static UPSTREAM: Schema = plain(&[
    ("destination_type", Str),
    ("destination_namespace", Str),
    ("destination_name", Str),
    ("datacenter", Str),
    ("local_bind_address", Str),
    ("local_bind_port", Int),
    ("config", ANY_MAP),
    ("mesh_gateway", Obj(&MESH_GATEWAY)),
]);

static PROXY: Schema = plain(&[
    ("destination_service_name", Str),
    ("destination_service_id", Str),
    ("local_service_address", Str),
    ("local_service_port", Int),
    ("config", ANY_MAP),
    ("upstreams", List(&Obj(&UPSTREAM))),
    ("mesh_gateway", Obj(&MESH_GATEWAY)),
    ("expose", Obj(&EXPOSE)),
]);

static SERVICE_CONNECT: Schema = plain(&[("native", Bool), ("sidecar_service", Obj(&SERVICE))]);

static SERVICE_ADDRESS: Schema = plain(&[("address", Str), ("port", Int)]);

static WEIGHTS: Schema = plain(&[("passing", Int), ("warning", Int)]);

/// A service definition.
pub(crate) static SERVICE: Schema = plain(&[
    ("kind", Str),
    ("id", Str),
    ("name", Str),
    ("tags", STRS),
    ("address", Str),
    ("tagged_addresses", Map(&Obj(&SERVICE_ADDRESS))),
    ("meta", STR_MAP),
    ("port", Int),
    ("check", Obj(&CHECK)),
    ("checks", List(&Obj(&CHECK))),
    ("token", Str),
    ("weights", Obj(&WEIGHTS)),
    ("enable_tag_override", Bool),
    ("proxy", Obj(&PROXY)),
    ("connect", Obj(&SERVICE_CONNECT)),
]);

/// A whole file.
pub(crate) static ROOT: Schema = plain(&[
    ("acl", Obj(&ACL)),
    ("acl_agent_master_token", Str),
    ("acl_agent_token", Str),
    ("acl_datacenter", Str),
    ("acl_default_policy", Str),
    ("acl_disabled_ttl", Str),
    ("acl_down_policy", Str),
    ("acl_enable_key_list_policy", Bool),
    ("acl_enforce_version_8", Bool),
    ("acl_master_token", Str),
    ("acl_replication_token", Str),
    ("acl_token", Str),
    ("acl_ttl", Str),
    ("addresses", Obj(&ADDRESSES)),
    ("advertise_addr", Str),
    ("advertise_addr_ipv4", Str),
    ("advertise_addr_ipv6", Str),
    ("advertise_addr_wan", Str),
    ("advertise_addr_wan_ipv4", Str),
    ("advertise_addr_wan_ipv6", Str),
    ("ae_interval", Str),
    ("alt_domain", Str),
    ("audit", Obj(&AUDIT)),
    ("auto_config", Obj(&AUTO_CONFIG)),
    ("auto_encrypt", Obj(&AUTO_ENCRYPT)),
    ("autopilot", Obj(&AUTOPILOT)),
    ("bind_addr", Str),
    ("bootstrap", Bool),
    ("bootstrap_expect", Int),
    ("ca_file", Str),
    ("ca_path", Str),
    ("cache", Obj(&CACHE)),
    ("cert_file", Str),
    ("check", Obj(&CHECK)),
    ("check_deregister_interval_min", Str),
    ("check_output_max_size", Int),
    ("check_reap_interval", Str),
    ("check_update_interval", Str),
    ("checks", List(&Obj(&CHECK))),
    ("client_addr", Str),
    ("config_entries", Obj(&CONFIG_ENTRIES)),
    ("connect", Obj(&CONNECT)),
    ("consul", Obj(&CONSUL)),
    ("data_dir", Str),
    ("datacenter", Str),
    ("default_query_time", Str),
    ("disable_anonymous_signature", Bool),
    ("disable_coordinates", Bool),
    ("disable_host_node_id", Bool),
    ("disable_http_unprintable_char_filter", Bool),
    ("disable_keyring_file", Bool),
    ("disable_remote_exec", Bool),
    ("disable_update_check", Bool),
    ("discard_check_output", Bool),
    ("discovery_max_stale", Str),
    ("dns_config", Obj(&DNS)),
    ("domain", Str),
    ("enable_acl_replication", Bool),
    ("enable_agent_tls_for_checks", Bool),
    ("enable_central_service_config", Bool),
    ("enable_debug", Bool),
    ("enable_local_script_checks", Bool),
    ("enable_script_checks", Bool),
    ("enable_syslog", Bool),
    ("encrypt", Str),
    ("encrypt_verify_incoming", Bool),
    ("encrypt_verify_outgoing", Bool),
    ("gossip_lan", Obj(&GOSSIP)),
    ("gossip_wan", Obj(&GOSSIP)),
    ("http_config", Obj(&HTTP)),
    ("key_file", Str),
    ("leave_on_terminate", Bool),
    ("limits", Obj(&LIMITS)),
    ("log_file", Str),
    ("log_json", Bool),
    ("log_level", Str),
    ("log_rotate_bytes", Int),
    ("log_rotate_duration", Str),
    ("log_rotate_max_files", Int),
    ("max_query_time", Str),
    ("node_id", Str),
    ("node_meta", STR_MAP),
    ("node_name", Str),
    ("non_voting_server", Bool),
    ("performance", Obj(&PERFORMANCE)),
    ("pid_file", Str),
    ("ports", Obj(&PORTS)),
    ("primary_datacenter", Str),
    ("primary_gateways", STRS),
    ("primary_gateways_interval", Str),
    ("protocol", Int),
    ("raft_protocol", Int),
    ("raft_snapshot_interval", Str),
    ("raft_snapshot_threshold", Int),
    ("raft_trailing_logs", Int),
    ("reconnect_timeout", Str),
    ("reconnect_timeout_wan", Str),
    ("recursors", STRS),
    ("rejoin_after_leave", Bool),
    ("retry_interval", Str),
    ("retry_interval_wan", Str),
    ("retry_join", STRS),
    ("retry_join_wan", STRS),
    ("retry_max", Int),
    ("retry_max_wan", Int),
    ("revision", Str),
    ("segment", Str),
    ("segment_limit", Int),
    ("segment_name_limit", Int),
    ("segments", List(&Obj(&SEGMENT))),
    ("serf_lan", Str),
    ("serf_lan_allowed_cidrs", STRS),
    ("serf_wan", Str),
    ("serf_wan_allowed_cidrs", STRS),
    ("server", Bool),
    ("server_name", Str),
    ("service", Obj(&SERVICE)),
    ("services", List(&Obj(&SERVICE))),
    ("session_ttl_min", Str),
    ("skip_leave_on_interrupt", Bool),
    ("snapshot_agent", ANY_MAP),
    ("start_join", STRS),
    ("start_join_wan", STRS),
    ("sync_coordinate_interval_min", Str),
    ("sync_coordinate_rate_target", Float),
    ("syslog_facility", Str),
    ("tagged_addresses", STR_MAP),
    ("telemetry", Obj(&TELEMETRY)),
    ("tls_cipher_suites", Str),
    ("tls_min_version", Str),
    ("tls_prefer_server_cipher_suites", Bool),
    ("translate_wan_addrs", Bool),
    ("ui", Bool),
    ("ui_content_path", Str),
    ("ui_dir", Str),
    ("unix_sockets", Obj(&UNIX_SOCKETS)),
    ("verify_incoming", Bool),
    ("verify_incoming_https", Bool),
    ("verify_incoming_rpc", Bool),
    ("verify_outgoing", Bool),
    ("verify_server_hostname", Bool),
    ("version", Str),
    ("version_prerelease", Str),
    ("watches", List(&ANY_MAP)),
]);
