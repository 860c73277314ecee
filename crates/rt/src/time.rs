//! Waiting: what [`Env`](crate::Env) hands out for sleeps, deadlines and ticks.
//!
//! Time itself is `tribune_types::time::{Mono, Wall}`. The types here wrap tokio's, so that a
//! user never names tokio for time and the simulated clock stays the only clock in a simulation.

use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior};

/// The deadline passed before the future was done; the future has been dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("deadline has elapsed")]
pub struct Elapsed;

/// Ticks with a fixed period; see [`Env::interval`](crate::Env::interval).
#[derive(Debug)]
pub struct Interval(tokio::time::Interval);

impl Interval {
    /// `period` must not be zero; zero is raised to one millisecond.
    pub(crate) fn new(period: Duration) -> Self {
        let period = period.max(Duration::from_millis(1));
        let mut inner = tokio::time::interval_at(Instant::now() + period, period);
        inner.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(inner)
    }

    /// Waits for the next tick. A late tick delays the following ones; none are made up for.
    /// Cancel safe.
    pub async fn tick(&mut self) {
        self.0.tick().await;
    }

    /// Starts the period anew from now.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}
