//! The core of one pool with everything above failure detection: see the crate's header.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_swim::{Entry, MergeError, Message as SwimMessage, Peer, PushPull, Swim, Ticket};
use tribune_types::coordinate::Coordinate;
use tribune_types::member::MemberStatus;
use tribune_types::text::{Text, TextMap};
use tribune_types::time::Mono;

use crate::action::{Action, QueryId, Record};
use crate::codec::Codec;
use crate::message::{Filter, LTime};

/// Settings of this layer (gossip.md section 9.2).
#[derive(Debug, Clone)]
pub struct Options {
    /// Own tags.
    pub tags: TextMap,
    /// How long leaving and other announcements wait for their broadcast. 5 s.
    pub broadcast_timeout: Duration,
    /// How long a leaving node goes on answering. 3 s.
    pub leave_propagate_delay: Duration,
    /// Between looks for members to forget. 15 s.
    pub reap_interval: Duration,
    /// Between tries to reach a failed member. 30 s.
    pub reconnect_interval: Duration,
    /// After which a failed member is forgotten. 72 h.
    pub reconnect_timeout: Duration,
    /// After which a member that left is forgotten. 24 h.
    pub tombstone_timeout: Duration,
    /// How long intents of unknown members are kept. 5 min.
    pub recent_intent_timeout: Duration,
    /// Largest queue of each kind, in messages, for small pools. 4096.
    pub queue_len_min: usize,
    /// Bytes of name and payload, and of the message, of a user event. 512.
    pub event_size_max: usize,
    /// Bytes of a query, and of an answer. 1024.
    pub query_size_max: usize,
}

/// What the snapshot file remembers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Member clock.
    pub clock: LTime,
    /// Newest event seen.
    pub event_clock: LTime,
    /// Newest query seen.
    pub query_clock: LTime,
    /// Members that were alive.
    pub alive: Vec<(Text, SocketAddr)>,
}

/// A member of the pool.
#[derive(Debug, Clone)]
pub struct MemberView<'a> {
    /// Who and where.
    pub peer: &'a Arc<Peer>,
    /// Life.
    pub status: MemberStatus,
    /// Time of the last intent.
    pub status_ltime: LTime,
}

/// A query to ask.
#[derive(Debug, Clone, Default)]
pub struct Question {
    /// Name.
    pub name: Text,
    /// Payload.
    pub payload: Arc<[u8]>,
    /// Who answers.
    pub filters: Vec<Filter>,
    /// Ask for confirmations.
    pub ack: bool,
    /// See the message.
    pub relay_factor: u8,
    /// `None` is the default for the pool's size.
    pub timeout: Option<Duration>,
}

/// Why something was not announced. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refused {
    /// The event is too large, in Consul's words.
    EventSize(String),
    /// The query or answer is too large, in Consul's words.
    QuerySize(String),
    /// More tags than fit into 512 bytes.
    TagSize(usize),
    /// The query is unknown, over, or was answered.
    NoQuery,
    /// This node is leaving or left.
    Leaving,
    /// No such member.
    NoMember,
}

/// Figures of a pool, for `stats`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Members in any state.
    pub members: usize,
    /// Failed members.
    pub failed: usize,
    /// Members that left.
    pub left: usize,
    /// Health of this node; 0 is good.
    pub health_score: u32,
    /// Clocks.
    pub member_time: LTime,
    /// Clock of events.
    pub event_time: LTime,
    /// Clock of queries.
    pub query_time: LTime,
    /// Queued broadcasts: intents, events, queries.
    pub queued: [usize; 3],
    /// Times the own coordinate became unusable and started anew.
    pub coordinate_resets: u64,
}

/// One node's view of a pool and its part in it.
pub struct Serf {
    swim: Swim,
}

#[expect(clippy::todo, unused_variables, reason = "skeleton")]
impl Serf {
    /// A pool of one. `pool.meta`, `pool.encode` are overwritten by the tags and the codec.
    pub fn new(
        options: Options,
        pool: tribune_swim::Options,
        codec: Codec,
        restored: &Restored,
        now: Mono,
        out: &mut Vec<Action>,
    ) -> Serf {
        todo!()
    }

    /// When [`Serf::on_time`] must be called next.
    pub fn next_wake(&self) -> Mono {
        todo!()
    }

    /// Tells the time.
    pub fn on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        todo!()
    }

    /// A message of a datagram.
    pub fn on_message(
        &mut self,
        now: Mono,
        from: SocketAddr,
        message: SwimMessage,
        out: &mut Vec<Action>,
    ) {
        todo!()
    }

    /// The result of [`Action::StreamPing`].
    pub fn on_stream_ack(&mut self, now: Mono, seq: u32, acked: bool, out: &mut Vec<Action>) {
        todo!()
    }

    /// A datagram could not be handed to the system.
    pub fn on_send_failed(&mut self, now: Mono, to: SocketAddr) {
        self.swim.on_send_failed(now, to);
    }

    /// A ping over a stream names us or nobody.
    pub fn answers_stream_ping(&self, node: &str) -> bool {
        self.swim.answers_stream_ping(node)
    }

    /// The state to send over a stream.
    pub fn state(&self, join: bool) -> PushPull {
        todo!()
    }

    /// Takes over a remote state. `join` as in `Swim::merge`; `initiated` is true on the side that opened the stream: its
    /// joins do not replay old events.
    pub fn merge(
        &mut self,
        now: Mono,
        remote: &PushPull,
        join: bool,
        initiated: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), MergeError> {
        todo!()
    }

    /// To be called once after a join that reached at least one member: announces it.
    pub fn joined(&mut self, now: Mono, out: &mut Vec<Action>) {
        todo!()
    }

    /// Begins to leave; ends with [`Action::Left`].
    pub fn leave(&mut self, now: Mono, out: &mut Vec<Action>) {
        todo!()
    }

    /// Declares a failed member as left, and forgets it with `prune`. The ticket ends (at the latest after
    /// `broadcast_timeout`) with [`Action::Sent`]; `None` if nobody else is alive.
    pub fn force_leave(
        &mut self,
        now: Mono,
        node: &str,
        prune: bool,
        out: &mut Vec<Action>,
    ) -> Option<Ticket> {
        todo!()
    }

    /// Announces other tags.
    pub fn set_tags(
        &mut self,
        now: Mono,
        tags: TextMap,
        out: &mut Vec<Action>,
    ) -> Result<Option<Ticket>, Refused> {
        todo!()
    }

    /// Fires a user event. It is delivered here at once.
    pub fn fire(
        &mut self,
        now: Mono,
        name: &str,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        todo!()
    }

    /// Asks a query. It is delivered here at once.
    pub fn ask(
        &mut self,
        now: Mono,
        question: Question,
        out: &mut Vec<Action>,
    ) -> Result<QueryId, Refused> {
        todo!()
    }

    /// Ends a query that this node asked before its time is over.
    pub fn close(&mut self, query: QueryId) {
        todo!()
    }

    /// Answers a query of [`Action::Query`] or [`Action::KeyQuery`], once and in time.
    pub fn respond(
        &mut self,
        now: Mono,
        query: QueryId,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        todo!()
    }

    /// All members in any state, sorted by name.
    pub fn members(&self) -> Vec<MemberView<'_>> {
        todo!()
    }

    /// A member by name.
    pub fn member(&self, name: &str) -> Option<MemberView<'_>> {
        todo!()
    }

    /// Members that are alive.
    pub fn alive_count(&self) -> usize {
        todo!()
    }

    /// Own position.
    pub fn coordinate(&self) -> &Coordinate {
        todo!()
    }

    /// The last position another member told.
    pub fn coordinate_of(&self, name: &str) -> Option<&Coordinate> {
        todo!()
    }

    /// Everything a compacted snapshot file holds.
    pub fn records(&self) -> Vec<Record> {
        todo!()
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        todo!()
    }

    /// The layer below, for reading.
    pub fn swim(&self) -> &Swim {
        &self.swim
    }

    /// Bytes that encryption takes of a datagram, from now on.
    pub fn set_packet_overhead(&mut self, bytes: usize) {
        self.swim.set_packet_overhead(bytes);
    }

    /// The node table entry of a member, while the layer below remembers it.
    pub fn entry(&self, name: &str) -> Option<Entry<'_>> {
        self.swim.entry(name)
    }
}
