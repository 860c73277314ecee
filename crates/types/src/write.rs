//! Writes: what can be asked of the servers to change, and the answers.
//!
//! A write is what the client asked for; the leader checks it, stamps it and turns it into a [`crate::command::Command`].

use std::sync::Arc;

use crate::autopilot::AutopilotConfig;
use crate::catalog::{Deregister, Register};
use crate::coordinate::CoordinateEntry;
use crate::event::UserEvent;
use crate::id::{Index, NodeId, SessionId};
use crate::kv::{KvEntry, KvOp};
use crate::prepared::{PreparedQuery, QueryOp};
use crate::query::{Consistency, QueryMeta};
use crate::session::Session;
use crate::text::Text;
use crate::txn::{TxnOp, TxnOutcome};

/// A change to make.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Put into the catalog.
    Register(Box<Register>),
    /// Take out of the catalog.
    Deregister(Deregister),
    /// Change a key or a prefix. Answer: `Verdict`.
    Kv(KvOp, KvEntry),
    /// Create a session. Answer: `Session`.
    SessionCreate(Box<Session>),
    /// End a session.
    SessionDestroy(SessionId),
    /// Start a session's TTL anew. Answer: `Renewed`, empty if unknown.
    SessionRenew(SessionId),
    /// Apply operations together. Answer: `Txn`.
    Txn(Vec<TxnOp>),
    /// Evaluate a transaction that only reads, under a guarantee. Answer: `TxnRead`.
    TxnRead(Vec<TxnOp>, Consistency),
    /// Hand in a coordinate.
    Coordinate(CoordinateEntry),
    /// Send a user event to all agents of the datacenter.
    EventFire(Box<UserEvent>),
    /// Store autopilot settings. Answer: `Verdict`.
    Autopilot {
        /// New settings.
        config: AutopilotConfig,
        /// Expected modify index.
        cas: Option<Index>,
    },
    /// Create, update or delete a prepared query; of one to delete only the ID counts. Answer: `PreparedQuery`.
    PreparedQuery(QueryOp, Box<PreparedQuery>),
    /// Remove a server from the peer set.
    RaftRemovePeer(PeerRef),
}

/// Names a server of the peer set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerRef {
    /// By `ip:port`.
    Address(Text),
    /// By identity as written by the operator.
    Id(Text),
}

impl PeerRef {
    /// The identity, if the reference is one and is well formed.
    pub fn node_id(&self) -> Option<NodeId> {
        match self {
            PeerRef::Id(id) => NodeId::parse(id).ok(),
            PeerRef::Address(_) => None,
        }
    }
}

/// The answer to a write.
#[derive(Debug, Clone, PartialEq)]
pub enum WriteReply {
    /// Done.
    Done,
    /// Done, or a condition did not hold.
    Verdict(bool),
    /// The new session.
    Session(SessionId),
    /// The renewed session; empty if it does not exist.
    Renewed(Vec<Arc<Session>>),
    /// Outcome of a transaction.
    Txn(Box<TxnOutcome>),
    /// Outcome of a transaction that only reads, and what it says about itself; there is no index to wait for.
    TxnRead(Box<TxnOutcome>, QueryMeta),
    /// ID of the prepared query.
    PreparedQuery(Text),
}
