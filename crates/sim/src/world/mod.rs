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
//! Everything is decided by the seed: the same seed gives the same trace. Not simulated: HTTP and DNS in front of the
//! agents, checks that run programs, other datacenters.

mod bug;
mod clients;
mod faults;
mod history;
mod node;
mod oracles;
mod run;
mod services;
mod settings;
mod watchers;

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tokio::runtime::Runtime;
use tribune_raft::Role as RaftRole;
use tribune_rt::disk::Faults;
use tribune_rt::net::sim::{LinkFaults, SimNet};
use tribune_rt::{CancellationToken, Env};
use tribune_types::caller::Caller;
use tribune_types::catalog::{SERF_HEALTH, Status};
use tribune_types::member::MemberStatus;
use tribune_types::query::{Consistency, ReadOptions};
use tribune_types::text::text;
use tribune_types::write::Write as Change;

pub use bug::Bug;
pub use faults::{ALL, Kind, Mix};
pub use oracles::Only;
pub use run::{Report, Shape, run_world};

use clients::{Client, Outside};
use faults::Undo;
use history::History;
use node::{Live, Node, SHUTDOWN_LIMIT};
use oracles::Seen;
use services::Registrations;
use settings::Role;
use watchers::Watcher;

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
}

/// A running world.
pub struct World {
    // Dropped in this order: machines before the runtime that their tasks live in.
    nodes: Vec<Node>,
    twins: Vec<Node>,
    outside: Arc<Outside>,
    registrations: Arc<Registrations>,
    watchers: Vec<Arc<Watcher>>,
    env: Env,
    net: SimNet,
    seen: Seen,
    rng: SmallRng,
    seed: u64,
    servers: usize,
    steps: u64,
    faults: u64,
    /// Counts servers that moved.
    addresses: usize,
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
            bug: None,
            only: None,
        }
    }

    fn new(builder: Builder) -> Result<World, String> {
        let Builder {
            seed,
            servers,
            clients,
            bug,
            only,
        } = builder;
        let runtime = runtime(seed)?;
        let handle = runtime.handle().clone();
        // The clock of the world is that of the runtime only inside of it.
        let _inside = handle.enter();
        let env = Env::sim(seed).map_err(|err| err.to_string())?;
        let net = SimNet::new(seed);
        let server_ips: Vec<IpAddr> = (0..servers).map(server_ip).collect();
        let nodes: Vec<Node> = (0..servers + clients)
            .map(|number| {
                let is_server = number < servers;
                let (name, ip) = if is_server {
                    (format!("s{}", number + 1), server_ip(number))
                } else {
                    let number = number - servers;
                    (format!("c{}", number + 1), client_ip(number))
                };
                let role = Role {
                    name,
                    ip,
                    server_of: is_server.then_some(servers),
                    join: server_ips.clone(),
                };
                Node::new(role, seed ^ (number as u64 + 1) << 16, &net)
            })
            .collect();
        let outside = Arc::new(Outside {
            env: env.clone(),
            slots: nodes.iter().map(|node| Arc::clone(&node.slot)).collect(),
            servers,
            names: nodes.iter().map(|node| node.role.name.clone()).collect(),
            history: History::default(),
            stop: CancellationToken::new(),
            bug,
        });
        let mut world = World {
            nodes,
            twins: Vec::new(),
            outside,
            registrations: Arc::default(),
            watchers: Vec::new(),
            env,
            net,
            seen: Seen::default(),
            rng: SmallRng::seed_from_u64(seed ^ 0x0077_6f72),
            seed,
            servers,
            steps: 0,
            faults: 0,
            addresses: 0,
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
        let here = self.nodes.iter().map(|node| (node, "here"));
        for (node, place) in here.chain(self.twins.iter().map(|node| (node, "there"))) {
            if let Some(live) = node.slot.live() {
                let name = format!("{} {place}", node.role.name);
                self.seen.look(&name, &live, self.only, hash)?;
            }
        }
        match self.outside.history.first_wrong() {
            Some(wrong) if self.only.is_none() => Err(wrong),
            _ => Ok(()),
        }
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
        let servers = self.nodes[..self.servers].iter().map(Node::ip).collect();
        let node = &mut self.nodes[number];
        if node.is_up() {
            return Ok(());
        }
        // What an operator would put into the settings now.
        node.role.join = servers;
        node.start()?;
        let text = format!("{} starts", self.nodes[number].role.name);
        self.note(&text);
        Ok(())
    }

    /// A process ended by itself: its operator starts it again.
    fn on_exit(&mut self, number: usize, why: &str) {
        let name = self.nodes[number].role.name.clone();
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
        self.note(&format!("{undo:?}"));
        match undo {
            Undo::Links => self.heal_links(),
            Undo::Start(number) => self.start(number)?,
            Undo::Resume(number) => self.nodes[number].set_paused(false),
            Undo::Disk(number) => self.nodes[number].set_faults(Faults::default()),
            Undo::PowerLoss(number) => self.nodes[number].lose_power(),
            Undo::Clock(number) => self.nodes[number].set_drift(0),
        }
        Ok(())
    }

    /// The number of the server that leads with the highest term, if one does.
    fn leader(&self) -> Option<usize> {
        let mut best = None;
        for (number, node) in self.nodes.iter().enumerate() {
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

    /// True if a server leads and is ready.
    pub fn has_leader(&mut self) -> bool {
        self.nodes.iter().any(|node| {
            let server = node.slot.live().and_then(|live| live.server);
            server.is_some_and(|server| server.is_leader())
        })
    }

    // --- chaos ------------------------------------------------------------------------------

    /// Starts clients, watchers and registrars, unless they work already.
    pub fn work(&mut self) {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        if std::mem::replace(&mut self.working, true) {
            return;
        }
        let env = self.env.clone();
        for id in 0..CLIENTS {
            let client = Client::new(Arc::clone(&self.outside), id, self.seed);
            env.spawn("client", client.run());
        }
        for number in 0..WATCHERS {
            let watcher = Watcher::new(&self.outside, number, self.seed);
            env.spawn("watcher", Arc::clone(&watcher).run());
            self.watchers.push(watcher);
        }
        let writer = watchers::write_watched(Arc::clone(&self.outside), self.seed);
        env.spawn("writer", writer);
        let known = Arc::clone(&self.registrations);
        let registrar = services::register(Arc::clone(&self.outside), known, self.seed);
        env.spawn("registrar", registrar);
    }

    /// Lets clients work for `duration` while things go wrong.
    ///
    /// # Errors
    /// What an oracle found.
    pub fn chaos(&mut self, mix: &Mix, duration: Duration) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        self.work();
        let end = self.env.mono() + duration;
        let mut rng = SmallRng::seed_from_u64(self.rng.random());
        let mut next = self.env.mono() + mix.pause(&mut rng);
        while self.env.mono() < end {
            self.step()?;
            if self.env.mono() >= next {
                next = self.env.mono() + mix.pause(&mut rng);
                if let Some(kind) = mix.draw(&mut rng) {
                    self.faults += 1;
                    self.fault(kind, &mut rng)?;
                }
            }
        }
        Ok(())
    }

    fn fault(&mut self, kind: Kind, rng: &mut SmallRng) -> Result<(), String> {
        let victim = rng.random_range(0..self.nodes.len());
        let server = rng.random_range(0..self.servers);
        let leader = self.leader().unwrap_or(server);
        let while_down = Duration::from_millis(rng.random_range(100..2500));
        let long = Duration::from_millis(rng.random_range(300..4000));
        self.note(&format!(
            "{kind:?} (victim {victim}, server {server}, leader {leader})"
        ));
        let ips: Vec<IpAddr> = self.nodes.iter().map(Node::ip).collect();
        match kind {
            Kind::Partition | Kind::OneWay => {
                let (one, other): (Vec<IpAddr>, Vec<IpAddr>) =
                    ips.iter().partition(|_| rng.random_bool(0.5));
                if kind == Kind::Partition {
                    self.net.partition(&one, &other);
                } else {
                    for (from, to) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                        self.net.cut(*from, *to);
                    }
                }
                self.later(long, Undo::Links);
            }
            Kind::IsolateLeader => {
                let own = ips[leader];
                let others: Vec<IpAddr> = ips.iter().copied().filter(|ip| *ip != own).collect();
                self.net.partition(&[own], &others);
                self.later(long, Undo::Links);
            }
            Kind::SlowLink => {
                let other = ips[rng.random_range(0..ips.len())];
                let slow = LinkFaults {
                    delay: Duration::from_millis(rng.random_range(50..800)),
                    jitter: Duration::from_millis(rng.random_range(0..200)),
                    bandwidth: rng.random_bool(0.3).then_some(20_000),
                    ..LinkFaults::default()
                };
                self.net.set_link_both(ips[server], other, slow);
                self.later(long, Undo::Links);
            }
            Kind::Lossy => {
                self.net.set_default_link(LinkFaults {
                    jitter: Duration::from_millis(rng.random_range(0..50)),
                    loss_per_million: rng.random_range(10_000..150_000),
                    duplicate_per_million: rng.random_range(0..100_000),
                    ..LinkFaults::default()
                });
                self.later(long, Undo::Links);
            }
            Kind::Kill | Kind::KillLeader => {
                let victim = if kind == Kind::Kill { victim } else { leader };
                self.nodes[victim].kill();
                self.later(while_down, Undo::Start(victim));
            }
            Kind::PowerLoss => {
                self.nodes[victim].lose_power();
                self.later(while_down, Undo::Start(victim));
            }
            Kind::PowerLossAll => {
                for number in 0..self.nodes.len() {
                    self.nodes[number].lose_power();
                    let down = while_down + Duration::from_millis(rng.random_range(0..500));
                    self.later(down, Undo::Start(number));
                }
            }
            Kind::DieInWrite => {
                let faults = Faults {
                    dies_after: Some(rng.random_range(1..60)),
                    ..Faults::default()
                };
                self.nodes[victim].set_faults(faults);
                self.later(long, Undo::PowerLoss(victim));
                self.later(long + while_down, Undo::Start(victim));
            }
            Kind::DiskError => {
                let mut faults = Faults::default();
                let after = Some(rng.random_range(1..40));
                if rng.random_bool(0.5) {
                    faults.fail_after = after;
                } else {
                    faults.fail_sync_after = after;
                }
                self.nodes[victim].set_faults(faults);
            }
            Kind::DiskFull => {
                let faults = Faults {
                    space_left: Some(rng.random_range(0..20_000)),
                    ..Faults::default()
                };
                self.nodes[victim].set_faults(faults);
                self.later(long, Undo::Disk(victim));
            }
            Kind::ClockJump => {
                let by = Duration::from_millis(rng.random_range(1..100_000)).as_nanos() as i64;
                let by = if rng.random_bool(0.5) { by } else { -by };
                self.nodes[victim].skew(by);
            }
            Kind::ClockDrift => {
                // Leases allow for clocks that differ by less than this.
                let ppm = rng.random_range(-10_000..10_000);
                self.nodes[victim].set_drift(ppm);
                self.later(long, Undo::Clock(victim));
            }
            Kind::Pause => {
                self.nodes[victim].set_paused(true);
                self.later(long, Undo::Resume(victim));
            }
            Kind::NewAddress => {
                self.nodes[server].kill();
                self.addresses += 1;
                self.nodes[server].role.ip = moved_ip(self.addresses);
                self.later(while_down, Undo::Start(server));
            }
            Kind::Leave => {
                // Only clients: a server that leaves needs an operator to come back.
                let victim = if self.nodes.len() > self.servers {
                    rng.random_range(self.servers..self.nodes.len())
                } else {
                    return Ok(());
                };
                // Nobody waits for it: its end shows as the end of its process.
                drop(self.nodes[victim].shutdown(true));
            }
        }
        Ok(())
    }

    fn heal_links(&self) {
        self.net.heal_all();
        self.net.reset_links();
        self.net.set_default_link(LinkFaults::default());
    }

    /// Ends all faults, starts what is down, and lets clients finish what they have begun.
    ///
    /// # Errors
    /// What an oracle found.
    pub fn heal(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        self.note("healing");
        self.undo.clear();
        self.heal_links();
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            node.set_paused(false);
            node.set_drift(0);
            let dying = node.disk.faults().dies_after.is_some();
            node.set_faults(Faults::default());
            if dying {
                node.lose_power();
            }
        }
        for number in 0..self.nodes.len() {
            self.start(number)?;
        }
        self.outside.stop.cancel();
        Ok(())
    }

    // --- the end ----------------------------------------------------------------------------

    /// True if every agent runs, there is one leader that all servers follow, everybody sees everybody, and the catalog
    /// says the same.
    pub fn converged(&mut self) -> bool {
        if self.bug == Some(Bug::LostNode) {
            self.lose_a_node();
        }
        self.disagreement().is_none()
    }

    /// Why the world has not converged.
    fn disagreement(&self) -> Option<String> {
        let mut lives = Vec::new();
        for node in &self.nodes {
            match node.slot.live() {
                Some(live) => lives.push((node, live)),
                None => return Some(format!("{} does not run", node.role.name)),
            }
        }
        let mut leaders = Vec::new();
        let mut applied = Vec::new();
        for (node, live) in &lives {
            let Some(server) = &live.server else { continue };
            let metrics = server.raft_metrics();
            let voters = metrics.membership.peers.iter().filter(|peer| peer.voter);
            if voters.count() != self.servers {
                return Some(format!(
                    "{} has the peers {:?}",
                    node.role.name, metrics.membership.peers
                ));
            }
            leaders.push(metrics.leader.map(|leader| leader.id));
            applied.push(metrics.applied_index);
        }
        leaders.dedup();
        applied.dedup();
        if leaders.len() != 1 || leaders[0].is_none() {
            return Some(format!("leaders are {leaders:?}"));
        }
        for (node, live) in &lives {
            let members = live.handle.members(false);
            let alive = members
                .iter()
                .filter(|member| member.status == MemberStatus::Alive)
                .count();
            if alive != self.nodes.len() || members.len() != self.nodes.len() {
                let seen: Vec<_> = members
                    .iter()
                    .map(|member| format!("{} {}", member.name, member.status.as_str()))
                    .collect();
                return Some(format!("{} sees {seen:?}", node.role.name));
            }
        }
        if let Some(differs) = self.catalog_differs(&lives) {
            return Some(differs);
        }
        (applied.len() != 1).then(|| format!("applied are {applied:?}"))
    }

    /// Compares the catalog with the pool and with what agents have.
    fn catalog_differs(&self, lives: &[(&Node, Live)]) -> Option<String> {
        let version = lives
            .iter()
            .find_map(|(_, live)| live.server.as_ref())?
            .version();
        let registered: Vec<&str> = version.nodes().map(|node| &*node.name).collect();
        if registered.len() != self.nodes.len() {
            return Some(format!("the catalog has the nodes {registered:?}"));
        }
        for (node, live) in lives {
            let name = &node.role.name;
            match version.check(name, SERF_HEALTH) {
                Some(check) if check.status == Status::Passing => {}
                check => return Some(format!("the catalog says of {name}: {check:?}")),
            }
            let mut of_catalog: Vec<(String, i64)> = version
                .services_on(name)
                .iter()
                .filter(|service| &*service.name != "consul")
                .map(|service| (service.id.to_string(), service.port))
                .collect();
            let mut of_agent: Vec<(String, i64)> = live
                .handle
                .services()
                .iter()
                .map(|local| (local.service.id.to_string(), local.service.port))
                .collect();
            of_catalog.sort();
            of_agent.sort();
            if of_catalog != of_agent {
                return Some(format!(
                    "the catalog has {of_catalog:?} on {name}, its agent {of_agent:?}"
                ));
            }
        }
        None
    }

    fn lose_a_node(&mut self) {
        let name = text(&self.nodes[self.nodes.len() - 1].role.name);
        let outside = Arc::clone(&self.outside);
        self.runtime.block_on(async {
            let change = Change::Deregister(tribune_types::catalog::Deregister {
                datacenter: text("dc1"),
                node: name,
                ..Default::default()
            });
            let _ = outside
                .ask(0, PATIENCE, |handle| async move {
                    handle.write(&Caller::internal(), None, change).await
                })
                .await;
        });
    }

    /// Checks what clients, watchers and registrars saw against what is there now.
    ///
    /// # Errors
    /// What must not be.
    pub fn check_clients(&mut self) -> Result<Report, String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        self.read_all()?;
        self.watchers_have_seen_all()?;
        for (number, node) in self.nodes.iter().enumerate() {
            if let Some(live) = node.slot.live() {
                self.registrations.check(number, &live.handle)?;
            }
        }
        self.outside.history.check_stale()?;
        let ops = self.outside.history.ops();
        let summary = crate::linear::check(&ops).map_err(|violation| violation.to_string())?;
        let answers = self
            .watchers
            .iter()
            .map(|watcher| watcher.known.lock().answers);
        Ok(Report {
            ops: ops.len(),
            answered: ops
                .iter()
                .filter(|op| op.answer != crate::linear::Answer::Unknown)
                .count(),
            undecided: summary.undecided.len(),
            watched: answers.sum(),
            terms: self.seen.terms(),
            states: self.seen.states(),
            faults: self.faults,
            virtual_ms: self.now_ms(),
        })
    }

    /// A last read of every key: what was acknowledged is there.
    fn read_all(&mut self) -> Result<(), String> {
        for key in clients::keys() {
            let mut agent = 0;
            let outside = Arc::clone(&self.outside);
            let wanted = key.clone();
            self.until_async(&format!("an answer for {key}"), || {
                agent = (agent + 1) % outside.slots.len();
                let (outside, key) = (Arc::clone(&outside), wanted.clone());
                async move { outside.read_last(CLIENTS, agent, &key).await }
            })?;
        }
        Ok(())
    }

    /// Waits until every watcher shows what is there.
    fn watchers_have_seen_all(&mut self) -> Result<(), String> {
        for watcher in self.watchers.clone() {
            let outside = Arc::clone(&self.outside);
            let seen = Arc::clone(&watcher);
            let what = format!("{} sees the last change", watcher.name);
            self.until_async(&what, || {
                let (outside, watcher) = (Arc::clone(&outside), Arc::clone(&seen));
                async move {
                    let options = ReadOptions {
                        consistency: Consistency::Consistent,
                        ..ReadOptions::default()
                    };
                    let read = outside.read(0, watcher.what.query(), options, PATIENCE);
                    let Some((answer, _)) = read.await else {
                        return false;
                    };
                    let there = watchers::content(answer.reply());
                    watcher.known.lock().content == there
                }
            })?;
        }
        Ok(())
    }

    /// Tries again until it works, for half a minute.
    fn until_async<F: Future<Output = bool>>(
        &mut self,
        what: &str,
        mut attempt: impl FnMut() -> F,
    ) -> Result<(), String> {
        for _ in 0..300 {
            if self.runtime.block_on(attempt()) {
                return Ok(());
            }
            for _ in 0..5 {
                self.step()?;
            }
        }
        let state = self.describe();
        Err(format!("never: {what}\n{state}"))
    }

    /// Ends all agents in order.
    ///
    /// # Errors
    /// A task that outlives its agent.
    pub fn shutdown(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        // Clients and servers at once, as when a whole datacenter is turned off.
        let ends: Vec<_> = self.nodes.iter().map(|node| node.shutdown(false)).collect();
        if self.bug == Some(Bug::LeakedTask)
            && let Some(live) = self.nodes.first().and_then(|node| node.slot.live())
        {
            live.env.spawn("leak", std::future::pending::<()>());
        }
        let env = self.env.clone();
        let all = self.runtime.block_on(env.timeout(SHUTDOWN_LIMIT, async {
            for end in ends.into_iter().flatten() {
                // A process that ended otherwise is as good.
                let _ = end.await;
            }
        }));
        all.map_err(|_| "agents do not end".to_owned())?;
        // What ends with the agents needs a turn or two.
        self.runtime.block_on(env.sleep(Duration::from_secs(1)));
        for node in &self.nodes {
            let left = node.task_names();
            if !left.is_empty() {
                return Err(format!("tasks of {} outlive it: {left:?}", node.role.name));
            }
        }
        Ok(())
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
            let _ = write!(out, "{} at {}", node.role.name, node.ip());
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
        self.outside.history.trace(&mut out);
        for node in &self.nodes {
            if let Some(server) = node.slot.live().and_then(|live| live.server) {
                let version = server.version();
                let _ = writeln!(
                    out,
                    "{} {} {:x}",
                    node.role.name,
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

fn server_ip(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1 + number as u8))
}

fn client_ip(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 1, 1 + number as u8))
}

/// The address of the n-th server that moves.
fn moved_ip(number: usize) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(10, 0, 2, 1 + (number % 250) as u8))
}
