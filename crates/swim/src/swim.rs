//! The core of one pool: see the crate's header.

use std::net::SocketAddr;
use std::sync::Arc;

use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::action::{Action, Ticket};
use crate::message::{Message, NodeState, Peer, PushPull};
use crate::options::{Options, Timing};

/// One node's view of a pool.
pub struct Swim {
    options: Options,
}

/// Queue of broadcasts of the layer above. A packet takes from `Intents` first, then `Queries`, then `Events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// Joins and leaves.
    Intents,
    /// Queries.
    Queries,
    /// User events.
    Events,
}

/// Why an exchanged state was not merged. Nothing of it was taken over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MergeError {
    /// Versions exclude one another; the text names the node and the range.
    Versions(String),
    /// The join is refused, in the words of [`crate::Admit`].
    Refused(String),
}

/// One entry of the node table.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// Who.
    pub peer: &'a Arc<Peer>,
    /// Of its last statement.
    pub incarnation: u32,
    /// Life.
    pub state: NodeState,
    /// Since when.
    pub since: Mono,
}

#[expect(clippy::todo, unused_variables, reason = "skeleton")]
impl Swim {
    /// A pool of one: the local node is alive with incarnation 1. Timers start at random points of their first interval.
    pub fn new(options: Options, now: Mono, out: &mut Vec<Action>) -> Swim {
        todo!()
    }

    /// When [`Swim::on_time`] must be called next. Idle pools are woken for probes and exchanges only.
    pub fn next_wake(&self) -> Mono {
        todo!()
    }

    /// Tells the time. Early, late or twice is harmless; missed ticks are dropped, not made up for.
    pub fn on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        todo!()
    }

    /// A message of a datagram, in the order of the datagram.
    pub fn on_message(
        &mut self,
        now: Mono,
        from: SocketAddr,
        message: Message,
        out: &mut Vec<Action>,
    ) {
        todo!()
    }

    /// The result of [`Action::StreamPing`].
    pub fn on_stream_ack(&mut self, now: Mono, seq: u32, acked: bool, out: &mut Vec<Action>) {
        todo!()
    }

    /// A datagram could not be handed to the system for a local reason: a running probe of that address counts neither way.
    pub fn on_send_failed(&mut self, now: Mono, to: SocketAddr) {
        todo!()
    }

    /// The whole table, self included, in random order; `user_state` is left empty.
    pub fn state(&self, join: bool) -> PushPull {
        todo!()
    }

    /// A ping over a stream: true if it names us or nobody, so that an ack without payload is the answer.
    pub fn answers_stream_ping(&self, node: &str) -> bool {
        todo!()
    }

    /// Takes over a remote table. `join` is our own flag on the side that began, the request's on the other.
    pub fn merge(
        &mut self,
        now: Mono,
        remote: &PushPull,
        join: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), MergeError> {
        todo!()
    }

    /// Announces the own death by choice. The ticket ends when it was told often enough; `None` if nobody else is alive.
    pub fn leave(&mut self, now: Mono, out: &mut Vec<Action>) -> Option<Ticket> {
        todo!()
    }

    /// Announces new metadata. `None` if nobody else is alive.
    pub fn set_meta(
        &mut self,
        now: Mono,
        meta: Arc<[u8]>,
        out: &mut Vec<Action>,
    ) -> Option<Ticket> {
        todo!()
    }

    /// Queues a message of the layer above (without this layer's type byte).
    pub fn broadcast(&mut self, queue: Queue, bytes: Arc<[u8]>, ticket: Option<Ticket>) {
        todo!()
    }

    /// A ticket nobody else has.
    pub fn new_ticket(&mut self) -> Ticket {
        todo!()
    }

    /// Sends a message of the layer above to one address at once, alone.
    pub fn send_user(&self, to: SocketAddr, bytes: &[u8], out: &mut Vec<Action>) {
        todo!()
    }

    /// Drops the most transmitted messages beyond `max` from a queue; how many.
    pub fn prune(&mut self, queue: Queue, max: usize) -> usize {
        todo!()
    }

    /// Messages in a queue of the layer above.
    pub fn queue_len(&self, queue: Queue) -> usize {
        todo!()
    }

    /// Number of nodes that limits retransmission in the queues of the layer above: its members, in any state.
    pub fn set_population(&mut self, members: usize) {
        todo!()
    }

    /// The payload of acks to direct probes.
    pub fn set_ack_payload(&mut self, payload: Arc<[u8]>) {
        todo!()
    }

    /// Bytes that encryption takes of a datagram, from now on.
    pub fn set_packet_overhead(&mut self, bytes: usize) {
        todo!()
    }

    /// Entries in the table, in any state.
    pub fn len(&self) -> usize {
        todo!()
    }

    /// Always false: the local node is in the table.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Alive entries, the local one included (a suspect counts as alive).
    pub fn alive_count(&self) -> usize {
        todo!()
    }

    /// An entry by name.
    pub fn entry(&self, name: &str) -> Option<Entry<'_>> {
        todo!()
    }

    /// All entries, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        std::iter::empty()
    }

    /// Up to `count` random entries that are alive, not the local node, and pass `filter`.
    pub fn random_alive(
        &mut self,
        count: usize,
        filter: impl FnMut(&Peer) -> bool,
    ) -> Vec<Arc<Peer>> {
        todo!()
    }

    /// A random number below `n` (0 for 0), from this pool's seed.
    pub fn random_below(&mut self, n: u64) -> u64 {
        todo!()
    }

    /// What we say about ourselves at the moment.
    pub fn local(&self) -> &Arc<Peer> {
        todo!()
    }

    /// Own incarnation.
    pub fn incarnation(&self) -> u32 {
        todo!()
    }

    /// Health of the local node: 0 is good, `awareness_max - 1` is bad.
    pub fn health_score(&self) -> u32 {
        todo!()
    }

    /// Times and counts in effect.
    pub fn timing(&self) -> &Timing {
        &self.options.timing
    }

    /// Own name.
    pub fn name(&self) -> &Text {
        &self.options.name
    }
}
