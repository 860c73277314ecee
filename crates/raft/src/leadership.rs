//! Watches the core: who leads, whether this node is ready to, whether the core still runs.
//!
//! A new leader is *ready* once an entry of its own term is applied: only then does its state
//! contain everything acknowledged before. Readiness, not mere election, is what the events and
//! the cheap checks report.
//!
//! The watcher wakes on changes of role, term and membership, not on every commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use openraft::async_runtime::WatchReceiver;
use tokio::sync::mpsc;
use tribune_rt::{CancellationToken, Env};
use tribune_types::id::Term;

use crate::apply::Applier;
use crate::types::{RaftNodeId, TypeConfig};

/// This node became the leader, or ceased to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeadershipChange {
    /// It leads in this term and has applied everything acknowledged before.
    Gained {
        /// The term.
        term: Term,
    },
    /// It leads no more.
    Lost,
}

pub(crate) type Core = openraft::Raft<TypeConfig, Applier>;

/// What the watcher keeps for cheap checks.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Term in which this node leads and is ready, plus one; 0 when it does not.
    ready: AtomicU64,
    /// The only server there is: nobody else can take over.
    alone: AtomicBool,
}

impl Standing {
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) != 0
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }
}

pub(crate) struct Watcher {
    pub(crate) env: Env,
    pub(crate) id: RaftNodeId,
    pub(crate) core: Core,
    pub(crate) standing: Arc<Standing>,
    /// Unbounded: there are few changes, and a slow reader must not hold up readiness.
    pub(crate) events: mpsc::UnboundedSender<LeadershipChange>,
    pub(crate) stop: CancellationToken,
    /// Fired when the core has stopped for whatever reason.
    pub(crate) stopped: CancellationToken,
}

impl Watcher {
    pub(crate) async fn run(self) {
        let mut changes = self.core.server_metrics();
        let mut led: Option<u64> = None;
        loop {
            let (leads, term, alone) = {
                let seen = changes.borrow_and_update();
                let membership = seen.membership_config.membership();
                let alone = membership.nodes().all(|(id, _)| *id == self.id)
                    && membership.voter_ids().any(|id| id == self.id);
                (seen.state.is_leader(), seen.vote.leader_id.term, alone)
            };
            let now = leads.then_some(term);
            if led.is_some() && led != now {
                led = None;
                self.standing.ready.store(0, Ordering::Release);
                self.tell(LeadershipChange::Lost);
            }
            self.standing.alone.store(alone, Ordering::Release);
            // Without peers there is nobody to send heartbeats to or to elect: no timer runs.
            self.core.runtime_config().tick(!(alone && leads));
            if let (None, Some(term)) = (led, now) {
                if self.own_term_applied(term).await {
                    led = Some(term);
                    self.standing.ready.store(term + 1, Ordering::Release);
                    self.tell(LeadershipChange::Gained { term: Term(term) });
                }
                if self.has_moved(&changes, term) {
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
                () = self.core_ended() => break,
            }
        }
        self.standing.ready.store(0, Ordering::Release);
        if led.is_some() {
            self.tell(LeadershipChange::Lost);
        }
        self.stopped.cancel();
    }

    fn tell(&self, change: LeadershipChange) {
        // Nobody listens any more when the node shuts down.
        let _ = self.events.send(change);
    }

    fn has_moved(
        &self,
        changes: &openraft::alias::WatchReceiverOf<
            TypeConfig,
            openraft::metrics::RaftServerMetrics<TypeConfig>,
        >,
        term: u64,
    ) -> bool {
        let seen = changes.borrow_watched();
        !seen.state.is_leader() || seen.vote.leader_id.term != term
    }

    /// Waits until an entry of `term` is applied; false when leadership ends before.
    async fn own_term_applied(&self, term: u64) -> bool {
        let mut progress = self.core.metrics();
        loop {
            {
                let seen = progress.borrow_and_update();
                if seen
                    .last_applied
                    .is_some_and(|id| id.leader_id.term == term)
                {
                    return true;
                }
                if !seen.state.is_leader()
                    || seen.current_term != term
                    || seen.running_state.is_err()
                {
                    return false;
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return false,
                changed = progress.changed() => if changed.is_err() { return false },
            }
        }
    }

    /// Resolves once the core reports an error. Looks now and then, because the metrics that tell
    /// it change with every commit.
    async fn core_ended(&self) {
        let metrics = self.core.metrics();
        loop {
            if metrics.borrow_watched().running_state.is_err() {
                return;
            }
            self.env.sleep(std::time::Duration::from_millis(500)).await;
        }
    }
}
