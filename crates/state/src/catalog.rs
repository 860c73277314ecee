//! Writes of the catalog: node identity, registration and deregistration (spec agent.md 3, rpc.md 8.2 and 9).
//!
//! What is registered again unchanged keeps its indexes and wakes nobody. A change of a node or node-level check counts
//! as a change of every instance on the node, because health answers show both.
//!
//! Beyond 1.8.7: checks follow the name and tags of their instance at once, and the index of a service name moves when
//! an instance leaves it by taking another name.

use std::sync::Arc;

use tribune_types::catalog::{Check, Deregister, Node, Register, SERF_HEALTH, Service, Status};
use tribune_types::error::StateError;
use tribune_types::text::Text;

use crate::change::Change;
use crate::intern::{folded, folded_str, same_word};
use crate::tables::{Place, connect_name, raise};
use crate::watch::WatchKey;

impl Change<'_> {
    /// Registers a node, then its service, then its checks. An error may leave a part done.
    pub(crate) fn register(&mut self, register: Register) -> Result<(), StateError> {
        let node_name = register.node.clone();
        self.register_node(&register)
            .map_err(StateError::NodeConflict)?;
        let node = self.interner.folded(&node_name);
        if let Some(service) = register.service {
            self.place_service(&node, service)
                .map_err(|e| wrap("failed inserting service", &e, &node_name))?;
        }
        for check in register.checks {
            if !check.node.is_empty() && !same_word(&check.node, &node_name) {
                let text = format!(
                    "check node {:?} does not match node {node_name:?}",
                    &*check.node
                );
                return Err(StateError::Other(text));
            }
            let check = if check.node.is_empty() {
                Check {
                    node: node_name.clone(),
                    ..check
                }
            } else {
                check
            };
            self.place_check(&node, check)
                .map_err(|e| wrap("failed inserting check", &e, &node_name))?;
        }
        Ok(())
    }

    fn register_node(&mut self, register: &Register) -> Result<(), String> {
        if let Some(old) = self.tables.nodes.get(&folded(&register.node)) {
            let is_same = old.id == register.id
                && same_word(&old.name, &register.node)
                && old.address == register.address
                && old.datacenter == register.datacenter
                && old.tagged_addresses == register.tagged_addresses
                && old.meta == register.node_meta;
            if register.skip_node_update || is_same {
                return Ok(());
            }
        }
        self.place_node(Node {
            id: register.id,
            name: register.node.clone(),
            address: register.address.clone(),
            datacenter: register.datacenter.clone(),
            tagged_addresses: register.tagged_addresses.clone(),
            meta: register.node_meta.clone(),
            ..Node::default()
        })
    }

    /// True if registering this may remove another node before it can fail: then the caller needs a way back.
    pub(crate) fn is_rename(&self, register: &Register) -> bool {
        let known = register.id.and_then(|id| self.tables.node_by_id(&id));
        known.is_some_and(|node| node.name != register.node)
    }

    /// True if the checks of a registration that is no rename can be placed.
    pub(crate) fn precheck(&self, register: &Register) -> bool {
        let node = folded(&register.node);
        register.checks.iter().all(|check| {
            let service = folded(&check.service_id);
            (check.node.is_empty() || same_word(&check.node, &register.node))
                && (service.is_empty()
                    || register
                        .service
                        .as_ref()
                        .is_some_and(|s| folded(&s.id) == service)
                    || self.tables.services.contains_key(&(node.clone(), service)))
        })
    }

    /// Places a node under the identity rules. The text of an error names the rule.
    pub(crate) fn place_node(&mut self, mut node: Node) -> Result<(), String> {
        let mut known = None;
        if let Some(id) = node.id {
            if let Some(old) = self.tables.node_by_id(&id).cloned() {
                if old.name != node.name {
                    self.check_name_is_free(&node, false).map_err(|e| {
                        format!(
                            "Error while renaming Node ID: \"{id}\" ({}): {e}",
                            node.address
                        )
                    })?;
                    self.remove_node(&old.name);
                }
                known = Some(old);
            } else {
                self.check_name_is_free(&node, true)
                    .map_err(|e| format!("Error while renaming Node ID: \"{id}\": {e}"))?;
            }
        }
        self.interner.share_node(&mut node);
        let name = self.interner.folded(&node.name);
        let stored = self.tables.nodes.get(&name).cloned();
        if let Some(old) = known.as_ref().or(stored.as_ref()) {
            node.create = old.create;
            node.modify = old.modify;
        } else {
            node.create = self.index;
        }
        if stored.as_deref() == Some(&node) {
            return Ok(());
        }
        node.modify = self.index;
        self.tables.place_node(&name, Arc::new(node), self.index);
        self.touch(WatchKey::Nodes);
        self.touch(WatchKey::Node(name.clone()));
        self.touch_instances_on(&name);
        Ok(())
    }

    /// A name is reserved by another node while that one's gossip check exists and is not critical. A node without
    /// identity gives way to one that is new with its identity.
    fn check_name_is_free(&self, node: &Node, takes_over_nameless: bool) -> Result<(), String> {
        let name = folded(&node.name);
        let Some(other) = self
            .tables
            .nodes
            .get(&name)
            .filter(|other| other.id != node.id)
        else {
            return Ok(());
        };
        if other.id.is_none() && takes_over_nameless {
            return Ok(());
        }
        let health = self.tables.checks.get(&(name, folded_str(SERF_HEALTH)));
        if health.is_none_or(|check| check.status == Status::Critical) {
            return Ok(());
        }
        let id = other.id.map(|id| id.to_string()).unwrap_or_default();
        Err(format!(
            "Node name {} is reserved by node {id} with name {} ({})",
            node.name, other.name, other.address
        ))
    }

    pub(crate) fn place_service(
        &mut self,
        node: &Text,
        mut service: Service,
    ) -> Result<(), StateError> {
        if !self.tables.nodes.contains_key(node) {
            return Err(StateError::MissingNode);
        }
        let place: Place = (node.clone(), self.interner.folded(&service.id));
        let old = self.tables.services.get(&place).cloned();
        service.create = old.as_ref().map_or(self.index, |old| old.create);
        if let Some(old) = &old {
            service.modify = old.modify;
            if **old == service {
                return Ok(());
            }
        }
        service.modify = self.index;
        self.interner.share_service(&mut service);
        let service = Arc::new(service);
        if let Some(old) = &old {
            let leaves = folded(&old.name) != folded(&service.name)
                || connect_name(old) != connect_name(&service);
            if leaves {
                self.tables.remove_service(&place, self.index);
            }
            self.touch_instance(old);
        }
        self.tables
            .place_service(&place, service.clone(), self.index);
        self.touch_instance(&service);
        self.touch(WatchKey::Services);
        self.touch(WatchKey::Node(node.clone()));
        let same_tags = |old: &Service| {
            old.tags == service.tags && old.given_empty.tags == service.given_empty.tags
        };
        if old.is_some_and(|old| old.name != service.name || !same_tags(&old)) {
            self.rename_checks(&place, &service);
        }
        Ok(())
    }

    /// Gives the checks of an instance its new name and tags.
    fn rename_checks(&mut self, place: &Place, service: &Service) {
        let checks: Vec<(Text, Arc<Check>)> = self
            .tables
            .checks_of(&place.0, &place.1)
            .map(|(path, check)| (path.2.clone(), check.clone()))
            .collect();
        for (id, check) in checks {
            let renamed = Check {
                service_name: service.name.clone(),
                service_tags: service.tags.clone(),
                tags_given_empty: service.given_empty.tags,
                modify: self.index,
                ..Check::clone(&check)
            };
            self.touch_check(&place.0, &check);
            self.tables
                .place_check(&(place.0.clone(), id), Arc::new(renamed), self.index);
        }
    }

    pub(crate) fn place_check(&mut self, node: &Text, mut check: Check) -> Result<(), StateError> {
        if !self.tables.nodes.contains_key(node) {
            return Err(StateError::MissingNode);
        }
        let place: Place = (node.clone(), self.interner.folded(&check.id));
        if check.service_id.is_empty() {
            check.service_name = Text::default();
            check.service_tags = Vec::new();
            check.tags_given_empty = false;
        } else {
            let service = self
                .tables
                .services
                .get(&(node.clone(), folded(&check.service_id)));
            let service = service.ok_or(StateError::MissingService)?;
            check.service_name = service.name.clone();
            check.service_tags = service.tags.clone();
            check.tags_given_empty = service.given_empty.tags;
        }
        let old = self.tables.checks.get(&place).cloned();
        check.create = old.as_ref().map_or(self.index, |old| old.create);
        if let Some(old) = &old {
            check.modify = old.modify;
            if **old == check {
                return Ok(());
            }
            self.touch_check(node, old);
        }
        check.modify = self.index;
        self.interner.share_check(&mut check);
        let check = Arc::new(check);
        self.tables.place_check(&place, check.clone(), self.index);
        self.touch_check(node, &check);
        if check.status == Status::Critical {
            self.end_sessions_of_check(node, &place.1);
        }
        Ok(())
    }

    /// Tells who shows this check: lists of checks, and the instances it belongs to.
    fn touch_check(&mut self, node: &Text, check: &Check) {
        self.touch(WatchKey::Checks);
        self.touch(WatchKey::ChecksIn(check.status));
        self.touch(WatchKey::NodeChecks(node.clone()));
        if check.service_id.is_empty() {
            self.touch_instances_on(node);
        } else if let Some(service) = self
            .tables
            .services
            .get(&(node.clone(), folded(&check.service_id)))
            .cloned()
        {
            self.touch_instance(&service);
        }
    }

    pub(crate) fn deregister(&mut self, deregister: &Deregister) {
        let node = folded(&deregister.node);
        if !deregister.service_id.is_empty() {
            self.remove_service(&(node, folded(&deregister.service_id)));
        } else if !deregister.check_id.is_empty() {
            self.remove_check(&(node, folded(&deregister.check_id)));
        } else {
            self.remove_node(&deregister.node);
        }
    }

    /// Removes a node with all that is on it; an unknown one is fine.
    pub(crate) fn remove_node(&mut self, name: &Text) {
        let node = folded(name);
        if !self.tables.nodes.contains_key(&node) {
            return;
        }
        let services: Vec<Place> = self
            .tables
            .services_on(&node)
            .map(|(place, _)| place.clone())
            .collect();
        for place in &services {
            self.remove_service(place);
        }
        let checks: Vec<Place> = self
            .tables
            .checks_on(&node)
            .map(|(place, _)| place.clone())
            .collect();
        for place in &checks {
            self.remove_check(place);
        }
        let coordinates = self
            .tables
            .coordinates
            .range((node.clone(), Text::default())..);
        let coordinates: Vec<Place> = coordinates
            .map(|(place, _)| place.clone())
            .take_while(|place| place.0 == node)
            .collect();
        if !coordinates.is_empty() {
            for place in &coordinates {
                self.tables.coordinates.remove(place);
            }
            raise(&mut self.tables.indexes.coordinates, self.index);
            self.touch(WatchKey::Coordinates);
            self.touch(WatchKey::Coordinate(node.clone()));
        }
        self.end_sessions_on(&node);
        self.tables.remove_node(&node, self.index);
        self.touch(WatchKey::Nodes);
        self.touch(WatchKey::Node(node));
    }

    /// Removes an instance with its checks; an unknown one is fine.
    pub(crate) fn remove_service(&mut self, place: &Place) {
        let Some(service) = self.tables.services.get(place).cloned() else {
            return;
        };
        let checks: Vec<Place> = self
            .tables
            .checks_of(&place.0, &place.1)
            .map(|(path, _)| (path.0.clone(), path.2.clone()))
            .collect();
        for check in &checks {
            self.remove_check(check);
        }
        self.touch_instance(&service);
        self.tables.remove_service(place, self.index);
        self.touch(WatchKey::Services);
        self.touch(WatchKey::Node(place.0.clone()));
    }

    /// Removes a check and ends the sessions it kept alive; an unknown one is fine.
    pub(crate) fn remove_check(&mut self, place: &Place) {
        let Some(check) = self.tables.remove_check(place, self.index) else {
            return;
        };
        self.touch_check(&place.0, &check);
        self.end_sessions_of_check(&place.0, &place.1);
    }
}

fn wrap(what: &str, error: &StateError, node: &Text) -> StateError {
    StateError::Other(format!("{what}: {error} on node {node:?}"))
}
