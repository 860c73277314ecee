//! Timers for metrics, in milliseconds as the field has them (agent.md section 11).

use std::time::Duration;

use metrics::Histogram;
use tribune_types::time::Mono;

use crate::Env;

/// Records the time from its making to its end, also when what it times is dropped.
pub struct Stopwatch {
    env: Env,
    timer: Option<Histogram>,
    began: Mono,
}

impl Stopwatch {
    /// Starts; records to `timer`, in ms on the clock of `env`.
    pub fn start(env: &Env, timer: &Histogram) -> Stopwatch {
        Stopwatch {
            env: env.clone(),
            timer: Some(timer.clone()),
            began: env.mono(),
        }
    }

    /// Records nothing.
    pub fn discard(mut self) {
        self.timer = None;
    }
}

impl Drop for Stopwatch {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.record(millis(self.env.mono().since(self.began)));
        }
    }
}

/// A time as metrics show it, in ms.
pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
