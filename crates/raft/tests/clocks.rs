//! Clocks that run fast or slow: elections keep each server's own time, and leases bear what is promised.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::{Hub, Server, config, leader, members, payload, start, stop};
use tribune_rt::{Env, sim_block_on};

const MILLION: i32 = 1_000_000;

/// Three servers whose clocks run fast by so many millionths, with the environment of each.
async fn servers(hub: &Hub, seed: u64, ppm: [i32; 3]) -> (Vec<Env>, Vec<Server>) {
    let (mut envs, mut servers) = (Vec::new(), Vec::new());
    for (n, ppm) in (1..).zip(ppm) {
        let env = Env::sim(seed ^ u64::from(n) << 32).unwrap();
        env.set_clock_drift(ppm);
        servers.push(start(&env, hub, config(n, None)).await);
        envs.push(env);
    }
    servers[0].raft.bootstrap(members(1..=3)).await.unwrap();
    (envs, servers)
}

#[test]
fn elections_take_as_long_as_the_clocks_of_the_servers_say() {
    for seed in 0..10 {
        for ppm in [-MILLION / 2, 0, MILLION / 2] {
            let own = sim_block_on(seed, async |env| {
                let hub = Hub::default();
                let (_envs, servers) = servers(&hub, seed, [ppm; 3]).await;
                let old = leader(&env, &servers).await.raft.clone();
                env.sleep(Duration::from_secs(1)).await;
                let term = old.metrics().term;
                let cut = env.mono();
                hub.cut(old.id());
                while !servers.iter().any(|one| one.raft.metrics().term > term) {
                    env.sleep(Duration::from_millis(1)).await;
                }
                let took = env.mono().since(cut);
                stop(&hub, &servers).await;
                took.mul_f64(f64::from(MILLION + ppm) / f64::from(MILLION))
            });
            // The lease of 600 ms, then 300 to 600 ms; a tick and a heartbeat more or less.
            let (least, most) = (Duration::from_millis(800), Duration::from_millis(1400));
            assert!(
                (least..most).contains(&own),
                "seed {seed}, {ppm} ppm: {own:?} by the own clocks"
            );
        }
    }
}

/// The leader's clock runs slow and the others' fast by `ppm` while its process is wrongly said to be gone: how often it
/// still held its read lease when another was elected.
fn overlaps(seeds: u64, ppm: i32) -> u64 {
    let mut overlaps = 0;
    for seed in 0..seeds {
        overlaps += sim_block_on(seed, async |env| {
            let hub = Hub::default();
            let (envs, servers) = servers(&hub, seed, [0; 3]).await;
            let old = leader(&env, &servers).await.raft.clone();
            for (env, server) in envs.iter().zip(&servers) {
                let leads = server.raft.id() == old.id();
                env.set_clock_drift(if leads { -ppm } else { ppm });
            }
            env.sleep(Duration::from_millis(700) + env.jitter(Duration::from_millis(100)))
                .await;
            old.propose(payload(1)).await.unwrap();
            let others = || servers.iter().filter(|one| one.raft.id() != old.id());
            hub.cut(old.id());
            for other in others() {
                other.raft.on_peer_gone(old.id());
            }
            while !others().any(|one| one.raft.is_leader_lease_valid()) {
                env.sleep(Duration::from_millis(1)).await;
            }
            let overlaps = u64::from(old.is_current());
            stop(&hub, &servers).await;
            overlaps
        });
    }
    overlaps
}

#[test]
fn no_lease_outlives_an_election_while_clocks_differ_by_less_than_a_sixteenth() {
    assert_eq!(overlaps(40, 30_000), 0);
}

#[test]
fn a_clock_that_is_much_slower_shows_in_the_lease() {
    assert!(overlaps(5, MILLION / 2) > 0, "drift does not reach leases");
}
