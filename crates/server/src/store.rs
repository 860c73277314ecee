//! The published version of the state: one writer publishes, any number of readers keep what they took.

use arc_swap::ArcSwap;
use std::sync::Arc;

use tribune_state::Version;

/// A version of the state with its place in the sequence of versions.
#[derive(Clone)]
pub(crate) struct Published {
    /// The data.
    pub(crate) version: Version,
    /// Grows by one with each publication.
    pub(crate) generation: u64,
    /// Grows when the whole state was replaced; a blocking query that sees it grow answers at once.
    pub(crate) epoch: u64,
}

/// Where the current version is found.
pub(crate) struct Store {
    current: ArcSwap<Published>,
}

impl Store {
    /// Starts with generation 0.
    pub(crate) fn new(version: Version) -> Store {
        Store {
            current: ArcSwap::from_pointee(Published {
                version,
                generation: 0,
                epoch: 0,
            }),
        }
    }

    /// The current version. Wait-free; hold it briefly, it keeps old data alive.
    pub(crate) fn load(&self) -> arc_swap::Guard<Arc<Published>> {
        self.current.load()
    }

    /// Replaces the current version. Only the apply task calls this. Returns the new generation.
    pub(crate) fn publish(&self, version: Version, replaced: bool) -> u64 {
        let old = self.current.load();
        let generation = old.generation + 1;
        let epoch = old.epoch + u64::from(replaced);
        self.current.store(Arc::new(Published {
            version,
            generation,
            epoch,
        }));
        generation
    }
}
