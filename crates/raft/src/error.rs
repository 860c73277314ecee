//! What can go wrong, by what the caller can do about it.

use std::io;

use crate::raft::LeaderInfo;
use crate::wal::WalError;

/// Why the node does not start.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The log cannot be used; nothing was changed.
    #[error("raft log cannot be opened")]
    Log(#[from] WalError),
    /// No snapshot that is intact reaches the log.
    #[error("no usable snapshot: {what}")]
    Snapshot {
        /// Which and why.
        what: String,
    },
    /// A setting is out of range.
    #[error("raft settings are refused: {what}")]
    Config {
        /// Which.
        what: String,
    },
    /// Files could not be read or made.
    #[error("raft storage cannot be used")]
    Io(#[from] io::Error),
    /// The peer set could not be replaced.
    #[error("the peer set cannot be recovered: {what}")]
    Recover {
        /// Why.
        what: String,
    },
    /// The consensus core refused what it found.
    #[error("raft core does not start: {what}")]
    Core {
        /// Its words.
        what: String,
    },
}

/// Why a proposal has no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// Not done: another server leads, or none is known. Send it there.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, where known.
        leader: Option<LeaderInfo>,
    },
    /// Not done, and trying again here later is right.
    #[error("refused: {reason}")]
    Refused {
        /// What must change first.
        reason: &'static str,
    },
    /// Unknown: it may be applied now, later, or never.
    #[error("outcome unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// Why a linearizable read cannot be served here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Another server leads, or none is known.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, where known.
        leader: Option<LeaderInfo>,
    },
    /// A majority did not confirm the leadership in time, or this server does not catch up with it.
    #[error("no quorum confirmed the leadership")]
    NoQuorum,
    /// The core has stopped.
    #[error("raft has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why a membership change was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Another server leads, or none is known.
    #[error("not the leader")]
    NotLeader {
        /// Who leads, where known.
        leader: Option<LeaderInfo>,
    },
    /// Not made, for this reason.
    #[error("membership change refused: {reason}")]
    Refused {
        /// In the words of the consensus core.
        reason: String,
    },
    /// It may still take effect.
    #[error("outcome of the membership change is unknown: {reason}")]
    Unknown {
        /// What happened.
        reason: String,
    },
}

/// Why a cluster was not formed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// This server is not among the members.
    #[error("this server is not among the members to bootstrap with")]
    NotAMember,
    /// The core has stopped.
    #[error("raft has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// Why leadership was not handed over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// This server does not lead.
    #[error("not the leader")]
    NotLeader,
    /// There is no such voter, or no other one.
    #[error("no voter to transfer leadership to")]
    NoTarget,
    /// Nobody took over in time; this server leads on, unless the target is elected late.
    #[error("leadership transfer timed out")]
    Timeout,
    /// The core has stopped.
    #[error("raft has stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}
