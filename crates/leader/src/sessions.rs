//! Session TTLs: which sessions have outlived their time to live.
//!
//! A session is ended after twice its TTL without renewal (agent.md section 7), so that a client on the edge gets its
//! grace. Deadlines are not replicated: a new leader arms all of them anew. A failed end is tried again, at most
//! [`TRIES`] times with doubling waits.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tribune_types::duration;
use tribune_types::id::SessionId;
use tribune_types::session::Session;
use tribune_types::time::Mono;

/// How often ending an expired session is tried.
pub const TRIES: u32 = 6;
/// Wait after the first failed try; doubles each time.
pub const RETRY_FIRST: Duration = Duration::from_secs(10);

/// Deadlines of all sessions with a TTL. A few dozen bytes each.
#[derive(Debug, Default)]
pub struct SessionTimers {
    armed: HashMap<SessionId, Timer>,
    by_deadline: BTreeSet<(Mono, SessionId)>,
}

#[derive(Debug)]
struct Timer {
    ttl: Duration,
    deadline: Mono,
    failures: u32,
}

impl SessionTimers {
    /// A session was created, or found when leadership began. Without a TTL nothing is armed.
    pub fn on_session(&mut self, now: Mono, session: &Session) {
        let ttl = duration::parse_go(&session.ttl).unwrap_or_default();
        if !ttl.is_zero() {
            self.arm(
                session.id,
                Timer {
                    ttl,
                    deadline: now + ttl * 2,
                    failures: 0,
                },
            );
        }
    }

    /// The client renewed it. Unknown sessions have no TTL.
    pub fn on_renewed(&mut self, now: Mono, id: SessionId) {
        if let Some(timer) = self.armed.get(&id) {
            let ttl = timer.ttl;
            self.arm(
                id,
                Timer {
                    ttl,
                    deadline: now + ttl * 2,
                    failures: 0,
                },
            );
        }
    }

    /// It ended, however.
    pub fn on_ended(&mut self, id: SessionId) {
        if let Some(timer) = self.armed.remove(&id) {
            self.by_deadline.remove(&(timer.deadline, id));
        }
    }

    /// Ending it failed. Armed again with a growing wait, or given up after [`TRIES`].
    pub fn on_end_failed(&mut self, now: Mono, id: SessionId) {
        let Some(timer) = self.armed.get(&id) else {
            return;
        };
        let failures = timer.failures + 1;
        if failures >= TRIES {
            self.on_ended(id);
            return;
        }
        let ttl = timer.ttl;
        let wait = RETRY_FIRST * 2u32.pow(failures - 1);
        self.arm(
            id,
            Timer {
                ttl,
                deadline: now + wait,
                failures,
            },
        );
    }

    /// Sessions to end now, earliest first. Each is handed out once until told how it went.
    pub fn due(&mut self, now: Mono) -> Vec<SessionId> {
        let mut out = Vec::new();
        while let Some(&(deadline, id)) = self.by_deadline.first() {
            if deadline > now {
                break;
            }
            self.by_deadline.pop_first();
            out.push(id);
        }
        out
    }

    /// When `due` has work next.
    pub fn next_wake(&self) -> Option<Mono> {
        self.by_deadline.first().map(|(deadline, _)| *deadline)
    }

    /// Number of armed sessions.
    pub fn len(&self) -> usize {
        self.armed.len()
    }

    /// True if no session is armed.
    pub fn is_empty(&self) -> bool {
        self.armed.is_empty()
    }

    /// Forgets everything; leadership ended.
    pub fn clear(&mut self) {
        self.armed.clear();
        self.by_deadline.clear();
    }

    fn arm(&mut self, id: SessionId, timer: Timer) {
        self.by_deadline.insert((timer.deadline, id));
        if let Some(old) = self.armed.insert(id, timer) {
            let current = self.armed.get(&id).map(|t| t.deadline);
            if current != Some(old.deadline) {
                self.by_deadline.remove(&(old.deadline, id));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tribune_types::id::Uuid;
    use tribune_types::text::text;

    fn session(n: u8, ttl: &str) -> Session {
        Session {
            id: Uuid([n; 16]),
            ttl: text(ttl),
            ..Session::default()
        }
    }

    fn at(secs: u64) -> Mono {
        Mono(secs * 1_000_000_000)
    }

    #[test]
    fn a_session_is_due_after_twice_its_ttl_and_only_once() {
        let mut timers = SessionTimers::default();
        timers.on_session(at(0), &session(1, "10s"));
        timers.on_session(at(0), &session(2, ""));
        assert_eq!(timers.due(at(19)), []);
        assert_eq!(timers.due(at(20)), [Uuid([1; 16])]);
        assert_eq!(timers.due(at(1000)), []);
    }

    #[test]
    fn a_renewal_starts_the_time_anew() {
        let mut timers = SessionTimers::default();
        timers.on_session(at(0), &session(1, "10s"));
        timers.on_renewed(at(15), Uuid([1; 16]));
        assert_eq!(timers.due(at(34)), []);
        assert_eq!(timers.due(at(35)), [Uuid([1; 16])]);
    }

    #[test]
    fn a_failed_end_is_tried_six_times_with_doubling_waits() {
        let mut timers = SessionTimers::default();
        timers.on_session(at(0), &session(1, "10s"));
        let mut now = 20;
        for wait in [10, 20, 40, 80, 160] {
            assert_eq!(timers.due(at(now)).len(), 1);
            timers.on_end_failed(at(now), Uuid([1; 16]));
            assert_eq!(timers.next_wake(), Some(at(now + wait)));
            now += wait;
        }
        assert_eq!(timers.due(at(now)).len(), 1);
        timers.on_end_failed(at(now), Uuid([1; 16]));
        assert!(timers.is_empty());
    }

    #[test]
    fn an_ended_session_is_never_due() {
        let mut timers = SessionTimers::default();
        timers.on_session(at(0), &session(1, "10s"));
        timers.on_ended(Uuid([1; 16]));
        assert_eq!(timers.next_wake(), None);
    }
}
