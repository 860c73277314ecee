//! Prints commits per second of a single server, and of three in one process, on a real disk, beside the disk's own
//! sync rate; for three also how many messages a commit takes.
//!
//! `cargo run --release -p tribune-raft --example commit_rate [folder]`
#![allow(clippy::unwrap_used, reason = "a measuring program")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tribune_raft::{
    Committed, Machine, Member, Raft, RaftConfig, RaftNodeId, SnapshotSource, SnapshotStream,
    Timing, Transport, TransportError, TransportFuture,
};
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

/// Links between the servers of one process.
#[derive(Clone, Default)]
struct Hub(Arc<Links>);

#[derive(Default)]
struct Links {
    servers: Mutex<BTreeMap<RaftNodeId, Raft>>,
    /// Appends that carry entries.
    full: AtomicU64,
    /// Appends that carry none: heartbeats, and news of commits.
    empty: AtomicU64,
}

/// Longer messages carry entries.
const EMPTY_APPEND_SIZE_MAX: usize = 70;

impl Transport for Hub {
    fn call(
        &self,
        target: RaftNodeId,
        _: &Member,
        request: Bytes,
        _: Duration,
    ) -> TransportFuture<'_> {
        let raft = self.0.servers.lock().get(&target).cloned();
        let count = if request.len() > EMPTY_APPEND_SIZE_MAX {
            &self.0.full
        } else {
            &self.0.empty
        };
        count.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            match raft {
                Some(raft) => Ok(raft.handle(request).await),
                None => Err(TransportError::Unreachable("not started".to_owned())),
            }
        })
    }

    fn send_snapshot(
        &self,
        _: RaftNodeId,
        _: &Member,
        _: Bytes,
        _: SnapshotStream,
    ) -> TransportFuture<'_> {
        let err = TransportError::Unreachable("not needed here".to_owned());
        Box::pin(std::future::ready(Err(err)))
    }
}

fn member(n: u8) -> (RaftNodeId, Member) {
    let addr = format!("127.0.0.{n}:8300");
    (Uuid([n; 16]), Member { addr })
}

/// Starts servers 1 to `count`; the first that leads comes first.
fn start(env: &Env, hub: &Hub, count: u8, dir: Option<&std::path::Path>) -> Vec<Raft> {
    let mut rafts = Vec::new();
    for n in 1..=count {
        let (id, member) = member(n);
        let dir = dir.map(|dir| dir.join(format!("{count}-{n}")));
        let mut config = RaftConfig::new(id, member.addr, dir);
        config.timing = Timing::scaled(1);
        let open = Raft::open(env, config, Box::new(Count), Arc::new(hub.clone()));
        let raft = env.block_on(open).unwrap();
        hub.0.servers.lock().insert(id, raft.clone());
        rafts.push(raft);
    }
    let members = (1..=count).map(member).collect();
    env.block_on(rafts[0].bootstrap(members)).unwrap();
    env.block_on(async {
        while !rafts[0].is_leader_lease_valid() {
            env.sleep(Duration::from_millis(10)).await;
            rafts.rotate_left(1);
        }
    });
    rafts
}

fn measure(env: &Env, hub: &Hub, raft: &Raft, clients: u32, what: &str) {
    let done = Arc::new(AtomicU64::new(0));
    let messages = || {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (of(&hub.0.full), of(&hub.0.empty))
    };
    let (start, cpu, sent) = (env.mono(), cpu_us(), messages());
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
    let secs = env.mono().since(start).as_secs_f64();
    let count = done.load(Ordering::Relaxed) as f64;
    let (full, empty) = (messages().0 - sent.0, messages().1 - sent.1);
    println!(
        "{clients:>4} clients {what} {:>8.0} commits/s  {:>6.0} us each  {:>5.1} us cpu  {:>5.3} appends, {:>5.3} empty",
        count / secs,
        1e6 * secs * f64::from(clients) / count,
        (cpu_us() - cpu) as f64 / count,
        full as f64 / count,
        empty as f64 / count,
    );
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
    sync_rate(&env, &dir);
    for count in [1, 3] {
        for data in [Some(dir.as_path()), None] {
            let hub = Hub::default();
            let rafts = start(&env, &hub, count, data);
            let what = format!("{count} on {}", data.map_or("memory", |_| "disk  "));
            for clients in [1, 16, 64, 256] {
                measure(&env, &hub, &rafts[0], clients, &what);
            }
            for raft in &rafts {
                env.block_on(raft.shutdown());
            }
            hub.0.servers.lock().clear();
        }
    }
    std::fs::remove_dir_all(&dir).unwrap();
}
