//! The checkers of the gossip simulation notice old bugs that are put back on purpose. Each story runs twice: the sane
//! world passes, the one with the bug is caught.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_serf::MemberChange;
use tribune_sim::gossip::{Bug, Cut, Link, Pool, PoolOptions, name_of};
use tribune_swim::{Admit, AdmitAll, Peer, Refusal, RemoteNode, Timing};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn pool_with(bug: Bug, nodes: usize) -> Pool {
    let mut pool = Pool::converged(PoolOptions {
        bug,
        ..PoolOptions::new(nodes, 3)
    });
    pool.run_for(secs(2));
    pool
}

fn paused(bug: Bug) -> Result<(), String> {
    let mut pool = pool_with(bug, 40);
    // Shorter than the others remember the dead: whom nobody knows needs no refute.
    pool.pause(9);
    pool.run_for(secs(20));
    pool.resume(9);
    pool.run_until(secs(15), |pool| pool.agrees());
    pool.check_agreement()
}

#[test]
fn lost_refutes_are_noticed() {
    paused(Bug::None).expect("the sane world");
    let wrong = paused(Bug::LostRefutes).expect_err("nobody can come back");
    assert!(wrong.contains("subject: 9"), "{wrong}");
}

fn deaf(bug: Bug) -> Result<(), String> {
    let mut pool = pool_with(bug, 40);
    pool.cut(Cut::deaf(9));
    pool.run_for(secs(60));
    pool.check()
}

#[test]
fn deaths_without_suspicion_are_noticed() {
    deaf(Bug::None).expect("the sane world");
    let wrong = deaf(Bug::SuspicionIsDeath).expect_err("the deaf one takes others down");
    assert!(wrong.contains("which runs"), "{wrong}");
}

fn restarted(bug: Bug) -> Result<(), String> {
    let mut pool = pool_with(bug, 40);
    let failed = pool.watch(9, MemberChange::Failed);
    pool.kill(9);
    pool.run_until(secs(60), |pool| pool.watched(failed).count() == 39);
    pool.restart(9);
    pool.run_until(secs(20), |pool| pool.agrees());
    pool.check_agreement()
}

#[test]
fn an_agent_that_does_not_hear_accusations_is_noticed() {
    restarted(Bug::None).expect("the sane world");
    let wrong = restarted(Bug::DeafToAccusations).expect_err("it stays failed");
    assert!(wrong.contains("subject: 9"), "{wrong}");
}

/// Refuses one newcomer.
struct Grudge;

impl Admit for Grudge {
    fn address(&self, _: IpAddr) -> bool {
        true
    }
    fn alive(&self, peer: &Peer) -> Result<(), Refusal> {
        if peer.name == name_of(20) {
            return Err(Refusal("a grudge".to_owned()));
        }
        Ok(())
    }
    fn join(&self, _: &[RemoteNode]) -> Result<(), Refusal> {
        Ok(())
    }
}

fn joined(admit: fn(usize) -> Arc<dyn Admit>) -> Result<(), String> {
    let mut pool = Pool::converged(PoolOptions {
        admit,
        ..PoolOptions::new(20, 3)
    });
    let new = pool.add();
    pool.join(new, &[0]);
    pool.run_until(secs(60), |pool| pool.agrees());
    pool.check_agreement()
}

#[test]
fn an_agent_that_refuses_a_member_is_noticed() {
    joined(|_| Arc::new(AdmitAll)).expect("the sane world");
    let wrong = joined(|index| {
        if index == 13 {
            Arc::new(Grudge)
        } else {
            Arc::new(AdmitAll)
        }
    })
    .expect_err("one does not know the newcomer");
    assert!(wrong.contains("observer: 13"), "{wrong}");
}

fn lossy(hasty: bool) -> Result<(), String> {
    let mut options = PoolOptions {
        link: Link::lan().with_loss(0.1),
        ..PoolOptions::new(40, 3)
    };
    if hasty {
        // No help of others, and hardly time to refute.
        options.stream_fallback = false;
        options.timing = Timing {
            indirect_checks: 0,
            suspicion_mult: 1,
            suspicion_timeout_max_mult: 1,
            gossip_interval: Duration::from_secs(2),
            ..Timing::lan()
        };
    }
    let mut pool = Pool::converged(options);
    pool.run_for(secs(120));
    pool.check()
}

#[test]
fn hasty_failure_detection_is_noticed() {
    lossy(false).expect("the sane world");
    let wrong = lossy(true).expect_err("living agents fail");
    assert!(wrong.contains("which runs"), "{wrong}");
}
