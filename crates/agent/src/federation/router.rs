//! The ways to all other datacenters, and the answers that servers give for all.
//!
//! In: the WAN pool and news of its members. Out: [`Remote`]s, names and maps. One lock over a small map, never held while
//! anything is waited for; a list of members replaces all there is.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tracing::info;
use tribune_config::Config;
use tribune_local::servers::rebalance_delay;
use tribune_net::Pool as Connections;
use tribune_rt::{Env, TaskGroup};
use tribune_server::answer::{Answer, Shared};
use tribune_types::coordinate::{Coordinate, DatacenterMap};
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::member::Member;
use tribune_types::query::{Query, QueryMeta, ReadOptions, Reply};
use tribune_types::text::Text;

use super::Remote;
use super::atlas::{self, Sites};
use crate::client::{self, Client, Patience};
use crate::gossip::Pool;

/// Knows the other datacenters.
pub(crate) struct Router {
    env: Env,
    tasks: TaskGroup,
    patience: Patience,
    datacenter: Text,
    connections: Connections,
    known: Mutex<Known>,
    /// Where coordinates come from.
    pool: OnceLock<Pool>,
}

#[derive(Default)]
struct Known {
    sites: Sites,
    /// One per datacenter but the own one.
    remotes: BTreeMap<Text, Arc<Remote>>,
}

impl Router {
    /// Knows nobody yet. Connections and the care of them are tasks of `tasks`.
    pub(crate) fn new(
        env: &Env,
        tasks: &TaskGroup,
        config: &Config,
        datacenter: Text,
    ) -> Arc<Router> {
        let router = Arc::new(Router {
            env: env.clone(),
            tasks: tasks.clone(),
            patience: Patience {
                hold: config.performance.rpc_hold_timeout,
                query_time_max: config.http.max_query_time,
            },
            datacenter,
            connections: Connections::new(env, tasks, client::pool_options()),
            known: Mutex::default(),
            pool: OnceLock::new(),
        });
        tasks.spawn("rebalance-datacenters", Arc::clone(&router).rebalance());
        router
    }

    /// The pool that coordinates come from. Only the first one counts.
    pub(crate) fn set_pool(&self, pool: Pool) {
        let _ = self.pool.set(pool);
    }

    /// Replaces what is known by the members of the WAN pool, whatever their status.
    pub(crate) fn set_members(&self, members: &[Member]) {
        let sites = atlas::survey(members);
        let mut known = self.known.lock();
        let Known {
            sites: old,
            remotes,
        } = &mut *known;
        remotes.retain(|name, remote| {
            let kept = sites.contains_key(name);
            if !kept {
                info!(dc = %name, "another datacenter is gone");
                // Whoever still waits for an answer from there is told.
                remote.client().set_servers(Vec::new());
            }
            kept
        });
        for (name, site) in &sites {
            if *name == self.datacenter {
                continue;
            }
            let remote = remotes.entry(name.clone()).or_insert_with(|| {
                info!(dc = %name, servers = site.alive.len(), "another datacenter is known");
                let pool = self.connections.clone();
                let (env, tasks) = (&self.env, &self.tasks);
                let client = Client::abroad(env, tasks, pool, name.clone(), self.patience);
                Arc::new(Remote::new(client))
            });
            if old.get(name).is_none_or(|old| old.alive != site.alive) {
                remote.client().set_servers(site.alive.clone());
            }
        }
        *old = sites;
    }

    /// Own datacenter.
    pub(crate) fn datacenter(&self) -> &Text {
        &self.datacenter
    }

    /// The way to another datacenter.
    ///
    /// # Errors
    /// `NoPath`: it is unknown. `RemoteUnreachable`: it is known, and nobody is there.
    pub(crate) fn route(&self, datacenter: &str) -> Result<Arc<Remote>, RpcError> {
        let known = self.known.lock();
        let remote = known.remotes.get(datacenter).ok_or(RpcError::NoPath)?;
        if !remote.client().is_reachable() {
            return Err(RpcError::RemoteUnreachable);
        }
        Ok(Arc::clone(remote))
    }

    /// Time and tasks.
    pub(crate) fn env(&self) -> &Env {
        &self.env
    }

    /// Names of all datacenters: the own one, then the others by distance.
    pub(crate) fn datacenters(&self) -> Vec<Text> {
        let sites = self.known.lock().sites.clone();
        let here = self.pool.get().map(Pool::coordinate).unwrap_or_default();
        atlas::by_distance(&sites, &self.datacenter, &here, |name| {
            self.coordinate_of(name)
        })
    }

    /// Names of the other datacenters by distance.
    pub(crate) fn others_by_distance(&self) -> Vec<Text> {
        let mut all = self.datacenters();
        all.retain(|name| *name != self.datacenter);
        all
    }

    /// The coordinates of the servers of all datacenters.
    pub(crate) fn maps(&self) -> Vec<DatacenterMap> {
        let sites = self.known.lock().sites.clone();
        atlas::maps(&sites, |name| self.coordinate_of(name))
    }

    fn coordinate_of(&self, name: &str) -> Option<Coordinate> {
        let pool = self.pool.get()?;
        let told = pool.coordinate_of(name);
        // Nothing was measured yet: this server is where it began.
        told.or_else(|| (name == &**pool.name()).then(|| pool.coordinate()))
    }

    /// The answer to a query about all datacenters; `None` if it is about one, or not even the own pool is known yet.
    pub(crate) fn answer(&self, query: &Query, options: &ReadOptions) -> Option<Answer> {
        let reply = match query {
            Query::Datacenters => Reply::Datacenters(self.datacenters()),
            Query::DatacenterMaps => {
                let maps = self.maps();
                if maps.is_empty() {
                    return None;
                }
                Reply::DatacenterMaps(maps)
            }
            _ => return None,
        };
        Some(Answer {
            shared: Arc::new(Shared::new(reply, Index(1))),
            meta: QueryMeta {
                index: Index(1),
                known_leader: true,
                consistency: options.consistency,
                ..QueryMeta::default()
            },
        })
    }

    /// Changes the order of servers now and then, where they are asked at all, so that their load evens out.
    async fn rebalance(self: Arc<Self>) {
        loop {
            let random = self.env.random_below(1 << 32) as f64 / (1u64 << 32) as f64;
            tokio::select! {
                biased;
                () = self.tasks.stop().cancelled() => return,
                () = self.env.sleep(rebalance_delay(0, 0, random)) => {}
            }
            let remotes: Vec<Arc<Remote>> = self.known.lock().remotes.values().cloned().collect();
            for remote in remotes {
                if !remote.client().take_used() {
                    continue;
                }
                let stop = self.tasks.stop().clone();
                self.tasks.spawn("rebalance-datacenter", async move {
                    tokio::select! {
                        biased;
                        () = stop.cancelled() => {}
                        () = remote.client().rebalance() => {}
                    }
                });
            }
        }
    }
}
