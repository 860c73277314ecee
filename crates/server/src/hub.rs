//! The watch hub: equal queries share one evaluation, and wake when their data changed.
//!
//! In: queries from readers; touched watch keys from the apply task, one call per published version. Out: shared
//! answers, and a wake-up of exactly the readers whose answer could have changed.
//!
//! A *group* stands for one query. It keeps the last answer while none of the keys that the evaluation consulted was
//! touched, so it is a cache as well as a parking lot. Whoever needs an answer that is gone evaluates it; others with the
//! same query wait for that one evaluation.
//!
//! Invariant: an answer kept in a group equals the evaluation in the current version. Publication and registration
//! both hold the hub's lock; a registration that comes after the publication it missed finds it in `recent` and keeps
//! nothing.
//!
//! Memory: a group is a few hundred bytes plus its answer. Groups with readers are bounded by the number of
//! connections; idle groups by [`IDLE_COST_MAX`], above which the longest unused go.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tribune_state::{ReadContext, WatchKey, WatchKeys};
use tribune_types::error::StateError;
use tribune_types::id::Index;
use tribune_types::kv::Key;
use tribune_types::query::{Query, Reply};

use crate::answer::Shared;
use crate::figures::ServiceReads;
use crate::store::Store;

/// Estimated bytes of answers kept without a reader.
const IDLE_COST_MAX: usize = 24 << 20;
/// An answer above this is not kept without a reader.
const IDLE_COST_EACH_MAX: usize = 8 << 20;
/// How many publications a registration can look back.
const RECENT_MAX: usize = 256;

/// Shares evaluations and wakes readers. One per server.
pub(crate) struct Hub {
    store: Arc<Store>,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    groups: HashMap<u64, Arc<Group>>,
    by_query: HashMap<Query, u64>,
    next_id: u64,
    watchers: Watchers,
    recent: VecDeque<(u64, Arc<[WatchKey]>)>,
    cost: usize,
    clock: u64,
}

struct Group {
    id: u64,
    query: Query,
    changed: Notify,
    /// Held while the query is evaluated, so that equal queries wait for one evaluation.
    evaluating: Mutex<()>,
    kept: Mutex<Kept>,
    /// Made by the first reader; `None` inside if nobody counts these.
    reads: OnceLock<Option<ServiceReads>>,
}

#[derive(Default)]
struct Kept {
    shared: Option<Arc<Shared>>,
    keys: WatchKeys,
    cost: usize,
    used: u64,
}

/// A reader's hold on a group. Dropping it lets the group go if nobody else needs it.
pub(crate) struct Watch<'a> {
    hub: &'a Hub,
    group: Arc<Group>,
}

/// An answer, and whether it can be waited upon.
pub(crate) struct Latest {
    /// The answer in a version not older than the call.
    pub(crate) shared: Arc<Shared>,
    /// A change after this answer will wake [`Watch::changed`] futures made before the call. If false, something
    /// changed meanwhile: ask again instead of waiting.
    pub(crate) registered: bool,
}

impl Hub {
    pub(crate) fn new(store: Arc<Store>) -> Hub {
        Hub {
            store,
            inner: Mutex::default(),
        }
    }

    /// Joins the group of a query, making it if needed.
    pub(crate) fn watch(&self, query: &Query) -> Watch<'_> {
        let mut inner = self.inner.lock();
        inner.clock += 1;
        let used = inner.clock;
        let found = inner
            .by_query
            .get(query)
            .and_then(|id| inner.groups.get(id))
            .cloned();
        let group = match found {
            Some(group) => group,
            None => inner.insert(query.clone()),
        };
        group.kept.lock().used = used;
        Watch { hub: self, group }
    }

    /// Tells the hub that `generation` was published and what it touched.
    pub(crate) fn on_published(&self, generation: u64, touched: Vec<WatchKey>) {
        let mut woken = Vec::new();
        {
            let mut inner = self.inner.lock();
            let touched: Arc<[WatchKey]> = touched.into();
            let mut hit = Vec::new();
            for key in touched.iter() {
                if matches!(key, WatchKey::Everything) {
                    hit.extend(inner.groups.keys().copied());
                    break;
                }
                inner.watchers.matching(key, &mut hit);
            }
            hit.sort_unstable();
            hit.dedup();
            for id in hit {
                inner.forget_answer(id, &mut woken);
            }
            inner.recent.push_back((generation, touched));
            if inner.recent.len() > RECENT_MAX {
                inner.recent.pop_front();
            }
        }
        for group in woken {
            group.changed.notify_waiters();
        }
    }

    /// Number of groups, for figures and tests.
    pub(crate) fn len(&self) -> usize {
        self.inner.lock().groups.len()
    }

    fn register(
        &self,
        group: &Arc<Group>,
        shared: &Arc<Shared>,
        keys: WatchKeys,
        generation: u64,
    ) -> bool {
        let mut inner = self.inner.lock();
        if inner
            .groups
            .get(&group.id)
            .is_none_or(|g| !Arc::ptr_eq(g, group))
        {
            return false;
        }
        let cost = estimate(shared.reply());
        let mut kept = group.kept.lock();
        if kept.keys != keys {
            for key in &kept.keys {
                inner.watchers.remove(key, group.id);
            }
            for key in &keys {
                inner.watchers.add(key, group.id);
            }
            kept.keys = keys;
        }
        if inner.touched_since(generation, &kept.keys) {
            return false;
        }
        inner.cost = inner.cost + cost - kept.cost;
        kept.cost = cost;
        kept.shared = Some(Arc::clone(shared));
        drop(kept);
        if inner.cost > IDLE_COST_MAX {
            inner.shed();
        }
        true
    }
}

impl Watch<'_> {
    /// The answer: the kept one, or a new evaluation.
    ///
    /// # Errors
    /// What the evaluation refuses, for instance a filter that does not compile.
    pub(crate) fn latest(&self, cx: &ReadContext<'_>) -> Result<Latest, StateError> {
        if let Some(shared) = self.group.kept.lock().shared.clone() {
            return Ok(Latest {
                shared,
                registered: true,
            });
        }
        let _one_at_a_time = self.group.evaluating.lock();
        if let Some(shared) = self.group.kept.lock().shared.clone() {
            return Ok(Latest {
                shared,
                registered: true,
            });
        }
        let published = self.hub.store.load();
        let mut keys = WatchKeys::new();
        let (reply, index) = published.version.read(&self.group.query, cx, &mut keys)?;
        let shared = Arc::new(Shared::new(reply, index));
        let registered = self
            .hub
            .register(&self.group, &shared, keys, published.generation);
        Ok(Latest { shared, registered })
    }

    /// Counts a read that gave this answer.
    pub(crate) fn count(&self, shared: &Shared) {
        let query = &self.group.query;
        if let Some(reads) = self.group.reads.get_or_init(|| ServiceReads::of(query)) {
            reads.count(shared.reply());
        }
    }

    /// Resolves when the answer was touched after this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.group.changed.notified()
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        // The map's reference and this one: nobody else reads. Checked again under the lock.
        if Arc::strong_count(&self.group) <= 2 {
            let keep = {
                let kept = self.group.kept.lock();
                kept.shared.is_some() && kept.cost <= IDLE_COST_EACH_MAX
            };
            if !keep {
                let mut inner = self.hub.inner.lock();
                if Arc::strong_count(&self.group) <= 2 {
                    inner.remove(self.group.id);
                }
            }
        }
    }
}

impl Inner {
    fn insert(&mut self, query: Query) -> Arc<Group> {
        let id = self.next_id;
        self.next_id += 1;
        let group = Arc::new(Group {
            id,
            query: query.clone(),
            changed: Notify::new(),
            evaluating: Mutex::new(()),
            kept: Mutex::default(),
            reads: OnceLock::new(),
        });
        self.by_query.insert(query, id);
        self.groups.insert(id, Arc::clone(&group));
        group
    }

    fn forget_answer(&mut self, id: u64, woken: &mut Vec<Arc<Group>>) {
        let Some(group) = self.groups.get(&id) else {
            return;
        };
        let had_answer = {
            let mut kept = group.kept.lock();
            self.cost -= kept.cost;
            kept.cost = 0;
            kept.shared.take().is_some()
        };
        if Arc::strong_count(group) == 1 {
            self.remove(id);
        } else if had_answer {
            woken.push(Arc::clone(group));
        }
    }

    fn remove(&mut self, id: u64) {
        let Some(group) = self.groups.remove(&id) else {
            return;
        };
        self.by_query.remove(&group.query);
        let mut kept = group.kept.lock();
        self.cost -= kept.cost;
        kept.cost = 0;
        kept.shared = None;
        for key in std::mem::take(&mut kept.keys) {
            self.watchers.remove(&key, id);
        }
    }

    /// Drops the longest unused answers without readers until half of the allowance is free.
    fn shed(&mut self) {
        let mut idle: Vec<(u64, u64)> = self
            .groups
            .values()
            .filter(|group| Arc::strong_count(group) == 1)
            .map(|group| (group.kept.lock().used, group.id))
            .collect();
        idle.sort_unstable();
        for (_, id) in idle {
            if self.cost <= IDLE_COST_MAX / 2 {
                break;
            }
            self.remove(id);
        }
    }

    fn touched_since(&self, generation: u64, keys: &WatchKeys) -> bool {
        let newest = self.recent.back().map_or(0, |(g, _)| *g);
        if newest <= generation {
            return false;
        }
        if self
            .recent
            .front()
            .is_none_or(|(oldest, _)| *oldest > generation + 1)
        {
            return true;
        }
        self.recent
            .iter()
            .filter(|(g, _)| *g > generation)
            .any(|(_, touched)| keys.woken_by(touched))
    }
}

/// Which groups consulted which keys.
#[derive(Default)]
struct Watchers {
    keys: BTreeMap<Key, Vec<u64>>,
    prefixes: BTreeMap<Key, Vec<u64>>,
    /// How many watched prefixes have a length: a touched key looks only at those.
    prefix_lens: BTreeMap<usize, usize>,
    other: HashMap<WatchKey, Vec<u64>>,
}

impl Watchers {
    fn add(&mut self, key: &WatchKey, id: u64) {
        match key {
            WatchKey::KvKey(key) => self.keys.entry(key.clone()).or_default().push(id),
            WatchKey::KvPrefix(prefix) => {
                let ids = self.prefixes.entry(prefix.clone()).or_default();
                if ids.is_empty() {
                    *self.prefix_lens.entry(prefix.len()).or_default() += 1;
                }
                ids.push(id);
            }
            other => self.other.entry(other.clone()).or_default().push(id),
        }
    }

    fn remove(&mut self, key: &WatchKey, id: u64) {
        match key {
            WatchKey::KvKey(key) => {
                if let Some(ids) = self.keys.get_mut(key) {
                    take_out(ids, id);
                    if ids.is_empty() {
                        self.keys.remove(key);
                    }
                }
            }
            WatchKey::KvPrefix(prefix) => {
                if let Some(ids) = self.prefixes.get_mut(prefix) {
                    take_out(ids, id);
                    if ids.is_empty() {
                        self.prefixes.remove(prefix);
                        if let Some(count) = self.prefix_lens.get_mut(&prefix.len()) {
                            *count -= 1;
                            if *count == 0 {
                                self.prefix_lens.remove(&prefix.len());
                            }
                        }
                    }
                }
            }
            other => {
                if let Some(ids) = self.other.get_mut(other) {
                    take_out(ids, id);
                    if ids.is_empty() {
                        self.other.remove(other);
                    }
                }
            }
        }
    }

    /// Collects the groups that a touch concerns. Must agree with [`WatchKey::wakes`].
    fn matching(&self, touched: &WatchKey, out: &mut Vec<u64>) {
        match touched {
            WatchKey::KvKey(key) => {
                out.extend(self.keys.get(key).into_iter().flatten());
                self.prefixes_of(key, key.len(), out);
            }
            WatchKey::KvPrefix(gone) => {
                for (key, ids) in self.keys.range(gone.clone()..) {
                    if !key.starts_with(gone) {
                        break;
                    }
                    out.extend(ids);
                }
                for (prefix, ids) in self.prefixes.range(gone.clone()..) {
                    if !prefix.starts_with(gone) {
                        break;
                    }
                    out.extend(ids);
                }
                self.prefixes_of(gone, gone.len(), out);
            }
            other => out.extend(self.other.get(other).into_iter().flatten()),
        }
    }

    fn prefixes_of(&self, key: &[u8], len_max: usize, out: &mut Vec<u64>) {
        for len in self.prefix_lens.range(..=len_max).map(|(len, _)| *len) {
            out.extend(self.prefixes.get(&key[..len]).into_iter().flatten());
        }
    }
}

fn take_out(ids: &mut Vec<u64>, id: u64) {
    if let Some(at) = ids.iter().position(|have| *have == id) {
        ids.swap_remove(at);
    }
}

/// Rough bytes of an answer with one rendered form.
fn estimate(reply: &Reply) -> usize {
    const PER_RECORD: usize = 600;
    match reply {
        Reply::Kv(entries) => entries
            .iter()
            .map(|e| 200 + e.key.len() * 2 + e.value.len() * 2)
            .sum(),
        Reply::Keys(keys) => keys.iter().map(|k| 40 + k.len() * 2).sum(),
        Reply::Sessions(list) => list.len() * PER_RECORD,
        Reply::Nodes(list) => list.len() * PER_RECORD,
        Reply::Services(list) => list.iter().map(|(_, tags)| 100 + tags.len() * 40).sum(),
        Reply::ServiceNodes(list) => list.len() * PER_RECORD * 2,
        Reply::NodeServices(found) => found
            .as_ref()
            .map_or(0, |(_, list)| list.len() * PER_RECORD),
        Reply::Checks(list) => list.len() * PER_RECORD,
        Reply::Instances(list) => list.iter().map(|i| PER_RECORD * (2 + i.checks.len())).sum(),
        Reply::NodeDump(list) => list
            .iter()
            .map(|n| PER_RECORD * (1 + n.services.len() + n.checks.len()))
            .sum(),
        Reply::Coordinates(list) => list.len() * 300,
        Reply::PreparedQueries(list) => list.len() * PER_RECORD,
        _ => 300,
    }
}

/// True for queries worth sharing even when they do not block: those with lists, whose rendering costs.
pub(crate) fn worth_sharing(query: &Query) -> bool {
    !matches!(
        query,
        Query::KvGet { .. }
            | Query::SessionGet { .. }
            | Query::PreparedQuery { .. }
            | Query::Reverse { .. }
            | Query::AutopilotConfig
    )
}

/// The index that an answer shows: never 0.
pub(crate) fn shown(index: Index) -> Index {
    index.max(Index(1))
}
