//! Intents: what members said about joining and leaving, ordered by the member clock (gossip.md section 7.3).
//!
//! An intent may arrive before its member is known. Such intents are buffered for a while, bounded by number and bytes:
//! anybody can invent names. Full: the oldest goes. An intent that was buffered is applied once, when its member appears.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tribune_swim::{Queue, Ticket};
use tribune_types::member::MemberStatus;
use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::action::{Action, MemberChange};
use crate::members::Row;
use crate::message::{JoinIntent, LTime, LeaveIntent, Message};
use crate::serf::Serf;

/// Buffered intents.
const COUNT_MAX: usize = 1024;
/// Bytes of their names, in all.
const NAMES_MAX: usize = 128 * 1024;

/// What a member wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// To be there.
    Join,
    /// To be gone.
    Leave,
}

#[derive(Debug, Clone, Copy)]
struct Intent {
    wish: Wish,
    ltime: LTime,
    heard: Mono,
    /// Place in the order of hearing.
    order: u64,
}

/// Intents of members that are not known yet.
#[derive(Debug, Default)]
pub(crate) struct RecentIntents {
    intents: BTreeMap<Text, Intent>,
    /// Their names, oldest first: a flood must find the one to forget without a search.
    order: BTreeMap<u64, Text>,
    order_next: u64,
    names_bytes: usize,
}

impl RecentIntents {
    /// Keeps an intent that is newer than what is known of the name; false if it is not.
    pub(crate) fn offer(&mut self, now: Mono, name: &Text, wish: Wish, ltime: LTime) -> bool {
        let known = self.intents.get(name);
        if name.len() > NAMES_MAX / 8 || known.is_some_and(|known| ltime <= known.ltime) {
            return false;
        }
        self.take(name);
        while self.intents.len() >= COUNT_MAX || self.names_bytes + name.len() > NAMES_MAX {
            let Some((_, oldest)) = self.order.first_key_value() else {
                break;
            };
            let oldest = oldest.clone();
            self.take(&oldest);
        }
        let intent = Intent {
            wish,
            ltime,
            heard: now,
            order: self.order_next,
        };
        self.order_next += 1;
        self.names_bytes += name.len();
        self.order.insert(intent.order, name.clone());
        self.intents.insert(name.clone(), intent);
        true
    }

    /// Removes and returns the intent of a name.
    pub(crate) fn take(&mut self, name: &str) -> Option<(Wish, LTime)> {
        let (name, intent) = self.intents.remove_entry(name)?;
        self.names_bytes -= name.len();
        self.order.remove(&intent.order);
        Some((intent.wish, intent.ltime))
    }

    /// Forgets what is older than `age`.
    pub(crate) fn expire(&mut self, now: Mono, age: Duration) {
        let (bytes, order) = (&mut self.names_bytes, &mut self.order);
        self.intents.retain(|name, intent| {
            let keep = now.since(intent.heard) <= age;
            if !keep {
                *bytes -= name.len();
                order.remove(&intent.order);
            }
            keep
        });
    }

    /// True without any intent.
    pub(crate) fn is_empty(&self) -> bool {
        self.intents.is_empty()
    }
}

impl Serf {
    /// A leave intent; true if others should hear of it.
    pub(crate) fn on_leave_intent(
        &mut self,
        now: Mono,
        intent: &LeaveIntent,
        out: &mut Vec<Action>,
    ) -> bool {
        self.witness_member_time(now, intent.ltime);
        let Some(row) = self.members.find(&intent.node) else {
            return self
                .intents
                .offer(now, &intent.node, Wish::Leave, intent.ltime);
        };
        if intent.ltime <= self.members.ltime(row) {
            return false;
        }
        if intent.node == *self.swim.name() && !self.leaving.has_begun() {
            self.announce_join(now, out);
            return false;
        }
        self.members.set_ltime(row, intent.ltime);
        match self.members.status(row) {
            MemberStatus::Alive => self.members.set_status(row, MemberStatus::Leaving, now),
            MemberStatus::Failed => {
                self.members.set_status(row, MemberStatus::Left, now);
                self.tell_member(now, row, MemberChange::Left, out);
            }
            MemberStatus::Leaving | MemberStatus::Left | MemberStatus::None => {}
        }
        if intent.prune {
            self.prune(now, row, out);
        }
        true
    }

    /// A join intent; true if others should hear of it.
    pub(crate) fn on_join_intent(
        &mut self,
        now: Mono,
        node: &Text,
        ltime: LTime,
        _out: &mut Vec<Action>,
    ) -> bool {
        self.witness_member_time(now, ltime);
        let Some(row) = self.members.find(node) else {
            return self.intents.offer(now, node, Wish::Join, ltime);
        };
        if ltime <= self.members.ltime(row) {
            return false;
        }
        self.members.set_ltime(row, ltime);
        if self.members.status(row) == MemberStatus::Leaving {
            self.members.set_status(row, MemberStatus::Alive, now);
        }
        true
    }

    /// Says that this node is there, with the current clock.
    pub(crate) fn announce_join(&mut self, now: Mono, out: &mut Vec<Action>) {
        let intent = JoinIntent {
            ltime: self.clock.time(),
            node: self.swim.name().clone(),
        };
        self.on_join_intent(now, &intent.node, intent.ltime, out);
        self.spread(Queue::Intents, &Message::Join(intent), None);
    }

    /// Makes and handles a leave intent for a node; the bytes for others.
    pub(crate) fn make_leave(
        &mut self,
        now: Mono,
        node: Text,
        prune: bool,
        out: &mut Vec<Action>,
    ) -> Message {
        let intent = LeaveIntent {
            ltime: self.clock.time(),
            node,
            prune,
        };
        self.clock.increment();
        self.on_leave_intent(now, &intent, out);
        Message::Leave(intent)
    }

    /// Queues an own message.
    pub(crate) fn spread(&mut self, queue: Queue, message: &Message, ticket: Option<Ticket>) {
        let bytes = self.encoded(message);
        self.swim.broadcast(queue, bytes, ticket);
    }

    /// Encodes a message.
    pub(crate) fn encoded(&self, message: &Message) -> Arc<[u8]> {
        let mut bytes = Vec::with_capacity(128);
        (self.codec.encode)(message, &mut bytes);
        bytes.into()
    }

    /// Moves the member clock past `ltime`.
    pub(crate) fn witness_member_time(&mut self, now: Mono, ltime: LTime) {
        self.clock.witness(ltime);
        self.ledger.clock_moved(now, self.clock);
    }

    /// Forgets a member: at once, or if it is leaving after the time that its leave takes.
    fn prune(&mut self, now: Mono, row: Row, out: &mut Vec<Action>) {
        if self.members.status(row) == MemberStatus::Leaving {
            let due = now + self.options.broadcast_timeout + self.options.leave_propagate_delay;
            self.pruning.entry(row).or_insert(due);
        } else {
            self.erase(now, row, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn the_newest_intent_of_a_name_wins() {
        let mut intents = RecentIntents::default();
        let name = text("web-1");
        // (wish, time, kept)
        for (wish, ltime, kept) in [
            (Wish::Join, 5, true),
            (Wish::Leave, 5, false),
            (Wish::Leave, 6, true),
            (Wish::Join, 4, false),
        ] {
            assert_eq!(intents.offer(Mono(0), &name, wish, ltime), kept);
        }
        assert_eq!(intents.take("web-1"), Some((Wish::Leave, 6)));
        assert_eq!(intents.take("web-1"), None);
    }

    #[test]
    fn invented_names_push_one_another_out() {
        let mut intents = RecentIntents::default();
        for n in 0..100_000u64 {
            let name = text(&format!("{n:0>200}"));
            assert!(intents.offer(Mono(n), &name, Wish::Leave, n));
        }
        assert!(!intents.offer(Mono(0), &text(&"x".repeat(60_000)), Wish::Join, 1));
        assert!(intents.intents.len() <= COUNT_MAX);
        assert!(intents.names_bytes <= NAMES_MAX);
        assert_eq!(intents.order.len(), intents.intents.len());
        assert!(intents.take(&format!("{:0>200}", 99_999)).is_some());
        intents.expire(Mono(1 << 50), Duration::from_secs(300));
        assert!(intents.is_empty());
        assert_eq!((intents.names_bytes, intents.order.len()), (0, 0));
    }
}
