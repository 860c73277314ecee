//! Starting and ending an agent: who is made from what, in which order.
//!
//! Start: node identity, server (log, state), local half, server port, tasks. End: intake stops first, then the local
//! half, then the server and its log. The fronts belong to the binary, which has their addresses.

mod pools;
mod server_half;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tracing::{error, warn};
use tribune_config::Config;
use tribune_rt::disk::{File, OpenOptions};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_server::Server;
use tribune_types::text::text;

use crate::cache::Cache;
use crate::client::Client;
use crate::cluster::Cluster;
use crate::federation::Router;
use crate::gossip::{self, PoolError};
use crate::handle::{Handle, Inner};
use crate::info::Identity;
pub use crate::local_state::{Applied, Reload};
use crate::local_state::{LocalAgent, LocalParts, ProcessRequest};
use crate::logs::Logs;
use crate::node_id::{NodeIdError, node_id};
use crate::own_requests::OwnRequests;
use crate::prepared::executions;
use crate::telemetry::Telemetry;
use pools::Pools;
use server_half::{serve_rpc, start_server};

/// Locked while the agent runs.
const LOCK_FILE: &str = "tribune.lock";
/// How long tasks may take to end.
const STOP_DEADLINE: Duration = Duration::from_secs(3);

/// What an agent is made from, besides its [`Env`].
pub struct Parts {
    /// Validated settings.
    pub config: Config,
    /// Reads the settings again. Blocks; runs on a worker thread. The error is the text to show.
    pub reload: Reload,
    /// Applies what belongs to the fronts and the log after a reload.
    pub applied: Applied,
    /// The log pipeline.
    pub logs: Logs,
    /// Host name, for metrics.
    pub host: String,
    /// Tribune's own version and build.
    pub revision: String,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No identity.
    #[error(transparent)]
    NodeId(#[from] NodeIdError),
    /// The data folder cannot be used.
    #[error("failed to create data directory {path:?}")]
    DataDir {
        /// The folder.
        path: std::path::PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// Another process uses the data folder.
    #[error("data directory {path:?} is in use by another process")]
    InUse {
        /// The folder.
        path: std::path::PathBuf,
    },
    /// The operator's peer set cannot be used. The server did not start, and the file is as it was.
    #[error(
        "Failed to start Consul server: Failed to start Raft: recovery failed: {path:?}: {what}"
    )]
    PeersFile {
        /// The file.
        path: std::path::PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The operator's peer set was taken over, and its file is still there. Starting again is harmless.
    #[error(
        "Failed to start Consul server: Failed to start Raft: recovery failed to delete peers.json, please delete \
         manually (see peers.info for details): {source}"
    )]
    PeersFileStays {
        /// The cause.
        source: std::io::Error,
    },
    /// The server does not start.
    #[error("Failed to start Consul server: {0}")]
    Server(#[source] tribune_server::StartError),
    /// The server port cannot be bound.
    #[error(
        "Failed to start Consul server: Failed to start RPC layer: listen tcp {addr}: bind: {}",
        gossip::bind_text(source)
    )]
    RpcPort {
        /// The address.
        addr: std::net::SocketAddr,
        /// The cause.
        source: std::io::Error,
    },
    /// The gossip pool cannot be started.
    #[error("Failed to start Consul {role}: Failed to start {pool}: {source}")]
    Gossip {
        /// `server` or `client`.
        role: &'static str,
        /// The pool, as the role names it.
        pool: &'static str,
        /// The cause.
        source: PoolError,
    },
    /// A configured service or check is wrong, or its folder cannot be used.
    #[error("{0}")]
    Local(String),
}

/// Why an agent ends by itself.
#[derive(Debug)]
pub enum Ending {
    /// A request over the API: leave gracefully, then answer through the sender.
    Leave(oneshot::Sender<Result<(), String>>),
    /// Storage failed; going on would be dishonest.
    Failed(String),
}

/// A running agent without fronts.
pub struct Agent {
    env: Env,
    handle: Handle,
    server: Option<Server>,
    tasks: TaskGroup,
    process: mpsc::Receiver<ProcessRequest>,
    /// Says that the tries to join are used up.
    joins: mpsc::Receiver<String>,
    /// Keeps other processes out of the data folder.
    _lock: Option<File>,
}

impl Agent {
    /// Starts the agent's own parts. Fronts are given [`Agent::handle`] afterwards.
    ///
    /// # Errors
    /// What cannot be used or bound; nothing runs then.
    pub async fn start(env: &Env, parts: Parts) -> Result<Agent, StartError> {
        let Parts {
            config,
            reload,
            applied,
            logs,
            host,
            revision,
        } = parts;
        let telemetry = Telemetry::install(env, &config, &host);
        let data_dir = config.data_dir.clone();
        let lock = { data_dir.as_deref() }
            .map(|dir| own_data_dir(env, dir))
            .transpose()?;
        let identity = identify(env, &config)?;
        let stop = CancellationToken::new();
        let server = if identity.server {
            // Large, and not needed on a client: kept out of this future.
            Some(Box::pin(start_server(env, &config, &identity, &stop)).await?)
        } else {
            None
        };
        let tasks = env.group(&stop);
        let cluster = Arc::new(cluster(env, &config, &identity, server.as_ref(), &tasks));
        let cache = Cache::new(env, &tasks, Arc::clone(&cluster), &config);
        let (process_tx, process) = mpsc::channel(4);
        let applied: Applied = {
            let (telemetry, cluster) = (telemetry.clone(), Arc::clone(&cluster));
            let cache = cache.clone();
            Box::new(move |config| {
                telemetry.reload(config, &host);
                cluster.reload(config);
                cache.reload(config);
                applied(config);
            })
        };
        let parts = LocalParts {
            reload,
            applied,
            process: process_tx,
        };
        let local = LocalAgent::new(env, &identity, Arc::new(config.clone()), parts)
            .map_err(|err| StartError::Local(err.to_string()))?;
        let pools = Pools::start(env, &tasks, &config, &identity, &revision)
            .inspect_err(|_| stop.cancel())?;
        telemetry.spawn(&tasks, &config.telemetry);
        let inner = Inner {
            identity,
            local,
            cluster,
            cache,
            executions: executions(env),
            lan: Some(pools.lan.clone()),
            wan: pools.wan.clone(),
            telemetry,
            logs,
            revision,
        };
        let handle = Handle {
            inner: Arc::new(inner),
        };
        match &server {
            Some(server) => serve_rpc(env, &config, &handle, server, &tasks)?,
            None => {
                tasks.spawn("servers", rebalance(handle.clone(), tasks.stop().clone()));
            }
        }
        handle.inner.local.spawn_tasks(&handle, &tasks);
        let joins = pools.run(&config, &handle, &tasks);
        Ok(Agent {
            env: env.clone(),
            handle,
            server,
            tasks,
            process,
            joins,
            _lock: lock,
        })
    }

    /// The handle for fronts.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Its server half, for those who look behind the handle: simulations.
    pub fn server(&self) -> Option<&Server> {
        self.server.as_ref()
    }

    /// Waits until the agent wants to end by itself. Cancel safe.
    pub async fn ending(&mut self) -> Ending {
        tokio::select! {
            biased;
            request = self.process.recv() => match request {
                Some(ProcessRequest::Leave(answer)) => Ending::Leave(answer),
                None => Ending::Failed("the agent's tasks ended".to_owned()),
            },
            Some(reason) = self.joins.recv() => Ending::Failed(reason),
            reason = storage_failed(self.server.as_ref()) => {
                error!(%reason, "storage failed, the agent ends");
                Ending::Failed(reason)
            }
        }
    }

    /// Joins the addresses that are to be joined at the start, first in the LAN, then in the WAN pool. One of a pool that
    /// works is enough.
    ///
    /// # Errors
    /// None of a pool works; the text names each.
    pub async fn join_at_start(&self) -> Result<(), String> {
        let join = &self.handle.config().join;
        for (addrs, wan) in [(&join.start_lan, false), (&join.start_wan, true)] {
            if addrs.is_empty() {
                continue;
            }
            let joined = self.handle.pool_to_join(wan)?.join(addrs).await;
            if joined.count == 0 {
                return Err(joined.error_text());
            }
        }
        Ok(())
    }

    /// Leaves the cluster gracefully. A server among others hands over what it leads, leaves the WAN pool, so that other
    /// datacenters turn to others, and the LAN pool, upon which the leader takes it out of the peer set, takes no more
    /// requests while those on their way end, and waits until the others count without it. Alone there is nothing to hand
    /// over.
    pub async fn leave(&self) {
        self.handle.inner.local.sync.end();
        let among_others = { self.server.as_ref() }.filter(|server| server.has_other_voters());
        if let Some(server) = among_others {
            server.hand_over().await;
        }
        let inner = &self.handle.inner;
        for pool in [&inner.wan, &inner.lan].into_iter().flatten() {
            pool.leave().await;
        }
        if let Some(server) = among_others {
            server.refuse_requests();
            let drain = self.handle.config().performance.leave_drain_time;
            self.env.sleep(drain).await;
            server.wait_until_removed().await;
        }
    }

    /// Stops tasks and the log. What was acknowledged is on disk.
    pub async fn shutdown(self) {
        if !self.tasks.shutdown(STOP_DEADLINE).await {
            warn!("some tasks did not end in time");
        }
        if let Some(server) = &self.server
            && !server.shutdown(STOP_DEADLINE).await
        {
            warn!("some tasks of the server did not end in time");
        }
    }
}

/// Who this agent is.
fn identify(env: &Env, config: &Config) -> Result<Identity, StartError> {
    let id = node_id(
        env,
        config.node.id,
        config.node.disable_host_id,
        config.data_dir.as_deref(),
    )?;
    Ok(Identity {
        node: text(&config.node.name),
        id,
        datacenter: text(&config.datacenter),
        server: config.server.enabled,
    })
}

/// The way to the servers: to the own one and from there to other datacenters, or to those that gossip tells of.
fn cluster(
    env: &Env,
    config: &Config,
    identity: &Identity,
    server: Option<&Server>,
    tasks: &TaskGroup,
) -> Cluster {
    let Some(server) = server else {
        let client = Client::new(env, tasks, config, identity.id);
        return Cluster::Remote(Arc::new(client));
    };
    let dc = &identity.datacenter;
    let has_wan = config.addrs.serf_wan_advertise.is_some();
    let router = has_wan.then(|| Router::new(env, tasks, config, dc.clone()));
    let own = OwnRequests::new(env, config);
    Cluster::own(server.clone(), dc.clone(), router, own)
}

/// Changes the order in which a client asks servers, now and then.
async fn rebalance(handle: Handle, stop: CancellationToken) {
    if let Some(client) = handle.inner.cluster.client() {
        let members = || handle.member_count();
        client.run_rebalance(members, stop).await;
    }
}

/// Resolves when the server's log has failed for good; never on a client.
async fn storage_failed(server: Option<&Server>) -> String {
    match server {
        Some(server) => server.failed().await,
        None => std::future::pending().await,
    }
}

/// Makes the data folder and locks it.
fn own_data_dir(env: &Env, dir: &Path) -> Result<File, StartError> {
    let path = dir.to_owned();
    let made = env.disk().create_dir_all(dir).and_then(|()| {
        env.disk().open(
            &dir.join(LOCK_FILE),
            OpenOptions {
                create: true,
                ..OpenOptions::WRITE
            },
        )
    });
    let file = made.map_err(|source| StartError::DataDir {
        path: path.clone(),
        source,
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(err) if err.kind() == std::io::ErrorKind::WouldBlock => Err(StartError::InUse { path }),
        Err(source) => Err(StartError::DataDir { path, source }),
    }
}
