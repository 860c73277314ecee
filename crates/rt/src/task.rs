//! Owned tasks and threads: handles, and a group that stops and joins what it spawned.
//!
//! Every task has a name (for logs and panics), an owner and a join. Dropping a [`TaskHandle`]
//! lets the task run on; use [`TaskHandle::abort_on_drop`] or a [`TaskGroup`] to tie its life to
//! the owner's.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Env;

/// Why a task has no result.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TaskError {
    /// It was aborted, or its runtime shut down.
    #[error("task {name:?} was cancelled")]
    Cancelled {
        /// Name given at spawn.
        name: &'static str,
    },
    /// It panicked.
    #[error("task {name:?} panicked: {message}")]
    Panicked {
        /// Name given at spawn.
        name: &'static str,
        /// The panic's text, where it had one.
        message: String,
    },
}

/// A running task. Awaiting it yields its result; dropping it lets the task run on.
#[derive(Debug)]
pub struct TaskHandle<T = ()> {
    name: &'static str,
    inner: tokio::task::JoinHandle<T>,
}

impl<T> TaskHandle<T> {
    pub(crate) fn new(name: &'static str, inner: tokio::task::JoinHandle<T>) -> Self {
        Self { name, inner }
    }

    /// The name given at spawn.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Asks the task to stop at its next `.await`. Harmless when it is already done.
    pub fn abort(&self) {
        self.inner.abort();
    }

    /// True once the task has returned, panicked or been aborted.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }

    /// Waits for the result. Cancel safe; the task runs on when the wait is dropped.
    ///
    /// # Errors
    /// [`TaskError`] when the task was aborted or panicked.
    pub async fn join(self) -> Result<T, TaskError> {
        self.await
    }

    /// Ties the task's life to the returned guard.
    pub fn abort_on_drop(self) -> AbortOnDrop<T> {
        AbortOnDrop(self)
    }
}

impl<T> Future for TaskHandle<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        Pin::new(&mut self.inner)
            .poll(cx)
            .map_err(|err| join_error(name, err))
    }
}

fn join_error(name: &'static str, err: tokio::task::JoinError) -> TaskError {
    match err.try_into_panic() {
        Ok(panic) => TaskError::Panicked {
            name,
            message: panic_text(panic.as_ref()),
        },
        Err(_) => TaskError::Cancelled { name },
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "no message".to_owned()
    }
}

/// Starts a task beside the one that calls: on the simulated node that runs it, or on its runtime. For code that a library
/// calls without handing it an [`Env`]; all other code has one and spawns there.
///
/// # Panics
/// Outside a runtime.
pub fn spawn_current<F>(name: &'static str, future: F) -> TaskHandle<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    match Env::current() {
        Some(env) => env.spawn(name, future),
        None => TaskHandle::new(name, tokio::spawn(future)),
    }
}

/// Aborts its task when dropped.
#[derive(Debug)]
pub struct AbortOnDrop<T = ()>(TaskHandle<T>);

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A thread of its own, for work that blocks for the life of its owner.
#[derive(Debug)]
pub struct ThreadHandle<T = ()> {
    name: &'static str,
    inner: std::thread::JoinHandle<T>,
}

impl<T> ThreadHandle<T> {
    pub(crate) fn new(name: &'static str, inner: std::thread::JoinHandle<T>) -> Self {
        Self { name, inner }
    }

    /// Blocks until the thread has returned.
    ///
    /// # Errors
    /// [`TaskError::Panicked`] when it panicked.
    pub fn join(self) -> Result<T, TaskError> {
        let name = self.name;
        self.inner.join().map_err(|panic| TaskError::Panicked {
            name,
            message: panic_text(panic.as_ref()),
        })
    }

    /// True once the thread has returned.
    pub fn is_finished(&self) -> bool {
        self.inner.is_finished()
    }
}

/// Tasks with one owner, one stop signal and one join.
#[derive(Clone, Debug)]
pub struct TaskGroup {
    env: Env,
    tracker: TaskTracker,
    stop: CancellationToken,
}

impl TaskGroup {
    /// An empty group whose stop signal also fires with `parent`.
    pub fn new(env: &Env, parent: &CancellationToken) -> Self {
        Self {
            env: env.clone(),
            tracker: TaskTracker::new(),
            stop: parent.child_token(),
        }
    }

    /// The stop signal that the tasks should watch.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Spawns a task of the group on the core runtime.
    pub fn spawn<F>(&self, name: &'static str, future: F) -> TaskHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.env.spawn(name, self.tracker.track_future(future))
    }

    /// Counts the tasks that still run.
    pub fn len(&self) -> usize {
        self.tracker.len()
    }

    /// True when no task of the group runs.
    pub fn is_empty(&self) -> bool {
        self.tracker.is_empty()
    }

    /// Fires the stop signal and waits up to `deadline` for the tasks to return.
    /// False means that some still run.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        self.env
            .timeout(deadline, self.tracker.wait())
            .await
            .is_ok()
    }
}
