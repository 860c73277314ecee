//! One node whose peers are made up by the test.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_serf::{
    Action, JoinIntent, LTime, LeaveIntent, MemberChange, Message, Options, Record, Restored, Serf,
};
use tribune_swim::{Accusation, AdmitAll, Alive, Message as SwimMessage, Peer, Timing, Versions};
use tribune_types::member::MemberStatus;
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use crate::codec::{self, CODEC};

/// Start of the virtual time; not zero, so that nothing depends on it.
pub(crate) const START: Mono = Mono(1_000_000_000_000);

pub(crate) fn pool_options(name: &str, addr: SocketAddr, seed: u64) -> tribune_swim::Options {
    tribune_swim::Options {
        name: text(name),
        addr,
        meta: Arc::default(),
        versions: Versions::CONSUL,
        timing: Timing::lan(),
        packet_overhead: 0,
        stream_fallback: true,
        admit: Arc::new(AdmitAll),
        encode: CODEC.encode_swim,
        seed,
        nodes_max: tribune_swim::Options::NODES_MAX,
    }
}

pub(crate) fn addr(last: u8) -> SocketAddr {
    ([127, 0, 0, last], 8301).into()
}

/// A node and the time.
pub(crate) struct Solo {
    pub(crate) serf: Serf,
    pub(crate) now: Mono,
}

impl Solo {
    /// A node `me`, alone.
    pub(crate) fn new() -> Solo {
        Solo::with(Options::default(), &Restored::default()).0
    }

    /// A node `me` with a table for few, which looks after it often.
    pub(crate) fn with_room_for(nodes_max: usize) -> Solo {
        let mut pool = pool_options("me", addr(1), 7);
        pool.nodes_max = nodes_max;
        let mut out = Vec::new();
        let restored = Restored::default();
        let serf = Serf::new(Options::default(), pool, CODEC, &restored, START, &mut out);
        Solo { serf, now: START }
    }

    pub(crate) fn with(options: Options, restored: &Restored) -> (Solo, Vec<Action>) {
        let mut out = Vec::new();
        let mut pool = pool_options("me", addr(1), 7);
        // The peers do not exist, so they are not asked whether they do.
        pool.timing.probe_interval = 100 * 365 * secs(86_400);
        let serf = Serf::new(options, pool, CODEC, restored, START, &mut out);
        (Solo { serf, now: START }, out)
    }

    /// A node `me` with alive peers `n2` to `n<last>`.
    pub(crate) fn among(last: u8) -> Solo {
        let mut solo = Solo::new();
        for n in 2..=last {
            solo.alive(&format!("n{n}"), n);
        }
        solo
    }

    pub(crate) fn swim(&mut self, message: SwimMessage) -> Vec<Action> {
        let mut out = Vec::new();
        self.serf.on_message(self.now, addr(2), message, &mut out);
        out
    }

    /// A Serf message from somebody.
    pub(crate) fn say(&mut self, message: &Message) -> Vec<Action> {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes);
        self.swim(SwimMessage::User(bytes.into()))
    }

    pub(crate) fn alive(&mut self, name: &str, n: u8) -> Vec<Action> {
        self.alive_at(name, addr(n), 1)
    }

    pub(crate) fn alive_at(
        &mut self,
        name: &str,
        addr: SocketAddr,
        incarnation: u32,
    ) -> Vec<Action> {
        self.swim(SwimMessage::Alive(Alive {
            incarnation,
            peer: Arc::new(Peer {
                name: text(name),
                addr,
                meta: b"role=x".as_slice().into(),
                versions: Some(Versions::CONSUL),
            }),
        }))
    }

    pub(crate) fn dead(&mut self, name: &str, from: &str) -> Vec<Action> {
        self.swim(SwimMessage::Dead(Accusation {
            incarnation: 1,
            node: text(name),
            from: text(from),
        }))
    }

    pub(crate) fn leave_intent(&mut self, name: &str, ltime: LTime, prune: bool) -> Vec<Action> {
        self.say(&Message::Leave(LeaveIntent {
            ltime,
            node: text(name),
            prune,
        }))
    }

    pub(crate) fn join_intent(&mut self, name: &str, ltime: LTime) -> Vec<Action> {
        self.say(&Message::Join(JoinIntent {
            ltime,
            node: text(name),
        }))
    }

    /// A leave as it should be: intent, then death.
    pub(crate) fn leaves(&mut self, name: &str, ltime: LTime) {
        self.leave_intent(name, ltime, false);
        self.dead(name, name);
    }

    /// Jumps ahead in one step; what came of it.
    pub(crate) fn jump(&mut self, by: Duration) -> Vec<Action> {
        self.now = self.now + by;
        let mut out = Vec::new();
        self.serf.on_time(self.now, &mut out);
        out
    }

    /// Moves ahead, waking when the core wants to be woken; what came of it.
    pub(crate) fn run(&mut self, by: Duration) -> Vec<Action> {
        let end = self.now + by;
        let mut out = Vec::new();
        while self.serf.next_wake() <= end {
            let wake = self.serf.next_wake();
            assert!(
                wake > self.now || self.now == START,
                "a wake that does not pass"
            );
            self.now = wake.max(self.now);
            self.serf.on_time(self.now, &mut out);
        }
        self.now = end;
        out
    }

    pub(crate) fn status(&self, name: &str) -> MemberStatus {
        let member = self.serf.member(name);
        member.map_or(MemberStatus::None, |member| member.status)
    }

    pub(crate) fn ltime(&self, name: &str) -> LTime {
        self.serf.member(name).expect("known").status_ltime
    }

    /// Queued intents, events, queries.
    pub(crate) fn queued(&self) -> [usize; 3] {
        self.serf.stats().queued
    }
}

/// What happened to which members.
pub(crate) fn changes(actions: &[Action]) -> Vec<(MemberChange, Text)> {
    let members = actions.iter().filter_map(|action| match action {
        Action::Member(event) => Some((event.change, event.peer.name.clone())),
        _ => None,
    });
    members.collect()
}

pub(crate) fn records(actions: &[Action]) -> Vec<Record> {
    let records = actions.iter().filter_map(|action| match action {
        Action::Record(record) => Some(record.clone()),
        _ => None,
    });
    records.collect()
}

pub(crate) fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}
