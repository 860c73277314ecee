//! The thread that writes lines to standard output, the file and the system's log.
//!
//! Lines on standard output are indented by four spaces, below the start banner, and wait for it. A sink that fails is
//! reported on the others once until it works again; its lines are lost, the others' are not.

use std::io::{self, Write};
use std::sync::Arc;

use tribune_config::config::LogLevel;
use tribune_rt::Env;

use super::file::RotatingFile;
use super::level::Gate;
use super::queue::{Batch, Line, Queue};
use super::record::{FieldValue, Record};
use super::render;
use super::syslog::Syslog;

/// Indentation of lines on standard output.
const INDENT: &[u8] = b"    ";
/// Lines that wait for the start banner; older ones go out beforehand when there are more.
const HELD_MAX: usize = 4096;

/// Everything lines are written to.
pub(super) struct Outputs {
    pub(super) json: bool,
    pub(super) stdout: Option<Box<dyn Write + Send>>,
    pub(super) file: Option<RotatingFile>,
    pub(super) syslog: Option<Syslog>,
}

/// The writer thread's state.
pub(super) struct Writer {
    env: Env,
    queue: Arc<Queue>,
    gate: Arc<Gate>,
    outputs: Outputs,
    /// Lines for standard output, indented.
    held: Vec<u8>,
    held_lines: usize,
    broken: Broken,
}

/// Sinks that failed last time.
#[derive(Debug, Default)]
struct Broken {
    file: bool,
    syslog: bool,
}

impl Writer {
    pub(super) fn new(env: &Env, queue: Arc<Queue>, gate: Arc<Gate>, outputs: Outputs) -> Writer {
        Writer {
            env: env.clone(),
            queue,
            gate,
            outputs,
            held: Vec::new(),
            held_lines: 0,
            broken: Broken::default(),
        }
    }

    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        loop {
            let batch = self.queue.take();
            let (count, closed) = (batch.lines.len(), batch.closed);
            self.write(batch);
            self.queue.done(count);
            self.gate.refresh_if_global();
            if closed {
                return;
            }
        }
    }

    fn write(&mut self, batch: Batch) {
        if batch.lost > 0 {
            let lost = vec![("count", FieldValue::UInt(batch.lost))];
            let note = self.note(
                LogLevel::Warn,
                "log lines were lost because they could not be written fast enough",
                lost,
            );
            self.write_line(&note);
        }
        for line in &batch.lines {
            self.write_line(line);
        }
        if let Some(file) = &mut self.outputs.file {
            let flushed = file.flush();
            self.report_file(flushed);
        }
        if batch.stdout_open || batch.closed || self.held_lines > HELD_MAX {
            self.write_stdout();
        }
    }

    fn write_line(&mut self, line: &Line) {
        let now = self.env.wall();
        self.hold(line);
        if let Some(file) = &mut self.outputs.file {
            let written = file.write(&line.bytes, now);
            self.report_file(written);
        }
        if let Some(syslog) = &mut self.outputs.syslog {
            let sent = syslog.write(line.level, &line.bytes);
            let failed = sent.is_err();
            if let (Err(err), false) = (sent, self.broken.syslog) {
                self.complain("failed to write to syslog", &err);
            }
            self.broken.syslog = failed;
        }
    }

    fn report_file(&mut self, written: io::Result<()>) {
        match written {
            Ok(()) => self.broken.file = false,
            Err(err) if !self.broken.file => {
                self.broken.file = true;
                self.complain("failed to write the log file", &err);
            }
            Err(_) => {}
        }
    }

    /// Says on standard output what does not work elsewhere.
    fn complain(&mut self, message: &str, err: &io::Error) {
        let line = self.note(
            LogLevel::Error,
            message,
            vec![("error", FieldValue::Text(err.to_string()))],
        );
        self.hold(&line);
    }

    fn note(&self, level: LogLevel, message: &str, pairs: Vec<(&'static str, FieldValue)>) -> Line {
        let record = Record::own(self.env.wall(), level, message, pairs);
        Line {
            level,
            bytes: render::line(&record, self.outputs.json),
        }
    }

    fn hold(&mut self, line: &Line) {
        if self.outputs.stdout.is_some() {
            self.held.extend_from_slice(INDENT);
            self.held.extend_from_slice(&line.bytes);
            self.held_lines += 1;
        }
    }

    fn write_stdout(&mut self) {
        if let Some(stdout) = &mut self.outputs.stdout {
            // There is nowhere to complain about standard output; a closed one must not end the agent.
            let _ = stdout.write_all(&self.held).and_then(|()| stdout.flush());
        }
        self.held.clear();
        self.held.shrink_to(64 * 1024);
        self.held_lines = 0;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use parking_lot::Mutex;

    use super::super::file::FileOptions;
    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn line(text: &'static str) -> Line {
        Line {
            level: LogLevel::Info,
            bytes: Bytes::from_static(text.as_bytes()),
        }
    }

    #[tokio::test]
    async fn standard_output_waits_for_the_banner_and_the_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let env = Env::ambient().unwrap();
        let path = format!("{}/x.log", dir.path().display());
        let options = FileOptions {
            path,
            rotate_bytes: 0,
            rotate_duration: std::time::Duration::ZERO,
            rotate_max_files: 0,
        };
        let stdout = Shared::default();
        let outputs = Outputs {
            json: false,
            stdout: Some(Box::new(stdout.clone())),
            file: Some(RotatingFile::open(&options, tribune_types::time::Wall(5)).unwrap()),
            syslog: None,
        };
        let mut writer = Writer::new(&env, Arc::default(), Arc::new(Gate::new()), outputs);
        writer.write(Batch {
            lines: [line("one\n")].into(),
            ..Batch::default()
        });
        assert_eq!(*stdout.0.lock(), b"");
        assert_eq!(std::fs::read(dir.path().join("x-5.log")).unwrap(), b"one\n");
        writer.write(Batch {
            lines: [line("two\n")].into(),
            stdout_open: true,
            lost: 4,
            ..Batch::default()
        });
        let shown = String::from_utf8(stdout.0.lock().clone()).unwrap();
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!((lines[0], lines[2]), ("    one", "    two"));
        assert!(
            lines[1].contains("[WARN]  agent: log lines were lost")
                && lines[1].ends_with("count=4"),
            "{shown}"
        );
    }
}
