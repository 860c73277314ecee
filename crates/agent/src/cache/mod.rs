//! Answers kept on this agent and kept fresh by a query that waits in a server (spec agent.md section 4).
//!
//! In: a query that may be answered from the cache. Out: an answer, whether it was at hand, and how old it may be. The first
//! request for a query fetches it, and all that come meanwhile share the fetch; from then on a task per entry asks again
//! with the index of what is kept, so that an entry is as new as a blocking query. Entries that nobody asks for are given
//! up after three days; when there are too many, the one that was not asked for longest.
//!
//! What has no index to wait for ([`Query::Datacenters`], what prepared queries found) is [`Kept`] as it is, and asked again
//! when a request wants it newer.
//!
//! Memory: an entry, its task and its place in a server for each query that was asked, at most [`ENTRIES_MAX`].

mod entry;
mod kept;
mod names;
mod refresh;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tribune_config::Config;
use tribune_rt::{Env, TaskGroup};
use tribune_types::caller::{Caller, Token};
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::query::{Query, ReadOptions};
use tribune_types::text::Text;

use crate::Answer;
use crate::cluster::Cluster;
use entry::Entry;
pub(crate) use kept::Kept;
pub(crate) use names::Names;

/// Entries at the same time.
const ENTRIES_MAX: usize = 4096;
/// Longest wait for a change, and the one of a request that names none.
const WAIT_MAX: Duration = Duration::from_secs(10 * 60);

/// Asks the servers.
type Fetch = Box<
    dyn Fn(
            Caller,
            Query,
            ReadOptions,
        ) -> Pin<Box<dyn Future<Output = Result<Answer, RpcError>> + Send>>
        + Send
        + Sync,
>;

/// What nobody asked for in this time is given up.
const UNUSED_MAX: Duration = Duration::from_secs(72 * 60 * 60);

/// An answer from a cache.
#[derive(Debug, Clone)]
pub struct Cached<V = Answer> {
    /// The answer.
    pub value: V,
    /// It was at hand, nobody was asked or waited for.
    pub hit: bool,
    /// How long ago it was known to be current; zero while the query that keeps it fresh waits in a server.
    pub age: Duration,
}

/// How new an answer must be. Only for what is not kept fresh anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Freshness {
    /// Found no longer ago than this; `None` is any age, zero is now.
    pub max_age: Option<Duration>,
    /// If it cannot be found anew, so much older will do.
    pub stale_if_error: Option<Duration>,
}

/// What makes requests share an entry.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    query: Query,
    datacenter: Option<Text>,
    token: Token,
}

impl Key {
    fn new(caller: &Caller, query: &Query, options: &ReadOptions) -> Key {
        Key {
            query: query.clone(),
            datacenter: options.datacenter.clone(),
            token: caller.token.clone(),
        }
    }

    /// A task keeps it fresh.
    fn is_refreshed(&self) -> bool {
        !matches!(self.query, Query::Datacenters)
    }

    fn metrics(&self) -> &'static Names {
        match self.query {
            Query::Services { .. } => &Names::LIST_SERVICES,
            Query::ServiceNodes(_) => &Names::SERVICES,
            Query::ServiceHealth { .. } => &Names::HEALTH,
            _ => &Names::OTHER,
        }
    }
}

/// The cache of an agent. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Cache(Arc<Inner>);

struct Inner {
    env: Env,
    tasks: TaskGroup,
    fetch: Fetch,
    entries: Mutex<HashMap<Key, Arc<Entry>>>,
    rate: Mutex<Rate>,
    /// What nothing refreshes.
    kept: Kept<Key, Answer>,
}

/// How often one entry may be fetched.
#[derive(Clone, Copy)]
struct Rate {
    per_second: Option<f64>,
    burst: u32,
}

impl Rate {
    fn of(config: &Config) -> Rate {
        Rate {
            per_second: config.reloadable.cache_entry_fetch_rate,
            burst: config.reloadable.cache_entry_fetch_burst,
        }
    }
}

impl Cache {
    /// An empty cache in front of `cluster`.
    pub(crate) fn new(
        env: &Env,
        tasks: &TaskGroup,
        cluster: Arc<Cluster>,
        config: &Config,
    ) -> Cache {
        let fetch = move |caller, query, options| {
            let cluster = Arc::clone(&cluster);
            let read = async move { cluster.read(&caller, query, &options).await };
            Box::pin(read) as Pin<Box<dyn Future<Output = _> + Send>>
        };
        Cache::with(env, tasks, Box::new(fetch), Rate::of(config))
    }

    fn with(env: &Env, tasks: &TaskGroup, fetch: Fetch, rate: Rate) -> Cache {
        Cache(Arc::new(Inner {
            env: env.clone(),
            tasks: tasks.clone(),
            fetch,
            entries: Mutex::default(),
            rate: Mutex::new(rate),
            kept: Kept::new(env, &Names::DATACENTERS),
        }))
    }

    /// Takes in new limits, for fetches from now on.
    pub(crate) fn reload(&self, config: &Config) {
        *self.0.rate.lock() = Rate::of(config);
    }

    /// The answer at hand, if it will do.
    pub(crate) fn get_now(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
        freshness: Freshness,
    ) -> Option<Cached> {
        let key = Key::new(caller, query, options);
        match key.is_refreshed() {
            true => self.at_hand(&key, options.min_index),
            false => self.0.kept.get_now(&key, freshness),
        }
    }

    /// The answer, fetched or waited for if it must be. Cancel safe.
    ///
    /// # Errors
    /// There is none at hand that will do, and fetching one failed, in the words of that.
    pub(crate) async fn get(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
        freshness: Freshness,
    ) -> Result<Cached, RpcError> {
        let key = Key::new(caller, query, options);
        if !key.is_refreshed() {
            let find = || refresh::ask(&self.0, &key, Index(0));
            return self.0.kept.get(key.clone(), freshness, find).await;
        }
        let min_index = options.min_index;
        if let Some(hit) = self.at_hand(&key, min_index) {
            return Ok(hit);
        }
        let env = &self.0.env;
        let wait = { options.wait }
            .filter(|wait| !wait.is_zero())
            .unwrap_or(WAIT_MAX);
        let deadline = env.mono() + wait.min(WAIT_MAX);
        let (entry, is_new) = self.entry(&key);
        let failures = entry.failures();
        let names = key.metrics();
        names::count(if is_new { names.new } else { names.waited });
        loop {
            let mut changed = pin!(entry.changed());
            // Enabled before the look, so that no change falls between.
            changed.as_mut().enable();
            let kept = entry.kept(env.mono());
            if let Some(cached) = kept.as_ref().filter(|kept| is_above(kept, min_index)) {
                return Ok(cached.clone());
            }
            if let Some(err) = entry.failed_since(failures) {
                return Err(err);
            }
            match kept {
                // The first fetch has a limit of its own.
                None => tokio::select! {
                    biased;
                    () = changed => {}
                    // Given up for others, or because the agent stops: nobody fetches for it any more.
                    () = entry.ended() => return ask_once(&self.0, &key).await,
                },
                Some(cached) => {
                    let left = deadline.since(env.mono());
                    if env.timeout(left, changed).await.is_err() {
                        return Ok(cached);
                    }
                }
            }
        }
    }

    fn at_hand(&self, key: &Key, min_index: Index) -> Option<Cached> {
        let now = self.0.env.mono();
        let entry = self.0.entries.lock().get(key).cloned()?;
        entry.touch(now);
        let mut cached = entry.kept(now).filter(|kept| is_above(kept, min_index))?;
        names::count(key.metrics().hit);
        cached.hit = true;
        Some(cached)
    }

    /// The entry for `key`, and whether it had to be made, with its task.
    fn entry(&self, key: &Key) -> (Arc<Entry>, bool) {
        let now = self.0.env.mono();
        let mut entries = self.0.entries.lock();
        if let Some(entry) = entries.get(key) {
            entry.touch(now);
            return (Arc::clone(entry), false);
        }
        let before = entries.len();
        if before >= ENTRIES_MAX {
            let oldest = { entries.iter() }
                .min_by_key(|(_, entry)| entry.used())
                .map(|(key, _)| key.clone());
            if let Some(gone) = oldest.and_then(|key| entries.remove(&key)) {
                gone.end();
            }
        }
        let entry = Arc::new(Entry::new(now, &self.0.tasks));
        entries.insert(key.clone(), Arc::clone(&entry));
        names::entries_changed(entries.len() as f64 - before as f64);
        drop(entries);
        let run = refresh::run(Arc::clone(&self.0), key.clone(), Arc::clone(&entry));
        self.0.tasks.spawn("cache-entry", run);
        (entry, true)
    }
}

impl Inner {
    /// Forgets an entry, unless another has taken its place.
    fn remove(&self, key: &Key, entry: &Arc<Entry>) {
        let mut entries = self.entries.lock();
        if entries
            .get(key)
            .is_some_and(|there| Arc::ptr_eq(there, entry))
        {
            entries.remove(key);
            names::entries_changed(-1.0);
        }
    }
}

/// An answer that is not kept.
async fn ask_once(cache: &Inner, key: &Key) -> Result<Cached, RpcError> {
    let value = refresh::ask(cache, key, Index(0)).await?;
    Ok(Cached {
        value,
        hit: false,
        age: Duration::ZERO,
    })
}

fn is_above(cached: &Cached, min_index: Index) -> bool {
    min_index.0 == 0 || cached.value.meta.index > min_index
}
