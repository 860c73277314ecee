//! Levels: Consul's names beside tracing's, and which events somebody wants to see right now.
//!
//! A sink (the outputs together, or one monitor) has a level of its own; [`Gate`] keeps the widest of them in an atomic, so
//! that an event nobody wants costs one load. Events of libraries (targets that are not ours) are shown from WARN on, and
//! from INFO on when TRACE is asked for: what they tell below that would drown our own lines. The consensus library warns
//! of every message that a dead server does not answer, ten in a second: its warnings count as INFO, and `tribune-server`
//! says once that a server cannot be reached.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tribune_config::config::LogLevel;

/// A level name that does not exist. `Display` gives the text that clients see.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Unknown log level: {0}")]
pub struct UnknownLevel(pub String);

/// Parses a level of a monitor request in any letter case; empty is INFO.
///
/// # Errors
/// The name is unknown.
pub fn parse_level(name: &str) -> Result<LogLevel, UnknownLevel> {
    if name.is_empty() {
        return Ok(LogLevel::Info);
    }
    LogLevel::parse(name).ok_or_else(|| UnknownLevel(name.to_owned()))
}

/// The level of an event.
pub(super) fn of_event(meta: &Metadata<'_>) -> LogLevel {
    match *meta.level() {
        Level::WARN if meta.target().starts_with("openraft") => LogLevel::Info,
        Level::TRACE => LogLevel::Trace,
        Level::DEBUG => LogLevel::Debug,
        Level::INFO => LogLevel::Info,
        Level::WARN => LogLevel::Warn,
        Level::ERROR => LogLevel::Error,
    }
}

/// True if an event from our own crates.
pub(super) fn is_own(target: &str) -> bool {
    target.starts_with("tribune") || target.starts_with("agent")
}

/// True if a sink of `level` shows an event.
pub(super) fn shows(sink: LogLevel, event: LogLevel, own: bool) -> bool {
    let lowest = match (own, sink) {
        (true, sink) => sink,
        (false, LogLevel::Trace) => LogLevel::Info,
        (false, sink) => sink.max(LogLevel::Warn),
    };
    event >= lowest
}

/// The widest level of all sinks.
#[derive(Debug)]
pub(super) struct Gate {
    /// Position of the level plus one; 0 if no sink exists.
    widest: AtomicU8,
    /// The pipeline is the process's subscriber: tracing's caches speak about it.
    global: AtomicBool,
    /// The level fell and tracing's caches still let more pass.
    stale: AtomicBool,
}

impl Gate {
    pub(super) fn new() -> Gate {
        Gate {
            widest: AtomicU8::new(0),
            global: AtomicBool::new(false),
            stale: AtomicBool::new(false),
        }
    }

    pub(super) fn widest(&self) -> Option<LogLevel> {
        match self.widest.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(LogLevel::Trace),
            2 => Some(LogLevel::Debug),
            3 => Some(LogLevel::Info),
            4 => Some(LogLevel::Warn),
            _ => Some(LogLevel::Error),
        }
    }

    /// Sets the widest level. The caller refreshes tracing's caches when it may ([`Gate::refresh`]).
    pub(super) fn set(&self, level: Option<LogLevel>) {
        let code = level.map_or(0, |level| level as u8 + 1);
        if self.widest.swap(code, Ordering::Relaxed) != code {
            self.stale.store(true, Ordering::Relaxed);
        }
    }

    pub(super) fn set_global(&self) {
        self.global.store(true, Ordering::Relaxed);
    }

    /// Makes tracing ask again which events are wanted, if that changed. Not from within an event.
    pub(super) fn refresh(&self) {
        if self.stale.swap(false, Ordering::Relaxed) {
            tracing::callsite::rebuild_interest_cache();
        }
    }

    /// As [`Gate::refresh`], from the writer thread: only right if this pipeline is the process's.
    pub(super) fn refresh_if_global(&self) {
        if self.global.load(Ordering::Relaxed) {
            self.refresh();
        }
    }

    pub(super) fn wants(&self, meta: &Metadata<'_>) -> bool {
        self.widest()
            .is_some_and(|widest| shows(widest, of_event(meta), is_own(meta.target())))
    }

    pub(super) fn filter(&self) -> LevelFilter {
        match self.widest() {
            None => LevelFilter::OFF,
            Some(LogLevel::Trace) => LevelFilter::TRACE,
            Some(LogLevel::Debug) => LevelFilter::DEBUG,
            Some(LogLevel::Info) => LevelFilter::INFO,
            Some(LogLevel::Warn) => LevelFilter::WARN,
            Some(LogLevel::Error) => LevelFilter::ERROR,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_consuls_in_any_letter_case() {
        // (name, level)
        for (name, want) in [
            ("", Some(LogLevel::Info)),
            ("trace", Some(LogLevel::Trace)),
            ("Debug", Some(LogLevel::Debug)),
            ("INFO", Some(LogLevel::Info)),
            ("warn", Some(LogLevel::Warn)),
            ("err", Some(LogLevel::Error)),
            ("ERROR", Some(LogLevel::Error)),
            ("warning", None),
            ("zap", None),
            (" info", None),
        ] {
            assert_eq!(parse_level(name).ok(), want, "{name:?}");
        }
        assert_eq!(
            parse_level("zap").unwrap_err().to_string(),
            "Unknown log level: zap"
        );
    }

    #[test]
    fn libraries_are_quieter_than_we_are() {
        // (sink, event, own, shown)
        for (sink, event, own, want) in [
            (LogLevel::Info, LogLevel::Info, true, true),
            (LogLevel::Info, LogLevel::Debug, true, false),
            (LogLevel::Debug, LogLevel::Info, false, false),
            (LogLevel::Debug, LogLevel::Warn, false, true),
            (LogLevel::Trace, LogLevel::Info, false, true),
            (LogLevel::Trace, LogLevel::Debug, false, false),
            (LogLevel::Error, LogLevel::Warn, false, false),
            (LogLevel::Error, LogLevel::Error, false, true),
        ] {
            assert_eq!(shows(sink, event, own), want, "{sink:?} {event:?} {own}");
        }
    }

    #[test]
    fn the_gate_remembers_every_level() {
        let gate = Gate::new();
        assert_eq!(gate.widest(), None);
        assert_eq!(gate.filter(), LevelFilter::OFF);
        for level in [
            LogLevel::Trace,
            LogLevel::Debug,
            LogLevel::Info,
            LogLevel::Warn,
            LogLevel::Error,
        ] {
            gate.set(Some(level));
            assert_eq!(gate.widest(), Some(level));
        }
    }
}
