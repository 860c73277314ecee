//! Timers of the replicated state machine: one per command and operation, one for batches.

use metrics::{Gauge, Histogram, gauge, histogram};
use tribune_types::command::Command;
use tribune_types::kv::KvOp;

/// The timers of commands.
pub(crate) struct Applying {
    pub(crate) batch: Histogram,
    pub(crate) batch_count: Gauge,
    register: Histogram,
    deregister: Histogram,
    set: Histogram,
    cas: Histogram,
    lock: Histogram,
    unlock: Histogram,
    delete: Histogram,
    delete_cas: Histogram,
    delete_tree: Histogram,
    session_create: Histogram,
    session_destroy: Histogram,
    tombstones: Histogram,
    coordinates: Histogram,
    txn: Histogram,
    autopilot: Histogram,
    query_create: Histogram,
    query_update: Histogram,
    query_delete: Histogram,
}

impl Applying {
    pub(crate) fn new() -> Applying {
        let kvs = |op: &'static str| histogram!("fsm.kvs", "op" => op);
        let session = |op: &'static str| histogram!("fsm.session", "op" => op);
        let query = |op: &'static str| histogram!("fsm.prepared-query", "op" => op);
        Applying {
            batch: histogram!("raft.fsm.apply"),
            batch_count: gauge!("raft.commitNumLogs"),
            register: histogram!("fsm.register"),
            deregister: histogram!("fsm.deregister"),
            set: kvs("set"),
            cas: kvs("cas"),
            lock: kvs("lock"),
            unlock: kvs("unlock"),
            delete: kvs("delete"),
            delete_cas: kvs("delete-cas"),
            delete_tree: kvs("delete-tree"),
            session_create: session("create"),
            session_destroy: session("destroy"),
            tombstones: histogram!("fsm.tombstone", "op" => "reap"),
            coordinates: histogram!("fsm.coordinate.batch-update"),
            txn: histogram!("fsm.txn"),
            autopilot: histogram!("fsm.autopilot"),
            query_create: query("create"),
            query_update: query("update"),
            query_delete: query("delete"),
        }
    }

    /// The timer of a command; pieces of an archive have none. `is_known` tells whether a prepared query is there already.
    pub(crate) fn of(
        &self,
        command: &Command,
        is_known: impl FnOnce(&str) -> bool,
    ) -> Option<&Histogram> {
        Some(match command {
            Command::Register(_) => &self.register,
            Command::Deregister(_) => &self.deregister,
            Command::Kv(op, _) => match op {
                KvOp::Set => &self.set,
                KvOp::Cas => &self.cas,
                KvOp::Lock => &self.lock,
                KvOp::Unlock => &self.unlock,
                KvOp::Delete => &self.delete,
                KvOp::DeleteCas => &self.delete_cas,
                KvOp::DeleteTree => &self.delete_tree,
            },
            Command::SessionCreate(_) => &self.session_create,
            Command::SessionDestroy(_) => &self.session_destroy,
            Command::ReapTombstones(_) => &self.tombstones,
            Command::Coordinates(_) => &self.coordinates,
            Command::Txn(_) => &self.txn,
            Command::Autopilot { .. } => &self.autopilot,
            Command::QuerySet(query) => match is_known(&query.id) {
                true => &self.query_update,
                false => &self.query_create,
            },
            Command::QueryDelete(_) => &self.query_delete,
            Command::Restore(_) => return None,
        })
    }
}
