//! What is done to agents and to the network between them, and what agents are asked to do.

use std::time::Duration;

use rand::seq::SliceRandom;
use tribune_serf::{MemberChange, QueryId, Question, Record, Refused, Restored, Serf};
use tribune_swim::Ticket;
use tribune_types::text::TextMap;

use super::agent::{Agent, Life, NEVER, addr_of, name_of};
use super::event::Event;
use super::link::Cut;
use super::oracle::Truth;
use super::pool::{CutTime, Pool};
use super::stream::Purpose;
use super::watch::Watch;
use super::wire;

/// Names a cut, to heal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CutId(usize);

/// Names a watch, to read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WatchId(usize);

impl Pool {
    /// A new agent that knows nobody; its number.
    pub fn add(&mut self) -> usize {
        let index = self.agents.len();
        self.agents.push(Agent::new(index));
        self.start_alone(index, &Restored::default());
        index
    }

    fn start_alone(&mut self, index: usize, restored: &Restored) {
        self.oracle.started(self.now, index);
        let mut out = Vec::new();
        let core = Serf::new(
            self.serf_options(index),
            self.swim_options(index),
            wire::CODEC,
            restored,
            self.now,
            &mut out,
        );
        self.begin(index, core);
        self.drive(index, |_, _, more| more.append(&mut out));
    }

    /// An agent asks others to let it in.
    pub fn join(&mut self, node: usize, targets: &[usize]) {
        self.agents[node].joining += targets.len();
        for target in targets {
            self.exchange(node, addr_of(*target), Purpose::Join);
        }
    }

    /// A running agent stops without a word. Its snapshot file stays.
    pub fn kill(&mut self, node: usize) {
        let records = self.agents[node]
            .core
            .as_ref()
            .map(Serf::records)
            .unwrap_or_default();
        self.agents[node].remembered = restored(records);
        self.oracle.ended(node, Truth::Down);
        self.stop(node);
    }

    pub(crate) fn stop(&mut self, node: usize) {
        let agent = &mut self.agents[node];
        agent.core = None;
        agent.life = Life::Stopped;
        agent.wake = NEVER;
        agent.inbox.clear();
        agent.inbox_bytes = 0;
        agent.joining = 0;
        agent.join_reached = false;
        agent.to_try.clear();
    }

    /// A stopped agent starts anew with incarnation 1, and asks the members of its snapshot file, in random order, until
    /// one answers.
    pub fn restart(&mut self, node: usize) {
        let remembered = self.agents[node].remembered.clone();
        self.start_alone(node, &remembered);
        let own = addr_of(node);
        let mut others: Vec<_> = remembered
            .alive
            .iter()
            .map(|(_, addr)| *addr)
            .filter(|addr| *addr != own)
            .collect();
        others.shuffle(&mut self.rng);
        self.agents[node].to_try = others;
        self.try_next(node);
    }

    /// A stopped agent starts anew with nothing, and joins these.
    pub fn restart_from_nothing(&mut self, node: usize, targets: &[usize]) {
        self.start_alone(node, &Restored::default());
        self.join(node, targets);
    }

    /// An agent leaves in good order.
    pub fn leave(&mut self, node: usize) {
        self.oracle.ended(node, Truth::Left);
        self.drive(node, |core, now, out| core.leave(now, out));
    }

    /// An agent declares another one as left.
    pub fn force_leave(&mut self, node: usize, other: usize, prune: bool) -> Option<Ticket> {
        let mut ticket = None;
        let name = name_of(other);
        self.drive(node, |core, now, out| {
            ticket = core.force_leave(now, &name, prune, out);
        });
        ticket
    }

    /// An agent neither hears nor acts; datagrams wait in its socket while there is room.
    pub fn pause(&mut self, node: usize) {
        if self.agents[node].life == Life::Running {
            self.agents[node].life = Life::Paused;
            self.agents[node].wake = NEVER;
            self.oracle.disturb(node);
        }
    }

    /// It goes on: first with its timers or first with its socket, as the seed has it.
    pub fn resume(&mut self, node: usize) {
        if self.agents[node].life != Life::Paused {
            return;
        }
        self.agents[node].life = Life::Running;
        self.oracle.relieve(self.now, node);
        let timers_first = rand::Rng::random_bool(&mut self.rng, 0.5);
        if timers_first {
            self.drive(node, |core, now, out| core.on_time(now, out));
        }
        let now = self.now;
        let agent = &mut self.agents[node];
        agent.inbox_bytes = 0;
        for event in std::mem::take(&mut agent.inbox) {
            // Whoever asked over a stream has hung up by now.
            let late = matches!(&event, Event::Request { request, .. } if request.deadline <= now);
            if !late {
                self.queue.push(now, event);
            }
        }
        if !timers_first {
            self.plan_wake(node);
        }
    }

    /// Nothing passes in this direction from now on.
    pub fn cut(&mut self, cut: Cut) -> CutId {
        self.cuts.push(CutTime { cut, ended: None });
        CutId(self.cuts.len() - 1)
    }

    /// The end of a cut.
    pub fn heal(&mut self, id: CutId) {
        self.cuts[id.0].ended.get_or_insert(self.now);
    }

    /// The end of all cuts.
    pub fn heal_all(&mut self) {
        for id in 0..self.cuts.len() {
            self.heal(CutId(id));
        }
    }

    /// From now on so many datagrams are lost.
    pub fn set_loss(&mut self, loss: f64) {
        self.options.link.loss = loss;
    }

    /// An agent fires a user event.
    ///
    /// # Errors
    /// See [`Serf::fire`].
    pub fn fire(&mut self, node: usize, name: &str, payload: &[u8]) -> Result<(), Refused> {
        let mut result = Err(Refused::Leaving);
        self.drive(node, |core, now, out| {
            result = core.fire(now, name, payload, out);
        });
        result
    }

    /// An agent asks a query.
    ///
    /// # Errors
    /// See [`Serf::ask`].
    pub fn ask(&mut self, node: usize, question: Question) -> Result<QueryId, Refused> {
        let mut result = Err(Refused::Leaving);
        self.drive(node, |core, now, out| {
            result = core.ask(now, question, out);
        });
        result
    }

    /// An agent announces other tags.
    ///
    /// # Errors
    /// See [`Serf::set_tags`].
    pub fn set_tags(&mut self, node: usize, tags: TextMap) -> Result<(), Refused> {
        let mut result = Err(Refused::Leaving);
        self.drive(node, |core, now, out| {
            result = core.set_tags(now, tags, out).map(|_| ());
        });
        result
    }

    /// Collects the reports of this change of this agent from now on.
    pub fn watch(&mut self, subject: usize, change: MemberChange) -> WatchId {
        self.watches.push(Watch::new(subject, change, self.now));
        WatchId(self.watches.len() - 1)
    }

    /// What was collected.
    pub fn watched(&self, id: WatchId) -> &Watch {
        &self.watches[id.0]
    }

    /// Agents whose confirmation of a query arrived.
    pub fn acks(&self, node: usize, query: QueryId) -> usize {
        self.acks.get(&(node, query)).map_or(0, Vec::len)
    }

    /// Agents whose answer to a query arrived.
    pub fn answers(&self, node: usize, query: QueryId) -> usize {
        self.answers.get(&(node, query)).map_or(0, Vec::len)
    }

    /// Time after which words about a healed fault are no excuse any more.
    pub fn grace(&self) -> Duration {
        self.grace
    }
}

fn restored(records: Vec<Record>) -> Restored {
    let mut restored = Restored::default();
    for record in records {
        match record {
            Record::Alive(name, addr) => restored.alive.push((name, addr)),
            Record::NotAlive(name) => restored.alive.retain(|(known, _)| *known != name),
            Record::Clock(time) => restored.clock = time,
            Record::EventClock(time) => restored.event_clock = time,
            Record::QueryClock(time) => restored.query_clock = time,
            Record::Leave => restored = Restored::default(),
        }
    }
    restored
}
