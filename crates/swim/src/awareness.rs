//! How well the local node seems to be (gossip.md section 6.6, Lifeguard): a node that misses answers of many others
//! should doubt itself first and wait longer.
//!
//! Invariant: the score is below `awareness_max`.

use std::time::Duration;

/// The score.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Awareness {
    score: u32,
    top: u32,
}

impl Awareness {
    /// Healthy, with scores from 0 to `max`, exclusive.
    pub(crate) fn new(max: u32) -> Awareness {
        Awareness {
            score: 0,
            top: max.saturating_sub(1),
        }
    }

    /// 0 is good.
    pub(crate) fn score(self) -> u32 {
        self.score
    }

    /// A probe succeeded.
    pub(crate) fn better(&mut self) {
        self.score = self.score.saturating_sub(1);
    }

    /// Something failed that another node might have seen differently.
    pub(crate) fn worse(&mut self, by: u32) {
        self.score = self.score.saturating_add(by).min(self.top);
    }

    /// Stretches a time by the score.
    pub(crate) fn scale(self, time: Duration) -> Duration {
        time.saturating_mul(self.score + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_stays_between_zero_and_seven_and_stretches_times() {
        let mut health = Awareness::new(8);
        let second = Duration::from_secs(1);
        health.better();
        // (worse by, score, stretched seconds)
        for (by, score, secs) in [(0, 0, 1), (1, 1, 2), (3, 4, 5), (9, 7, 8), (u32::MAX, 7, 8)] {
            health.worse(by);
            assert_eq!(
                (health.score(), health.scale(second)),
                (score, second * secs)
            );
        }
        health.better();
        assert_eq!(health.score(), 6);
    }

    #[test]
    fn a_maximum_of_zero_or_one_never_stretches() {
        for max in [0, 1] {
            let mut health = Awareness::new(max);
            health.worse(5);
            assert_eq!(health.score(), 0);
        }
    }
}
