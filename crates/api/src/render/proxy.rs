//! Proxy and gateway blocks.

use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};

use super::value::value_map;
use super::write::{Sparse, boolean, field, int, list, raw};

/// The block of a catalog answer: always present, `{"MeshGateway":{},"Expose":{}}` when all default.
pub(super) fn proxy(out: &mut Vec<u8>, proxy: Option<&ProxyConfig>) {
    match proxy {
        None => raw(out, b"{\"MeshGateway\":{},\"Expose\":{}}"),
        Some(config) => block(out, config, Shape::Catalog),
    }
}

/// The block of an agent answer.
pub(super) fn agent_proxy(out: &mut Vec<u8>, config: &ProxyConfig) {
    block(out, config, Shape::Agent);
}

#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// Upstreams always show type, datacenter and config.
    Catalog,
    /// Upstreams leave out an empty datacenter and config.
    Agent,
}

fn block(out: &mut Vec<u8>, config: &ProxyConfig, shape: Shape) {
    let mut fields = Sparse::open(out);
    fields.text(
        out,
        "DestinationServiceName",
        &config.destination_service_name,
    );
    fields.text(out, "DestinationServiceID", &config.destination_service_id);
    fields.text(out, "LocalServiceAddress", &config.local_service_address);
    fields.int(out, "LocalServicePort", config.local_service_port);
    if let Some(map) = config.config.as_ref().filter(|map| !map.is_empty()) {
        fields.name(out, "Config");
        value_map(out, map);
    }
    if let Some(upstreams) = config.upstreams.as_ref().filter(|list| !list.is_empty()) {
        fields.name(out, "Upstreams");
        list(out, upstreams, |out, up| upstream(out, up, shape));
    }
    fields.name(out, "MeshGateway");
    mesh_gateway(out, &config.mesh_gateway_mode);
    fields.name(out, "Expose");
    expose(out, &config.expose);
    fields.close(out);
}

fn upstream(out: &mut Vec<u8>, up: &Upstream, shape: Shape) {
    let mut fields = Sparse::open(out);
    if shape == Shape::Catalog || !up.destination_type.is_empty() {
        fields.name(out, "DestinationType");
        field(out, b"", &up.destination_type);
    }
    fields.text(out, "DestinationNamespace", &up.destination_namespace);
    fields.name(out, "DestinationName");
    field(out, b"", &up.destination_name);
    if shape == Shape::Catalog || !up.datacenter.is_empty() {
        fields.name(out, "Datacenter");
        field(out, b"", &up.datacenter);
    }
    fields.text(out, "LocalBindAddress", &up.local_bind_address);
    if shape == Shape::Catalog || up.local_bind_port != 0 {
        fields.name(out, "LocalBindPort");
        int(out, up.local_bind_port);
    }
    match &up.config {
        Some(map) if shape == Shape::Catalog || !map.is_empty() => {
            fields.name(out, "Config");
            value_map(out, map);
        }
        None if shape == Shape::Catalog => {
            fields.name(out, "Config");
            raw(out, b"null");
        }
        _ => {}
    }
    fields.name(out, "MeshGateway");
    mesh_gateway(out, &up.mesh_gateway_mode);
    if !up.ingress_hosts.is_empty() && shape == Shape::Catalog {
        fields.name(out, "IngressHosts");
        super::write::string_list(out, &up.ingress_hosts);
    }
    fields.close(out);
}

fn mesh_gateway(out: &mut Vec<u8>, mode: &str) {
    let mut fields = Sparse::open(out);
    fields.text(out, "Mode", mode);
    fields.close(out);
}

fn expose(out: &mut Vec<u8>, config: &ExposeConfig) {
    let mut fields = Sparse::open(out);
    fields.flag(out, "Checks", config.checks);
    if let Some(paths) = config.paths.as_ref().filter(|list| !list.is_empty()) {
        fields.name(out, "Paths");
        list(out, paths, expose_path);
    }
    fields.close(out);
}

fn expose_path(out: &mut Vec<u8>, path: &ExposePath) {
    let mut fields = Sparse::open(out);
    fields.int(out, "ListenerPort", path.listener_port);
    fields.text(out, "Path", &path.path);
    fields.int(out, "LocalPathPort", path.local_path_port);
    fields.text(out, "Protocol", &path.protocol);
    fields.name(out, "ParsedFromCheck");
    boolean(out, path.parsed_from_check);
    fields.close(out);
}

/// DNS weights; never set reads 1/1.
pub(super) fn weights(out: &mut Vec<u8>, weights: Option<tribune_types::catalog::Weights>) {
    let weights = weights.unwrap_or_default();
    raw(out, b"{\"Passing\":");
    int(out, weights.passing);
    raw(out, b",\"Warning\":");
    int(out, weights.warning);
    out.push(b'}');
}

/// Named addresses.
pub(super) fn tagged_addresses(
    out: &mut Vec<u8>,
    list: &[(
        tribune_types::text::Text,
        tribune_types::catalog::ServiceAddress,
    )],
) {
    super::write::object(
        out,
        list.iter().map(|(name, address)| (name, address)),
        |out, address: &tribune_types::catalog::ServiceAddress| {
            field(out, b"{\"Address\":", &address.address);
            raw(out, b",\"Port\":");
            int(out, address.port);
            out.push(b'}');
        },
    );
}
