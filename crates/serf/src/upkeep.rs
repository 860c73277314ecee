//! What is done from time to time (gossip.md section 7.4): members that are gone for long are forgotten, failed ones
//! are tried again, and queues are kept short.
//!
//! Ticks have their fixed intervals, but a tick with nothing to do does not wake an idle node.

use std::time::Duration;

use tribune_swim::Queue;
use tribune_types::member::MemberStatus;
use tribune_types::time::Mono;

use crate::action::{Action, MemberChange};
use crate::members::Row;
use crate::serf::Serf;

/// Between looks at the queues.
const QUEUE_CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Something done at each interval.
#[derive(Debug, Clone, Copy)]
struct Ticker {
    interval: Duration,
    next: Mono,
}

impl Ticker {
    fn new(now: Mono, interval: Duration) -> Ticker {
        Ticker {
            interval,
            next: now + interval,
        }
    }

    fn is_due(&mut self, now: Mono) -> bool {
        let due = now >= self.next;
        if due {
            self.next = now + self.interval;
        }
        due
    }
}

/// The ticks of a pool.
#[derive(Debug)]
pub(crate) struct Ticks {
    reap: Ticker,
    reconnect: Ticker,
    queues: Ticker,
}

impl Ticks {
    /// All begin with a full interval.
    pub(crate) fn new(now: Mono, reap: Duration, reconnect: Duration) -> Ticks {
        Ticks {
            reap: Ticker::new(now, reap),
            reconnect: Ticker::new(now, reconnect),
            queues: Ticker::new(now, QUEUE_CHECK_INTERVAL),
        }
    }
}

impl Serf {
    /// Does what is due.
    pub(crate) fn upkeep_on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        if !self.pruning.is_empty() {
            self.prune_on_time(now, out);
        }
        if self.ticks.reap.is_due(now) {
            self.reap(now, out);
        }
        if self.ticks.reconnect.is_due(now) {
            self.reconnect(out);
        }
        if self.ticks.queues.is_due(now) {
            self.shorten_queues(out);
        }
    }

    /// When `upkeep_on_time` has something to do.
    pub(crate) fn upkeep_next_wake(&self) -> Option<Mono> {
        let failed = !self.members.failed().is_empty();
        let reaps = failed || !self.members.left().is_empty() || !self.intents.is_empty();
        let queued = QUEUES.iter().any(|queue| self.swim.queue_len(*queue) > 0);
        let ticks = [
            reaps.then_some(self.ticks.reap.next),
            failed.then_some(self.ticks.reconnect.next),
            queued.then_some(self.ticks.queues.next),
        ];
        let prunes = self.pruning.values().copied();
        ticks.into_iter().flatten().chain(prunes).min()
    }

    /// Forgets a member with all that is known about it.
    pub(crate) fn erase(&mut self, now: Mono, row: Row, out: &mut Vec<Action>) {
        self.pruning.remove(&row);
        self.coordinates.forget(row);
        self.tell_member(now, row, MemberChange::Reaped, out);
        self.members.erase(row);
        self.swim.set_population(self.members.len());
    }

    /// Members whose leave has had its time are forgotten; one that has meanwhile said that it is there is not.
    fn prune_on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        let due: Vec<Row> = self
            .pruning
            .iter()
            .filter(|(_, at)| now >= **at)
            .map(|(row, _)| *row)
            .collect();
        for row in due {
            self.pruning.remove(&row);
            if self.members.status(row) != MemberStatus::Alive {
                self.erase(now, row, out);
            }
        }
    }

    fn reap(&mut self, now: Mono, out: &mut Vec<Action>) {
        let failed = self.members.failed().iter();
        let failed =
            failed.filter(|(_, since)| now.since(**since) > self.options.reconnect_timeout);
        let left = self.members.left().iter();
        let left = left.filter(|(_, since)| now.since(**since) > self.options.tombstone_timeout);
        let old: Vec<Row> = failed.chain(left).map(|(row, _)| *row).collect();
        for row in old {
            self.erase(now, row, out);
        }
        self.intents.expire(now, self.options.recent_intent_timeout);
    }

    /// Tries a random failed member again, the more often the larger their share, so that the pool as a whole tries
    /// each about once per interval.
    fn reconnect(&mut self, out: &mut Vec<Action>) {
        let failed = self.members.failed().len();
        if failed == 0 || self.leaving.has_begun() {
            return;
        }
        let present = self.members.len() - failed - self.members.left().len();
        if self.swim.random_below(present.max(1) as u64) >= failed as u64 {
            return;
        }
        let nth = self.swim.random_below(failed as u64) as usize;
        let row = self.members.failed().keys().nth(nth);
        if let Some(peer) = row.and_then(|row| self.members.peer(*row)) {
            out.push(Action::PushPull {
                to: peer.addr,
                node: peer.name.clone(),
                join: true,
            });
        }
    }

    fn shorten_queues(&mut self, out: &mut Vec<Action>) {
        let max = self.queue_len_max();
        for queue in QUEUES {
            let dropped = self.swim.prune(queue, max);
            if dropped > 0 {
                let name = self.swim.name().clone();
                let reason = format!("{dropped} messages dropped from the queue of {queue:?}");
                self.warn(&name, &reason, out);
            }
        }
    }

    /// Longest queue that is left as it is.
    pub(crate) fn queue_len_max(&self) -> usize {
        self.options.queue_len_min.max(2 * self.members.len())
    }
}

const QUEUES: [Queue; 3] = [Queue::Intents, Queue::Queries, Queue::Events];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_comes_once_per_interval() {
        let second = Duration::from_secs(1);
        let mut ticker = Ticker::new(Mono(0), second);
        assert!(!ticker.is_due(Mono(999_999_999)));
        assert!(ticker.is_due(Mono(0) + 5 * second));
        assert!(!ticker.is_due(Mono(0) + 5 * second));
        assert!(ticker.is_due(Mono(0) + 6 * second));
    }
}
