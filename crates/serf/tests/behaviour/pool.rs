//! Several nodes on virtual time, joined by a network that delivers after one millisecond, or not at all.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_serf::{Action, Options, Restored, Serf};
use tribune_swim::Peer;
use tribune_types::member::MemberStatus;
use tribune_types::time::Mono;

use crate::codec::{self, CODEC};
use crate::solo::{START, addr, pool_options};

const DELAY: Duration = Duration::from_millis(1);

/// All nodes, the time, and what is on its way.
pub(crate) struct Pool {
    pub(crate) now: Mono,
    pub(crate) nodes: Vec<Serf>,
    /// What each node reported, with the time.
    pub(crate) logs: Vec<Vec<(Mono, Action)>>,
    down: BTreeSet<usize>,
    wire: BTreeMap<(Mono, u64), (SocketAddr, SocketAddr, tribune_swim::Message)>,
    sent: u64,
}

impl Pool {
    /// Nodes `n1` to `n<count>`, all joined through the first.
    pub(crate) fn joined(count: u8) -> Pool {
        let mut pool = Pool {
            now: START,
            nodes: Vec::new(),
            logs: Vec::new(),
            down: BTreeSet::new(),
            wire: BTreeMap::new(),
            sent: 0,
        };
        for n in 1..=count {
            pool.add(n, Options::default());
        }
        for n in 1..usize::from(count) {
            pool.join(n, 0);
        }
        pool.run(Duration::from_secs(5));
        for at in 0..pool.nodes.len() {
            assert_eq!(pool.nodes[at].alive_count(), usize::from(count), "at {at}");
            pool.logs[at].clear();
        }
        pool
    }

    /// Nodes `n1` to `n<count>` that know one another from the start.
    pub(crate) fn converged(count: u8) -> Pool {
        let known: Vec<(Arc<Peer>, u32)> = (1..=count)
            .map(|n| {
                let pool = pool_options(&format!("n{n}"), addr(n), 0);
                let peer = Peer {
                    name: pool.name,
                    addr: pool.addr,
                    meta: pool.meta,
                    versions: Some(pool.versions),
                };
                (Arc::new(peer), 1)
            })
            .collect();
        let mut pool = Pool {
            now: START,
            nodes: Vec::new(),
            logs: Vec::new(),
            down: BTreeSet::new(),
            wire: BTreeMap::new(),
            sent: 0,
        };
        for n in 1..=count {
            let mut out = Vec::new();
            let swim = pool_options(&format!("n{n}"), addr(n), u64::from(n) * 31);
            let options = Options::default();
            let serf = Serf::with_members(options, swim, CODEC, START, &known, &mut out);
            assert_eq!(out, [], "no news of what is known");
            pool.nodes.push(serf);
            pool.logs.push(Vec::new());
        }
        pool
    }

    fn add(&mut self, n: u8, options: Options) {
        let mut out = Vec::new();
        let swim = pool_options(&format!("n{n}"), addr(n), u64::from(n) * 31);
        let serf = Serf::new(
            options,
            swim,
            CODEC,
            &Restored::default(),
            self.now,
            &mut out,
        );
        self.nodes.push(serf);
        self.logs.push(Vec::new());
        let at = self.nodes.len() - 1;
        self.carry_out(at, out);
    }

    /// Exchanges states as a joiner, and announces it.
    pub(crate) fn join(&mut self, at: usize, with: usize) {
        assert!(self.exchange(at, with, true, true));
        self.act(at, |serf, now, out| serf.joined(now, out));
    }

    /// Calls a node and carries out what it wants.
    pub(crate) fn act<T>(
        &mut self,
        at: usize,
        call: impl FnOnce(&mut Serf, Mono, &mut Vec<Action>) -> T,
    ) -> T {
        let mut out = Vec::new();
        let result = call(&mut self.nodes[at], self.now, &mut out);
        self.carry_out(at, out);
        result
    }

    /// The node hears and says nothing from now on.
    pub(crate) fn kill(&mut self, at: usize) {
        self.down.insert(at);
    }

    /// The node hears and speaks again.
    pub(crate) fn revive(&mut self, at: usize) {
        self.down.remove(&at);
    }

    pub(crate) fn run(&mut self, by: Duration) {
        let end = self.now + by;
        loop {
            let arrival = self.wire.keys().next().map(|(at, _)| *at);
            let up = (0..self.nodes.len()).filter(|at| !self.down.contains(at));
            let wake = up.map(|at| (self.nodes[at].next_wake(), at)).min();
            let (wake_at, node) = wake.expect("a node is up");
            let next = arrival.map_or(wake_at, |arrival| arrival.min(wake_at));
            if next > end {
                break;
            }
            self.now = next.max(self.now);
            if arrival.is_some_and(|arrival| arrival <= wake_at) {
                let (_, (to, from, message)) = self.wire.pop_first().expect("looked");
                if let Some(at) = self.at(to) {
                    self.act(at, |serf, now, out| {
                        serf.on_message(now, from, message, out)
                    });
                }
            } else {
                self.act(node, |serf, now, out| serf.on_time(now, out));
            }
        }
        self.now = end;
    }

    pub(crate) fn status(&self, at: usize, name: &str) -> MemberStatus {
        let member = self.nodes[at].member(name);
        member.map_or(MemberStatus::None, |member| member.status)
    }

    /// How often a node reported something that `is` meant, and when first.
    pub(crate) fn count(&self, at: usize, is: impl Fn(&Action) -> bool) -> usize {
        self.logs[at]
            .iter()
            .filter(|(_, action)| is(action))
            .count()
    }

    fn at(&self, addr: SocketAddr) -> Option<usize> {
        let at = self
            .nodes
            .iter()
            .position(|serf| serf.swim().local().addr == addr)?;
        (!self.down.contains(&at)).then_some(at)
    }

    fn exchange(&mut self, at: usize, with: usize, join: bool, ignore_old: bool) -> bool {
        if self.down.contains(&at) || self.down.contains(&with) {
            return false;
        }
        let request = self.nodes[at].state(join);
        let reply = self.nodes[with].state(join);
        let accepted = self.act(with, |serf, now, out| {
            serf.merge(now, &request, join, false, out)
        });
        let merged = self.act(at, |serf, now, out| {
            serf.merge(now, &reply, join, ignore_old, out)
        });
        accepted.is_ok() && merged.is_ok()
    }

    fn carry_out(&mut self, at: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Packet(packet) => {
                    if self.down.contains(&at) {
                        continue;
                    }
                    assert!(packet.parts.len() <= 127);
                    let from = self.nodes[at].swim().local().addr;
                    for part in &packet.parts {
                        self.sent += 1;
                        let message = codec::decode_swim(part);
                        let key = (self.now + DELAY, self.sent);
                        self.wire.insert(key, (packet.to, from, message));
                    }
                }
                Action::StreamPing { to, node, seq, .. } => {
                    let acked = self
                        .at(to)
                        .is_some_and(|to| self.nodes[to].answers_stream_ping(&node));
                    self.act(at, |serf, now, out| {
                        serf.on_stream_ack(now, seq, acked, out)
                    });
                }
                Action::PushPull { to, join, .. } => {
                    if let Some(with) = self.at(to) {
                        self.exchange(at, with, join, false);
                    }
                    let note = (
                        self.now,
                        Action::PushPull {
                            to,
                            node: "".into(),
                            join,
                        },
                    );
                    self.logs[at].push(note);
                }
                other => self.logs[at].push((self.now, other)),
            }
        }
    }
}
