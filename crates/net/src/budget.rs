//! Bytes that one connection may make this process hold.
//!
//! Received bytes are charged when they come off the socket and released when they are dropped. While the budget is
//! used up the socket is not read, so that the peer waits; it never fails a message by itself. Messages that do not
//! come to an end are cut by their deadline, which frees what they hold.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// What is held, what may be held, and who waits for room.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
    waiting: Mutex<Option<Waker>>,
}

impl Budget {
    /// `max` bytes may be held before reading pauses.
    pub(crate) fn new(max: usize) -> Budget {
        Budget {
            used: AtomicUsize::new(0),
            max,
            waiting: Mutex::new(None),
        }
    }

    /// Counts bytes that have been received.
    pub(crate) fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Gives bytes back.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.max
            && before.saturating_sub(bytes) < self.max
            && let Some(waker) = self.waiting.lock().take()
        {
            waker.wake();
        }
    }

    /// True if more may be read; else `waker` is woken once that is so.
    pub(crate) fn has_room_or_wake(&self, waker: &Waker) -> bool {
        if self.used.load(Ordering::Acquire) < self.max {
            return true;
        }
        *self.waiting.lock() = Some(waker.clone());
        // Bytes may have been released since the first look.
        self.used.load(Ordering::Acquire) < self.max
    }

    /// Bytes held.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}
