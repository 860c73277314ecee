//! The context of one applied command: the tables it writes, its index, and what it reports.
//!
//! Operations of the areas (`catalog`, `kv`, `session`, `txn`) are methods of [`Change`] in their own modules. They may
//! fail half-way; who calls them puts the tables back then.

use std::sync::Arc;

use tribune_types::autopilot::AutopilotConfig;
use tribune_types::catalog::Service;
use tribune_types::coordinate::CoordinateEntry;
use tribune_types::id::Index;
use tribune_types::text::Text;

use crate::apply::Effect;
use crate::intern::{Interner, folded};
use crate::tables::{Place, Tables, connect_name, raise};
use crate::watch::WatchKey;

pub(crate) struct Change<'a> {
    pub(crate) tables: &'a mut Tables,
    pub(crate) interner: &'a mut Interner,
    pub(crate) index: Index,
    pub(crate) touched: Vec<WatchKey>,
    pub(crate) effects: Vec<Effect>,
}

impl<'a> Change<'a> {
    pub(crate) fn new(
        tables: &'a mut Tables,
        interner: &'a mut Interner,
        index: Index,
    ) -> Change<'a> {
        Change {
            tables,
            interner,
            index,
            touched: Vec::new(),
            effects: Vec::new(),
        }
    }

    pub(crate) fn touch(&mut self, key: WatchKey) {
        self.touched.push(key);
    }

    /// Tells the watchers of an instance that it, its node or its checks changed.
    pub(crate) fn touch_instance(&mut self, service: &Service) {
        let name = folded(&service.name);
        if let Some(row) = self.tables.service_rows.get_mut(&name) {
            raise(&mut row.index, self.index);
        }
        raise(self.tables.indexes.kind_mut(service.kind), self.index);
        self.touch(WatchKey::Service(name));
        if let Some(destination) = connect_name(service) {
            self.touch(WatchKey::Connect(destination));
        }
    }

    /// Same for all instances of a node.
    pub(crate) fn touch_instances_on(&mut self, node: &Text) {
        let services: Vec<Arc<Service>> = self
            .tables
            .services_on(node)
            .map(|(_, s)| s.clone())
            .collect();
        for service in &services {
            self.touch_instance(service);
        }
    }

    /// Stores coordinates; drops those of unknown nodes, broken ones, and those that change nothing.
    pub(crate) fn coordinates(&mut self, entries: Vec<CoordinateEntry>) {
        for entry in entries {
            let node = self.interner.folded(&entry.node);
            let place: Place = (node.clone(), self.interner.folded(&entry.segment));
            let is_known = self
                .tables
                .coordinates
                .get(&place)
                .is_some_and(|old| **old == entry);
            if is_known || !entry.coord.is_valid() || !self.tables.nodes.contains_key(&node) {
                continue;
            }
            self.tables.coordinates.insert(place, Arc::new(entry));
            raise(&mut self.tables.indexes.coordinates, self.index);
            self.touch(WatchKey::Coordinates);
            self.touch(WatchKey::Coordinate(node));
        }
    }

    /// Stores autopilot settings; with `cas` only over settings of that modify index. Says whether it did.
    pub(crate) fn autopilot(&mut self, mut config: AutopilotConfig, cas: Option<Index>) -> bool {
        let old = self.tables.autopilot.as_ref();
        if let Some(expected) = cas
            && old.is_none_or(|old| old.modify != expected)
        {
            return false;
        }
        config.create = old.map_or(self.index, |old| old.create);
        config.modify = self.index;
        self.tables.autopilot = Some(Arc::new(config));
        self.touch(WatchKey::Autopilot);
        true
    }

    /// Forgets tombstones up to and including `upto`. Replies do not change, so nobody is told.
    pub(crate) fn reap_tombstones(&mut self, upto: Index) {
        while let Some((at, key)) = self
            .tables
            .tombstone_ages
            .get_min()
            .filter(|(at, _)| *at <= upto)
            .cloned()
        {
            self.tables.tombstone_ages.remove(&(at, key.clone()));
            self.tables.tombstones.remove(&key);
        }
    }
}
