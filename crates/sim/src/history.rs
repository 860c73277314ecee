//! Lives of one server on one misbehaving disk.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_raft::{SnapshotConfig, Timing};
use tribune_rt::disk::{Faults, SimDisk};
use tribune_rt::{CancellationToken, Env};
use tribune_server::{Authorizer, Server, ServerOptions};
use tribune_types::caller::Caller;
use tribune_types::id::NodeId;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::text::text;
use tribune_types::write::{Write, WriteReply};

use crate::oracle::{Book, Lost};

/// Clients at a time; each owns its keys.
const CLIENTS: u64 = 4;
/// Keys of each client.
const KEYS: u64 = 6;

/// What happened in a history.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Lives begun.
    pub lives: u64,
    /// Lives whose start was refused because of an injected fault.
    pub refused_starts: u64,
    /// Writes acknowledged.
    pub acked: u64,
    /// Writes answered with an error.
    pub failed: u64,
}

/// Runs the history of a seed.
///
/// # Errors
/// The first value found that contradicts an acknowledgement, or a start refused without a fault.
pub fn run_history(seed: u64) -> Result<Report, String> {
    let mut rng = SmallRng::seed_from_u64(seed);
    let disk = SimDisk::new(seed);
    let book = Arc::new(Mutex::new(Book::new()));
    let mut report = Report::default();
    for life in 0..rng.random_range(2..5) {
        report.lives += 1;
        let plan = Plan::draw(&mut rng, seed, life);
        if !live(&disk, &plan, &book, &mut report)? {
            report.refused_starts += 1;
        }
        disk.crash();
    }
    // A last life without faults: everything acknowledged must be there.
    let plan = Plan {
        faults: Faults::default(),
        duration: Duration::ZERO,
        seed,
        life: u64::MAX,
    };
    if !live(&disk, &plan, &book, &mut report)? {
        return Err("the server does not start on a disk that works".to_owned());
    }
    Ok(report)
}

/// One life: how the disk misbehaves and when the power goes.
struct Plan {
    faults: Faults,
    duration: Duration,
    seed: u64,
    life: u64,
}

impl Plan {
    fn draw(rng: &mut SmallRng, seed: u64, life: u64) -> Plan {
        let mut faults = Faults::default();
        match rng.random_range(0..6) {
            0 => faults.space_left = Some(rng.random_range(0..200_000)),
            1 => faults.fail_after = Some(rng.random_range(1..200)),
            2 => faults.fail_sync_after = Some(rng.random_range(1..100)),
            3 => faults.fail_per_million = rng.random_range(100..20_000),
            // Half of the lives have a disk that only loses what was not synced.
            _ => {}
        }
        Plan {
            faults,
            duration: Duration::from_millis(rng.random_range(1..400)),
            seed,
            life,
        }
    }

    fn has_faults(&self) -> bool {
        self.faults != Faults::default()
    }
}

/// Lives one life. False if the start was refused, which only an injected fault excuses.
fn live(
    disk: &SimDisk,
    plan: &Plan,
    book: &Arc<Mutex<Book>>,
    report: &mut Report,
) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .map_err(|err| err.to_string())?;
    // The runtime is dropped with all tasks at their last await: the power is gone.
    runtime.block_on(async {
        let env = Env::sim_on_disk(plan.seed ^ plan.life.rotate_left(32), disk.clone())
            .map_err(|err| err.to_string())?;
        disk.set_faults(plan.faults);
        let stop = CancellationToken::new();
        let server = match Server::start(&env, options(), Authorizer::allow_all(), &stop).await {
            Ok(server) => server,
            Err(_) if plan.has_faults() => return Ok(false),
            Err(err) => {
                return Err(format!(
                    "start refused: {err}: {:?}",
                    std::error::Error::source(&err)
                ));
            }
        };
        match check(&server, book).await? {
            Checked::All => {}
            Checked::Unreadable if plan.has_faults() => return Ok(false),
            Checked::Unreadable => return Err("no leader on a disk that works".to_owned()),
        }
        let counts = Arc::new(Counts::default());
        let clients: Vec<_> = (0..CLIENTS)
            .map(|id| {
                let client = Client {
                    id,
                    life: plan.life,
                    book: Arc::clone(book),
                    counts: Arc::clone(&counts),
                };
                env.spawn("client", client.write(server.clone(), env.clone()))
            })
            .collect();
        env.sleep(plan.duration).await;
        for client in clients {
            client.abort();
        }
        report.acked += counts.acked.load(Ordering::Relaxed);
        report.failed += counts.failed.load(Ordering::Relaxed);
        Ok(true)
    })
}

fn options() -> ServerOptions {
    let id = NodeId::from_random([7; 16]);
    ServerOptions {
        data_dir: Some(PathBuf::from("/data")),
        rpc_hold_timeout: Duration::from_secs(2),
        timing: Timing::scaled(1),
        // Snapshots and purges within every life.
        snapshot: SnapshotConfig {
            threshold: 20,
            interval: Duration::from_millis(20),
            trailing_logs: 5,
        },
        ..ServerOptions::new(text("s1"), id, [127, 0, 0, 1].into())
    }
}

#[derive(Default)]
struct Counts {
    acked: AtomicU64,
    failed: AtomicU64,
}

struct Client {
    id: u64,
    life: u64,
    book: Arc<Mutex<Book>>,
    counts: Arc<Counts>,
}

impl Client {
    /// Writes until the power goes, waiting for each answer before the next write.
    async fn write(self, server: Server, env: Env) {
        for n in 0..200u64 {
            let key = format!("c{}/{}", self.id, n % KEYS);
            let value = (self.life << 32) | (n + 1);
            lock(&self.book)
                .entry(key.clone())
                .or_default()
                .on_tried(value);
            // Different sizes put entries across sector borders.
            let padding = (n as usize * 37 + self.id as usize * 11) % 700;
            let entry = KvEntry {
                key: key.as_bytes().into(),
                value: format!("{value} {}", "x".repeat(padding))
                    .into_bytes()
                    .into(),
                ..KvEntry::default()
            };
            match server
                .write(&Caller::internal(), None, Write::Kv(KvOp::Set, entry))
                .await
            {
                Ok(WriteReply::Verdict(true)) => {
                    lock(&self.book).entry(key).or_default().on_acked(value);
                    self.counts.acked.fetch_add(1, Ordering::Relaxed);
                }
                _ => {
                    self.counts.failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            env.sleep(env.jitter(Duration::from_millis(3))).await;
        }
    }
}

enum Checked {
    All,
    Unreadable,
}

/// Reads every key under the strongest guarantee and compares it with what is known.
async fn check(server: &Server, book: &Mutex<Book>) -> Result<Checked, String> {
    let options = ReadOptions {
        consistency: Consistency::Consistent,
        ..ReadOptions::default()
    };
    let keys: Vec<String> = lock(book).keys().cloned().collect();
    for key in keys {
        let query = Query::KvGet {
            key: key.as_bytes().into(),
        };
        let Ok(answer) = server.read(&Caller::internal(), query, &options).await else {
            return Ok(Checked::Unreadable);
        };
        let Reply::Kv(entries) = answer.reply() else {
            return Err("a KV read answered something else".to_owned());
        };
        let found = entries.first().and_then(|entry| {
            let text = String::from_utf8_lossy(&entry.value);
            text.split(' ')
                .next()
                .and_then(|number| number.parse().ok())
        });
        if let Some(known) = lock(book).get_mut(&key) {
            known
                .on_found(&key, found)
                .map_err(|lost: Lost| format!("{lost:?}"))?;
        }
    }
    Ok(Checked::All)
}

fn lock(book: &Mutex<Book>) -> std::sync::MutexGuard<'_, Book> {
    book.lock().unwrap_or_else(PoisonError::into_inner)
}
