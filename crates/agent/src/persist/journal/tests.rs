//! What a journal gives back, and what it refuses. Crashes are the business of the tests of `files`.

use std::cell::RefCell;

use tribune_rt::disk::SimDisk;

use super::*;

const ROOT: &str = "/data";
const SIZES: Sizes = Sizes {
    initial: 1024,
    step: 512,
    checkpoint: 1 << 20,
    max: 4096,
};

fn disk() -> (SimDisk, Disk) {
    let sim = SimDisk::new(1);
    let disk = Disk::sim(sim.clone());
    disk.create_dir_all(Path::new(ROOT)).unwrap();
    (sim, disk)
}

fn open(disk: &Disk) -> Result<(Journal, Vec<FileOp>), JournalError> {
    let found = RefCell::default();
    let journal = Journal::open(disk, Path::new(ROOT), SIZES, |ops| {
        *found.borrow_mut() = ops;
        Ok(())
    })?;
    Ok((journal, found.into_inner()))
}

fn write(name: &str, content: &str) -> FileOp {
    FileOp::Write(
        Path::new(ROOT).join(name),
        Bytes::copy_from_slice(content.as_bytes()),
    )
}

fn remove(name: &str) -> FileOp {
    FileOp::Remove(Path::new(ROOT).join(name))
}

#[test]
fn what_was_appended_is_found_once_in_its_order() {
    let (_, disk) = disk();
    let ops = [write("a/b", "1"), remove("a/b"), write("c", "")];
    let (mut journal, found) = open(&disk).unwrap();
    assert_eq!(found, []);
    journal.append(&ops[..1]).unwrap();
    journal.append(&ops[1..]).unwrap();
    assert_eq!(open(&disk).unwrap().1, ops);
    assert_eq!(open(&disk).unwrap().1, [], "restored by the start before");
}

#[test]
fn what_is_checkpointed_is_not_found_again_and_the_rest_is_found_over_both_files() {
    let (_, disk) = disk();
    let (mut journal, _) = open(&disk).unwrap();
    journal.append(&[write("a", "1")]).unwrap();
    let number = journal.turn();
    journal.append(&[write("b", "2")]).unwrap();
    drop(journal);
    // The checkpoint never came.
    let (mut journal, found) = open(&disk).unwrap();
    assert_eq!(found, [write("a", "1"), write("b", "2")]);
    journal.append(&[write("a", "3")]).unwrap();
    assert!(journal.turn() > number);
    journal.append(&[write("b", "4")]).unwrap();
    let last = journal.next - 2;
    journal.checkpoint(last).unwrap();
    drop(journal);
    assert_eq!(open(&disk).unwrap().1, [write("b", "4")]);
}

#[test]
fn a_torn_record_ends_the_journal_and_damage_is_no_panic() {
    for offset in 0..300 {
        let (sim, disk) = disk();
        let (mut journal, _) = open(&disk).unwrap();
        let path = Path::new(ROOT).join(format!("local.journal.{}", journal.active));
        let start = journal.halves[journal.active].end as usize;
        let ops = [write("a", &"x".repeat(100)), write("b", &"y".repeat(200))];
        journal.append(&ops[..1]).unwrap();
        journal.append(&ops[1..]).unwrap();
        drop(journal);
        sim.flip_byte(&path, start + offset).unwrap();
        let found = open(&disk).unwrap().1;
        let first = RECORD_HEAD_SIZE + 1 + 2 + 1 + 4 + 100;
        let want = if offset < first { 0 } else { 1 };
        assert_eq!(found, ops[..want], "byte {offset}");
    }
}

#[test]
fn records_of_others_are_refused_and_paths_do_not_leave_the_data_folder() {
    let root = Path::new(ROOT);
    assert!(encode(&mut Vec::new(), 1, 0, root, [&remove("../x")]).is_ok());
    // (body, readable)
    for (body, want) in [
        (&b""[..], true),
        (b"\x02\x01\0a\0\0\0\0", true),
        (b"\x01\x03\0a/b\x01\0\0\0x", true),
        (b"\x02\x04\0../a\0\0\0\0", false),
        (b"\x02\x02\0/a\0\0\0\0", false),
        (b"\x02\0\0\0\0\0\0", false),
        (b"\x03\x01\0a\0\0\0\0", false),
        (b"\x01\x01\0a\xff\xff\xff\xff", false),
        (b"\x01\xff\xffa\0\0\0\0", false),
        (b"\x01\x01\0\xff\0\0\0\0", false),
        (b"\x01", false),
    ] {
        assert_eq!(decode_ops(body, root).is_some(), want, "{body:?}");
    }
    let elsewhere = FileOp::Remove(PathBuf::from("/etc/passwd"));
    assert!(encode(&mut Vec::new(), 1, 0, root, [&elsewhere]).is_err());
}

#[test]
fn a_file_that_is_no_journal_is_left_alone_and_named() {
    let (_, disk) = disk();
    let path = Path::new(ROOT).join("local.journal.1");
    disk.write_atomic(&path, b"mine", 0o600, 0).unwrap();
    let err = open(&disk).unwrap_err();
    assert_eq!(err.path, "/data/local.journal.1");
    assert_eq!(disk.read(&path).unwrap(), b"mine");
}

#[test]
fn a_full_journal_refuses_and_goes_on_after_its_turn() {
    let (_, disk) = disk();
    let (mut journal, _) = open(&disk).unwrap();
    let big = write("a", &"x".repeat(3000));
    journal.append([&big]).unwrap();
    let err = journal.append([&big]).unwrap_err();
    assert_eq!(err.kind(), io::ErrorKind::StorageFull);
    journal.append(&[write("b", "1")]).unwrap();
    let number = journal.turn();
    journal.checkpoint(number).unwrap();
    journal.append([&big]).unwrap();
    drop(journal);
    assert_eq!(open(&disk).unwrap().1, [big]);
}

#[test]
fn what_an_earlier_turn_left_behind_the_end_is_not_read() {
    let mut bytes = vec![0; HEAD_SIZE];
    for number in [7, 9, 4, 10] {
        let mut record = Vec::new();
        encode(&mut record, number, 0, Path::new(ROOT), [&write("a", "1")]).unwrap();
        bytes.extend(record);
    }
    let numbers: Vec<u64> = scan(&bytes, Path::new(ROOT))
        .unwrap()
        .iter()
        .map(|record| record.number)
        .collect();
    assert_eq!(numbers, [7, 9]);
}

#[test]
fn numbers_that_cannot_be_are_refused_and_hide_nothing() {
    // (number, checkpointed, readable)
    for (number, checkpointed, want) in [
        (1, 0, true),
        (5, 4, true),
        (NUMBER_MAX - (1 << 40), 0, true),
        (5, 5, false),
        (5, u64::MAX, false),
        (NUMBER_MAX + 1, 0, false),
        (u64::MAX, 0, false),
    ] {
        let (_, disk) = disk();
        let mut bytes = vec![0; HEAD_SIZE];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        let mut record = Vec::new();
        let root = Path::new(ROOT);
        encode(&mut record, number, checkpointed, root, [&write("a", "1")]).unwrap();
        bytes.extend(record);
        let path = root.join("local.journal.0");
        disk.write_atomic(&path, &bytes, 0o600, 0).unwrap();
        let opened = open(&disk);
        assert_eq!(opened.is_ok(), want, "{number} {checkpointed}");
        if let Ok((mut journal, _)) = opened {
            journal.append([&write("b", "2")]).unwrap();
            assert_eq!(open(&disk).unwrap().1, [write("b", "2")], "{number}");
        }
    }
}
