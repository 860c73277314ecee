//! The log store: what the consensus core appends to and reads from, over the write-ahead log.
//!
//! One short lock guards an index (12 bytes per entry), the terms as runs, and the recent entries.
//! Appending puts entries there and hands them to the log writer; they are readable at once and
//! durable when the callback fires. An entry leaves the cache only after it is durable, so
//! entries on their way never depend on the disk; older ones are read back with `pread`.
//!
//! Without a folder (`-dev`) nothing is written: the cache keeps everything and callbacks fire at
//! once.

mod index;
mod reader;
mod storage;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};
use tokio::sync::{Notify, oneshot};
use tribune_rt::disk::Disk;
use tribune_rt::{CancellationToken, Env};

use crate::figures::LogFigures;
use crate::leadership::Standing;
use crate::types::IoFlushed;
use crate::wal::{Item, Wal, WalError};
use index::Index;
pub(crate) use reader::LogReader;
use writer::Writer;

/// Handle of the log store. Clones share it.
#[derive(Clone)]
pub(crate) struct LogStore(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Wakes the writer thread.
    work: Condvar,
    /// Wakes the writer task, in simulation.
    work_async: Notify,
    /// `None` keeps everything in memory.
    files: Option<Files>,
    /// Appends wait for room on the disk.
    full: AtomicBool,
    /// Fired when the writer has ended and touches no file any more.
    ended: CancellationToken,
    figures: LogFigures,
}

/// Where segments are read from.
struct Files {
    disk: Disk,
    dir: PathBuf,
}

struct State {
    index: Index,
    queue: Vec<Op>,
    /// Rides along with the next batch.
    committed_to_write: bool,
    failed: Option<String>,
    stop: bool,
}

/// A piece of work for the writer.
struct Op {
    items: Vec<Item>,
    done: Done,
}

enum Done {
    Callback(IoFlushed),
    Oneshot(oneshot::Sender<io::Result<()>>),
    Nobody,
}

impl Done {
    fn complete(self, result: &Result<(), (io::ErrorKind, String)>) {
        let result = match result {
            Ok(()) => Ok(()),
            Err((kind, text)) => Err(io::Error::new(*kind, text.clone())),
        };
        match self {
            Self::Callback(callback) => callback.io_completed(result),
            // The waiter may have gone with its task.
            Self::Oneshot(tx) => drop(tx.send(result)),
            Self::Nobody => {}
        }
    }
}

/// How much the log may keep in memory and put into one file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogOptions {
    pub(crate) segment_size: u64,
    pub(crate) cache_size: usize,
}

impl LogStore {
    /// Tells the log who leads, for its figures.
    pub(crate) fn tell_standing(&self, standing: Arc<Standing>) {
        self.0.figures.tell_standing(standing);
    }

    /// Opens the log in `dir` and starts its writer; blocks for the replay. `None` keeps the log
    /// in memory.
    pub(crate) fn open(
        env: &Env,
        dir: Option<PathBuf>,
        options: LogOptions,
    ) -> Result<Self, WalError> {
        let Some(dir) = dir else {
            return Ok(Self::new(Index::in_memory(), None));
        };
        let disk = env.disk();
        let (wal, recovered) = Wal::open(&disk, &dir, options.segment_size)?;
        let index = Index::recovered(recovered, options.cache_size);
        let store = Self::new(
            index,
            Some(Files {
                disk,
                dir: dir.clone(),
            }),
        );
        let writer = Writer::new(env, store.0.clone(), wal);
        if env.is_sim() {
            env.spawn("log-writer", writer.run_as_task(env.clone()));
        } else {
            env.spawn_thread("log-writer", move || writer.run_as_thread())
                .map_err(|source| WalError::Io { path: dir, source })?;
        }
        Ok(store)
    }

    fn new(index: Index, files: Option<Files>) -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                index,
                queue: Vec::new(),
                committed_to_write: false,
                failed: None,
                stop: false,
            }),
            work: Condvar::new(),
            work_async: Notify::new(),
            files,
            full: AtomicBool::new(false),
            ended: CancellationToken::new(),
            figures: LogFigures::new(),
        }))
    }

    /// True while appends wait for room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Relaxed)
    }

    /// Why the log takes nothing any more.
    pub(crate) fn failure(&self) -> Option<String> {
        self.0.state.lock().failed.clone()
    }

    /// The entry before which nothing is needed any more.
    pub(crate) fn purged_index(&self) -> Option<u64> {
        self.0
            .state
            .lock()
            .index
            .facts()
            .purged
            .map(|spot| spot.index)
    }

    /// The last entry that the log says was committed; there may be later ones.
    pub(crate) fn committed(&self) -> Option<crate::wal::Spot> {
        self.0.state.lock().index.facts().committed
    }

    /// Term and index of the last entry, or of the last purged one.
    pub(crate) fn last(&self) -> Option<crate::wal::Spot> {
        self.0.state.lock().index.last()
    }

    /// A reader of its own.
    pub(crate) fn reader(&self) -> LogReader {
        LogReader::new(self.0.clone())
    }

    /// Waits until the writer has ended; another log may then use the files.
    pub(crate) async fn ended(&self) {
        if self.0.files.is_some() {
            self.0.ended.cancelled().await;
        }
    }

    /// Lets the writer finish what is queued and end.
    pub(crate) fn stop(&self) {
        self.0.state.lock().stop = true;
        self.0.wake();
    }
}

impl Shared {
    fn wake(&self) {
        self.work.notify_one();
        self.work_async.notify_one();
    }

    /// Queues work for the writer, or completes it at once in memory.
    fn submit(&self, state: &mut State, op: Op) -> Option<Done> {
        if self.files.is_none() {
            return Some(op.done);
        }
        if state.failed.is_some() || state.stop {
            return Some(op.done);
        }
        state.queue.push(op);
        None
    }

    /// What an operation that was not queued is told.
    fn outcome(&self, state: &State) -> Result<(), (io::ErrorKind, String)> {
        match (&self.files, &state.failed) {
            (None, _) => Ok(()),
            (Some(_), Some(why)) => Err((io::ErrorKind::Other, why.clone())),
            (Some(_), None) if state.stop => {
                Err((io::ErrorKind::BrokenPipe, "the log is closed".to_owned()))
            }
            (Some(_), None) => Ok(()),
        }
    }
}
