//! How far datacenters are from each other.
//!
//! Delays are drawn so that they could be distances on a map (no way round is shorter), and so that each datacenter has
//! clearly nearer and farther ones: what is too close to call is no test of an order.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_rt::net::sim::LinkFaults;

use super::Pair;

/// Bounds of the delay of one way, in ms.
const DELAY_MS: std::ops::RangeInclusive<u64> = 80..=250;
/// How much longer the longer of two ways is, in percent.
const APART_PERCENT: u64 = 130;

/// Links of all pairs among `count` datacenters; of up to three the ways differ clearly.
pub(super) fn draw(seed: u64, count: usize) -> BTreeMap<Pair, LinkFaults> {
    let mut rng = SmallRng::seed_from_u64(seed ^ 0x0077_616e);
    let pairs: Vec<Pair> = (0..count)
        .flat_map(|one| (one + 1..count).map(move |other| (one, other)))
        .collect();
    let delays_ms = loop {
        let delays: Vec<u64> = pairs.iter().map(|_| rng.random_range(DELAY_MS)).collect();
        if count > 3 || is_fit(&delays) {
            break delays;
        }
    };
    let link = |delay_ms: u64| LinkFaults {
        delay: Duration::from_millis(delay_ms),
        jitter: Duration::from_millis(delay_ms / 10),
        loss_per_million: rng.random_range(0..15_000),
        duplicate_per_million: rng.random_range(0..5_000),
        bandwidth: None,
    };
    pairs
        .into_iter()
        .zip(delays_ms.into_iter().map(link))
        .collect()
}

fn is_fit(delays: &[u64]) -> bool {
    let mut sorted = delays.to_vec();
    sorted.sort_unstable();
    let apart = { sorted.windows(2) }.all(|two| two[1] * 100 >= two[0] * APART_PERCENT);
    let round = sorted.len() < 3 || sorted[0] + sorted[1] >= sorted[2];
    apart && round
}
