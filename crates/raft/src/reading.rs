//! Reads that see everything acknowledged before they began, on every server.
//!
//! The leader answers from its lease, or asks a quorum whether it still leads. A follower asks the
//! leader up to where its own state must reach, and waits for that. Questions are put in rounds that
//! all callers share (`rounds`), so that thousands of readers cost a few messages.
//!
//! The index that a state must reach is the highest one that was acknowledged *or told to a peer as
//! committed*: a follower may have shown its clients what the leader itself has not applied yet, and
//! nobody may read anything older afterwards.

use std::time::Duration;

use openraft::LinearizerOption;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{LinearizableReadError, RaftError};
use tribune_types::id::LogIndex;

use crate::codec::{Answer, Request};
use crate::error::ReadError;
use crate::raft::{LeaderInfo, Raft, leader_of};
use crate::rounds::{Found, Rounds};
use crate::transport::TransportError;
use crate::types::{Member, RaftNodeId};

/// How long a quorum, or the leader, has to answer.
const QUESTION_LIMIT: Duration = Duration::from_secs(2);
/// How long a follower waits for its own state.
const CATCH_UP_LIMIT: Duration = Duration::from_secs(10);

/// How sure the leader has to be that it still leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadGuarantee {
    /// By its lease: by the clocks of a majority nobody else can have been elected.
    Lease,
    /// A majority confirms it after the read began.
    Quorum,
}

/// The rounds of each question.
#[derive(Debug, Default)]
pub(crate) struct Reads {
    lease: Rounds,
    quorum: Rounds,
}

impl Reads {
    fn of(&self, guarantee: ReadGuarantee) -> &Rounds {
        match guarantee {
            ReadGuarantee::Lease => &self.lease,
            ReadGuarantee::Quorum => &self.quorum,
        }
    }
}

impl Raft {
    /// Returns once this node's state contains everything acknowledged before the call, by anyone. The
    /// result is an index that it contains. Works on every server; cancel safe.
    ///
    /// # Errors
    /// [`ReadError`]; `NotLeader` without a leader where none is known or reached: wait and try again.
    pub async fn read_index(&self, guarantee: ReadGuarantee) -> Result<LogIndex, ReadError> {
        if let Some(index) = self.index_by_lease(guarantee)
            && self.0.applied.index() >= index
        {
            return Ok(LogIndex(index));
        }
        let (round, idle) = self.0.reads.of(guarantee).join();
        if idle {
            let this = self.clone();
            let run = async move { this.run_rounds(guarantee).await };
            self.0.tasks.spawn("raft-reads", run);
        }
        round.found().await
    }

    /// True if this node's state contains right now, by its lease, everything that was acknowledged: then
    /// [`Raft::read_index`] would return at once. Costs no message; never true on followers.
    pub fn is_current(&self) -> bool {
        let index = self.index_by_lease(ReadGuarantee::Lease);
        index.is_some_and(|index| self.0.applied.index() >= index)
    }

    /// [`Raft::read_index`] with a quorum, on the leader alone.
    ///
    /// # Errors
    /// [`ReadError`], also after losing a majority.
    pub async fn read_barrier(&self) -> Result<LogIndex, ReadError> {
        if !self.leads() {
            return Err(self.not_leader());
        }
        self.read_index(ReadGuarantee::Quorum).await
    }

    /// True while the core says that this node leads.
    pub(crate) fn leads(&self) -> bool {
        let metrics = self.0.core.server_metrics();
        metrics.borrow_watched().state.is_leader()
    }

    fn not_leader(&self) -> ReadError {
        ReadError::NotLeader {
            leader: self.leader().filter(|leader| leader.id != self.id()),
        }
    }

    /// Up to where a state must reach now, if this node may say so without asking anybody.
    fn index_by_lease(&self, guarantee: ReadGuarantee) -> Option<u64> {
        let standing = &self.0.standing;
        let term = standing.ready_term()?;
        let may = standing.is_alone()
            || (guarantee == ReadGuarantee::Lease && self.holds_read_lease(term));
        may.then(|| self.committed_for_all())
    }

    /// Whatever anybody was told is not above this.
    fn committed_for_all(&self) -> u64 {
        self.0.applied.index().max(self.0.standing.told())
    }

    /// True while no other node can have been elected by the clocks of a majority, out of turn or not.
    fn holds_read_lease(&self, term: u64) -> bool {
        if self.0.standing.is_offered(term) {
            return false;
        }
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        let acked = seen.last_quorum_acked.as_ref();
        let age = acked.map(|at| at.age_on(&self.0.env));
        seen.state.is_leader()
            && seen.current_term == term
            && age.is_some_and(|age| age < self.0.read_lease.reads)
    }

    async fn run_rounds(&self, guarantee: ReadGuarantee) {
        while let Some(round) = self.0.reads.of(guarantee).take() {
            let fresh = tokio::select! {
                biased;
                () = self.0.tasks.stop().cancelled() => Err(self.stopped_error()),
                fresh = self.fresh_index(guarantee) => fresh,
            };
            match fresh {
                Ok(index) if self.0.applied.index() < index.0 => {
                    // The next round need not wait for that.
                    let this = self.clone();
                    self.0.tasks.spawn("raft-read", async move {
                        let found = this.catch_up(index).await;
                        round.finish(found);
                    });
                }
                found => round.finish(found),
            }
        }
    }

    /// Waits until the state contains `index`.
    async fn catch_up(&self, index: LogIndex) -> Found {
        tokio::select! {
            biased;
            () = self.0.applied.reached(index.0) => Ok(index),
            () = self.0.stopped.cancelled() => Err(self.stopped_error()),
            () = self.0.tasks.stop().cancelled() => Err(self.stopped_error()),
            () = self.0.env.sleep(CATCH_UP_LIMIT) => Err(ReadError::NoQuorum),
        }
    }

    fn stopped_error(&self) -> ReadError {
        ReadError::Stopped {
            reason: self.stop_reason(),
        }
    }

    async fn fresh_index(&self, guarantee: ReadGuarantee) -> Found {
        if self.leads() {
            self.confirm(guarantee).await
        } else {
            self.ask_leader(guarantee).await
        }
    }

    /// As the leader: makes sure that it leads, then says up to where a state must reach.
    async fn confirm(&self, guarantee: ReadGuarantee) -> Found {
        if let Some(index) = self.index_by_lease(guarantee) {
            return Ok(LogIndex(index));
        }
        let before = self.committed_for_all();
        let fresh = LinearizerOption::new(Some(Duration::ZERO), true);
        let limit = QUESTION_LIMIT.min(self.0.lease);
        let confirmed = self
            .0
            .core
            .get_read_linearizer(fresh.with_wait_timeout(limit))
            .await;
        match confirmed {
            Ok(linearizer) => Ok(LogIndex(before.max(linearizer.read_log_id().index()))),
            Err(RaftError::APIError(LinearizableReadError::ForwardToLeader(to))) => {
                Err(ReadError::NotLeader {
                    leader: leader_of(to),
                })
            }
            Err(RaftError::APIError(LinearizableReadError::QuorumNotEnough(_))) => {
                Err(ReadError::NoQuorum)
            }
            Err(RaftError::Fatal(_)) => Err(self.stopped_error()),
        }
    }

    /// As a follower: asks the leader up to where the state must reach.
    async fn ask_leader(&self, guarantee: ReadGuarantee) -> Found {
        let nobody = || ReadError::NotLeader { leader: None };
        let Some(leader) = self.leader().filter(|leader| leader.id != self.id()) else {
            return Err(nobody());
        };
        let member = Member {
            addr: leader.addr.clone(),
        };
        let request = Request::ReadIndex {
            confirm: guarantee == ReadGuarantee::Quorum,
        };
        let answer = tokio::select! {
            biased;
            answer = self.call(leader.id, &member, &request, QUESTION_LIMIT) => answer,
            () = self.leader_ceased(leader.id) => return Err(self.not_leader()),
        };
        match answer {
            Ok(Answer::ReadIndex(index)) => Ok(LogIndex(index)),
            Ok(Answer::NoQuorum) => Err(ReadError::NoQuorum),
            Ok(Answer::NotLeader(other)) => Err(ReadError::NotLeader {
                leader: other
                    .map(|(id, addr)| LeaderInfo { id, addr })
                    .filter(|other| other.id != leader.id && other.id != self.id()),
            }),
            _ => Err(nobody()),
        }
    }

    /// Resolves when this node does not take `leader` for the leader any more.
    async fn leader_ceased(&self, leader: RaftNodeId) {
        let mut changes = self.0.core.server_metrics();
        loop {
            if changes.borrow_and_update().current_leader != Some(leader) {
                return;
            }
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Answers a follower that asks.
    pub(crate) async fn answer_read_index(&self, confirm: bool) -> Answer {
        let guarantee = if confirm {
            ReadGuarantee::Quorum
        } else {
            ReadGuarantee::Lease
        };
        if let Some(index) = self.index_by_lease(guarantee) {
            return Answer::ReadIndex(index);
        }
        let found = if self.leads() {
            self.read_index(guarantee).await
        } else {
            Err(self.not_leader())
        };
        match found {
            Ok(index) => Answer::ReadIndex(index.0),
            Err(ReadError::NotLeader { leader }) => {
                Answer::NotLeader(leader.map(|leader| (leader.id, leader.addr)))
            }
            Err(ReadError::NoQuorum) => Answer::NoQuorum,
            Err(ReadError::Stopped { reason }) => Answer::Failed(reason),
        }
    }

    /// Puts a question to a peer.
    pub(crate) async fn call(
        &self,
        id: RaftNodeId,
        member: &Member,
        request: &Request,
        limit: Duration,
    ) -> Result<Answer, TransportError> {
        let known = self.0.standing.member(id);
        let member = known.as_ref().unwrap_or(member);
        let transport = &self.0.transport;
        let call = transport.call(id, member, request.encode(), limit);
        // The transport keeps the limit too; one that does not must not hold us up.
        let answer = self.0.env.timeout(limit, call).await;
        let bytes = answer.map_err(|late| TransportError::Failed(late.to_string()))??;
        Answer::decode(bytes).map_err(|err| TransportError::Failed(err.to_string()))
    }
}
