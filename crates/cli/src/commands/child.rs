//! Child processes of `lock` and `watch`.

use std::{
    io::{self, Write as _},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::RecvTimeoutError,
    sync::mpsc::{self, Receiver},
    time::Duration,
};

use crate::{command::io_text, threads};

/// A command to run: the words as they were given, by a shell or directly.
pub(super) struct Handler {
    pub(super) words: Vec<String>,
    /// Shell to give the joined words to; `None` runs the first word.
    pub(super) shell: Option<String>,
    pub(super) vars: Vec<(&'static str, String)>,
}

impl Handler {
    /// `SHELL` or the system's shell, unless direct running is wanted.
    pub(super) fn shell_of(run: &crate::command::Run<'_, '_>) -> Option<String> {
        let wanted = run.flags.bool("shell").unwrap_or(true);
        wanted.then(|| run.host.var("SHELL").unwrap_or("/bin/sh").to_owned())
    }

    fn command(&self) -> Command {
        let mut command = match &self.shell {
            Some(shell) => {
                let mut command = Command::new(shell);
                command.arg("-c").arg(self.words.join(" "));
                command
            }
            None => {
                let mut command = Command::new(self.words.first().map_or("", String::as_str));
                command.args(self.words.iter().skip(1));
                command
            }
        };
        command.envs(self.vars.iter().map(|(k, v)| (k, v)));
        command
    }

    /// Starts it, with this process's output and `stdin`.
    pub(super) fn start(&self, stdin: Stdio) -> Result<Child, String> {
        let mut command = self.command();
        command.stdin(stdin).spawn().map_err(|e| {
            let program = command.get_program().to_string_lossy().into_owned();
            start_text(&program, &e)
        })
    }

    /// Runs it to its end with `input` on its standard input.
    pub(super) fn run(&self, input: &[u8]) -> Result<ExitStatus, String> {
        let mut child = self.start(Stdio::piped())?;
        if let Some(mut stdin) = child.stdin.take() {
            // A child that does not read its input is its own affair.
            let _ = stdin.write_all(input);
        }
        child.wait().map_err(|e| io_text(&e))
    }
}

fn start_text(program: &str, error: &io::Error) -> String {
    if !program.contains('/') && error.kind() == io::ErrorKind::NotFound {
        return format!("exec: {program:?}: executable file not found in $PATH");
    }
    format!("fork/exec {program}: {}", io_text(error))
}

/// How a process ended, as Go says it; `None` for success.
pub(super) fn failure_text(status: ExitStatus) -> Option<String> {
    use std::os::unix::process::ExitStatusExt as _;
    if status.success() {
        return None;
    }
    Some(match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal: {}", signal_name(signal)),
        (None, None) => "unknown end".to_owned(),
    })
}

fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        6 => "aborted",
        9 => "killed",
        11 => "segmentation fault",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

/// Waits for a child in a thread of its own, so that its end is one event among others.
pub(super) fn wait_for(mut child: Child) -> Receiver<io::Result<ExitStatus>> {
    let (tx, rx) = mpsc::channel();
    let waiter = threads::spawn("child", move || {
        let _ = tx.send(child.wait());
    });
    drop(waiter);
    rx
}

/// Asks a process to end, and makes it end when it does not within `grace`. `Ok(true)` when it went by itself.
pub(super) fn terminate(
    pid: u32,
    ended: &Receiver<io::Result<ExitStatus>>,
    grace: Duration,
) -> (bool, Option<io::Result<ExitStatus>>) {
    signal(pid, rustix::process::Signal::TERM);
    match ended.recv_timeout(grace) {
        Ok(status) => (true, Some(status)),
        Err(RecvTimeoutError::Disconnected) => (true, None),
        Err(RecvTimeoutError::Timeout) => {
            signal(pid, rustix::process::Signal::KILL);
            (false, ended.recv().ok())
        }
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended in this moment.
        let _ = rustix::process::kill_process(pid, signal);
    }
}
