//! Metrics of the caches (agent.md section 11): how often an answer was at hand, was waited for, was fetched, per kind of
//! request and altogether.

/// Names of the counters of one kind of request.
pub(crate) struct Names {
    pub(super) hit: &'static str,
    pub(super) new: &'static str,
    pub(super) waited: &'static str,
    fetched: &'static str,
    failed: &'static str,
}

macro_rules! names {
    ($name:literal) => {
        Names {
            hit: concat!("consul.cache.", $name, ".hit"),
            new: concat!("consul.cache.", $name, ".miss_new"),
            waited: concat!("consul.cache.", $name, ".miss_block"),
            fetched: concat!("consul.cache.", $name, ".fetch_success"),
            failed: concat!("consul.cache.", $name, ".fetch_error"),
        }
    };
}

impl Names {
    pub(super) const LIST_SERVICES: Names = names!("catalog-list-services");
    pub(super) const SERVICES: Names = names!("catalog-services");
    pub(super) const HEALTH: Names = names!("health-services");
    pub(super) const DATACENTERS: Names = names!("catalog-datacenters");
    pub(crate) const PREPARED_QUERIES: Names = names!("prepared-query");
    pub(super) const OTHER: Names = names!("other");

    /// Counts a fetch.
    pub(super) fn count_fetch(&self, succeeded: bool) {
        let (all, kind) = match succeeded {
            true => ("consul.cache.fetch_success", self.fetched),
            false => ("consul.cache.fetch_error", self.failed),
        };
        count(all);
        count(kind);
    }
}

pub(super) fn count(name: &'static str) {
    metrics::counter!(name).increment(1);
}

/// Entries were given up because nobody asked for them.
pub(super) fn expired(entries: usize) {
    if entries > 0 {
        metrics::counter!("consul.cache.evict_expired").increment(entries as u64);
    }
}

/// There are so many more entries, over all caches.
pub(super) fn entries_changed(by: f64) {
    metrics::gauge!("consul.cache.entries_count").increment(by);
}
