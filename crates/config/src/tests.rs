//! Tests of the whole path from files and flags to a configuration. Texts are those of `consul validate` 1.8.7.

use std::path::PathBuf;

use tempfile::TempDir;

use crate::*;

fn env() -> Environment {
    let eth0 = Interface {
        name: "eth0".into(),
        ip: "10.0.0.7".parse().unwrap(),
        prefix_len: 24,
        up: true,
        loopback: false,
        point_to_point: false,
    };
    let interfaces = Interfaces {
        list: vec![eth0],
        default_route: Some("eth0".into()),
    };
    Environment {
        hostname: "host-1".into(),
        interfaces,
        vars: Default::default(),
    }
}

fn write(dir: &TempDir, name: &str, text: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

fn shown(result: Result<Vec<String>, ConfigError>) -> String {
    match result {
        Ok(warnings) => warnings.join("\n"),
        Err(e) => format!("! {e}"),
    }
}

/// Warnings, or the error after `! `, with the file called `F`.
fn validate_file(name: &str, text: &str) -> String {
    let dir = TempDir::new().unwrap();
    let path = write(&dir, name, text);
    let shown = shown(validate_paths(std::slice::from_ref(&path), None, &env()));
    shown
        .replace(path.to_str().unwrap(), "F")
        .trim_end()
        .to_owned()
}

fn hcl(text: &str) -> String {
    validate_file("a.hcl", &format!("data_dir = \"/nonexistent/x\"\n{text}"))
}

fn agent(args: &[&str]) -> Result<Loaded, ConfigError> {
    load(&parse_agent_flags(args).unwrap(), &env())
}

#[test]
fn tagged_addresses_are_added_to_those_that_are_derived() {
    let given = "data_dir = \"/tmp\" bind_addr = \"10.1.1.1\" tagged_addresses { lan = \"9.9.9.1\" wan = \"9.9.9.2\" \
                 wan_ipv4 = \"9.9.9.3\" lan_ipv6 = \"::5\" foo = \"bar\" }";
    for (more, wan) in [
        ("", "10.1.1.1"),
        (" advertise_addr_wan = \"10.1.1.2\"", "10.1.1.2"),
    ] {
        let config = agent(&["-hcl", &format!("{given}{more}")]).unwrap().config;
        let tagged = &config.node.tagged_addresses;
        let shown: Vec<_> = tagged.iter().map(|(k, v)| format!("{k}={v}")).collect();
        let want =
            format!("foo=bar lan=10.1.1.1 lan_ipv4=10.1.1.1 lan_ipv6=::5 wan={wan} wan_ipv4={wan}");
        assert_eq!(shown.join(" "), want);
    }
}

#[test]
fn wrong_types_are_named_with_their_path() {
    for (text, want) in [
        (
            "ports { http = \"8500\" }",
            "'ports.http' expected type 'int', got unconvertible type 'string'",
        ),
        (
            "server = 1",
            "'server' expected type 'bool', got unconvertible type 'int'",
        ),
        ("ports = 5", "'ports' expected a map, got 'int'"),
        ("ports = []", "'ports' expected a map, got 'slice'"),
        (
            "ports { http = 1 } ports { dns = 2 }",
            "'ports' expected a map, got 'slice'",
        ),
        (
            "recursors = \"1.1.1.1\"",
            "'recursors': source data must be an array or slice, got string",
        ),
        (
            "recursors = [5]",
            "'recursors[0]' expected type 'string', got unconvertible type 'int'",
        ),
        (
            "recursors = {a=1}",
            "'recursors[0]' expected type 'string', got unconvertible type 'map[string]interface {}'",
        ),
        (
            "node_meta = {a = 5}",
            "'node_meta[a]' expected type 'string', got unconvertible type 'int'",
        ),
        (
            "service { name = \"a\" tags = \"x\" }",
            "'service.tags': source data must be an array or slice, got string",
        ),
        (
            "service { name = \"a\" } service { name = \"b\" }",
            "'service' expected a map, got 'slice'",
        ),
        (
            "service { name = \"a\" check = [{ttl=\"1s\"},{ttl=\"2s\"}] }",
            "'service.check' expected a map, got 'slice'",
        ),
        (
            "dns_config { soa { min_ttl=-1 } }",
            "cannot parse 'dns_config.soa.min_ttl', -1 overflows uint",
        ),
        (
            "limits { rpc_rate = \"x\" }",
            "'limits.rpc_rate' expected type 'float64', got unconvertible type 'string'",
        ),
    ] {
        assert_eq!(
            hcl(text),
            format!("! failed to parse F: 1 error(s) decoding:\n\n* {want}"),
            "{text}"
        );
    }
}

#[test]
fn unknown_keys_are_all_listed_with_dots() {
    assert_eq!(
        hcl("bogus = 1"),
        "! failed to parse F: 1 error occurred:\n\t* invalid config key bogus"
    );
    assert_eq!(
        hcl("bogus=1 bogus2=2 ports { b3=1 }"),
        "! failed to parse F: 3 errors occurred:\n\t* invalid config key ports.b3\n\t* invalid config key bogus\n\t* \
         invalid config key bogus2"
    );
    let json = "{\"services\":[{\"name\":\"a\",\"bogus\":1,\"checks\":[{\"x\":1}]}],\"SERVICE\":{\"Foo\":1}}";
    assert_eq!(
        validate_file("a.json", json),
        "! failed to parse F: 3 errors occurred:\n\t* invalid config key service.Foo\n\t* invalid config key \
         services[0].checks[0].x\n\t* invalid config key services[0].bogus"
    );
    for removed in [
        "statsd_addr = \"x\"",
        "retry_join_ec2 {}",
        "advertise_addrs {}",
        "ports { rpc = 1 }",
        "atlas_token = \"\"",
    ] {
        assert!(hcl(removed).contains("invalid config key"), "{removed}");
    }
    assert!(hcl("check { script = \"x\" }").contains("invalid config key check.script"));
}

#[test]
fn keys_match_in_any_case_and_by_alias() {
    let text = r#"
        Bind_Addr = "127.0.0.1"
        check {
          Name = "c"  ServiceID = "web"  ScriptArgs = ["x"]  DockerContainerID = "d"  TLSSkipVerify = true
          DeregisterCriticalServiceAfter = "5m"  interval = "10s"
        }"#;
    let loaded = agent(&["-dev", "-hcl", text]).unwrap();
    let check = &loaded.config.reloadable.checks[0];
    assert_eq!(&*check.service_id, "web");
    assert_eq!(&*check.check.script_args[0], "x");
    assert_eq!(&*check.check.docker_container_id, "d");
    assert!(check.check.tls_skip_verify);
    assert_eq!(check.check.deregister_critical_service_after.as_secs(), 300);
}

#[test]
fn values_of_the_wrong_form_are_collected() {
    assert_eq!(
        hcl("retry_interval = \"5x\""),
        "! 1 error occurred:\n\t* retry_interval: invalid duration: \"5x\": time: unknown unit \"x\" in duration \"5x\""
    );
    assert_eq!(
        hcl("ports { dns = 99999 } client_addr = \"foo\" dns_config { recursor_timeout = \"1d\" }"),
        "! 3 errors occurred:\n\t* ports.dns: invalid port: 99999\n\t* client_addr: invalid ip address: foo\n\t* \
         recursor_timeout: invalid duration: \"1d\": time: unknown unit \"d\" in duration \"1d\""
    );
    for (text, want) in [
        (
            "max_query_time = \"\"",
            "max_query_time: invalid duration: \"\": time: invalid duration \"\"",
        ),
        (
            "default_query_time = \"1\"",
            "default_query_time: invalid duration: \"1\": time: missing unit in duration \"1\"",
        ),
        (
            "check { name=\"x\" timeout=\"zz\" }",
            "check[].timeout: invalid duration: \"zz\": time: invalid duration \"zz\"",
        ),
        (
            "dns_config { service_ttl { b=\"y\" } }",
            "dns_config.service_ttl[\"b\"]: invalid duration: \"y\": time: invalid duration \"y\"",
        ),
        (
            "telemetry { prometheus_retention_time=\"x\" }",
            "prometheus_retention_time: invalid duration: \"x\": time: invalid duration \"x\"",
        ),
        (
            "acl_ttl = \"x\"",
            "acl_ttl: invalid duration: \"x\": time: invalid duration \"x\"",
        ),
        (
            "client_addr = \"unix:///x\"",
            "client_addr cannot be a unix socket",
        ),
        (
            "addresses { http = \"unix:///x foo\" }",
            "addresses.http: invalid ip address: foo",
        ),
        (
            "http_config { allow_write_http_from=[\"foo\",\"1.2.3.4/8\"] }",
            "allow_write_http_from: invalid cidr: foo",
        ),
        (
            "tls_cipher_suites=\"foo\"",
            "tls_cipher_suites: invalid tls cipher suites: unsupported cipher \"foo\"",
        ),
        (
            "services { name=\"x\" weights { passing=0 } }",
            "Invalid weight definition for service x: Passing must be greater than 0",
        ),
        (
            "services { name=\"x\" proxy { mesh_gateway { mode=\"bogus\" } } }",
            "Invalid Mesh Gateway Mode: \"bogus\"",
        ),
        (
            "service { name=\"x\" connect { sidecar_service { id=\"q\" } } }",
            "sidecar_service can't specify an ID",
        ),
        (
            "service { name=\"x\" connect { sidecar_service { connect { sidecar_service {} } } } }",
            "sidecar_service can't have a nested sidecar_service",
        ),
        (
            "retry_join=[\"{{ Bogus }}\"]",
            "retry_join: error parsing \"{{ Bogus }}\": unable to parse template \"{{ Bogus }}\": template: sockaddr.Parse:1: function \"Bogus\" not defined",
        ),
    ] {
        assert_eq!(
            hcl(text),
            format!("! 1 error occurred:\n\t* {want}"),
            "{text}"
        );
    }
}

#[test]
fn rules_between_settings_stop_with_their_text() {
    for (text, want) in [
        ("data_dir = \"\"", "data_dir cannot be empty"),
        (
            "data_dir = \"/etc/hosts\"",
            "data_dir \"/etc/hosts\" is not a directory",
        ),
        (
            "datacenter = \"dc 1\"",
            "datacenter cannot be \"dc 1\". Please use only [a-z0-9-_]",
        ),
        (
            "primary_datacenter = \"A b\"",
            "acl_datacenter cannot be \"a b\". Please use only [a-z0-9-_]",
        ),
        ("node_name = \" \"", "node_name cannot be empty"),
        (
            "node_meta = {\"consul-x\"=\"y\"}",
            "node_meta invalid: Couldn't load metadata pair ('consul-x', 'y'): Key prefix 'consul-' is reserved for internal use",
        ),
        (
            "node_meta = {\"a b\"=\"y\"}",
            "node_meta invalid: Couldn't load metadata pair ('a b', 'y'): Key contains invalid characters",
        ),
        (
            "bootstrap = true",
            "'bootstrap = true' requires 'server = true'",
        ),
        (
            "bootstrap_expect = 3",
            "'bootstrap_expect > 0' requires 'server = true'",
        ),
        (
            "bootstrap_expect = -1",
            "bootstrap_expect cannot be -1. Must be greater than or equal to zero",
        ),
        (
            "bootstrap_expect = 3 bootstrap = true server = true",
            "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive",
        ),
        ("bind_addr = \"\"", "bind_addr cannot be empty"),
        (
            "bind_addr = \"1.1.1.1 2.2.2.2\"",
            "bind_addr cannot contain multiple addresses. Use 'addresses.{dns,http,https}' instead.",
        ),
        (
            "bind_addr = \"unix:///x\"",
            "bind_addr cannot be a unix socket",
        ),
        (
            "bind_addr = \"foo\"",
            "bind_addr must be an ip address: foo",
        ),
        ("bind_addr = \"::\"", "No public IPv6 address found"),
        (
            "advertise_addr = \"0.0.0.0\"",
            "Advertise address cannot be 0.0.0.0, :: or [::]",
        ),
        (
            "advertise_addr_wan = \"::\"",
            "Advertise WAN address cannot be 0.0.0.0, :: or [::]",
        ),
        (
            "advertise_addr_ipv4 = \"::1\"",
            "advertise_addr_ipv4 must be an ipv4 address",
        ),
        (
            "advertise_addr_wan_ipv6 = \"1.2.3.4\"",
            "advertise_addr_wan_ipv6 must be an ipv6 address",
        ),
        (
            "addresses { dns = \"unix:///x\" }",
            "DNS address cannot be a unix socket",
        ),
        (
            "recursors = [\"0.0.0.0\"]",
            "DNS recursor address cannot be 0.0.0.0, :: or [::]",
        ),
        (
            "recursors = [\"unix:///a\"]",
            "DNS Recursors cannot be unix sockets: unix:///a",
        ),
        (
            "alt_domain = \"service.foo\"",
            "alt_domain cannot start with {service,connect,node,query,addr,dc1}",
        ),
        (
            "check_output_max_size = 0",
            "check_output_max_size must be positive, to discard check output use the discard_check_output flag",
        ),
        (
            "dns_config { udp_answer_limit=-1 }",
            "dns_config.udp_answer_limit cannot be -1. Must be greater than or equal to zero",
        ),
        (
            "performance { raft_multiplier=11 }",
            "performance.raft_multiplier cannot be 11. Must be between 1 and 10",
        ),
        (
            "cache { entry_fetch_rate=0 }",
            "cache.entry_fetch_rate must be strictly positive, was: 0",
        ),
        (
            "cache { entry_fetch_max_burst=0 }",
            "cache.entry_fetch_max_burst must be strictly positive, was: 0",
        ),
        (
            "ports { sidecar_min_port=2 sidecar_max_port=1 }",
            "sidecar_min_port must be less than sidecar_max_port. To disable, set both to zero.",
        ),
        (
            "ports { http = 8600 }",
            "HTTP address 127.0.0.1:8600 already configured for DNS",
        ),
        (
            "bind_addr = \"127.0.0.1\" ports { http = 8300 }",
            "RPC Advertise address 127.0.0.1:8300 already configured for HTTP",
        ),
        (
            "ports { serf_lan = 8302 }",
            "Serf Advertise WAN address 10.0.0.7:8302 already configured for Serf Advertise LAN",
        ),
        (
            "ui_content_path = \"/a b/\"",
            "ui-content-path can only contain alphanumeric, -, _, or /. received: /a b/",
        ),
        (
            "ui_content_path = \"/v1/\"",
            "ui-content-path cannot have 'v[0-9]'. received: /v1/",
        ),
        (
            "encrypt = \"foo\"",
            "encrypt has invalid key: illegal base64 data at input byte 0",
        ),
        (
            "segment = \"x\"",
            "Network segments are not supported in this version of Consul",
        ),
        (
            "connect { ca_provider = \"foo\" }",
            "foo is not a valid CA provider",
        ),
        (
            "connect { ca_provider = \"consul\" ca_config { leaf_cert_ttl = \"1m\" } }",
            "leaf cert TTL must be greater or equal than 1h0m0s",
        ),
        (
            "connect { enable_mesh_gateway_wan_federation=true }",
            "'connect.enable_mesh_gateway_wan_federation=true' requires 'connect.enabled=true'",
        ),
        (
            "primary_gateways=[\"a\"]",
            "'primary_gateways' requires 'server = true'",
        ),
        (
            "auto_encrypt { allow_tls = true }",
            "auto_encrypt.allow_tls can only be used on a server.",
        ),
        (
            "server = true auto_encrypt { tls = true }",
            "auto_encrypt.tls can only be used on a client.",
        ),
        (
            "auto_config { enabled=true }",
            "auto_config.enabled cannot be set without configuring TLS for server communications",
        ),
        (
            "config_entries { bootstrap = [{ kind=\"x\" }] }",
            "config_entries.bootstrap[0]: invalid config entry kind: x",
        ),
        (
            "config_entries { bootstrap = [{ kind=\"service-defaults\" name=\"a\" zork=1 }] }",
            "config_entries.bootstrap[0]: 1 error occurred:\n\t* invalid config key \"zork\"",
        ),
        (
            "serf_lan_allowed_cidrs = [\"foo\"]",
            "serf_lan_allowed_cidrs: 1 error occurred:\n\t* invalid cidr: foo",
        ),
    ] {
        assert_eq!(hcl(text), format!("! {want}"), "{text}");
    }
}

#[test]
fn warnings_do_not_stop() {
    for (text, want) in [
        ("", ""),
        (
            "acl_enforce_version_8 = true",
            "config key \"acl_enforce_version_8\" is deprecated and should be removed",
        ),
        (
            "acl_datacenter = \"DC1\"",
            "The 'acl_datacenter' field is deprecated. Use the 'primary_datacenter' field instead.",
        ),
        (
            "node_name = \"a_b\"",
            "Node name \"a_b\" will not be discoverable via DNS due to invalid characters. Valid characters include all alpha-numerics and dashes.",
        ),
        (
            "bootstrap = true server = true",
            "bootstrap = true: do not enable unless necessary",
        ),
        (
            "bootstrap_expect = 3 server = true",
            "bootstrap_expect > 0: expecting 3 servers",
        ),
        (
            "telemetry { prefix_filter=[\"foo\",\"+ok\"] }",
            "Filter rule must begin with either '+' or '-': \"foo\"",
        ),
        (
            "segment = \"\"",
            "\"segment\" is a Consul Enterprise configuration and will have no effect",
        ),
        (
            "non_voting_server = true",
            "\"non_voting_server\" is a Consul Enterprise configuration and will have no effect",
        ),
        (
            "auto_encrypt { tls = true ip_san=[\"foo\"] }",
            "Cannot parse ip \"foo\" from AutoEncrypt.IPSAN",
        ),
        // Not caught by validate, but fatal at start.
        (
            "node_id = \"x\" log_level = \"zap\" tls_min_version = \"foo\" protocol = 1 raft_protocol = 9",
            "",
        ),
        (
            "verify_incoming = true encrypt = \"cg==\" watches = [{}] acl { enabled = true default_policy = \"foo\" }",
            "",
        ),
    ] {
        assert_eq!(hcl(text), want, "{text}");
    }
    assert!(
        hcl("enable_script_checks = true").starts_with("using enable-script-checks without ACLs")
    );
}

#[test]
fn what_validate_passes_may_still_stop_an_agent() {
    for (text, want) in [
        (
            "log_level = \"zap\"",
            "Invalid log level: zap. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]",
        ),
        (
            "node_id = \"x\"",
            "specified NodeID is invalid: uuid string is wrong length",
        ),
        (
            "protocol = 1",
            "Protocol version '1' too low. Must be in range: [2, 3]",
        ),
        (
            "raft_protocol = 9",
            "Protocol version 9 must be >= 1 and <= 3",
        ),
        (
            "tls_min_version = \"foo\"",
            "TLSMinVersion: value foo not supported, please specify one of [tls10, tls11, tls12, tls13]",
        ),
        (
            "verify_incoming_https = true",
            "VerifyIncoming set but no CA certificates were provided",
        ),
        (
            "acl { default_policy = \"foo\" }",
            "Unsupported default ACL policy: foo",
        ),
        (
            "encrypt = \"cg==\"",
            "Failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes",
        ),
        (
            "watches = [{}]",
            "Failed to parse watch: Watch type must be specified",
        ),
        (
            "watches = [{type=\"bogus\" args=[\"x\"]}]",
            "Failed to parse watch: Unsupported watch type: bogus",
        ),
        (
            "watches = [{type=\"key\" key=\"a\" args=[\"a\"] zork=1}]",
            "Failed to parse watch: Invalid parameters: [zork]",
        ),
        (
            "watches = [{type=\"connect_roots\" args=[\"a\"]}]",
            "Failed to parse watch: Watch type connect_roots is not allowed in agent config",
        ),
        (
            "watches = [{type=\"nodes\" args=[\"a\"]}] ports { http = -1 }",
            "watch plans require an HTTP or HTTPS endpoint",
        ),
    ] {
        assert_eq!(
            agent(&["-dev", "-hcl", text]).unwrap_err().to_string(),
            want,
            "{text}"
        );
    }
}

#[test]
fn settings_that_protect_are_refused_until_they_are_enforced() {
    for text in [
        "acl { enabled = true }",
        "acl_datacenter = \"dc1\"",
        "acl { default_policy = \"deny\" }",
        "verify_incoming = true ca_file = \"/x\"",
        "verify_incoming_rpc = true ca_file = \"/x\"",
        "verify_outgoing = true ca_file = \"/x\"",
        "verify_server_hostname = true ca_file = \"/x\"",
        "auto_encrypt { allow_tls = true }",
    ] {
        let error = agent(&["-dev", "-hcl", text]).unwrap_err();
        assert!(matches!(error, ConfigError::Unbuilt(_)), "{text}: {error}");
        assert!(error.to_string().contains("is refused: "), "{error}");
    }
    assert!(
        agent(&[
            "-dev",
            "-hcl",
            "verify_incoming_https = true ca_file = \"/x\""
        ])
        .is_ok()
    );
}

#[test]
fn features_without_code_are_named_in_a_warning() {
    for (text, key) in [
        ("", "connect.enabled"),
        ("raft_protocol = 2", "raft_protocol"),
        ("ports { grpc = 8502 }", "ports.grpc"),
        (
            "telemetry { circonus_api_app = \"x\" }",
            "telemetry.circonus_*",
        ),
        (
            "primary_datacenter = \"dc2\" primary_gateways = [\"x\"]",
            "primary_gateways",
        ),
        ("acl { tokens { agent = \"x\" } }", "acl.tokens"),
    ] {
        let warnings = agent(&["-dev", "-hcl", text]).unwrap().warnings;
        assert!(
            warnings
                .iter()
                .any(|w| w.starts_with(&format!("\"{key}\" has no effect: "))),
            "{text}: {warnings:?}"
        );
    }
}

#[test]
fn settings_of_the_wan_pool_are_taken_without_a_word() {
    for text in [
        "serf_wan_allowed_cidrs = [\"10.0.0.0/8\"]",
        "retry_join_wan = [\"a\"] start_join_wan = [\"b\"] retry_max_wan = 3",
        "gossip_wan { probe_interval = \"1s\" }",
        "ports { serf_wan = -1 }",
    ] {
        let quiet = agent(&["-dev"]).unwrap().warnings;
        let loaded = agent(&["-dev", "-hcl", text]).unwrap();
        assert_eq!(loaded.warnings, quiet, "{text}");
    }
}

#[test]
fn sources_are_merged_in_their_order() {
    let dir = TempDir::new().unwrap();
    let conf = dir.path().join("d");
    std::fs::create_dir_all(conf.join("sub.hcl")).unwrap();
    std::fs::write(
        conf.join("b.json"),
        r#"{"recursors":["2.2.2.2"],"node_meta":{"k":"b","b":"1"},"log_level":"warn"}"#,
    )
    .unwrap();
    std::fs::write(conf.join("a.hcl"), "recursors = [\"1.1.1.1\"] node_meta { k = \"a\" } service { name = \"one\" } log_level = \"err\"").unwrap();
    std::fs::write(conf.join("c.txt"), "nonsense").unwrap();
    std::fs::write(conf.join("e.json"), "").unwrap();
    let extra = write(
        &dir,
        "z.json",
        r#"{"services":[{"name":"two"}],"service":{"name":"three"},"recursors":["1.1.1.1"]}"#,
    );
    let loaded = agent(&[
        "-dev",
        "-node-meta",
        "k:flag",
        "-config-dir",
        conf.to_str().unwrap(),
        "-recursor",
        "3.3.3.3",
        "-config-file",
        extra.to_str().unwrap(),
        "-http-port",
        "1500",
        "-hcl",
        "ports { http = 1600 } limits { rpc_rate = 5 }",
    ])
    .unwrap();
    let live = &loaded.config.reloadable;
    assert_eq!(live.dns.recursors, ["3.3.3.3", "1.1.1.1", "2.2.2.2"]);
    assert_eq!(live.node_meta.get("k").map(|v| &**v), Some("flag"));
    assert_eq!(live.node_meta.get("b").map(|v| &**v), Some("1"));
    assert_eq!(live.log_level, config::LogLevel::Warn);
    assert_eq!(
        live.services.iter().map(|s| &*s.name).collect::<Vec<_>>(),
        ["one", "two", "three"]
    );
    assert_eq!(loaded.config.listeners.http_port, 1600);
    assert_eq!(live.rpc_rate, Some(5.0));
    assert!(
        loaded
            .warnings
            .iter()
            .any(|w| w.starts_with("skipping file ") && w.contains("c.txt"))
    );
}

#[test]
fn development_mode_and_defaults_have_their_values() {
    let dev = agent(&["-dev"]).unwrap().config;
    assert!(dev.server.enabled && dev.ui.enabled && dev.http.enable_debug && dev.connect.enabled);
    assert_eq!(dev.data_dir, None);
    assert_eq!(dev.node.name, "host-1");
    assert_eq!(
        dev.listeners.http,
        [ListenAddr::Tcp("127.0.0.1:8500".parse().unwrap())]
    );
    assert_eq!(dev.listeners.grpc_port, 8502);
    assert!(dev.listeners.https.is_empty());
    assert_eq!(dev.raft.heartbeat_timeout.as_millis(), 35);
    assert_eq!(dev.coordinate.update_period.as_millis(), 100);
    assert!(dev.leave.skip_on_interrupt && !dev.leave.on_terminate);

    let dir = TempDir::new().unwrap();
    let data = dir.path().to_str().unwrap();
    let server = agent(&["-server", "-bootstrap", "-data-dir", data])
        .unwrap()
        .config;
    assert_eq!(server.data_dir.as_deref(), Some(dir.path()));
    assert!(server.server.bootstrap);
    assert_eq!(server.addrs.advertise_lan.to_string(), "10.0.0.7");
    assert_eq!(server.addrs.rpc_bind.to_string(), "0.0.0.0:8300");
    assert_eq!(server.node.tagged_addresses["wan_ipv4"], "10.0.0.7");
    assert_eq!(server.raft.heartbeat_timeout.as_secs(), 5);
    assert_eq!(server.reloadable.dns.udp_answer_limit, 3);
    assert_eq!(server.reloadable.rpc_rate, None);
    assert_eq!(server.reloadable.cache_entry_fetch_rate, None);
    assert_eq!(server.acl.token_ttl.as_secs(), 30);
    assert_eq!(server.ui.content_path, "/ui/");
    assert_eq!(server.checks.reap_interval.as_secs(), 30);
}

#[test]
fn the_keys_of_the_go_tests_only_warn() {
    let dir = TempDir::new().unwrap();
    let data = dir.path().join("data");
    let text = format!(
        r#"{{"node_name":"node-1","node_id":"adf4238a-882b-9ddc-4a9d-5b6758e4159e","performance":{{"raft_multiplier":1}},
        "bootstrap":true,"server":true,"data_dir":{data:?},"segments":null,"disable_update_check":true,
        "log_level":"debug","bind_addr":"127.0.0.1","addresses":{{}},
        "ports":{{"dns":10000,"http":10001,"https":10002,"serf_lan":10003,"serf_wan":10004,"server":10005}},
        "acl":{{"tokens":{{}}}},"connect":{{"enabled":true,"ca_config":{{"cluster_id":"11111111-2222-3333-4444-555555555555"}}}}}}"#
    );
    let first = write(&dir, "a.json", &text);
    let second = write(&dir, "b.json", "");
    let loaded = agent(&[
        "-config-file",
        first.to_str().unwrap(),
        "-config-file",
        second.to_str().unwrap(),
    ])
    .unwrap();
    assert_eq!(loaded.config.node.name, "node-1");
    assert_eq!(loaded.config.listeners.https_port, 10002);
    assert_eq!(
        loaded.config.connect.ca_config.get("ClusterID"),
        Some(&tribune_types::value::Value::String(
            "11111111-2222-3333-4444-555555555555".into()
        ))
    );
}

#[test]
fn free_form_blocks_lose_the_lists_of_hcl() {
    use tribune_types::value::Value;
    let text = r#"service { name = "h" proxy { config {
        a { b = ["x"] b2 = ["x","y"] c { d { e = 1 } } } a2 { c = 1 } a2 { d = 2 }
        o = ["x"] n = [[1]] l = [{a = 1}, 2] "k" "lab" { v = 1 } Mixed_Case = true nn = [] f = 1.5
    } } }"#;
    let loaded = agent(&["-dev", "-hcl", text]).unwrap();
    let config = loaded.config.reloadable.services[0]
        .proxy
        .as_ref()
        .unwrap()
        .config
        .clone()
        .unwrap();
    let map = |pairs: &[(&str, Value)]| {
        Value::Map(
            pairs
                .iter()
                .map(|(k, v)| ((*k).into(), v.clone()))
                .collect(),
        )
    };
    let s = |s: &str| Value::String(s.into());
    let one = |k: &str| map(&[(k, Value::Int(1))]);
    let want = map(&[
        (
            "a",
            map(&[
                ("b", s("x")),
                ("b2", Value::List(vec![s("x"), s("y")])),
                ("c", map(&[("d", one("e"))])),
            ]),
        ),
        (
            "a2",
            Value::List(vec![one("c"), map(&[("d", Value::Int(2))])]),
        ),
        ("o", s("x")),
        ("n", Value::List(vec![Value::Int(1)])),
        ("l", Value::List(vec![one("a"), Value::Int(2)])),
        ("k", map(&[("lab", one("v"))])),
        ("Mixed_Case", Value::Bool(true)),
        ("nn", Value::List(vec![])),
        ("f", Value::Float(1.5)),
    ]);
    assert_eq!(Value::Map(config), want);
}

#[test]
fn definitions_keep_all_their_fields() {
    let text = r#"service {
        id = "web1" name = "web" kind = "connect-proxy" tags = ["a"] port = 80 address = "1.2.3.4" token = "t"
        enable_tag_override = true meta { k = "v" } weights { passing = 5 }
        tagged_addresses { wan { address = "9.9.9.9" port = 1 } }
        check { name = "c0" ttl = "15s" status = "passing" }
        checks = [{ http = "http://x" interval = "10s" header { "X-A.b" = ["1", "2"] } }]
        proxy {
          destination_service_name = "w" upstreams { destination_name = "db" local_bind_port = 9 }
          expose { checks = true paths { path = "/h" listener_port = 1 local_path_port = 2 protocol = "http" } }
          mesh_gateway { mode = "local" }
        }
        connect { native = false sidecar_service { port = 99 } }
    }"#;
    let loaded = agent(&["-dev", "-hcl", text]).unwrap();
    let s = &loaded.config.reloadable.services[0];
    assert_eq!((&*s.id, &*s.name, s.port), ("web1", "web", 80));
    assert_eq!(s.weights.map(|w| (w.passing, w.warning)), Some((5, 1)));
    assert_eq!(s.tagged_addresses[0].1.port, 1);
    assert_eq!(&*s.checks[0].name, "c0");
    assert_eq!(&*s.checks[1].header[0].0, "X-A.b");
    assert_eq!(s.checks[1].header[0].1.len(), 2);
    let proxy = s.proxy.as_ref().unwrap();
    assert_eq!(
        &*proxy.upstreams.as_ref().unwrap()[0].destination_type,
        "service"
    );
    assert_eq!(&*proxy.mesh_gateway_mode, "local");
    assert_eq!(proxy.expose.paths.as_ref().unwrap()[0].local_path_port, 2);
    assert_eq!(s.sidecar.as_ref().unwrap().port, 99);
}

#[test]
fn service_files_hold_one_or_many_services() {
    let dir = TempDir::new().unwrap();
    let one = write(&dir, "one.hcl", "service { name = \"a\" port = 1 }");
    let many = write(
        &dir,
        "many.json",
        r#"{"services":[{"name":"b"},{"name":"c"}]}"#,
    );
    let names: Vec<String> = services_from_files(&[one, many])
        .unwrap()
        .iter()
        .map(|s| s.name.to_string())
        .collect();
    assert_eq!(names, ["a", "b", "c"]);
    let bad = write(&dir, "bad.hcl", "service { nam = \"a\" }");
    assert!(
        services_from_files(&[bad])
            .unwrap_err()
            .to_string()
            .contains("invalid config key service.nam")
    );
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let missing = validate_paths(&["/nonexistent/f.hcl".into()], None, &env()).unwrap_err();
    assert_eq!(
        missing.to_string(),
        "config: Open failed on /nonexistent/f.hcl. open /nonexistent/f.hcl: no such file or directory"
    );
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("a.json");
    std::fs::write(&path, [0xff, 0xfe]).unwrap();
    assert!(
        validate_paths(&[path], None, &env())
            .unwrap_err()
            .to_string()
            .ends_with("file is not valid UTF-8")
    );
    assert_eq!(
        Format::parse("yaml").unwrap_err().to_string(),
        "config: -config-format must be either 'hcl' or 'json'"
    );
    let forced = write(&dir, "c.txt", "data_dir = \"/nonexistent/x\"");
    assert_eq!(
        shown(validate_paths(&[forced], Some(Format::Hcl), &env())),
        ""
    );
}

#[test]
fn a_fragment_is_named_by_its_number() {
    let error = agent(&["-dev", "-hcl", "server = true", "-hcl", "bogus = 1"]).unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("failed to parse flags-1.hcl: "),
        "{error}"
    );
}

#[test]
fn secrets_do_not_print() {
    let text = "acl { tokens { agent = \"hush\" master = \"hush\" } } auto_config { intro_token = \"hush\" }";
    let loaded = agent(&["-dev", "-hcl", text]).unwrap();
    assert!(!format!("{:?}", loaded.config).contains("hush"));
}

#[test]
fn hostile_files_give_one_bounded_error() {
    let many: String = (0..200_000).map(|i| format!("k{i} = 1\n")).collect();
    let error = hcl(&many);
    assert!(
        error.len() < 2_000_000 && error.contains(" more"),
        "{}",
        error.len()
    );
    assert!(hcl(&"services {\n".repeat(100_000)).contains("nested deeper than"));
    let wide = format!("services = [{}]", "{name = \"a\"},".repeat(20_000));
    assert_eq!(hcl(&wide), "");
}

#[test]
fn a_source_can_be_checked_alone() {
    assert_eq!(check_source("server = true", Format::Hcl), Ok(()));
    assert!(check_source("server = ", Format::Hcl).is_err());
    assert!(check_source("{\"server\":1}", Format::Json).is_err());
}
