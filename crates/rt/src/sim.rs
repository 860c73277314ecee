//! The simulated backend: virtual time, one thread, everything from one seed.
//!
//! The clock is tokio's, paused: it jumps to the next timer when nothing can run, in steps of a millisecond. Wall time is a
//! fixed epoch plus virtual time plus an offset that a test may jump; a node's clocks may also run fast or slow. Blocking
//! work runs inline at a scheduling point. For bit-identical traces build with `--cfg tokio_unstable`, which also seeds
//! tokio's scheduler; without it the order of ready tasks in `select!` may differ by run.
//!
//! A node that was made with [`Env::sim_node`](crate::Env::sim_node) has its sockets in a
//! [`SimNet`](crate::net::sim::SimNet); others use the operating system's.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::Worker;
use crate::disk::SimDisk;
use crate::life::Life;
use crate::net::sim::NetNode;

/// Wall time at the start of a simulation: 2024-01-01T00:00:00Z.
const WALL_START_NS: i128 = 1_704_067_200_000_000_000;
const MILLION: i128 = 1_000_000;
/// No clock runs faster or slower than this, in millionths.
const DRIFT_MAX_PPM: i32 = 500_000;

#[derive(Debug)]
pub(crate) struct Sim {
    clock: Clock,
    wall_skew_ns: AtomicI64,
    pub(crate) handle: Handle,
    pub(crate) front: Vec<Worker>,
    pub(crate) disk: SimDisk,
    pub(crate) life: Life,
    pub(crate) net: Option<NetNode>,
}

impl Sim {
    pub(crate) fn new(
        handle: Handle,
        front: Vec<Worker>,
        disk: SimDisk,
        life: Life,
        net: Option<NetNode>,
    ) -> Self {
        let started_ns = net.as_ref().map_or(0, NetNode::elapsed_ns);
        Self {
            clock: Clock::new(started_ns),
            wall_skew_ns: AtomicI64::new(0),
            handle,
            front,
            disk,
            life,
            net,
        }
    }

    pub(crate) fn mono_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    pub(crate) fn wall_ns(&self) -> u64 {
        let skew = i128::from(self.wall_skew_ns.load(Ordering::Relaxed));
        let since = i128::from(self.clock.started_ns) + i128::from(self.mono_ns());
        u64::try_from((WALL_START_NS + since + skew).max(0)).unwrap_or(u64::MAX)
    }

    pub(crate) fn skew_wall(&self, by_ns: i64) {
        self.wall_skew_ns.fetch_add(by_ns, Ordering::Relaxed);
    }

    pub(crate) fn set_drift(&self, ppm: i32) {
        self.clock.set_drift(ppm);
    }

    /// How far the node's clock is ahead of one that never drifted, in ns.
    pub(crate) fn gain_ns(&self) -> i64 {
        self.clock.gain_ns()
    }

    /// How long the simulation waits when the node means to wait for `duration`.
    pub(crate) fn true_duration(&self, duration: Duration) -> Duration {
        self.clock.true_duration(duration)
    }
}

/// A clock that may run fast or slow.
#[derive(Debug)]
struct Clock {
    anchor: Instant,
    /// Age of the world when the node started.
    started_ns: u64,
    rate: Mutex<Rate>,
}

/// How fast the clock runs, from a moment on.
#[derive(Debug, Default, Clone, Copy)]
struct Rate {
    ppm: i32,
    since_true_ns: u64,
    since_own_ns: u64,
}

impl Clock {
    fn new(started_ns: u64) -> Self {
        Self {
            anchor: Instant::now(),
            started_ns,
            rate: Mutex::default(),
        }
    }

    fn true_ns(&self) -> u64 {
        u64::try_from(self.anchor.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn now_ns(&self) -> u64 {
        let rate = *self.rate.lock();
        rate.own_ns(self.true_ns())
    }

    fn gain_ns(&self) -> i64 {
        let now = self.true_ns();
        let own = self.rate.lock().own_ns(now);
        i64::try_from(i128::from(own) - i128::from(now)).unwrap_or_default()
    }

    fn set_drift(&self, ppm: i32) {
        let now = self.true_ns();
        let mut rate = self.rate.lock();
        *rate = Rate {
            ppm: ppm.clamp(-DRIFT_MAX_PPM, DRIFT_MAX_PPM),
            since_true_ns: now,
            since_own_ns: rate.own_ns(now),
        };
    }

    /// Rounded up, so that nobody wakes before the time.
    fn true_duration(&self, own: Duration) -> Duration {
        let ppm = self.rate.lock().ppm;
        if ppm == 0 {
            return own;
        }
        let divisor = MILLION
            .unsigned_abs()
            .saturating_add_signed(i128::from(ppm));
        let ns = own
            .as_nanos()
            .saturating_mul(MILLION.unsigned_abs())
            .div_ceil(divisor.max(1));
        Duration::from_nanos(u64::try_from(ns).unwrap_or(u64::MAX))
    }
}

impl Rate {
    fn own_ns(&self, true_ns: u64) -> u64 {
        let since = i128::from(true_ns.saturating_sub(self.since_true_ns));
        let own = since * (MILLION + i128::from(self.ppm)) / MILLION;
        self.since_own_ns
            .saturating_add(u64::try_from(own).unwrap_or(0))
    }
}

/// Runs a simulation to its end: a paused clock on one thread, seeded.
///
/// # Panics
/// When the runtime cannot be built, or the future panics.
#[cfg(any(feature = "sim", test))]
pub fn block_on<M, F>(seed: u64, make_future: M) -> F::Output
where
    M: FnOnce(crate::Env) -> F,
    F: Future,
{
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().start_paused(true);
    #[cfg(tokio_unstable)]
    builder.rng_seed(tokio::runtime::RngSeed::from_bytes(&seed.to_le_bytes()));
    let runtime = builder
        .build()
        .expect("a current_thread runtime needs no resource that a test machine lacks");
    runtime.block_on(async move {
        let env = crate::Env::sim(seed).expect("inside a runtime");
        let future = make_future(env.clone());
        crate::life::within(env, future).await
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_drifting_clock_never_wakes_early_and_never_jumps() {
        for ppm in [0, 1, -1, 333, 100_000, -100_000, 500_000, -500_000] {
            let clock = Clock::new(0);
            tokio::time::sleep(Duration::from_millis(1234)).await;
            let before = clock.now_ns();
            clock.set_drift(ppm);
            assert_eq!(clock.now_ns(), before, "{ppm}");
            for own in [0u64, 1, 999, 1_000_000, 12_345_678, 3_600_000_000_000] {
                let from = clock.now_ns();
                tokio::time::sleep(clock.true_duration(Duration::from_nanos(own))).await;
                assert!(clock.now_ns() - from >= own, "{ppm} {own}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_clock_gains() {
        let clock = Clock::new(0);
        clock.set_drift(100_000);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(clock.now_ns(), 11_000_000_000);
        assert_eq!(clock.gain_ns(), 1_000_000_000);
        clock.set_drift(-100_000);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(clock.now_ns(), 20_000_000_000);
        assert_eq!(clock.gain_ns(), 0);
    }
}
