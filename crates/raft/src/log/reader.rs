//! Reading the log: from the cache, else from the segment files, checked again.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use openraft::storage::RaftLogReader;
use tribune_rt::disk::File;

use super::Shared;
use crate::codec;
use crate::types::{Entry, TypeConfig, Vote};
use crate::wal::{Item, Position, Wal, decode_entry};

/// Neighbouring records are read together up to this size.
const READ_SIZE_MAX: usize = 1024 * 1024;
/// A message to a follower carries about this much: one entry more than this at most.
const REPLY_SIZE_MAX: usize = 1024 * 1024;
/// Entries per step of a stream.
const STREAM_STEP: u64 = 256;
/// Open files that a reader keeps.
const OPEN_FILES_MAX: usize = 4;

/// One reader; keeps the segments it read last open.
pub(crate) struct LogReader {
    shared: Arc<Shared>,
    files: BTreeMap<u32, File>,
}

impl LogReader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            files: BTreeMap::new(),
        }
    }

    /// Entries of `start..end` that exist, from `start` on without a gap, until about `size_max`
    /// bytes (at least one).
    pub(crate) fn read(&mut self, start: u64, end: u64, size_max: usize) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut on_disk: Vec<(u64, Position)> = Vec::new();
        let mut size = 0;
        {
            let state = self.shared.state.lock();
            let index = &state.index;
            let oldest = index
                .position(index.first())
                .map_or(u32::MAX, |position| position.segment);
            // A purged segment gives its space back when nobody has it open.
            self.files.retain(|segment, _| *segment >= oldest);
            let start = start.max(index.first());
            let end = end.min(index.next());
            for at in start..end {
                if size > size_max {
                    break;
                }
                if let Some(cached) = index.cached(at) {
                    size += cached.payload.len();
                    entries.push(codec::entry_from_parts(
                        at,
                        cached.term,
                        cached.kind,
                        &cached.payload,
                    )?);
                } else if let Some(position) = index.position(at) {
                    size += position.len as usize;
                    on_disk.push((at, position));
                } else {
                    return Err(io::Error::other(format!(
                        "log entry {at} is neither cached nor on disk"
                    )));
                }
            }
        }
        if on_disk.is_empty() {
            return Ok(entries);
        }
        // What is on disk precedes what is cached.
        let mut all = Vec::with_capacity(on_disk.len() + entries.len());
        for group in adjacent(&on_disk) {
            self.read_group(group, &mut all)?;
        }
        all.append(&mut entries);
        Ok(all)
    }

    /// Reads records that lie one behind the other.
    fn read_group(&mut self, group: &[(u64, Position)], out: &mut Vec<Entry>) -> io::Result<()> {
        let (first, last) = (group[0].1, group[group.len() - 1].1);
        let len = (last.offset - first.offset + last.len) as usize;
        let mut bytes = vec![0; len];
        self.file(first.segment)?
            .read_exact_at(&mut bytes, u64::from(first.offset))?;
        let bytes = Bytes::from(bytes);
        for (index, position) in group {
            let at = (position.offset - first.offset) as usize;
            match decode_entry(&bytes, at, position.segment) {
                Some(Item::Entry {
                    index: found,
                    term,
                    kind,
                    payload,
                }) if found == *index => {
                    out.push(codec::entry_from_parts(found, term, kind, &payload)?);
                }
                _ => {
                    let text = format!(
                        "log entry {index} in segment {} is damaged",
                        position.segment
                    );
                    return Err(io::Error::new(io::ErrorKind::InvalidData, text));
                }
            }
        }
        Ok(())
    }

    fn file(&mut self, segment: u32) -> io::Result<&File> {
        if !self.files.contains_key(&segment) {
            let files = self.shared.files.as_ref();
            let files = files.ok_or_else(|| io::Error::other("a log in memory has no segments"))?;
            if self.files.len() >= OPEN_FILES_MAX {
                self.files.pop_first();
            }
            let file = Wal::open_segment(&files.disk, &files.dir, segment)?;
            self.files.insert(segment, file);
        }
        self.files
            .get(&segment)
            .ok_or_else(|| io::Error::other("the file was just opened"))
    }
}

/// Splits positions into runs that lie one behind the other in one segment.
fn adjacent(positions: &[(u64, Position)]) -> impl Iterator<Item = &[(u64, Position)]> {
    let mut rest = positions;
    std::iter::from_fn(move || {
        let (_, first) = rest.first()?;
        let mut count = 1;
        while let Some((_, next)) = rest.get(count) {
            let last = rest[count - 1].1;
            let follows =
                next.segment == last.segment && next.offset == last.offset.saturating_add(last.len);
            let size = next
                .offset
                .saturating_sub(first.offset)
                .saturating_add(next.len);
            if !follows || size as usize > READ_SIZE_MAX {
                break;
            }
            count += 1;
        }
        let (group, tail) = rest.split_at(count);
        rest = tail;
        Some(group)
    })
}

fn bounds(range: &impl RangeBounds<u64>) -> (u64, u64) {
    let start = match range.start_bound() {
        Bound::Included(at) => *at,
        Bound::Excluded(at) => at.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(at) => at.saturating_add(1),
        Bound::Excluded(at) => *at,
        Bound::Unbounded => u64::MAX,
    };
    (start, end)
}

impl RaftLogReader<TypeConfig> for LogReader {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + Send>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, io::Error> {
        let (start, end) = bounds(&range);
        self.read(start, end, usize::MAX)
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let vote = self.shared.state.lock().index.facts().vote;
        Ok(vote.map(|vote| codec::vote_from_record(&vote)))
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        self.read(start, end, REPLY_SIZE_MAX)
    }

    /// A few entries at a time, so that applying a long log does not hold all of it.
    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + Send
    where
        RB: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (start, end) = bounds(&range);
        let walk = Walk {
            reader: self,
            next: start,
            end,
            ready: Vec::new().into_iter(),
        };
        futures_util::stream::unfold(walk, |mut walk| async move {
            let item = walk.step()?;
            Some((item, walk))
        })
    }
}

struct Walk<'a> {
    reader: &'a mut LogReader,
    next: u64,
    end: u64,
    ready: std::vec::IntoIter<Entry>,
}

impl Walk<'_> {
    fn step(&mut self) -> Option<io::Result<Entry>> {
        if let Some(entry) = self.ready.next() {
            return Some(Ok(entry));
        }
        if self.next >= self.end {
            return None;
        }
        let upto = self.end.min(self.next + STREAM_STEP);
        match self.reader.read(self.next, upto, REPLY_SIZE_MAX) {
            Ok(entries) if entries.is_empty() => {
                let text = format!("log entries from {} on are missing", self.next);
                self.next = self.end;
                Some(Err(io::Error::other(text)))
            }
            Ok(entries) => {
                self.next += entries.len() as u64;
                self.ready = entries.into_iter();
                self.ready.next().map(Ok)
            }
            Err(err) => {
                self.next = self.end;
                Some(Err(err))
            }
        }
    }
}
