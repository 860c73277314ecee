//! What is written to the snapshot file as it happens (gossip.md section 7.11), and what a compacted file holds.
//!
//! The member clock moves often, so it is recorded in batches: half a second after it moved, or with a member's news.
//! Members of an earlier life that have not been heard of in this one stay in the file until they are. After the own
//! leave nothing but clocks is recorded.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use tribune_types::member::MemberStatus;
use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::action::{Action, Record};
use crate::clock::Clock;
use crate::message::LTime;
use crate::serf::{Restored, Serf};

/// How long a moved clock may go unrecorded.
const CLOCK_DELAY: Duration = Duration::from_millis(500);

/// What has been recorded.
#[derive(Debug)]
pub(crate) struct Ledger {
    clock: LTime,
    event_clock: LTime,
    query_clock: LTime,
    clock_due: Option<Mono>,
    unheard: BTreeMap<Text, SocketAddr>,
    left: bool,
}

impl Ledger {
    /// The file holds what was read from it.
    pub(crate) fn after(restored: &Restored) -> Ledger {
        Ledger {
            clock: restored.clock,
            event_clock: restored.event_clock,
            query_clock: restored.query_clock,
            clock_due: None,
            unheard: restored.alive.iter().cloned().collect(),
            left: false,
        }
    }

    /// A member is there, or is not any more.
    pub(crate) fn member(
        &mut self,
        name: &Text,
        alive_at: Option<SocketAddr>,
        clock: Clock,
        out: &mut Vec<Action>,
    ) {
        self.unheard.remove(name);
        if !self.left {
            out.push(Action::Record(match alive_at {
                Some(addr) => Record::Alive(name.clone(), addr),
                None => Record::NotAlive(name.clone()),
            }));
        }
        self.record_clock(clock, out);
    }

    /// The member clock may have moved.
    pub(crate) fn clock_moved(&mut self, now: Mono, clock: Clock) {
        if self.clock_due.is_none() && clock.time() - 1 > self.clock {
            self.clock_due = Some(now + CLOCK_DELAY);
        }
    }

    /// A user event was delivered.
    pub(crate) fn event(&mut self, ltime: LTime, out: &mut Vec<Action>) {
        if ltime > self.event_clock {
            self.event_clock = ltime;
            out.push(Action::Record(Record::EventClock(ltime)));
        }
    }

    /// A query was delivered.
    pub(crate) fn query(&mut self, ltime: LTime, out: &mut Vec<Action>) {
        if ltime > self.query_clock {
            self.query_clock = ltime;
            out.push(Action::Record(Record::QueryClock(ltime)));
        }
    }

    /// This node leaves by itself.
    pub(crate) fn leave(&mut self, out: &mut Vec<Action>) {
        self.left = true;
        self.unheard.clear();
        out.push(Action::Record(Record::Leave));
    }

    /// When the clock is to be recorded.
    pub(crate) fn next_wake(&self) -> Option<Mono> {
        self.clock_due
    }

    /// Records the clock if it is time.
    pub(crate) fn on_time(&mut self, now: Mono, clock: Clock, out: &mut Vec<Action>) {
        if self.clock_due.is_some_and(|due| now >= due) {
            self.record_clock(clock, out);
        }
    }

    fn record_clock(&mut self, clock: Clock, out: &mut Vec<Action>) {
        self.clock_due = None;
        // A clock starts at 1, so there is always a time before it.
        let newest = clock.time() - 1;
        if newest > self.clock {
            self.clock = newest;
            out.push(Action::Record(Record::Clock(newest)));
        }
    }
}

impl Serf {
    /// Everything a compacted snapshot file holds: who is alive, then the clocks. After a leave: the clocks and the
    /// leave.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        if !self.ledger.left {
            let members = self.members.sorted();
            let alive = members.into_iter().filter(|(row, _)| {
                matches!(
                    self.members.status(*row),
                    MemberStatus::Alive | MemberStatus::Leaving
                )
            });
            records.extend(alive.map(|(_, peer)| Record::Alive(peer.name.clone(), peer.addr)));
            let unheard = self.ledger.unheard.iter();
            records.extend(unheard.map(|(name, addr)| Record::Alive(name.clone(), *addr)));
        }
        records.push(Record::Clock(self.clock.time() - 1));
        records.push(Record::EventClock(self.ledger.event_clock));
        records.push(Record::QueryClock(self.ledger.query_clock));
        if self.ledger.left {
            records.push(Record::Leave);
        }
        records
    }
}
