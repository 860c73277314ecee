//! Nodes and service instances.

use std::sync::Arc;

use tribune_types::catalog::{Check, Node, Service, ServiceKind};
use tribune_types::query::Instance;
use tribune_types::text::Text;

use super::health::health_check;
use super::proxy::{proxy, tagged_addresses, weights};
use super::write::{
    boolean, field, indexes, int, list, object, raw, string, string_list, text_map,
};
use super::{Addresses, EmptyTags};

const WAN: &str = "wan";

/// Tags.
pub(super) fn tags(out: &mut Vec<u8>, tags: &[Text], empty: EmptyTags) {
    if tags.is_empty() && empty == EmptyTags::Null {
        raw(out, b"null");
    } else {
        string_list(out, tags);
    }
}

/// The address for agents of other datacenters: the tagged one of a family, IPv6 first, of the WAN if there is one, else of
/// the LAN; without any the one tagged `wan`, else the plain one. A tag of the WAN counts even if it is empty.
fn translated<'a>(plain: &'a str, tagged: impl Fn(&str) -> Option<&'a str>) -> &'a str {
    let family = |wan: &str, lan: &str| {
        let address = tagged(wan).or_else(|| tagged(lan));
        address.filter(|address| !address.is_empty())
    };
    family("wan_ipv6", "lan_ipv6")
        .or_else(|| family("wan_ipv4", "lan_ipv4"))
        .or_else(|| tagged(WAN))
        .unwrap_or(plain)
}

fn node_address(node: &Node, addresses: Addresses) -> &str {
    let tagged = |name: &str| {
        let tags = node.tagged_addresses.as_ref()?;
        tags.get(name).map(|address| &**address)
    };
    match addresses {
        Addresses::Lan => &node.address,
        Addresses::Wan => translated(&node.address, tagged),
    }
}

fn service_address(service: &Service, addresses: Addresses) -> (&str, i64) {
    let tag = |name: &str| {
        let mut tags = service.tagged_addresses.iter();
        tags.find(|(tag, _)| &**tag == name).map(|(_, tag)| tag)
    };
    match addresses {
        Addresses::Lan => (&service.address, service.port),
        Addresses::Wan => {
            let address = translated(&service.address, |name| tag(name).map(|tag| &*tag.address));
            let port = tag(WAN).map(|tag| tag.port).filter(|port| *port != 0);
            (address, port.unwrap_or(service.port))
        }
    }
}

fn node_id(out: &mut Vec<u8>, piece: &[u8], node: &Node) {
    raw(out, piece);
    out.push(b'"');
    if let Some(id) = &node.id {
        raw(out, &id.encode());
    }
    out.push(b'"');
}

/// A node.
pub(super) fn node(out: &mut Vec<u8>, node: &Node, addresses: Addresses) {
    node_id(out, b"{\"ID\":", node);
    field(out, b",\"Node\":", &node.name);
    field(out, b",\"Address\":", node_address(node, addresses));
    field(out, b",\"Datacenter\":", &node.datacenter);
    raw(out, b",\"TaggedAddresses\":");
    text_map(out, node.tagged_addresses.as_ref());
    raw(out, b",\"Meta\":");
    text_map(out, node.meta.as_ref());
    indexes(out, node.create.0, node.modify.0);
    out.push(b'}');
}

/// An instance.
pub(super) fn service(
    out: &mut Vec<u8>,
    service: &Service,
    addresses: Addresses,
    empty: EmptyTags,
) {
    out.push(b'{');
    if service.kind != ServiceKind::Typical {
        field(out, b"\"Kind\":", service.kind.as_str());
        out.push(b',');
    }
    field(out, b"\"ID\":", &service.id);
    field(out, b",\"Service\":", &service.name);
    raw(out, b",\"Tags\":");
    tags(out, &service.tags, empty);
    let (address, port) = service_address(service, addresses);
    field(out, b",\"Address\":", address);
    if !service.tagged_addresses.is_empty() {
        raw(out, b",\"TaggedAddresses\":");
        tagged_addresses(out, &service.tagged_addresses);
    }
    raw(out, b",\"Meta\":");
    text_map(out, service.meta.as_ref());
    raw(out, b",\"Port\":");
    int(out, port);
    raw(out, b",\"Weights\":");
    weights(out, service.weights);
    raw(out, b",\"EnableTagOverride\":");
    boolean(out, service.enable_tag_override);
    raw(out, b",\"Proxy\":");
    proxy(out, service.proxy.as_deref());
    raw(out, b",\"Connect\":");
    connect(out, service);
    indexes(out, service.create.0, service.modify.0);
    out.push(b'}');
}

fn connect(out: &mut Vec<u8>, service: &Service) {
    raw(
        out,
        if service.connect_native {
            b"{\"Native\":true}"
        } else {
            b"{}"
        },
    );
}

/// The flat form of an instance with its node.
pub(super) fn service_node(
    out: &mut Vec<u8>,
    node: &Node,
    service: &Service,
    addresses: Addresses,
) {
    node_id(out, b"{\"ID\":", node);
    field(out, b",\"Node\":", &node.name);
    field(out, b",\"Address\":", node_address(node, addresses));
    field(out, b",\"Datacenter\":", &node.datacenter);
    raw(out, b",\"TaggedAddresses\":");
    text_map(out, node.tagged_addresses.as_ref());
    raw(out, b",\"NodeMeta\":");
    text_map(out, node.meta.as_ref());
    field(out, b",\"ServiceKind\":", service.kind.as_str());
    field(out, b",\"ServiceID\":", &service.id);
    field(out, b",\"ServiceName\":", &service.name);
    raw(out, b",\"ServiceTags\":");
    tags(out, &service.tags, EmptyTags::Array);
    let (address, port) = service_address(service, addresses);
    field(out, b",\"ServiceAddress\":", address);
    if !service.tagged_addresses.is_empty() {
        raw(out, b",\"ServiceTaggedAddresses\":");
        tagged_addresses(out, &service.tagged_addresses);
    }
    raw(out, b",\"ServiceWeights\":");
    weights(out, service.weights);
    raw(out, b",\"ServiceMeta\":");
    // This form never shows null here, unlike all others.
    match &service.meta {
        None => raw(out, b"{}"),
        meta => text_map(out, meta.as_ref()),
    }
    raw(out, b",\"ServicePort\":");
    int(out, port);
    raw(out, b",\"ServiceEnableTagOverride\":");
    boolean(out, service.enable_tag_override);
    raw(out, b",\"ServiceProxy\":");
    proxy(out, service.proxy.as_deref());
    raw(out, b",\"ServiceConnect\":");
    connect(out, service);
    indexes(out, service.create.0, service.modify.0);
    out.push(b'}');
}

/// Checks.
pub(super) fn checks(out: &mut Vec<u8>, checks: &[Arc<Check>], empty: EmptyTags) {
    list(out, checks, |out, check| health_check(out, check, empty));
}

/// Instances with node and checks. Where empty tags are null, so is an empty list of checks.
pub(super) fn instances(
    out: &mut Vec<u8>,
    instances: &[Instance],
    addresses: Addresses,
    empty: EmptyTags,
) {
    list(out, instances, |out, instance| {
        raw(out, b"{\"Node\":");
        node(out, &instance.node, addresses);
        raw(out, b",\"Service\":");
        service(out, &instance.service, addresses, empty);
        raw(out, b",\"Checks\":");
        match (instance.checks.is_empty(), empty) {
            (true, EmptyTags::Null) => raw(out, b"null"),
            _ => checks(out, &instance.checks, empty),
        }
        out.push(b'}');
    });
}

/// Service names with their tags.
pub(super) fn service_names(out: &mut Vec<u8>, services: &[(Text, Vec<Text>)]) {
    object(
        out,
        services.iter().map(|(name, tags)| (name, tags)),
        |out, tags| string_list(out, tags),
    );
}

/// A node with its services as a map by ID, or `null`.
pub(super) fn node_services_map(
    out: &mut Vec<u8>,
    found: Option<&(Arc<Node>, Vec<Arc<Service>>)>,
    addresses: Addresses,
) {
    let Some((of, services)) = found else {
        raw(out, b"null");
        return;
    };
    raw(out, b"{\"Node\":");
    node(out, of, addresses);
    raw(out, b",\"Services\":");
    object(out, services.iter().map(|s| (&s.id, s)), |out, s| {
        service(out, s, addresses, EmptyTags::Array)
    });
    out.push(b'}');
}

/// A node with its services as a list; both null when the node is unknown, no list when it has no services.
pub(super) fn node_services_list(
    out: &mut Vec<u8>,
    found: Option<&(Arc<Node>, Vec<Arc<Service>>)>,
    addresses: Addresses,
) {
    let Some((of, services)) = found else {
        raw(out, b"{\"Node\":null,\"Services\":null}");
        return;
    };
    raw(out, b"{\"Node\":");
    node(out, of, addresses);
    raw(out, b",\"Services\":");
    if services.is_empty() {
        raw(out, b"null");
    } else {
        list(out, services, |out, s| {
            service(out, s, addresses, EmptyTags::Array)
        });
    }
    out.push(b'}');
}

/// The opening fields of a node in the UI's form.
pub(super) fn ui_node_head(out: &mut Vec<u8>, node: &Node, addresses: Addresses) {
    node_id(out, b"{\"ID\":", node);
    field(out, b",\"Node\":", &node.name);
    raw(out, b",\"Address\":");
    string(out, node_address(node, addresses));
    raw(out, b",\"TaggedAddresses\":");
    text_map(out, node.tagged_addresses.as_ref());
    raw(out, b",\"Meta\":");
    text_map(out, node.meta.as_ref());
}
