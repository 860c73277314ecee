//! The core of one pool: see the crate's header.
//!
//! This is the facade: what goes in is handed to the module that decides about it, and every timed entry point ends with
//! `settle`, which arms the timers for what is to be done next.

use std::net::SocketAddr;
use std::sync::Arc;

use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::action::{Action, Notice, Packet, Ticket};
use crate::awareness::Awareness;
use crate::decide::{Voice, not_allowed};
use crate::gossip::{Exchanges, Round};
use crate::message::{Accusation, Alive, Message, NodeState, Peer};
use crate::options::{Options, Timing};
use crate::outbox::Outbox;
use crate::probe::{Prober, first_tick};
use crate::random::Rng;
use crate::suspicion::Suspicions;
use crate::table::{LOCAL, Slot, Table};
use crate::tally::Tally;
use crate::tick::Tick;

/// The share of a gossip interval that a node waits for more news before it spreads the first.
const SOON: u32 = 20;

/// One node's view of a pool.
pub struct Swim {
    pub(crate) options: Options,
    pub(crate) table: Table,
    pub(crate) outbox: Outbox,
    pub(crate) prober: Prober,
    pub(crate) suspicions: Suspicions,
    pub(crate) exchanges: Exchanges,
    gossip_tick: Tick,
    /// Rounds of news that would otherwise wait for the next regular one: at most one between two of those.
    fresh_tick: Tick,
    pub(crate) awareness: Awareness,
    pub(crate) rng: Rng,
    /// The latest time told.
    pub(crate) clock: Mono,
    pub(crate) leaving: bool,
    pub(crate) ack_payload: Option<Arc<[u8]>>,
    /// Reports of refusals that the input at hand may still give.
    pub(crate) warnings_left: u32,
    /// For metrics.
    pub(crate) tally: Tally,
    /// Reused for encoding.
    pub(crate) scratch: Vec<u8>,
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

impl Swim {
    /// A pool of one: the local node is alive with incarnation 1. Timers start at random points of their first interval.
    pub fn new(options: Options, now: Mono, out: &mut Vec<Action>) -> Swim {
        let mut swim = Swim::bare(options, 1, now);
        // Asked like about everybody. We are in our own table whatever the answer, but the log tells why nobody else
        // will have us.
        let local = Arc::clone(swim.local());
        let allowed = if swim.options.admit.address(local.addr.ip()) {
            swim.admits(&local)
        } else {
            Err(not_allowed(local.addr.ip()))
        };
        if let Err(reason) = allowed {
            swim.refuse(&local.name, reason, out);
        }
        swim.announce(None);
        out.push(Action::Notice(Notice::Joined(local)));
        swim.settle(now, out);
        swim
    }

    /// A pool that knows and believes these nodes (and their incarnations) from the start: a converged pool, for
    /// simulations. Nobody is asked about them and no news of them is given or spread. The own name may be among them;
    /// then that record is used. The first exchange of states comes somewhere within a whole period, as after a long time.
    pub fn with_table(
        options: Options,
        now: Mono,
        nodes: impl Iterator<Item = (Arc<Peer>, u32)>,
        out: &mut Vec<Action>,
    ) -> Swim {
        let mut swim = Swim::bare(options, 1, now);
        let max = swim.options.nodes_max.min(crate::index::SLOTS_MAX);
        swim.table.reserve(nodes.size_hint().0.min(max));
        for (peer, incarnation) in nodes {
            match swim.table.find(&peer.name) {
                Some(slot) => {
                    swim.table.set_peer(slot, &peer);
                    swim.table.set_incarnation(slot, incarnation);
                }
                None if swim.table.len() < max => {
                    let (table, rng) = (&mut swim.table, &mut swim.rng);
                    table.insert(peer, incarnation, NodeState::Alive, now, rng);
                }
                None => swim.refuse(&peer.name, "the node table is full".to_owned(), out),
            }
        }
        swim.table.shuffle(&mut swim.rng);
        swim.outbox.population = swim.table.len();
        let interval = swim.options.timing.push_pull_interval;
        swim.exchanges = Exchanges::under_way(now, interval, swim.table.len(), &mut swim.rng);
        swim.settle(now, out);
        swim
    }

    fn bare(options: Options, incarnation: u32, now: Mono) -> Swim {
        let mut rng = Rng::seeded(options.seed);
        let local = Arc::new(Peer {
            name: Text::clone(&options.name),
            addr: options.addr,
            meta: Arc::clone(&options.meta),
            versions: Some(options.versions),
        });
        let timing = &options.timing;
        Swim {
            table: Table::new(local, incarnation, now, &mut rng),
            outbox: Outbox::new(timing.retransmit_mult, options.packet_overhead),
            prober: Prober::new(first_tick(now, timing.probe_interval, &mut rng)),
            suspicions: Suspicions::default(),
            exchanges: Exchanges::new(
                now + rng.below_duration(timing.push_pull_interval),
                timing.push_pull_interval,
            ),
            gossip_tick: first_tick(now, timing.gossip_interval, &mut rng)
                .prompt(timing.gossip_interval / SOON),
            fresh_tick: Tick::new(now, timing.gossip_interval)
                .prompt(timing.gossip_interval / SOON),
            awareness: Awareness::new(timing.awareness_max),
            rng,
            clock: now,
            leaving: false,
            ack_payload: None,
            warnings_left: 1,
            tally: Tally::default(),
            scratch: Vec::new(),
            options,
        }
    }

    /// When [`Swim::on_time`] must be called next. Idle pools are woken for probes and exchanges only.
    pub fn next_wake(&self) -> Mono {
        if self.outbox.has_ended() {
            return self.clock;
        }
        [
            self.prober.next(self.clock),
            self.suspicions.next(),
            self.exchanges.due,
            self.gossip_tick.due(),
            self.fresh_tick.due(),
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(Mono(u64::MAX))
    }

    /// Tells the time. Early, late or twice is harmless; missed ticks are dropped, not made up for.
    pub fn on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.warnings_left = 1;
        self.expire_suspicions(now, out);
        self.probe_on_time(now, out);
        self.exchange(now, out);
        // What was queued just now takes part if this is a point of the grid.
        self.gossip_tick.want(self.has_gossip(), now);
        if self.gossip_tick.take(now) {
            self.gossip(now, Round::Regular, out);
        }
        self.fresh_tick.want(self.has_fresh_gossip(), now);
        if self.fresh_tick.take(now) {
            self.gossip(now, Round::Fresh, out);
        }
        self.settle(now, out);
    }

    /// A message of a datagram, in the order of the datagram.
    pub fn on_message(
        &mut self,
        now: Mono,
        from: SocketAddr,
        message: Message,
        out: &mut Vec<Action>,
    ) {
        self.warnings_left = 1;
        match message {
            Message::Ping(ping) => self.on_ping(from, &ping, out),
            Message::IndirectPing(request) => self.on_indirect_ping(now, from, &request, out),
            Message::Ack(ack) => self.on_ack(now, ack, out),
            Message::Nack(seq) => self.on_nack(seq),
            Message::Suspect(suspect) => self.decide_suspect(now, &suspect, out),
            Message::Alive(alive) if self.options.admit.address(from.ip()) => {
                self.decide_alive(now, &alive, Voice::Heard, None, out);
            }
            Message::Alive(alive) => self.refuse(&alive.peer.name, not_allowed(from.ip()), out),
            Message::Dead(dead) => self.decide_dead(now, &dead, None, out),
            Message::User(bytes) => {
                out.push(Action::Notice(Notice::User { from, bytes }));
            }
        }
        self.settle(now, out);
    }

    /// Arms the timers for what there is to do, begins what is overdue, and reports the tickets that ended.
    pub(crate) fn settle(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.clock = self.clock.max(now);
        self.begin_probe(now, out);
        self.prober.tick.want(self.table.len() > 1, now);
        self.gossip_tick.want(self.has_gossip(), now);
        self.fresh_tick.want(self.has_fresh_gossip(), now);
        let ended = self.outbox.take_ended();
        out.extend(ended.map(|ticket| Action::Notice(Notice::Sent(ticket))));
    }

    /// A ping over a stream: true if it names us or nobody, so that an ack without payload is the answer.
    pub fn answers_stream_ping(&self, node: &str) -> bool {
        node.is_empty() || *node == **self.name()
    }

    /// Announces the own death by choice. The ticket ends when it was told often enough; `None` if nobody else is alive,
    /// or if it was announced before.
    pub fn leave(&mut self, now: Mono, out: &mut Vec<Action>) -> Option<Ticket> {
        if self.leaving {
            return None;
        }
        let ticket = self.others_up().then(|| self.outbox.new_ticket());
        self.leaving = true;
        let name = Text::clone(self.name());
        let dead = Accusation {
            incarnation: self.incarnation(),
            node: Text::clone(&name),
            from: name,
        };
        self.decide_dead(now, &dead, ticket, out);
        self.settle(now, out);
        ticket
    }

    /// Announces new metadata. `None` if nobody else is alive, if we are leaving, or if the own pool would not admit us
    /// with it (which gives a warning).
    pub fn set_meta(
        &mut self,
        now: Mono,
        meta: Arc<[u8]>,
        out: &mut Vec<Action>,
    ) -> Option<Ticket> {
        self.warnings_left = 1;
        let mut peer = Peer::clone(self.local());
        peer.meta = meta;
        let alive = Alive {
            incarnation: self.incarnation().saturating_add(1),
            peer: Arc::new(peer),
        };
        let ticket = self.others_up().then(|| self.outbox.new_ticket());
        let taken = self.decide_alive(now, &alive, Voice::Own, ticket, out);
        self.settle(now, out);
        ticket.filter(|_| taken)
    }

    /// Queues a message of the layer above (without this layer's type byte).
    pub fn broadcast(&mut self, queue: Queue, bytes: Arc<[u8]>, ticket: Option<Ticket>) {
        let bytes = self.encode(&Message::User(bytes));
        self.outbox.push_above(queue, bytes, ticket);
        if self.has_gossip() {
            self.gossip_tick.want_untimed(self.clock);
            self.fresh_tick.want_untimed(self.clock);
        }
    }

    /// A ticket nobody else has.
    pub fn new_ticket(&mut self) -> Ticket {
        self.outbox.new_ticket()
    }

    /// Sends a message of the layer above to one address at once, alone.
    pub fn send_user(&self, to: SocketAddr, bytes: &[u8], out: &mut Vec<Action>) {
        let mut encoded = Vec::with_capacity(bytes.len() + 1);
        (self.options.encode)(&Message::User(Arc::from(bytes)), &mut encoded);
        out.push(Action::Packet(Packet {
            to,
            parts: vec![Arc::from(encoded)],
            checksum: false,
        }));
    }

    /// Drops the most transmitted messages beyond `max` from a queue; how many. Their tickets end.
    pub fn prune(&mut self, queue: Queue, max: usize) -> usize {
        self.outbox.prune_above(queue, max)
    }

    /// Messages in a queue of the layer above.
    pub fn queue_len(&self, queue: Queue) -> usize {
        self.outbox.len_above(queue)
    }

    /// Bytes of the messages in a queue of the layer above.
    pub fn queue_size_bytes(&self, queue: Queue) -> usize {
        self.outbox.size_above(queue)
    }

    /// Number of nodes that limits retransmission in the queues of the layer above: its members, in any state.
    pub fn set_population(&mut self, members: usize) {
        self.outbox.population = members;
    }

    /// The payload of acks to direct probes.
    pub fn set_ack_payload(&mut self, payload: Arc<[u8]>) {
        self.ack_payload = Some(payload);
    }

    /// Bytes that encryption takes of a datagram, from now on.
    pub fn set_packet_overhead(&mut self, bytes: usize) {
        self.outbox.packet_overhead = bytes;
    }

    /// Entries in the table, in any state.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Always false: the local node is in the table.
    pub fn is_empty(&self) -> bool {
        false
    }

    /// Alive entries, the local one included (a suspect counts as alive).
    pub fn alive_count(&self) -> usize {
        self.table.count(NodeState::Alive) + self.table.count(NodeState::Suspect)
    }

    /// An entry by name.
    pub fn entry(&self, name: &str) -> Option<Entry<'_>> {
        self.table.find(name).map(|slot| self.entry_at(slot))
    }

    /// All entries, in no particular order.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        self.table.order().iter().map(|&slot| self.entry_at(slot))
    }

    /// Up to `count` random entries that are alive, not the local node, and pass `filter`.
    pub fn random_alive(
        &mut self,
        count: usize,
        mut filter: impl FnMut(&Peer) -> bool,
    ) -> Vec<Arc<Peer>> {
        let table = &self.table;
        let picked = table.pick(count, &mut self.rng, |slot, entry| {
            entry.state == NodeState::Alive && filter(table.peer(slot))
        });
        let peers = picked.into_iter().map(|slot| Arc::clone(table.peer(slot)));
        peers.collect()
    }

    /// A random number below `n` (0 for 0), from this pool's seed.
    pub fn random_below(&mut self, n: u64) -> u64 {
        self.rng.below(n)
    }

    /// What we say about ourselves at the moment.
    pub fn local(&self) -> &Arc<Peer> {
        self.table.peer(LOCAL)
    }

    /// Own incarnation.
    pub fn incarnation(&self) -> u32 {
        self.table.get(LOCAL).incarnation
    }

    /// Health of the local node: 0 is good, `awareness_max - 1` is bad.
    pub fn health_score(&self) -> u32 {
        self.awareness.score()
    }

    /// Times and counts in effect.
    pub fn timing(&self) -> &Timing {
        &self.options.timing
    }

    /// Own name.
    pub fn name(&self) -> &Text {
        &self.options.name
    }

    /// Bytes of the node table with its index and order, without the shared peers.
    pub fn table_size_bytes(&self) -> usize {
        self.table.size_bytes()
    }

    fn others_up(&self) -> bool {
        self.alive_count() > usize::from(self.table.get(LOCAL).is_up())
    }

    fn entry_at(&self, slot: u32) -> Entry<'_> {
        let Slot {
            incarnation,
            state,
            since,
            ..
        } = *self.table.get(slot);
        Entry {
            peer: self.table.peer(slot),
            incarnation,
            state,
            since,
        }
    }
}
