//! A query carried out on one version: the instances that are left, unsorted.

use tribune_types::catalog::{Check, Service, Status};
use tribune_types::prepared::{PreparedQuery, QueryService};
use tribune_types::query::Instance;
use tribune_types::text::{Text, TextMap};

use crate::intern::{folded, same_word};
use crate::tables::Tables;

/// The instances that a query leaves, by node and ID. `connect` looks for mesh-capable endpoints whatever the query says.
pub(crate) fn instances(tables: &Tables, query: &PreparedQuery, connect: bool) -> Vec<Instance> {
    let service = &query.service;
    let name = folded(&service.service);
    let fits = |instance: &&Instance| {
        instance
            .checks
            .iter()
            .all(|check| counts_as_up(service, check))
            && has_all(instance.node.meta.as_ref(), service.node_meta.as_ref())
            && has_all(
                instance.service.meta.as_ref(),
                service.service_meta.as_ref(),
            )
            && has_tags(
                &instance.service,
                service.tags.as_deref().unwrap_or_default(),
            )
    };
    if service.connect || connect {
        tables.connect_of(&name).filter(fits).cloned().collect()
    } else {
        tables.instances_of(&name).filter(fits).cloned().collect()
    }
}

/// True if a check does not speak against its instance.
fn counts_as_up(service: &QueryService, check: &Check) -> bool {
    if service
        .ignore_check_ids
        .iter()
        .flatten()
        .any(|ignored| *ignored == check.id)
    {
        return true;
    }
    match check.status {
        Status::Passing => true,
        Status::Warning => !service.only_passing,
        Status::Critical => false,
    }
}

fn has_all(meta: Option<&TextMap>, wanted: Option<&TextMap>) -> bool {
    match (meta, wanted) {
        (_, None) => true,
        (Some(meta), Some(wanted)) => meta.contains_all(wanted),
        (None, Some(wanted)) => wanted.is_empty(),
    }
}

/// True if the instance has all wanted tags and none of those after a `!`, in any letter case.
fn has_tags(service: &Service, wanted: &[Text]) -> bool {
    let has = |tag: &str| service.tags.iter().any(|own| same_word(own, tag));
    wanted.iter().all(|tag| match tag.strip_prefix('!') {
        Some(unwanted) => !has(unwanted),
        None => has(tag),
    })
}

/// The first node by name with exactly this address.
pub(crate) fn node_with_address(tables: &Tables, address: &str) -> Option<Text> {
    let node = tables
        .nodes
        .values()
        .find(|node| &*node.address == address)?;
    Some(node.name.clone())
}
