//! The real backend: which threads exist and what runs on them.
//!
//! ```text
//! core     1 multi-thread tokio runtime, 2 worker threads: raft, apply, leader, background
//! front-N  N current_thread runtimes, one thread each: HTTP and DNS sockets (SO_REUSEPORT)
//! blocking the core runtime's pool, grown on demand, idle threads leave after 5 s
//! ```
//!
//! Request load cannot delay heartbeats because it runs on other threads than the core runtime.
//! N is the number of cores, at least 1 and at most 8 by default.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle, Runtime};

use crate::env::WeakEnv;
use crate::{CancellationToken, TaskHandle};

/// Threads of the core runtime.
const CORE_WORKERS: usize = 2;
/// Front workers are not multiplied beyond this, whatever the machine.
const FRONT_WORKERS_MAX: usize = 8;
/// Stack of runtime threads. tokio's default; pages are only touched when used.
const STACK_SIZE_BYTES: usize = 2 * 1024 * 1024;

/// Shape of the real backend.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealConfig {
    /// Number of front workers; `None` takes the number of cores, 1 to 8.
    pub front_workers: Option<usize>,
}

/// One runtime that serves sockets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Worker {
    index: usize,
    handle: Handle,
    /// The simulated node that it belongs to.
    node: Option<WeakEnv>,
}

impl Worker {
    /// The only worker of a simulated node.
    pub(crate) fn simulated(handle: Handle, node: WeakEnv) -> Self {
        Self {
            index: 0,
            handle,
            node: Some(node),
        }
    }

    /// Position among [`Env::front_workers`](crate::Env::front_workers).
    pub fn index(&self) -> usize {
        self.index
    }

    /// Starts a task on this worker. `make_future` runs there too, so sockets that it binds
    /// belong to this worker's reactor.
    pub fn spawn<M, F>(&self, name: &'static str, make_future: M) -> TaskHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let task = async move { make_future().await };
        match self.node.as_ref().and_then(WeakEnv::upgrade) {
            Some(env) => env.spawn(name, task),
            None => TaskHandle::new(name, self.handle.spawn(task)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Real {
    /// `None` for an ambient environment, whose runtime belongs to someone else.
    runtime: Option<Runtime>,
    pub(crate) core: Handle,
    pub(crate) front: Vec<Worker>,
    stop_front: CancellationToken,
    anchor: Instant,
}

impl Real {
    pub(crate) fn start(config: RealConfig) -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(CORE_WORKERS)
            .thread_name("core")
            .thread_stack_size(STACK_SIZE_BYTES)
            .thread_keep_alive(Duration::from_secs(5))
            .enable_all()
            .build()?;
        let count = config
            .front_workers
            .unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
            .clamp(1, FRONT_WORKERS_MAX);
        let stop_front = CancellationToken::new();
        let front = (0..count)
            .map(|index| start_front(index, stop_front.clone()))
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            core: runtime.handle().clone(),
            runtime: Some(runtime),
            front,
            stop_front,
            anchor: Instant::now(),
        })
    }

    /// Everything on the caller's runtime.
    pub(crate) fn ambient() -> io::Result<Self> {
        let core = Handle::try_current().map_err(io::Error::other)?;
        Ok(Self {
            runtime: None,
            front: vec![Worker {
                index: 0,
                handle: core.clone(),
                node: None,
            }],
            core,
            stop_front: CancellationToken::new(),
            anchor: Instant::now(),
        })
    }

    pub(crate) fn mono_ns(&self) -> u64 {
        u64::try_from(self.anchor.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.core.block_on(future)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        self.stop_front.cancel();
        if let Some(runtime) = self.runtime.take() {
            // The last handle may die inside a task, where waiting for threads is not allowed.
            runtime.shutdown_background();
        }
    }
}

fn start_front(index: usize, stop: CancellationToken) -> io::Result<Worker> {
    let runtime = Builder::new_current_thread()
        .thread_name(format!("front-{index}-blocking"))
        .thread_stack_size(STACK_SIZE_BYTES)
        .enable_all()
        .build()?;
    let handle = runtime.handle().clone();
    std::thread::Builder::new()
        .name(format!("front-{index}"))
        .stack_size(STACK_SIZE_BYTES)
        .spawn(move || {
            runtime.block_on(stop.cancelled());
            runtime.shutdown_background();
        })?;
    Ok(Worker {
        index,
        handle,
        node: None,
    })
}
