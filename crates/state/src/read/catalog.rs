//! Reads of nodes, services on nodes, dumps for the UI, coordinates and addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tribune_filter::schemas;
use tribune_types::catalog::{Service, ServiceKind};
use tribune_types::id::Index;
use tribune_types::query::{ListOptions, NodeDump, Reply, ReverseMatch};
use tribune_types::text::{Text, TextMap};

use super::{Read, catalog_index, filter, lookup};
use crate::intern::folded;
use crate::near;
use crate::tables::Tables;
use crate::watch::{WatchKey, WatchKeys};

pub(super) fn nodes(tables: &Tables, options: &ListOptions, keys: &mut WatchKeys) -> Read {
    let filter = filter(&options.filter, &schemas::NODE)?;
    keys.push(WatchKey::Nodes);
    let mut found: Vec<_> = tables
        .nodes
        .values()
        .filter(|node| has_meta(node.meta.as_ref(), &options.node_meta) && filter.matches(*node))
        .cloned()
        .collect();
    near::sort(tables, &options.near, &mut found, |node| &node.name);
    Ok((Reply::Nodes(found), tables.indexes.nodes))
}

/// True if the metadata has all wanted pairs.
pub(super) fn has_meta(meta: Option<&TextMap>, wanted: &TextMap) -> bool {
    wanted.is_empty() || meta.is_some_and(|meta| meta.contains_all(wanted))
}

pub(super) fn services(
    tables: &Tables,
    node_meta: &TextMap,
    keys: &mut WatchKeys,
) -> (Reply, Index) {
    keys.push(WatchKey::Services);
    let mut index = tables.indexes.services;
    if !node_meta.is_empty() {
        keys.push(WatchKey::Nodes);
        index = index.max(tables.indexes.nodes);
    }
    let mut names: BTreeMap<&Text, BTreeSet<&Text>> = BTreeMap::new();
    // Instances of a name follow one another and mostly carry the same tags, so sets are seldom searched.
    let mut run: Option<(&Text, BTreeSet<&Text>)> = None;
    let mut last_tags: &[Text] = &[];
    for instance in tables.instances.values() {
        if !has_meta(instance.node.meta.as_ref(), node_meta) {
            continue;
        }
        let service = &instance.service;
        match &mut run {
            Some((name, _)) if **name == service.name && last_tags == service.tags => {}
            Some((name, tags)) if **name == service.name => tags.extend(&service.tags),
            _ => {
                let started = (&service.name, service.tags.iter().collect());
                if let Some((name, tags)) = run.replace(started) {
                    names.entry(name).or_default().extend(tags);
                }
            }
        }
        last_tags = &service.tags;
    }
    if let Some((name, tags)) = run {
        names.entry(name).or_default().extend(tags);
    }
    let list = names
        .into_iter()
        .map(|(name, tags)| (name.clone(), tags.into_iter().cloned().collect()))
        .collect();
    (Reply::Services(list), index)
}

pub(super) fn node_services(
    tables: &Tables,
    given: &Text,
    expression: &str,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(expression, &schemas::NODE_SERVICE)?;
    let lookup::Found { name, .. } = lookup::node(tables, given, keys);
    // Unknown nodes answer the table's index too, unlike 1.8.7 (which answers 1): so a waiter sees the node go.
    let index = tables.indexes.nodes.max(tables.indexes.services);
    let found = tables.nodes.get(&name).map(|node| {
        let services = tables.services_on(&name).map(|(_, service)| service);
        (
            node.clone(),
            services
                .filter(|service| filter.matches(*service))
                .cloned()
                .collect(),
        )
    });
    keys.push(WatchKey::Node(name));
    Ok((Reply::NodeServices(found), index))
}

pub(super) fn node_dump(
    tables: &Tables,
    only: Option<&Text>,
    expression: &str,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(expression, &schemas::NODE_INFO)?;
    let dump = |name: &Text| {
        Some(NodeDump {
            node: tables.nodes.get(name)?.clone(),
            services: tables
                .services_on(name)
                .map(|(_, service)| service.clone())
                .collect(),
            checks: tables
                .checks_on(name)
                .map(|(_, check)| check.clone())
                .collect(),
        })
    };
    let mut found: Vec<NodeDump> = match only {
        Some(name) => {
            let name = folded(name);
            keys.push(WatchKey::Node(name.clone()));
            keys.push(WatchKey::NodeChecks(name.clone()));
            dump(&name).into_iter().collect()
        }
        None => {
            keys.push(WatchKey::Nodes);
            keys.push(WatchKey::Services);
            keys.push(WatchKey::Checks);
            tables.nodes.keys().filter_map(dump).collect()
        }
    };
    found.retain(|dump| filter.matches(dump));
    Ok((Reply::NodeDump(found), catalog_index(tables)))
}

pub(super) fn service_dump(
    tables: &Tables,
    kind: Option<ServiceKind>,
    expression: &str,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(expression, &schemas::CHECK_SERVICE_NODE)?;
    keys.push(WatchKey::Nodes);
    keys.push(WatchKey::Services);
    keys.push(WatchKey::Checks);
    let found = tables
        .services
        .iter()
        .filter(|(_, service)| kind.is_none_or(|kind| service.kind == kind))
        .filter_map(|(place, service)| tables.instance_at(place, service))
        .filter(|instance| filter.matches(*instance))
        .cloned()
        .collect();
    Ok((Reply::Instances(found), catalog_index(tables)))
}

pub(super) fn coordinates(
    tables: &Tables,
    node: Option<&Text>,
    segment: Option<&str>,
    keys: &mut WatchKeys,
) -> (Reply, Index) {
    let in_segment = |of: &str| segment.is_none_or(|wanted| of == wanted);
    let found = match node {
        Some(node) => {
            let node = folded(node);
            let entries = tables.coordinates.range((node.clone(), Text::default())..);
            let entries = entries
                .take_while(|(place, _)| place.0 == node)
                .map(|(_, entry)| entry);
            let found = entries
                .filter(|entry| in_segment(&entry.segment))
                .cloned()
                .collect();
            keys.push(WatchKey::Coordinate(node));
            found
        }
        None => {
            keys.push(WatchKey::Coordinates);
            tables
                .coordinates
                .values()
                .filter(|entry| in_segment(&entry.segment))
                .cloned()
                .collect()
        }
    };
    (Reply::Coordinates(found), tables.indexes.coordinates)
}

/// The first node with this address, else the first instance with it as its own or tagged address. O(catalog).
pub(super) fn reverse(tables: &Tables, addr: IpAddr, keys: &mut WatchKeys) -> (Reply, Index) {
    keys.push(WatchKey::Nodes);
    keys.push(WatchKey::Services);
    let is_wanted = |text: &Text| text.parse() == Ok(addr);
    let has_addr = |service: &Arc<Service>| {
        is_wanted(&service.address)
            || service
                .tagged_addresses
                .iter()
                .any(|(_, tagged)| is_wanted(&tagged.address))
    };
    let node = tables
        .nodes
        .values()
        .find(|node| is_wanted(&node.address))
        .cloned()
        .map(ReverseMatch::Node);
    let found = node.or_else(|| {
        tables
            .services
            .values()
            .find(|s| has_addr(s))
            .cloned()
            .map(ReverseMatch::Service)
    });
    (
        Reply::Reverse(found),
        tables.indexes.nodes.max(tables.indexes.services),
    )
}
