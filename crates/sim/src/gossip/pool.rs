//! A pool of simulated agents on virtual time: the real cores, one queue of events, one seed.
//!
//! In: the size, the network, faults and wishes (the sibling module `faults`). Out: what agents report, judged by the
//! [`Oracle`], and what it cost. Everything random comes from the seed: equal seeds give equal [`Trace`]s.
//!
//! Only an agent with a due event is touched. Per pair of agents nothing is kept beside the tables of the cores; what an
//! agent says about itself is shared by all tables. Messages travel as encoded parts and are decoded by the wire codec
//! at the receiver; streams hand over values (the state of the upper layer inside them is encoded by the core).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_serf::{Action, QueryId, Serf};
use tribune_swim::{Admit, AdmitAll, Packet, Timing, Versions, Warning};
use tribune_types::time::Mono;

use super::agent::{Agent, Life, NEVER, addr_of, consul_serf, index_at, index_of, tags_of};
use super::bug::Bug;
use super::event::Event;
use super::link::{Cut, Link};
use super::oracle::Oracle;
use super::predict::Predict;
use super::queue::Queue;
use super::size::{datagram_size, push_pull_size};
use super::stream::{Answer, Ask, Open, Purpose, Request, StreamId};
use super::trace::Trace;
use super::traffic::Traffic;
use super::watch::Watch;
use super::wire;

/// What a pool is made of.
pub struct PoolOptions {
    /// Agents at the start.
    pub nodes: usize,
    /// Of everything random.
    pub seed: u64,
    /// The network.
    pub link: Link,
    /// Times and counts of failure detection. Consul's LAN profile by default.
    pub timing: Timing,
    /// Probe over a stream what does not answer datagrams.
    pub stream_fallback: bool,
    /// Changes the settings of the upper layer from Consul's.
    pub adjust: fn(&mut tribune_serf::Options),
    /// Who an agent lets in.
    pub admit: fn(usize) -> Arc<dyn Admit>,
    /// What is wrong on purpose.
    pub bug: Bug,
}

impl PoolOptions {
    /// So many agents with Consul's settings in a datacenter without loss.
    pub fn new(nodes: usize, seed: u64) -> PoolOptions {
        PoolOptions {
            nodes,
            seed,
            link: Link::lan(),
            timing: Timing::lan(),
            stream_fallback: true,
            adjust: |_| {},
            admit: |_| Arc::new(AdmitAll),
            bug: Bug::None,
        }
    }
}

/// A cut and when it ended.
#[derive(Debug)]
pub(crate) struct CutTime {
    pub(crate) cut: Cut,
    pub(crate) ended: Option<Mono>,
}

/// Counts of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events processed.
    pub events: u64,
    /// Calls of a core's clock.
    pub wakes: u64,
    /// Datagrams delivered.
    pub delivered: u64,
    /// Failed probes that made somebody a suspect.
    pub suspicions: u64,
    /// Accusations that agents answered.
    pub refutes: u64,
    /// Exchanges that were merged, counted on both sides.
    pub merges: u64,
    /// Exchanges that one side refused.
    pub refused: u64,
    /// Datagrams that could not be read. Must be none.
    pub unreadable: u64,
}

/// The world.
pub struct Pool {
    pub(crate) options: PoolOptions,
    pub(crate) now: Mono,
    pub(crate) rng: SmallRng,
    pub(crate) agents: Vec<Agent>,
    pub(crate) queue: Queue<Event>,
    pub(crate) cuts: Vec<CutTime>,
    pub(crate) oracle: Oracle,
    pub(crate) grace: Duration,
    pub(crate) watches: Vec<Watch>,
    open: BTreeMap<StreamId, Open>,
    stream_next: u64,
    traffic: Traffic,
    trace: Trace,
    pub(crate) counts: Counts,
    pub(crate) acks: BTreeMap<(usize, QueryId), Vec<usize>>,
    pub(crate) answers: BTreeMap<(usize, QueryId), Vec<usize>>,
    out: Vec<Action>,
}

/// Bytes that wait in the socket of a paused agent; what comes then is lost.
const SOCKET_BYTES_MAX: usize = 2 << 20;

impl Pool {
    /// Agents that know nobody yet.
    pub fn strangers(options: PoolOptions) -> Pool {
        let mut pool = Pool::empty(options);
        for _ in 0..pool.options.nodes {
            pool.add();
        }
        pool
    }

    /// Agents that know one another, as after a long quiet time.
    pub fn converged(options: PoolOptions) -> Pool {
        let mut pool = Pool::empty(options);
        let peers: Vec<_> = (0..pool.options.nodes).map(wire::peer_of).collect();
        for index in 0..pool.options.nodes {
            pool.agents.push(Agent::new(index));
            pool.oracle.started(pool.now, index);
            let mut out = std::mem::take(&mut pool.out);
            let core = wire::start_known(
                pool.serf_options(index),
                pool.swim_options(index),
                &peers,
                pool.now,
                &mut out,
            );
            pool.out = out;
            pool.begin(index, core);
        }
        pool
    }

    fn empty(options: PoolOptions) -> Pool {
        let predict = Predict {
            nodes: options.nodes,
            timing: options.timing.clone(),
            loss: options.link.loss,
        };
        let grace = predict.suspicion_max() + Duration::from_secs(10);
        Pool {
            now: Mono(0),
            rng: SmallRng::seed_from_u64(options.seed),
            agents: Vec::with_capacity(options.nodes),
            queue: Queue::new(),
            cuts: Vec::new(),
            oracle: Oracle::new(grace),
            grace,
            watches: Vec::new(),
            open: BTreeMap::new(),
            stream_next: 0,
            traffic: Traffic::default(),
            trace: Trace::new(),
            counts: Counts::default(),
            acks: BTreeMap::new(),
            answers: BTreeMap::new(),
            out: Vec::new(),
            options,
        }
    }

    /// Settings of one agent's lower layer; each call draws a seed.
    pub(crate) fn swim_options(&mut self, index: usize) -> tribune_swim::Options {
        tribune_swim::Options {
            name: super::agent::name_of(index),
            addr: addr_of(index),
            meta: Arc::from([]),
            versions: Versions::CONSUL,
            timing: self.options.timing.clone(),
            packet_overhead: 0,
            stream_fallback: self.options.stream_fallback,
            admit: (self.options.admit)(index),
            encode: wire::CODEC.encode_swim,
            seed: self.rng.random(),
            nodes_max: tribune_swim::Options::NODES_MAX,
        }
    }

    /// Settings of one agent's upper layer.
    pub(crate) fn serf_options(&self, index: usize) -> tribune_serf::Options {
        let mut options = consul_serf(tags_of(index));
        (self.options.adjust)(&mut options);
        options
    }

    /// Puts a core into an agent and carries out what its start left in the buffer.
    pub(crate) fn begin(&mut self, index: usize, core: Serf) {
        let agent = &mut self.agents[index];
        agent.core = Some(core);
        agent.life = Life::Running;
        agent.lives += 1;
        agent.wake = NEVER;
        self.drive(index, |_, _, _| {});
    }

    /// Runs for this long.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, event)) = self.queue.pop(end) {
            self.now = at;
            self.on_event(event);
        }
        self.now = end;
    }

    /// Runs until the condition holds, asked ten times per second; the time it took, or `None` after `limit`.
    pub fn run_until(
        &mut self,
        limit: Duration,
        mut condition: impl FnMut(&mut Pool) -> bool,
    ) -> Option<Duration> {
        let start = self.now;
        let end = start + limit;
        loop {
            if condition(self) {
                return Some(self.now.since(start));
            }
            if self.now >= end {
                return None;
            }
            self.run_for(Duration::from_millis(100).min(end.since(self.now)));
        }
    }

    fn on_event(&mut self, event: Event) {
        self.counts.events += 1;
        self.trace.number(self.now.0);
        match event {
            Event::Wake { node } => self.on_wake(node),
            Event::Packet { to, from, parts } => self.on_packet(to, from, parts),
            Event::Request { to, request } => self.on_request(to, request),
            Event::Answer { id, answer } => self.on_answer(id, Some(answer)),
            Event::StreamFailed { id } => self.on_answer(id, None),
        }
    }

    fn on_wake(&mut self, node: usize) {
        let now = self.now;
        let agent = &mut self.agents[node];
        if agent.wake != now {
            return;
        }
        agent.wake = NEVER;
        let Some(core) = agent.active() else {
            return;
        };
        if core.next_wake() > now {
            self.plan_wake(node);
            return;
        }
        self.trace.number(node as u64);
        self.counts.wakes += 1;
        let mut stuck = false;
        self.drive(node, |core, now, out| {
            core.on_time(now, out);
            stuck = core.next_wake() <= now;
        });
        if stuck {
            self.oracle.violate(format!(
                "{node} was told the time and wants to hear it again"
            ));
        }
    }

    fn on_packet(&mut self, to: usize, from: SocketAddr, parts: Vec<Arc<[u8]>>) {
        match self.agents[to].life {
            Life::Stopped => return,
            Life::Paused => {
                let agent = &mut self.agents[to];
                let bytes: usize = parts.iter().map(|part| part.len()).sum();
                if agent.inbox_bytes + bytes <= SOCKET_BYTES_MAX {
                    agent.inbox_bytes += bytes;
                    agent.inbox.push_back(Event::Packet { to, from, parts });
                }
                return;
            }
            Life::Running => {}
        }
        self.counts.delivered += 1;
        self.trace.number(to as u64);
        for part in &parts {
            self.trace.bytes(part);
        }
        let bug = self.options.bug;
        let mut unreadable = 0;
        self.drive(to, |core, now, out| {
            for part in &parts {
                match wire::decode(part) {
                    None => unreadable += 1,
                    Some(message) => {
                        if let Some(message) = bug.message(core.swim().name(), message) {
                            core.on_message(now, from, message, out);
                        }
                    }
                }
            }
        });
        if unreadable > 0 {
            self.counts.unreadable += unreadable;
            self.oracle
                .violate(format!("{to} cannot read what {from} sent"));
        }
    }

    fn on_request(&mut self, to: usize, request: Request) {
        match self.agents[to].life {
            Life::Stopped => {
                let at = self.now + self.options.link.delay(&mut self.rng);
                self.queue.push(at, Event::StreamFailed { id: request.id });
                return;
            }
            Life::Paused => {
                let event = Event::Request { to, request };
                self.agents[to].inbox.push_back(event);
                return;
            }
            Life::Running => {}
        }
        if self.stream_blocked(request.from, to) {
            return;
        }
        self.trace.number(to as u64);
        let bug = self.options.bug;
        let Some(core) = self.agents[to].active() else {
            return;
        };
        match request.ask {
            Ask::Ping(name) => {
                if core.answers_stream_ping(&name) {
                    self.answer(request.id, Answer::Ack, 10);
                }
            }
            Ask::PushPull(mut remote) => {
                let own = core.state(remote.join);
                let bytes = push_pull_size(&own);
                self.traffic.at(self.now).exchange_bytes += bytes as u64;
                self.answer(request.id, Answer::PushPull(Box::new(own)), bytes);
                bug.state(&self.agents[to].name, &mut remote);
                let mut merged = false;
                self.drive(to, |core, now, out| {
                    merged = core.merge(now, &remote, remote.join, false, out).is_ok();
                });
                self.count_merge(merged);
            }
        }
    }

    fn answer(&mut self, id: StreamId, answer: Answer, bytes: usize) {
        let delay = self.options.link.stream_delay(&mut self.rng, 0, bytes);
        self.queue
            .push(self.now + delay, Event::Answer { id, answer });
    }

    fn count_merge(&mut self, merged: bool) {
        if merged {
            self.counts.merges += 1;
        } else {
            self.counts.refused += 1;
        }
    }

    /// The end of a stream on the side that began it.
    fn on_answer(&mut self, id: StreamId, answer: Option<Answer>) {
        let Some(open) = self.open.get(&id).copied() else {
            return;
        };
        let agent = &mut self.agents[open.from];
        if agent.life == Life::Paused && agent.lives == open.life {
            agent.inbox.push_back(match answer {
                Some(answer) => Event::Answer { id, answer },
                None => Event::StreamFailed { id },
            });
            return;
        }
        let cut_off = index_at(open.to).is_some_and(|to| self.stream_blocked(to, open.from));
        if answer.is_some() && cut_off {
            return; // The deadline comes.
        }
        self.open.remove(&id);
        let agent = &self.agents[open.from];
        if agent.life == Life::Stopped || agent.lives != open.life {
            return;
        }
        self.trace.number(open.from as u64);
        match (open.purpose, answer) {
            (Purpose::Probe { seq }, answer) => {
                let acked = answer.is_some();
                self.drive(open.from, |core, now, out| {
                    core.on_stream_ack(now, seq, acked, out);
                });
            }
            (purpose, Some(Answer::PushPull(mut remote))) => {
                self.options
                    .bug
                    .state(&self.agents[open.from].name, &mut remote);
                let mut merged = false;
                self.drive(open.from, |core, now, out| {
                    let ignore_old = purpose == Purpose::Join;
                    merged = core
                        .merge(now, &remote, purpose.joins(), ignore_old, out)
                        .is_ok();
                });
                self.count_merge(merged);
                self.exchanged(open.from, purpose, merged);
            }
            (purpose, _) => self.exchanged(open.from, purpose, false),
        }
    }

    fn exchanged(&mut self, node: usize, purpose: Purpose, success: bool) {
        let agent = &mut self.agents[node];
        match purpose {
            Purpose::Join => {
                agent.joining = agent.joining.saturating_sub(1);
                agent.join_reached |= success;
                if agent.joining == 0 && agent.join_reached {
                    agent.join_reached = false;
                    self.drive(node, |core, now, out| core.joined(now, out));
                }
            }
            Purpose::Rejoin if success => agent.to_try.clear(),
            Purpose::Rejoin => self.try_next(node),
            Purpose::Exchange { .. } | Purpose::Probe { .. } => {}
        }
    }

    /// Asks the next remembered member for its state.
    pub(crate) fn try_next(&mut self, node: usize) {
        if let Some(to) = self.agents[node].to_try.pop() {
            self.exchange(node, to, Purpose::Rejoin);
        }
    }

    /// Begins an exchange of states.
    pub(crate) fn exchange(&mut self, node: usize, to: SocketAddr, purpose: Purpose) {
        let Some(core) = self.agents[node].active() else {
            return;
        };
        let state = core.state(purpose.joins());
        let bytes = push_pull_size(&state);
        let sent = self.traffic.at(self.now);
        sent.exchanges += 1;
        sent.exchange_bytes += bytes as u64;
        let deadline = self.now + self.options.timing.stream_timeout;
        let ask = Ask::PushPull(Box::new(state));
        self.open_stream(node, to, deadline, purpose, ask, bytes);
    }

    fn open_stream(
        &mut self,
        node: usize,
        to: SocketAddr,
        deadline: Mono,
        purpose: Purpose,
        ask: Ask,
        bytes: usize,
    ) {
        let id = StreamId(self.stream_next);
        self.stream_next += 1;
        let life = self.agents[node].lives;
        self.open.insert(
            id,
            Open {
                from: node,
                life,
                to,
                purpose,
            },
        );
        self.queue.push(deadline, Event::StreamFailed { id });
        let Some(target) = index_at(to).filter(|target| *target < self.agents.len()) else {
            return;
        };
        if self.stream_blocked(node, target) {
            return;
        }
        let delay = self.options.link.stream_delay(&mut self.rng, 2, bytes);
        let request = Request {
            id,
            from: node,
            deadline,
            ask,
        };
        let event = Event::Request {
            to: target,
            request,
        };
        self.queue.push(self.now + delay, event);
    }

    /// Lets the core of a running agent act, carries out what it wants, and plans its next wake-up.
    pub(crate) fn drive(
        &mut self,
        node: usize,
        act: impl FnOnce(&mut Serf, Mono, &mut Vec<Action>),
    ) {
        let now = self.now;
        let mut out = std::mem::take(&mut self.out);
        let Some(core) = self.agents[node].active() else {
            out.clear();
            self.out = out;
            return;
        };
        act(core, now, &mut out);
        let incarnation = core.swim().incarnation();
        self.oracle.on_incarnation(now, node, incarnation);
        let mut more = Vec::new();
        while !out.is_empty() {
            for action in out.drain(..) {
                self.carry_out(node, action, &mut more);
            }
            std::mem::swap(&mut out, &mut more);
        }
        self.out = out;
        self.plan_wake(node);
    }

    /// Makes sure that the core is woken when it wants to be.
    pub(crate) fn plan_wake(&mut self, node: usize) {
        let now = self.now;
        let agent = &mut self.agents[node];
        let Some(core) = agent.active() else {
            return;
        };
        let mut next = core.next_wake();
        if next <= now {
            // Its clock is late by this much, so that a core that is never content cannot stop the world's clock.
            next = now + Duration::from_micros(10);
        }
        if next < agent.wake {
            agent.wake = next;
            self.queue.push(next, Event::Wake { node });
        }
    }

    fn carry_out(&mut self, node: usize, action: Action, more: &mut Vec<Action>) {
        match action {
            Action::Packet(packet) => self.send(node, packet),
            Action::StreamPing {
                to,
                node: name,
                seq,
                deadline,
            } => {
                self.traffic.at(self.now).stream_pings += 1;
                let purpose = Purpose::Probe { seq };
                self.open_stream(node, to, deadline, purpose, Ask::Ping(name), 60);
            }
            Action::PushPull { to, join, .. } => {
                self.exchange(node, to, Purpose::Exchange { join });
            }
            Action::Member(event) => self.on_member(node, &event),
            Action::UserEvent {
                ltime,
                name,
                payload,
            } => {
                self.trace.number(ltime);
                let event = (ltime, &*name, &payload);
                self.oracle.on_user_event(self.now, node, event);
            }
            Action::Query(asked) => {
                let now = self.now;
                if let Some(core) = self.agents[node].active()
                    && let Err(refused) = core.respond(now, asked.query, b"here", more)
                {
                    self.oracle
                        .violate(format!("{node} cannot answer a query: {refused:?}"));
                }
            }
            Action::QueryAck { query, from } => {
                Pool::note_once(&mut self.acks, &mut self.oracle, node, query, &from);
            }
            Action::QueryAnswer { query, from, .. } => {
                Pool::note_once(&mut self.answers, &mut self.oracle, node, query, &from);
            }
            Action::Left => self.stop(node),
            Action::Conflict { holder, .. } => self
                .oracle
                .violate(format!("{node} sees two nodes named {}", holder.name)),
            Action::Warning(Warning::Suspected(name)) => {
                self.counts.suspicions += 1;
                for watch in &mut self.watches {
                    if index_of(&name) == Some(watch.subject) {
                        watch.on_suspected(self.now);
                    }
                }
            }
            Action::Warning(Warning::Refuted { .. }) => self.counts.refutes += 1,
            Action::KeyQuery { .. }
            | Action::QueryOver(_)
            | Action::Record(_)
            | Action::Sent(_)
            | Action::Unsent(_)
            | Action::CoordinateMoved(_)
            | Action::Warning(_) => {}
        }
    }

    fn note_once(
        notes: &mut BTreeMap<(usize, QueryId), Vec<usize>>,
        oracle: &mut Oracle,
        node: usize,
        query: QueryId,
        from: &str,
    ) {
        let Some(from) = index_of(from) else {
            oracle.violate(format!("an answer of nobody: {from:?}"));
            return;
        };
        let all = notes.entry((node, query)).or_default();
        match all.binary_search(&from) {
            Ok(_) => oracle.violate(format!("{node} got two answers of {from}")),
            Err(at) => all.insert(at, from),
        }
    }

    fn on_member(&mut self, node: usize, event: &tribune_serf::MemberEvent) {
        let now = self.now;
        let Some(subject) = index_of(&event.peer.name) else {
            self.oracle
                .violate(format!("{node} reports a stranger: {}", event.peer.name));
            return;
        };
        self.trace.number(subject as u64);
        self.trace.number(event.change as u64);
        for watch in &mut self.watches {
            if watch.subject == subject && watch.change == event.change {
                watch.on_report(now, node);
            }
        }
        if !self.pair_excused(node, subject) {
            self.oracle.on_member(now, node, subject, event.change);
        } else {
            self.oracle
                .on_disturbed_member(now, node, subject, event.change);
        }
    }

    fn send(&mut self, node: usize, packet: Packet) {
        let bytes = datagram_size(packet.parts.iter().map(|part| part.len()), packet.checksum);
        let sent = self.traffic.at(self.now);
        sent.packets += 1;
        sent.bytes += bytes as u64;
        if packet.parts.len() > 127 || packet.parts.is_empty() || bytes > 1400 + 5 {
            let parts = packet.parts.len();
            self.oracle.violate(format!(
                "{node} sends a datagram of {parts} parts and {bytes} bytes"
            ));
        }
        let Some(to) = index_at(packet.to).filter(|to| *to < self.agents.len()) else {
            return;
        };
        if self.blocked(node, to) {
            return;
        }
        let (loss, duplication) = (self.options.link.loss, self.options.link.duplication);
        if loss > 0.0 && self.rng.random_bool(loss) {
            return;
        }
        if duplication > 0.0 && self.rng.random_bool(duplication) {
            self.deliver_later(node, to, packet.parts.clone());
        }
        self.deliver_later(node, to, packet.parts);
    }

    fn deliver_later(&mut self, node: usize, to: usize, parts: Vec<Arc<[u8]>>) {
        let delay = self.options.link.delay(&mut self.rng);
        let from = addr_of(node);
        self.queue
            .push(self.now + delay, Event::Packet { to, from, parts });
    }

    fn blocked(&self, from: usize, to: usize) -> bool {
        self.cuts
            .iter()
            .any(|one| one.ended.is_none() && one.cut.blocks(from, to))
    }

    fn stream_blocked(&self, from: usize, to: usize) -> bool {
        self.blocked(from, to) || self.blocked(to, from)
    }

    /// True if one of the two cannot, or until lately could not, reach the other.
    fn pair_excused(&self, one: usize, other: usize) -> bool {
        self.cuts.iter().any(|cut| {
            cut.ended.is_none_or(|ended| ended + self.grace > self.now)
                && (cut.cut.blocks(one, other) || cut.cut.blocks(other, one))
        })
    }

    /// Virtual time.
    pub fn now(&self) -> Mono {
        self.now
    }

    /// The judge.
    pub fn oracle(&self) -> &Oracle {
        &self.oracle
    }

    /// What was sent, by seconds.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// Fingerprint of all that happened.
    pub fn trace(&self) -> Trace {
        self.trace
    }

    /// Counts of all that happened.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Predictions for the size at the start.
    pub fn predict(&self) -> Predict {
        Predict {
            nodes: self.options.nodes,
            timing: self.options.timing.clone(),
            loss: self.options.link.loss,
        }
    }
}
