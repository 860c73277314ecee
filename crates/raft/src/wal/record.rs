//! Bytes of the log: segment headers and records. The layout is drawn in the parent module.

use bytes::Bytes;
use crc32fast::Hasher;

use super::{INDEX_MAX, Item, PAYLOAD_SIZE_MAX, Spot, VoteRecord, seq32};

const MAGIC: &[u8; 8] = b"TRBWAL\x00\x01";
/// A segment's header without the facts behind it.
pub(super) const HEADER_SIZE_BYTES: usize = 44;
/// Everything of a record but its payload.
pub(crate) const RECORD_OVERHEAD_BYTES: usize = 29;
/// Payload of a vote: node 16, committed 1.
pub(super) const VOTE_SIZE_BYTES: usize = 17;
/// Set in `kind` of the last record of a batch.
const LAST: u8 = 0x80;
/// Keeps the crc of an all-zero record from being zero.
const SEED: u32 = 0x5472_6962;

/// Kinds of log entry; the payload of each is opaque here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    /// A command for the machine.
    Normal = 1,
    /// Nothing; a new leader's first entry.
    Blank = 2,
    /// A membership.
    Membership = 3,
}

const KIND_VOTE: u8 = 16;
const KIND_COMMITTED: u8 = 17;
const KIND_TRUNCATE: u8 = 18;
const KIND_PURGE: u8 = 19;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) seq: u64,
    /// Index of the first entry that may follow.
    pub(super) next_index: u64,
    /// Where the previous segment ended.
    pub(super) prev_end: u64,
    /// Batch of the restated facts.
    pub(super) batch: u32,
}

impl SegmentHeader {
    /// The header with the records that restate the facts. They are one unit: without all of
    /// them intact the segment does not exist.
    pub(super) fn encode(&self, out: &mut Vec<u8>, facts: &[Item]) {
        let mut records = Vec::new();
        for (i, item) in facts.iter().enumerate() {
            encode_record(
                &mut records,
                seq32(self.seq),
                self.batch,
                i + 1 == facts.len(),
                item,
            );
        }
        let start = out.len();
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.seq.to_le_bytes());
        out.extend_from_slice(&self.next_index.to_le_bytes());
        out.extend_from_slice(&self.prev_end.to_le_bytes());
        out.extend_from_slice(&self.batch.to_le_bytes());
        out.extend_from_slice(&(records.len() as u32).to_le_bytes());
        let mut hasher = Hasher::new_with_initial(SEED);
        hasher.update(&out[start..]);
        hasher.update(&records);
        out.extend_from_slice(&hasher.finalize().to_le_bytes());
        out.extend_from_slice(&records);
    }

    /// The header and where the first record of a batch may start. `None` for anything that is
    /// not whole and intact.
    pub(super) fn decode(bytes: &[u8]) -> Option<(Self, usize)> {
        let head = bytes.get(..HEADER_SIZE_BYTES)?;
        let end = HEADER_SIZE_BYTES.checked_add(u32_at(head, 36) as usize)?;
        let facts = bytes.get(HEADER_SIZE_BYTES..end)?;
        let mut hasher = Hasher::new_with_initial(SEED);
        hasher.update(&head[..40]);
        hasher.update(facts);
        if &head[..8] != MAGIC || u32_at(head, 40) != hasher.finalize() {
            return None;
        }
        let header = Self {
            seq: u64_at(head, 8),
            next_index: u64_at(head, 16),
            prev_end: u64_at(head, 24),
            batch: u32_at(head, 32),
        };
        (header.next_index <= INDEX_MAX).then_some((header, end))
    }
}

/// One intact record.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) item: Item,
    pub(super) batch: u32,
    pub(super) last_of_batch: bool,
    /// Length of the whole record.
    pub(super) size: usize,
}

fn record_crc(seed: u32, record: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(SEED ^ seed);
    hasher.update(&record[..4]);
    hasher.update(&record[8..]);
    hasher.finalize()
}

/// Four bytes that the caller has checked to be there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(out)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut out = [0; 8];
    out.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(out)
}

pub(super) fn encode_record(out: &mut Vec<u8>, seed: u32, batch: u32, last: bool, item: &Item) {
    let mut vote_bytes = [0; VOTE_SIZE_BYTES];
    let (kind, index, term, payload): (u8, u64, u64, &[u8]) = match item {
        Item::Entry {
            index,
            term,
            kind,
            payload,
        } => (*kind as u8, *index, *term, payload),
        Item::Truncate { next } => (KIND_TRUNCATE, *next, 0, &[]),
        Item::Purge(spot) => (KIND_PURGE, spot.index, spot.term, &[]),
        Item::Committed(spot) => (KIND_COMMITTED, spot.index, spot.term, &[]),
        Item::Vote(vote) => {
            vote_bytes[..16].copy_from_slice(&vote.node);
            vote_bytes[16] = u8::from(vote.committed);
            (KIND_VOTE, 0, vote.term, &vote_bytes)
        }
    };
    let start = out.len();
    // Longer payloads are refused where they are proposed.
    debug_assert!(payload.len() <= PAYLOAD_SIZE_MAX);
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&batch.to_le_bytes());
    out.push(if last { kind | LAST } else { kind });
    out.extend_from_slice(&index.to_le_bytes());
    out.extend_from_slice(&term.to_le_bytes());
    out.extend_from_slice(payload);
    let crc = record_crc(seed, &out[start..]);
    out[start + 4..start + 8].copy_from_slice(&crc.to_le_bytes());
}

/// The record at the start of `bytes`, or `None` if there is no intact one.
pub(super) fn decode_record(bytes: &Bytes, at: usize, seed: u32) -> Option<Record> {
    let rest = bytes.get(at..)?;
    if rest.len() < RECORD_OVERHEAD_BYTES {
        return None;
    }
    let len = u32_at(rest, 0) as usize;
    let size = RECORD_OVERHEAD_BYTES + len;
    let kind = rest[12] & !LAST;
    let known = matches!(kind, 1..=3 | KIND_VOTE..=KIND_PURGE);
    if len > PAYLOAD_SIZE_MAX || size > rest.len() || !known {
        return None;
    }
    if record_crc(seed, &rest[..size]) != u32_at(rest, 4) {
        return None;
    }
    let (index, term) = (u64_at(rest, 13), u64_at(rest, 21));
    if index >= INDEX_MAX {
        return None;
    }
    let payload = &rest[RECORD_OVERHEAD_BYTES..size];
    let entry = |kind| Item::Entry {
        index,
        term,
        kind,
        payload: bytes.slice(at + RECORD_OVERHEAD_BYTES..at + size),
    };
    let item = match kind {
        1 => entry(Kind::Normal),
        2 => entry(Kind::Blank),
        3 => entry(Kind::Membership),
        KIND_TRUNCATE => Item::Truncate { next: index },
        KIND_PURGE => Item::Purge(Spot { term, index }),
        KIND_COMMITTED => Item::Committed(Spot { term, index }),
        _ => {
            let mut node = [0; 16];
            node.copy_from_slice(payload.get(..16)?);
            Item::Vote(VoteRecord {
                term,
                node,
                committed: *payload.get(16)? != 0,
            })
        }
    };
    Some(Record {
        item,
        batch: u32_at(rest, 8),
        last_of_batch: rest[12] & LAST != 0,
        size,
    })
}

/// An entry read back from its position; `None` when it is not there intact.
pub(crate) fn decode_entry(bytes: &Bytes, at: usize, segment: u32) -> Option<Item> {
    decode_record(bytes, at, segment)
        .map(|record| record.item)
        .filter(|item| matches!(item, Item::Entry { .. }))
}

/// Makes a header's marks and checksum right, and those of the records in it, for what stands there. Returns where
/// records may start. The segment must have room for a header.
#[cfg(fuzzing)]
pub(super) fn repair_header(segment: &mut [u8], seq: u64) -> usize {
    let facts = (u32_at(segment, 36) as usize).min(segment.len() - HEADER_SIZE_BYTES);
    let end = HEADER_SIZE_BYTES + facts;
    segment[..8].copy_from_slice(MAGIC);
    segment[8..16].copy_from_slice(&seq.to_le_bytes());
    segment[36..40].copy_from_slice(&(facts as u32).to_le_bytes());
    repair_records(&mut segment[HEADER_SIZE_BYTES..end], seq);
    let mut hasher = Hasher::new_with_initial(SEED);
    hasher.update(&segment[..40]);
    hasher.update(&segment[HEADER_SIZE_BYTES..end]);
    let crc = hasher.finalize();
    segment[40..HEADER_SIZE_BYTES].copy_from_slice(&crc.to_le_bytes());
    end
}

/// Makes the checksums of records right that follow one another from the start.
#[cfg(fuzzing)]
pub(super) fn repair_records(mut rest: &mut [u8], seq: u64) {
    while rest.len() >= RECORD_OVERHEAD_BYTES {
        let size = RECORD_OVERHEAD_BYTES + u32_at(rest, 0) as usize;
        if size > rest.len() {
            return;
        }
        let crc = record_crc(seq32(seq), &rest[..size]);
        rest[4..8].copy_from_slice(&crc.to_le_bytes());
        rest = &mut rest[size..];
    }
}
