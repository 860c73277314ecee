//! The real files behind the journal: what is durable there reaches them a little later.
//!
//! [`JournaledFiles::commit`] makes changes durable in the journal. [`JournaledFiles::tidy`] writes them to their files
//! (temporary file and rename, not synced), and when the journal is large, or on demand, carries out a checkpoint: the
//! journal goes on in its other file, all files that changed before are synced, then their folders, then the journal
//! notes it. Commits go on meanwhile. One caller tidies at a time, so that changes of one file keep their order.
//!
//! Memory: the newest content of each file that changed since the last checkpoint began, for when a sync fails and the
//! file has to be written anew.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use parking_lot::Mutex;
use tribune_rt::Disk;
use tribune_rt::disk::OpenOptions;

use super::journal::{Journal, JournalError, Sizes};
use super::store::{FILE_MODE, FileOp};

/// What belongs into files; nothing means that there is none.
type Contents = BTreeMap<PathBuf, Option<Bytes>>;

/// When to carry out a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checkpoint {
    /// When the journal is large.
    IfDue,
    /// When anything changed.
    Now,
}

/// Files that change through a journal. Shared by the task that commits and the one that tidies.
#[derive(Debug)]
pub(super) struct JournaledFiles {
    disk: Disk,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    journal: Journal,
    /// Changed in the part of the journal that is being written.
    changed: Contents,
    /// Changed before it; the checkpoint under way makes them durable.
    frozen: Option<Frozen>,
    /// Those of both whose file has yet to be written.
    unwritten: BTreeSet<PathBuf>,
    /// Changes that could not be made durable, the newest of each file: they go along with the next ones.
    owed: Contents,
}

#[derive(Debug)]
struct Frozen {
    contents: Contents,
    /// The last number of the journal that they cover.
    number: u64,
}

impl State {
    /// What belongs into a file, if it changed lately.
    fn content(&self, path: &Path) -> Option<&Option<Bytes>> {
        let frozen = || self.frozen.as_ref()?.contents.get(path);
        self.changed.get(path).or_else(frozen)
    }
}

impl JournaledFiles {
    /// Opens the journal in `root` and brings the files up to date, durably. Blocks.
    pub(super) fn open(
        disk: &Disk,
        root: &Path,
        sizes: Sizes,
    ) -> Result<JournaledFiles, JournalError> {
        let journal = Journal::open(disk, root, sizes, |ops| {
            let contents: Contents = ops.into_iter().map(FileOp::into_content).collect();
            for (path, content) in &contents {
                put(disk, path, content.as_deref()).map_err(|err| of_file(path, &err))?;
            }
            make_durable(disk, contents.keys(), |path| {
                rewrite(disk, path, contents.get(path).cloned().flatten())
            })
        })?;
        Ok(JournaledFiles {
            disk: disk.clone(),
            state: Mutex::new(State {
                journal,
                changed: Contents::new(),
                frozen: None,
                unwritten: BTreeSet::new(),
                owed: Contents::new(),
            }),
        })
    }

    /// Makes changes durable, all or none, and with them whatever an earlier call could not: to ask for nothing new asks for
    /// that. After an error changes may or may not be found by the next start. Blocks.
    pub(super) fn commit<'a>(&self, ops: impl Iterator<Item = &'a FileOp>) -> io::Result<()> {
        let mut state = self.state.lock();
        let owed = std::mem::take(&mut state.owed).into_iter();
        let mut batch: Vec<FileOp> = owed.map(FileOp::from_content).collect();
        batch.extend(ops.cloned());
        if batch.is_empty() {
            return Ok(());
        }
        let appended = state.journal.append(&batch);
        for (path, content) in batch.into_iter().map(FileOp::into_content) {
            if appended.is_ok() {
                state.unwritten.insert(path.clone());
                state.changed.insert(path, content);
            } else {
                state.owed.insert(path, content);
            }
        }
        appended
    }

    /// True when a checkpoint has something to do.
    pub(super) fn has_changes(&self) -> bool {
        let state = self.state.lock();
        !state.changed.is_empty() || state.frozen.is_some()
    }

    /// Writes files and carries out a checkpoint, see the module header. After an error call it again: nothing is lost,
    /// the journal only stays longer than it should. Blocks.
    pub(super) fn tidy(&self, checkpoint: Checkpoint) -> io::Result<()> {
        self.write_files()?;
        let Some((number, paths)) = self.freeze(checkpoint) else {
            return Ok(());
        };
        // Those committed between the two lines above.
        self.write_files()?;
        make_durable(&self.disk, paths.iter(), |path| {
            let content = self.state.lock().content(path).cloned().flatten();
            rewrite(&self.disk, path, content).inspect_err(|_| {
                // The next time it must not be taken for written because a sync says that nothing is left to do.
                self.state.lock().unwritten.insert(path.to_owned());
            })
        })?;
        let mut state = self.state.lock();
        if let Some(frozen) = &mut state.frozen {
            // From here on the journal may say that they are durable, so they must not be written anew.
            frozen.contents.clear();
        }
        state.journal.checkpoint(number)?;
        state.frozen = None;
        Ok(())
    }

    fn freeze(&self, checkpoint: Checkpoint) -> Option<(u64, Vec<PathBuf>)> {
        let mut state = self.state.lock();
        let due = state.journal.is_large()
            || (checkpoint == Checkpoint::Now && !state.changed.is_empty());
        if due && state.frozen.is_none() {
            state.frozen = Some(Frozen {
                number: state.journal.turn(),
                contents: std::mem::take(&mut state.changed),
            });
        }
        let frozen = state.frozen.as_ref()?;
        Some((frozen.number, frozen.contents.keys().cloned().collect()))
    }

    /// Writes what is not yet written. What fails stays for the next time.
    fn write_files(&self) -> io::Result<()> {
        let paths = std::mem::take(&mut self.state.lock().unwritten);
        let mut result = Ok(());
        for path in paths {
            let content = self.state.lock().content(&path).cloned();
            let Some(content) = content else { continue };
            if let Err(err) = put(&self.disk, &path, content.as_deref()) {
                result = Err(of_file(&path, &err));
                self.state.lock().unwritten.insert(path);
            }
        }
        result
    }
}

/// Gives a file its content, or removes it. Not durable yet.
fn put(disk: &Disk, path: &Path, content: Option<&[u8]>) -> io::Result<()> {
    let Some(content) = content else {
        return match disk.remove_file(path) {
            Err(err) if err.kind() != io::ErrorKind::NotFound => Err(err),
            _ => Ok(()),
        };
    };
    let mut temp = path.as_os_str().to_owned();
    temp.push(".tmp");
    let temp = PathBuf::from(temp);
    let options = OpenOptions {
        create: true,
        truncate: true,
        mode: FILE_MODE,
        ..OpenOptions::WRITE
    };
    let open = || match disk.open(&temp, options) {
        Err(err) if err.kind() == io::ErrorKind::NotFound => {
            // Somebody took the folder away.
            disk.create_dir_all(path.parent().unwrap_or(Path::new("")))?;
            disk.open(&temp, options)
        }
        result => result,
    };
    let write = || {
        open()?.write_all_at(content, 0)?;
        disk.rename(&temp, path)
    };
    write().inspect_err(|_| {
        let _ = disk.remove_file(&temp);
    })
}

/// Syncs files, then their folders. A file that is missing or cannot be synced is given to `rewrite`: a later good sync
/// would not tell that an earlier one failed.
fn make_durable<'a>(
    disk: &Disk,
    paths: impl Iterator<Item = &'a PathBuf>,
    rewrite: impl Fn(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let mut folders = BTreeSet::new();
    for path in paths {
        folders.extend(path.parent());
        let synced = disk
            .open(path, OpenOptions::READ)
            .and_then(|file| file.sync_data());
        if synced.is_err() {
            rewrite(path)?;
        }
    }
    for folder in folders {
        match disk.sync_dir(folder) {
            // A removal below a folder that is gone.
            Err(err) if err.kind() == io::ErrorKind::NotFound => {}
            result => result.map_err(|err| of_file(folder, &err))?,
        }
    }
    Ok(())
}

/// Writes a file anew, synced; nothing to do for one that shall not be there.
fn rewrite(disk: &Disk, path: &Path, content: Option<Bytes>) -> io::Result<()> {
    let Some(content) = content else {
        return Ok(());
    };
    disk.write_atomic(path, &content, FILE_MODE, 0)
        .map_err(|err| of_file(path, &err))
}

fn of_file(path: &Path, err: &io::Error) -> io::Error {
    io::Error::new(err.kind(), format!("{}: {err}", path.display()))
}

#[cfg(test)]
mod tests;
