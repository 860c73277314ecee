//! Prepared queries: discovery that is defined once on the servers and asked for by name or ID (spec http-api.md 2 and 3.9).
//!
//! Words only. How names and templates are resolved is decided in `state`, what is done when nothing is left, in the agent.

use crate::id::Index;
use crate::query::{Instance, QueryMeta};
use crate::text::{Text, TextMap};

/// The only type of templates: names that begin with the query's name.
pub const NAME_PREFIX_MATCH: &str = "name_prefix_match";

/// A prepared query as it is stored and shown.
///
/// Lists and maps keep apart whether they were given empty or not at all, because answers show it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PreparedQuery {
    /// A UUID, given by the leader; empty in a create request. As the client wrote it until it is stored.
    pub id: Text,
    /// Name to ask for; of a template the prefix of names. Empty for none.
    pub name: Text,
    /// The session that the query dies with; empty for none.
    pub session: Text,
    /// The token that results are filtered with, instead of the caller's; empty for none.
    pub token: Text,
    /// How the query is made from the name that is asked for.
    pub template: QueryTemplate,
    /// What to look for.
    pub service: QueryService,
    /// What DNS answers say.
    pub dns: QueryDns,
    /// When it was created.
    pub create: Index,
    /// When it last changed.
    pub modify: Index,
}

impl PreparedQuery {
    /// True if names are matched and the fields rendered.
    pub fn is_template(&self) -> bool {
        !self.template.kind.is_empty()
    }
}

/// How a query is made from a name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryTemplate {
    /// [`NAME_PREFIX_MATCH`], or empty for a query that is none.
    pub kind: Text,
    /// Expression that takes the name apart for `match(N)`; empty for none.
    pub regexp: Text,
    /// Tags that render to nothing are left out.
    pub remove_empty_tags: bool,
}

/// What a query looks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryService {
    /// Service name.
    pub service: Text,
    /// Where to look if nothing is left here.
    pub failover: QueryFailover,
    /// Leave out instances with a warning, not only the critical ones.
    pub only_passing: bool,
    /// Checks that do not count.
    pub ignore_check_ids: Option<Vec<Text>>,
    /// Node to sort by distance from; `_agent` is that of the agent that asks, `_ip` that with the address of the client.
    pub near: Text,
    /// Tags to have; those that begin with `!`, not to have.
    pub tags: Option<Vec<Text>>,
    /// Pairs that the node's metadata must have.
    pub node_meta: Option<TextMap>,
    /// Pairs that the instance's metadata must have.
    pub service_meta: Option<TextMap>,
    /// Look for mesh-capable endpoints.
    pub connect: bool,
}

/// Where to look if nothing is left in the own datacenter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryFailover {
    /// So many of the nearest datacenters come first.
    pub nearest_n: i64,
    /// Then these, in this order.
    pub datacenters: Option<Vec<Text>>,
}

/// What DNS answers say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryDns {
    /// Time to live as a Go duration; empty for that of the service.
    pub ttl: Text,
}

/// What to do with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryOp {
    /// Store a new one, under an ID that the leader gives.
    Create,
    /// Replace the one of the same ID.
    Update,
    /// Forget the one of this ID.
    Delete,
}

impl QueryOp {
    /// The word of the server RPC.
    pub fn as_str(self) -> &'static str {
        match self {
            QueryOp::Create => "create",
            QueryOp::Update => "update",
            QueryOp::Delete => "delete",
        }
    }

    /// The operation of a word.
    pub fn parse(word: &str) -> Option<QueryOp> {
        [QueryOp::Create, QueryOp::Update, QueryOp::Delete]
            .into_iter()
            .find(|op| op.as_str() == word)
    }
}

/// Who or what distances are measured from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct QuerySource {
    /// Datacenter of the node; empty for that of the agent.
    pub datacenter: Text,
    /// Address of the client; empty if unknown.
    pub ip: Text,
    /// Node name, `_agent`, `_ip`, or empty.
    pub node: Text,
    /// Network segment.
    pub segment: Text,
}

/// A request to carry out a query, or to show what it renders to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecuteQuery {
    /// ID, or name in any letter case.
    pub name: Text,
    /// Most instances; none if not positive.
    pub limit: i64,
    /// Look for mesh-capable endpoints, whatever the query says.
    pub connect: bool,
    /// The agent that asks.
    pub agent: QuerySource,
    /// The client that asks.
    pub source: QuerySource,
}

/// A request to carry out a given query in the datacenter of the server that is asked, and nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecuteQueryRemote {
    /// The query, rendered.
    pub query: PreparedQuery,
    /// Most instances; none if not positive.
    pub limit: i64,
    /// Look for mesh-capable endpoints, whatever the query says.
    pub connect: bool,
}

/// What a query found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExecutedQuery {
    /// Service that was looked for.
    pub service: Text,
    /// Instances in the order to be tried.
    pub nodes: Vec<Instance>,
    /// What DNS answers say.
    pub dns: QueryDns,
    /// Where they were found.
    pub datacenter: Text,
    /// How many other datacenters were tried.
    pub failovers: u64,
    /// What the answer says about itself. The index is 0: nobody can wait for more.
    pub meta: QueryMeta,
}

/// What a query renders to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExplainedQuery {
    /// The query.
    pub query: PreparedQuery,
    /// What the answer says about itself. The index is 0.
    pub meta: QueryMeta,
}
