//! `PreparedQuery.*`: queries that the servers keep, and carry out.

use std::sync::Arc;

use tribune_types::prepared::{
    self as domain, ExecuteQuery, ExecuteQueryRemote, ExecutedQuery, ExplainedQuery, QueryOp,
    QuerySource,
};
use tribune_types::query::{Instance, Query, ReadOptions, Reply};
use tribune_types::text::{Text, text};
use tribune_types::uuid::parse_query;
use tribune_types::write::Write;

use super::Error;
use super::common::{Source, put_meta, put_options, read_meta};
use super::fields::{Empty, Fields};
use super::health::CheckServiceNode;
use crate::msgpack::{self, Str};
use crate::records::{PreparedQuery, PreparedQueryRequest, QueryDnsOptions, RecordError, mirror};

/// Carries out a query. Body: [`encode_execute_query`].
pub const EXECUTE_QUERY: &str = "PreparedQuery.Execute";
/// Carries out a query of another datacenter. Body: [`encode_execute_query_remote`].
pub const EXECUTE_QUERY_REMOTE: &str = "PreparedQuery.ExecuteRemote";
/// Shows what a query renders to. Body: [`encode_execute_query`].
pub const EXPLAIN_QUERY: &str = "PreparedQuery.Explain";

mirror! {
    /// `structs.PreparedQuerySpecificRequest`.
    PreparedQuerySpecificRequest<'a> {
        "QueryID" query_id: Str<'a>,
    }

    /// `structs.IndexedPreparedQueries`.
    IndexedPreparedQueries<'a> {
        "Queries" queries: Option<Vec<PreparedQuery<'a>>>,
    }

    /// `structs.PreparedQueryExecuteRequest`.
    PreparedQueryExecuteRequest<'a> {
        "Agent" agent: Source<'a>,
        "Connect" connect: bool,
        "Limit" limit: i64,
        "QueryIDOrName" query: Str<'a>,
        "Source" source: Source<'a>,
    }

    /// `structs.PreparedQueryExecuteRemoteRequest`.
    PreparedQueryExecuteRemoteRequest<'a> {
        "Connect" connect: bool,
        "Limit" limit: i64,
        "Query" query: PreparedQuery<'a>,
    }

    /// `structs.PreparedQueryExecuteResponse`.
    PreparedQueryExecuteResponse<'a> {
        "DNS" dns: QueryDnsOptions<'a>,
        "Datacenter" datacenter: Str<'a>,
        "Failovers" failovers: i64,
        "Nodes" nodes: Option<Vec<CheckServiceNode<'a>>>,
        "Service" service: Str<'a>,
    }

    /// `structs.PreparedQueryExplainResponse`.
    PreparedQueryExplainResponse<'a> {
        "Query" query: PreparedQuery<'a>,
    }
}

/// The read of a method; `None` if the method is none.
pub(super) fn decode(method: &str, body: &[u8]) -> Result<Option<Query>, Error> {
    Ok(Some(match method {
        "PreparedQuery.Get" => {
            let request: PreparedQuerySpecificRequest<'_> = msgpack::from_slice(body)?;
            let id = parse_query(&request.query_id).map_err(Error::Refused)?;
            Query::PreparedQuery {
                // Of IDs that no query can have, the nil one, which no query has.
                id: id.unwrap_or_default(),
            }
        }
        "PreparedQuery.List" => Query::PreparedQueries,
        _ => return Ok(None),
    }))
}

/// Decodes `PreparedQuery.Apply`.
pub(super) fn apply(body: &[u8]) -> Result<Write, Error> {
    let request: PreparedQueryRequest<'_> = msgpack::from_slice(body)?;
    let op = QueryOp::parse(&request.op).ok_or_else(|| {
        Error::Refused(format!(
            "Unknown prepared query operation: {}",
            &*request.op
        ))
    })?;
    let query = request.query.ok_or(RecordError::Missing("Query"))?;
    Ok(Write::PreparedQuery(op, Box::new(query.into())))
}

pub(super) fn put_apply<'a>(
    op: QueryOp,
    query: &'a domain::PreparedQuery,
    fields: &mut Fields<'a>,
) {
    fields.str("Op", op.as_str());
    fields.put("Query", PreparedQuery::from(query));
}

/// The ID in the reply to a write.
pub(super) fn applied(body: &[u8]) -> Result<Text, Error> {
    let id: Str<'_> = msgpack::from_slice(body)?;
    Ok(text(&id))
}

pub(super) fn put_queries<'a>(queries: &'a [Arc<domain::PreparedQuery>], fields: &mut Fields<'a>) {
    fields.list("Queries", queries, Empty::Nil, |q| {
        PreparedQuery::from(&**q)
    });
}

pub(super) fn reply(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedPreparedQueries<'_> = msgpack::from_slice(body)?;
    let queries = reply.queries.unwrap_or_default().into_iter();
    let queries = queries.map(|q| Arc::new(domain::PreparedQuery::from(q)));
    Ok(Reply::PreparedQueries(queries.collect()))
}

/// Encodes the body of [`EXECUTE_QUERY`] and [`EXPLAIN_QUERY`].
pub fn encode_execute_query(
    request: &ExecuteQuery,
    options: &ReadOptions,
    datacenter: &str,
    token: &str,
) -> Vec<u8> {
    let mut fields = Fields::default();
    fields.put("Agent", Source::from(&request.agent));
    fields.bool("Connect", request.connect);
    fields.str("Datacenter", datacenter);
    fields.int("Limit", request.limit);
    fields.str("QueryIDOrName", &request.name);
    fields.put("Source", Source::from(&request.source));
    put_options(&mut fields, options, "", token);
    fields.into_vec()
}

/// Decodes the body of [`EXECUTE_QUERY`] and [`EXPLAIN_QUERY`].
pub(super) fn decode_execute(body: &[u8]) -> Result<ExecuteQuery, Error> {
    let request: PreparedQueryExecuteRequest<'_> = msgpack::from_slice(body)?;
    Ok(ExecuteQuery {
        name: request.query.into(),
        limit: request.limit,
        connect: request.connect,
        agent: request.agent.into(),
        source: request.source.into(),
    })
}

/// Encodes the body of [`EXECUTE_QUERY_REMOTE`].
pub fn encode_execute_query_remote(
    request: &ExecuteQueryRemote,
    options: &ReadOptions,
    datacenter: &str,
    token: &str,
) -> Vec<u8> {
    let mut fields = Fields::default();
    fields.bool("Connect", request.connect);
    fields.str("Datacenter", datacenter);
    fields.int("Limit", request.limit);
    fields.put("Query", PreparedQuery::from(&request.query));
    put_options(&mut fields, options, "", token);
    fields.into_vec()
}

/// Decodes the body of [`EXECUTE_QUERY_REMOTE`].
pub(super) fn decode_execute_remote(body: &[u8]) -> Result<ExecuteQueryRemote, Error> {
    let request: PreparedQueryExecuteRemoteRequest<'_> = msgpack::from_slice(body)?;
    Ok(ExecuteQueryRemote {
        query: request.query.into(),
        limit: request.limit,
        connect: request.connect,
    })
}

/// Appends what a query found.
pub fn encode_executed_query(executed: &ExecutedQuery, out: &mut Vec<u8>) {
    let mut fields = Fields::default();
    fields.put("DNS", QueryDnsOptions::from(&executed.dns));
    fields.str("Datacenter", &executed.datacenter);
    fields.uint("Failovers", executed.failovers);
    // Nobody sends a list without instances.
    fields.list("Nodes", &executed.nodes, Empty::Nil, CheckServiceNode::from);
    fields.str("Service", &executed.service);
    put_meta(&mut fields, &executed.meta);
    fields.finish(out);
}

/// Decodes what a query found. The consistency in the meta is for the caller to fill in.
///
/// # Errors
/// The bytes are no such reply.
pub fn decode_executed_query(body: &[u8]) -> Result<ExecutedQuery, Error> {
    let reply: PreparedQueryExecuteResponse<'_> = msgpack::from_slice(body)?;
    let nodes = reply.nodes.unwrap_or_default().into_iter();
    Ok(ExecutedQuery {
        service: reply.service.into(),
        nodes: nodes.map(Instance::try_from).collect::<Result<_, _>>()?,
        dns: reply.dns.into(),
        datacenter: reply.datacenter.into(),
        failovers: u64::try_from(reply.failovers).unwrap_or_default(),
        meta: read_meta(body)?,
    })
}

/// Appends what a query renders to.
pub fn encode_explained_query(explained: &ExplainedQuery, out: &mut Vec<u8>) {
    let mut fields = Fields::default();
    fields.put("Query", PreparedQuery::from(&explained.query));
    put_meta(&mut fields, &explained.meta);
    fields.finish(out);
}

/// Decodes what a query renders to. The consistency in the meta is for the caller to fill in.
///
/// # Errors
/// The bytes are no such reply.
pub fn decode_explained_query(body: &[u8]) -> Result<ExplainedQuery, Error> {
    let reply: PreparedQueryExplainResponse<'_> = msgpack::from_slice(body)?;
    Ok(ExplainedQuery {
        query: reply.query.into(),
        meta: read_meta(body)?,
    })
}

impl<'a> From<&'a QuerySource> for Source<'a> {
    fn from(source: &'a QuerySource) -> Self {
        Source {
            datacenter: (&source.datacenter).into(),
            ip: (&source.ip).into(),
            node: (&source.node).into(),
            segment: (&source.segment).into(),
        }
    }
}

impl From<Source<'_>> for QuerySource {
    fn from(source: Source<'_>) -> Self {
        QuerySource {
            datacenter: source.datacenter.into(),
            ip: source.ip.into(),
            node: source.node.into(),
            segment: source.segment.into(),
        }
    }
}
