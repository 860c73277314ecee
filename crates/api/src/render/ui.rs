//! Answers for the UI: node dumps and the summary of services.

use std::collections::{BTreeMap, BTreeSet};

use tribune_types::catalog::{ServiceKind, Status};
use tribune_types::query::{Instance, NodeDump};

use super::catalog::{checks, service, ui_node_head};
use super::write::{field, list, raw, uint};
use super::{Addresses, EmptyTags};

/// Service metadata key that names the system an instance was synced from.
const EXTERNAL_SOURCE: &str = "external-source";

/// A node with everything on it.
pub(super) fn node_dump(out: &mut Vec<u8>, dump: &NodeDump, addresses: Addresses) {
    ui_node_head(out, &dump.node, addresses);
    raw(out, b",\"Services\":");
    list(out, &dump.services, |out, s| {
        service(out, s, addresses, EmptyTags::Null)
    });
    raw(out, b",\"Checks\":");
    checks(out, &dump.checks, EmptyTags::Null);
    out.push(b'}');
}

#[derive(Default)]
struct Summary<'a> {
    kind: ServiceKind,
    tags: BTreeSet<&'a str>,
    nodes: BTreeSet<&'a str>,
    instances: u64,
    proxy_for: BTreeSet<&'a str>,
    passing: u64,
    warning: u64,
    critical: u64,
    sources: BTreeSet<&'a str>,
}

/// The summary of all services, by name.
pub(super) fn service_summary(out: &mut Vec<u8>, instances: &[Instance]) {
    let mut summaries: BTreeMap<&str, Summary<'_>> = BTreeMap::new();
    for instance in instances {
        let service = &instance.service;
        let summary = summaries.entry(&service.name).or_default();
        summary.kind = service.kind;
        summary.instances += 1;
        summary.nodes.insert(&instance.node.name);
        summary.tags.extend(service.tags.iter().map(|tag| &**tag));
        if service.kind == ServiceKind::ConnectProxy
            && let Some(proxy) = &service.proxy
        {
            summary.proxy_for.insert(&proxy.destination_service_name);
        }
        if let Some(source) = service
            .meta
            .as_ref()
            .and_then(|meta| meta.get(EXTERNAL_SOURCE))
        {
            summary.sources.insert(source);
        }
        for check in instance.checks.iter() {
            match check.status {
                Status::Passing => summary.passing += 1,
                Status::Warning => summary.warning += 1,
                Status::Critical => summary.critical += 1,
            }
        }
    }
    list(out, summaries, |out, (name, summary)| {
        one(out, name, &summary)
    });
}

fn one(out: &mut Vec<u8>, name: &str, summary: &Summary<'_>) {
    out.push(b'{');
    if summary.kind != ServiceKind::Typical {
        field(out, b"\"Kind\":", summary.kind.as_str());
        out.push(b',');
    }
    field(out, b"\"Name\":", name);
    raw(out, b",\"Tags\":");
    names(out, &summary.tags);
    raw(out, b",\"Nodes\":");
    names(out, &summary.nodes);
    raw(out, b",\"InstanceCount\":");
    uint(out, summary.instances);
    if !summary.proxy_for.is_empty() {
        raw(out, b",\"ProxyFor\":");
        names(out, &summary.proxy_for);
    }
    for (piece, count) in [
        (&b",\"ChecksPassing\":"[..], summary.passing),
        (b",\"ChecksWarning\":", summary.warning),
        (b",\"ChecksCritical\":", summary.critical),
    ] {
        raw(out, piece);
        uint(out, count);
    }
    raw(out, b",\"ExternalSources\":");
    names(out, &summary.sources);
    raw(out, b",\"GatewayConfig\":{}}");
}

fn names(out: &mut Vec<u8>, names: &BTreeSet<&str>) {
    if names.is_empty() {
        raw(out, b"null");
    } else {
        list(out, names, |out, name| field(out, b"", name));
    }
}
