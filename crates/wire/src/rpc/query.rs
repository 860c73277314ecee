//! Reads: which method asks for what, and the replies (rpc.md sections 5 to 7).

use tribune_types::id::Index;
use tribune_types::query::{Query, QueryMeta, ReadOptions, Reply};

use super::common::{Common, put_meta, put_node_meta, put_options, put_source, read_meta};
use super::fields::Fields;
use super::{Error, catalog, coordinate, health, internal, kvs, operator, prepared, session};

/// The method that asks for `query`, and its request body; `None` if no single call answers it.
///
/// Some queries are narrowed by agents, not by servers; [`decode_reply`] does that.
pub fn encode_query(
    query: &Query,
    options: &ReadOptions,
    datacenter: &str,
    token: &str,
) -> Option<(&'static str, Vec<u8>)> {
    let mut fields = Fields::default();
    let method = put_query(query, datacenter, &mut fields)?;
    match query {
        Query::DatacenterMaps => {}
        Query::Datacenters => put_options(&mut fields, options, "", token),
        _ => {
            fields.str("Datacenter", datacenter);
            put_options(&mut fields, options, filter(query), token);
        }
    }
    Some((method, fields.into_vec()))
}

/// Adds what is particular to a query.
fn put_query<'a>(
    query: &'a Query,
    datacenter: &'a str,
    fields: &mut Fields<'a>,
) -> Option<&'static str> {
    Some(match query {
        Query::KvGet { key } => {
            fields.raw("Key", key);
            "KVS.Get"
        }
        Query::KvList { prefix } => {
            fields.raw("Key", prefix);
            "KVS.List"
        }
        Query::KvKeys { prefix, separator } => {
            fields.raw("Prefix", prefix);
            fields.raw("Seperator", separator);
            "KVS.ListKeys"
        }
        Query::SessionGet { id } => {
            session::put_specific(*id, fields);
            "Session.Get"
        }
        Query::Sessions => {
            fields.str("Session", "");
            fields.str("SessionID", "");
            "Session.List"
        }
        Query::SessionsOfNode { node } => {
            fields.str("Node", node);
            "Session.NodeSessions"
        }
        Query::Nodes(options) => {
            put_node_meta(fields, &options.node_meta);
            put_source(fields, datacenter, &options.near);
            "Catalog.ListNodes"
        }
        Query::Services { node_meta } => {
            put_node_meta(fields, node_meta);
            put_source(fields, "", "");
            "Catalog.ListServices"
        }
        Query::ServiceNodes(service) => {
            let meta = &service.options.node_meta;
            catalog::put_service(&service.name, &service.tags, service.endpoint, meta, fields);
            put_source(fields, datacenter, &service.options.near);
            "Catalog.ServiceNodes"
        }
        Query::ServicesAt { address, options } => {
            catalog::put_services_at(address, options, fields);
            put_source(fields, datacenter, &options.near);
            "Catalog.ServiceNodes"
        }
        Query::NodeServices { node, .. } => {
            fields.str("Node", node);
            "Catalog.NodeServiceList"
        }
        Query::GatewayServices { gateway } => {
            catalog::put_service(gateway, &[], Default::default(), NO_META, fields);
            put_source(fields, "", "");
            "Catalog.GatewayServices"
        }
        Query::NodeChecks { node, .. } => {
            fields.str("Node", node);
            "Health.NodeChecks"
        }
        Query::ServiceChecks { service, options } => {
            catalog::put_service(service, &[], Default::default(), &options.node_meta, fields);
            put_source(fields, datacenter, &options.near);
            "Health.ServiceChecks"
        }
        Query::ChecksInState { state, options } => {
            put_node_meta(fields, &options.node_meta);
            put_source(fields, datacenter, &options.near);
            fields.str("State", health::state_word(*state));
            "Health.ChecksInState"
        }
        Query::ServiceHealth { service, .. } => {
            let meta = &service.options.node_meta;
            catalog::put_service(&service.name, &service.tags, service.endpoint, meta, fields);
            put_source(fields, datacenter, &service.options.near);
            "Health.ServiceNodes"
        }
        Query::Coordinates { node: None, .. } => {
            put_node_meta(fields, NO_META);
            put_source(fields, "", "");
            "Coordinate.ListNodes"
        }
        Query::Coordinates {
            node: Some(node), ..
        } => {
            fields.str("Node", node);
            "Coordinate.Node"
        }
        Query::Datacenters => "Catalog.ListDatacenters",
        Query::DatacenterMaps => "Coordinate.ListDatacenters",
        Query::NodeDump { node: None, .. } => {
            put_node_meta(fields, NO_META);
            put_source(fields, "", "");
            "Internal.NodeDump"
        }
        Query::NodeDump {
            node: Some(node), ..
        } => {
            fields.str("Node", node);
            "Internal.NodeInfo"
        }
        Query::ServiceDump { kind, .. } => {
            internal::put_service_dump(*kind, fields);
            put_source(fields, "", "");
            "Internal.ServiceDump"
        }
        Query::RaftConfiguration | Query::AutopilotConfig => {
            put_node_meta(fields, NO_META);
            put_source(fields, "", "");
            match query {
                Query::RaftConfiguration => "Operator.RaftGetConfiguration",
                _ => "Operator.AutopilotGetConfiguration",
            }
        }
        Query::PreparedQueries => {
            put_node_meta(fields, NO_META);
            put_source(fields, "", "");
            "PreparedQuery.List"
        }
        Query::PreparedQuery { id } => {
            fields.put("QueryID", id.to_string());
            "PreparedQuery.Get"
        }
        // Asked as nodes first, then as services at an address.
        Query::Reverse { .. } => return None,
    })
}

const NO_META: &tribune_types::text::TextMap = &tribune_types::text::TextMap::new();

/// The filter expression of a query; empty for none.
fn filter(query: &Query) -> &str {
    const NONE: &str = "";
    match query {
        Query::Nodes(options)
        | Query::ServicesAt { options, .. }
        | Query::ServiceChecks { options, .. }
        | Query::ChecksInState { options, .. } => &options.filter,
        Query::ServiceNodes(service) | Query::ServiceHealth { service, .. } => {
            &service.options.filter
        }
        Query::NodeServices { filter, .. }
        | Query::NodeChecks { filter, .. }
        | Query::NodeDump { filter, .. }
        | Query::ServiceDump { filter, .. } => filter,
        _ => NONE,
    }
}

/// The query of a read method; `None` if the method is none.
pub(super) fn decode_query(
    method: &str,
    body: &[u8],
    common: &Common<'_>,
) -> Result<Option<Query>, Error> {
    match method.split_once('.').map_or("", |(group, _)| group) {
        "KVS" => kvs::decode(method, body),
        "Session" => session::decode(method, body),
        "Catalog" => catalog::decode(method, body, common),
        "Health" => health::decode(method, body, common),
        "Coordinate" => coordinate::decode(method, body),
        "Internal" => internal::decode(method, body, common),
        "Operator" => Ok(operator::decode(method)),
        "PreparedQuery" => prepared::decode(method, body),
        _ => Ok(None),
    }
}

/// Appends the reply to `query`, in the form of the method that asked.
///
/// # Errors
/// The reply says that there is nothing to answer yet, or belongs to another query. `out` is as before then.
pub fn encode_reply(
    method: &str,
    query: &Query,
    reply: &Reply,
    meta: &QueryMeta,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    match reply {
        Reply::Datacenters(names) => catalog::put_datacenters(names, out),
        Reply::DatacenterMaps(maps) => coordinate::put_maps(maps, out),
        Reply::RaftConfiguration(configuration) => operator::put_raft(configuration, out),
        Reply::Autopilot(config) => operator::put_autopilot(config.as_ref(), out)?,
        _ => {
            let mut fields = Fields::default();
            if !put_reply(method, query, reply, &mut fields) {
                return Err(Error::Mismatch("the query"));
            }
            put_meta(&mut fields, meta);
            fields.finish(out);
        }
    }
    Ok(())
}

fn put_reply<'a>(method: &str, query: &Query, reply: &'a Reply, fields: &mut Fields<'a>) -> bool {
    let filter = filter(query);
    match reply {
        Reply::Kv(_) | Reply::Keys(_) => kvs::put_reply(reply, fields),
        Reply::Sessions(sessions) => {
            session::put_sessions(sessions, fields);
            true
        }
        Reply::Checks(_) | Reply::Instances(_) => health::put_reply(filter, reply, fields),
        Reply::NodeDump(dump) => {
            internal::put_dump(filter, dump, fields);
            true
        }
        Reply::PreparedQueries(queries) => {
            prepared::put_queries(queries, fields);
            true
        }
        Reply::Coordinates(found) => {
            coordinate::put_reply(found, fields);
            true
        }
        _ => catalog::put_reply(method, filter, reply, fields),
    }
}

/// Decodes the reply to a query that [`encode_query`] encoded, and narrows it where agents do that.
///
/// The consistency in the meta is for the caller to fill in. Replies that carry no meta say index 1 and a known leader.
///
/// # Errors
/// The bytes are no such reply.
pub fn decode_reply(query: &Query, body: &[u8]) -> Result<(Reply, QueryMeta), Error> {
    let bare = |reply| {
        let meta = QueryMeta {
            index: Index(1),
            known_leader: true,
            ..QueryMeta::default()
        };
        Ok((reply, meta))
    };
    let reply = match query {
        Query::KvGet { .. } | Query::KvList { .. } => kvs::entries(body)?,
        Query::KvKeys { .. } => kvs::keys(body)?,
        Query::SessionGet { .. } | Query::SessionsOfNode { .. } | Query::Sessions => {
            session::reply(body)?
        }
        Query::Nodes(_) => catalog::nodes(body)?,
        Query::Services { .. } => catalog::services(body)?,
        Query::ServiceNodes(_) | Query::ServicesAt { .. } => catalog::service_nodes(body)?,
        Query::NodeServices { .. } => catalog::node_services(body)?,
        Query::GatewayServices { .. } => Reply::GatewayServices,
        Query::NodeChecks { .. } | Query::ServiceChecks { .. } | Query::ChecksInState { .. } => {
            health::checks(body)?
        }
        Query::ServiceHealth { passing_only, .. } => health::instances(*passing_only, body)?,
        Query::ServiceDump { .. } => health::instances(false, body)?,
        Query::Coordinates { segment, .. } => coordinate::reply(segment.as_deref(), body)?,
        Query::NodeDump { .. } => internal::dump(body)?,
        Query::PreparedQueries | Query::PreparedQuery { .. } => prepared::reply(body)?,
        Query::Datacenters => return bare(catalog::datacenters(body)?),
        Query::DatacenterMaps => return bare(coordinate::maps(body)?),
        Query::AutopilotConfig => return bare(operator::autopilot(body)?),
        Query::RaftConfiguration => {
            return bare(Reply::RaftConfiguration(operator::raft(body)?));
        }
        Query::Reverse { .. } => return Err(Error::Mismatch("a reverse lookup")),
    };
    Ok((reply, read_meta(body)?))
}
