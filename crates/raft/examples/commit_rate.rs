//! Prints commits per second of a single server on a real disk, beside the disk's own sync rate.
//!
//! `cargo run --release -p tribune-raft --example commit_rate [folder]`
#![allow(clippy::unwrap_used, reason = "a measuring program")]

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tribune_raft::{Committed, Machine, Member, NoPeers, Raft, RaftConfig, SnapshotSource};
use tribune_rt::{Env, RealConfig};
use tribune_types::command::Outcome;
use tribune_types::id::Uuid;

struct Count;

impl Machine for Count {
    fn apply(&mut self, batch: &[Committed], out: &mut Vec<Outcome>) {
        out.extend(batch.iter().map(|_| Outcome::Done));
    }
    fn snapshot(&self) -> Box<dyn SnapshotSource> {
        Box::new(Self)
    }
    fn restore(
        &mut self,
        _: &mut dyn std::io::Read,
        _: &mut dyn FnMut(u64),
    ) -> std::io::Result<()> {
        Ok(())
    }
}

impl SnapshotSource for Count {
    fn write_to(&mut self, _: &mut dyn std::io::Write) -> std::io::Result<()> {
        Ok(())
    }
}

/// CPU time of this process in microseconds.
fn cpu_us() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap() + 2..].split(' ').collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    ticks * 10_000
}

fn sync_rate(env: &Env, dir: &std::path::Path) {
    let path = dir.join("probe");
    let disk = env.disk();
    let file = disk.create_allocated(&path, 16 << 20).unwrap();
    disk.sync_dir(dir).unwrap();
    let (start, cpu) = (env.mono(), cpu_us());
    let mut at = 0;
    while env.mono().since(start) < Duration::from_secs(2) {
        file.write_all_at(&[7; 160], at * 160).unwrap();
        file.sync_data().unwrap();
        at += 1;
    }
    let secs = env.mono().since(start).as_secs_f64();
    println!(
        "disk alone     {:>8.0} syncs/s  {:>6.0} us each  {:>5.1} us cpu",
        at as f64 / secs,
        1e6 * secs / at as f64,
        (cpu_us() - cpu) as f64 / at as f64
    );
    disk.remove_file(&path).unwrap();
}

fn main() {
    let dir = std::env::args()
        .nth(1)
        .map_or_else(|| std::env::current_dir().unwrap(), PathBuf::from);
    let dir = dir.join(format!("commit-rate-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let env = Env::real(RealConfig {
        front_workers: Some(1),
    })
    .unwrap();
    for data in [Some(dir.clone()), None] {
        if data.is_some() {
            sync_rate(&env, &dir);
        }
        let config = RaftConfig::new(Uuid([1; 16]), "127.0.0.1:8300", data.clone());
        let open = Raft::open(&env, config, Box::new(Count), Arc::new(NoPeers));
        let raft = env.block_on(open).unwrap();
        let members = [(
            Uuid([1; 16]),
            Member {
                addr: "127.0.0.1:8300".to_owned(),
            },
        )]
        .into();
        let mut events = raft.take_leadership_events().unwrap();
        env.block_on(raft.bootstrap(members)).unwrap();
        env.block_on(events.recv()).unwrap();
        for clients in [1, 16, 64, 256] {
            let done = Arc::new(AtomicU64::new(0));
            let (start, cpu) = (env.mono(), cpu_us());
            let tasks: Vec<_> = (0..clients)
                .map(|_| {
                    let (raft, env2, done) = (raft.clone(), env.clone(), done.clone());
                    env.front_workers()[0].spawn("client", move || async move {
                        while env2.mono().since(start) < Duration::from_secs(2) {
                            raft.propose(Bytes::from(vec![1; 128])).await.unwrap();
                            done.fetch_add(1, Ordering::Relaxed);
                        }
                    })
                })
                .collect();
            for task in tasks {
                env.block_on(task).unwrap();
            }
            let (secs, count) = (
                env.mono().since(start).as_secs_f64(),
                done.load(Ordering::Relaxed),
            );
            println!(
                "{:>4} clients {} {:>8.0} commits/s  {:>6.0} us each  {:>5.1} us cpu",
                clients,
                if data.is_some() { "disk  " } else { "memory" },
                count as f64 / secs,
                1e6 * secs * f64::from(clients) / count as f64,
                (cpu_us() - cpu) as f64 / count as f64
            );
        }
        env.block_on(raft.shutdown());
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
