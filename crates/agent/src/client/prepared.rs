//! Prepared queries, as other servers carry them out.

use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::prepared::{ExecuteQuery, ExecuteQueryRemote, ExecutedQuery, ExplainedQuery};
use tribune_types::query::{Consistency, ReadOptions};
use tribune_wire::rpc;

use super::{CALL_TIMEOUT, Client, Kind, datacenter, unreadable};

impl Client {
    /// Carries out a query.
    ///
    /// # Errors
    /// There is no server, or what the server says.
    pub(crate) async fn execute_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExecutedQuery, RpcError> {
        let executed = self.execute_once(caller, request, options).await?;
        let too_old = options.consistency == Consistency::Stale && { options.max_stale }
            .is_some_and(|max| executed.meta.last_contact > max);
        if !too_old {
            return Ok(executed);
        }
        let leader = ReadOptions {
            consistency: Consistency::Default,
            max_stale: None,
            ..options.clone()
        };
        self.execute_once(caller, request, &leader).await
    }

    async fn execute_once(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExecutedQuery, RpcError> {
        let dc = datacenter(&self.datacenter, options.datacenter.as_deref());
        let token = caller.token.secret();
        let body = rpc::encode_execute_query(request, options, dc, token);
        let reply = self.ask_query(rpc::EXECUTE_QUERY, &body).await?;
        executed(&reply, options)
    }

    /// Carries out a given query in the datacenter of the servers.
    ///
    /// # Errors
    /// There is no server, or what the server says.
    pub(crate) async fn execute_query_remote(
        &self,
        caller: &Caller,
        request: &ExecuteQueryRemote,
        options: &ReadOptions,
    ) -> Result<ExecutedQuery, RpcError> {
        let dc = datacenter(&self.datacenter, options.datacenter.as_deref());
        let token = caller.token.secret();
        let body = rpc::encode_execute_query_remote(request, options, dc, token);
        let reply = self.ask_query(rpc::EXECUTE_QUERY_REMOTE, &body).await?;
        executed(&reply, options)
    }

    /// Shows what a query renders to.
    ///
    /// # Errors
    /// There is no server, or what the server says.
    pub(crate) async fn explain_query(
        &self,
        caller: &Caller,
        request: &ExecuteQuery,
        options: &ReadOptions,
    ) -> Result<ExplainedQuery, RpcError> {
        let dc = datacenter(&self.datacenter, options.datacenter.as_deref());
        let body = rpc::encode_execute_query(request, options, dc, caller.token.secret());
        let reply = self.ask_query(rpc::EXPLAIN_QUERY, &body).await?;
        let mut explained = rpc::decode_explained_query(&reply).map_err(|err| unreadable(&err))?;
        explained.meta.consistency = options.consistency;
        Ok(explained)
    }

    async fn ask_query(&self, method: &str, body: &[u8]) -> Result<Vec<u8>, RpcError> {
        self.call(Kind::Read, method, body, CALL_TIMEOUT).await
    }
}

fn executed(reply: &[u8], options: &ReadOptions) -> Result<ExecutedQuery, RpcError> {
    let mut executed = rpc::decode_executed_query(reply).map_err(|err| unreadable(&err))?;
    executed.meta.consistency = options.consistency;
    Ok(executed)
}
