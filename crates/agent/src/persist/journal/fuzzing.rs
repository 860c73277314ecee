//! What the fuzz target of the journal needs to reach; built with `cfg(fuzzing)` only.
//!
//! In: two files of any bytes. [`check_recovery`] panics when the journal breaks a promise: it panics itself, gives
//! something else when the start before could not restore, leads out of the data folder, or loses what is appended.

use std::cell::RefCell;

use tribune_rt::disk::SimDisk;

use super::*;

const ROOT: &str = "/data";
const SIZES: Sizes = Sizes {
    initial: 1024,
    step: 512,
    checkpoint: 1 << 20,
    max: 1 << 21,
};

/// A whole file; `None` if there is none.
pub type JournalFile = Option<Vec<u8>>;

/// A file with these records, whose checksums are made right if wanted.
pub fn file(records: &[u8], seal: bool) -> Vec<u8> {
    let mut bytes = vec![0; HEAD_SIZE];
    bytes[..MAGIC.len()].copy_from_slice(MAGIC);
    bytes.extend_from_slice(records);
    if seal {
        repair(&mut bytes[HEAD_SIZE..]);
    }
    bytes
}

fn repair(mut rest: &mut [u8]) {
    while let Some((head, behind)) = rest.split_first_chunk_mut::<RECORD_HEAD_SIZE>() {
        let Some((body, next)) = behind.split_at_mut_checked(u32_at(head, 0) as usize) else {
            return;
        };
        let crc = checksum(head, body);
        head[4..8].copy_from_slice(&crc.to_le_bytes());
        rest = next;
    }
}

/// Puts the files on a disk and checks what the journal promises.
///
/// # Panics
/// When it breaks a promise.
pub fn check_recovery(files: &[JournalFile; 2]) {
    let sim = SimDisk::new(1);
    let disk = Disk::sim(sim.clone());
    let root = Path::new(ROOT);
    disk.create_dir_all(root).expect("a new disk works");
    for (number, bytes) in files.iter().enumerate() {
        if let Some(bytes) = bytes {
            let path = root.join(format!("local.journal.{number}"));
            disk.write_atomic(&path, bytes, FILE_MODE, 0)
                .expect("a new disk works");
        }
    }

    // The first start finds something and cannot restore it, or finds the journal unusable.
    let first = RefCell::default();
    let failed = Journal::open(&disk, root, SIZES, |ops| {
        *first.borrow_mut() = Some(ops);
        Err(io::Error::other("no"))
    });
    assert!(failed.is_err(), "an error of restoring is one of opening");
    let Some(first) = first.into_inner() else {
        assert!(open(&disk).is_err(), "an error stays");
        return;
    };
    for op in &first {
        let below = op.path().strip_prefix(root).expect("below the data folder");
        let plain = |part| matches!(part, Component::Normal(_));
        assert!(below.components().all(plain) && below.file_name().is_some());
    }
    sim.crash();
    let (mut journal, second) = open(&disk).expect("what was opened opens again");
    assert_eq!(second, first, "what was not restored is found again");

    if journal.next + 2 > NUMBER_MAX {
        // The next start would refuse it, 2^30 starts after the first.
        return;
    }
    let ops = [
        FileOp::Write(root.join("a/b"), Bytes::from_static(b"1")),
        FileOp::Remove(root.join("c")),
    ];
    for op in &ops {
        journal.append([op]).expect("there is room");
    }
    drop(journal);
    sim.crash();
    let (_, third) = open(&disk).expect("what was appended to opens again");
    assert_eq!(third, ops, "what was appended is found, and nothing else");
}

fn open(disk: &Disk) -> Result<(Journal, Vec<FileOp>), JournalError> {
    let found = RefCell::default();
    let journal = Journal::open(disk, Path::new(ROOT), SIZES, |ops| {
        *found.borrow_mut() = ops;
        Ok(())
    })?;
    Ok((journal, found.into_inner()))
}

/// Journals that were really written: one that was just begun, one with records in both files.
///
/// # Panics
/// When the journal does not work at all.
pub fn sample() -> Vec<[JournalFile; 2]> {
    [0, 1, 3].map(written).into()
}

fn written(turns: u64) -> [JournalFile; 2] {
    let disk = Disk::sim(SimDisk::new(1));
    let root = Path::new(ROOT);
    disk.create_dir_all(root).expect("a new disk works");
    let (mut journal, _) = open(&disk).expect("an empty journal opens");
    for turn in 0..turns {
        let write = FileOp::Write(root.join("services/a"), Bytes::from_static(b"{}"));
        let remove = FileOp::Remove(root.join("checks/state/b"));
        journal.append([&write, &remove]).expect("there is room");
        if turn > 0 {
            let number = journal.turn();
            journal.append([&write]).expect("there is room");
            journal.checkpoint(number).expect("there is room");
        }
    }
    [0, 1].map(|number| {
        let path = root.join(format!("local.journal.{number}"));
        Some(disk.read(&path).expect("it was just written"))
    })
}
