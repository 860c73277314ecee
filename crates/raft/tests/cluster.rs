//! Three servers in one process: nothing assumes that there is one node.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::{Hub, Server, config, id, leader, member, members, payload, real, start, until};
use tribune_raft::{ProposeError, TransferError};
use tribune_rt::Env;

async fn three(env: &Env, hub: &Hub, dir: Option<&std::path::Path>) -> Vec<Server> {
    let mut servers = Vec::new();
    for n in 1..=3 {
        let mut settings = config(n, dir);
        settings.snapshot.trailing_logs = 10;
        servers.push(start(env, hub, settings).await);
    }
    servers
}

async fn all_have(env: &Env, servers: &[Server], count: usize) {
    let have = || {
        servers
            .iter()
            .all(|server| server.seen.lock().len() == count)
    };
    for _ in 0..6000 {
        if have() {
            break;
        }
        env.sleep(Duration::from_millis(10)).await;
    }
    for server in servers {
        assert_eq!(
            server.seen.lock().len(),
            count,
            "{:#?}",
            server.raft.metrics()
        );
        let here = server.seen.lock().clone();
        let first = servers[0].seen.lock().clone();
        assert_eq!(here, first);
    }
}

#[test]
fn three_servers_elect_replicate_fail_over_and_heal() {
    real(async |env| {
        let temp = tempfile::tempdir().unwrap();
        let hub = Hub::default();
        let servers = three(&env, &hub, Some(temp.path())).await;
        for server in &servers {
            server.raft.bootstrap(members(1..=3)).await.unwrap();
        }
        let first = leader(&env, &servers).await;
        for n in 0..50 {
            first.raft.propose(payload(n)).await.unwrap();
        }
        first.raft.read_barrier().await.unwrap();
        all_have(&env, &servers, 50).await;

        let follower = servers
            .iter()
            .find(|server| server.raft.id() != first.raft.id())
            .unwrap();
        let err = follower.raft.propose(payload(0)).await.unwrap_err();
        let ProposeError::NotLeader {
            leader: Some(known),
        } = err
        else {
            panic!("{err}")
        };
        assert_eq!(known.id, first.raft.id());
        assert!(known.addr.starts_with("10.0.0."));
        assert!(follower.raft.metrics().last_contact.is_some());

        hub.cut(first.raft.id());
        let lost = first.raft.clone();
        until(&env, "the lease to lapse", || {
            (!lost.is_leader_lease_valid()).then_some(())
        })
        .await;
        assert!(first.raft.read_barrier().await.is_err());
        let second = until(&env, "another leader", || {
            servers.iter().find(|server| {
                server.raft.id() != first.raft.id() && server.raft.is_leader_lease_valid()
            })
        })
        .await;
        for n in 50..80 {
            second.raft.propose(payload(n)).await.unwrap();
        }
        hub.heal();
        all_have(&env, &servers, 80).await;
        for server in &servers {
            server.raft.shutdown().await;
        }
        hub.forget();
    });
}

#[test]
fn a_server_that_joins_late_gets_a_snapshot_and_can_lead_and_leave() {
    for on_disk in [true, false] {
        real(async |env| {
            let temp = tempfile::tempdir().unwrap();
            let dir = on_disk.then(|| temp.path());
            let hub = Hub::default();
            let servers = three(&env, &hub, dir).await;
            let first = &servers[0].raft;
            first.bootstrap(members([1])).await.unwrap();
            until(&env, "leadership", || {
                first.is_leader_lease_valid().then_some(())
            })
            .await;
            for n in 0..500 {
                first.propose(payload(n)).await.unwrap();
            }
            let index = first.trigger_snapshot().await.unwrap().unwrap();
            until(&env, "the snapshot", || {
                (first.metrics().snapshot_index == index).then_some(())
            })
            .await;
            for n in 500..600 {
                first.propose(payload(n)).await.unwrap();
            }
            for n in 2..=3 {
                first.add_learner(id(n), member(n)).await.unwrap();
            }
            all_have(&env, &servers, 600).await;
            first
                .change_membership(BTreeSet::from([id(1), id(2), id(3)]))
                .await
                .unwrap();
            let view = first.membership();
            assert!(view.peers.iter().all(|peer| peer.voter), "{view:?}");
            assert_eq!(view.peers.len(), 3);

            assert_eq!(
                first.transfer_leader(Some(id(9))).await,
                Err(TransferError::NoTarget)
            );
            assert_eq!(
                servers[1].raft.transfer_leader(None).await,
                Err(TransferError::NotLeader)
            );
            assert_eq!(first.transfer_leader(Some(id(2))).await, Ok(id(2)));
            let second = &servers[1].raft;
            until(&env, "readiness", || {
                second.is_leader_lease_valid().then_some(())
            })
            .await;
            for n in 600..650 {
                second.propose(payload(n)).await.unwrap();
            }
            all_have(&env, &servers, 650).await;

            second.remove(id(1)).await.unwrap();
            assert_eq!(second.membership().peers.len(), 2);
            second.propose(payload(650)).await.unwrap();
            until(&env, "the other voter", || {
                (servers[2].seen.lock().len() == 651).then_some(())
            })
            .await;
            for server in &servers {
                server.raft.shutdown().await;
            }
            hub.forget();

            if let Some(dir) = dir {
                // The snapshot that was sent is enough to start from.
                let hub = Hub::default();
                let third = start(&env, &hub, config(3, Some(dir))).await;
                until(&env, "replay", || {
                    (third.seen.lock().len() >= 600).then_some(())
                })
                .await;
                third.raft.shutdown().await;
                hub.forget();
            }
        });
    }
}

#[test]
fn concurrent_proposals_are_all_applied_once_on_every_server() {
    real(async |env| {
        let hub = Hub::default();
        let servers = three(&env, &hub, None).await;
        servers[0].raft.bootstrap(members(1..=3)).await.unwrap();
        let lead = leader(&env, &servers).await;
        let mut tasks = Vec::new();
        for client in 0..32u64 {
            let raft = lead.raft.clone();
            tasks.push(env.spawn("client", async move {
                for n in 0..50 {
                    raft.propose(payload(client * 1000 + n)).await.unwrap();
                }
            }));
        }
        for task in tasks {
            env.timeout(Duration::from_secs(60), task)
                .await
                .unwrap()
                .unwrap();
        }
        all_have(&env, &servers, 1600).await;
        let distinct: BTreeSet<_> = lead
            .seen
            .lock()
            .iter()
            .map(|(_, payload)| payload.clone())
            .collect();
        assert_eq!(distinct.len(), 1600);
        for server in &servers {
            server.raft.shutdown().await;
        }
        hub.forget();
    });
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "threads of the system, as those that look in production"
)]
fn looking_at_a_node_from_many_threads_never_stops_it() {
    let (told, ended) = std::sync::mpsc::channel();
    // On a thread of its own: a deadlock takes the runtime with it, and must not take the test.
    std::thread::spawn(move || {
        real(async |env| {
            let hub = Hub::default();
            let servers = three(&env, &hub, None).await;
            for server in &servers {
                server.raft.bootstrap(members(1..=3)).await.unwrap();
            }
            let first = leader(&env, &servers).await;
            let over = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let lookers: Vec<_> = (servers.iter().chain(&servers))
                .map(|server| {
                    let (raft, over) = (server.raft.clone(), over.clone());
                    std::thread::spawn(move || {
                        while !over.load(std::sync::atomic::Ordering::Relaxed) {
                            raft.metrics();
                            raft.has_leader();
                            raft.leader();
                            raft.membership();
                            raft.last_contact();
                            raft.is_leader_lease_valid();
                            raft.is_removed();
                        }
                    })
                })
                .collect();
            for n in 0..100 {
                first.raft.propose(payload(n)).await.unwrap();
            }
            over.store(true, std::sync::atomic::Ordering::Relaxed);
            for looker in lookers {
                looker.join().unwrap();
            }
            all_have(&env, &servers, 100).await;
            hub.forget();
        });
        told.send(()).unwrap();
    });
    let ended = ended.recv_timeout(Duration::from_secs(60));
    assert!(ended.is_ok(), "somebody waits for ever");
}
