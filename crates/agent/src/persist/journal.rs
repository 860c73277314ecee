//! The journal of local files: one write and one sync make a batch of changes durable.
//!
//! Two files in the data folder take turns, `local.journal.0` and `local.journal.1`. Numbers are little endian:
//!
//! ```text
//! file    magic [8] | zeros up to 512 | record | record | ... | zeros, or records of an earlier turn
//! record  len u32 | crc32 u32 of all else | number u64 | checkpointed u64 | body [len]
//! body    { kind u8: 1 write, 2 remove | path len u16 | path below the data folder | content len u32 | content }*
//! ```
//!
//! - A record is a batch: it counts whole or not at all.
//! - Numbers grow over both files and all restarts and are never used again, not even after a failure. A file ends at
//!   the first record that is torn or whose number does not grow: what an earlier turn or a failed write left.
//! - `checkpointed` says up to which number the real files are known to be durable. The highest one in both files
//!   counts; records up to it are not replayed.
//! - A file is written from its start only when all in it is checkpointed and the other file says so durably, or, at
//!   start, when the other file has the newest records. So a torn first write loses nothing.
//! - At start the last record of each file and zeros behind it are written again: only there can the disk differ
//!   from what the kernel shows.
//! - Space is written with zeros before it is used: then a sync is one write of the disk, without metadata of the file
//!   system.

use std::io;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use tribune_rt::Disk;
use tribune_rt::disk::{File, OpenOptions};

use super::store::{FILE_MODE, FileOp};

const MAGIC: &[u8; 8] = b"TRBJRNL1";
/// Where records begin.
const HEAD_SIZE: usize = 512;
const RECORD_HEAD_SIZE: usize = 24;
const KIND_WRITE: u8 = 1;
const KIND_REMOVE: u8 = 2;
/// Each start goes on above the next multiple of this.
const NUMBERS_PER_START: u64 = 1 << 32;
/// No journal gets so far, and behind it there is room for any number of starts.
const NUMBER_MAX: u64 = 1 << 62;

/// Bounds of each of the two files.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    /// Space made at first.
    pub(super) initial: u64,
    /// Space is added in steps of this.
    pub(super) step: u64,
    /// A checkpoint is due from here on.
    pub(super) checkpoint: u64,
    /// Never larger. Reached only if checkpoints fail for long; then changes are refused.
    pub(super) max: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            initial: 256 << 10,
            step: 1 << 20,
            checkpoint: 4 << 20,
            max: 256 << 20,
        }
    }
}

/// Why there is no journal. Nothing can be promised without one.
#[derive(Debug, thiserror::Error)]
#[error("failed to open journal {path}")]
pub(crate) struct JournalError {
    /// The file.
    pub(crate) path: String,
    /// The cause.
    pub(crate) source: io::Error,
}

#[derive(Debug)]
struct Half {
    file: File,
    /// Bytes that are there, synced.
    len: u64,
    /// Where the next record goes.
    end: u64,
}

/// An open journal. All calls block.
#[derive(Debug)]
pub(super) struct Journal {
    root: PathBuf,
    sizes: Sizes,
    halves: [Half; 2],
    active: usize,
    next: u64,
    checkpointed: u64,
    buffer: Vec<u8>,
}

impl Journal {
    /// Opens or creates the files in `root`. `restore` is given all that may not be in the real files, oldest first,
    /// and makes it durable there; after that the journal is empty.
    pub(super) fn open(
        disk: &Disk,
        root: &Path,
        sizes: Sizes,
        restore: impl FnOnce(Vec<FileOp>) -> io::Result<()>,
    ) -> Result<Journal, JournalError> {
        let paths = [0, 1].map(|number| root.join(format!("local.journal.{number}")));
        let failed = |path: &Path| {
            let path = path.display().to_string();
            move |source| JournalError { path, source }
        };
        let mut halves = Vec::with_capacity(2);
        let mut records = Vec::new();
        let mut newest = (0, 1);
        let mut tails = Vec::with_capacity(2);
        for (index, path) in paths.iter().enumerate() {
            let (half, bytes) = open_half(disk, path, sizes).map_err(failed(path))?;
            let found = scan(&bytes, root).map_err(failed(path))?;
            if let Some(last) = found.last().filter(|last| last.number >= newest.0) {
                newest = (last.number, index);
            }
            let last = found
                .last()
                .map_or(HEAD_SIZE..HEAD_SIZE, |last| last.range.clone());
            tails.push((last, bytes));
            halves.push(half);
            records.extend(found);
        }
        let halves: [Half; 2] = halves.try_into().expect("two paths make two halves");
        let (last, newest) = newest;
        records.sort_by_key(|record| record.number);
        let checkpointed = records.iter().map(|record| record.checkpointed).max();
        let live = records
            .into_iter()
            .filter(|record| record.number > checkpointed.unwrap_or(0))
            .flat_map(|record| record.ops)
            .collect();
        for ((half, path), (last, bytes)) in halves.iter().zip(&paths).zip(&mut tails) {
            half.settle(last, bytes).map_err(failed(path))?;
        }
        // A start that failed may have left their names unsynced.
        disk.sync_dir(root).map_err(failed(&paths[0]))?;
        restore(live).map_err(failed(&paths[newest]))?;
        // Above all that earlier starts wrote, also what cannot be read now but may be after a crash: a failed write over
        // an earlier failed one hides it in the cache, not on the disk.
        let next = (last | (NUMBERS_PER_START - 1)).saturating_add(1);
        let mut journal = Journal {
            root: root.to_owned(),
            sizes,
            halves,
            active: 1 - newest,
            next,
            checkpointed: next - 1,
            buffer: Vec::new(),
        };
        let path = &paths[journal.active];
        journal.append([]).map_err(failed(path))?;
        Ok(journal)
    }

    /// Makes a batch durable. After an error it may or may not be found by the next start; the journal goes on.
    pub(super) fn append<'a>(
        &mut self,
        ops: impl IntoIterator<Item = &'a FileOp>,
    ) -> io::Result<()> {
        let number = self.next;
        self.next += 1;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let result = encode(&mut buffer, number, self.checkpointed, &self.root, ops)
            .and_then(|()| self.write(&buffer));
        self.buffer = buffer;
        result
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let half = &mut self.halves[self.active];
        let end = half.end + bytes.len() as u64;
        if end > self.sizes.max {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                "journal of local registrations is full",
            ));
        }
        if end > half.len {
            half.grow(end.next_multiple_of(self.sizes.step))?;
        }
        half.file.write_all_at(bytes, half.end)?;
        half.file.sync_data()?;
        half.end = end;
        Ok(())
    }

    /// True when a checkpoint is due.
    pub(super) fn is_large(&self) -> bool {
        self.halves[self.active].end >= self.sizes.checkpoint
    }

    /// Goes on in the other file, which must be checkpointed. Gives the number up to which the checkpoint that follows
    /// has to reach.
    pub(super) fn turn(&mut self) -> u64 {
        self.active = 1 - self.active;
        self.halves[self.active].end = HEAD_SIZE as u64;
        self.next - 1
    }

    /// Notes durably that the real files have all up to `number`.
    pub(super) fn checkpoint(&mut self, number: u64) -> io::Result<()> {
        self.checkpointed = number;
        self.append([])
    }
}

impl Half {
    /// Makes what was read what is on the disk: the kernel may show a record whose sync failed, or hide one under a
    /// later write that failed. Files and the other half are about to be written in the belief that all this survives.
    fn settle(&self, last: &Range<usize>, bytes: &mut [u8]) -> io::Result<()> {
        bytes[last.end..].fill(0);
        self.file
            .write_all_at(&bytes[last.start..], last.start as u64)?;
        self.file.sync_data()
    }

    fn grow(&mut self, len: u64) -> io::Result<()> {
        self.file.allocate(len)?;
        let zeros = vec![0; usize::try_from(len - self.len).map_err(io::Error::other)?];
        self.file.write_all_at(&zeros, self.len)?;
        self.file.sync_data()?;
        self.len = len;
        Ok(())
    }
}

fn open_half(disk: &Disk, path: &Path, sizes: Sizes) -> io::Result<(Half, Vec<u8>)> {
    if !disk.exists(path) {
        let mut bytes = vec![0; usize::try_from(sizes.initial).map_err(io::Error::other)?];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        disk.write_atomic(path, &bytes, FILE_MODE, 0)?;
    }
    let bytes = disk.read(path)?;
    if bytes.len() < HEAD_SIZE || !bytes.starts_with(MAGIC) {
        return Err(invalid("it is not a journal of this version"));
    }
    let half = Half {
        file: disk.open(path, OpenOptions::WRITE)?,
        len: bytes.len() as u64,
        end: HEAD_SIZE as u64,
    };
    Ok((half, bytes))
}

struct Record {
    /// Where it is in the file.
    range: Range<usize>,
    number: u64,
    checkpointed: u64,
    ops: Vec<FileOp>,
}

/// Reads records until one is torn or not newer than the one before.
fn scan(bytes: &[u8], root: &Path) -> io::Result<Vec<Record>> {
    let mut records: Vec<Record> = Vec::new();
    let mut rest = bytes.get(HEAD_SIZE..).unwrap_or_default();
    while let Some((head, behind)) = rest.split_first_chunk::<RECORD_HEAD_SIZE>() {
        let (len, crc) = (u32_at(head, 0), u32_at(head, 4));
        let (number, checkpointed) = (u64_at(head, 8), u64_at(head, 16));
        let Some((body, next)) = behind.split_at_checked(len as usize) else {
            break;
        };
        let grows = number > records.last().map_or(0, |record| record.number);
        if !grows || checksum(head, body) != crc {
            break;
        }
        // The bytes are what was written; if they make no sense, another version wrote them. A number that cannot be, or
        // one of a checkpoint before it was made, would hide what is appended from now on.
        let ops = decode_ops(body, root)
            .filter(|_| number <= NUMBER_MAX && checkpointed < number)
            .ok_or_else(|| invalid("it has a record that this version does not understand"))?;
        let start = bytes.len() - rest.len();
        records.push(Record {
            range: start..bytes.len() - next.len(),
            number,
            checkpointed,
            ops,
        });
        rest = next;
    }
    Ok(records)
}

fn encode<'a>(
    out: &mut Vec<u8>,
    number: u64,
    checkpointed: u64,
    root: &Path,
    ops: impl IntoIterator<Item = &'a FileOp>,
) -> io::Result<()> {
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&number.to_le_bytes());
    out.extend_from_slice(&checkpointed.to_le_bytes());
    for op in ops {
        let path = op.path().strip_prefix(root).ok().and_then(Path::to_str);
        let path = path.ok_or_else(|| invalid("the file is not below the data folder"))?;
        let (kind, content) = match op {
            FileOp::Write(_, content) => (KIND_WRITE, &content[..]),
            FileOp::Remove(_) => (KIND_REMOVE, &[][..]),
        };
        out.push(kind);
        out.extend_from_slice(&u16::try_from(path.len()).map_err(too_large)?.to_le_bytes());
        out.extend_from_slice(path.as_bytes());
        out.extend_from_slice(
            &u32::try_from(content.len())
                .map_err(too_large)?
                .to_le_bytes(),
        );
        out.extend_from_slice(content);
    }
    let len = u32::try_from(out.len() - RECORD_HEAD_SIZE).map_err(too_large)?;
    out[..4].copy_from_slice(&len.to_le_bytes());
    let (head, body) = out
        .split_first_chunk::<RECORD_HEAD_SIZE>()
        .expect("the head was written above");
    let crc = checksum(head, body);
    out[4..8].copy_from_slice(&crc.to_le_bytes());
    Ok(())
}

fn decode_ops(mut body: &[u8], root: &Path) -> Option<Vec<FileOp>> {
    let mut ops = Vec::new();
    while let Some((kind, rest)) = body.split_first() {
        let (len, rest) = rest.split_first_chunk()?;
        let (path, rest) = rest.split_at_checked(u16::from_le_bytes(*len).into())?;
        let (len, rest) = rest.split_first_chunk()?;
        let (content, rest) = rest.split_at_checked(u32::from_le_bytes(*len) as usize)?;
        let path = Path::new(std::str::from_utf8(path).ok()?);
        let below = path
            .components()
            .all(|component| matches!(component, Component::Normal(_)));
        if !below || path.file_name().is_none() {
            return None;
        }
        let path = root.join(path);
        ops.push(match *kind {
            KIND_WRITE => FileOp::Write(path, Bytes::copy_from_slice(content)),
            KIND_REMOVE => FileOp::Remove(path),
            _ => return None,
        });
        body = rest;
    }
    Some(ops)
}

/// Over everything of a record but the sum itself.
fn checksum(head: &[u8; RECORD_HEAD_SIZE], body: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[..4]);
    hasher.update(&head[8..]);
    hasher.update(body);
    hasher.finalize()
}

fn u32_at(head: &[u8; RECORD_HEAD_SIZE], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| head[at + i]))
}

fn u64_at(head: &[u8; RECORD_HEAD_SIZE], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| head[at + i]))
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

fn too_large(_: std::num::TryFromIntError) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "it is too large")
}

#[cfg(fuzzing)]
pub mod fuzzing;
#[cfg(test)]
mod tests;
