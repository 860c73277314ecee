//! What clients did and were told, recorded as it happens, for the oracles at the end.
//!
//! Operations are recorded when they begin, with an unknown answer; the answer comes later, or never. Operations that
//! were surely not done are taken out again.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tribune_types::query::Consistency;

use crate::linear::{Answer, Call, Entry, Op};

/// A place in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ticket(usize);

/// Everything clients saw.
#[derive(Debug, Default)]
pub(super) struct History {
    ops: Mutex<Vec<Option<Op>>>,
    values: AtomicU64,
    stale: Mutex<Vec<StaleRead>>,
    indexes: Mutex<BTreeMap<Reader, u64>>,
    wrong: Mutex<Vec<String>>,
    /// Writes that failed otherwise than by a condition.
    failed: AtomicU64,
}

/// A read that may be old, but not made up.
#[derive(Debug, Clone, PartialEq, Eq)]
struct StaleRead {
    client: u32,
    key: String,
    at_ns: u64,
    found: Entry,
}

/// Whose indexes never fall: a client asking one thing, of the leader; or of one life of one agent, if stale.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reader {
    /// Who asks.
    pub(super) client: u32,
    /// What.
    pub(super) what: String,
    /// Which life of which agent answers; `None` if answers are as good as the leader's.
    pub(super) agent: Option<(usize, u64)>,
}

impl Reader {
    /// A client that reads under a guarantee from an agent.
    pub(super) fn new(
        client: u32,
        what: &str,
        consistency: Consistency,
        agent: (usize, u64),
    ) -> Reader {
        let stale = consistency == Consistency::Stale;
        Reader {
            client,
            what: format!("{what} {consistency:?}"),
            agent: stale.then_some(agent),
        }
    }
}

impl History {
    /// A value that nobody else writes.
    pub(super) fn fresh_value(&self) -> u64 {
        self.values.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// An operation begins.
    pub(super) fn begin(&self, client: u32, key: &str, now_ns: u64, call: Call) -> Ticket {
        let mut ops = self.ops.lock();
        ops.push(Some(Op {
            client,
            key: key.to_owned(),
            start_ns: now_ns,
            end_ns: 0,
            call,
            answer: Answer::Unknown,
        }));
        Ticket(ops.len() - 1)
    }

    /// It was answered.
    pub(super) fn end(&self, ticket: Ticket, now_ns: u64, answer: Answer) {
        if let Some(Some(op)) = self.ops.lock().get_mut(ticket.0) {
            op.end_ns = now_ns;
            op.answer = answer;
        }
    }

    /// It was surely not done, or says nothing.
    pub(super) fn forget(&self, ticket: Ticket) {
        if let Some(op) = self.ops.lock().get_mut(ticket.0) {
            *op = None;
        }
    }

    /// A read that may be old found this.
    pub(super) fn stale(&self, client: u32, key: &str, at_ns: u64, found: Option<Entry>) {
        if let Some(found) = found {
            self.stale.lock().push(StaleRead {
                client,
                key: key.to_owned(),
                at_ns,
                found,
            });
        }
    }

    /// A reader was told an index.
    pub(super) fn index(&self, reader: Reader, index: u64) {
        let mut indexes = self.indexes.lock();
        let last = indexes.entry(reader.clone()).or_default();
        if index < *last {
            let text = format!("index went back from {last} to {index} for {reader:?}");
            self.wrong.lock().push(text);
        }
        *last = index.max(*last);
    }

    /// A write was refused for the time being, or had no answer.
    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How many writes failed.
    pub(super) fn failed_count(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Something that must not be was seen.
    pub(super) fn wrong(&self, text: String) {
        self.wrong.lock().push(text);
    }

    /// What must not be, so far.
    pub(super) fn first_wrong(&self) -> Option<String> {
        self.wrong.lock().first().cloned()
    }

    /// All operations recorded so far.
    pub(super) fn ops(&self) -> Vec<Op> {
        self.ops.lock().iter().flatten().cloned().collect()
    }

    /// Finds a stale read of something that was never there, or was there only later.
    ///
    /// # Errors
    /// Which.
    pub(super) fn check_stale(&self) -> Result<(), String> {
        let mut begun = BTreeMap::new();
        for op in self.ops.lock().iter().flatten() {
            if let Some(value) = crate::linear::value_of(&op.call) {
                begun.insert(value, op.start_ns);
            }
        }
        let mut indexes: BTreeMap<(u64, Option<String>), u64> = BTreeMap::new();
        for read in self.stale.lock().iter() {
            let written = begun.get(&read.found.value);
            if written.is_none_or(|start_ns| *start_ns > read.at_ns) {
                return Err(format!(
                    "a stale read found what was never written: {read:?}"
                ));
            }
            let content = (read.found.value, read.found.session.clone());
            let known = indexes.entry(content).or_insert(read.found.index);
            if *known != read.found.index {
                return Err(format!("one value with two indexes, {known} too: {read:?}"));
            }
        }
        Ok(())
    }

    /// Every operation as a line.
    pub(super) fn trace(&self, out: &mut String) {
        for op in self.ops.lock().iter().flatten() {
            let _ = writeln!(
                out,
                "{} {} {:?} {}..{} {:?} {:?}",
                op.client, op.key, op.call, op.start_ns, op.end_ns, op.answer, ""
            );
        }
        let _ = writeln!(out, "{} stale reads", self.stale.lock().len());
    }
}
