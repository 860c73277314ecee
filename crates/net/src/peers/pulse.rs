//! The pulse of a connection: looks once a round at what should move, and counts the rounds in which it did not.
//!
//! One timer per connection and no clock reads on the path of a message; the price is that limits are kept to a round.

use std::time::Duration;

/// Length of a round.
pub(super) const ROUND: Duration = Duration::from_secs(1);
/// Silent rounds after which a dialer asks whether anybody is there.
pub(super) const PING_AFTER: u32 = 2;
/// Silent rounds after which a dialer gives a connection up.
pub(super) const DEAD_AFTER: u32 = 5;
/// Silent rounds after which an acceptor gives a connection up.
pub(super) const FORGOTTEN_AFTER: u32 = 30;
/// Rounds in which a response must come to its end, or the peer take something, at the dialer.
pub(super) const STUCK_AFTER: u32 = 30;

const _: () = assert!(PING_AFTER < DEAD_AFTER && DEAD_AFTER < FORGOTTEN_AFTER);

/// The number of rounds in `limit`, at least one.
pub(super) fn rounds(limit: Duration) -> u32 {
    let rounds = limit.as_nanos().div_ceil(ROUND.as_nanos());
    u32::try_from(rounds).unwrap_or(u32::MAX).max(1)
}

/// Counts the rounds without movement of one thing.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    mark: u64,
    rounds: u32,
}

impl Pulse {
    /// At the end of a round: `mark` changes with each movement; nothing is counted while it is not `due`.
    pub(super) fn round(&mut self, due: bool, mark: u64) -> u32 {
        if !due || mark != self.mark {
            self.mark = mark;
            self.rounds = 0;
        } else {
            self.rounds = self.rounds.saturating_add(1);
        }
        self.rounds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_rounds_without_movement_count() {
        let mut pulse = Pulse::default();
        // (due, mark, rounds)
        let cases = [
            (true, 0, 1),
            (true, 0, 2),
            (true, 5, 0),
            (true, 5, 1),
            (false, 5, 0),
            (true, 5, 1),
        ];
        for (due, mark, want) in cases {
            assert_eq!(pulse.round(due, mark), want);
        }
        assert_eq!(rounds(Duration::from_millis(1)), 1);
        assert_eq!(rounds(Duration::from_millis(2001)), 3);
        assert_eq!(rounds(Duration::MAX), u32::MAX);
    }
}
