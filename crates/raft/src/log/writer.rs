//! The log writer: takes everything queued, makes it durable as one batch, completes it.
//!
//! A thread of its own, so that a slow disk delays neither heartbeats nor requests; while it waits
//! for one sync the next batch gathers. In simulation it is a task, driven by the same steps.
//!
//! A full disk keeps the batch and tries again: nothing of it was acknowledged, the order is kept,
//! and the node goes on when there is room. Meanwhile new proposals are refused. Any other failure
//! is final: everything queued, and all that comes, is told that the log is broken.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tribune_rt::Env;

use super::{Done, Op, Shared};
use crate::wal::{Item, Position, Wal, WriteError};

/// How often a full disk is tried again.
const FULL_RETRY: Duration = Duration::from_millis(250);

pub(super) struct Writer {
    env: Env,
    shared: Arc<Shared>,
    wal: Wal,
    items: Vec<Item>,
    dones: Vec<Done>,
    ops: Vec<Op>,
    positions: Vec<Position>,
}

enum Step {
    /// Nothing is queued.
    Idle,
    Progress,
    /// The batch waits for room.
    Full,
    Stop,
}

impl Writer {
    pub(super) fn new(env: &Env, shared: Arc<Shared>, wal: Wal) -> Self {
        Self {
            env: env.clone(),
            shared,
            wal,
            items: Vec::new(),
            dones: Vec::new(),
            ops: Vec::new(),
            positions: Vec::new(),
        }
    }

    pub(super) fn run_as_thread(mut self) {
        loop {
            match self.step() {
                Step::Progress => {}
                Step::Stop => return,
                Step::Idle => {
                    let mut state = self.shared.state.lock();
                    if state.queue.is_empty() && !state.stop {
                        self.shared.work.wait(&mut state);
                    }
                }
                Step::Full => {
                    let mut state = self.shared.state.lock();
                    if !state.stop {
                        self.shared.work.wait_for(&mut state, FULL_RETRY);
                    }
                }
            }
        }
    }

    pub(super) async fn run_as_task(mut self, env: Env) {
        loop {
            match self.step() {
                Step::Progress => {}
                Step::Stop => return,
                Step::Idle => self.shared.work_async.notified().await,
                Step::Full => env.sleep(FULL_RETRY).await,
            }
        }
    }

    fn step(&mut self) -> Step {
        let stop = self.gather();
        if self.items.is_empty() {
            self.complete(Ok(()));
            return if stop { Step::Stop } else { Step::Idle };
        }
        self.positions.clear();
        let began = self.env.mono();
        match self.wal.write(&self.items, &mut self.positions) {
            Ok(()) => {
                self.note_flushed(self.items.len(), false);
                let entries = self.items.iter();
                let entries = entries.filter(|item| matches!(item, Item::Entry { .. }));
                match entries.count() {
                    0 => {}
                    count => {
                        let took = self.env.mono().since(began);
                        self.shared.figures.stored(count, took);
                    }
                }
                let purged = self.items.iter().any(|item| matches!(item, Item::Purge(_)));
                self.items.clear();
                self.complete(Ok(()));
                if purged {
                    self.wal.drop_purged();
                }
                Step::Progress
            }
            Err(WriteError::Full { done, source }) => {
                if !self.note_flushed(done, true) {
                    tracing::error!(err = %source, "disk is full: writes wait for room, new ones are refused");
                }
                self.items.drain(..done);
                if stop {
                    self.fail(&source);
                    return Step::Stop;
                }
                Step::Full
            }
            Err(WriteError::Poisoned(err)) => {
                tracing::error!(%err, "the log cannot be written any more");
                self.fail(&err);
                Step::Stop
            }
        }
    }

    /// Takes the queue over into `items`; true when asked to stop.
    fn gather(&mut self) -> bool {
        let mut state = self.shared.state.lock();
        std::mem::swap(&mut state.queue, &mut self.ops);
        let committed = if state.committed_to_write && !self.ops.is_empty() {
            state.committed_to_write = false;
            state.index.facts().committed
        } else {
            None
        };
        let stop = state.stop;
        drop(state);
        for op in self.ops.drain(..) {
            self.items.extend(op.items);
            self.dones.push(op.done);
        }
        self.items.extend(committed.map(Item::Committed));
        stop
    }

    /// Returns whether the disk was already known to be full.
    fn note_flushed(&mut self, done: usize, full: bool) -> bool {
        self.shared
            .state
            .lock()
            .index
            .flushed(&self.items[..done], &self.positions);
        let was_full = self.shared.full.swap(full, Ordering::Relaxed);
        if was_full && !full {
            tracing::info!("disk has room again");
        }
        was_full
    }

    fn complete(&mut self, result: Result<(), (io::ErrorKind, String)>) {
        for done in self.dones.drain(..) {
            done.complete(&result);
        }
    }

    fn fail(&mut self, err: &io::Error) {
        let text = err.to_string();
        let mut state = self.shared.state.lock();
        state.failed = Some(text.clone());
        let late = std::mem::take(&mut state.queue);
        drop(state);
        self.dones.extend(late.into_iter().map(|op| op.done));
        self.items.clear();
        self.complete(Err((err.kind(), text)));
    }
}

impl Drop for Writer {
    /// A writer that ends for whatever reason leaves nobody waiting.
    fn drop(&mut self) {
        if self.shared.state.lock().failed.is_none() {
            self.fail(&io::Error::new(
                io::ErrorKind::BrokenPipe,
                "the log is closed",
            ));
        }
        self.shared.ended.cancel();
    }
}
