//! One story per size: a quiet pool, a newcomer, a failure; and its figures.

use std::time::Duration;

use tribune_serf::MemberChange;

use super::faults::WatchId;
use super::pool::Pool;
use super::traffic::Sent;

/// When the agents learned of something, counted from when it happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    /// The first of them.
    pub first: Option<Duration>,
    /// Half of them.
    pub half: Option<Duration>,
    /// All but one of a hundred.
    pub most: Option<Duration>,
    /// All.
    pub all: Option<Duration>,
}

/// What one agent sends per second, on average. Bytes as in `size`: before compression, without IP headers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PerAgent {
    /// Datagrams.
    pub packets: f64,
    /// Their bytes.
    pub bytes: f64,
    /// Bytes of exchanged states, half of both directions together.
    pub exchange_bytes: f64,
}

/// What the story showed.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Agents at the start.
    pub nodes: usize,
    /// A newcomer, counted from its call to one member.
    pub join: Reach,
    /// A failure, counted from the stop of the agent.
    pub failure: Reach,
    /// From the stop until the first probe of it has failed.
    pub first_suspicion: Option<Duration>,
    /// Reports of failures of agents that ran.
    pub false_failures: usize,
    /// Broken rules.
    pub violations: usize,
    /// Failed probes in the whole story.
    pub suspicions: u64,
    /// Before anything happens.
    pub idle: PerAgent,
    /// In the busiest second after the join.
    pub join_peak: PerAgent,
    /// In the busiest second of the suspicion and the death.
    pub failure_peak: PerAgent,
    /// On average from the failure until the end.
    pub failure_mean: PerAgent,
}

/// Seconds until the newcomer comes.
const JOIN_AT: usize = 10;
/// Seconds until one stops.
const KILL_AT: usize = 20;

/// Tells the story to a quiet pool in so many seconds (at least 21).
pub fn measure(pool: &mut Pool, seconds: usize) -> Figures {
    let nodes = pool.len();
    let seconds = seconds.max(KILL_AT + 1);
    pool.run_for(Duration::from_secs(JOIN_AT as u64));
    let new = pool.add();
    let joined = pool.watch(new, MemberChange::Joined);
    pool.join(new, &[nodes / 2]);
    pool.run_for(Duration::from_secs((KILL_AT - JOIN_AT) as u64));
    let victim = nodes / 3;
    let failed = pool.watch(victim, MemberChange::Failed);
    pool.kill(victim);
    pool.run_for(Duration::from_secs((seconds - KILL_AT) as u64));
    let per_agent = |sent: Sent, seconds: usize| {
        let share = 1.0 / (nodes as f64 * seconds as f64);
        PerAgent {
            packets: sent.packets as f64 * share,
            bytes: sent.bytes as f64 * share,
            exchange_bytes: sent.exchange_bytes as f64 * share,
        }
    };
    let traffic = pool.traffic();
    Figures {
        nodes,
        join: reach(pool, joined, nodes),
        failure: reach(pool, failed, nodes),
        first_suspicion: pool.watched(failed).first_suspicion(),
        false_failures: pool.oracle().false_failures().len(),
        violations: pool.oracle().violations().len(),
        suspicions: pool.counts().suspicions,
        idle: per_agent(traffic.sum(1..JOIN_AT), JOIN_AT - 1),
        join_peak: per_agent(traffic.peak(JOIN_AT..KILL_AT), 1),
        failure_peak: per_agent(traffic.peak(KILL_AT..seconds), 1),
        failure_mean: per_agent(traffic.sum(KILL_AT..seconds), seconds - KILL_AT),
    }
}

/// The newcomer knows itself and the victim is gone: in both cases as many report as there were at the start.
fn reach(pool: &Pool, watch: WatchId, count: usize) -> Reach {
    let watch = pool.watched(watch);
    Reach {
        first: watch.until(1),
        half: watch.until(count / 2),
        most: watch.until(count - count / 100),
        all: watch.until(count),
    }
}
