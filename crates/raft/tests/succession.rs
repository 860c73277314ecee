//! A leader whose process ends has a successor at once, at default timing; a wrong alarm costs nothing but a change.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use common::{Hub, Server, cluster, leader, payload, real, seeds, stop, until};
use tribune_raft::{ProposeError, Raft, ReadGuarantee, Timing};
use tribune_rt::{Env, sim_block_on};

/// All but the leader.
fn others(servers: &[Server], leader: &Raft) -> Vec<Raft> {
    let others = servers.iter().map(|server| server.raft.clone());
    others.filter(|raft| raft.id() != leader.id()).collect()
}

async fn successor(env: &Env, left: &[Raft]) -> Raft {
    loop {
        let found = { left.iter() }.find(|raft| raft.is_leader_lease_valid());
        if let Some(raft) = found {
            return raft.clone();
        }
        env.sleep(Duration::from_millis(1)).await;
    }
}

/// Ends the leader, tells the others, and returns how long they had none and how many terms that took.
async fn replace(env: &Env, hub: &Hub, servers: &[Server], told: usize) -> (Duration, u64) {
    let old = leader(env, servers).await.raft.clone();
    old.propose(payload(1)).await.unwrap();
    let left = others(servers, &old);
    let term = old.metrics().term.0;
    hub.cut(old.id());
    let at = env.mono();
    for raft in left.iter().rev().take(told) {
        env.sleep(env.jitter(Duration::from_millis(20))).await;
        raft.on_peer_gone(old.id());
        raft.on_peer_gone(old.id());
    }
    let new = successor(env, &left).await;
    let took = env.mono().since(at);
    new.propose(payload(2)).await.unwrap();
    (took, new.metrics().term.0 - term)
}

#[test]
fn survivors_have_a_leader_in_half_a_second_and_never_split() {
    for seed in 0..seeds(60) {
        for count in [3, 5] {
            let (took, terms) = sim_block_on(seed, async |env| {
                let hub = Hub::default();
                hub.slow_down(&env, Duration::from_millis(3));
                let servers = cluster(&env, &hub, count, Timing::default()).await;
                env.sleep(env.jitter(Duration::from_millis(700))).await;
                let told = usize::from(count) - 1;
                let result = replace(&env, &hub, &servers, told).await;
                stop(&hub, &servers).await;
                result
            });
            let what = format!("seed {seed}, {count} servers");
            assert!(took < Duration::from_millis(500), "{what}: {took:?}");
            assert_eq!(terms, 1, "{what}: votes were split");
        }
    }
}

#[test]
fn one_survivor_that_knows_is_enough() {
    for seed in 0..seeds(20) {
        for count in [3, 5] {
            let (took, terms) = sim_block_on(seed, async |env| {
                let hub = Hub::default();
                hub.slow_down(&env, Duration::from_millis(3));
                let servers = cluster(&env, &hub, count, Timing::default()).await;
                let result = replace(&env, &hub, &servers, 1).await;
                stop(&hub, &servers).await;
                result
            });
            // It waits for the turns of those that know nothing.
            assert!(took < Duration::from_millis(1000), "seed {seed}: {took:?}");
            assert_eq!(terms, 1, "seed {seed}");
        }
    }
}

#[test]
fn survivors_have_a_leader_in_half_a_second_by_the_clock_on_the_wall() {
    for count in [3, 5] {
        real(async |env| {
            let hub = Hub::default();
            // Elections at the start take their time; the periods that matter here are the default ones.
            let servers = cluster(&env, &hub, count, Timing::scaled(2)).await;
            let told = usize::from(count) - 1;
            let (took, terms) = replace(&env, &hub, &servers, told).await;
            println!("{count} servers: {took:?}, {terms} terms");
            assert!(took < Duration::from_millis(500), "{took:?}");
            assert_eq!(terms, 1);
            stop(&hub, &servers).await;
        });
    }
}

#[test]
fn a_survivor_without_a_majority_waits_and_the_cluster_heals() {
    sim_block_on(3, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let old = leader(&env, &servers).await.raft.clone();
        let left = others(&servers, &old);
        let term = old.metrics().term;
        hub.cut(old.id());
        hub.cut(left[0].id());
        left[1].on_peer_gone(old.id());
        env.sleep(Duration::from_secs(4)).await;
        assert!(!left[1].is_leader_lease_valid());
        assert_eq!(left[1].metrics().term, term, "nothing durable happened");
        hub.heal();
        let again = leader(&env, &servers).await;
        again.raft.propose(payload(1)).await.unwrap();
        stop(&hub, &servers).await;
    });
}

#[test]
fn a_voter_that_never_heard_of_the_lost_leader_helps_to_replace_it() {
    for seed in 0..seeds(20) {
        let took = sim_block_on(seed, async |env| {
            let hub = Hub::default();
            hub.slow_down(&env, Duration::from_millis(3));
            let servers = cluster(&env, &hub, 5, Timing::default()).await;
            let first = leader(&env, &servers).await.raft.clone();
            let mut left = others(&servers, &first);
            // It follows the first leader still, as one would that was started again meanwhile.
            let late = left.pop().unwrap();
            hub.cut(first.id());
            for raft in &left {
                hub.kill_link(raft.id(), late.id());
                raft.on_peer_gone(first.id());
            }
            let second = successor(&env, &left).await;
            second.propose(payload(1)).await.unwrap();
            assert!(late.metrics().term < second.metrics().term);

            left.retain(|raft| raft.id() != second.id());
            hub.heal();
            hub.cut(first.id());
            hub.cut(second.id());
            let at = env.mono();
            for raft in &left {
                raft.on_peer_gone(second.id());
            }
            let third = successor(&env, &left).await;
            let took = env.mono().since(at);
            third.propose(payload(2)).await.unwrap();
            assert_eq!(third.metrics().term.0, second.metrics().term.0 + 1);
            stop(&hub, &servers).await;
            took
        });
        assert!(took < Duration::from_millis(700), "seed {seed}: {took:?}");
    }
}

#[test]
fn a_leader_that_was_started_again_helps_to_replace_itself() {
    let temp = tempfile::tempdir().unwrap();
    real(async |env| {
        let hub = Hub::default();
        let settings = |n| {
            let mut settings = common::config(n, Some(temp.path()));
            settings.timing = Timing::default();
            settings
        };
        let mut servers = Vec::new();
        for n in 1..=3 {
            servers.push(common::start(&env, &hub, settings(n)).await);
        }
        let all = common::members(1..=3);
        servers[0].raft.bootstrap(all).await.unwrap();
        let old = leader(&env, &servers).await.raft.clone();
        old.propose(payload(1)).await.unwrap();
        let left = others(&servers, &old);
        // The majority is the old leader and one other.
        hub.cut(left[0].id());
        old.shutdown().await;
        let at = env.mono();
        let n = (1..=3).find(|n| common::id(*n) == old.id()).unwrap();
        let again = common::start(&env, &hub, settings(n)).await;
        left[1].on_peer_gone(old.id());
        let new = successor(&env, &left[1..]).await;
        let took = env.mono().since(at);
        new.propose(payload(2)).await.unwrap();
        assert!(took < Duration::from_millis(1500), "{took:?}");
        again.raft.shutdown().await;
        stop(&hub, &servers).await;
    });
}

#[test]
fn a_leader_that_lives_and_answers_is_not_replaced() {
    sim_block_on(5, async |env| {
        let hub = Hub::default();
        hub.slow_down(&env, Duration::from_millis(3));
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let old = leader(&env, &servers).await.raft.clone();
        let term = old.metrics().term;
        for _ in 0..20 {
            for server in &servers {
                server.raft.on_peer_gone(old.id());
            }
            env.sleep(env.jitter(Duration::from_millis(900))).await;
        }
        assert!(old.is_leader_lease_valid());
        assert_eq!(old.metrics().term, term);
        stop(&hub, &servers).await;
    });
}

#[test]
fn a_leader_that_others_hear_is_not_replaced_by_one_that_lost_it() {
    sim_block_on(6, async |env| {
        let hub = Hub::default();
        hub.slow_down(&env, Duration::from_millis(3));
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        let term = lead.metrics().term;
        let lost = others(&servers, &lead)[0].clone();
        hub.kill_link(lead.id(), lost.id());
        hub.kill_link(lost.id(), lead.id());
        env.sleep(Duration::from_millis(300)).await;
        for _ in 0..150 {
            lost.on_peer_gone(lead.id());
            // The log stays as it is: it does not speak against the one that lost its leader.
            lead.read_index(ReadGuarantee::Quorum).await.unwrap();
            env.sleep(Duration::from_millis(20)).await;
        }
        assert_eq!(lead.metrics().term, term);
        assert_eq!(lost.metrics().term, term, "it did not even stand");
        assert!(lead.is_leader_lease_valid());
        stop(&hub, &servers).await;
    });
}

/// What clients of a register that only grows were told.
#[derive(Clone, Default)]
struct Register {
    /// The highest value that was acknowledged or read.
    floor: Arc<AtomicU64>,
    acknowledged: Arc<parking_lot::Mutex<Vec<u64>>>,
    reads: Arc<AtomicU64>,
    done: Arc<AtomicBool>,
}

fn highest(server: &Server) -> u64 {
    server.seen.lock().last().map_or(0, |(_, payload)| {
        let text = std::str::from_utf8(payload).unwrap();
        text.strip_prefix("entry ").unwrap().parse().unwrap()
    })
}

async fn write(env: Env, servers: Arc<Vec<Server>>, register: Register) {
    let mut value = 0;
    while !register.done.load(Ordering::Relaxed) {
        value += 1;
        let mut at = env.random_below(servers.len() as u64) as usize;
        loop {
            match servers[at].raft.propose(payload(value)).await {
                Ok(_) => {
                    register.floor.fetch_max(value, Ordering::SeqCst);
                    register.acknowledged.lock().push(value);
                    break;
                }
                Err(ProposeError::Unknown { .. }) => break,
                Err(_) => at = (at + 1) % servers.len(),
            }
            env.sleep(Duration::from_millis(2)).await;
            if register.done.load(Ordering::Relaxed) {
                return;
            }
        }
        env.sleep(env.jitter(Duration::from_millis(30))).await;
    }
}

async fn read(env: Env, servers: Arc<Vec<Server>>, at: usize, register: Register) {
    let server = &servers[at];
    while !register.done.load(Ordering::Relaxed) {
        let guarantee = if env.random_below(4) == 0 {
            ReadGuarantee::Quorum
        } else {
            ReadGuarantee::Lease
        };
        let floor = register.floor.load(Ordering::SeqCst);
        if server.raft.read_index(guarantee).await.is_ok() {
            let value = highest(server);
            assert!(
                value >= floor,
                "{guarantee:?} read of server {} saw {value} after {floor} at {:?}",
                at + 1,
                env.mono(),
            );
            register.floor.fetch_max(value, Ordering::SeqCst);
            register.reads.fetch_add(1, Ordering::Relaxed);
        }
        env.sleep(env.jitter(Duration::from_millis(25))).await;
    }
}

/// Partitions and alarms, right and wrong, at random.
async fn trouble(env: &Env, hub: &Hub, servers: &[Server]) {
    let until = env.mono() + Duration::from_secs(40);
    let pick = || &servers[env.random_below(servers.len() as u64) as usize];
    while env.mono() < until {
        let leading = servers.iter().find(|server| server.raft.leader().is_some());
        let leader = leading.and_then(|server| server.raft.leader());
        match env.random_below(8) {
            0 | 1 => {
                if let Some(leader) = &leader {
                    hub.cut(leader.id);
                    for server in servers {
                        if env.random_below(4) > 0 {
                            server.raft.on_peer_gone(leader.id);
                        }
                    }
                }
            }
            2 => hub.cut(pick().raft.id()),
            3 => hub.kill_link(pick().raft.id(), pick().raft.id()),
            4 | 5 => {
                if let Some(leader) = &leader {
                    pick().raft.on_peer_gone(leader.id);
                }
            }
            6 => drop(pick().raft.transfer_leader(None).await),
            _ => hub.heal(),
        }
        env.sleep(env.jitter(Duration::from_millis(1500))).await;
        if env.random_below(3) == 0 {
            hub.heal();
        }
    }
    hub.heal();
}

#[test]
fn no_read_is_stale_and_no_acknowledged_write_lost_whatever_is_cut_and_alarmed() {
    for seed in 0..seeds(8) {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            hub.slow_down(&env, Duration::from_millis(4));
            let count = if seed % 2 == 0 { 3 } else { 5 };
            let servers = Arc::new(cluster(&env, &hub, count, Timing::default()).await);
            let register = Register::default();
            let mut tasks = Vec::new();
            for at in 0..servers.len() {
                let (env2, servers, register) = (env.clone(), servers.clone(), register.clone());
                tasks.push(env.spawn("reader", read(env2, servers, at, register)));
            }
            let (env2, all, told) = (env.clone(), servers.clone(), register.clone());
            tasks.push(env.spawn("writer", write(env2, all, told)));
            trouble(&env, &hub, &servers).await;
            let healed = env.mono();
            let settled = register.acknowledged.lock().len() + 20;
            until(&env, &format!("writes again, seed {seed}"), || {
                (register.acknowledged.lock().len() > settled).then_some(())
            })
            .await;
            let took = env.mono().since(healed);
            assert!(took < Duration::from_secs(20), "seed {seed}: {took:?}");
            register.done.store(true, Ordering::Relaxed);
            for task in tasks {
                task.await.unwrap();
            }
            let acknowledged = register.acknowledged.lock().clone();
            let all_have = || {
                let newest = servers.iter().map(|server| server.seen.lock().len()).max();
                let same = |server: &Server| Some(server.seen.lock().len()) == newest;
                servers.iter().all(same).then_some(())
            };
            until(&env, "the same log", all_have).await;
            for server in servers.iter() {
                let seen: Vec<_> = server.seen.lock().iter().map(|(_, p)| p.clone()).collect();
                for value in &acknowledged {
                    assert!(seen.contains(&payload(*value)), "seed {seed}: lost {value}");
                }
            }
            assert!(register.reads.load(Ordering::Relaxed) > 1000, "seed {seed}");
            stop(&hub, &servers).await;
        });
    }
}
