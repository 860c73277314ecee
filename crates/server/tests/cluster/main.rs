//! Three servers in one process, over real connections on loopback addresses of their own. The pool is played by the test.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a failed step of a test may end it, and tests have a clock and tasks of their own"
)]

mod founding;
mod harness;

use std::time::{Duration, Instant};

use harness::{Cluster, get, kv, pair, with};
use tribune_server::Origin;
use tribune_types::autopilot::AutopilotConfig;
use tribune_types::caller::Caller;
use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::session::Session;
use tribune_types::text::text;
use tribune_types::txn::{KvVerb, TxnOp};
use tribune_types::write::{Write, WriteReply};
use tribune_wire::rpc;

const MODES: [Consistency; 3] = [
    Consistency::Default,
    Consistency::Stale,
    Consistency::Consistent,
];

fn caller() -> Caller {
    Caller::internal()
}

fn wait(min_index: Index) -> ReadOptions {
    ReadOptions {
        min_index,
        wait: Some(Duration::from_secs(20)),
        ..ReadOptions::default()
    }
}

#[test]
fn every_server_reads_at_once_what_any_server_acknowledged() {
    harness::run(async {
        let cluster = Cluster::form(1, 3).await;
        for round in 0..20 {
            for writer in &cluster.nodes {
                let value = format!("{round} by {}", writer.name);
                writer.set("k", &value).await.unwrap();
                for reader in &cluster.nodes {
                    for mode in [Consistency::Default, Consistency::Consistent] {
                        let (found, meta) = reader.get("k", &with(mode)).await.unwrap();
                        assert_eq!(found.as_deref(), Some(&*value), "{mode:?}");
                        assert!(meta.known_leader && meta.last_contact.is_zero());
                        assert_eq!(meta.consistency, mode);
                    }
                }
            }
        }
        cluster.end().await;
    });
}

#[test]
fn stale_answers_tell_their_age_and_the_others_do_not() {
    harness::run(async {
        let cluster = Cluster::form(2, 3).await;
        cluster.leader().set("k", "v").await.unwrap();
        let follower = cluster.follower();
        follower
            .until("applied", async || {
                follower
                    .get("k", &with(Consistency::Stale))
                    .await
                    .unwrap()
                    .0
                    .is_some()
            })
            .await;
        let (_, meta) = follower.get("k", &with(Consistency::Stale)).await.unwrap();
        assert!(
            meta.known_leader && meta.last_contact > Duration::ZERO,
            "{meta:?}"
        );
        let (_, meta) = cluster
            .leader()
            .get("k", &with(Consistency::Stale))
            .await
            .unwrap();
        assert!(meta.known_leader && meta.last_contact.is_zero(), "{meta:?}");
        // Transactions that only read are no exception.
        let ops = vec![TxnOp::Kv(KvVerb::Get, pair("k", ""))];
        let read = Write::TxnRead(ops, Consistency::Stale);
        match follower.write(read).await.unwrap() {
            WriteReply::TxnRead(outcome, meta) => {
                assert_eq!(outcome.results.len(), 1);
                assert!(meta.last_contact > Duration::ZERO, "{meta:?}");
            }
            other => panic!("{other:?}"),
        }
        // An answer that would be older than allowed is not stale any more.
        let fresh = ReadOptions {
            max_stale: Some(Duration::from_nanos(1)),
            ..with(Consistency::Stale)
        };
        cluster.leader().set("k", "new").await.unwrap();
        let (found, meta) = follower.get("k", &fresh).await.unwrap();
        assert_eq!(found.as_deref(), Some("new"));
        assert_eq!(meta.consistency, Consistency::Default);
        assert!(meta.known_leader && meta.last_contact.is_zero(), "{meta:?}");
        cluster.end().await;
    });
}

#[test]
fn a_blocking_read_parks_on_its_server_and_wakes_there() {
    harness::run(async {
        let cluster = Cluster::form(3, 3).await;
        let follower = cluster.follower();
        follower.set("k", "1").await.unwrap();
        let (_, meta) = follower
            .get("k", &with(Consistency::Default))
            .await
            .unwrap();
        for mode in MODES {
            let options = ReadOptions {
                consistency: mode,
                ..wait(meta.index)
            };
            let before = follower
                .get("k", &with(Consistency::Default))
                .await
                .unwrap()
                .1;
            let options = ReadOptions {
                min_index: before.index,
                ..options
            };
            let parked = follower.get("k", &options);
            let write = async {
                follower
                    .until("parked", async || follower.server.queries_blocking() == 1)
                    .await;
                assert_eq!(cluster.leader().server.queries_blocking(), 0);
                cluster
                    .leader()
                    .set("k", &format!("{mode:?}"))
                    .await
                    .unwrap();
            };
            let (found, ()) = tokio::join!(parked, write);
            let (found, meta) = found.unwrap();
            assert_eq!(found, Some(format!("{mode:?}")));
            assert!(meta.index > before.index);
        }
        cluster.end().await;
    });
}

#[test]
fn a_blocking_read_outlives_the_leader() {
    harness::run(async {
        let mut cluster = Cluster::form(4, 3).await;
        let first = cluster.take_leader();
        let follower = &cluster.nodes[0];
        follower.set("k", "1").await.unwrap();
        let before = follower
            .get("k", &with(Consistency::Default))
            .await
            .unwrap()
            .1;
        let options = wait(before.index);
        let parked = follower.get("k", &options);
        let write = async {
            follower
                .until("parked", async || follower.server.queries_blocking() == 1)
                .await;
            first.kill().await;
            cluster.nodes[1].set("k", "2").await.unwrap();
        };
        let (found, ()) = tokio::join!(parked, write);
        assert_eq!(found.unwrap().0.as_deref(), Some("2"));
        cluster.end().await;
    });
}

#[test]
fn writes_of_every_kind_answer_through_a_follower_as_on_the_leader() {
    harness::run(async {
        let cluster = Cluster::form(5, 3).await;
        for (number, node) in cluster.nodes.iter().enumerate() {
            let key = |name: &str| format!("{name}{number}");
            let verdict = async |op, entry| match node.write(Write::Kv(op, entry)).await.unwrap() {
                WriteReply::Verdict(verdict) => verdict,
                other => panic!("{other:?}"),
            };
            assert!(verdict(KvOp::Set, pair(&key("set"), "1")).await);
            assert!(verdict(KvOp::Cas, pair(&key("cas"), "1")).await);
            assert!(!verdict(KvOp::Cas, pair(&key("cas"), "2")).await);
            let session = Session {
                node: text("s1"),
                lock_delay: Duration::from_millis(1),
                ..Session::default()
            };
            let created = node.write(Write::SessionCreate(Box::new(session))).await;
            let Ok(WriteReply::Session(id)) = created else {
                panic!("{created:?}")
            };
            let lock = |name: &str| KvEntry {
                session: Some(id),
                ..pair(name, "held")
            };
            assert!(verdict(KvOp::Lock, lock(&key("lock"))).await);
            assert!(verdict(KvOp::Unlock, lock(&key("lock"))).await);
            assert!(!verdict(KvOp::Unlock, lock(&key("lock"))).await);
            match node.write(Write::SessionRenew(id)).await.unwrap() {
                WriteReply::Renewed(found) => assert_eq!(found[0].id, id),
                other => panic!("{other:?}"),
            }
            assert_eq!(
                node.write(Write::SessionDestroy(id)).await,
                Ok(WriteReply::Done)
            );
            assert_eq!(
                node.write(Write::SessionRenew(id)).await,
                Ok(WriteReply::Renewed(Vec::new()))
            );
            let ops = vec![
                TxnOp::Kv(KvVerb::Set, pair(&key("txn"), "1")),
                TxnOp::Kv(KvVerb::Get, pair(&key("txn"), "")),
            ];
            match node.write(Write::Txn(ops)).await.unwrap() {
                WriteReply::Txn(outcome) => assert_eq!(outcome.results.len(), 2),
                other => panic!("{other:?}"),
            }
            let ops = vec![TxnOp::Kv(KvVerb::Get, pair(&key("txn"), ""))];
            for consistency in [Consistency::Default, Consistency::Consistent] {
                let read = Write::TxnRead(ops.clone(), consistency);
                match node.write(read).await.unwrap() {
                    WriteReply::TxnRead(outcome, meta) => {
                        assert_eq!(outcome.results.len(), 1);
                        assert_eq!((meta.consistency, meta.known_leader), (consistency, true));
                    }
                    other => panic!("{other:?}"),
                }
            }
            let failing = vec![TxnOp::Kv(KvVerb::Get, pair("nowhere", ""))];
            let failing = Write::TxnRead(failing, Consistency::Default);
            match node.write(failing).await.unwrap() {
                WriteReply::TxnRead(outcome, _) => assert_eq!(outcome.errors.len(), 1),
                other => panic!("{other:?}"),
            }
            let autopilot = Write::Autopilot {
                config: AutopilotConfig::default(),
                cas: Some(Index(1)),
            };
            assert_eq!(node.write(autopilot).await, Ok(WriteReply::Verdict(false)));
            let coordinate = Write::Coordinate(CoordinateEntry {
                node: text("s1"),
                segment: text(""),
                coord: Coordinate::default(),
            });
            assert_eq!(node.write(coordinate).await, Ok(WriteReply::Done));
            let event = Write::EventFire(Box::new(UserEvent {
                name: text("e"),
                ..UserEvent::default()
            }));
            assert_eq!(node.write(event).await, Ok(WriteReply::Done));
        }
        cluster.end().await;
    });
}

#[test]
fn refusals_come_back_in_the_words_of_the_leader_with_one_prefix_per_hop() {
    harness::run(async {
        let cluster = Cluster::form(6, 3).await;
        let lock = Write::Kv(
            KvOp::Lock,
            KvEntry {
                session: Some(tribune_types::id::Uuid([9; 16])),
                ..pair("k", "v")
            },
        );
        let plain = cluster.leader().write(lock.clone()).await.unwrap_err();
        let passed = cluster.follower().write(lock).await.unwrap_err();
        assert_eq!(
            passed.to_string(),
            format!("rpc error making call: {plain}")
        );
        cluster.end().await;
    });
}

#[test]
fn calls_on_the_server_port_are_copied_to_the_leader() {
    harness::run(async {
        let cluster = Cluster::form(7, 3).await;
        let follower = cluster.follower();
        // A field of a later version survives, although this one does not know it.
        let write = Write::Kv(KvOp::Set, pair("k", "v"));
        let (method, mut body) = rpc::encode_write(&write, "dc1", "").unwrap();
        assert_eq!(body[0], 0x84);
        body[0] = 0x85;
        body.extend_from_slice(b"\xa5Later\x92\x01\xc0");
        let reply = follower.call(method, &body).await.unwrap();
        assert_eq!(reply, [0xc2]);
        assert_eq!(cluster.leader().port.last_body(), body);
        let (found, _) = follower
            .get("k", &with(Consistency::Default))
            .await
            .unwrap();
        assert_eq!(found.as_deref(), Some("v"));
        // Another datacenter, and none, are refused here.
        let before = cluster.leader().port.passed_on();
        for dc in ["dc2", ""] {
            let (method, body) = rpc::encode_write(&write, dc, "").unwrap();
            let refused = follower.call(method, &body).await.unwrap_err();
            assert_eq!(
                refused.to_string(),
                "rpc error making call: No path to datacenter"
            );
        }
        assert_eq!(cluster.leader().port.passed_on(), before);
        cluster.end().await;
    });
}

#[test]
fn a_request_that_was_passed_on_is_never_passed_on_again() {
    harness::run(async {
        let cluster = Cluster::form(8, 3).await;
        let follower = cluster.follower();
        let start = Instant::now();
        let refused = follower
            .server
            .write_from(Origin::PassedOn, &caller(), None, kv("k", "v"))
            .await;
        assert_eq!(refused, Err(RpcError::NoLeader));
        assert!(start.elapsed() < Duration::from_secs(1));
        let (method, body) = rpc::encode_write(&kv("k", "v"), "dc1", "").unwrap();
        let refused = follower.server.relay(Origin::PassedOn, method, &body).await;
        assert_eq!(refused, Err(RpcError::NoLeader));
        assert_eq!(cluster.leader().port.passed_on(), 0);
        cluster.end().await;
    });
}

#[test]
fn a_write_succeeds_soon_after_the_leader_died() {
    harness::run(async {
        let mut cluster = Cluster::form(9, 3).await;
        let leader = cluster.take_leader();
        let follower = &cluster.nodes[0];
        follower.set("k", "before").await.unwrap();
        let old = leader.server.status_leader();
        let start = Instant::now();
        leader.kill().await;
        // Once the end of the connections is known, a new write does not end with them.
        follower
            .until("the end is known", async || {
                follower.server.status_leader() != old
            })
            .await;
        follower.set("k", "after").await.unwrap();
        let took = start.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        let (found, _) = cluster.nodes[1]
            .get("k", &with(Consistency::Consistent))
            .await
            .unwrap();
        assert_eq!(found.as_deref(), Some("after"));
        cluster.end().await;
    });
}

#[test]
fn a_write_that_was_with_the_leader_when_it_died_is_of_unknown_fate() {
    harness::run(async {
        let mut cluster = Cluster::form(10, 3).await;
        let leader = cluster.take_leader();
        leader.port.hang(true);
        let follower = &cluster.nodes[0];
        let written = follower.set("k", "v");
        let death = async {
            follower
                .until("arrived", async || leader.port.passed_on() == 1)
                .await;
            leader.kill().await;
        };
        let (written, ()) = tokio::join!(written, death);
        let text = written.unwrap_err().to_string();
        assert!(text.starts_with("rpc error making call: "), "{text}");
        // It was not tried again with the new leader.
        follower.set("other", "v").await.unwrap();
        let (found, _) = follower
            .get("k", &with(Consistency::Default))
            .await
            .unwrap();
        assert_eq!(found, None);
        cluster.end().await;
    });
}

#[test]
fn a_renewal_that_was_with_the_leader_when_it_died_is_made_again() {
    harness::run(async {
        let mut cluster = Cluster::form(20, 3).await;
        let leader = cluster.take_leader();
        let follower = &cluster.nodes[0];
        let session = Session {
            node: text("s1"),
            ..Session::default()
        };
        let created = follower.write(Write::SessionCreate(Box::new(session)));
        let Ok(WriteReply::Session(id)) = created.await else {
            panic!("no session")
        };
        let before = leader.port.passed_on();
        leader.port.hang(true);
        let renewed = follower.write(Write::SessionRenew(id));
        let death = async {
            follower
                .until("arrived", async || leader.port.passed_on() > before)
                .await;
            leader.kill().await;
        };
        let (renewed, ()) = tokio::join!(renewed, death);
        match renewed {
            Ok(WriteReply::Renewed(found)) => assert_eq!(found[0].id, id),
            other => panic!("{other:?}"),
        }
        cluster.end().await;
    });
}

#[test]
fn without_a_majority_requests_are_held_and_old_answers_are_given() {
    harness::run(async {
        let mut cluster = Cluster::form(11, 3).await;
        cluster.leader().set("k", "v").await.unwrap();
        let follower = cluster.take_follower();
        follower
            .until("applied", async || {
                follower
                    .get("k", &with(Consistency::Stale))
                    .await
                    .unwrap()
                    .0
                    .is_some()
            })
            .await;
        cluster.end().await;
        let start = Instant::now();
        let refused = follower.set("k", "w").await.unwrap_err().to_string();
        assert!(
            refused.ends_with("No cluster leader") || refused.contains("connection refused"),
            "{refused}"
        );
        let took = start.elapsed();
        assert!(
            took >= harness::HOLD && took < harness::HOLD * 3,
            "{took:?}"
        );
        for mode in [Consistency::Default, Consistency::Consistent] {
            let refused = follower.get("k", &with(mode)).await;
            assert_eq!(refused.unwrap_err(), RpcError::NoLeader, "{mode:?}");
        }
        let (found, _) = follower.get("k", &with(Consistency::Stale)).await.unwrap();
        assert_eq!(found.as_deref(), Some("v"));
        // Somebody who leaves lets nobody wait.
        follower.server.refuse_requests();
        let start = Instant::now();
        assert_eq!(follower.set("k", "w").await, Err(RpcError::NoLeader));
        assert!(start.elapsed() < harness::HOLD / 2);
        follower.kill().await;
    });
}

#[test]
fn snapshots_are_saved_by_any_server_and_restored_through_any() {
    harness::run(async {
        let cluster = Cluster::form(12, 3).await;
        let follower = cluster.follower();
        cluster.leader().set("k", "saved").await.unwrap();
        for mode in MODES {
            let mut save = follower
                .server
                .snapshot_save(&caller(), &with(mode))
                .await
                .unwrap();
            assert_eq!(save.meta.consistency, mode);
            let mut archive = Vec::new();
            while let Some(piece) = save.chunks.recv().await {
                archive.push(piece.unwrap());
            }
            follower.set("k", "later").await.unwrap();
            let restore = follower
                .server
                .snapshot_restore(Origin::Asked, &caller(), None)
                .await
                .unwrap();
            for piece in archive {
                restore.chunks.send(piece).await.unwrap();
            }
            drop(restore.chunks);
            restore.done.await.unwrap().unwrap();
            for node in &cluster.nodes {
                let (found, _) = node.get("k", &with(Consistency::Default)).await.unwrap();
                assert_eq!(found.as_deref(), Some("saved"), "{mode:?} {}", node.name);
            }
        }
        // What is no archive is refused by the leader, in its words.
        let restore = follower
            .server
            .snapshot_restore(Origin::Asked, &caller(), None)
            .await
            .unwrap();
        let _ = restore.chunks.send(b"no archive"[..].into()).await;
        drop(restore.chunks);
        let refused = restore.done.await.unwrap().unwrap_err().to_string();
        assert!(refused.contains("gzip"), "{refused}");
        let passed_on = follower
            .server
            .snapshot_restore(Origin::PassedOn, &caller(), None)
            .await;
        assert!(matches!(passed_on, Err(RpcError::NoLeader)));
        cluster.end().await;
    });
}

#[test]
fn the_peer_set_looks_the_same_everywhere() {
    harness::run(async {
        let cluster = Cluster::form(13, 3).await;
        let leader = cluster.leader();
        let want_leader = leader.server.status_leader();
        let mut want_peers = leader.server.status_peers();
        want_peers.sort();
        for node in &cluster.nodes {
            assert_eq!(node.server.status_leader(), want_leader);
            let mut peers = node.server.status_peers();
            peers.sort();
            assert_eq!(peers, want_peers);
            let health = node
                .server
                .operator_health(Origin::Asked, &caller())
                .await
                .unwrap();
            assert_eq!(health.servers.len(), 3);
            let answer = node
                .server
                .read(&caller(), Query::RaftConfiguration, &ReadOptions::default())
                .await
                .unwrap();
            let Reply::RaftConfiguration(set) = answer.reply() else {
                panic!("{answer:?}")
            };
            let leaders: Vec<_> = set.servers.iter().filter(|s| s.leader).collect();
            assert_eq!(leaders.len(), 1);
            assert_eq!(*leaders[0].address, want_leader);
            let mut names: Vec<_> = set
                .servers
                .iter()
                .map(|s| (&*s.node, &*s.protocol_version))
                .collect();
            names.sort_unstable();
            assert_eq!(names, [("s1", "3"), ("s2", "3"), ("s3", "3")]);
        }
        // Whom the pool does not know has no name, whatever the catalog says.
        let (follower, leader) = (cluster.follower(), cluster.leader());
        follower.server.on_member_reaped(&leader.name);
        let stale = with(Consistency::Stale);
        let answer = { &follower.server }
            .read(&caller(), Query::RaftConfiguration, &stale)
            .await
            .unwrap();
        let Reply::RaftConfiguration(set) = answer.reply() else {
            panic!("{answer:?}")
        };
        let unknown: Vec<_> = set
            .servers
            .iter()
            .filter(|s| *s.node == *"(unknown)")
            .collect();
        assert_eq!(unknown.len(), 1);
        assert_eq!(
            (&*unknown[0].address, &*unknown[0].protocol_version),
            (&*want_leader, "unknown")
        );
        cluster.end().await;
    });
}

#[test]
fn many_writes_at_once_through_followers_all_arrive() {
    harness::run(async {
        let cluster = Cluster::form(14, 3).await;
        let mut tasks = Vec::new();
        for number in 0..192 {
            let server = cluster.nodes[number % 3].server.clone();
            tasks.push(tokio::spawn(async move {
                for round in 0..5 {
                    let write = kv(&format!("k/{number}/{round}"), "v");
                    server.write(&caller(), None, write).await.unwrap();
                }
            }));
        }
        for task in tasks {
            task.await.unwrap();
        }
        for node in &cluster.nodes {
            let query = Query::KvKeys {
                prefix: b"k/"[..].into(),
                separator: b""[..].into(),
            };
            let answer = node
                .server
                .read(&caller(), query, &with(Consistency::Default))
                .await
                .unwrap();
            let Reply::Keys(keys) = answer.reply() else {
                panic!("{answer:?}")
            };
            assert_eq!(keys.len(), 192 * 5);
        }
        let _ = get("k");
        cluster.end().await;
    });
}
