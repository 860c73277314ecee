//! One simulated machine: a disk, an address, and the process that runs on it now, if any.
//!
//! The process is the production agent in a task that does what the binary's `main` does: start, wait for an ending, leave
//! or shut down. Killing it ends all its tasks where they stand; the disk stays, or loses power as well.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tribune_agent::Handle;
use tribune_agent::logs::{LogOptions, Logs};
use tribune_agent::start::{Agent, Ending, Parts};
use tribune_rt::Env;
use tribune_rt::disk::{Disk, Faults, SimDisk};
use tribune_rt::net::sim::SimNet;
use tribune_server::Server;
use tribune_types::id::NodeId;

use super::settings::{self, DATA_DIR, Role};

/// A running process, as the rest of the world sees it.
#[derive(Clone)]
pub(super) struct Live {
    /// Its world.
    pub(super) env: Env,
    /// What fronts use.
    pub(super) handle: Handle,
    /// Its server half.
    pub(super) server: Option<Server>,
    /// Which life of the machine this is.
    pub(super) life: u64,
    control: mpsc::Sender<Control>,
}

enum Control {
    /// Leave the cluster, then end.
    Leave(oneshot::Sender<()>),
    /// End.
    Shutdown(oneshot::Sender<()>),
}

/// Where the process of a machine is found. Shared with clients.
#[derive(Default)]
pub(super) struct Slot {
    live: Mutex<Option<Live>>,
    /// Why the process ended by itself.
    exit: Mutex<Option<String>>,
}

impl Slot {
    /// The process, if one runs.
    pub(super) fn live(&self) -> Option<Live> {
        self.live.lock().clone()
    }
}

/// One machine.
pub(super) struct Node {
    /// Settings.
    pub(super) role: Role,
    /// Its disk.
    pub(super) disk: SimDisk,
    /// Its process.
    pub(super) slot: Arc<Slot>,
    net: SimNet,
    seed: u64,
    /// The environment of the current process, from its start on.
    env: Option<Env>,
    /// Counts processes.
    pub(super) life: u64,
    /// It lost power, and nothing was started since.
    dark: bool,
    /// Its process stands still.
    paused: bool,
    /// Its process was asked to leave, or has left, and none was started since.
    leaving: bool,
    /// How far its wall clock is off.
    skew_ns: i64,
    /// How much its clocks run fast, in millionths.
    drift_ppm: i32,
}

impl Node {
    pub(super) fn new(role: Role, seed: u64, net: &SimNet) -> Node {
        Node {
            disk: SimDisk::new(seed),
            role,
            slot: Arc::default(),
            net: net.clone(),
            seed,
            env: None,
            life: 0,
            dark: false,
            paused: false,
            leaving: false,
            skew_ns: 0,
            drift_ppm: 0,
        }
    }

    /// A machine with a copy of the disk, on another network.
    pub(super) fn twin(&self, net: &SimNet) -> Node {
        let mut twin = Node::new(self.role.clone(), self.seed ^ 1, net);
        twin.disk = self.disk.copy();
        twin
    }

    /// Its name, with the datacenter if that says something.
    pub(super) fn label(&self) -> String {
        match &self.role.join_wan {
            None => self.role.name.clone(),
            Some(_) => format!("{}.{}", self.role.name, self.role.datacenter),
        }
    }

    /// Its address.
    pub(super) fn ip(&self) -> IpAddr {
        self.role.ip
    }

    /// True from a loss of power until a process is started.
    pub(super) fn is_dark(&self) -> bool {
        self.dark
    }

    /// True if its last process was asked to leave and has ended.
    pub(super) fn has_left(&self) -> bool {
        self.leaving && !self.is_up()
    }

    /// True if a process runs there that is not what others take it for: it stands still, or its disk fails.
    pub(super) fn is_troubled(&self) -> bool {
        self.paused || self.disk.faults() != Faults::default()
    }

    /// True from when its process was asked to leave until the next is started.
    pub(super) fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Its identity, as its disk has it.
    pub(super) fn id(&self) -> Option<NodeId> {
        let stored = Disk::sim(self.disk.clone()).read(&Path::new(DATA_DIR).join("node-id"));
        NodeId::parse(std::str::from_utf8(&stored.ok()?).ok()?.trim()).ok()
    }

    /// Writes what an operator writes into a file of the data folder.
    ///
    /// # Errors
    /// The disk fails.
    pub(super) fn write_file(&self, path: &str, text: &str) -> Result<(), String> {
        let path = Path::new(DATA_DIR).join(path);
        let disk = Disk::sim(self.disk.clone());
        disk.write_atomic(&path, text.as_bytes(), 0o644, self.seed)
            .map_err(|err| format!("{}: {err}", path.display()))
    }

    /// An empty disk, as that of a new machine; with the old identity if `same` says so.
    pub(super) fn wipe(&mut self, same: bool) -> Result<(), String> {
        let id = self.id().filter(|_| same);
        self.disk = SimDisk::new(self.seed ^ self.life.rotate_left(20));
        let Some(id) = id else { return Ok(()) };
        let made = Disk::sim(self.disk.clone()).create_dir_all(Path::new(DATA_DIR));
        made.map_err(|err| err.to_string())?;
        self.write_file("node-id", &id.to_string())
    }

    /// True while a process runs or starts.
    pub(super) fn is_up(&self) -> bool {
        self.env.is_some()
    }

    /// Starts a process. It is in the slot when it is there.
    ///
    /// # Errors
    /// Settings that cannot be.
    pub(super) fn start(&mut self) -> Result<(), String> {
        self.life += 1;
        self.dark = false;
        self.paused = false;
        self.leaving = false;
        let config = settings::config(&self.role)?;
        let seed = self.seed ^ self.life.rotate_left(40);
        let env = Env::sim_node(seed, self.disk.clone(), &self.net, self.role.ip)
            .map_err(|err| err.to_string())?;
        env.skew_wall(self.skew_ns);
        env.set_clock_drift(self.drift_ppm);
        let logs = Logs::start(&env, &LogOptions::silent()).map_err(|err| err.to_string())?;
        let again = self.role.clone();
        let parts = Parts {
            config,
            reload: Box::new(move || settings::config(&again)),
            applied: Box::new(|_| {}),
            logs,
            host: self.role.name.clone(),
            revision: "simulated".to_owned(),
        };
        let (slot, life) = (Arc::clone(&self.slot), self.life);
        *slot.exit.lock() = None;
        env.spawn("main", run(env.clone(), parts, slot, life));
        self.env = Some(env);
        Ok(())
    }

    /// Ends the process where it stands: its peers see their connections reset, its port refuses.
    pub(super) fn kill(&mut self) {
        *self.slot.live.lock() = None;
        self.paused = false;
        if let Some(env) = self.env.take() {
            env.kill();
        }
    }

    /// The machine loses power: the process ends and nobody is told, and unsynced writes meet their fate.
    pub(super) fn lose_power(&mut self) {
        self.net.set_down(self.role.ip);
        self.dark = true;
        self.kill();
        self.disk.crash();
    }

    /// Stops the process where it stands, or lets it go on.
    pub(super) fn set_paused(&mut self, paused: bool) {
        if let Some(env) = &self.env {
            self.paused = paused;
            env.set_paused(paused);
        }
    }

    /// Lets its clocks run fast or slow.
    pub(super) fn set_drift(&mut self, ppm: i32) {
        self.drift_ppm = ppm;
        if let Some(env) = &self.env {
            env.set_clock_drift(ppm);
        }
    }

    /// Moves the wall clock.
    pub(super) fn skew(&mut self, by_ns: i64) {
        self.skew_ns = self.skew_ns.saturating_add(by_ns);
        if let Some(env) = &self.env {
            env.skew_wall(by_ns);
        }
    }

    /// Sets what goes wrong on the disk.
    pub(super) fn set_faults(&mut self, faults: Faults) {
        self.disk.set_faults(faults);
    }

    /// Takes note of a process that ended by itself; the reason, once.
    pub(super) fn take_exit(&mut self) -> Option<String> {
        let exit = self.slot.exit.lock().take()?;
        self.kill();
        Some(exit)
    }

    /// Asks the process to end in order; resolves when it has. `None` if none runs.
    pub(super) fn shutdown(&mut self, leave: bool) -> Option<oneshot::Receiver<()>> {
        let live = self.slot.live()?;
        let (tx, rx) = oneshot::channel();
        let control = if leave {
            Control::Leave(tx)
        } else {
            Control::Shutdown(tx)
        };
        live.control.try_send(control).ok()?;
        self.leaving |= leave;
        Some(rx)
    }

    /// Names of the tasks that the current process has.
    pub(super) fn task_names(&self) -> Vec<&'static str> {
        self.env.as_ref().map_or_else(Vec::new, Env::task_names)
    }
}

/// What `main` does.
async fn run(env: Env, parts: Parts, slot: Arc<Slot>, life: u64) {
    let mut agent = match Agent::start(&env, parts).await {
        Ok(agent) => agent,
        Err(err) => {
            let cause = std::error::Error::source(&err).map(ToString::to_string);
            let cause = cause.unwrap_or_default();
            *slot.exit.lock() = Some(format!("does not start: {err}: {cause}"));
            return;
        }
    };
    let (control, mut controls) = mpsc::channel(4);
    *slot.live.lock() = Some(Live {
        env: env.clone(),
        handle: agent.handle().clone(),
        server: agent.server().cloned(),
        life,
        control,
    });
    let done = tokio::select! {
        biased;
        control = controls.recv() => match control {
            Some(Control::Leave(done)) => {
                agent.leave().await;
                Some((done, true))
            }
            Some(Control::Shutdown(done)) => Some((done, false)),
            None => None,
        },
        ending = agent.ending() => match ending {
            Ending::Leave(answer) => {
                agent.leave().await;
                // Whoever asked may be gone.
                let _ = answer.send(Ok(()));
                None
            }
            Ending::Failed(reason) => {
                *slot.live.lock() = None;
                *slot.exit.lock() = Some(reason);
                return;
            }
        },
    };
    *slot.live.lock() = None;
    agent.shutdown().await;
    match done {
        Some((done, left)) => {
            // Whoever asked may be gone.
            let _ = done.send(());
            if left {
                *slot.exit.lock() = Some("left".to_owned());
            }
        }
        None => *slot.exit.lock() = Some("left on request".to_owned()),
    }
}

/// How long a graceful end may take.
pub(super) const SHUTDOWN_LIMIT: Duration = Duration::from_secs(30);
