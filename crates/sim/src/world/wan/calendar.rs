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
    severed: BTreeMap<Pair, Spans>,
    rough: BTreeMap<Pair, Spans>,
    looked_ns: u64,
}

/// How a pair of datacenters is at a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Between {
    /// As it should be.
    Fine,
    /// Slow or lossy.
    Rough,
    /// Nothing gets through.
    Severed,
}

impl Calendar {
    pub(super) fn new(count: usize) -> Calendar {
        Calendar {
            disturbed: (0..count).map(|_| Spans::default()).collect(),
            ..Calendar::default()
        }
    }

    /// Notes which datacenters are whole and how each two are connected.
    pub(super) fn look(&mut self, now: u64, whole: &[bool], between: &[(Pair, Between)]) {
        let since = std::mem::replace(&mut self.looked_ns, now);
        for (spans, whole) in self.disturbed.iter_mut().zip(whole) {
            if !whole {
                spans.mark(since, now + SETTLE_NS);
            }
        }
        for (pair, between) in between {
            if *between == Between::Severed {
                self.severed.entry(*pair).or_default().mark(since, now);
            }
            let whole = whole[pair.0] && whole[pair.1];
            if *between != Between::Fine || !whole {
                let spans = self.rough.entry(*pair).or_default();
                spans.mark(since, now + ROUTE_SETTLE_NS);
            }
        }
    }

    /// True if a datacenter was not whole at some time.
    pub(super) fn is_disturbed(&self, dc: usize, from: u64, to: u64) -> bool {
        self.disturbed[dc].touch(from, to)
    }

    /// True if nothing got from one datacenter to the other all the time.
    pub(super) fn is_severed(&self, one: usize, other: usize, from: u64, to: u64) -> bool {
        let spans = self.severed.get(&pair(one, other));
        spans.is_some_and(|spans| spans.cover(from, to))
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
        calendar.look(SECOND, &[true, true], &[(link, Between::Fine)]);
        calendar.look(2 * SECOND, &[true, false], &[(link, Between::Severed)]);
        calendar.look(3 * SECOND, &[true, true], &[(link, Between::Severed)]);
        calendar.look(4 * SECOND, &[true, true], &[(link, Between::Fine)]);
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
