//! Asking servers: the cluster half of a client agent, which keeps nothing itself, and the way of a server to another
//! datacenter.
//!
//! One server is asked until it fails; which one is next is decided in [`tribune_local::servers`]. What may be tried again
//! is tried: at home within the hold time ([`home`]), abroad at every server once ([`abroad`]).
//!
//! A server that the pool takes for failed is not waited for until its connection fails, which takes half a minute: a
//! moment after it is no longer among the servers, calls to it are given up, and reads are made again elsewhere. One that
//! says nothing when it is asked is passed over sooner ([`silence`]).
//!
//! Calls that are answered promptly and with little go in frames to servers of Tribune's kind, on a second connection that is
//! made when there are many of them ([`prompt`]).
//!
//! Memory: nothing while idle but one connection with its streams (see `tribune-net`), and replies that come often
//! ([`recent`]).

mod abroad;
mod home;
mod prepared;
mod prompt;
mod read;
mod recent;
mod silence;
mod snapshot;
mod status;
mod write;

use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tracing::{debug, warn};
use tribune_config::Config;
use tribune_local::servers::{FIRST_REBALANCE, Servers, rebalance_delay};
use tribune_net::{CallError, Line, Lost, NotSent, Pool, Target};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_types::error::RpcError;
use tribune_types::id::NodeId;
use tribune_types::text::{Text, text};
use tribune_wire::rpc;

use abroad::Abroad;
pub(crate) use abroad::pool_options;
use recent::Recent;

use crate::own_requests::OwnRequests;
pub use tribune_local::servers::ServerAddr;

/// Longest time a server may take for what does not wait for a change: its own hold time, twice, and then some.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the answer of a server that is gone is waited for: it may be on its way.
const GRACE: Duration = Duration::from_secs(1);
/// Longest time for a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// What a call does, as far as trying again is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Does no harm twice.
    Read,
    /// Changes something.
    Write,
}

/// A call, whichever server answers it.
#[derive(Clone, Copy)]
struct Asking<'a> {
    kind: Kind,
    method: &'a str,
    body: &'a [u8],
    /// Longest time for an answer. Above [`CALL_TIMEOUT`] where servers may wait for a change.
    deadline: Duration,
    /// The body for when so much of the wait for a change is over; `None`: the same.
    rest: Option<Rest<'a>>,
}

/// See [`Asking::rest`].
type Rest<'a> = &'a (dyn Fn(Duration) -> Option<Vec<u8>> + Send + Sync);

/// The way to the servers of one datacenter.
pub(crate) struct Client {
    env: Env,
    datacenter: Text,
    pool: Pool,
    tasks: TaskGroup,
    servers: Mutex<Servers>,
    /// Other servers than before may be asked: they came or went, fell silent or are heard again.
    servers_changed: Arc<Notify>,
    recent: Recent,
    place: Place,
    /// How long a request is tried again.
    hold: Duration,
    /// Longest wait of a blocking query that servers allow.
    query_time_max: Duration,
}

/// How long requests may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// How long a request is tried again, if nobody has waited with it.
    pub(crate) hold: Duration,
    /// The least that a blocking query may wait.
    pub(crate) query_time_max: Duration,
}

/// Where the servers are.
enum Place {
    /// In the datacenter of this client agent, which may be limited in how often it asks.
    Home(OwnRequests),
    /// In another datacenter than that of this server.
    Abroad(Abroad),
}

impl Client {
    /// The way of the client agent `own`. Knows no server yet. Connections are tasks of `tasks`.
    pub(crate) fn new(env: &Env, tasks: &TaskGroup, config: &Config, own: NodeId) -> Client {
        let servers_changed = Arc::default();
        let options = prompt::pool_options(own, silence::heed(&servers_changed));
        Client {
            env: env.clone(),
            datacenter: text(&config.datacenter),
            pool: Pool::new(env, tasks, options),
            tasks: tasks.clone(),
            servers: Mutex::default(),
            servers_changed,
            recent: Recent::default(),
            place: Place::Home(OwnRequests::new(env, config)),
            hold: config.performance.rpc_hold_timeout,
            query_time_max: config.http.max_query_time,
        }
    }

    /// The way of a server to another datacenter, over connections of `pool`. Knows no server yet.
    pub(crate) fn abroad(
        env: &Env,
        tasks: &TaskGroup,
        pool: Pool,
        datacenter: Text,
        patience: Patience,
    ) -> Arc<Client> {
        Arc::new_cyclic(|own: &Weak<Client>| Client {
            env: env.clone(),
            datacenter,
            pool,
            tasks: tasks.clone(),
            servers: Mutex::default(),
            servers_changed: Arc::default(),
            recent: Recent::default(),
            place: Place::Abroad(Abroad::new(own.clone())),
            hold: patience.hold,
            query_time_max: patience.query_time_max,
        })
    }

    /// Replaces the servers that may be asked. Those of other datacenters are left out.
    pub(crate) fn set_servers(&self, mut servers: Vec<ServerAddr>) {
        servers.retain(|server| server.datacenter == self.datacenter);
        let mut below = |n| self.env.random_below(n);
        self.servers.lock().set(servers, &mut below);
        self.servers_changed.notify_waiters();
    }

    /// How many servers may be asked.
    pub(crate) fn server_count(&self) -> usize {
        self.servers.lock().len()
    }

    /// Takes in new limits.
    pub(crate) fn reload(&self, config: &Config) {
        if let Place::Home(own) = &self.place {
            own.reload(config);
        }
    }

    /// Calls a server, and another one, or again, as far as that is allowed.
    ///
    /// # Errors
    /// There is no server, or what the servers say.
    pub(crate) async fn call(
        &self,
        kind: Kind,
        method: &str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, RpcError> {
        self.ask(&Asking {
            kind,
            method,
            body,
            deadline,
            rest: None,
        })
        .await
    }

    /// Nobody is asked any longer once the agent stops.
    async fn ask(&self, call: &Asking<'_>) -> Result<Vec<u8>, RpcError> {
        let stopped = self.tasks.stop().cancelled();
        let answer = async {
            match &self.place {
                Place::Home(own) => self.call_home(own, call).await,
                Place::Abroad(state) => self.call_abroad(state, call).await,
            }
        };
        tokio::select! {
            biased;
            () = stopped => Err(RpcError::Remote(Lost::Eof.to_string())),
            answer = answer => answer,
        }
    }

    /// Returns once there is a connection to a server, as long as the server is there: while there is none, giving up is
    /// harmless.
    async fn line(&self, server: &ServerAddr, target: Target) -> Result<Line<'_>, CallError> {
        tokio::select! {
            biased;
            line = self.pool.line(target) => line,
            () = self.gone(server) => Err(CallError::NotSent(NotSent::Session)),
        }
    }

    /// Makes one call, as long as the server is there.
    async fn answer(
        &self,
        server: &ServerAddr,
        line: Line<'_>,
        call: &Asking<'_>,
    ) -> Result<Vec<u8>, CallError> {
        tokio::select! {
            biased;
            reply = line.call(call.method, call.body, call.deadline) => reply,
            () = self.given_up(server) => Err(CallError::FateUnknown(Lost::Eof)),
        }
    }

    /// Resolves once `server` is not among the servers any more.
    async fn gone(&self, server: &ServerAddr) {
        self.until(|| !self.servers.lock().contains(server)).await;
    }

    /// Resolves once this holds of the servers.
    async fn until(&self, holds: impl Fn() -> bool) {
        loop {
            let changed = self.servers_changed.notified();
            if holds() {
                return;
            }
            changed.await;
        }
    }

    async fn given_up(&self, server: &ServerAddr) {
        self.gone(server).await;
        self.env.sleep(GRACE).await;
    }

    fn on_failure(&self, server: &ServerAddr, method: &str, err: &CallError) {
        self.servers.lock().on_failure(&server.name);
        match err {
            CallError::Remote(_) => debug!(server = %server.name, method, %err, "call failed"),
            _ => {
                warn!(server = %server.name, addr = %server.addr, method, %err, "server not reached")
            }
        }
    }

    /// Changes the order of servers now and then, until `stop`. `members` counts the agents that share them.
    pub(crate) async fn run_rebalance(&self, members: impl Fn() -> usize, stop: CancellationToken) {
        let mut delay = FIRST_REBALANCE;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.env.sleep(delay) => self.rebalance().await,
            }
            let random = self.env.random_below(1 << 32) as f64 / (1u64 << 32) as f64;
            delay = rebalance_delay(members(), self.server_count(), random);
        }
    }

    /// Shuffles, then takes the first server that answers.
    pub(crate) async fn rebalance(&self) {
        self.servers
            .lock()
            .shuffle(&mut |n| self.env.random_below(n));
        for _ in 0..self.server_count() {
            let Some(server) = self.servers.lock().first().cloned() else {
                return;
            };
            let ping = self
                .pool
                .call(server.addr, rpc::PING, rpc::EMPTY, PING_TIMEOUT);
            match ping.await {
                Ok(_) => return,
                Err(err) => self.on_failure(&server, rpc::PING, &err),
            }
        }
    }
}

/// A reply that this agent cannot understand.
fn unreadable(err: &rpc::Error) -> RpcError {
    RpcError::Remote(format!("rpc error making call: {err}"))
}

/// The datacenter to name in a request.
fn datacenter<'a>(own: &'a str, asked: Option<&'a str>) -> &'a str {
    asked.filter(|dc| !dc.is_empty()).unwrap_or(own)
}
