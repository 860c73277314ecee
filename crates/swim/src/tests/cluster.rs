//! Small clusters on virtual time: one queue of events, packets with delay and loss, streams, restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::text;
use tribune_types::time::Mono;

use super::bench::{START, options, peer};
use super::codec;
use crate::action::{Action, Notice, Packet};
use crate::message::{NodeState, PushPull};
use crate::random::Rng;
use crate::swim::{Queue, Swim};

#[derive(Debug)]
enum Event {
    Datagram {
        from: usize,
        to: usize,
        packet: Packet,
    },
    Stream {
        from: usize,
        to: usize,
        seq: u32,
    },
    StreamAnswer {
        to: usize,
        seq: u32,
        acked: bool,
    },
    Exchange {
        from: usize,
        to: usize,
        join: bool,
    },
}

struct Member {
    swim: Option<Swim>,
    notices: Vec<(Mono, Notice)>,
    /// Hears datagrams but is not heard.
    mute: bool,
    /// Neither sends nor receives datagrams.
    deaf: bool,
}

struct Cluster {
    now: Mono,
    members: Vec<Member>,
    events: BTreeMap<(Mono, u64), Event>,
    next: u64,
    rng: Rng,
    loss_percent: u64,
}

impl Cluster {
    /// Starts so many nodes, which join through the first.
    fn new(count: usize, seed: u64, loss_percent: u64) -> Cluster {
        let mut cluster = Cluster {
            now: START,
            members: Vec::new(),
            events: BTreeMap::new(),
            next: 0,
            rng: Rng::seeded(seed),
            loss_percent,
        };
        for index in 0..count {
            cluster.members.push(Member {
                swim: None,
                notices: Vec::new(),
                mute: false,
                deaf: false,
            });
            cluster.start(index);
        }
        cluster
    }

    fn start(&mut self, index: usize) {
        let mut options = options();
        let own = peer(&name(index), index as u8);
        options.name = Arc::from(name(index));
        options.addr = own.addr;
        options.seed = self.rng.bits();
        let mut out = Vec::new();
        self.members[index].swim = Some(Swim::new(options, self.now, &mut out));
        self.carry_out(index, out);
        if index > 0 {
            let join = Event::Exchange {
                from: index,
                to: 0,
                join: true,
            };
            self.later(join);
        }
    }

    fn later(&mut self, event: Event) {
        let delay = Duration::from_micros(100 + self.rng.below(900));
        self.later_by(delay, event);
    }

    fn later_by(&mut self, delay: Duration, event: Event) {
        self.next += 1;
        self.events.insert((self.now + delay, self.next), event);
    }

    fn run(&mut self, secs: u64) {
        let end = self.now + Duration::from_secs(secs);
        loop {
            let wake = self
                .members
                .iter()
                .enumerate()
                .filter_map(|(at, member)| Some((member.swim.as_ref()?.next_wake(), at)))
                .min();
            let event = self.events.first_key_value().map(|(&(at, _), _)| at);
            match (wake, event) {
                (_, Some(at)) if at <= end && wake.is_none_or(|(wake, _)| at <= wake) => {
                    self.now = at;
                    let (_, event) = self.events.pop_first().unwrap();
                    self.happen(event);
                }
                (Some((at, index)), _) if at <= end => {
                    self.now = self.now.max(at);
                    self.tell(index, |swim, now, out| swim.on_time(now, out));
                }
                _ => break,
            }
        }
        self.now = end;
    }

    fn tell(&mut self, index: usize, act: impl FnOnce(&mut Swim, Mono, &mut Vec<Action>)) {
        let mut out = Vec::new();
        if let Some(swim) = &mut self.members[index].swim {
            act(swim, self.now, &mut out);
        }
        self.carry_out(index, out);
    }

    fn carry_out(&mut self, from: usize, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Packet(packet) => {
                    let lost = self.rng.below(100) < self.loss_percent;
                    let member = &self.members[from];
                    if let Some(to) = self.index_of(packet.to)
                        && !lost
                        && !member.mute
                        && !member.deaf
                    {
                        self.later(Event::Datagram { from, to, packet });
                    }
                }
                Action::StreamPing { to, seq, .. } => {
                    if let Some(to) = self.index_of(to) {
                        self.later(Event::Stream { from, to, seq });
                    }
                }
                Action::PushPull { to, .. } => {
                    if let Some(to) = self.index_of(to) {
                        let join = false;
                        self.later(Event::Exchange { from, to, join });
                    }
                }
                Action::Notice(notice) => self.members[from].notices.push((self.now, notice)),
            }
        }
    }

    fn index_of(&self, addr: SocketAddr) -> Option<usize> {
        (0..self.members.len()).find(|&index| peer("", index as u8).addr == addr)
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { from, to, packet } => {
                if self.members[to].deaf {
                    return;
                }
                let source = peer("", from as u8).addr;
                for part in &packet.parts {
                    let message = codec::decode(part);
                    self.tell(to, |swim, now, out| {
                        swim.on_message(now, source, message, out);
                    });
                }
            }
            Event::Stream { from, to, seq } => {
                let acked = self.members[to].swim.is_some() && !self.members[to].mute;
                self.later(Event::StreamAnswer {
                    to: from,
                    seq,
                    acked,
                });
            }
            Event::StreamAnswer { to, seq, acked } => {
                self.tell(to, |swim, now, out| {
                    swim.on_stream_ack(now, seq, acked, out)
                });
            }
            Event::Exchange { from, to, join } => {
                let state = |member: &Member| -> Option<PushPull> {
                    Some(member.swim.as_ref()?.state(join))
                };
                let (Some(asked), Some(answer)) =
                    (state(&self.members[from]), state(&self.members[to]))
                else {
                    return;
                };
                if self.members[from].mute || self.members[to].mute {
                    return;
                }
                self.tell(to, |swim, now, out| {
                    swim.merge(now, &asked, join, out).unwrap();
                });
                self.tell(from, |swim, now, out| {
                    swim.merge(now, &answer, join, out).unwrap();
                });
            }
        }
    }

    fn states(&self, at: usize, of: usize) -> Option<NodeState> {
        let swim = self.members[at].swim.as_ref()?;
        swim.entry(&name(of)).map(|entry| entry.state)
    }

    /// The states that the running nodes other than `of` see it in.
    fn seen(&self, of: usize) -> BTreeSet<Option<u8>> {
        (0..self.members.len())
            .filter(|&at| at != of && self.members[at].swim.is_some())
            .map(|at| self.states(at, of).map(|state| state as u8))
            .collect()
    }

    fn all_see_all(&self) -> bool {
        (0..self.members.len()).all(|of| self.seen(of) == BTreeSet::from([Some(0)]))
    }

    /// When each running node other than `of` last heard that it is gone.
    fn gone(&self, of: usize) -> Vec<Mono> {
        self.members
            .iter()
            .filter_map(|member| {
                let (at, _) = member.notices.iter().rev().find(
                    |(_, notice)| matches!(notice, Notice::Gone(peer) if *peer.name == *name(of)),
                )?;
                Some(*at)
            })
            .collect()
    }

    fn deaths(&self) -> usize {
        (0..self.members.len()).map(|of| self.gone(of).len()).sum()
    }
}

fn name(index: usize) -> String {
    format!("node-{index}")
}

#[test]
fn a_join_is_seen_by_all_within_seconds_in_spite_of_loss() {
    for (count, loss) in [(5, 0), (20, 2), (50, 5)] {
        let mut cluster = Cluster::new(count, 7, loss);
        cluster.run(5);
        assert!(cluster.all_see_all(), "{count} nodes, {loss} % lost");
        assert_eq!(cluster.deaths(), 0);
    }
}

#[test]
fn a_crash_is_seen_by_all_in_the_predicted_time_and_nobody_else_dies() {
    for seed in 0..4 {
        let mut cluster = Cluster::new(20, seed, 1);
        cluster.run(10);
        cluster.members[3].swim = None;
        let crashed = cluster.now;
        cluster.run(20);
        assert_eq!(cluster.seen(3), BTreeSet::from([Some(2)]), "seed {seed}");
        let times = cluster.gone(3);
        assert_eq!(times.len(), 19);
        let last = times.iter().max().unwrap().since(crashed);
        // At least a probe and the shortest suspicion; confirmations arrive long before the longest one is over.
        assert!(last >= Duration::from_millis(5_204), "{last:?}");
        assert!(last < Duration::from_secs(14), "{last:?}");
        assert_eq!(cluster.deaths(), 19, "nobody else");
    }
}

#[test]
fn a_restarted_node_comes_back_by_denying_its_death() {
    let mut cluster = Cluster::new(10, 3, 0);
    cluster.run(5);
    cluster.members[4].swim = None;
    cluster.run(15);
    assert_eq!(cluster.seen(4), BTreeSet::from([Some(2)]));
    cluster.start(4);
    cluster.run(5);
    assert!(cluster.all_see_all());
    let own = cluster.members[4].swim.as_ref().unwrap().incarnation();
    assert!(own >= 2);
    for member in &cluster.members {
        let entry = member.swim.as_ref().unwrap().entry("node-4").unwrap();
        assert_eq!(entry.incarnation, own);
    }
}

#[test]
fn a_leave_is_seen_as_one_and_later_forgotten() {
    let mut cluster = Cluster::new(10, 4, 2);
    cluster.run(5);
    cluster.tell(6, |swim, now, out| {
        swim.leave(now, out);
    });
    cluster.run(3);
    assert_eq!(cluster.seen(6), BTreeSet::from([Some(3)]));
    let told = cluster.members[6].notices.iter();
    assert!(
        told.clone()
            .any(|(_, notice)| matches!(notice, Notice::Sent(_)))
    );
    cluster.members[6].swim = None;
    cluster.run(60);
    assert_eq!(cluster.seen(6), BTreeSet::from([None]));
    assert_eq!(cluster.deaths(), 10);
}

#[test]
fn a_node_that_is_not_heard_takes_nobody_down_with_it() {
    let mut cluster = Cluster::new(12, 5, 0);
    cluster.run(10);
    cluster.members[2].mute = true;
    cluster.run(60);
    for of in (0..12).filter(|&of| of != 2) {
        let told = cluster
            .members
            .iter()
            .enumerate()
            .filter(|(at, _)| *at != 2)
            .flat_map(|(_, member)| &member.notices);
        let gone = told
            .filter(|(_, notice)| matches!(notice, Notice::Gone(peer) if *peer.name == *name(of)));
        assert_eq!(gone.count(), 0, "node {of}");
    }
    // It is heard again, and known again.
    cluster.members[2].mute = false;
    cluster.run(60);
    assert!(cluster.all_see_all());
}

#[test]
fn a_node_whose_datagrams_are_blocked_lives_on_by_streams() {
    let mut cluster = Cluster::new(6, 6, 0);
    cluster.run(5);
    cluster.members[5].deaf = true;
    cluster.run(90);
    assert_eq!(cluster.gone(5), []);
    let blocked = cluster.members[0].notices.iter().any(|(_, notice)| {
        *notice == Notice::Warning(crate::Warning::DatagramsBlocked(text("node-5")))
    });
    assert!(blocked);
}

#[test]
fn nobody_dies_while_one_packet_in_ten_is_lost() {
    let mut cluster = Cluster::new(30, 8, 10);
    cluster.run(120);
    assert!(cluster.all_see_all());
    assert_eq!(cluster.deaths(), 0);
}

#[test]
fn a_message_of_the_layer_above_reaches_all() {
    let mut cluster = Cluster::new(30, 10, 2);
    cluster.run(5);
    let message: Arc<[u8]> = Arc::from(*b"event");
    cluster.members[7]
        .swim
        .as_mut()
        .unwrap()
        .broadcast(Queue::Events, Arc::clone(&message), None);
    // The layer above passes on what is new to it; here the first round does.
    let mut heard = BTreeSet::from([7]);
    for _ in 0..5 {
        cluster.run(1);
        for at in 0..30 {
            let news = cluster.members[at].notices.iter().any(
                |(_, notice)| matches!(notice, Notice::User { bytes, .. } if *bytes == message),
            );
            if news && heard.insert(at) {
                let swim = cluster.members[at].swim.as_mut().unwrap();
                swim.broadcast(Queue::Events, Arc::clone(&message), None);
            }
        }
    }
    assert_eq!(heard.len(), 30);
}

#[test]
fn the_same_seed_gives_the_same_history() {
    let history = |seed| {
        let mut cluster = Cluster::new(12, seed, 5);
        cluster.run(20);
        let notices = cluster.members.into_iter().map(|member| member.notices);
        notices.collect::<Vec<_>>()
    };
    assert_eq!(history(1), history(1));
    assert_ne!(history(1), history(2));
}
