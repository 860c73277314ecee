//! One queue of broadcasts, each to be sent a limited number of times (gossip.md section 6.5).
//!
//! Order: fewest transmissions, then longest, then newest. A packet is filled tier by tier (a tier is one number of
//! transmissions) with the largest message that still fits. Everything is one ordered map keyed that way, so finding
//! the largest that fits is a range query: O(log n) per message taken or tier passed, however many are queued.
//!
//! Invariant: `names` points to each named message, and to nothing else.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use tribune_types::text::Text;

use crate::action::Ticket;

/// Bytes that each message of a packet costs besides itself: its length in the compound.
pub(crate) const PART_OVERHEAD: usize = 2;

/// The queue.
#[derive(Debug, Default)]
pub(crate) struct Broadcasts {
    items: BTreeMap<Key, Item>,
    names: BTreeMap<Text, Key>,
    next_id: u64,
    /// Sum of the messages' sizes.
    bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    transmits: usize,
    size: Reverse<usize>,
    id: Reverse<u64>,
}

#[derive(Debug)]
struct Item {
    bytes: Arc<[u8]>,
    name: Option<Text>,
    ticket: Option<Ticket>,
}

/// What is left of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    /// Bytes, lengths of parts included.
    pub(crate) bytes: usize,
    /// Parts.
    pub(crate) parts: usize,
}

impl Broadcasts {
    /// Messages queued.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Bytes of the messages queued.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes
    }

    /// True if nothing is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// True if a message was never sent.
    pub(crate) fn has_fresh(&self) -> bool {
        let first = self.items.first_key_value();
        first.is_some_and(|(key, _)| key.transmits == 0)
    }

    /// Queues a message that nothing replaces.
    pub(crate) fn push(&mut self, bytes: Arc<[u8]>, ticket: Option<Ticket>) {
        self.add(bytes, None, ticket);
    }

    /// Queues a message in place of an older one of the same name, whose ticket is returned.
    pub(crate) fn push_named(
        &mut self,
        name: Text,
        bytes: Arc<[u8]>,
        ticket: Option<Ticket>,
    ) -> Option<Ticket> {
        let replaced = self
            .names
            .remove(&name)
            .and_then(|key| self.items.remove(&key))
            .and_then(|item| {
                self.bytes -= item.bytes.len();
                item.ticket
            });
        let key = self.add(bytes, Some(Text::clone(&name)), ticket);
        self.names.insert(name, key);
        replaced
    }

    fn add(&mut self, bytes: Arc<[u8]>, name: Option<Text>, ticket: Option<Ticket>) -> Key {
        let key = Key {
            transmits: 0,
            size: Reverse(bytes.len()),
            id: Reverse(self.next_id),
        };
        self.next_id += 1;
        self.bytes += bytes.len();
        let item = Item {
            bytes,
            name,
            ticket,
        };
        self.items.insert(key, item);
        key
    }

    /// Fills a packet and takes what it used from `room`: with messages that were sent less than `below` times. A message
    /// leaves the queue with its `limit`th transmission (a limit of 0 is like 1); the tickets of those are added to `ended`.
    pub(crate) fn fill(
        &mut self,
        below: usize,
        limit: usize,
        room: &mut Room,
        parts: &mut Vec<Arc<[u8]>>,
        ended: &mut Vec<Ticket>,
    ) {
        // Messages sent once more go back only afterwards, or one packet would carry them twice.
        let mut again = Vec::new();
        let mut tier = 0;
        while room.parts > 0 && room.bytes > PART_OVERHEAD {
            let from = Key {
                transmits: tier,
                size: Reverse(room.bytes - PART_OVERHEAD),
                id: Reverse(u64::MAX),
            };
            let Some((&key, _)) = self.items.range(from..).next() else {
                break;
            };
            if key.transmits >= below {
                break;
            }
            if key.transmits > tier {
                tier = key.transmits;
                continue;
            }
            let Some(item) = self.items.remove(&key) else {
                break;
            };
            room.parts -= 1;
            room.bytes -= item.bytes.len() + PART_OVERHEAD;
            parts.push(Arc::clone(&item.bytes));
            if key.transmits + 1 >= limit {
                self.bytes -= item.bytes.len();
                ended.extend(item.ticket);
                if let Some(name) = item.name {
                    self.names.remove(&name);
                }
            } else {
                let transmits = key.transmits + 1;
                again.push((Key { transmits, ..key }, item));
            }
        }
        for (key, item) in again {
            if let Some(held) = item.name.as_ref().and_then(|name| self.names.get_mut(name)) {
                *held = key;
            }
            self.items.insert(key, item);
        }
    }

    /// Drops the most transmitted, then shortest, then oldest messages beyond `max`; how many.
    pub(crate) fn prune(&mut self, max: usize, ended: &mut Vec<Ticket>) -> usize {
        let mut dropped = 0;
        while self.items.len() > max {
            let Some((_, item)) = self.items.pop_last() else {
                break;
            };
            self.bytes -= item.bytes.len();
            ended.extend(item.ticket);
            if let Some(name) = item.name {
                self.names.remove(&name);
            }
            dropped += 1;
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tribune_types::text::text;

    use super::*;

    fn message(size: usize, mark: u8) -> Arc<[u8]> {
        vec![mark; size].into()
    }

    fn packet(queue: &mut Broadcasts, limit: usize, bytes: usize) -> Vec<(usize, u8)> {
        let mut room = Room { bytes, parts: 127 };
        let (mut parts, mut ended) = (Vec::new(), Vec::new());
        queue.fill(usize::MAX, limit, &mut room, &mut parts, &mut ended);
        let used: usize = parts.iter().map(|part| part.len() + 2).sum();
        assert_eq!(used, bytes - room.bytes);
        parts.iter().map(|part| (part.len(), part[0])).collect()
    }

    #[test]
    fn a_packet_takes_the_fewest_sent_then_the_longest_then_the_newest() {
        let mut queue = Broadcasts::default();
        for (size, mark) in [(10, 1), (30, 2), (10, 3), (20, 4)] {
            queue.push(message(size, mark), None);
        }
        // 34 bytes: 30 + 2 and nothing else.
        assert_eq!(packet(&mut queue, 3, 34), [(30, 2)]);
        assert_eq!(packet(&mut queue, 3, 50), [(20, 4), (10, 3), (10, 1)]);
        queue.push(message(5, 5), None);
        assert_eq!(packet(&mut queue, 3, 40), [(5, 5), (30, 2)]);
    }

    #[test]
    fn a_packet_may_take_only_what_was_sent_less_often() {
        let mut queue = Broadcasts::default();
        queue.push(message(10, 1), None);
        packet(&mut queue, 9, 100);
        assert!(!queue.has_fresh());
        queue.push(message(10, 2), None);
        queue.push(message(500, 3), None);
        assert!(queue.has_fresh());
        let mut room = Room {
            bytes: 100,
            parts: 127,
        };
        let mut parts = Vec::new();
        queue.fill(1, 9, &mut room, &mut parts, &mut Vec::new());
        assert_eq!(parts.iter().map(|part| part[0]).collect::<Vec<_>>(), [2]);
        assert!(queue.has_fresh(), "what did not fit still is");
    }

    #[test]
    fn a_message_that_does_not_fit_lets_smaller_and_older_ones_pass() {
        let mut queue = Broadcasts::default();
        queue.push(message(10, 1), None);
        assert_eq!(packet(&mut queue, 9, 100), [(10, 1)]);
        queue.push(message(2000, 2), None);
        assert_eq!(packet(&mut queue, 9, 100), [(10, 1)]);
        assert_eq!(queue.len(), 2);
    }

    #[test]
    fn a_message_leaves_after_its_last_transmission_and_ends_its_ticket() {
        for (limit, times) in [(0, 1), (1, 1), (4, 4)] {
            let mut queue = Broadcasts::default();
            queue.push_named(text("a"), message(10, 1), Some(Ticket(7)));
            let mut ended = Vec::new();
            for round in 1..=times {
                let (mut room, mut parts) = (
                    Room {
                        bytes: 99,
                        parts: 9,
                    },
                    Vec::new(),
                );
                queue.fill(usize::MAX, limit, &mut room, &mut parts, &mut ended);
                assert_eq!(parts.len(), 1);
                assert_eq!(ended.len(), usize::from(round == times));
            }
            assert!(queue.is_empty() && queue.names.is_empty());
            assert_eq!(queue.size_bytes(), 0);
        }
    }

    #[test]
    fn a_message_of_the_same_name_replaces_the_older_one_whatever_was_sent() {
        let mut queue = Broadcasts::default();
        assert_eq!(
            queue.push_named(text("a"), message(10, 1), Some(Ticket(1))),
            None
        );
        queue.push_named(text("b"), message(10, 2), None);
        packet(&mut queue, 9, 100);
        assert_eq!(
            queue.push_named(text("a"), message(8, 3), None),
            Some(Ticket(1))
        );
        assert_eq!(packet(&mut queue, 9, 100), [(8, 3), (10, 2)]);
        assert_eq!((queue.len(), queue.size_bytes()), (2, 18));
    }

    #[test]
    fn pruning_drops_the_most_transmitted_and_shortest_first() {
        let mut queue = Broadcasts::default();
        queue.push(message(10, 1), Some(Ticket(1)));
        packet(&mut queue, 9, 100);
        queue.push(message(20, 2), Some(Ticket(2)));
        queue.push(message(30, 3), Some(Ticket(3)));
        let mut ended = Vec::new();
        assert_eq!(queue.prune(1, &mut ended), 2);
        assert_eq!(ended, [Ticket(1), Ticket(2)]);
        assert_eq!(queue.size_bytes(), 30);
        assert_eq!(queue.prune(1, &mut ended), 0);
        assert_eq!(packet(&mut queue, 9, 100), [(30, 3)]);
    }

    #[test]
    fn a_packet_never_has_more_parts_than_allowed() {
        let mut queue = Broadcasts::default();
        for _ in 0..300 {
            queue.push(message(1, 1), None);
        }
        let mut room = Room {
            bytes: 1400,
            parts: 127,
        };
        let mut parts = Vec::new();
        queue.fill(usize::MAX, 9, &mut room, &mut parts, &mut Vec::new());
        assert_eq!((parts.len(), room.parts), (127, 0));
    }

    proptest! {
        /// The obvious way: look at every message for every choice.
        #[test]
        fn a_packet_equals_the_one_of_the_slow_way(
            steps in prop::collection::vec((1_usize..60, 0_usize..150), 1..60),
        ) {
            let mut queue = Broadcasts::default();
            // (transmits, size, id)
            let mut model: Vec<(usize, usize, u64)> = Vec::new();
            for (id, (size, budget)) in steps.into_iter().enumerate() {
                queue.push(message(size, 0), None);
                model.push((0, size, id as u64));
                let (mut want, mut again, mut left) = (Vec::new(), Vec::new(), budget);
                for tier in 0..3 {
                    while let Some(at) = (0..model.len())
                        .filter(|&at| model[at].0 == tier && model[at].1 + 2 <= left)
                        .max_by_key(|&at| (model[at].1, model[at].2))
                    {
                        let (sent, size, id) = model.remove(at);
                        want.push(size);
                        left -= size + 2;
                        if sent + 1 < 3 {
                            again.push((sent + 1, size, id));
                        }
                    }
                }
                model.extend(again);
                let got: Vec<usize> = packet(&mut queue, 3, budget).iter().map(|p| p.0).collect();
                prop_assert_eq!(got, want);
                prop_assert_eq!(queue.len(), model.len());
            }
        }
    }
}
