//! Suspicion: how long a silent node is only suspected before it is buried (gossip.md section 6.7, Lifeguard).
//!
//! In: the first accusation and its confirmations, with their times. Out: one deadline per suspect. It falls from the
//! longest time towards the shortest as independent nodes confirm.
//!
//! Nobody is buried whose accusation was not told to the pool a *grace* (a quarter of the shortest time) before, so that a
//! living one can answer. This matters to a node that was heard by nobody for a while: it accused others, and they do not
//! know. Consul's agents bury at once in two cases, and so take living nodes down after their own trouble is over:
//!
//! - a confirmation comes so late that the shorter time is already over: here the grace is left. (Such confirmations are
//!   echoes: an exchange of states spreads our own old accusation in the names of others.)
//! - the longest time is over and nobody has confirmed, where somebody should have: here the accusation is told once more,
//!   and the grace passes.
//!
//! Invariants: a confirmation never moves a deadline later; a suspect has one deadline, and it is moved later once at most.

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

    /// Least time between the last word about an accusation and the burial.
    pub(crate) fn grace(&self) -> Duration {
        self.min / 4
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
    /// It was told again because nobody confirmed it.
    told_again: bool,
    /// The first accuser and those who confirmed: at most `confirmations` + 1.
    accusers: Vec<Text>,
}

/// What is to be done when a suspicion's time is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Due {
    /// Spread the accusation once more; the suspicion goes on.
    TellAgain {
        /// The accused.
        slot: u32,
        /// The only accuser.
        from: Text,
    },
    /// The suspicion has ended.
    Bury {
        /// The accused.
        slot: u32,
        /// By as many as were waited for.
        confirmed: bool,
    },
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
            told_again: false,
            accusers: vec![Text::clone(from)],
        };
        self.deadlines.insert((suspicion.deadline, slot));
        let replaced = self.running.insert(slot, suspicion);
        debug_assert!(replaced.is_none());
    }

    /// Counts another accuser. `None` if there is no suspicion, else whether this accuser was news.
    pub(crate) fn confirm(&mut self, slot: u32, from: &Text, now: Mono) -> Option<bool> {
        let suspicion = self.running.get_mut(&slot)?;
        let confirmed = suspicion.accusers.len() as u32;
        if confirmed > suspicion.bounds.confirmations || suspicion.accusers.contains(from) {
            return Some(false);
        }
        suspicion.accusers.push(Text::clone(from));
        let planned = suspicion.start + suspicion.bounds.timeout(confirmed);
        let earlier = planned.max(now + suspicion.bounds.grace());
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

    /// A suspicion whose time is over. To be asked until there is none.
    pub(crate) fn take_due(&mut self, now: Mono) -> Option<Due> {
        let &(at, slot) = self.deadlines.first()?;
        if now < at {
            return None;
        }
        if let Some(suspicion) = self.running.get_mut(&slot)
            && suspicion.bounds.confirmations > 0
            && suspicion.accusers.len() == 1
            && !suspicion.told_again
        {
            suspicion.told_again = true;
            self.deadlines.remove(&(at, slot));
            suspicion.deadline = now + suspicion.bounds.grace();
            self.deadlines.insert((suspicion.deadline, slot));
            let from = Text::clone(&suspicion.accusers[0]);
            return Some(Due::TellAgain { slot, from });
        }
        let confirmed = self.running.get(&slot).is_none_or(|suspicion| {
            suspicion.accusers.len() as u32 > suspicion.bounds.confirmations
        });
        self.cancel(slot);
        Some(Due::Bury { slot, confirmed })
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

    fn bury(slot: u32) -> Due {
        Due::Bury {
            slot,
            confirmed: true,
        }
    }

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
            assert_eq!(all.confirm(1, &text(from), start), Some(news), "{from}");
            assert_eq!(all.next(), Some(start + Duration::from_millis(ms)));
        }
        assert_eq!(all.confirm(2, &text("b"), start), None);
        assert_eq!(all.take_due(start + Duration::from_millis(3_999)), None);
        assert_eq!(all.take_due(start + Duration::from_secs(4)), Some(bury(1)));
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
        assert_eq!(all.take_due(late), Some(bury(2)));
        assert_eq!(all.take_due(late), Some(bury(9)));
        assert_eq!(all.take_due(late), None);
        assert_eq!((all.len(), all.next()), (0, None));
    }

    #[test]
    fn a_confirmation_leaves_time_to_answer_but_moves_nothing_later() {
        let start = Mono(5_000_000_000);
        let at = |ms: u64| start + Duration::from_millis(ms);
        // (first confirmation ms, deadline then, second confirmation ms, deadline then); min 4 s, max 24 s, grace 1 s
        for (first, want_first, second, want_second) in [
            (500, 11_381, 1_000, 4_000),
            (500, 11_381, 3_500, 4_500),
            (2_000, 11_381, 11_000, 11_381),
            (15_000, 16_000, 15_000, 16_000),
            (23_500, 24_000, 23_900, 24_000),
        ] {
            let mut all = Suspicions::default();
            all.start(1, &text("a"), Bounds::new(&Timing::lan(), 10), start);
            all.confirm(1, &text("b"), at(first));
            assert_eq!(all.next(), Some(at(want_first)), "{first}");
            all.confirm(1, &text("c"), at(second));
            assert_eq!(all.next(), Some(at(want_second)), "{second}");
            assert_eq!(all.take_due(at(want_second)), Some(bury(1)));
            assert_eq!(all.len(), 0);
        }
    }

    #[test]
    fn a_suspicion_that_nobody_confirmed_is_told_once_more_where_somebody_could_have() {
        let start = Mono(0);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut all = Suspicions::default();
        all.start(1, &text("a"), Bounds::new(&Timing::lan(), 10), start);
        let again = Due::TellAgain {
            slot: 1,
            from: text("a"),
        };
        assert_eq!(all.take_due(at(24_000)), Some(again));
        assert_eq!((all.next(), all.len()), (Some(at(25_000)), 1));
        assert_eq!(all.take_due(at(24_999)), None);
        let unconfirmed = Due::Bury {
            slot: 1,
            confirmed: false,
        };
        assert_eq!(all.take_due(at(25_000)), Some(unconfirmed));

        // Three nodes: nobody could have.
        all.start(1, &text("a"), Bounds::new(&Timing::lan(), 3), start);
        assert_eq!(all.take_due(at(4_000)), Some(bury(1)));
        assert_eq!(all.len(), 0);
    }
}
