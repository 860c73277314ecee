//! What consensus counts and times, by the names that dashboards know (agent.md section 11). Timers are in milliseconds.
//!
//! | metric | kind | what |
//! | --- | --- | --- |
//! | `raft.state.leader`, `.candidate`, `.follower` | counter | how often this node became one |
//! | `raft.transition.heartbeat_timeout` | counter | how often it stood for election because it missed its leader |
//! | `raft.leader.dispatchLog`, `raft.rpc.appendEntries.storeLogs` | timer | putting one batch on disk, on the leader and elsewhere |
//! | `raft.leader.dispatchNumLogs` | gauge | entries of the last such batch, on the leader |
//! | `raft.replication.appendEntries.rpc.<peer>`, `raft.replication.heartbeat.<peer>` | timer | until a peer answered |
//! | `raft.replication.appendEntries.logs.<peer>` | counter | entries sent to a peer |
//! | `raft.rpc.appendEntries`, `.processHeartbeat`, `.requestVote`, `.installSnapshot` | timer | answering a peer |
//! | `raft.snapshot.create`, `.persist`, `.takeSnapshot` | timer | looking at the state, writing it, both and what is between |
//! | `raft.fsm.restore` | timer | reading a state |

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};
use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tribune_rt::{CancellationToken, millis};

use crate::leadership::{Core, Standing};
use crate::types::RaftNodeId;

/// Counts what this node becomes, until it stops.
pub(crate) async fn follow_roles(core: Core, stop: CancellationToken) {
    let mut changes = core.server_metrics();
    let mut last = None;
    loop {
        let state = changes.borrow_and_update().state;
        if last != Some(state) {
            count_role(last, state);
            last = Some(state);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = changes.changed() => if changed.is_err() { return },
        }
    }
}

fn count_role(last: Option<ServerState>, now: ServerState) {
    let stood = || {
        counter!("raft.state.candidate").increment(1);
        counter!("raft.transition.heartbeat_timeout").increment(1);
    };
    match now {
        ServerState::Candidate => stood(),
        ServerState::Leader => {
            if last != Some(ServerState::Candidate) {
                // An election that nobody contests may be over before anybody looks.
                stood();
            }
            counter!("raft.state.leader").increment(1);
        }
        ServerState::Follower | ServerState::Learner => {
            if !matches!(last, Some(ServerState::Follower | ServerState::Learner)) {
                counter!("raft.state.follower").increment(1);
            }
        }
        ServerState::Shutdown => {}
    }
}

/// The figures of the log's writer.
pub(crate) struct LogFigures {
    /// Tells who leads; set when that is known.
    standing: OnceLock<Arc<Standing>>,
    dispatch: Histogram,
    dispatch_count: Gauge,
    store: Histogram,
}

impl LogFigures {
    pub(crate) fn new() -> LogFigures {
        LogFigures {
            standing: OnceLock::new(),
            dispatch: histogram!("raft.leader.dispatchLog"),
            dispatch_count: gauge!("raft.leader.dispatchNumLogs"),
            store: histogram!("raft.rpc.appendEntries.storeLogs"),
        }
    }

    pub(crate) fn tell_standing(&self, standing: Arc<Standing>) {
        // Told once, by whoever opened the log.
        let _ = self.standing.set(standing);
    }

    /// So many entries were put on disk.
    pub(crate) fn stored(&self, entries: usize, took: Duration) {
        if { self.standing.get() }.is_some_and(|standing| standing.is_ready()) {
            self.dispatch.record(millis(took));
            self.dispatch_count.set(entries as f64);
        } else {
            self.store.record(millis(took));
        }
    }
}

/// The figures of one peer.
pub(crate) struct PeerFigures {
    pub(crate) append: Histogram,
    pub(crate) heartbeat: Histogram,
    pub(crate) entries: Counter,
}

impl PeerFigures {
    pub(crate) fn new(peer: RaftNodeId) -> PeerFigures {
        PeerFigures {
            append: histogram!(format!("raft.replication.appendEntries.rpc.{peer}")),
            heartbeat: histogram!(format!("raft.replication.heartbeat.{peer}")),
            entries: counter!(format!("raft.replication.appendEntries.logs.{peer}")),
        }
    }
}
