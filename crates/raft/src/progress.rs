//! How far the machine has applied the log, and who waits for it.
//!
//! Moving on costs one store while nobody waits. Few wait: readers share rounds (`rounds`), and a
//! round waits once for all of them.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::Notify;

/// The index of the last applied entry.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    index: AtomicU64,
    moved: Notify,
}

impl Progress {
    /// Moves before a proposer hears, so that it covers everything acknowledged.
    pub(crate) fn publish(&self, index: u64) {
        self.index.store(index, Ordering::Release);
        self.moved.notify_waiters();
    }

    pub(crate) fn index(&self) -> u64 {
        self.index.load(Ordering::Acquire)
    }

    /// Returns once `index` is applied. Cancel safe.
    pub(crate) async fn reached(&self, index: u64) {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            // Registered before the look, so that no move in between is missed.
            moved.as_mut().enable();
            if self.index() >= index {
                return;
            }
            moved.await;
        }
    }
}
