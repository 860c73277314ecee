//! What a run shall do, complete and checked.
//!
//! In: [`Given`](crate::Given) and the files it names. Out: [`Settings`], which a [`Job`](crate::Job) carries out.

use std::{sync::Arc, time::Duration};

use tribune_api::client::ClientConfig;

use crate::{file::FileError, rules, spec::SpecError};

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Explains a decision.
    Debug,
    /// A change an operator would note.
    Info,
    /// May need a human.
    Warn,
    /// Needs a human.
    Error,
}

impl Level {
    /// Reads a name; `err` and `warning` are taken too.
    pub fn parse(name: &str) -> Option<Self> {
        match name.to_ascii_lowercase().as_str() {
            "trace" | "debug" => Some(Self::Debug),
            "info" => Some(Self::Info),
            "warn" | "warning" => Some(Self::Warn),
            "err" | "error" => Some(Self::Error),
            _ => None,
        }
    }

    /// As log lines show it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// Where lines for the log go. Called from several threads.
pub type Log = Arc<dyn Fn(Level, &str) + Send + Sync>;

/// An agent, and the datacenter to ask it for.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// How to reach the agent.
    pub config: ClientConfig,
    /// Datacenter; empty means the agent's own.
    pub datacenter: String,
}

/// One prefix to mirror to every destination.
#[derive(Debug, Clone)]
pub struct Mirror {
    /// Prefix at the source; empty means all keys.
    pub source: String,
    /// Prefix at the destinations.
    pub destination: String,
    /// Where to copy from.
    pub from: Endpoint,
}

/// What to do after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// Failures of a prefix in a row after which it is given up; `None` never.
    pub attempts: Option<u32>,
    /// First pause; each further one is twice as long.
    pub backoff: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
}

impl Retry {
    /// Pause after this many failures in a row (from 1).
    pub(crate) fn pause(&self, failures: u32) -> Duration {
        let factor = 2_u32.saturating_pow(failures.saturating_sub(1).min(20));
        self.backoff.saturating_mul(factor).min(self.backoff_max)
    }

    /// Whether so many failures are the end.
    pub(crate) fn is_over(&self, failures: u32) -> bool {
        self.attempts.is_some_and(|limit| failures >= limit)
    }
}

/// All that a run needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// What to mirror.
    pub mirrors: Vec<Mirror>,
    /// Where to.
    pub destinations: Vec<Endpoint>,
    /// Beginnings of source keys that are left alone.
    pub excludes: Vec<String>,
    /// Parts of source keys that are left alone.
    pub exclude_matches: Vec<String>,
    /// Folder of status keys and locks at each destination, without slashes around it.
    pub status_dir: String,
    /// Shortest time between the ends and starts of two passes over a prefix; collects bursts of changes.
    pub wait: Duration,
    /// After failures.
    pub retry: Retry,
    /// How old the source's answers may be; zero asks its leader.
    pub max_stale: Duration,
    /// Least level of lines that are shown.
    pub log_level: Level,
    /// End after one complete pass over every prefix.
    pub once: bool,
    /// Let an empty source empty the destination even where its index does not show that keys were removed.
    pub allow_empty: bool,
    /// Sentences for the log about what files say and this program does not do.
    pub notes: Vec<String>,
}

/// Why there are no settings. Nothing was changed anywhere.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A prefix.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// An address or a file of certificates.
    #[error("{what} {address:?}: {source}")]
    Address {
        /// `source` or `destination`.
        what: &'static str,
        /// As written.
        address: String,
        /// The cause.
        source: tribune_api::client::Error,
    },
    /// Nothing to do.
    #[error("no prefix to mirror: give -prefix, or a configuration file with a prefix block")]
    NoPrefix,
    /// The same keys would be mirrored from two places, and each would delete what the other writes.
    #[error(
        "two prefixes end up below one another: {0:?} and {1:?}; give them separate destinations"
    )]
    Overlap(String, String),
    /// The same destination twice.
    #[error("destination {0:?} is given twice")]
    DestinationTwice(String),
    /// The folder of status keys is empty.
    #[error("the status folder must not be empty")]
    NoStatusDir,
    /// A value that does not fit.
    #[error("{name}: {value:?} is not {wanted}")]
    Value {
        /// Name of the option.
        name: &'static str,
        /// What was given.
        value: String,
        /// What is wanted.
        wanted: &'static str,
    },
}

impl Settings {
    /// Rules between the settings.
    pub(crate) fn check(&self) -> Result<(), SettingsError> {
        if self.mirrors.is_empty() {
            return Err(SettingsError::NoPrefix);
        }
        if self.status_dir.is_empty() {
            return Err(SettingsError::NoStatusDir);
        }
        for (at, one) in self.mirrors.iter().enumerate() {
            for other in &self.mirrors[at + 1..] {
                if rules::overlap(&one.destination, &other.destination) {
                    let names = (one.destination.clone(), other.destination.clone());
                    return Err(SettingsError::Overlap(names.0, names.1));
                }
            }
        }
        for (at, one) in self.destinations.iter().enumerate() {
            let same = |other: &Endpoint| {
                other.config.address == one.config.address && other.datacenter == one.datacenter
            };
            if self.destinations[at + 1..].iter().any(same) {
                let name = one.describe();
                return Err(SettingsError::DestinationTwice(name));
            }
        }
        Ok(())
    }
}

impl Endpoint {
    /// For messages: the address, and the datacenter if one is named.
    pub(crate) fn describe(&self) -> String {
        let address = match &self.config.address {
            tribune_api::client::Address::Tcp(host) => host.clone(),
            tribune_api::client::Address::Unix(path) => path.display().to_string(),
        };
        match self.datacenter.as_str() {
            "" => address,
            dc => format!("{address}@{dc}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest() {
        let retry = Retry {
            attempts: Some(3),
            backoff: Duration::from_millis(250),
            backoff_max: Duration::from_secs(60),
        };
        let pauses: Vec<u128> = [1, 2, 3, 8, 9, 10, 1000]
            .map(|n| retry.pause(n).as_millis())
            .to_vec();
        assert_eq!(pauses, [250, 500, 1000, 32_000, 60_000, 60_000, 60_000]);
        assert_eq!(
            [1, 2, 3, 4].map(|n| retry.is_over(n)),
            [false, false, true, true]
        );
    }
}
