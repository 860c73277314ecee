//! Script checks: a program in a process group of its own, its exit code and the last bytes of its output.

use std::io;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt};
use tracing::warn;
use tribune_local::{OutputRing, captured};
use tribune_rt::Env;
use tribune_rt::process::Command;
use tribune_types::catalog::Status;
use tribune_types::definition::CheckType;
use tribune_types::duration::format_go;

use super::Outcome;
use super::dial::os_text;

/// Runs the command once.
pub(super) async fn run(env: &Env, check: &CheckType, timeout: Duration, limit: usize) -> Outcome {
    let mut words = check
        .script_args
        .iter()
        .map(|word| std::ffi::OsString::from(&**word));
    let Some(program) = words.next() else {
        return Outcome::critical("no command");
    };
    let command = Command {
        program: program.clone(),
        args: words.collect(),
        ..Command::default()
    };
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(err) => return Outcome::critical(not_started(&program.to_string_lossy(), &err)),
    };
    let (stdout, stderr) = (child.take_stdout(), child.take_stderr());
    let ring = Mutex::new(OutputRing::new(limit));
    let finished = env
        .timeout(timeout, async {
            // The pipes close when the last process that holds them ends.
            tokio::join!(drain(stdout, &ring), drain(stderr, &ring));
            child.wait().await
        })
        .await;
    let output = captured(&ring.lock());
    match finished {
        Ok(Ok(status)) => Outcome::new(of_exit_code(status.code()), output),
        Ok(Err(err)) => Outcome::critical(os_text(&err)),
        Err(_) => {
            if let Err(err) = child.kill_group() {
                warn!(%err, "script that ran too long cannot be ended");
            }
            // Reap it; it was killed, so this ends soon.
            let _ = env.timeout(Duration::from_secs(1), child.wait()).await;
            let mut text = format!("Timed out ({}) running check", format_go(timeout));
            if !output.is_empty() {
                text.push_str("\n\n");
                text.push_str(&output);
            }
            Outcome {
                thresholds: false,
                ..Outcome::critical(text)
            }
        }
    }
}

/// The status an exit code stands for.
pub(super) fn of_exit_code(code: Option<i32>) -> Status {
    match code {
        Some(0) => Status::Passing,
        Some(1) => Status::Warning,
        _ => Status::Critical,
    }
}

async fn drain(pipe: Option<impl AsyncRead + Unpin>, ring: &Mutex<OutputRing>) {
    let Some(mut pipe) = pipe else { return };
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        ring.lock().write(&buffer[..count]);
    }
}

fn not_started(program: &str, err: &io::Error) -> String {
    if err.kind() == io::ErrorKind::NotFound && !program.contains('/') {
        format!("exec: {program:?}: executable file not found in $PATH")
    } else {
        format!("fork/exec {program}: {}", os_text(err))
    }
}
