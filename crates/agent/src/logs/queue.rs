//! The queue between those who log and the thread that writes.
//!
//! Bound: [`LINES_MAX`] lines and [`BYTES_MAX`] bytes. When it is full, lines below ERROR are dropped and counted; errors
//! still go in, up to as much again. Nobody ever waits for the writer: a slow disk or a stopped terminal costs lines, not
//! service. The writer reports the count once it can write again.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::{Condvar, Mutex};
use tribune_config::config::LogLevel;

/// Lines that may wait.
pub(super) const LINES_MAX: usize = 8192;
/// Bytes that may wait.
pub(super) const BYTES_MAX: usize = 8 * 1024 * 1024;

/// A line to be written.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) level: LogLevel,
    pub(super) bytes: Bytes,
}

/// What the writer is told with a batch.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) lines: VecDeque<Line>,
    /// Lines lost since the last batch.
    pub(super) lost: u64,
    /// The start banner is printed: standard output may be used.
    pub(super) stdout_open: bool,
    /// No more lines will come.
    pub(super) closed: bool,
}

#[derive(Debug, Default)]
struct Inner {
    waiting: VecDeque<Line>,
    bytes: usize,
    lost: u64,
    pushed: u64,
    written: u64,
    stdout_open: bool,
    woken: bool,
    closed: bool,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Condvar,
    drained: Condvar,
}

impl Queue {
    /// Queues a line, or counts it as lost.
    pub(super) fn push(&self, line: Line) {
        let mut inner = self.inner.lock();
        let room = if line.level >= LogLevel::Error { 2 } else { 1 };
        if inner.waiting.len() >= LINES_MAX * room || inner.bytes >= BYTES_MAX * room {
            inner.lost += 1;
            return;
        }
        inner.bytes += line.bytes.len();
        inner.pushed += 1;
        inner.waiting.push_back(line);
        drop(inner);
        self.filled.notify_one();
    }

    /// Lets the writer look around although there is no line.
    pub(super) fn wake(&self) {
        self.inner.lock().woken = true;
        self.filled.notify_one();
    }

    pub(super) fn open_stdout(&self) {
        let mut inner = self.inner.lock();
        inner.stdout_open = true;
        inner.woken = true;
        drop(inner);
        self.filled.notify_one();
    }

    pub(super) fn close(&self) {
        self.inner.lock().closed = true;
        self.filled.notify_one();
    }

    /// Waits for something to do.
    pub(super) fn take(&self) -> Batch {
        let mut inner = self.inner.lock();
        while inner.waiting.is_empty() && inner.lost == 0 && !inner.woken && !inner.closed {
            self.filled.wait(&mut inner);
        }
        inner.woken = false;
        inner.bytes = 0;
        Batch {
            lines: std::mem::take(&mut inner.waiting),
            lost: std::mem::take(&mut inner.lost),
            stdout_open: inner.stdout_open,
            closed: inner.closed,
        }
    }

    /// The writer has written so many lines.
    pub(super) fn done(&self, count: usize) {
        self.inner.lock().written += count as u64;
        self.drained.notify_all();
    }

    /// Waits until all lines queued so far are written; false if that took longer than `limit`.
    pub(super) fn flush(&self, limit: Duration) -> bool {
        let mut inner = self.inner.lock();
        let until = inner.pushed;
        self.filled.notify_one();
        !self
            .drained
            .wait_while_for(&mut inner, |inner| inner.written < until, limit)
            .timed_out()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(level: LogLevel) -> Line {
        Line {
            level,
            bytes: Bytes::from_static(b"x\n"),
        }
    }

    #[test]
    fn a_full_queue_loses_lines_but_keeps_errors() {
        let queue = Queue::default();
        for _ in 0..LINES_MAX + 3 {
            queue.push(line(LogLevel::Warn));
        }
        queue.push(line(LogLevel::Error));
        let batch = queue.take();
        assert_eq!((batch.lines.len(), batch.lost), (LINES_MAX + 1, 3));
        assert_eq!(batch.lines.back().unwrap().level, LogLevel::Error);
        queue.push(line(LogLevel::Info));
        assert_eq!(queue.take().lines.len(), 1);
    }

    #[test]
    fn errors_have_a_bound_too() {
        let queue = Queue::default();
        for _ in 0..2 * LINES_MAX + 5 {
            queue.push(line(LogLevel::Error));
        }
        let batch = queue.take();
        assert_eq!((batch.lines.len(), batch.lost), (2 * LINES_MAX, 5));
    }

    #[test]
    fn a_flush_gives_up_when_nobody_writes() {
        let queue = Queue::default();
        assert!(queue.flush(Duration::ZERO));
        queue.push(line(LogLevel::Info));
        assert!(!queue.flush(Duration::from_millis(1)));
        queue.done(1);
        assert!(queue.flush(Duration::from_millis(1)));
    }
}
