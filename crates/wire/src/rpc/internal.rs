//! `Internal.*` reads: dumps for user interfaces.

use std::sync::Arc;

use tribune_types::catalog as domain;
use tribune_types::query::{NodeDump, Query, Reply, ServiceQuery};

use super::Error;
use super::catalog::{NodeSpecificRequest, ServiceSpecificRequest};
use super::common::Common;
use super::fields::{Empty, Fields};
use super::health::{checks_of, nobody};
use crate::msgpack::{self, Map, Str};
use crate::records::{HealthCheck, Node, NodeService, mirror};

mirror! {
    /// `structs.ServiceDumpRequest`.
    ServiceDumpRequest<'a> {
        "ServiceKind" kind: Str<'a>,
        "UseServiceKind" use_kind: bool,
    }

    /// `structs.NodeInfo`.
    NodeInfo<'a> {
        "Address" address: Str<'a>,
        "Checks" checks: Option<Vec<HealthCheck<'a>>>,
        "ID" id: Str<'a>,
        "Meta" meta: Option<Map<'a, Str<'a>>>,
        "Node" node: Str<'a>,
        "Services" services: Option<Vec<NodeService<'a>>>,
        "TaggedAddresses" tagged_addresses: Option<Map<'a, Str<'a>>>,
    }

    /// `structs.IndexedNodeDump`.
    IndexedNodeDump<'a> {
        "Dump" dump: Option<Vec<NodeInfo<'a>>>,
    }
}

pub(super) fn decode(
    method: &str,
    body: &[u8],
    common: &Common<'_>,
) -> Result<Option<Query>, Error> {
    let filter = || common.filter.to_text();
    Ok(Some(match method {
        "Internal.NodeInfo" => {
            let request: NodeSpecificRequest<'_> = msgpack::from_slice(body)?;
            Query::NodeDump {
                node: Some(request.node.into()),
                filter: filter(),
            }
        }
        "Internal.NodeDump" => Query::NodeDump {
            node: None,
            filter: filter(),
        },
        "Internal.ServiceDump" => {
            let request: ServiceDumpRequest<'_> = msgpack::from_slice(body)?;
            match (request.use_kind, domain::ServiceKind::parse(&request.kind)) {
                (false, _) => Query::ServiceDump {
                    kind: None,
                    filter: filter(),
                },
                (true, Some(kind)) => Query::ServiceDump {
                    kind: Some(kind),
                    filter: filter(),
                },
                // There is nothing of that kind.
                (true, None) => Query::ServiceHealth {
                    service: ServiceQuery {
                        name: nobody(),
                        ..ServiceQuery::default()
                    },
                    passing_only: false,
                },
            }
        }
        "Internal.GatewayServiceDump" => {
            let request: ServiceSpecificRequest<'_> = msgpack::from_slice(body)?;
            if request.service_name.is_empty() {
                return Err(Error::refused("Must provide gateway name"));
            }
            Query::GatewayServices {
                gateway: request.service_name.into(),
            }
        }
        _ => return Ok(None),
    }))
}

pub(super) fn put_service_dump(kind: Option<domain::ServiceKind>, fields: &mut Fields<'_>) {
    fields.str("ServiceKind", kind.map_or("", domain::ServiceKind::as_str));
    fields.bool("UseServiceKind", kind.is_some());
}

pub(super) fn put_dump<'a>(filter: &str, dump: &'a [NodeDump], fields: &mut Fields<'a>) {
    fields.list("Dump", dump, Empty::after(filter), NodeInfo::from);
}

impl<'a> From<&'a NodeDump> for NodeInfo<'a> {
    fn from(dump: &'a NodeDump) -> Self {
        let node = Node::from(&*dump.node);
        let checks = || {
            let checks = dump.checks.iter();
            checks.map(|c| HealthCheck::from(&**c)).collect()
        };
        let services = || {
            let services = dump.services.iter();
            services.map(|s| NodeService::stored(s)).collect()
        };
        NodeInfo {
            address: node.address,
            checks: (!dump.checks.is_empty()).then(checks),
            id: node.id,
            meta: node.meta,
            node: node.node,
            services: (!dump.services.is_empty()).then(services),
            tagged_addresses: node.tagged_addresses,
        }
    }
}

impl TryFrom<NodeInfo<'_>> for NodeDump {
    type Error = Error;

    /// The datacenter and the indexes of the node are not in this form.
    fn try_from(info: NodeInfo<'_>) -> Result<Self, Error> {
        let node = Node {
            address: info.address,
            id: info.id,
            meta: info.meta,
            node: info.node,
            tagged_addresses: info.tagged_addresses,
            ..Node::default()
        };
        let services = info.services.unwrap_or_default().into_iter();
        Ok(NodeDump {
            node: Arc::new(node.try_into()?),
            services: services
                .map(|s| domain::Service::try_from(s).map(Arc::new))
                .collect::<Result<_, _>>()?,
            checks: checks_of(info.checks),
        })
    }
}

pub(super) fn dump(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedNodeDump<'_> = msgpack::from_slice(body)?;
    let dump = reply.dump.unwrap_or_default().into_iter();
    Ok(Reply::NodeDump(
        dump.map(NodeDump::try_from).collect::<Result<_, _>>()?,
    ))
}
