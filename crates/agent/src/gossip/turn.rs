//! One turn of the core: what a command may do, and who waits for what comes of it.

use std::collections::BTreeMap;

use tokio::sync::{mpsc, oneshot};
use tribune_serf::{Action, QueryId, Serf};
use tribune_swim::Ticket;
use tribune_types::text::Text;
use tribune_types::time::Mono;

/// A wish, carried out by the task that owns the core.
pub(super) type Command = Box<dyn FnOnce(&mut Turn<'_>) + Send>;

/// The core at one moment.
pub(super) struct Turn<'a> {
    /// The core.
    pub(super) serf: &'a mut Serf,
    /// The time.
    pub(super) now: Mono,
    /// What the core wants done.
    pub(super) out: &'a mut Vec<Action>,
    /// Who waits.
    pub(super) waiters: &'a mut Waiters,
    /// Set if members may look different afterwards.
    pub(super) members_changed: bool,
}

/// News of a query.
#[derive(Debug)]
pub(super) enum QueryNews {
    /// An answer.
    Answer {
        /// Of whom.
        from: Text,
        /// What.
        payload: std::sync::Arc<[u8]>,
    },
    /// Its time is over.
    Over,
}

/// Who waits for what. Every entry ends by a deadline of the core: broadcasts, leaving and queries all have one.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    /// Told whether the broadcast was sent in time.
    pub(super) tickets: BTreeMap<Ticket, oneshot::Sender<bool>>,
    pub(super) left: Vec<oneshot::Sender<()>>,
    pub(super) queries: BTreeMap<QueryId, mpsc::Sender<QueryNews>>,
}

impl Waiters {
    /// A broadcast has ended, or its time is over.
    pub(super) fn sent(&mut self, ticket: Ticket, in_time: bool) {
        if let Some(waiter) = self.tickets.remove(&ticket) {
            // Whoever waited may be gone.
            let _ = waiter.send(in_time);
        }
    }

    /// Leaving has ended.
    pub(super) fn left(&mut self) {
        for waiter in self.left.drain(..) {
            // Whoever waited may be gone.
            let _ = waiter.send(());
        }
    }

    /// An answer to a query came.
    pub(super) fn answer(&mut self, query: QueryId, from: Text, payload: std::sync::Arc<[u8]>) {
        let Some(waiter) = self.queries.get(&query) else {
            return;
        };
        // The channel has room for one answer of every member; more than that is not owed to anybody.
        let _ = waiter.try_send(QueryNews::Answer { from, payload });
    }

    /// A query's time is over.
    pub(super) fn over(&mut self, query: QueryId) {
        if let Some(waiter) = self.queries.remove(&query) {
            // A full channel ends with the sender.
            let _ = waiter.try_send(QueryNews::Over);
        }
    }
}
