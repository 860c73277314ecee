//! [`Env`]: the one handle through which a node reaches the world.
//!
//! Cheap to clone (one reference count). Which backend is inside is decided once, by the
//! constructor. See the crate header for the rules.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use tribune_types::time::{Mono, Wall};

use crate::disk::{Disk, SimDisk};
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
        let ambient = Real::ambient()?;
        let sim = Sim::new(ambient.core.clone(), ambient.front.clone(), disk);
        Ok(Self(Arc::new(Inner {
            backend: Backend::Sim(sim),
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
        })))
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

    /// Waits for `duration`. Cancel safe.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }

    /// Waits until [`Env::mono`] has reached `deadline`; at once when it has. Cancel safe.
    pub async fn sleep_until(&self, deadline: Mono) {
        let left = deadline.0.saturating_sub(self.mono().0);
        tokio::time::sleep(Duration::from_nanos(left)).await;
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
        tokio::time::timeout(limit, future)
            .await
            .map_err(|_| Elapsed)
    }

    /// Ticks every `period`, first after one period. Must be called inside a task.
    pub fn interval(&self, period: Duration) -> Interval {
        Interval::new(period)
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

    fn core(&self) -> &tokio::runtime::Handle {
        match &self.0.backend {
            Backend::Real(real) => &real.core,
            Backend::Sim(sim) => &sim.handle,
        }
    }

    /// Starts a task on the core runtime. May be called from any thread.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TaskHandle::new(name, self.core().spawn(future))
    }

    /// Starts a task on the runtime of the calling task: the same front worker, for instance.
    /// Outside a runtime it goes to the core runtime.
    pub fn spawn_here<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        match tokio::runtime::Handle::try_current() {
            Ok(here) => TaskHandle::new(name, here.spawn(future)),
            Err(_) => self.spawn(name, future),
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
            Backend::Sim(sim) => TaskHandle::new(name, sim.handle.spawn(async move { work() })),
        }
    }

    /// Starts a thread of its own. Not deterministic: drivers check [`Env::is_sim`] and use a
    /// task there.
    ///
    /// # Errors
    /// When the system refuses a thread.
    pub fn spawn_thread<T, W>(&self, name: &'static str, work: W) -> io::Result<ThreadHandle<T>>
    where
        W: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
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

    // --- disk -------------------------------------------------------------------------------

    /// The node's files.
    pub fn disk(&self) -> Disk {
        match &self.0.backend {
            Backend::Real(_) => Disk::real(),
            Backend::Sim(sim) => Disk::sim(sim.disk.clone()),
        }
    }
}
