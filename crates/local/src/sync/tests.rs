use std::time::Duration;

use tribune_types::catalog::Status;
use tribune_types::definition::{CheckDefinition, CheckType, ServiceDefinition};
use tribune_types::id::Index;
use tribune_types::text::text;
use tribune_types::time::Mono;

use super::*;
use crate::registry::{Action, Options, PortRange, Source};

const NOW: Mono = Mono(1_000_000_000);

fn node_info() -> NodeInfo {
    NodeInfo {
        id: NodeId::from_random([7; 16]),
        name: text("n1"),
        address: text("127.0.0.1"),
        datacenter: text("dc1"),
        tagged_addresses: TextMap::new(),
        meta: TextMap::new(),
    }
}

fn registry(update_interval: Duration) -> Registry {
    let options = Options {
        server: true,
        enable_scripts: true,
        enable_local_scripts: true,
        output_size_max: 4096,
        discard_output: false,
        update_interval,
        reap_interval: Duration::from_secs(30),
        deregister_interval_min: Duration::from_secs(60),
        sidecar_ports: Some(PortRange {
            min: 21000,
            max: 21255,
        }),
    };
    Registry::new(options, node_info())
}

fn ttl() -> CheckType {
    CheckType {
        ttl: Duration::from_secs(10),
        ..CheckType::default()
    }
}

fn add(r: &mut Registry, name: &str, token: &str, checks: usize) {
    let definition = ServiceDefinition {
        name: text(name),
        checks: vec![ttl(); checks],
        ..ServiceDefinition::default()
    };
    r.register_service(
        NOW,
        &definition,
        &text(token),
        Source::Api,
        false,
        &mut Vec::new(),
    )
    .unwrap();
}

fn remote_node() -> Node {
    let own = node_info();
    Node {
        id: Some(own.id),
        name: own.name,
        tagged_addresses: Some(own.tagged_addresses),
        meta: Some(own.meta),
        ..Node::default()
    }
}

/// What a push sends, in short.
fn short(push: &Push) -> String {
    match &push.item {
        PushItem::Register(r) => {
            let service = r.service.as_ref().map_or("-", |s| &s.id);
            let checks: Vec<&str> = r.checks.iter().map(|c| &*c.id).collect();
            let node = if r.skip_node_update { "" } else { "node+" };
            format!("{node}{service}[{}]", checks.join(","))
        }
        PushItem::Deregister(d) => format!("-{}/{}", d.service_id, d.check_id),
    }
}

/// Sends everything, one after the other.
fn drain(r: &mut Registry) -> Vec<String> {
    let mut sent = Vec::new();
    while let Some(push) = r.next_push() {
        sent.push(short(&push));
        r.on_push_result(&push, PushResult::Done);
    }
    sent
}

#[test]
fn the_first_push_carries_the_node_and_a_service_carries_its_checks() {
    let mut r = registry(Duration::ZERO);
    add(&mut r, "a", "", 2);
    add(&mut r, "b", "", 1);
    assert_eq!(
        drain(&mut r),
        ["node+a[service:a:1,service:a:2]", "b[service:b]"]
    );
    assert_eq!(r.pending_count(), 0);
}

#[test]
fn the_node_goes_alone_when_nothing_else_is_marked() {
    let mut r = registry(Duration::ZERO);
    assert_eq!(drain(&mut r), ["node+-[]"]);
    assert_eq!(r.next_push(), None);
}

#[test]
fn a_check_with_another_token_is_sent_alone_and_after_its_service() {
    let mut r = registry(Duration::ZERO);
    drain(&mut r);
    add(&mut r, "a", "t1", 0);
    let definition = CheckDefinition {
        check: CheckType {
            name: text("c"),
            ..ttl()
        },
        service_id: text("a"),
        token: text("t2"),
    };
    r.register_check(
        NOW,
        &definition,
        &Text::default(),
        Source::Api,
        &mut Vec::new(),
    )
    .unwrap();
    let first = r.next_push().unwrap();
    assert_eq!((short(&first), &*first.token), ("a[]".to_owned(), "t1"));
    assert_eq!(r.next_push(), None, "the check waits for its service");
    r.on_push_result(&first, PushResult::Done);
    let second = r.next_push().unwrap();
    assert_eq!((short(&second), &*second.token), ("-[c]".to_owned(), "t2"));
}

#[test]
fn a_change_during_a_push_is_pushed_after_it() {
    let mut r = registry(Duration::ZERO);
    drain(&mut r);
    add(&mut r, "a", "", 1);
    let push = r.next_push().unwrap();
    r.on_report(
        NOW,
        "service:a",
        Status::Passing,
        "ok",
        Duration::ZERO,
        &mut Vec::new(),
    )
    .unwrap();
    assert_eq!(r.next_push(), None, "one request per item at a time");
    r.on_push_result(&push, PushResult::Done);
    assert_eq!(drain(&mut r), ["-[service:a]"]);
}

#[test]
fn a_removed_service_takes_its_checks_with_it() {
    let mut r = registry(Duration::ZERO);
    add(&mut r, "a", "", 2);
    drain(&mut r);
    r.deregister_service(NOW, "a", &mut Vec::new());
    assert_eq!(drain(&mut r), ["-a/"]);
    assert_eq!(r.pending_count(), 0);
}

#[test]
fn a_service_that_returns_before_its_removal_was_sent_is_only_registered() {
    let mut r = registry(Duration::ZERO);
    add(&mut r, "a", "", 1);
    drain(&mut r);
    r.deregister_service(NOW, "a", &mut Vec::new());
    add(&mut r, "a", "", 0);
    assert_eq!(drain(&mut r), ["a[]", "-/service:a"]);
}

#[test]
fn a_failed_push_stops_all_until_a_retry_and_a_denied_one_does_not() {
    let mut r = registry(Duration::ZERO);
    drain(&mut r);
    add(&mut r, "a", "", 0);
    add(&mut r, "b", "", 0);
    let push = r.next_push().unwrap();
    r.on_push_result(&push, PushResult::Failed);
    assert_eq!(r.next_push(), None);
    r.retry();
    let push = r.next_push().unwrap();
    assert_eq!(short(&push), "a[]");
    r.on_push_result(&push, PushResult::Denied);
    assert_eq!(drain(&mut r), ["b[]"]);
}

#[test]
fn nothing_is_handed_out_while_paused() {
    let mut r = registry(Duration::ZERO);
    r.pause();
    r.pause();
    r.resume();
    assert_eq!(r.next_push(), None);
    r.resume();
    assert!(r.next_push().is_some());
}

#[test]
fn the_comparison_finds_what_is_missing_different_and_too_much() {
    // What the catalog has, and what is sent for it. Local: service "a" with check "service:a", critical.
    let mut r = registry(Duration::ZERO);
    add(&mut r, "a", "", 1);
    drain(&mut r);
    let service = r.service("a").unwrap().service.clone();
    let check = r.check("service:a").unwrap().check.clone();
    let stored = Arc::new(Service {
        create: Index(5),
        modify: Index(9),
        ..(*service).clone()
    });
    let other = Arc::new(Service {
        port: 9,
        ..(*service).clone()
    });
    let named = |id: &str| {
        Arc::new(Service {
            id: text(id),
            name: text(id),
            ..Service::default()
        })
    };
    let of = |id: &str, service: &str| {
        Arc::new(Check {
            id: text(id),
            service_id: text(service),
            ..Check::default()
        })
    };
    /// Name, the catalog's services and checks, what is pushed.
    type Case<'a> = (&'a str, Vec<Arc<Service>>, Vec<Arc<Check>>, &'a [&'a str]);
    let cases: [Case<'_>; 7] = [
        ("equal", vec![stored.clone()], vec![check.clone()], &[]),
        ("nothing there", vec![], vec![], &["a[service:a]"]),
        (
            "service differs",
            vec![other],
            vec![check.clone()],
            &["a[]"],
        ),
        (
            "check is missing",
            vec![stored.clone()],
            vec![],
            &["-[service:a]"],
        ),
        (
            "own and others'",
            vec![stored.clone(), named("consul")],
            vec![check.clone(), of("serfHealth", "")],
            &[],
        ),
        (
            "unknown service",
            vec![stored.clone(), named("x")],
            vec![check.clone(), of("cx", "x")],
            &["-x/"],
        ),
        (
            "unknown check",
            vec![stored.clone()],
            vec![check.clone(), of("y", "a")],
            &["-/y"],
        ),
    ];
    for (name, services, checks, want) in cases {
        let node = remote_node();
        let view = RemoteView {
            stamp: r.view_stamp(),
            node: Some(&node),
            services: &services,
            checks: &checks,
        };
        r.on_remote_view(&view);
        assert_eq!(drain(&mut r), want, "{name}");
    }
}

#[test]
fn a_node_that_differs_in_the_catalog_is_sent_again() {
    let mut r = registry(Duration::ZERO);
    drain(&mut r);
    let node = remote_node();
    let other = Node {
        meta: Some([(text("a"), text("b"))].into_iter().collect()),
        ..remote_node()
    };
    let view = |node| RemoteView {
        stamp: u64::MAX,
        node,
        services: &[],
        checks: &[],
    };
    r.on_remote_view(&view(Some(&node)));
    assert_eq!(drain(&mut r), Vec::<String>::new());
    r.on_remote_view(&view(Some(&other)));
    assert_eq!(drain(&mut r), ["node+-[]"]);
    r.on_remote_view(&view(None));
    assert_eq!(drain(&mut r), ["node+-[]"]);
}

#[test]
fn an_old_view_does_not_undo_what_happened_since() {
    let mut r = registry(Duration::ZERO);
    drain(&mut r);
    let stamp = r.view_stamp();
    add(&mut r, "a", "", 0);
    drain(&mut r);
    let node = remote_node();
    r.on_remote_view(&RemoteView {
        stamp,
        node: Some(&node),
        services: &[],
        checks: &[],
    });
    assert_eq!(drain(&mut r), Vec::<String>::new());
}

#[test]
fn with_tag_override_the_tags_of_the_catalog_win() {
    let mut r = registry(Duration::ZERO);
    let definition = ServiceDefinition {
        name: text("a"),
        enable_tag_override: true,
        ..ServiceDefinition::default()
    };
    r.register_service(
        NOW,
        &definition,
        &Text::default(),
        Source::Api,
        false,
        &mut Vec::new(),
    )
    .unwrap();
    drain(&mut r);
    let mut remote = (*r.service("a").unwrap().service).clone();
    remote.tags = vec![text("new")];
    let node = remote_node();
    let hash = r.service("a").unwrap().hash.clone();
    let services = [Arc::new(remote)];
    let view = RemoteView {
        stamp: r.view_stamp(),
        node: Some(&node),
        services: &services,
        checks: &[],
    };
    assert!(r.on_remote_view(&view));
    assert_eq!(r.service("a").unwrap().service.tags, [text("new")]);
    assert_ne!(r.service("a").unwrap().hash, hash);
    assert_eq!(drain(&mut r), Vec::<String>::new());
}

#[test]
fn a_change_of_output_alone_waits_and_a_change_of_status_does_not() {
    let mut r = registry(Duration::from_secs(300));
    add(&mut r, "a", "", 1);
    drain(&mut r);
    let mut out: Vec<Action> = Vec::new();
    let mut report = |r: &mut Registry, status, output| {
        r.on_report(
            NOW,
            "service:a",
            status,
            output,
            Duration::from_secs(7),
            &mut out,
        )
        .unwrap();
        drain(r)
    };
    assert_eq!(report(&mut r, Status::Passing, "1"), ["-[service:a]"]);
    assert_eq!(report(&mut r, Status::Passing, "2"), Vec::<String>::new());
    assert_eq!(report(&mut r, Status::Passing, "3"), Vec::<String>::new());
    // Waiting does not outlive a push of the check.
    assert_eq!(report(&mut r, Status::Warning, "4"), ["-[service:a]"]);
    assert_eq!(report(&mut r, Status::Warning, "5"), Vec::<String>::new());
    let due = NOW + Duration::from_secs(157);
    r.on_report(
        due,
        "service:a",
        Status::Warning,
        "5",
        Duration::ZERO,
        &mut Vec::new(),
    )
    .unwrap();
    r.on_time(Mono(due.0 - 1), &mut Vec::new());
    assert_eq!(drain(&mut r), Vec::<String>::new());
    r.on_time(due, &mut Vec::new());
    assert_eq!(drain(&mut r), ["-[service:a]"]);
}

#[test]
fn a_postponed_output_is_no_difference_to_the_catalog() {
    let mut r = registry(Duration::from_secs(300));
    add(&mut r, "a", "", 1);
    drain(&mut r);
    let service = r.service("a").unwrap().service.clone();
    let stored = Arc::new(Check {
        output: text("old"),
        ..(*r.check("service:a").unwrap().check).clone()
    });
    let node = remote_node();
    let (services, checks) = ([service], [stored]);
    let view = RemoteView {
        stamp: r.view_stamp(),
        node: Some(&node),
        services: &services,
        checks: &checks,
    };
    r.on_remote_view(&view);
    assert_eq!(drain(&mut r), Vec::<String>::new());
}
