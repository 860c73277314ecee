//! One simulated machine: a disk, an address, and the process that runs on it now, if any.
//!
//! The process is the production agent in a task that does what the binary's `main` does: start, wait for an ending, leave
//! or shut down. Killing it ends all its tasks where they stand; the disk stays, or loses power as well.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tribune_agent::Handle;
use tribune_agent::logs::{LogOptions, Logs};
use tribune_agent::start::{Agent, Ending, Parts};
use tribune_rt::Env;
use tribune_rt::disk::{Faults, SimDisk};
use tribune_rt::net::sim::SimNet;
use tribune_server::Server;

use super::settings::{self, Role};

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
    pub(super) fn shutdown(&self, leave: bool) -> Option<oneshot::Receiver<()>> {
        let live = self.slot.live()?;
        let (tx, rx) = oneshot::channel();
        let control = if leave {
            Control::Leave(tx)
        } else {
            Control::Shutdown(tx)
        };
        live.control.try_send(control).ok()?;
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
