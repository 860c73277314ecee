//! Prepared queries: carried out here or by a server that is asked, and in other datacenters when nothing is left here
//! (spec agent.md section 8, rpc.md section 7).
//!
//! The server that is asked first looks elsewhere on behalf of whoever asks: it sends the rendered query to one datacenter
//! after the other, in the order of `tribune_local::failover_order`, until one has instances. A datacenter that says
//! nothing within [`FAILOVER_TIMEOUT`] counts as tried, like one that fails.
//!
//! What was found is kept for requests that take an answer from the agent's cache. Who asks and from where does not count
//! there: distances are those of the first who asked.

use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};
use tribune_local::failover_order;
use tribune_rt::Env;
use tribune_types::caller::{Caller, Token};
use tribune_types::error::RpcError;
use tribune_types::prepared::{
    ExecuteQuery, ExecuteQueryRemote, ExecutedQuery, ExplainedQuery, PreparedQuery,
};
use tribune_types::query::{Consistency, ReadOptions};
use tribune_types::text::Text;
use tribune_wire::rpc;

use crate::cache::{Kept, Names};
use crate::cluster::Cluster;
use crate::federation::Router;
use crate::{Cached, Freshness, Handle};

/// How long one datacenter may take to say whether it has instances. Whoever asked waits for all that are tried.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// What prepared queries found lately.
pub(crate) type Executions = Kept<ExecutionKey, Arc<ExecutedQuery>>;

/// Nothing was found yet.
pub(crate) fn executions(env: &Env) -> Executions {
    Kept::new(env, &Names::PREPARED_QUERIES)
}

/// What makes requests share what was found.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ExecutionKey {
    name: Text,
    limit: i64,
    connect: bool,
    datacenter: Option<Text>,
    token: Token,
}

impl Handle {
    /// As [`Handle::execute_query`] if that needs no waiting: on a server, under a guarantee that it can give at once, and
    /// with instances of this datacenter.
    pub fn execute_query_now(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Option<Result<ExecutedQuery, RpcError>> {
        let server = self.inner.cluster.server()?;
        let timed = server.time_execution();
        let done = match server.execute_query_now(caller, request, options) {
            Some(Ok((query, executed))) => {
                let is_over = !executed.nodes.is_empty() || !may_fail_over(&query);
                is_over.then_some(Ok(executed))
            }
            Some(Err(err)) => Some(Err(err)),
            None => None,
        };
        if done.is_some()
            && let Err(err) = self.inner.cluster.admit()
        {
            return Some(Err(err));
        }
        if done.is_none() {
            // It begins again, and is timed there.
            timed.discard();
        }
        done
    }

    /// Carries out a prepared query, in other datacenters if nothing is left here and it says so. Cancel safe.
    ///
    /// # Errors
    /// There is no such query, the asked guarantee cannot be had, denied, or an unknown datacenter. That other datacenters
    /// fail is none.
    pub async fn execute_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExecutedQuery, RpcError> {
        let cluster = &self.inner.cluster;
        cluster.admit()?;
        cluster.execute_query(caller, request, options).await
    }

    /// Carries out a prepared query, or gives what it found lately if that will do. Any server may answer, whatever
    /// `options` say. Cancel safe.
    ///
    /// # Errors
    /// As [`Handle::execute_query`], if nothing that is kept will do.
    pub async fn execute_query_cached(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
        freshness: Freshness,
    ) -> Result<Cached<Arc<ExecutedQuery>>, RpcError> {
        let any_server = ReadOptions {
            datacenter: options.datacenter.clone(),
            consistency: Consistency::Stale,
            ..ReadOptions::default()
        };
        let key = ExecutionKey {
            name: request.name.clone(),
            limit: request.limit,
            connect: request.connect,
            datacenter: options.datacenter.clone(),
            token: caller.token.clone(),
        };
        let find = || async {
            let executed = self.execute_query(caller, request, &any_server).await;
            executed.map(Arc::new)
        };
        self.inner.executions.get(key, freshness, find).await
    }

    /// Carries out a query of another datacenter in this one, or that which `options` names.
    ///
    /// # Errors
    /// The asked guarantee cannot be had, denied, or an unknown datacenter.
    pub(crate) async fn execute_query_remote(
        &self,
        caller: &Caller,
        request: &ExecuteQueryRemote,
        options: &ReadOptions,
    ) -> Result<ExecutedQuery, RpcError> {
        let cluster = &self.inner.cluster;
        if let Some(remote) = cluster.abroad(options.datacenter.as_deref())? {
            let client = remote.client();
            return client.execute_query_remote(caller, request, options).await;
        }
        match &**cluster {
            Cluster::Own { server, .. } => {
                server.execute_query_remote(caller, request, options).await
            }
            Cluster::Remote(client) => client.execute_query_remote(caller, request, options).await,
        }
    }

    /// Shows what the prepared query of a name renders to.
    ///
    /// # Errors
    /// As [`Handle::execute_query`].
    pub async fn explain_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExplainedQuery, RpcError> {
        let cluster = &self.inner.cluster;
        cluster.admit()?;
        cluster.explain_query(caller, request, options).await
    }
}

impl Cluster {
    /// As [`Handle::explain_query`].
    pub(crate) async fn explain_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExplainedQuery, RpcError> {
        if let Some(remote) = self.abroad(options.datacenter.as_deref())? {
            let client = remote.client();
            return client.explain_query(caller, request, options).await;
        }
        match self {
            Cluster::Own { server, .. } => server.explain_query(caller, request, options).await,
            Cluster::Remote(client) => client.explain_query(caller, request, options).await,
        }
    }

    /// As [`Handle::execute_query`].
    pub(crate) async fn execute_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExecutedQuery, RpcError> {
        if let Some(remote) = self.abroad(options.datacenter.as_deref())? {
            return remote
                .client()
                .execute_query(caller, request, options)
                .await;
        }
        let server = match self {
            Cluster::Own { server, .. } => server,
            Cluster::Remote(client) => {
                return client.execute_query(caller, request, options).await;
            }
        };
        let _timed = server.time_execution();
        let (query, executed) = server.execute_query(caller, request, options).await?;
        match self.router() {
            Some(router) if executed.nodes.is_empty() && may_fail_over(&query) => {
                let found = fail_over(router, caller, query, request, options, executed);
                // Seldom, and large.
                Ok(Box::pin(found).await)
            }
            _ => Ok(executed),
        }
    }
}

fn may_fail_over(query: &PreparedQuery) -> bool {
    let failover = &query.service.failover;
    failover.nearest_n > 0 || { failover.datacenters.as_ref() }.is_some_and(|dcs| !dcs.is_empty())
}

/// Tries other datacenters. `executed` is what was found at home: nothing.
async fn fail_over(
    router: &Arc<Router>,
    caller: &Caller,
    query: Arc<PreparedQuery>,
    request: &ExecuteQuery,
    options: &ReadOptions,
    mut executed: ExecutedQuery,
) -> ExecutedQuery {
    let order = failover_order(&query.service.failover, &router.others_by_distance());
    let remote = ExecuteQueryRemote {
        query: Arc::unwrap_or_clone(query),
        limit: request.limit,
        connect: request.connect,
    };
    let mut tried = 0;
    for datacenter in &order {
        tried += 1;
        match ask(router, caller, datacenter, &remote, options).await {
            Ok(found) => {
                executed = found;
                if !executed.nodes.is_empty() {
                    break;
                }
            }
            Err(err) => {
                warn!(dc = %datacenter, query = %remote.query.name, %err, "prepared query not carried out");
            }
        }
    }
    debug!(query = %remote.query.name, tried, dc = %executed.datacenter, "prepared query failed over");
    executed.failovers = tried;
    executed
}

async fn ask(
    router: &Arc<Router>,
    caller: &Caller,
    datacenter: &Text,
    request: &ExecuteQueryRemote,
    options: &ReadOptions,
) -> Result<ExecutedQuery, RpcError> {
    let way = router.route(datacenter)?;
    let token = caller.token.secret();
    let body = rpc::encode_execute_query_remote(request, options, datacenter, token);
    let reply = way.relay(rpc::EXECUTE_QUERY_REMOTE, &body, FAILOVER_TIMEOUT);
    // For all servers that are asked there together: of two that say nothing the second is not waited for as long again.
    let reply = router.env().timeout(FAILOVER_TIMEOUT, reply).await;
    let reply = reply.map_err(|_| RpcError::RemoteUnreachable)??;
    let mut executed =
        rpc::decode_executed_query(&reply).map_err(|err| RpcError::Remote(err.to_string()))?;
    executed.meta.consistency = options.consistency;
    Ok(executed)
}
