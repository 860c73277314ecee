//! All that waits for a packet: the queue of membership messages and the three of the layer above, in the order in
//! which they fill a packet (gossip.md sections 3.7 and 6.5).
//!
//! Messages of the layer above are kept with their type byte, so their extra byte of overhead is a part of their size.

use std::sync::Arc;

use tribune_types::text::Text;

use crate::action::Ticket;
use crate::queue::{Broadcasts, Room};
use crate::swim::Queue;

/// Bytes of a datagram, without what encryption takes.
const PACKET_SIZE_MAX: usize = 1400;
/// Bytes of the header of a compound.
const COMPOUND_OVERHEAD: usize = 2;
/// At 128 parts Consul 1.8 reads none of them (gossip.md section 3.4).
const PARTS_MAX: usize = 127;

/// The queues.
#[derive(Debug)]
pub(crate) struct Outbox {
    membership: Broadcasts,
    above: [Broadcasts; 3],
    /// Transmissions per decimal digit of the number of nodes.
    retransmit_mult: usize,
    /// Members as the layer above counts them.
    pub(crate) population: usize,
    /// Bytes that encryption takes of a datagram.
    pub(crate) packet_overhead: usize,
    /// Tickets to report.
    ended: Vec<Ticket>,
    next_ticket: u64,
}

impl Outbox {
    /// Empty queues.
    pub(crate) fn new(retransmit_mult: usize, packet_overhead: usize) -> Outbox {
        Outbox {
            membership: Broadcasts::default(),
            above: Default::default(),
            retransmit_mult,
            population: 1,
            packet_overhead,
            ended: Vec::new(),
            next_ticket: 0,
        }
    }

    /// A ticket nobody else has.
    pub(crate) fn new_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// Tickets that ended since the last call.
    pub(crate) fn take_ended(&mut self) -> std::vec::Drain<'_, Ticket> {
        self.ended.drain(..)
    }

    /// True if there are tickets to report.
    pub(crate) fn has_ended(&self) -> bool {
        !self.ended.is_empty()
    }

    /// True if there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.membership.is_empty() && self.above.iter().all(Broadcasts::is_empty)
    }

    /// True if something was never sent.
    pub(crate) fn has_fresh(&self) -> bool {
        self.membership.has_fresh() || self.above.iter().any(Broadcasts::has_fresh)
    }

    /// Queues news of a node in place of older news of it.
    pub(crate) fn push_news(&mut self, node: &Text, bytes: Arc<[u8]>, ticket: Option<Ticket>) {
        let replaced = self.membership.push_named(Text::clone(node), bytes, ticket);
        self.ended.extend(replaced);
    }

    /// Queues a message of the layer above, with its type byte.
    pub(crate) fn push_above(&mut self, queue: Queue, bytes: Arc<[u8]>, ticket: Option<Ticket>) {
        self.above[queue as usize].push(bytes, ticket);
    }

    /// Messages of one queue of the layer above.
    pub(crate) fn len_above(&self, queue: Queue) -> usize {
        self.above[queue as usize].len()
    }

    /// Bytes of the messages of one queue of the layer above.
    pub(crate) fn size_above(&self, queue: Queue) -> usize {
        self.above[queue as usize].size_bytes()
    }

    /// Shortens a queue of the layer above; by how many messages.
    pub(crate) fn prune_above(&mut self, queue: Queue, max: usize) -> usize {
        self.above[queue as usize].prune(max, &mut self.ended)
    }

    /// Fills the rest of a packet. `parts` holds what it carries already: nothing, or one message. `nodes` is the size
    /// of the node table.
    pub(crate) fn fill(&mut self, nodes: usize, parts: &mut Vec<Arc<[u8]>>) {
        self.fill_below(usize::MAX, nodes, parts);
    }

    /// As [`Outbox::fill`], with what was sent less than `below` times.
    pub(crate) fn fill_below(&mut self, below: usize, nodes: usize, parts: &mut Vec<Arc<[u8]>>) {
        let carried: usize = parts.iter().map(|part| part.len()).sum();
        let taken = carried + COMPOUND_OVERHEAD + self.packet_overhead;
        let mut room = Room {
            bytes: PACKET_SIZE_MAX.saturating_sub(taken),
            parts: PARTS_MAX - parts.len(),
        };
        let limit = retransmit_limit(self.retransmit_mult, nodes);
        self.membership
            .fill(below, limit, &mut room, parts, &mut self.ended);
        let limit = retransmit_limit(self.retransmit_mult, self.population);
        for queue in &mut self.above {
            queue.fill(below, limit, &mut room, parts, &mut self.ended);
        }
    }
}

/// Transmissions of a message in a pool of so many nodes: the multiplier times the number of decimal digits that it
/// takes to count to `nodes`.
fn retransmit_limit(mult: usize, nodes: usize) -> usize {
    let mut digits = 0;
    let mut power = 1_usize;
    while power <= nodes {
        digits += 1;
        power = power.saturating_mul(10);
    }
    mult.saturating_mul(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retransmit_limit_grows_with_the_digits_of_the_pool() {
        // mult * ceil(log10(nodes + 1))
        for (nodes, want) in [
            (0, 0),
            (1, 4),
            (9, 4),
            (10, 8),
            (99, 8),
            (100, 12),
            (999, 12),
            (1_000, 16),
            (10_000, 20),
        ] {
            assert_eq!(retransmit_limit(4, nodes), want, "{nodes} nodes");
        }
    }

    fn bytes(size: usize, mark: u8) -> Arc<[u8]> {
        vec![mark; size].into()
    }

    #[test]
    fn queues_fill_a_packet_in_their_order() {
        let mut outbox = Outbox::new(4, 0);
        outbox.push_above(Queue::Events, bytes(10, 4), None);
        outbox.push_above(Queue::Queries, bytes(10, 3), None);
        outbox.push_above(Queue::Intents, bytes(10, 2), None);
        outbox.push_news(&"a".into(), bytes(5, 1), None);
        let mut parts = Vec::new();
        outbox.fill(1, &mut parts);
        assert_eq!(parts.iter().map(|p| p[0]).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn the_space_for_broadcasts_is_what_the_specification_leaves() {
        // (bytes of the message carried, encryption, largest broadcast that fits). The length of the carrying message in
        // the compound is not counted, as Consul does not.
        for (carried, overhead, largest) in [
            (None, 0, 1396),
            (None, 29, 1367),
            (Some(100), 0, 1296),
            (Some(100), 45, 1251),
        ] {
            for (size, fits) in [(largest, true), (largest + 1, false)] {
                let mut outbox = Outbox::new(4, overhead);
                outbox.push_news(&"a".into(), bytes(size, 1), None);
                let mut parts: Vec<_> = carried.map(|size| bytes(size, 0)).into_iter().collect();
                let before = parts.len();
                outbox.fill(1, &mut parts);
                assert_eq!(parts.len() > before, fits, "{carried:?} {overhead} {size}");
            }
        }
        // A carrying message that is too large by itself leaves no room, and does no harm.
        let mut outbox = Outbox::new(4, 45);
        outbox.push_news(&"a".into(), bytes(1, 1), None);
        let mut parts = vec![bytes(5000, 0)];
        outbox.fill(1, &mut parts);
        assert_eq!(parts.len(), 1);
    }

    #[test]
    fn a_packet_has_at_most_127_parts_with_the_carrying_message() {
        for carried in [0, 1] {
            let mut outbox = Outbox::new(4, 0);
            for n in 0..200 {
                outbox.push_news(&n.to_string().as_str().into(), bytes(1, 1), None);
                outbox.push_above(Queue::Events, bytes(1, 2), None);
            }
            let mut parts = vec![bytes(1, 0); carried];
            outbox.fill(1, &mut parts);
            assert_eq!(parts.len(), 127);
        }
    }

    #[test]
    fn tickets_end_by_transmission_by_replacement_and_by_pruning() {
        let mut outbox = Outbox::new(1, 0);
        let tickets: Vec<Ticket> = (0..3).map(|_| outbox.new_ticket()).collect();
        outbox.push_news(&"a".into(), bytes(1, 1), Some(tickets[0]));
        outbox.push_news(&"a".into(), bytes(1, 1), Some(tickets[1]));
        assert_eq!(outbox.take_ended().collect::<Vec<_>>(), [tickets[0]]);
        outbox.fill(1, &mut Vec::new());
        assert_eq!(outbox.take_ended().collect::<Vec<_>>(), [tickets[1]]);
        outbox.push_above(Queue::Events, bytes(1, 1), Some(tickets[2]));
        assert!(!outbox.is_empty());
        assert_eq!(outbox.prune_above(Queue::Events, 0), 1);
        assert!(outbox.has_ended() && outbox.is_empty());
        assert_eq!(outbox.take_ended().collect::<Vec<_>>(), [tickets[2]]);
    }
}
