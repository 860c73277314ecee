//! Reads of service instances and checks: what discovery asks for. A health answer is a walk over ready instances.

use std::sync::Arc;

use tribune_filter::records::ServiceNode;
use tribune_filter::schemas;
use tribune_types::catalog::{Check, Service, Status};
use tribune_types::id::Index;
use tribune_types::query::{Endpoint, Instance, ListOptions, Reply, ServiceQuery};
use tribune_types::text::{Text, TextMap};

use super::catalog::has_meta;
use super::{Read, catalog_index, filter, lookup};
use crate::intern::{folded, same_word};
use crate::near;
use crate::tables::Tables;
use crate::watch::{WatchKey, WatchKeys};

pub(super) fn service_nodes(tables: &Tables, query: &ServiceQuery, keys: &mut WatchKeys) -> Read {
    let filter = filter(&query.options.filter, &schemas::SERVICE_NODE)?;
    let (mut found, index) = select(tables, query, keys, Index(0), |instance| {
        filter.matches(&ServiceNode(&instance.node, &instance.service))
    });
    near::sort(tables, &query.options.near, &mut found, |instance| {
        &instance.node.name
    });
    let pairs = found
        .into_iter()
        .map(|instance| (instance.node.clone(), instance.service.clone()))
        .collect();
    Ok((Reply::ServiceNodes(pairs), index))
}

/// Instances at an address, whatever their name. O(catalog).
pub(super) fn services_at(
    tables: &Tables,
    address: &str,
    options: &ListOptions,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(&options.filter, &schemas::SERVICE_NODE)?;
    keys.push(WatchKey::Nodes);
    keys.push(WatchKey::Services);
    let is_there = |service: &Service| {
        &*service.address == address
            || service
                .tagged_addresses
                .iter()
                .any(|(_, tagged)| &*tagged.address == address)
    };
    let mut found: Vec<_> = tables
        .instances
        .values()
        .filter(|instance| {
            is_there(&instance.service)
                && has_meta(instance.node.meta.as_ref(), &options.node_meta)
                && filter.matches(&ServiceNode(&instance.node, &instance.service))
        })
        .map(|instance| (instance.node.clone(), instance.service.clone()))
        .collect();
    near::sort(tables, &options.near, &mut found, |(node, _)| &node.name);
    let index = tables.indexes.nodes.max(tables.indexes.services);
    Ok((Reply::ServiceNodes(found), index))
}

pub(super) fn service_health(
    tables: &Tables,
    query: &ServiceQuery,
    passing_only: bool,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(&query.options.filter, &schemas::CHECK_SERVICE_NODE)?;
    let (mut found, index) = select(tables, query, keys, tables.indexes.checks, |instance| {
        filter.matches(instance) && (!passing_only || instance.status() == Status::Passing)
    });
    near::sort(tables, &query.options.near, &mut found, |instance| {
        &instance.node.name
    });
    Ok((
        Reply::Instances(found.into_iter().cloned().collect()),
        index,
    ))
}

/// The instances a query means, and the index of the answer. `checks` joins the table-wide index that stands in where
/// no index of the service exists.
fn select<'a>(
    tables: &'a Tables,
    query: &ServiceQuery,
    keys: &mut WatchKeys,
    checks: Index,
    wanted: impl Fn(&Instance) -> bool,
) -> (Vec<&'a Instance>, Index) {
    let name = folded(&query.name);
    let fits = |instance: &&Instance| {
        has_tags(&instance.service, &query.tags)
            && has_meta(instance.node.meta.as_ref(), &query.options.node_meta)
            && wanted(instance)
    };
    let table_wide = tables
        .indexes
        .nodes
        .max(tables.indexes.services)
        .max(checks);
    match query.endpoint {
        Endpoint::Service => {
            let found = tables.instances_of(&name).filter(fits).collect();
            let index = match tables.service_rows.get(&name) {
                Some(row) => row.index,
                None if tables.indexes.extinction.0 > 0 => tables.indexes.extinction,
                None => table_wide,
            };
            keys.push(WatchKey::Service(name));
            (found, index)
        }
        Endpoint::Connect => {
            let found = tables.connect_of(&name).filter(fits).collect();
            let index = connect_index(tables, &name).unwrap_or(table_wide);
            keys.push(WatchKey::Connect(name));
            (found, index)
        }
        // No gateway can be bound to a service until gateways are built.
        Endpoint::Ingress => (Vec::new(), Index(0)),
    }
}

/// Last change among the mesh endpoints of a name: of the set itself, or of the services they are instances of.
fn connect_index(tables: &Tables, name: &Text) -> Option<Index> {
    let own = *tables.connect_rows.get(name)?;
    let mut last: Option<&Text> = None;
    let mut index = own;
    for instance in tables.connect_of(name) {
        let service = &instance.service.name;
        if last != Some(service) {
            index = index.max(
                tables
                    .service_rows
                    .get(&folded(service))
                    .map_or(Index(0), |row| row.index),
            );
            last = Some(service);
        }
    }
    Some(index)
}

/// True if the instance has all wanted tags, in any letter case.
fn has_tags(service: &Service, wanted: &[Text]) -> bool {
    wanted
        .iter()
        .all(|tag| service.tags.iter().any(|own| same_word(own, tag)))
}

pub(super) fn node_checks(
    tables: &Tables,
    given: &Text,
    expression: &str,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(expression, &schemas::HEALTH_CHECK)?;
    let lookup::Found { name, may_be_id } = lookup::node(tables, given, keys);
    let mut index = tables.indexes.checks;
    if may_be_id {
        // Another node may take or spoil the ID prefix.
        index = index.max(tables.indexes.nodes);
    }
    let checks = tables.checks_on(&name).map(|(_, check)| check);
    let found = checks
        .filter(|check| filter.matches(*check))
        .cloned()
        .collect();
    keys.push(WatchKey::Node(name.clone()));
    keys.push(WatchKey::NodeChecks(name));
    Ok((Reply::Checks(found), index))
}

pub(super) fn service_checks(
    tables: &Tables,
    service: &Text,
    options: &ListOptions,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(&options.filter, &schemas::HEALTH_CHECK)?;
    let name = folded(service);
    // By node, then check ID: instances on one node share the order.
    let mut found: Vec<(Text, Text, &Arc<Check>)> = Vec::new();
    for instance in tables.instances_of(&name) {
        if !has_meta(instance.node.meta.as_ref(), &options.node_meta) {
            continue;
        }
        let node = folded(&instance.node.name);
        let own = instance
            .checks
            .iter()
            .filter(|check| !check.service_id.is_empty());
        found.extend(
            own.filter(|c| filter.matches(*c))
                .map(|c| (node.clone(), folded(&c.id), c)),
        );
    }
    found.sort_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let mut checks: Vec<Arc<Check>> = found
        .into_iter()
        .map(|(_, _, check)| check.clone())
        .collect();
    near::sort(tables, &options.near, &mut checks, |check| &check.node);
    let index = if options.node_meta.is_empty() {
        tables.indexes.checks
    } else {
        tables
            .service_rows
            .get(&name)
            .map_or_else(|| catalog_index(tables), |row| row.index)
    };
    keys.push(WatchKey::Service(name));
    Ok((Reply::Checks(checks), index))
}

pub(super) fn checks_in_state(
    tables: &Tables,
    state: Option<Status>,
    options: &ListOptions,
    keys: &mut WatchKeys,
) -> Read {
    let filter = filter(&options.filter, &schemas::HEALTH_CHECK)?;
    let mut index = tables.indexes.checks;
    if !options.node_meta.is_empty() {
        keys.push(WatchKey::Nodes);
        index = index.max(tables.indexes.nodes);
    }
    let fits = |node: &Text, check: &Arc<Check>| {
        on_meta(tables, node, &options.node_meta) && filter.matches(check)
    };
    let mut found: Vec<Arc<Check>> = match state {
        None => {
            keys.push(WatchKey::Checks);
            let all = tables.checks.iter();
            all.filter(|(place, check)| fits(&place.0, check))
                .map(|(_, check)| check.clone())
                .collect()
        }
        Some(state) => {
            keys.push(WatchKey::ChecksIn(state));
            let those = tables
                .by_status
                .range((state, Text::default(), Text::default())..);
            let those = those.take_while(|(path, _)| path.0 == state);
            those
                .filter(|(path, check)| fits(&path.1, check))
                .map(|(_, check)| check.clone())
                .collect()
        }
    };
    near::sort(tables, &options.near, &mut found, |check| &check.node);
    Ok((Reply::Checks(found), index))
}

fn on_meta(tables: &Tables, node: &Text, wanted: &TextMap) -> bool {
    wanted.is_empty()
        || tables
            .nodes
            .get(node)
            .is_some_and(|node| has_meta(node.meta.as_ref(), wanted))
}
