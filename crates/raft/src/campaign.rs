//! The driver of `succession`: an election at once when the leader's process has ended or says nothing.
//!
//! A voter that learns of it asks the leader itself first (a wrong alarm ends there), waits out
//! the leader's read lease and its turn, asks the other voters for their promise, and stands when a
//! majority gave it. Nothing durable happens before that, so a try that fails costs nothing. After an
//! election began it is watched until somebody leads; should it come to nothing, it is repeated long
//! before the timers would.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tribune_types::time::Mono;

use crate::codec::{Answer, Request, log_id_from_spot};
use crate::raft::Raft;
use crate::succession::{Begun, Claim, Verdict};
use crate::types::{LeaderId, LogId, Member, RaftNodeId};

/// Between the turns of two voters. Longer than an election takes where disks are healthy.
const STAGGER: Duration = Duration::from_millis(150);
/// Before an election that came to nothing is repeated, and promises asked for again.
const RETRY: Duration = Duration::from_millis(150);
/// Jitter on repetitions.
const JITTER: Duration = Duration::from_millis(100);
/// How long the supposedly dead leader has to answer. Where its process has ended that is known at once, so only one that
/// says nothing is waited for: it may merely stutter.
const LAST_CALL: Duration = Duration::from_millis(200);
/// After this long the timers have it.
const CAMPAIGN_LIMIT: Duration = Duration::from_secs(4);

/// The core's state that a campaign goes by.
pub(crate) struct View {
    pub(crate) leader: LeaderId,
    pub(crate) leads: bool,
    pub(crate) last: Option<LogId>,
    pub(crate) configs: Vec<BTreeSet<RaftNodeId>>,
    pub(crate) members: BTreeMap<RaftNodeId, Member>,
}

impl View {
    fn is_quorum(&self, of: &BTreeSet<RaftNodeId>) -> bool {
        let is_majority = |config: &BTreeSet<RaftNodeId>| {
            config.iter().filter(|id| of.contains(id)).count() * 2 > config.len()
        };
        !self.configs.is_empty() && self.configs.iter().all(is_majority)
    }

    fn voters(&self) -> BTreeSet<RaftNodeId> {
        self.configs.iter().flatten().copied().collect()
    }
}

impl Raft {
    /// Evidence that server `id` is no more: its port refuses, gossip says failed, or it says nothing
    /// ([`Raft::leader_silent`]). If this node follows it, the voters that are left elect another at once, in an order that
    /// keeps them from fighting. A wrong alarm costs at most a change of leaders. Returns at once.
    pub fn on_peer_gone(&self, id: RaftNodeId) {
        if id == self.id() {
            return;
        }
        self.0.succession.note_gone(id, self.0.env.mono());
        let this = self.clone();
        self.0.tasks.spawn("raft-succession", async move {
            tokio::select! {
                biased;
                () = this.0.tasks.stop().cancelled() => {}
                () = this.succeed(id) => {}
            }
        });
    }

    /// What the core knows now; `None` when it has stopped.
    pub(crate) async fn view(&self) -> Option<View> {
        let seen = self.0.core.with_raft_state(|state| {
            let membership = state.membership_state.effective().membership().clone();
            let leads = state.server_state == ServerState::Leader;
            (state.vote_ref().leader_id, leads, membership)
        });
        let (leader, leads, membership) = seen.await.ok()?;
        Some(View {
            leader,
            leads,
            last: self.0.log.last().map(log_id_from_spot),
            configs: membership.get_joint_config().clone(),
            members: membership
                .nodes()
                .map(|(id, member)| (*id, member.clone()))
                .collect(),
        })
    }

    async fn succeed(&self, gone: RaftNodeId) {
        let Some(view) = self.view().await else {
            return;
        };
        let leader = view.leader;
        if leader.voted_for != gone || !view.voters().contains(&self.id()) {
            return;
        }
        match self.0.succession.begin(leader) {
            Begun::Not => return,
            Begun::First => {
                tracing::info!(leader = %gone, term = leader.term, "the leader seems to be gone, electing another");
            }
            Begun::Again => {
                tracing::debug!(leader = %gone, term = leader.term, "trying again to elect another leader");
            }
        }
        if self.is_election_begun(view).await {
            self.see_through(leader).await;
        }
        self.0.succession.end(leader);
    }

    /// True once this node stands or another does; false for a wrong alarm or for want of a majority.
    async fn is_election_begun(&self, mut view: View) -> bool {
        let (env, leader) = (&self.0.env, view.leader);
        let voice = self.0.standing.voice();
        let limit = env.mono() + CAMPAIGN_LIMIT;
        let claim = |view: &View| Claim {
            leader,
            candidate: self.id(),
            last: view.last,
        };
        let last_call = self.ask(&view, leader.voted_for, claim(&view), LAST_CALL);
        if last_call.await == Some(Verdict::Leading) {
            self.0.succession.note_here(leader.voted_for);
            tracing::info!(leader = %leader.voted_for, "the leader lives after all");
            return false;
        }
        let mut due = self.silent_until();
        loop {
            let turn = self
                .0
                .succession
                .turn(self.id(), &view.voters(), env.mono());
            due = due.max(env.mono()) + STAGGER * turn;
            env.sleep_until(due).await;
            if self.0.standing.voice() != voice {
                return false; // Either it lives, or another leads already.
            }
            match self.view().await {
                None => return false,
                Some(now) => view = now,
            }
            if view.leader != leader {
                return true;
            }
            if env.mono() >= limit {
                tracing::debug!("no majority to elect another leader");
                return false;
            }
            if self.canvass(&view, claim(&view), voice).await {
                return true;
            }
            due = env.mono() + RETRY + env.jitter(JITTER);
        }
    }

    /// Asks for promises, and stands if a majority gives them.
    async fn canvass(&self, view: &View, claim: Claim, voice: u64) -> bool {
        let (env, own, succession) = (&self.0.env, self.id(), &self.0.succession);
        let now = env.mono();
        let lease = self.0.read_lease;
        if !succession.promise(own, claim, now, now + lease.promise()) {
            return false;
        }
        let mut agreed = BTreeSet::from([own]);
        let asking = async {
            let others = view.voters().into_iter();
            // The lost leader is asked, too: it may have been started again.
            let others = others.filter(|id| *id != own);
            let mut answers: FuturesUnordered<_> = others
                .map(|id| async move {
                    let verdict = self.ask(view, id, claim, lease.canvass_limit()).await;
                    (id, verdict == Some(Verdict::Agreed))
                })
                .collect();
            while !view.is_quorum(&agreed) {
                match answers.next().await {
                    Some((id, true)) => drop(agreed.insert(id)),
                    Some((_, false)) => {}
                    None => break,
                }
            }
        };
        // Whoever is late is not counted.
        let _ = env.timeout(lease.canvass_limit(), asking).await;
        if !view.is_quorum(&agreed) || self.0.standing.voice() != voice {
            succession.release(own);
            return false;
        }
        let _order = succession.order.lock().await;
        let candidate = LeaderId {
            term: claim.leader.term + 1,
            voted_for: own,
        };
        if !succession.covers(&candidate, env.mono()) {
            return false; // The leader spoke, or a better claim came.
        }
        tracing::info!(term = candidate.term, "standing for election");
        self.0.core.trigger().elect(false).await.is_ok()
    }

    pub(crate) async fn ask(
        &self,
        view: &View,
        id: RaftNodeId,
        claim: Claim,
        limit: Duration,
    ) -> Option<Verdict> {
        let member = view.members.get(&id)?;
        let answer = self.call(id, member, &Request::Succeed(claim), limit).await;
        match answer {
            Ok(Answer::Succession(verdict)) => Some(verdict),
            _ => None,
        }
    }

    /// This node's word on a claim. Waits until the leader's lease must have lapsed.
    pub(crate) async fn judge(&self, claim: Claim) -> Verdict {
        let (env, standing, succession) = (&self.0.env, &self.0.standing, &self.0.succession);
        let voice = standing.voice();
        let Some(view) = self.view().await else {
            return Verdict::Refused;
        };
        succession.note_here(claim.candidate);
        // A leader that this node has not heard of yet, because it was started again or cut off meanwhile, is as good as one
        // that it knows: what stands in the way is the voice of any leader, and that is waited for below.
        let is_known = view.leader == claim.leader;
        if !is_known && (view.leads || view.leader.term >= claim.leader.term) {
            return Verdict::Refused;
        }
        if view.leads {
            // Whoever is offered the office asks, too.
            let offered = self.0.gate.has_offer(claim.candidate, env.mono());
            return if offered || standing.has_resigned(view.leader.term) {
                Verdict::Agreed
            } else {
                Verdict::Leading
            };
        }
        if claim.candidate == self.id() {
            return Verdict::Refused;
        }
        if claim.last < view.last {
            // It must not lead, but what it knows is of use to whoever may.
            self.on_peer_gone(claim.leader.voted_for);
            return Verdict::Refused;
        }
        let lease = self.0.read_lease;
        env.sleep_until(self.silent_until()).await;
        let now = env.mono();
        if standing.voice() != voice
            || !succession.promise(self.id(), claim, now, now + lease.promise())
        {
            return Verdict::Refused;
        }
        if standing.voice() != voice {
            succession.release(claim.candidate);
            return Verdict::Refused;
        }
        Verdict::Agreed
    }

    /// When the lease of the leader heard last must have lapsed. An earlier run of this server may have heard one, too.
    pub(crate) fn silent_until(&self) -> Mono {
        self.0.standing.heard().max(self.0.opened) + self.0.read_lease.silence
    }

    /// Watches an election until somebody leads; repeats it when it came to nothing.
    pub(crate) async fn see_through(&self, old: LeaderId) {
        let env = &self.0.env;
        let limit = env.mono() + CAMPAIGN_LIMIT;
        let mut changes = self.0.core.server_metrics();
        while env.mono() < limit {
            let Some(view) = self.view().await else {
                return;
            };
            let turn = self
                .0
                .succession
                .turn(self.id(), &view.voters(), env.mono());
            let wait = RETRY * 2 + STAGGER * turn + env.jitter(JITTER);
            let led = async {
                loop {
                    {
                        let seen = changes.borrow_and_update();
                        if seen.current_leader.is_some() && seen.vote.leader_id.term > old.term {
                            return;
                        }
                    }
                    if changes.changed().await.is_err() {
                        return;
                    }
                }
            };
            if env.timeout(wait, led).await.is_ok() {
                return;
            }
            tracing::info!("the election came to nothing, trying again");
            if self.0.core.trigger().elect(true).await.is_err() {
                return;
            }
        }
    }
}
