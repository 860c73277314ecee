//! The content hash of a service, by which readers wait for it to change.
//!
//! Clients may keep a hash over a change of the agent's binary, so it is the one Consul computes: 64-bit FNV-1 over the
//! service's shown structure. Numbers are hashed as 8 little-endian bytes, lists in order, maps and structures as the
//! exclusive-or of their pairs, structures with their type's name. Pinned by values of a real 1.8.7.

use tribune_types::catalog::{Service, ServiceKind};
use tribune_types::proxy::{ExposeConfig, ProxyConfig, Upstream};
use tribune_types::text::{Text, text};
use tribune_types::value::{Value, ValueMap};

/// Hash of everything a client sees of a service, but for the indexes.
pub fn content_hash(service: &Service) -> Text {
    let weights = service.weights.unwrap_or_default();
    let proxy = match &service.proxy {
        Some(proxy) if service.kind != ServiceKind::Typical => proxy_config(proxy),
        _ => nil(),
    };
    let connect = if service.connect_native {
        structure(
            "AgentServiceConnect",
            &[("Native", boolean(true)), ("SidecarService", nil())],
        )
    } else {
        nil()
    };
    let tagged = service.tagged_addresses.iter().map(|(name, at)| {
        let value = [("Address", string(&at.address)), ("Port", signed(at.port))];
        (string(name), structure("ServiceAddress", &value))
    });
    let hash = structure(
        "AgentService",
        &[
            ("Kind", string(service.kind.as_str())),
            ("ID", string(&service.id)),
            ("Service", string(&service.name)),
            ("Tags", list(service.tags.iter().map(|tag| string(tag)))),
            (
                "Meta",
                map(service
                    .meta
                    .iter()
                    .flat_map(|meta| meta.iter())
                    .map(|(k, v)| (string(k), string(v)))),
            ),
            ("Port", signed(service.port)),
            ("Address", string(&service.address)),
            ("TaggedAddresses", map(tagged)),
            (
                "Weights",
                structure(
                    "AgentWeights",
                    &[
                        ("Passing", signed(weights.passing)),
                        ("Warning", signed(weights.warning)),
                    ],
                ),
            ),
            ("EnableTagOverride", boolean(service.enable_tag_override)),
            // The indexes of a local service are 0, and the hash is made before it is filled in.
            ("CreateIndex", signed(0)),
            ("ModifyIndex", signed(0)),
            ("ContentHash", string("")),
            ("Proxy", proxy),
            ("Connect", connect),
        ],
    );
    text(&format!("{hash:x}"))
}

fn proxy_config(proxy: &ProxyConfig) -> u64 {
    structure(
        "AgentServiceConnectProxyConfig",
        &[
            (
                "DestinationServiceName",
                string(&proxy.destination_service_name),
            ),
            (
                "DestinationServiceID",
                string(&proxy.destination_service_id),
            ),
            ("LocalServiceAddress", string(&proxy.local_service_address)),
            ("LocalServicePort", signed(proxy.local_service_port)),
            ("Config", opaque_map(proxy.config.as_ref())),
            (
                "Upstreams",
                list(proxy.upstreams.iter().flatten().map(upstream)),
            ),
            ("MeshGateway", mesh_gateway(&proxy.mesh_gateway_mode)),
            ("Expose", expose(&proxy.expose)),
        ],
    )
}

fn upstream(upstream: &Upstream) -> u64 {
    structure(
        "Upstream",
        &[
            ("DestinationType", string(&upstream.destination_type)),
            (
                "DestinationNamespace",
                string(&upstream.destination_namespace),
            ),
            ("DestinationName", string(&upstream.destination_name)),
            ("Datacenter", string(&upstream.datacenter)),
            ("LocalBindAddress", string(&upstream.local_bind_address)),
            ("LocalBindPort", signed(upstream.local_bind_port)),
            ("Config", opaque_map(upstream.config.as_ref())),
            ("MeshGateway", mesh_gateway(&upstream.mesh_gateway_mode)),
        ],
    )
}

fn mesh_gateway(mode: &str) -> u64 {
    structure("MeshGatewayConfig", &[("Mode", string(mode))])
}

fn expose(expose: &ExposeConfig) -> u64 {
    let paths = expose.paths.iter().flatten().map(|path| {
        structure(
            "ExposePath",
            &[
                ("ListenerPort", signed(path.listener_port)),
                ("Path", string(&path.path)),
                ("LocalPathPort", signed(path.local_path_port)),
                ("Protocol", string(&path.protocol)),
                ("ParsedFromCheck", boolean(path.parsed_from_check)),
            ],
        )
    });
    structure(
        "ExposeConfig",
        &[("Checks", boolean(expose.checks)), ("Paths", list(paths))],
    )
}

fn opaque_map(values: Option<&ValueMap>) -> u64 {
    map(values
        .into_iter()
        .flatten()
        .map(|(key, value)| (string(key), opaque(value))))
}

fn opaque(value: &Value) -> u64 {
    match value {
        Value::Null => nil(),
        Value::Bool(b) => boolean(*b),
        Value::Int(n) => signed(*n),
        Value::UInt(n) => fnv(&n.to_le_bytes()),
        Value::Float(f) => fnv(&f.to_le_bytes()),
        Value::String(s) => string(s),
        Value::List(items) => list(items.iter().map(opaque)),
        Value::Map(values) => opaque_map(Some(values)),
    }
}

fn structure(name: &str, fields: &[(&str, u64)]) -> u64 {
    fields.iter().fold(string(name), |hash, (field, value)| {
        hash ^ pair(string(field), *value)
    })
}

fn map(pairs: impl Iterator<Item = (u64, u64)>) -> u64 {
    pairs.fold(0, |hash, (key, value)| hash ^ pair(key, value))
}

fn list(items: impl Iterator<Item = u64>) -> u64 {
    items.fold(0, pair)
}

fn pair(a: u64, b: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&a.to_le_bytes());
    bytes[8..].copy_from_slice(&b.to_le_bytes());
    fnv(&bytes)
}

fn string(s: &str) -> u64 {
    fnv(s.as_bytes())
}

fn signed(n: i64) -> u64 {
    fnv(&n.to_le_bytes())
}

fn boolean(b: bool) -> u64 {
    fnv(&[u8::from(b)])
}

/// An absent pointer hashes as the number 0.
fn nil() -> u64 {
    signed(0)
}

/// FNV-1 with 64 bits (multiply, then exclusive-or).
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(*byte)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use tribune_types::id::Index;

    fn foo() -> Service {
        Service {
            id: text("foo"),
            name: text("foo"),
            tags: vec![text("bar"), text("baz")],
            port: 8000,
            ..Service::default()
        }
    }

    #[test]
    fn the_hash_is_the_one_a_real_agent_gives() {
        assert_eq!(&*content_hash(&foo()), "6b13684bfe179e67");
    }

    #[test]
    fn the_hash_follows_the_content_and_not_the_indexes() {
        let moved = Service {
            modify: Index(7),
            ..foo()
        };
        let changed = Service { port: 81, ..foo() };
        assert_eq!(content_hash(&foo()), content_hash(&moved));
        assert_ne!(content_hash(&foo()), content_hash(&changed));
    }
}
