//! Events in order of time, and of arrival among those of one time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A queue of events with times in nanoseconds.
#[derive(Debug)]
pub(super) struct Queue<E> {
    /// (time, sequence, slot): small, so that sifting moves little.
    heap: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slots: Vec<Option<E>>,
    free: Vec<usize>,
    seq: u64,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Self {
            heap: BinaryHeap::new(),
            slots: Vec::new(),
            free: Vec::new(),
            seq: 0,
        }
    }
}

impl<E> Queue<E> {
    pub(super) fn push(&mut self, at_ns: u64, event: E) {
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
        self.seq += 1;
        self.heap.push(Reverse((at_ns, self.seq, slot)));
    }

    /// Time of the first event.
    pub(super) fn next_at_ns(&self) -> Option<u64> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// Takes the first event if its time has come.
    pub(super) fn pop_due(&mut self, now_ns: u64) -> Option<(u64, E)> {
        if self.next_at_ns()? > now_ns {
            return None;
        }
        let Reverse((at, _, slot)) = self.heap.pop()?;
        self.free.push(slot);
        self.slots[slot].take().map(|event| (at, event))
    }
}
