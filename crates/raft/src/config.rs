//! Settings of the consensus layer, already validated.

use std::path::PathBuf;
use std::time::Duration;

use crate::types::{Member, RaftNodeId};
use crate::wal::SEGMENT_SIZE_BYTES;

/// Everything [`Raft::open`](crate::Raft::open) needs to know.
#[derive(Debug, Clone)]
pub struct RaftConfig {
    /// This server.
    pub id: RaftNodeId,
    /// How others reach it.
    pub member: Member,
    /// The data folder, in which `raft/` is ours; `None` keeps everything in memory.
    pub data_dir: Option<PathBuf>,
    /// Heartbeats and elections.
    pub timing: Timing,
    /// When snapshots are taken.
    pub snapshot: SnapshotConfig,
    /// Longest wait for a proposal; then its fate is reported unknown. 30 s by default.
    pub propose_timeout: Duration,
    /// Size of a log segment in bytes, 16 MiB by default. Smaller is for tests.
    pub segment_size: u64,
    /// Recent log entries kept in memory, in bytes; 4 MiB by default.
    pub log_cache_size: usize,
    /// Recovery from a lost quorum: the peer set is replaced by this one when the node opens, and what its log holds
    /// counts as committed. Every server that is left has to be given the same set. `None` by default.
    pub recover: Option<Vec<RecoveredPeer>>,
}

/// A server of a peer set that is made by hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredPeer {
    /// Its id.
    pub id: RaftNodeId,
    /// How it is reached.
    pub member: Member,
    /// It counts for quorums; at least one must.
    pub voter: bool,
}

impl RaftConfig {
    /// Defaults for a server with data in `data_dir`.
    pub fn new(id: RaftNodeId, addr: impl Into<String>, data_dir: Option<PathBuf>) -> Self {
        Self {
            id,
            member: Member { addr: addr.into() },
            data_dir,
            timing: Timing::default(),
            snapshot: SnapshotConfig::default(),
            propose_timeout: Duration::from_secs(30),
            segment_size: SEGMENT_SIZE_BYTES,
            log_cache_size: 4 * 1024 * 1024,
            recover: None,
        }
    }
}

/// The two base periods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A follower that hears nothing for this long suspects the leader. At least 5 ms.
    pub heartbeat: Duration,
    /// Spread of the time until a candidate tries again. At least 5 ms.
    pub election: Duration,
}

impl Timing {
    /// Consul's base of 1000 ms each, times `raft_multiplier` (1 to 10).
    pub fn scaled(multiplier: u32) -> Self {
        let base = Duration::from_millis(1000) * multiplier.clamp(1, 10);
        Self {
            heartbeat: base,
            election: base,
        }
    }

    /// The short periods of `-dev`.
    pub fn dev() -> Self {
        Self {
            heartbeat: Duration::from_millis(35),
            election: Duration::from_millis(52),
        }
    }

    /// How long a leader may be silent before the others ask whether it is still there, and hold an election if it does not
    /// answer: a tenth of `heartbeat`, from 500 ms (`raft_multiplier` up to 5) to 1 s (10), and never more than `heartbeat`.
    /// It speaks at least four times in that while.
    pub fn silence(&self) -> Duration {
        let least = Duration::from_millis(500);
        let most = Duration::from_secs(1);
        (self.heartbeat / 10).clamp(least, most).min(self.heartbeat)
    }

    /// (heartbeat interval, shortest and longest election timeout) in milliseconds.
    ///
    /// A leader sends ten heartbeats in the time after which a follower gives up on it, at most one
    /// each 5 ms and at least one each 100 ms: autopilot takes a server that has heard nothing for
    /// 200 ms for unhealthy (Consul's leaders speak every 50 to 100 ms, too).
    pub(crate) fn library(&self) -> (u64, u64, u64) {
        let give_up = (self.heartbeat.as_millis() as u64).max(5);
        let spread = (self.election.as_millis() as u64).max(5);
        let interval = (give_up / 10).clamp(5, 100).min(give_up / 3).max(1);
        (
            interval,
            give_up.max(interval * 3),
            give_up.max(interval * 3) + spread,
        )
    }
}

impl Default for Timing {
    /// `raft_multiplier` 5.
    fn default() -> Self {
        Self::scaled(5)
    }
}

/// When snapshots are taken and what they leave of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// Entries applied since the last one that make a new one due; 16384.
    pub threshold: u64,
    /// How often that is looked at; 30 s. A random part is added.
    pub interval: Duration,
    /// Entries kept behind a snapshot for slow followers; 10240.
    pub trailing_logs: u64,
}

impl Default for SnapshotConfig {
    fn default() -> Self {
        Self {
            threshold: 16384,
            interval: Duration::from_secs(30),
            trailing_logs: 10240,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_may_be_silent_for_a_tenth_of_the_patience_within_bounds() {
        // (raft_multiplier, ms)
        for (multiplier, want) in [(1, 500), (2, 500), (5, 500), (6, 600), (8, 800), (10, 1000)] {
            let silence = Timing::scaled(multiplier).silence();
            assert_eq!(silence.as_millis(), want, "{multiplier}");
        }
        let short = Timing {
            heartbeat: Duration::from_millis(300),
            election: Duration::from_secs(1),
        };
        assert_eq!(short.silence(), short.heartbeat);
    }

    #[test]
    fn a_leader_speaks_four_times_in_the_time_it_may_be_silent() {
        let longer = [35, 60, 100, 300, 499, 500, 1000, 2500].map(Duration::from_millis);
        let scaled = (1..=10).map(|multiplier| Timing::scaled(multiplier).heartbeat);
        for heartbeat in longer.into_iter().chain(scaled) {
            let timing = Timing {
                heartbeat,
                election: heartbeat,
            };
            let (interval, ..) = timing.library();
            let silence = timing.silence().as_millis() as u64;
            // The library looks five times an interval whether the next heartbeat is due.
            assert!(silence >= interval * 6 / 5 * 4, "{timing:?}: {interval} ms");
        }
    }
}
