//! Rounds of one question, shared by all who ask it: one is under way, the rest share the next.
//!
//! An answer counts for those who asked before its question was put, so a caller never joins the
//! round that is under way. Thousands of callers thus cost two questions.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tribune_types::id::LogIndex;

use crate::error::ReadError;

/// What a round finds out.
pub(crate) type Found = Result<LogIndex, ReadError>;

/// The rounds of one question.
#[derive(Debug, Default)]
pub(crate) struct Rounds(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    running: bool,
    next: Option<Arc<Round>>,
}

/// One round. Its waiters hold it.
#[derive(Debug, Default)]
pub(crate) struct Round {
    found: OnceLock<Found>,
    done: Notify,
}

impl Rounds {
    /// The round that starts next. True when nobody runs rounds now: the caller must see to it.
    pub(crate) fn join(&self) -> (Arc<Round>, bool) {
        let mut state = self.0.lock();
        let idle = !std::mem::replace(&mut state.running, true);
        (state.next.get_or_insert_default().clone(), idle)
    }

    /// The round to run now; `None` ends the run.
    pub(crate) fn take(&self) -> Option<Arc<Round>> {
        let mut state = self.0.lock();
        let next = state.next.take();
        state.running = next.is_some();
        next
    }
}

impl Round {
    /// Answers everyone in it.
    pub(crate) fn finish(&self, found: Found) {
        // A round is finished once.
        let _ = self.found.set(found);
        self.done.notify_waiters();
    }

    /// Cancel safe.
    pub(crate) async fn found(&self) -> Found {
        loop {
            let done = self.done.notified();
            tokio::pin!(done);
            done.as_mut().enable();
            if let Some(found) = self.found.get() {
                return found.clone();
            }
            done.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_asks_during_a_round_is_in_the_next_and_not_in_this_one() {
        let rounds = Rounds::default();
        let (first, start) = rounds.join();
        assert!(start);
        assert!(!rounds.join().1, "one runs already");
        let running = rounds.take().unwrap();
        assert!(Arc::ptr_eq(&first, &running));
        let (second, start) = rounds.join();
        assert!(!start && !Arc::ptr_eq(&first, &second));
        running.finish(Ok(LogIndex(7)));
        assert!(Arc::ptr_eq(&rounds.take().unwrap(), &second));
        assert!(rounds.take().is_none());
        assert!(rounds.join().1, "it ran out: start anew");
    }
}
