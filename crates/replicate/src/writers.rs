//! Writing to a destination: transactions, several at a time.
//!
//! In: operations in any number. Out: how many took effect, and which were refused. Operations are collected into
//! transactions of 63 beside one check that the flow's session still holds the flow's lock. One that the servers refuse
//! is taken apart, so that a key they do not want (access rules, size) does not keep the others from being written.
//! Values too large for a transaction are put by themselves, on condition that what they replace is still there.
//!
//! Memory: [`WRITERS`] transactions under way, as many queued, one collected, each of at most [`BATCH_SIZE_MAX`] or one
//! value.
//!
//! All operations may be repeated: a transaction whose fate is unknown fails the pass, and the next pass compares again.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tribune_api::client::{Client, Error, KvOperation, KvWrite, QueryOptions};

use crate::meters::Meters;

/// Transactions under way at once.
pub(crate) const WRITERS: usize = 4;
/// Operations of one transaction: the servers' limit of 64 less the check of the lock.
const BATCH_COUNT_MAX: usize = 63;
/// Bytes of keys and values in one transaction; the servers take half a MiB of JSON around them.
const BATCH_SIZE_MAX: usize = 320 << 10;
/// Longest value, in base64, that goes into a transaction.
const VALUE_SIZE_MAX: usize = 480_000;
/// Bytes of JSON around an operation.
const OPERATION_SIZE: usize = 64;

/// One write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Set a value.
    Set {
        key: String,
        flags: u64,
        /// In base64.
        value: String,
        /// ModifyIndex of what is there, 0 for nothing.
        replaces: u64,
    },
    /// Delete a key.
    Delete(String),
}

impl Operation {
    fn key(&self) -> &str {
        match self {
            Self::Set { key, .. } | Self::Delete(key) => key,
        }
    }

    fn value_size(&self) -> usize {
        match self {
            Self::Set { value, .. } => value.len(),
            Self::Delete(_) => 0,
        }
    }

    fn size(&self) -> usize {
        self.key().len() + self.value_size() + OPERATION_SIZE
    }

    fn to_wire(&self) -> KvOperation {
        match self {
            Self::Set {
                key, flags, value, ..
            } => KvOperation {
                verb: "set",
                key: key.clone(),
                value: value.clone(),
                flags: *flags,
                ..KvOperation::default()
            },
            Self::Delete(key) => KvOperation {
                verb: "delete",
                key: key.clone(),
                ..KvOperation::default()
            },
        }
    }
}

/// Why writing ended early. What was acknowledged before stays.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Another replicator holds the lock, or nobody does.
    #[error("the lock was lost: {0}")]
    LostLock(String),
    /// A call failed; whether the writes under way took effect is unknown.
    #[error("{0}")]
    Call(#[from] Error),
    /// No thread could be started.
    #[error("cannot start a writer: {0}")]
    Thread(std::io::Error),
}

/// Keys that the destination did not take.
#[derive(Debug, Default)]
pub(crate) struct Refused {
    pub(crate) count: u64,
    /// Some of them, with the reason.
    pub(crate) examples: Vec<(String, String)>,
}

/// Most examples kept.
const EXAMPLES_MAX: usize = 5;

/// The lock that every transaction checks.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    pub(crate) key: String,
    pub(crate) session: String,
}

impl Guard {
    /// The operation that fails when the lock is not held.
    pub(crate) fn check(&self) -> KvOperation {
        KvOperation {
            verb: "check-session",
            key: self.key.clone(),
            session: self.session.clone(),
            ..KvOperation::default()
        }
    }
}

/// Where to write.
pub(crate) struct Target<'a> {
    /// One client per writer.
    pub(crate) clients: &'a [Client],
    pub(crate) query: &'a QueryOptions,
    pub(crate) guard: &'a Guard,
    pub(crate) meters: &'a Meters,
}

/// What the writers share.
#[derive(Default)]
struct Shared {
    failed: AtomicBool,
    error: Mutex<Option<WriteError>>,
    refused: Mutex<Refused>,
}

impl Shared {
    fn fail(&self, error: WriteError) {
        self.failed.store(true, Relaxed);
        let mut slot = self.error.lock().unwrap_or_else(PoisonError::into_inner);
        slot.get_or_insert(error);
    }

    fn refuse(&self, meters: &Meters, operation: &Operation, why: &str) {
        meters.refused.fetch_add(1, Relaxed);
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        refused.count += 1;
        if refused.examples.len() < EXAMPLES_MAX {
            let key = operation.key().to_owned();
            refused.examples.push((key, why.to_owned()));
        }
    }
}

/// Collects operations for the writers.
pub(crate) struct Sink<'a> {
    queue: SyncSender<Vec<Operation>>,
    shared: &'a Shared,
    batch: Vec<Operation>,
    size: usize,
}

impl Sink<'_> {
    /// Adds an operation; waits while the writers have enough. `false` once they failed: [`write`] tells why.
    pub(crate) fn push(&mut self, operation: Operation) -> bool {
        let size = operation.size();
        let is_full =
            self.batch.len() == BATCH_COUNT_MAX || self.size.saturating_add(size) > BATCH_SIZE_MAX;
        if is_full && !self.batch.is_empty() {
            self.flush();
        }
        self.size += size;
        self.batch.push(operation);
        !self.shared.failed.load(Relaxed)
    }

    fn flush(&mut self) {
        self.size = 0;
        let batch = std::mem::take(&mut self.batch);
        if !batch.is_empty() && self.queue.send(batch).is_err() {
            // All writers are gone, which only a panic does.
            self.shared.failed.store(true, Relaxed);
        }
    }
}

/// Runs `produce`, which pushes operations, and writes them meanwhile. The writers' error goes before the producer's.
pub(crate) fn write<T, E: From<WriteError>>(
    target: &Target<'_>,
    produce: impl FnOnce(&mut Sink<'_>) -> Result<T, E>,
) -> Result<(T, Refused), E> {
    let shared = Shared::default();
    let (queue, inbox) = sync_channel(WRITERS);
    let inbox = Mutex::new(inbox);
    let produced = thread::scope(|scope| {
        for client in target.clients {
            let (inbox, shared) = (&inbox, &shared);
            let started = thread::Builder::new()
                .name("writer".to_owned())
                .spawn_scoped(scope, move || work(client, target, inbox, shared));
            if let Err(e) = started {
                shared.fail(WriteError::Thread(e));
            }
        }
        let mut sink = Sink {
            queue,
            shared: &shared,
            batch: Vec::new(),
            size: 0,
        };
        let produced = produce(&mut sink);
        if produced.is_ok() {
            sink.flush();
        }
        produced
        // The queue is dropped here, which ends the writers.
    });
    let error = shared
        .error
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    if let Some(error) = error {
        return Err(error.into());
    }
    let refused = shared
        .refused
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok((produced?, refused))
}

fn work(
    client: &Client,
    target: &Target<'_>,
    inbox: &Mutex<Receiver<Vec<Operation>>>,
    shared: &Shared,
) {
    loop {
        let next = inbox.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(batch) = next else { return };
        // After a failure the queue is only emptied, so that the producer is not held up.
        if shared.failed.load(Relaxed) {
            continue;
        }
        if let Err(error) = apply(client, target, &batch, shared) {
            shared.fail(error);
        }
    }
}

/// Writes one batch, by itself or taken apart.
fn apply(
    client: &Client,
    target: &Target<'_>,
    batch: &[Operation],
    shared: &Shared,
) -> Result<(), WriteError> {
    if let [one] = batch
        && one.value_size() > VALUE_SIZE_MAX
    {
        return put(client, target, one, shared);
    }
    let why = match transact(client, target, batch)? {
        None => {
            count(target.meters, batch);
            return Ok(());
        }
        Some(why) => why,
    };
    match batch {
        [one] if one.value_size() > 0 && why.is_too_large => put(client, target, one, shared),
        [one] => {
            shared.refuse(target.meters, one, &why.text);
            Ok(())
        }
        many => {
            // Halves: one bad key among 63 costs a dozen transactions, not 63.
            let (left, right) = many.split_at(many.len() / 2);
            apply(client, target, left, shared)?;
            apply(client, target, right, shared)
        }
    }
}

/// Why the servers did not take a transaction.
struct Refusal {
    text: String,
    is_too_large: bool,
}

/// Sends one transaction; `Some` when it was refused as a whole and nothing happened.
fn transact(
    client: &Client,
    target: &Target<'_>,
    batch: &[Operation],
) -> Result<Option<Refusal>, WriteError> {
    let mut list = Vec::with_capacity(batch.len() + 1);
    list.push(target.guard.check());
    list.extend(batch.iter().map(Operation::to_wire));
    match client.kv_txn(&list, target.query) {
        Ok(Ok(())) => Ok(None),
        Ok(Err(problems)) => {
            if let Some(lost) = problems.iter().find(|p| p.op_index == 0)
                && !lost.what.contains("Permission denied")
            {
                return Err(WriteError::LostLock(lost.what.clone()));
            }
            let text = problems.into_iter().next().map(|p| p.what);
            Ok(Some(Refusal {
                text: text.unwrap_or_else(|| "refused without a reason".to_owned()),
                is_too_large: false,
            }))
        }
        Err(Error::Status { status, body }) if matches!(status, 400 | 403 | 413) => {
            Ok(Some(Refusal {
                text: body,
                is_too_large: status == 413,
            }))
        }
        Err(e) => Err(e.into()),
    }
}

/// Puts one value that is too large for a transaction.
fn put(
    client: &Client,
    target: &Target<'_>,
    operation: &Operation,
    shared: &Shared,
) -> Result<(), WriteError> {
    let Operation::Set {
        key,
        flags,
        value,
        replaces,
    } = operation
    else {
        return Ok(());
    };
    let Ok(bytes) = STANDARD.decode(value) else {
        shared.refuse(target.meters, operation, "its value is no base64");
        return Ok(());
    };
    let how = KvWrite {
        flags: *flags,
        cas: Some(*replaces),
        ..KvWrite::default()
    };
    match client.kv_put(key, bytes, &how, target.query) {
        Ok(true) => count(target.meters, std::slice::from_ref(operation)),
        Ok(false) => shared.refuse(target.meters, operation, "it was changed meanwhile"),
        Err(Error::Status {
            status: 300..=403 | 413,
            body,
        }) => {
            shared.refuse(target.meters, operation, &body);
        }
        Err(e @ Error::LeadingSlash(_)) => {
            shared.refuse(target.meters, operation, &e.to_string());
        }
        Err(e) => return Err(e.into()),
    }
    Ok(())
}

fn count(meters: &Meters, batch: &[Operation]) {
    let mut deleted = 0;
    let mut bytes = 0;
    for operation in batch {
        match operation {
            Operation::Set { value, .. } => bytes += value.len() as u64,
            Operation::Delete(_) => deleted += 1,
        }
    }
    meters.deleted.fetch_add(deleted, Relaxed);
    meters
        .written
        .fetch_add(batch.len() as u64 - deleted, Relaxed);
    meters.bytes.fetch_add(bytes, Relaxed);
}
