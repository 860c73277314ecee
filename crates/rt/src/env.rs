//! [`Env`]: the one handle through which a node reaches the world.
//!
//! Cheap to clone (one reference count). Which backend is inside is decided once, by the
//! constructor. See the crate header for the rules.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tribune_types::time::{Mono, Wall};

use crate::disk::{Disk, SimDisk};
use crate::life::{self, Life};
use crate::net::sim::{NetNode, SimNet};
use crate::real::{Real, RealConfig, Worker};
use crate::sim::Sim;
use crate::{CancellationToken, Elapsed, Interval, TaskGroup, TaskHandle, ThreadHandle};

/// Clock, randomness, tasks, disk. One per node; clone it freely.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

struct Inner {
    backend: Backend,
    /// A ChaCha generator: good enough for tokens and ids, seeded by the system or by the test.
    rng: Mutex<StdRng>,
}

enum Backend {
    Real(Real),
    Sim(Sim),
}

/// A reference that does not keep the environment.
#[derive(Clone)]
pub(crate) struct WeakEnv(Weak<Inner>);

impl WeakEnv {
    pub(crate) fn upgrade(&self) -> Option<Env> {
        self.0.upgrade().map(Env)
    }
}

impl std::fmt::Debug for WeakEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WeakEnv")
    }
}

impl std::fmt::Debug for Env {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.0.backend {
            Backend::Real(_) => "Env(real)",
            Backend::Sim(_) => "Env(sim)",
        })
    }
}

impl Env {
    /// Starts the real backend with its threads (see `real.rs` for which).
    ///
    /// # Errors
    /// When the system refuses threads, descriptors or randomness.
    pub fn real(config: RealConfig) -> io::Result<Self> {
        Self::with_os_rng(Real::start(config)?)
    }

    /// The real backend on the caller's tokio runtime, with that runtime as the only worker.
    /// For tests and tools.
    ///
    /// # Errors
    /// When called outside a tokio runtime.
    pub fn ambient() -> io::Result<Self> {
        Self::with_os_rng(Real::ambient()?)
    }

    fn with_os_rng(real: Real) -> io::Result<Self> {
        let rng = StdRng::try_from_os_rng().map_err(io::Error::other)?;
        Ok(Self(Arc::new(Inner {
            backend: Backend::Real(real),
            rng: Mutex::new(rng),
        })))
    }

    /// The simulated backend on the caller's (paused, single-threaded) tokio runtime.
    ///
    /// # Errors
    /// When called outside a tokio runtime.
    pub fn sim(seed: u64) -> io::Result<Self> {
        Self::sim_on_disk(seed, SimDisk::new(seed))
    }

    /// As [`Env::sim`], on a disk that exists already: a node that restarts.
    ///
    /// # Errors
    /// When called outside a tokio runtime.
    pub fn sim_on_disk(seed: u64, disk: SimDisk) -> io::Result<Self> {
        Self::simulated(seed, disk, Life::default(), None)
    }

    /// A process on the host `ip` of a simulated network, with its files on `disk`: all its sockets are on that network.
    /// A host that was down is switched on. The monotonic clock starts anew, the wall clock is the world's.
    ///
    /// The process ends by [`Env::kill`], [`SimNet::kill`] or [`SimNet::set_down`]; then another can be started.
    ///
    /// # Errors
    /// When called outside a tokio runtime; `AddrInUse` when a process runs on `ip`.
    pub fn sim_node(seed: u64, disk: SimDisk, net: &SimNet, ip: IpAddr) -> io::Result<Self> {
        let life = Life::default();
        let node = net.start_process(ip, life.clone())?;
        Self::simulated(seed, disk, life, Some(node))
    }

    fn simulated(seed: u64, disk: SimDisk, life: Life, net: Option<NetNode>) -> io::Result<Self> {
        let handle = tokio::runtime::Handle::try_current().map_err(io::Error::other)?;
        Ok(Self(Arc::new_cyclic(|inner| {
            let front = vec![Worker::simulated(handle.clone(), WeakEnv(inner.clone()))];
            Inner {
                backend: Backend::Sim(Sim::new(handle, front, disk, life, net)),
                rng: Mutex::new(StdRng::seed_from_u64(seed)),
            }
        })))
    }

    /// The environment of the simulated node whose task runs here; `None` outside a simulation. For code that a library
    /// calls without handing it anything; all other code is given its environment.
    pub fn current() -> Option<Self> {
        life::current()
    }

    /// The node's place in the simulated network, where there is one.
    pub(crate) fn net_node(&self) -> Option<&NetNode> {
        match &self.0.backend {
            Backend::Real(_) => None,
            Backend::Sim(sim) => sim.net.as_ref(),
        }
    }

    /// True in simulation. For drivers that must not start a thread there.
    pub fn is_sim(&self) -> bool {
        matches!(self.0.backend, Backend::Sim(_))
    }

    // --- time -------------------------------------------------------------------------------

    /// Nanoseconds on a clock that never goes back, from an arbitrary start.
    pub fn mono(&self) -> Mono {
        Mono(match &self.0.backend {
            Backend::Real(real) => real.mono_ns(),
            Backend::Sim(sim) => sim.mono_ns(),
        })
    }

    /// Nanoseconds since 1970 UTC; may jump either way. A clock before 1970 reads 0.
    pub fn wall(&self) -> Wall {
        Wall(match &self.0.backend {
            Backend::Real(_) => SystemTime::now()
                .duration_since(SystemTime::UNIX_EPOCH)
                .map_or(0, |since| {
                    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
                }),
            Backend::Sim(sim) => sim.wall_ns(),
        })
    }

    /// Moves the simulated wall clock by `by_ns`; no effect on a real one.
    pub fn skew_wall(&self, by_ns: i64) {
        if let Backend::Sim(sim) = &self.0.backend {
            sim.skew_wall(by_ns);
        }
    }

    /// Lets the simulated clocks of the node run fast (or slow, below 0) by millionths from now on, at most by half; no
    /// effect on real ones. What waits already is not moved.
    pub fn set_clock_drift(&self, ppm: i32) {
        if let Backend::Sim(sim) = &self.0.backend {
            sim.set_drift(ppm);
        }
    }

    /// How far a simulated node's clock is ahead (behind, below 0) of one that never drifted, in ns; 0 on a real one. For a
    /// library that reads tokio's clock itself.
    pub fn clock_gain_ns(&self) -> i64 {
        match &self.0.backend {
            Backend::Real(_) => 0,
            Backend::Sim(sim) => sim.gain_ns(),
        }
    }

    /// How long to wait by tokio's clock for the node's clock to advance by `duration`: the same on a real one.
    pub fn true_duration(&self, duration: Duration) -> Duration {
        match &self.0.backend {
            Backend::Real(_) => duration,
            Backend::Sim(sim) => sim.true_duration(duration),
        }
    }

    /// Waits for `duration`. Cancel safe.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(self.true_duration(duration)).await;
    }

    /// Waits until [`Env::mono`] has reached `deadline`; at once when it has. Cancel safe.
    pub async fn sleep_until(&self, deadline: Mono) {
        let left = deadline.0.saturating_sub(self.mono().0);
        self.sleep(Duration::from_nanos(left)).await;
    }

    /// Runs `future` for at most `limit`, then drops it.
    ///
    /// # Errors
    /// [`Elapsed`] when the limit passed first.
    pub async fn timeout<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, Elapsed> {
        tokio::time::timeout(self.true_duration(limit), future)
            .await
            .map_err(|_| Elapsed)
    }

    /// Ticks every `period`, first after one period. Must be called inside a task.
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(self.true_duration(period))
    }

    // --- randomness -------------------------------------------------------------------------

    /// 64 random bits.
    pub fn random_u64(&self) -> u64 {
        self.0.rng.lock().next_u64()
    }

    /// Fills `bytes`; fit for identifiers and secrets on the real backend.
    pub fn fill_random(&self, bytes: &mut [u8]) {
        self.0.rng.lock().fill_bytes(bytes);
    }

    /// Uniform in `0..n`; 0 for `n` = 0.
    pub fn random_below(&self, n: u64) -> u64 {
        if n == 0 {
            return 0;
        }
        self.0.rng.lock().random_range(0..n)
    }

    /// Uniform in `[0, d)`; zero for zero.
    pub fn jitter(&self, d: Duration) -> Duration {
        let ns = u64::try_from(d.as_nanos()).unwrap_or(u64::MAX);
        Duration::from_nanos(self.random_below(ns))
    }

    // --- tasks ------------------------------------------------------------------------------

    /// Starts a task on the core runtime. May be called from any thread.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = match &self.0.backend {
            Backend::Real(real) => real.core.spawn(future),
            Backend::Sim(sim) => sim.life.spawn(self, name, &sim.handle, future),
        };
        TaskHandle::new(name, task)
    }

    /// Starts a task on the runtime of the calling task: the same front worker, for instance.
    /// Outside a runtime it goes to the core runtime.
    pub fn spawn_here<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match tokio::runtime::Handle::try_current() {
            Ok(here) if !self.is_sim() => TaskHandle::new(name, here.spawn(future)),
            _ => self.spawn(name, future),
        }
    }

    /// Runs blocking work on a pool thread; inline at a scheduling point in simulation.
    /// Work that has started cannot be aborted.
    pub fn spawn_blocking<T, W>(&self, name: &'static str, work: W) -> TaskHandle<T>
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        match &self.0.backend {
            Backend::Real(real) => TaskHandle::new(name, real.core.spawn_blocking(work)),
            Backend::Sim(_) => self.spawn(name, async move { work() }),
        }
    }

    /// Starts a thread of its own. Not deterministic: drivers check [`Env::is_sim`] and use a
    /// task there.
    ///
    /// # Errors
    /// When the system refuses a thread; `Unsupported` on a node of a simulated network, which a thread would outlive.
    pub fn spawn_thread<T, W>(&self, name: &'static str, work: W) -> io::Result<ThreadHandle<T>>
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        if self.net_node().is_some() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                format!("thread {name:?} on a simulated node"),
            ));
        }
        let inner = std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(work)?;
        Ok(ThreadHandle::new(name, inner))
    }

    /// An empty group of tasks that stops with `parent`.
    pub fn group(&self, parent: &CancellationToken) -> TaskGroup {
        TaskGroup::new(self, parent)
    }

    /// The runtimes for sockets; never empty.
    pub fn front_workers(&self) -> &[Worker] {
        match &self.0.backend {
            Backend::Real(real) => &real.front,
            Backend::Sim(sim) => &sim.front,
        }
    }

    /// Runs `future` on the calling thread with the core runtime beneath it. For `main` and for
    /// threads of their own.
    ///
    /// # Panics
    /// When called from inside a task.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match &self.0.backend {
            Backend::Real(real) => real.block_on(future),
            Backend::Sim(sim) => sim.handle.block_on(future),
        }
    }

    // --- the process, in simulation -----------------------------------------------------------

    /// Ends the process of a simulated node, as SIGKILL does: all its tasks end at their last await and nothing can be
    /// spawned any more; on a simulated network see also [`SimNet::kill`]. Its disk is the caller's to deal with. No effect
    /// on a real one.
    pub fn kill(&self) {
        if let Backend::Sim(sim) = &self.0.backend {
            match &sim.net {
                Some(node) => node.kill(),
                None => sim.life.kill(),
            }
        }
    }

    /// True until a simulated node is killed.
    pub fn is_alive(&self) -> bool {
        match &self.0.backend {
            Backend::Real(_) => true,
            Backend::Sim(sim) => sim.life.is_alive(),
        }
    }

    /// Stops all tasks of a simulated node where they stand, as SIGSTOP does, or lets them go on. No effect on a real one.
    pub fn set_paused(&self, paused: bool) {
        if let Backend::Sim(sim) = &self.0.backend {
            match &sim.net {
                Some(node) => node.set_paused(paused),
                None => sim.life.set_paused(paused),
            }
        }
    }

    /// Names of a simulated node's tasks, one per task; empty on a real one.
    pub fn task_names(&self) -> Vec<&'static str> {
        match &self.0.backend {
            Backend::Real(_) => Vec::new(),
            Backend::Sim(sim) => sim.life.task_names(),
        }
    }

    // --- disk -------------------------------------------------------------------------------

    /// The node's files.
    pub fn disk(&self) -> Disk {
        match &self.0.backend {
            Backend::Real(_) => Disk::real(),
            Backend::Sim(sim) => Disk::sim(sim.disk.clone()),
        }
    }
}
