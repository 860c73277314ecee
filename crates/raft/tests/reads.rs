//! Reads by index: on every server they see what was acknowledged, and many cost little.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{
    Hub, Memory, Seen, cluster, config, leader, members, payload, real, start, stop, until,
};
use parking_lot::{Condvar, Mutex};
use tribune_raft::{
    Committed, Machine, ProposeError, Raft, ReadError, ReadGuarantee, SnapshotSource, Timing,
};
use tribune_rt::{Env, RealConfig, sim_block_on};
use tribune_types::command::Outcome;

/// Tag of a follower's question.
const READ_INDEX: u8 = 5;
/// Tag of appends and heartbeats.
const APPEND: u8 = 1;
const BOTH: [ReadGuarantee; 2] = [ReadGuarantee::Lease, ReadGuarantee::Quorum];

#[test]
fn every_server_sees_what_was_acknowledged_before() {
    for (seed, slow_ms) in [(1, 0), (2, 1), (3, 20)] {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            hub.slow_down(&env, Duration::from_millis(slow_ms));
            let servers = cluster(&env, &hub, 3, Timing::default()).await;
            let lead = leader(&env, &servers).await.raft.clone();
            for n in 0..100 {
                lead.propose(payload(n)).await.unwrap();
                for guarantee in BOTH {
                    for server in &servers {
                        let index = server.raft.read_index(guarantee).await.unwrap();
                        assert!(server.raft.applied_index() >= index);
                        let seen = server.seen.lock();
                        assert_eq!(seen.last().unwrap().1, payload(n), "{guarantee:?}");
                    }
                }
            }
            stop(&hub, &servers).await;
        });
    }
}

#[test]
fn a_lone_server_answers_without_asking() {
    real(async |env| {
        let hub = Hub::default();
        let server = start(&env, &hub, config(1, None)).await;
        let early = server.raft.read_index(ReadGuarantee::Lease).await;
        assert_eq!(early, Err(ReadError::NotLeader { leader: None }));
        server.raft.bootstrap(members([1])).await.unwrap();
        leader(&env, std::slice::from_ref(&server)).await;
        server.raft.propose(payload(1)).await.unwrap();
        for guarantee in BOTH {
            let index = server.raft.read_index(guarantee).await.unwrap();
            assert_eq!(index, server.raft.applied_index());
        }
        stop(&hub, &[server]).await;
    });
}

#[test]
fn thousands_of_readers_share_a_few_rounds() {
    real(async |env| {
        let hub = Hub::default();
        hub.slow_down(&env, Duration::from_millis(2));
        let timing = config(1, None).timing;
        let servers = cluster(&env, &hub, 3, timing).await;
        let lead = leader(&env, &servers).await.raft.id();
        for server in &servers {
            let (questions, appends) = (hub.sent(READ_INDEX), hub.sent(APPEND));
            let tasks: Vec<_> = (0..5000)
                .map(|n| {
                    let raft = server.raft.clone();
                    let guarantee = BOTH[n % 2];
                    env.spawn("reader", async move { raft.read_index(guarantee).await })
                })
                .collect();
            for task in tasks {
                task.await.unwrap().unwrap();
            }
            let questions = hub.sent(READ_INDEX) - questions;
            let appends = hub.sent(APPEND) - appends;
            println!("5000 readers: {questions} questions, {appends} appends");
            // How many rounds it takes depends on the scheduler; without sharing they would be thousands.
            assert!(questions < 500 && appends < 1000);
            assert_eq!(questions == 0, server.raft.id() == lead);
        }
        stop(&hub, &servers).await;
    });
}

#[test]
fn a_dropped_reader_does_not_hold_up_the_others() {
    sim_block_on(1, async |env| {
        let hub = Hub::default();
        hub.slow_down(&env, Duration::from_millis(5));
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.id();
        let follower = servers
            .iter()
            .find(|server| server.raft.id() != lead)
            .unwrap();
        let impatient = follower.raft.read_index(ReadGuarantee::Quorum);
        assert!(
            env.timeout(Duration::from_millis(1), impatient)
                .await
                .is_err()
        );
        follower
            .raft
            .read_index(ReadGuarantee::Quorum)
            .await
            .unwrap();
        stop(&hub, &servers).await;
    });
}

#[test]
fn without_a_leader_or_a_quorum_readers_hear_so_in_time() {
    sim_block_on(2, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        let left: Vec<_> = servers
            .iter()
            .filter(|s| s.raft.id() != lead.id())
            .collect();
        hub.cut(lead.id());
        for guarantee in BOTH {
            let asked = env.mono();
            let follower = left[0].raft.read_index(guarantee).await;
            assert_eq!(follower, Err(ReadError::NotLeader { leader: None }));
            env.sleep(Duration::from_millis(300)).await;
            let err = lead.read_index(guarantee).await.unwrap_err();
            assert_eq!(err, ReadError::NoQuorum);
            assert!(env.mono().since(asked) < Duration::from_secs(4));
        }
        assert!(left[0].raft.read_barrier().await.is_err());
        // Waiting readers are answered when another leads.
        for server in &left {
            server.raft.on_peer_gone(lead.id());
        }
        let new = until(&env, "a successor", || {
            left.iter()
                .find(|server| server.raft.is_leader_lease_valid())
        })
        .await;
        new.raft.propose(payload(7)).await.unwrap();
        for server in &left {
            until(&env, "the news", || server.raft.leader()).await;
            server.raft.read_index(ReadGuarantee::Quorum).await.unwrap();
            assert_eq!(server.seen.lock().last().unwrap().1, payload(7));
        }
        hub.heal();
        stop(&hub, &servers).await;
        let ended = left[0].raft.read_index(ReadGuarantee::Quorum).await;
        assert!(ended.is_err(), "{ended:?}");
    });
}

#[test]
fn a_leader_that_is_cut_off_says_soon_that_a_write_may_be_lost() {
    sim_block_on(4, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        hub.cut(lead.id());
        let asked = env.mono();
        let written = lead.propose(payload(1)).await;
        assert!(
            matches!(written, Err(ProposeError::Unknown { .. })),
            "{written:?}"
        );
        let took = env.mono().since(asked);
        assert!(took < Timing::default().heartbeat * 3, "{took:?}");
        hub.heal();
        stop(&hub, &servers).await;
    });
}

#[test]
fn a_reader_whose_leader_hangs_gives_up_on_it_when_another_leads() {
    sim_block_on(4, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        let left: Vec<_> = servers
            .iter()
            .filter(|s| s.raft.id() != lead.id())
            .collect();
        // Answers of the old leader get lost; its heartbeats too, a little later.
        for server in &left {
            hub.kill_link(lead.id(), server.raft.id());
        }
        let raft = left[0].raft.clone();
        let reading = env.spawn("reader", async move {
            let started = raft.applied_index();
            let found = raft.read_index(ReadGuarantee::Quorum).await;
            (started, found)
        });
        hub.cut(lead.id());
        for server in &left {
            server.raft.on_peer_gone(lead.id());
        }
        let asked = env.mono();
        let (_, found) = reading.await.unwrap();
        assert!(
            matches!(found, Err(ReadError::NotLeader { .. })),
            "{found:?}"
        );
        assert!(env.mono().since(asked) < Duration::from_secs(2));
        stop(&hub, &servers).await;
    });
}

/// Applies only while its gate is open.
struct Gated {
    inner: Memory,
    gate: Arc<(Mutex<bool>, Condvar)>,
}

impl Machine for Gated {
    fn apply(&mut self, batch: &[Committed], out: &mut Vec<Outcome>) {
        let (open, changed) = &*self.gate;
        let mut open = open.lock();
        while !*open {
            changed.wait(&mut open);
        }
        drop(open);
        self.inner.apply(batch, out);
    }

    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        self.inner.snapshot()
    }

    fn restore(
        &mut self,
        from: &mut dyn std::io::Read,
        progress: &mut dyn FnMut(u64),
    ) -> std::io::Result<()> {
        self.inner.restore(from, progress)
    }
}

/// A follower may apply, and show, an entry before the leader has. Whoever asks the leader afterwards must see it too.
#[test]
fn the_leader_shows_no_less_than_a_follower_has_shown() {
    let hub = Hub::default();
    let mut nodes = Vec::new();
    for n in 1..=3 {
        // Each has a runtime of its own: one is going to be held up.
        let env = Env::real(RealConfig {
            front_workers: Some(1),
        })
        .unwrap();
        let (seen, gate) = (
            Seen::default(),
            Arc::new((Mutex::new(true), Condvar::new())),
        );
        let machine = Gated {
            inner: Memory(seen.clone()),
            gate: gate.clone(),
        };
        let settings = config(n, None);
        let transport = hub.transport(settings.id);
        let open = Raft::open(&env, settings, Box::new(machine), transport);
        let raft = env.block_on(open).unwrap();
        hub.join(&raft);
        nodes.push((env, raft, seen, gate));
    }
    let env = nodes[0].0.clone();
    env.block_on(async {
        nodes[0].1.bootstrap(members(1..=3)).await.unwrap();
        let (lead_env, lead, seen, gate) = until(&env, "a leader", || {
            nodes
                .iter()
                .find(|(_, raft, _, _)| raft.is_leader_lease_valid())
        })
        .await;
        lead.propose(payload(1)).await.unwrap();
        let set = |open| {
            *gate.0.lock() = open;
            gate.1.notify_all();
        };
        set(false);
        let raft = lead.clone();
        let writing = lead_env.spawn("writer", async move { raft.propose(payload(2)).await });
        let shown = |seen: &Seen| seen.lock().iter().any(|(_, entry)| *entry == payload(2));
        until(&env, "a follower to apply it", || {
            { nodes.iter() }
                .any(|(_, _, seen, _)| shown(seen))
                .then_some(())
        })
        .await;
        assert!(!shown(seen));
        let raft = lead.clone();
        let mut reading = lead_env.spawn("reader", async move {
            raft.read_index(ReadGuarantee::Lease).await
        });
        let early = env.timeout(Duration::from_millis(100), &mut reading).await;
        assert!(early.is_err(), "{early:?}");
        set(true);
        reading.await.unwrap().unwrap();
        assert!(shown(seen));
        writing.await.unwrap().unwrap();
        for (_, raft, _, _) in &nodes {
            raft.shutdown().await;
        }
        hub.forget();
    });
}
