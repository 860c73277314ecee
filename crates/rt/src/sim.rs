//! The simulated backend: virtual time, one thread, everything from one seed.
//!
//! The clock is tokio's, paused: it jumps to the next timer when nothing can run. Wall time is a
//! fixed epoch plus virtual time plus an offset that a test may jump. Blocking work runs inline
//! at a scheduling point. For bit-identical traces build with `--cfg tokio_unstable`, which also
//! seeds tokio's scheduler; without it the order of ready tasks in `select!` may differ by run.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::Worker;
use crate::disk::SimDisk;

/// Wall time at the start of a simulation: 2024-01-01T00:00:00Z.
const WALL_START_NS: i128 = 1_704_067_200_000_000_000;

#[derive(Debug)]
pub(crate) struct Sim {
    anchor: Instant,
    wall_skew_ns: AtomicI64,
    pub(crate) handle: Handle,
    pub(crate) front: Vec<Worker>,
    pub(crate) disk: SimDisk,
}

impl Sim {
    pub(crate) fn new(handle: Handle, front: Vec<Worker>, disk: SimDisk) -> Self {
        Self {
            anchor: Instant::now(),
            wall_skew_ns: AtomicI64::new(0),
            handle,
            front,
            disk,
        }
    }

    pub(crate) fn mono_ns(&self) -> u64 {
        u64::try_from(self.anchor.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    pub(crate) fn wall_ns(&self) -> u64 {
        let skew = i128::from(self.wall_skew_ns.load(Ordering::Relaxed));
        let now = WALL_START_NS + i128::from(self.mono_ns()) + skew;
        u64::try_from(now.max(0)).unwrap_or(u64::MAX)
    }

    pub(crate) fn skew_wall(&self, by_ns: i64) {
        self.wall_skew_ns.fetch_add(by_ns, Ordering::Relaxed);
    }
}

/// Runs a simulation to its end: a paused clock on one thread, seeded.
///
/// # Panics
/// When the runtime cannot be built, or the future panics.
#[cfg(feature = "sim")]
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
        make_future(env).await
    })
}
