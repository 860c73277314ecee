//! Several datacenters, one world per seed: whatever happens to some, the others serve their own as if they were alone,
//! what is unknown and what cannot be reached is told apart in time, each is linearizable for clients here and abroad; and
//! when all is well again every agent reaches every datacenter, and knows how far each is.
//!
//! Several tests with a part of the seeds each, so that they run side by side.

#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

use std::time::Duration;

use tribune_sim::run_seeds;
use tribune_sim::world::World;
use tribune_sim::world::wan::{Federation, POOL_LIMIT, WanMix, WanReport, run_federation};

/// Worlds unless `TRIBUNE_SEEDS` says otherwise, as `cargo xtask simulate` does.
const SEEDS: u64 = 6;
/// Tests that share them.
const PARTS: u64 = 2;

/// What a seed's world looks like: three datacenters of three servers with clients; in every fifth, one of them is cut
/// off in the end until all know it.
fn shape(seed: u64) -> Federation {
    Federation {
        dcs: vec![(3, 2), (3, 1), (3, 1)],
        chaos: Duration::from_secs(4 + seed % 4),
        lost: seed.is_multiple_of(5).then_some((seed / 5 % 3) as usize),
        bug: None,
    }
}

fn run_part(part: u64) {
    // Every part has its share of the kinds of worlds.
    let reports = run_seeds(
        "federation",
        SEEDS,
        |seed| seed / 6 % PARTS == part,
        |seed| run_federation(seed, &shape(seed), &WanMix::from_seed(seed)),
    );
    let (count, mut sum) = (reports.len() as u64, WanReport::default());
    for report in &reports {
        sum.add(report);
    }
    println!("{sum:?}");
    if count > 10 {
        let each = |what: u64| what / count;
        assert!(
            each(sum.counts.local) > 50,
            "hardly anything was local: {sum:?}"
        );
        assert!(each(sum.counts.unknown) > 5, "{sum:?}");
        assert!(
            sum.counts.remote > 0 && sum.counts.unreachable > 0,
            "{sum:?}"
        );
        assert!(each(sum.counts.severed) > 0, "nothing was cut off: {sum:?}");
        assert!(sum.counts.around > 0, "nothing was routed around: {sum:?}");
        assert!(each(sum.counts.queries) > 0, "{sum:?}");
        assert!(
            sum.counts.failovers > 0 && sum.counts.nothing > 0,
            "hardly anything failed over: {sum:?}"
        );
        assert!(each(sum.report.answered as u64) > 100, "{sum:?}");
        assert!(sum.report.undecided as u64 * 100 <= count, "{sum:?}");
    }
}

#[test]
fn datacenters_need_each_other_for_nothing_in_the_first_part_of_the_seeds() {
    run_part(0);
}

#[test]
fn datacenters_need_each_other_for_nothing_in_the_second_part_of_the_seeds() {
    run_part(1);
}

#[test]
fn a_seed_gives_the_same_trace_every_time() {
    let trace = |seed: u64| {
        let mut world = World::seeded(seed)
            .dc("dc1", 3, 1)
            .dc("dc2", 3, 0)
            .join_wan()
            .build()
            .unwrap();
        let limit = Duration::from_secs(60);
        world.until("leaders", limit, World::has_leader).unwrap();
        let met = world.until("a WAN pool", POOL_LIMIT, World::wan_is_whole);
        met.unwrap();
        let mix = WanMix::from_seed(seed);
        world.wan_chaos(&mix, Duration::from_secs(5)).unwrap();
        world.trace()
    };
    for seed in [3, 4] {
        let (one, other) = (trace(seed), trace(seed));
        assert!(one.lines().count() > 50, "{one}");
        let differs = { one.lines().zip(other.lines()) }.find(|(one, other)| one != other);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(one, other, "seed {seed}");
    }
    assert_ne!(trace(3), trace(4));
}
