//! Metrics of a pool, by the names and kinds of Consul 1.8 (spec gossip.md section 10.10).
//!
//! In: tallies and figures of the core, and what the driver sends and hears. Out: the process' metrics. Timings and sizes
//! are samples: milliseconds and bytes. What the core counts is told at the driver's next look at the clock, at most a
//! probe interval later.
//!
//! Names of events and queries become parts of names of metrics, and anybody can invent names: only the first
//! [`NAMES_MAX`] are told apart.

use std::collections::BTreeSet;
use std::time::Duration;

use tribune_rt::millis;
use tribune_serf::{Stats, Tally};
use tribune_types::text::Text;

/// Names of events and queries that have a metric of their own.
const NAMES_MAX: usize = 64;
/// Longest of them.
const NAME_SIZE_MAX: usize = 128;
/// First bytes of the messages of the layer above that are spread, not sent to one member: leave, join, event, query.
const SPREAD: [u8; 4] = [0, 1, 3, 4];
/// First byte of a message of the layer above.
const USER: u8 = 8;

/// Names with a metric of their own.
#[derive(Debug, Default)]
pub(super) struct EventNames(BTreeSet<Text>);

impl EventNames {
    /// Counts an event.
    pub(super) fn event(&mut self, name: &Text) {
        metrics::counter!("serf.events").increment(1);
        if self.admits(name) {
            metrics::counter!(format!("serf.events.{name}")).increment(1);
        }
    }

    /// Counts a query of somebody.
    pub(super) fn query(&mut self, name: &Text) {
        metrics::counter!("serf.queries").increment(1);
        if self.admits(name) {
            metrics::counter!(format!("serf.queries.{name}")).increment(1);
        }
    }

    fn admits(&mut self, name: &Text) -> bool {
        if self.0.contains(name) {
            return true;
        }
        let admits = self.0.len() < NAMES_MAX && name.len() <= NAME_SIZE_MAX;
        if admits {
            self.0.insert(name.clone());
        }
        admits
    }
}

/// What the core counted since the last time.
pub(super) fn count(tally: &Tally) {
    let swim = &tally.swim;
    for (name, count) in [
        ("memberlist.msg.alive", swim.alive),
        ("memberlist.msg.suspect", swim.suspect),
        ("memberlist.msg.dead", swim.dead),
        ("memberlist.degraded.probe", swim.degraded_probes),
        ("memberlist.degraded.timeout", swim.degraded_timeouts),
        ("serf.member.flap", tally.flaps),
        ("serf.coordinate.rejected", tally.coordinates_rejected),
        ("serf.coordinate.zero-rtt", tally.zero_rtts),
        ("serf.query_duplicate_acks", tally.duplicate_acks),
        ("serf.query_duplicate_responses", tally.duplicate_answers),
    ] {
        // A counter that never counted is not shown.
        if count > 0 {
            metrics::counter!(name).increment(count);
        }
    }
    if let Some(took) = swim.probed {
        metrics::histogram!("memberlist.probeNode").record(millis(took));
    }
}

/// A look at what there is to gossip, and the sending of it.
pub(super) fn gossiped(took: Duration) {
    metrics::histogram!("memberlist.gossip").record(millis(took));
}

/// The parts of a datagram that is sent.
pub(super) fn sent(parts: &[impl AsRef<[u8]>]) {
    for part in parts {
        if let [USER, kind, ..] = part.as_ref()
            && SPREAD.contains(kind)
        {
            metrics::histogram!("serf.msgs.sent").record((part.as_ref().len() - 1) as f64);
        }
    }
}

/// Figures of the core as they are now.
pub(super) fn sample(stats: &Stats) {
    metrics::gauge!("memberlist.health.score").set(f64::from(stats.health_score));
    let names = ["serf.queue.Intent", "serf.queue.Event", "serf.queue.Query"];
    for (name, len) in names.into_iter().zip(stats.queued) {
        metrics::histogram!(name).record(len as f64);
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn invented_names_get_a_bounded_number_of_metrics() {
        let mut names = EventNames::default();
        assert!(!names.admits(&text(&"x".repeat(NAME_SIZE_MAX + 1))));
        for n in 0..NAMES_MAX {
            assert!(names.admits(&text(&n.to_string())));
        }
        assert!(!names.admits(&text("one more")));
        assert!(names.admits(&text("0")), "known ones stay");
        assert_eq!(names.0.len(), NAMES_MAX);
    }
}
