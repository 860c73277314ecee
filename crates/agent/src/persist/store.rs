//! Grouped writes: many files, few waits.
//!
//! Callers submit operations and wait for their ticket; one task takes all that is queued, writes and syncs temporary
//! files, renames them, syncs each folder once, and then completes every ticket of the batch. Of several operations
//! on one path in a batch only the last is carried out. The queue is bounded by the requests that wait.
//!
//! Order: operations on one path take effect in the order of submission.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};
use tracing::error;
use tribune_rt::{CancellationToken, Disk, Env, OpenOptions};

/// Permission bits of files with registrations: they hold tokens.
const FILE_MODE: u32 = 0o600;
/// Files from which on one sync of the whole file system replaces one per file.
const TOGETHER_MIN: usize = 4;
/// Submissions written together at most.
const BATCH_MAX: usize = 512;

/// One operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileOp {
    /// Replace the file.
    Write(PathBuf, Vec<u8>),
    /// Remove the file if it is there.
    Remove(PathBuf),
}

impl FileOp {
    fn path(&self) -> &Path {
        match self {
            FileOp::Write(path, _) | FileOp::Remove(path) => path,
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

/// The queue before the files. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Store {
    env: Env,
    queue: Arc<Mutex<Vec<Submission>>>,
    wake: Arc<Notify>,
}

impl Store {
    /// A store whose folders exist. Nothing is written before [`Store::run`] runs.
    pub(crate) fn new(env: &Env) -> Store {
        Store {
            env: env.clone(),
            queue: Arc::default(),
            wake: Arc::default(),
        }
    }

    /// Queues operations. Does not block; may be called under a lock, so that the order is that of the decisions.
    pub(crate) fn submit(&self, ops: Vec<FileOp>) -> Ticket {
        let (done, ticket) = oneshot::channel();
        self.queue.lock().push(Submission { ops, done });
        self.wake.notify_one();
        Ticket(ticket)
    }

    /// Writes batches until `stop`, then what is queued.
    pub(crate) async fn run(self, stop: CancellationToken) {
        loop {
            let batch = self.take();
            if !batch.is_empty() {
                self.write(batch).await;
                continue;
            }
            tokio::select! {
                biased;
                () = self.wake.notified() => {}
                () = stop.cancelled() => return,
            }
        }
    }

    fn take(&self) -> Vec<Submission> {
        let mut queue = self.queue.lock();
        let count = queue.len().min(BATCH_MAX);
        queue.drain(..count).collect()
    }

    async fn write(&self, batch: Vec<Submission>) {
        let disk = self.env.disk();
        let random = self.env.random_u64();
        let work = move || {
            let outcome = carry_out(&disk, random, &batch);
            for submission in batch {
                let problem = submission
                    .ops
                    .iter()
                    .find_map(|op| outcome.get(op.path()).cloned());
                // A caller that went away is no problem.
                let _ = submission.done.send(problem.map_or(Ok(()), Err));
            }
        };
        if let Err(err) = self.env.spawn_blocking("local-files", work).join().await {
            error!(%err, "writing of local files ended");
        }
    }
}

/// Carries out the last operation on each path. Gives what failed.
///
/// Temporary files are written first and made durable together, then they take their names, then the names are made
/// durable. Many files are cheaper to sync with the whole file system than one by one.
fn carry_out(disk: &Disk, random: u64, batch: &[Submission]) -> BTreeMap<PathBuf, StoreError> {
    let mut last: BTreeMap<&Path, &FileOp> = BTreeMap::new();
    for op in batch.iter().flat_map(|submission| &submission.ops) {
        last.insert(op.path(), op);
    }
    let mut failed = BTreeMap::new();
    let writes = last
        .values()
        .filter(|op| matches!(op, FileOp::Write(..)))
        .count();
    let together = writes >= TOGETHER_MIN;
    let mut written: Vec<(&Path, PathBuf)> = Vec::with_capacity(writes);
    let mut folders: BTreeMap<&Path, Vec<&Path>> = BTreeMap::new();
    for (number, (path, op)) in last.iter().enumerate() {
        match op {
            FileOp::Write(_, bytes) => {
                let temp = temporary(path, random.wrapping_add(number as u64));
                match write_temporary(disk, &temp, bytes, !together) {
                    Ok(()) => written.push((path, temp)),
                    Err(err) => fail(&mut failed, path, &err),
                }
            }
            FileOp::Remove(_) => match disk.remove_file(path) {
                Ok(()) => changed(&mut folders, path),
                Err(err) if err.kind() == io::ErrorKind::NotFound => {}
                Err(err) => fail(&mut failed, path, &err),
            },
        }
    }
    let folder = written.first().and_then(|(path, _)| path.parent());
    if let Some(folder) = folder.filter(|_| together)
        && let Err(err) = disk.sync_file_system(folder)
    {
        for (path, temp) in written.drain(..) {
            let _ = disk.remove_file(&temp);
            fail(&mut failed, path, &err);
        }
    }
    for (path, temp) in written {
        match disk.rename(&temp, path) {
            Ok(()) => changed(&mut folders, path),
            Err(err) => {
                let _ = disk.remove_file(&temp);
                fail(&mut failed, path, &err);
            }
        }
    }
    for (folder, paths) in folders {
        if let Err(err) = disk.sync_dir(folder) {
            paths
                .into_iter()
                .for_each(|path| fail(&mut failed, path, &err));
        }
    }
    failed
}

fn temporary(path: &Path, random: u64) -> PathBuf {
    let mut temp = path.as_os_str().to_owned();
    temp.push(format!("-{random:016x}.tmp"));
    PathBuf::from(temp)
}

fn write_temporary(disk: &Disk, temp: &Path, bytes: &[u8], sync: bool) -> io::Result<()> {
    let options = OpenOptions {
        create: true,
        truncate: true,
        mode: FILE_MODE,
        ..OpenOptions::WRITE
    };
    let write = || {
        let file = disk.open(temp, options)?;
        file.write_all_at(bytes, 0)?;
        if sync { file.sync_data() } else { Ok(()) }
    };
    write().inspect_err(|_| {
        let _ = disk.remove_file(temp);
    })
}

fn changed<'a>(folders: &mut BTreeMap<&'a Path, Vec<&'a Path>>, path: &'a Path) {
    if let Some(parent) = path.parent() {
        folders.entry(parent).or_default().push(path);
    }
}

fn fail(failed: &mut BTreeMap<PathBuf, StoreError>, path: &Path, err: &io::Error) {
    error!(file = %path.display(), %err, "local file not written");
    let error = StoreError {
        path: path.display().to_string(),
        problem: err.to_string(),
    };
    failed.insert(path.to_owned(), error);
}
