//! Whole clusters of production agents, one per seed: whatever goes wrong, nothing that was acknowledged is lost, no read
//! that should be fresh is old, no lock is held by two, no watcher misses a change; and when it stops going wrong, the
//! cluster is whole again.
//!
//! Several tests with a part of the seeds each, so that they run side by side.

#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

use std::time::Duration;

use tribune_sim::world::{Kind, Mix, Report, Shape, World, run_world};
use tribune_sim::{run_seeds, seeds};

/// Worlds unless `TRIBUNE_SEEDS` says otherwise, as `cargo xtask simulate` does.
const SEEDS: u64 = 60;
/// Tests that share them.
const PARTS: u64 = 4;

/// What a seed's world looks like.
fn shape(seed: u64) -> Shape {
    let (servers, clients) = match seed % 20 {
        0 => (1, 1),
        1 => (5, 0),
        2..6 => (3, 2),
        _ => (3, 1),
    };
    Shape {
        servers,
        clients,
        chaos: Duration::from_secs(5 + seed % 5),
        bug: None,
    }
}

fn run_part(part: u64) {
    let reports = run_seeds(
        "world",
        SEEDS,
        |seed| seed % PARTS == part,
        |seed| run_world(seed, shape(seed), &Mix::from_seed(seed)),
    );
    let (count, mut sum) = (reports.len(), Report::default());
    for report in &reports {
        sum.add(report);
    }
    println!("{sum:?}");
    if count > 10 {
        let each = |what: usize| what / count;
        assert!(each(sum.answered) > 100, "clients hardly worked: {sum:?}");
        assert!(sum.undecided * 100 <= count, "{sum:?}");
        assert!(each(sum.states) > 20 && sum.watched > 0, "{sum:?}");
    }
}

#[test]
fn clusters_keep_their_promises_in_the_first_part_of_the_seeds() {
    run_part(0);
}

#[test]
fn clusters_keep_their_promises_in_the_second_part_of_the_seeds() {
    run_part(1);
}

#[test]
fn clusters_keep_their_promises_in_the_third_part_of_the_seeds() {
    run_part(2);
}

#[test]
fn clusters_keep_their_promises_in_the_fourth_part_of_the_seeds() {
    run_part(3);
}

#[test]
fn clusters_whose_leaders_stand_still_keep_their_promises() {
    let kinds = [
        Kind::PauseLeader,
        Kind::PauseLeader,
        Kind::Pause,
        Kind::SlowLink,
    ];
    let (count, mut terms) = (seeds(SEEDS) / 10, 0);
    for seed in 0..count {
        let report = run_world(seed, shape(seed + 2), &Mix::of(&kinds));
        let report = report.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        terms += report.terms;
    }
    assert!(terms as u64 > count * 3 / 2, "hardly anybody was replaced");
}

#[test]
fn clusters_whose_servers_come_and_go_keep_their_promises() {
    // (what operators do)
    let stories: [&[Kind]; 4] = [
        &[Kind::MoveLead, Kind::LeaveServer, Kind::Leave],
        &[Kind::RemovePeer, Kind::KillLeader, Kind::LeaveServer],
        &[Kind::Replace, Kind::PowerLoss, Kind::LeftBehind],
        &[Kind::Recover, Kind::LeftBehind, Kind::MoveLead],
    ];
    let (count, mut sum) = (seeds(SEEDS) / 10, Report::default());
    for seed in 0..count {
        let mix = Mix::of(stories[(seed % 4) as usize]);
        let report = run_world(seed, shape(seed + 2), &mix);
        let report = report.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        sum.add(&report);
    }
    assert!(sum.moved * 4 > count, "hardly anybody handed over: {sum:?}");
}

#[test]
fn a_lead_that_moves_in_a_quiet_cluster_costs_no_write() {
    for seed in 0..seeds(SEEDS).div_ceil(20) {
        let report = run_world(seed, shape(2), &Mix::of(&[Kind::MoveLead]));
        let report = report.unwrap_or_else(|what| panic!("seed {seed}: {what}"));
        assert_eq!(report.kept, 0, "seed {seed}: {report:?}");
        // A new leader may not be known yet when it is asked.
        assert!(report.moved + 2 > report.faults, "seed {seed}: {report:?}");
        // Sessions that were created are noted as operations that nobody answers.
        assert_eq!(report.failed, 0, "seed {seed}: {report:?}");
    }
}

#[test]
fn a_seed_gives_the_same_trace_every_time() {
    let trace = |seed: u64| {
        let mut world = World::seeded(seed).servers(3).clients(1).build().unwrap();
        let limit = Duration::from_secs(60);
        world.until("a leader", limit, World::has_leader).unwrap();
        let mix = Mix::from_seed(seed);
        world.chaos(&mix, Duration::from_secs(8)).unwrap();
        world.trace()
    };
    for seed in [3, 4] {
        let (one, other) = (trace(seed), trace(seed));
        assert!(one.lines().count() > 50, "{one}");
        let differs = one
            .lines()
            .zip(other.lines())
            .find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
    }
    assert_ne!(trace(3), trace(4));
}
