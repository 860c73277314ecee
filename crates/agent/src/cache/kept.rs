//! Answers that nothing refreshes: what has no index to wait for (spec agent.md section 4).
//!
//! In: a key, how new the answer must be, and how to find one. Out: the answer, whether it was at hand, and how long ago it
//! was found. What is too old is found anew, once for all that ask meanwhile: they share what one of them finds, or its
//! error, since each trying in turn would wait for all that fail before it.
//!
//! Memory: at most [`ENTRIES_MAX`] answers, the least used goes first; one that nobody asked for in three days goes as well.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;
use tribune_rt::Env;
use tribune_types::error::RpcError;
use tribune_types::time::Mono;

use super::names::{self, Names};
use super::{Cached, Freshness, UNUSED_MAX};

/// Answers at the same time.
pub(crate) const ENTRIES_MAX: usize = 1024;

/// The answers of one kind that an agent keeps.
pub(crate) struct Kept<K, V> {
    env: Env,
    names: &'static Names,
    entries: Mutex<HashMap<K, Arc<Entry<V>>>>,
}

struct Entry<V> {
    used: Mutex<Mono>,
    state: Mutex<State<V>>,
    /// Held by whoever finds it anew.
    finding: AsyncMutex<()>,
}

struct State<V> {
    kept: Option<(V, Mono)>,
    /// How often it was looked for.
    rounds: u64,
    /// Why the last look failed, if it did.
    error: Option<RpcError>,
}

impl<K: Clone + Eq + Hash, V: Clone> Kept<K, V> {
    /// Nothing is kept yet.
    pub(crate) fn new(env: &Env, names: &'static Names) -> Kept<K, V> {
        Kept {
            env: env.clone(),
            names,
            entries: Mutex::default(),
        }
    }

    /// The answer at hand, if it will do.
    pub(super) fn get_now(&self, key: &K, freshness: Freshness) -> Option<Cached<V>> {
        let entry = self.entries.lock().get(key).cloned()?;
        *entry.used.lock() = self.env.mono();
        self.hit(&entry, freshness)
    }

    /// The answer at hand if it will do, else what `find` finds. Cancel safe.
    ///
    /// # Errors
    /// Those of `find`, if nothing at hand will do instead.
    pub(crate) async fn get<F>(
        &self,
        key: K,
        freshness: Freshness,
        find: impl FnOnce() -> F,
    ) -> Result<Cached<V>, RpcError>
    where
        F: Future<Output = Result<V, RpcError>>,
    {
        let entry = self.entry(key);
        if let Some(hit) = self.hit(&entry, freshness) {
            return Ok(hit);
        }
        let (before, is_known) = {
            let state = entry.state.lock();
            (state.rounds, state.kept.is_some())
        };
        names::count(match is_known {
            true => self.names.waited,
            false => self.names.new,
        });
        let _finding = entry.finding.lock().await;
        let is_new = entry.state.lock().rounds != before;
        if !is_new {
            let found = find().await;
            self.names.count_fetch(found.is_ok());
            let now = self.env.mono();
            let mut state = entry.state.lock();
            state.rounds += 1;
            match found {
                Ok(value) => (state.kept, state.error) = (Some((value, now)), None),
                Err(err) => state.error = Some(err),
            }
        }
        let error = entry.state.lock().error.clone();
        match (error, self.shown(&entry, false)) {
            (None, Some(found)) => Ok(found),
            (error, _) => {
                let err = error.unwrap_or(RpcError::ShuttingDown);
                self.excuse(&entry, freshness).ok_or(err)
            }
        }
    }

    /// What will do although it could not be found anew.
    fn excuse(&self, entry: &Entry<V>, freshness: Freshness) -> Option<Cached<V>> {
        let excused = { freshness.stale_if_error }.filter(|excused| !excused.is_zero())?;
        let oldest = freshness
            .max_age
            .unwrap_or_default()
            .saturating_add(excused);
        self.at_hand(entry, Some(oldest))
    }

    fn hit(&self, entry: &Entry<V>, freshness: Freshness) -> Option<Cached<V>> {
        let hit = self.at_hand(entry, freshness.max_age)?;
        names::count(self.names.hit);
        Some(hit)
    }

    fn at_hand(&self, entry: &Entry<V>, max_age: Option<Duration>) -> Option<Cached<V>> {
        let hit = self.shown(entry, true)?;
        // Zero is an age that nothing has.
        let will_do = max_age.is_none_or(|max| hit.age <= max && !max.is_zero());
        will_do.then_some(hit)
    }

    fn shown(&self, entry: &Entry<V>, hit: bool) -> Option<Cached<V>> {
        let state = entry.state.lock();
        let (value, at) = state.kept.as_ref()?;
        Some(Cached {
            value: value.clone(),
            hit,
            age: self.env.mono().since(*at),
        })
    }

    fn entry(&self, key: K) -> Arc<Entry<V>> {
        let now = self.env.mono();
        let mut entries = self.entries.lock();
        if let Some(entry) = entries.get(&key) {
            *entry.used.lock() = now;
            return Arc::clone(entry);
        }
        let before = entries.len();
        entries.retain(|_, entry| now.since(*entry.used.lock()) < UNUSED_MAX);
        names::expired(before - entries.len());
        if entries.len() >= ENTRIES_MAX {
            let oldest = entries.iter().min_by_key(|(_, entry)| *entry.used.lock());
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                entries.remove(&oldest);
            }
        }
        let entry = Arc::new(Entry {
            used: Mutex::new(now),
            state: Mutex::new(State {
                kept: None,
                rounds: 0,
                error: None,
            }),
            finding: AsyncMutex::default(),
        });
        entries.insert(key, Arc::clone(&entry));
        names::entries_changed(entries.len() as f64 - before as f64);
        entry
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use tribune_rt::sim_block_on;

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    struct Bench {
        env: Env,
        kept: Kept<String, u64>,
        /// How often somebody looked.
        looked: AtomicU64,
    }

    impl Bench {
        /// Looking takes a second and finds its own number.
        async fn get(
            &self,
            key: &str,
            max_age: Option<u64>,
            stale_if_error: Option<u64>,
            works: bool,
        ) -> Result<(u64, bool, Duration), RpcError> {
            let freshness = Freshness {
                max_age: max_age.map(secs),
                stale_if_error: stale_if_error.map(secs),
            };
            let find = || async {
                let number = self.looked.fetch_add(1, Ordering::Relaxed);
                self.env.sleep(secs(1)).await;
                works.then_some(number).ok_or(RpcError::NoLeader)
            };
            let got = self.kept.get(key.to_owned(), freshness, find).await?;
            Ok((got.value, got.hit, got.age))
        }
    }

    /// Runs a test in virtual time.
    fn run<T: Future<Output = ()>>(test: impl FnOnce(Bench) -> T) {
        sim_block_on(1, |env| {
            test(Bench {
                kept: Kept::new(&env, &Names::PREPARED_QUERIES),
                env,
                looked: AtomicU64::new(0),
            })
        });
    }

    #[test]
    fn what_is_too_old_is_found_anew_and_the_rest_is_at_hand() {
        run(|b| async move {
            assert_eq!(b.get("q", None, None, true).await, Ok((0, false, secs(0))));
            b.env.sleep(secs(5)).await;
            // (key, longest age, what comes)
            for (key, max_age, want) in [
                ("q", None, (0, true, 5)),
                ("q", Some(5), (0, true, 5)),
                ("q", Some(4), (1, false, 0)),
                ("q", Some(0), (2, false, 0)),
                ("Q", None, (3, false, 0)),
                ("Q", Some(1), (3, true, 0)),
            ] {
                let (value, hit, age) = want;
                let got = b.get(key, max_age, None, true).await;
                assert_eq!(got, Ok((value, hit, secs(age))), "{key} {max_age:?}");
            }
            let freshness = Freshness {
                max_age: Some(secs(3)),
                ..Freshness::default()
            };
            let now = |key: &str| b.kept.get_now(&key.to_owned(), freshness);
            assert!(now("Q").is_some_and(|got| got.hit && got.value == 3));
            b.env.sleep(secs(4)).await;
            assert!(now("Q").is_none() && now("unknown").is_none());
        });
    }

    #[test]
    fn all_that_ask_at_once_share_what_one_finds() {
        run(|b| async move {
            let ask = || b.get("q", Some(0), None, true);
            let got = tokio::join!(ask(), ask(), ask());
            assert_eq!(b.looked.load(Ordering::Relaxed), 1);
            for got in [got.0, got.1, got.2] {
                assert_eq!(got, Ok((0, false, secs(0))));
            }
        });
    }

    #[test]
    fn all_that_ask_at_once_share_a_failure_too_and_the_next_one_tries_again() {
        run(|b| async move {
            let began = b.env.mono();
            let ask = || b.get("q", None, None, false);
            let got = tokio::join!(ask(), ask(), ask());
            assert_eq!(b.env.mono().since(began), secs(1));
            assert_eq!(b.looked.load(Ordering::Relaxed), 1);
            for got in [got.0, got.1, got.2] {
                assert_eq!(got, Err(RpcError::NoLeader));
            }
            assert_eq!(b.get("q", None, None, true).await, Ok((1, false, secs(0))));
        });
    }

    #[test]
    fn who_gives_up_while_finding_leaves_it_to_the_next() {
        run(|b| async move {
            let half = secs(1) / 2;
            let (gave_up, got) = tokio::join!(
                b.env.timeout(half, b.get("q", None, None, true)),
                b.get("q", None, None, true)
            );
            assert!(gave_up.is_err());
            assert_eq!(got, Ok((1, false, secs(0))));
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
            assert_eq!(old, Ok((1, true, secs(9))));
            let ever = b.get("q", Some(2), Some(u64::MAX), false).await;
            assert_eq!(ever, Ok((1, true, secs(10))));
        });
    }

    #[test]
    fn the_number_of_answers_is_bounded_and_unused_ones_go() {
        run(|b| async move {
            for n in 0..ENTRIES_MAX + 50 {
                b.kept.entry(n.to_string());
                b.env.sleep(Duration::from_millis(1)).await;
            }
            {
                let entries = b.kept.entries.lock();
                assert_eq!(entries.len(), ENTRIES_MAX);
                assert!(!entries.contains_key("7"));
            }
            b.env.sleep(UNUSED_MAX).await;
            b.kept.entry("new".to_owned());
            assert_eq!(b.kept.entries.lock().len(), 1);
        });
    }
}
