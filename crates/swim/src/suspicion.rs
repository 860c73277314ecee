//! Suspicion: how long a silent node is only suspected before it is buried (gossip.md section 6.7, Lifeguard).
//!
//! In: the first accusation and its confirmations, with their times. Out: one deadline per suspect. It falls from the
//! longest time towards the shortest as independent nodes confirm.
//!
//! Invariant: a deadline never moves later, and a suspect has one deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::options::Timing;

/// How long one suspicion may last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Confirmations after which it lasts the shortest time.
    pub(crate) confirmations: u32,
    /// Shortest.
    pub(crate) min: Duration,
    /// Longest.
    pub(crate) max: Duration,
}

impl Bounds {
    /// For a table of `nodes` entries.
    pub(crate) fn new(timing: &Timing, nodes: usize) -> Bounds {
        // In a pool too small for that many other nodes nobody could confirm, so nobody is waited for.
        let wanted = timing.suspicion_mult.saturating_sub(2);
        let confirmations = if nodes < wanted as usize + 2 {
            0
        } else {
            wanted
        };
        let scale = (nodes.max(1) as f64).log10().max(1.0);
        let thousandths = (scale * 1000.0) as u32;
        let min = timing
            .probe_interval
            .saturating_mul(timing.suspicion_mult)
            .saturating_mul(thousandths)
            / 1000;
        Bounds {
            confirmations,
            min,
            max: min.saturating_mul(timing.suspicion_timeout_max_mult),
        }
    }

    /// The time after so many confirmations.
    fn timeout(&self, confirmed: u32) -> Duration {
        if self.confirmations == 0 {
            return self.min;
        }
        let share = f64::from(confirmed + 1).ln() / f64::from(self.confirmations + 1).ln();
        let (min, max) = (self.min.as_secs_f64(), self.max.as_secs_f64());
        let millis = (1000.0 * (max - share * (max - min))).floor();
        Duration::from_millis(millis.max(0.0) as u64).max(self.min)
    }
}

#[derive(Debug)]
struct Suspicion {
    bounds: Bounds,
    start: Mono,
    deadline: Mono,
    /// The first accuser and those who confirmed: at most `confirmations` + 1.
    accusers: Vec<Text>,
}

/// All suspicions that run, by slot of the node table.
#[derive(Debug, Default)]
pub(crate) struct Suspicions {
    running: BTreeMap<u32, Suspicion>,
    deadlines: BTreeSet<(Mono, u32)>,
}

impl Suspicions {
    /// Begins a suspicion, which must not be running.
    pub(crate) fn start(&mut self, slot: u32, from: &Text, bounds: Bounds, now: Mono) {
        let timeout = if bounds.confirmations == 0 {
            bounds.min
        } else {
            bounds.max
        };
        let suspicion = Suspicion {
            bounds,
            start: now,
            deadline: now + timeout,
            accusers: vec![Text::clone(from)],
        };
        self.deadlines.insert((suspicion.deadline, slot));
        let replaced = self.running.insert(slot, suspicion);
        debug_assert!(replaced.is_none());
    }

    /// Counts another accuser. `None` if there is no suspicion, else whether this accuser was news.
    pub(crate) fn confirm(&mut self, slot: u32, from: &Text) -> Option<bool> {
        let suspicion = self.running.get_mut(&slot)?;
        let confirmed = suspicion.accusers.len() as u32;
        if confirmed > suspicion.bounds.confirmations || suspicion.accusers.contains(from) {
            return Some(false);
        }
        suspicion.accusers.push(Text::clone(from));
        let earlier = suspicion.start + suspicion.bounds.timeout(confirmed);
        if earlier < suspicion.deadline {
            self.deadlines.remove(&(suspicion.deadline, slot));
            suspicion.deadline = earlier;
            self.deadlines.insert((earlier, slot));
        }
        Some(true)
    }

    /// Ends a suspicion, if there is one.
    pub(crate) fn cancel(&mut self, slot: u32) {
        if let Some(suspicion) = self.running.remove(&slot) {
            self.deadlines.remove(&(suspicion.deadline, slot));
        }
    }

    /// The first deadline.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.deadlines.first().map(|&(at, _)| at)
    }

    /// Ends a suspicion whose time is over.
    pub(crate) fn take_due(&mut self, now: Mono) -> Option<u32> {
        let &(at, slot) = self.deadlines.first()?;
        if now < at {
            return None;
        }
        self.cancel(slot);
        Some(slot)
    }

    /// Suspicions that run.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        assert_eq!(self.running.len(), self.deadlines.len());
        self.running.len()
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn the_bounds_are_those_of_the_specification() {
        // (profile, nodes, confirmations, min ms, max ms)
        for (timing, nodes, k, min, max) in [
            (Timing::lan(), 1, 0, 4_000, 24_000),
            (Timing::lan(), 3, 0, 4_000, 24_000),
            (Timing::lan(), 4, 2, 4_000, 24_000),
            (Timing::lan(), 10, 2, 4_000, 24_000),
            (Timing::lan(), 20, 2, 5_204, 31_224),
            (Timing::lan(), 100, 2, 8_000, 48_000),
            (Timing::lan(), 10_000, 2, 16_000, 96_000),
            (Timing::wan(), 5, 0, 30_000, 180_000),
            (Timing::wan(), 6, 4, 30_000, 180_000),
        ] {
            let bounds = Bounds::new(&timing, nodes);
            let want = Bounds {
                confirmations: k,
                min: Duration::from_millis(min),
                max: Duration::from_millis(max),
            };
            assert_eq!(bounds, want, "{nodes} nodes");
        }
    }

    #[test]
    fn small_multipliers_wait_for_nobody() {
        for mult in 0..=2 {
            let timing = Timing {
                suspicion_mult: mult,
                ..Timing::lan()
            };
            assert_eq!(Bounds::new(&timing, 50).confirmations, 0);
        }
    }

    #[test]
    fn a_suspicion_shrinks_with_each_confirmation() {
        // (confirmations, ms) for k = 3, min = 2 s, max = 30 s
        let bounds = Bounds {
            confirmations: 3,
            min: Duration::from_secs(2),
            max: Duration::from_secs(30),
        };
        for (confirmed, want) in [(0, 30_000), (1, 16_000), (2, 7_810), (3, 2_000), (4, 2_000)] {
            assert_eq!(bounds.timeout(confirmed), Duration::from_millis(want));
        }
    }

    #[test]
    fn an_accuser_counts_once_and_the_first_not_at_all() {
        let mut all = Suspicions::default();
        let bounds = Bounds::new(&Timing::lan(), 10);
        let start = Mono(5_000_000_000);
        all.start(1, &text("a"), bounds, start);
        assert_eq!(all.next(), Some(start + Duration::from_secs(24)));
        // (accuser, news, ms from the start to the deadline)
        for (from, news, ms) in [
            ("a", false, 24_000),
            ("b", true, 11_381),
            ("b", false, 11_381),
            ("c", true, 4_000),
            ("d", false, 4_000),
        ] {
            assert_eq!(all.confirm(1, &text(from)), Some(news), "{from}");
            assert_eq!(all.next(), Some(start + Duration::from_millis(ms)));
        }
        assert_eq!(all.confirm(2, &text("b")), None);
        assert_eq!(all.take_due(start + Duration::from_millis(3_999)), None);
        assert_eq!(all.take_due(start + Duration::from_secs(4)), Some(1));
        assert_eq!(all.len(), 0);
    }

    #[test]
    fn deadlines_come_in_their_order_and_not_after_cancellation() {
        let mut all = Suspicions::default();
        let bounds = Bounds::new(&Timing::lan(), 3);
        for slot in [4, 2, 9] {
            all.start(slot, &text("a"), bounds, Mono(u64::from(slot)));
        }
        all.cancel(4);
        all.cancel(7);
        let late = Mono(u64::MAX);
        assert_eq!(all.take_due(late), Some(2));
        assert_eq!(all.take_due(late), Some(9));
        assert_eq!(all.take_due(late), None);
        assert_eq!((all.len(), all.next()), (0, None));
    }
}
