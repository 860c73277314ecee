//! The write-ahead log: what the node has promised, on disk.
//!
//! In: batches of [`Item`]s in order. Out: an answer once the batch is durable. One batch is one
//! `pwrite` and one `fdatasync` (more only where it crosses into a new segment). The log is
//! strictly append-only: truncating the tail, purging the head, votes and the committed position
//! are records like entries, and recovery replays them in order. Whole segments are unlinked once
//! everything in them is purged.
//!
//! ```text
//! folder    <seq: 16 hex digits>.wal ...        sequence numbers without gaps
//! segment   header | facts: vote, purge, committed as they stood | records ... | zeros
//! header    magic 8 | seq 8 | next index 8 | end of the previous segment 8 | batch 4
//!           | length of the facts 4 | crc 4
//! record    len 4 | crc 4 | batch 4 | kind 1 | index 8 | term 8 | payload   (little endian)
//! ```
//!
//! The crc covers everything but itself and starts from the segment's sequence number, so a record
//! in the wrong file is not one. The crc of a header covers the facts too. The last record of a
//! batch has the high bit of `kind` set; a batch counts as a whole or not at all.
//!
//! # Recovery
//!
//! Segments are read in order, each up to the end of its last whole batch.
//! Three questions decide what that end means:
//!
//! 1. Is there a later segment? Its header tells where this one ended when everything in it was
//!    synced. Stopping before is damage, and the log refuses to open. A last segment without a
//!    valid header was being created in the crash; it holds nothing and is removed.
//! 2. Is there a valid record of a *later* batch behind the end? A batch is written only after the
//!    one before it was synced, so this too is damage and not a torn tail.
//! 3. Otherwise the tail is torn: a batch that was never acknowledged. What is left of it must
//!    never come back behind a later append that happens to end where a stale record starts.
//!    Before the first append the file is cut at the end, allocated anew (which reads as zeros)
//!    and synced. Zeroing only the next header would leave records behind it; a generation number
//!    in each crc would work but leave garbage that question 2 could no longer judge.
//!
//! The last batch is written once more before the log is used: its sync may have failed in an
//! earlier process, and then it reads well from the page cache but is not on the disk.
//!
//! Not detected: damage to the very last batch, which looks like a torn write.
//!
//! # Failures while running
//!
//! A full disk is found when a segment is allocated, before anything is written; on file systems
//! that can also fail inside allocated space the file is cut back to the last good byte. In both
//! cases nothing of the failed part is in effect and the caller may try again. Any other failed
//! write, and every failed sync, poisons the log: what is on disk is unknown (the kernel drops the
//! pages), so nothing more is accepted and the process must start over.

#[cfg(fuzzing)]
pub(crate) mod fuzzing;
mod record;
mod recover;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tribune_rt::disk::{Disk, File, OpenOptions};

pub(crate) use record::{Kind, RECORD_OVERHEAD_BYTES, decode_entry};
use record::{SegmentHeader, encode_record};
use recover::Tail;
pub(crate) use recover::{Recovered, drop_old_terms};

/// Size of a segment unless a single record needs more.
pub(crate) const SEGMENT_SIZE_BYTES: u64 = 16 * 1024 * 1024;
/// A record's payload may not be longer; recovery refuses to believe more.
pub(crate) const PAYLOAD_SIZE_MAX: usize = 256 * 1024 * 1024;
/// Far beyond what a log can reach; recovery refuses to believe more, so that indexes can be counted on.
const INDEX_MAX: u64 = 1 << 62;
/// Likewise for the numbers of segments, of which positions keep 32 bits.
const SEQ_MAX: u64 = u32::MAX as u64 - 1;

/// A position in the replicated log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Spot {
    pub(crate) term: u64,
    pub(crate) index: u64,
}

/// The vote as it is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VoteRecord {
    pub(crate) term: u64,
    pub(crate) node: [u8; 16],
    pub(crate) committed: bool,
}

/// One thing to make durable.
#[derive(Debug, Clone)]
pub(crate) enum Item {
    /// `index` must be one more than the last.
    Entry {
        index: u64,
        term: u64,
        kind: Kind,
        payload: Bytes,
    },
    /// Entries from `next` on are void.
    Truncate {
        next: u64,
    },
    /// Entries up to and including this one are not needed.
    Purge(Spot),
    Vote(VoteRecord),
    Committed(Spot),
}

/// What is not an entry, as of the last record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) vote: Option<VoteRecord>,
    pub(crate) purged: Option<Spot>,
    pub(crate) committed: Option<Spot>,
}

/// Where an entry's record is: 12 bytes for each entry of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// Length of the whole record.
    pub(crate) len: u32,
}

/// Why the log does not open. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum WalError {
    /// Synced data is not readable any more.
    #[error(
        "log segment {path:?} is damaged at byte {offset}: acknowledged records follow behind it; \
         restore this server from a snapshot or remove its data to let it rejoin"
    )]
    Damaged {
        /// The segment.
        path: PathBuf,
        /// First byte that is not a valid record.
        offset: u64,
    },
    /// A segment in the middle is gone.
    #[error("log entries after {purged} are missing: the first one found is {first}")]
    Missing {
        /// Last entry that may be missing.
        purged: u64,
        /// First entry there is.
        first: u64,
    },
    /// A record is intact but makes no sense where it stands.
    #[error("log segment {path:?} holds a record at byte {offset} that does not follow: {what}")]
    Order {
        /// The segment.
        path: PathBuf,
        /// The record.
        offset: u64,
        /// What is wrong.
        what: &'static str,
    },
    /// The device failed.
    #[error("log file {path:?} cannot be used")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
}

/// Why a batch is not durable.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// No room. The first `done` items are durable; the rest is not written and may be retried.
    Full { done: usize, source: io::Error },
    /// The state of the tail is unknown; the log takes nothing more.
    Poisoned(io::Error),
}

/// The open log. One owner; everything blocks.
#[derive(Debug)]
pub(crate) struct Wal {
    disk: Disk,
    dir: PathBuf,
    segment_size: u64,
    /// Index that a segment's first entry would have, by sequence number; the last is active.
    starts: BTreeMap<u64, u64>,
    active: Active,
    facts: Facts,
    next_index: u64,
    batch: u32,
    buffer: Vec<u8>,
    poisoned: Option<String>,
}

#[derive(Debug)]
struct Active {
    seq: u64,
    file: Arc<File>,
    /// Where the next record goes.
    offset: u64,
    capacity: u64,
    /// A successor was begun; nothing may follow here.
    sealed: bool,
}

pub(crate) fn segment_path(dir: &Path, seq: u64) -> PathBuf {
    dir.join(format!("{seq:016x}.wal"))
}

impl Wal {
    /// Opens or creates the log in `dir` and replays it.
    pub(crate) fn open(
        disk: &Disk,
        dir: &Path,
        segment_size: u64,
    ) -> Result<(Self, Recovered), WalError> {
        let io = |source| WalError::Io {
            path: dir.to_owned(),
            source,
        };
        disk.create_dir_all(dir).map_err(io)?;
        let recovered = recover::recover(disk, dir)?;
        let batch = recovered.batch;
        let starts = recovered.starts.clone();
        let mut wal = match recovered.tail {
            Some(tail) => {
                let active = clean_tail(disk, dir, tail, segment_size)?;
                Self::new(disk, dir, segment_size, active, &recovered, batch)
            }
            None => {
                let next_index = recovered.next_index();
                let fresh = create_segment(
                    disk,
                    dir,
                    segment_size,
                    1,
                    next_index,
                    0,
                    &recovered.facts,
                    1,
                    0,
                )
                .map_err(|source| WalError::Io {
                    path: segment_path(dir, 1),
                    source,
                })?;
                Self::new(disk, dir, segment_size, fresh, &recovered, 1)
            }
        };
        wal.starts = starts;
        let seq = wal.active.seq;
        wal.starts.entry(seq).or_insert(wal.next_index);
        Ok((wal, recovered))
    }

    fn new(
        disk: &Disk,
        dir: &Path,
        segment_size: u64,
        active: Active,
        recovered: &Recovered,
        batch: u32,
    ) -> Self {
        Self {
            disk: disk.clone(),
            dir: dir.to_owned(),
            segment_size,
            starts: BTreeMap::new(),
            active,
            facts: recovered.facts,
            next_index: recovered.next_index(),
            batch,
            buffer: Vec::new(),
            poisoned: None,
        }
    }

    /// Opens a segment for reading.
    pub(crate) fn open_segment(disk: &Disk, dir: &Path, segment: u32) -> io::Result<File> {
        disk.open(&segment_path(dir, u64::from(segment)), OpenOptions::READ)
    }

    /// Makes `items` durable in order. For each entry its place is pushed to `positions`, also
    /// when only a part succeeded.
    pub(crate) fn write(
        &mut self,
        items: &[Item],
        positions: &mut Vec<Position>,
    ) -> Result<(), WriteError> {
        if let Some(why) = &self.poisoned {
            return Err(WriteError::Poisoned(io::Error::other(why.clone())));
        }
        let mut done = 0;
        while done < items.len() {
            let first_position = positions.len();
            let end = self.encode(&items[done..], positions) + done;
            if end == done {
                let need = record_size(&items[done]) as u64;
                self.roll(need).map_err(|err| self.classify(err, done))?;
                continue;
            }
            if let Err(err) = self
                .active
                .file
                .write_all_at(&self.buffer, self.active.offset)
            {
                positions.truncate(first_position);
                return Err(self.write_failed(err, done));
            }
            if let Err(err) = self.active.file.sync_data() {
                positions.truncate(first_position);
                return Err(self.poison("sync of the log failed", &err));
            }
            self.active.offset += self.buffer.len() as u64;
            self.batch = self.batch.wrapping_add(1);
            for item in &items[done..end] {
                self.facts.apply(item, &mut self.next_index);
            }
            done = end;
        }
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Encodes what fits into the active segment; returns how many items that is.
    fn encode(&mut self, items: &[Item], positions: &mut Vec<Position>) -> usize {
        self.buffer.clear();
        if self.active.sealed {
            return 0;
        }
        let room = usize::try_from(self.active.capacity - self.active.offset).unwrap_or(usize::MAX);
        let mut count = 0;
        let mut size = 0;
        for item in items {
            size += record_size(item);
            if size > room {
                break;
            }
            count += 1;
        }
        let seed = seq32(self.active.seq);
        for (i, item) in items[..count].iter().enumerate() {
            let start = self.buffer.len();
            encode_record(
                &mut self.buffer,
                seed,
                self.batch.wrapping_add(1),
                i + 1 == count,
                item,
            );
            if matches!(item, Item::Entry { .. }) {
                positions.push(Position {
                    segment: seed,
                    offset: u32::try_from(self.active.offset + start as u64).unwrap_or(u32::MAX),
                    len: u32::try_from(self.buffer.len() - start).unwrap_or(u32::MAX),
                });
            }
        }
        count
    }

    /// Starts the next segment. On error nothing of it is in effect.
    fn roll(&mut self, need: u64) -> io::Result<()> {
        self.active.sealed = true;
        let seq = self.active.seq + 1;
        let path = segment_path(&self.dir, seq);
        if self.disk.exists(&path) {
            // A failed attempt that could not be removed then.
            self.disk.remove_file(&path)?;
        }
        let batch = self.batch.wrapping_add(1);
        let made = create_segment(
            &self.disk,
            &self.dir,
            self.segment_size,
            seq,
            self.next_index,
            self.active.offset,
            &self.facts,
            batch,
            need,
        );
        match made {
            Ok(active) => {
                self.starts.insert(seq, self.next_index);
                self.active = active;
                self.batch = batch;
                Ok(())
            }
            Err(err) => {
                let _ = self.disk.remove_file(&path);
                Err(err)
            }
        }
    }

    fn classify(&mut self, err: io::Error, done: usize) -> WriteError {
        if is_full(&err) {
            return WriteError::Full { done, source: err };
        }
        self.poison("a new log segment cannot be started", &err)
    }

    /// A write failed inside the active segment: go back to the last good byte, if that works.
    fn write_failed(&mut self, err: io::Error, done: usize) -> WriteError {
        if !is_full(&err) {
            return self.poison("write to the log failed", &err);
        }
        let file = &self.active.file;
        let repair = file
            .set_len(self.active.offset)
            .and_then(|()| file.sync_data())
            .map(|()| self.active.capacity = self.active.offset);
        match repair {
            // The next attempt starts a new segment, which allocates before it writes.
            Ok(()) => WriteError::Full { done, source: err },
            Err(err) => self.poison("the log cannot be cut back after a failed write", &err),
        }
    }

    fn poison(&mut self, what: &str, err: &io::Error) -> WriteError {
        let text = format!("{what}: {err}");
        self.poisoned = Some(text.clone());
        WriteError::Poisoned(io::Error::new(err.kind(), text))
    }

    /// Unlinks segments that hold only purged entries; returns their sequence numbers. A segment
    /// that cannot be removed now is tried again next time.
    pub(crate) fn drop_purged(&mut self) -> Vec<u32> {
        let mut dropped = Vec::new();
        let Some(purged) = self.facts.purged else {
            return dropped;
        };
        while let Some((&seq, _)) = self.starts.first_key_value() {
            let next_start = self.starts.range(seq + 1..).next().map(|(_, start)| *start);
            match next_start {
                Some(start) if start <= purged.index + 1 => {}
                _ => break,
            }
            // Oldest first, so that what a crash leaves has no gap.
            match self.disk.remove_file(&segment_path(&self.dir, seq)) {
                Err(err) if err.kind() != io::ErrorKind::NotFound => break,
                _ => {}
            }
            self.starts.remove(&seq);
            dropped.push(seq32(seq));
        }
        dropped
    }
}

/// A write buffer larger than this is given back after use.
const BUFFER_KEPT_BYTES: usize = 1024 * 1024;

impl Facts {
    /// Replays one record that is known to follow.
    fn apply(&mut self, item: &Item, next_index: &mut u64) {
        match item {
            Item::Entry { index, .. } => *next_index = index + 1,
            Item::Truncate { next } => *next_index = *next,
            Item::Purge(spot) => {
                self.purged = Some(*spot);
                *next_index = (*next_index).max(spot.index + 1);
            }
            Item::Vote(vote) => self.vote = Some(*vote),
            Item::Committed(spot) => self.committed = Some(*spot),
        }
    }

    /// The records that restate them at the head of a segment.
    fn items(&self) -> Vec<Item> {
        let mut items = Vec::with_capacity(3);
        items.extend(self.purged.map(Item::Purge));
        items.extend(self.committed.map(Item::Committed));
        items.extend(self.vote.map(Item::Vote));
        items
    }
}

/// Segments are numbered from 1; 2^32 of them are 64 PiB.
fn seq32(seq: u64) -> u32 {
    u32::try_from(seq).unwrap_or(u32::MAX)
}

fn is_full(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

fn record_size(item: &Item) -> usize {
    RECORD_OVERHEAD_BYTES
        + match item {
            Item::Entry { payload, .. } => payload.len(),
            Item::Vote(_) => record::VOTE_SIZE_BYTES,
            Item::Truncate { .. } | Item::Purge(_) | Item::Committed(_) => 0,
        }
}

#[allow(
    clippy::too_many_arguments,
    reason = "two callers, each names every field of the new segment"
)]
fn create_segment(
    disk: &Disk,
    dir: &Path,
    segment_size: u64,
    seq: u64,
    next_index: u64,
    prev_end: u64,
    facts: &Facts,
    batch: u32,
    need: u64,
) -> io::Result<Active> {
    let mut head = Vec::with_capacity(256);
    SegmentHeader {
        seq,
        next_index,
        prev_end,
        batch,
    }
    .encode(&mut head, &facts.items());
    let offset = head.len() as u64;
    let capacity = segment_size.max(offset + need).min(u64::from(u32::MAX));
    let file = disk.create_allocated(&segment_path(dir, seq), capacity)?;
    file.write_all_at(&head, 0)?;
    file.sync_data()?;
    disk.sync_dir(dir)?;
    Ok(Active {
        seq,
        file: Arc::new(file),
        offset,
        capacity,
        sealed: false,
    })
}

/// Makes what was found durable and the bytes behind it zeros, before anything is appended there.
///
/// A sync that failed in an earlier process leaves bytes that read well but will never reach the
/// disk, because the kernel takes them for written. Only the last batch can be such: it is written
/// again.
fn clean_tail(disk: &Disk, dir: &Path, tail: Tail, segment_size: u64) -> Result<Active, WalError> {
    let Tail {
        seq,
        last_start,
        end,
    } = tail;
    let path = segment_path(dir, seq);
    let clean = || -> io::Result<Active> {
        let file = disk.open(&path, OpenOptions::WRITE)?;
        let mut last = vec![0; usize::try_from(end - last_start).map_err(io::Error::other)?];
        file.read_exact_at(&mut last, last_start)?;
        file.write_all_at(&last, last_start)?;
        file.set_len(end)?;
        let mut capacity = segment_size.max(end);
        if let Err(err) = file.allocate(capacity) {
            if !is_full(&err) {
                return Err(err);
            }
            // Start anyway; the next append asks for a new segment and reports the full disk.
            file.set_len(end)?;
            capacity = end;
        }
        file.sync_data()?;
        disk.sync_dir(dir)?;
        Ok(Active {
            seq,
            file: Arc::new(file),
            offset: end,
            capacity,
            sealed: false,
        })
    };
    clean().map_err(|source| WalError::Io {
        path: path.clone(),
        source,
    })
}
