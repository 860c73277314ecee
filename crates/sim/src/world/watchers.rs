//! Watchers: blocking queries that must miss no change, and the writers of what they watch.
//!
//! A watcher asks again and again with the index that it was told last, and with a wait that is longer than the world: if
//! it is not woken, it never hears. In the end what each saw last is compared with what is there.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, ListOptions, Query, ReadOptions, Reply, ServiceQuery};
use tribune_types::text::text;
use tribune_types::write::Write;

use super::bug::Bug;
use super::clients::{Outside, Sent};

/// Longer than any world lasts.
const WAIT: Duration = Duration::from_secs(600);
/// Pause after a request that failed.
const RETRY: Duration = Duration::from_millis(150);
/// The prefix that is watched.
const PREFIX: &str = "watch/";
/// The service that is watched.
pub(super) const SERVICE: &str = "web";

/// What a watcher watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Keys of the prefix.
    Keys,
    /// Instances of the service, with their health.
    Service,
}

impl What {
    pub(super) fn query(self) -> Query {
        match self {
            What::Keys => Query::KvList {
                prefix: PREFIX.as_bytes().into(),
            },
            What::Service => Query::ServiceHealth {
                service: ServiceQuery {
                    name: text(SERVICE),
                    options: ListOptions::default(),
                    ..ServiceQuery::default()
                },
                passing_only: false,
            },
        }
    }
}

/// What a reply shows, in words that are equal for equal contents.
pub(super) fn content(reply: &Reply) -> String {
    match reply {
        Reply::Kv(entries) => entries
            .iter()
            .map(|entry| {
                format!(
                    "{}={}@{} ",
                    String::from_utf8_lossy(&entry.key),
                    String::from_utf8_lossy(&entry.value),
                    entry.modify
                )
            })
            .collect(),
        Reply::Instances(instances) => instances
            .iter()
            .map(|instance| {
                format!(
                    "{}/{}:{}@{} {:?} ",
                    instance.node.name,
                    instance.service.id,
                    instance.service.port,
                    instance.service.modify,
                    instance.status()
                )
            })
            .collect(),
        _ => "something else".to_owned(),
    }
}

/// What a watcher knows now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Known {
    pub(super) index: u64,
    pub(super) content: String,
    /// Answers so far.
    pub(super) answers: u64,
}

/// One watcher.
pub(super) struct Watcher {
    outside: Arc<Outside>,
    pub(super) name: String,
    pub(super) what: What,
    consistency: Consistency,
    pub(super) known: Mutex<Known>,
    rng: Mutex<SmallRng>,
}

impl Watcher {
    pub(super) fn new(outside: &Arc<Outside>, number: u32, seed: u64) -> Arc<Watcher> {
        let mut rng = SmallRng::seed_from_u64(seed ^ u64::from(number) << 48);
        let what = if number.is_multiple_of(3) {
            What::Service
        } else {
            What::Keys
        };
        let consistency = match rng.random_range(0..4) {
            0 => Consistency::Stale,
            1 => Consistency::Consistent,
            _ => Consistency::Default,
        };
        Arc::new(Watcher {
            outside: Arc::clone(outside),
            name: format!("watcher {number} of {what:?} {consistency:?}"),
            what,
            consistency,
            known: Mutex::default(),
            rng: Mutex::new(rng),
        })
    }

    /// Watches until dropped.
    pub(super) async fn run(self: Arc<Self>) {
        let mut agent = self.any_agent();
        loop {
            let min_index = self.known.lock().index;
            let ahead = if self.outside.bug == Some(Bug::DeafWatcher) && min_index > 40 {
                // The bug: it waits for an index beyond the one that it was told.
                1_000_000
            } else {
                0
            };
            let options = ReadOptions {
                min_index: Index(min_index + ahead),
                wait: Some(WAIT),
                consistency: self.consistency,
                ..ReadOptions::default()
            };
            let read = self.outside.read(agent, self.what.query(), options, WAIT);
            match read.await {
                Some((answer, _)) => {
                    let mut known = self.known.lock();
                    let index = answer.meta.index.0;
                    // An index that goes back is that of another server: begin anew, as clients are told to.
                    known.index = if index < known.index { 0 } else { index };
                    known.content = content(answer.reply());
                    known.answers += 1;
                }
                None => {
                    agent = self.any_agent();
                    self.outside.env.sleep(RETRY).await;
                }
            }
        }
    }

    fn any_agent(&self) -> usize {
        self.rng.lock().random_range(0..self.outside.slots.len())
    }
}

/// Writes what watchers watch, now and then, until the workload ends.
pub(super) async fn write_watched(outside: Arc<Outside>, seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0x77);
    let mut number = 0u64;
    while !outside.stop.is_cancelled() {
        number += 1;
        let agent = rng.random_range(0..outside.slots.len());
        let key = format!("{PREFIX}{}", rng.random_range(0..3));
        let op = if rng.random_bool(0.2) {
            KvOp::Delete
        } else {
            KvOp::Set
        };
        let entry = KvEntry {
            key: key.into_bytes().into(),
            value: number.to_string().into_bytes().into(),
            ..KvEntry::default()
        };
        let write = outside.write(agent, Write::Kv(op, entry));
        if let Sent::Not = write.await {
            outside.env.sleep(RETRY).await;
        }
        let pause = Duration::from_millis(rng.random_range(20..400));
        outside.env.sleep(pause).await;
    }
}
