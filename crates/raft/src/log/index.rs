//! The in-memory side of the log: where entries are, their terms, and the recent ones themselves.
//!
//! Invariant: every entry in `first..next` is in the cache or has a position on disk; an entry
//! without a position is in the cache. Sizes: 12 bytes per entry, 16 per run of a term, and the
//! cache up to its bound plus what is not durable yet.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::wal::{Facts, Item, Kind, Position, Recovered, Spot, drop_old_terms};

/// An entry in memory.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    pub(super) term: u64,
    pub(super) kind: Kind,
    pub(super) payload: Bytes,
}

/// What a cached entry costs besides its payload.
const CACHED_OVERHEAD_BYTES: usize = size_of::<Cached>();

#[derive(Debug)]
pub(super) struct Index {
    facts: Facts,
    first: u64,
    next: u64,
    terms: Vec<(u64, u64)>,
    positions: VecDeque<Position>,
    /// Index of the first of `positions`.
    positions_first: u64,
    cache: VecDeque<Cached>,
    /// Index of the first of `cache`, which always ends at `next`.
    cache_first: u64,
    cache_bytes: usize,
    cache_bytes_max: usize,
}

impl Index {
    pub(super) fn in_memory() -> Self {
        Self::recovered(Recovered::default(), usize::MAX)
    }

    pub(super) fn recovered(recovered: Recovered, cache_bytes_max: usize) -> Self {
        let next = recovered.next_index();
        Self {
            facts: recovered.facts,
            first: recovered.first_index,
            next,
            terms: recovered.terms,
            positions: recovered.positions,
            positions_first: recovered.first_index,
            cache: VecDeque::new(),
            cache_first: next,
            cache_bytes: 0,
            cache_bytes_max,
        }
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn facts_mut(&mut self) -> &mut Facts {
        &mut self.facts
    }

    /// Index of the first entry there is (or would be).
    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// Index of the entry that comes next.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    pub(super) fn term_of(&self, index: u64) -> Option<u64> {
        if index < self.first || index >= self.next {
            return None;
        }
        let run = self.terms.partition_point(|(start, _)| *start <= index);
        self.terms.get(run.checked_sub(1)?).map(|(_, term)| *term)
    }

    /// The last entry, or the last purged one when there is none.
    pub(super) fn last(&self) -> Option<Spot> {
        let index = self.next.checked_sub(1)?;
        match self.term_of(index) {
            Some(term) => Some(Spot { term, index }),
            None => self.facts.purged,
        }
    }

    /// Adds an entry; it must be the next. False (and nothing happens) when it is not.
    pub(super) fn push(&mut self, index: u64, entry: Cached) -> bool {
        if index != self.next {
            return false;
        }
        if self
            .terms
            .last()
            .is_none_or(|(_, last)| *last != entry.term)
        {
            self.terms.push((index, entry.term));
        }
        self.cache_bytes += entry.payload.len() + CACHED_OVERHEAD_BYTES;
        self.cache.push_back(entry);
        self.next += 1;
        true
    }

    /// Voids entries from `next` on.
    pub(super) fn truncate(&mut self, next: u64) {
        while self.next > next && self.next > self.cache_first {
            if let Some(entry) = self.cache.pop_back() {
                self.cache_bytes -= entry.payload.len() + CACHED_OVERHEAD_BYTES;
            }
            self.next -= 1;
        }
        if self.next > next {
            self.next = next;
            self.cache_first = next;
        }
        self.first = self.first.min(next);
        self.terms.retain(|(start, _)| *start < next);
        let keep = next.saturating_sub(self.positions_first);
        self.positions
            .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    /// Forgets entries up to and including `spot`.
    pub(super) fn purge(&mut self, spot: Spot) {
        if self.facts.purged.is_some_and(|old| old.index >= spot.index) {
            return;
        }
        self.facts.purged = Some(spot);
        let first = spot.index + 1;
        self.first = first;
        self.next = self.next.max(first);
        while self.cache_first < first {
            match self.cache.pop_front() {
                Some(entry) => {
                    self.cache_bytes -= entry.payload.len() + CACHED_OVERHEAD_BYTES;
                    self.cache_first += 1;
                }
                None => self.cache_first = first,
            }
        }
        while self.positions_first < first {
            match self.positions.pop_front() {
                Some(_) => self.positions_first += 1,
                None => self.positions_first = first,
            }
        }
        if self.next == first {
            self.terms.clear();
        }
        drop_old_terms(&mut self.terms, first);
        if self.positions.capacity() > 4 * (self.positions.len() + 1024) {
            self.positions.shrink_to_fit();
        }
    }

    /// Notes that `items` are durable, with the positions of the entries among them in order.
    pub(super) fn flushed(&mut self, items: &[Item], positions: &[Position]) {
        let mut positions = positions.iter();
        for item in items {
            match item {
                Item::Entry { index, .. } => {
                    let Some(position) = positions.next() else {
                        break;
                    };
                    if *index < self.positions_first {
                        continue; // Purged while it was on its way.
                    }
                    self.positions.truncate(
                        usize::try_from(index - self.positions_first).unwrap_or(usize::MAX),
                    );
                    self.positions.push_back(*position);
                }
                Item::Truncate { next } => {
                    let keep = next.saturating_sub(self.positions_first);
                    self.positions
                        .truncate(usize::try_from(keep).unwrap_or(usize::MAX));
                }
                Item::Purge(_) | Item::Vote(_) | Item::Committed(_) => {}
            }
        }
        self.evict();
    }

    /// Shrinks the cache to its bound, durable entries first to last.
    fn evict(&mut self) {
        let durable_next = self.positions_first + self.positions.len() as u64;
        while self.cache_bytes > self.cache_bytes_max && self.cache_first < durable_next {
            let Some(entry) = self.cache.pop_front() else {
                break;
            };
            self.cache_bytes -= entry.payload.len() + CACHED_OVERHEAD_BYTES;
            self.cache_first += 1;
        }
    }

    pub(super) fn cached(&self, index: u64) -> Option<&Cached> {
        let at = index.checked_sub(self.cache_first)?;
        self.cache.get(usize::try_from(at).ok()?)
    }

    pub(super) fn position(&self, index: u64) -> Option<Position> {
        let at = index.checked_sub(self.positions_first)?;
        self.positions.get(usize::try_from(at).ok()?).copied()
    }
}
