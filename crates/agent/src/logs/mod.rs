//! The log of this process: from `tracing` events to lines for people and machines.
//!
//! ```text
//! event ─ level? ─ record ─ line ─┬─ queue ─ writer thread ─┬─ standard output
//!          (no: one comparison)   │                         ├─ log file, rotated
//!                                 │                         └─ syslog
//!                                 └─ monitors (512 lines each)
//! ```
//!
//! Whoever logs never waits: the queue and the monitors' channels are bounded and drop lines when full, counted and told
//! later; errors have room of their own in the queue. Line forms: agent.md section 12; files: config.md section 4.
//!
//! How `main` uses it:
//!
//! ```text
//! let logs = Logs::install(&env, &LogOptions::from_config(&config))   // error: `==> Failed to setup logging: {err}`, exit 1
//! ... print the banner, ending with `==> Log data will now stream in as it occurs:` and an empty line
//! logs.open_stdout();                                                 // lines so far and from now on
//! ... reload: logs.set_level(config.reloadable.log_level)
//! ... the end, and in a panic hook: logs.flush(Duration::from_secs(2))
//! ```

mod file;
mod layer;
mod level;
mod module;
mod monitor;
mod queue;
mod record;
mod render;
mod syslog;
mod writer;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tracing::Subscriber;
use tracing_subscriber::layer::SubscriberExt;
use tribune_config::Config;
use tribune_config::config::LogLevel;
use tribune_rt::Env;

pub use file::FileOptions;
pub use level::{UnknownLevel, parse_level};
pub use syslog::SyslogOptions;

use file::RotatingFile;
use level::{Gate, shows};
use monitor::Monitors;
use queue::{Line, Queue};
use record::Record;
use syslog::Syslog;
use writer::{Outputs, Writer};

/// Where the system's log listens.
const SYSLOG_SOCKET: &str = "/dev/log";

/// What the log is made of.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Lowest level of the outputs; changes with [`Logs::set_level`].
    pub level: LogLevel,
    /// JSON lines instead of text lines on all outputs.
    pub json: bool,
    /// Write to standard output, once [`Logs::open_stdout`] was called.
    pub stdout: bool,
    /// Write to a file.
    pub file: Option<FileOptions>,
    /// Write to the system's log.
    pub syslog: Option<SyslogOptions>,
}

impl LogOptions {
    /// Only monitors: for agents inside tests.
    pub fn silent() -> LogOptions {
        LogOptions {
            level: LogLevel::Info,
            json: false,
            stdout: false,
            file: None,
            syslog: None,
        }
    }

    /// The outputs of an agent.
    pub fn from_config(config: &Config) -> LogOptions {
        let log = &config.log;
        LogOptions {
            level: config.reloadable.log_level,
            json: log.json,
            stdout: true,
            file: (!log.file.is_empty()).then(|| FileOptions {
                path: log.file.clone(),
                rotate_bytes: log.rotate_bytes,
                rotate_duration: log.rotate_duration,
                rotate_max_files: log.rotate_max_files,
            }),
            syslog: log.syslog.then(|| SyslogOptions {
                facility: log.syslog_facility.clone(),
                // What receivers filter for today.
                tag: "consul".to_owned(),
                socket: SYSLOG_SOCKET.into(),
            }),
        }
    }
}

/// Why there is no log. Nothing is set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log file cannot be created.
    #[error("open {}: {}", path.display(), reason(source))]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The facility does not exist.
    #[error("invalid syslog facility: {0}")]
    Facility(String),
    /// Nobody takes lines for the system's log.
    #[error("Syslog error: {}", reason(source))]
    Syslog {
        /// The cause.
        source: io::Error,
    },
    /// The system refuses a thread.
    #[error("failed to start the log writer: {}", reason(source))]
    Thread {
        /// The cause.
        source: io::Error,
    },
    /// The process has a log already.
    #[error("the log of this process is set up already")]
    Installed,
}

/// A system error in the words operators know.
fn reason(err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => err.to_string(),
    }
}

/// The log. Cheap to clone; lines flow while one clone or the installed subscriber lives.
#[derive(Clone)]
pub struct Logs {
    pipeline: Arc<Pipeline>,
}

impl fmt::Debug for Logs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logs")
            .field("level", &self.level())
            .finish_non_exhaustive()
    }
}

/// What all clones share.
struct Pipeline {
    env: Env,
    gate: Arc<Gate>,
    monitors: Monitors,
    /// Level of the outputs. Also orders changes of the gate.
    level: Mutex<LogLevel>,
    json: bool,
    /// `None` without outputs.
    queue: Option<Arc<Queue>>,
}

impl Logs {
    /// Starts a log and makes it the one of this process.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn install(env: &Env, options: &LogOptions) -> Result<Logs, LogError> {
        let logs = Logs::start(env, options)?;
        tracing::subscriber::set_global_default(logs.subscriber())
            .map_err(|_| LogError::Installed)?;
        logs.pipeline.gate.set_global();
        Ok(logs)
    }

    /// Starts a log that gets only the events of threads that use [`Logs::subscriber`]; for several agents in one process,
    /// which cannot have a log each.
    ///
    /// # Errors
    /// See [`LogError`].
    pub fn start(env: &Env, options: &LogOptions) -> Result<Logs, LogError> {
        let gate = Arc::new(Gate::new());
        let outputs = open(env, options)?;
        let queue = match outputs {
            None => None,
            Some(outputs) => {
                let queue = Arc::new(Queue::default());
                let writer = Writer::new(env, Arc::clone(&queue), Arc::clone(&gate), outputs);
                // The thread ends when the pipeline closes the queue.
                env.spawn_thread("logger", move || writer.run())
                    .map_err(|source| LogError::Thread { source })?;
                Some(queue)
            }
        };
        let pipeline = Pipeline {
            env: env.clone(),
            gate,
            monitors: Monitors::default(),
            level: Mutex::new(options.level),
            json: options.json,
            queue,
        };
        pipeline.update_gate();
        Ok(Logs {
            pipeline: Arc::new(pipeline),
        })
    }

    /// The receiver of events, for `tracing::subscriber::with_default`.
    pub fn subscriber(&self) -> impl Subscriber + Send + Sync + use<> {
        tracing_subscriber::registry().with(layer::LogLayer {
            pipeline: Arc::clone(&self.pipeline),
        })
    }

    /// The level of the outputs.
    pub fn level(&self) -> LogLevel {
        *self.pipeline.level.lock()
    }

    /// Changes the level of the outputs; monitors keep theirs.
    pub fn set_level(&self, level: LogLevel) {
        *self.pipeline.level.lock() = level;
        self.pipeline.update_gate();
        self.pipeline.gate.refresh();
    }

    /// Lines from now on, each with its newline, until the receiver is dropped. 512 are buffered; a reader that falls behind
    /// loses lines and finds a note that says how many.
    pub fn subscribe(&self, level: LogLevel, json: bool) -> mpsc::Receiver<Bytes> {
        let receiver = self.pipeline.monitors.add(level, json);
        self.pipeline.update_gate();
        self.pipeline.gate.refresh();
        receiver
    }

    /// Lets lines out to standard output: the start banner is complete. Lines of before come first.
    pub fn open_stdout(&self) {
        if let Some(queue) = &self.pipeline.queue {
            queue.open_stdout();
        }
    }

    /// Waits until all lines so far are written, at most `limit`. False if some are not. Blocks the thread; for the end.
    pub fn flush(&self, limit: Duration) -> bool {
        self.pipeline.queue.as_ref().is_none_or(|queue| {
            queue.open_stdout();
            queue.flush(limit)
        })
    }
}

impl Pipeline {
    /// Gives a line to all who want it.
    fn emit(&self, record: &Record<'_>, own: bool) {
        if let Some(queue) = &self.queue
            && shows(*self.level.lock(), record.level, own)
        {
            queue.push(Line {
                level: record.level,
                bytes: render::line(record, self.json),
            });
        }
        if self.monitors.deliver(record, own) {
            self.update_gate();
            // Tracing's own caches are not refreshed from within an event; the writer does it.
            if let Some(queue) = &self.queue {
                queue.wake();
            }
        }
    }

    fn update_gate(&self) {
        let level = self.level.lock();
        let outputs = self.queue.as_ref().map(|_| *level);
        let widest = match (outputs, self.monitors.widest()) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.gate.set(widest);
    }
}

impl Drop for Pipeline {
    fn drop(&mut self) {
        if let Some(queue) = &self.queue {
            queue.close();
        }
    }
}

fn open(env: &Env, options: &LogOptions) -> Result<Option<Outputs>, LogError> {
    let syslog = match &options.syslog {
        None => None,
        Some(syslog) => {
            let facility = syslog::facility(&syslog.facility)
                .ok_or_else(|| LogError::Facility(syslog.facility.clone()))?;
            Some(Syslog::open(syslog, facility).map_err(|source| LogError::Syslog { source })?)
        }
    };
    let file = match &options.file {
        None => None,
        Some(file) => Some(
            RotatingFile::open(file, env.wall())
                .map_err(|(path, source)| LogError::File { path, source })?,
        ),
    };
    if !options.stdout && file.is_none() && syslog.is_none() {
        return Ok(None);
    }
    let stdout = options
        .stdout
        .then(|| Box::new(io::stdout()) as Box<dyn io::Write + Send>);
    Ok(Some(Outputs {
        json: options.json,
        stdout,
        file,
        syslog,
    }))
}

#[cfg(test)]
mod tests;
