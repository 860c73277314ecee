//! Files behind their journal against a model, on a disk that loses, tears, reorders, fills up and fails.
//!
//! The model knows for each file what was acknowledged last and what was tried since. After every crash the file holds
//! one of these; what a start has found stays. `TRIBUNE_SEEDS` sets the number of seeds, `TRIBUNE_SEED` runs one.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_rt::disk::{Faults, SimDisk};

use super::*;

/// Small, so that the journal takes turns often.
const SIZES: Sizes = Sizes {
    initial: 1024,
    step: 512,
    checkpoint: 2048,
    max: 6000,
};
const FILES: [&str; 8] = [
    "services/a",
    "services/b",
    "services/c",
    "checks/a",
    "checks/b",
    "checks/state/a",
    "checks/state/b",
    "checks/state/c",
];

fn root() -> &'static Path {
    Path::new("/data")
}

/// One file: its possible contents. The first was acknowledged, the others were tried since.
type Possible = Vec<Option<Bytes>>;

struct World {
    seed: u64,
    rng: SmallRng,
    sim: SimDisk,
    disk: Disk,
    model: Vec<Possible>,
    /// Acknowledged batches, and checkpoints that succeeded.
    acknowledged: u64,
    checkpoints: u64,
    refused: u64,
}

impl World {
    fn new(seed: u64) -> World {
        let sim = SimDisk::new(seed);
        let disk = Disk::sim(sim.clone());
        for folder in ["services", "checks/state"] {
            disk.create_dir_all(&root().join(folder)).unwrap();
        }
        World {
            seed,
            rng: SmallRng::seed_from_u64(seed),
            sim,
            disk,
            model: vec![vec![None]; FILES.len()],
            acknowledged: 0,
            checkpoints: 0,
            refused: 0,
        }
    }

    fn random_faults(&mut self) {
        let rng = &mut self.rng;
        let mut faults = Faults::default();
        match rng.random_range(0..6) {
            0 => faults.space_left = Some(rng.random_range(0..3000)),
            1 => faults.fail_after = Some(rng.random_range(1..20)),
            2 => faults.fail_sync_after = Some(rng.random_range(1..10)),
            3 => faults.fail_per_million = rng.random_range(0..200_000),
            4 => faults.dies_after = Some(rng.random_range(1..40)),
            _ => {}
        }
        self.sim.set_faults(faults);
    }

    /// Starts, perhaps with failures and crashes in between, and checks what is there.
    fn open(&mut self) -> JournaledFiles {
        for _ in 0..self.rng.random_range(0..3) {
            self.random_faults();
            if let Ok(files) = JournaledFiles::open(&self.disk, root(), SIZES) {
                drop(files);
                self.check();
            }
            if self.rng.random_bool(0.7) {
                self.sim.crash();
            }
        }
        self.sim.set_faults(Faults::default());
        let files = JournaledFiles::open(&self.disk, root(), SIZES).unwrap();
        self.check();
        files
    }

    /// What is found is what the model allows, and from now on nothing else.
    fn check(&mut self) {
        for (name, possible) in FILES.iter().zip(&mut self.model) {
            let found = self.disk.read(&root().join(name)).ok().map(Bytes::from);
            assert!(
                possible.contains(&found),
                "seed {}: {name} holds {found:?}, not one of {possible:?}",
                self.seed
            );
            *possible = vec![found];
        }
    }

    fn batch(&mut self) -> Vec<(usize, FileOp)> {
        let rng = &mut self.rng;
        let count = rng.random_range(1..=5);
        let op = |_| {
            let file = rng.random_range(0..FILES.len());
            let path = root().join(FILES[file]);
            let op = if rng.random_bool(0.35) {
                FileOp::Remove(path)
            } else {
                let len_max = if rng.random_bool(0.1) { 900 } else { 90 };
                let len = rng.random_range(0..len_max);
                let bytes: Vec<u8> = (0..len).map(|_| rng.random_range(0..3)).collect();
                FileOp::Write(path, bytes.into())
            };
            (file, op)
        };
        (0..count).map(op).collect()
    }

    fn commit(&mut self, files: &JournaledFiles) {
        let batch = self.batch();
        let acknowledged = files.commit(batch.iter().map(|(_, op)| op)).is_ok();
        let mut last: BTreeMap<usize, Option<Bytes>> = BTreeMap::new();
        for (file, op) in batch {
            last.insert(file, op.into_content().1);
        }
        for (file, content) in last {
            if acknowledged {
                self.model[file].clear();
            }
            self.model[file].push(content);
        }
        if acknowledged {
            self.acknowledged += 1;
        } else {
            self.refused += 1;
        }
    }

    fn life(&mut self) {
        let files = self.open();
        for _ in 0..self.rng.random_range(1..40) {
            match self.rng.random_range(0..20) {
                0 => self.random_faults(),
                1 => self.sim.set_faults(Faults::default()),
                2..6 => {
                    let when = if self.rng.random_bool(0.3) {
                        Checkpoint::Now
                    } else {
                        Checkpoint::IfDue
                    };
                    if files.tidy(when).is_ok() && when == Checkpoint::Now {
                        self.checkpoints += 1;
                    }
                }
                _ => self.commit(&files),
            }
        }
        // One in four ends without a crash: what the kernel still has is read by the next.
        if self.rng.random_bool(0.75) {
            self.sim.crash();
        }
    }
}

#[test]
fn what_is_acknowledged_survives_and_what_is_removed_stays_away() {
    let env = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seeds = match env("TRIBUNE_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..env("TRIBUNE_SEEDS").unwrap_or(1000),
    };
    let (many, mut acknowledged, mut checkpoints, mut refused) = (seeds.end - seeds.start, 0, 0, 0);
    for seed in seeds {
        let mut world = World::new(seed);
        for _ in 0..6 {
            world.life();
        }
        drop(world.open());
        acknowledged += world.acknowledged;
        checkpoints += world.checkpoints;
        refused += world.refused;
    }
    assert!(
        many < 100 || (acknowledged > 20 * many && checkpoints > many && refused > many),
        "the test tests nothing: {acknowledged} {checkpoints} {refused}"
    );
}

#[test]
fn after_a_checkpoint_the_files_alone_hold_everything() {
    let mut world = World::new(7);
    let files = world.open();
    for _ in 0..30 {
        world.commit(&files);
        files.tidy(Checkpoint::IfDue).unwrap();
    }
    files.tidy(Checkpoint::Now).unwrap();
    assert!(!files.has_changes());
    world.sim.crash();
    world.check();
    // A file that somebody removes meanwhile stays removed.
    let name = root().join(FILES[0]);
    if world.disk.remove_file(&name).is_ok() {
        world.disk.sync_dir(&root().join("services")).unwrap();
        world.model[0] = vec![None];
    }
    drop(world.open());
}

#[test]
fn commits_go_on_while_files_cannot_be_written_and_reach_them_later() {
    let mut world = World::new(3);
    let files = world.open();
    // The journal has its space, files get none.
    world.sim.set_faults(Faults {
        space_left: Some(0),
        ..Faults::default()
    });
    let path = root().join(FILES[0]);
    let op = FileOp::Write(path.clone(), Bytes::from_static(b"new"));
    files.commit([&op].into_iter()).unwrap();
    assert!(files.tidy(Checkpoint::Now).is_err());
    assert!(!world.disk.exists(&path));
    world.sim.set_faults(Faults::default());
    files.tidy(Checkpoint::Now).unwrap();
    world.sim.crash();
    assert_eq!(world.disk.read(&path).unwrap(), b"new");
}

#[test]
fn a_folder_that_was_taken_away_is_made_again() {
    let folder = tempfile::tempdir().unwrap();
    let files = JournaledFiles::open(&Disk::real(), folder.path(), SIZES).unwrap();
    let path = folder.path().join("services/a");
    let op = FileOp::Write(path.clone(), Bytes::from_static(b"x"));
    files.commit([&op].into_iter()).unwrap();
    files.tidy(Checkpoint::Now).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), b"x");
}
