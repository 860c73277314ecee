//! The promises of the disk interface, on both backends, and the losses of the simulated one.

use std::path::Path;

use super::{Disk, Faults, OpenOptions, SimDisk};

fn both(test: impl Fn(&Disk, &Path)) {
    let dir = tempfile::tempdir().unwrap();
    test(&Disk::real(), dir.path());
    let disk = Disk::sim(SimDisk::new(1));
    disk.create_dir_all(Path::new("/data")).unwrap();
    test(&disk, Path::new("/data"));
}

#[test]
fn both_backends_answer_alike() {
    both(|disk, dir| {
        let sub = dir.join("a/b");
        disk.create_dir_all(&sub).unwrap();
        disk.create_dir_all(&sub).unwrap();
        let path = sub.join("f");
        assert!(disk.open(&path, OpenOptions::READ).is_err());
        let file = disk.create_allocated(&path, 100).unwrap();
        assert!(disk.open(&path, OpenOptions::CREATE_NEW).is_err());
        assert_eq!(file.len().unwrap(), 100);
        file.write_all_at(b"hello", 98).unwrap();
        file.sync_data().unwrap();
        let mut tail = [0; 10];
        assert_eq!(file.read_at(&mut tail, 97).unwrap(), 6);
        assert_eq!(&tail[..6], b"\0hello");
        assert!(file.read_exact_at(&mut tail, 97).is_err());
        disk.rename(&path, &sub.join("g")).unwrap();
        assert_eq!(disk.list_dir(&sub).unwrap(), ["g"]);
        assert!(!disk.exists(&path));
        disk.write_atomic(&sub.join("g"), b"new", 0o600, 7).unwrap();
        assert_eq!(disk.read(&sub.join("g")).unwrap(), b"new");
        assert_eq!(disk.list_dir(&sub).unwrap(), ["g"]);
        disk.remove_dir_all(&dir.join("a")).unwrap();
        assert!(!disk.exists(&sub));
        assert!(disk.list_dir(&sub).is_err());
        assert!(disk.remove_file(&path).is_err());
    });
}

#[test]
fn synced_bytes_and_names_survive_every_crash() {
    for seed in 0..200 {
        let sim = SimDisk::new(seed);
        let disk = Disk::sim(sim.clone());
        let (dir, path) = (Path::new("/d"), Path::new("/d/f"));
        disk.create_dir_all(dir).unwrap();
        let file = disk.open(path, OpenOptions::CREATE_NEW).unwrap();
        file.write_all_at(&[1; 3000], 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(dir).unwrap();
        file.write_all_at(&[2; 3000], 3000).unwrap();
        sim.crash();
        assert!(
            file.write_all_at(b"x", 0).is_err(),
            "files die with the machine"
        );
        let bytes = disk.read(path).unwrap();
        assert_eq!(bytes[..3000], [1; 3000]);
        assert!(bytes[3000..].iter().all(|byte| matches!(byte, 0 | 2)));
    }
}

#[test]
fn unsynced_writes_are_lost_kept_and_torn_over_many_seeds() {
    let (mut lost, mut kept, mut torn, mut unnamed) = (0, 0, 0, 0);
    for seed in 0..400 {
        let sim = SimDisk::new(seed);
        let disk = Disk::sim(sim.clone());
        disk.create_dir_all(Path::new("/d")).unwrap();
        let file = disk
            .open(Path::new("/d/f"), OpenOptions::CREATE_NEW)
            .unwrap();
        file.write_all_at(&[2; 2000], 0).unwrap();
        sim.crash();
        match disk.read(Path::new("/d/f")) {
            Err(_) => unnamed += 1,
            Ok(bytes) => match bytes.iter().filter(|byte| **byte == 2).count() {
                0 => lost += 1,
                2000 => kept += 1,
                _ => torn += 1,
            },
        }
    }
    assert!(
        lost > 10 && kept > 10 && torn > 10 && unnamed > 10,
        "{lost} {kept} {torn} {unnamed}"
    );
}

#[test]
fn an_atomic_write_leaves_the_old_or_the_new_bytes() {
    for seed in 0..300 {
        let sim = SimDisk::new(seed);
        let disk = Disk::sim(sim.clone());
        disk.create_dir_all(Path::new("/d")).unwrap();
        let path = Path::new("/d/f");
        disk.write_atomic(path, b"old", 0o600, 1).unwrap();
        sim.set_faults(Faults {
            fail_after: Some(1 + seed % 6),
            ..Faults::default()
        });
        let done = disk.write_atomic(path, b"new!", 0o600, 2).is_ok();
        sim.crash();
        let found = disk.read(path).unwrap();
        assert!(
            found == b"new!" || (!done && found == b"old"),
            "seed {seed}: {found:?}"
        );
    }
}

#[test]
fn a_full_disk_refuses_new_space_but_not_writes_into_allocated_space() {
    let sim = SimDisk::new(3);
    let disk = Disk::sim(sim.clone());
    let file = disk.create_allocated(Path::new("f"), 1000).unwrap();
    sim.set_faults(Faults {
        space_left: Some(10),
        ..Faults::default()
    });
    file.write_all_at(&[7; 1000], 0).unwrap();
    let err = file.write_all_at(&[7; 20], 1000).unwrap_err();
    assert_eq!(err.kind(), std::io::ErrorKind::StorageFull);
    assert_eq!(file.len().unwrap(), 1010, "what fitted was written");
    assert!(disk.create_allocated(Path::new("g"), 1000).is_err());
    assert!(!disk.exists(Path::new("g")));
}

#[test]
fn a_dying_disk_fails_until_the_crash_and_works_after_it() {
    let sim = SimDisk::new(4);
    let disk = Disk::sim(sim.clone());
    let file = disk.create_allocated(Path::new("f"), 100).unwrap();
    disk.sync_dir(Path::new("")).unwrap();
    sim.set_faults(Faults {
        dies_after: Some(2),
        ..Faults::default()
    });
    file.write_all_at(b"x", 0).unwrap();
    for _ in 0..3 {
        assert!(file.sync_data().is_err());
        assert!(disk.remove_file(Path::new("f")).is_err());
    }
    sim.crash();
    assert!(disk.open(Path::new("f"), OpenOptions::READ).is_ok());
}

#[test]
fn a_later_sync_does_not_mend_a_failed_one() {
    let mut lost = false;
    for seed in 0..50 {
        let sim = SimDisk::new(seed);
        let disk = Disk::sim(sim.clone());
        let file = disk.create_allocated(Path::new("f"), 100).unwrap();
        file.sync_data().unwrap();
        disk.sync_dir(Path::new("")).unwrap();
        file.write_all_at(&[9; 100], 0).unwrap();
        sim.set_faults(Faults {
            fail_sync_after: Some(1),
            ..Faults::default()
        });
        file.sync_data().unwrap_err();
        file.sync_data().unwrap();
        sim.crash();
        lost |= disk.read(Path::new("f")).unwrap() != [9; 100];
    }
    assert!(lost);
}
