//! Counts for metrics: what the core did since it was last asked. They decide nothing.

use crate::serf::Serf;

/// What happened since the last look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Of the layer below.
    pub swim: tribune_swim::Tally,
    /// Members that came back within a minute of their failure.
    pub flaps: u64,
    /// Measurements that could not be used for the own coordinate.
    pub coordinates_rejected: u64,
    /// Measurements of no time at all.
    pub zero_rtts: u64,
    /// Further copies of acks to own queries.
    pub duplicate_acks: u64,
    /// Further copies of answers to own queries.
    pub duplicate_answers: u64,
}

impl Serf {
    /// What happened since the last call.
    pub fn take_tally(&mut self) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.swim = self.swim.take_tally();
        tally
    }
}
