//! The log against a model, on a disk that loses, tears, reorders, fills up and fails.
//!
//! The model knows what was acknowledged and what was tried. After every crash the log must hold
//! the acknowledged state, or one that an unacknowledged batch would have made whole; opening it
//! again must change nothing. `TRIBUNE_SEEDS` sets the number of seeds, `TRIBUNE_SEED` runs one.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_rt::disk::{Disk, Faults, OpenOptions, SimDisk};

use super::record::{HEADER_SIZE_BYTES, SegmentHeader};
use super::{
    Facts, Item, Kind, Position, Recovered, Spot, VoteRecord, Wal, WalError, WriteError,
    decode_entry,
};

/// Small, so that segments roll often; some records need more than one segment's worth.
const SEGMENT: u64 = 2048;

fn dir() -> PathBuf {
    PathBuf::from("/data/raft/log")
}

/// The slow obvious log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    first: u64,
    entries: Vec<(u64, Bytes)>,
    facts: Facts,
}

impl Model {
    fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    fn apply(&mut self, item: &Item) {
        match item {
            Item::Entry { term, payload, .. } => self.entries.push((*term, payload.clone())),
            Item::Truncate { next } => {
                self.first = self.first.min(*next);
                self.entries.truncate((next - self.first) as usize);
            }
            Item::Purge(spot) => {
                let gone = (spot.index + 1)
                    .saturating_sub(self.first)
                    .min(self.entries.len() as u64);
                self.entries.drain(..gone as usize);
                self.first = self.first.max(spot.index + 1);
                self.facts.purged = Some(*spot);
            }
            Item::Vote(vote) => self.facts.vote = Some(*vote),
            Item::Committed(spot) => self.facts.committed = Some(*spot),
        }
    }
}

/// What the files say, read through the positions.
fn contents(disk: &Disk, recovered: &Recovered) -> Model {
    let entries = recovered.positions.iter().enumerate().map(|(i, position)| {
        let index = recovered.first_index + i as u64;
        let file = Wal::open_segment(disk, &dir(), position.segment).unwrap();
        let mut bytes = vec![0; position.len as usize];
        file.read_exact_at(&mut bytes, u64::from(position.offset))
            .unwrap();
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
    Model {
        first: recovered.first_index,
        entries: entries.collect(),
        facts: recovered.facts,
    }
}

fn random_items(rng: &mut SmallRng, from: &Model, term: &mut u64) -> Vec<Item> {
    let mut state = from.clone();
    let mut items = Vec::new();
    for _ in 0..rng.random_range(1..=6) {
        let item = match rng.random_range(0..20) {
            0 if state.next() > 0 => {
                *term += 1;
                let next = rng.random_range(
                    state.facts.purged.map_or(0, |spot| spot.index + 1)..=state.next(),
                );
                Item::Truncate { next }
            }
            1 if state.next() > 0 => {
                let beyond = if rng.random_bool(0.1) { 3 } else { 0 };
                let low = state.facts.purged.map_or(0, |spot| spot.index);
                Item::Purge(Spot {
                    term: *term,
                    index: rng.random_range(low..state.next().max(low + 1) + beyond),
                })
            }
            2 => {
                *term += 1;
                Item::Vote(VoteRecord {
                    term: *term,
                    node: rng.random(),
                    committed: rng.random(),
                })
            }
            3 => Item::Committed(Spot {
                term: *term,
                index: rng.random_range(0..100),
            }),
            roll => {
                let len = match roll {
                    4 => rng.random_range(0..3000),
                    5..8 => 0,
                    _ => rng.random_range(0..200),
                };
                let payload: Vec<u8> = (0..len)
                    .map(|_| {
                        if rng.random_bool(0.3) {
                            0
                        } else {
                            rng.random()
                        }
                    })
                    .collect();
                Item::Entry {
                    index: state.next(),
                    term: *term,
                    kind: Kind::Normal,
                    payload: payload.into(),
                }
            }
        };
        state.apply(&item);
        items.push(item);
    }
    items
}

fn random_faults(rng: &mut SmallRng) -> Faults {
    match rng.random_range(0..8) {
        0 => Faults {
            fail_after: Some(rng.random_range(1..12)),
            ..Faults::default()
        },
        1 => Faults {
            fail_sync_after: Some(rng.random_range(1..8)),
            ..Faults::default()
        },
        2 => Faults {
            space_left: Some(rng.random_range(0..6000)),
            ..Faults::default()
        },
        3 => Faults {
            fail_per_million: 30_000,
            ..Faults::default()
        },
        _ => Faults::default(),
    }
}

/// One life of one disk: several runs of the log with a crash (or a clean end) between them.
fn live(seed: u64) {
    let mut rng = SmallRng::seed_from_u64(seed);
    let sim = SimDisk::new(seed);
    let disk = Disk::sim(sim.clone());
    let mut acked = Model::default();
    let mut term = 1;
    // States that an unacknowledged batch may have left, besides `acked`.
    let mut maybe: Vec<Model> = Vec::new();
    for _ in 0..rng.random_range(2..6) {
        let opened = Wal::open(&disk, &dir(), SEGMENT);
        let (mut wal, recovered) = opened.unwrap_or_else(|err| panic!("seed {seed}: {err}"));
        let found = contents(&disk, &recovered);
        assert!(
            found == acked || maybe.contains(&found),
            "seed {seed}\nfound {found:#?}\nwanted {acked:#?}"
        );
        acked = found;
        maybe.clear();
        sim.set_faults(random_faults(&mut rng));
        for _ in 0..rng.random_range(0..12) {
            let mut items = random_items(&mut rng, &acked, &mut term);
            let mut positions = Vec::new();
            while !items.is_empty() {
                let res = wal.write(&items, &mut positions);
                match res {
                    Ok(()) => {
                        items.iter().for_each(|item| acked.apply(item));
                        items.clear();
                    }
                    Err(WriteError::Full { done, .. }) => {
                        items.drain(..done).for_each(|item| acked.apply(&item));
                        if rng.random_bool(0.5) {
                            break;
                        }
                        sim.set_faults(Faults::default());
                    }
                    Err(WriteError::Poisoned(_)) => {
                        assert!(matches!(
                            wal.write(&items, &mut positions),
                            Err(WriteError::Poisoned(_))
                        ));
                        break;
                    }
                }
            }
            if !items.is_empty() {
                // Segments divide a batch: any prefix of the rest may be there.
                let mut state = acked.clone();
                maybe = items
                    .iter()
                    .map(|item| {
                        state.apply(item);
                        state.clone()
                    })
                    .collect();
                break;
            }
            if rng.random_bool(0.3) {
                wal.drop_purged();
            }
        }
        sim.set_faults(Faults::default());
        if rng.random_bool(0.8) {
            sim.crash();
        }
        if rng.random_bool(0.3) {
            // A machine that dies again and again while it recovers.
            sim.set_faults(Faults {
                fail_after: Some(rng.random_range(1..6)),
                ..Faults::default()
            });
            drop(Wal::open(&disk, &dir(), SEGMENT));
            sim.crash();
        }
        let first =
            Wal::open(&disk, &dir(), SEGMENT).map(|(_, recovered)| contents(&disk, &recovered));
        let again =
            Wal::open(&disk, &dir(), SEGMENT).map(|(_, recovered)| contents(&disk, &recovered));
        assert_eq!(
            first.unwrap_or_else(|err| panic!("seed {seed}: {err}")),
            again.unwrap(),
            "seed {seed}"
        );
    }
}

#[test]
fn no_acknowledged_write_is_lost_and_no_half_written_batch_accepted() {
    if let Some(seed) = std::env::var("TRIBUNE_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
    {
        return live(seed);
    }
    let count = std::env::var("TRIBUNE_SEEDS")
        .ok()
        .and_then(|count| count.parse().ok())
        .unwrap_or(1000);
    for seed in 0..count {
        let done = std::panic::catch_unwind(|| live(seed));
        assert!(
            done.is_ok(),
            "replay with TRIBUNE_SEED={seed} cargo test -p tribune-raft wal::"
        );
    }
}

fn entry(index: u64, len: usize) -> Item {
    Item::Entry {
        index,
        term: 1,
        kind: Kind::Normal,
        payload: vec![index as u8 + 1; len].into(),
    }
}

fn filled(count: u64, len: usize) -> (SimDisk, Disk, Vec<Position>) {
    let sim = SimDisk::new(1);
    let disk = Disk::sim(sim.clone());
    let (mut wal, _) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    let mut positions = Vec::new();
    for index in 0..count {
        wal.write(&[entry(index, len)], &mut positions).unwrap();
    }
    (sim, disk, positions)
}

fn open_error(disk: &Disk) -> WalError {
    Wal::open(disk, &dir(), SEGMENT)
        .map(|_| ())
        .expect_err("it must refuse")
}

fn path(segment: u32) -> PathBuf {
    super::segment_path(&dir(), u64::from(segment))
}

#[test]
fn a_damaged_record_with_synced_data_behind_it_refuses_to_open() {
    // 30 records of 129 bytes: two full segments and a third begun.
    for victim in 0..29 {
        let (sim, disk, positions) = filled(30, 100);
        let position = positions[victim];
        for offset in [0, 4, 8, 12, 13, 28, 29, 100] {
            sim.flip_byte(&path(position.segment), position.offset as usize + offset)
                .unwrap();
            let err = open_error(&disk);
            assert!(
                matches!(err, WalError::Damaged { .. }),
                "{victim} {offset}: {err}"
            );
            sim.flip_byte(&path(position.segment), position.offset as usize + offset)
                .unwrap();
        }
        assert_eq!(
            Wal::open(&disk, &dir(), SEGMENT).unwrap().1.positions.len(),
            30
        );
    }
}

#[test]
fn a_damaged_segment_header_refuses_to_open() {
    for segment in 1..=3 {
        for offset in [0, 8, 16, 24, 32, 36, 40] {
            let (sim, disk, _) = filled(34, 100);
            sim.flip_byte(&path(segment), offset).unwrap();
            assert!(
                matches!(open_error(&disk), WalError::Damaged { .. }),
                "{segment} {offset}"
            );
        }
    }
}

/// Begins the next segment as a crash would leave it: a name, and nothing written.
fn begin_segment(disk: &Disk, segment: u32) {
    let path = path(segment);
    let file = disk.open(&path, OpenOptions::CREATE_NEW).unwrap();
    file.set_len(SEGMENT).unwrap();
}

#[test]
fn damage_is_found_also_when_the_next_segment_was_just_begun() {
    let (sim, disk, _) = filled(12, 100);
    let last = disk.list_dir(&dir()).unwrap().len() as u32;
    let (_, recovered) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    assert_eq!(recovered.next_index(), 12);
    let hurt = recovered.positions[10];
    assert_eq!(
        hurt.segment, last,
        "the entry lies in the last segment, with another behind it"
    );
    sim.flip_byte(&path(last), hurt.offset as usize + 40)
        .unwrap();
    begin_segment(&disk, last + 1);
    for attempt in 1..=2 {
        assert!(
            matches!(open_error(&disk), WalError::Damaged { .. }),
            "attempt {attempt}"
        );
    }
    assert!(
        disk.exists(&path(last + 1)),
        "a log that does not open is left as it is"
    );
}

#[test]
fn a_fact_that_reaches_beyond_its_header_is_none() {
    let disk = Disk::sim(SimDisk::new(1));
    disk.create_dir_all(&dir()).unwrap();
    let mut head = Vec::new();
    let header = SegmentHeader {
        seq: 1,
        next_index: 0,
        prev_end: 0,
        batch: 1,
    };
    header.encode(&mut head, &[Item::Purge(Spot { term: 1, index: 5 })]);
    // The zeros of the allocated file would complete the record again.
    head.truncate(head.len() - 7);
    let facts = (head.len() - HEADER_SIZE_BYTES) as u32;
    head[36..40].copy_from_slice(&facts.to_le_bytes());
    let mut hasher = crc32fast::Hasher::new_with_initial(0x5472_6962);
    hasher.update(&head[..40]);
    hasher.update(&head[HEADER_SIZE_BYTES..]);
    head[40..44].copy_from_slice(&hasher.finalize().to_le_bytes());
    let file = disk.open(&path(1), OpenOptions::CREATE_NEW).unwrap();
    file.write_all_at(&head, 0).unwrap();
    for attempt in 1..=2 {
        let (_, recovered) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
        assert_eq!(recovered.facts.purged, None, "attempt {attempt}");
    }
}

#[test]
fn an_index_that_nobody_reaches_is_no_record() {
    let (_, disk, _) = filled(1, 10);
    let (mut wal, _) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    let far = Spot {
        term: 1,
        index: u64::MAX,
    };
    wal.write(&[Item::Committed(far)], &mut Vec::new()).unwrap();
    drop(wal);
    let (_, recovered) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    assert_eq!(
        (recovered.next_index(), recovered.facts.committed),
        (1, None)
    );
}

#[test]
fn a_missing_segment_refuses_to_open_unless_everything_in_it_was_purged() {
    let (_, disk, _) = filled(40, 100);
    disk.remove_file(&path(2)).unwrap();
    assert!(matches!(open_error(&disk), WalError::Missing { .. }));

    let (_, disk, _) = filled(40, 100);
    let (mut wal, recovered) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    let start_of_third = recovered
        .positions
        .iter()
        .position(|position| position.segment == 3)
        .unwrap() as u64;
    wal.write(
        &[Item::Purge(Spot {
            term: 1,
            index: start_of_third,
        })],
        &mut Vec::new(),
    )
    .unwrap();
    disk.remove_file(&path(2)).unwrap();
    let (_, recovered) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    assert_eq!(
        (recovered.first_index, recovered.next_index()),
        (start_of_third + 1, 40)
    );
    assert!(
        !disk.exists(&path(1)),
        "what lies before the gap is of no use"
    );
}

#[test]
fn purged_segments_are_unlinked_and_the_vote_survives_them() {
    let (_, disk, _) = filled(1, 10);
    let (mut wal, _) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    let vote = VoteRecord {
        term: 7,
        node: [3; 16],
        committed: true,
    };
    let mut positions = Vec::new();
    wal.write(&[Item::Vote(vote)], &mut positions).unwrap();
    for index in 1..100 {
        wal.write(&[entry(index, 100)], &mut positions).unwrap();
    }
    wal.write(&[Item::Purge(Spot { term: 1, index: 97 })], &mut positions)
        .unwrap();
    assert!(wal.drop_purged().len() >= 5);
    drop(wal);
    assert!(disk.list_dir(&dir()).unwrap().len() <= 2);
    let (_, recovered) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
    assert_eq!(recovered.facts.vote, Some(vote));
    assert_eq!((recovered.first_index, recovered.next_index()), (98, 100));
}

#[test]
fn one_batch_is_one_sync() {
    let (sim, disk, _) = filled(1, 10);
    let (mut wal, _) = Wal::open(&disk, &dir(), 1 << 20).unwrap();
    let before = sim.sync_count();
    let items: Vec<Item> = (1..65).map(|index| entry(index, 100)).collect();
    wal.write(&items, &mut Vec::new()).unwrap();
    assert_eq!(sim.sync_count() - before, 1);
}

#[test]
fn random_bytes_are_never_a_log() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let disk = Disk::sim(SimDisk::new(seed));
        disk.create_dir_all(&dir()).unwrap();
        // A valid beginning in half of the cases.
        let len = rng.random_range(0..4096);
        let garbage: Vec<u8> = (0..len).map(|_| rng.random()).collect();
        let at = if rng.random() {
            let (mut wal, _) = Wal::open(&disk, &dir(), SEGMENT).unwrap();
            wal.write(&[entry(0, 50)], &mut Vec::new()).unwrap();
            wal.active.offset
        } else {
            0
        };
        let options = OpenOptions {
            create: true,
            ..OpenOptions::WRITE
        };
        disk.open(&path(1), options)
            .unwrap()
            .write_all_at(&garbage, at)
            .unwrap();
        if let Ok((_, recovered)) = Wal::open(&disk, &dir(), SEGMENT) {
            assert_eq!(
                recovered.positions.len(),
                usize::from(at > 0),
                "seed {seed}"
            );
        }
    }
}

#[test]
fn a_log_on_a_real_disk_reads_back() {
    let temp = tempfile::tempdir().unwrap();
    let (disk, dir): (Disk, &Path) = (Disk::real(), temp.path());
    let mut positions = Vec::new();
    let (mut wal, _) = Wal::open(&disk, dir, SEGMENT).unwrap();
    for index in 0..50 {
        wal.write(&[entry(index, 100)], &mut positions).unwrap();
    }
    drop(wal);
    let (_, recovered) = Wal::open(&disk, dir, SEGMENT).unwrap();
    assert_eq!(Vec::from(recovered.positions), positions);
}
