//! Commands of the replicated state machine and their outcomes.
//!
//! A command carries everything its application needs: no clock, no randomness, no token. Wall time and fresh IDs are
//! stamped in by the leader before the command is proposed.

use crate::autopilot::AutopilotConfig;
use crate::catalog::{Deregister, Register};
use crate::coordinate::CoordinateEntry;
use crate::error::StateError;
use crate::id::{Index, SessionId, Uuid};
use crate::kv::{KvEntry, KvOp};
use crate::prepared::PreparedQuery;
use crate::session::Session;
use crate::txn::{TxnOp, TxnOutcome};

/// A change of the replicated state.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Put into the catalog.
    Register(Box<Register>),
    /// Take out of the catalog.
    Deregister(Deregister),
    /// Change a key or a prefix. Outcome: `Verdict` for cas, delete-cas, lock, unlock; `Done` else.
    Kv(KvOp, KvEntry),
    /// Create a session whose ID is filled in. Outcome: `Session`.
    SessionCreate(Box<Session>),
    /// End a session; unknown ones are fine.
    SessionDestroy(SessionId),
    /// Forget tombstones up to and including this index.
    ReapTombstones(Index),
    /// Store coordinates; those of unknown nodes are dropped.
    Coordinates(Vec<CoordinateEntry>),
    /// Apply operations together. Outcome: `Txn`.
    Txn(Vec<TxnOp>),
    /// Store autopilot settings; with `cas` only if the stored modify index matches. Outcome: `Verdict` with cas.
    Autopilot {
        /// New settings.
        config: AutopilotConfig,
        /// Expected modify index.
        cas: Option<Index>,
    },
    /// Store a prepared query whose ID is filled in, in the place of that with the same ID.
    QuerySet(Box<PreparedQuery>),
    /// Forget a prepared query; unknown ones are fine.
    QueryDelete(Uuid),
    /// A piece of a snapshot archive that replaces the whole state once complete.
    Restore(RestoreStep),
}

/// Steps of replacing the state by a user's snapshot. The archive travels through the log in pieces so that every
/// server, present and future, sees the same replacement at the same position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RestoreStep {
    /// Start; drops an unfinished earlier restore.
    Begin {
        /// Names this restore.
        id: u64,
    },
    /// Next piece.
    Chunk {
        /// The restore it belongs to.
        id: u64,
        /// Position from 0.
        seq: u32,
        /// Raw bytes of the record stream.
        data: Box<[u8]>,
    },
    /// All pieces are in: replace the state.
    Commit {
        /// The restore to finish.
        id: u64,
        /// How many chunks it has.
        chunks: u32,
        /// Index the archive says it has; the state continues above it.
        index: Index,
    },
    /// Drop the pieces.
    Abort {
        /// The restore to drop.
        id: u64,
    },
}

/// What applying a command gave.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Outcome {
    /// Applied, nothing to report.
    #[default]
    Done,
    /// The condition of a conditional write held (and it was applied), or not.
    Verdict(bool),
    /// ID of the created session.
    Session(SessionId),
    /// Outcome of a transaction.
    Txn(Box<TxnOutcome>),
    /// Refused; nothing was changed.
    Refused(StateError),
}
