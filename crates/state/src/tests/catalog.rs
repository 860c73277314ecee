//! The catalog: identity of nodes, registration, deregistration, order and indexes of replies.

use tribune_types::catalog::{Register, SERF_HEALTH, Service, ServiceAddress, ServiceKind, Status};
use tribune_types::command::Command;
use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::id::Index;
use tribune_types::proxy::ProxyConfig;
use tribune_types::query::{Endpoint, ListOptions, Query, Reply, ReverseMatch, ServiceQuery};
use tribune_types::text::{Text, text};

use super::{
    Bench, check, deregister, health, names, node, node_with_id, register, service, uuid,
    with_check, with_service,
};
use crate::{ReadContext, WatchKey, WatchKeys};

fn node_list(bench: &Bench) -> Vec<(String, Option<u8>, u64, u64)> {
    let version = bench.state.version();
    version
        .nodes()
        .map(|n| {
            (
                n.name.to_string(),
                n.id.map(|id| id.0[0]),
                n.create.0,
                n.modify.0,
            )
        })
        .collect()
}

fn owned(rows: &[(&str, Option<u8>, u64, u64)]) -> Vec<(String, Option<u8>, u64, u64)> {
    rows.iter()
        .map(|(name, id, create, modify)| ((*name).to_owned(), *id, *create, *modify))
        .collect()
}

/// Instances as "node/id", with the index of the answer.
fn instances(bench: &Bench, query: &Query) -> (Vec<String>, u64) {
    let (reply, index) = bench.read(query);
    let list = match reply {
        Reply::Instances(list) => list
            .iter()
            .map(|i| format!("{}/{}", i.node.name, i.service.id))
            .collect(),
        Reply::ServiceNodes(list) => list
            .iter()
            .map(|(n, s)| format!("{}/{}", n.name, s.id))
            .collect(),
        other => panic!("{other:?}"),
    };
    (list, index.0)
}

fn checks(bench: &Bench, query: &Query) -> (Vec<String>, u64) {
    match bench.read(query) {
        (Reply::Checks(list), index) => (
            list.iter()
                .map(|c| format!("{}/{}", c.node, c.id))
                .collect(),
            index.0,
        ),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_known_identity_with_a_new_name_renames_and_drops_what_was_on_the_old_name() {
    let mut b = Bench::default();
    b.done(register(node_with_id("old", uuid(1))));
    b.done(with_service("old", service("s", "web")));
    // The registration without identity took the name over from the one with it.
    assert_eq!(node_list(&b), owned(&[("old", None, 1, 2)]));
    b.done(register(node_with_id("old", uuid(1))));
    b.done(register(node_with_id("new", uuid(1))));
    assert_eq!(node_list(&b), owned(&[("new", Some(1), 1, 4)]));
    assert_eq!(b.state.version().usage().instances, 0);
}

#[test]
fn a_name_is_reserved_while_its_node_is_alive() {
    let mut b = Bench::default();
    let serf = |status| check(SERF_HEALTH, "", status);
    b.done(register(Register {
        checks: vec![serf(Status::Passing)],
        ..node_with_id("srv", uuid(1))
    }));
    b.done(register(node_with_id("other", uuid(2))));
    let new = uuid(3);
    assert_eq!(
        b.refused(register(node_with_id("SRV", new))),
        format!(
            "failed inserting node: Error while renaming Node ID: \"{new}\": Node name SRV is reserved by node {} with name srv (10.0.0.1)",
            uuid(1)
        )
    );
    assert_eq!(
        b.refused(register(node_with_id("srv", uuid(2)))),
        format!(
            "failed inserting node: Error while renaming Node ID: \"{}\" (10.0.0.1): Node name srv is reserved by node {} with name srv (10.0.0.1)",
            uuid(2),
            uuid(1)
        )
    );
    b.done(register(Register {
        checks: vec![serf(Status::Critical)],
        ..node_with_id("srv", uuid(1))
    }));
    b.done(register(node_with_id("srv", uuid(2))));
    assert_eq!(node_list(&b), owned(&[("srv", Some(2), 2, 6)]));
    assert!(b.state.version().node_by_id(&uuid(1)).is_none());
}

#[test]
fn names_of_nodes_without_identity_or_gossip_check_are_taken_over() {
    let mut b = Bench::default();
    b.done(register(node_with_id("ext", uuid(1))));
    b.done(register(node_with_id("ext", uuid(2))));
    assert_eq!(node_list(&b), owned(&[("ext", Some(2), 1, 2)]));
    let serf = check(SERF_HEALTH, "", Status::Passing);
    b.done(register(Register {
        checks: vec![serf],
        ..node("plain")
    }));
    b.done(register(node_with_id("plain", uuid(3))));
    assert_eq!(
        node_list(&b).last(),
        Some(&("plain".to_owned(), Some(3), 3, 4))
    );
    // Taking over by a rename is refused: the nameless node is alive.
    b.done(register(node("plain")));
    let text = b.refused(register(node_with_id("plain", uuid(2))));
    assert!(
        text.ends_with("Node name plain is reserved by node  with name plain (10.0.0.1)"),
        "{text}"
    );
}

#[test]
fn registering_unchanged_content_keeps_every_index_and_touches_nothing() {
    let mut b = Bench::default();
    let whole = || {
        register(Register {
            service: Some(Service {
                tags: vec![text("a")],
                ..service("s", "web")
            }),
            checks: vec![
                check("c", "s", Status::Passing),
                check("n", "", Status::Passing),
            ],
            ..node("n1")
        })
    };
    b.done(whole());
    let before = b.state.version().digest();
    assert!(b.done(whole()).touched.is_empty());
    assert_eq!(b.state.version().digest(), before);
    // The node alone, in another letter case, is unchanged as well.
    assert!(b.done(register(node("N1"))).touched.is_empty());
    let mut skipping = node("n1");
    skipping.address = text("9.9.9.9");
    skipping.skip_node_update = true;
    assert!(b.done(register(skipping)).touched.is_empty());
}

#[test]
fn a_failed_registration_leaves_nothing_behind() {
    let mut b = Bench::default();
    assert_eq!(
        b.refused(with_check("n1", check("c", "zz", Status::Passing))),
        "failed inserting check: Missing service registration on node \"n1\""
    );
    let mut foreign = check("c", "", Status::Passing);
    foreign.node = text("n2");
    assert_eq!(
        b.refused(with_check("n1", foreign)),
        "check node \"n2\" does not match node \"n1\""
    );
    b.done(register(node_with_id("a", uuid(1))));
    b.done(register(Register {
        service: Some(service("s", "web")),
        ..node_with_id("a", uuid(1))
    }));
    // The rename would remove "a" before the check fails.
    b.refused(register(Register {
        checks: vec![check("c", "s", Status::Passing)],
        ..node_with_id("b", uuid(1))
    }));
    assert_eq!(instances(&b, &health("web")).0, ["a/s"]);
}

#[test]
fn checks_follow_the_name_and_tags_of_their_instance() {
    let mut b = Bench::default();
    b.done(with_service("n", service("s", "web")));
    b.done(with_check("n", check("c", "s", Status::Passing)));
    b.done(with_service(
        "n",
        Service {
            tags: vec![text("t")],
            ..service("s", "api")
        },
    ));
    let version = b.state.version();
    let stored = version.check("N", "C").unwrap();
    assert_eq!(
        (&*stored.service_name, names(&stored.service_tags)),
        ("api", vec!["t"])
    );
    assert_eq!(stored.modify, Index(3));
    assert_eq!(instances(&b, &health("web")), (vec![], 3));
    let Reply::Instances(list) = b.read(&health("api")).0 else {
        panic!()
    };
    assert_eq!(&list[0].checks[0], stored);
}

#[test]
fn the_index_of_a_service_moves_with_its_instances_their_checks_and_nodes_only() {
    let mut b = Bench::default();
    b.done(with_service("n1", service("w", "web")));
    b.done(with_service("n2", service("o", "other")));
    assert_eq!(instances(&b, &health("WEB")), (vec!["n1/w".to_owned()], 1));
    assert_eq!(
        instances(&b, &health("none")),
        (vec![], 2),
        "no service ever vanished: table-wide"
    );
    b.done(with_check("n2", check("c", "", Status::Critical)));
    assert_eq!(instances(&b, &health("web")).1, 1);
    let touched = b
        .done(with_check("n1", check("c", "", Status::Warning)))
        .touched;
    assert!(
        touched.contains(&WatchKey::Service(text("web")))
            && !touched.contains(&WatchKey::Service(text("other")))
    );
    assert_eq!(instances(&b, &health("web")).1, 4);
    let mut moved = node("n1");
    moved.address = text("10.0.0.9");
    assert!(
        b.done(register(moved))
            .touched
            .contains(&WatchKey::Service(text("web")))
    );
    assert_eq!(instances(&b, &health("web")).1, 5);
    b.done(deregister("n2", "o", ""));
    assert_eq!(
        instances(&b, &health("none")),
        (vec![], 6),
        "last extinction"
    );
    b.done(register(node("n3")));
    assert_eq!(instances(&b, &health("none")), (vec![], 6));
    b.done(deregister("n1", "", ""));
    assert_eq!(instances(&b, &health("web")), (vec![], 8));
}

#[test]
fn lists_are_ordered_by_folded_node_name_then_id() {
    let mut b = Bench::default();
    for (on, id) in [("m1", "w2"), ("M2", "x"), ("a9", "zz"), ("m1", "W1")] {
        b.done(with_service(on, service(id, "web")));
        b.done(with_check(
            on,
            check(&format!("c-{id}"), id, Status::Passing),
        ));
        b.done(with_check(on, check("a-node", "", Status::Warning)));
    }
    assert_eq!(
        instances(&b, &health("web")).0,
        ["a9/zz", "m1/W1", "m1/w2", "M2/x"]
    );
    let query = Query::ServiceChecks {
        service: text("web"),
        options: ListOptions::default(),
    };
    assert_eq!(
        checks(&b, &query).0,
        ["a9/c-zz", "m1/c-W1", "m1/c-w2", "M2/c-x"]
    );
    let any = Query::ChecksInState {
        state: None,
        options: ListOptions::default(),
    };
    assert_eq!(checks(&b, &any).0.len(), 7);
    let warning = Query::ChecksInState {
        state: Some(Status::Warning),
        options: ListOptions::default(),
    };
    assert_eq!(
        checks(&b, &warning).0,
        ["a9/a-node", "m1/a-node", "M2/a-node"]
    );
    let Reply::Instances(list) = b.read(&health("web")).0 else {
        panic!()
    };
    let ids: Vec<&str> = list[1].checks.iter().map(|c| &*c.id).collect();
    assert_eq!(ids, ["a-node", "c-W1"], "node-level checks first");
}

#[test]
fn instances_are_narrowed_by_tags_metadata_filter_and_health() {
    let mut b = Bench::default();
    for (on, tags) in [("n1", vec!["v1", "eu"]), ("n2", vec!["V1"]), ("n3", vec![])] {
        let mut whole = node(on);
        whole.node_meta = (on != "n2").then(|| [(text("rack"), text(on))].into_iter().collect());
        let tags = tags.into_iter().map(text).collect();
        whole.service = Some(Service {
            tags,
            port: i64::from(on.as_bytes()[1]),
            ..service("s", "web")
        });
        whole.checks = vec![check(
            "c",
            "s",
            if on == "n1" {
                Status::Warning
            } else {
                Status::Passing
            },
        )];
        b.done(register(whole));
    }
    let query =
        |tags: &[&str], meta: Option<&str>, filter: &str, passing_only| Query::ServiceHealth {
            service: ServiceQuery {
                name: text("web"),
                tags: tags.iter().map(|t| text(t)).collect(),
                endpoint: Endpoint::Service,
                options: ListOptions {
                    node_meta: meta.iter().map(|m| (text("rack"), text(m))).collect(),
                    filter: text(filter),
                    near: Text::default(),
                },
            },
            passing_only,
        };
    // (tags, rack, filter, passing only, nodes)
    for (tags, meta, filter, passing, want) in [
        (&[][..], None, "", false, &["n1", "n2", "n3"][..]),
        (&["v1"], None, "", false, &["n1", "n2"]),
        (&["v1", "EU"], None, "", false, &["n1"]),
        (&[], Some("n3"), "", false, &["n3"]),
        (&[], None, "", true, &["n2", "n3"]),
        (&[], None, "Service.Port == 50", false, &["n2"]),
        (
            &[],
            None,
            "Node.Meta.rack == n1 or Checks.Status == passing",
            false,
            &["n1", "n2", "n3"],
        ),
        (&["nope"], None, "", false, &[]),
    ] {
        let (found, index) = instances(&b, &query(tags, meta, filter, passing));
        let want: Vec<String> = want.iter().map(|n| format!("{n}/s")).collect();
        assert_eq!(
            (found, index),
            (want, 3),
            "{tags:?} {meta:?} {filter:?} {passing}"
        );
    }
    let error = b.state.version().read(
        &query(&[], None, "Bogus == 1", false),
        &ReadContext::default(),
        &mut WatchKeys::new(),
    );
    assert_eq!(
        error.unwrap_err().to_string(),
        "Failed to create boolean expression evaluator: Selector \"Bogus\" is not valid"
    );
}

#[test]
fn mesh_endpoints_are_proxies_with_that_destination_and_native_instances() {
    let mut b = Bench::default();
    let proxy = |name: &str, destination: &str| Service {
        kind: ServiceKind::ConnectProxy,
        proxy: Some(Box::new(ProxyConfig {
            destination_service_name: text(destination),
            ..ProxyConfig::default()
        })),
        ..service(name, name)
    };
    let connect = |name: &str| {
        Query::ServiceNodes(ServiceQuery {
            name: text(name),
            endpoint: Endpoint::Connect,
            ..ServiceQuery::default()
        })
    };
    b.done(with_service("m1", service("w", "web")));
    b.done(with_service("m1", proxy("web-proxy", "WEB")));
    b.done(with_service("a2", proxy("a-proxy", "web")));
    b.done(with_service(
        "m1",
        Service {
            connect_native: true,
            ..service("native", "web")
        },
    ));
    assert_eq!(
        instances(&b, &connect("web")),
        (
            vec![
                "a2/a-proxy".into(),
                "m1/native".into(),
                "m1/web-proxy".into()
            ],
            4
        )
    );
    b.done(with_check("a2", check("c", "", Status::Warning)));
    assert_eq!(instances(&b, &connect("web")).1, 5);
    let touched = b.done(deregister("a2", "a-proxy", "")).touched;
    assert!(touched.contains(&WatchKey::Connect(text("web"))));
    assert_eq!(
        instances(&b, &connect("web")),
        (vec!["m1/native".into(), "m1/web-proxy".into()], 6)
    );
    b.done(with_service("m1", proxy("web-proxy", "db")));
    assert_eq!(
        instances(&b, &connect("web")),
        (vec!["m1/native".into()], 7)
    );
    assert_eq!(
        instances(&b, &connect("db")),
        (vec!["m1/web-proxy".into()], 7)
    );
    let ingress = ServiceQuery {
        name: text("web"),
        endpoint: Endpoint::Ingress,
        ..ServiceQuery::default()
    };
    assert_eq!(instances(&b, &Query::ServiceNodes(ingress)).0.len(), 0);
}

#[test]
fn services_are_listed_by_name_with_all_their_tags() {
    let mut b = Bench::default();
    for (on, id, name, tag) in [
        ("n1", "1", "web", "b"),
        ("n1", "2", "web", "a"),
        ("n2", "3", "Web", "c"),
        ("n2", "4", "db", ""),
    ] {
        let tags = if tag.is_empty() {
            vec![]
        } else {
            vec![text(tag)]
        };
        b.done(with_service(
            on,
            Service {
                tags,
                ..service(id, name)
            },
        ));
    }
    let (Reply::Services(list), index) = b.read(&Query::Services {
        node_meta: Default::default(),
    }) else {
        panic!()
    };
    let list: Vec<_> = list
        .iter()
        .map(|(name, tags)| (&**name, names(tags)))
        .collect();
    assert_eq!(
        list,
        [("Web", vec!["c"]), ("db", vec![]), ("web", vec!["a", "b"])]
    );
    assert_eq!(index, Index(4));
}

#[test]
fn a_node_is_found_by_name_then_by_a_unique_prefix_of_its_id() {
    let mut b = Bench::default();
    b.done(register(node_with_id("n1", uuid(0x44))));
    b.done(register(node_with_id("n2", uuid(0x45))));
    b.done(register(node("44")));
    let find = |b: &Bench, given: &str| match b
        .read(&Query::NodeServices {
            node: text(given),
            filter: Text::default(),
        })
        .0
    {
        Reply::NodeServices(found) => found.map(|(n, _)| n.name.to_string()),
        other => panic!("{other:?}"),
    };
    // (given, found)
    for (given, want) in [
        ("N1", Some("n1")),
        ("4444", Some("n1")),
        ("44444444-4444", Some("n1")),
        ("44444444-4444-4444-4444-444444444444", Some("n1")),
        ("45", Some("n2")),
        ("44", Some("44")),
        ("4", None),
        ("444", None),
        ("46", None),
        ("zz", None),
        ("----45", Some("n2")),
        ("-----45", None),
        ("", None),
        ("4444444444444444444444444444444444", None),
    ] {
        assert_eq!(find(&b, given).as_deref(), want, "{given:?}");
    }
    b.done(register(node_with_id("n3", {
        let mut id = uuid(0x45);
        id.0[15] = 1;
        id
    })));
    assert_eq!(find(&b, "45"), None, "ambiguous");
}

#[test]
fn near_sorts_by_distance_and_puts_the_unknown_last() {
    let mut b = Bench::default();
    for on in ["a", "b", "c", "d"] {
        b.done(register(node(on)));
    }
    let at = |name: &str, x: f64| CoordinateEntry {
        node: text(name),
        segment: Text::default(),
        coord: Coordinate {
            vec: vec![x; 8],
            ..Coordinate::default()
        },
    };
    let touched = b
        .done(Command::Coordinates(vec![
            at("A", 5.0),
            at("c", 1.0),
            at("d", 0.0),
            at("ghost", 1.0),
        ]))
        .touched;
    assert!(
        touched.contains(&WatchKey::Coordinate(text("a")))
            && !touched.contains(&WatchKey::Coordinate(text("ghost")))
    );
    assert!(
        b.done(Command::Coordinates(vec![at("A", 5.0), at("c", f64::NAN)]))
            .touched
            .is_empty()
    );
    let near = |b: &Bench, near: &str| {
        let options = ListOptions {
            near: text(near),
            ..ListOptions::default()
        };
        let Reply::Nodes(list) = b.read(&Query::Nodes(options)).0 else {
            panic!()
        };
        list.iter().map(|n| n.name.to_string()).collect::<String>()
    };
    assert_eq!(
        (near(&b, "D"), near(&b, "b"), near(&b, "")),
        ("dcab".into(), "abcd".into(), "abcd".into())
    );
    let (reply, index) = b.read(&Query::Coordinates {
        node: Some(text("c")),
        segment: None,
    });
    assert!(matches!(reply, Reply::Coordinates(list) if list.len() == 1));
    assert_eq!(index, Index(5));
    b.done(deregister("c", "", ""));
    let (reply, index) = b.read(&Query::Coordinates {
        node: None,
        segment: Some(Text::default()),
    });
    assert!(matches!(reply, Reply::Coordinates(list) if list.len() == 2));
    assert_eq!(index, Index(7));
}

#[test]
fn an_address_belongs_to_a_node_before_a_service() {
    let mut b = Bench::default();
    let mut own = service("s", "web");
    own.address = text("10.0.0.7");
    b.done(with_service("n", own));
    let reverse = |b: &Bench, addr: &str| match b
        .read(&Query::Reverse {
            addr: addr.parse().unwrap(),
        })
        .0
    {
        Reply::Reverse(found) => found,
        other => panic!("{other:?}"),
    };
    assert!(matches!(reverse(&b, "10.0.0.1"), Some(ReverseMatch::Node(n)) if &*n.name == "n"));
    assert!(matches!(reverse(&b, "10.0.0.7"), Some(ReverseMatch::Service(s)) if &*s.name == "web"));
    assert!(reverse(&b, "::1").is_none());
}

#[test]
fn instances_are_found_by_their_own_and_tagged_addresses_and_dumped_by_kind() {
    let mut b = Bench::default();
    let mut own = service("s", "web");
    own.address = text("10.0.0.7");
    let mut tagged = service("t", "db");
    tagged.tagged_addresses = vec![(
        text("wan"),
        ServiceAddress {
            address: text("10.0.0.7"),
            port: 1,
        },
    )];
    let mut proxy = service("p", "web-proxy");
    proxy.kind = ServiceKind::ConnectProxy;
    for s in [own, tagged, proxy] {
        b.done(with_service("n", s));
    }
    let at = |address: &str, filter: &str| {
        let query = Query::ServicesAt {
            address: text(address),
            options: ListOptions {
                filter: text(filter),
                ..ListOptions::default()
            },
        };
        match b.read(&query).0 {
            Reply::ServiceNodes(found) => {
                let mut ids: Vec<String> = found.iter().map(|(_, s)| s.id.to_string()).collect();
                ids.sort();
                ids.concat()
            }
            other => panic!("{other:?}"),
        }
    };
    // The address of the node is not an instance's own.
    let found = [
        at("10.0.0.7", ""),
        at("10.0.0.7", "ServiceName == db"),
        at("10.0.0.1", ""),
    ];
    assert_eq!(found, ["st", "t", ""]);
    let dump = |kind| {
        let filter = Text::default();
        match b.read(&Query::ServiceDump { kind, filter }).0 {
            Reply::Instances(found) => found.len(),
            other => panic!("{other:?}"),
        }
    };
    let counts = [
        dump(None),
        dump(Some(ServiceKind::Typical)),
        dump(Some(ServiceKind::ConnectProxy)),
        dump(Some(ServiceKind::MeshGateway)),
    ];
    assert_eq!(counts, [3, 2, 1, 0]);
}

#[test]
fn checks_say_whether_the_tags_of_their_instance_were_given_as_an_empty_list() {
    let mut b = Bench::default();
    for given in [true, false, true] {
        let mut web = service("w", "web");
        web.tags = Vec::new();
        web.given_empty.tags = given;
        b.done(with_service("n", web));
        b.done(with_check("n", check("c", "w", Status::Passing)));
        let query = Query::NodeChecks {
            node: text("n"),
            filter: Text::default(),
        };
        let Reply::Checks(checks) = b.read(&query).0 else {
            panic!("no checks");
        };
        assert_eq!(checks[0].tags_given_empty, given);
    }
}
