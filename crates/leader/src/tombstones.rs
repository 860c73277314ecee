//! Tombstone collection: when the marks of deleted keys may be forgotten.
//!
//! Deletes leave tombstones so that list indexes never go back. They are reaped 15 minutes later, in bins of 30 s
//! (rpc.md section 8.4): one command per bin instead of one per delete.

use std::collections::BTreeMap;
use std::time::Duration;

use tribune_types::id::Index;
use tribune_types::time::Mono;

/// How long a tombstone lives.
pub const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// Width of a bin.
pub const GRANULARITY: Duration = Duration::from_secs(30);

/// Bins of pending tombstones: when they end, and the highest index in them.
#[derive(Debug, Default)]
pub struct TombstoneGc {
    bins: BTreeMap<Mono, Index>,
}

impl TombstoneGc {
    /// Keys were deleted at `index`.
    pub fn on_delete(&mut self, now: Mono, index: Index) {
        let width = GRANULARITY.as_nanos() as u64;
        let end = Mono((now + LIFETIME).0.div_ceil(width).saturating_mul(width));
        let bin = self.bins.entry(end).or_default();
        *bin = (*bin).max(index);
    }

    /// The index up to which tombstones may be reaped now.
    pub fn due(&mut self, now: Mono) -> Option<Index> {
        let mut reap = None;
        while let Some(entry) = self.bins.first_entry() {
            if *entry.key() > now {
                break;
            }
            reap = reap.max(Some(entry.remove()));
        }
        reap
    }

    /// When `due` has work next.
    pub fn next_wake(&self) -> Option<Mono> {
        self.bins.keys().next().copied()
    }

    /// Forgets everything; leadership ended.
    pub fn clear(&mut self) {
        self.bins.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Mono {
        Mono(n * 1_000_000_000)
    }

    #[test]
    fn deletes_of_one_bin_are_reaped_together_after_their_lifetime() {
        let mut gc = TombstoneGc::default();
        gc.on_delete(secs(1), Index(5));
        gc.on_delete(secs(20), Index(9));
        gc.on_delete(secs(40), Index(12));
        assert_eq!(gc.next_wake(), Some(secs(930)));
        assert_eq!(gc.due(secs(929)), None);
        assert_eq!(gc.due(secs(930)), Some(Index(9)));
        assert_eq!(gc.due(secs(930)), None);
        assert_eq!(gc.due(secs(2000)), Some(Index(12)));
    }
}
