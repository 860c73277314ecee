//! The peer set: who is in it, and who votes.
//!
//! One server at a time is added or removed by one log entry. A change that is under way when its
//! quorum is lost is reported as unknown, never as made or not made.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::time::Duration;

use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, RaftError};
use openraft::raft::ClientWriteResponse;
use openraft::{ChangeMembers, Precondition};
use tribune_types::id::LogIndex;

use crate::codec::Request;
use crate::error::MembershipError;
use crate::raft::{Raft, leader_of};
use crate::types::{
    EntryPayload, LogId, Member, Membership, RaftNodeId, StoredMembership, TypeConfig,
};

/// How long a server that was removed has to answer when it is told.
const FAREWELL_LIMIT: Duration = Duration::from_secs(2);

type Changed =
    Result<ClientWriteResponse<TypeConfig>, RaftError<TypeConfig, ClientWriteError<TypeConfig>>>;

/// The effective peer set, in parts.
struct Present {
    log_id: Option<LogId>,
    configs: Vec<BTreeSet<RaftNodeId>>,
    nodes: BTreeMap<RaftNodeId, Member>,
}

impl Present {
    fn of(stored: &StoredMembership) -> Self {
        let membership = stored.membership();
        let nodes = membership.nodes();
        Self {
            log_id: *stored.log_id(),
            configs: membership.get_joint_config().clone(),
            nodes: nodes.map(|(id, member)| (*id, member.clone())).collect(),
        }
    }

    fn index(&self) -> LogIndex {
        LogIndex(self.log_id.map_or(0, |id| id.index))
    }

    fn is_voter(&self, id: RaftNodeId) -> bool {
        self.configs.iter().any(|config| config.contains(&id))
    }

    /// The voters, unless a change of several is half way.
    fn only_config(&self) -> Option<&BTreeSet<RaftNodeId>> {
        match self.configs.as_slice() {
            [config] => Some(config),
            _ => None,
        }
    }
}

impl Raft {
    fn present(&self) -> Present {
        let metrics = self.0.core.server_metrics();
        Present::of(&metrics.borrow_watched().membership_config)
    }

    /// True if this server was in the peer set and is not any more. It stays as it is, asks for no votes, and
    /// becomes a member again when a leader adds it.
    pub fn is_removed(&self) -> bool {
        let standing = &self.0.standing;
        if standing.is_removed() {
            return true;
        }
        let metrics = self.0.core.server_metrics();
        let seen = metrics.borrow_watched();
        let (newest, committed) = (&seen.membership_config, &seen.committed_membership_config);
        let outside = newest.log_id().is_some()
            && newest.log_id() == committed.log_id()
            && newest.membership().get_node(&self.id()).is_none();
        // A server that is being added may get a snapshot from before that; then a leader speaks to it.
        let silent = self.0.env.mono().since(standing.heard()) > self.0.lease;
        outside && (standing.was_member() || silent)
    }

    /// Adds a server without a vote (or changes nothing if it is there).
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn add_learner(
        &self,
        id: RaftNodeId,
        member: Member,
    ) -> Result<LogIndex, MembershipError> {
        let nodes = BTreeMap::from([(id, member)]);
        self.change(ChangeMembers::AddNodes(nodes)).await
    }

    /// Gives a learner a vote (or changes nothing if it has one).
    ///
    /// # Errors
    /// [`MembershipError`]; `Refused` if the server is not in the peer set.
    pub async fn add_voter(&self, id: RaftNodeId) -> Result<LogIndex, MembershipError> {
        let present = self.present();
        if !present.nodes.contains_key(&id) {
            return Err(refused("it is not in the peer set"));
        }
        if present.is_voter(id) {
            return Ok(present.index());
        }
        let Some(mut voters) = present.only_config().cloned() else {
            let ids = BTreeSet::from([id]);
            return self.change(ChangeMembers::AddVoterIds(ids)).await;
        };
        voters.insert(id);
        self.replace(present.log_id, voters, present.nodes).await
    }

    /// Changes how a server of the peer set is reached.
    ///
    /// # Errors
    /// [`MembershipError`]; `Refused` if the server is not in the peer set.
    pub async fn set_member_addr(
        &self,
        id: RaftNodeId,
        member: Member,
    ) -> Result<LogIndex, MembershipError> {
        let present = self.present();
        match present.nodes.get(&id) {
            None => return Err(refused("it is not in the peer set")),
            Some(known) if *known == member => return Ok(present.index()),
            Some(_) => {}
        }
        let nodes = BTreeMap::from([(id, member)]);
        self.change(ChangeMembers::SetNodes(nodes)).await
    }

    /// Makes exactly these servers the voters; each must be a learner or voter already. Voters
    /// that are not named leave the peer set.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn change_membership(
        &self,
        voters: BTreeSet<RaftNodeId>,
    ) -> Result<LogIndex, MembershipError> {
        self.change(ChangeMembers::ReplaceAllVoters(voters)).await
    }

    /// Removes a server, voter or not (or changes nothing if it is not there). A leader that removes itself hands
    /// leadership over afterwards.
    ///
    /// # Errors
    /// [`MembershipError`].
    pub async fn remove(&self, id: RaftNodeId) -> Result<LogIndex, MembershipError> {
        let mut present = self.present();
        let Some(member) = present.nodes.get(&id).cloned() else {
            return Ok(present.index());
        };
        let index = match present.only_config().cloned() {
            _ if !present.is_voter(id) => {
                let ids = BTreeSet::from([id]);
                self.change(ChangeMembers::RemoveNodes(ids)).await?
            }
            None => {
                let ids = BTreeSet::from([id]);
                self.change(ChangeMembers::RemoveVoters(ids)).await?
            }
            Some(mut voters) => {
                voters.remove(&id);
                if voters.is_empty() {
                    return Err(refused("it is the only voter"));
                }
                present.nodes.remove(&id);
                self.replace(present.log_id, voters, present.nodes).await?
            }
        };
        if id != self.id() {
            self.bid_farewell(id, member);
        }
        Ok(index)
    }

    /// Tells a server that it was removed: the log entry that says so does not reach it any more.
    fn bid_farewell(&self, id: RaftNodeId, member: Member) {
        let this = self.clone();
        self.0.tasks.spawn("raft-farewell", async move {
            let Some(view) = this.view().await else {
                return;
            };
            let Some(membership) = this.present().log_id.filter(|_| view.leads) else {
                return;
            };
            let vote = crate::types::Vote {
                leader_id: view.leader,
                committed: true,
            };
            let told = Request::Removed { vote, membership };
            // It finds out by itself if this gets lost.
            let _ = this.call(id, &member, &told, FAREWELL_LIMIT).await;
        });
    }

    /// A change that may take two log entries.
    async fn change(
        &self,
        change: ChangeMembers<RaftNodeId, Member>,
    ) -> Result<LogIndex, MembershipError> {
        let before = self.present().log_id;
        let result = self.confirmed(self.0.core.change_membership(change, false));
        match result.await {
            // The first entry may have been written, and the second not.
            Err(MembershipError::NotLeader { .. } | MembershipError::Refused { .. })
                if self.present().configs.len() > 1 && self.present().log_id != before =>
            {
                Err(unknown("the change is half way"))
            }
            result => result,
        }
    }

    /// A change by one voter, in one log entry.
    async fn replace(
        &self,
        before: Option<LogId>,
        voters: BTreeSet<RaftNodeId>,
        nodes: BTreeMap<RaftNodeId, Member>,
    ) -> Result<LogIndex, MembershipError> {
        let membership = Membership::new(vec![voters], nodes).map_err(refused)?;
        // It was reckoned from what this node knew.
        let unchanged = Precondition::LastMembershipLogId {
            last_membership_log_id: before,
        };
        let change = self
            .0
            .core
            .append_membership(membership, EntryPayload::Blank, [unchanged]);
        self.confirmed(change).await
    }

    /// Waits for the quorum, but not forever.
    async fn confirmed(
        &self,
        change: impl Future<Output = Changed>,
    ) -> Result<LogIndex, MembershipError> {
        let _passing = self.0.gate.enter().await;
        let limit = self.0.config.propose_timeout;
        match self.0.env.timeout(limit, change).await {
            Ok(changed) => self.membership_result(changed),
            Err(_) => Err(unknown("no quorum confirmed it in time")),
        }
    }

    fn membership_result(&self, result: Changed) -> Result<LogIndex, MembershipError> {
        match result {
            Ok(response) => Ok(LogIndex(response.log_id.index)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => {
                Err(MembershipError::NotLeader {
                    leader: leader_of(to),
                })
            }
            Err(RaftError::APIError(ClientWriteError::LogEntryDiscarded(_))) => {
                Err(unknown("leadership was lost"))
            }
            Err(RaftError::APIError(err)) => Err(refused(err)),
            Err(RaftError::Fatal(_)) => Err(unknown(self.stop_reason())),
        }
    }
}

fn refused(reason: impl ToString) -> MembershipError {
    MembershipError::Refused {
        reason: reason.to_string(),
    }
}

fn unknown(reason: impl Into<String>) -> MembershipError {
    MembershipError::Unknown {
        reason: reason.into(),
    }
}
