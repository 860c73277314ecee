//! The records of a version in the order of the archive (spec rpc.md 10.3).
//!
//! The iterator owns its version and produces a page at a time, so a snapshot of a large state needs little memory and
//! does not hold up the writer.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use tribune_types::catalog::{Check, Node, Register, Service};
use tribune_types::kv::KvEntry;
use tribune_types::snapshot::Record;
use tribune_types::text::{Text, text};

use crate::restore::{CONNECT_INDEX, SERVICE_INDEX};
use crate::tables::{KvItem, SharedKey, Tables};

/// Records per page of long tables.
const PAGE_LEN: usize = 256;

/// Type bytes of records that Consul writes between sessions and keys.
const KINDS_BEFORE_KEYS: [u8; 7] = [4, 11, 17, 19, 23, 25, 27];
/// Type byte of the record behind the indexes.
const KIND_CHUNKING: u8 = 29;

/// Iterates over the records of a version. `Send`, so a snapshot can be written elsewhere.
#[derive(Debug)]
pub struct Export {
    tables: Arc<Tables>,
    stage: Stage,
    page: VecDeque<Record>,
}

#[derive(Debug, Clone)]
enum Stage {
    Nodes(Option<Text>),
    Coordinates,
    Sessions,
    Keys(Option<KvItem>),
    Tombstones(Option<SharedKey>),
    Settings,
    Indexes,
    Done,
}

impl Export {
    pub(crate) fn new(tables: Arc<Tables>) -> Export {
        Export {
            tables,
            stage: Stage::Nodes(None),
            page: VecDeque::new(),
        }
    }

    /// Fills the page from the current stage and moves on once the stage is used up.
    fn fill(&mut self) {
        let page = &mut self.page;
        let tables = &self.tables;
        self.stage = match &self.stage {
            Stage::Nodes(after) => {
                let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
                match tables.nodes.range((from, Bound::<Text>::Unbounded)).next() {
                    Some((name, node)) => {
                        export_node(tables, name, node, page);
                        Stage::Nodes(Some(name.clone()))
                    }
                    None => Stage::Coordinates,
                }
            }
            Stage::Coordinates => {
                let entries = tables.coordinates.values();
                page.extend(entries.map(|entry| Record::Coordinates(vec![(**entry).clone()])));
                Stage::Sessions
            }
            Stage::Sessions => {
                page.extend(
                    tables
                        .sessions
                        .values()
                        .map(|session| Record::Session(Box::new((**session).clone()))),
                );
                export_opaque(tables, page, |kind| KINDS_BEFORE_KEYS.contains(&kind));
                Stage::Keys(None)
            }
            Stage::Keys(after) => {
                let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
                let items = tables
                    .kv
                    .range::<_, KvItem>((from, Bound::Unbounded))
                    .take(PAGE_LEN);
                let mut last = None;
                for item in items {
                    page.push_back(Record::Kv(KvEntry::clone(&item.0)));
                    last = Some(item.clone());
                }
                if last.is_some() {
                    Stage::Keys(last)
                } else {
                    Stage::Tombstones(None)
                }
            }
            Stage::Tombstones(after) => {
                let from = after.clone().map_or(Bound::Unbounded, Bound::Excluded);
                let mut last = None;
                for (key, at) in tables
                    .tombstones
                    .range((from, Bound::<SharedKey>::Unbounded))
                    .take(PAGE_LEN)
                {
                    page.push_back(Record::Tombstone {
                        key: (&**key).into(),
                        index: *at,
                    });
                    last = Some(key.clone());
                }
                if last.is_some() {
                    Stage::Tombstones(last)
                } else {
                    Stage::Settings
                }
            }
            Stage::Settings => {
                page.extend(
                    tables
                        .queries
                        .values()
                        .map(|stored| Record::PreparedQuery(Box::new((*stored.query).clone()))),
                );
                page.extend(
                    tables
                        .autopilot
                        .iter()
                        .map(|config| Record::Autopilot((**config).clone())),
                );
                export_opaque(tables, page, |kind| {
                    kind != KIND_CHUNKING && !KINDS_BEFORE_KEYS.contains(&kind)
                });
                Stage::Indexes
            }
            Stage::Indexes => {
                export_indexes(tables, page);
                export_opaque(tables, page, |kind| kind == KIND_CHUNKING);
                Stage::Done
            }
            Stage::Done => Stage::Done,
        };
    }
}

impl Iterator for Export {
    type Item = Record;

    fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.page.pop_front() {
                return Some(record);
            }
            if matches!(self.stage, Stage::Done) {
                return None;
            }
            self.fill();
        }
    }
}

/// The node alone, then one record per service, then one per check.
fn export_node(tables: &Tables, name: &Text, node: &Node, page: &mut VecDeque<Record>) {
    let record = |service: Option<Service>, checks: Vec<Check>| Record::Register {
        register: Box::new(Register {
            datacenter: node.datacenter.clone(),
            id: node.id,
            node: node.name.clone(),
            address: node.address.clone(),
            tagged_addresses: node.tagged_addresses.clone(),
            node_meta: node.meta.clone(),
            service,
            checks,
            skip_node_update: false,
        }),
        create: node.create,
        modify: node.modify,
    };
    page.push_back(record(None, Vec::new()));
    page.extend(
        tables
            .services_on(name)
            .map(|(_, service)| record(Some(Service::clone(service)), Vec::new())),
    );
    page.extend(
        tables
            .checks_on(name)
            .map(|(_, check)| record(None, vec![Check::clone(check)])),
    );
}

fn export_opaque(tables: &Tables, page: &mut VecDeque<Record>, wanted: impl Fn(u8) -> bool) {
    let chosen = tables.opaque.iter().filter(|(kind, _)| wanted(*kind));
    page.extend(chosen.map(|(kind, body)| Record::Opaque {
        kind: *kind,
        body: body.clone(),
    }));
}

/// All index records by name.
fn export_indexes(tables: &Tables, page: &mut VecDeque<Record>) {
    let services = tables
        .service_rows
        .values()
        .map(|row| (format!("{SERVICE_INDEX}{}", row.name), row.index));
    let connect = tables
        .connect_rows
        .iter()
        .map(|(name, at)| (format!("{CONNECT_INDEX}{name}"), *at));
    let other = tables
        .other_indexes
        .iter()
        .map(|(name, at)| (name.to_string(), *at));
    let mut all: Vec<_> = tables
        .indexes
        .named()
        .chain(services)
        .chain(connect)
        .chain(other)
        .collect();
    all.sort();
    page.extend(all.into_iter().map(|(name, value)| Record::IndexEntry {
        name: text(&name),
        value,
    }));
}
