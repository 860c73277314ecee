//! One entry of the cache: what is kept, what went wrong since, who uses it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tribune_rt::{CancellationToken, TaskGroup};
use tribune_types::error::RpcError;
use tribune_types::time::Mono;

use super::Cached;
use crate::Answer;

/// An entry.
pub(super) struct Entry {
    state: Mutex<State>,
    changed: Notify,
    used: AtomicU64,
    /// Ends the task.
    stop: CancellationToken,
}

#[derive(Default)]
struct State {
    kept: Option<Answer>,
    /// Since when nothing is known to keep it fresh.
    lost: Option<Mono>,
    failures: u64,
    error: Option<RpcError>,
}

impl Entry {
    pub(super) fn new(now: Mono, tasks: &TaskGroup) -> Entry {
        Entry {
            state: Mutex::default(),
            changed: Notify::new(),
            used: AtomicU64::new(now.0),
            stop: tasks.stop().child_token(),
        }
    }

    /// Somebody asks for it.
    pub(super) fn touch(&self, now: Mono) {
        self.used.store(now.0, Ordering::Relaxed);
    }

    /// When somebody asked for it.
    pub(super) fn used(&self) -> Mono {
        Mono(self.used.load(Ordering::Relaxed))
    }

    /// What is kept, as an answer that was not at hand.
    pub(super) fn kept(&self, now: Mono) -> Option<Cached> {
        let state = self.state.lock();
        Some(Cached {
            value: state.kept.clone()?,
            hit: false,
            age: state.lost.map_or(Duration::ZERO, |lost| now.since(lost)),
        })
    }

    /// How many fetches have failed.
    pub(super) fn failures(&self) -> u64 {
        self.state.lock().failures
    }

    /// The error of a fetch that failed after there were `before` failures, if it is the last that was made. An entry whose
    /// first fetch failed is given up, so that its error counts whenever it was.
    pub(super) fn failed_since(&self, before: u64) -> Option<RpcError> {
        let state = self.state.lock();
        { state.error.as_ref() }
            .filter(|_| state.failures > before || state.kept.is_none())
            .cloned()
    }

    /// Resolves when something was fetched, or could not be. Make and enable it before looking.
    pub(super) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// A fetch succeeded.
    pub(super) fn set(&self, answer: Answer) {
        *self.state.lock() = State {
            kept: Some(answer),
            ..State::default()
        };
        self.changed.notify_waiters();
    }

    /// A fetch failed. False if there was none that succeeded.
    pub(super) fn fail(&self, err: RpcError, now: Mono) -> bool {
        let mut state = self.state.lock();
        state.failures += 1;
        state.error = Some(err);
        state.lost.get_or_insert(now);
        let kept = state.kept.is_some();
        drop(state);
        self.changed.notify_waiters();
        kept
    }

    /// The query waits in a server again.
    pub(super) fn found(&self) {
        self.state.lock().lost = None;
    }

    /// Resolves when the entry is given up.
    pub(super) async fn ended(&self) {
        self.stop.cancelled().await;
    }

    /// Gives the entry up.
    pub(super) fn end(&self) {
        self.stop.cancel();
    }
}
