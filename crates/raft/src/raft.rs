//! [`Raft`]: the handle that the rest of the server uses.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::errors::{ClientWriteError, ForwardToLeader, InitializeError, RaftError};
use openraft::impls::OneshotResponder;
use openraft::{Config, ServerState, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tribune_rt::{CancellationToken, Env, Stopwatch, TaskGroup};
use tribune_types::command::Outcome;
use tribune_types::id::{LogIndex, Term};
use tribune_types::time::Mono;

use crate::apply::Applier;
use crate::config::RaftConfig;
use crate::error::{BootstrapError, OpenError, ProposeError, ReadError};
use crate::figures;
use crate::following::{self, LeaderChanges};
use crate::handover::Gate;
use crate::leadership::{Core, LeadershipChange, Standing, Watcher};
use crate::log::{LogOptions, LogStore};
use crate::machine::Machine;
use crate::network::Network;
use crate::progress::Progress;
use crate::reading::Reads;
use crate::snapshot::{SnapshotData, SnapshotStore};
use crate::succession::{Lease, Succession};
use crate::transport::Transport;
use crate::types::{Member, Membership, Payload, RaftNodeId, TypeConfig};
use crate::wal::{PAYLOAD_SIZE_MAX, RECORD_OVERHEAD_BYTES};
use crate::{recover, runtime};

/// Text of a refusal while the disk has no room.
const DISK_FULL: &str = "the disk is full";

/// The consensus node. Cheap to clone; all clones are one node.
#[derive(Clone)]
pub struct Raft(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) env: Env,
    pub(crate) config: RaftConfig,
    pub(crate) core: Core,
    pub(crate) log: LogStore,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) standing: Arc<Standing>,
    pub(crate) applied: Arc<Progress>,
    events: Mutex<Option<mpsc::UnboundedReceiver<LeadershipChange>>>,
    pub(crate) opened: Mono,
    /// How long nobody else can be elected by timers after a quorum's word.
    pub(crate) lease: Duration,
    /// How long nobody else can be elected at all.
    pub(crate) read_lease: Lease,
    /// How long a leader may be silent before it is asked whether it is still there.
    pub(crate) silence: Duration,
    pub(crate) gate: Gate,
    pub(crate) reads: Reads,
    pub(crate) succession: Succession,
    pub(crate) tasks: TaskGroup,
    pub(crate) stopped: CancellationToken,
    /// One snapshot at a time.
    snapshotting: tokio::sync::Mutex<()>,
}

/// What [`Raft::open`] has made when the core runs.
struct Parts {
    log: LogStore,
    snapshots: Arc<SnapshotStore>,
    applied: Arc<Progress>,
    standing: Arc<Standing>,
    transport: Arc<dyn Transport>,
}

/// The leader, as this node knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaderInfo {
    /// Its id.
    pub id: RaftNodeId,
    /// Its `ip:port`.
    pub addr: String,
}

/// What this node is in the cluster now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Receives entries, has no vote.
    Learner,
    /// Receives entries and votes.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Leads.
    Leader,
    /// The core has stopped.
    Shutdown,
}

/// One server of the peer set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerInfo {
    /// Its id.
    pub id: RaftNodeId,
    /// Its `ip:port`.
    pub addr: String,
    /// It counts for quorums.
    pub voter: bool,
    /// Last log entry it is known to hold; on the leader only.
    pub matched: Option<LogIndex>,
    /// Since it last answered; on the leader only.
    pub last_contact: Option<Duration>,
}

/// The peer set and where in the log it was set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MembershipView {
    /// Log index of the membership entry.
    pub index: LogIndex,
    /// The servers, by id.
    pub peers: Vec<PeerInfo>,
}

/// Numbers of the node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RaftMetrics {
    /// What it is.
    pub role: Role,
    /// Current term.
    pub term: Term,
    /// Last entry in the log.
    pub last_log_index: LogIndex,
    /// Its term.
    pub last_log_term: Term,
    /// Last entry known to be committed.
    pub commit_index: LogIndex,
    /// Last entry applied to the machine.
    pub applied_index: LogIndex,
    /// Last entry in the newest snapshot.
    pub snapshot_index: LogIndex,
    /// Its term.
    pub snapshot_term: Term,
    /// Since this node last heard from a leader; zero on the leader, `None` before the first time.
    pub last_contact: Option<Duration>,
    /// Who leads.
    pub leader: Option<LeaderInfo>,
    /// The peer set.
    pub membership: MembershipView,
}

impl Raft {
    /// Opens the data folder, replays what it holds and starts the node. A server that is the only
    /// voter elects itself at once.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed on disk that a later attempt could miss.
    pub async fn open(
        env: &Env,
        config: RaftConfig,
        machine: Box<dyn Machine>,
        transport: Arc<dyn Transport>,
    ) -> Result<Self, OpenError> {
        let library = library_config(&config)?;
        let dir = config.data_dir.as_ref().map(|dir| dir.join("raft"));
        let options = LogOptions {
            segment_size: config.segment_size,
            cache_size: config.log_cache_size,
        };
        let opening = {
            let env = env.clone();
            move || -> Result<_, OpenError> {
                let log = LogStore::open(&env, dir.as_ref().map(|dir| dir.join("log")), options)?;
                let snapshots = SnapshotStore::open(
                    &env,
                    dir.as_ref().map(|dir| dir.join("snapshots")),
                    log.purged_index(),
                );
                match snapshots {
                    Ok(snapshots) => {
                        snapshots.remove_unfinished();
                        Ok((log, Arc::new(snapshots)))
                    }
                    Err(err) => {
                        log.stop();
                        Err(err)
                    }
                }
            }
        };
        let opened = env.spawn_blocking("raft-open", opening).await;
        let (log, snapshots) = opened.map_err(|err| OpenError::Core {
            what: err.to_string(),
        })??;
        let machine = Arc::new(Mutex::new(machine));
        if let Some(peers) = &config.recover {
            let replaced = recover::replace_peers(env, peers, &log, &snapshots, &machine).await;
            if let Err(err) = replaced {
                log.stop();
                return Err(err);
            }
        }
        let applied = Arc::new(Progress::default());
        let applier = Applier::new(env.clone(), machine, snapshots.clone(), applied.clone());
        let standing = Arc::new(Standing::default());
        log.tell_standing(standing.clone());
        let starting = {
            let (id, log, lib) = (config.id, log.clone(), library.clone());
            let network = Network {
                env: env.clone(),
                transport: transport.clone(),
                standing: standing.clone(),
                store_limit: Duration::from_millis(library.election_timeout_min)
                    .max(Duration::from_secs(1)),
            };
            // The library spawns on the runtime it is called on: that has to be the core's.
            runtime::seeded(env.random_u64(), async move {
                Core::new(id, lib, network, log, applier).await
            })
        };
        let core = match env.spawn("raft-start", starting).await {
            Ok(Ok(core)) => core,
            Ok(Err(err)) => {
                log.stop();
                return Err(OpenError::Core {
                    what: err.to_string(),
                });
            }
            Err(err) => {
                return Err(OpenError::Core {
                    what: err.to_string(),
                });
            }
        };
        let lease = Duration::from_millis(library.election_timeout_max);
        let parts = Parts {
            log,
            snapshots,
            applied,
            standing,
            transport,
        };
        let raft = Self::assemble(env, config, core, parts, lease);
        raft.elect_if_alone().await;
        Ok(raft)
    }

    fn assemble(env: &Env, config: RaftConfig, core: Core, parts: Parts, lease: Duration) -> Self {
        let (events_tx, events_rx) = mpsc::unbounded_channel();
        let stopped = CancellationToken::new();
        let tasks = TaskGroup::new(env, &CancellationToken::new());
        let watcher = Watcher {
            env: env.clone(),
            id: config.id,
            core: core.clone(),
            standing: parts.standing.clone(),
            events: events_tx,
            stop: tasks.stop().clone(),
            stopped: stopped.clone(),
        };
        let read_lease = Lease::new(config.timing.heartbeat);
        let silence = config.timing.silence();
        let raft = Self(Arc::new(Inner {
            env: env.clone(),
            config,
            core,
            log: parts.log,
            snapshots: parts.snapshots,
            transport: parts.transport,
            standing: parts.standing,
            applied: parts.applied,
            events: Mutex::new(Some(events_rx)),
            opened: env.mono(),
            lease,
            read_lease,
            silence,
            gate: Gate::default(),
            reads: Reads::default(),
            succession: Succession::default(),
            tasks: tasks.clone(),
            stopped,
            snapshotting: tokio::sync::Mutex::new(()),
        }));
        tasks.spawn("raft-watch", watcher.run());
        if !env.is_sim() {
            // Where a process has many nodes, nobody reads what they count.
            tasks.spawn(
                "raft-roles",
                figures::follow_roles(raft.0.core.clone(), tasks.stop().clone()),
            );
        }
        let due = raft.clone();
        tasks.spawn(
            "raft-snapshots",
            async move { due.snapshot_when_due().await },
        );
        raft
    }

    /// This server.
    pub fn id(&self) -> RaftNodeId {
        self.0.config.id
    }

    // --- writing ----------------------------------------------------------------------------

    /// Replicates `payload` and returns what the machine answered. Waits while leadership is being handed over. Not
    /// cancel safe: a dropped proposal may still be applied.
    ///
    /// # Errors
    /// [`ProposeError`]; only `Unknown` leaves open whether it is applied.
    pub async fn propose(&self, payload: Bytes) -> Result<Outcome, ProposeError> {
        if payload.len() > PAYLOAD_SIZE_MAX - RECORD_OVERHEAD_BYTES {
            return Err(ProposeError::Refused {
                reason: "the entry is too large",
            });
        }
        if self.0.log.is_full() {
            return Err(ProposeError::Refused { reason: DISK_FULL });
        }
        let _passing = self.0.gate.enter().await;
        let (responder, answer) = OneshotResponder::new_pair();
        let sent = self
            .0
            .core
            .client_write_ff(Payload(payload), Some(responder))
            .await;
        if sent.is_err() {
            return Err(ProposeError::Refused {
                reason: "raft has stopped",
            });
        }
        let mut answer = pin!(answer);
        let deadline = self.0.env.mono() + self.0.config.propose_timeout;
        loop {
            let left = deadline.since(self.0.env.mono());
            let patience = self.0.config.timing.heartbeat.min(left);
            return match self.0.env.timeout(patience, answer.as_mut()).await {
                Err(_) if self.0.log.is_full() => Err(unknown(DISK_FULL)),
                Err(_) if self.0.env.mono() >= deadline => Err(unknown("no answer in time")),
                // Cut off from the majority: it may be committed there, or by whoever leads next.
                Err(_) if !self.has_leader() => Err(unknown("leadership was lost")),
                Err(_) => continue,
                Ok(Err(_)) => Err(unknown(self.stop_reason())),
                Ok(Ok(Ok(response))) => response
                    .data
                    .0
                    .ok_or_else(|| unknown("the entry was not a command")),
                Ok(Ok(Err(err))) => Err(self.propose_error(err)),
            };
        }
    }

    fn propose_error(&self, err: ClientWriteError<TypeConfig>) -> ProposeError {
        match err {
            ClientWriteError::ForwardToLeader(to) => ProposeError::NotLeader {
                leader: leader_of(to),
            },
            ClientWriteError::LogEntryDiscarded(_) => unknown("leadership was lost"),
            other => unknown(other.to_string()),
        }
    }

    // --- reading ----------------------------------------------------------------------------

    /// True while this node leads, is ready, and heard from a majority within an election timeout. Costs no message.
    /// Not a licence to read: a successor may have been elected out of turn. For that see
    /// [`Raft::read_index`].
    pub fn is_leader_lease_valid(&self) -> bool {
        if !self.0.standing.is_ready() {
            return false;
        }
        if self.0.standing.is_alone() {
            return true;
        }
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        let acked = seen
            .last_quorum_acked
            .as_ref()
            .map(|at| at.age_on(&self.0.env));
        seen.state.is_leader() && acked.is_some_and(|age| age < self.0.lease)
    }

    /// [`Raft::is_leader_lease_valid`] as a result.
    ///
    /// # Errors
    /// [`ReadError::NotLeader`], naming the leader where known.
    pub fn ensure_leader(&self) -> Result<(), ReadError> {
        if self.is_leader_lease_valid() {
            return Ok(());
        }
        Err(ReadError::NotLeader {
            leader: self.leader().filter(|leader| leader.id != self.id()),
        })
    }

    /// Who leads, as far as this node knows. One that has been silent for so long that its successor is looked for
    /// ([`Timing::silence`](crate::Timing::silence)), or that is this node and has been without a majority for so long that
    /// timers may have elected another, is not known any more; the library goes on naming it until there is another.
    pub fn leader(&self) -> Option<LeaderInfo> {
        let (id, known) = {
            let metrics = self.0.core.server_metrics();
            let seen = metrics.borrow_watched();
            (seen.current_leader?, following::known(&seen))
        };
        known.filter(|_| self.is_leader_current(id))
    }

    /// True if a leader is known; cheaper than asking who.
    pub fn has_leader(&self) -> bool {
        let metrics = self.0.core.server_metrics();
        let id = metrics.borrow_watched().current_leader;
        id.is_some_and(|id| self.is_leader_current(id))
    }

    fn is_leader_current(&self, id: RaftNodeId) -> bool {
        if id != self.id() {
            let heard = self.0.standing.heard().max(self.0.opened);
            return self.0.env.mono().since(heard) <= self.0.silence;
        }
        if self.0.standing.is_alone() {
            return true;
        }
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        // A leader that was just elected may not have heard anybody yet.
        { seen.last_quorum_acked.as_ref() }.is_none_or(|at| at.age_on(&self.0.env) <= self.0.lease)
    }

    /// Tells of changes of the known leader, beginning with the one known now.
    pub fn leader_changes(&self) -> LeaderChanges {
        LeaderChanges::new(self.0.core.server_metrics())
    }

    /// Since this node last heard from a leader, or from a majority while it leads; `None` before the first time.
    pub fn last_contact(&self) -> Option<Duration> {
        let heard = self.0.standing.heard();
        let told = (heard.0 != 0).then(|| self.0.env.mono().since(heard));
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        let acked = { seen.last_quorum_acked.as_ref() }.map(|at| at.age_on(&self.0.env));
        told.into_iter().chain(acked).min()
    }

    /// The stream of leadership changes of this node; the first caller gets it.
    pub fn take_leadership_events(&self) -> Option<mpsc::UnboundedReceiver<LeadershipChange>> {
        self.0.events.lock().take()
    }

    /// Last entry applied to the machine: everything acknowledged to a proposer is included.
    pub fn applied_index(&self) -> LogIndex {
        LogIndex(self.0.applied.index())
    }

    /// The node's numbers.
    pub fn metrics(&self) -> RaftMetrics {
        let last = self.0.log.last();
        let applied = self.applied_index();
        let leader = self.leader();
        let membership = self.membership();
        // Before the look below: whoever looks twice at once waits for ever if the core wants to write in between.
        let last_contact = self.last_contact();
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        let role = match seen.state {
            _ if seen.running_state.is_err() => Role::Shutdown,
            ServerState::Learner => Role::Learner,
            ServerState::Follower => Role::Follower,
            ServerState::Candidate => Role::Candidate,
            ServerState::Leader => Role::Leader,
            ServerState::Shutdown => Role::Shutdown,
        };
        let last_contact = match role {
            Role::Leader => Some(Duration::ZERO),
            _ => last_contact,
        };
        RaftMetrics {
            role,
            term: Term(seen.current_term),
            last_log_index: LogIndex(last.map_or(0, |spot| spot.index)),
            last_log_term: Term(last.map_or(0, |spot| spot.term)),
            commit_index: LogIndex(seen.local_committed.map_or(0, |id| id.index).max(applied.0)),
            applied_index: applied,
            snapshot_index: LogIndex(seen.snapshot.map_or(0, |id| id.index)),
            snapshot_term: Term(seen.snapshot.map_or(0, |id| id.leader_id.term)),
            last_contact,
            leader,
            membership,
        }
    }

    // --- membership -------------------------------------------------------------------------

    /// The peer set.
    pub fn membership(&self) -> MembershipView {
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        let stored = &seen.membership_config;
        let voters: BTreeSet<RaftNodeId> = stored.membership().voter_ids().collect();
        let peers = stored.membership().nodes().map(|(id, member)| PeerInfo {
            id: *id,
            addr: member.addr.clone(),
            voter: voters.contains(id),
            matched: seen
                .replication
                .as_ref()
                .and_then(|by| by.get(id)?.map(|id| LogIndex(id.index))),
            last_contact: seen
                .heartbeat
                .as_ref()
                .and_then(|by| by.get(id)?.as_ref().map(|at| at.age_on(&self.0.env))),
        });
        MembershipView {
            index: LogIndex(stored.log_id().map_or(0, |id| id.index)),
            peers: peers.collect(),
        }
    }

    /// Forms the cluster with these voters, if this node has no log yet. True when it did, false
    /// when there was a cluster already.
    ///
    /// # Errors
    /// [`BootstrapError`].
    pub async fn bootstrap(
        &self,
        members: BTreeMap<RaftNodeId, Member>,
    ) -> Result<bool, BootstrapError> {
        if self.is_initialized() {
            return Ok(false);
        }
        // The library lets the first node stand for election at once.
        match self.0.core.initialize(members).await {
            Ok(()) => Ok(true),
            Err(RaftError::APIError(InitializeError::NotAllowed(_))) => Ok(false),
            Err(RaftError::APIError(InitializeError::NotInMembers(_))) => {
                Err(BootstrapError::NotAMember)
            }
            Err(RaftError::Fatal(_)) => Err(BootstrapError::Stopped {
                reason: self.stop_reason(),
            }),
        }
    }

    /// True once there is a log: this node belongs to a cluster.
    pub fn is_initialized(&self) -> bool {
        self.0.log.last().is_some()
    }

    /// The only voter need not wait for an election timeout that nobody else observes.
    async fn elect_if_alone(&self) {
        // The metrics start out empty and are filled by the core's first turn, so the core itself
        // is asked.
        let stored = self
            .0
            .core
            .with_raft_state(|state| state.membership_state.effective().membership().clone());
        let alone = stored
            .await
            .is_ok_and(|membership| is_only_voter(&membership, self.id()));
        if alone {
            // An error means the core has stopped, which the watcher reports.
            let _ = self.0.core.trigger().elect(false).await;
        }
    }

    // --- snapshots --------------------------------------------------------------------------

    /// Writes a snapshot of the present state and lets the log be cut behind it. Returns the index
    /// it contains; `None` when nothing was applied yet or one with that index exists.
    ///
    /// # Errors
    /// When it cannot be written; the node goes on and the older snapshots stay.
    pub async fn trigger_snapshot(&self) -> std::io::Result<Option<LogIndex>> {
        let _one_at_a_time = self.0.snapshotting.lock().await;
        let timed = |name| Stopwatch::start(&self.0.env, &metrics::histogram!(name));
        let _whole = timed("raft.snapshot.takeSnapshot");
        let create = timed("raft.snapshot.create");
        let stopped = |_| std::io::Error::other(self.stop_reason());
        let view = self.0.core.with_state_machine(|applier: &mut Applier| {
            Box::pin(std::future::ready(applier.view()))
        });
        let Some((meta, mut source)) = view.await.map_err(stopped)? else {
            return Ok(None);
        };
        let current = self.0.snapshots.current();
        if current.is_some_and(|current| current.header.meta.last_log_id >= meta.last_log_id) {
            return Ok(None);
        }
        let index = meta.last_log_id.map(|id| LogIndex(id.index));
        drop(create);
        let persist = timed("raft.snapshot.persist");
        let store = self.0.snapshots.clone();
        let data = if store.is_durable() {
            let write = move || store.save(meta, source.as_mut());
            let written = self.0.env.spawn_blocking("snapshot", write).await;
            written.map_err(std::io::Error::other)??
        } else {
            store.install(SnapshotData::later(meta))?
        };
        drop(persist);
        let offered = self
            .0
            .core
            .with_state_machine(move |applier: &mut Applier| {
                applier.offer(data);
                Box::pin(std::future::ready(()))
            });
        offered.await.map_err(stopped)?;
        self.0.core.trigger().snapshot().await.map_err(stopped)?;
        Ok(index)
    }

    async fn snapshot_when_due(&self) {
        let due = self.0.config.snapshot;
        loop {
            let wait = due.interval + self.0.env.jitter(due.interval / 4);
            tokio::select! {
                biased;
                () = self.0.tasks.stop().cancelled() => return,
                () = self.0.env.sleep(wait) => {}
            }
            let behind = {
                let metrics = self.0.core.metrics();
                let seen = metrics.borrow_watched();
                let snapshot = seen.snapshot.map_or(0, |id| id.index);
                seen.last_applied
                    .map_or(0, |id| id.index)
                    .saturating_sub(snapshot)
            };
            if behind < due.threshold {
                continue;
            }
            match self.trigger_snapshot().await {
                Ok(Some(index)) => tracing::info!(index = index.0, "snapshot written"),
                Ok(None) => {}
                Err(err) => {
                    tracing::warn!(%err, "snapshot could not be written, trying again later")
                }
            }
        }
    }

    // --- the end ----------------------------------------------------------------------------

    /// Resolves when the core has stopped, with the reason. After a storage failure the process
    /// should end: nothing is accepted any more.
    pub async fn stopped(&self) -> String {
        self.0.stopped.cancelled().await;
        self.stop_reason()
    }

    pub(crate) fn stop_reason(&self) -> String {
        if let Some(why) = self.0.log.failure() {
            return why;
        }
        let metrics = self.0.core.metrics();
        let seen = metrics.borrow_watched();
        match &seen.running_state {
            Err(err) => err.to_string(),
            Ok(()) => "raft has stopped".to_owned(),
        }
    }

    /// Stops the node; what was acknowledged is durable already. Idempotent.
    pub async fn shutdown(&self) {
        // The core goes first: its last writes still reach the log.
        if let Err(err) = self.0.core.shutdown().await {
            tracing::warn!(%err, "raft core did not end cleanly");
        }
        self.0.log.stop();
        let limit = Duration::from_secs(5);
        if self.0.env.timeout(limit, self.0.log.ended()).await.is_err() {
            tracing::warn!("log writer still waits for the disk");
        }
        self.0.tasks.shutdown(limit).await;
    }
}

fn library_config(config: &RaftConfig) -> Result<Arc<Config>, OpenError> {
    let (heartbeat_interval, election_timeout_min, election_timeout_max) = config.timing.library();
    let library = Config {
        cluster_name: "tribune".to_owned(),
        heartbeat_interval,
        election_timeout_min,
        election_timeout_max,
        // A snapshot may take its time; the transport has its own limits.
        install_snapshot_timeout: 600_000,
        snapshot_policy: SnapshotPolicy::Never,
        max_in_snapshot_log_to_keep: config.snapshot.trailing_logs,
        replication_lag_threshold: config
            .snapshot
            .threshold
            .saturating_add(config.snapshot.trailing_logs),
        purge_batch_size: 256,
        // The log reader ends a message at 1 MiB.
        max_payload_entries: 4096,
        enable_pre_vote: Some(true),
        // A restarted leader stands for election, so that every term has one leader that proved
        // its log.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    let library = library.validate().map_err(|err| OpenError::Config {
        what: err.to_string(),
    })?;
    Ok(Arc::new(library))
}

fn is_only_voter(membership: &Membership, id: RaftNodeId) -> bool {
    let mut voters = membership.voter_ids();
    voters.next() == Some(id) && voters.next().is_none()
}

pub(crate) fn leader_of(to: ForwardToLeader<TypeConfig>) -> Option<LeaderInfo> {
    let addr = to.leader_node.map(|member| member.addr).unwrap_or_default();
    to.leader_id.map(|id| LeaderInfo { id, addr })
}

fn unknown(reason: impl Into<String>) -> ProposeError {
    ProposeError::Unknown {
        reason: reason.into(),
    }
}
