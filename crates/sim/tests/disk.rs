//! No acknowledged write is lost on a disk that loses what was not synced, tears writes, fills up and fails.
//!
//! Two tests with half of the seeds each, so that they run side by side.

use tribune_sim::{Report, run_history, run_seeds};

#[test]
fn acknowledged_writes_survive_power_loss_and_disk_faults_in_even_seeds() {
    run_half(0);
}

#[test]
fn acknowledged_writes_survive_power_loss_and_disk_faults_in_odd_seeds() {
    run_half(1);
}

/// Runs the seeds with this remainder by 2.
fn run_half(remainder: u64) {
    let reports = run_seeds("disk", 1000, |seed| seed % 2 == remainder, run_history);
    let mut sum = Report::default();
    for report in &reports {
        sum.lives += report.lives;
        sum.refused_starts += report.refused_starts;
        sum.acked += report.acked;
        sum.failed += report.failed;
    }
    println!("{sum:?}");
    assert!(
        reports.len() < 2 || sum.acked > reports.len() as u64 * 10,
        "the workload hardly wrote: {sum:?}"
    );
}
