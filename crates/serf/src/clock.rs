//! Lamport clocks (gossip.md section 7.2): one each for members, events and queries.
//!
//! Invariant: a clock never goes back. A hostile time near the end of the range stops it there; nothing overflows.

use crate::message::LTime;

/// One clock. A new message carries its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clock(LTime);

impl Clock {
    /// A clock that goes on behind `stored`, the newest time seen in an earlier life (0 for none).
    pub(crate) fn behind(stored: LTime) -> Clock {
        let mut clock = Clock(1);
        clock.witness(stored);
        clock
    }

    /// The time of the next message.
    pub(crate) fn time(self) -> LTime {
        self.0
    }

    /// Moves on by one.
    pub(crate) fn increment(&mut self) {
        self.0 = self.0.saturating_add(1);
    }

    /// Sees the time of somebody's message: ours is later from now on.
    pub(crate) fn witness(&mut self, seen: LTime) {
        if seen >= self.0 {
            self.0 = seen.saturating_add(1);
        }
    }

    /// Sees the clock of somebody: the newest message they know of is one earlier.
    pub(crate) fn witness_clock(&mut self, theirs: LTime) {
        if theirs > 0 {
            self.witness(theirs - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_one_later_than_what_it_saw_and_never_goes_back() {
        // (stored, seen, time then)
        for (stored, seen, want) in [
            (0, 0, 1),
            (0, 1, 2),
            (0, 7, 8),
            (9, 0, 10),
            (9, 9, 10),
            (9, 10, 11),
            (0, u64::MAX, u64::MAX),
        ] {
            let mut clock = Clock::behind(stored);
            clock.witness(seen);
            assert_eq!(clock.time(), want, "stored {stored}, seen {seen}");
        }
    }

    #[test]
    fn a_clock_of_zero_says_nothing() {
        let mut clock = Clock::behind(0);
        clock.witness_clock(0);
        assert_eq!(clock.time(), 1);
        clock.witness_clock(5);
        assert_eq!(clock.time(), 5);
        clock.increment();
        assert_eq!(clock.time(), 6);
    }
}
