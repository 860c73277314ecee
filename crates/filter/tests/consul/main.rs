//! Every answer in `answers.rs` must be ours too: counts of passing records, and error texts with
//! their positions.

mod answers;

use std::sync::Arc;

use answers::Row;
use tribune_filter::records::ServiceNode;
use tribune_filter::{EXPR_SIZE_MAX, Fields, Filter, FilterError, Schema, schemas};
use tribune_types::catalog::{Check, Node, Service, ServiceAddress, ServiceKind, Status, Weights};
use tribune_types::id::NodeId;
use tribune_types::proxy::{ProxyConfig, Upstream};
use tribune_types::query::{Instance, NodeDump};
use tribune_types::text::{TextMap, text};

fn pairs(pairs: &[(&str, &str)]) -> Option<TextMap> {
    Some(pairs.iter().map(|(k, v)| (text(k), text(v))).collect())
}

fn node() -> Node {
    let all = [
        ("lan", "127.0.0.1"),
        ("lan_ipv4", "127.0.0.1"),
        ("wan", "127.0.0.1"),
        ("wan_ipv4", "127.0.0.1"),
    ];
    Node {
        id: NodeId::parse("e2e0f635-0173-82ec-5e08-c807b80b9bf4").ok(),
        name: text("n1"),
        address: text("127.0.0.1"),
        datacenter: text("dc1"),
        tagged_addresses: pairs(&all),
        meta: pairs(&[
            ("consul-network-segment", ""),
            ("k-x", "v1"),
            ("rack", "r1"),
        ]),
        ..Node::default()
    }
}

fn service(id: &str, name: &str, port: i64) -> Service {
    Service {
        id: text(id),
        name: text(name),
        port,
        weights: Some(Weights::default()),
        ..Service::default()
    }
}

fn web1() -> Service {
    let address = |at: &str, port| ServiceAddress {
        address: text(at),
        port,
    };
    Service {
        tags: vec![text("a"), text("b-c")],
        address: text("10.0.0.1"),
        tagged_addresses: vec![
            (text("lan_ipv4"), address("10.0.0.1", 80)),
            (text("wan"), address("1.2.3.4", 99)),
            (text("wan_ipv4"), address("10.0.0.1", 80)),
        ],
        meta: pairs(&[("k-x", "2"), ("m", "v")]),
        ..service("web1", "web", 80)
    }
}

fn px() -> Service {
    let upstream = |name: &str, dc: &str, port| Upstream {
        destination_type: text("service"),
        destination_name: text(name),
        datacenter: text(dc),
        local_bind_port: port,
        ..Upstream::default()
    };
    let proxy = ProxyConfig {
        destination_service_name: text("web"),
        local_service_port: 80,
        upstreams: Some(vec![
            upstream("db", "", 9191),
            upstream("redis", "dc2", 9192),
        ]),
        ..ProxyConfig::default()
    };
    Service {
        kind: ServiceKind::ConnectProxy,
        proxy: Some(Box::new(proxy)),
        ..service("px1", "px", 8181)
    }
}

fn services() -> Vec<Service> {
    let consul = Service {
        meta: pairs(&[("version", "1.8.7")]),
        ..service("consul", "consul", 18300)
    };
    vec![consul, px(), web1(), service("web2", "web", 81)]
}

fn checks(of: &str) -> Vec<Check> {
    let mut all = vec![Check {
        node: text("n1"),
        id: text("serfHealth"),
        name: text("Serf Health Status"),
        status: Status::Passing,
        ..Check::default()
    }];
    if of == "web1" {
        all.push(Check {
            node: text("n1"),
            id: text("c1"),
            name: text("cc"),
            notes: text("nn"),
            service_id: text("web1"),
            service_name: text("web"),
            service_tags: vec![text("a"), text("b-c")],
            check_type: text("ttl"),
            ..Check::default()
        });
    }
    all
}

fn compare(rows: &[Row], schema: &'static Schema, items: &[&dyn Fields]) {
    let mut wrong = Vec::new();
    for (expr, want) in rows {
        let got = match Filter::parse(expr, schema) {
            Ok(filter) => Ok(items.iter().filter(|item| filter.matches(**item)).count()),
            Err(e) => Err(e.to_string()),
        };
        if got.as_ref().map_err(String::as_str) != want.as_ref().map_err(|e| *e) {
            wrong.push(format!("{expr:?}\n   want {want:?}\n   got  {got:?}"));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} differ:\n{}",
        wrong.len(),
        rows.len(),
        wrong.join("\n")
    );
}

#[test]
fn nodes_are_filtered_as_consul_filters_them() {
    compare(answers::NODES, &schemas::NODE, &[&node()]);
}

#[test]
fn service_nodes_are_filtered_as_consul_filters_them() {
    let (node, web1, web2) = (node(), web1(), service("web2", "web", 81));
    let items: [&dyn Fields; 2] = [&ServiceNode(&node, &web1), &ServiceNode(&node, &web2)];
    compare(answers::SERVICE_NODES, &schemas::SERVICE_NODE, &items);
}

#[test]
fn node_services_are_filtered_as_consul_filters_them() {
    let services = services();
    let items: Vec<&dyn Fields> = services.iter().map(|s| s as &dyn Fields).collect();
    compare(answers::NODE_SERVICES, &schemas::NODE_SERVICE, &items);
}

fn instance(service: Service) -> Instance {
    let checks = checks(&service.id).into_iter().map(Arc::new).collect();
    Instance {
        node: Arc::new(node()),
        service: Arc::new(service),
        checks,
    }
}

#[test]
fn instances_are_filtered_as_consul_filters_them() {
    let (a, b) = (instance(web1()), instance(service("web2", "web", 81)));
    compare(answers::INSTANCES, &schemas::CHECK_SERVICE_NODE, &[&a, &b]);
}

#[test]
fn every_selector_of_every_schema_reaches_a_value_of_its_kind() {
    use tribune_filter::{Field, Kind};
    fn walk(schema: &Schema, item: &dyn Fields, path: &str) {
        for (name, kind) in schema.fields {
            let field = item.field(name);
            let fits = matches!(
                (kind, field),
                (Kind::String, Field::Str(_) | Field::Ascii(_))
                    | (Kind::Bool, Field::Bool(_))
                    | (Kind::Number, Field::Int(_))
                    | (Kind::StringList, Field::StrList(_))
                    | (Kind::StringMap, Field::StrMap(_))
                    | (
                        Kind::Struct(_) | Kind::StructList(_) | Kind::StructMap(_),
                        Field::Structs(_)
                    )
            );
            assert!(fits, "{path}{name} is not a {kind:?}");
            if let Kind::Struct(below) | Kind::StructList(below) = kind {
                item.each(name, &mut |inner| {
                    walk(below, inner, &format!("{path}{name}."));
                    false
                });
            }
        }
    }
    let instance = instance(px());
    let dump = NodeDump {
        node: Arc::new(node()),
        services: services().into_iter().map(Arc::new).collect(),
        checks: checks("web1").into_iter().map(Arc::new).collect(),
    };
    walk(&schemas::CHECK_SERVICE_NODE, &instance, "");
    walk(&schemas::NODE_INFO, &dump, "");
    walk(
        &schemas::SERVICE_NODE,
        &ServiceNode(&instance.node, &instance.service),
        "",
    );
}

#[test]
fn an_id_is_matched_by_its_text() {
    let filter = Filter::parse("ID matches `^e2e0f635-`", &schemas::NODE).unwrap();
    assert!(filter.matches(&node()));
    assert!(!filter.matches(&Node { id: None, ..node() }));
}

#[test]
fn hostile_expressions_are_refused_in_bounded_time() {
    let deep = format!("{}Node == a{}", "(".repeat(30_000), ")".repeat(30_000));
    assert!(matches!(
        Filter::parse(&deep, &schemas::NODE),
        Err(FilterError::TooDeep { .. })
    ));
    let nots = "not ".repeat(16_000) + "Node == a";
    assert!(matches!(
        Filter::parse(&nots, &schemas::NODE),
        Err(FilterError::TooDeep { .. })
    ));
    let long = "x".repeat(EXPR_SIZE_MAX + 1);
    assert!(matches!(
        Filter::parse(&long, &schemas::NODE),
        Err(FilterError::TooLong { .. })
    ));
    let regexps = vec!["Node matches a"; 200].join(" or ");
    assert!(matches!(
        Filter::parse(&regexps, &schemas::NODE),
        Err(FilterError::TooManyRegexps { .. })
    ));
    let chain = vec!["Node == a"; 5_000].join(" or ");
    assert!(
        !Filter::parse(&chain, &schemas::NODE)
            .unwrap()
            .matches(&node())
    );
    let unclosed = "Meta[\"a".repeat(8_000);
    assert!(Filter::parse(&unclosed, &schemas::NODE).is_err());
    let groups = "(Node == a ".repeat(190);
    assert!(Filter::parse(&groups, &schemas::NODE).is_err());
}

#[test]
fn mangled_expressions_never_panic() {
    // A fixed walk: every answer's text with a piece cut out or doubled, or a byte replaced.
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        (seed % below.max(1) as u64) as usize
    };
    for (expr, _) in answers::NODES.iter().chain(answers::SERVICE_NODES) {
        for _ in 0..20 {
            let chars: Vec<char> = expr.chars().collect();
            let (at, len) = (draw(chars.len()), draw(6));
            let end = (at + len).min(chars.len());
            let mut mangled: String = chars[..at].iter().collect();
            match draw(3) {
                0 => {}
                1 => mangled.extend(chars[at..end].iter().cycle().take(2 * (end - at))),
                _ => mangled.push(['é', '"', '`', '\\', '[', '(', '\u{0}', '.'][draw(8)]),
            }
            mangled.extend(&chars[end..]);
            if let Ok(filter) = Filter::parse(&mangled, &schemas::NODE) {
                filter.matches(&node());
            }
        }
    }
}

#[test]
fn filters_are_equal_by_their_text() {
    let parse = |expr| Filter::parse(expr, &schemas::NODE).unwrap();
    assert_eq!(parse("Node == a"), parse("Node == a"));
    assert_ne!(parse("Node == a"), parse("Node == b"));
    assert!(parse("").is_empty() && parse("").matches(&node()));
}
