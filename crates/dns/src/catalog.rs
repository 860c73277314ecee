//! Lookups on the agent: [`Lookup`] into a query, its outcome into a [`Fact`].
//!
//! The token is the agent's own, never the client's. With `allow_stale` any server may answer; how old that is allowed
//! to be travels with the query (spec dns.md 7).

use std::sync::Arc;
use std::time::Duration;

use tribune_agent::{Answer, Freshness, Handle};
use tribune_types::caller::Caller;
use tribune_types::duration::parse_go_signed;
use tribune_types::error::RpcError;
use tribune_types::prepared::{ExecuteQuery, ExecutedQuery, QuerySource};
use tribune_types::query::{Consistency, ListOptions, Query, QueryMeta, ReadOptions, ServiceQuery};
use tribune_types::text::{Text, text};

use crate::instances::ServiceView;
use crate::options::Settings;
use crate::resolve::{Executed, Fact, Lookup};

/// Answers older than this are counted.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// Where catalog facts come from.
#[derive(Clone)]
pub(crate) enum Catalog {
    /// The running agent.
    Agent(Handle),
    /// A fixed world, for tests of the drivers. The flag makes every lookup wait first.
    #[cfg(test)]
    Fixed(Arc<crate::world::World>, Waits),
}

/// Whether a fixed world answers at once.
#[cfg(test)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waits {
    Yes,
    No,
}

impl Catalog {
    /// The fact, if it can be had without waiting.
    pub(crate) fn now(&self, lookup: &Lookup, settings: &Settings) -> Option<Fact> {
        match self {
            Catalog::Agent(handle) => {
                if let Some((request, options)) = execution(lookup, settings) {
                    if settings.options.use_cache {
                        return None;
                    }
                    let caller = Caller::internal();
                    let done = handle.execute_query_now(&caller, &request, &options)?;
                    return Some(executed(done, settings));
                }
                let (query, options) = question(lookup, settings)?;
                let caller = Caller::internal();
                if is_cached(&query, settings) {
                    let kept = Freshness::default();
                    let cached = handle.read_cached_now(&caller, &query, &options, kept)?;
                    return Some(fact(Ok(cached.value)));
                }
                handle.read_now(&caller, &query, &options).map(fact)
            }
            #[cfg(test)]
            Catalog::Fixed(world, Waits::No) => world.catalog(lookup, settings),
            #[cfg(test)]
            Catalog::Fixed(_, Waits::Yes) => None,
        }
    }

    /// The fact, waiting for it. `Host` lookups are not the catalog's and fail.
    pub(crate) async fn fetch(&self, lookup: &Lookup, settings: &Settings) -> Fact {
        match self {
            Catalog::Agent(handle) => match question(lookup, settings) {
                Some((query, options)) if is_cached(&query, settings) => {
                    let (caller, kept) = (Caller::internal(), Freshness::default());
                    let cached = handle.read_cached(&caller, &query, &options, kept).await;
                    fact(cached.map(|cached| cached.value))
                }
                Some((query, options)) => {
                    fact(handle.read(&Caller::internal(), query, &options).await)
                }
                None => match execution(lookup, settings) {
                    Some((request, options)) => {
                        let caller = Caller::internal();
                        if !settings.options.use_cache {
                            let done = handle.execute_query(&caller, &request, &options).await;
                            return executed(done, settings);
                        }
                        let max_age = settings.options.cache_max_age;
                        let freshness = Freshness {
                            max_age: Some(max_age).filter(|max| !max.is_zero()),
                            stale_if_error: None,
                        };
                        let cached =
                            handle.execute_query_cached(&caller, &request, &options, freshness);
                        let done = cached.await.map(|found| ExecutedQuery::clone(&found.value));
                        executed(done, settings)
                    }
                    None => Fact::Failed,
                },
            },
            #[cfg(test)]
            Catalog::Fixed(world, _) => {
                tokio::task::yield_now().await;
                world.catalog(lookup, settings).unwrap_or(Fact::Failed)
            }
        }
    }
}

fn question(lookup: &Lookup, settings: &Settings) -> Option<(Query, ReadOptions)> {
    let (query, dc): (Query, Option<&Text>) = match lookup {
        Lookup::Service {
            name,
            tag,
            endpoint,
            dc,
        } => {
            let service = ServiceQuery {
                name: name.clone(),
                tags: tag.iter().cloned().collect(),
                endpoint: *endpoint,
                options: ListOptions::default(),
            };
            (
                Query::ServiceHealth {
                    service,
                    passing_only: false,
                },
                dc.as_ref(),
            )
        }
        Lookup::Node { name, dc } => (
            Query::NodeServices {
                node: name.clone(),
                filter: Text::default(),
            },
            dc.as_ref(),
        ),
        Lookup::Reverse(addr) => (Query::Reverse { addr: *addr }, None),
        Lookup::Query { .. } | Lookup::Host(_) => return None,
    };
    Some((query, read_options(dc, settings)))
}

fn read_options(dc: Option<&Text>, settings: &Settings) -> ReadOptions {
    let (consistency, max_stale) = if settings.options.allow_stale {
        (Consistency::Stale, Some(settings.options.max_stale))
    } else {
        (Consistency::Default, None)
    };
    ReadOptions {
        datacenter: dc.cloned(),
        consistency,
        max_stale,
        ..ReadOptions::default()
    }
}

/// The prepared query to be carried out for a lookup, if it is for one.
fn execution(lookup: &Lookup, settings: &Settings) -> Option<(ExecuteQuery, ReadOptions)> {
    let Lookup::Query { name, dc, client } = lookup else {
        return None;
    };
    let request = ExecuteQuery {
        name: name.clone(),
        agent: QuerySource {
            datacenter: settings.options.datacenter.clone(),
            node: settings.options.node.clone(),
            ..QuerySource::default()
        },
        source: QuerySource {
            ip: text(&client.to_canonical().to_string()),
            ..QuerySource::default()
        },
        ..ExecuteQuery::default()
    };
    Some((request, read_options(dc.as_ref(), settings)))
}

fn executed(done: Result<ExecutedQuery, RpcError>, settings: &Settings) -> Fact {
    let found = match done {
        Ok(found) => found,
        Err(err) if err.is_no_path() || err.is_query_not_found() => return Fact::NoPath,
        Err(err) => {
            tracing::debug!(%err, "prepared query for dns failed");
            return Fact::Failed;
        }
    };
    count_stale(&found.meta);
    // The servers have looked at it when it was stored; one out of an archive may hold anything.
    let ttl = parse_go_signed(&found.dns.ttl).ok();
    let ttl = ttl.filter(|_| !found.dns.ttl.is_empty());
    let seconds = |nanos: i64| u32::try_from(nanos / 1_000_000_000).unwrap_or_default();
    Fact::Executed(Arc::new(Executed {
        view: ServiceView::listed(&found.nodes, &found.datacenter, settings),
        service: found.service,
        ttl: ttl.map(seconds),
    }))
}

fn count_stale(meta: &QueryMeta) {
    if meta.last_contact > STALE_AFTER {
        metrics::counter!("dns.stale_queries").increment(1);
    }
}

/// True if the answer comes from the agent's cache (spec dns.md 7): lookups of services and nodes do.
fn is_cached(query: &Query, settings: &Settings) -> bool {
    settings.options.use_cache && !matches!(query, Query::Reverse { .. })
}

fn fact(outcome: Result<Answer, RpcError>) -> Fact {
    match outcome {
        Ok(answer) => {
            count_stale(&answer.meta);
            Fact::Catalog(Arc::clone(&answer.shared))
        }
        Err(err) if err.is_no_path() => Fact::NoPath,
        Err(err) => {
            tracing::debug!(%err, "catalog lookup for dns failed");
            Fact::Failed
        }
    }
}
