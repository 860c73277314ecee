//! What a driver must carry out, and news for the application.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_swim::{Packet, Peer, Ticket, Warning};
use tribune_types::member::MemberStatus;
use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::message::LTime;

/// Names a query that this node asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueryId {
    /// Query clock.
    pub ltime: LTime,
    /// Random part.
    pub id: u32,
}

/// What happened to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MemberChange {
    /// Is there (again).
    Joined,
    /// Left by itself, or was declared as left.
    Left,
    /// Does not answer.
    Failed,
    /// Has other tags or another address.
    Updated,
    /// Was forgotten.
    Reaped,
}

/// A member and what happened to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberEvent {
    /// What happened.
    pub change: MemberChange,
    /// Who. Tags are in its metadata.
    pub peer: Arc<Peer>,
    /// Its status from now on.
    pub status: MemberStatus,
}

/// An operation on the keys of gossip encryption, asked by a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyOperation {
    /// Add a key.
    Install,
    /// Make an installed key the one that encrypts.
    Use,
    /// Remove a key.
    Remove,
    /// Tell all keys.
    List,
}

/// A received query that passed its filters and may be answered with `respond`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Identity, for `respond`.
    pub query: QueryId,
    /// Name.
    pub name: Text,
    /// Payload.
    pub payload: Arc<[u8]>,
}

/// A line of the snapshot file (gossip.md section 7.11).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A member is there.
    Alive(Text, SocketAddr),
    /// A member left or failed.
    NotAlive(Text),
    /// Member clock minus one.
    Clock(LTime),
    /// Newest event seen.
    EventClock(LTime),
    /// Newest query seen.
    QueryClock(LTime),
    /// This node left by itself.
    Leave,
}

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram.
    Packet(Packet),
    /// Open a stream, send a ping, and report with `on_stream_ack` or `on_stream_refused`.
    StreamPing {
        /// Where to.
        to: SocketAddr,
        /// Who is meant.
        node: Text,
        /// Number of the probe.
        seq: u32,
        /// Give up then.
        deadline: Mono,
    },
    /// Exchange states over a stream: send `state(join)`, give what comes to `merge(.., join, false, ..)`.
    PushPull {
        /// Where to.
        to: SocketAddr,
        /// Who is meant.
        node: Text,
        /// As a joiner (a failed member is tried again) or as a member.
        join: bool,
    },
    /// News of a member.
    Member(MemberEvent),
    /// A user event was received, or fired here. Each is delivered once.
    UserEvent {
        /// Event clock.
        ltime: LTime,
        /// Name.
        name: Text,
        /// Payload.
        payload: Arc<[u8]>,
    },
    /// A query of another member, or our own.
    Query(Asked),
    /// A query about keys. Carry it out and answer with `respond`.
    KeyQuery {
        /// What to do.
        operation: KeyOperation,
        /// The query; the payload is a key request.
        asked: Asked,
    },
    /// Somebody confirmed the receipt of our query. Once per member.
    QueryAck {
        /// Our query.
        query: QueryId,
        /// Who.
        from: Text,
    },
    /// Somebody answered our query. Once per member.
    QueryAnswer {
        /// Our query.
        query: QueryId,
        /// Who.
        from: Text,
        /// The answer.
        payload: Arc<[u8]>,
    },
    /// Our query's time is over.
    QueryOver(QueryId),
    /// Append to the snapshot file. Nothing but clocks follows after `Leave`.
    Record(Record),
    /// A broadcast that somebody waits for was sent as often as planned.
    Sent(Ticket),
    /// It was not, within the broadcast timeout. It is still queued.
    Unsent(Ticket),
    /// Leaving is complete: the node may stop.
    Left,
    /// A sample of a round trip was used (for metrics), with the change of the own coordinate.
    CoordinateMoved(Duration),
    /// Another node claims the name of a living one.
    Conflict {
        /// Who holds the name.
        holder: Arc<Peer>,
        /// Who claims it.
        claimant: Arc<Peer>,
    },
    /// Worth a line in the log.
    Warning(Warning),
}
