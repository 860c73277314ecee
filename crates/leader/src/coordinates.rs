//! Coordinate updates: kept per node in memory and committed in batches (rpc.md section 8.9).

use std::collections::BTreeMap;

use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::text::Text;

/// Coordinates in one command.
pub const BATCH_SIZE: usize = 128;
/// Commands per round; what is above is dropped, the next update of each node comes soon.
pub const BATCHES_MAX: usize = 5;

/// Why a coordinate is refused. The texts reach clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CoordinateError {
    /// A component is not a finite number.
    #[error("invalid coordinate")]
    Invalid,
    /// Another number of dimensions.
    #[error("incompatible coordinate")]
    Incompatible,
}

/// The latest coordinate of each node since the last round. Bounded by the number of nodes that one round may commit,
/// times a margin for nodes that come and go.
#[derive(Debug, Default)]
pub struct CoordinateBatch {
    pending: BTreeMap<(Text, Text), CoordinateEntry>,
}

/// Entries kept between two rounds; updates of further nodes are dropped.
const PENDING_MAX: usize = BATCH_SIZE * BATCHES_MAX * 4;

impl CoordinateBatch {
    /// Takes an update; the latest of a node wins.
    pub fn on_update(&mut self, entry: CoordinateEntry) -> Result<(), CoordinateError> {
        if !entry.coord.is_valid() {
            return Err(CoordinateError::Invalid);
        }
        if !entry.coord.is_compatible(&Coordinate::default()) {
            return Err(CoordinateError::Incompatible);
        }
        let key = (entry.node.clone(), entry.segment.clone());
        if self.pending.len() < PENDING_MAX || self.pending.contains_key(&key) {
            self.pending.insert(key, entry);
        }
        Ok(())
    }

    /// Takes what one round may commit, in batches, and drops the surplus.
    pub fn take(&mut self) -> Vec<Vec<CoordinateEntry>> {
        let mut entries = std::mem::take(&mut self.pending).into_values();
        let mut batches = Vec::new();
        while batches.len() < BATCHES_MAX {
            let batch: Vec<_> = entries.by_ref().take(BATCH_SIZE).collect();
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
        batches
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tribune_types::text::text;

    fn entry(node: &str, x: f64) -> CoordinateEntry {
        let mut coord = Coordinate::default();
        coord.vec[0] = x;
        CoordinateEntry {
            node: text(node),
            segment: text(""),
            coord,
        }
    }

    #[test]
    fn the_latest_update_of_a_node_is_committed() {
        let mut batch = CoordinateBatch::default();
        batch.on_update(entry("a", 1.0)).unwrap();
        batch.on_update(entry("a", 2.0)).unwrap();
        assert_eq!(batch.take(), [vec![entry("a", 2.0)]]);
        assert!(batch.take().is_empty());
    }

    #[test]
    fn a_round_commits_at_most_five_batches_of_128() {
        let mut batch = CoordinateBatch::default();
        for n in 0..1000 {
            batch.on_update(entry(&format!("n{n}"), 1.0)).unwrap();
        }
        let sizes: Vec<_> = batch.take().iter().map(Vec::len).collect();
        assert_eq!(sizes, [128; 5]);
        assert!(batch.take().is_empty());
    }

    #[test]
    fn impossible_coordinates_are_refused() {
        let mut batch = CoordinateBatch::default();
        assert_eq!(
            batch.on_update(entry("a", f64::NAN)),
            Err(CoordinateError::Invalid)
        );
        let mut short = entry("a", 1.0);
        short.coord.vec.pop();
        assert_eq!(batch.on_update(short), Err(CoordinateError::Incompatible));
    }
}
