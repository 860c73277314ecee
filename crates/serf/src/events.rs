//! User events (gossip.md section 7.5): fired here or heard of, delivered once, spread further, and kept for a while for
//! those who join.
//!
//! Events are kept within a budget of bytes: when it is spent, the oldest times are forgotten and refused from then on,
//! so that nothing is delivered twice. An event that does not fit beside others of its own time is dropped.

use std::sync::Arc;

use tribune_swim::Queue;
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use crate::action::Action;
use crate::message::{EventSlot, LTime, Message, UserEvent};
use crate::recent::{Recent, SLOTS, Seen};
use crate::serf::{Refused, Serf};

/// Largest event that any setting allows.
const SIZE_LIMIT: usize = 9216;
/// Bytes of name and payload of an event of somebody else: larger ones fit into no packet, so nobody can have fired them
/// for a pool to hear.
const HEARD_SIZE_MAX: usize = 1400;
/// Bytes of all kept events.
const KEPT_BYTES_MAX: usize = 512 * 1024;
/// What an event takes beside its name and payload.
const OVERHEAD: usize = 80;

type Event = (Text, Arc<[u8]>);

/// The recent events.
#[derive(Debug)]
pub(crate) struct EventBuffer {
    recent: Recent<Event>,
    bytes: usize,
}

impl EventBuffer {
    /// An empty buffer that refuses events of times before `time_min`.
    pub(crate) fn since(time_min: LTime) -> EventBuffer {
        EventBuffer {
            recent: Recent::since(time_min),
            bytes: 0,
        }
    }

    /// Refuses events of times before `time`.
    pub(crate) fn raise(&mut self, time: LTime) {
        self.recent.raise(time);
    }

    /// Remembers an event, unless it is known or too old.
    pub(crate) fn add(&mut self, ltime: LTime, clock: LTime, event: Event) -> Seen {
        if !self.recent.considers(ltime, clock) || self.recent.contains(ltime, &event) {
            return Seen::Stale;
        }
        let size = weight(&event);
        self.bytes -= weigh(&self.recent.vacate(ltime));
        while self.bytes + size > KEPT_BYTES_MAX {
            let Some(gone) = self.recent.shed(ltime) else {
                return Seen::Crowded;
            };
            self.bytes -= weigh(&gone);
        }
        let seen = self.recent.add(ltime, clock, event);
        if seen == Seen::First {
            self.bytes += size;
        }
        seen
    }

    /// The buffer as it is exchanged.
    pub(crate) fn slots(&self) -> Vec<EventSlot> {
        self.recent
            .iter()
            .map(|(at, ltime, events)| EventSlot {
                at,
                ltime,
                events: events.to_vec(),
            })
            .collect()
    }
}

fn weigh(events: &[Event]) -> usize {
    events.iter().map(weight).sum()
}

fn weight((name, payload): &Event) -> usize {
    name.len() + payload.len() + OVERHEAD
}

/// Number of slots on the wire.
pub(crate) const EVENT_SLOTS: usize = SLOTS as usize;

impl Serf {
    /// Fires a user event. It is delivered here at once.
    ///
    /// # Errors
    /// The event is too large, or this node has left.
    pub fn fire(
        &mut self,
        _now: Mono,
        name: &str,
        payload: &[u8],
        out: &mut Vec<Action>,
    ) -> Result<(), Refused> {
        if self.leaving.is_over() {
            return Err(Refused::Leaving);
        }
        let limit = self.options.event_size_max.min(SIZE_LIMIT);
        if name.len() + payload.len() > limit {
            return Err(Refused::EventSize(format!(
                "user event exceeds configured limit of {limit} bytes before encoding"
            )));
        }
        let event = UserEvent {
            ltime: self.event_clock.time(),
            name: text(name),
            payload: payload.into(),
            coalesce: false,
        };
        let message = Message::UserEvent(event.clone());
        let bytes = self.encoded(&message);
        if bytes.len() > limit {
            return Err(Refused::EventSize(format!(
                "encoded user event exceeds configured limit of {limit} bytes after encoding"
            )));
        }
        self.event_clock.increment();
        self.on_user_event(event.ltime, (event.name, event.payload), out);
        self.swim.broadcast(Queue::Events, bytes, None);
        Ok(())
    }

    /// An event, from here, from a packet or from an exchanged state; true if it was new.
    pub(crate) fn on_user_event(
        &mut self,
        ltime: LTime,
        (name, payload): Event,
        out: &mut Vec<Action>,
    ) -> bool {
        self.event_clock.witness(ltime);
        if name.len() + payload.len() > HEARD_SIZE_MAX.max(self.options.event_size_max) {
            self.warn(&text("user event"), "user event dropped: too large", out);
            return false;
        }
        let event = (name.clone(), payload.clone());
        match self.events.add(ltime, self.event_clock.time(), event) {
            Seen::First => {}
            Seen::Stale => return false,
            Seen::Crowded => {
                self.warn(&name, "user event dropped: too many at one time", out);
                return false;
            }
        }
        out.push(Action::UserEvent {
            ltime,
            name,
            payload,
        });
        self.ledger.event(ltime, out);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(n: u64, size: usize) -> Event {
        (text(&n.to_string()), vec![n as u8; size].into())
    }

    fn weight_of(buffer: &EventBuffer) -> usize {
        buffer
            .recent
            .iter()
            .map(|(_, _, events)| weigh(events))
            .sum()
    }

    #[test]
    fn a_flood_of_events_stays_within_the_budget_and_nothing_is_delivered_twice() {
        let mut buffer = EventBuffer::since(0);
        for n in 1..3000 {
            assert_eq!(buffer.add(n, n + 1, event(n, 4000)), Seen::First, "{n}");
            assert_eq!(buffer.bytes, weight_of(&buffer));
            assert!(buffer.bytes <= KEPT_BYTES_MAX);
        }
        for n in 1..3000 {
            assert_eq!(buffer.add(n, 3000, event(n, 4000)), Seen::Stale, "{n}");
        }
    }

    #[test]
    fn a_flood_in_one_time_is_dropped_beyond_the_budget() {
        let mut buffer = EventBuffer::since(0);
        let taken = (0..200)
            .filter(|n| buffer.add(9, 10, event(*n, 40_000)) == Seen::First)
            .count();
        assert!((8..20).contains(&taken), "{taken}");
        assert_eq!(buffer.add(9, 10, event(0, 40_000)), Seen::Stale);
        assert_eq!(buffer.bytes, weight_of(&buffer));
    }

    #[test]
    fn a_newer_time_replaces_the_one_in_its_slot() {
        let mut buffer = EventBuffer::since(0);
        buffer.add(3, 4, event(1, 10));
        buffer.add(515, 516, event(2, 10));
        assert_eq!(buffer.slots().len(), 1);
        assert_eq!(buffer.slots()[0].at, 3);
        assert_eq!(buffer.slots()[0].ltime, 515);
        assert_eq!(buffer.bytes, weight_of(&buffer));
    }
}
