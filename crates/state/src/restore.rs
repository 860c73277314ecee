//! Building a state from the records of a snapshot.
//!
//! Two sources: the internal snapshot of a server, with a [`Carry`] of what archives do not hold, and a user's archive,
//! with an empty one. Order of records: a node before its services before its checks; index records may come anywhere,
//! they are applied last. Nothing of an archive is lost: records of areas that are not interpreted are kept as they are.

use std::sync::Arc;

use tribune_types::catalog::{Check, Node, Register};
use tribune_types::id::Index;
use tribune_types::snapshot::Record;
use tribune_types::text::{Text, text};

use crate::apply::State;
use crate::change::Change;
use crate::intern::{folded, folded_str};
use crate::prepared;
use crate::tables::{KINDS, Place, Tables, raise};

/// Pieces of a user's archive that have arrived so far. Part of the replicated state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Staging {
    /// Names the restore.
    pub id: u64,
    /// The pieces in order.
    pub chunks: Vec<Arc<[u8]>>,
}

/// What an internal snapshot holds beside the records. All servers must agree on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Carry {
    /// Index of the last applied command.
    pub last_index: Index,
    /// What indexes are ahead of log indexes.
    pub index_offset: u64,
    /// An unfinished restore.
    pub staging: Option<Arc<Staging>>,
}

/// Why a snapshot was not restored. No state was built.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError<E: std::error::Error + 'static> {
    /// The records could not be read.
    #[error("reading the snapshot failed")]
    Source(#[from] E),
    /// A check came before the instance it belongs to.
    #[error(
        "check {check:?} of node {node:?} belongs to service {service:?}, which the snapshot lacks"
    )]
    MissingService {
        /// Node of the check.
        node: Text,
        /// The check.
        check: Text,
        /// The missing instance.
        service: Text,
    },
}

impl State {
    /// Builds a state from records.
    pub fn restore<E: std::error::Error + 'static>(
        records: impl Iterator<Item = Result<Record, E>>,
        carry: Carry,
    ) -> Result<State, RestoreError<E>> {
        let mut state = State::new();
        let tables = Arc::make_mut(&mut state.tables);
        let mut opaque = Vec::new();
        let mut named = Vec::new();
        for record in records {
            match record? {
                Record::Opaque { kind, body } => opaque.push((kind, body)),
                Record::IndexEntry { name, value } => named.push((name, value)),
                Record::Register {
                    register,
                    create,
                    modify,
                } => {
                    restore_registration(
                        &mut Change::new(tables, &mut state.interner, modify),
                        *register,
                        create,
                    )?;
                }
                other => restore_record(
                    &mut Change::new(tables, &mut state.interner, Index(0)),
                    other,
                ),
            }
        }
        tables.opaque = Arc::new(opaque);
        let implied = highest(tables);
        for (name, value) in named {
            restore_index(tables, name, value);
        }
        tables.last_index = carry.last_index.max(implied).max(highest(tables));
        tables.index_offset = carry.index_offset;
        tables.staging = carry.staging;
        Ok(state)
    }
}

/// Places a node with at most one service and its checks under their recorded indexes.
fn restore_registration<E: std::error::Error + 'static>(
    change: &mut Change<'_>,
    register: Register,
    create: Index,
) -> Result<(), RestoreError<E>> {
    let modify = change.index;
    let name = change.interner.folded(&register.node);
    let mut node = Node {
        id: register.id,
        name: register.node,
        address: register.address,
        datacenter: register.datacenter,
        tagged_addresses: register.tagged_addresses,
        meta: register.node_meta,
        create,
        modify,
    };
    if change
        .tables
        .nodes
        .get(&name)
        .is_none_or(|old| **old != node)
    {
        change.interner.share_node(&mut node);
        change.tables.place_node(&name, Arc::new(node), modify);
    }
    if let Some(mut service) = register.service {
        change.interner.share_service(&mut service);
        let place: Place = (name.clone(), change.interner.folded(&service.id));
        let at = service.modify;
        change.tables.remove_service(&place, Index(0));
        change.tables.place_service(&place, Arc::new(service), at);
    }
    for mut check in register.checks {
        if !check.service_id.is_empty() {
            let Some(service) = change
                .tables
                .services
                .get(&(name.clone(), folded(&check.service_id)))
            else {
                let (node, service) = (name, check.service_id);
                return Err(RestoreError::MissingService {
                    node,
                    check: check.id,
                    service,
                });
            };
            check.service_name = service.name.clone();
            check.service_tags = service.tags.clone();
            check.tags_given_empty = service.given_empty.tags;
        }
        change.interner.share_check(&mut check);
        let place: Place = (name.clone(), change.interner.folded(&check.id));
        let at = check.modify;
        raise_shown(change.tables, &place.0, &check, at);
        change.tables.place_check(&place, Arc::new(check), at);
    }
    Ok(())
}

/// The index of a service is at least that of the checks its instances show.
fn raise_shown(tables: &mut Tables, node: &Text, check: &Check, at: Index) {
    let id = folded(&check.service_id);
    let names: Vec<Text> = tables
        .services_on(node)
        .filter(|(place, _)| id.is_empty() || place.1 == id)
        .map(|(_, service)| folded(&service.name))
        .collect();
    for name in names {
        if let Some(row) = tables.service_rows.get_mut(&name) {
            raise(&mut row.index, at);
        }
    }
}

fn restore_record(change: &mut Change<'_>, record: Record) {
    match record {
        Record::Coordinates(entries) => {
            for entry in entries {
                let place: Place = (
                    change.interner.folded(&entry.node),
                    change.interner.folded(&entry.segment),
                );
                change.tables.coordinates.insert(place, Arc::new(entry));
            }
        }
        Record::Session(session) => {
            let at = session.modify;
            change.tables.place_session(Arc::from(session), at);
        }
        Record::Kv(entry) => {
            let at = entry.modify;
            change.tables.place_pair(Arc::new(entry), at);
        }
        Record::Tombstone { key, index } => change.tables.place_tombstone(&key, index),
        Record::PreparedQuery(query) => prepared::restore(change.tables, *query),
        Record::Autopilot(config) => change.tables.autopilot = Some(Arc::new(config)),
        Record::Register { .. } | Record::IndexEntry { .. } | Record::Opaque { .. } => {}
    }
}

/// Sets the index a record names; names of areas that are not interpreted are kept for the archive. An index of a
/// service without instances has no reader and is dropped.
fn restore_index(tables: &mut Tables, name: Text, value: Index) {
    if let Some(slot) = tables.indexes.slot(&name) {
        *slot = value;
    } else if let Some(service) = name.strip_prefix(SERVICE_INDEX) {
        if let Some(row) = tables.service_rows.get_mut(&folded_str(service)) {
            row.name = text(service);
            row.index = value;
        }
    } else if let Some(destination) = name.strip_prefix(CONNECT_INDEX) {
        if let Some(row) = tables.connect_rows.get_mut(destination) {
            *row = value;
        }
    } else {
        tables.other_indexes.insert(name, value);
    }
}

/// Prefix of the index of a service name.
pub(crate) const SERVICE_INDEX: &str = "service.";
/// Prefix of the index of the mesh endpoints of a service name. Not known to Consul, which keeps it unread.
pub(crate) const CONNECT_INDEX: &str = "service_connect.";

impl crate::tables::TableIndexes {
    /// The index of this name (rpc.md, section 10.3).
    pub(crate) fn slot(&mut self, name: &str) -> Option<&mut Index> {
        Some(match name {
            "nodes" => &mut self.nodes,
            "services" => &mut self.services,
            "checks" => &mut self.checks,
            "kvs" => &mut self.kvs,
            "tombstones" => &mut self.tombstones,
            "sessions" => &mut self.sessions,
            "coordinates" => &mut self.coordinates,
            "prepared-queries" => &mut self.queries,
            "service_last_extinction" => &mut self.extinction,
            _ => {
                let word = name.strip_prefix("service_kind.")?;
                let at = KINDS.iter().position(|(_, w)| *w == word)?;
                &mut self.kinds[at]
            }
        })
    }

    /// All indexes that are set, with their names.
    pub(crate) fn named(&self) -> impl Iterator<Item = (String, Index)> {
        let plain = [
            ("nodes", self.nodes),
            ("services", self.services),
            ("checks", self.checks),
            ("kvs", self.kvs),
            ("tombstones", self.tombstones),
            ("sessions", self.sessions),
            ("coordinates", self.coordinates),
            ("prepared-queries", self.queries),
            ("service_last_extinction", self.extinction),
        ];
        let kinds = KINDS
            .iter()
            .zip(self.kinds)
            .map(|((_, word), at)| (format!("service_kind.{word}"), at));
        plain
            .into_iter()
            .map(|(name, at)| (name.to_owned(), at))
            .chain(kinds)
            .filter(|(_, at)| at.0 > 0)
    }
}

/// The highest index of any table.
fn highest(tables: &Tables) -> Index {
    let named = tables.indexes.named().map(|(_, at)| at);
    let other = tables.other_indexes.values().copied();
    let autopilot = tables.autopilot.iter().map(|config| config.modify);
    named
        .chain(other)
        .chain(autopilot)
        .max()
        .unwrap_or_default()
}
