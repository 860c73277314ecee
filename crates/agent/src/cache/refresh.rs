//! The task of an entry: fetches it, and again whenever it changes.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tribune_local::RateLimit;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::query::{Consistency, ReadOptions};

use super::entry::Entry;
use super::{Inner, Key, UNUSED_MAX, names};
use crate::Answer;

/// How long a query waits for a change before it asks again.
const FETCH_WAIT: Duration = Duration::from_secs(10 * 60);
/// Failures in a row after which there are pauses.
const FAILURES_FREE: u32 = 3;
/// Longest pause, before its random part.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// A query that did not fail in this time waits in a server.
const CONNECTED_AFTER: Duration = Duration::from_secs(31);
/// Shortest time between two looks whether the rate allows a fetch.
const RATE_PAUSE_MIN: Duration = Duration::from_millis(1);

/// Keeps an entry until it is given up.
pub(super) async fn run(cache: Arc<Inner>, key: Key, entry: Arc<Entry>) {
    tokio::select! {
        biased;
        () = entry.ended() => {}
        () = keep(&cache, &key, &entry) => {}
    }
    cache.remove(&key, &entry);
}

async fn keep(cache: &Inner, key: &Key, entry: &Arc<Entry>) {
    let names = key.metrics();
    let (mut index, mut failures) = (Index(0), 0);
    let mut rate = {
        let rate = *cache.rate.lock();
        RateLimit::new(rate.per_second, rate.burst)
    };
    loop {
        admit(cache, &mut rate).await;
        match fetch(cache, key, index, entry).await {
            Ok(answer) => {
                names.count_fetch(true);
                let new = answer.meta.index;
                // An index that went back counts from the beginning.
                index = if new < index { Index(0) } else { new };
                failures = 0;
                entry.set(answer);
            }
            Err(err) => {
                names.count_fetch(false);
                if !entry.fail(err, cache.env.mono()) {
                    // Whoever asks next tries again.
                    cache.remove(key, entry);
                    return;
                }
                failures += 1;
                let pause = pause(failures);
                cache.env.sleep(pause + cache.env.jitter(pause)).await;
            }
        }
        if cache.env.mono().since(entry.used()) > UNUSED_MAX {
            names::expired(1);
            return;
        }
    }
}

async fn admit(cache: &Inner, rate: &mut RateLimit) {
    let limits = *cache.rate.lock();
    rate.set(limits.per_second, limits.burst);
    while !rate.admit(cache.env.mono()) {
        let per_second = limits.per_second.unwrap_or(f64::INFINITY);
        let pause = Duration::try_from_secs_f64(1.0 / per_second).unwrap_or(PAUSE_MAX);
        cache
            .env
            .sleep(pause.clamp(RATE_PAUSE_MIN, PAUSE_MAX))
            .await;
    }
}

/// Asks for something newer than `index`. Any server may answer: what is kept is as old as it happens to be anyway.
pub(super) async fn ask(cache: &Inner, key: &Key, index: Index) -> Result<Answer, RpcError> {
    let caller = Caller {
        token: key.token.clone(),
        addr: None,
    };
    let options = ReadOptions {
        datacenter: key.datacenter.clone(),
        min_index: index,
        wait: (index.0 > 0).then_some(FETCH_WAIT),
        consistency: Consistency::Stale,
        max_stale: None,
    };
    (cache.fetch)(caller, key.query.clone(), options).await
}

/// As [`ask`], and tells the entry when that waits in a server.
async fn fetch(cache: &Inner, key: &Key, index: Index, entry: &Entry) -> Result<Answer, RpcError> {
    let mut asked = pin!(ask(cache, key, index));
    match cache.env.timeout(CONNECTED_AFTER, asked.as_mut()).await {
        Ok(answer) => answer,
        Err(_) => {
            entry.found();
            asked.await
        }
    }
}

/// Pause after so many failures in a row, without its random part.
fn pause(failures: u32) -> Duration {
    match failures.checked_sub(FAILURES_FREE + 1) {
        None => Duration::ZERO,
        Some(more) => Duration::from_secs(1)
            .saturating_mul(2u32.saturating_pow(more + 1))
            .min(PAUSE_MAX),
    }
}
