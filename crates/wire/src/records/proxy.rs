//! The proxy and gateway blocks of a service.

use std::borrow::Cow;

use tribune_types::proxy as domain;

use super::{list_or_nil, mirror, texts};
use crate::msgpack::{AnyMap, Str};

mirror! {
    /// `structs.ConnectProxyConfig`.
    ConnectProxyConfig<'a> {
        "Config" config: Option<AnyMap<'a>>,
        "DestinationServiceID" destination_service_id: Str<'a>,
        "DestinationServiceName" destination_service_name: Str<'a>,
        "Expose" expose: ExposeConfig<'a>,
        "LocalServiceAddress" local_service_address: Str<'a>,
        "LocalServicePort" local_service_port: i64,
        "MeshGateway" mesh_gateway: MeshGatewayConfig<'a>,
        "Upstreams" upstreams: Option<Vec<Upstream<'a>>>,
    }

    /// `structs.Upstream`.
    Upstream<'a> {
        "Config" config: Option<AnyMap<'a>>,
        "Datacenter" datacenter: Str<'a>,
        "DestinationName" destination_name: Str<'a>,
        "DestinationNamespace" destination_namespace: Str<'a>,
        "DestinationType" destination_type: Str<'a>,
        "IngressHosts" ingress_hosts: Option<Vec<Str<'a>>>,
        "LocalBindAddress" local_bind_address: Str<'a>,
        "LocalBindPort" local_bind_port: i64,
        "MeshGateway" mesh_gateway: MeshGatewayConfig<'a>,
    }

    /// `structs.MeshGatewayConfig`.
    MeshGatewayConfig<'a> {
        "Mode" mode: Str<'a>,
    }

    /// `structs.ExposeConfig`.
    ExposeConfig<'a> {
        "Checks" checks: bool,
        "Paths" paths: Option<Vec<ExposePath<'a>>>,
    }

    /// `structs.ExposePath`.
    ExposePath<'a> {
        "ListenerPort" listener_port: i64,
        "LocalPathPort" local_path_port: i64,
        "ParsedFromCheck" parsed_from_check: bool,
        "Path" path: Str<'a>,
        "Protocol" protocol: Str<'a>,
    }
}

impl<'a> From<&'a domain::ProxyConfig> for ConnectProxyConfig<'a> {
    fn from(p: &'a domain::ProxyConfig) -> Self {
        ConnectProxyConfig {
            config: p.config.as_ref().map(|map| AnyMap(Cow::Borrowed(map))),
            destination_service_id: (&p.destination_service_id).into(),
            destination_service_name: (&p.destination_service_name).into(),
            expose: (&p.expose).into(),
            local_service_address: (&p.local_service_address).into(),
            local_service_port: p.local_service_port,
            mesh_gateway: MeshGatewayConfig {
                mode: (&p.mesh_gateway_mode).into(),
            },
            upstreams: p
                .upstreams
                .as_ref()
                .map(|list| list.iter().map(Into::into).collect()),
        }
    }
}

impl From<ConnectProxyConfig<'_>> for domain::ProxyConfig {
    fn from(p: ConnectProxyConfig<'_>) -> Self {
        domain::ProxyConfig {
            destination_service_name: p.destination_service_name.into(),
            destination_service_id: p.destination_service_id.into(),
            local_service_address: p.local_service_address.into(),
            local_service_port: p.local_service_port,
            config: p.config.map(|map| map.0.into_owned()),
            upstreams: p
                .upstreams
                .map(|list| list.into_iter().map(Into::into).collect()),
            mesh_gateway_mode: p.mesh_gateway.mode.into(),
            expose: p.expose.into(),
        }
    }
}

impl<'a> From<&'a domain::Upstream> for Upstream<'a> {
    fn from(u: &'a domain::Upstream) -> Self {
        Upstream {
            config: u.config.as_ref().map(|map| AnyMap(Cow::Borrowed(map))),
            datacenter: (&u.datacenter).into(),
            destination_name: (&u.destination_name).into(),
            destination_namespace: (&u.destination_namespace).into(),
            destination_type: (&u.destination_type).into(),
            ingress_hosts: list_or_nil(&u.ingress_hosts),
            local_bind_address: (&u.local_bind_address).into(),
            local_bind_port: u.local_bind_port,
            mesh_gateway: MeshGatewayConfig {
                mode: (&u.mesh_gateway_mode).into(),
            },
        }
    }
}

impl From<Upstream<'_>> for domain::Upstream {
    fn from(u: Upstream<'_>) -> Self {
        domain::Upstream {
            destination_type: u.destination_type.into(),
            destination_namespace: u.destination_namespace.into(),
            destination_name: u.destination_name.into(),
            datacenter: u.datacenter.into(),
            local_bind_address: u.local_bind_address.into(),
            local_bind_port: u.local_bind_port,
            config: u.config.map(|map| map.0.into_owned()),
            mesh_gateway_mode: u.mesh_gateway.mode.into(),
            ingress_hosts: texts(u.ingress_hosts),
        }
    }
}

impl<'a> From<&'a domain::ExposeConfig> for ExposeConfig<'a> {
    fn from(e: &'a domain::ExposeConfig) -> Self {
        let path = |p: &'a domain::ExposePath| ExposePath {
            listener_port: p.listener_port,
            local_path_port: p.local_path_port,
            parsed_from_check: p.parsed_from_check,
            path: (&p.path).into(),
            protocol: (&p.protocol).into(),
        };
        ExposeConfig {
            checks: e.checks,
            paths: e.paths.as_ref().map(|list| list.iter().map(path).collect()),
        }
    }
}

impl From<ExposeConfig<'_>> for domain::ExposeConfig {
    fn from(e: ExposeConfig<'_>) -> Self {
        let path = |p: ExposePath<'_>| domain::ExposePath {
            listener_port: p.listener_port,
            path: p.path.into(),
            local_path_port: p.local_path_port,
            protocol: p.protocol.into(),
            parsed_from_check: p.parsed_from_check,
        };
        domain::ExposeConfig {
            checks: e.checks,
            paths: e.paths.map(|list| list.into_iter().map(path).collect()),
        }
    }
}
