//! Child processes for script checks and watch handlers, each in a process group of its own so
//! that a timeout ends the script and what it started.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncWriteExt};

/// What to run.
#[derive(Debug, Clone, Default)]
pub struct Command {
    /// Program; looked up in `PATH` when it holds no slash.
    pub program: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Variables set besides the inherited ones.
    pub env: Vec<(OsString, OsString)>,
    /// Working directory; `None` inherits.
    pub dir: Option<PathBuf>,
    /// Bytes for its standard input; `None` connects `/dev/null`.
    pub stdin: Option<Vec<u8>>,
    /// Both outputs into one pipe, so that what is written keeps its order; there is no standard error to take then.
    pub one_output: bool,
}

/// A running child. Dropping it kills the whole group.
#[derive(Debug)]
pub struct Child {
    inner: tokio::process::Child,
    /// The pipe of both outputs, if there is one.
    both: Option<tokio::process::ChildStdout>,
    group: Option<Pid>,
}

impl Command {
    /// Starts it with both outputs piped. Must be called inside a runtime.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn spawn(&self) -> io::Result<Child> {
        let mut command = tokio::process::Command::new(&self.program);
        command
            .args(&self.args)
            .envs(self.env.iter().map(|(key, value)| (key, value)))
            .stdin(if self.stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        if let Some(dir) = &self.dir {
            command.current_dir(dir);
        }
        let mut both = None;
        if self.one_output {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer.try_clone()?).stderr(writer);
            let reader = std::process::ChildStdout::from(OwnedFd::from(reader));
            both = Some(tokio::process::ChildStdout::from_std(reader)?);
        }
        let mut inner = command.spawn()?;
        let group = inner
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        if let (Some(mut pipe), Some(bytes)) = (inner.stdin.take(), self.stdin.clone()) {
            // A child that never reads ends with its group, which breaks the pipe and this task.
            tokio::spawn(async move {
                let _ = pipe.write_all(&bytes).await;
            });
        }
        // The command, and with it this process's end of the pipe for writing, is dropped here.
        Ok(Child { inner, both, group })
    }
}

impl Child {
    /// Process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.inner.id()
    }

    /// Its standard output; the first call gets it.
    pub fn take_stdout(&mut self) -> Option<impl AsyncRead + Send + Unpin + 'static> {
        self.both.take().or_else(|| self.inner.stdout.take())
    }

    /// Its standard error; the first call gets it.
    pub fn take_stderr(&mut self) -> Option<impl AsyncRead + Send + Unpin + 'static> {
        self.inner.stderr.take()
    }

    /// Waits for its end. Cancel safe. What it started in its group may live on.
    ///
    /// # Errors
    /// When the system lost track of it.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.inner.wait().await
    }

    /// Kills the child and everything in its process group.
    ///
    /// # Errors
    /// When there is nothing left to kill, or no permission.
    pub fn kill_group(&self) -> io::Result<()> {
        match self.group {
            Some(group) => Ok(kill_process_group(group, Signal::KILL)?),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // After a reaped child the group may be gone and its id reused by a stranger; only a
        // child that still runs is sure to own the id.
        if self.inner.id().is_some() {
            let _ = self.kill_group();
        }
    }
}
