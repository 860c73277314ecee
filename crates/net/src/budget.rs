//! Bytes that one connection, and all connections of its address, may make this process hold.
//!
//! Received bytes are charged when they come off the socket and released when they are dropped. While the budget is
//! used up the socket is not read, so that the peer waits; it never fails a message by itself. Messages that do not
//! come to an end are cut by their deadline, which frees what they hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Waker;

use parking_lot::Mutex;

/// What is held, what may be held, and who waits for room.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicUsize,
    max: usize,
    waiting: Mutex<Vec<Waker>>,
    /// What is held here is held there, too.
    parent: Option<Arc<Budget>>,
}

impl Budget {
    /// `max` bytes may be held before reading pauses.
    pub(crate) fn new(max: usize) -> Budget {
        Budget {
            used: AtomicUsize::new(0),
            max,
            waiting: Mutex::default(),
            parent: None,
        }
    }

    /// A part of `parent`, which may be used up by others.
    pub(crate) fn within(parent: Arc<Budget>, max: usize) -> Budget {
        Budget {
            parent: Some(parent),
            ..Budget::new(max)
        }
    }

    /// Counts bytes that have been received.
    pub(crate) fn charge(&self, bytes: usize) {
        self.used.fetch_add(bytes, Ordering::AcqRel);
        if let Some(parent) = &self.parent {
            parent.charge(bytes);
        }
    }

    /// Gives bytes back.
    pub(crate) fn release(&self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        let before = self.used.fetch_sub(bytes, Ordering::AcqRel);
        if before >= self.max && before.saturating_sub(bytes) < self.max {
            let waiting = std::mem::take(&mut *self.waiting.lock());
            for waker in waiting {
                waker.wake();
            }
        }
        if let Some(parent) = &self.parent {
            parent.release(bytes);
        }
    }

    /// True if more may be read; else `waker` is woken once that may be so.
    pub(crate) fn has_room_or_wake(&self, waker: &Waker) -> bool {
        self.has_own_room_or_wake(waker)
            && self
                .parent
                .as_ref()
                .is_none_or(|parent| parent.has_own_room_or_wake(waker))
    }

    fn has_own_room_or_wake(&self, waker: &Waker) -> bool {
        if self.used.load(Ordering::Acquire) < self.max {
            return true;
        }
        {
            let mut waiting = self.waiting.lock();
            if !waiting.iter().any(|other| other.will_wake(waker)) {
                waiting.push(waker.clone());
            }
        }
        // Bytes may have been released since the first look.
        self.used.load(Ordering::Acquire) < self.max
    }

    /// Bytes held.
    #[cfg(test)]
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_wait_for_an_address_are_woken_by_one_of_its_connections() {
        let address = Arc::new(Budget::new(100));
        let (one, other) = (
            Budget::within(Arc::clone(&address), 80),
            Budget::within(Arc::clone(&address), 80),
        );
        let (tx, rx) = std::sync::mpsc::channel();
        let waker = |name: &'static str| {
            struct Tell(std::sync::mpsc::Sender<&'static str>, &'static str);
            impl std::task::Wake for Tell {
                fn wake(self: Arc<Self>) {
                    let _ = self.0.send(self.1);
                }
            }
            Waker::from(Arc::new(Tell(tx.clone(), name)))
        };
        let (a, b) = (waker("a"), waker("b"));
        one.charge(60);
        assert!(one.has_room_or_wake(&a) && other.has_room_or_wake(&b));
        other.charge(40);
        assert!(!one.has_room_or_wake(&a) && !other.has_room_or_wake(&b));
        assert!(!one.has_room_or_wake(&a), "once is enough");
        one.release(1);
        assert_eq!(rx.try_iter().collect::<Vec<_>>(), ["a", "b"]);
        one.charge(30);
        one.release(29);
        one.release(60);
        other.release(40);
        assert_eq!((one.used(), other.used(), address.used()), (0, 0, 0));
    }
}
