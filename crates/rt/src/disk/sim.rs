//! The simulated disk: in memory, from a seed, with the losses of a real one.
//!
//! Every file has the bytes that readers see and the bytes that are durable, with the list of
//! writes in between. [`SimDisk::crash`] decides the fate of each unsynced write: lost, kept, a
//! prefix kept to the byte (a torn write), or each 512-byte sector kept or lost on its own (which
//! also reorders writes against each other). Names work alike: creations, renames and removals
//! are pending in their folder until it is synced, and a crash keeps a prefix of them, as a
//! journalled file system does. Files that are open across a crash fail every call.
//!
//! A failed sync behaves as Linux does: a random part of the pending writes is durable, the rest
//! never will be through a later sync, and readers still see all of it until the crash.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::OpenOptions;

/// The unit that a device writes whole.
const SECTOR_SIZE_BYTES: usize = 512;

/// What goes wrong, besides crashes. Nothing by default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Bytes of new space that can still be had before `StorageFull`; `None` is endless.
    pub space_left: Option<u64>,
    /// The n-th write, sync, create or rename from now fails (1 is the next), once.
    pub fail_after: Option<u64>,
    /// The n-th sync (of a file or folder) from now fails (1 is the next), once.
    pub fail_sync_after: Option<u64>,
    /// Chance in a million that any write, sync, create or rename fails.
    pub fail_per_million: u32,
    /// The n-th write, sync, create, rename or removal from now (1 is the next) and all after it fail until the crash: a
    /// crash in the middle of something.
    pub dies_after: Option<u64>,
}

/// A disk in memory. Clones share it; it outlives the nodes that crash on it.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    rng: SmallRng,
    faults: Faults,
    /// Counts crashes; a file opened before the last one is dead.
    epoch: u64,
    next_inode: u64,
    inodes: BTreeMap<u64, Inode>,
    current: BTreeMap<PathBuf, Name>,
    durable: BTreeMap<PathBuf, Name>,
    pending_names: BTreeMap<PathBuf, Vec<NameOp>>,
    /// Counts successful file syncs, for tests of batching.
    sync_count: u64,
    /// Syncs say that they are done and do nothing.
    lying: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Dir,
    File(u64),
}

#[derive(Debug, Clone)]
enum NameOp {
    Put(PathBuf, Name),
    Move(PathBuf, PathBuf),
    Remove(PathBuf),
}

#[derive(Debug, Default)]
struct Inode {
    seen: Vec<u8>,
    durable: Vec<u8>,
    pending: Vec<DataOp>,
}

#[derive(Debug, Clone)]
enum DataOp {
    Write { offset: usize, bytes: Vec<u8> },
    SetLen(usize),
}

/// An open file of a simulated disk.
#[derive(Debug)]
pub(super) struct SimFile {
    disk: SimDisk,
    inode: u64,
    epoch: u64,
    writable: bool,
}

fn eio(what: &'static str) -> io::Error {
    io::Error::other(format!("simulated I/O error in {what}"))
}

impl DataOp {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::SetLen(len) => bytes.resize(*len, 0),
            Self::Write { offset, bytes: new } => write_into(bytes, *offset, new),
        }
    }

    /// Applies what a crash (or a failed sync) left of it.
    fn apply_partly(&self, rng: &mut SmallRng, bytes: &mut Vec<u8>) {
        let (offset, new) = match self {
            Self::SetLen(_) => {
                if rng.random_bool(0.5) {
                    self.apply(bytes);
                }
                return;
            }
            Self::Write { offset, bytes } => (*offset, bytes),
        };
        match rng.random_range(0..4) {
            0 => {}
            1 => write_into(bytes, offset, new),
            2 => write_into(bytes, offset, &new[..rng.random_range(0..=new.len())]),
            _ => {
                let mut at = 0;
                while at < new.len() {
                    // Sectors are aligned on the device, not on the write.
                    let room = SECTOR_SIZE_BYTES - (offset + at) % SECTOR_SIZE_BYTES;
                    let end = new.len().min(at + room);
                    if rng.random_bool(0.5) {
                        write_into(bytes, offset + at, &new[at..end]);
                    }
                    at = end;
                }
            }
        }
    }
}

fn write_into(bytes: &mut Vec<u8>, offset: usize, new: &[u8]) {
    let end = offset + new.len();
    if new.is_empty() {
        return;
    }
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    bytes[offset..end].copy_from_slice(new);
}

fn apply_name(names: &mut BTreeMap<PathBuf, Name>, op: &NameOp) {
    match op {
        NameOp::Put(path, name) => {
            names.insert(path.clone(), *name);
        }
        NameOp::Move(from, to) => {
            let moved: Vec<_> = names
                .range(from.clone()..)
                .take_while(|(path, _)| path.starts_with(from))
                .map(|(path, name)| (path.clone(), *name))
                .collect();
            for (path, name) in moved {
                names.remove(&path);
                let rest = path.strip_prefix(from).unwrap_or(Path::new(""));
                let target = if rest.as_os_str().is_empty() {
                    to.clone()
                } else {
                    to.join(rest)
                };
                names.insert(target, name);
            }
        }
        NameOp::Remove(path) => {
            names.remove(path);
        }
    }
}

fn parent_of(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("")).to_owned()
}

impl State {
    fn death(&mut self, what: &'static str) -> io::Result<()> {
        match &mut self.faults.dies_after {
            None => Ok(()),
            Some(left) => {
                *left = left.saturating_sub(1);
                if *left == 0 { Err(eio(what)) } else { Ok(()) }
            }
        }
    }

    /// Decides whether a fallible operation fails now.
    fn fault(&mut self, what: &'static str) -> io::Result<()> {
        self.death(what)?;
        if let Some(left) = self.faults.fail_after {
            self.faults.fail_after = if left <= 1 { None } else { Some(left - 1) };
            if left <= 1 {
                return Err(eio(what));
            }
        }
        let chance = self.faults.fail_per_million;
        if chance > 0 && self.rng.random_range(0..1_000_000) < chance {
            return Err(eio(what));
        }
        Ok(())
    }

    fn sync_fault(&mut self, what: &'static str) -> io::Result<()> {
        if let Some(left) = self.faults.fail_sync_after {
            self.faults.fail_sync_after = if left <= 1 { None } else { Some(left - 1) };
            if left <= 1 {
                return Err(eio(what));
            }
        }
        self.fault(what)
    }

    /// Takes up to `want` bytes of new space; returns how much there was.
    fn take_space(&mut self, want: u64) -> u64 {
        match &mut self.faults.space_left {
            None => want,
            Some(left) => {
                let got = want.min(*left);
                *left -= got;
                got
            }
        }
    }

    fn name_op(&mut self, op: NameOp, folder: PathBuf) {
        apply_name(&mut self.current, &op);
        self.pending_names.entry(folder).or_default().push(op);
    }

    fn has_dir(&self, path: &Path) -> bool {
        path.as_os_str().is_empty()
            || path == Path::new("/")
            || self.current.get(path) == Some(&Name::Dir)
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            rng: SmallRng::seed_from_u64(seed ^ 0x64_69_73_6b),
            faults: Faults::default(),
            epoch: 0,
            next_inode: 1,
            inodes: BTreeMap::new(),
            current: BTreeMap::new(),
            durable: BTreeMap::new(),
            pending_names: BTreeMap::new(),
            sync_count: 0,
            lying: false,
        })))
    }

    /// A disk of its own with the same content, as readers see it now; without faults.
    pub fn copy(&self) -> Self {
        let state = self.0.lock();
        let inodes = state.inodes.iter().map(|(number, inode)| {
            let copy = Inode {
                seen: inode.seen.clone(),
                durable: inode.seen.clone(),
                pending: Vec::new(),
            };
            (*number, copy)
        });
        Self(Arc::new(Mutex::new(State {
            rng: state.rng.clone(),
            faults: Faults::default(),
            epoch: 0,
            next_inode: state.next_inode,
            inodes: inodes.collect(),
            current: state.current.clone(),
            durable: state.current.clone(),
            pending_names: BTreeMap::new(),
            sync_count: 0,
            lying: false,
        })))
    }

    /// Makes the disk one that acknowledges syncs of files without doing them: for tests of tests.
    pub fn set_lying(&self, lying: bool) {
        self.0.lock().lying = lying;
    }

    /// Sets what goes wrong from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.lock().faults = faults;
    }

    /// What is set to go wrong, with the counters as they stand.
    pub fn faults(&self) -> Faults {
        self.0.lock().faults
    }

    /// Counts successful syncs of files since the disk was made.
    pub fn sync_count(&self) -> u64 {
        self.0.lock().sync_count
    }

    /// Power loss: unsynced writes and names meet their fate, open files die, faults end.
    pub fn crash(&self) {
        let mut guard = self.0.lock();
        let state = &mut *guard;
        state.epoch += 1;
        state.faults = Faults::default();
        for ops in std::mem::take(&mut state.pending_names).into_values() {
            let kept = state.rng.random_range(0..=ops.len());
            for op in &ops[..kept] {
                apply_name(&mut state.durable, op);
            }
        }
        // A name whose folder was lost is lost with it.
        let names = state.durable.clone();
        state.durable.retain(|path, _| {
            path.ancestors().skip(1).all(|dir| {
                dir.as_os_str().is_empty() || dir == Path::new("/") || names.contains_key(dir)
            })
        });
        state.current.clone_from(&state.durable);
        for inode in state.inodes.values_mut() {
            for op in std::mem::take(&mut inode.pending) {
                op.apply_partly(&mut state.rng, &mut inode.durable);
            }
            inode.seen.clone_from(&inode.durable);
        }
        let alive: std::collections::BTreeSet<u64> = state
            .current
            .values()
            .filter_map(|name| match name {
                Name::File(inode) => Some(*inode),
                Name::Dir => None,
            })
            .collect();
        state.inodes.retain(|inode, _| alive.contains(inode));
    }

    /// Damages one byte of a file, durably: rot, for tests of checksums.
    ///
    /// # Errors
    /// When the file or the offset does not exist.
    pub fn flip_byte(&self, path: &Path, offset: usize) -> io::Result<()> {
        let mut state = self.0.lock();
        let Some(Name::File(inode)) = state.current.get(path).copied() else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let inode = state
            .inodes
            .get_mut(&inode)
            .ok_or(io::ErrorKind::NotFound)?;
        for bytes in [&mut inode.seen, &mut inode.durable] {
            *bytes.get_mut(offset).ok_or(io::ErrorKind::UnexpectedEof)? ^= 0x55;
        }
        Ok(())
    }

    pub(super) fn open(&self, path: &Path, options: OpenOptions) -> io::Result<SimFile> {
        let mut state = self.0.lock();
        let inode = match state.current.get(path).copied() {
            Some(Name::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Name::File(_)) if options.create_new => {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Some(Name::File(inode)) => inode,
            None if !options.create && !options.create_new => {
                return Err(io::ErrorKind::NotFound.into());
            }
            None => {
                let folder = parent_of(path);
                if !state.has_dir(&folder) {
                    return Err(io::ErrorKind::NotFound.into());
                }
                state.fault("create")?;
                let inode = state.next_inode;
                state.next_inode += 1;
                state.inodes.insert(inode, Inode::default());
                state.name_op(NameOp::Put(path.to_owned(), Name::File(inode)), folder);
                inode
            }
        };
        let file = SimFile {
            disk: self.clone(),
            inode,
            epoch: state.epoch,
            writable: options.write,
        };
        drop(state);
        if options.truncate {
            file.set_len(0)?;
        }
        Ok(file)
    }

    pub(super) fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.has_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.sync_fault("sync of folder")?;
        for op in state.pending_names.remove(path).unwrap_or_default() {
            apply_name(&mut state.durable, &op);
        }
        Ok(())
    }

    pub(super) fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if !state.current.contains_key(from) || !state.has_dir(&parent_of(to)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.fault("rename")?;
        // Renames across folders would need both journals; nobody here does that.
        state.name_op(NameOp::Move(from.to_owned(), to.to_owned()), parent_of(to));
        Ok(())
    }

    pub(super) fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        match state.current.get(path) {
            Some(Name::File(_)) => {}
            Some(Name::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            None => return Err(io::ErrorKind::NotFound.into()),
        }
        state.death("removal")?;
        let folder = parent_of(path);
        state.name_op(NameOp::Remove(path.to_owned()), folder);
        Ok(())
    }

    pub(super) fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        if state.current.get(path) != Some(&Name::Dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let mut inside: Vec<PathBuf> = state
            .current
            .keys()
            .filter(|name| name.starts_with(path))
            .cloned()
            .collect();
        inside.reverse();
        for name in inside {
            let folder = parent_of(&name);
            state.name_op(NameOp::Remove(name), folder);
        }
        Ok(())
    }

    pub(super) fn list_dir(&self, path: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        if !state.has_dir(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(state
            .current
            .keys()
            .filter(|name| name.parent() == Some(path))
            .filter_map(|name| name.file_name()?.to_str().map(str::to_owned))
            .collect())
    }

    /// Folders are durable at once: the code under test makes them before it promises anything,
    /// and the real backend syncs each parent too.
    pub(super) fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.0.lock();
        for dir in path.ancestors() {
            if dir.as_os_str().is_empty() || dir == Path::new("/") {
                continue;
            }
            if let Some(Name::File(_)) = state.current.get(dir) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            state.current.insert(dir.to_owned(), Name::Dir);
            state.durable.insert(dir.to_owned(), Name::Dir);
        }
        Ok(())
    }

    pub(super) fn exists(&self, path: &Path) -> bool {
        self.0.lock().current.contains_key(path)
    }
}

impl SimFile {
    /// Runs `work` on the file, unless the machine crashed since it was opened.
    fn with<T>(&self, work: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.disk.0.lock();
        if state.epoch != self.epoch {
            return Err(io::Error::other(
                "file was opened before the simulated crash",
            ));
        }
        work(&mut state)
    }

    fn inode<'a>(&self, state: &'a mut State) -> io::Result<&'a mut Inode> {
        state
            .inodes
            .get_mut(&self.inode)
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    pub(super) fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<usize> {
        self.with(|state| {
            let seen = &self.inode(state)?.seen;
            let start = usize::try_from(offset)
                .unwrap_or(usize::MAX)
                .min(seen.len());
            let count = bytes.len().min(seen.len() - start);
            bytes[..count].copy_from_slice(&seen[start..start + count]);
            Ok(count)
        })
    }

    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        self.with(|state| {
            let mut written = bytes.len();
            let mut result = state.fault("write");
            if result.is_err() {
                written = state.rng.random_range(0..=bytes.len());
            }
            let len = self.inode(state)?.seen.len();
            let grow = (offset + written).saturating_sub(len) as u64;
            let got = state.take_space(grow);
            if got < grow {
                written = written.saturating_sub((grow - got) as usize);
                result = Err(io::ErrorKind::StorageFull.into());
            }
            let op = DataOp::Write {
                offset,
                bytes: bytes[..written].to_vec(),
            };
            let inode = self.inode(state)?;
            op.apply(&mut inode.seen);
            inode.pending.push(op);
            result
        })
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.with(|state| {
            if state.lying {
                return Ok(());
            }
            let result = state.sync_fault("sync");
            let mut rng = SmallRng::seed_from_u64(state.rng.random());
            let inode = self.inode(state)?;
            for op in std::mem::take(&mut inode.pending) {
                if result.is_ok() {
                    op.apply(&mut inode.durable);
                } else {
                    op.apply_partly(&mut rng, &mut inode.durable);
                }
            }
            if result.is_ok() {
                state.sync_count += 1;
            }
            result
        })
    }

    pub(super) fn allocate(&self, len: u64) -> io::Result<()> {
        let seen = self.len()?;
        if seen >= len {
            return Ok(());
        }
        self.with(|state| {
            let grow = len - seen;
            // All or nothing, as fallocate on the common file systems.
            if state.faults.space_left.is_some_and(|left| left < grow) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            state.take_space(grow);
            Ok(())
        })?;
        self.set_len(len)
    }

    pub(super) fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).map_err(io::Error::other)?;
        self.with(|state| {
            state.fault("set length")?;
            let inode = self.inode(state)?;
            let op = DataOp::SetLen(len);
            op.apply(&mut inode.seen);
            inode.pending.push(op);
            Ok(())
        })
    }

    pub(super) fn len(&self) -> io::Result<u64> {
        self.with(|state| Ok(self.inode(state)?.seen.len() as u64))
    }
}
