//! What the fuzz target of recovery needs to reach; built with `cfg(fuzzing)` only.
//!
//! In: segments of any bytes. [`check_recovery`] panics when recovery breaks a promise: it panics itself, gives
//! something else the second time or after a crash, or loses what is appended behind it.

use std::path::Path;

use bytes::Bytes;
use tribune_rt::disk::{Disk, OpenOptions, SimDisk};

use super::record::{HEADER_SIZE_BYTES, repair_header, repair_records};
use super::{
    Facts, INDEX_MAX, Item, Kind, Recovered, SEQ_MAX, Spot, VoteRecord, Wal, decode_entry,
    segment_path,
};

/// Small, so that an append behind what was recovered may need a new segment.
const SEGMENT_SIZE_BYTES: u64 = 512;
const DIR: &str = "/log";

/// A sequence number and bytes.
pub type Segment = (u64, Vec<u8>);

/// Makes the checksums right that stand where some are expected, so that recovery looks at what they cover.
pub fn seal(segment: &mut [u8], seq: u64) {
    if segment.len() >= HEADER_SIZE_BYTES {
        let start = repair_header(segment, seq);
        repair_records(&mut segment[start..], seq);
    }
}

/// Puts the segments on a disk and checks what recovery promises.
///
/// # Panics
/// When it breaks a promise.
pub fn check_recovery(segments: &[Segment]) {
    let sim = SimDisk::new(1);
    let disk = Disk::sim(sim.clone());
    let dir = Path::new(DIR);
    disk.create_dir_all(dir).expect("a new disk works");
    for (seq, bytes) in segments {
        let options = OpenOptions {
            create: true,
            truncate: true,
            ..OpenOptions::WRITE
        };
        let file = disk
            .open(&segment_path(dir, *seq), options)
            .expect("a new disk works");
        file.write_all_at(bytes, 0).expect("a new disk works");
        file.sync_data().expect("a new disk works");
    }
    disk.sync_dir(dir).expect("a new disk works");

    let first = match open(&disk) {
        Ok((_, contents)) => contents,
        Err(error) => {
            let again = open(&disk).map(drop);
            assert_eq!(again, Err(error), "an error stays");
            return;
        }
    };
    sim.crash();
    let (mut wal, second) = open(&disk).expect("what was opened opens again");
    assert_eq!(second, first, "nothing changes by opening");

    let next = Contents::next(&second);
    if next == INDEX_MAX || second.active == SEQ_MAX {
        return;
    }
    let entry = Item::Entry {
        index: next,
        term: u64::MAX,
        kind: Kind::Normal,
        payload: Bytes::from_static(&[7; 100]),
    };
    wal.write(&[entry], &mut Vec::new()).expect("there is room");
    drop(wal);
    sim.crash();
    let (_, mut third) = open(&disk).expect("what was appended to opens again");
    assert_eq!(
        third.entries.pop(),
        Some((u64::MAX, Bytes::from_static(&[7; 100])))
    );
    assert_eq!(
        (third.first, third.entries, third.facts),
        (second.first, second.entries, second.facts)
    );
}

/// Logs that were really written: a short one, one of several segments, one with all kinds of records.
///
/// # Panics
/// When the log does not work at all.
pub fn sample() -> Vec<Vec<Segment>> {
    let entry = |index: u64, term, size: usize| Item::Entry {
        index,
        term,
        kind: Kind::Normal,
        payload: vec![b'x'; size].into(),
    };
    let spot = |term, index| Spot { term, index };
    let vote = Item::Vote(VoteRecord {
        term: 2,
        node: [9; 16],
        committed: true,
    });
    let blank = Item::Entry {
        index: 0,
        term: 1,
        kind: Kind::Blank,
        payload: Bytes::new(),
    };
    let short = vec![vec![blank.clone()], vec![entry(1, 1, 5)]];
    let long = (0..12)
        .map(|index| vec![entry(2 * index, 1, 40), entry(2 * index + 1, 1, 0)])
        .collect();
    let mixed = vec![
        vec![vote.clone(), blank],
        vec![
            entry(1, 1, 10),
            entry(2, 1, 10),
            Item::Committed(spot(1, 1)),
        ],
        vec![Item::Truncate { next: 2 }, entry(2, 2, 3)],
        vec![Item::Purge(spot(1, 1))],
        vec![entry(3, 2, 300)],
        vec![entry(4, 3, 300), vote],
        vec![Item::Purge(spot(9, 9))],
    ];
    [short, long, mixed].into_iter().map(written).collect()
}

fn written(batches: Vec<Vec<Item>>) -> Vec<Segment> {
    let disk = Disk::sim(SimDisk::new(1));
    let (mut wal, _) =
        Wal::open(&disk, Path::new(DIR), SEGMENT_SIZE_BYTES).expect("an empty log opens");
    for batch in batches {
        wal.write(&batch, &mut Vec::new()).expect("there is room");
    }
    let read = |seq: &u64| {
        (
            *seq,
            disk.read(&segment_path(Path::new(DIR), *seq))
                .expect("it was just written"),
        )
    };
    wal.starts.keys().map(read).collect()
}

/// What a log says, independent of where it lies.
#[derive(Debug, PartialEq)]
struct Contents {
    first: u64,
    entries: Vec<(u64, Bytes)>,
    facts: Facts,
    active: u64,
}

impl Contents {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }
}

fn open(disk: &Disk) -> Result<(Wal, Contents), String> {
    let dir = Path::new(DIR);
    let (wal, recovered) =
        Wal::open(disk, dir, SEGMENT_SIZE_BYTES).map_err(|err| err.to_string())?;
    let Recovered {
        facts,
        first_index,
        positions,
        ..
    } = recovered;
    let entries = positions
        .iter()
        .zip(first_index..)
        .map(|(position, index)| {
            let file = Wal::open_segment(disk, dir, position.segment)
                .expect("a segment of an entry is there");
            let mut bytes = vec![0; position.len as usize];
            file.read_exact_at(&mut bytes, u64::from(position.offset))
                .expect("an entry is there");
            match decode_entry(&Bytes::from(bytes), 0, position.segment) {
                Some(Item::Entry {
                    index: found,
                    term,
                    payload,
                    ..
                }) if found == index => (term, payload),
                other => panic!("entry {index} reads as {other:?}"),
            }
        });
    let contents = Contents {
        first: first_index,
        entries: entries.collect(),
        facts,
        active: wal.active.seq,
    };
    Ok((wal, contents))
}
