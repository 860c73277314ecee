//! What will happen next: events ordered by time, and among equal times by the order in which they were planned.
//!
//! The heap holds 24-byte keys; events wait in slots that are used again, so that sifting moves little.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use tribune_types::time::Mono;

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Mono,
    sequence: u64,
    slot: usize,
}

/// A priority queue of events.
#[derive(Debug)]
pub(crate) struct Queue<E> {
    heap: BinaryHeap<Reverse<Key>>,
    slots: Vec<Option<E>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<E> Queue<E> {
    /// An empty queue.
    pub(crate) fn new() -> Queue<E> {
        Queue {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            sequence: 0,
        }
    }

    /// Plans an event.
    pub(crate) fn push(&mut self, at: Mono, event: E) {
        let slot = match self.free.pop() {
            Some(slot) => {
                self.slots[slot] = Some(event);
                slot
            }
            None => {
                self.slots.push(Some(event));
                self.slots.len() - 1
            }
        };
        self.sequence += 1;
        self.heap.push(Reverse(Key {
            at,
            sequence: self.sequence,
            slot,
        }));
    }

    /// Takes the next event if it is not later than `until`.
    pub(crate) fn pop(&mut self, until: Mono) -> Option<(Mono, E)> {
        if self.heap.peek().is_none_or(|Reverse(key)| key.at > until) {
            return None;
        }
        let Reverse(key) = self.heap.pop()?;
        self.free.push(key.slot);
        let event = self.slots[key.slot]
            .take()
            .expect("a key in the heap owns a filled slot");
        Some((key.at, event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_come_in_the_order_of_planning() {
        let mut queue = Queue::new();
        for (at, name) in [(5, "c"), (1, "a"), (5, "d"), (3, "b")] {
            queue.push(Mono(at), name);
        }
        assert_eq!(queue.pop(Mono(0)), None);
        let mut order = String::new();
        while let Some((_, name)) = queue.pop(Mono(4)) {
            order.push_str(name);
        }
        queue.push(Mono(5), "e");
        while let Some((_, name)) = queue.pop(Mono(9)) {
            order.push_str(name);
        }
        assert_eq!(order, "abcde");
        assert!(queue.heap.is_empty());
        assert_eq!(queue.slots.len(), 4, "slots are used again");
    }
}
