//! What can be wrong with a configuration, with the texts that operators and tests know from Consul 1.8.
//!
//! Texts are part of the contract (spec config.md). A problem of one file names the file; value errors of all sources
//! are collected; rules between settings stop at the first that fails.

use std::fmt;
use std::path::PathBuf;

/// Why no configuration could be made. Nothing was applied.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file or directory could not be read.
    #[error("config: {operation} failed on {}. {}", path.display(), go_io(source, path))]
    Read {
        /// `Open`, `Stat` or `Read`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// `-config-format` is neither `hcl` nor `json`.
    #[error("config: -config-format must be either 'hcl' or 'json'")]
    Format,
    /// A source does not parse or does not fit the schema.
    #[error("failed to parse {name}: {cause}")]
    Parse {
        /// File name, or `flags-N.hcl` for the N-th `-hcl`.
        name: String,
        /// What is wrong in it.
        cause: ParseError,
    },
    /// Values that do not have the form of their key, all of them.
    #[error("{}", multi(.0))]
    Values(Vec<String>),
    /// A rule between settings, or a setting out of its range. The text is the one Consul prints.
    #[error("{0}")]
    Rule(String),
    /// Settings that protect the cluster but are not enforced by this version.
    #[error("{0}")]
    Unbuilt(String),
}

/// What is wrong within one source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// The text is not HCL; carries the position.
    #[error("At {line}:{column}: {message}")]
    Hcl {
        /// Line, from 1.
        line: usize,
        /// Column in characters, from 1.
        column: usize,
        /// What was found.
        message: String,
    },
    /// A number does not fit or is malformed.
    #[error("{0}")]
    Number(String),
    /// The text is not JSON.
    #[error("{0}")]
    Json(String),
    /// Values of the wrong type.
    #[error("{}", decoding(.0))]
    Types(Vec<String>),
    /// Keys that do not exist.
    #[error("{}", multi(.0))]
    UnknownKeys(Vec<String>),
    /// The bytes are not UTF-8.
    #[error("file is not valid UTF-8")]
    Utf8,
    /// The source is larger than the bound.
    #[error("file is larger than {limit} bytes")]
    TooLarge {
        /// The bound.
        limit: u64,
    },
}

fn go_io(error: &std::io::Error, path: &std::path::Path) -> String {
    let why = match error.kind() {
        std::io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        std::io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    };
    format!("open {}: {why}", path.display())
}

/// Several problems in the list form that Consul prints.
pub(crate) fn multi(problems: &[String]) -> String {
    let mut out = match problems.len() {
        1 => "1 error occurred:\n".to_owned(),
        n => format!("{n} errors occurred:\n"),
    };
    for problem in problems {
        out.push_str("\t* ");
        out.push_str(problem);
        out.push('\n');
    }
    out.push('\n');
    out
}

fn decoding(problems: &[String]) -> String {
    let mut out = format!("{} error(s) decoding:\n", problems.len());
    for problem in problems {
        out.push_str("\n* ");
        out.push_str(problem);
    }
    out
}

/// A secret setting. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: String) -> Secret {
        Secret(secret)
    }

    /// The secret itself.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// True if none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "Secret(unset)"
        } else {
            "Secret(hidden)"
        })
    }
}
