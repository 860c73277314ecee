//! Lookups on the agent: [`Lookup`] into a query, its outcome into a [`Fact`].
//!
//! The token is the agent's own, never the client's. With `allow_stale` any server may answer; how old that is allowed
//! to be travels with the query (spec dns.md 7).

use std::sync::Arc;
use std::time::Duration;

use tribune_agent::{Answer, Handle};
use tribune_types::caller::Caller;
use tribune_types::error::RpcError;
use tribune_types::query::{Consistency, ListOptions, Query, ReadOptions, ServiceQuery};
use tribune_types::text::Text;

use crate::options::Settings;
use crate::resolve::{Fact, Lookup};

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
                let (query, options) = question(lookup, settings)?;
                handle
                    .read_now(&Caller::internal(), &query, &options)
                    .map(fact)
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
                Some((query, options)) => {
                    fact(handle.read(&Caller::internal(), query, &options).await)
                }
                None => Fact::Failed,
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
        Lookup::Host(_) => return None,
    };
    let (consistency, max_stale) = if settings.options.allow_stale {
        (Consistency::Stale, Some(settings.options.max_stale))
    } else {
        (Consistency::Default, None)
    };
    Some((
        query,
        ReadOptions {
            datacenter: dc.cloned(),
            consistency,
            max_stale,
            ..ReadOptions::default()
        },
    ))
}

fn fact(outcome: Result<Answer, RpcError>) -> Fact {
    match outcome {
        Ok(answer) => {
            if answer.meta.last_contact > STALE_AFTER {
                metrics::counter!("consul.dns.stale_queries").increment(1);
            }
            Fact::Catalog(Arc::clone(&answer.shared))
        }
        Err(err) if err.is_no_path() => Fact::NoPath,
        Err(err) => {
            tracing::debug!(%err, "catalog lookup for dns failed");
            Fact::Failed
        }
    }
}
