//! A simulated cluster takes the same steps in each run of one seed.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg(tokio_unstable)]

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::{Hub, Server, config, members, payload, start, stop};
use parking_lot::Mutex;
use tribune_raft::{ReadGuarantee, Timing};
use tribune_rt::{Env, sim_block_on};

#[derive(Clone)]
struct Trace(Env, Arc<Mutex<String>>);

impl Trace {
    fn note(&self, what: std::fmt::Arguments<'_>) {
        let mut text = self.1.lock();
        writeln!(text, "{} {what}", self.0.mono().0).unwrap();
    }
}

/// Notes what changes on a server, as soon as it changes.
async fn watch(env: Env, server: usize, servers: Arc<Vec<Server>>, trace: Trace) {
    let mut last = String::new();
    loop {
        let metrics = servers[server].raft.metrics();
        let now = format!(
            "{:?} {} {} {} {:?}",
            metrics.role,
            metrics.term.0,
            metrics.last_log_index.0,
            metrics.applied_index.0,
            metrics.leader.map(|leader| leader.addr),
        );
        if now != last {
            trace.note(format_args!("{server}: {now}"));
            last = now;
        }
        env.sleep(Duration::from_millis(1)).await;
    }
}

async fn client(env: Env, number: u64, servers: Arc<Vec<Server>>, trace: Trace) {
    for n in 0..40 {
        let server = env.random_below(3) as usize;
        let raft = &servers[server].raft;
        let read = raft.read_index(ReadGuarantee::Lease).await;
        trace.note(format_args!(
            "client {number} reads from {server}: {read:?}"
        ));
        let written = raft.propose(payload(number * 100 + n)).await;
        trace.note(format_args!(
            "client {number} writes to {server}: {written:?}"
        ));
        env.sleep(env.jitter(Duration::from_millis(400))).await;
    }
}

/// Runs, each made twice.
const SEEDS: u64 = 8;

/// Everything observable of one run.
fn run(seed: u64) -> String {
    let text = Arc::new(Mutex::new(String::new()));
    let out = text.clone();
    sim_block_on(seed, async |env| {
        let trace = Trace(env.clone(), text);
        let hub = Hub::default();
        hub.slow_down(&env, Duration::from_millis(5));
        let mut servers = Vec::new();
        for n in 1..=3 {
            let mut settings = config(n, Some(Path::new("/data")));
            settings.timing = Timing::scaled(1);
            settings.propose_timeout = Duration::from_secs(2);
            servers.push(start(&env, &hub, settings).await);
        }
        for server in &servers {
            server.raft.bootstrap(members(1..=3)).await.unwrap();
        }
        let servers = Arc::new(servers);
        let mut watchers = Vec::new();
        for at in 0..3 {
            let task = watch(env.clone(), at, servers.clone(), trace.clone());
            watchers.push(env.spawn("watch", task).abort_on_drop());
        }
        let mut clients = Vec::new();
        for number in 0..4 {
            let task = client(env.clone(), number, servers.clone(), trace.clone());
            clients.push(env.spawn("client", task));
        }
        for _ in 0..4 {
            env.sleep(env.jitter(Duration::from_secs(3))).await;
            let leads = servers
                .iter()
                .find(|server| server.raft.is_leader_lease_valid());
            if let Some(old) = leads.map(|server| server.raft.id()) {
                hub.cut(old);
                for server in servers.iter() {
                    server.raft.on_peer_gone(old);
                }
            }
            env.sleep(env.jitter(Duration::from_secs(3))).await;
            hub.heal();
        }
        for client in clients {
            client.await.unwrap();
        }
        drop(watchers);
        stop(&hub, &servers).await;
    });
    std::mem::take(&mut *out.lock())
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let mut traces = BTreeMap::new();
    for seed in 0..SEEDS {
        let first = run(seed);
        let second = run(seed);
        let differs = first.lines().zip(second.lines()).position(|(a, b)| a != b);
        if let Some(line) = differs {
            let (a, b) = (first.lines().nth(line), second.lines().nth(line));
            panic!("seed {seed}, line {line}:\n{}\n{}", a.unwrap(), b.unwrap());
        }
        assert_eq!(first.len(), second.len(), "seed {seed}");
        assert!(
            first.lines().count() > 300,
            "seed {seed}: something happened"
        );
        traces.insert(first, seed);
    }
    assert_eq!(
        traces.len() as u64,
        SEEDS,
        "each seed has a story of its own"
    );
}
