//! Leadership that is handed over loses no proposal, and a hand-over that does not come about leaves the leader in office.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::{Hub, Server, cluster, id, leader, payload, stop, until};
use tribune_raft::{ProposeError, Raft, ReadGuarantee, Timing, TransferError};
use tribune_rt::{Env, sim_block_on};

fn others(servers: &[Server], leader: &Raft) -> Vec<Raft> {
    let others = servers.iter().map(|server| server.raft.clone());
    others.filter(|raft| raft.id() != leader.id()).collect()
}

/// Proposes to `lead` until it stops or leads no more; what became of it all.
#[derive(Default)]
struct Proposed {
    done: AtomicUsize,
    refused: AtomicUsize,
    unknown: AtomicUsize,
    enough: AtomicBool,
}

async fn propose(env: Env, lead: Raft, told: Arc<Proposed>) {
    while !told.enough.load(Ordering::Relaxed) {
        match lead.propose(payload(1)).await {
            Ok(_) => drop(told.done.fetch_add(1, Ordering::Relaxed)),
            Err(ProposeError::NotLeader { .. }) => {
                told.refused.fetch_add(1, Ordering::Relaxed);
                return;
            }
            Err(_) => drop(told.unknown.fetch_add(1, Ordering::Relaxed)),
        }
        env.sleep(env.jitter(Duration::from_millis(4))).await;
    }
}

#[test]
fn no_fate_of_a_proposal_is_unknown_while_leadership_changes_hands() {
    for seed in 0..20 {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            hub.slow_down(&env, Duration::from_millis(4));
            let count = if seed % 2 == 0 { 3 } else { 5 };
            let servers = cluster(&env, &hub, count, Timing::default()).await;
            let lead = leader(&env, &servers).await.raft.clone();
            let term = lead.metrics().term.0;
            let told = Arc::new(Proposed::default());
            let mut tasks = Vec::new();
            for _ in 0..8 {
                let proposing = propose(env.clone(), lead.clone(), told.clone());
                tasks.push(env.spawn("proposer", proposing));
            }
            env.sleep(env.jitter(Duration::from_millis(300))).await;
            let at = env.mono();
            let to = lead.transfer_leader(None).await.unwrap();
            let took = env.mono().since(at);
            assert!(took < Duration::from_millis(300), "seed {seed}: {took:?}");
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(told.unknown.load(Ordering::Relaxed), 0, "seed {seed}");
            assert_eq!(told.refused.load(Ordering::Relaxed), 8, "seed {seed}");
            let new = servers.iter().find(|one| one.raft.id() == to).unwrap();
            until(&env, "readiness", || {
                new.raft.is_leader_lease_valid().then_some(())
            })
            .await;
            new.raft.propose(payload(2)).await.unwrap();
            assert_eq!(new.raft.metrics().term.0, term + 1, "seed {seed}");
            stop(&hub, &servers).await;
        });
    }
}

#[test]
fn an_heir_that_cannot_be_reached_leaves_the_leader_in_office() {
    sim_block_on(1, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        let term = lead.metrics().term;
        let dead = others(&servers, &lead)[0].id();
        hub.cut(dead);
        let at = env.mono();
        let told = lead.transfer_leader(Some(dead)).await;
        assert_eq!(told, Err(TransferError::Timeout));
        lead.propose(payload(1)).await.unwrap();
        let took = env.mono().since(at);
        assert!(took < Duration::from_millis(100), "{took:?}");
        // Any other heir would do, and the next one is asked.
        let to = lead.transfer_leader(None).await.unwrap();
        assert_ne!(to, dead);
        hub.heal();
        env.sleep(Duration::from_secs(1)).await;
        assert_eq!(lead.metrics().term.0, term.0 + 1);
        stop(&hub, &servers).await;
    });
}

#[test]
fn an_heir_that_says_nothing_is_given_up_after_a_second_and_proposals_go_on() {
    for seed in 0..10 {
        sim_block_on(seed, async |env| {
            let hub = Hub::default();
            hub.slow_down(&env, Duration::from_millis(3));
            let servers = cluster(&env, &hub, 3, Timing::default()).await;
            let lead = leader(&env, &servers).await.raft.clone();
            let term = lead.metrics().term;
            let heirs = others(&servers, &lead);
            // It hears the offer and is not heard.
            for server in &servers {
                hub.kill_link(heirs[0].id(), server.raft.id());
            }
            let told = Arc::new(Proposed::default());
            let proposing = propose(env.clone(), lead.clone(), told.clone());
            let task = env.spawn("proposer", proposing);
            env.sleep(Duration::from_millis(50)).await;
            let at = env.mono();
            let given = lead.transfer_leader(Some(heirs[0].id())).await;
            let took = env.mono().since(at);
            assert_eq!(given, Err(TransferError::Timeout), "seed {seed}");
            assert!(took <= Duration::from_millis(1010), "seed {seed}: {took:?}");
            let before = told.done.load(Ordering::Relaxed);
            env.sleep(Duration::from_millis(200)).await;
            assert!(told.done.load(Ordering::Relaxed) > before, "seed {seed}");
            assert!(lead.is_leader_lease_valid());
            assert_eq!(lead.metrics().term, term);
            // Reads are right, too: who was offered the office may take it late.
            assert!(!lead.is_current(), "read by a lease that was given up");
            lead.read_index(ReadGuarantee::Lease).await.unwrap();
            told.enough.store(true, Ordering::Relaxed);
            task.await.unwrap();
            assert_eq!(told.unknown.load(Ordering::Relaxed), 0, "seed {seed}");
            assert_eq!(told.refused.load(Ordering::Relaxed), 0, "seed {seed}");
            // It did not stand without asking first: nothing has to be mended.
            hub.heal();
            env.sleep(Duration::from_secs(2)).await;
            for server in &servers {
                assert_eq!(server.raft.metrics().term, term, "seed {seed}");
            }
            lead.propose(payload(2)).await.unwrap();
            stop(&hub, &servers).await;
        });
    }
}

#[test]
fn without_a_quorum_nothing_is_handed_over() {
    sim_block_on(3, async |env| {
        let hub = Hub::default();
        let servers = cluster(&env, &hub, 3, Timing::default()).await;
        let lead = leader(&env, &servers).await.raft.clone();
        for other in others(&servers, &lead) {
            hub.cut(other.id());
        }
        let (stuck, proposing) = (lead.clone(), env.clone());
        let stuck = env.spawn("proposer", async move {
            proposing
                .timeout(Duration::from_secs(3), stuck.propose(payload(1)))
                .await
        });
        env.sleep(Duration::from_millis(10)).await;
        let at = env.mono();
        let told = lead.transfer_leader(None).await;
        assert_eq!(told, Err(TransferError::Timeout));
        assert!(env.mono().since(at) < Duration::from_millis(1010));
        hub.heal();
        drop(stuck.await);
        lead.propose(payload(2)).await.unwrap();
        assert_eq!(
            lead.transfer_leader(Some(id(9))).await,
            Err(TransferError::NoTarget)
        );
        stop(&hub, &servers).await;
    });
}
