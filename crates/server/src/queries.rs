//! Prepared queries carried out on this server's state: found, narrowed, put into order (rpc.md section 7, agent.md 8).
//!
//! In: a request and how to read. Out: what is left in this datacenter. Whether to look elsewhere then, and where, is for
//! the agent, which knows the ways there.
//!
//! The order: shuffled, so that clients spread; then by distance from a node if one is named, or found by the address of
//! the client; that node itself first, if it is among the first ones. What is asked of another datacenter is only
//! shuffled: nobody there is near.

use std::sync::Arc;

use tribune_rt::Stopwatch;
use tribune_state::Version;
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::prepared::{
    ExecuteQuery, ExecuteQueryRemote, ExecutedQuery, ExplainedQuery, PreparedQuery, QuerySource,
};
use tribune_types::query::{Consistency, Instance, ReadOptions};
use tribune_types::text::Text;

use crate::Server;
use crate::route::Need;

/// The node of the agent that asks.
const AGENT: &str = "_agent";
/// The node with the address of the client.
const ADDRESS: &str = "_ip";
/// How far down the list the named node is looked for. With distances it stands at its top anyway.
const OWN_NODE_DEPTH: usize = 10;

impl Server {
    /// Carries out a prepared query in this datacenter, and gives the query as it was rendered beside the outcome.
    ///
    /// # Errors
    /// There is no such query, the asked guarantee cannot be had, or denied.
    pub async fn execute_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<(Arc<PreparedQuery>, ExecutedQuery), RpcError> {
        let consistency = self
            .read_guarantee(Need::Read(options.consistency), options)
            .await?;
        self.execute_here(caller, request, consistency)
    }

    /// As [`Server::execute_query`] if that needs no waiting; `None` otherwise.
    pub fn execute_query_now(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Option<Result<(Arc<PreparedQuery>, ExecutedQuery), RpcError>> {
        self.has_guarantee(Need::Read(options.consistency), options)
            .then(|| self.execute_here(caller, request, options.consistency))
    }

    fn execute_here(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        consistency: Consistency,
    ) -> Result<(Arc<PreparedQuery>, ExecutedQuery), RpcError> {
        let version = self.store().load().version.clone();
        let query = version.resolve_query(&request.name, &request.agent.segment)?;
        self.authorizer().execute(caller, &query)?;
        let mut found = self.query_instances(&version, &query, request.connect);
        self.put_near(&version, &query, request, &mut found);
        limit(&mut found, request.limit);
        let executed = self.executed(&query, found, consistency);
        Ok((query, executed))
    }

    /// Carries out a query of another datacenter in this one.
    ///
    /// # Errors
    /// The asked guarantee cannot be had, or denied.
    pub async fn execute_query_remote(
        &self,
        caller: &Caller,
        request: &ExecuteQueryRemote,
        options: &ReadOptions,
    ) -> Result<ExecutedQuery, RpcError> {
        let _timed = Stopwatch::start(self.env(), &self.figures().execute_remote);
        let consistency = self
            .read_guarantee(Need::Read(options.consistency), options)
            .await?;
        self.authorizer().execute(caller, &request.query)?;
        let version = self.store().load().version.clone();
        let mut found = self.query_instances(&version, &request.query, request.connect);
        limit(&mut found, request.limit);
        Ok(self.executed(&request.query, found, consistency))
    }

    /// Shows what a name renders to.
    ///
    /// # Errors
    /// There is no such query, the asked guarantee cannot be had, or denied.
    pub async fn explain_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExplainedQuery, RpcError> {
        let _timed = Stopwatch::start(self.env(), &self.figures().explain);
        let consistency = self
            .read_guarantee(Need::Read(options.consistency), options)
            .await?;
        let version = self.store().load().version.clone();
        let query = version.resolve_query(&request.name, &request.agent.segment)?;
        self.authorizer().execute(caller, &query)?;
        Ok(ExplainedQuery {
            query: Arc::unwrap_or_clone(query),
            meta: self.once_meta(consistency),
        })
    }

    fn executed(
        &self,
        query: &PreparedQuery,
        nodes: Vec<Instance>,
        consistency: Consistency,
    ) -> ExecutedQuery {
        ExecutedQuery {
            service: query.service.service.clone(),
            nodes,
            dns: query.dns.clone(),
            datacenter: self.options().datacenter.clone(),
            failovers: 0,
            meta: self.once_meta(consistency),
        }
    }

    /// What a query leaves, shuffled.
    fn query_instances(
        &self,
        version: &Version,
        query: &PreparedQuery,
        connect: bool,
    ) -> Vec<Instance> {
        let mut found = version.query_instances(query, connect);
        for place in (1..found.len()).rev() {
            let other = self.env().random_below(place as u64 + 1);
            found.swap(place, usize::try_from(other).unwrap_or(place));
        }
        found
    }

    /// Sorts by distance from the node that the client or the query names.
    fn put_near(
        &self,
        version: &Version,
        query: &PreparedQuery,
        request: &ExecuteQuery,
        found: &mut Vec<Instance>,
    ) {
        let source = &request.source;
        let datacenter = match &*source.datacenter {
            "" => &request.agent.datacenter,
            _ => &source.datacenter,
        };
        if *datacenter != self.options().datacenter {
            return;
        }
        let Some(node) = near(version, query, source, &request.agent.node) else {
            return;
        };
        version.sort_by_distance(&node, found);
        let first = found.iter().take(OWN_NODE_DEPTH);
        let mut first = first.map(|instance| &instance.node.name);
        if let Some(at) = first.position(|name| *name == node) {
            found.swap(0, at);
        }
    }
}

/// The node to measure from. What the client says counts before what the query says.
fn near(
    version: &Version,
    query: &PreparedQuery,
    source: &QuerySource,
    agent: &Text,
) -> Option<Text> {
    let asked = match &*source.node {
        "" => &query.service.near,
        _ => &source.node,
    };
    match &**asked {
        "" => None,
        AGENT => Some(agent.clone()),
        ADDRESS if source.ip.is_empty() => {
            tracing::warn!(query = %query.name, "nobody is near: the address of the client is not known");
            None
        }
        ADDRESS => version.node_with_address(&source.ip),
        _ => Some(asked.clone()),
    }
}

fn limit(found: &mut Vec<Instance>, limit: i64) {
    if let Ok(limit) = usize::try_from(limit)
        && limit > 0
    {
        found.truncate(limit);
    }
}
