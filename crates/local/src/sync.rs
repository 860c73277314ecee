//! Anti-entropy: what the catalog lacks of this agent's services and checks, and what it has too much.
//!
//! Local changes mark items; [`Registry::next_push`] hands out one request at a time for a marked item, and several
//! may be on their way at once. [`Registry::on_push_result`] ends one. [`Registry::on_remote_view`] compares
//! everything with what the catalog says. Rules: spec agent.md sections 2.2 and 2.3.
//!
//! Invariants: an item is on its way at most once, so its changes arrive in order; a check never overtakes its
//! service; while the node itself is not in the catalog as it should be, exactly one request is on its way, and it
//! carries the node.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tribune_types::catalog::{
    CONSUL_SERVICE, Check, Deregister, Node, Register, SERF_HEALTH, Service,
};
use tribune_types::id::NodeId;
use tribune_types::text::{Text, TextMap};

use crate::hash::content_hash;
use crate::registry::{Registry, same_check, same_service};

/// This node as it registers itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInfo {
    /// Identity.
    pub id: NodeId,
    /// Name.
    pub name: Text,
    /// Address told to others.
    pub address: Text,
    /// Datacenter.
    pub datacenter: Text,
    /// `lan`, `wan` and so on.
    pub tagged_addresses: TextMap,
    /// Metadata.
    pub meta: TextMap,
}

/// A request to send.
#[derive(Debug, Clone, PartialEq)]
pub struct Push {
    /// What to send.
    pub item: PushItem,
    /// Token to send it with; empty means the agent's.
    pub token: Text,
    carried: Vec<(Key, u64)>,
    node: Option<u64>,
}

/// What a push sends.
#[derive(Debug, Clone, PartialEq)]
pub enum PushItem {
    /// Put into the catalog.
    Register(Box<Register>),
    /// Take out of the catalog. An answer that it is unknown there is as good as success.
    Deregister(Deregister),
}

/// How a push ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushResult {
    /// The catalog has it.
    Done,
    /// The token may not; not tried again before the next full comparison.
    Denied,
    /// Anything else; nothing more is handed out before [`Registry::retry`].
    Failed,
}

/// What the catalog says about this node.
#[derive(Debug, Clone, Copy)]
pub struct RemoteView<'a> {
    /// [`Registry::view_stamp`] from before the catalog was asked.
    pub stamp: u64,
    /// The node; `None` if it is unknown.
    pub node: Option<&'a Node>,
    /// Its services.
    pub services: &'a [Arc<Service>],
    /// Its checks.
    pub checks: &'a [Arc<Check>],
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    Service(Text),
    Check(Text),
}

/// Something that is gone here and perhaps not yet in the catalog.
#[derive(Debug)]
struct Tomb {
    token: Text,
    /// Service of a check.
    service: Text,
}

/// What is known about the catalog's side.
#[derive(Debug)]
pub(crate) struct SyncState {
    node: NodeInfo,
    node_dirty: bool,
    node_version: u64,
    node_in_flight: bool,
    /// Counts changes and confirmations.
    clock: u64,
    /// When an item last changed or was confirmed.
    versions: BTreeMap<Key, u64>,
    tombs: BTreeMap<Key, Tomb>,
    /// Service -> checks of it among the tombs.
    buried: BTreeMap<Text, BTreeSet<Text>>,
    dirty: BTreeSet<Key>,
    ready: BTreeSet<Key>,
    in_flight: BTreeSet<Key>,
    halted: bool,
    paused: u32,
    /// Local alias checks to evaluate; kept here to be filled while entries are borrowed.
    pub(crate) touched_aliases: BTreeSet<Text>,
}

impl SyncState {
    pub(crate) fn new(node: NodeInfo) -> SyncState {
        SyncState {
            node,
            node_dirty: true,
            node_version: 0,
            node_in_flight: false,
            clock: 0,
            versions: BTreeMap::new(),
            tombs: BTreeMap::new(),
            buried: BTreeMap::new(),
            dirty: BTreeSet::new(),
            ready: BTreeSet::new(),
            in_flight: BTreeSet::new(),
            halted: false,
            paused: 0,
            touched_aliases: BTreeSet::new(),
        }
    }

    pub(crate) fn node(&self) -> &NodeInfo {
        &self.node
    }

    pub(crate) fn is_check_synced(&self, id: &Text) -> bool {
        !self.dirty.contains(&Key::Check(id.clone()))
    }

    fn stamp(&mut self, key: &Key) -> u64 {
        self.clock += 1;
        self.versions.insert(key.clone(), self.clock);
        self.clock
    }

    fn is_pending(&self, key: &Key) -> bool {
        self.dirty.contains(key) || self.in_flight.contains(key)
    }

    /// True if nothing that changed up to `stamp` waits to be sent or for its answer.
    fn is_pushed(&self, stamp: u64) -> bool {
        let later = |key: &Key| {
            self.versions
                .get(key)
                .is_some_and(|version| *version > stamp)
        };
        self.dirty.iter().chain(&self.in_flight).all(later)
    }

    /// Marks an item to be sent and makes it ready unless something must go first.
    fn mark(&mut self, key: Key, service: Option<&Text>) {
        self.stamp(&key);
        self.dirty.insert(key.clone());
        self.make_ready(key, service);
    }

    fn make_ready(&mut self, key: Key, service: Option<&Text>) {
        let blocked =
            service.is_some_and(|id| !id.is_empty() && self.is_pending(&Key::Service(id.clone())));
        if !blocked && !self.in_flight.contains(&key) {
            self.ready.insert(key);
        }
    }

    fn unmark(&mut self, key: &Key) {
        self.dirty.remove(key);
        self.ready.remove(key);
    }

    fn bury(&mut self, key: &Key, tomb: Tomb) {
        if let Key::Check(id) = key {
            self.buried
                .entry(tomb.service.clone())
                .or_default()
                .insert(id.clone());
        }
        self.tombs.insert(key.clone(), tomb);
    }

    /// Removes a tomb; true if there was one.
    fn unbury(&mut self, key: &Key) -> bool {
        let Some(tomb) = self.tombs.remove(key) else {
            return false;
        };
        if let (Key::Check(id), Some(ids)) = (key, self.buried.get_mut(&tomb.service)) {
            ids.remove(id);
            if ids.is_empty() {
                self.buried.remove(&tomb.service);
            }
        }
        true
    }

    fn buried_checks(&self, service: &Text) -> Vec<Key> {
        self.buried
            .get(service)
            .into_iter()
            .flatten()
            .cloned()
            .map(Key::Check)
            .collect()
    }
}

impl Registry {
    /// Replaces the node's metadata.
    pub fn set_node_meta(&mut self, meta: TextMap) {
        if self.sync.node.meta != meta {
            self.sync.node.meta = meta;
            self.mark_node();
        }
    }

    /// This node as it registers itself.
    pub fn node(&self) -> &NodeInfo {
        &self.sync.node
    }

    fn mark_node(&mut self) {
        self.sync.clock += 1;
        self.sync.node_version = self.sync.clock;
        self.sync.node_dirty = true;
    }

    /// Hands out nothing until [`Registry::resume`]; calls nest.
    pub fn pause(&mut self) {
        self.sync.paused += 1;
    }

    /// Ends one [`Registry::pause`].
    pub fn resume(&mut self) {
        self.sync.paused = self.sync.paused.saturating_sub(1);
    }

    /// Allows pushes again after one failed.
    pub fn retry(&mut self) {
        self.sync.halted = false;
        let keys: Vec<Key> = self.sync.dirty.iter().cloned().collect();
        for key in keys {
            let service = self.service_of(&key);
            self.sync.make_ready(key, service.as_ref());
        }
    }

    /// A mark in time for [`RemoteView::stamp`].
    pub fn view_stamp(&self) -> u64 {
        self.sync.clock
    }

    /// True if [`Registry::next_push`] has something to hand out.
    pub fn has_push(&self) -> bool {
        let sync = &self.sync;
        let idle = sync.in_flight.is_empty() && !sync.node_in_flight;
        let open = !sync.halted && sync.paused == 0;
        open && if sync.node_dirty {
            idle
        } else {
            !sync.ready.is_empty()
        }
    }

    /// A moment in the order of changes, for [`Registry::is_pushed`].
    pub fn change_stamp(&self) -> u64 {
        self.sync.clock
    }

    /// True if the catalog has answered to everything that changed up to `stamp`. O(changes waiting).
    pub fn is_pushed(&self, stamp: u64) -> bool {
        self.sync.is_pushed(stamp)
    }

    /// Items that are not in the catalog as they should be.
    pub fn pending_count(&self) -> usize {
        self.sync.dirty.len() + usize::from(self.sync.node_dirty)
    }

    /// The next request to send.
    pub fn next_push(&mut self) -> Option<Push> {
        if !self.has_push() {
            return None;
        }
        let with_node = self.sync.node_dirty;
        let push = match self.sync.ready.pop_first() {
            Some(key) if self.sync.tombs.contains_key(&key) && with_node => {
                // The node goes first, alone: a removal cannot carry it.
                self.sync.ready.insert(key);
                self.node_push()
            }
            Some(key) if self.sync.tombs.contains_key(&key) => self.removal_push(key),
            Some(Key::Service(id)) => self.service_push(&id),
            Some(Key::Check(id)) => self.check_push(&id),
            None => self.node_push(),
        };
        if push.node.is_some() {
            self.sync.node_in_flight = true;
        }
        for (key, _) in &push.carried {
            self.sync.ready.remove(key);
            self.sync.in_flight.insert(key.clone());
        }
        for (key, _) in &push.carried {
            if let Key::Check(id) = key {
                self.cancel_deferred(id);
            }
        }
        Some(push)
    }

    /// Ends a push.
    pub fn on_push_result(&mut self, push: &Push, result: PushResult) {
        if push.node.is_some() {
            self.sync.node_in_flight = false;
        }
        if result == PushResult::Failed {
            self.sync.halted = true;
        } else if push
            .node
            .is_some_and(|version| version == self.sync.node_version)
        {
            self.sync.node_dirty = false;
        }
        for (key, _) in &push.carried {
            self.sync.in_flight.remove(key);
        }
        for (key, version) in &push.carried {
            if result != PushResult::Failed {
                self.confirm(key, *version);
            }
            if self.sync.dirty.contains(key) {
                let service = self.service_of(key);
                self.sync.make_ready(key.clone(), service.as_ref());
            }
            if let Key::Service(id) = key {
                self.release_checks(id);
            }
        }
    }

    /// Compares with the catalog. What changed here after the view was taken is left alone. True if a service took over
    /// tags from the catalog.
    pub fn on_remote_view(&mut self, view: &RemoteView<'_>) -> bool {
        let node_differs = view.node.is_none_or(|remote| !self.same_node(remote));
        if self.sync.node_version <= view.stamp && !self.sync.node_in_flight {
            if node_differs {
                self.mark_node();
            } else {
                self.sync.node_dirty = false;
            }
        }
        let adopted = self.compare_services(view);
        self.compare_checks(view);
        self.retry();
        adopted
    }

    fn same_node(&self, remote: &Node) -> bool {
        let own = &self.sync.node;
        remote.id == Some(own.id)
            && remote.tagged_addresses.as_ref().unwrap_or(&TextMap::new()) == &own.tagged_addresses
            && remote.meta.as_ref().unwrap_or(&TextMap::new()) == &own.meta
    }

    fn compare_services(&mut self, view: &RemoteView<'_>) -> bool {
        let mut adopted = false;
        let remote: BTreeMap<&Text, &Arc<Service>> =
            view.services.iter().map(|s| (&s.id, s)).collect();
        let local: Vec<Text> = self.services.keys().cloned().collect();
        for id in local {
            let key = Key::Service(id.clone());
            if self.is_newer(&key, view.stamp) {
                continue;
            }
            match remote.get(&id) {
                None => self.mark_service(&id),
                Some(theirs) => {
                    adopted |= self.adopt_tags(&id, theirs);
                    let same = self
                        .services
                        .get(&id)
                        .is_some_and(|e| same_service(&e.service, theirs));
                    if same {
                        self.sync.unmark(&key)
                    } else {
                        self.mark_service(&id)
                    }
                }
            }
        }
        self.drop_tombs(
            view.stamp,
            |key| matches!(key, Key::Service(id) if !remote.contains_key(id)),
        );
        for service in view.services {
            let own = self.options.server && &*service.id == CONSUL_SERVICE;
            let key = Key::Service(service.id.clone());
            if own || self.services.contains_key(&service.id) || self.sync.tombs.contains_key(&key)
            {
                continue;
            }
            if !self.is_newer(&key, view.stamp) {
                self.bury(
                    key,
                    Tomb {
                        token: Text::default(),
                        service: Text::default(),
                    },
                );
            }
        }
        adopted
    }

    fn compare_checks(&mut self, view: &RemoteView<'_>) {
        let remote: BTreeMap<&Text, &Arc<Check>> = view.checks.iter().map(|c| (&c.id, c)).collect();
        let with_output = self.options.update_interval.is_zero();
        let local: Vec<Text> = self.checks.keys().cloned().collect();
        for id in local {
            let key = Key::Check(id.clone());
            if self.is_newer(&key, view.stamp) {
                continue;
            }
            let same = match (remote.get(&id), self.checks.get(&id)) {
                (Some(theirs), Some(entry)) => same_check(&entry.check, theirs, with_output),
                _ => false,
            };
            if same {
                self.sync.unmark(&key)
            } else {
                self.sync_check_changed(&id)
            }
        }
        self.drop_tombs(
            view.stamp,
            |key| matches!(key, Key::Check(id) if !remote.contains_key(id)),
        );
        for check in view.checks {
            let key = Key::Check(check.id.clone());
            let known = self.checks.contains_key(&check.id) || self.sync.tombs.contains_key(&key);
            if &*check.id == SERF_HEALTH || known || self.is_newer(&key, view.stamp) {
                continue;
            }
            self.bury(
                key,
                Tomb {
                    token: Text::default(),
                    service: check.service_id.clone(),
                },
            );
        }
    }

    /// With tag override the catalog's tags win.
    fn adopt_tags(&mut self, id: &Text, theirs: &Service) -> bool {
        let Some(entry) = self.services.get_mut(id) else {
            return false;
        };
        if !entry.service.enable_tag_override || entry.service.tags == theirs.tags {
            return false;
        }
        Arc::make_mut(&mut entry.service).tags = theirs.tags.clone();
        entry.hash = content_hash(&entry.service);
        true
    }

    /// On its way, or changed or confirmed after the stamp.
    fn is_newer(&self, key: &Key, stamp: u64) -> bool {
        self.sync.in_flight.contains(key)
            || self
                .sync
                .versions
                .get(key)
                .is_some_and(|version| *version > stamp)
    }

    /// Forgets tombs the catalog does not have either.
    fn drop_tombs(&mut self, stamp: u64, gone: impl Fn(&Key) -> bool) {
        let keys: Vec<Key> = self
            .sync
            .tombs
            .keys()
            .filter(|key| gone(key) && !self.is_newer(key, stamp))
            .cloned()
            .collect();
        for key in keys {
            self.forget(&key);
        }
    }

    fn confirm(&mut self, key: &Key, version: u64) {
        if self.sync.versions.get(key) != Some(&version) {
            return;
        }
        self.sync.unmark(key);
        self.sync.stamp(key);
        if self.sync.tombs.contains_key(key) {
            self.forget(key);
            if let Key::Service(id) = key {
                // The catalog removed its checks with it.
                for key in self.sync.buried_checks(id) {
                    if !self.sync.in_flight.contains(&key) {
                        self.forget(&key);
                    }
                }
            }
        }
    }

    /// Removes every trace of an item that is gone on both sides.
    fn forget(&mut self, key: &Key) {
        self.sync.unmark(key);
        self.sync.unbury(key);
        self.sync.versions.remove(key);
    }

    /// Checks that waited for their service may go.
    fn release_checks(&mut self, service: &Text) {
        if self.sync.is_pending(&Key::Service(service.clone())) {
            return;
        }
        let own = self
            .services
            .get(service)
            .map(|entry| entry.checks.clone())
            .unwrap_or_default();
        let keys: Vec<Key> = own
            .into_iter()
            .map(Key::Check)
            .chain(self.sync.buried_checks(service))
            .collect();
        for key in keys {
            if self.sync.dirty.contains(&key) {
                self.sync.make_ready(key, None);
            }
        }
    }

    fn service_of(&self, key: &Key) -> Option<Text> {
        match key {
            Key::Service(_) => None,
            Key::Check(id) => self
                .checks
                .get(id)
                .map(|entry| entry.check.service_id.clone())
                .or_else(|| self.sync.tombs.get(key).map(|tomb| tomb.service.clone())),
        }
    }

    // --- called by the registry when something changes ----------------------------------------

    pub(crate) fn sync_service_put(&mut self, id: &Text, unchanged: bool) {
        let key = Key::Service(id.clone());
        let revived = self.sync.unbury(&key);
        if !unchanged || revived {
            self.mark_service(id);
        }
    }

    pub(crate) fn sync_check_put(&mut self, id: &Text, unchanged: bool) {
        let revived = self.sync.unbury(&Key::Check(id.clone()));
        if !unchanged || revived {
            self.sync_check_changed(id);
        }
    }

    pub(crate) fn sync_service_gone(&mut self, id: &Text, token: &Text) {
        self.bury(
            Key::Service(id.clone()),
            Tomb {
                token: token.clone(),
                service: Text::default(),
            },
        );
    }

    pub(crate) fn sync_check_gone(&mut self, id: &Text, service: &Text, token: &Text) {
        self.bury(
            Key::Check(id.clone()),
            Tomb {
                token: token.clone(),
                service: service.clone(),
            },
        );
    }

    pub(crate) fn sync_check_changed(&mut self, id: &Text) {
        let service = self
            .checks
            .get(id)
            .map(|entry| entry.check.service_id.clone());
        self.sync.mark(Key::Check(id.clone()), service.as_ref());
    }

    fn mark_service(&mut self, id: &Text) {
        self.sync.mark(Key::Service(id.clone()), None);
        // Its checks go with it or after it.
        if let Some(entry) = self.services.get(id) {
            for check in &entry.checks {
                self.sync.ready.remove(&Key::Check(check.clone()));
            }
        }
    }

    fn bury(&mut self, key: Key, tomb: Tomb) {
        let service = tomb.service.clone();
        self.sync.bury(&key, tomb);
        self.sync.mark(key, Some(&service));
    }

    // --- the requests ------------------------------------------------------------------------

    fn register(&mut self) -> (Register, Option<u64>) {
        let node = &self.sync.node;
        let skip_node_update = !self.sync.node_dirty;
        let register = Register {
            datacenter: node.datacenter.clone(),
            id: Some(node.id),
            node: node.name.clone(),
            address: node.address.clone(),
            tagged_addresses: Some(node.tagged_addresses.clone()),
            node_meta: Some(node.meta.clone()),
            service: None,
            checks: Vec::new(),
            skip_node_update,
        };
        (
            register,
            (!skip_node_update).then_some(self.sync.node_version),
        )
    }

    fn version(&self, key: &Key) -> u64 {
        self.sync.versions.get(key).copied().unwrap_or_default()
    }

    fn node_push(&mut self) -> Push {
        let (register, node) = self.register();
        Push {
            item: PushItem::Register(Box::new(register)),
            token: Text::default(),
            carried: Vec::new(),
            node,
        }
    }

    fn service_push(&mut self, id: &Text) -> Push {
        let (mut register, node) = self.register();
        let key = Key::Service(id.clone());
        let mut carried = vec![(key.clone(), self.version(&key))];
        let mut token = Text::default();
        if let Some(entry) = self.services.get(id) {
            token = entry.token.clone();
            register.service = Some((*entry.service).clone());
            for check_id in &entry.checks {
                let key = Key::Check(check_id.clone());
                if !self.sync.dirty.contains(&key) || self.sync.in_flight.contains(&key) {
                    continue;
                }
                if let Some(check) = self
                    .checks
                    .get(check_id)
                    .filter(|check| check.token == entry.token)
                {
                    register.checks.push((*check.check).clone());
                    carried.push((key.clone(), self.version(&key)));
                }
            }
        }
        Push {
            item: PushItem::Register(Box::new(register)),
            token,
            carried,
            node,
        }
    }

    fn check_push(&mut self, id: &Text) -> Push {
        let (mut register, node) = self.register();
        let key = Key::Check(id.clone());
        let mut token = Text::default();
        if let Some(entry) = self.checks.get(id) {
            token = entry.token.clone();
            register.checks.push((*entry.check).clone());
        }
        let carried = vec![(key.clone(), self.version(&key))];
        Push {
            item: PushItem::Register(Box::new(register)),
            token,
            carried,
            node,
        }
    }

    fn removal_push(&mut self, key: Key) -> Push {
        let node = &self.sync.node;
        let mut deregister = Deregister {
            datacenter: node.datacenter.clone(),
            node: node.name.clone(),
            service_id: Text::default(),
            check_id: Text::default(),
        };
        match &key {
            Key::Service(id) => deregister.service_id = id.clone(),
            Key::Check(id) => deregister.check_id = id.clone(),
        }
        let token = self
            .sync
            .tombs
            .get(&key)
            .map(|tomb| tomb.token.clone())
            .unwrap_or_default();
        let version = self.version(&key);
        Push {
            item: PushItem::Deregister(deregister),
            token,
            carried: vec![(key, version)],
            node: None,
        }
    }
}

#[cfg(test)]
mod tests;
