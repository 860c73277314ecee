//! Readers of the running log: one per `/v1/agent/monitor` request.
//!
//! Each has a channel of [`BUFFER`] lines. A reader that does not keep up loses lines, never delays anyone, and is told how
//! many it lost as soon as there is room again.

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tribune_config::config::LogLevel;

use super::level::shows;
use super::record::{FieldValue, Record};
use super::render;

/// Lines kept for a slow reader (agent.md section 13).
pub(super) const BUFFER: usize = 512;

/// One reader.
#[derive(Debug)]
struct Monitor {
    level: LogLevel,
    json: bool,
    sender: mpsc::Sender<Bytes>,
    dropped: u64,
}

/// All readers.
#[derive(Debug, Default)]
pub(super) struct Monitors {
    all: Mutex<Vec<Monitor>>,
}

impl Monitors {
    pub(super) fn add(&self, level: LogLevel, json: bool) -> mpsc::Receiver<Bytes> {
        let (sender, receiver) = mpsc::channel(BUFFER);
        self.all.lock().push(Monitor {
            level,
            json,
            sender,
            dropped: 0,
        });
        receiver
    }

    /// The widest level of the readers that are still there.
    pub(super) fn widest(&self) -> Option<LogLevel> {
        self.all
            .lock()
            .iter()
            .filter(|monitor| !monitor.sender.is_closed())
            .map(|monitor| monitor.level)
            .min()
    }

    /// Gives a line to those who want it. True if a reader has gone.
    pub(super) fn deliver(&self, record: &Record<'_>, own: bool) -> bool {
        let mut all = self.all.lock();
        if all.is_empty() {
            return false;
        }
        let before = all.len();
        let mut forms: [Option<Bytes>; 2] = [None, None];
        all.retain_mut(|monitor| {
            if !shows(monitor.level, record.level, own) {
                return !monitor.sender.is_closed();
            }
            let form = &mut forms[usize::from(monitor.json)];
            let line = form
                .get_or_insert_with(|| render::line(record, monitor.json))
                .clone();
            monitor.send(line, record)
        });
        all.len() < before
    }
}

impl Monitor {
    /// Sends a line, after the note about lost ones. False if the reader has gone.
    fn send(&mut self, line: Bytes, record: &Record<'_>) -> bool {
        if self.dropped > 0 {
            let count = vec![("count", FieldValue::UInt(self.dropped))];
            let note = Record::own(
                record.wall,
                LogLevel::Warn,
                "the reader of this log is too slow, lines were dropped",
                count,
            );
            match self.sender.try_send(render::line(&note, self.json)) {
                Ok(()) => self.dropped = 0,
                Err(TrySendError::Full(_)) => {
                    self.dropped += 1;
                    return true;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        match self.sender.try_send(line) {
            Ok(()) => true,
            Err(TrySendError::Full(_)) => {
                self.dropped += 1;
                true
            }
            Err(TrySendError::Closed(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::time::Wall;

    use super::*;

    fn record(level: LogLevel, n: u64) -> Record<'static> {
        Record::own(Wall(0), level, "line", vec![("n", FieldValue::UInt(n))])
    }

    fn texts(receiver: &mut mpsc::Receiver<Bytes>) -> Vec<String> {
        std::iter::from_fn(|| receiver.try_recv().ok())
            .map(|line| String::from_utf8(line.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn a_slow_reader_loses_lines_and_is_told() {
        let monitors = Monitors::default();
        let mut receiver = monitors.add(LogLevel::Info, false);
        for n in 0..BUFFER as u64 + 7 {
            assert!(!monitors.deliver(&record(LogLevel::Info, n), true));
        }
        assert_eq!(texts(&mut receiver).len(), BUFFER);
        monitors.deliver(&record(LogLevel::Info, 9999), true);
        let after = texts(&mut receiver);
        assert_eq!(after.len(), 2, "{after:?}");
        assert!(
            after[0].contains("[WARN]  agent: ") && after[0].ends_with("count=7\n"),
            "{after:?}"
        );
        assert!(after[1].ends_with("line: n=9999\n"), "{after:?}");
    }

    #[test]
    fn every_reader_has_its_level_and_form() {
        let monitors = Monitors::default();
        let mut debug = monitors.add(LogLevel::Debug, false);
        let mut errors = monitors.add(LogLevel::Error, true);
        assert_eq!(monitors.widest(), Some(LogLevel::Debug));
        for level in [LogLevel::Trace, LogLevel::Debug, LogLevel::Error] {
            monitors.deliver(&record(level, 1), true);
        }
        assert_eq!(texts(&mut debug).len(), 2);
        let errors = texts(&mut errors);
        assert_eq!(errors.len(), 1);
        assert!(errors[0].starts_with(r#"{"@level":"error""#), "{errors:?}");
    }

    #[test]
    fn a_reader_that_left_is_forgotten() {
        let monitors = Monitors::default();
        drop(monitors.add(LogLevel::Trace, false));
        let _stays = monitors.add(LogLevel::Warn, false);
        assert!(monitors.deliver(&record(LogLevel::Debug, 1), true));
        assert_eq!(monitors.widest(), Some(LogLevel::Warn));
    }
}
