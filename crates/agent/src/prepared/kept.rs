//! What prepared queries found lately, for requests that take an answer from the agent's cache (spec agent.md section 4).
//!
//! In: a request that may be answered so, and how new the answer must be. Out: what was found, whether it was at hand, and
//! how long ago that was. Nothing keeps entries fresh: what is too old is found anew, once for all that ask meanwhile, from
//! any server. Who asks and from where does not count: distances are those of the first who asked.
//!
//! Memory: at most [`ENTRIES_MAX`] outcomes, the least used goes first; one that nobody asked for in three days goes as well.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tribune_rt::Env;
use tribune_types::caller::{Caller, Token};
use tribune_types::error::RpcError;
use tribune_types::prepared::{ExecuteQuery, ExecutedQuery};
use tribune_types::query::ReadOptions;
use tribune_types::text::Text;
use tribune_types::time::Mono;

/// Entries at the same time.
const ENTRIES_MAX: usize = 1024;
/// Entries that nobody asks for are kept so long.
const UNUSED_MAX: Duration = Duration::from_secs(72 * 3600);

/// How new an outcome must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExecutedFreshness {
    /// Found no longer ago than this; `None` is any age, zero is now.
    pub max_age: Option<Duration>,
    /// If it cannot be found anew, so much older will do.
    pub stale_if_error: Option<Duration>,
}

/// An outcome from the cache.
#[derive(Debug, Clone)]
pub struct CachedExecution {
    /// What was found.
    pub executed: Arc<ExecutedQuery>,
    /// It was at hand, nobody was asked.
    pub hit: bool,
    /// How long ago it was found.
    pub age: Duration,
}

/// What makes requests share an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    name: Text,
    limit: i64,
    connect: bool,
    datacenter: Option<Text>,
    token: Token,
}

#[derive(Clone)]
struct Kept {
    executed: Arc<ExecutedQuery>,
    at: Mono,
}

struct Entry {
    used: Mutex<Mono>,
    kept: Mutex<Option<Kept>>,
    /// Held by whoever finds it anew.
    finding: AsyncMutex<()>,
}

/// The outcomes that an agent keeps.
pub(crate) struct Executions {
    env: Env,
    entries: Mutex<HashMap<Key, Arc<Entry>>>,
}

impl Executions {
    pub(crate) fn new(env: &Env) -> Executions {
        Executions {
            env: env.clone(),
            entries: Mutex::default(),
        }
    }

    /// The outcome at hand if it will do, else what `find` finds. Cancel safe.
    ///
    /// # Errors
    /// Those of `find`, if nothing at hand will do instead.
    pub(super) async fn get<F>(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
        freshness: ExecutedFreshness,
        find: impl FnOnce() -> F,
    ) -> Result<CachedExecution, RpcError>
    where
        F: Future<Output = Result<ExecutedQuery, RpcError>>,
    {
        let entry = self.entry(Key {
            name: request.name.clone(),
            limit: request.limit,
            connect: request.connect,
            datacenter: options.datacenter.clone(),
            token: caller.token.clone(),
        });
        let before = entry.kept.lock().clone();
        if let Some(hit) = self.at_hand(&entry, freshness.max_age) {
            metrics::counter!("consul.cache.prepared-query.hit").increment(1);
            return Ok(hit);
        }
        let _finding = entry.finding.lock().await;
        // Somebody else may have found it meanwhile.
        let is_new = |kept: &Kept| {
            let old = before.as_ref().map(|before| &before.executed);
            old.is_none_or(|old| !Arc::ptr_eq(old, &kept.executed))
        };
        let kept = entry.kept.lock().clone();
        if let Some(kept) = kept.filter(is_new) {
            return Ok(self.shown(&kept, false));
        }
        metrics::counter!("consul.cache.prepared-query.miss_new").increment(1);
        match find().await {
            Ok(executed) => {
                let kept = Kept {
                    executed: Arc::new(executed),
                    at: self.env.mono(),
                };
                *entry.kept.lock() = Some(kept.clone());
                Ok(self.shown(&kept, false))
            }
            Err(err) => {
                let excused = freshness.stale_if_error.unwrap_or_default();
                let oldest = freshness.max_age.unwrap_or_default() + excused;
                let at_hand = self.at_hand(&entry, Some(oldest));
                at_hand.filter(|_| !excused.is_zero()).ok_or(err)
            }
        }
    }

    fn at_hand(&self, entry: &Entry, max_age: Option<Duration>) -> Option<CachedExecution> {
        let kept = entry.kept.lock().clone()?;
        let hit = self.shown(&kept, true);
        // Zero is an age that nothing has.
        let will_do = max_age.is_none_or(|max| hit.age <= max && !max.is_zero());
        will_do.then_some(hit)
    }

    fn shown(&self, kept: &Kept, hit: bool) -> CachedExecution {
        CachedExecution {
            executed: Arc::clone(&kept.executed),
            hit,
            age: self.env.mono().since(kept.at),
        }
    }

    fn entry(&self, key: Key) -> Arc<Entry> {
        let now = self.env.mono();
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(&key) {
            *entry.used.lock() = now;
            return Arc::clone(entry);
        }
        entries.retain(|_, entry| now.since(*entry.used.lock()) < UNUSED_MAX);
        if entries.len() >= ENTRIES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| *entry.used.lock());
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                entries.remove(&oldest);
            }
        }
        let entry = Arc::new(Entry {
            used: Mutex::new(now),
            kept: Mutex::default(),
            finding: AsyncMutex::default(),
        });
        entries.insert(key, Arc::clone(&entry));
        entry
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tribune_rt::sim_block_on;
    use tribune_types::text::text;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    struct Bench {
        env: Env,
        kept: Executions,
        found: AtomicU64,
    }

    impl Bench {
        async fn get(
            &self,
            name: &str,
            max_age: Option<u64>,
            stale_if_error: Option<u64>,
            works: bool,
        ) -> Result<(u64, bool, Duration), RpcError> {
            let request = ExecuteQuery {
                name: text(name),
                ..ExecuteQuery::default()
            };
            let freshness = ExecutedFreshness {
                max_age: max_age.map(secs),
                stale_if_error: stale_if_error.map(secs),
            };
            let find = || async {
                self.env.sleep(secs(1)).await;
                if !works {
                    return Err(RpcError::NoLeader);
                }
                Ok(ExecutedQuery {
                    failovers: self.found.fetch_add(1, Ordering::Relaxed),
                    ..ExecutedQuery::default()
                })
            };
            let (caller, options) = (Caller::internal(), ReadOptions::default());
            let got = self.kept.get(&caller, &request, &options, freshness, find);
            let got = got.await?;
            Ok((got.executed.failovers, got.hit, got.age))
        }
    }

    /// Runs a test in virtual time.
    fn run<T: Future<Output = ()>>(test: impl FnOnce(Bench) -> T) {
        sim_block_on(1, |env| {
            test(Bench {
                kept: Executions::new(&env),
                env,
                found: AtomicU64::new(0),
            })
        });
    }

    #[test]
    fn what_is_too_old_is_found_anew_and_the_rest_is_at_hand() {
        run(|b| async move {
            assert_eq!(b.get("q", None, None, true).await, Ok((0, false, secs(0))));
            b.env.sleep(secs(5)).await;
            assert_eq!(b.get("q", None, None, true).await, Ok((0, true, secs(5))));
            assert_eq!(
                b.get("q", Some(5), None, true).await,
                Ok((0, true, secs(5)))
            );
            assert_eq!(
                b.get("q", Some(4), None, true).await,
                Ok((1, false, secs(0)))
            );
            assert_eq!(
                b.get("q", Some(0), None, true).await,
                Ok((2, false, secs(0)))
            );
            assert_eq!(b.get("Q", None, None, true).await, Ok((3, false, secs(0))));
        });
    }

    #[test]
    fn all_that_ask_at_once_share_what_one_finds() {
        run(|b| async move {
            let ask = || b.get("q", Some(0), None, true);
            let got = tokio::join!(ask(), ask(), ask());
            assert_eq!(b.found.load(Ordering::Relaxed), 1);
            for got in [got.0, got.1, got.2] {
                assert_eq!(got, Ok((0, false, secs(0))));
            }
        });
    }

    #[test]
    fn an_error_is_excused_by_what_is_kept_as_far_as_the_request_says() {
        run(|b| async move {
            let failed = Err(RpcError::NoLeader);
            assert_eq!(b.get("q", None, Some(9), false).await, failed);
            assert!(b.get("q", None, None, true).await.is_ok());
            b.env.sleep(secs(5)).await;
            assert_eq!(b.get("q", Some(2), None, false).await, failed);
            b.env.sleep(secs(1)).await;
            // Trying takes a second, too.
            assert_eq!(b.get("q", Some(2), Some(3), false).await, failed);
            let old = b.get("q", Some(2), Some(30), false).await;
            assert_eq!(old, Ok((0, true, secs(9))));
        });
    }

    #[test]
    fn the_number_of_outcomes_is_bounded() {
        run(|b| async move {
            for n in 0..ENTRIES_MAX + 50 {
                b.kept.entry(Key {
                    name: text(&n.to_string()),
                    limit: 0,
                    connect: false,
                    datacenter: None,
                    token: Token::default(),
                });
                b.env.sleep(Duration::from_millis(1)).await;
            }
            let entries = b.kept.entries.lock();
            assert_eq!(entries.len(), ENTRIES_MAX);
            assert!(!entries.keys().any(|key| &*key.name == "7"));
        });
    }
}
