//! No acknowledged write is lost on a disk that loses what was not synced, tears writes, fills up and fails.
//!
//! Two tests with half of the seeds each, so that they run side by side.

use tribune_sim::{Report, first_seed, run_history, seeds};

#[test]
fn acknowledged_writes_survive_power_loss_and_disk_faults_in_even_seeds() {
    run_seeds(0);
}

#[test]
fn acknowledged_writes_survive_power_loss_and_disk_faults_in_odd_seeds() {
    run_seeds(1);
}

/// Runs the seeds with this remainder by 2: all up to the asked number, or the one to replay.
fn run_seeds(remainder: u64) {
    let range = match first_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..seeds(1000),
    };
    let many = range.end - range.start > 1;
    let mut count = 0;
    let mut sum = Report::default();
    for seed in range.filter(|seed| seed % 2 == remainder) {
        let report = run_history(seed).unwrap_or_else(|what| {
            panic!(
                "seed {seed}: {what}\nreplay: TRIBUNE_SEED={seed} cargo test -p tribune-sim --test disk"
            )
        });
        count += 1;
        sum.lives += report.lives;
        sum.refused_starts += report.refused_starts;
        sum.acked += report.acked;
        sum.failed += report.failed;
    }
    println!("{count} seeds: {sum:?}");
    assert!(
        !many || sum.acked > count * 10,
        "the workload hardly wrote: {sum:?}"
    );
}
