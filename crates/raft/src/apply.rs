//! The machine as the consensus library sees it: batches in, outcomes out, snapshots both ways.
//!
//! Entries are applied in batches of what is ready. Blank and membership entries stay here. The
//! snapshot itself is written (see `Raft::trigger_snapshot`) before the library asks for it, so that a full
//! disk only postpones a snapshot; the library would take a failed one for a broken node.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{ApplyResponder, EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use parking_lot::Mutex;
use tribune_rt::{Env, Stopwatch};
use tribune_types::command::Outcome;
use tribune_types::id::{LogIndex, Term};

use crate::machine::{Committed, Machine, SnapshotSource};
use crate::progress::Progress;
use crate::snapshot::{SnapshotData, SnapshotStore};
use crate::types::{
    EntryPayload, LogId, Payload, Reply, Snapshot, SnapshotMeta, StoredMembership, TypeConfig,
};

/// Entries per call of the machine.
pub(crate) const BATCH_COUNT_MAX: usize = 512;
/// How often a long restore says how far it is.
const PROGRESS_PERIOD: Duration = Duration::from_secs(1);

pub(crate) type SharedMachine = Arc<Mutex<Box<dyn Machine>>>;

/// The adapter. Owned by the library's state machine worker.
pub(crate) struct Applier {
    env: Env,
    machine: SharedMachine,
    snapshots: Arc<SnapshotStore>,
    applied: Option<LogId>,
    /// Index of the last applied entry, for everyone; moves before a proposer hears.
    progress: Arc<Progress>,
    membership: StoredMembership,
    /// A snapshot that is written and waits for the library to ask.
    ready: Option<SnapshotData>,
    batch: Vec<Committed>,
    responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    outcomes: Vec<Outcome>,
}

impl Applier {
    pub(crate) fn new(
        env: Env,
        machine: SharedMachine,
        snapshots: Arc<SnapshotStore>,
        progress: Arc<Progress>,
    ) -> Self {
        Self {
            env,
            machine,
            snapshots,
            applied: None,
            progress,
            membership: StoredMembership::default(),
            ready: None,
            batch: Vec::new(),
            responders: Vec::new(),
            outcomes: Vec::new(),
        }
    }

    fn meta(&self) -> SnapshotMeta {
        SnapshotMeta {
            last_log_id: self.applied,
            last_membership: self.membership.clone(),
        }
    }

    /// A view of the machine with its position; `None` before the first entry.
    pub(crate) fn view(&self) -> Option<(SnapshotMeta, Box<dyn SnapshotSource>)> {
        self.applied?;
        Some((self.meta(), self.machine.lock().snapshot()))
    }

    /// Takes over a written snapshot, for the library's next question.
    pub(crate) fn offer(&mut self, data: SnapshotData) {
        self.ready = Some(data);
    }

    fn publish(&self) {
        let index = self.applied.map_or(0, |id| id.index);
        self.progress.publish(index);
    }

    /// Applies what is gathered and answers its proposers.
    fn flush(&mut self) -> io::Result<()> {
        if self.batch.is_empty() {
            self.publish();
            return Ok(());
        }
        self.outcomes.clear();
        self.machine.lock().apply(&self.batch, &mut self.outcomes);
        if self.outcomes.len() != self.batch.len() {
            let text = format!(
                "{} entries gave {} outcomes",
                self.batch.len(),
                self.outcomes.len()
            );
            return Err(io::Error::other(text));
        }
        self.batch.clear();
        self.publish();
        for (responder, outcome) in self.responders.drain(..).zip(self.outcomes.drain(..)) {
            if let Some(responder) = responder {
                responder.send(Reply(Some(outcome)));
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<TypeConfig> for Applier {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + Send,
    {
        while let Some((entry, responder)) = entries.try_next().await? {
            let id = entry.log_id;
            match entry.payload {
                EntryPayload::Normal(Payload(payload)) => {
                    let (index, term) = (LogIndex(id.index), Term(id.leader_id.term));
                    self.batch.push(Committed {
                        index,
                        term,
                        payload,
                    });
                    self.responders.push(responder);
                }
                other => {
                    self.flush()?;
                    if let EntryPayload::Membership(membership) = other {
                        self.membership = StoredMembership::new(Some(id), membership);
                    }
                    if let Some(responder) = responder {
                        responder.send(Reply(None));
                    }
                }
            }
            self.applied = Some(id);
            if self.batch.len() >= BATCH_COUNT_MAX {
                self.flush()?;
            }
        }
        self.flush()
    }

    async fn try_create_snapshot_builder(&mut self, force: bool) -> Option<Builder> {
        match self.ready.take() {
            Some(data) => Some(Builder(Some(data))),
            None if force => Some(self.get_snapshot_builder().await),
            None => None,
        }
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        let (meta, store) = (self.meta(), self.snapshots.clone());
        let mut source = self.machine.lock().snapshot();
        let written = self
            .env
            .spawn_blocking("snapshot", move || store.save(meta, source.as_mut()).ok());
        Builder(written.await.ok().flatten())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (env, machine, store) = (
            self.env.clone(),
            self.machine.clone(),
            self.snapshots.clone(),
        );
        let task = self.env.spawn_blocking("restore", move || {
            let data = store.install(snapshot)?;
            restore(&env, &machine, &data)
        });
        task.await.map_err(io::Error::other)??;
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let Some(mut data) = self.snapshots.current() else {
            return Ok(None);
        };
        if data.is_later() {
            let (meta, store) = (self.meta(), self.snapshots.clone());
            let mut source = self.machine.lock().snapshot();
            let made = self
                .env
                .spawn_blocking("snapshot", move || store.save(meta, source.as_mut()));
            data = made.await.map_err(io::Error::other)??;
        }
        Ok(Some(Snapshot {
            meta: data.header.meta.clone(),
            snapshot: data,
        }))
    }
}

/// Reads the machine's state, saying now and then how far it is.
pub(crate) fn restore(env: &Env, machine: &SharedMachine, data: &SnapshotData) -> io::Result<()> {
    let _timed = Stopwatch::start(env, &metrics::histogram!("raft.fsm.restore"));
    let total = data.header.state_len;
    let start = env.mono();
    let mut said = start;
    let mut from = Metered {
        inner: data.reader(),
        buffer: Vec::new(),
        at: 0,
        read: Arc::default(),
    };
    let read = from.read.clone();
    let mut records = 0;
    let mut progress = |count| {
        records = count;
        let now = env.mono();
        if now.since(said) >= PROGRESS_PERIOD {
            said = now;
            let bytes = read.load(Ordering::Relaxed);
            let percent = (bytes * 100).checked_div(total).unwrap_or(100);
            tracing::info!(records = count, bytes, total, percent, "restoring snapshot");
        }
    };
    machine.lock().restore(&mut from, &mut progress)?;
    let took_ms = env.mono().since(start).as_millis() as u64;
    tracing::info!(records, bytes = total, took_ms, "snapshot restored");
    Ok(())
}

/// A buffered reader that tells how far the file was read.
struct Metered {
    inner: crate::snapshot::BodyReader,
    buffer: Vec<u8>,
    at: usize,
    read: Arc<AtomicU64>,
}

impl io::Read for Metered {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.at == self.buffer.len() {
            self.buffer.resize(64 * 1024, 0);
            let count = self.inner.read(&mut self.buffer)?;
            self.buffer.truncate(count);
            self.at = 0;
            self.read.store(self.inner.position(), Ordering::Relaxed);
        }
        let count = out.len().min(self.buffer.len() - self.at);
        out[..count].copy_from_slice(&self.buffer[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}

/// Hands the library a snapshot that is already written.
pub(crate) struct Builder(Option<SnapshotData>);

impl RaftSnapshotBuilder<TypeConfig> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let data = self
            .0
            .take()
            .ok_or_else(|| io::Error::other("the snapshot was not written"))?;
        Ok(Snapshot {
            meta: data.header.meta.clone(),
            snapshot: data,
        })
    }
}
