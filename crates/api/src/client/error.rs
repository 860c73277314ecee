//! What can go wrong in a call, in the words that scripts and tests of Consul clients know.

use std::{io, path::PathBuf};

/// A call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No answer: the connection failed, or broke before the head of the answer was there. Whether a write took
    /// effect is unknown unless the text says that dialing failed.
    #[error("{verb} \"{url}\": {text}")]
    Transport {
        /// Method in Go's spelling (`Get`).
        verb: String,
        /// Full address asked.
        url: String,
        /// Cause, in Go's words where a Go client has words for it.
        text: String,
    },
    /// The agent answered with another status than 200.
    #[error("Unexpected response code: {status} ({body})")]
    Status {
        /// HTTP status.
        status: u16,
        /// Body of the answer, at most 1 MiB.
        body: String,
    },
    /// As `Status`, for the reads of the KV store, which never show the body.
    #[error("Unexpected response code: {status}")]
    BareStatus {
        /// HTTP status.
        status: u16,
    },
    /// The body broke off.
    #[error("{}", io_text(.0))]
    Read(#[source] io::Error),
    /// The body was not the JSON expected.
    #[error("{0}")]
    Decode(#[source] serde_json::Error),
    /// The address has a scheme that is not http, https or unix.
    #[error("Unknown protocol scheme: {0}")]
    Scheme(String),
    /// A key starts with a slash.
    #[error("Invalid key. Key must not begin with a '/': {0}")]
    LeadingSlash(String),
    /// A file named by the configuration could not be used.
    #[error("Error loading {what}: {problem}")]
    File {
        /// `CA File`, `token file` and the like.
        what: &'static str,
        /// What is wrong with it.
        problem: FileProblem,
    },
    /// A client certificate without its key, or the other way round.
    #[error("both client cert and client key must be provided")]
    HalfClientCert,
    /// The list of peers could not be had.
    #[error("Failed to retrieve raft configuration: {0}")]
    RaftConfiguration(#[source] Box<Error>),
}

/// Why a file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FileProblem {
    /// It could not be opened or read.
    #[error("open {}: {}", .path.display(), io_text(.source))]
    Open {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// It holds nothing usable.
    #[error("{}: {problem}", .path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What was expected.
        problem: String,
    },
}

impl Error {
    /// Status of the answer, when there was one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } | Self::BareStatus { status } => Some(*status),
            _ => None,
        }
    }

    /// Whether trying again may help: the agent said 500, or there was no answer at all.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Transport { .. } => true,
            other => other.status() == Some(500),
        }
    }
}

/// The text of an I/O error as Go prints it: lower case, without the number.
pub(super) fn io_text(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return "unexpected EOF".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    if error.raw_os_error().is_some() {
        let mut chars = text.chars();
        return match chars.next() {
            Some(first) => first.to_lowercase().chain(chars).collect(),
            None => String::new(),
        };
    }
    text.to_owned()
}
