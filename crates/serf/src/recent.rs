//! The window of recent Lamport times in which messages are told apart from their repetitions (gossip.md sections 7.5
//! and 7.6): 512 slots, slot = time mod 512.
//!
//! The slots are kept sparsely: an agent that sees no events holds nothing. What one time may hold is bounded, because a
//! hostile member can send any number of messages with one time; beyond the bound messages are dropped.

use std::collections::BTreeMap;

use crate::message::LTime;

/// Slots of the window, also on the wire.
pub(crate) const SLOTS: u64 = 512;
/// Messages kept per time.
const PER_SLOT_MAX: usize = 64;

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    /// New, and remembered from now on.
    First,
    /// Seen before, too old, or from before the minimum time.
    Stale,
    /// New, but there are too many of this time already.
    Crowded,
}

/// Messages of the last 512 Lamport times.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    slots: BTreeMap<u16, (LTime, Vec<T>)>,
    time_min: LTime,
}

impl<T: PartialEq> Recent<T> {
    /// An empty window that refuses what is older than `time_min`.
    pub(crate) fn since(time_min: LTime) -> Recent<T> {
        Recent {
            slots: BTreeMap::new(),
            time_min,
        }
    }

    /// Refuses from now on what is older than `time`.
    pub(crate) fn raise(&mut self, time: LTime) {
        self.time_min = self.time_min.max(time);
    }

    /// True if messages of `time` are considered at all, with the clock at `clock`.
    pub(crate) fn considers(&self, time: LTime, clock: LTime) -> bool {
        time >= self.time_min && !(clock > SLOTS && time < clock - SLOTS)
    }

    /// Remembers a message of `time`, unless it is known.
    pub(crate) fn add(&mut self, time: LTime, clock: LTime, message: T) -> Seen {
        if !self.considers(time, clock) {
            return Seen::Stale;
        }
        let (at, known) = self
            .slots
            .entry(slot(time))
            .or_insert_with(|| (time, Vec::new()));
        if *at > time {
            // Only at the end of the range of times, where the clock stands still.
            return Seen::Stale;
        }
        if *at < time {
            *at = time;
            *known = Vec::new();
        }
        if known.contains(&message) {
            return Seen::Stale;
        }
        if known.len() >= PER_SLOT_MAX {
            return Seen::Crowded;
        }
        known.push(message);
        Seen::First
    }

    /// True if this very message is remembered.
    pub(crate) fn contains(&self, time: LTime, message: &T) -> bool {
        self.slots
            .get(&slot(time))
            .is_some_and(|(at, known)| *at == time && known.contains(message))
    }

    /// Empties the slot of `time` if it holds an older time; what was remembered of that.
    pub(crate) fn vacate(&mut self, time: LTime) -> Vec<T> {
        match self.slots.get(&slot(time)) {
            Some((at, _)) if *at < time => {
                let gone = self.slots.remove(&slot(time));
                gone.map(|(_, known)| known).unwrap_or_default()
            }
            _ => Vec::new(),
        }
    }

    /// Forgets the oldest time before `time` and refuses it from now on; what was remembered of it.
    pub(crate) fn shed(&mut self, time: LTime) -> Option<Vec<T>> {
        let (&at, &(oldest, _)) = self.slots.iter().min_by_key(|(_, (time, _))| *time)?;
        if oldest >= time {
            return None;
        }
        self.raise(oldest + 1);
        self.slots.remove(&at).map(|(_, known)| known)
    }

    /// Slot, time and messages, by slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, LTime, &[T])> {
        self.slots
            .iter()
            .map(|(at, (time, known))| (usize::from(*at), *time, known.as_slice()))
    }
}

fn slot(time: LTime) -> u16 {
    (time % SLOTS) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_first_sights_within_the_window_count() {
        let mut recent = Recent::since(3);
        // (time, clock, message, becomes)
        for (time, clock, message, want) in [
            (2, 3, "a", Seen::Stale),
            (3, 4, "a", Seen::First),
            (3, 4, "a", Seen::Stale),
            (3, 4, "b", Seen::First),
            (4, 5, "a", Seen::First),
            (600, 601, "c", Seen::First),
            (88, 601, "late", Seen::Stale),
            (89, 601, "just in time", Seen::First),
            (3 + 512, 601, "a", Seen::First),
            (3 + 512, 601, "a", Seen::Stale),
            (u64::MAX, u64::MAX, "end", Seen::First),
            (u64::MAX - 512, u64::MAX, "before the end", Seen::Stale),
        ] {
            assert_eq!(
                recent.add(time, clock, message),
                want,
                "{message} of {time}"
            );
        }
    }

    #[test]
    fn one_time_holds_a_bounded_number_of_messages() {
        let mut recent = Recent::since(0);
        let first = (0..1000)
            .filter(|n| recent.add(5, 6, *n) == Seen::First)
            .count();
        assert_eq!(first, PER_SLOT_MAX);
        assert_eq!(recent.add(5, 6, 0), Seen::Stale, "known ones stay known");
    }

    #[test]
    fn what_was_shed_is_refused() {
        let mut recent = Recent::since(0);
        recent.add(5, 6, "a");
        recent.add(7, 8, "b");
        assert_eq!(recent.shed(8), Some(vec!["a"]));
        assert_eq!(recent.add(5, 8, "a"), Seen::Stale);
        assert_eq!(recent.shed(7), None, "nothing before 7 is left");
    }
}
