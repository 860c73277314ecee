//! `Health.*`: checks, and instances with their checks.

use std::sync::Arc;

use tribune_types::catalog as domain;
use tribune_types::query::{Instance, Query, Reply};
use tribune_types::text::{Text, text};

use super::Error;
use super::catalog::{NodeSpecificRequest, ServiceSpecificRequest};
use super::common::Common;
use super::fields::{Empty, Fields};
use crate::msgpack::{self, Str};
use crate::records::{HealthCheck, Node, NodeService, RecordError, mirror};

mirror! {
    /// `structs.ChecksInStateRequest`.
    ChecksInStateRequest<'a> {
        "State" state: Str<'a>,
    }

    /// `structs.CheckServiceNode`.
    CheckServiceNode<'a> {
        "Checks" checks: Option<Vec<HealthCheck<'a>>>,
        "Node" node: Option<Node<'a>>,
        "Service" service: Option<NodeService<'a>>,
    }

    /// `structs.IndexedHealthChecks`.
    IndexedHealthChecks<'a> {
        "HealthChecks" checks: Option<Vec<HealthCheck<'a>>>,
    }

    /// `structs.IndexedCheckServiceNodes`.
    IndexedCheckServiceNodes<'a> {
        "Nodes" nodes: Option<Vec<CheckServiceNode<'a>>>,
    }
}

/// The word for checks in any state.
const ANY: &str = "any";

pub(super) fn decode(
    method: &str,
    body: &[u8],
    common: &Common<'_>,
) -> Result<Option<Query>, Error> {
    Ok(Some(match method {
        "Health.ChecksInState" => {
            let request: ChecksInStateRequest<'_> = msgpack::from_slice(body)?;
            let options = common.list_options();
            match (&*request.state, domain::Status::parse(&request.state)) {
                (ANY, _) => Query::ChecksInState {
                    state: None,
                    options,
                },
                (_, Some(state)) => Query::ChecksInState {
                    state: Some(state),
                    options,
                },
                // No check is in a state that does not exist. The index is that of all checks.
                _ => Query::ServiceChecks {
                    service: nobody(),
                    options,
                },
            }
        }
        "Health.NodeChecks" => {
            let request: NodeSpecificRequest<'_> = msgpack::from_slice(body)?;
            Query::NodeChecks {
                node: request.node.into(),
                filter: common.filter.to_text(),
            }
        }
        "Health.ServiceChecks" => {
            let request: ServiceSpecificRequest<'_> = msgpack::from_slice(body)?;
            if request.tag_filter {
                return Err(Error::refused("Tag filtering is not supported"));
            }
            Query::ServiceChecks {
                service: request.service_name.into(),
                options: common.list_options(),
            }
        }
        "Health.ServiceNodes" => {
            let request: ServiceSpecificRequest<'_> = msgpack::from_slice(body)?;
            if request.service_name.is_empty() {
                return Err(Error::refused("Must provide service name"));
            }
            Query::ServiceHealth {
                service: request.service_query(common),
                passing_only: false,
            }
        }
        _ => return Ok(None),
    }))
}

/// A name that no service has: asked for it, the servers find nothing.
pub(super) fn nobody() -> Text {
    text(" ")
}

/// The word for a state to ask for.
pub(super) fn state_word(state: Option<domain::Status>) -> &'static str {
    state.map_or(ANY, domain::Status::as_str)
}

impl<'a> From<&'a Instance> for CheckServiceNode<'a> {
    fn from(instance: &'a Instance) -> Self {
        let checks = || {
            let checks = instance.checks.iter();
            checks.map(|c| HealthCheck::from(&**c)).collect()
        };
        CheckServiceNode {
            checks: (!instance.checks.is_empty()).then(checks),
            node: Some((&*instance.node).into()),
            service: Some(NodeService::stored(&instance.service)),
        }
    }
}

impl TryFrom<CheckServiceNode<'_>> for Instance {
    type Error = Error;

    fn try_from(m: CheckServiceNode<'_>) -> Result<Self, Error> {
        let node = m.node.ok_or(RecordError::Missing("Node"))?;
        let service = m.service.ok_or(RecordError::Missing("Service"))?;
        Ok(Instance {
            node: Arc::new(node.try_into()?),
            service: Arc::new(service.try_into()?),
            checks: checks_of(m.checks).into(),
        })
    }
}

pub(super) fn checks_of(checks: Option<Vec<HealthCheck<'_>>>) -> Vec<Arc<domain::Check>> {
    let checks = checks.unwrap_or_default().into_iter();
    checks
        .map(|check| Arc::new(domain::Check::from(check)))
        .collect()
}

/// Adds the data of a reply; false if it is none of this group.
pub(super) fn put_reply<'a>(filter: &str, reply: &'a Reply, fields: &mut Fields<'a>) -> bool {
    let empty = Empty::after(filter);
    match reply {
        Reply::Checks(checks) => {
            fields.list("HealthChecks", checks, empty, |c| HealthCheck::from(&**c));
        }
        Reply::Instances(found) => {
            fields.list("Nodes", found, empty, CheckServiceNode::from);
        }
        _ => return false,
    }
    true
}

pub(super) fn checks(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedHealthChecks<'_> = msgpack::from_slice(body)?;
    Ok(Reply::Checks(checks_of(reply.checks)))
}

/// Decodes instances, of the passing ones only if asked: the servers answer all.
pub(super) fn instances(passing_only: bool, body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedCheckServiceNodes<'_> = msgpack::from_slice(body)?;
    let found = reply.nodes.unwrap_or_default().into_iter();
    let mut found: Vec<Instance> = found.map(Instance::try_from).collect::<Result<_, _>>()?;
    if passing_only {
        found.retain(|instance| instance.status() == domain::Status::Passing);
    }
    Ok(Reply::Instances(found))
}
