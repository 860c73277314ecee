//! Evaluation of queries on one version.
//!
//! Each reader returns the reply with the index of its endpoint (spec http-api.md 1.4, rpc.md 5.4) and records what
//! could change the reply. Whoever waits for more than the returned index is woken by a touch of a recorded key, and
//! then finds a higher index: a reply never changes under an unchanged index.
//!
//! Sorting by distance is not watched: coordinates move all the time and no index covers them.

mod catalog;
mod health;
mod keys;
mod lookup;

use tribune_filter::{Filter, Schema};
use tribune_types::error::StateError;
use tribune_types::id::Index;
use tribune_types::query::{Query, Reply};

use crate::intern::folded;
use crate::tables::Tables;
use crate::watch::{WatchKey, WatchKeys};

/// What a read needs to know beside the query.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadContext<'a> {
    /// Name of the datacenter this state belongs to.
    pub datacenter: &'a str,
}

type Read = Result<(Reply, Index), StateError>;

pub(crate) fn read(
    tables: &Tables,
    query: &Query,
    _cx: &ReadContext<'_>,
    keys: &mut WatchKeys,
) -> Read {
    match query {
        Query::KvGet { key } => Ok(keys::get(tables, key, keys)),
        Query::KvList { prefix } => Ok(keys::list(tables, prefix, keys)),
        Query::KvKeys { prefix, separator } => Ok(keys::names(tables, prefix, separator, keys)),
        Query::SessionGet { id } => {
            keys.push(WatchKey::Session(*id));
            Ok((
                Reply::Sessions(tables.sessions.get(id).cloned().into_iter().collect()),
                tables.indexes.sessions,
            ))
        }
        Query::SessionsOfNode { node } => {
            let node = folded(node);
            let found = tables.sessions_on(&node).cloned().collect();
            keys.push(WatchKey::SessionsOfNode(node));
            Ok((Reply::Sessions(found), tables.indexes.sessions))
        }
        Query::Sessions => {
            keys.push(WatchKey::Sessions);
            Ok((
                Reply::Sessions(tables.sessions.values().cloned().collect()),
                tables.indexes.sessions,
            ))
        }
        Query::Nodes(options) => catalog::nodes(tables, options, keys),
        Query::Services { node_meta } => Ok(catalog::services(tables, node_meta, keys)),
        Query::ServiceNodes(service) => health::service_nodes(tables, service, keys),
        Query::ServicesAt { address, options } => {
            health::services_at(tables, address, options, keys)
        }
        Query::NodeServices { node, filter } => catalog::node_services(tables, node, filter, keys),
        Query::GatewayServices { .. } => Ok((Reply::GatewayServices, Index(0))),
        Query::NodeChecks { node, filter } => health::node_checks(tables, node, filter, keys),
        Query::ServiceChecks { service, options } => {
            health::service_checks(tables, service, options, keys)
        }
        Query::ChecksInState { state, options } => {
            health::checks_in_state(tables, *state, options, keys)
        }
        Query::ServiceHealth {
            service,
            passing_only,
        } => health::service_health(tables, service, *passing_only, keys),
        Query::Coordinates { node, segment } => Ok(catalog::coordinates(
            tables,
            node.as_ref(),
            segment.as_deref(),
            keys,
        )),
        Query::NodeDump { node, filter } => catalog::node_dump(tables, node.as_ref(), filter, keys),
        Query::ServiceDump { kind, filter } => catalog::service_dump(tables, *kind, filter, keys),
        Query::AutopilotConfig => {
            keys.push(WatchKey::Autopilot);
            let config = tables.autopilot.as_deref().cloned();
            let index = config.as_ref().map_or(Index(0), |config| config.modify);
            Ok((Reply::Autopilot(config), index))
        }
        Query::PreparedQueries => {
            keys.push(WatchKey::PreparedQueries);
            let stored = tables.queries.values().map(|stored| stored.query.clone());
            Ok((
                Reply::PreparedQueries(stored.collect()),
                tables.indexes.queries,
            ))
        }
        Query::PreparedQuery { id } => {
            keys.push(WatchKey::PreparedQueries);
            let stored = tables.queries.get(id).ok_or(StateError::QueryNotFound)?;
            Ok((
                Reply::PreparedQueries(vec![stored.query.clone()]),
                tables.indexes.queries,
            ))
        }
        Query::Reverse { addr } => Ok(catalog::reverse(tables, *addr, keys)),
        Query::Datacenters | Query::DatacenterMaps | Query::RaftConfiguration => Err(
            StateError::Other("the query is not about the state".to_owned()),
        ),
    }
}

/// Compiles a filter expression.
fn filter(expression: &str, schema: &'static Schema) -> Result<Filter, StateError> {
    Filter::parse(expression, schema).map_err(|e| StateError::Filter(e.to_string()))
}

/// The index of replies that show nodes, services and checks of the whole catalog.
fn catalog_index(tables: &Tables) -> Index {
    tables
        .indexes
        .nodes
        .max(tables.indexes.services)
        .max(tables.indexes.checks)
}
