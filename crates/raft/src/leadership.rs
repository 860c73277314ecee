//! Watches the core: who leads, whether this node is ready to, whether the core still runs.
//!
//! A new leader is *ready* once an entry of its own term is applied: only then does its state
//! contain everything acknowledged before. Readiness, not mere election, is what the events and
//! the cheap checks report.
//!
//! The watcher wakes on changes of role, term and membership, not on every commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use openraft::ChangeMembers;
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::{RaftMetrics, RaftServerMetrics};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tribune_rt::{CancellationToken, Env};
use tribune_types::id::Term;
use tribune_types::time::Mono;

use crate::apply::Applier;
use crate::types::{Member, Membership, RaftNodeId, TypeConfig};

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
    /// Term, plus one, in which leadership was offered to another: its lease counts no more.
    offered: AtomicU64,
    /// Term, plus one, in which this node gave its office away for good: it sends no more heartbeats and takes no proposals.
    resigned: AtomicU64,
    /// The highest commit index that a peer was told.
    told: AtomicU64,
    /// When a leader last spoke to this node, in monotonic ns; 0 for never.
    heard_ns: AtomicU64,
    /// How often.
    voice: AtomicU64,
    /// The peer set does not contain this node any more, says a peer that must know.
    removed: AtomicBool,
    removed_changed: Notify,
    /// This node was in a peer set since it was opened.
    was_member: AtomicBool,
    /// The newest peer set this node knows, committed or not.
    members: Mutex<BTreeMap<RaftNodeId, Member>>,
}

impl Standing {
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) != 0
    }

    /// The term in which this node leads and is ready.
    pub(crate) fn ready_term(&self) -> Option<u64> {
        self.ready.load(Ordering::Acquire).checked_sub(1)
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// Leadership of `term` is about to be offered to another server.
    pub(crate) fn offer(&self, term: u64) {
        self.offered.fetch_max(term + 1, Ordering::SeqCst);
    }

    pub(crate) fn is_offered(&self, term: u64) -> bool {
        self.offered.load(Ordering::SeqCst) > term
    }

    /// The core is handing leadership of `term` over: it does nothing else until somebody was elected.
    pub(crate) fn resign(&self, term: u64) {
        self.resigned.fetch_max(term + 1, Ordering::SeqCst);
    }

    pub(crate) fn has_resigned(&self, term: u64) -> bool {
        self.resigned.load(Ordering::SeqCst) > term
    }

    /// A peer is about to be told that `index` is committed.
    pub(crate) fn tell_committed(&self, index: u64) {
        self.told.fetch_max(index, Ordering::SeqCst);
    }

    /// No peer knows more to be committed.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Ordering::SeqCst)
    }

    /// A leader has spoken.
    pub(crate) fn hear(&self, now: Mono) {
        self.heard_ns.store(now.0.max(1), Ordering::SeqCst);
        self.voice.fetch_add(1, Ordering::SeqCst);
        if self.removed.load(Ordering::Relaxed) {
            self.set_removed(false);
        }
    }

    /// When a leader last spoke; 0 for never.
    pub(crate) fn heard(&self) -> Mono {
        Mono(self.heard_ns.load(Ordering::SeqCst))
    }

    /// Changes whenever a leader speaks.
    pub(crate) fn voice(&self) -> u64 {
        self.voice.load(Ordering::SeqCst)
    }

    pub(crate) fn is_removed(&self) -> bool {
        self.removed.load(Ordering::Relaxed)
    }

    pub(crate) fn set_removed(&self, removed: bool) {
        if self.removed.swap(removed, Ordering::Relaxed) == removed {
            return;
        }
        if removed {
            tracing::warn!("this server was removed from the peer set");
        } else {
            tracing::info!("this server is in the peer set again");
        }
        self.removed_changed.notify_one();
    }

    /// How to reach `id`, by the newest peer set.
    pub(crate) fn member(&self, id: RaftNodeId) -> Option<Member> {
        self.members.lock().get(&id).cloned()
    }

    pub(crate) fn was_member(&self) -> bool {
        self.was_member.load(Ordering::Relaxed)
    }

    fn set_members(&self, own: RaftNodeId, membership: &Membership) {
        if membership.get_node(&own).is_some() {
            self.was_member.store(true, Ordering::Relaxed);
        }
        let nodes = membership.nodes().map(|(id, member)| (*id, member.clone()));
        *self.members.lock() = nodes.collect();
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
            let (leads, term, alone, joint) = {
                let seen = changes.borrow_and_update();
                let membership = seen.membership_config.membership();
                self.standing.set_members(self.id, membership);
                let alone = membership.nodes().all(|(id, _)| *id == self.id)
                    && membership.voter_ids().any(|id| id == self.id);
                let joint = membership.get_joint_config().len() > 1;
                (
                    seen.state.is_leader(),
                    seen.vote.leader_id.term,
                    alone,
                    joint,
                )
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
            // A server that was removed does not ask for votes it cannot get.
            let removed = self.standing.is_removed();
            self.core.runtime_config().elect(!removed);
            if let (None, Some(term)) = (led, now) {
                if self.own_term_applied(term).await {
                    led = Some(term);
                    self.standing.ready.store(term + 1, Ordering::Release);
                    self.tell(LeadershipChange::Gained { term: Term(term) });
                    if joint {
                        self.finish_change();
                    }
                }
                if !leads_in(term, &changes) {
                    continue;
                }
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                changed = changes.changed() => if changed.is_err() { break },
                () = self.standing.removed_changed.notified() => {}
                () = self.core_ended() => break,
            }
        }
        self.standing.ready.store(0, Ordering::Release);
        if led.is_some() {
            self.tell(LeadershipChange::Lost);
        }
        self.stopped.cancel();
    }

    /// Ends a change of several voters that an earlier leader left half way.
    fn finish_change(&self) {
        let core = self.core.clone();
        self.env.spawn("raft-finish-change", async move {
            let nothing = ChangeMembers::AddVoterIds(BTreeSet::new());
            if let Err(err) = core.change_membership(nothing, false).await {
                tracing::info!(%err, "a change of the peer set stays half way");
            }
        });
    }

    fn tell(&self, change: LeadershipChange) {
        // Nobody listens any more when the node shuts down.
        let _ = self.events.send(change);
    }

    /// Waits until an entry of `term` is applied; false when leadership ends before.
    async fn own_term_applied(&self, term: u64) -> bool {
        let roles = self.core.server_metrics();
        tokio::select! {
            biased;
            () = self.stop.cancelled() => false,
            applied = applied_in(term, self.core.metrics(), &roles) => applied,
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

type Roles = openraft::alias::WatchReceiverOf<TypeConfig, RaftServerMetrics<TypeConfig>>;
type Progress = openraft::alias::WatchReceiverOf<TypeConfig, RaftMetrics<TypeConfig>>;

fn leads_in(term: u64, roles: &Roles) -> bool {
    let seen = roles.borrow_watched();
    seen.state.is_leader() && seen.vote.leader_id.term == term
}

/// Waits until an entry of `term` is applied; false when leadership ends before.
///
/// The core tells of a new role in `roles` first and in `progress` a moment later, so that whether it still leads is asked
/// of `roles` alone: `progress` may still be from before it did.
async fn applied_in(term: u64, mut progress: Progress, roles: &Roles) -> bool {
    loop {
        {
            let seen = progress.borrow_and_update();
            let applied = { seen.last_applied.as_ref() }.map(|id| id.leader_id.term);
            if applied == Some(term) {
                return true;
            }
            if seen.running_state.is_err() {
                return false;
            }
        }
        if !leads_in(term, roles) || progress.changed().await.is_err() {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use openraft::ServerState;
    use openraft::async_runtime::watch::WatchSender;
    use openraft::type_config::TypeConfigExt;

    use super::*;
    use crate::codec::log_id_from_spot;
    use crate::types::{LeaderId, Vote};
    use crate::wal::Spot;

    const OWN: RaftNodeId = tribune_types::id::Uuid([7; 16]);

    fn id(term: u64) -> LeaderId {
        LeaderId {
            term,
            voted_for: OWN,
        }
    }

    fn role(term: u64, state: ServerState) -> RaftServerMetrics<TypeConfig> {
        RaftServerMetrics {
            id: OWN,
            vote: Vote {
                leader_id: id(term),
                committed: true,
            },
            state,
            current_leader: None,
            membership_config: Arc::default(),
            committed_membership_config: Arc::default(),
        }
    }

    fn progress(term: u64, state: ServerState, applied: u64) -> RaftMetrics<TypeConfig> {
        let mut progress = RaftMetrics::new_initial(OWN);
        progress.current_term = term;
        progress.state = state;
        progress.last_applied = Some(log_id_from_spot(Spot {
            term: applied,
            index: 9,
        }));
        progress
    }

    /// The core's words in their order: of a role, and then of everything.
    #[test]
    fn a_leader_whose_progress_is_told_later_than_its_role_gets_ready() {
        let (roles_told, roles) = TypeConfig::watch_channel(role(2, ServerState::Leader));
        let before = progress(1, ServerState::Follower, 1);
        let (told, seen) = TypeConfig::watch_channel(before);
        let mut ready = Box::pin(applied_in(2, seen, &roles));
        assert_eq!(ready.as_mut().now_or_never(), None);
        told.send(progress(2, ServerState::Leader, 1)).unwrap();
        assert_eq!(ready.as_mut().now_or_never(), None);
        told.send(progress(2, ServerState::Leader, 2)).unwrap();
        assert_eq!(ready.as_mut().now_or_never(), Some(true));
        drop(roles_told);
    }

    #[test]
    fn a_leader_that_is_none_any_more_does_not_get_ready() {
        for (term, state) in [(2, ServerState::Follower), (3, ServerState::Leader)] {
            let (roles_told, roles) = TypeConfig::watch_channel(role(2, ServerState::Leader));
            let (told, seen) = TypeConfig::watch_channel(progress(2, ServerState::Leader, 1));
            let mut ready = Box::pin(applied_in(2, seen, &roles));
            assert_eq!(ready.as_mut().now_or_never(), None);
            roles_told.send(role(term, state)).unwrap();
            told.send(progress(term, state, 1)).unwrap();
            assert_eq!(ready.as_mut().now_or_never(), Some(false));
        }
    }
}
