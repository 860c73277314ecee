//! When the full comparison with the catalog runs (spec agent.md 2.1).
//!
//! Delays grow with the size of the cluster so that its agents do not all ask at once. Randomness is handed in as a
//! number below one.

use std::time::Duration;

/// Members up to which nothing is stretched.
const SCALE_THRESHOLD: u32 = 128;
/// Delay after a full comparison failed.
const FAILURE_DELAY: Duration = Duration::from_secs(15);
/// Longest delay after a server joined, before stretching.
const JOIN_DELAY: Duration = Duration::from_secs(3);

/// How many times longer delays are in a cluster of `members`.
pub fn scale_factor(members: usize) -> u32 {
    let members = u32::try_from(members).unwrap_or(u32::MAX);
    if members <= SCALE_THRESHOLD {
        return 1;
    }
    // ceil(log2 n): the power of two that n fits under.
    let log = members
        .checked_next_power_of_two()
        .map_or(32, u32::trailing_zeros);
    log - SCALE_THRESHOLD.trailing_zeros() + 1
}

/// Time to the next periodic full comparison.
pub fn sync_period(interval: Duration, members: usize, random: f64) -> Duration {
    interval + stretched(interval, members, random)
}

/// Time to the next try after a full comparison failed.
pub fn sync_delay_on_failure(members: usize, random: f64) -> Duration {
    FAILURE_DELAY + stretched(FAILURE_DELAY, members, random)
}

/// Time to a full comparison after a server joined.
pub fn sync_delay_on_join(members: usize, random: f64) -> Duration {
    stretched(JOIN_DELAY, members, random)
}

fn stretched(base: Duration, members: usize, random: f64) -> Duration {
    base.saturating_mul(scale_factor(members))
        .mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_stretch_with_the_logarithm_of_the_members() {
        for (members, want) in [
            (0, 1),
            (1, 1),
            (128, 1),
            (129, 2),
            (256, 2),
            (257, 3),
            (512, 3),
            (513, 4),
            (8192, 7),
            (8193, 8),
        ] {
            assert_eq!(scale_factor(members), want, "{members} members");
        }
        assert_eq!(
            sync_period(Duration::from_secs(60), 300, 0.5),
            Duration::from_secs(150)
        );
        assert_eq!(sync_delay_on_failure(1, 0.0), Duration::from_secs(15));
        assert_eq!(sync_delay_on_join(1, 1.0), Duration::from_secs(3));
    }
}
