//! One core with a time, named "self" at 10.0.0.1, and words for what others say to it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::text;
use tribune_types::time::Mono;

use super::codec;
use crate::action::{Action, Notice, Packet, Warning};
use crate::message::{Accusation, Alive, Message, NodeState, Peer, Versions};
use crate::options::{AdmitAll, Options, Timing};
use crate::swim::Swim;

/// Long enough after the start of the clock that old things are old.
pub(super) const START: Mono = Mono(1_000_000_000_000);

pub(super) fn addr(n: u8) -> SocketAddr {
    ([10, 0, 0, n], 8301).into()
}

pub(super) fn peer(name: &str, n: u8) -> Arc<Peer> {
    Arc::new(Peer {
        name: text(name),
        addr: addr(n),
        meta: Arc::from(*b"meta"),
        versions: Some(Versions::CONSUL),
    })
}

pub(super) fn options() -> Options {
    Options {
        name: text("self"),
        addr: addr(1),
        meta: Arc::from(*b"meta"),
        versions: Versions::CONSUL,
        timing: Timing::lan(),
        packet_overhead: 0,
        stream_fallback: true,
        admit: Arc::new(AdmitAll),
        encode: codec::encode,
        seed: 1,
        nodes_max: Options::NODES_MAX,
    }
}

pub(super) fn alive(peer: Arc<Peer>, incarnation: u32) -> Message {
    Message::Alive(Alive { incarnation, peer })
}

pub(super) fn suspect(node: &str, incarnation: u32, from: &str) -> Message {
    Message::Suspect(accusation(node, incarnation, from))
}

pub(super) fn dead(node: &str, incarnation: u32, from: &str) -> Message {
    Message::Dead(accusation(node, incarnation, from))
}

fn accusation(node: &str, incarnation: u32, from: &str) -> Accusation {
    Accusation {
        incarnation,
        node: text(node),
        from: text(from),
    }
}

pub(super) struct Bench {
    pub(super) swim: Swim,
    pub(super) now: Mono,
}

impl Bench {
    pub(super) fn new() -> Bench {
        Bench::with(options())
    }

    pub(super) fn with(options: Options) -> Bench {
        let swim = Swim::new(options, START, &mut Vec::new());
        let mut bench = Bench { swim, now: START };
        bench.queued();
        bench
    }

    /// With these alive members at incarnation 5, at 10.0.0.2 and so on, and nothing queued.
    pub(super) fn knowing(names: &[&str]) -> Bench {
        let mut bench = Bench::new();
        for (n, name) in (2..).zip(names) {
            bench.hear(alive(peer(name, n), 5));
        }
        bench.queued();
        bench
    }

    /// Hears a message from 10.0.0.9.
    pub(super) fn hear(&mut self, message: Message) -> Vec<Action> {
        self.hear_from(9, message)
    }

    pub(super) fn hear_from(&mut self, n: u8, message: Message) -> Vec<Action> {
        let mut out = Vec::new();
        self.swim.on_message(self.now, addr(n), message, &mut out);
        self.swim.table.check();
        out
    }

    pub(super) fn hear_notices(&mut self, message: Message) -> Vec<Notice> {
        notices(self.hear(message))
    }

    /// Lets time pass without telling the core.
    pub(super) fn wait_ms(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
    }

    /// Lets time pass with every wake-up in time.
    pub(super) fn run_ms(&mut self, ms: u64) -> Vec<(Mono, Action)> {
        let end = self.now + Duration::from_millis(ms);
        let mut all = Vec::new();
        while self.swim.next_wake() <= end {
            self.now = self.now.max(self.swim.next_wake());
            all.extend(self.wake().into_iter().map(|action| (self.now, action)));
        }
        self.now = end;
        all
    }

    /// Runs until the first wake-up that brings an action that passes; all of that wake-up.
    pub(super) fn run_until(&mut self, mut pass: impl FnMut(&Action) -> bool) -> Vec<Action> {
        for _ in 0..10_000 {
            self.now = self.now.max(self.swim.next_wake());
            let out = self.wake();
            if out.iter().any(&mut pass) {
                return out;
            }
        }
        panic!("nothing of that kind happens");
    }

    fn wake(&mut self) -> Vec<Action> {
        let mut out = Vec::new();
        self.swim.on_time(self.now, &mut out);
        self.swim.table.check();
        assert!(self.swim.next_wake() > self.now, "a busy loop");
        out
    }

    pub(super) fn state(&self, name: &str) -> Option<(NodeState, u32)> {
        let entry = self.swim.entry(name)?;
        Some((entry.state, entry.incarnation))
    }

    /// Takes everything out of the queues, in order.
    pub(super) fn queued(&mut self) -> Vec<Message> {
        let mut all: Vec<Message> = Vec::new();
        loop {
            let mut parts = Vec::new();
            self.swim.outbox.fill(0, &mut parts);
            for message in parts.iter().map(|part| codec::decode(part)) {
                if !all.contains(&message) {
                    all.push(message);
                }
            }
            if parts.is_empty() {
                break;
            }
        }
        self.swim.settle(self.now, &mut Vec::new());
        all
    }
}

pub(super) fn notices(actions: Vec<Action>) -> Vec<Notice> {
    actions
        .into_iter()
        .filter_map(|action| match action {
            Action::Notice(notice) => Some(notice),
            _ => None,
        })
        .collect()
}

pub(super) fn packets(actions: &[Action]) -> Vec<Packet> {
    actions
        .iter()
        .filter_map(|action| match action {
            Action::Packet(packet) => Some(packet.clone()),
            _ => None,
        })
        .collect()
}

/// Packets as receiver and messages.
pub(super) fn said(actions: &[Action]) -> Vec<(SocketAddr, Vec<Message>)> {
    packets(actions)
        .iter()
        .map(|packet| {
            let messages = packet.parts.iter().map(|part| codec::decode(part));
            (packet.to, messages.collect())
        })
        .collect()
}

pub(super) fn is_refusal(notice: &Notice) -> bool {
    matches!(notice, Notice::Warning(Warning::Refused { .. }))
}
