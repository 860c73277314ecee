//! Probes that we carry out for others (gossip.md section 6.3): which of our numbers stands for which of theirs.
//!
//! In: the request, the ack, the time. Out: who is to be answered, and how. All wait equally long, so the order of
//! arrival is the order of expiry.
//!
//! Bound: [`RELAYS_MAX`] in flight (some 100 bytes each); further requests are refused, which costs the asker a nack.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use tribune_types::time::Mono;

/// Requests in flight. A node of a healthy pool has seldom more than one.
const RELAYS_MAX: usize = 1024;

/// One probe for somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Relay {
    /// Who is answered.
    pub(crate) asker: SocketAddr,
    /// The number in the answer.
    pub(crate) seq: u32,
    /// A nack is wanted.
    pub(crate) nack: bool,
}

/// All that wait for an ack, by our own number.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    waiting: BTreeMap<u32, Relay>,
    /// Those that were answered may still be here.
    expiry: VecDeque<(Mono, u32)>,
}

impl Relays {
    /// True if no further request can be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.expiry.len() >= RELAYS_MAX
    }

    /// Takes a request. `until` must not be before that of earlier ones.
    pub(crate) fn add(&mut self, own_seq: u32, relay: Relay, until: Mono) {
        self.waiting.insert(own_seq, relay);
        self.expiry.push_back((until, own_seq));
    }

    /// An ack came with this number; it counts once.
    pub(crate) fn acked(&mut self, own_seq: u32) -> Option<Relay> {
        let relay = self.waiting.remove(&own_seq)?;
        while self
            .expiry
            .front()
            .is_some_and(|(_, seq)| !self.waiting.contains_key(seq))
        {
            self.expiry.pop_front();
        }
        Some(relay)
    }

    /// When the first expires.
    pub(crate) fn next(&self) -> Option<Mono> {
        self.expiry.front().map(|&(at, _)| at)
    }

    /// A request whose time is over without an ack.
    pub(crate) fn take_due(&mut self, now: Mono) -> Option<Relay> {
        while let Some(&(at, seq)) = self.expiry.front() {
            if now < at {
                return None;
            }
            self.expiry.pop_front();
            if let Some(relay) = self.waiting.remove(&seq) {
                return Some(relay);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relay(seq: u32) -> Relay {
        Relay {
            asker: ([127, 0, 0, 1], 1).into(),
            seq,
            nack: true,
        }
    }

    #[test]
    fn a_request_is_answered_or_expires_but_not_both() {
        let mut relays = Relays::default();
        for seq in 1..=3 {
            relays.add(seq, relay(10 + seq), Mono(u64::from(seq)));
        }
        assert_eq!(relays.acked(2), Some(relay(12)));
        assert_eq!(relays.acked(2), None);
        assert_eq!(relays.take_due(Mono(0)), None);
        assert_eq!(relays.take_due(Mono(9)), Some(relay(11)));
        assert_eq!(relays.take_due(Mono(9)), Some(relay(13)));
        assert_eq!((relays.take_due(Mono(9)), relays.next()), (None, None));
    }

    #[test]
    fn answered_requests_at_the_front_cause_no_wakeups() {
        let mut relays = Relays::default();
        relays.add(1, relay(1), Mono(1));
        relays.add(2, relay(2), Mono(2));
        relays.acked(1);
        assert_eq!(relays.next(), Some(Mono(2)));
    }

    #[test]
    fn a_flood_of_requests_is_refused_at_the_bound() {
        let mut relays = Relays::default();
        let mut seq = 0;
        relays.add(seq, relay(0), Mono(5));
        while !relays.is_full() {
            seq += 1;
            relays.add(seq, relay(seq), Mono(5));
            relays.acked(seq);
        }
        assert!(seq as usize <= RELAYS_MAX);
        assert_eq!(relays.take_due(Mono(5)), Some(relay(0)));
        relays.take_due(Mono(5));
        assert!(!relays.is_full());
    }
}
