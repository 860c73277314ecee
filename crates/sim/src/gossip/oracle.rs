//! What must hold at every moment of a run, judged against what really happened to the agents.
//!
//! In: the truth (who runs, who stopped, who is disturbed) and what agents report. Out: violations, in words, and counts
//! of false failures. The rules:
//!
//! - no agent reports its own failure, or its own leave without having left;
//! - an agent's incarnation never falls while it lives;
//! - an agent reports a member as joined, then as gone, then as joined: never the same twice in a row;
//! - a user event is delivered at most once per life of an agent;
//! - an undisturbed agent's report that an undisturbed running agent failed is a *false failure*.
//!
//! *Disturbed* is who is cut off or paused, and for a while after that ends: what it said and what was said about it is
//! still under way.

use std::collections::BTreeMap;
use std::collections::hash_map::{Entry, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tribune_serf::MemberChange;
use tribune_types::time::Mono;

/// What really happens to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// It runs, perhaps paused.
    Up,
    /// It stopped without a word.
    Down,
    /// It left, or is about to.
    Left,
}

#[derive(Debug, Clone)]
struct Subject {
    truth: Truth,
    /// Number of starts; deliveries count per life.
    life: u32,
    incarnation: u32,
    /// Disturbances in force.
    disturbed: u32,
    /// Judged mildly until then.
    excused_until: Mono,
}

/// One wrong report of a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FalseFailure {
    /// When.
    pub at: Mono,
    /// Who reported.
    pub observer: usize,
    /// Who runs nevertheless.
    pub subject: usize,
}

/// Of an event of one time and name: by agent, its life, and payload, how often.
type Deliveries = HashMap<(usize, u32, Arc<[u8]>), u32>;

/// Watches one run.
#[derive(Debug)]
pub struct Oracle {
    subjects: Vec<Subject>,
    /// What was reported last, of pairs of which something was reported. Never iterated.
    last: HashMap<(usize, usize), MemberChange>,
    deliveries: BTreeMap<(u64, String), Deliveries>,
    grace: Duration,
    false_failures: Vec<FalseFailure>,
    violations: Vec<String>,
}

/// Violations kept as text; the rest is only more of the same.
const VIOLATIONS_MAX: usize = 100;

impl Oracle {
    /// Nothing happened yet. `grace` is how long words about a disturbed agent stay under way.
    pub fn new(grace: Duration) -> Oracle {
        Oracle {
            subjects: Vec::new(),
            last: HashMap::new(),
            deliveries: BTreeMap::new(),
            grace,
            false_failures: Vec::new(),
            violations: Vec::new(),
        }
    }

    /// An agent starts: the next new one, or one that was down. What others said of it may still reach them.
    pub fn started(&mut self, now: Mono, node: usize) {
        if node == self.subjects.len() {
            self.subjects.push(Subject {
                truth: Truth::Up,
                life: 0,
                incarnation: 0,
                disturbed: 0,
                excused_until: now,
            });
            return;
        }
        let excused_until = now + self.grace;
        let subject = &mut self.subjects[node];
        subject.truth = Truth::Up;
        subject.life += 1;
        subject.incarnation = 0;
        subject.excused_until = excused_until;
        self.last.retain(|(observer, _), _| *observer != node);
    }

    /// An agent stops, or begins to leave.
    pub fn ended(&mut self, node: usize, truth: Truth) {
        self.subjects[node].truth = truth;
    }

    /// A pause or a cut begins.
    pub fn disturb(&mut self, node: usize) {
        self.subjects[node].disturbed += 1;
    }

    /// It ends.
    pub fn relieve(&mut self, now: Mono, node: usize) {
        let excused_until = now + self.grace;
        let subject = &mut self.subjects[node];
        subject.disturbed = subject.disturbed.saturating_sub(1);
        subject.excused_until = excused_until;
    }

    /// What really happens to an agent.
    pub fn truth(&self, node: usize) -> Truth {
        self.subjects[node].truth
    }

    fn excused(&self, now: Mono, node: usize) -> bool {
        let subject = &self.subjects[node];
        subject.disturbed > 0 || subject.excused_until > now
    }

    /// An agent's own incarnation after an event.
    pub fn on_incarnation(&mut self, now: Mono, node: usize, incarnation: u32) {
        let known = self.subjects[node].incarnation;
        if incarnation < known {
            self.violate(format!(
                "{}: incarnation of {node} fell from {known} to {incarnation}",
                secs(now)
            ));
        }
        self.subjects[node].incarnation = incarnation;
    }

    /// An agent reports a change of a member with which it can talk.
    pub fn on_member(&mut self, now: Mono, observer: usize, subject: usize, change: MemberChange) {
        self.on_disturbed_member(now, observer, subject, change);
        let up = self.subjects[subject].truth == Truth::Up;
        if change == MemberChange::Failed
            && up
            && !self.excused(now, observer)
            && !self.excused(now, subject)
        {
            self.false_failures.push(FalseFailure {
                at: now,
                observer,
                subject,
            });
        }
    }

    /// An agent reports a change of a member with which it cannot talk, or could not until lately.
    pub fn on_disturbed_member(
        &mut self,
        now: Mono,
        observer: usize,
        subject: usize,
        change: MemberChange,
    ) {
        if observer == subject {
            let left = self.subjects[subject].truth == Truth::Left;
            match change {
                MemberChange::Failed | MemberChange::Reaped => self.violate(format!(
                    "{}: {observer} reports itself as {change:?}",
                    secs(now)
                )),
                MemberChange::Left if !left => self.violate(format!(
                    "{}: {observer} reports that it left itself but did not",
                    secs(now)
                )),
                _ => {}
            }
        }
        self.check_order(now, observer, subject, change);
    }

    fn check_order(&mut self, now: Mono, observer: usize, subject: usize, change: MemberChange) {
        if change == MemberChange::Updated {
            return;
        }
        let before = match self.last.entry((observer, subject)) {
            Entry::Occupied(mut known) => Some(known.insert(change)),
            Entry::Vacant(free) => {
                free.insert(change);
                None
            }
        };
        let wrong = match (before, change) {
            (Some(MemberChange::Joined), MemberChange::Joined) => true,
            // A failed member may be declared as left; nobody fails twice or after a leave.
            (Some(MemberChange::Failed | MemberChange::Left), MemberChange::Failed) => true,
            (Some(MemberChange::Left), MemberChange::Left) => true,
            (Some(MemberChange::Reaped), next) => next != MemberChange::Joined,
            _ => false,
        };
        if wrong {
            self.violate(format!(
                "{}: {observer} reports {subject} as {change:?} after {before:?}",
                secs(now)
            ));
        }
    }

    /// An agent delivers a user event.
    pub fn on_user_event(
        &mut self,
        now: Mono,
        node: usize,
        (ltime, name, payload): (u64, &str, &Arc<[u8]>),
    ) {
        let life = self.subjects[node].life;
        let count = self
            .deliveries
            .entry((ltime, name.to_owned()))
            .or_default()
            .entry((node, life, Arc::clone(payload)))
            .or_default();
        *count += 1;
        if *count > 1 {
            let text = format!(
                "{}: {node} delivers event {name:?} of {ltime} again",
                secs(now)
            );
            self.violate(text);
        }
    }

    /// Deliveries of events of this name and time, by agents in their present life.
    pub fn deliveries(&self, ltime: u64, name: &str) -> usize {
        self.deliveries
            .get(&(ltime, name.to_owned()))
            .map_or(0, |all| {
                all.keys()
                    .filter(|(node, life, _)| self.subjects[*node].life == *life)
                    .count()
            })
    }

    /// Writes down a broken rule.
    pub fn violate(&mut self, text: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(text);
        }
    }

    /// Wrong reports of failures.
    pub fn false_failures(&self) -> &[FalseFailure] {
        &self.false_failures
    }

    /// Broken rules, the first hundred.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }
}

/// A time in words.
pub(crate) fn secs(now: Mono) -> String {
    format!("{:.3} s", now.0 as f64 / 1e9)
}

#[cfg(test)]
mod tests {
    use MemberChange::{Failed, Joined, Left, Reaped, Updated};

    use super::*;

    fn of(nodes: usize) -> Oracle {
        let mut oracle = Oracle::new(Duration::from_secs(10));
        for node in 0..nodes {
            oracle.started(Mono(0), node);
        }
        oracle
    }

    #[test]
    fn orders_of_reports_are_judged() {
        // (reports about one member, allowed)
        for (reports, allowed) in [
            (vec![Failed, Joined, Failed, Left], true),
            (vec![Joined, Updated, Left, Joined], true),
            (vec![Failed, Reaped, Joined], true),
            (vec![Joined, Joined], false),
            (vec![Joined, Updated, Joined], false),
            (vec![Failed, Failed], false),
            (vec![Left, Failed], false),
            (vec![Left, Left], false),
            (vec![Failed, Reaped, Failed], false),
        ] {
            let mut oracle = of(2);
            oracle.ended(1, Truth::Down);
            for report in &reports {
                oracle.on_member(Mono(5), 0, 1, *report);
            }
            assert_eq!(oracle.violations().is_empty(), allowed, "{reports:?}");
        }
    }

    #[test]
    fn own_failure_own_leave_and_a_falling_incarnation_are_violations() {
        let mut oracle = of(1);
        oracle.on_member(Mono(1), 0, 0, Failed);
        assert_eq!(oracle.violations().len(), 1);

        let mut oracle = of(1);
        oracle.on_member(Mono(1), 0, 0, Left);
        assert_eq!(oracle.violations().len(), 1);
        let mut oracle = of(1);
        oracle.ended(0, Truth::Left);
        oracle.on_member(Mono(1), 0, 0, Left);
        assert!(oracle.violations().is_empty());

        let mut oracle = of(1);
        for incarnation in [1, 3, 3, 2] {
            oracle.on_incarnation(Mono(1), 0, incarnation);
        }
        assert_eq!(oracle.violations().len(), 1);
        let mut oracle = of(1);
        oracle.on_incarnation(Mono(1), 0, 7);
        oracle.ended(0, Truth::Down);
        oracle.started(Mono(2), 0);
        oracle.on_incarnation(Mono(3), 0, 1);
        assert!(oracle.violations().is_empty(), "a new life starts at 1");
    }

    #[test]
    fn a_failure_is_false_if_both_sides_are_well() {
        let report = |prepare: fn(&mut Oracle)| {
            let mut oracle = of(2);
            prepare(&mut oracle);
            oracle.on_member(Mono(20_000_000_000), 0, 1, Failed);
            oracle.false_failures().len()
        };
        assert_eq!(report(|_| {}), 1);
        assert_eq!(report(|o| o.ended(1, Truth::Down)), 0);
        assert_eq!(report(|o| o.disturb(1)), 0);
        assert_eq!(report(|o| o.disturb(0)), 0);
        assert_eq!(
            report(|o| {
                o.disturb(1);
                o.relieve(Mono(15_000_000_000), 1);
            }),
            0,
            "still under way"
        );
        assert_eq!(
            report(|o| {
                o.disturb(1);
                o.relieve(Mono(5_000_000_000), 1);
            }),
            1
        );
    }

    #[test]
    fn a_second_delivery_is_a_violation_but_not_in_a_new_life() {
        let mut oracle = of(2);
        let (one, other): (Arc<[u8]>, Arc<[u8]>) = (Arc::from(*b"1"), Arc::from(*b"2"));
        oracle.on_user_event(Mono(1), 0, (7, "deploy", &one));
        oracle.on_user_event(Mono(1), 1, (7, "deploy", &one));
        oracle.on_user_event(Mono(1), 0, (8, "deploy", &one));
        assert_eq!(oracle.deliveries(7, "deploy"), 2);
        oracle.ended(1, Truth::Down);
        oracle.started(Mono(2), 1);
        assert_eq!(oracle.deliveries(7, "deploy"), 1);
        oracle.on_user_event(Mono(3), 1, (7, "deploy", &one));
        oracle.on_user_event(Mono(3), 0, (7, "deploy", &other));
        assert!(oracle.violations().is_empty());
        oracle.on_user_event(Mono(3), 0, (7, "deploy", &one));
        assert_eq!(oracle.violations().len(), 1);
    }
}
