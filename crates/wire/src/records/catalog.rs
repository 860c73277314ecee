//! Nodes, services, checks and the requests that put them in and take them out.

use tribune_types::catalog as domain;
use tribune_types::id::Index;
use tribune_types::text::Text;

use super::{ConnectProxyConfig, RecordError, list_or_nil, mirror, texts, uuid_opt, uuid_text};
use crate::msgpack::{Dur, Map, Str};

mirror! {
    /// `structs.RegisterRequest`.
    RegisterRequest<'a> {
        "Address" address: Str<'a>,
        "Check" check: Option<HealthCheck<'a>>,
        "Checks" checks: Option<Vec<HealthCheck<'a>>>,
        "CreateIndex" create_index: u64,
        "Datacenter" datacenter: Str<'a>,
        "ID" id: Str<'a>,
        "ModifyIndex" modify_index: u64,
        "Node" node: Str<'a>,
        "NodeMeta" node_meta: Option<Map<'a, Str<'a>>>,
        "Service" service: Option<NodeService<'a>>,
        "SkipNodeUpdate" skip_node_update: bool,
        "TaggedAddresses" tagged_addresses: Option<Map<'a, Str<'a>>>,
        "Token" token: Str<'a>,
    }

    /// `structs.DeregisterRequest`.
    DeregisterRequest<'a> {
        "CheckID" check_id: Str<'a>,
        "Datacenter" datacenter: Str<'a>,
        "Node" node: Str<'a>,
        "ServiceID" service_id: Str<'a>,
        "Token" token: Str<'a>,
    }

    /// `structs.Node`.
    Node<'a> {
        "Address" address: Str<'a>,
        "CreateIndex" create_index: u64,
        "Datacenter" datacenter: Str<'a>,
        "ID" id: Str<'a>,
        "Meta" meta: Option<Map<'a, Str<'a>>>,
        "ModifyIndex" modify_index: u64,
        "Node" node: Str<'a>,
        "TaggedAddresses" tagged_addresses: Option<Map<'a, Str<'a>>>,
    }

    /// `structs.NodeService`.
    NodeService<'a> {
        "Address" address: Str<'a>,
        "Connect" connect: ServiceConnect,
        "CreateIndex" create_index: u64,
        "EnableTagOverride" enable_tag_override: bool,
        "ID" id: Str<'a>,
        "Kind" kind: Str<'a>,
        "LocallyRegisteredAsSidecar" locally_registered_as_sidecar: bool,
        "Meta" meta: Option<Map<'a, Str<'a>>>,
        "ModifyIndex" modify_index: u64,
        "Port" port: i64,
        "Proxy" proxy: ConnectProxyConfig<'a>,
        "Service" service: Str<'a>,
        "TaggedAddresses" tagged_addresses: Option<Map<'a, ServiceAddress<'a>>>,
        "Tags" tags: Option<Vec<Str<'a>>>,
        "Weights" weights: Option<Weights>,
    }

    /// `structs.ServiceAddress`.
    ServiceAddress<'a> {
        "Address" address: Str<'a>,
        "Port" port: i64,
    }

    /// `structs.Weights`.
    Weights {
        "Passing" passing: i64,
        "Warning" warning: i64,
    }

    /// `structs.ServiceConnect` as the catalog holds it: an agent resolves the sidecar definition
    /// before it registers a service, so none arrives here.
    ServiceConnect {
        "Native" native: bool,
        "SidecarService" sidecar_service: Nothing,
    }

    /// `structs.HealthCheck`.
    HealthCheck<'a> {
        "CheckID" check_id: Str<'a>,
        "CreateIndex" create_index: u64,
        "Definition" definition: HealthCheckDefinition<'a>,
        "ModifyIndex" modify_index: u64,
        "Name" name: Str<'a>,
        "Node" node: Str<'a>,
        "Notes" notes: Str<'a>,
        "Output" output: Str<'a>,
        "ServiceID" service_id: Str<'a>,
        "ServiceName" service_name: Str<'a>,
        "ServiceTags" service_tags: Option<Vec<Str<'a>>>,
        "Status" status: Str<'a>,
        "Type" check_type: Str<'a>,
    }

    /// `structs.HealthCheckDefinition`.
    HealthCheckDefinition<'a> {
        "AliasNode" alias_node: Str<'a>,
        "AliasService" alias_service: Str<'a>,
        "Body" body: Str<'a>,
        "DeregisterCriticalServiceAfter" deregister_critical_service_after: Dur,
        "DockerContainerID" docker_container_id: Str<'a>,
        "GRPC" grpc: Str<'a>,
        "GRPCUseTLS" grpc_use_tls: bool,
        "HTTP" http: Str<'a>,
        "Header" header: Option<Map<'a, Option<Vec<Str<'a>>>>>,
        "Interval" interval: Dur,
        "Method" method: Str<'a>,
        "OutputMaxSize" output_max_size: u64,
        "ScriptArgs" script_args: Option<Vec<Str<'a>>>,
        "Shell" shell: Str<'a>,
        "TCP" tcp: Str<'a>,
        "TLSSkipVerify" tls_skip_verify: bool,
        "TTL" ttl: Dur,
        "Timeout" timeout: Dur,
    }
}

/// A field that is always nil when written and skipped when read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Nothing;

impl<'a> From<&'a domain::Register> for RegisterRequest<'a> {
    fn from(r: &'a domain::Register) -> Self {
        RegisterRequest {
            address: (&r.address).into(),
            checks: (!r.checks.is_empty()).then(|| r.checks.iter().map(Into::into).collect()),
            datacenter: (&r.datacenter).into(),
            id: uuid_text(r.id),
            node: (&r.node).into(),
            node_meta: r.node_meta.as_ref().map(Into::into),
            service: r.service.as_ref().map(Into::into),
            skip_node_update: r.skip_node_update,
            tagged_addresses: r.tagged_addresses.as_ref().map(Into::into),
            ..RegisterRequest::default()
        }
    }
}

impl TryFrom<RegisterRequest<'_>> for domain::Register {
    type Error = RecordError;

    fn try_from(r: RegisterRequest<'_>) -> Result<Self, RecordError> {
        let checks = r.check.into_iter().chain(r.checks.into_iter().flatten());
        Ok(domain::Register {
            datacenter: r.datacenter.into(),
            id: uuid_opt("node ID", &r.id)?,
            node: r.node.into(),
            address: r.address.into(),
            tagged_addresses: r.tagged_addresses.map(Into::into),
            node_meta: r.node_meta.map(Into::into),
            service: r.service.map(TryInto::try_into).transpose()?,
            checks: checks.map(Into::into).collect(),
            skip_node_update: r.skip_node_update,
        })
    }
}

impl<'a> From<&'a domain::Deregister> for DeregisterRequest<'a> {
    fn from(r: &'a domain::Deregister) -> Self {
        DeregisterRequest {
            check_id: (&r.check_id).into(),
            datacenter: (&r.datacenter).into(),
            node: (&r.node).into(),
            service_id: (&r.service_id).into(),
            token: Str::default(),
        }
    }
}

impl From<DeregisterRequest<'_>> for domain::Deregister {
    fn from(r: DeregisterRequest<'_>) -> Self {
        domain::Deregister {
            datacenter: r.datacenter.into(),
            node: r.node.into(),
            service_id: r.service_id.into(),
            check_id: r.check_id.into(),
        }
    }
}

impl<'a> From<&'a domain::Node> for Node<'a> {
    fn from(n: &'a domain::Node) -> Self {
        Node {
            address: (&n.address).into(),
            create_index: n.create.0,
            datacenter: (&n.datacenter).into(),
            id: uuid_text(n.id),
            meta: n.meta.as_ref().map(Into::into),
            modify_index: n.modify.0,
            node: (&n.name).into(),
            tagged_addresses: n.tagged_addresses.as_ref().map(Into::into),
        }
    }
}

impl TryFrom<Node<'_>> for domain::Node {
    type Error = RecordError;

    fn try_from(n: Node<'_>) -> Result<Self, RecordError> {
        Ok(domain::Node {
            id: uuid_opt("node ID", &n.id)?,
            name: n.node.into(),
            address: n.address.into(),
            datacenter: n.datacenter.into(),
            tagged_addresses: n.tagged_addresses.map(Into::into),
            meta: n.meta.map(Into::into),
            create: Index(n.create_index),
            modify: Index(n.modify_index),
        })
    }
}

impl<'a> From<&'a domain::Service> for NodeService<'a> {
    fn from(s: &'a domain::Service) -> Self {
        let addresses = || {
            Map(s
                .tagged_addresses
                .iter()
                .map(|(k, v)| (k.into(), v.into()))
                .collect())
        };
        NodeService {
            address: (&s.address).into(),
            connect: ServiceConnect {
                native: s.connect_native,
                sidecar_service: Nothing,
            },
            create_index: s.create.0,
            enable_tag_override: s.enable_tag_override,
            id: (&s.id).into(),
            kind: s.kind.as_str().into(),
            locally_registered_as_sidecar: s.locally_registered_as_sidecar,
            meta: s.meta.as_ref().map(Into::into),
            modify_index: s.modify.0,
            port: s.port,
            proxy: s.proxy.as_deref().map(Into::into).unwrap_or_default(),
            service: (&s.name).into(),
            tagged_addresses: (!s.tagged_addresses.is_empty() || s.given_empty.tagged_addresses)
                .then(addresses),
            tags: tags_of(&s.tags, s.given_empty.tags),
            weights: s.weights.map(|w| Weights {
                passing: w.passing,
                warning: w.warning,
            }),
        }
    }
}

impl<'a> NodeService<'a> {
    /// The form of replies: an instance that was registered without weights has the default ones.
    pub(crate) fn stored(service: &'a domain::Service) -> NodeService<'a> {
        let mut mirror = NodeService::from(service);
        mirror.weights.get_or_insert(Weights {
            passing: 1,
            warning: 1,
        });
        mirror
    }
}

impl TryFrom<NodeService<'_>> for domain::Service {
    type Error = RecordError;

    fn try_from(s: NodeService<'_>) -> Result<Self, RecordError> {
        let kind = domain::ServiceKind::parse(&s.kind).ok_or_else(|| RecordError::Word {
            field: "service kind",
            word: s.kind.to_string(),
        })?;
        Ok(domain::Service {
            kind,
            given_empty: domain::GivenEmpty {
                tags: is_given_empty(s.tags.as_deref()),
                tagged_addresses: is_given_empty(s.tagged_addresses.as_ref().map(|m| &m.0[..])),
            },
            id: s.id.into(),
            name: s.service.into(),
            tags: texts(s.tags),
            address: s.address.into(),
            tagged_addresses: by_name(s.tagged_addresses, Into::into),
            meta: s.meta.map(Into::into),
            port: s.port,
            weights: s.weights.map(|w| domain::Weights {
                passing: w.passing,
                warning: w.warning,
            }),
            enable_tag_override: s.enable_tag_override,
            proxy: unless_default(s.proxy.into()),
            connect_native: s.connect.native,
            locally_registered_as_sidecar: s.locally_registered_as_sidecar,
            create: Index(s.create_index),
            modify: Index(s.modify_index),
        })
    }
}

impl<'a> From<&'a domain::ServiceAddress> for ServiceAddress<'a> {
    fn from(a: &'a domain::ServiceAddress) -> Self {
        ServiceAddress {
            address: (&a.address).into(),
            port: a.port,
        }
    }
}

impl From<ServiceAddress<'_>> for domain::ServiceAddress {
    fn from(a: ServiceAddress<'_>) -> Self {
        domain::ServiceAddress {
            address: a.address.into(),
            port: a.port,
        }
    }
}

impl<'a> From<&'a domain::Check> for HealthCheck<'a> {
    fn from(c: &'a domain::Check) -> Self {
        HealthCheck {
            check_id: (&c.id).into(),
            create_index: c.create.0,
            definition: c.definition.as_deref().map(Into::into).unwrap_or_default(),
            modify_index: c.modify.0,
            name: (&c.name).into(),
            node: (&c.node).into(),
            notes: (&c.notes).into(),
            output: (&c.output).into(),
            service_id: (&c.service_id).into(),
            service_name: (&c.service_name).into(),
            service_tags: tags_of(&c.service_tags, c.tags_given_empty),
            status: c.status.as_str().into(),
            check_type: (&c.check_type).into(),
        }
    }
}

impl From<HealthCheck<'_>> for domain::Check {
    /// A status outside the three words counts as critical: readers that know only the words must
    /// not take it for healthy.
    fn from(c: HealthCheck<'_>) -> Self {
        domain::Check {
            node: c.node.into(),
            id: c.check_id.into(),
            name: c.name.into(),
            status: domain::Status::parse(&c.status).unwrap_or(domain::Status::Critical),
            notes: c.notes.into(),
            output: c.output.into(),
            service_id: c.service_id.into(),
            service_name: c.service_name.into(),
            tags_given_empty: is_given_empty(c.service_tags.as_deref()),
            service_tags: texts(c.service_tags),
            check_type: c.check_type.into(),
            definition: unless_default(c.definition.into()),
            create: Index(c.create_index),
            modify: Index(c.modify_index),
        }
    }
}

impl<'a> From<&'a domain::CheckDetail> for HealthCheckDefinition<'a> {
    fn from(d: &'a domain::CheckDetail) -> Self {
        let header = || {
            Map(d
                .header
                .iter()
                .map(|(k, v)| (k.into(), list_or_nil(v)))
                .collect())
        };
        HealthCheckDefinition {
            alias_node: (&d.alias_node).into(),
            alias_service: (&d.alias_service).into(),
            body: (&d.body).into(),
            deregister_critical_service_after: d.deregister_critical_service_after.into(),
            docker_container_id: (&d.docker_container_id).into(),
            grpc: (&d.grpc).into(),
            grpc_use_tls: d.grpc_use_tls,
            http: (&d.http).into(),
            header: (!d.header.is_empty()).then(header),
            interval: d.interval.into(),
            method: (&d.method).into(),
            output_max_size: d.output_max_size,
            script_args: list_or_nil(&d.script_args),
            shell: (&d.shell).into(),
            tcp: (&d.tcp).into(),
            tls_skip_verify: d.tls_skip_verify,
            ttl: d.ttl.into(),
            timeout: d.timeout.into(),
        }
    }
}

impl From<HealthCheckDefinition<'_>> for domain::CheckDetail {
    fn from(d: HealthCheckDefinition<'_>) -> Self {
        domain::CheckDetail {
            http: d.http.into(),
            tls_skip_verify: d.tls_skip_verify,
            header: by_name(d.header, texts),
            method: d.method.into(),
            body: d.body.into(),
            tcp: d.tcp.into(),
            interval: d.interval.into(),
            output_max_size: d.output_max_size,
            timeout: d.timeout.into(),
            deregister_critical_service_after: d.deregister_critical_service_after.into(),
            script_args: texts(d.script_args),
            docker_container_id: d.docker_container_id.into(),
            shell: d.shell.into(),
            grpc: d.grpc.into(),
            grpc_use_tls: d.grpc_use_tls,
            alias_node: d.alias_node.into(),
            alias_service: d.alias_service.into(),
            ttl: d.ttl.into(),
        }
    }
}

/// The entries of a map in order of their names; the last of equal names wins, as in the original.
fn by_name<V, T>(map: Option<Map<'_, V>>, convert: impl Fn(V) -> T) -> Vec<(Text, T)> {
    let entries = map.unwrap_or_default().0;
    let mut out: Vec<(Text, T)> = entries
        .into_iter()
        .map(|(k, v)| (k.to_text(), convert(v)))
        .collect();
    out.reverse();
    out.sort_by(|a, b| a.0.cmp(&b.0));
    out.dedup_by(|a, b| a.0 == b.0);
    out
}

/// Tags as they were given: nil or empty when there are none.
fn tags_of(tags: &[Text], given_empty: bool) -> Option<Vec<Str<'_>>> {
    if given_empty && tags.is_empty() {
        Some(Vec::new())
    } else {
        list_or_nil(tags)
    }
}

fn is_given_empty<T>(items: Option<&[T]>) -> bool {
    items.is_some_and(<[T]>::is_empty)
}

/// Blocks that say nothing are not kept.
fn unless_default<T: Default + PartialEq>(block: T) -> Option<Box<T>> {
    (block != T::default()).then(|| Box::new(block))
}
