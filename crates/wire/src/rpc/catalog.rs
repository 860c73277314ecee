//! `Catalog.*` reads: nodes, services, services on nodes.

use std::sync::Arc;

use tribune_types::catalog as domain;
use tribune_types::query::{Endpoint, ListOptions, Query, Reply, ServiceQuery};
use tribune_types::text::{Text, TextMap};

use super::Error;
use super::common::{Common, put_node_meta};
use super::fields::{Each, Empty, Fields};
use crate::msgpack::{self, Map, Str};
use crate::records::{
    ConnectProxyConfig, Node, NodeService, ServiceAddress, ServiceConnect, Weights, mirror, strs,
    texts,
};

mirror! {
    /// `structs.NodeSpecificRequest`.
    NodeSpecificRequest<'a> {
        "Node" node: Str<'a>,
    }

    /// `structs.ServiceSpecificRequest`.
    ServiceSpecificRequest<'a> {
        "Connect" connect: bool,
        "Ingress" ingress: bool,
        "ServiceAddress" service_address: Str<'a>,
        "ServiceName" service_name: Str<'a>,
        "ServiceTag" service_tag: Str<'a>,
        "ServiceTags" service_tags: Option<Vec<Str<'a>>>,
        "TagFilter" tag_filter: bool,
    }

    /// `structs.ServiceNode`: an instance with the fields of its node merged in. The indexes are the instance's.
    ServiceNode<'a> {
        "Address" address: Str<'a>,
        "CreateIndex" create_index: u64,
        "Datacenter" datacenter: Str<'a>,
        "ID" id: Str<'a>,
        "ModifyIndex" modify_index: u64,
        "Node" node: Str<'a>,
        "NodeMeta" node_meta: Option<Map<'a, Str<'a>>>,
        "ServiceAddress" service_address: Str<'a>,
        "ServiceConnect" service_connect: ServiceConnect,
        "ServiceEnableTagOverride" service_enable_tag_override: bool,
        "ServiceID" service_id: Str<'a>,
        "ServiceKind" service_kind: Str<'a>,
        "ServiceMeta" service_meta: Option<Map<'a, Str<'a>>>,
        "ServiceName" service_name: Str<'a>,
        "ServicePort" service_port: i64,
        "ServiceProxy" service_proxy: ConnectProxyConfig<'a>,
        "ServiceTaggedAddresses" service_tagged_addresses: Option<Map<'a, ServiceAddress<'a>>>,
        "ServiceTags" service_tags: Option<Vec<Str<'a>>>,
        "ServiceWeights" service_weights: Weights,
        "TaggedAddresses" tagged_addresses: Option<Map<'a, Str<'a>>>,
    }

    /// `structs.ServiceName`.
    ServiceName<'a> {
        "Name" name: Str<'a>,
    }

    /// `structs.NodeServices`.
    NodeServices<'a> {
        "Node" node: Option<Node<'a>>,
        "Services" services: Option<Map<'a, Option<NodeService<'a>>>>,
    }

    /// `structs.NodeServiceList`.
    NodeServiceList<'a> {
        "Node" node: Option<Node<'a>>,
        "Services" services: Option<Vec<NodeService<'a>>>,
    }

    /// `structs.IndexedNodes`.
    IndexedNodes<'a> {
        "Nodes" nodes: Option<Vec<Node<'a>>>,
    }

    /// `structs.IndexedServices`.
    IndexedServices<'a> {
        "Services" services: Option<Map<'a, Option<Vec<Str<'a>>>>>,
    }

    /// `structs.IndexedServiceNodes`.
    IndexedServiceNodes<'a> {
        "ServiceNodes" service_nodes: Option<Vec<ServiceNode<'a>>>,
    }

    /// `structs.IndexedNodeServiceList`.
    IndexedNodeServiceList<'a> {
        "NodeServices" node_services: NodeServiceList<'a>,
    }
}

impl<'a> ServiceNode<'a> {
    /// Merges an instance with its node. The original copies tags and metadata here, so they are never nil.
    fn new(node: &'a domain::Node, service: &'a domain::Service) -> ServiceNode<'a> {
        let s = NodeService::stored(service);
        let n = Node::from(node);
        ServiceNode {
            address: n.address,
            create_index: s.create_index,
            datacenter: n.datacenter,
            id: n.id,
            modify_index: s.modify_index,
            node: n.node,
            node_meta: n.meta,
            service_address: s.address,
            service_connect: s.connect,
            service_enable_tag_override: s.enable_tag_override,
            service_id: s.id,
            service_kind: s.kind,
            service_meta: Some(s.meta.unwrap_or_default()),
            service_name: s.service,
            service_port: s.port,
            service_proxy: s.proxy,
            service_tagged_addresses: s.tagged_addresses.filter(|map| !map.0.is_empty()),
            service_tags: Some(s.tags.unwrap_or_default()),
            service_weights: s.weights.unwrap_or_default(),
            tagged_addresses: n.tagged_addresses,
        }
    }

    /// Takes node and instance apart.
    fn split(self) -> Result<(Arc<domain::Node>, Arc<domain::Service>), Error> {
        let node = Node {
            address: self.address,
            create_index: 0,
            datacenter: self.datacenter,
            id: self.id,
            meta: self.node_meta,
            modify_index: 0,
            node: self.node,
            tagged_addresses: self.tagged_addresses,
        };
        let service = NodeService {
            address: self.service_address,
            connect: self.service_connect,
            create_index: self.create_index,
            enable_tag_override: self.service_enable_tag_override,
            id: self.service_id,
            kind: self.service_kind,
            locally_registered_as_sidecar: false,
            meta: self.service_meta,
            modify_index: self.modify_index,
            port: self.service_port,
            proxy: self.service_proxy,
            service: self.service_name,
            tagged_addresses: self.service_tagged_addresses,
            tags: self.service_tags,
            weights: Some(self.service_weights),
        };
        Ok((Arc::new(node.try_into()?), Arc::new(service.try_into()?)))
    }
}

pub(super) fn decode(
    method: &str,
    body: &[u8],
    common: &Common<'_>,
) -> Result<Option<Query>, Error> {
    Ok(Some(match method {
        "Catalog.ListDatacenters" => Query::Datacenters,
        "Catalog.ListNodes" => Query::Nodes(common.list_options()),
        "Catalog.ListServices" | "Catalog.ServiceList" => Query::Services {
            node_meta: common.node_meta(),
        },
        "Catalog.ServiceNodes" => {
            let request: ServiceSpecificRequest<'_> = msgpack::from_slice(body)?;
            if request.service_name.is_empty() && request.service_address.is_empty() {
                return Err(Error::refused("Must provide service name"));
            }
            if !request.connect && !request.service_address.is_empty() {
                return Ok(Some(Query::ServicesAt {
                    address: request.service_address.into(),
                    options: common.list_options(),
                }));
            }
            // This method knows no ingress form.
            let request = ServiceSpecificRequest {
                ingress: false,
                ..request
            };
            Query::ServiceNodes(request.service_query(common))
        }
        "Catalog.NodeServices" | "Catalog.NodeServiceList" => {
            let request: NodeSpecificRequest<'_> = msgpack::from_slice(body)?;
            if request.node.is_empty() {
                return Err(Error::refused("Must provide node"));
            }
            Query::NodeServices {
                node: request.node.into(),
                filter: common.filter.to_text(),
            }
        }
        "Catalog.GatewayServices" => {
            let request: ServiceSpecificRequest<'_> = msgpack::from_slice(body)?;
            Query::GatewayServices {
                gateway: request.service_name.into(),
            }
        }
        _ => return Ok(None),
    }))
}

impl ServiceSpecificRequest<'_> {
    /// Which instances are meant. Of the variants the first wins: mesh endpoints, tags, ingress gateways.
    pub(super) fn service_query(self, common: &Common<'_>) -> ServiceQuery {
        let (mut tags, endpoint) = match (self.connect, self.tag_filter, self.ingress) {
            (true, _, _) => (Vec::new(), Endpoint::Connect),
            (false, true, _) => (texts(self.service_tags), Endpoint::Service),
            (false, false, true) => (Vec::new(), Endpoint::Ingress),
            (false, false, false) => (Vec::new(), Endpoint::Service),
        };
        if !self.connect && self.tag_filter && !self.service_tag.is_empty() {
            // Agents before 1.3 give one tag.
            tags = vec![self.service_tag.into()];
        }
        ServiceQuery {
            name: self.service_name.into(),
            tags,
            endpoint,
            options: common.list_options(),
        }
    }
}

/// Adds `ServiceSpecificRequest` but for the sorting.
pub(super) fn put_service<'a>(
    name: &'a str,
    tags: &'a [Text],
    endpoint: Endpoint,
    node_meta: &'a TextMap,
    fields: &mut Fields<'a>,
) {
    fields.bool("Connect", endpoint == Endpoint::Connect);
    fields.bool("Ingress", endpoint == Endpoint::Ingress);
    put_node_meta(fields, node_meta);
    fields.str("ServiceAddress", "");
    fields.str("ServiceName", name);
    fields.str("ServiceTag", "");
    fields.put("ServiceTags", (!tags.is_empty()).then(|| strs(tags)));
    fields.bool("TagFilter", !tags.is_empty());
}

/// Adds `ServiceSpecificRequest` for the instances at an address.
pub(super) fn put_services_at<'a>(
    address: &'a str,
    options: &'a ListOptions,
    fields: &mut Fields<'a>,
) {
    fields.bool("Connect", false);
    fields.bool("Ingress", false);
    put_node_meta(fields, &options.node_meta);
    fields.str("ServiceAddress", address);
    fields.str("ServiceName", "");
    fields.str("ServiceTag", "");
    fields.nil("ServiceTags");
    fields.bool("TagFilter", false);
}

/// Adds the data of a reply; false if it is none of this group.
pub(super) fn put_reply<'a>(
    method: &str,
    filter: &str,
    reply: &'a Reply,
    fields: &mut Fields<'a>,
) -> bool {
    let empty = Empty::after(filter);
    match (method, reply) {
        (_, Reply::Nodes(nodes)) => fields.list("Nodes", nodes, empty, |n| Node::from(&**n)),
        ("Catalog.ServiceList", Reply::Services(services)) => {
            fields.list("Services", services, Empty::List, |(name, _)| ServiceName {
                name: name.into(),
            });
        }
        (_, Reply::Services(services)) => {
            let pairs = services.iter();
            let pairs = pairs.map(|(name, tags)| (name.into(), strs(tags)));
            fields.put("Services", Map(pairs.collect()));
        }
        (_, Reply::ServiceNodes(found)) => {
            fields.list("ServiceNodes", found, empty, |(node, service)| {
                ServiceNode::new(node, service)
            });
        }
        ("Catalog.NodeServices", Reply::NodeServices(found)) => {
            fields.put(
                "NodeServices",
                found.as_ref().map(|(node, services)| NodeServices {
                    node: Some((&**node).into()),
                    services: Some(Map(services
                        .iter()
                        .map(|s| ((&s.id).into(), Some(NodeService::stored(s))))
                        .collect())),
                }),
            );
        }
        (_, Reply::NodeServices(found)) => {
            let list = match found {
                None => NodeServiceList::default(),
                Some((node, services)) => NodeServiceList {
                    node: Some((&**node).into()),
                    services: (!services.is_empty() || empty == Empty::List)
                        .then(|| services.iter().map(|s| NodeService::stored(s)).collect()),
                },
            };
            fields.put("NodeServices", list);
        }
        ("Internal.GatewayServiceDump", Reply::GatewayServices) => fields.nil("Dump"),
        (_, Reply::GatewayServices) => fields.nil("Services"),
        _ => return false,
    }
    true
}

pub(super) fn nodes(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedNodes<'_> = msgpack::from_slice(body)?;
    let nodes = reply.nodes.unwrap_or_default().into_iter();
    let nodes = nodes.map(|n| domain::Node::try_from(n).map(Arc::new));
    Ok(Reply::Nodes(nodes.collect::<Result<_, _>>()?))
}

/// Names and tags come in any order and are sorted.
pub(super) fn services(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedServices<'_> = msgpack::from_slice(body)?;
    let services = reply.services.unwrap_or_default().0.into_iter();
    let mut services: Vec<(Text, Vec<Text>)> = services
        .map(|(name, tags)| {
            let mut tags = texts(tags);
            tags.sort_unstable();
            (name.into(), tags)
        })
        .collect();
    services.sort_unstable();
    Ok(Reply::Services(services))
}

pub(super) fn service_nodes(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedServiceNodes<'_> = msgpack::from_slice(body)?;
    let found = reply.service_nodes.unwrap_or_default().into_iter();
    Ok(Reply::ServiceNodes(
        found.map(ServiceNode::split).collect::<Result<_, _>>()?,
    ))
}

/// Decodes the reply of `Catalog.NodeServiceList`.
pub(super) fn node_services(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedNodeServiceList<'_> = msgpack::from_slice(body)?;
    let list = reply.node_services;
    let Some(node) = list.node else {
        return Ok(Reply::NodeServices(None));
    };
    let services = list.services.unwrap_or_default().into_iter();
    let mut services: Vec<Arc<domain::Service>> = services
        .map(|s| domain::Service::try_from(s).map(Arc::new))
        .collect::<Result<_, _>>()?;
    services.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Reply::NodeServices(Some((
        Arc::new(node.try_into()?),
        services,
    ))))
}

/// Decodes a bare list of names.
pub(super) fn datacenters(body: &[u8]) -> Result<Reply, Error> {
    let names: Option<Vec<Str<'_>>> = msgpack::from_slice(body)?;
    Ok(Reply::Datacenters(texts(names)))
}

/// Encodes a bare list of names.
pub(super) fn put_datacenters(names: &[Text], out: &mut Vec<u8>) {
    let each = Each {
        items: names,
        convert: |name| Str::from(name),
    };
    let done = msgpack::to_writer(out, &each);
    debug_assert!(done.is_ok(), "names cannot be encoded: {done:?}");
}

#[cfg(test)]
mod tests {
    use tribune_types::id::Index;
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn the_first_variant_of_a_service_request_wins() {
        let request = |connect, tag_filter, ingress, tag: &'static str| ServiceSpecificRequest {
            connect,
            tag_filter,
            ingress,
            service_name: "web".into(),
            service_tag: tag.into(),
            service_tags: Some(vec!["a".into(), "b".into()]),
            ..ServiceSpecificRequest::default()
        };
        // (connect, tag filter, ingress, single tag) gives (endpoint, tags)
        for (connect, tag_filter, ingress, tag, endpoint, tags) in [
            (true, true, true, "", Endpoint::Connect, &[][..]),
            (false, true, true, "", Endpoint::Service, &["a", "b"]),
            (false, true, false, "z", Endpoint::Service, &["z"]),
            (false, false, true, "z", Endpoint::Ingress, &[]),
            (false, false, false, "z", Endpoint::Service, &[]),
        ] {
            let query =
                request(connect, tag_filter, ingress, tag).service_query(&Common::default());
            let tags: Vec<Text> = tags.iter().map(|t| text(t)).collect();
            assert_eq!((query.endpoint, query.tags), (endpoint, tags));
        }
    }

    #[test]
    fn an_instance_passes_through_its_merged_form() {
        let node = domain::Node {
            name: text("n"),
            address: text("10.0.0.1"),
            datacenter: text("dc1"),
            ..domain::Node::default()
        };
        let service = domain::Service {
            id: text("web-1"),
            name: text("web"),
            tags: vec![text("a")],
            port: 80,
            create: Index(4),
            modify: Index(5),
            meta: Some(TextMap::new()),
            weights: Some(domain::Weights::default()),
            ..domain::Service::default()
        };
        let (n, s) = ServiceNode::new(&node, &service).split().unwrap();
        assert_eq!((&*n, &*s), (&node, &service));
    }
}
