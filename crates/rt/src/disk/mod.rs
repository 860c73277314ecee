//! Files: a small synchronous interface with a real and a simulated backend.
//!
//! All calls block; call them from [`Env::spawn_blocking`](crate::Env::spawn_blocking), a thread
//! of their own, or at start-up. Durability is explicit and the two backends agree on it:
//!
//! - bytes of a file are durable after [`File::sync_data`],
//! - a created, renamed or removed name is durable after [`Disk::sync_dir`] of its folder,
//! - after a failed sync the fate of what was written since the last good one is unknown.

mod real;
mod sim;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

pub use sim::{Faults, SimDisk};

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenOptions {
    /// Allow writes. Reading is always allowed.
    pub write: bool,
    /// Create the file when it is missing.
    pub create: bool,
    /// Fail when it exists; implies `create`.
    pub create_new: bool,
    /// Cut an existing file to nothing.
    pub truncate: bool,
    /// Permission bits of a file that is created.
    pub mode: u32,
}

impl OpenOptions {
    /// An existing file, for reading.
    pub const READ: Self = Self {
        write: false,
        create: false,
        create_new: false,
        truncate: false,
        mode: 0o600,
    };
    /// An existing file, for reading and writing.
    pub const WRITE: Self = Self {
        write: true,
        ..Self::READ
    };
    /// A new file that must not exist yet, mode 0600.
    pub const CREATE_NEW: Self = Self {
        create: true,
        create_new: true,
        ..Self::WRITE
    };
}

/// The files of a node. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Disk(DiskKind);

#[derive(Debug, Clone)]
enum DiskKind {
    Real,
    Sim(SimDisk),
}

/// One open file. Positions are explicit; there is no cursor.
#[derive(Debug)]
pub struct File(FileKind);

#[derive(Debug)]
enum FileKind {
    Real(std::fs::File),
    Sim(sim::SimFile),
}

/// Calls the same function of whichever backend.
macro_rules! on_disk {
    ($self:ident, $function:ident ( $($arg:expr),* )) => {
        match &$self.0 {
            DiskKind::Real => real::$function($($arg),*),
            DiskKind::Sim(sim) => sim.$function($($arg),*),
        }
    };
}

impl Disk {
    /// The operating system's files.
    pub fn real() -> Self {
        Self(DiskKind::Real)
    }

    /// A simulated disk.
    pub fn sim(disk: SimDisk) -> Self {
        Self(DiskKind::Sim(disk))
    }

    /// Opens or creates a file.
    ///
    /// # Errors
    /// As the system's `open`.
    pub fn open(&self, path: &Path, options: OpenOptions) -> io::Result<File> {
        Ok(File(match &self.0 {
            DiskKind::Real => FileKind::Real(real::open(path, options)?),
            DiskKind::Sim(sim) => FileKind::Sim(sim.open(path, options)?),
        }))
    }

    /// Creates a new file of `len` bytes whose space is already allocated, so that later writes
    /// inside it do not run out of space and syncs need no metadata.
    ///
    /// # Errors
    /// When it exists or there is no room; a file that could not be allocated is removed again.
    pub fn create_allocated(&self, path: &Path, len: u64) -> io::Result<File> {
        let file = self.open(path, OpenOptions::CREATE_NEW)?;
        if let Err(err) = file.allocate(len) {
            let _ = self.remove_file(path);
            return Err(err);
        }
        Ok(file)
    }

    /// Makes the names in folder `path` durable.
    ///
    /// # Errors
    /// When the folder is missing or the sync failed.
    pub fn sync_dir(&self, path: &Path) -> io::Result<()> {
        on_disk!(self, sync_dir(path))
    }

    /// Renames, replacing a file at `to`.
    ///
    /// # Errors
    /// As the system's `rename`.
    pub fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        on_disk!(self, rename(from, to))
    }

    /// Removes a file.
    ///
    /// # Errors
    /// `NotFound` when it is missing.
    pub fn remove_file(&self, path: &Path) -> io::Result<()> {
        on_disk!(self, remove_file(path))
    }

    /// Removes a folder with the files in it. Not atomic; a crash may leave a part.
    ///
    /// # Errors
    /// `NotFound` when it is missing.
    pub fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        on_disk!(self, remove_dir_all(path))
    }

    /// Names in folder `path`, sorted.
    ///
    /// # Errors
    /// `NotFound` when it is missing.
    pub fn list_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        on_disk!(self, list_dir(path))
    }

    /// Creates the folder and its missing parents, each made durable in its own parent.
    ///
    /// # Errors
    /// As the system's `mkdir`.
    pub fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        on_disk!(self, create_dir_all(path))
    }

    /// Sets the permission bits of a file or folder. In simulation nothing has any.
    ///
    /// # Errors
    /// As the system's `chmod`.
    pub fn set_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        match &self.0 {
            DiskKind::Real => real::set_mode(path, mode),
            DiskKind::Sim(_) => Ok(()),
        }
    }

    /// True when a file or folder is there.
    pub fn exists(&self, path: &Path) -> bool {
        on_disk!(self, exists(path))
    }

    /// The whole file.
    ///
    /// # Errors
    /// `NotFound` when it is missing.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenOptions::READ)?;
        let len = usize::try_from(file.len()?).map_err(io::Error::other)?;
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            let count = file.read_at(&mut bytes[filled..], filled as u64)?;
            if count == 0 {
                break;
            }
            filled += count;
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Replaces the file at `path` so that after a crash it holds either the old or the new
    /// bytes: a temporary file `<path>-<random>.tmp` beside it, synced, renamed, folder synced.
    ///
    /// # Errors
    /// After an error the old file is still there, unless only the last sync failed: then either
    /// may be found after a crash.
    pub fn write_atomic(
        &self,
        path: &Path,
        bytes: &[u8],
        mode: u32,
        random: u64,
    ) -> io::Result<()> {
        let mut temp = path.as_os_str().to_owned();
        temp.push(format!("-{random:016x}.tmp"));
        let temp = PathBuf::from(temp);
        let write = || {
            let options = OpenOptions {
                create: true,
                truncate: true,
                mode,
                ..OpenOptions::WRITE
            };
            let file = self.open(&temp, options)?;
            file.write_all_at(bytes, 0)?;
            file.sync_data()?;
            drop(file);
            self.rename(&temp, path)
        };
        if let Err(err) = write() {
            let _ = self.remove_file(&temp);
            return Err(err);
        }
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.sync_dir(parent),
            _ => self.sync_dir(Path::new(".")),
        }
    }
}

/// Calls the same method of whichever file.
macro_rules! on_file {
    ($self:ident, $function:ident ( $($arg:expr),* )) => {
        match &$self.0 {
            FileKind::Real(file) => real::$function(file, $($arg),*),
            FileKind::Sim(file) => file.$function($($arg),*),
        }
    };
}

impl File {
    /// Locks the file for this process as long as it is open. In simulation a disk has one node, and nothing is locked.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds the lock.
    pub fn try_lock(&self) -> io::Result<()> {
        match &self.0 {
            FileKind::Real(file) => file.try_lock().map_err(io::Error::from),
            FileKind::Sim(_) => Ok(()),
        }
    }

    /// Reads at `offset`; 0 at the end of the file.
    ///
    /// # Errors
    /// When the device fails.
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        on_file!(self, read_at(bytes, offset))
    }

    /// Fills `bytes` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before.
    pub fn read_exact_at(&self, mut bytes: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.read_at(bytes, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    bytes = &mut bytes[count..];
                    offset += count as u64;
                }
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                Err(err) => return Err(err),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`, extending the file where needed.
    ///
    /// # Errors
    /// After an error any part may have been written.
    pub fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        on_file!(self, write_all_at(bytes, offset))
    }

    /// Makes the bytes (and the length) durable: `fdatasync`.
    ///
    /// # Errors
    /// After an error what was written since the last good sync is of unknown fate, and a later
    /// good sync does not change that.
    pub fn sync_data(&self) -> io::Result<()> {
        on_file!(self, sync_data())
    }

    /// Allocates space for the first `len` bytes and makes the file at least that long (zeros).
    ///
    /// # Errors
    /// `StorageFull` when there is no room.
    pub fn allocate(&self, len: u64) -> io::Result<()> {
        on_file!(self, allocate(len))
    }

    /// Cuts or extends the file.
    ///
    /// # Errors
    /// When the device fails.
    pub fn set_len(&self, len: u64) -> io::Result<()> {
        on_file!(self, set_len(len))
    }

    /// Length in bytes.
    ///
    /// # Errors
    /// When the system cannot say.
    #[allow(
        clippy::len_without_is_empty,
        reason = "a length that can fail has no useful is_empty"
    )]
    pub fn len(&self) -> io::Result<u64> {
        on_file!(self, len())
    }
}
