//! What a server counts and times, by the names that dashboards know (agent.md section 11). Timers are in milliseconds.
//!
//! | metric | kind | what |
//! | --- | --- | --- |
//! | `rpc.query` | counter | evaluations for a read, each turn of a blocking one included |
//! | `rpc.queries_blocking` | gauge | blocking queries that wait |
//! | `rpc.consistentRead` | timer | until a majority confirmed a consistent read |
//! | `kvs.apply`, `txn.apply`, `session.apply`, `session.renew`, `catalog.register`, `catalog.deregister`, `prepared-query.apply` | timer | a write, on the leader |
//! | `txn.read` | timer | a transaction that only reads |
//! | `prepared-query.execute`, `.execute_remote`, `.explain` | timer | a prepared query, with what other datacenters took |
//! | `catalog.<what>.query`, `.query-tags`, `.not-found`, `health.<what>.…` | counter | reads of one service, labelled with it; `<what>` is `service`, `connect` or `ingress` |
//! | `fsm.<command>` | timer | applying one command, on every server; most are labelled with the operation |
//! | `fsm.persist` | timer | writing a snapshot |
//! | `leader.barrier`, `.reconcile`, `.reconcileMember`, `.reapTombstones` | timer | a duty of the leader |
//! | `session_ttl.invalidate` | timer | ending a session whose time is over |
//! | `session_ttl.active` | gauge | sessions with a time to live, on the leader |
//! | `raft.apply`, `raft.commitTime` | counter, timer | proposals, and how long each took until it was applied here |
//! | `raft.barrier`, `raft.verify_leader` | counter | how often a majority was asked whether this server leads: at the start of a term, for a read |
//! | `raft.fsm.apply`, `raft.commitNumLogs` | timer, gauge | applying what was committed together, and how many entries that were |
//! | `raft.applied_index`, `raft.last_index` | gauge | how far the log is |
//! | `raft.leader.lastContact` | sample | how long ago each follower answered, on the leader, ms |
//!
//! What is recorded for every request is registered once and kept as handles.

mod applying;
mod services;

use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use tribune_raft::Role;
use tribune_rt::{Stopwatch, millis};
use tribune_types::write::Write;

use crate::Server;

pub(crate) use applying::Applying;
pub(crate) use services::ServiceReads;

/// How often gauges are set.
const SAMPLE_PERIOD: Duration = Duration::from_secs(5);

/// The handles of one server.
pub(crate) struct Figures {
    pub(crate) queries: Counter,
    pub(crate) blocking: Gauge,
    pub(crate) consistent_read: Histogram,
    pub(crate) txn_read: Histogram,
    pub(crate) execute: Histogram,
    pub(crate) execute_remote: Histogram,
    pub(crate) explain: Histogram,
    pub(crate) proposals: Counter,
    pub(crate) commit_time: Histogram,
    kvs: Histogram,
    txn: Histogram,
    session: Histogram,
    session_renew: Histogram,
    register: Histogram,
    deregister: Histogram,
    prepared_query: Histogram,
}

impl Figures {
    pub(crate) fn new() -> Figures {
        Figures {
            queries: counter!("rpc.query"),
            blocking: gauge!("rpc.queries_blocking"),
            consistent_read: histogram!("rpc.consistentRead"),
            txn_read: histogram!("txn.read"),
            execute: histogram!("prepared-query.execute"),
            execute_remote: histogram!("prepared-query.execute_remote"),
            explain: histogram!("prepared-query.explain"),
            proposals: counter!("raft.apply"),
            commit_time: histogram!("raft.commitTime"),
            kvs: histogram!("kvs.apply"),
            txn: histogram!("txn.apply"),
            session: histogram!("session.apply"),
            session_renew: histogram!("session.renew"),
            register: histogram!("catalog.register"),
            deregister: histogram!("catalog.deregister"),
            prepared_query: histogram!("prepared-query.apply"),
        }
    }

    /// The timer of a write; not all have one.
    pub(crate) fn of_write(&self, write: &Write) -> Option<&Histogram> {
        Some(match write {
            Write::Kv(..) => &self.kvs,
            Write::Txn(_) => &self.txn,
            Write::SessionCreate(_) | Write::SessionDestroy(_) => &self.session,
            Write::SessionRenew(_) => &self.session_renew,
            Write::Register(_) => &self.register,
            Write::Deregister(_) => &self.deregister,
            Write::PreparedQuery(..) => &self.prepared_query,
            Write::TxnRead(..)
            | Write::Coordinate(_)
            | Write::EventFire(_)
            | Write::Autopilot { .. }
            | Write::RaftRemovePeer(_) => return None,
        })
    }
}

impl Server {
    /// Times a prepared query until it is dropped.
    pub fn time_execution(&self) -> Stopwatch {
        Stopwatch::start(self.env(), &self.figures().execute)
    }
}

/// Sets what is looked at now and then, until the server stops. Nobody looks in simulation, where a process has many
/// servers.
pub(crate) async fn run(server: Server) {
    if server.env().is_sim() {
        return;
    }
    let (applied, last) = (gauge!("raft.applied_index"), gauge!("raft.last_index"));
    let sessions = gauge!("session_ttl.active");
    loop {
        let raft = server.raft_metrics();
        applied.set(raft.applied_index.0 as f64);
        last.set(raft.last_log_index.0 as f64);
        let leads = raft.role == Role::Leader;
        // A follower keeps no time: what it remembers is for the case that it leads.
        let timed = server.soft().sessions.lock().len();
        sessions.set(if leads { timed as f64 } else { 0.0 });
        if leads {
            for peer in &raft.membership.peers {
                if let Some(age) = peer.last_contact.filter(|_| peer.id != server.raft().id()) {
                    histogram!("raft.leader.lastContact").record(millis(age));
                }
            }
        }
        tokio::select! {
            biased;
            () = server.stop().cancelled() => return,
            () = server.env().sleep(SAMPLE_PERIOD) => {}
        }
    }
}
