//! A server: the replicated state machine, its readers and watchers, and the duties of the leader.
//!
//! To follow a write, start at `writes`: authorise, check, propose; `machine` applies it on every server, publishes a
//! version (`store`) and wakes readers (`hub`). To follow a read, start at `reads`. What a leader does on its own is in
//! `leading`; how the catalog follows the gossip pool, in `reconciling`.
//!
//! Nothing here knows HTTP, DNS or how gossip works, and nothing assumes that there is only one server.

pub mod answer;
mod authorize;
mod autopilot;
mod bootstrapping;
mod directory;
mod figures;
mod forward;
mod health;
mod hold;
mod hub;
mod joining;
mod leading;
mod leaving;
mod machine;
mod membership;
mod options;
mod peers;
mod queries;
mod reads;
mod reconciling;
mod recovering;
mod route;
mod snapshots;
mod soft;
mod store;
mod validate;
mod watching;
mod writes;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tribune_leader::coordinates::CoordinateBatch;
use tribune_net::{Peers, Pool};
use tribune_raft::{Raft, RaftConfig};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_state::{State, Version};
use tribune_types::error::RpcError;
use tribune_types::text::Text;

pub use authorize::{Access, Authorizer};
pub use options::{Bootstrap, ServerOptions};
pub use recovering::RecoveredServer;
pub use route::Origin;
pub use snapshots::{SnapshotRestore, SnapshotSave};
pub use tribune_leader::reconcile::NodeFacts;

use autopilot::Autopilot;
use bootstrapping::Promise;
use directory::Directory;
use figures::Figures;
use hub::Hub;
use membership::Membership;
use peers::PeerTransport;
use soft::Soft;
use store::Store;

/// How long the founding entry may take to be written.
const BOOTSTRAP_DEADLINE: Duration = Duration::from_secs(30);

/// Members to force out that may wait.
const FORCE_LEAVES_MAX: usize = 64;

/// Size of a log segment in simulation.
const SIMULATED_SEGMENT_BYTES: u64 = 256 << 10;

/// Why a server cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log or the snapshots cannot be used.
    #[error("failed to start the replicated log")]
    Raft(#[from] tribune_raft::OpenError),
    /// The given peer set cannot be put in place of the lost one.
    #[error("failed to recover the peer set: {0}")]
    Recover(String),
    /// The first server of a cluster could not be founded.
    #[error("failed to bootstrap the cluster")]
    Bootstrap(#[from] tribune_raft::BootstrapError),
    /// The first entry of the log was not written in time.
    #[error("failed to bootstrap the cluster: the log was not written in time, is the disk full?")]
    BootstrapStuck,
}

/// A running server. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    env: Env,
    options: ServerOptions,
    raft: Raft,
    store: Arc<Store>,
    hub: Arc<Hub>,
    soft: Arc<Soft>,
    coordinates: Mutex<CoordinateBatch>,
    membership: Membership,
    directory: Arc<Directory>,
    peers: Peers,
    promise: Mutex<Option<Promise>>,
    autopilot: Mutex<Autopilot>,
    /// Names of members that the pool shall take for left.
    force_leaves: mpsc::Sender<Text>,
    force_leaves_taken: Mutex<Option<mpsc::Receiver<Text>>>,
    authorizer: Authorizer,
    /// Connections to the server ports of other servers.
    calls: Pool,
    /// Leadership was gained, established or lost, or another leader is known.
    leading: Notify,
    /// No more requests are taken.
    leaving: AtomicBool,
    ready: AtomicBool,
    blocking: AtomicUsize,
    figures: Figures,
    tasks: TaskGroup,
}

impl Server {
    /// Opens the log, restores the state and starts serving. A cluster of one leads itself shortly after.
    ///
    /// # Errors
    /// When the data on disk cannot be used; nothing was changed then.
    pub async fn start(
        env: &Env,
        options: ServerOptions,
        authorizer: Authorizer,
        stop: &CancellationToken,
    ) -> Result<Server, StartError> {
        let state = State::new();
        let store = Arc::new(Store::new(state.version()));
        let hub = Arc::new(Hub::new(Arc::clone(&store)));
        let soft = Arc::new(Soft::new(env.clone()));
        let machine = machine::StateMachine::new(
            env,
            state,
            Arc::clone(&store),
            Arc::clone(&hub),
            Arc::clone(&soft),
        );
        let addr = std::net::SocketAddr::new(options.advertise, options.rpc_port).to_string();
        let mut config = RaftConfig {
            timing: options.timing,
            snapshot: options.snapshot,
            ..RaftConfig::new(options.id, addr.clone(), options.data_dir.clone())
        };
        if env.is_sim() {
            // Simulated disks are memory, and many segments have more borders to cross.
            config.segment_size = SIMULATED_SEGMENT_BYTES;
        }
        let tasks = env.group(stop);
        let directory = Arc::new(Directory::default());
        let own = peers::peer_id(options.id);
        let peers = Peers::new(env, &tasks, own, tribune_net::PeerOptions::default());
        let transport = PeerTransport::new(peers.clone(), Arc::clone(&directory));
        let config = recovering::prepare(env, config, &options.recover).await?;
        let raft = Raft::open(env, config, Box::new(machine), Arc::new(transport)).await?;
        let member = tribune_raft::Member { addr };
        let (force_leaves, forced) = mpsc::channel(FORCE_LEAVES_MAX);
        let bootstrap = options.bootstrap;
        let server = Server(Arc::new(Inner {
            env: env.clone(),
            options,
            raft,
            store,
            hub,
            soft,
            coordinates: Mutex::default(),
            membership: Membership::default(),
            directory,
            peers,
            promise: Mutex::default(),
            autopilot: Mutex::default(),
            force_leaves,
            force_leaves_taken: Mutex::new(Some(forced)),
            authorizer,
            calls: Pool::new(env, &tasks, forward::pool_options(own)),
            leading: Notify::new(),
            leaving: AtomicBool::new(false),
            ready: AtomicBool::new(false),
            blocking: AtomicUsize::new(0),
            figures: Figures::new(),
            tasks,
        }));
        if let Some(changes) = server.raft().take_leadership_events() {
            server
                .0
                .tasks
                .spawn("leader", leading::run(server.clone(), changes));
        }
        server
            .0
            .tasks
            .spawn("follow", forward::follow(server.clone()));
        server
            .0
            .tasks
            .spawn("leader-watch", watching::run(server.clone()));
        server
            .0
            .tasks
            .spawn("figures", figures::run(server.clone()));
        if let Bootstrap::Expect(expect) = bootstrap {
            let founding = bootstrapping::run(server.clone(), expect);
            server.0.tasks.spawn("bootstrap", founding);
        }
        if bootstrap == Bootstrap::Alone {
            let founded = server
                .raft()
                .bootstrap([(server.options().id, member)].into());
            // A disk without room makes every write wait; an operator should hear of it instead.
            match env.timeout(BOOTSTRAP_DEADLINE, founded).await {
                Ok(founded) => founded.map(drop)?,
                Err(_) => return Err(StartError::BootstrapStuck),
            }
        }
        Ok(server)
    }

    /// Stops intake and tasks, then the log. False if something did not stop in time.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        let stopped = self.0.tasks.shutdown(deadline).await;
        self.0.raft.shutdown().await;
        stopped
    }

    /// Resolves when the log has failed for good, with the reason: the process should end.
    pub async fn failed(&self) -> String {
        self.0.raft.stopped().await
    }

    /// `ip:port` of the leader's server RPC; empty if there is none.
    pub fn status_leader(&self) -> String {
        self.0
            .raft
            .leader()
            .map(|leader| leader.addr)
            .unwrap_or_default()
    }

    /// `ip:port` of the server RPC of all peers.
    pub fn status_peers(&self) -> Vec<String> {
        self.0
            .raft
            .membership()
            .peers
            .iter()
            .map(|server| server.addr.clone())
            .collect()
    }

    /// Figures of the peer set for `info`.
    pub fn raft_metrics(&self) -> tribune_raft::RaftMetrics {
        self.0.raft.metrics()
    }

    /// True while this server leads under a valid lease.
    pub fn is_leader(&self) -> bool {
        self.0.raft.is_leader_lease_valid()
    }

    /// Blocking queries waiting now.
    pub fn queries_blocking(&self) -> usize {
        self.0.blocking.load(Ordering::Relaxed)
    }

    /// Groups of equal queries the watch hub keeps.
    pub fn query_groups(&self) -> usize {
        self.0.hub.len()
    }

    /// The current version of the state.
    pub fn version(&self) -> Version {
        self.0.store.load().version.clone()
    }

    /// The decision-maker for requests.
    pub fn authorizer(&self) -> &Authorizer {
        &self.0.authorizer
    }

    pub(crate) fn env(&self) -> &Env {
        &self.0.env
    }

    pub(crate) fn options(&self) -> &ServerOptions {
        &self.0.options
    }

    pub(crate) fn raft(&self) -> &Raft {
        &self.0.raft
    }

    pub(crate) fn store(&self) -> &Store {
        &self.0.store
    }

    pub(crate) fn hub(&self) -> &Hub {
        &self.0.hub
    }

    pub(crate) fn soft(&self) -> &Soft {
        &self.0.soft
    }

    pub(crate) fn coordinates(&self) -> &Mutex<CoordinateBatch> {
        &self.0.coordinates
    }

    pub(crate) fn membership(&self) -> &Membership {
        &self.0.membership
    }

    pub(crate) fn directory(&self) -> &Directory {
        &self.0.directory
    }

    pub(crate) fn peers(&self) -> &Peers {
        &self.0.peers
    }

    pub(crate) fn promise(&self) -> &Mutex<Option<Promise>> {
        &self.0.promise
    }

    pub(crate) fn autopilot(&self) -> &Mutex<Autopilot> {
        &self.0.autopilot
    }

    /// Asks whoever owns the pool to take a failed member for left. Dropped when many wait: autopilot asks again.
    pub(crate) fn force_leave(&self, name: Text) {
        let _ = self.0.force_leaves.try_send(name);
    }

    /// Names of failed members that the gossip pools shall take for left. The first caller gets them.
    pub fn take_force_leaves(&self) -> Option<mpsc::Receiver<Text>> {
        self.0.force_leaves_taken.lock().take()
    }

    pub(crate) fn calls(&self) -> &Pool {
        &self.0.calls
    }

    /// Takes no more requests that need a leader, for good: callers shall turn to other servers.
    pub fn refuse_requests(&self) {
        self.0.leaving.store(true, Ordering::Release);
        self.leading().notify_waiters();
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.0.leaving.load(Ordering::Acquire)
    }

    /// Resolves when this server gains or loses the lead, becomes ready to lead, or knows another leader. Cancel safe;
    /// make it before looking.
    pub fn leading_changed(&self) -> tokio::sync::futures::Notified<'_> {
        self.leading().notified()
    }

    pub(crate) fn leading(&self) -> &Notify {
        &self.0.leading
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        self.0.tasks.stop()
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.0.ready.store(ready, Ordering::Release);
    }

    /// Waits until leadership is established, at most the hold time.
    ///
    /// # Errors
    /// `NotReady`.
    pub(crate) async fn wait_until_ready(&self) -> Result<(), RpcError> {
        let deadline = self.env().mono() + self.options().rpc_hold_timeout;
        loop {
            let changed = self.leading().notified();
            if self.0.ready.load(Ordering::Acquire) {
                return Ok(());
            }
            if self.env().mono() >= deadline {
                return Err(RpcError::NotReady);
            }
            let _ = self
                .env()
                .timeout(Duration::from_millis(100), changed)
                .await;
        }
    }

    pub(crate) fn count_blocking(&self) -> BlockingGuard<'_> {
        self.0.blocking.fetch_add(1, Ordering::Relaxed);
        self.figures().blocking.increment(1.0);
        BlockingGuard(self)
    }

    pub(crate) fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// Name of this node.
    pub fn node(&self) -> &Text {
        &self.0.options.node
    }
}

/// Counts a blocking query while it lives.
pub(crate) struct BlockingGuard<'a>(&'a Server);

impl Drop for BlockingGuard<'_> {
    fn drop(&mut self) {
        self.0.figures().blocking.decrement(1.0);
        self.0.0.blocking.fetch_sub(1, Ordering::Relaxed);
    }
}
