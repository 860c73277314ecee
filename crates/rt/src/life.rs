//! The life of a simulated node's process: its tasks, which can be stopped where they stand, or killed.
//!
//! In simulation every task of a node is polled through a [`Tied`] future. While the node is paused nothing of it runs,
//! as under SIGSTOP; what wakes a task meanwhile is remembered. When it is killed nothing of it is polled again, work given
//! to `spawn_blocking` that has not begun included, and nothing can be spawned any more, as under SIGKILL; destructors
//! run at the next turn of the scheduler.
//!
//! Libraries that spawn on their own ask [`Env::current`](crate::Env::current) whose task is running.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::task::{AbortHandle, JoinHandle};

use crate::Env;

thread_local! {
    /// Whose task is being polled on this thread.
    static CURRENT: RefCell<Option<Env>> = const { RefCell::new(None) };
}

/// The node whose task is running on this thread; `None` outside of simulations.
pub(crate) fn current() -> Option<Env> {
    CURRENT.with_borrow(Clone::clone)
}

/// Polls `future` with `env` as the node of this thread.
#[cfg(any(feature = "sim", test))]
pub(crate) async fn within<F: Future>(env: Env, future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _current = Current::enter(&env);
        future.as_mut().poll(cx)
    })
    .await
}

/// The tasks of one node. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Life(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    killed: bool,
    paused: bool,
    next_id: u64,
    tasks: BTreeMap<u64, Running>,
}

#[derive(Debug)]
struct Running {
    name: &'static str,
    /// Set right after the spawn.
    abort: Option<AbortHandle>,
    /// Of a task that was to run while the node was paused.
    held: Option<Waker>,
}

impl Life {
    /// Starts a task of `env`'s node; of a killed node it never runs.
    pub(crate) fn spawn<F>(
        &self,
        env: &Env,
        name: &'static str,
        runtime: &Handle,
        future: F,
    ) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let id = {
            let mut state = self.0.lock();
            state.next_id += 1;
            let id = state.next_id;
            let running = Running {
                name,
                abort: None,
                held: None,
            };
            state.tasks.insert(id, running);
            id
        };
        let handle = runtime.spawn(Tied {
            future: Some(Box::pin(future)),
            env: env.clone(),
            life: self.clone(),
            id,
        });
        let killed = {
            let mut state = self.0.lock();
            if let Some(running) = state.tasks.get_mut(&id) {
                running.abort = Some(handle.abort_handle());
            }
            state.killed
        };
        if killed {
            handle.abort();
        }
        handle
    }

    /// Ends every task where it stands.
    pub(crate) fn kill(&self) {
        let aborts: Vec<AbortHandle> = {
            let mut state = self.0.lock();
            state.killed = true;
            state.paused = false;
            let tasks = state.tasks.values();
            tasks.filter_map(|task| task.abort.clone()).collect()
        };
        for abort in aborts {
            abort.abort();
        }
    }

    /// False once it was killed.
    pub(crate) fn is_alive(&self) -> bool {
        !self.0.lock().killed
    }

    /// Stops the node where it stands, or lets it go on.
    pub(crate) fn set_paused(&self, paused: bool) {
        let held: Vec<Waker> = {
            let mut state = self.0.lock();
            state.paused = paused;
            if paused {
                return;
            }
            let tasks = state.tasks.values_mut();
            tasks.filter_map(|task| task.held.take()).collect()
        };
        for waker in held {
            waker.wake();
        }
    }

    /// Names of the tasks that are there.
    pub(crate) fn task_names(&self) -> Vec<&'static str> {
        self.0.lock().tasks.values().map(|task| task.name).collect()
    }

    /// True if the task must not run now; it is woken later.
    fn holds(&self, id: u64, waker: &Waker) -> bool {
        let mut state = self.0.lock();
        if state.paused
            && let Some(task) = state.tasks.get_mut(&id)
        {
            task.held = Some(waker.clone());
        }
        // A killed one was aborted already, and is dropped after this poll.
        state.paused || state.killed
    }

    fn ended(&self, id: u64) {
        // The task's handles are dropped outside of the lock.
        let ended = self.0.lock().tasks.remove(&id);
        drop(ended);
    }
}

/// A future that runs only while its node does.
struct Tied<F> {
    /// `None` only while it is dropped.
    future: Option<Pin<Box<F>>>,
    env: Env,
    life: Life,
    id: u64,
}

impl<F: Future> Future for Tied<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        if self.life.holds(self.id, cx.waker()) {
            return Poll::Pending;
        }
        let _current = Current::enter(&self.env);
        match &mut self.future {
            Some(future) => future.as_mut().poll(cx),
            None => Poll::Pending,
        }
    }
}

impl<F> Drop for Tied<F> {
    fn drop(&mut self) {
        self.life.ended(self.id);
        let _current = Current::enter(&self.env);
        drop(self.future.take());
    }
}

/// Makes a node the current one of this thread until dropped.
struct Current(Option<Env>);

impl Current {
    fn enter(env: &Env) -> Current {
        // A thread that is ending has none any more.
        let before = CURRENT.try_with(|current| current.replace(Some(env.clone())));
        Current(before.ok().flatten())
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        let before = self.0.take();
        // What is replaced is dropped after the borrow has ended.
        let own = CURRENT.try_with(|current| current.replace(before));
        drop(own);
    }
}
