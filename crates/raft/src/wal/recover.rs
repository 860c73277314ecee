//! Replaying the log at start. The rules and their reasons are in the parent module.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tribune_rt::disk::Disk;

use super::record::{HEADER_SIZE_BYTES, Record, SegmentHeader, decode_record};
use super::{Facts, Item, Position, SEQ_MAX, WalError, segment_path, seq32};

/// What the log held.
#[derive(Debug, Default)]
pub(crate) struct Recovered {
    pub(crate) facts: Facts,
    /// Index of the first entry of `positions`.
    pub(crate) first_index: u64,
    pub(crate) positions: VecDeque<Position>,
    /// (first index, term) of each run of entries with one term.
    pub(crate) terms: Vec<(u64, u64)>,
    pub(super) starts: BTreeMap<u64, u64>,
    pub(super) batch: u32,
    pub(super) tail: Option<Tail>,
}

/// The end of the last segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tail {
    pub(super) seq: u64,
    /// Where the last whole batch starts; 0 when there is only the header.
    pub(super) last_start: u64,
    pub(super) end: u64,
}

impl Recovered {
    /// Index of the entry that comes next.
    pub(crate) fn next_index(&self) -> u64 {
        self.first_index + self.positions.len() as u64
    }

    fn cut(&mut self, next: u64) {
        if next < self.first_index {
            self.first_index = next;
        }
        let keep = usize::try_from(next - self.first_index).unwrap_or(usize::MAX);
        self.positions.truncate(keep);
        self.terms.retain(|(start, _)| *start < next);
    }

    fn purge(&mut self, upto: u64) {
        while self.first_index <= upto && self.positions.pop_front().is_some() {
            self.first_index += 1;
        }
        if self.positions.is_empty() {
            self.first_index = self.first_index.max(upto + 1);
            self.terms.clear();
        }
        drop_old_terms(&mut self.terms, self.first_index);
    }

    /// Takes over the facts that a header restates; they end at `end`.
    fn facts_of(&mut self, bytes: &Bytes, end: usize, seq: u64) {
        let facts = bytes.slice(..end);
        let mut at = HEADER_SIZE_BYTES;
        while at < end {
            let Some(record) = decode_record(&facts, at, seq32(seq)) else {
                return; // The header's crc has covered them.
            };
            at += record.size;
            match record.item {
                Item::Purge(spot) => {
                    self.facts.purged = Some(spot);
                    self.purge(spot.index);
                }
                Item::Vote(vote) => self.facts.vote = Some(vote),
                Item::Committed(spot) => self.facts.committed = Some(spot),
                Item::Entry { .. } | Item::Truncate { .. } => {}
            }
        }
    }

    fn apply(&mut self, item: &Item, position: Position) -> Result<(), &'static str> {
        match item {
            Item::Entry { index, term, .. } => return self.push(*index, *term, position),
            Item::Truncate { next } if *next > self.next_index() => {
                return Err("it cuts behind the end");
            }
            Item::Truncate { next } => self.cut(*next),
            Item::Purge(spot) => {
                self.facts.purged = Some(*spot);
                self.purge(spot.index);
            }
            Item::Vote(vote) => self.facts.vote = Some(*vote),
            Item::Committed(spot) => self.facts.committed = Some(*spot),
        }
        Ok(())
    }

    fn push(&mut self, index: u64, term: u64, position: Position) -> Result<(), &'static str> {
        if index != self.next_index() {
            return Err("its index is not the next");
        }
        if self.terms.last().is_some_and(|(_, last)| term < *last) {
            return Err("its term is older than that of the entry before");
        }
        if self.terms.last().is_none_or(|(_, last)| *last != term) {
            self.terms.push((index, term));
        }
        self.positions.push_back(position);
        Ok(())
    }
}

/// Forgets runs that end before `first`, and lets the first run start there.
pub(crate) fn drop_old_terms(terms: &mut Vec<(u64, u64)>, first: u64) {
    let old = terms.partition_point(|(start, _)| *start <= first);
    if old > 0 {
        terms.drain(..old - 1);
        terms[0].0 = terms[0].0.max(first);
    }
}

pub(super) fn recover(disk: &Disk, dir: &Path) -> Result<Recovered, WalError> {
    let (orphans, seqs) = segments(disk, dir)?;
    let mut recovered = Recovered::default();
    let mut prev: Option<Tail> = None;
    let mut last_bytes = Bytes::new();
    // Files that hold nothing; removed only once it is clear that the log opens.
    let mut useless: Vec<PathBuf> = orphans.iter().map(|seq| segment_path(dir, *seq)).collect();
    for (i, &seq) in seqs.iter().enumerate() {
        let path = segment_path(dir, seq);
        let io = |source| WalError::Io {
            path: path.clone(),
            source,
        };
        let bytes = disk.read(&path).map(Bytes::from).map_err(io)?;
        let is_last = i + 1 == seqs.len();
        let header = SegmentHeader::decode(&bytes).filter(|(header, _)| header.seq == seq);
        let Some((header, start)) = header else {
            // The last one may have been in the making when the machine stopped; then nothing was
            // promised in it. Every segment but number 1 is made beside its predecessor, and a
            // header that rotted away later is told by the records behind it.
            let torn = recovered.batch.wrapping_add(1);
            let in_the_making = is_last && (prev.is_some() || seq == 1);
            if !in_the_making || find_batch_after(&bytes, HEADER_SIZE_BYTES, seq, torn) {
                return Err(WalError::Damaged { path, offset: 0 });
            }
            useless.push(path);
            break;
        };
        match prev {
            None => recovered.first_index = header.next_index,
            Some(prev) if header.prev_end != prev.end => {
                return Err(WalError::Damaged {
                    path: segment_path(dir, prev.seq),
                    offset: prev.end,
                });
            }
            Some(_) if header.next_index != recovered.next_index() => {
                return Err(WalError::Order {
                    path,
                    offset: 0,
                    what: "its first index does not follow",
                });
            }
            Some(_) => {}
        }
        recovered.starts.insert(seq, header.next_index);
        recovered.facts_of(&bytes, start, seq);
        recovered.batch = header.batch;
        let (last_start, end) = replay(&mut recovered, &bytes, start, &path, seq)?;
        prev = Some(Tail {
            seq,
            last_start: last_start as u64,
            end: end as u64,
        });
        last_bytes = bytes;
    }
    // The ends of earlier segments were judged by `prev_end`. This one may have a successor too, but
    // one without a header.
    if let Some(Tail { seq, end, .. }) = prev {
        let from = usize::try_from(end).unwrap_or(usize::MAX);
        if find_batch_after(&last_bytes, from, seq, recovered.batch.wrapping_add(1)) {
            return Err(WalError::Damaged {
                path: segment_path(dir, seq),
                offset: end,
            });
        }
    }
    recovered.tail = prev;
    let purged_next = recovered.facts.purged.map_or(0, |spot| spot.index + 1);
    if recovered.first_index > purged_next {
        let purged = purged_next.saturating_sub(1);
        return Err(WalError::Missing {
            purged,
            first: recovered.first_index,
        });
    }
    let removed = !useless.is_empty();
    for path in useless {
        disk.remove_file(&path)
            .map_err(|source| WalError::Io { path, source })?;
    }
    if removed {
        disk.sync_dir(dir).map_err(|source| WalError::Io {
            path: dir.to_owned(),
            source,
        })?;
    }
    Ok(recovered)
}

/// Replays one segment from `start`; returns where its last whole batch starts and ends.
fn replay(
    recovered: &mut Recovered,
    bytes: &Bytes,
    start: usize,
    path: &Path,
    seq: u64,
) -> Result<(usize, usize), WalError> {
    let seed = seq32(seq);
    let (mut at, mut end, mut last_start) = (start, start, 0);
    let mut whole: Vec<(Record, usize)> = Vec::new();
    while let Some(record) = decode_record(bytes, at, seed) {
        if record.batch != recovered.batch.wrapping_add(1) {
            break;
        }
        let (size, last) = (record.size, record.last_of_batch);
        whole.push((record, at));
        at += size;
        if last {
            for (record, at) in whole.drain(..) {
                let position = Position {
                    segment: seed,
                    offset: at as u32,
                    len: record.size as u32,
                };
                recovered
                    .apply(&record.item, position)
                    .map_err(|what| WalError::Order {
                        path: path.to_owned(),
                        offset: at as u64,
                        what,
                    })?;
            }
            recovered.batch = recovered.batch.wrapping_add(1);
            last_start = end;
            end = at;
        }
    }
    Ok((last_start, end))
}

/// True if an intact record of a batch later than `torn` lies behind `from`.
fn find_batch_after(bytes: &Bytes, from: usize, seq: u64, torn: u32) -> bool {
    /// Batches beyond this are not believed, which spares the crc of most garbage.
    const BATCHES_AHEAD_MAX: u32 = 1 << 24;
    // The usual tail is all zeros; skip it fast.
    let Some(end) = bytes.iter().rposition(|byte| *byte != 0) else {
        return false;
    };
    for at in from..=end {
        let Some(batch) = bytes.get(at + 8..at + 12) else {
            return false;
        };
        let batch = u32::from_le_bytes([batch[0], batch[1], batch[2], batch[3]]);
        let ahead = batch.wrapping_sub(torn);
        if ahead == 0 || ahead > BATCHES_AHEAD_MAX {
            continue;
        }
        if decode_record(bytes, at, seq32(seq)).is_some() {
            return true;
        }
    }
    false
}

/// Sequence numbers of the segments from the last gap on, with those before the gap first: an
/// unlink that a crash undid may leave an old one alone. Whether too much is missing is judged by
/// the purged position.
fn segments(disk: &Disk, dir: &Path) -> Result<(Vec<u64>, Vec<u64>), WalError> {
    let io = |source| WalError::Io {
        path: dir.to_owned(),
        source,
    };
    let mut seqs: Vec<u64> = disk
        .list_dir(dir)
        .map_err(io)?
        .iter()
        .filter_map(|name| name.strip_suffix(".wal"))
        .filter(|hex| hex.len() == 16)
        .filter_map(|hex| u64::from_str_radix(hex, 16).ok())
        .filter(|seq| *seq <= SEQ_MAX)
        .collect();
    seqs.sort_unstable();
    let gap = seqs.windows(2).rposition(|pair| pair[0] + 1 != pair[1]);
    let orphans = seqs.drain(..gap.map_or(0, |at| at + 1)).collect();
    Ok((orphans, seqs))
}
