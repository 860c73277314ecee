//! The runtime that the consensus library runs on: tokio's, with three differences.
//!
//! Randomness (election timeouts, the phase of timers) follows from one seed, drawn from the node's
//! environment when the core starts; see [`seeded`]. In simulation tasks belong to the node whose
//! task spawned them, so that they end and pause with it, and its clock may run fast or slow
//! (`clock`). Together a simulated cluster takes the same steps in each run of one seed.
//!
//! What clocks that run unequally may do to leases is reckoned in `succession::Lease`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use openraft::impls::TokioRuntime;
use openraft::{AsyncRuntime, OptionalSend};
use openraft_rt::deterministic_rng::DeterministicRng;
use tokio::task::JoinHandle;
use tribune_rt::{Env, TaskError, TaskHandle};

use crate::clock::{self, NodeInstant};

/// What the library is instantiated with.
pub(crate) type Runtime = DeterministicRng<NodeRuntime>;

/// Runs `start` so that it, and every task it spawns, draws from `seed`.
pub(crate) async fn seeded<F: Future>(seed: u64, start: F) -> F::Output {
    Runtime::scope(seed, start).await
}

/// Tokio, with tasks that belong to a simulated node.
#[derive(Debug)]
pub(crate) struct NodeRuntime(TokioRuntime);

/// A spawned task.
pub(crate) enum Task<T> {
    Tokio(JoinHandle<T>),
    Node(TaskHandle<T>),
}

/// Why a task has no result.
#[derive(Debug)]
pub(crate) enum NoResult {
    Tokio(tokio::task::JoinError),
    Node(TaskError),
}

impl fmt::Display for NoResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tokio(err) => err.fmt(f),
            Self::Node(err) => err.fmt(f),
        }
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, NoResult>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut *self {
            Self::Tokio(task) => Pin::new(task).poll(cx).map_err(NoResult::Tokio),
            Self::Node(task) => Pin::new(task).poll(cx).map_err(NoResult::Node),
        }
    }
}

impl AsyncRuntime for NodeRuntime {
    type JoinError = NoResult;
    type JoinHandle<T: OptionalSend + 'static> = Task<T>;
    type Sleep = <TokioRuntime as AsyncRuntime>::Sleep;
    type Instant = NodeInstant;
    type TimeoutError = <TokioRuntime as AsyncRuntime>::TimeoutError;
    type Timeout<R, T: Future<Output = R> + OptionalSend> =
        <TokioRuntime as AsyncRuntime>::Timeout<R, T>;
    type ThreadLocalRng = <TokioRuntime as AsyncRuntime>::ThreadLocalRng;
    type Mpsc = <TokioRuntime as AsyncRuntime>::Mpsc;
    type Watch = <TokioRuntime as AsyncRuntime>::Watch;
    type Oneshot = <TokioRuntime as AsyncRuntime>::Oneshot;
    type Mutex<T: OptionalSend + 'static> = <TokioRuntime as AsyncRuntime>::Mutex<T>;

    fn spawn<T>(future: T) -> Self::JoinHandle<T::Output>
    where
        T: Future + OptionalSend + 'static,
        T::Output: OptionalSend + 'static,
    {
        match Env::current() {
            Some(node) => Task::Node(node.spawn("raft-core", future)),
            None => Task::Tokio(TokioRuntime::spawn(future)),
        }
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        TokioRuntime::sleep(clock::true_duration(duration))
    }

    fn sleep_until(deadline: Self::Instant) -> Self::Sleep {
        deadline.reached()
    }

    fn timeout<R, F: Future<Output = R> + OptionalSend>(
        duration: Duration,
        future: F,
    ) -> Self::Timeout<R, F> {
        TokioRuntime::timeout(clock::true_duration(duration), future)
    }

    fn timeout_at<R, F: Future<Output = R> + OptionalSend>(
        deadline: Self::Instant,
        future: F,
    ) -> Self::Timeout<R, F> {
        match Env::current() {
            None => TokioRuntime::timeout_at(deadline.on_tokio(), future),
            Some(node) => TokioRuntime::timeout(deadline.left_on(&node), future),
        }
    }

    fn is_panic(err: &Self::JoinError) -> bool {
        match err {
            NoResult::Tokio(err) => err.is_panic(),
            NoResult::Node(err) => matches!(err, TaskError::Panicked { .. }),
        }
    }

    /// Not used: the wrapper around this runtime has its own.
    fn thread_rng() -> Self::ThreadLocalRng {
        TokioRuntime::thread_rng()
    }

    fn new(threads: usize) -> Self {
        Self(TokioRuntime::new(threads))
    }

    fn block_on<F, T>(&mut self, future: F) -> T
    where
        F: Future<Output = T>,
    {
        self.0.block_on(future)
    }
}
