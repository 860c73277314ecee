//! What a run of the command line is given by its binary, or by a test.

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    sync::mpsc::{Receiver, channel},
};

/// The `agent` command, which lives in the binary: only that may know every layer.
pub trait Agent {
    /// Text of `agent -h`.
    fn help(&self) -> String;

    /// Runs an agent with the arguments behind `agent` until it ends; returns the exit code.
    fn run(&self, args: &[String]) -> i32;
}

/// Streams and surroundings of one run.
pub struct Host<'a> {
    /// Name the program was invoked by, without its folder: `tribune` or `consul`.
    pub program: String,
    /// Standard input.
    pub stdin: Box<dyn Read + Send>,
    /// Standard output. Errors on writing are ignored, as a closed pipe is no one's fault.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error.
    pub stderr: Box<dyn Write + Send>,
    /// Environment variables.
    pub vars: BTreeMap<String, String>,
    /// Starts to catch interrupts (SIGINT, SIGTERM) and returns where they arrive. Called at most once, by the
    /// commands that clean up before they end; without the call the signals have their usual effect.
    pub interrupts: fn() -> Receiver<()>,
    /// As `interrupts`, for hang-ups (SIGHUP), by which commands that run long read their files again.
    pub hangups: fn() -> Receiver<()>,
    /// The agent command.
    pub agent: &'a dyn Agent,
    /// What stands behind `Revision` in `version`: Tribune's own version.
    pub revision: String,
}

impl<'a> Host<'a> {
    /// The process's own streams and environment; `argv0` is how it was invoked. Hang-ups keep their usual effect.
    pub fn of_process(
        argv0: &str,
        agent: &'a dyn Agent,
        interrupts: fn() -> Receiver<()>,
        revision: &str,
    ) -> Self {
        let program = argv0.rsplit('/').next().unwrap_or(argv0);
        let vars = std::env::vars_os()
            .filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
        Self {
            program: program.to_owned(),
            stdin: Box::new(std::io::stdin()),
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
            vars: vars.collect(),
            interrupts,
            hangups: || channel().1,
            agent,
            revision: revision.to_owned(),
        }
    }

    /// Writes a line to standard output.
    pub(crate) fn out(&mut self, line: &str) {
        let _ = writeln!(self.stdout, "{line}").and_then(|()| self.stdout.flush());
    }

    /// Writes bytes to standard output; `false` when nobody reads it any more.
    pub(crate) fn out_bytes(&mut self, bytes: &[u8]) -> bool {
        self.stdout
            .write_all(bytes)
            .and_then(|()| self.stdout.flush())
            .is_ok()
    }

    /// Writes a line to standard error.
    pub(crate) fn err(&mut self, line: &str) {
        let _ = writeln!(self.stderr, "{line}").and_then(|()| self.stderr.flush());
    }

    /// An environment variable that is set to something.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.vars
            .get(name)
            .map(String::as_str)
            .filter(|v| !v.is_empty())
    }
}
