//! Whole clusters in one thread on virtual time, from one seed.
//!
//! Agents are the production agents, made from validated settings, each with its own machine: address, disk, clocks,
//! process. They gossip, replicate and forward over simulated links. Clients talk to any of them and write down what they
//! are told. Faults come from the seed. Oracles look at every step, and at the whole history in the end.
//!
//! ```no_run
//! use std::time::Duration;
//! use tribune_sim::world::{Mix, World};
//!
//! let seed = 7;
//! let mut world = World::seeded(seed).servers(3).clients(2).build()?;
//! world.until("a leader", Duration::from_secs(60), World::has_leader)?;
//! world.chaos(&Mix::from_seed(seed), Duration::from_secs(12))?;
//! world.heal()?;
//! world.until("convergence", Duration::from_secs(240), World::converged)?;
//! world.check_clients()?;
//! world.shutdown()?;
//! # Ok::<(), String>(())
//! ```
//!
//! A world may have several datacenters, joined by a WAN with delays and losses of its own:
//!
//! ```no_run
//! # use tribune_sim::world::World;
//! let world = World::seeded(7).dc("dc1", 3, 2).dc("dc2", 3, 1).dc("dc3", 3, 1).join_wan().build();
//! ```
//!
//! What goes wrong between them, and what must hold then, is in [`wan`].
//!
//! Everything is decided by the seed: the same seed gives the same trace. Not simulated: HTTP and DNS in front of the
//! agents, checks that run programs.

mod bug;
mod chaos;
mod clients;
mod convergence;
mod datacenter;
mod faults;
mod history;
mod node;
mod operators;
mod oracles;
mod run;
mod services;
mod settings;
mod verdict;
pub mod wan;
mod watchers;

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::runtime::Runtime;
use tribune_raft::Role as RaftRole;
use tribune_rt::disk::Faults;
use tribune_rt::net::sim::SimNet;
use tribune_rt::{CancellationToken, Env};

pub use bug::Bug;
pub use faults::{ALL, Kind, Mix};
pub use oracles::Only;
pub use run::{Report, Shape, run_world};

use datacenter::Datacenter;
use faults::Undo;
use node::{Live, Node};
use operators::Offices;
use settings::Role;
use wan::Wan;

/// Between two looks of the oracles.
const STEP: Duration = Duration::from_millis(20);
/// Looks between two comparisons of states, which cost more.
const STEPS_PER_HASH: u64 = 10;
/// Clients and watchers.
const CLIENTS: u32 = 4;
const WATCHERS: u32 = 4;
/// Patience with reads of the oracles.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a world is made of.
#[derive(Debug, Clone)]
pub struct Builder {
    seed: u64,
    servers: usize,
    clients: usize,
    /// Name, servers and client agents of each; none is one of the counts above.
    dcs: Vec<(String, usize, usize)>,
    wan: bool,
    bug: Option<Bug>,
    only: Option<Only>,
}

impl Builder {
    /// How many servers: 1, 3 or 5.
    pub fn servers(mut self, count: usize) -> Builder {
        self.servers = count;
        self
    }

    /// How many client agents.
    pub fn clients(mut self, count: usize) -> Builder {
        self.clients = count;
        self
    }

    /// Adds a datacenter of so many servers and client agents. The first replaces the unnamed one.
    pub fn dc(mut self, name: &str, servers: usize, clients: usize) -> Builder {
        self.dcs.push((name.to_owned(), servers, clients));
        self
    }

    /// Lets the servers of all datacenters meet in a WAN pool.
    pub fn join_wan(mut self) -> Builder {
        self.wan = true;
        self
    }

    /// Puts a bug in.
    pub fn bug(mut self, bug: Bug) -> Builder {
        self.bug = Some(bug);
        self
    }

    /// Lets one oracle speak alone at every step.
    pub fn only(mut self, only: Only) -> Builder {
        self.only = Some(only);
        self
    }

    /// Starts all agents. They find each other while the world runs.
    ///
    /// # Errors
    /// What cannot be built; nothing of the system under test runs yet.
    pub fn build(self) -> Result<World, String> {
        World::new(self)
    }

    /// The settings of all machines, by datacenter.
    fn roles(&self) -> Vec<Vec<Role>> {
        let unnamed = [("dc1".to_owned(), self.servers, self.clients)];
        let dcs = if self.dcs.is_empty() {
            &unnamed[..]
        } else {
            &self.dcs[..]
        };
        let places = dcs.iter().enumerate();
        let roles = places.map(|(dc, (name, servers, clients))| {
            let join: Vec<IpAddr> = (0..*servers).map(|n| server_ip(dc, n)).collect();
            let role = |name_of: String, ip, server_of| Role {
                name: name_of,
                datacenter: name.clone(),
                ip,
                server_of,
                join: join.clone(),
                join_wan: self.wan.then(Vec::new),
                forgets: self.bug == Some(Bug::ForgottenDatacenter),
            };
            let mut roles: Vec<Role> = (0..*servers)
                .map(|n| role(format!("s{}", n + 1), server_ip(dc, n), Some(*servers)))
                .collect();
            roles
                .extend((0..*clients).map(|n| role(format!("c{}", n + 1), client_ip(dc, n), None)));
            // Servers know one of each other datacenter; or only one of them does, and the rest are found through it.
            let told = if self.seed.is_multiple_of(6) {
                1
            } else {
                *servers
            };
            for role in roles.iter_mut().take(told).filter(|_| self.wan) {
                let others = (0..dcs.len()).filter(|other| *other != dc);
                role.join_wan = Some(others.map(|other| server_ip(other, 0)).collect());
            }
            if self.bug == Some(Bug::NotInWanPool) && dc + 1 == dcs.len() {
                roles[servers - 1].join_wan = None;
            }
            roles
        });
        roles.collect()
    }
}

/// A running world.
pub struct World {
    // Dropped in this order: machines before the runtime that their tasks live in.
    nodes: Vec<Node>,
    twins: Vec<Node>,
    dcs: Vec<Datacenter>,
    wan: Option<Wan>,
    env: Env,
    net: SimNet,
    /// The workload ends.
    stop: CancellationToken,
    rng: SmallRng,
    seed: u64,
    steps: u64,
    faults: u64,
    /// Counts servers that moved.
    addresses: usize,
    /// Machines that are lost for good, until there is another one.
    gone: BTreeSet<usize>,
    /// A machine was lost for good, or might have been: no second time.
    lost: bool,
    /// What became of leaders that were asked to hand over.
    offices: Arc<Offices>,
    undo: Vec<(u64, Undo)>,
    bug: Option<Bug>,
    only: Option<Only>,
    log: String,
    working: bool,
    runtime: Runtime,
}

impl World {
    /// Begins a world.
    pub fn seeded(seed: u64) -> Builder {
        Builder {
            seed,
            servers: 3,
            clients: 1,
            dcs: Vec::new(),
            wan: false,
            bug: None,
            only: None,
        }
    }

    fn new(builder: Builder) -> Result<World, String> {
        let Builder {
            seed, bug, only, ..
        } = builder;
        let runtime = runtime(seed)?;
        let handle = runtime.handle().clone();
        // The clock of the world is that of the runtime only inside of it.
        let _inside = handle.enter();
        let env = Env::sim(seed).map_err(|err| err.to_string())?;
        let net = SimNet::new(seed);
        let stop = CancellationToken::new();
        let mut nodes: Vec<Node> = Vec::new();
        let mut places = Vec::new();
        for roles in builder.roles() {
            let servers = roles.iter().filter(|role| role.server_of.is_some());
            let name = roles[0].datacenter.clone();
            places.push((
                name,
                nodes.len()..nodes.len() + roles.len(),
                servers.count(),
            ));
            for role in roles {
                let number = nodes.len() as u64;
                nodes.push(Node::new(role, seed ^ (number + 1) << 16, &net));
            }
        }
        let dcs: Vec<Datacenter> = places
            .into_iter()
            .map(|(name, machines, servers)| {
                Datacenter::new(&name, machines, servers, &nodes, (&env, &stop, bug))
            })
            .collect();
        let mut world = World {
            nodes,
            twins: Vec::new(),
            wan: builder.wan.then(|| Wan::new(seed, &dcs, bug)),
            dcs,
            env,
            net,
            stop,
            rng: SmallRng::seed_from_u64(seed ^ 0x0077_6f72),
            seed,
            steps: 0,
            faults: 0,
            addresses: 0,
            gone: BTreeSet::new(),
            lost: false,
            offices: Arc::default(),
            undo: Vec::new(),
            bug,
            only,
            log: String::new(),
            working: false,
            runtime,
        };
        if bug == Some(Bug::LyingDisk) {
            for node in &world.nodes {
                node.disk.set_lying(true);
            }
        }
        world.set_wan_links();
        for number in 0..world.nodes.len() {
            world.start(number)?;
        }
        Ok(world)
    }

    // --- time -------------------------------------------------------------------------------

    /// Milliseconds since the beginning.
    pub fn now_ms(&self) -> u64 {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        self.env.mono().0 / 1_000_000
    }

    fn note(&mut self, what: &str) {
        let now = self.now_ms();
        let _ = writeln!(self.log, "{now:7} ms  {what}");
    }

    /// Lets time pass, with the oracles looking.
    ///
    /// # Errors
    /// What an oracle found.
    pub fn step(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let env = self.env.clone();
        self.runtime.block_on(env.sleep(STEP));
        self.steps += 1;
        self.undo_what_is_due()?;
        for number in 0..self.nodes.len() {
            if let Some(why) = self.nodes[number].take_exit() {
                self.on_exit(number, &why);
            }
        }
        self.look()
    }

    fn look(&mut self) -> Result<(), String> {
        let hash = self.steps.is_multiple_of(STEPS_PER_HASH);
        for dc in &mut self.dcs {
            let here = self.nodes[dc.machines.clone()].iter();
            let here = here.map(|node| (node, "here"));
            let there = self.twins.get(dc.machines.clone()).into_iter().flatten();
            for (node, place) in here.chain(there.map(|node| (node, "there"))) {
                if let Some(live) = node.slot.live() {
                    let name = format!("{} {place}", node.label());
                    dc.seen.look(&name, &live, self.only, hash)?;
                }
            }
            match dc.outside.history.first_wrong() {
                Some(wrong) if self.only.is_none() => {
                    return Err(format!("in {}: {wrong}", dc.name));
                }
                _ => {}
            }
        }
        self.offices.look()?;
        self.look_at_wan()
    }

    /// Lets time pass until something holds.
    ///
    /// # Errors
    /// It does not within `limit`, or what an oracle found.
    pub fn until(
        &mut self,
        what: &str,
        limit: Duration,
        mut holds: impl FnMut(&mut World) -> bool,
    ) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let deadline = self.env.mono() + limit;
        while !holds(self) {
            if self.env.mono() >= deadline {
                let state = self.describe();
                return Err(format!("never within {limit:?}: {what}\n{state}"));
            }
            self.step()?;
        }
        let text = format!("reached: {what}");
        self.note(&text);
        Ok(())
    }

    // --- machines ---------------------------------------------------------------------------

    fn start(&mut self, number: usize) -> Result<(), String> {
        let dc = &self.dcs[self.dc_of(number)];
        // The servers; once some have moved, or this one has left, all agents: servers that all moved, or left, and lost what
        // they remembered of the pool, know no client, and no client knows them. Not itself then: who finds that looks no
        // further, and may be the first to be there.
        let is_usual = self.addresses == 0 && !self.nodes[number].has_left();
        let named = if is_usual {
            dc.servers()
        } else {
            dc.machines.clone()
        };
        let named = named.filter(|other| is_usual || *other != number);
        let join = named.map(|other| self.nodes[other].ip()).collect();
        let abroad = self.joins_abroad(number);
        let node = &mut self.nodes[number];
        if node.is_up() || self.gone.contains(&number) {
            return Ok(());
        }
        // What an operator would put into the settings now.
        node.role.join = join;
        node.role.join_wan = abroad;
        if self.bug == Some(Bug::LeftAlone) && node.has_left() {
            // The bug: it is told of nobody but itself.
            node.role.join = vec![node.ip()];
        }
        node.start()?;
        let text = format!("{} starts", self.nodes[number].label());
        self.note(&text);
        Ok(())
    }

    /// Which servers of other datacenters a machine is to join, where they are now.
    fn joins_abroad(&self, number: usize) -> Option<Vec<IpAddr>> {
        let told = self.nodes[number].role.join_wan.as_ref()?;
        let own = self.dc_of(number);
        let others = (0..self.dcs.len()).filter(|dc| *dc != own && !told.is_empty());
        let first = |dc: usize| self.nodes[self.dcs[dc].machines.start].ip();
        Some(others.map(first).collect())
    }

    /// In which datacenter a machine is.
    fn dc_of(&self, number: usize) -> usize {
        let dc = { self.dcs.iter() }.position(|dc| dc.machines.contains(&number));
        dc.expect("every machine is in a datacenter")
    }

    /// A process ended by itself: its operator starts it again.
    fn on_exit(&mut self, number: usize, why: &str) {
        let name = self.nodes[number].label();
        self.note(&format!("{name} ended: {why}"));
        let dies = self.nodes[number].disk.faults().dies_after.is_some();
        if dies {
            self.later(Duration::ZERO, Undo::PowerLoss(number));
        }
        self.later(Duration::from_millis(500), Undo::Start(number));
    }

    fn later(&mut self, after: Duration, undo: Undo) {
        let at = self.env.mono() + after;
        self.undo.push((at.0, undo));
    }

    fn undo_what_is_due(&mut self) -> Result<(), String> {
        let now = self.env.mono().0;
        let (due, later) = std::mem::take(&mut self.undo)
            .into_iter()
            .partition(|(at, _)| *at <= now);
        self.undo = later;
        let due: Vec<(u64, Undo)> = due;
        for (_, undo) in due {
            self.undo(undo)?;
        }
        Ok(())
    }

    fn undo(&mut self, undo: Undo) -> Result<(), String> {
        if let Undo::Replace(what) = undo {
            // Said when it is done: it is tried often.
            return self.replace_if_possible(what);
        }
        self.note(&format!("{undo:?}"));
        match undo {
            Undo::Links => self.heal_links(),
            Undo::Start(number) => self.start(number)?,
            Undo::Resume(number) => self.nodes[number].set_paused(false),
            Undo::Disk(number) => self.nodes[number].set_faults(Faults::default()),
            Undo::PowerLoss(number) => self.nodes[number].lose_power(),
            Undo::Clock(number) => self.nodes[number].set_drift(0),
            Undo::StartOn(number, faults) => {
                self.nodes[number].set_faults(faults);
                self.start(number)?;
            }
            Undo::Replace(_) => {}
            Undo::Wan(what) => self.undo_wan(what),
        }
        Ok(())
    }

    /// The number of the server that leads a datacenter with the highest term, if one does.
    fn leader(&self, dc: usize) -> Option<usize> {
        let mut best = None;
        for number in self.dcs[dc].servers() {
            let node = &self.nodes[number];
            let Some(Live {
                server: Some(server),
                ..
            }) = node.slot.live()
            else {
                continue;
            };
            let metrics = server.raft_metrics();
            if metrics.role == RaftRole::Leader && best.is_none_or(|(term, _)| metrics.term > term)
            {
                best = Some((metrics.term, number));
            }
        }
        best.map(|(_, number)| number)
    }

    /// Copies every disk and starts all machines a second time on a network of their own, as if an image had been
    /// restored twice.
    ///
    /// # Errors
    /// As for starting machines.
    pub fn twin(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let net = SimNet::new(self.seed ^ 2);
        for node in &self.nodes {
            let mut twin = node.twin(&net);
            twin.start()?;
            self.twins.push(twin);
        }
        self.note("twins start");
        Ok(())
    }

    /// True if in every datacenter a server leads and is ready.
    pub fn has_leader(&mut self) -> bool {
        self.dcs.iter().all(|dc| {
            self.nodes[dc.servers()].iter().any(|node| {
                let server = node.slot.live().and_then(|live| live.server);
                server.is_some_and(|server| server.is_leader())
            })
        })
    }

    /// What happened and where things stand, for the reader of a failure.
    pub fn describe(&self) -> String {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let mut out = String::new();
        let lines: Vec<&str> = self.log.lines().collect();
        for line in &lines[lines.len().saturating_sub(60)..] {
            let _ = writeln!(out, "{line}");
        }
        for node in &self.nodes {
            let _ = write!(out, "{} at {}", node.label(), node.ip());
            match node.slot.live() {
                None => {
                    let _ = writeln!(out, ": down");
                }
                Some(live) => match live.server {
                    Some(server) => {
                        let metrics = server.raft_metrics();
                        let _ = writeln!(
                            out,
                            ": {:?} of term {}, applied {}, last {}, leader {:?}",
                            metrics.role,
                            metrics.term,
                            metrics.applied_index,
                            metrics.last_log_index,
                            metrics.leader.map(|leader| leader.addr)
                        );
                    }
                    None => {
                        let _ = writeln!(out, ": client");
                    }
                },
            }
        }
        let _ = writeln!(out, "not converged: {:?}", self.disagreement());
        out
    }

    /// Everything that was seen, in order: equal for equal seeds.
    pub fn trace(&self) -> String {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let mut out = self.log.clone();
        for dc in &self.dcs {
            dc.outside.history.trace(&mut out);
        }
        for node in &self.nodes {
            if let Some(server) = node.slot.live().and_then(|live| live.server) {
                let version = server.version();
                let _ = writeln!(
                    out,
                    "{} {} {:x}",
                    node.label(),
                    version.last_index(),
                    version.digest()
                );
            }
        }
        let _ = writeln!(out, "network {:x}", self.net.digest());
        out
    }
}

fn runtime(seed: u64) -> Result<Runtime, String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    builder.build().map_err(|err| err.to_string())
}

fn server_ip(dc: usize, number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, dc as u8, 0, 1 + number as u8))
}

fn client_ip(dc: usize, number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, dc as u8, 1, 1 + number as u8))
}

/// The address of the n-th server that moves, if it is in this datacenter.
fn moved_ip(dc: usize, number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, dc as u8, 2, 1 + (number % 250) as u8))
}
