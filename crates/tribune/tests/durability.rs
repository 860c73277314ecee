//! No acknowledged write is lost when the process is killed, whenever that happens.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::{Agent, try_request, wait_until};

/// Kills per run. `TRIBUNE_KILLS` overrides.
const KILLS: u64 = 50;
/// Writers at a time.
const WRITERS: usize = 8;
/// Keys of each writer, written over and over.
const KEYS: u64 = 40;
/// Acknowledgements among which a kill means something.
const ENOUGH: u64 = 24;

/// What is known of a key: the last acknowledged value, and values tried after it whose fate is unknown.
#[derive(Default, Clone)]
struct Known {
    acked: Option<u64>,
    tried: Vec<u64>,
}

#[test]
fn every_acknowledged_write_survives_sigkill_at_random_moments() {
    let kills = std::env::var("TRIBUNE_KILLS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(KILLS);
    // Small snapshots often, so that kills also hit the writing of snapshots and the purging of the log.
    let mut agent = Agent::server(
        "raft_snapshot_threshold = 400\nraft_snapshot_interval = \"200ms\"\nraft_trailing_logs = 50",
    );
    let known: Arc<Mutex<HashMap<String, Known>>> = Arc::default();
    let mut random = 0x9e37_79b9_7f4a_7c15u64;
    let mut acked_total = 0;
    for kill in 0..kills {
        let stop = Arc::new(AtomicBool::new(false));
        let acked = Arc::new(AtomicU64::new(0));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (known, stop, addr) = (Arc::clone(&known), Arc::clone(&stop), agent.http);
                let acked = Arc::clone(&acked);
                std::thread::spawn(move || write(writer, kill, addr, &known, &stop, &acked))
            })
            .collect();
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        // However slow the disk is, every other kill comes among acknowledgements.
        if kill % 2 == 1 {
            wait_until("acknowledgements", || {
                acked.load(Ordering::Relaxed) > ENOUGH
            });
        }
        // The random moment is the point of this test, so it is a sleep.
        std::thread::sleep(Duration::from_millis(5 + random % 150));
        agent.kill();
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().expect("a writer does not fail");
        }
        acked_total += acked.load(Ordering::Relaxed);
        agent.start();
        check(&agent, &mut known.lock().expect("no writer runs"), kill);
    }
    assert!(
        acked_total >= kills / 2 * ENOUGH,
        "only {acked_total} writes were acknowledged, the test is too weak"
    );
    println!("{kills} kills, {acked_total} acknowledged writes, none lost");
}

fn write(
    writer: usize,
    kill: u64,
    addr: SocketAddr,
    known: &Mutex<HashMap<String, Known>>,
    stop: &AtomicBool,
    acked: &AtomicU64,
) {
    for n in 0.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let key = format!("w{writer}/{}", n % KEYS);
        let value = (kill << 32) | n;
        known
            .lock()
            .expect("unpoisoned")
            .entry(key.clone())
            .or_default()
            .tried
            .push(value);
        let answer = try_request(
            addr,
            "PUT",
            &format!("/v1/kv/{key}"),
            value.to_string().as_bytes(),
        );
        match answer {
            Ok(answer) if answer.status == 200 && answer.text().trim() == "true" => {
                acked.fetch_add(1, Ordering::Relaxed);
                let mut known = known.lock().expect("unpoisoned");
                let entry = known.entry(key).or_default();
                entry.acked = Some(value);
                entry.tried.clear();
            }
            // Refused or cut off: the value may or may not be there.
            _ => {}
        }
    }
}

/// Every key must hold its last acknowledged value or one tried later.
fn check(agent: &Agent, known: &mut HashMap<String, Known>, kill: u64) {
    for (key, known) in known.iter_mut() {
        let answer = agent.get(&format!("/v1/kv/{key}?raw&consistent"));
        let found = (answer.status == 200).then(|| answer.text().parse::<u64>().expect("a number"));
        let allowed =
            found == known.acked || found.is_some_and(|value| known.tried.contains(&value));
        assert!(
            allowed,
            "after kill {kill}: {key} holds {found:?}, acknowledged {:?}, tried later {:?}\n{}",
            known.acked,
            known.tried,
            agent.log()
        );
        // What was found is now as good as acknowledged.
        *known = Known {
            acked: found,
            tried: Vec::new(),
        };
    }
}
