//! Queries that this node asks (gossip.md section 7.6): announced, and their acks and answers gathered until the time
//! is over. One ack and one answer per member count; relays send copies.
//!
//! Open questions are bounded; a further one is refused until another ends.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use tribune_swim::Queue;
use tribune_types::time::Mono;

use crate::action::{Action, QueryId};
use crate::message::{LTime, Message, Query, QueryResponse};
use crate::serf::{Question, Refused, Serf};

/// Open questions.
const OPEN_MAX: usize = 64;
/// Answers of invented members beyond the known ones.
const STRANGERS_MAX: usize = 256;
/// Gossip intervals of the default timeout, per decimal digit of the pool.
const TIMEOUT_MULT: u32 = 16;

/// Questions whose time is not over.
#[derive(Debug, Default)]
pub(crate) struct Questions {
    open: BTreeMap<LTime, Open>,
}

#[derive(Debug)]
struct Open {
    id: u32,
    deadline: Mono,
    /// Hashes of the names that confirmed and that answered.
    acks: BTreeSet<u64>,
    answers: BTreeSet<u64>,
}

impl Questions {
    /// True if we asked this and still listen.
    pub(crate) fn is_open(&self, query: QueryId) -> bool {
        let open = self.open.get(&query.ltime);
        open.is_some_and(|open| open.id == query.id)
    }

    /// When the next one is over.
    pub(crate) fn next_wake(&self) -> Option<Mono> {
        self.open.values().map(|open| open.deadline).min()
    }

    /// Removes those whose time is over.
    pub(crate) fn on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        self.open.retain(|&ltime, open| {
            let over = now >= open.deadline;
            if over {
                out.push(Action::QueryOver(QueryId { ltime, id: open.id }));
            }
            !over
        });
    }
}

impl Serf {
    /// Asks a query. It is delivered here at once.
    ///
    /// # Errors
    /// The query is too large, too many are open, or this node has left.
    pub fn ask(
        &mut self,
        now: Mono,
        question: Question,
        out: &mut Vec<Action>,
    ) -> Result<QueryId, Refused> {
        if self.leaving.is_over() {
            return Err(Refused::Leaving);
        }
        self.questions.on_time(now, out);
        if self.questions.open.len() >= OPEN_MAX {
            return Err(Refused::TooMany);
        }
        let timeout = question.timeout.unwrap_or_else(|| self.default_timeout());
        let query = Query {
            ltime: self.query_clock.time(),
            id: self.swim.random_below(1 << 31) as u32,
            source: self.swim.local().addr,
            source_node: self.swim.name().clone(),
            filters: question.filters,
            ack: question.ack,
            no_broadcast: false,
            relay_factor: question.relay_factor,
            timeout,
            name: question.name,
            payload: question.payload,
        };
        let message = Message::Query(query.clone());
        let bytes = self.encoded(&message);
        let limit = self.options.query_size_max;
        if bytes.len() > limit {
            return Err(Refused::QuerySize(format!(
                "query exceeds limit of {limit} bytes"
            )));
        }
        let id = QueryId {
            ltime: query.ltime,
            id: query.id,
        };
        let open = Open {
            id: query.id,
            deadline: now + timeout,
            acks: BTreeSet::new(),
            answers: BTreeSet::new(),
        };
        self.questions.open.insert(query.ltime, open);
        self.on_query(now, &query, out);
        self.swim.broadcast(Queue::Queries, bytes, None);
        Ok(id)
    }

    /// Ends a query that this node asked before its time is over. No [`Action::QueryOver`] follows.
    pub fn close(&mut self, query: QueryId) {
        if self.questions.is_open(query) {
            self.questions.open.remove(&query.ltime);
        }
    }

    /// How long answers count if the question does not say.
    pub fn default_timeout(&self) -> Duration {
        let digits = digits(self.swim.alive_count());
        self.swim.timing().gossip_interval * TIMEOUT_MULT * digits
    }

    /// An ack or an answer to a question of ours.
    pub(crate) fn on_response(
        &mut self,
        now: Mono,
        response: QueryResponse,
        out: &mut Vec<Action>,
    ) {
        let strangers = self.members.len() + STRANGERS_MAX;
        let Some(open) = self.questions.open.get_mut(&response.ltime) else {
            return;
        };
        if open.id != response.id || now >= open.deadline {
            return;
        }
        let query = QueryId {
            ltime: response.ltime,
            id: response.id,
        };
        let seen = if response.ack {
            &mut open.acks
        } else {
            &mut open.answers
        };
        if seen.len() >= strangers {
            return;
        }
        if !seen.insert(hash(self.seed, &response.from)) {
            let copies = if response.ack {
                &mut self.tally.duplicate_acks
            } else {
                &mut self.tally.duplicate_answers
            };
            *copies += 1;
            return;
        }
        out.push(if response.ack {
            Action::QueryAck {
                query,
                from: response.from,
            }
        } else {
            Action::QueryAnswer {
                query,
                from: response.from,
                payload: response.payload.unwrap_or_default(),
            }
        });
    }
}

/// Names are remembered by a keyed hash: 8 bytes, whatever somebody calls themselves.
fn hash(key: u64, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(key);
    hasher.write(name.as_bytes());
    hasher.finish()
}

/// ceil(log10(alive + 1)), and at least 1.
fn digits(alive: usize) -> u32 {
    let mut digits = 1;
    let mut reach = 10usize;
    while reach < alive.saturating_add(1) {
        digits += 1;
        reach = reach.saturating_mul(10);
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_grows_with_the_digits_of_the_pool() {
        for (alive, want) in [
            (0, 1),
            (1, 1),
            (9, 1),
            (10, 2),
            (99, 2),
            (100, 3),
            (999, 3),
            (1000, 4),
        ] {
            assert_eq!(digits(alive), want, "{alive}");
        }
    }
}
