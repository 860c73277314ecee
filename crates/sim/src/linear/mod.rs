//! Linearizability of recorded histories: is there an order of all operations, each between its start and its end, in
//! which one copy of the data would have given the same answers?
//!
//! In: operations on keys with their times, from a simulation or from clients of real processes. Out: a summary, or the
//! first key whose history has no such order, with a shortened history that shows it.
//!
//! - Keys are checked one by one (a history is linearizable if each key's is). Sessions span keys: the end of a session
//!   is checked in each key that it is used with, but not that it ends at one moment in all of them.
//! - An operation with [`Answer::Unknown`] may take effect at any time after its start, or never.
//! - Sessions may end on the server's initiative: add an [`Call::EndSession`] with an unknown answer from the moment on
//!   that this may happen.
//! - Values are unique: no two operations of a history write the same one. With that, value and holder of a key tell its
//!   modify index, so conditional writes are checked exactly.
//!
//! The search is Wing and Gong's with Lowe's memory of visited configurations. A read that fits is
//! placed at once, which makes reads free. Work is bounded: a key whose search exceeds the bound is reported as
//! undecided.
//!
//! Not here: reads that may be stale, and indexes of lists (see the world's oracles).

mod explain;
mod model;
mod search;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use model::Model;
pub(crate) use model::value_of;
use search::Found as Searched;

/// Configurations visited before a key is given up as undecided.
pub const STEPS_MAX: usize = 400_000;

/// One operation of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Op {
    /// Who asked; for the text only.
    pub client: u32,
    /// The key; empty for [`Call::EndSession`].
    pub key: String,
    /// When the client sent it, in ns of one clock for all clients.
    pub start_ns: u64,
    /// When the answer was there, in ns. Ignored if the answer is unknown.
    pub end_ns: u64,
    /// What was asked.
    pub call: Call,
    /// What was answered.
    pub answer: Answer,
}

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// Read the key.
    Get,
    /// Set the value, keep the lock. Answer: `Done`.
    Put(u64),
    /// Remove the key. Answer: `Done`.
    Delete,
    /// Set if the modify index is `index`; 0 means if absent. Answer: `Verdict`.
    Cas {
        /// Expected index.
        index: u64,
        /// New value.
        value: u64,
    },
    /// Remove if the modify index is `index`. Answer: `Verdict`; true also for an absent key.
    DeleteCas {
        /// Expected index.
        index: u64,
    },
    /// Take the lock and set the value. Answer: `Verdict` or `NoSession`.
    Acquire {
        /// Who is to hold it.
        session: String,
        /// New value.
        value: u64,
    },
    /// Release the lock and set the value. Answer: `Verdict`.
    Release {
        /// Who holds it.
        session: String,
        /// New value.
        value: u64,
    },
    /// End a session: its locks are released, or the keys removed. Answer: `Done`.
    EndSession {
        /// Which.
        session: String,
        /// The keys that it holds are removed.
        deletes: bool,
    },
}

/// What a client was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The state of a key; `None` if it is absent.
    Got(Option<Entry>),
    /// Done.
    Done,
    /// Done, or the condition did not hold.
    Verdict(bool),
    /// Refused: the session does not exist.
    NoSession,
    /// None, or one that leaves the fate open.
    Unknown,
}

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: u64,
    /// Modify index.
    pub index: u64,
    /// Who holds the lock.
    pub session: Option<String>,
}

/// A history that passed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Keys checked.
    pub keys: usize,
    /// Operations checked.
    pub ops: usize,
    /// Configurations visited.
    pub steps: usize,
    /// Keys whose search was given up. Neither right nor wrong.
    pub undecided: Vec<String>,
}

/// A history without a valid order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The key.
    pub key: String,
    /// What is wrong, with the operations that show it.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "key {:?} is not linearizable: {}", self.key, self.text)
    }
}

impl std::error::Error for Violation {}

/// Checks a history, with [`STEPS_MAX`] per key.
///
/// # Errors
/// The first key, in their order, that is not linearizable; or whose history writes a value twice.
pub fn check(history: &[Op]) -> Result<Summary, Violation> {
    check_within(history, STEPS_MAX)
}

/// As [`check`], with a bound on the configurations visited per key.
///
/// # Errors
/// As [`check`].
pub fn check_within(history: &[Op], steps_max: usize) -> Result<Summary, Violation> {
    let mut summary = Summary::default();
    for (key, ops) in by_key(history) {
        let violation = |text| Violation {
            key: key.to_owned(),
            text,
        };
        let model = Model::new(&ops).map_err(violation)?;
        summary.keys += 1;
        summary.ops += ops.len();
        let (found, steps) = search::search(&model, steps_max);
        summary.steps += steps;
        match found {
            Searched::Order => {}
            Searched::GaveUp => summary.undecided.push(key.to_owned()),
            Searched::NoOrder => return Err(violation(explain::explain(&ops, steps_max))),
        }
    }
    Ok(summary)
}

/// The operations of each key, with the ends of the sessions that it is used with.
fn by_key(history: &[Op]) -> BTreeMap<&str, Vec<Op>> {
    let mut keys: BTreeMap<&str, Vec<Op>> = BTreeMap::new();
    let mut sessions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for op in history {
        if let Call::EndSession { .. } = op.call {
            continue;
        }
        // A read without an answer says nothing.
        if op.call == Call::Get && op.answer == Answer::Unknown {
            continue;
        }
        keys.entry(&op.key).or_default().push(op.clone());
        if let Call::Acquire { session, .. } | Call::Release { session, .. } = &op.call {
            sessions.entry(session).or_default().insert(&op.key);
        }
    }
    for op in history {
        let Call::EndSession { session, .. } = &op.call else {
            continue;
        };
        for key in sessions.get(session.as_str()).into_iter().flatten() {
            if let Some(ops) = keys.get_mut(key) {
                ops.push(op.clone());
            }
        }
    }
    for ops in keys.values_mut() {
        ops.sort_by_key(|op| op.start_ns);
    }
    keys
}
