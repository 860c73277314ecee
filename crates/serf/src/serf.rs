//! The core of one pool: see the crate's header. Here are its settings, its parts, and the way of time and messages
//! through them; the rules are in the files named after what they are about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_swim::{Entry, Message as SwimMessage, Peer, Swim, Ticket};
use tribune_types::member::MemberStatus;
use tribune_types::text::{Text, TextMap};
use tribune_types::time::Mono;

use crate::action::Action;
use crate::clock::Clock;
use crate::codec::Codec;
use crate::coordinates::Coordinates;
use crate::events::EventBuffer;
use crate::intents::RecentIntents;
use crate::leave::Leaving;
use crate::members::{Members, ROWS_MAX, Row};
use crate::message::{Filter, LTime};
use crate::queries::Heard;
use crate::questions::Questions;
use crate::snapshot::Ledger;
use crate::tally::Tally;
use crate::upkeep::Ticks;

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

impl Default for Options {
    /// What Consul sets, and no tags.
    fn default() -> Options {
        Options {
            tags: TextMap::new(),
            broadcast_timeout: Duration::from_secs(5),
            leave_propagate_delay: Duration::from_secs(3),
            reap_interval: Duration::from_secs(15),
            reconnect_interval: Duration::from_secs(30),
            reconnect_timeout: Duration::from_secs(72 * 3600),
            tombstone_timeout: Duration::from_secs(24 * 3600),
            recent_intent_timeout: Duration::from_secs(5 * 60),
            queue_len_min: 4096,
            event_size_max: 512,
            query_size_max: 1024,
        }
    }
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
    /// Too many own queries are open.
    TooMany,
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

/// Bytes of metadata that a node may have.
const META_MAX: usize = 512;

/// One node's view of a pool and its part in it.
pub struct Serf {
    pub(crate) swim: Swim,
    /// Reports of the layer below; empty between calls.
    pub(crate) low: Vec<tribune_swim::Action>,
    pub(crate) options: Options,
    pub(crate) codec: Codec,
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
    pub(crate) event_clock: Clock,
    pub(crate) query_clock: Clock,
    pub(crate) members: Members,
    /// When there are so many, a new one takes the place of one that is gone.
    pub(crate) members_max: usize,
    pub(crate) intents: RecentIntents,
    /// Members to be forgotten when their leave has had its time.
    pub(crate) pruning: BTreeMap<Row, Mono>,
    pub(crate) events: EventBuffer,
    pub(crate) heard: Heard,
    pub(crate) questions: Questions,
    pub(crate) coordinates: Coordinates,
    pub(crate) leaving: Leaving,
    /// Broadcasts that somebody waits for, and until when.
    pub(crate) awaited: Vec<(Ticket, Mono)>,
    pub(crate) ledger: Ledger,
    pub(crate) ticks: Ticks,
    /// For metrics; without the part of the layer below.
    pub(crate) tally: Tally,
}

impl Serf {
    /// A pool of one. `pool.meta`, `pool.encode` are overwritten by the tags and the codec.
    pub fn new(
        options: Options,
        mut pool: tribune_swim::Options,
        codec: Codec,
        restored: &Restored,
        now: Mono,
        out: &mut Vec<Action>,
    ) -> Serf {
        pool.meta = (codec.encode_tags)(&options.tags);
        pool.encode = codec.encode_swim;
        let (seed, members_max) = (pool.seed, pool.nodes_max.min(ROWS_MAX));
        let mut low = Vec::new();
        let swim = Swim::new(pool, now, &mut low);
        let members = Members::with_capacity(0, seed);
        let mut serf = Serf::assemble(options, swim, codec, restored, members, now);
        (serf.seed, serf.members_max) = (seed, members_max);
        serf.lift(now, &mut low, out);
        serf.begin(now, out);
        serf
    }

    /// A pool that knows and believes these nodes (and their incarnations) from the start: a converged pool, for
    /// simulations. No news of them are given or spread. Names are distinct; the own one may be among them, then that
    /// record is used.
    pub fn with_members(
        options: Options,
        mut pool: tribune_swim::Options,
        codec: Codec,
        now: Mono,
        nodes: &[(Arc<Peer>, u32)],
        out: &mut Vec<Action>,
    ) -> Serf {
        pool.meta = (codec.encode_tags)(&options.tags);
        pool.encode = codec.encode_swim;
        let (seed, members_max) = (pool.seed, pool.nodes_max.min(ROWS_MAX));
        let mut members = Members::with_capacity(nodes.len(), seed);
        for (peer, _) in nodes {
            members.add(peer.clone(), 0);
        }
        let mut low = Vec::new();
        let swim = Swim::with_table(pool, now, nodes.iter().cloned(), &mut low);
        let restored = Restored::default();
        let mut serf = Serf::assemble(options, swim, codec, &restored, members, now);
        (serf.seed, serf.members_max) = (seed, members_max);
        serf.lift(now, &mut low, out);
        serf.begin(now, out);
        serf
    }

    fn assemble(
        options: Options,
        swim: Swim,
        codec: Codec,
        restored: &Restored,
        members: Members,
        now: Mono,
    ) -> Serf {
        // A stored clock is the newest time seen; nothing up to it is delivered again.
        let after = |stored: LTime| if stored == 0 { 0 } else { stored + 1 };
        Serf {
            low: Vec::new(),
            seed: 0,
            members_max: usize::MAX,
            clock: Clock::behind(restored.clock),
            event_clock: Clock::behind(restored.event_clock),
            query_clock: Clock::behind(restored.query_clock),
            intents: RecentIntents::default(),
            pruning: BTreeMap::new(),
            events: EventBuffer::since(after(restored.event_clock)),
            heard: Heard::since(after(restored.query_clock)),
            questions: Questions::default(),
            coordinates: Coordinates::new(),
            leaving: Leaving::Here,
            awaited: Vec::new(),
            ledger: Ledger::after(restored),
            ticks: Ticks::new(now, options.reap_interval, options.reconnect_interval),
            tally: Tally::default(),
            swim,
            options,
            codec,
            members,
        }
    }

    fn begin(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.ensure_self(now, out);
        self.swim.set_population(self.members.len());
        self.tell_coordinate();
    }

    /// When [`Serf::on_time`] must be called next.
    pub fn next_wake(&self) -> Mono {
        let own = [
            self.leave_next_wake(),
            self.questions.next_wake(),
            self.upkeep_next_wake(),
            self.ledger.next_wake(),
        ];
        let own = own.into_iter().flatten().min();
        let low = self.swim.next_wake();
        own.map_or(low, |own| own.min(low))
    }

    /// Tells the time. Early, late or twice is harmless.
    pub fn on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.with_swim(now, out, |swim, low| swim.on_time(now, low));
        self.leave_on_time(now, out);
        self.questions.on_time(now, out);
        self.upkeep_on_time(now, out);
        self.ledger.on_time(now, self.clock, out);
    }

    /// A message of a datagram.
    pub fn on_message(
        &mut self,
        now: Mono,
        from: SocketAddr,
        message: SwimMessage,
        out: &mut Vec<Action>,
    ) {
        self.with_swim(now, out, |swim, low| {
            swim.on_message(now, from, message, low);
        });
    }

    /// The result of [`Action::StreamPing`].
    pub fn on_stream_ack(&mut self, now: Mono, seq: u32, acked: bool, out: &mut Vec<Action>) {
        self.with_swim(now, out, |swim, low| {
            swim.on_stream_ack(now, seq, acked, low);
        });
    }

    /// The node's machine refused the stream of [`Action::StreamPing`].
    pub fn on_stream_refused(&mut self, now: Mono, seq: u32, out: &mut Vec<Action>) {
        self.with_swim(now, out, |swim, low| {
            swim.on_stream_refused(now, seq, low);
        });
    }

    /// A datagram could not be handed to the system.
    pub fn on_send_failed(&mut self, now: Mono, to: SocketAddr) {
        self.swim.on_send_failed(now, to);
    }

    /// A ping over a stream names us or nobody.
    pub fn answers_stream_ping(&self, node: &str) -> bool {
        self.swim.answers_stream_ping(node)
    }

    /// To be called once after a join that reached at least one member: announces it.
    pub fn joined(&mut self, now: Mono, out: &mut Vec<Action>) {
        if !self.leaving.has_begun() {
            self.announce_join(now, out);
        }
    }

    /// Announces other tags.
    ///
    /// # Errors
    /// They do not fit into the metadata of a node, or this node has left.
    pub fn set_tags(
        &mut self,
        now: Mono,
        tags: TextMap,
        out: &mut Vec<Action>,
    ) -> Result<Option<Ticket>, Refused> {
        if self.leaving.is_over() {
            return Err(Refused::Leaving);
        }
        let meta = (self.codec.encode_tags)(&tags);
        let wanted = Arc::clone(&meta);
        if meta.len() > META_MAX {
            return Err(Refused::TagSize(meta.len()));
        }
        let ticket = self.with_swim(now, out, |swim, low| swim.set_meta(now, meta, low));
        // The layer below may not take them: while leaving, or if the pool would not have us with them.
        if self.swim.local().meta == wanted {
            self.options.tags = tags;
        }
        self.ensure_self(now, out);
        if let Some(ticket) = ticket {
            self.await_ticket(now, ticket);
        }
        Ok(ticket)
    }

    /// All members in any state, sorted by name.
    pub fn members(&self) -> Vec<MemberView<'_>> {
        let rows = self.members.sorted().into_iter();
        rows.map(|(row, peer)| self.view(row, peer)).collect()
    }

    /// A member by name.
    pub fn member(&self, name: &str) -> Option<MemberView<'_>> {
        let row = self.members.find(name)?;
        Some(self.view(row, self.members.peer(row)?))
    }

    fn view<'a>(&self, row: Row, peer: &'a Arc<Peer>) -> MemberView<'a> {
        MemberView {
            peer,
            status: self.members.status(row),
            status_ltime: self.members.ltime(row),
        }
    }

    /// Members that are alive.
    pub fn alive_count(&self) -> usize {
        self.members.alive_count()
    }

    /// Own tags.
    pub fn tags(&self) -> &TextMap {
        &self.options.tags
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        use tribune_swim::Queue;
        Stats {
            members: self.members.len(),
            failed: self.members.failed().len(),
            left: self.members.left().len(),
            health_score: self.swim.health_score(),
            member_time: self.clock.time(),
            event_time: self.event_clock.time(),
            query_time: self.query_clock.time(),
            queued: [Queue::Intents, Queue::Events, Queue::Queries]
                .map(|queue| self.swim.queue_len(queue)),
            coordinate_resets: self.coordinates.resets(),
        }
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

    /// Bytes of the member table of this layer, without what members say about themselves, which is shared.
    pub fn table_size_bytes(&self) -> usize {
        self.members.size_bytes()
    }
}
