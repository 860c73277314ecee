//! When what was wrong: what a request may have suffered from.
//!
//! Looked at once a step; what holds at a look held since the one before, because faults begin right after a look.

use std::collections::BTreeMap;

use super::{Pair, pair};

/// Time a datacenter gets after its last machine is back: an election without the leader's word, and a log to catch up.
const SETTLE_NS: u64 = 4_000_000_000;
/// Time the ways between two datacenters get after all is well: failed members are looked for every half a minute.
const ROUTE_SETTLE_NS: u64 = 60_000_000_000;

/// Times, in order.
#[derive(Debug, Default)]
struct Spans(Vec<(u64, u64)>);

impl Spans {
    /// Adds a time that does not begin before the last.
    fn mark(&mut self, from: u64, to: u64) {
        match self.0.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => self.0.push((from, to)),
        }
    }

    fn touch(&self, from: u64, to: u64) -> bool {
        self.0.iter().any(|span| span.0 <= to && from <= span.1)
    }

    fn cover(&self, from: u64, to: u64) -> bool {
        self.0.iter().any(|span| span.0 <= from && to <= span.1)
    }
}

/// What was wrong with each datacenter and between each two.
#[derive(Debug, Default)]
pub(super) struct Calendar {
    disturbed: Vec<Spans>,
    shaken: Vec<Spans>,
    crippled: Vec<Spans>,
    severed: BTreeMap<Pair, Spans>,
    rough: BTreeMap<Pair, Spans>,
    poor: BTreeMap<Pair, Spans>,
    looked_ns: u64,
}

/// How a datacenter is at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Health {
    /// Every machine runs.
    Whole,
    /// Processes were killed or leave, and a majority of the servers is left.
    Hurt,
    /// Less than that, or a machine that nobody is told about: without power, standing still, with a bad disk; or the
    /// servers are elsewhere.
    Crippled,
}

/// How a pair of datacenters is at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Between {
    /// As it should be.
    Fine,
    /// Slow or lossy.
    Rough,
    /// Nothing gets through, in one direction at least.
    Severed,
}

impl Calendar {
    pub(super) fn new(count: usize) -> Calendar {
        Calendar {
            disturbed: (0..count).map(|_| Spans::default()).collect(),
            shaken: (0..count).map(|_| Spans::default()).collect(),
            crippled: (0..count).map(|_| Spans::default()).collect(),
            ..Calendar::default()
        }
    }

    /// Notes how the datacenters are and how each two are connected.
    pub(super) fn look(&mut self, now: u64, health: &[Health], between: &[(Pair, Between)]) {
        let since = std::mem::replace(&mut self.looked_ns, now);
        for (dc, health) in health.iter().enumerate() {
            if *health != Health::Whole {
                self.disturbed[dc].mark(since, now + SETTLE_NS);
                self.shaken[dc].mark(since, now + ROUTE_SETTLE_NS);
            }
            if *health == Health::Crippled {
                self.crippled[dc].mark(since, now + ROUTE_SETTLE_NS);
            }
        }
        for (pair, between) in between {
            if *between == Between::Severed {
                self.severed.entry(*pair).or_default().mark(since, now);
            }
            if *between != Between::Fine {
                let spans = self.poor.entry(*pair).or_default();
                spans.mark(since, now + ROUTE_SETTLE_NS);
            }
            let whole = health[pair.0] == Health::Whole && health[pair.1] == Health::Whole;
            if *between != Between::Fine || !whole {
                let spans = self.rough.entry(*pair).or_default();
                spans.mark(since, now + ROUTE_SETTLE_NS);
            }
        }
    }

    /// The other datacenters.
    pub(super) fn others(&self, than: usize) -> impl Iterator<Item = usize> {
        (0..self.disturbed.len()).filter(move |dc| *dc != than)
    }

    /// True if a datacenter was not whole at some time.
    pub(super) fn is_disturbed(&self, dc: usize, from: u64, to: u64) -> bool {
        self.disturbed[dc].touch(from, to)
    }

    /// True if a datacenter was not whole at some time, or shortly before: its catalog may say so still.
    pub(super) fn is_shaken(&self, dc: usize, from: u64, to: u64) -> bool {
        self.shaken[dc].touch(from, to)
    }

    /// True if nothing got from one datacenter to the other all the time.
    pub(super) fn is_severed(&self, one: usize, other: usize, from: u64, to: u64) -> bool {
        let spans = self.severed.get(&pair(one, other));
        spans.is_some_and(|spans| spans.cover(from, to))
    }

    /// True if a datacenter had so little left, or had had shortly before, that it need not answer others; or if the way
    /// there was not as it should be.
    pub(super) fn is_excused(&self, one: usize, other: usize, from: u64, to: u64) -> bool {
        let poor = self.poor.get(&pair(one, other));
        self.crippled[other].touch(from, to) || poor.is_some_and(|spans| spans.touch(from, to))
    }

    /// True if something was wrong with two datacenters or between them, or had been shortly before.
    pub(super) fn is_rough(&self, one: usize, other: usize, from: u64, to: u64) -> bool {
        let spans = self.rough.get(&pair(one, other));
        spans.is_some_and(|spans| spans.touch(from, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn what_is_wrong_at_a_look_was_wrong_since_the_last() {
        let mut calendar = Calendar::new(2);
        let link = (0, 1);
        let (whole, hurt) = (Health::Whole, Health::Hurt);
        calendar.look(SECOND, &[whole, whole], &[(link, Between::Fine)]);
        calendar.look(2 * SECOND, &[whole, hurt], &[(link, Between::Severed)]);
        calendar.look(3 * SECOND, &[whole, whole], &[(link, Between::Severed)]);
        calendar.look(4 * SECOND, &[whole, whole], &[(link, Between::Fine)]);
        assert!(calendar.is_excused(0, 1, 2 * SECOND, 2 * SECOND));
        assert!(!calendar.is_excused(0, 1, 64 * SECOND, 65 * SECOND));
        assert!(!calendar.is_disturbed(0, 0, 9 * SECOND));
        // (from, to, disturbed, severed all the time, rough), in s
        for (from, to, disturbed, severed, rough) in [
            (0, 0, false, false, false),
            (0, 1, true, false, true),
            (1, 2, true, true, true),
            (2, 3, true, true, true),
            (3, 4, true, false, true),
            (7, 8, false, false, true),
            (64, 65, false, false, false),
        ] {
            let (from, to) = (from * SECOND, to * SECOND);
            let what = format!("{from} {to}");
            assert_eq!(calendar.is_disturbed(1, from, to), disturbed, "{what}");
            assert_eq!(calendar.is_severed(1, 0, from, to), severed, "{what}");
            assert_eq!(calendar.is_rough(1, 0, from, to), rough, "{what}");
        }
    }
}
