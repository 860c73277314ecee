//! Files of the agent below its data folder: services, checks, results of TTL checks.
//!
//! ```text
//! services/<md5 of the ID>      checks/<md5 of the ID>      checks/state/<md5 of the ID>
//! ```
//!
//! The forms are those of Consul 1.8 (spec agent.md section 3), so that its data folder loads here. Changes are durable
//! in a journal before they reach the files: see [`Store`] and [`journal`]. Opening the store brings the files up to
//! date; [`load`] comes after it. Unreadable files are skipped with a log line, temporary files without.

mod files;
mod format;
mod journal;
mod store;

use std::path::{Path, PathBuf};

use md5::{Digest, Md5};
use tracing::warn;
use tribune_local::{RestoredCheck, RestoredState};
use tribune_rt::Disk;
use tribune_types::catalog::Service;
use tribune_types::text::Text;
use tribune_types::time::Wall;

pub(crate) use format::{encode_check, encode_service, encode_state};
pub(crate) use journal::JournalError;
#[cfg(fuzzing)]
pub use journal::fuzzing;
pub(crate) use store::{FileOp, Store, Ticket};

/// Where the files are.
#[derive(Debug, Clone)]
pub(crate) struct Paths {
    root: PathBuf,
}

impl Paths {
    pub(crate) fn new(data_dir: &Path) -> Paths {
        Paths {
            root: data_dir.to_owned(),
        }
    }

    pub(crate) fn service(&self, id: &str) -> PathBuf {
        self.services().join(file_name(id))
    }

    pub(crate) fn check(&self, id: &str) -> PathBuf {
        self.checks().join(file_name(id))
    }

    pub(crate) fn state(&self, id: &str) -> PathBuf {
        self.states().join(file_name(id))
    }

    pub(crate) fn services(&self) -> PathBuf {
        self.root.join("services")
    }

    pub(crate) fn checks(&self) -> PathBuf {
        self.root.join("checks")
    }

    pub(crate) fn states(&self) -> PathBuf {
        self.root.join("checks").join("state")
    }
}

/// Everything found on disk.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) services: Vec<(Service, Text)>,
    pub(crate) checks: Vec<RestoredCheck>,
    pub(crate) states: Vec<RestoredState>,
    /// Files that hold nothing any more.
    pub(crate) expired: Vec<PathBuf>,
}

/// Reads all files. Blocks.
pub(crate) fn load(disk: &Disk, paths: &Paths, now: Wall) -> Found {
    let mut found = Found::default();
    for (path, bytes) in files(disk, &paths.services()) {
        match format::decode_service(&bytes) {
            Ok(service) => found.services.push(service),
            Err(err) => skipped(&path, &err),
        }
    }
    for (path, bytes) in files(disk, &paths.checks()) {
        match format::decode_check(&bytes) {
            Ok(check) => found.checks.push(check),
            Err(err) => skipped(&path, &err),
        }
    }
    for (path, bytes) in files(disk, &paths.states()) {
        match format::decode_state(&bytes) {
            Ok((_, expires)) if expires < i128::from(now.unix_secs()) => found.expired.push(path),
            Ok((state, _)) => found.states.push(state),
            Err(err) => skipped(&path, &err),
        }
    }
    found
}

fn files(disk: &Disk, folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(names) = disk.list_dir(folder) else {
        return Vec::new();
    };
    let mut files = Vec::new();
    for name in names {
        // A folder (checks/state) is no file; a temporary one was never completed.
        if name.ends_with("tmp") || name == "state" || name == "configs" {
            continue;
        }
        let path = folder.join(name);
        match disk.read(&path) {
            Ok(bytes) => files.push((path, bytes)),
            Err(err) => skipped(&path, &err),
        }
    }
    files
}

fn skipped(path: &Path, err: &dyn std::fmt::Display) {
    warn!(file = %path.display(), %err, "file skipped, it cannot be read");
}

fn file_name(id: &str) -> String {
    let digest = Md5::digest(id.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
