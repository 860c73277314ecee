//! Sample records with every field set.

use std::sync::Arc;

use tribune_types::catalog::{Check, Node, Service, ServiceAddress, ServiceKind, Status, Weights};
use tribune_types::proxy::{ExposeConfig, ExposePath, ProxyConfig, Upstream};
use tribune_types::query::{Instance, NodeDump};
use tribune_types::text::{TextMap, text};

fn map(pairs: &[(&str, &str)]) -> Option<TextMap> {
    Some(
        pairs
            .iter()
            .map(|(key, value)| (text(key), text(value)))
            .collect(),
    )
}

/// A node.
pub fn node() -> Node {
    Node {
        name: text("n1"),
        address: text("10.0.0.1"),
        datacenter: text("dc1"),
        tagged_addresses: map(&[("lan", "10.0.0.1"), ("wan", "1.2.3.4")]),
        meta: map(&[("env", "prod"), ("os", "linux")]),
        ..Node::default()
    }
}

/// An instance that is a proxy.
pub fn service() -> Service {
    let address = ServiceAddress {
        address: text("1.2.3.4"),
        port: 80,
    };
    let upstream = Upstream {
        destination_type: text("service"),
        destination_name: text("db"),
        datacenter: text("dc2"),
        local_bind_address: text("127.0.0.1"),
        local_bind_port: 9,
        mesh_gateway_mode: text("local"),
        ..Upstream::default()
    };
    let path = ExposePath {
        listener_port: 1,
        path: text("/health"),
        local_path_port: 2,
        protocol: text("http"),
        parsed_from_check: true,
    };
    Service {
        kind: ServiceKind::ConnectProxy,
        id: text("web1"),
        name: text("web"),
        tags: vec![text("v1"), text("a,b")],
        address: text("10.0.0.2"),
        tagged_addresses: vec![(text("lan"), address.clone()), (text("wan"), address)],
        meta: map(&[("version", "3")]),
        port: 8080,
        weights: Some(Weights {
            passing: 5,
            warning: 1,
        }),
        proxy: Some(Box::new(ProxyConfig {
            destination_service_name: text("web"),
            local_service_port: 8081,
            upstreams: Some(vec![upstream.clone(), upstream]),
            mesh_gateway_mode: text("remote"),
            expose: ExposeConfig {
                checks: true,
                paths: Some(vec![path]),
            },
            ..ProxyConfig::default()
        })),
        ..Service::default()
    }
}

/// A check.
pub fn check() -> Check {
    Check {
        node: text("n1"),
        id: text("service:web1"),
        name: text("web alive"),
        status: Status::Passing,
        notes: text("note"),
        output: text("HTTP GET: 200 OK"),
        service_id: text("web1"),
        service_name: text("web"),
        service_tags: vec![text("v1")],
        check_type: text("http"),
        ..Check::default()
    }
}

/// An instance with node and checks.
pub fn instance() -> Instance {
    Instance {
        node: Arc::new(node()),
        service: Arc::new(service()),
        checks: [Arc::new(check())].into(),
    }
}

/// A node with everything on it.
pub fn node_dump() -> NodeDump {
    NodeDump {
        node: Arc::new(node()),
        services: vec![Arc::new(service()), Arc::new(Service::default())],
        checks: vec![Arc::new(check()), Arc::new(Check::default())],
    }
}
