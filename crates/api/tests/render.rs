//! Renderers against bodies of a real Consul 1.8.7: the records come from the request bodies that were sent to it, the
//! bytes must be equal.

#![allow(
    clippy::unwrap_used,
    reason = "helpers of tests; a panic is the failure"
)]

use std::sync::Arc;
use std::time::Duration;

use tribune_api::parse;
use tribune_api::render::{self, Addresses, AgentHealthView, AgentServiceView, View};
use tribune_types::autopilot::{AutopilotConfig, OperatorHealth, ServerHealth};
use tribune_types::catalog::{Check, Node, Service, ServiceKind, Status};
use tribune_types::coordinate::{Coordinate, CoordinateEntry, DatacenterMap};
use tribune_types::definition::ServiceDefinition;
use tribune_types::id::{Index, Term, Uuid};
use tribune_types::kv::KvEntry;
use tribune_types::member::{Member, MemberStatus};
use tribune_types::query::{Instance, NodeDump, Reply};
use tribune_types::raft::{RaftConfiguration, RaftServer};
use tribune_types::session::Session;
use tribune_types::text::text;
use tribune_types::time::Wall;

const EXT1: &str = r#"{"Node":"ext1","Address":"10.0.0.1","TaggedAddresses":{"lan":"10.0.0.1","wan":"1.2.3.4"},"NodeMeta":{"a":"b<>&"},"Service":{"Service":"web","Tags":["t1","t2"],"Port":80,"Meta":{"m":"1"},"Weights":{"Passing":3,"Warning":2},"TaggedAddresses":{"lan":{"Address":"9.9.9.9","Port":7}}},"Check":{"Name":"c1","Status":"passing","Notes":"no","Output":"o","ServiceID":"web","Definition":{"HTTP":"http://x","Interval":"10s","Timeout":"5s","Header":{"a":["b"]},"DeregisterCriticalServiceAfter":"1h","TLSSkipVerify":true,"Method":"POST","Body":"bb"}}}"#;
const EXT2: &str = r#"{"Node":"ext2","Address":"10.0.0.2","Service":{"Service":"web-proxy","Kind":"connect-proxy","Port":81,"Proxy":{"DestinationServiceName":"web","DestinationServiceID":"web","LocalServiceAddress":"127.0.0.1","LocalServicePort":80,"Config":{"a":1,"b":1.5,"s":"x"},"Upstreams":[{"DestinationName":"db","LocalBindPort":99},{"DestinationType":"prepared_query","DestinationName":"q","Datacenter":"dc2","LocalBindAddress":"127.0.0.2","LocalBindPort":98,"Config":{"x":"y"},"MeshGateway":{"Mode":"local"}}],"MeshGateway":{"Mode":"remote"},"Expose":{"Checks":true,"Paths":[{"ListenerPort":1,"Path":"/x","LocalPathPort":2,"Protocol":"http"}]}}},"Checks":[{"Name":"c2","Status":"warning"},{"CheckID":"c3","Name":"c3","Status":"critical","ServiceID":"web-proxy","Definition":{"HTTP":"h","TCP":"a:1","Interval":5000000000,"TLSSkipVerify":true,"Header":{"b":["1"],"a":[]},"Method":"M","Body":"B","OutputMaxSize":7,"Timeout":"1500ms","DeregisterCriticalServiceAfter":"90s","ScriptArgs":["a"],"DockerContainerID":"d","Shell":"s","GRPC":"g","GRPCUseTLS":true,"AliasNode":"an","AliasService":"as","TTL":"5s"}}]}"#;
const EXT3: &str = r#"{"Node":"ext3","Address":"10.0.0.3","Service":{"Service":"native","Connect":{"Native":true}}}"#;
const EXT4: &str = r#"{"Node":"ext4","Address":"10.0.0.4"}"#;
const EXT5: &str = r#"{"Node":"ext5","Address":"10.0.0.5","NodeMeta":{},"TaggedAddresses":{},"Service":{"Service":"web","ID":"web9","Tags":["z","t1"],"Meta":{"external-source":"k8s"},"Weights":{"Passing":0,"Warning":0}},"Checks":[]}"#;

/// What the servers make of a registration: defaults, indexes, fields copied from the instance.
fn registered(
    body: &str,
    node_at: u64,
    service_at: (u64, u64),
    checks_at: &[(u64, u64)],
) -> Instance {
    let request = parse::register(body.as_bytes()).unwrap();
    let node = Node {
        id: request.id,
        name: request.node.clone(),
        address: request.address,
        datacenter: text("dc1"),
        tagged_addresses: request.tagged_addresses,
        meta: request.node_meta,
        create: Index(node_at),
        modify: Index(node_at),
    };
    let mut service = request.service.unwrap_or_default();
    if service.id.is_empty() {
        service.id = service.name.clone();
    }
    (service.create, service.modify) = (Index(service_at.0), Index(service_at.1));
    let checks: Vec<Arc<Check>> = request
        .checks
        .into_iter()
        .zip(checks_at)
        .map(|(mut check, at)| {
            check.node = request.node.clone();
            if check.id.is_empty() {
                check.id = check.name.clone();
            }
            if !check.service_id.is_empty() {
                check.service_name = service.name.clone();
                check.service_tags = service.tags.clone();
            }
            check.check_type = text(match check.definition.as_deref() {
                Some(detail) if !detail.grpc.is_empty() => "grpc",
                Some(detail) if !detail.http.is_empty() => "http",
                _ => "",
            });
            (check.create, check.modify) = (Index(at.0), Index(at.1));
            Arc::new(check)
        })
        .collect();
    Instance {
        node: Arc::new(node),
        service: Arc::new(service),
        checks: checks.into(),
    }
}

fn ext1() -> Instance {
    registered(EXT1, 9, (9, 9), &[(9, 9)])
}
fn ext2() -> Instance {
    registered(EXT2, 10, (10, 29), &[(10, 10), (10, 29)])
}
fn ext3() -> Instance {
    registered(EXT3, 11, (11, 11), &[])
}
fn ext4() -> Instance {
    registered(EXT4, 12, (0, 0), &[])
}
fn ext5() -> Instance {
    registered(EXT5, 30, (30, 30), &[])
}

fn own_id() -> Uuid {
    Uuid::parse("11111111-2222-3333-4444-555555555555").unwrap()
}

fn own_node() -> Node {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| (text(k), text(v))).collect();
    Node {
        id: Some(own_id()),
        name: text("n1"),
        address: text("127.0.0.1"),
        datacenter: text("dc1"),
        tagged_addresses: Some(pairs(&[
            ("lan", "127.0.0.1"),
            ("lan_ipv4", "127.0.0.1"),
            ("wan", "127.0.0.1"),
            ("wan_ipv4", "127.0.0.1"),
        ])),
        meta: Some(pairs(&[("consul-network-segment", "")])),
        create: Index(5),
        modify: Index(7),
    }
}

fn on_node(instance: Instance) -> Reply {
    let services = if instance.service.name.is_empty() {
        vec![]
    } else {
        vec![instance.service]
    };
    Reply::NodeServices(Some((instance.node, services)))
}

fn dump(instance: Instance) -> NodeDump {
    let services = if instance.service.name.is_empty() {
        vec![]
    } else {
        vec![instance.service]
    };
    NodeDump {
        node: instance.node,
        services,
        checks: instance.checks.to_vec(),
    }
}

#[track_caller]
fn same(name: &str, rendered: &[u8]) {
    let path = format!("{}/tests/golden/{name}.json", env!("CARGO_MANIFEST_DIR"));
    let want = std::fs::read_to_string(&path).unwrap();
    assert_eq!(std::str::from_utf8(rendered).unwrap(), want, "{name}");
}

#[track_caller]
fn same_reply(name: &str, reply: &Reply, view: View) {
    same(name, &render::reply(reply, view, Addresses::Lan));
}

#[test]
fn catalog_answers_equal_consuls() {
    let nodes = [ext1(), ext2(), ext3(), ext4(), ext5()]
        .into_iter()
        .map(|i| i.node)
        .chain([Arc::new(own_node())]);
    same_reply("catalog-nodes", &Reply::Nodes(nodes.collect()), View::Plain);
    let pair = |i: Instance| (i.node, i.service);
    same_reply(
        "catalog-service-proxy",
        &Reply::ServiceNodes(vec![pair(ext2())]),
        View::Plain,
    );
    same_reply(
        "catalog-service-web",
        &Reply::ServiceNodes(vec![pair(ext1()), pair(ext5())]),
        View::Plain,
    );
    same_reply("catalog-node-ext2", &on_node(ext2()), View::Plain);
    same_reply("catalog-node-ext4", &on_node(ext4()), View::Plain);
    same_reply(
        "node-services-ext1",
        &on_node(ext1()),
        View::NodeServicesList,
    );
    same_reply(
        "node-services-ext4",
        &on_node(ext4()),
        View::NodeServicesList,
    );
    same_reply(
        "node-services-none",
        &Reply::NodeServices(None),
        View::NodeServicesList,
    );
    assert_eq!(
        render::reply(&Reply::NodeServices(None), View::Plain, Addresses::Lan),
        b"null"
    );
    let names = [
        ("consul", ""),
        ("gw", ""),
        ("loc", "x"),
        ("loc-sidecar-proxy", "x"),
        ("nat", ""),
        ("native", ""),
        ("p2", ""),
        ("plain", ""),
        ("web", "t1 t2 z"),
        ("web-proxy", ""),
    ];
    let services = names
        .map(|(name, tags)| (text(name), tags.split_whitespace().map(text).collect()))
        .to_vec();
    same_reply("catalog-services", &Reply::Services(services), View::Plain);
}

#[test]
fn health_answers_equal_consuls() {
    same_reply(
        "health-service-proxy",
        &Reply::Instances(vec![ext2()]),
        View::Plain,
    );
    same_reply(
        "health-service-native",
        &Reply::Instances(vec![ext3()]),
        View::Plain,
    );
}

#[test]
fn ui_answers_equal_consuls() {
    same_reply(
        "ui-node-ext1",
        &Reply::NodeDump(vec![dump(ext1())]),
        View::OneNode,
    );
    let all = || vec![ext1(), ext2(), ext3(), ext4(), ext5()];
    same_reply(
        "ui-nodes-external",
        &Reply::NodeDump(all().into_iter().map(dump).collect()),
        View::Plain,
    );
    let instances = all()
        .into_iter()
        .filter(|i| !i.service.name.is_empty())
        .collect();
    same_reply(
        "ui-services-external",
        &Reply::Instances(instances),
        View::ServiceSummary,
    );
}

fn pair(key: &[u8], value: &[u8], at: u64) -> KvEntry {
    KvEntry {
        key: key.into(),
        value: value.into(),
        create: Index(at),
        modify: Index(at),
        ..KvEntry::default()
    }
}

#[test]
fn kv_answers_equal_consuls() {
    let entries = [
        pair(b"a", b"hello", 36),
        KvEntry {
            flags: 42,
            ..pair(b"a/b", b"", 37)
        },
        pair(b"a/c", b"x<&>", 38),
        pair(b"bad\xffkey", b"x", 40),
        pair("t /é".as_bytes(), b"x", 39),
    ];
    let keys = entries.iter().map(|entry| entry.key.clone()).collect();
    same_reply(
        "kv-list",
        &Reply::Kv(entries.into_iter().map(Arc::new).collect()),
        View::Plain,
    );
    same_reply("kv-keys", &Reply::Keys(keys), View::Plain);
    let session = Uuid::parse("f73629ea-8c06-dadf-e6d5-1b6db677aec6").unwrap();
    let locked = KvEntry {
        lock_index: 1,
        session: Some(session),
        ..pair(b"lock", b"v", 98)
    };
    same_reply("kv-locked", &Reply::Kv(vec![Arc::new(locked)]), View::Plain);
}

#[test]
fn sessions_equal_consuls() {
    let mut session = parse::session(br#"{"Name":"s1","TTL":"30s"}"#, &text("n1")).unwrap();
    session.id = Uuid::parse("f73629ea-8c06-dadf-e6d5-1b6db677aec6").unwrap();
    (session.create, session.modify) = (Index(97), Index(97));
    same_reply(
        "session-info",
        &Reply::Sessions(vec![Arc::new(session)]),
        View::Plain,
    );
    let full = Session {
        checks: Some(vec![text("script")]),
        service_checks: Some(vec![]),
        node_checks: None,
        ..Session::default()
    };
    let mut out = Vec::new();
    render::sessions_renewed(&mut out, &[Arc::new(full)]);
    let shown = String::from_utf8(out).unwrap();
    assert!(
        shown.contains(
            r#""NodeChecks":null,"ServiceChecks":[],"Checks":["script"],"CreateIndex":0"#
        ),
        "{shown}"
    );
}

#[test]
fn operator_answers_equal_consuls() {
    let server = RaftServer {
        id: own_id(),
        node: text("n1"),
        address: text("127.0.0.1:37300"),
        leader: true,
        voter: true,
        protocol_version: text("3"),
    };
    let config = RaftConfiguration {
        servers: vec![server],
        index: Index(0),
    };
    same_reply(
        "raft-configuration",
        &Reply::RaftConfiguration(config),
        View::Plain,
    );
    let autopilot = AutopilotConfig {
        create: Index(4),
        modify: Index(4),
        ..AutopilotConfig::default()
    };
    same_reply(
        "autopilot-configuration",
        &Reply::Autopilot(Some(autopilot)),
        View::Plain,
    );
    let health = OperatorHealth {
        healthy: true,
        failure_tolerance: 0,
        servers: vec![ServerHealth {
            id: own_id(),
            name: text("n1"),
            address: text("127.0.0.1:37300"),
            serf_status: text("alive"),
            version: text("1.8.7"),
            leader: true,
            last_contact: Some(Duration::ZERO),
            last_term: Term(2),
            last_index: 24,
            healthy: true,
            voter: true,
            stable_since: Wall(1_795_414_410_000_000_000),
        }],
    };
    let mut out = Vec::new();
    render::operator_health(&mut out, &health);
    same("autopilot-health", &out);
}

#[test]
fn coordinates_equal_consuls() {
    let entry = CoordinateEntry {
        node: text("n1"),
        segment: text(""),
        coord: Coordinate::default(),
    };
    same_reply(
        "coordinate-nodes",
        &Reply::Coordinates(vec![Arc::new(entry.clone())]),
        View::Plain,
    );
    let map = DatacenterMap {
        datacenter: text("dc1"),
        area: text("wan"),
        coordinates: vec![entry],
    };
    same_reply(
        "coordinate-datacenters",
        &Reply::DatacenterMaps(vec![map]),
        View::Plain,
    );
}

/// What the agent makes of a definition, as far as it shows.
fn local(body: &str) -> Service {
    let ServiceDefinition {
        kind,
        id,
        name,
        tags,
        meta,
        port,
        weights,
        mut proxy,
        connect_native,
        tagged_addresses,
        ..
    } = parse::service_definition(body.as_bytes()).unwrap();
    for upstream in proxy
        .iter_mut()
        .flat_map(|proxy| proxy.upstreams.iter_mut())
        .flatten()
    {
        if upstream.destination_type.is_empty() {
            upstream.destination_type = text("service");
        }
    }
    let id = if id.is_empty() { name.clone() } else { id };
    Service {
        kind,
        id,
        name,
        tags,
        meta,
        port,
        weights,
        proxy,
        connect_native,
        tagged_addresses,
        ..Service::default()
    }
}

#[test]
fn agent_services_equal_consuls() {
    // (golden, definition, hash)
    for (name, body, hash) in [
        (
            "agent-service-plain",
            r#"{"Name":"plain"}"#,
            "1411316f46df41e4",
        ),
        (
            "agent-service-native",
            r#"{"Name":"nat","Connect":{"Native":true}, "Weights":{"Passing":10,"Warning":1}}"#,
            "ab3b054b91148cc5",
        ),
        (
            "agent-service-gateway",
            r#"{"Name":"gw","Kind":"mesh-gateway","Port":443,"TaggedAddresses":{"wan":{"Address":"1.1.1.1","Port":1}},"Proxy":{"Config":{"z":1}}}"#,
            "70553fbf9f8a39b1",
        ),
        (
            "agent-service-proxy",
            r#"{"Name":"p2","Kind":"connect-proxy","Port":4,"Proxy":{"DestinationServiceName":"loc","Upstreams":[{"DestinationName":"db","LocalBindPort":99},{"DestinationType":"prepared_query","DestinationName":"q","Datacenter":"dc2","LocalBindPort":98,"Config":{"x":"y"}}]}}"#,
            "917324d0684ba785",
        ),
    ] {
        let service = local(body);
        let mut out = Vec::new();
        render::agent_service(
            &mut out,
            AgentServiceView {
                service: &service,
                content_hash: Some(hash),
            },
        );
        same(name, &out);
    }
}

#[test]
fn agent_health_shows_every_definition_field_with_its_zero() {
    let check = |id: &str, notes: &str, service: &str| Check {
        node: text("n1"),
        id: text(id),
        name: text(id),
        notes: text(notes),
        service_id: text(service),
        service_name: text(service),
        check_type: text("ttl"),
        ..Check::default()
    };
    let checks = [check("nodechk", "n", ""), check("script", "", "plain")];
    let service = local(r#"{"Name":"plain"}"#);
    let mut out = Vec::new();
    let view = AgentHealthView {
        status: Status::Critical.as_str(),
        service: &service,
        checks: &checks,
    };
    render::agent_health_list(&mut out, [view]);
    same("agent-health-plain", &out);
}

#[test]
fn members_equal_consuls() {
    let tags = [
        ("acls", "0"),
        ("bootstrap", "1"),
        ("build", "1.8.7:"),
        ("dc", "dc1"),
        ("ft_fs", "1"),
        ("id", "11111111-2222-3333-4444-555555555555"),
        ("port", "37300"),
        ("raft_vsn", "3"),
        ("role", "consul"),
        ("segment", ""),
        ("vsn", "2"),
        ("vsn_max", "3"),
        ("vsn_min", "2"),
        ("wan_join_port", "37302"),
    ];
    let member = Member {
        name: text("n1"),
        addr: text("127.0.0.1"),
        port: 37301,
        tags: tags.iter().map(|(k, v)| (text(k), text(v))).collect(),
        status: MemberStatus::Alive,
        protocol: [1, 5, 2],
        delegate: [2, 5, 4],
    };
    let mut out = Vec::new();
    render::members(&mut out, &[member]);
    same("members", &out);
}

#[test]
fn wan_addresses_replace_those_of_other_datacenters_only_where_there_are_any() {
    let instance = ext1();
    let shown = |addresses| {
        let reply = Reply::ServiceNodes(vec![(
            Arc::clone(&instance.node),
            Arc::clone(&instance.service),
        )]);
        String::from_utf8(render::reply(&reply, View::Plain, addresses)).unwrap()
    };
    assert!(shown(Addresses::Lan).contains(r#""Address":"10.0.0.1""#));
    assert!(shown(Addresses::Wan).contains(r#""Address":"1.2.3.4""#));
    // Its only tagged address is `lan`.
    assert!(shown(Addresses::Wan).contains(r#""ServiceAddress":"""#));
    let plain = ext4();
    let nodes = Reply::Nodes(vec![plain.node]);
    let shown = String::from_utf8(render::reply(&nodes, View::Plain, Addresses::Wan)).unwrap();
    assert!(shown.contains(r#""Address":"10.0.0.4""#));
}

#[test]
fn kinds_are_spelled_as_in_the_api() {
    let service = Service {
        kind: ServiceKind::IngressGateway,
        ..Service::default()
    };
    let mut out = Vec::new();
    render::agent_services(&mut out, [&service]);
    let shown = String::from_utf8(out).unwrap();
    assert!(
        shown.starts_with(r#"{"":{"Kind":"ingress-gateway","ID":"""#),
        "{shown}"
    );
    assert!(
        shown.ends_with(r#""Proxy":{"MeshGateway":{},"Expose":{}}}}"#),
        "{shown}"
    );
}
