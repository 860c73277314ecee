//! Handing leadership over to another server.
//!
//! Proposals are held while it lasts: those under way are answered first, new ones wait at the [`Gate`]. Then the heir is
//! offered the office. It makes sure that its log is on disk, asks whether the offer still stands, and stands for election. When
//! it leads, what waited goes there; when that does not come about within the time for it, this node leads on and takes what
//! waited itself. An heir that comes upon the offer later, because it stood still, thus does not disturb.
//!
//! The library has a hand-over of its own, which is used only when the leader has removed itself: it ends writes and heartbeats
//! for the rest of the term, so that an heir that does not come leaves everybody waiting for an election. Here the leader's
//! core is told nothing. The heir's election is the same: its votes are granted although the leader's lease runs, and so this
//! node reads by its lease no more in this term, whatever came of the offer (`Standing::offer`).

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use parking_lot::Mutex;
use tokio::sync::{MutexGuard, Notify};
use tribune_types::time::Mono;

use crate::codec::{Answer, Request};
use crate::error::TransferError;
use crate::raft::Raft;
use crate::succession::{Claim, Verdict};
use crate::transport::TransportError;
use crate::types::{RaftNodeId, TypeConfig, Vote};

/// How long a hand-over may take, unless elections take less.
const HANDOVER_LIMIT: Duration = Duration::from_secs(1);
/// The part of that which is left for the election once the heir has been told that the offer stands.
const ELECTION_SHARE: u32 = 4;
/// How long the heir's log may take to be on its disk.
const FLUSH_LIMIT: Duration = Duration::from_millis(500);
/// How long the leader has to say that its offer stands.
const ASK_LIMIT: Duration = Duration::from_millis(250);

/// Where proposals pass, or wait while leadership is handed over. Open, it costs two counts per proposal.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    /// Proposals that have passed and have no answer yet.
    inside: AtomicUsize,
    opened: Notify,
    emptied: Notify,
    /// Who is offered the office, and until when it may begin to stand.
    offer: Mutex<Option<(RaftNodeId, Mono)>>,
    /// One hand-over at a time.
    turn: tokio::sync::Mutex<()>,
}

/// A proposal that has passed the gate, until it is answered.
pub(crate) struct Passing<'a>(&'a Gate);

/// The gate is closed while this lives.
pub(crate) struct Closed<'a> {
    gate: &'a Gate,
    _turn: MutexGuard<'a, ()>,
}

impl Gate {
    /// Passes the gate once it is open. Cancel safe.
    pub(crate) async fn enter(&self) -> Passing<'_> {
        loop {
            if !self.is_closed() {
                // Counted before the second look: whoever closes the gate counts after that.
                self.inside.fetch_add(1, Ordering::SeqCst);
                let passing = Passing(self);
                if !self.is_closed() {
                    return passing;
                }
            }
            let mut opened = pin!(self.opened.notified());
            opened.as_mut().enable();
            if self.is_closed() {
                opened.await;
            }
        }
    }

    /// Closes the gate; waits for its turn if somebody else has. Cancel safe.
    pub(crate) async fn close(&self) -> Closed<'_> {
        let turn = self.turn.lock().await;
        self.closed.store(true, Ordering::SeqCst);
        Closed {
            gate: self,
            _turn: turn,
        }
    }

    /// True if `heir` is offered the office and may stand.
    pub(crate) fn has_offer(&self, heir: RaftNodeId, now: Mono) -> bool {
        { *self.offer.lock() }.is_some_and(|(to, until)| to == heir && now < until)
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }
}

impl Drop for Passing<'_> {
    fn drop(&mut self) {
        let last = self.0.inside.fetch_sub(1, Ordering::SeqCst) == 1;
        if last && self.0.is_closed() {
            self.0.emptied.notify_waiters();
        }
    }
}

impl Closed<'_> {
    /// `heir` may begin to stand until then.
    fn offer(&self, heir: RaftNodeId, until: Mono) {
        *self.gate.offer.lock() = Some((heir, until));
    }

    /// Returns once all proposals that have passed are answered. Cancel safe.
    pub(crate) async fn emptied(&self) {
        loop {
            let mut emptied = pin!(self.gate.emptied.notified());
            emptied.as_mut().enable();
            if self.gate.inside.load(Ordering::SeqCst) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        *self.gate.offer.lock() = None;
        self.gate.closed.store(false, Ordering::SeqCst);
        self.gate.opened.notify_waiters();
    }
}

impl Raft {
    /// Hands leadership to `to`, or to the voter that is furthest (and to the next if that one cannot be reached). Returns
    /// when the other leads. Proposals wait meanwhile. Takes as long as an election at most, and never more than a second.
    /// Cancel safe: an heir that has begun to stand may still come to lead.
    ///
    /// # Errors
    /// [`TransferError`]; after `Timeout` this node leads on, and goes on taking proposals, unless an heir that began to stand
    /// in time is elected late.
    pub async fn transfer_leader(
        &self,
        to: Option<RaftNodeId>,
    ) -> Result<RaftNodeId, TransferError> {
        let env = &self.0.env;
        let closed = self.0.gate.close().await;
        if !self.leads() {
            return Err(TransferError::NotLeader);
        }
        let mut heirs = self.heirs();
        heirs.retain(|heir| to.is_none_or(|to| to == *heir));
        if heirs.is_empty() {
            return Err(TransferError::NoTarget);
        }
        let limit = HANDOVER_LIMIT.min(self.0.lease);
        let deadline = env.mono() + limit;
        // What has no answer by then has no quorum, and then nobody can be elected either.
        let answered = env.timeout(limit / 2, closed.emptied()).await;
        answered.map_err(|_| TransferError::Timeout)?;
        self.offer(&closed, heirs, deadline).await
    }

    /// The other voters, those first that answered lately, by the length of their log.
    fn heirs(&self) -> Vec<RaftNodeId> {
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        let order = |id: &RaftNodeId| {
            let matched = seen.replication.as_ref().and_then(|by| *by.get(id)?);
            let heard = seen.heartbeat.as_ref().and_then(|by| by.get(id)?.as_ref());
            let lately = heard.is_some_and(|at| at.age_on(&self.0.env) < self.0.silence);
            std::cmp::Reverse((lately, matched))
        };
        let voters = seen.membership_config.membership().voter_ids();
        let mut heirs: Vec<_> = voters.filter(|id| *id != self.id()).collect();
        heirs.sort_by_key(order);
        heirs
    }

    /// Offers leadership to one after the other, until one may have taken the offer.
    async fn offer(
        &self,
        closed: &Closed<'_>,
        heirs: Vec<RaftNodeId>,
        deadline: Mono,
    ) -> Result<RaftNodeId, TransferError> {
        let env = &self.0.env;
        let view = self.view().await.ok_or_else(|| self.has_stopped())?;
        if !view.leads {
            return Err(TransferError::NotLeader);
        }
        // Whoever hears this may be elected at any time.
        self.0.standing.offer(view.leader.term);
        let mut taken = pin!(self.taken_over());
        for heir in heirs {
            let Some(member) = view.members.get(&heir) else {
                continue;
            };
            let vote = Vote {
                leader_id: view.leader,
                committed: true,
            };
            let offer = Request::Transfer(TransferLeaderRequest::new(vote, heir, view.last));
            let left = deadline.since(env.mono());
            closed.offer(heir, env.mono() + (left - left / ELECTION_SHARE));
            let answer = tokio::select! {
                biased;
                leader = taken.as_mut() => return leader,
                answer = self.call(heir, member, &offer, left) => answer,
            };
            match answer {
                Err(TransportError::Unreachable(_))
                | Ok(Answer::Transfer(Err(_)) | Answer::Failed(_)) => {
                    tracing::info!(%heir, ?answer, "leadership was not taken over");
                }
                // It stands, or may: of two that do, none might win.
                _ => {
                    let taken = env.timeout(deadline.since(env.mono()), taken).await;
                    return taken.unwrap_or(Err(TransferError::Timeout));
                }
            }
        }
        Err(TransferError::Timeout)
    }

    /// Resolves when somebody else is known to lead.
    async fn taken_over(&self) -> Result<RaftNodeId, TransferError> {
        let mut changes = self.0.core.server_metrics();
        loop {
            match changes.borrow_and_update().current_leader {
                Some(leader) if leader != self.id() => return Ok(leader),
                _ => {}
            }
            changes.changed().await.map_err(|_| self.has_stopped())?;
        }
    }

    fn has_stopped(&self) -> TransferError {
        TransferError::Stopped {
            reason: self.stop_reason(),
        }
    }

    /// A leader offers its office. If this node stands, its election is seen through: voters that do not hear of it would
    /// otherwise be asked again by timers alone.
    pub(crate) async fn on_offer(&self, offer: TransferLeaderRequest<TypeConfig>) -> Answer {
        let (old, heir) = (offer.from_leader().leader_id, *offer.to_node_id());
        if heir == self.id() && !self.stands_offer(&offer).await {
            return Answer::Failed("the offer does not stand any more".to_owned());
        }
        let answer = self.0.core.handle_transfer_leader(offer).await;
        if heir == self.id()
            && let Some(view) = self.view().await
            && view.leader.voted_for == self.id()
            && view.leader.term > old.term
            && !view.leads
        {
            let this = self.clone();
            self.0.tasks.spawn("raft-handover", async move {
                tokio::select! {
                    biased;
                    () = this.0.tasks.stop().cancelled() => {}
                    () = this.see_through(old) => {}
                }
            });
        }
        answer.map_or_else(|err| Answer::Failed(err.to_string()), Answer::Transfer)
    }

    /// As the heir: gets ready to stand, then asks whether the offer still stands.
    async fn stands_offer(&self, offer: &TransferLeaderRequest<TypeConfig>) -> bool {
        let (env, last) = (&self.0.env, offer.last_log_id().copied());
        let mut log = self.0.core.watch_log_progress();
        let flushed = log.wait_until(|point| {
            let flushed = point.as_ref().and_then(|point| point.last_log_id);
            flushed >= last
        });
        if !matches!(env.timeout(FLUSH_LIMIT, flushed).await, Ok(Ok(_))) {
            return false;
        }
        let Some(view) = self.view().await else {
            return false;
        };
        let leader = offer.from_leader().leader_id;
        if !view.members.contains_key(&leader.voted_for) {
            return true; // It has removed itself, and does not change its mind.
        }
        let claim = Claim {
            leader,
            candidate: self.id(),
            last: view.last,
        };
        let answer = self.ask(&view, leader.voted_for, claim, ASK_LIMIT).await;
        answer == Some(Verdict::Agreed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Poll;

    use futures_util::poll;
    use tribune_rt::sim_block_on;

    use super::*;

    #[test]
    fn who_comes_while_the_gate_is_closed_waits_until_it_opens() {
        sim_block_on(1, async |_| {
            let gate = Gate::default();
            let first = gate.enter().await;
            let closed = gate.close().await;
            let mut second = pin!(gate.enter());
            assert!(poll!(second.as_mut()).is_pending());
            {
                let mut emptied = pin!(closed.emptied());
                assert!(poll!(emptied.as_mut()).is_pending(), "one is inside");
                drop(first);
                assert_eq!(poll!(emptied), Poll::Ready(()));
            }
            assert!(poll!(second.as_mut()).is_pending(), "it is still closed");
            drop(closed);
            assert!(poll!(second).is_ready());
        });
    }

    #[test]
    fn one_closes_the_gate_at_a_time() {
        sim_block_on(2, async |_| {
            let gate = Gate::default();
            let first = gate.close().await;
            let mut second = pin!(gate.close());
            assert!(poll!(second.as_mut()).is_pending());
            drop(first);
            let second = second.await;
            assert!(gate.is_closed());
            drop(second);
            assert!(!gate.is_closed());
        });
    }

    #[test]
    fn nobody_is_inside_an_emptied_gate_whoever_comes_and_goes() {
        sim_block_on(3, async |env| {
            let gate = Arc::new(Gate::default());
            let passed = Arc::new(AtomicUsize::new(0));
            let mut tasks = Vec::new();
            for _ in 0..20 {
                let (env2, gate, passed) = (env.clone(), gate.clone(), passed.clone());
                tasks.push(env.spawn("proposer", async move {
                    for _ in 0..50 {
                        let passing = gate.enter().await;
                        env2.sleep(env2.jitter(Duration::from_millis(20))).await;
                        drop(passing);
                        passed.fetch_add(1, Ordering::SeqCst);
                    }
                }));
            }
            for _ in 0..10 {
                env.sleep(env.jitter(Duration::from_millis(60))).await;
                let closed = gate.close().await;
                closed.emptied().await;
                let before = passed.load(Ordering::SeqCst);
                env.sleep(Duration::from_millis(100)).await;
                assert_eq!(gate.inside.load(Ordering::SeqCst), 0);
                assert_eq!(passed.load(Ordering::SeqCst), before);
            }
            for task in tasks {
                task.await.unwrap();
            }
            assert_eq!(passed.load(Ordering::SeqCst), 1000);
        });
    }
}
