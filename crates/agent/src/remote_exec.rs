//! Remote execution, the half of an agent: runs what `exec` asks for, where `disable_remote_exec = false` allows it.
//!
//! In: events named `_rexec` that name this agent; their payload names a prefix and a session. Out: keys below
//! `PREFIX/SESSION/NODE/`, each taken with that session, so that they vanish with it:
//!
//! ```text
//! PREFIX/SESSION/job            {"Command"|"Args"|"Script", "Wait": ns}, written by who asks
//!               /NODE/ack       empty: the job was read
//!               /NODE/out/00000 a piece of output: 4 KiB, or what came within 500 ms; empty: it still runs
//!               /NODE/exit      exit code as text, -1 after a signal, 255 if it did not start
//! ```
//!
//! Rules: spec agent.md section 6, gossip.md 10.5, and a running Consul 1.8.7. The agent's own token reads and writes.
//!
//! Bounds: [`RUNNING_MAX`] jobs at a time, others are refused with a line in the log; output waits in the pipe while the
//! servers are slow. A job whose session has gone is killed with all it started: nobody would hear of its end.

use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Semaphore, mpsc};
use tracing::{debug, info, warn};
use tribune_rt::disk::OpenOptions;
use tribune_rt::process::{Child, Command};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_types::caller::Caller;
use tribune_types::event::UserEvent;
use tribune_types::id::SessionId;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::time::Mono;
use tribune_types::write::{Write, WriteReply};

use crate::Handle;

/// Jobs that run at the same time.
const RUNNING_MAX: usize = 32;
/// Bytes of a piece of output.
const PIECE_SIZE: usize = 4096;
/// Longest time that output waits for more.
const PIECE_DELAY: Duration = Duration::from_millis(500);
/// Time without a sign of life that who asked bears, unless the job says otherwise.
const WAIT: Duration = Duration::from_secs(2);
/// Shortest time between signs of life: a job cannot make an agent write without end.
const WAIT_MIN: Duration = Duration::from_millis(100);
/// How often the job is looked for: the event may be faster than the log.
const READ_TRIES: u32 = 5;
const READ_PAUSE: Duration = Duration::from_millis(200);
/// Exit code of what did not start.
const NOT_STARTED: i32 = 255;
/// A file that is still open for writing in a process about to be replaced cannot be run.
const TEXT_BUSY: i32 = 26;

/// What the event says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Order {
    prefix: String,
    session: String,
}

/// What the job says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct Job {
    command: String,
    args: Option<Vec<String>>,
    /// In base64.
    script: Option<String>,
    /// Nanoseconds.
    wait: i64,
}

/// Takes events until the group stops.
pub(crate) async fn run(handle: Handle, mut orders: mpsc::Receiver<UserEvent>, tasks: TaskGroup) {
    let stop = tasks.stop().clone();
    let slots = Arc::new(Semaphore::new(RUNNING_MAX));
    loop {
        let event = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            event = orders.recv() => match event {
                Some(event) => event,
                None => return,
            },
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
            warn!("remote execution refused, too many are running");
            continue;
        };
        let (handle, stop) = (handle.clone(), stop.clone());
        tasks.spawn("remote-exec-job", async move {
            execute(&handle, &event, &stop).await;
            drop(slot);
        });
    }
}

async fn execute(handle: &Handle, event: &UserEvent, stop: &CancellationToken) {
    let order: Order = match serde_json::from_slice(&event.payload) {
        Ok(order) => order,
        Err(err) => {
            warn!(%err, "remote execution: unreadable event");
            return;
        }
    };
    let Ok(session) = SessionId::parse(&order.session) else {
        warn!(session = %order.session, "remote execution: no session");
        return;
    };
    let folder = join(&order.prefix, &order.session);
    let node = handle.inner.local.look(|core| core.node().name.clone());
    let results = Results {
        handle,
        session,
        folder: format!("{folder}/{node}"),
    };
    let Some(job) = results.read_job(&format!("{folder}/job")).await else {
        return;
    };
    if !results.write("ack", &[]).await {
        return;
    }
    info!(session = %order.session, "remote execution: running a job");
    let env = handle.inner.local.env();
    let script = match keep_script(env, &job, &order.session).await {
        Ok(script) => script,
        Err(err) => {
            warn!(%err, "remote execution: the script cannot be kept");
            results
                .write("exit", NOT_STARTED.to_string().as_bytes())
                .await;
            return;
        }
    };
    let code = tokio::select! {
        biased;
        // Dropping the child kills its group.
        () = stop.cancelled() => None,
        code = run_job(env, &job, script.as_ref(), &results) => code,
    };
    if let Some(code) = code {
        results.write("exit", code.to_string().as_bytes()).await;
        debug!(session = %order.session, code, "remote execution: finished");
    }
    if let Some(path) = script {
        let disk = env.disk().clone();
        let removed = env.spawn_blocking("remote-exec-file", move || disk.remove_file(&path));
        if let Ok(Err(err)) = removed.await {
            warn!(%err, "remote execution: the script cannot be removed");
        }
    }
}

/// The path of a folder below a prefix, as Go joins them.
fn join(prefix: &str, name: &str) -> String {
    let parts = prefix.split('/').chain([name]);
    let parts: Vec<&str> = parts.filter(|part| !part.is_empty()).collect();
    parts.join("/")
}

/// Where a job's results go.
struct Results<'a> {
    handle: &'a Handle,
    session: SessionId,
    folder: String,
}

impl Results<'_> {
    fn caller(&self) -> Caller {
        Caller {
            token: self.handle.inner.local.tokens.agent_token(),
            ..Caller::default()
        }
    }

    /// The job, if it is there, readable, and held by the session.
    async fn read_job(&self, key: &str) -> Option<Job> {
        let env = self.handle.inner.local.env();
        for attempt in 0..READ_TRIES {
            // Any server may answer first: all agents ask at once.
            let options = ReadOptions {
                consistency: match attempt {
                    0 => Consistency::Stale,
                    _ => Consistency::Default,
                },
                ..ReadOptions::default()
            };
            let query = Query::KvGet {
                key: key.as_bytes().into(),
            };
            match self.handle.read(&self.caller(), query, &options).await {
                Ok(answer) => {
                    if let Reply::Kv(found) = answer.reply()
                        && let Some(entry) = found.first()
                        && entry.session == Some(self.session)
                    {
                        return match serde_json::from_slice(&entry.value) {
                            Ok(job) => Some(job),
                            Err(err) => {
                                warn!(%err, "remote execution: unreadable job");
                                None
                            }
                        };
                    }
                }
                Err(err) => warn!(%err, "remote execution: cannot read the job"),
            }
            env.sleep(READ_PAUSE).await;
        }
        warn!(
            key,
            "remote execution: there is no job, or its session does not hold it"
        );
        None
    }

    /// Writes one key with the session. `false` when that is not possible any more.
    async fn write(&self, name: &str, value: &[u8]) -> bool {
        let key = format!("{}/{name}", self.folder);
        let entry = KvEntry {
            key: key.as_bytes().into(),
            value: value.into(),
            session: Some(self.session),
            ..KvEntry::default()
        };
        let write = Write::Kv(KvOp::Lock, entry);
        match self.handle.write(&self.caller(), None, write).await {
            Ok(WriteReply::Verdict(true) | WriteReply::Done) => true,
            Ok(_) => {
                warn!(key, "remote execution: a key was refused");
                false
            }
            Err(err) => {
                warn!(key, %err, "remote execution: a key cannot be written");
                false
            }
        }
    }
}

/// Puts a script into a file that nobody else can change; `None` for jobs without one.
async fn keep_script(
    env: &Env,
    job: &Job,
    session: &str,
) -> Result<Option<PathBuf>, std::io::Error> {
    let Some(script) = job.script.as_ref().filter(|script| !script.is_empty()) else {
        return Ok(None);
    };
    let bytes = STANDARD.decode(script).map_err(std::io::Error::other)?;
    let unique = env.random_u64();
    let path = std::env::temp_dir().join(format!("rexec-{session}-{unique:x}"));
    let (disk, kept) = (env.disk().clone(), path.clone());
    let work = move || {
        let options = OpenOptions {
            mode: 0o700,
            ..OpenOptions::CREATE_NEW
        };
        disk.open(&kept, options)?.write_all_at(&bytes, 0)
    };
    match env.spawn_blocking("remote-exec-file", work).await {
        Ok(written) => written.map(|()| Some(path)),
        Err(_) => Err(std::io::Error::other("interrupted")),
    }
}

/// The program of a job.
fn command_of(job: &Job, script: Option<&PathBuf>) -> Command {
    if let (None, Some([program, args @ ..])) = (script, job.args.as_deref()) {
        return Command {
            program: program.into(),
            args: args.iter().map(OsString::from).collect(),
            one_output: true,
            ..Command::default()
        };
    }
    let shell = std::env::var_os("SHELL").filter(|shell| !shell.is_empty());
    let line = match script {
        // By the shell, which also runs a script that names no interpreter.
        Some(path) => path.as_os_str().to_owned(),
        None => OsString::from(&job.command),
    };
    Command {
        program: shell.unwrap_or_else(|| "/bin/sh".into()),
        args: vec!["-c".into(), line],
        one_output: true,
        ..Command::default()
    }
}

async fn start(env: &Env, command: &Command) -> Result<Child, std::io::Error> {
    for _ in 0..READ_TRIES {
        match command.spawn() {
            Err(err) if err.raw_os_error() == Some(TEXT_BUSY) => {
                env.sleep(Duration::from_millis(20)).await;
            }
            other => return other,
        }
    }
    command.spawn()
}

/// Runs the job to its end; the exit code, or `None` if its results are not wanted any more.
async fn run_job(
    env: &Env,
    job: &Job,
    script: Option<&PathBuf>,
    results: &Results<'_>,
) -> Option<i32> {
    let mut child = match start(env, &command_of(job, script)).await {
        Ok(child) => child,
        Err(err) => {
            info!(%err, "remote execution: the job did not start");
            return Some(NOT_STARTED);
        }
    };
    let wait = match u64::try_from(job.wait) {
        Ok(nanos) if nanos > 0 => Duration::from_nanos(nanos),
        _ => WAIT,
    };
    // Who asked gives up after that time without a sign of life, and a sign takes time to arrive.
    let wait = (wait / 2).max(WAIT_MIN);
    // Two pieces under way: a job that writes faster than the servers waits in its pipe.
    let (tx, mut rx) = mpsc::channel(2);
    let pump = forward(child.take_stdout(), tx);
    let publish = async {
        let mut output = Output::new(env, results, wait);
        loop {
            match env.timeout(output.due_in(env), rx.recv()).await {
                Ok(Some(bytes)) => output.take(env, &bytes).await?,
                Ok(None) => break,
                Err(_) => output.on_due(env).await?,
            }
        }
        output.flush(env).await?;
        // Its pipe is closed, but it may go on.
        loop {
            match env.timeout(output.due_in(env), child.wait()).await {
                Ok(status) => {
                    let code = status.ok().and_then(|status| status.code());
                    return Some(code.unwrap_or(-1));
                }
                Err(_) => output.on_due(env).await?,
            }
        }
    };
    tokio::pin!(pump);
    tokio::pin!(publish);
    let mut pumping = true;
    loop {
        tokio::select! {
            biased;
            code = &mut publish => return code,
            () = &mut pump, if pumping => pumping = false,
        }
    }
}

async fn forward(pipe: Option<impl AsyncRead + Unpin>, tx: mpsc::Sender<Vec<u8>>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; PIECE_SIZE];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        if tx.send(buffer[..count].to_vec()).await.is_err() {
            return;
        }
    }
}

/// Collects output into pieces, and gives signs of life without any.
struct Output<'a> {
    results: &'a Results<'a>,
    wait: Duration,
    number: u32,
    buffer: Vec<u8>,
    due: Mono,
}

impl<'a> Output<'a> {
    fn new(env: &Env, results: &'a Results<'a>, wait: Duration) -> Self {
        Self {
            results,
            wait,
            number: 0,
            buffer: Vec::new(),
            due: env.mono() + wait,
        }
    }

    fn due_in(&self, env: &Env) -> Duration {
        self.due.since(env.mono())
    }

    /// Takes what the job wrote; `None` when results are not wanted any more.
    async fn take(&mut self, env: &Env, bytes: &[u8]) -> Option<()> {
        if self.buffer.is_empty() {
            self.due = env.mono() + PIECE_DELAY;
        }
        self.buffer.extend_from_slice(bytes);
        while self.buffer.len() >= PIECE_SIZE {
            let rest = self.buffer.split_off(PIECE_SIZE);
            self.write(env).await?;
            self.buffer = rest;
        }
        Some(())
    }

    /// It is time to write what there is, or nothing as a sign of life.
    async fn on_due(&mut self, env: &Env) -> Option<()> {
        self.write(env).await
    }

    async fn flush(&mut self, env: &Env) -> Option<()> {
        if self.buffer.is_empty() {
            return Some(());
        }
        self.write(env).await
    }

    async fn write(&mut self, env: &Env) -> Option<()> {
        let name = format!("out/{:05x}", self.number);
        self.number += 1;
        let piece = std::mem::take(&mut self.buffer);
        let written = self.results.write(&name, &piece).await;
        self.due = env.mono() + self.wait;
        written.then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_joined_as_paths() {
        for (prefix, want) in [
            ("_rexec", "_rexec/s"),
            ("", "s"),
            ("a/b/", "a/b/s"),
            ("//a", "a/s"),
        ] {
            assert_eq!(join(prefix, "s"), want, "{prefix:?}");
        }
    }

    #[test]
    fn a_job_is_a_command_line_words_or_a_script() {
        let job = |text: &str| serde_json::from_str::<Job>(text).unwrap();
        let line = command_of(&job(r#"{"Command":"echo a  b","Wait":1000000000}"#), None);
        assert_eq!(line.args, ["-c", "echo a  b"]);
        let words = command_of(&job(r#"{"Args":["echo","a  b"],"Script":null}"#), None);
        assert_eq!(
            (words.program, words.args),
            ("echo".into(), vec!["a  b".into()])
        );
        let path = PathBuf::from("/tmp/x");
        let script = command_of(&job(r#"{"Script":"eA=="}"#), Some(&path));
        assert_eq!(script.args, ["-c", "/tmp/x"]);
    }
}
