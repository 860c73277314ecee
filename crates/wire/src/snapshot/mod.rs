//! Snapshots (spec rpc.md section 10).
//!
//! - [`records`]: the stream of state records, `state.bin`. Servers keep their own snapshots in
//!   this form.
//! - [`SnapshotWriter`] and [`read_archive`]: the archive an operator saves and restores, a
//!   compressed tar of the stream, a description ([`Meta`]) and checksums.
//!
//! Both directions stream: memory does not grow with the size of the state.

pub mod records;

mod meta;
mod reader;
mod writer;

pub use meta::{Meta, MetaServer};
pub use reader::{GZIP_HEAD, read_archive};
pub use writer::SnapshotWriter;

use std::io;

/// Names of the members of an archive.
const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

/// Why an archive was refused. The texts are those a restore answers with.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The input does not begin like compressed data.
    #[error("failed to decompress snapshot: {0}")]
    NoGzip(&'static str),
    /// The compression or the tar around the members is broken, or reading failed.
    #[error("failed to read snapshot file: failed reading snapshot: {}", io_text(.0))]
    Container(io::Error),
    /// The same inside the record stream.
    #[error("failed to read snapshot file: failed to read or write snapshot data: {}", io_text(.0))]
    State(io::Error),
    /// What was read could not be passed on.
    #[error("failed to store snapshot: {0}")]
    Sink(io::Error),
    /// A member that does not belong there.
    #[error("failed to read snapshot file: unexpected file {0:?} in snapshot")]
    Unexpected(String),
    /// A member stands there twice.
    #[error("failed to read snapshot file: file {0:?} occurs twice in snapshot")]
    Twice(&'static str),
    /// A member or its checksum is not there.
    #[error(
        "failed to read snapshot file: failed checking integrity of snapshot: file missing for {0:?}"
    )]
    Missing(&'static str),
    /// A description or list of checksums beyond any sensible size.
    #[error("failed to read snapshot file: {name:?} is too large: {size} bytes")]
    TooLarge {
        /// The member.
        name: &'static str,
        /// Its size.
        size: u64,
    },
    /// The description is no JSON of the known form.
    #[error("failed to read snapshot file: failed to decode snapshot metadata: {0}")]
    Meta(serde_json::Error),
    /// The description is of another version.
    #[error("failed to create snapshot: unsupported snapshot version {0}")]
    Version(i64),
    /// The list of checksums does not follow its format.
    #[error(
        "failed to read snapshot file: failed checking integrity of snapshot: malformed checksum {0:?}"
    )]
    Sums(String),
    /// A checksum does not match.
    #[error(
        "failed to read snapshot file: failed checking integrity of snapshot: hash check failed for {0:?}"
    )]
    Sum(&'static str),
    /// The description names another size than the state has.
    #[error("failed to write snapshot, size didn't match ({found} != {expected})")]
    Size {
        /// What the description says.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// Something other than padding follows the archive.
    #[error("unread bytes remain after the end of the snapshot")]
    Trailing,
}

fn io_text(e: &io::Error) -> String {
    if e.kind() == io::ErrorKind::UnexpectedEof {
        "unexpected EOF".to_owned()
    } else {
        e.to_string()
    }
}
