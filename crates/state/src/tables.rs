//! The tables and the indexes derived from them. Placing and removing records keeps every derived index in step; which
//! changes are allowed, and who is told, is decided in the modules above.
//!
//! All maps are persistent, so a clone of [`Tables`] costs some twenty reference counts. Names in keys are case-folded.
//!
//! ```text
//! nodes       node                      node_ids     identity -> node
//! services    (node, id)                instances    (service, node, id) -> node + service + checks, ready to answer
//! checks      (node, id)                checks_of    (node, service id or "", check id)
//! connect     (destination, node, id)   by_status    (status, node, check id)
//! ```
//!
//! Sizes (64 bit): a KV pair costs an `Arc<KvEntry>` of 104 bytes, two boxes and about 20 bytes of tree; an instance
//! with a check about 0.7 KiB over all maps.
//!
//! Invariant: `instances` holds exactly the services, each with its current node record, the node-level checks and its
//! own checks, in this order, each group by check ID.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use tribune_types::autopilot::AutopilotConfig;
use tribune_types::catalog::{Check, Node, Service, ServiceKind, Status};
use tribune_types::coordinate::CoordinateEntry;
use tribune_types::id::{Index, NodeId, SessionId, Uuid};
use tribune_types::kv::KvEntry;
use tribune_types::prepared::PreparedQuery;
use tribune_types::query::Instance;
use tribune_types::session::Session;
use tribune_types::text::Text;

use crate::intern::folded;
use crate::prepared::{StoredQuery, Template, bonds};
use crate::restore::Staging;

/// Bytes of a key shared between tables.
pub(crate) type SharedKey = Arc<[u8]>;

/// Two folded names: of a node and of something on it.
pub(crate) type Place = (Text, Text);
/// Three folded names.
pub(crate) type Path = (Text, Text, Text);

/// A stored pair, ordered and found by its key.
#[derive(Debug, Clone)]
pub(crate) struct KvItem(pub(crate) Arc<KvEntry>);

impl PartialEq for KvItem {
    fn eq(&self, other: &KvItem) -> bool {
        self.0.key == other.0.key
    }
}

impl Eq for KvItem {}

impl PartialOrd for KvItem {
    fn partial_cmp(&self, other: &KvItem) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KvItem {
    fn cmp(&self, other: &KvItem) -> Ordering {
        self.0.key.cmp(&other.0.key)
    }
}

impl Borrow<[u8]> for KvItem {
    fn borrow(&self) -> &[u8] {
        &self.0.key
    }
}

/// What is known about a service name with at least one instance.
#[derive(Debug, Clone)]
pub(crate) struct ServiceRow {
    /// The name as last registered.
    pub(crate) name: Text,
    /// Last change of an instance, its checks or its node.
    pub(crate) index: Index,
    /// Number of instances.
    pub(crate) count: usize,
}

/// Highest change per table. Zero means the table never changed.
#[derive(Debug, Clone, Default)]
pub(crate) struct TableIndexes {
    pub(crate) nodes: Index,
    pub(crate) services: Index,
    pub(crate) checks: Index,
    pub(crate) kvs: Index,
    pub(crate) tombstones: Index,
    pub(crate) sessions: Index,
    pub(crate) coordinates: Index,
    pub(crate) queries: Index,
    /// When a service last lost its last instance.
    pub(crate) extinction: Index,
    /// Per service kind, in the order of [`KINDS`].
    pub(crate) kinds: [Index; 5],
}

/// Service kinds with the words of their index names.
pub(crate) const KINDS: [(ServiceKind, &str); 5] = [
    (ServiceKind::Typical, "typical"),
    (ServiceKind::ConnectProxy, "connect-proxy"),
    (ServiceKind::MeshGateway, "mesh-gateway"),
    (ServiceKind::TerminatingGateway, "terminating-gateway"),
    (ServiceKind::IngressGateway, "ingress-gateway"),
];

impl TableIndexes {
    pub(crate) fn kind_mut(&mut self, kind: ServiceKind) -> &mut Index {
        let at = KINDS.iter().position(|(k, _)| *k == kind).unwrap_or(0);
        &mut self.kinds[at]
    }
}

/// Raises an index; it never falls.
pub(crate) fn raise(index: &mut Index, at: Index) {
    *index = (*index).max(at);
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Tables {
    pub(crate) nodes: OrdMap<Text, Arc<Node>>,
    pub(crate) node_ids: OrdMap<NodeId, Text>,
    pub(crate) services: OrdMap<Place, Arc<Service>>,
    pub(crate) service_rows: OrdMap<Text, ServiceRow>,
    pub(crate) instances: OrdMap<Path, Instance>,
    /// Mesh endpoints by destination; the value is the folded service name.
    pub(crate) connect: OrdMap<Path, Text>,
    /// Per destination with endpoints: last time one came, changed or went.
    pub(crate) connect_rows: OrdMap<Text, Index>,
    pub(crate) checks: OrdMap<Place, Arc<Check>>,
    pub(crate) checks_of: OrdMap<Path, Arc<Check>>,
    pub(crate) by_status: OrdMap<(Status, Text, Text), Arc<Check>>,
    pub(crate) kv: OrdSet<KvItem>,
    pub(crate) tombstones: OrdMap<SharedKey, Index>,
    pub(crate) tombstone_ages: OrdSet<(Index, SharedKey)>,
    pub(crate) sessions: OrdMap<SessionId, Arc<Session>>,
    pub(crate) session_nodes: OrdSet<(Text, SessionId)>,
    pub(crate) session_checks: OrdSet<(Text, Text, SessionId)>,
    pub(crate) session_keys: OrdSet<(SessionId, SharedKey)>,
    /// By node and segment.
    pub(crate) coordinates: OrdMap<Place, Arc<CoordinateEntry>>,
    pub(crate) queries: OrdMap<Uuid, StoredQuery>,
    /// By folded name; templates too.
    pub(crate) query_names: OrdMap<Text, Uuid>,
    /// By folded prefix, the empty one included.
    pub(crate) query_templates: OrdMap<Text, Uuid>,
    pub(crate) query_sessions: OrdSet<(SessionId, Uuid)>,
    pub(crate) autopilot: Option<Arc<AutopilotConfig>>,
    pub(crate) indexes: TableIndexes,
    /// Indexes of areas that are not interpreted; kept for the archive.
    pub(crate) other_indexes: OrdMap<Text, Index>,
    /// Records of areas that are not interpreted; type byte and body.
    pub(crate) opaque: Arc<Vec<(u8, Box<[u8]>)>>,
    pub(crate) staging: Option<Arc<Staging>>,
    pub(crate) last_index: Index,
    pub(crate) index_offset: u64,
}

impl Tables {
    // ---- nodes ----

    /// Places a node record under its folded name and refreshes the instances on it.
    pub(crate) fn place_node(&mut self, name: &Text, node: Arc<Node>, at: Index) {
        if let Some(old) = self
            .nodes
            .get(name)
            .filter(|old| old.id != node.id)
            .cloned()
        {
            self.forget_node_id(&old, name);
        }
        if let Some(id) = node.id {
            self.node_ids.insert(id, name.clone());
        }
        self.nodes.insert(name.clone(), node);
        raise(&mut self.indexes.nodes, at);
        self.refresh_node(name);
    }

    /// Removes a node record. What is on it must be gone already.
    pub(crate) fn remove_node(&mut self, name: &Text, at: Index) -> Option<Arc<Node>> {
        let old = self.nodes.remove(name)?;
        self.forget_node_id(&old, name);
        raise(&mut self.indexes.nodes, at);
        Some(old)
    }

    fn forget_node_id(&mut self, node: &Node, name: &Text) {
        if let Some(id) = node.id
            && self.node_ids.get(&id) == Some(name)
        {
            self.node_ids.remove(&id);
        }
    }

    pub(crate) fn node_by_id(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.nodes.get(self.node_ids.get(id)?)
    }

    // ---- services ----

    /// Services of a node in ID order.
    pub(crate) fn services_on<'a>(
        &'a self,
        node: &'a Text,
    ) -> impl Iterator<Item = (&'a Place, &'a Arc<Service>)> {
        self.services
            .range((node.clone(), Text::default())..)
            .take_while(move |(place, _)| place.0 == *node)
    }

    /// Places a service. An older record at this place with another name or destination must be removed before.
    pub(crate) fn place_service(&mut self, place: &Place, service: Arc<Service>, at: Index) {
        let name = folded(&service.name);
        let is_new = self
            .services
            .insert(place.clone(), service.clone())
            .is_none();
        let row = self.service_rows.entry(name).or_insert_with(|| ServiceRow {
            name: service.name.clone(),
            index: at,
            count: 0,
        });
        row.name = service.name.clone();
        row.count += usize::from(is_new);
        raise(&mut row.index, at);
        raise(&mut self.indexes.services, at);
        raise(self.indexes.kind_mut(service.kind), at);
        if let Some(destination) = connect_name(&service) {
            let path = (destination.clone(), place.0.clone(), place.1.clone());
            self.connect.insert(path, folded(&service.name));
            raise(self.connect_rows.entry(destination).or_insert(at), at);
        }
        self.refresh_instance(place);
    }

    /// Removes a service. Its checks must be gone already, or follow at once.
    pub(crate) fn remove_service(&mut self, place: &Place, at: Index) -> Option<Arc<Service>> {
        let old = self.services.remove(place)?;
        let name = folded(&old.name);
        self.instances
            .remove(&(name.clone(), place.0.clone(), place.1.clone()));
        raise(&mut self.indexes.services, at);
        raise(self.indexes.kind_mut(old.kind), at);
        let mut extinct = true;
        if let Some(row) = self.service_rows.get_mut(&name) {
            row.count = row.count.saturating_sub(1);
            raise(&mut row.index, at);
            extinct = row.count == 0;
        }
        if extinct {
            self.service_rows.remove(&name);
            raise(&mut self.indexes.extinction, at);
        }
        if let Some(destination) = connect_name(&old) {
            self.connect
                .remove(&(destination.clone(), place.0.clone(), place.1.clone()));
            if self.connect_of(&destination).next().is_none() {
                self.connect_rows.remove(&destination);
            } else if let Some(index) = self.connect_rows.get_mut(&destination) {
                raise(index, at);
            }
        }
        Some(old)
    }

    /// Instances of a service by node and ID.
    pub(crate) fn instances_of<'a, 'b>(
        &'a self,
        service: &'b Text,
    ) -> impl Iterator<Item = &'a Instance> + use<'a, 'b> {
        self.instances
            .range((service.clone(), Text::default(), Text::default())..)
            .take_while(move |(path, _)| path.0 == *service)
            .map(|(_, instance)| instance)
    }

    /// Mesh endpoints for a destination by node and ID.
    pub(crate) fn connect_of<'a, 'b>(
        &'a self,
        destination: &'b Text,
    ) -> impl Iterator<Item = &'a Instance> + use<'a, 'b> {
        self.connect
            .range((destination.clone(), Text::default(), Text::default())..)
            .take_while(move |(path, _)| path.0 == *destination)
            .filter_map(|((_, node, id), service)| {
                self.instances
                    .get(&(service.clone(), node.clone(), id.clone()))
            })
    }

    /// The instance at a place.
    pub(crate) fn instance_at(&self, place: &Place, service: &Service) -> Option<&Instance> {
        self.instances
            .get(&(folded(&service.name), place.0.clone(), place.1.clone()))
    }

    // ---- checks ----

    /// Checks of a node in ID order.
    pub(crate) fn checks_on<'a>(
        &'a self,
        node: &'a Text,
    ) -> impl Iterator<Item = (&'a Place, &'a Arc<Check>)> {
        self.checks
            .range((node.clone(), Text::default())..)
            .take_while(move |(place, _)| place.0 == *node)
    }

    /// Checks of an instance, or the node-level ones for the empty ID, in ID order.
    pub(crate) fn checks_of<'a>(
        &'a self,
        node: &'a Text,
        service: &'a Text,
    ) -> impl Iterator<Item = (&'a Path, &'a Arc<Check>)> {
        self.checks_of
            .range((node.clone(), service.clone(), Text::default())..)
            .take_while(move |(path, _)| path.0 == *node && path.1 == *service)
    }

    /// Places a check and refreshes the instances that show it.
    pub(crate) fn place_check(&mut self, place: &Place, check: Arc<Check>, at: Index) {
        let service = folded(&check.service_id);
        if let Some(old) = self.checks.get(place).cloned() {
            self.unlink_check(place, &old);
            if folded(&old.service_id) != service {
                self.refresh_for(&place.0, &folded(&old.service_id));
            }
        }
        self.checks_of.insert(
            (place.0.clone(), service.clone(), place.1.clone()),
            check.clone(),
        );
        self.by_status.insert(
            (check.status, place.0.clone(), place.1.clone()),
            check.clone(),
        );
        self.checks.insert(place.clone(), check);
        raise(&mut self.indexes.checks, at);
        self.refresh_for(&place.0, &service);
    }

    /// Removes a check and refreshes the instances that showed it.
    pub(crate) fn remove_check(&mut self, place: &Place, at: Index) -> Option<Arc<Check>> {
        let old = self.checks.remove(place)?;
        self.unlink_check(place, &old);
        raise(&mut self.indexes.checks, at);
        self.refresh_for(&place.0, &folded(&old.service_id));
        Some(old)
    }

    fn unlink_check(&mut self, place: &Place, check: &Check) {
        self.checks_of
            .remove(&(place.0.clone(), folded(&check.service_id), place.1.clone()));
        self.by_status
            .remove(&(check.status, place.0.clone(), place.1.clone()));
    }

    /// Refreshes the instances that show the checks of `service` on `node`; all on the node for the empty ID.
    fn refresh_for(&mut self, node: &Text, service: &Text) {
        if service.is_empty() {
            self.refresh_node(node);
        } else {
            self.refresh_instance(&(node.clone(), service.clone()));
        }
    }

    fn refresh_node(&mut self, node: &Text) {
        let places: Vec<Place> = self
            .services_on(node)
            .map(|(place, _)| place.clone())
            .collect();
        for place in &places {
            self.refresh_instance(place);
        }
    }

    fn refresh_instance(&mut self, place: &Place) {
        let (Some(service), Some(node)) = (self.services.get(place), self.nodes.get(&place.0))
        else {
            return;
        };
        let (service, node) = (service.clone(), node.clone());
        let node_level = Text::default();
        let shown = self
            .checks_of(&place.0, &node_level)
            .chain(self.checks_of(&place.0, &place.1));
        let checks: Arc<[Arc<Check>]> = shown.map(|(_, check)| check.clone()).collect();
        let path = (folded(&service.name), place.0.clone(), place.1.clone());
        self.instances.insert(
            path,
            Instance {
                node,
                service,
                checks,
            },
        );
    }

    // ---- keys ----

    pub(crate) fn pair(&self, key: &[u8]) -> Option<&Arc<KvEntry>> {
        self.kv.get(key).map(|item| &item.0)
    }

    /// Pairs of a prefix in key order.
    pub(crate) fn pairs_under<'a>(
        &'a self,
        prefix: &'a [u8],
    ) -> impl Iterator<Item = &'a Arc<KvEntry>> {
        self.kv
            .range::<_, [u8]>((
                std::ops::Bound::Included(prefix),
                std::ops::Bound::Unbounded,
            ))
            .map(|item| &item.0)
            .take_while(move |entry| entry.key.starts_with(prefix))
    }

    /// Stores a pair and keeps the index of held keys.
    pub(crate) fn place_pair(&mut self, entry: Arc<KvEntry>, at: Index) {
        let held = entry.session;
        let old = self
            .kv
            .insert(KvItem(entry.clone()))
            .and_then(|old| old.0.session);
        if old != held {
            let key: SharedKey = Arc::from(&entry.key[..]);
            if let Some(id) = old {
                self.session_keys.remove(&(id, key.clone()));
            }
            if let Some(id) = held {
                self.session_keys.insert((id, key));
            }
        }
        raise(&mut self.indexes.kvs, at);
    }

    /// Removes a pair without a tombstone.
    pub(crate) fn remove_pair(&mut self, key: &[u8], at: Index) -> Option<Arc<KvEntry>> {
        let old = self.kv.remove(key)?.0;
        if let Some(id) = old.session {
            self.session_keys.remove(&(id, Arc::from(key)));
        }
        raise(&mut self.indexes.kvs, at);
        Some(old)
    }

    /// Remembers that `key`, or everything under it, was deleted.
    pub(crate) fn place_tombstone(&mut self, key: &[u8], at: Index) {
        let key: SharedKey = Arc::from(key);
        if let Some(old) = self.tombstones.insert(key.clone(), at) {
            self.tombstone_ages.remove(&(old, key.clone()));
        }
        self.tombstone_ages.insert((at, key));
        raise(&mut self.indexes.tombstones, at);
    }

    /// Newest tombstone of a prefix; zero without any.
    pub(crate) fn tombstone_under(&self, prefix: &[u8]) -> Index {
        self.tombstones
            .range::<_, [u8]>((
                std::ops::Bound::Included(prefix),
                std::ops::Bound::Unbounded,
            ))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(_, at)| *at)
            .max()
            .unwrap_or_default()
    }

    /// Forgets the tombstones of a prefix.
    pub(crate) fn remove_tombstones_under(&mut self, prefix: &[u8]) {
        let range = (
            std::ops::Bound::Included(prefix),
            std::ops::Bound::Unbounded,
        );
        let under = self
            .tombstones
            .range::<_, [u8]>(range)
            .take_while(|(key, _)| key.starts_with(prefix));
        let under: Vec<(Index, SharedKey)> = under.map(|(key, at)| (*at, key.clone())).collect();
        for dead in under {
            self.tombstones.remove(&dead.1);
            self.tombstone_ages.remove(&dead);
        }
    }

    // ---- sessions ----

    pub(crate) fn place_session(&mut self, session: Arc<Session>, at: Index) {
        let node = folded(&session.node);
        self.session_nodes.insert((node.clone(), session.id));
        for check in session.check_ids() {
            self.session_checks
                .insert((node.clone(), folded(check), session.id));
        }
        self.sessions.insert(session.id, session);
        raise(&mut self.indexes.sessions, at);
    }

    pub(crate) fn remove_session(&mut self, id: &SessionId, at: Index) -> Option<Arc<Session>> {
        let session = self.sessions.remove(id)?;
        let node = folded(&session.node);
        self.session_nodes.remove(&(node.clone(), *id));
        for check in session.check_ids() {
            self.session_checks
                .remove(&(node.clone(), folded(check), *id));
        }
        raise(&mut self.indexes.sessions, at);
        Some(session)
    }

    /// Sessions of a node in ID order.
    pub(crate) fn sessions_on<'a>(
        &'a self,
        node: &'a Text,
    ) -> impl Iterator<Item = &'a Arc<Session>> {
        self.session_nodes
            .range((node.clone(), SessionId::default())..)
            .take_while(move |(name, _)| name == node)
            .filter_map(|(_, id)| self.sessions.get(id))
    }

    // ---- prepared queries ----

    /// Places a query in the place of that with the same ID.
    pub(crate) fn place_query(
        &mut self,
        id: Uuid,
        query: PreparedQuery,
        template: Option<Arc<Template>>,
        at: Index,
    ) {
        if let Some(old) = self.queries.get(&id).map(|old| old.query.clone()) {
            self.unlink_query(id, &old);
        }
        let (name, session) = bonds(&query);
        if query.is_template() {
            let prefix = name.clone().unwrap_or_default();
            self.query_templates.insert(prefix, id);
        }
        if let Some(name) = name {
            self.query_names.insert(name, id);
        }
        if let Some(session) = session {
            self.query_sessions.insert((session, id));
        }
        let query = Arc::new(query);
        self.queries.insert(id, StoredQuery { query, template });
        raise(&mut self.indexes.queries, at);
    }

    pub(crate) fn remove_query(&mut self, id: &Uuid, at: Index) -> Option<Arc<PreparedQuery>> {
        let old = self.queries.remove(id)?.query;
        self.unlink_query(*id, &old);
        raise(&mut self.indexes.queries, at);
        Some(old)
    }

    fn unlink_query(&mut self, id: Uuid, query: &PreparedQuery) {
        let (name, session) = bonds(query);
        let prefix = name.clone().unwrap_or_default();
        if query.is_template() && self.query_templates.get(&prefix) == Some(&id) {
            self.query_templates.remove(&prefix);
        }
        if let Some(name) = name.filter(|name| self.query_names.get(name) == Some(&id)) {
            self.query_names.remove(&name);
        }
        if let Some(session) = session {
            self.query_sessions.remove(&(session, id));
        }
    }
}

/// The folded name of the service an instance gives mesh access to.
pub(crate) fn connect_name(service: &Service) -> Option<Text> {
    service.connect_name().map(folded)
}
