//! The catalog follows the gossip pool while a server leads.

#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

mod support;

use std::time::Duration;

use tribune_rt::Env;
use tribune_server::Server;
use tribune_types::caller::Caller;
use tribune_types::catalog::{Check, Node, Register, Service, Status};
use tribune_types::id::NodeId;
use tribune_types::member::{Member, MemberStatus};
use tribune_types::text::{TextMap, text};
use tribune_types::write::Write;

/// Runs a test in virtual time with one leading server.
fn with_leader<F: Future<Output = ()>>(test: impl FnOnce(Env, Server) -> F) {
    support::virtually(async |env| {
        let server = support::start(&env, None).await;
        until(&env, || server.version().node("s1").is_some()).await;
        test(env, server).await;
    });
}

/// Waits in small steps of virtual time.
async fn until(env: &Env, reached: impl Fn() -> bool) {
    for _ in 0..500 {
        if reached() {
            return;
        }
        env.sleep(Duration::from_millis(10)).await;
    }
    panic!("not reached in 5 s");
}

fn client(name: &str, status: MemberStatus) -> Member {
    let tags: TextMap = [
        ("role", "node"),
        ("dc", "dc1"),
        ("id", &id(name).to_string()),
    ]
    .into_iter()
    .map(|(k, v)| (text(k), text(v)))
    .collect();
    Member {
        name: text(name),
        addr: text("10.0.0.2"),
        port: 8301,
        tags,
        status,
        protocol: [1, 5, 2],
        delegate: [2, 5, 4],
    }
}

/// An identity per name.
fn id(name: &str) -> NodeId {
    let mut bytes = [0; 16];
    for (at, byte) in name.bytes().take(16).enumerate() {
        bytes[at] = byte;
    }
    NodeId::from_random(bytes)
}

fn health(server: &Server, node: &str) -> Option<Status> {
    let check = server.version().check(node, "serfHealth").cloned();
    check.map(|check| check.status)
}

async fn register(server: &Server, register: Register) {
    let write = Write::Register(Box::new(Register {
        datacenter: text("dc1"),
        ..register
    }));
    server
        .write(&Caller::internal(), None, write)
        .await
        .unwrap();
}

#[test]
fn a_member_is_registered_fails_recovers_and_leaves() {
    with_leader(|env, server| async move {
        server.on_member(&client("c1", MemberStatus::Alive));
        until(&env, || health(&server, "c1") == Some(Status::Passing)).await;
        let node = server.version().node("c1").cloned().unwrap();
        assert_eq!((&*node.address, node.id), ("10.0.0.2", Some(id("c1"))));
        assert_eq!(node.meta, None);
        server.on_member(&client("c1", MemberStatus::Failed));
        until(&env, || health(&server, "c1") == Some(Status::Critical)).await;
        let check = server.version().check("c1", "serfHealth").cloned().unwrap();
        assert_eq!(&*check.output, "Agent not live or unreachable");
        server.on_member(&client("c1", MemberStatus::Alive));
        until(&env, || health(&server, "c1") == Some(Status::Passing)).await;
        server.on_member(&client("c1", MemberStatus::Left));
        until(&env, || server.version().node("c1").is_none()).await;
    });
}

#[test]
fn a_member_keeps_what_its_agent_registered() {
    with_leader(|env, server| async move {
        let meta: TextMap = [(text("rack"), text("7"))].into_iter().collect();
        register(
            &server,
            Register {
                id: Some(id("c1")),
                node: text("c1"),
                address: text("10.0.0.1"),
                node_meta: Some(meta.clone()),
                service: Some(Service {
                    id: text("web"),
                    name: text("web"),
                    ..Service::default()
                }),
                ..Register::default()
            },
        )
        .await;
        // The member is at another address by now.
        server.on_member(&client("c1", MemberStatus::Alive));
        until(&env, || health(&server, "c1") == Some(Status::Passing)).await;
        let node: Node = (**server.version().node("c1").unwrap()).clone();
        assert_eq!((&*node.address, node.meta), ("10.0.0.2", Some(meta)));
        server.on_member(&client("c1", MemberStatus::Failed));
        until(&env, || health(&server, "c1") == Some(Status::Critical)).await;
        assert!(server.version().service("c1", "web").is_some());
    });
}

#[test]
fn a_server_brings_the_consul_service_along() {
    with_leader(|env, server| async move {
        let mut member = client("s2", MemberStatus::Alive);
        for (key, value) in [
            ("role", "consul"),
            ("port", "9300"),
            ("vsn", "2"),
            ("raft_vsn", "3"),
            ("build", "1.8.4:12345678"),
        ] {
            member.tags.insert(text(key), text(value));
        }
        server.on_member(&member);
        until(&env, || server.version().service("s2", "consul").is_some()).await;
        let service = server.version().service("s2", "consul").cloned().unwrap();
        let meta = service.meta.clone().unwrap();
        assert_eq!(service.port, 9300);
        assert_eq!(meta.get("version").map(|v| &**v), Some("1.8.4"));
    });
}

#[test]
fn the_leader_never_deregisters_itself() {
    with_leader(|env, server| async move {
        for status in [MemberStatus::Failed, MemberStatus::Left] {
            server.on_member(&client("s1", status));
        }
        server.on_member_reaped("s1");
        server.on_member(&client("c1", MemberStatus::Alive));
        until(&env, || health(&server, "c1") == Some(Status::Passing)).await;
        assert_eq!(health(&server, "s1"), Some(Status::Passing));
    });
}

#[test]
fn forgotten_members_go_and_nodes_from_outside_stay() {
    with_leader(|env, server| async move {
        // Known to the catalog from an earlier life, and to no pool.
        let serf_health = Check {
            node: text("old"),
            id: text("serfHealth"),
            name: text("Serf Health Status"),
            status: Status::Passing,
            ..Check::default()
        };
        register(
            &server,
            Register {
                node: text("old"),
                address: text("10.0.0.8"),
                checks: vec![serf_health],
                ..Register::default()
            },
        )
        .await;
        register(
            &server,
            Register {
                node: text("printer"),
                address: text("10.0.0.9"),
                ..Register::default()
            },
        )
        .await;
        server.on_member(&client("c1", MemberStatus::Alive));
        server.on_member(&client("c2", MemberStatus::Failed));
        until(&env, || health(&server, "c1").is_some()).await;
        // A pool that is just being built says nothing about who is missing.
        assert!(server.version().node("old").is_some());
        server.on_member_reaped("c1");
        until(&env, || server.version().node("c1").is_none()).await;
        env.sleep(Duration::from_secs(130)).await;
        assert!(server.version().node("old").is_none());
        assert!(server.version().node("printer").is_some());
        // A member that failed before it was ever registered is nothing to the catalog.
        assert!(server.version().node("c2").is_none());
        assert!(server.version().node("s1").is_some());
    });
}

#[test]
fn what_was_undone_from_outside_is_repaired_by_the_next_pass() {
    with_leader(|env, server| async move {
        server.on_member(&client("c1", MemberStatus::Alive));
        until(&env, || health(&server, "c1").is_some()).await;
        let deregister = tribune_types::catalog::Deregister {
            datacenter: text("dc1"),
            node: text("c1"),
            ..Default::default()
        };
        let write = Write::Deregister(deregister);
        server
            .write(&Caller::internal(), None, write)
            .await
            .unwrap();
        env.sleep(Duration::from_secs(61)).await;
        assert_eq!(health(&server, "c1"), Some(Status::Passing));
    });
}

#[test]
fn a_crowd_is_registered_and_then_nothing_is_written() {
    with_leader(|env, server| async move {
        const CROWD: usize = 700;
        let name = |number: usize| format!("c{number:03}");
        for number in 0..CROWD {
            server.on_member(&client(&name(number), MemberStatus::Alive));
        }
        until(&env, || server.version().nodes().count() == CROWD + 1).await;
        env.sleep(Duration::from_secs(2)).await;
        let settled = server.version().last_index();
        env.sleep(Duration::from_secs(200)).await;
        assert_eq!(server.version().last_index(), settled);
        for number in 0..CROWD {
            server.on_member(&client(&name(number), MemberStatus::Left));
        }
        until(&env, || server.version().nodes().count() == 1).await;
    });
}
