//! One key as a single copy would behave: what each operation does to it, and which answers fit.
//!
//! Rules of conditional writes, locks and ends of sessions: spec http-api.md (KV) and state.md (sessions), as real Consul
//! 1.8.7 behaves: a plain write keeps the lock, a lock-delay may refuse a free lock after its holder was invalidated.

use std::collections::BTreeMap;

use super::{Answer, Call, Op};

/// Number of a session within one key's history.
type SessionNo = u32;

/// What a reader sees, without the index, which it determines.
pub(super) type Content = (u64, Option<SessionNo>);

/// The key at one point of an order.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct State {
    content: Option<Content>,
    /// The highest index seen so far; changes have higher ones.
    floor: u64,
    /// Sessions that have ended, sorted.
    dead: Vec<SessionNo>,
    /// A holder was invalidated: its lock-delay, whose length is not known here, may refuse everybody.
    delayed: bool,
}

/// An operation, prepared.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) start_ns: u64,
    /// `u64::MAX` for unknown answers.
    pub(super) end_ns: u64,
    what: What,
    /// Nobody ever saw what it wrote.
    pub(super) unseen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    /// Reads; the content is expected.
    Get(Option<Content>),
    /// Writes. `None` as verdict is unknown.
    Put(u64),
    Delete,
    Cas(u64, u64, Option<bool>),
    DeleteCas(u64, Option<bool>),
    Acquire(SessionNo, u64, Verdict),
    Release(SessionNo, u64, Option<bool>),
    End(SessionNo, bool, bool),
    /// The answer does not belong to the call.
    Impossible,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Yes,
    No,
    NoSession,
    Unknown,
}

/// A key's history, prepared for the search.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) steps: Vec<Step>,
    /// The index that readers saw with a content.
    indexes: BTreeMap<Content, u64>,
}

impl Model {
    /// Prepares operations in order of their start.
    ///
    /// # Errors
    /// What is wrong on the face of it: a value written twice, or one content with two indexes.
    pub(super) fn new(ops: &[Op]) -> Result<Model, String> {
        let mut numbers = BTreeMap::new();
        for op in ops {
            for session in sessions_of(op) {
                let next = numbers.len() as SessionNo;
                numbers.entry(session).or_insert(next);
            }
        }
        let mut indexes: BTreeMap<Content, u64> = BTreeMap::new();
        let mut written: BTreeMap<u64, u32> = BTreeMap::new();
        for op in ops {
            if let Some(value) = value_of(&op.call)
                && let Some(other) = written.insert(value, op.client)
            {
                return Err(format!(
                    "the history is malformed: clients {other} and {} both write {value}",
                    op.client
                ));
            }
            if let Answer::Got(Some(entry)) = &op.answer {
                let holder = entry.session.as_deref().map(|name| numbers[name]);
                let known = indexes.entry((entry.value, holder)).or_insert(entry.index);
                if *known != entry.index {
                    return Err(format!(
                        "value {} was read with modify index {known} and with {}: it was written twice",
                        entry.value, entry.index
                    ));
                }
            }
        }
        let steps = ops.iter().map(|op| prepare(op, &numbers, &indexes));
        Ok(Model {
            steps: steps.collect(),
            indexes,
        })
    }

    /// True if both may or may not happen from now on and do the same: only one of them need be tried.
    pub(super) fn are_alike(&self, one: usize, other: usize) -> bool {
        let (one, other) = (&self.steps[one], &self.steps[other]);
        one.end_ns == u64::MAX && other.end_ns == u64::MAX && one.what == other.what
    }

    /// True if the step, answered as it was, changes nothing wherever it is placed.
    pub(super) fn is_pure(&self, number: usize) -> bool {
        matches!(
            self.steps[number].what,
            What::Get(_)
                | What::Cas(_, _, Some(false))
                | What::DeleteCas(_, Some(false))
                | What::Acquire(_, _, Verdict::No | Verdict::NoSession)
                | What::Release(_, _, Some(false))
        )
    }

    /// The state after step `number`; `None` if its answer does not fit here. An operation with an unknown answer that
    /// would change nothing does not fit either: it need not happen.
    pub(super) fn step(&self, state: &State, number: usize) -> Option<State> {
        let entry = state.content;
        let is_at = |index: u64| match entry {
            None => false,
            Some(content) => self.indexes.get(&content) == Some(&index),
        };
        match self.steps[number].what {
            What::Impossible => None,
            What::Get(seen) => (seen == entry).then(|| state.clone()),
            What::Put(value) => self.set(state, Some((value, entry.and_then(|(_, by)| by)))),
            What::Delete => self.set(state, None),
            What::Cas(index, value, verdict) => {
                let holds = if index == 0 {
                    entry.is_none()
                } else {
                    is_at(index)
                };
                self.conditional(
                    state,
                    holds,
                    verdict,
                    Some((value, entry.and_then(|(_, by)| by))),
                )
            }
            What::DeleteCas(index, verdict) => match entry {
                // Nothing to remove counts as removed.
                None => (verdict == Some(true)).then(|| state.clone()),
                Some(_) => self.conditional(state, is_at(index), verdict, None),
            },
            What::Acquire(session, value, verdict) => self.acquire(state, session, value, verdict),
            What::Release(session, value, verdict) => {
                let holds = entry.is_some_and(|(_, by)| by == Some(session));
                self.conditional(state, holds, verdict, Some((value, None)))
            }
            What::End(session, deletes, known) => {
                let Err(place) = state.dead.binary_search(&session) else {
                    return known.then(|| state.clone());
                };
                let mut next = match entry {
                    Some((value, Some(by))) if by == session => {
                        let left = (!deletes).then_some((value, None));
                        let mut next = self.set(state, left)?;
                        next.delayed = true;
                        next
                    }
                    _ => state.clone(),
                };
                next.dead.insert(place, session);
                Some(next)
            }
        }
    }

    fn acquire(
        &self,
        state: &State,
        session: SessionNo,
        value: u64,
        verdict: Verdict,
    ) -> Option<State> {
        let dead = state.dead.binary_search(&session).is_ok();
        let holder = state.content.and_then(|(_, by)| by);
        let is_free = holder.is_none_or(|by| by == session);
        match verdict {
            Verdict::NoSession => dead.then(|| state.clone()),
            // The lock-delay is looked at before the session.
            Verdict::No => (state.delayed || !dead && !is_free).then(|| state.clone()),
            Verdict::Yes | Verdict::Unknown if !dead && is_free => {
                // The delay is not over: the grant may have passed the invalidation on its way.
                self.set(state, Some((value, Some(session))))
            }
            Verdict::Yes | Verdict::Unknown => None,
        }
    }

    /// A write with a condition. `None` as verdict is unknown.
    fn conditional(
        &self,
        state: &State,
        holds: bool,
        verdict: Option<bool>,
        content: Option<Content>,
    ) -> Option<State> {
        if verdict.is_some_and(|verdict| verdict != holds) {
            return None;
        }
        match (holds, verdict) {
            (true, _) => self.set(state, content),
            (false, Some(_)) => Some(state.clone()),
            (false, None) => None,
        }
    }

    /// Changes the content. Indexes rise with every change.
    fn set(&self, state: &State, content: Option<Content>) -> Option<State> {
        let mut next = state.clone();
        if let Some(index) = content.and_then(|content| self.indexes.get(&content)) {
            if *index <= state.floor {
                return None;
            }
            next.floor = *index;
        }
        next.content = content;
        Some(next)
    }
}

fn sessions_of(op: &Op) -> impl Iterator<Item = &str> {
    let called = match &op.call {
        Call::Acquire { session, .. }
        | Call::Release { session, .. }
        | Call::EndSession { session, .. } => Some(session.as_str()),
        _ => None,
    };
    let seen = match &op.answer {
        Answer::Got(Some(entry)) => entry.session.as_deref(),
        _ => None,
    };
    called.into_iter().chain(seen)
}

/// The value that a call writes.
pub(crate) fn value_of(call: &Call) -> Option<u64> {
    match call {
        Call::Put(value)
        | Call::Cas { value, .. }
        | Call::Acquire { value, .. }
        | Call::Release { value, .. } => Some(*value),
        Call::Get | Call::Delete | Call::DeleteCas { .. } | Call::EndSession { .. } => None,
    }
}

fn prepare(op: &Op, numbers: &BTreeMap<&str, SessionNo>, seen: &BTreeMap<Content, u64>) -> Step {
    let number = |name: &str| numbers.get(name).copied().unwrap_or(SessionNo::MAX);
    let unknown = op.answer == Answer::Unknown;
    let verdict = match op.answer {
        Answer::Verdict(verdict) => Some(verdict),
        _ => None,
    };
    let is_done = matches!(op.answer, Answer::Done | Answer::Unknown);
    let has_verdict = matches!(op.answer, Answer::Verdict(_) | Answer::Unknown);
    let what = match (&op.call, &op.answer) {
        (Call::Get, Answer::Got(found)) => What::Get(found.as_ref().map(|entry| {
            let holder = entry.session.as_deref().map(number);
            (entry.value, holder)
        })),
        (Call::Put(value), _) if is_done => What::Put(*value),
        (Call::Delete, _) if is_done => What::Delete,
        (Call::Cas { index, value }, _) if has_verdict => What::Cas(*index, *value, verdict),
        (Call::DeleteCas { index }, _) if has_verdict => What::DeleteCas(*index, verdict),
        (Call::Release { session, value }, _) if has_verdict => {
            What::Release(number(session), *value, verdict)
        }
        (Call::EndSession { session, deletes }, _) if is_done => {
            What::End(number(session), *deletes, !unknown)
        }
        (Call::Acquire { session, value }, answer) => {
            let verdict = match answer {
                Answer::Verdict(true) => Verdict::Yes,
                Answer::Verdict(false) => Verdict::No,
                Answer::NoSession => Verdict::NoSession,
                _ => Verdict::Unknown,
            };
            What::Acquire(number(session), *value, verdict)
        }
        _ => What::Impossible,
    };
    let unseen = value_of(&op.call).is_some_and(|value| {
        seen.range((value, None)..=(value, Some(SessionNo::MAX)))
            .next()
            .is_none()
    });
    Step {
        start_ns: op.start_ns,
        end_ns: if unknown {
            u64::MAX
        } else {
            op.end_ns.max(op.start_ns)
        },
        what,
        unseen,
    }
}
