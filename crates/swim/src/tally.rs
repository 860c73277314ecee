//! Counts for metrics: what the core did since it was last asked. They decide nothing.

use std::time::Duration;

use crate::swim::Swim;

/// What happened since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Nodes that were said to be alive, believed and passed on.
    pub alive: u64,
    /// Nodes that became suspects.
    pub suspect: u64,
    /// Nodes that were buried or left.
    pub dead: u64,
    /// Probes that take longer because the local node doubts itself.
    pub degraded_probes: u64,
    /// Burials that fewer nodes confirmed than were waited for.
    pub degraded_timeouts: u64,
    /// How long the last probe took that ended, answered or not.
    pub probed: Option<Duration>,
}

impl Swim {
    /// What happened since the last call.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }
}
