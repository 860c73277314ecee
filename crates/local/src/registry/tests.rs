use std::time::Duration;

use tribune_types::catalog::{ServiceAddress, ServiceKind, Weights};
use tribune_types::definition::{CheckDefinition, ServiceDefinition};
use tribune_types::id::NodeId;
use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};
use tribune_types::text::{TextMap, text};

use super::*;
use crate::validate::Refusal;

const NOW: Mono = Mono(1_000_000_000);

fn registry(enable_scripts: bool) -> Registry {
    let node = NodeInfo {
        id: NodeId::from_random([7; 16]),
        name: text("n1"),
        address: text("127.0.0.1"),
        datacenter: text("dc1"),
        tagged_addresses: TextMap::new(),
        meta: TextMap::new(),
    };
    let options = Options {
        server: true,
        enable_scripts,
        enable_local_scripts: true,
        output_size_max: 4096,
        discard_output: false,
        update_interval: Duration::ZERO,
        reap_interval: Duration::from_secs(30),
        deregister_interval_min: Duration::from_secs(60),
        sidecar_ports: Some(PortRange {
            min: 21000,
            max: 21001,
        }),
    };
    Registry::new(options, node)
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn ttl() -> CheckType {
    CheckType {
        ttl: secs(10),
        ..CheckType::default()
    }
}

fn web() -> ServiceDefinition {
    ServiceDefinition {
        name: text("web"),
        port: 80,
        ..ServiceDefinition::default()
    }
}

fn http() -> CheckType {
    CheckType {
        http: text("http://x"),
        interval: secs(10),
        ..CheckType::default()
    }
}

fn put(r: &mut Registry, definition: &ServiceDefinition) -> Result<Vec<Action>, Refusal> {
    let mut out = Vec::new();
    r.register_service(NOW, definition, &text("tok"), Source::Api, false, &mut out)?;
    Ok(out)
}

fn status(r: &Registry, id: &str) -> (Status, String) {
    let check = &r.check(id).unwrap().check;
    (check.status, check.output.to_string())
}

#[test]
fn wrong_services_are_refused_with_the_texts_of_consul() {
    let meta =
        |key: &str, value: &str| Some([(text(key), text(value))].into_iter().collect::<TextMap>());
    let many: TextMap = (0..65)
        .map(|i| (text(&format!("k{i}")), text("x")))
        .collect();
    let weights = |passing, warning| Some(Weights { passing, warning });
    let check = |check: CheckType| ServiceDefinition {
        checks: vec![check],
        ..web()
    };
    let proxy = |proxy: ProxyConfig| ServiceDefinition {
        name: text("p"),
        kind: ServiceKind::ConnectProxy,
        port: 1,
        proxy: Some(Box::new(ProxyConfig {
            destination_service_name: text("w"),
            ..proxy
        })),
        ..ServiceDefinition::default()
    };
    let up = |kind: &str, name: &str, port: i64, address: &str, dc: &str| Upstream {
        destination_type: text(kind),
        destination_name: text(name),
        local_bind_port: port,
        local_bind_address: text(address),
        datacenter: text(dc),
        ..Upstream::default()
    };
    let ups = |list: Vec<Upstream>| {
        proxy(ProxyConfig {
            upstreams: Some(list),
            ..ProxyConfig::default()
        })
    };
    let path = |path: &str, port: i64, protocol: &str| ExposePath {
        path: text(path),
        listener_port: port,
        protocol: text(protocol),
        ..ExposePath::default()
    };
    let paths = |list: Vec<ExposePath>| {
        proxy(ProxyConfig {
            expose: ExposeConfig {
                checks: false,
                paths: Some(list),
            },
            ..ProxyConfig::default()
        })
    };
    let gateway = |kind, port, proxy| ServiceDefinition {
        name: text("g"),
        kind,
        port,
        proxy: Some(Box::new(proxy)),
        ..ServiceDefinition::default()
    };
    let side = |block: ServiceDefinition| ServiceDefinition {
        sidecar: Some(Box::new(block)),
        ..web()
    };
    let none = ServiceDefinition::default;
    let full = ProxyConfig {
        destination_service_name: text("a"),
        destination_service_id: text("b"),
        local_service_address: text("c"),
        local_service_port: 3,
        upstreams: Some(vec![up("", "a", 2, "", "")]),
        ..ProxyConfig::default()
    };
    let invalid = |s: &str| Refusal::Invalid(s.to_owned());
    let failed = |s: &str| Refusal::Failed(s.to_owned());
    let list = |errors: &[&str]| {
        let head = if errors.len() == 1 {
            "1 error".to_owned()
        } else {
            format!("{} errors", errors.len())
        };
        Refusal::Invalid(format!(
            "{head} occurred:\n\t* {}\n\n",
            errors.join("\n\t* ")
        ))
    };
    let remote_scripts = "Scripts are disabled on this agent from remote calls; to enable, configure \
                          'enable_script_checks' to true";
    let script = CheckType {
        script_args: vec![text("x")],
        interval: secs(1),
        ..CheckType::default()
    };
    let upstream_dup = "upstreams cannot contain duplicates by local bind address and port; \"127.0.0.1:2\" is \
                        specified twice";
    let cases: Vec<(ServiceDefinition, Refusal)> = vec![
        (none(), invalid("Missing service name")),
        (
            ServiceDefinition {
                id: text("x"),
                ..none()
            },
            invalid("Missing service name"),
        ),
        (
            ServiceDefinition {
                address: text("0.0.0.0"),
                ..web()
            },
            invalid("Invalid service address"),
        ),
        (
            ServiceDefinition {
                address: text("::"),
                ..web()
            },
            invalid("Invalid service address"),
        ),
        (
            ServiceDefinition {
                address: text("[::]"),
                ..web()
            },
            invalid("Invalid service address"),
        ),
        (
            ServiceDefinition {
                weights: weights(0, 1),
                ..web()
            },
            invalid("Invalid Weights: Passing must be greater than 0"),
        ),
        (
            ServiceDefinition {
                weights: weights(65536, 1),
                ..web()
            },
            invalid("Invalid Weights: DNS Weight must be between 0 and 65535"),
        ),
        (
            ServiceDefinition {
                weights: weights(1, -1),
                ..web()
            },
            invalid("Invalid Weights: Warning must be greater or equal than 0"),
        ),
        (
            ServiceDefinition {
                weights: weights(1, 65536),
                ..web()
            },
            invalid("Invalid Weights: DNS Weight must be between 0 and 65535"),
        ),
        (
            ServiceDefinition {
                meta: meta("", "x"),
                ..web()
            },
            invalid(
                "Invalid Service Meta: Couldn't load metadata pair ('', 'x'): Key cannot be blank",
            ),
        ),
        (
            ServiceDefinition {
                meta: meta("k.a", "x"),
                ..web()
            },
            invalid(
                "Invalid Service Meta: Couldn't load metadata pair ('k.a', 'x'): Key contains invalid characters",
            ),
        ),
        (
            ServiceDefinition {
                meta: meta(&"k".repeat(129), "x"),
                ..web()
            },
            invalid(&format!(
                "Invalid Service Meta: Couldn't load metadata pair ('{}', 'x'): Key is too long (limit: 128 characters)",
                "k".repeat(129)
            )),
        ),
        (
            ServiceDefinition {
                meta: meta("k", &"x".repeat(513)),
                ..web()
            },
            invalid(&format!(
                "Invalid Service Meta: Couldn't load metadata pair ('k', '{}'): Value is too long (limit: 512 \
                 characters)",
                "x".repeat(513)
            )),
        ),
        (
            ServiceDefinition {
                meta: meta("consul-x", "x"),
                ..web()
            },
            invalid(
                "Invalid Service Meta: Couldn't load metadata pair ('consul-x', 'x'): Key prefix 'consul-' is \
                 reserved for internal use",
            ),
        ),
        (
            ServiceDefinition {
                meta: Some(many),
                ..web()
            },
            invalid(
                "Invalid Service Meta: Node metadata cannot contain more than 64 key/value pairs",
            ),
        ),
        (
            check(CheckType {
                name: text("x"),
                ..CheckType::default()
            }),
            invalid("Invalid check: TTL must be > 0 for TTL checks"),
        ),
        (
            check(CheckType {
                interval: Duration::ZERO,
                ..http()
            }),
            invalid("Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks"),
        ),
        (
            check(CheckType {
                script_args: vec![text("x")],
                ..CheckType::default()
            }),
            invalid("Invalid check: Interval must be > 0 for Script, HTTP, or TCP checks"),
        ),
        (
            check(CheckType {
                interval: secs(10),
                ..CheckType::default()
            }),
            invalid("Invalid check: TTL must be > 0 for TTL checks"),
        ),
        (
            check(CheckType {
                docker_container_id: text("x"),
                ..CheckType::default()
            }),
            invalid("Invalid check: TTL must be > 0 for TTL checks"),
        ),
        (
            check(CheckType {
                interval: secs(10),
                ..ttl()
            }),
            invalid("Invalid check: Interval and TTL cannot both be specified"),
        ),
        (
            check(CheckType {
                alias_service: text("z"),
                ..ttl()
            }),
            invalid("Invalid check: TTL must be not be set for Alias checks"),
        ),
        (
            check(CheckType {
                alias_service: text("z"),
                ..http()
            }),
            invalid("Invalid check: Interval cannot be set for Alias checks"),
        ),
        (
            check(CheckType {
                output_max_size: -1,
                ..ttl()
            }),
            invalid("Invalid check: MaxOutputMaxSize must be positive"),
        ),
        (check(script.clone()), failed(remote_scripts)),
        (
            ServiceDefinition {
                name: text("p"),
                kind: ServiceKind::ConnectProxy,
                ..none()
            },
            list(&[
                "Proxy.DestinationServiceName must be non-empty for Connect proxy services",
                "Port must be set for a Connect proxy",
            ]),
        ),
        (
            ServiceDefinition {
                connect_native: true,
                ..proxy(ProxyConfig::default())
            },
            list(&["A Proxy cannot also be Connect Native, only typical services"]),
        ),
        (
            ups(vec![Upstream::default()]),
            list(&["upstream destination name cannot be empty"]),
        ),
        (
            ups(vec![up("", "a", 0, "", "")]),
            list(&["upstream local bind port cannot be zero"]),
        ),
        (
            ups(vec![up("zz", "a", 2, "", "")]),
            list(&["unknown upstream destination type: \"zz\""]),
        ),
        (
            ups(vec![
                up("", "a", 2, "", ""),
                up("prepared_query", "a", 3, "", ""),
                up("service", "a", 4, "", ""),
            ]),
            list(&[
                "upstreams cannot contain duplicates of [type=\"service\", name=\"a\", namespace=\"\", \
                 datacenter=\"\"]",
            ]),
        ),
        (
            ups(vec![
                up("", "a", 2, "", ""),
                up("", "b", 2, "127.0.0.1", ""),
            ]),
            list(&[upstream_dup]),
        ),
        (
            ups(vec![up("", "a", 2, "", ""), up("", "a", 2, "", "dc2")]),
            list(&[upstream_dup]),
        ),
        (
            paths(vec![path("", 0, "")]),
            list(&[
                "expose.paths: empty path exposed",
                "expose.paths: invalid listener port: 0",
            ]),
        ),
        (
            paths(vec![path("/a", 70000, "http")]),
            list(&["expose.paths: invalid listener port: 70000"]),
        ),
        (
            paths(vec![path("/a", 7, "tcp")]),
            list(&["protocol 'tcp' not supported for path: /a, must be in: [http2 http]"]),
        ),
        (
            paths(vec![path("/a", 7, "http"), path("/a", 8, "")]),
            list(&["expose.paths: duplicate paths exposed"]),
        ),
        (
            paths(vec![path("/a", 7, "http"), path("/b", 7, "http2")]),
            list(&["expose.paths: duplicate listener ports exposed"]),
        ),
        (
            gateway(ServiceKind::MeshGateway, 0, ProxyConfig::default()),
            list(&["Port must be non-zero for a mesh-gateway"]),
        ),
        (
            ServiceDefinition {
                sidecar: Some(Box::default()),
                ..gateway(ServiceKind::TerminatingGateway, 1, ProxyConfig::default())
            },
            list(&["A terminating-gateway cannot have a sidecar service defined"]),
        ),
        (
            gateway(ServiceKind::MeshGateway, 1, full),
            list(&[
                "The Proxy.DestinationServiceName configuration is invalid for a mesh-gateway",
                "The Proxy.DestinationServiceID configuration is invalid for a mesh-gateway",
                "The Proxy.LocalServiceAddress configuration is invalid for a mesh-gateway",
                "The Proxy.LocalServicePort configuration is invalid for a mesh-gateway",
                "The Proxy.Upstreams configuration is invalid for a mesh-gateway",
            ]),
        ),
        (
            side(ServiceDefinition {
                id: text("x"),
                ..none()
            }),
            list(&["A SidecarService cannot specify an ID as this is managed by the agent"]),
        ),
        (
            side(side(none())),
            list(&["A SidecarService cannot have a nested SidecarService"]),
        ),
        (
            side(ServiceDefinition {
                checks: vec![CheckType::default()],
                ..none()
            }),
            failed("Bad request: Invalid check in sidecar_service: TTL must be > 0 for TTL checks"),
        ),
        (
            side(ServiceDefinition {
                meta: meta("", "x"),
                ..none()
            }),
            failed(
                "Bad request: Invalid SidecarService: Couldn't load metadata pair ('', 'x'): Key cannot be blank",
            ),
        ),
        (
            side(ServiceDefinition {
                checks: vec![script],
                ..none()
            }),
            failed(remote_scripts),
        ),
    ];
    for (definition, want) in cases {
        let mut r = registry(false);
        assert_eq!(put(&mut r, &definition), Err(want), "{definition:?}");
        assert_eq!(
            (r.services().count(), r.checks().count()),
            (0, 0),
            "a refusal changes nothing"
        );
    }
}

#[test]
fn unusual_services_are_accepted_as_consul_does() {
    for definition in [
        ServiceDefinition { port: -1, ..web() },
        ServiceDefinition {
            port: 99_999,
            ..web()
        },
        ServiceDefinition {
            name: text("a b!"),
            ..web()
        },
        ServiceDefinition {
            id: text("../x"),
            ..web()
        },
        ServiceDefinition {
            name: text("g"),
            kind: ServiceKind::IngressGateway,
            ..ServiceDefinition::default()
        },
        ServiceDefinition {
            checks: vec![CheckType {
                tcp: text("x:1"),
                ..http()
            }],
            ..web()
        },
        ServiceDefinition {
            checks: vec![CheckType {
                success_before_passing: -1,
                ..http()
            }],
            ..web()
        },
    ] {
        assert!(
            put(&mut registry(false), &definition).is_ok(),
            "{definition:?}"
        );
    }
}

#[test]
fn wrong_checks_are_refused_with_the_texts_of_consul() {
    let named = |check: CheckType| CheckDefinition {
        check: CheckType {
            name: text("c"),
            ..check
        },
        ..CheckDefinition::default()
    };
    let invalid = |s: &str| Refusal::Invalid(s.to_owned());
    for (definition, want) in [
        (CheckDefinition::default(), invalid("Missing check name")),
        (
            CheckDefinition {
                check: CheckType {
                    id: text("x"),
                    ..ttl()
                },
                ..named(ttl())
            },
            invalid("Missing check name"),
        ),
        (
            named(CheckType::default()),
            invalid("Invalid check: TTL must be > 0 for TTL checks"),
        ),
        (
            CheckDefinition {
                service_id: text("nope"),
                ..named(ttl())
            },
            Refusal::Failed("ServiceID \"nope\" does not exist".to_owned()),
        ),
    ] {
        let got = registry(false).register_check(
            NOW,
            &definition,
            &Text::default(),
            Source::Api,
            &mut Vec::new(),
        );
        assert_eq!(got, Err(want), "{definition:?}");
    }
}

#[test]
fn an_own_ip_address_fills_the_named_addresses() {
    let own = |address: &str| ServiceAddress {
        address: text(address),
        port: 80,
    };
    let given = ServiceAddress {
        address: text("1.1.1.1"),
        port: 3,
    };
    for (address, tagged, want) in [
        (
            "1.2.3.4",
            vec![],
            vec![("lan_ipv4", own("1.2.3.4")), ("wan_ipv4", own("1.2.3.4"))],
        ),
        (
            "::1",
            vec![],
            vec![("lan_ipv6", own("::1")), ("wan_ipv6", own("::1"))],
        ),
        ("host", vec![], vec![]),
        ("", vec![], vec![]),
        (
            "1.2.3.4",
            vec![
                (text("wan_ipv4"), given.clone()),
                (text("x"), given.clone()),
            ],
            vec![
                ("lan_ipv4", own("1.2.3.4")),
                ("wan_ipv4", given.clone()),
                ("x", given.clone()),
            ],
        ),
    ] {
        let mut r = registry(false);
        put(
            &mut r,
            &ServiceDefinition {
                address: text(address),
                tagged_addresses: tagged,
                ..web()
            },
        )
        .unwrap();
        let got = r.service("web").unwrap().service.tagged_addresses.clone();
        let want: Vec<_> = want
            .into_iter()
            .map(|(name, value)| (text(name), value))
            .collect();
        assert_eq!(got, want, "{address}");
    }
}

#[test]
fn a_sidecar_takes_its_fields_from_its_parent_and_goes_with_it() {
    let mut r = registry(false);
    let block = ServiceDefinition::default();
    let definition = ServiceDefinition {
        id: text("web1"),
        tags: vec![text("t")],
        meta: Some([(text("m"), text("1"))].into_iter().collect()),
        address: text("1.2.3.4"),
        weights: Some(Weights {
            passing: 5,
            warning: 2,
        }),
        enable_tag_override: true,
        sidecar: Some(Box::new(block.clone())),
        ..web()
    };
    put(&mut r, &definition).unwrap();
    let entry = r.service("web1-sidecar-proxy").unwrap();
    let service = &entry.service;
    assert_eq!(
        (&*service.name, service.kind, service.port),
        ("web-sidecar-proxy", ServiceKind::ConnectProxy, 21000)
    );
    assert_eq!(
        (&*service.tags[0], &*service.address, &*entry.token),
        ("t", "1.2.3.4", "tok")
    );
    assert_eq!(
        (service.weights, service.enable_tag_override),
        (Some(Weights::default()), false)
    );
    let proxy = service.proxy.as_ref().unwrap();
    assert_eq!(
        (
            &*proxy.destination_service_name,
            &*proxy.destination_service_id
        ),
        ("web", "web1")
    );
    assert_eq!(
        (&*proxy.local_service_address, proxy.local_service_port),
        ("127.0.0.1", 80)
    );
    let names: Vec<_> = r
        .checks()
        .map(|c| (c.check.id.to_string(), c.check.name.to_string()))
        .collect();
    assert_eq!(
        names,
        [
            (
                "service:web1-sidecar-proxy:1".to_owned(),
                "Connect Sidecar Listening".to_owned()
            ),
            (
                "service:web1-sidecar-proxy:2".to_owned(),
                "Connect Sidecar Aliasing web1".to_owned()
            ),
        ]
    );
    // The port stays over a new registration; a second sidecar gets the next one, a third none.
    put(&mut r, &definition).unwrap();
    assert_eq!(r.service("web1-sidecar-proxy").unwrap().service.port, 21000);
    let second = ServiceDefinition {
        id: text("web2"),
        sidecar: Some(Box::new(block.clone())),
        ..web()
    };
    put(&mut r, &second).unwrap();
    assert_eq!(r.service("web2-sidecar-proxy").unwrap().service.port, 21001);
    let third = ServiceDefinition {
        id: text("web3"),
        sidecar: Some(Box::new(block)),
        ..web()
    };
    let text = "Bad request: Invalid SidecarService: no port provided for sidecar_service and none left in the \
                configured range [21000, 21001]";
    assert_eq!(put(&mut r, &third), Err(Refusal::Failed(text.to_owned())));
    let mut out = Vec::new();
    assert!(r.deregister_service(NOW, "web1", &mut out));
    assert_eq!(
        r.services()
            .map(|e| e.service.id.to_string())
            .collect::<Vec<_>>(),
        ["web2", "web2-sidecar-proxy"]
    );
    assert!(out.contains(&Action::ForgetService {
        id: tribune_types::text::text("web1-sidecar-proxy")
    }));
}

#[test]
fn a_new_registration_keeps_results_and_replaces_checks_only_if_asked() {
    let mut r = registry(false);
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![ttl(), ttl()],
            ..web()
        },
    )
    .unwrap();
    r.on_report(
        NOW,
        "service:web:1",
        Status::Passing,
        "fine",
        Duration::ZERO,
        &mut Vec::new(),
    )
    .unwrap();
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![ttl(), ttl()],
            ..web()
        },
    )
    .unwrap();
    assert_eq!(
        status(&r, "service:web:1"),
        (Status::Passing, "fine".to_owned())
    );
    let one = ServiceDefinition {
        checks: vec![CheckType {
            id: text("only"),
            ..ttl()
        }],
        ..web()
    };
    put(&mut r, &one).unwrap();
    assert_eq!(r.checks().count(), 3);
    let mut out = Vec::new();
    r.register_service(NOW, &one, &Text::default(), Source::Api, true, &mut out)
        .unwrap();
    assert_eq!(
        r.checks()
            .map(|c| c.check.id.to_string())
            .collect::<Vec<_>>(),
        ["only"]
    );
    assert!(out.contains(&Action::ForgetCheckState {
        id: text("service:web:1")
    }));
}

#[test]
fn ttl_checks_expire_with_their_last_output() {
    let mut r = registry(false);
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![ttl(), ttl()],
            ..web()
        },
    )
    .unwrap();
    assert_eq!(r.next_wake(), Some(NOW + secs(10)));
    r.on_report(
        NOW + secs(5),
        "service:web:2",
        Status::Warning,
        "careful",
        Duration::ZERO,
        &mut Vec::new(),
    )
    .unwrap();
    r.on_time(NOW + secs(10), &mut Vec::new());
    assert_eq!(
        status(&r, "service:web:1"),
        (Status::Critical, "TTL expired".to_owned())
    );
    assert_eq!(
        status(&r, "service:web:2"),
        (Status::Warning, "careful".to_owned())
    );
    r.on_time(NOW + secs(15), &mut Vec::new());
    let text = "TTL expired (last output before timeout follows): careful";
    assert_eq!(
        status(&r, "service:web:2"),
        (Status::Critical, text.to_owned())
    );
    assert_eq!(r.next_wake(), None);
}

#[test]
fn only_ttl_checks_take_reports_and_long_ones_are_cut() {
    let mut r = registry(false);
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![ttl(), http()],
            ..web()
        },
    )
    .unwrap();
    let mut report = |id: &str, output: &str| {
        r.on_report(
            NOW,
            id,
            Status::Passing,
            output,
            Duration::ZERO,
            &mut Vec::new(),
        )
        .map(|()| status(&r, id).1.len())
        .map_err(|e| e.to_string())
    };
    assert_eq!(report("service:web:1", &"y".repeat(5000)), Ok(4130));
    assert_eq!(
        report("service:web:2", ""),
        Err("CheckID \"service:web:2\" does not have associated TTL".to_owned())
    );
    assert_eq!(
        report("nope", ""),
        Err("CheckID \"nope\" does not have associated TTL".to_owned())
    );
}

#[test]
fn results_pass_the_thresholds_of_their_registration_only() {
    let mut r = registry(false);
    let check = CheckType {
        failures_before_critical: 2,
        ..http()
    };
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![check],
            ..web()
        },
    )
    .unwrap();
    let id = "service:web";
    let generation = r.check(id).unwrap().generation;
    let result = |r: &mut Registry, generation, s, thresholds| {
        r.on_result(NOW, id, generation, s, "o", thresholds, Duration::ZERO);
        r.check(id).unwrap().check.status
    };
    assert_eq!(
        result(&mut r, generation, Status::Passing, true),
        Status::Passing
    );
    assert_eq!(
        result(&mut r, generation, Status::Critical, true),
        Status::Passing
    );
    assert_eq!(
        result(&mut r, generation, Status::Critical, true),
        Status::Critical
    );
    assert_eq!(
        result(&mut r, generation, Status::Passing, true),
        Status::Passing
    );
    assert_eq!(
        result(&mut r, generation, Status::Critical, false),
        Status::Critical,
        "a timeout acts at once"
    );
    assert_eq!(
        result(&mut r, generation + 1, Status::Passing, true),
        Status::Critical,
        "not this run"
    );
}

#[test]
fn discarded_output_is_empty() {
    let mut r = registry(false);
    r.set_discard_output(true);
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![ttl()],
            ..web()
        },
    )
    .unwrap();
    r.on_report(
        NOW,
        "service:web",
        Status::Passing,
        "text",
        Duration::ZERO,
        &mut Vec::new(),
    )
    .unwrap();
    assert_eq!(status(&r, "service:web"), (Status::Passing, String::new()));
}

#[test]
fn a_service_critical_for_too_long_is_removed() {
    let mut r = registry(false);
    let check = CheckType {
        deregister_critical_service_after: secs(10),
        ..ttl()
    };
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![check],
            ..web()
        },
    )
    .unwrap();
    let mut out = Vec::new();
    // The least time is a minute, counted from the registration as critical.
    for after in [30, 60] {
        r.on_time(NOW + secs(after), &mut out);
        assert_eq!(r.services().count(), 1, "after {after} s");
    }
    r.on_report(
        NOW + secs(61),
        "service:web",
        Status::Passing,
        "",
        Duration::ZERO,
        &mut out,
    )
    .unwrap();
    r.on_time(NOW + secs(90), &mut out); // expired at 71 s: the count starts anew
    r.on_time(NOW + secs(120), &mut out);
    assert_eq!(r.services().count(), 1);
    r.on_time(NOW + secs(190), &mut out);
    assert_eq!((r.services().count(), r.checks().count()), (0, 0));
    assert!(out.contains(&Action::Reaped {
        service: text("web"),
        check: text("service:web")
    }));
}

#[test]
fn an_alias_follows_a_service_of_this_agent() {
    let mut r = registry(false);
    let alias = |service: &str| CheckType {
        alias_service: text(service),
        ..CheckType::default()
    };
    put(
        &mut r,
        &ServiceDefinition {
            name: text("al"),
            checks: vec![alias("web")],
            ..web()
        },
    )
    .unwrap();
    let (alias_id, missing) = ("service:al", "Service web could not be found on node ");
    assert_eq!(status(&r, alias_id), (Status::Critical, missing.to_owned()));
    put(&mut r, &web()).unwrap();
    assert_eq!(
        status(&r, alias_id),
        (Status::Passing, "No checks found.".to_owned())
    );
    put(
        &mut r,
        &ServiceDefinition {
            checks: vec![ttl()],
            ..web()
        },
    )
    .unwrap();
    assert_eq!(
        status(&r, alias_id),
        (
            Status::Critical,
            "Aliased check \"Service 'web' check\" failing: ".to_owned()
        )
    );
    r.on_report(
        NOW,
        "service:web",
        Status::Passing,
        "ok",
        Duration::ZERO,
        &mut Vec::new(),
    )
    .unwrap();
    assert_eq!(
        status(&r, alias_id),
        (Status::Passing, "All checks passing.".to_owned())
    );
    r.node_maintenance(NOW, Some(""), &Text::default(), &mut Vec::new());
    assert_eq!(
        status(&r, alias_id).1,
        "Aliased check \"Node Maintenance Mode\" failing: "
    );
    r.node_maintenance(NOW, None, &Text::default(), &mut Vec::new());
    r.deregister_service(NOW, "web", &mut Vec::new());
    assert_eq!(status(&r, alias_id), (Status::Critical, missing.to_owned()));
}

#[test]
fn aliases_in_a_circle_and_in_a_chain_come_to_rest() {
    let mut r = registry(false);
    for (name, follows) in [("a", "b"), ("b", "a"), ("c", "a")] {
        let alias = CheckType {
            alias_service: text(follows),
            ..CheckType::default()
        };
        put(
            &mut r,
            &ServiceDefinition {
                name: text(name),
                checks: vec![alias],
                ..web()
            },
        )
        .unwrap();
    }
    let check = CheckDefinition {
        check: CheckType {
            name: text("t"),
            ..ttl()
        },
        service_id: text("b"),
        token: Text::default(),
    };
    r.register_check(NOW, &check, &Text::default(), Source::Api, &mut Vec::new())
        .unwrap();
    for id in ["service:a", "service:b", "service:c"] {
        assert_eq!(status(&r, id).0, Status::Critical, "{id}");
    }
}

#[test]
fn maintenance_is_a_critical_check_with_a_reason() {
    let mut r = registry(false);
    put(&mut r, &web()).unwrap();
    let mut out = Vec::new();
    r.service_maintenance(NOW, "web", Some("why"), &Text::default(), &mut out)
        .unwrap();
    let check = r.check("_service_maintenance:web").unwrap().check.clone();
    assert_eq!(
        (check.status, &*check.notes, &*check.check_type),
        (Status::Critical, "why", "maintenance")
    );
    assert_eq!(&*check.name, "Service Maintenance Mode");
    assert_eq!(
        out,
        [Action::SaveCheck {
            id: text("_service_maintenance:web")
        }]
    );
    r.node_maintenance(NOW, Some(""), &Text::default(), &mut out);
    let notes = "Maintenance mode is enabled for this node, but no reason was provided. This is a default message.";
    assert_eq!(&*r.check("_node_maintenance").unwrap().check.notes, notes);
    r.service_maintenance(NOW, "web", None, &Text::default(), &mut out)
        .unwrap();
    r.node_maintenance(NOW, None, &Text::default(), &mut out);
    assert_eq!(r.checks().count(), 0);
    for reason in [Some("x"), None] {
        let got = r.service_maintenance(NOW, "zz", reason, &Text::default(), &mut out);
        assert_eq!(
            got,
            Err(Refusal::NotFound(
                "No service registered with ID \"zz\"".to_owned()
            ))
        );
    }
}

#[test]
fn a_reload_replaces_what_came_from_configuration_only() {
    let mut r = registry(true);
    let named = |name: &str| ServiceDefinition {
        name: text(name),
        checks: vec![ttl()],
        ..web()
    };
    let loose = |name: &str| CheckDefinition {
        check: CheckType {
            name: text(name),
            ..ttl()
        },
        ..CheckDefinition::default()
    };
    r.reload(
        NOW,
        &[named("a"), named("b")],
        &[loose("x"), loose("y")],
        &mut Vec::new(),
    )
    .unwrap();
    put(&mut r, &named("api")).unwrap();
    r.node_maintenance(NOW, Some(""), &Text::default(), &mut Vec::new());
    r.on_report(
        NOW,
        "service:b",
        Status::Passing,
        "kept",
        Duration::ZERO,
        &mut Vec::new(),
    )
    .unwrap();
    r.reload(
        NOW,
        &[named("b"), named("c")],
        &[loose("y")],
        &mut Vec::new(),
    )
    .unwrap();
    let services: Vec<_> = r.services().map(|e| e.service.id.to_string()).collect();
    assert_eq!(services, ["api", "b", "c"]);
    let checks: Vec<_> = r.checks().map(|e| e.check.id.to_string()).collect();
    assert_eq!(
        checks,
        [
            "_node_maintenance",
            "service:api",
            "service:b",
            "service:c",
            "y"
        ]
    );
    assert_eq!(
        status(&r, "service:b"),
        (Status::Passing, "kept".to_owned())
    );
    // A wrong definition changes nothing.
    assert!(r.reload(NOW, &[named("")], &[], &mut Vec::new()).is_err());
    assert_eq!(r.services().count(), 3);
}

#[test]
fn what_is_found_on_disk_yields_to_configuration() {
    let mut r = registry(false);
    r.reload(NOW, &[web()], &[], &mut Vec::new()).unwrap();
    let mut out = Vec::new();
    let service = |id: &str| Service {
        id: text(id),
        name: text(id),
        ..Service::default()
    };
    r.restore_service(NOW, service("web"), Text::default(), &mut out);
    r.restore_service(NOW, service("db"), text("tok"), &mut out);
    assert_eq!(
        out,
        [
            Action::ForgetService { id: text("web") },
            Action::ServicesChanged
        ],
        "nothing is written that is on disk already"
    );
    let found = |id: &str, service: &str, check_type: CheckType| RestoredCheck {
        check: Check {
            id: text(id),
            service_id: text(service),
            status: Status::Passing,
            ..Check::default()
        },
        check_type: Some(check_type),
        token: Text::default(),
        source: Source::Api,
    };
    let script = CheckType {
        script_args: vec![text("x")],
        interval: secs(1),
        ..CheckType::default()
    };
    assert!(
        r.restore_check(NOW, found("c", "db", ttl()), &mut out)
            .is_ok()
    );
    assert!(
        r.restore_check(NOW, found("lost", "gone", ttl()), &mut out)
            .is_err()
    );
    assert!(
        r.restore_check(NOW, found("s", "db", script), &mut out)
            .is_err()
    );
    assert_eq!(
        status(&r, "c").0,
        Status::Critical,
        "a restored check starts critical"
    );
    let state = RestoredState {
        id: text("c"),
        status: Status::Warning,
        output: text("w"),
    };
    r.restore_state(NOW, &state);
    assert_eq!(status(&r, "c"), (Status::Warning, "w".to_owned()));
    assert!(out.contains(&Action::ForgetCheck { id: text("lost") }));
}
