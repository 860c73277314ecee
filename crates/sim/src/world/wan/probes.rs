//! Those who only look: requests whose fate the oracles judge.
//!
//! In every datacenter one asks its own agents, in turn and without pause, for what is there; one asks them for other
//! datacenters and for one that does not exist; one fires events, here and there; one carries out prepared queries (`queries`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_agent::Handle;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::event::UserEvent;
use tribune_types::id::Uuid;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::member::MemberStatus;
use tribune_types::query::{Consistency, Query, ReadOptions, ServiceQuery};
use tribune_types::text::{Text, text};
use tribune_types::write::Write;

use super::super::bug::Bug;
use super::super::clients::{Outside, Sent};
use super::super::datacenter::Datacenter;
use super::judge::{REMOTE_LIMIT, REMOTE_LIMIT_DISTURBED};
use super::queries::{self, Wanted};

/// A datacenter that does not exist.
const NOWHERE: &str = "nowhere";
const KEY: &[u8] = b"probe";

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Asked {
    /// The own datacenter, for a value.
    Read,
    /// The own datacenter, to write one.
    Write,
    /// A datacenter that does not exist.
    Nowhere,
    /// Another datacenter, with what the agent's own pool said of it.
    Other(usize, Seen),
    /// The own datacenter, for what a prepared query finds.
    Query(Wanted),
}

/// What a server's pool says of another datacenter; nothing on clients, which have none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// It had a member there before the request, in this life, and not all of them have left.
    pub(super) known: bool,
    /// A server there was alive before or after the request.
    pub(super) alive: Option<bool>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Fine,
    /// So many instances, in the datacenter of this number.
    Found(usize, usize),
    Failed(RpcError),
    /// None in all the time that was given.
    NoAnswer,
    /// No process there, or it ended meanwhile.
    NobodyThere,
}

/// A request and its fate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Probe {
    pub(super) dc: usize,
    /// The name of the agent that was asked.
    pub(super) agent: String,
    pub(super) is_server: bool,
    pub(super) asked: Asked,
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) fate: Fate,
}

/// What was seen since the oracles looked last.
#[derive(Debug, Default)]
pub(super) struct Probes(Mutex<Vec<Probe>>);

impl Probes {
    pub(super) fn take(&self) -> Vec<Probe> {
        std::mem::take(&mut self.0.lock())
    }
}

/// Who looks in one datacenter.
#[derive(Clone)]
pub(super) struct Prober {
    dc: usize,
    names: Vec<Text>,
    pub(super) outside: Arc<Outside>,
    probes: Arc<Probes>,
    /// Agent, life and datacenter: what was known to whom.
    known: BTreeSet<(usize, u64, usize)>,
    pub(super) rng: SmallRng,
}

impl Prober {
    pub(super) fn new(
        dc: usize,
        names: &[String],
        of: &Datacenter,
        probes: Arc<Probes>,
        seed: u64,
    ) -> Prober {
        Prober {
            dc,
            names: names.iter().map(|name| text(name)).collect(),
            outside: Arc::clone(&of.outside),
            probes,
            known: BTreeSet::new(),
            rng: SmallRng::seed_from_u64(seed ^ (dc as u64 + 1) << 24),
        }
    }

    /// The number of a datacenter, or one that none has.
    pub(super) fn number_of(&self, name: &str) -> usize {
        let number = self.names.iter().position(|known| **known == *name);
        number.unwrap_or(usize::MAX)
    }

    pub(super) fn any_agent(&mut self) -> usize {
        self.rng.random_range(0..self.outside.slots.len())
    }

    fn any_other(&mut self) -> usize {
        let other = self.rng.random_range(1..self.names.len());
        (self.dc + other) % self.names.len()
    }

    pub(super) async fn pause(&mut self, ms: std::ops::Range<u64>) {
        let pause = Duration::from_millis(self.rng.random_range(ms));
        self.outside.env.sleep(pause).await;
    }

    /// Asks the own datacenter until the workload ends.
    pub(super) async fn run_local(mut self) {
        while !self.outside.stop.is_cancelled() {
            let agent = self.any_agent();
            let asked = if self.rng.random_bool(0.5) {
                Asked::Read
            } else {
                Asked::Write
            };
            // The bug: a request waits for a word from elsewhere first.
            let first = (self.outside.bug == Some(Bug::WaitsForRemote))
                .then(|| self.names[(self.dc + 1) % self.names.len()].clone());
            self.probe(agent, asked, |handle| async move {
                if let Some(elsewhere) = first {
                    let _ = read(&handle, Some(elsewhere), Consistency::Stale).await;
                }
                let done = match asked {
                    Asked::Read => read(&handle, None, Consistency::Default).await,
                    _ => write(&handle).await,
                };
                done.map(|()| Fate::Fine)
            })
            .await;
            self.pause(30..120).await;
        }
    }

    /// Asks for other datacenters until the workload ends.
    pub(super) async fn run_remote(mut self) {
        self.rng = SmallRng::seed_from_u64(self.rng.random::<u64>() ^ 1);
        while !self.outside.stop.is_cancelled() {
            let agent = self.any_agent();
            let consistency = if self.rng.random_bool(0.5) {
                Consistency::Default
            } else {
                Consistency::Stale
            };
            let other = self.any_other();
            let (asked, name) = if self.rng.random_bool(0.25) {
                (Asked::Nowhere, text(NOWHERE))
            } else {
                (
                    Asked::Other(other, Seen::default()),
                    self.names[other].clone(),
                )
            };
            // The bug: what fails is tried again for good.
            let forever = self.outside.bug == Some(Bug::TriesForever) && asked != Asked::Nowhere;
            let env = self.outside.env.clone();
            let query = self.any_query();
            self.probe(agent, asked, |handle| async move {
                loop {
                    let (query, name) = (query.clone(), Some(name.clone()));
                    let found = read_what(&handle, query, name, consistency).await;
                    if found.is_ok() || !forever {
                        return found.map(|()| Fate::Fine);
                    }
                    env.sleep(Duration::from_millis(200)).await;
                }
            })
            .await;
            self.pause(50..250).await;
        }
    }

    /// Something that every datacenter has.
    fn any_query(&mut self) -> Query {
        let service = ServiceQuery {
            name: text(queries::EVERYWHERE),
            ..ServiceQuery::default()
        };
        match self.rng.random_range(0..4) {
            0 => Query::ServiceNodes(service),
            1 => Query::ServiceHealth {
                service,
                passing_only: true,
            },
            _ => Query::KvGet { key: KEY.into() },
        }
    }

    /// Fires events in all datacenters until the workload ends.
    pub(super) async fn run_events(mut self) {
        self.rng = SmallRng::seed_from_u64(self.rng.random::<u64>() ^ 2);
        while !self.outside.stop.is_cancelled() {
            let (agent, to) = (self.any_agent(), self.rng.random_range(0..self.names.len()));
            let (id, from, names) = (self.rng.random(), self.dc, self.names.clone());
            let bug = self.outside.bug;
            let sent = self.outside.ask(agent, REMOTE_LIMIT, |handle| async move {
                fire(&handle, from, to, &names, Uuid(id), bug).await
            });
            // Whether it arrives is asked when all is well.
            drop(sent.await);
            self.pause(400..1600).await;
        }
    }

    pub(super) async fn probe<F>(
        &mut self,
        agent: usize,
        asked: Asked,
        work: impl FnOnce(Handle) -> F,
    ) where
        F: Future<Output = Result<Fate, RpcError>> + Send + 'static,
    {
        let is_server = agent < self.outside.servers;
        let life = |outside: &Outside| outside.slots[agent].live().map(|live| live.life);
        let first_life = life(&self.outside);
        let before = self.is_alive(agent, asked);
        if let (Asked::Other(other, _), Some(life)) = (asked, first_life)
            && before.is_some()
        {
            self.known.insert((agent, life, other));
        }
        let left_before = self.has_left(agent, asked);
        let began_ns = self.outside.now_ns();
        let patience = REMOTE_LIMIT_DISTURBED + Duration::from_secs(1);
        let fate = match self.outside.ask(agent, patience, work).await {
            Sent::Answered(Ok(fate), _) => fate,
            Sent::Answered(Err(err), _) => Fate::Failed(err),
            Sent::Not => Fate::NobodyThere,
            Sent::Lost if life(&self.outside) != first_life => Fate::NobodyThere,
            Sent::Lost => Fate::NoAnswer,
        };
        let after = self.is_alive(agent, asked);
        let asked = match asked {
            Asked::Other(other, _) if is_server => {
                let known =
                    first_life.is_some_and(|life| self.known.contains(&(agent, life, other)));
                // Whose servers have all left is unknown again.
                let known = known && !left_before && !self.has_left(agent, asked);
                let alive = [before, after].contains(&Some(true));
                let alive = before.or(after).map(|_| alive);
                Asked::Other(other, Seen { known, alive })
            }
            asked => asked,
        };
        let probe = Probe {
            dc: self.dc,
            agent: self.outside.names[agent].clone(),
            is_server,
            asked,
            began_ns,
            ended_ns: self.outside.now_ns(),
            fate,
        };
        self.probes.0.lock().push(probe);
    }

    /// True if all servers of the datacenter that is asked have left, as an agent's pool has it.
    fn has_left(&self, agent: usize, asked: Asked) -> bool {
        let (Asked::Other(other, _), Some(live)) = (asked, self.outside.slots[agent].live()) else {
            return false;
        };
        let suffix = format!(".{}", self.names[other]);
        let members = live.handle.members(true);
        let there = { members.iter() }.filter(|member| member.name.ends_with(&suffix));
        // Those that were forgotten have not left.
        let left = there.map(|member| member.status == MemberStatus::Left);
        left.reduce(|one, other| one && other) == Some(true)
    }

    /// Whether an agent's pool has a living server of the datacenter that is asked; `None` if it has none at all.
    fn is_alive(&self, agent: usize, asked: Asked) -> Option<bool> {
        let Asked::Other(other, _) = asked else {
            return None;
        };
        let live = self.outside.slots[agent].live()?;
        sees(&live.handle, &self.names[other])
    }
}

/// Whether a server sees a living one of a datacenter in the WAN pool; `None` if it sees none at all.
pub(super) fn sees(handle: &Handle, datacenter: &str) -> Option<bool> {
    let suffix = format!(".{datacenter}");
    let members = handle.members(true);
    let there = { members.iter() }.filter(|member| member.name.ends_with(&suffix));
    let alive = there.map(|member| member.status == MemberStatus::Alive);
    alive.reduce(|one, other| one || other)
}

/// Reads a key.
pub(super) async fn read(
    handle: &Handle,
    datacenter: Option<Text>,
    consistency: Consistency,
) -> Result<(), RpcError> {
    let query = Query::KvGet { key: KEY.into() };
    read_what(handle, query, datacenter, consistency).await
}

async fn read_what(
    handle: &Handle,
    query: Query,
    datacenter: Option<Text>,
    consistency: Consistency,
) -> Result<(), RpcError> {
    let options = ReadOptions {
        datacenter,
        consistency,
        ..ReadOptions::default()
    };
    let read = handle.read(&Caller::internal(), query, &options).await;
    read.map(drop)
}

async fn write(handle: &Handle) -> Result<(), RpcError> {
    let entry = KvEntry {
        key: KEY.into(),
        value: b"seen".as_slice().into(),
        ..KvEntry::default()
    };
    let write = Write::Kv(KvOp::Set, entry);
    let written = handle.write(&Caller::internal(), None, write).await;
    written.map(drop)
}

/// The name of an event that is meant for a datacenter.
pub(super) fn event_name(datacenter: &str) -> Text {
    text(&format!("for-{datacenter}"))
}

/// Fires an event in a datacenter.
pub(super) async fn fire(
    handle: &Handle,
    from: usize,
    to: usize,
    names: &[Text],
    id: Uuid,
    bug: Option<Bug>,
) -> Result<(), RpcError> {
    let event = UserEvent {
        id,
        name: event_name(&names[to]),
        version: 1,
        ..UserEvent::default()
    };
    let write = || Write::EventFire(Box::new(event.clone()));
    let caller = Caller::internal();
    let dc = (from != to).then(|| &*names[to]);
    if bug == Some(Bug::EventsEverywhere) && from != to {
        // The bug: it is fired here as well.
        handle.write(&caller, None, write()).await?;
    }
    handle.write(&caller, dc, write()).await.map(drop)
}
