//! No acknowledged write is lost on a disk that loses what was not synced, tears writes, fills up and fails.

use tribune_sim::{Report, first_seed, run_history, seeds};

#[test]
fn acknowledged_writes_survive_power_loss_and_disk_faults() {
    let range = match first_seed() {
        Some(seed) => seed..seed + 1,
        None => 0..seeds(1000),
    };
    let count = range.end - range.start;
    let mut sum = Report::default();
    for seed in range {
        let report = run_history(seed).unwrap_or_else(|what| {
            panic!("seed {seed}: {what}\nreplay: TRIBUNE_SEED={seed} cargo test -p tribune-sim --test disk")
        });
        sum.lives += report.lives;
        sum.refused_starts += report.refused_starts;
        sum.acked += report.acked;
        sum.failed += report.failed;
    }
    println!("{count} seeds: {sum:?}");
    assert!(sum.acked > count * 10, "the workload hardly wrote: {sum:?}");
}
