//! Reads of a client agent.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_server::answer::{Answer, Shared};
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::query::{
    Consistency, ListOptions, Query, QueryMeta, ReadOptions, Reply, ReverseMatch,
};
use tribune_types::text::text;
use tribune_wire::rpc;

use super::{Asking, CALL_TIMEOUT, Client, Kind, Place, datacenter, unreadable};

/// Longest wait of a blocking query that servers of other datacenters are believed to allow. A server that is gone is found
/// to be sooner.
const QUERY_TIME_ABROAD: Duration = Duration::from_secs(60 * 60);
/// The least that is left of a wait: none at all would be the default.
const WAIT_MIN: Duration = Duration::from_millis(10);

impl Client {
    /// Asks a server. Cancel safe: dropping it ends the query at the server, too.
    ///
    /// # Errors
    /// There is no server, or what the server says.
    pub(crate) async fn read(
        &self,
        caller: &Caller,
        query: Query,
        options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        if let Query::Reverse { addr } = query {
            // Seldom, and large: kept out of the future that parks.
            return Box::pin(self.reverse(caller, addr, options)).await;
        }
        let answer = self.query(caller, &query, options).await?;
        let too_old = options.consistency == Consistency::Stale && { options.max_stale }
            .is_some_and(|max| answer.meta.last_contact > max);
        if !too_old {
            return Ok(answer);
        }
        let leader = ReadOptions {
            consistency: Consistency::Default,
            max_stale: None,
            ..options.clone()
        };
        Box::pin(self.query(caller, &query, &leader)).await
    }

    async fn query(
        &self,
        caller: &Caller,
        query: &Query,
        options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        let dc = datacenter(&self.datacenter, options.datacenter.as_deref());
        let (method, body) = rpc::encode_query(query, options, dc, caller.token.secret())
            .ok_or_else(|| RpcError::Invalid("this query cannot be sent to a server".to_owned()))?;
        let rest = |waited: Duration| {
            let options = self.rest(options, waited)?;
            let asked = rpc::encode_query(query, &options, dc, caller.token.secret());
            asked.map(|(_, body)| body)
        };
        let call = Asking {
            kind: Kind::Read,
            method,
            body: &body,
            deadline: self.deadline(options.min_index, options.wait),
            rest: Some(&rest),
        };
        let bytes = self.ask(&call).await?;
        drop(body);
        let decoded = self.recent.decode(self.env.mono(), query, bytes);
        let mut answer = decoded.map_err(|err| unreadable(&err))?;
        answer.meta.consistency = options.consistency;
        Ok(answer)
    }

    /// The options of a query that has waited for a change so long already; `None`: the same.
    fn rest(&self, options: &ReadOptions, waited: Duration) -> Option<ReadOptions> {
        let wait = options.wait.filter(|wait| !wait.is_zero())?;
        let left = wait.min(self.query_time_max).saturating_sub(waited);
        Some(ReadOptions {
            wait: Some(left.max(WAIT_MIN)),
            ..options.clone()
        })
    }

    /// How long to wait for an answer: as long as the server may wait for a change, and then some.
    pub(crate) fn deadline(&self, min_index: Index, wait: Option<Duration>) -> Duration {
        if min_index == Index(0) {
            return CALL_TIMEOUT;
        }
        let longest = match self.place {
            Place::Home(_) => self.query_time_max,
            // Another datacenter may allow more than ours.
            Place::Abroad(_) => self.query_time_max.max(QUERY_TIME_ABROAD),
        };
        let wait = match wait {
            Some(wait) if !wait.is_zero() => wait.min(longest),
            // The default of the servers, which is not known here.
            _ => longest,
        };
        wait + wait / 16 + CALL_TIMEOUT
    }

    /// What has an address: a node, else a service. Servers have no method for this.
    async fn reverse(
        &self,
        caller: &Caller,
        addr: IpAddr,
        options: &ReadOptions,
    ) -> Result<Answer, RpcError> {
        let address = text(&addr.to_string());
        let nodes = Query::Nodes(ListOptions::default());
        let asked = self.query(caller, &nodes, options).await?;
        if let Reply::Nodes(nodes) = asked.reply()
            && let Some(node) = nodes.iter().find(|node| node.address == address)
        {
            let found = ReverseMatch::Node(Arc::clone(node));
            return Ok(answer(Reply::Reverse(Some(found)), asked.meta));
        }
        let services = Query::ServicesAt {
            address,
            options: ListOptions::default(),
        };
        let asked = self.query(caller, &services, options).await?;
        let found = match asked.reply() {
            Reply::ServiceNodes(found) => found.first(),
            _ => None,
        };
        let found = found.map(|(_, service)| ReverseMatch::Service(Arc::clone(service)));
        Ok(answer(Reply::Reverse(found), asked.meta))
    }
}

/// An answer that nothing else shares.
pub(super) fn answer(reply: Reply, meta: QueryMeta) -> Answer {
    // Some methods carry no meta; clients count on an index of at least 1.
    let meta = QueryMeta {
        index: meta.index.max(Index(1)),
        ..meta
    };
    Answer {
        shared: Arc::new(Shared::new(reply, meta.index)),
        meta,
    }
}
