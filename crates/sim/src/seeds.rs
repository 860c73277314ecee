//! Which seeds a test runs, and what it says of them.

use std::time::Instant;

/// Number of seeds to run: `TRIBUNE_SEEDS`, or `default`.
pub fn seeds(default: u64) -> u64 {
    std::env::var("TRIBUNE_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// The first seed to run: `TRIBUNE_SEED`, to replay one.
pub fn first_seed() -> Option<u64> {
    std::env::var("TRIBUNE_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
}

/// Runs those seeds that are `mine`, out of all up to `count` (or how many the environment says) or of the one to replay, and
/// gives what came of them. `test` is the test program to name when one fails.
///
/// # Panics
/// A seed fails, with how to replay it.
pub fn run_seeds<R>(
    test: &str,
    count: u64,
    mine: impl Fn(u64) -> bool,
    run: impl Fn(u64) -> Result<R, String>,
) -> Vec<R> {
    let range = match first_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..seeds(count),
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "how long the simulation itself takes is measured by the real clock"
    )]
    let began = Instant::now();
    let of_seed = |seed| {
        run(seed).unwrap_or_else(|what| {
            panic!(
                "seed {seed}: {what}\nreplay: TRIBUNE_SEED={seed} cargo test -p tribune-sim --test {test} -- --nocapture"
            )
        })
    };
    let reports: Vec<R> = range.filter(|seed| mine(*seed)).map(of_seed).collect();
    if !reports.is_empty() {
        let took = began.elapsed();
        let each = took.as_secs_f64() / reports.len() as f64;
        println!("{} seeds in {took:.1?}, {each:.3} s each", reports.len());
    }
    reports
}
