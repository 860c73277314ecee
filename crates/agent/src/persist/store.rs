//! Durable changes of local files at the disk's rate.
//!
//! Callers submit operations and wait for their ticket. One task takes all that is queued, makes it durable with one
//! sync of the journal and completes the tickets; a second one brings the real files up to date behind it (see
//! [`super::files`]), with a checkpoint when the journal is large, after a quiet time, and at the end. The queue is
//! bounded by the requests that wait.
//!
//! Order: operations on one path take effect in the order of submission.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tracing::{error, warn};
use tribune_rt::{CancellationToken, Env};

use super::files::{Checkpoint, JournaledFiles};
use super::journal::{JournalError, Sizes};

/// Permission bits of files with registrations: they hold tokens.
pub(super) const FILE_MODE: u32 = 0o600;
/// Submissions made durable together at most.
const BATCH_MAX: usize = 512;
/// From here on no more submissions join a batch.
const BATCH_SIZE_MAX: usize = 1 << 20;
/// Quiet time before a checkpoint.
const QUIET: Duration = Duration::from_secs(30);
/// Wait after files could not be written.
const RETRY: Duration = Duration::from_secs(1);

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileOp {
    /// Replace the file.
    Write(PathBuf, Bytes),
    /// Remove the file if it is there.
    Remove(PathBuf),
}

impl FileOp {
    pub(super) fn path(&self) -> &Path {
        match self {
            FileOp::Write(path, _) | FileOp::Remove(path) => path,
        }
    }

    /// The path and what is there afterwards.
    pub(super) fn into_content(self) -> (PathBuf, Option<Bytes>) {
        match self {
            FileOp::Write(path, content) => (path, Some(content)),
            FileOp::Remove(path) => (path, None),
        }
    }

    pub(super) fn from_content((path, content): (PathBuf, Option<Bytes>)) -> FileOp {
        match content {
            Some(content) => FileOp::Write(path, content),
            None => FileOp::Remove(path),
        }
    }

    fn size(&self) -> usize {
        match self {
            FileOp::Write(_, content) => content.len(),
            FileOp::Remove(_) => 0,
        }
    }
}

/// Why an operation is not durable. It may or may not be found after a restart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("failed persisting {path}: {problem}")]
pub(crate) struct StoreError {
    path: String,
    problem: String,
}

/// Resolves when the operations are durable.
#[derive(Debug)]
pub(crate) struct Ticket(oneshot::Receiver<Result<(), StoreError>>);

impl Ticket {
    /// Waits for the outcome.
    pub(crate) async fn done(self) -> Result<(), StoreError> {
        self.0.await.unwrap_or_else(|_| {
            Err(StoreError {
                path: "registration".to_owned(),
                problem: "agent is shutting down".to_owned(),
            })
        })
    }
}

struct Submission {
    ops: Vec<FileOp>,
    done: oneshot::Sender<Result<(), StoreError>>,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Submission>,
    /// Something that was submitted is not durable, or not known to be.
    unsettled: bool,
    /// Nothing will be made durable any more.
    closed: bool,
}

/// The queue before the files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    env: Env,
    files: Arc<JournaledFiles>,
    queue: Arc<Mutex<Queue>>,
    wake: Arc<Notify>,
    committed: Arc<Notify>,
}

impl Store {
    /// Opens the journal in the data folder and brings the files up to date; their folders exist. Blocks. Nothing is
    /// written afterwards before [`Store::run`] runs.
    pub(crate) fn open(env: &Env, data_dir: &Path) -> Result<Store, JournalError> {
        let files = JournaledFiles::open(&env.disk(), data_dir, Sizes::default())?;
        Ok(Store {
            env: env.clone(),
            files: Arc::new(files),
            queue: Arc::default(),
            wake: Arc::default(),
            committed: Arc::default(),
        })
    }

    /// Queues operations; the ticket resolves when they, and all before them, are durable. Without operations it is for those
    /// before alone, and `None` if they are. Does not block; may be called under a lock, so that the order is that of the
    /// decisions.
    pub(crate) fn submit(&self, ops: Vec<FileOp>) -> Option<Ticket> {
        let (done, ticket) = oneshot::channel();
        let mut queue = self.queue.lock();
        if ops.is_empty() && !queue.unsettled {
            return None;
        }
        if !queue.closed {
            queue.unsettled = true;
            queue.waiting.push(Submission { ops, done });
        }
        drop(queue);
        self.wake.notify_one();
        Some(Ticket(ticket))
    }

    /// Works until `stop`; then makes durable what is queued and ends with a checkpoint.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let no_more = CancellationToken::new();
        let commit = async {
            self.run_commits(&stop).await;
            no_more.cancel();
        };
        tokio::join!(commit, self.run_files(&no_more));
    }

    async fn run_commits(&self, stop: &CancellationToken) {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                self.commit(batch).await;
                self.committed.notify_one();
                continue;
            }
            if stop.is_cancelled() {
                let mut queue = self.queue.lock();
                queue.closed = queue.waiting.is_empty();
                if queue.closed {
                    return;
                }
                continue;
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    fn take(&self) -> Vec<Submission> {
        let mut queue = self.queue.lock();
        let mut size = 0;
        let fits = |submission: &Submission| {
            let before = size;
            size += submission.ops.iter().map(FileOp::size).sum::<usize>();
            before < BATCH_SIZE_MAX
        };
        let count = queue.waiting.iter().take(BATCH_MAX).map(fits);
        let count = count.take_while(|fits| *fits).count();
        queue.waiting.drain(..count).collect()
    }

    async fn commit(&self, batch: Vec<Submission>) {
        let files = Arc::clone(&self.files);
        let work = move || {
            let result = files.commit(batch.iter().flat_map(|submission| &submission.ops));
            if let Err(err) = &result {
                error!(%err, "local registrations not written");
            }
            for Submission { ops, done } in batch {
                let path = ops.first().map(|op| op.path().display().to_string());
                // A caller that went away is no problem.
                let _ = done.send(result.as_ref().copied().map_err(|err| StoreError {
                    path: path.unwrap_or_else(|| "registration".to_owned()),
                    problem: err.to_string(),
                }));
            }
            result.is_ok()
        };
        match self.env.spawn_blocking("local-journal", work).join().await {
            Ok(done) => {
                let mut queue = self.queue.lock();
                queue.unsettled = !done || !queue.waiting.is_empty();
            }
            Err(err) => error!(%err, "writing of local registrations ended"),
        }
    }

    async fn run_files(&self, stop: &CancellationToken) {
        let mut checkpoint = Checkpoint::IfDue;
        loop {
            let tidied = self.tidy(checkpoint).await;
            let (wait, then) = match tidied {
                Err(_) => (Some(RETRY), Checkpoint::IfDue),
                Ok(more) => (more.then_some(QUIET), Checkpoint::Now),
            };
            let timer = async {
                match wait {
                    Some(wait) => self.env.sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            checkpoint = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.committed.notified() => Checkpoint::IfDue,
                () = timer => then,
            };
        }
        // If this fails, the next start replays the journal.
        let _ = self.tidy(Checkpoint::Now).await;
    }

    /// Says whether a later checkpoint has something to do.
    async fn tidy(&self, checkpoint: Checkpoint) -> io::Result<bool> {
        let files = Arc::clone(&self.files);
        let work = move || files.tidy(checkpoint).map(|()| files.has_changes());
        let result = match self.env.spawn_blocking("local-files", work).join().await {
            Ok(result) => result,
            Err(err) => Err(io::Error::other(err.to_string())),
        };
        result.inspect_err(|err| warn!(%err, "local files not up to date, the journal has them"))
    }
}
