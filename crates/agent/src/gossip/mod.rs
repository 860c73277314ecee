//! Gossip pools: the drivers of `tribune-serf` (spec gossip.md).
//!
//! A [`Pool`] is one membership: the LAN of a datacenter, or the WAN of the servers of all. One task per pool owns the
//! turns of the core, the socket of datagrams and the timer (`driver`); one accepts streams (`accept`); outgoing exchanges
//! are tasks of their own (`exchange`). What Consul does with the pools is in `consul` (LAN) and `wan`.
//!
//! ```text
//!   UDP socket --- driver ---- core (Mutex<Serf>) ---- readers: members, figures
//!   TCP listener - accept --+      |
//!   exchanges ------------- commands (bounded)        followers (bounded, told when they lose news)
//! ```
//!
//! Memory: the core, 128 KiB of receive buffer of which only used pages count, no buffers per peer. What a stranger can
//! make a pool hold is bounded per source (`accept`, `hostile`).

mod accept;
mod admit;
mod codec;
mod consul;
mod coordinates;
mod driver;
mod exchange;
mod figures;
mod hostile;
mod join;
mod keyring;
mod keys;
mod members;
mod operator_key;
mod options;
mod retry;
mod snapshot;
#[cfg(test)]
mod tests;
mod turn;
mod wan;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tracing::{debug, info, warn};
use tribune_rt::net::{BindOptions, TcpListener, UdpSocket};
use tribune_rt::{Env, TaskGroup};
use tribune_serf::{QueryId, Question, Refused, Restored, Serf, Stats};
use tribune_swim::NodeState;
use tribune_types::coordinate::Coordinate;
use tribune_types::member::Member;
use tribune_types::text::{Text, TextMap};
use tribune_types::time::Mono;

pub(crate) use admit::Admission;
pub(crate) use consul::{LanParts, encode_event, run_lan, start_lan, tags};
pub(crate) use members::{News, Subscription};
pub use options::PoolError;
pub(crate) use options::{Fired, PoolOptions, bind_text};
pub(crate) use retry::RetryJoin;
pub(crate) use wan::{force_leave, run_wan, start_wan, wan_name};

use driver::Driver;
use exchange::Purpose;
use figures::EventNames;
use hostile::Hostile;
use keys::Keys;
use members::{Followers, Roster};
use snapshot::Snapshot;
use turn::{Command, QueryNews, Turn, Waiters};

/// Commands that may wait; whoever sends one more waits, too.
const COMMANDS_MAX: usize = 256;
/// Outgoing exchanges at the same time.
const EXCHANGES_MAX: usize = 16;
/// Kernel buffer for datagrams, and the smallest one worth asking for.
const UDP_BUFFER_MAX: usize = 2 << 20;
const UDP_BUFFER_MIN: usize = 64 << 10;
/// How long a member must have been there to count as established.
const ESTABLISHED_AFTER: Duration = Duration::from_secs(30);

/// Consul's settings of the layer above failure detection (gossip.md section 9.2).
const BROADCAST_TIMEOUT: Duration = Duration::from_secs(5);
const LEAVE_PROPAGATE_DELAY: Duration = Duration::from_secs(3);
/// A broadcast of a leave was not sent in time; what Consul's users read then.
const UNTOLD: &str = "timed out broadcasting node removal";
/// A member that is not known as failed is forgotten when its leave has had its time; a moment more to see it.
const PRUNE_WAIT: Duration = Duration::from_secs(9);
const _: () =
    assert!(PRUNE_WAIT.as_secs() > BROADCAST_TIMEOUT.as_secs() + LEAVE_PROPAGATE_DELAY.as_secs());

/// A running pool. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    label: &'static str,
    name: Text,
    default_port: u16,
    stream_timeout: Duration,
    core: Mutex<Serf>,
    commands: mpsc::Sender<Command>,
    /// Number of the last change that members may show; begins with 1.
    version: AtomicU64,
    roster: Roster,
    followers: Followers,
    keys: Keys,
    hostile: Hostile,
    /// Who may exchange states on own initiative.
    exchanges: Semaphore,
    /// Who may hold more than a small stream.
    large: Semaphore,
}

impl Shared {
    /// Members may look different from now on.
    fn changed(&self) {
        self.version.fetch_add(1, Ordering::Release);
    }
}

/// An asked query.
struct Answers {
    query: QueryId,
    /// Members that were asked.
    nodes: usize,
    /// Their answers, until the time of the query is over.
    rx: mpsc::Receiver<QueryNews>,
}

/// Why something was not announced to a pool. Nothing was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AnnounceError {
    /// The core refused, in words for clients.
    #[error("{0}")]
    Refused(String),
    /// The agent is shutting down.
    #[error("agent is shutting down")]
    ShuttingDown,
}

impl Pool {
    /// Binds the port and starts the tasks of a pool of one. Previous members are tried in the background.
    ///
    /// # Errors
    /// What cannot be bound or read; nothing runs then.
    pub(crate) fn start(
        env: &Env,
        tasks: &TaskGroup,
        options: PoolOptions,
    ) -> Result<Pool, PoolError> {
        let keys = Keys::load(env, options.label, &options.keys)?;
        let restored =
            match &options.snapshot {
                Some(path) => snapshot::load(&env.disk(), path, options.rejoin_after_leave)
                    .map_err(|source| PoolError::Snapshot {
                        path: path.clone(),
                        source,
                    })?,
                None => Restored::default(),
            };
        let (listener, socket) = bind(env, options.bind)?;
        let port = socket
            .local_addr()
            .map_or(options.bind.port(), |addr| addr.port());
        let mut advertise = options.advertise;
        if advertise.port() == 0 {
            advertise.set_port(port);
        }
        let stream_timeout = options.timing.stream_timeout;
        let mut out = Vec::new();
        let core = Serf::new(
            serf_options(&options),
            tribune_swim::Options {
                name: options.name.clone(),
                addr: advertise,
                meta: Arc::default(),
                versions: tribune_swim::Versions::CONSUL,
                timing: options.timing,
                packet_overhead: keys.packet_overhead(),
                stream_fallback: true,
                admit: options.admit,
                encode: codec::CODEC.encode_swim,
                nodes_max: tribune_swim::Options::NODES_MAX,
                seed: env.random_u64(),
            },
            codec::CODEC,
            &restored,
            env.mono(),
            &mut out,
        );
        let (commands_tx, commands) = mpsc::channel(COMMANDS_MAX);
        let pool = Pool {
            shared: Arc::new(Shared {
                env: env.clone(),
                label: options.label,
                name: options.name,
                default_port: port,
                stream_timeout,
                core: Mutex::new(core),
                commands: commands_tx,
                version: AtomicU64::new(1),
                roster: Roster::default(),
                followers: Followers::default(),
                keys,
                hostile: Hostile::default(),
                exchanges: Semaphore::new(EXCHANGES_MAX),
                large: Semaphore::new(1),
            }),
        };
        let stop = tasks.stop().clone();
        let snapshot = options.snapshot.map(|path| {
            let snapshot = Arc::new(Snapshot::default());
            let own = pool.clone();
            let contents: snapshot::Contents = Arc::new(move || {
                let core = own.shared.core.lock();
                (core.records(), core.alive_count())
            });
            let run = snapshot::run(
                env.clone(),
                Arc::clone(&snapshot),
                path,
                contents,
                stop.clone(),
            );
            tasks.spawn("gossip-snapshot", run);
            snapshot
        });
        let driver = Driver {
            pool: pool.clone(),
            socket: Arc::new(socket),
            commands,
            tasks: tasks.clone(),
            events: options.events,
            snapshot,
            waiters: Waiters::default(),
            names: EventNames::default(),
            out,
            buffer: Vec::new(),
            sampled: env.mono(),
        };
        tasks.spawn("gossip", driver.run(stop.clone()));
        tasks.spawn(
            "gossip-accept",
            accept::run(pool.clone(), listener, tasks.clone(), stop),
        );
        if !restored.alive.is_empty() {
            spawn(tasks, "gossip-rejoin", pool.clone().rejoin(restored.alive));
        }
        Ok(pool)
    }

    /// The world.
    pub(crate) fn env(&self) -> &Env {
        &self.shared.env
    }

    /// `LAN` or `WAN`.
    pub(crate) fn label(&self) -> &'static str {
        self.shared.label
    }

    /// Own name.
    pub(crate) fn name(&self) -> &Text {
        &self.shared.name
    }

    /// The port to try where none is given.
    fn default_port(&self) -> u16 {
        self.shared.default_port
    }

    /// Members in any state, sorted by name. Shared until the next change; O(members) for the first who asks after one.
    pub(crate) fn members(&self) -> Arc<[Member]> {
        let version = self.shared.version.load(Ordering::Acquire);
        self.shared.roster.list(version, &self.shared.core)
    }

    /// This node as a member.
    pub(crate) fn own_member(&self) -> Option<Member> {
        let core = self.shared.core.lock();
        let view = core.member(&self.shared.name)?;
        Some(members::member_of(view.peer, view.status))
    }

    /// Number of members in any state.
    pub(crate) fn member_count(&self) -> usize {
        self.stats().members
    }

    /// Figures.
    pub(crate) fn stats(&self) -> Stats {
        self.shared.core.lock().stats()
    }

    /// True if there are gossip keys.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.shared.keys.is_encrypted()
    }

    /// Own position.
    pub(crate) fn coordinate(&self) -> Coordinate {
        self.shared.core.lock().coordinate().clone()
    }

    /// The last position a member told; `None` if it was not measured yet, or is unknown.
    pub(crate) fn coordinate_of(&self, name: &str) -> Option<Coordinate> {
        self.shared.core.lock().coordinate_of(name).cloned()
    }

    /// News of members from now on. Read [`Pool::members`] after this call, so that nothing falls between.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.shared.followers.subscribe()
    }

    /// Whether another member with this address is established, and the number of members in any state. O(members).
    fn standing(&self, ip: IpAddr) -> (bool, usize) {
        let now = self.env().mono();
        let core = self.shared.core.lock();
        (established(&core, now, ip), core.stats().members)
    }

    /// True if one more line about what members say may be written; with the number of those that were not.
    pub(crate) fn may_warn(&self) -> Option<u64> {
        self.shared.hostile.may_warn(self.env().mono())
    }

    /// Gives the core a turn; `None` if the pool has ended.
    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Turn<'_>) -> T + Send + 'static,
    ) -> Option<T> {
        let (tx, rx) = oneshot::channel();
        let command: Command = Box::new(move |turn| {
            // Whoever asked may be gone.
            let _ = tx.send(act(turn));
        });
        self.shared.commands.send(command).await.ok()?;
        rx.await.ok()
    }

    /// Announces this node after a join.
    async fn announce_joined(&self) {
        self.with(|turn| turn.serf.joined(turn.now, turn.out)).await;
    }

    /// Leaves the pool and waits until that is known as far as possible; at most about 13 s. Not cancel safe: leaving goes
    /// on.
    pub(crate) async fn leave(&self) {
        let (tx, left) = oneshot::channel();
        info!("({}) leaving the pool", self.label());
        let begun = self
            .with(move |turn| {
                turn.waiters.left.push(tx);
                turn.members_changed = true;
                turn.serf.leave(turn.now, turn.out);
            })
            .await;
        if begun.is_some() {
            // Closed: the pool has ended, which is as good.
            let _ = left.await;
        }
    }

    /// Declares a failed member as left, and with `prune` forgets it, which takes 8 s if it is not known as failed: waits
    /// for both. False if there is no such member.
    ///
    /// # Errors
    /// Not all were told in time, in the words of Consul. Here it is done, and the others may hear of it yet.
    pub(crate) async fn force_leave(&self, node: &str, prune: bool) -> Result<bool, &'static str> {
        let node: Text = Text::from(node);
        let (tx, sent) = oneshot::channel();
        let mut news = self.subscribe();
        let name = node.clone();
        let known = self
            .with(move |turn| {
                if turn.serf.member(&name).is_none() {
                    return false;
                }
                turn.members_changed = true;
                let ticket = turn.serf.force_leave(turn.now, &name, prune, turn.out);
                if let Some(ticket) = ticket {
                    turn.waiters.tickets.insert(ticket, tx);
                }
                true
            })
            .await
            .unwrap_or(false);
        if known {
            // Closed: nobody else is there to be told.
            if !sent.await.unwrap_or(true) {
                return Err(UNTOLD);
            }
        }
        if known && prune {
            let gone = async { while self.is_known(&node) && news.next().await.is_some() {} };
            // A member that says it is there stays.
            let _ = self.env().timeout(PRUNE_WAIT, gone).await;
        }
        Ok(known)
    }

    /// True if the pool has a member of this name, in whatever state.
    fn is_known(&self, name: &str) -> bool {
        self.shared.core.lock().member(name).is_some()
    }

    /// Announces other tags.
    ///
    /// # Errors
    /// They are too large.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "tags change with ACLs and consensus, which are not built yet"
        )
    )]
    pub(crate) async fn set_tags(&self, tags: TextMap) -> Result<(), AnnounceError> {
        self.with(move |turn| {
            turn.members_changed = true;
            turn.serf.set_tags(turn.now, tags, turn.out).map(|_| ())
        })
        .await
        .ok_or(AnnounceError::ShuttingDown)?
        .map_err(refused)
    }

    /// Fires a user event; it is delivered here, too.
    ///
    /// # Errors
    /// It is too large.
    pub(crate) async fn fire(&self, name: &str, payload: Vec<u8>) -> Result<(), AnnounceError> {
        let name: Text = Text::from(name);
        self.with(move |turn| turn.serf.fire(turn.now, &name, &payload, turn.out))
            .await
            .ok_or(AnnounceError::ShuttingDown)?
            .map_err(refused)
    }

    /// Asks all members. To be ended with [`Pool::close`] if that is before its time is over.
    async fn ask(&self, question: Question) -> Result<Answers, String> {
        let asked = self
            .with(move |turn| {
                let nodes = turn.serf.alive_count();
                // Room for every member's answer and the end.
                let (tx, rx) = mpsc::channel(nodes + 1);
                // What comes of it is carried out after this turn, so no answer is too early.
                let query = turn.serf.ask(turn.now, question, turn.out)?;
                turn.waiters.queries.insert(query, tx);
                Ok::<_, Refused>(Answers { query, nodes, rx })
            })
            .await
            .ok_or_else(|| "agent is shutting down".to_owned())?;
        asked.map_err(|err| refused(err).to_string())
    }

    /// Ends a query before its time.
    async fn close(&self, query: QueryId) {
        self.with(move |turn| {
            turn.serf.close(query);
            turn.waiters.queries.remove(&query);
        })
        .await;
    }

    /// Tries the members of the last run until one answers.
    async fn rejoin(self, mut previous: Vec<(Text, SocketAddr)>) {
        let own = self.shared.name.clone();
        previous.retain(|(name, _)| *name != own);
        // Not everybody comes to the same one after a common restart.
        for at in (1..previous.len()).rev() {
            let other = self.env().random_below(at as u64 + 1) as usize;
            previous.swap(at, other);
        }
        let total = previous.len();
        for (name, addr) in previous {
            info!("serf: Attempting re-join to previously known node: {name}: {addr}");
            match self.push_pull(addr, Purpose::Rejoin).await {
                Ok(()) => {
                    info!("serf: Re-joined to previously known node: {name}: {addr}");
                    return;
                }
                Err(err) => debug!(%name, %addr, %err, "serf: re-join failed"),
            }
        }
        if total > 0 {
            warn!("serf: Failed to re-join any previously known node");
        }
    }
}

/// Spawns a task that ends with its group, wherever it waits.
fn spawn(tasks: &TaskGroup, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
    let stop = tasks.stop().clone();
    tasks.spawn(name, async move {
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = work => {}
        }
    });
}

/// The address as others write it: a socket for IPv6 shows peers with IPv4 in a long form, which equals no address that a
/// member tells and lies in no network of the configuration.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

/// True if another member with this address has been there for a while. O(members).
fn established(core: &Serf, now: Mono, ip: IpAddr) -> bool {
    let own = core.swim().name();
    core.swim().entries().any(|entry| {
        entry.peer.addr.ip() == ip
            && entry.peer.name != *own
            && entry.state == NodeState::Alive
            && now.since(entry.since) >= ESTABLISHED_AFTER
    })
}

fn refused(refusal: Refused) -> AnnounceError {
    AnnounceError::Refused(match refusal {
        Refused::EventSize(text) | Refused::QuerySize(text) => text,
        Refused::TagSize(size) => format!("encoded length of tags is {size}, limit is 512 bytes"),
        Refused::NoQuery => "query is over or was answered".to_owned(),
        Refused::Leaving => "this node is leaving".to_owned(),
        Refused::TooMany => "too many queries of this node are open".to_owned(),
    })
}

fn serf_options(options: &PoolOptions) -> tribune_serf::Options {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    tribune_serf::Options {
        tags: options.tags.clone(),
        broadcast_timeout: BROADCAST_TIMEOUT,
        leave_propagate_delay: LEAVE_PROPAGATE_DELAY,
        reap_interval: Duration::from_secs(15),
        reconnect_interval: Duration::from_secs(30),
        reconnect_timeout: options.reconnect_timeout,
        tombstone_timeout: DAY,
        recent_intent_timeout: Duration::from_secs(5 * 60),
        queue_len_min: 4096,
        event_size_max: 512,
        query_size_max: 1024,
    }
}

/// Both sockets, on the same port.
fn bind(env: &Env, addr: SocketAddr) -> Result<(TcpListener, UdpSocket), PoolError> {
    let options = BindOptions::default();
    let listener =
        TcpListener::bind(env, addr, options).map_err(|source| PoolError::Tcp { addr, source })?;
    // A free port is one that both have; the stream's decides.
    let addr = listener.local_addr().unwrap_or(addr);
    let socket =
        UdpSocket::bind(env, addr, options).map_err(|source| PoolError::Udp { addr, source })?;
    let mut size = UDP_BUFFER_MAX;
    while size >= UDP_BUFFER_MIN && socket.set_recv_buffer_size(size).is_err() {
        size /= 2;
    }
    Ok((listener, socket))
}
