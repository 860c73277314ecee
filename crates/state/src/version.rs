//! An immutable copy of the state for readers.

use std::sync::Arc;

use tribune_types::autopilot::AutopilotConfig;
use tribune_types::catalog::{Check, Node, Service};
use tribune_types::coordinate::CoordinateEntry;
use tribune_types::error::StateError;
use tribune_types::id::{Index, NodeId, SessionId, Uuid};
use tribune_types::kv::KvEntry;
use tribune_types::prepared::PreparedQuery;
use tribune_types::query::{Instance, Query, Reply};
use tribune_types::session::Session;
use tribune_types::text::Text;
use tribune_types::txn::{TxnOp, TxnOutcome};

use crate::digest;
use crate::export::Export;
use crate::intern::{folded, folded_str};
use crate::near;
use crate::prepared;
use crate::read::{self, ReadContext};
use crate::restore::Carry;
use crate::tables::Tables;
use crate::txn;
use crate::watch::WatchKeys;

/// One version of the state. Cheap to clone and to keep; shares what did not change with later versions.
#[derive(Debug, Clone, Default)]
pub struct Version {
    tables: Arc<Tables>,
}

/// How much there is of everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Nodes.
    pub nodes: usize,
    /// Distinct service names.
    pub services: usize,
    /// Service instances.
    pub instances: usize,
    /// Checks.
    pub checks: usize,
    /// Keys.
    pub keys: usize,
    /// Sessions.
    pub sessions: usize,
    /// Tombstones not yet reaped.
    pub tombstones: usize,
}

impl Version {
    pub(crate) fn new(tables: Arc<Tables>) -> Version {
        Version { tables }
    }

    /// Evaluates a query about the state and appends the keys whose touch could change the reply. The index is 0 where
    /// nothing ever changed; clients never see that. Queries about anything else are refused.
    pub fn read(
        &self,
        query: &Query,
        cx: &ReadContext<'_>,
        keys: &mut WatchKeys,
    ) -> Result<(Reply, Index), StateError> {
        read::read(&self.tables, query, cx, keys)
    }

    /// Evaluates a transaction that only reads; other operations are reported as errors.
    pub fn txn_read(&self, ops: &[TxnOp]) -> TxnOutcome {
        txn::read(&self.tables, ops)
    }

    /// All records in the order of the archive. The iterator keeps this version alive.
    pub fn export(&self) -> Export {
        Export::new(self.tables.clone())
    }

    /// What an internal snapshot must hold beside the records.
    pub fn carry(&self) -> Carry {
        Carry {
            last_index: self.tables.last_index,
            index_offset: self.tables.index_offset,
            staging: self.tables.staging.clone(),
        }
    }

    /// Index of the last applied command.
    pub fn last_index(&self) -> Index {
        self.tables.last_index
    }

    /// What client-visible indexes are ahead of log indexes.
    pub fn index_offset(&self) -> u64 {
        self.tables.index_offset
    }

    /// A hash of the content, equal exactly for equal states. O(size of the state).
    pub fn digest(&self) -> u64 {
        digest::digest(&self.tables)
    }

    /// Counts. O(1).
    pub fn usage(&self) -> Usage {
        let tables = &self.tables;
        Usage {
            nodes: tables.nodes.len(),
            services: tables.service_rows.len(),
            instances: tables.services.len(),
            checks: tables.checks.len(),
            keys: tables.kv.len(),
            sessions: tables.sessions.len(),
            tombstones: tables.tombstones.len(),
        }
    }

    /// A node by name in any letter case.
    pub fn node(&self, name: &str) -> Option<&Arc<Node>> {
        self.tables.nodes.get(&folded_str(name))
    }

    /// A node by identity.
    pub fn node_by_id(&self, id: &NodeId) -> Option<&Arc<Node>> {
        self.tables.node_by_id(id)
    }

    /// All nodes by folded name.
    pub fn nodes(&self) -> impl Iterator<Item = &Arc<Node>> {
        self.tables.nodes.values()
    }

    /// An instance by node and ID in any letter case.
    pub fn service(&self, node: &str, id: &str) -> Option<&Arc<Service>> {
        self.tables
            .services
            .get(&(folded_str(node), folded_str(id)))
    }

    /// Instances on a node by ID.
    pub fn services_on(&self, node: &str) -> Vec<Arc<Service>> {
        self.tables
            .services_on(&folded_str(node))
            .map(|(_, service)| service.clone())
            .collect()
    }

    /// A check by node and ID in any letter case.
    pub fn check(&self, node: &str, id: &str) -> Option<&Arc<Check>> {
        self.tables.checks.get(&(folded_str(node), folded_str(id)))
    }

    /// Checks of a node by ID.
    pub fn checks_on(&self, node: &str) -> Vec<Arc<Check>> {
        self.tables
            .checks_on(&folded_str(node))
            .map(|(_, check)| check.clone())
            .collect()
    }

    /// All sessions by ID.
    pub fn sessions(&self) -> impl Iterator<Item = &Arc<Session>> {
        self.tables.sessions.values()
    }

    /// A session.
    pub fn session(&self, id: &SessionId) -> Option<&Arc<Session>> {
        self.tables.sessions.get(id)
    }

    /// A prepared query.
    pub fn prepared_query(&self, id: &Uuid) -> Option<&Arc<PreparedQuery>> {
        self.tables.queries.get(id).map(|stored| &stored.query)
    }

    /// The prepared query that an ID or a name stands for, rendered if it is a template. `segment` is that of the agent
    /// that asks.
    ///
    /// # Errors
    /// `QueryNotFound`; the ID of a template, which means nothing without a name; a template that makes no sense for
    /// this name.
    pub fn resolve_query(
        &self,
        given: &str,
        segment: &str,
    ) -> Result<Arc<PreparedQuery>, StateError> {
        prepared::resolve(&self.tables, given, segment)?.ok_or(StateError::QueryNotFound)
    }

    /// The instances that a prepared query leaves, by node and ID. `connect` looks for mesh-capable endpoints, whatever
    /// the query says.
    pub fn query_instances(&self, query: &PreparedQuery, connect: bool) -> Vec<Instance> {
        prepared::instances(&self.tables, query, connect)
    }

    /// Sorts instances by distance from the node `near`; equals keep their order.
    pub fn sort_by_distance(&self, near: &str, instances: &mut Vec<Instance>) {
        near::sort(&self.tables, near, instances, |instance| {
            &instance.node.name
        });
    }

    /// The node with exactly this address. O(nodes).
    pub fn node_with_address(&self, address: &str) -> Option<Text> {
        prepared::node_with_address(&self.tables, address)
    }

    /// A pair.
    pub fn kv(&self, key: &[u8]) -> Option<&Arc<KvEntry>> {
        self.tables.pair(key)
    }

    /// Autopilot settings, once a leader stored some.
    pub fn autopilot(&self) -> Option<&AutopilotConfig> {
        self.tables.autopilot.as_deref()
    }

    /// The coordinate of a node in the default segment.
    pub fn coordinate(&self, node: &Text) -> Option<&Arc<CoordinateEntry>> {
        self.tables
            .coordinates
            .get(&(folded(node), Text::default()))
    }

    /// Index of the newest tombstone, for a leader that starts to collect them; zero without any.
    pub fn newest_tombstone(&self) -> Index {
        self.tables
            .tombstone_ages
            .get_max()
            .map(|(at, _)| *at)
            .unwrap_or_default()
    }
}
