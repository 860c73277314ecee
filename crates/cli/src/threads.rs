//! The command line's own access to threads and time; it runs outside any node and is never simulated.
#![allow(
    clippy::disallowed_methods,
    reason = "a command's process has no runtime handle and is never simulated"
)]

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// Starts a named thread.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}

/// Blocks this thread.
pub(crate) fn sleep(duration: Duration) {
    thread::sleep(duration);
}

/// Time since 1970.
pub(crate) fn unix_now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// A point in time to measure from.
pub(crate) fn now() -> Instant {
    Instant::now()
}
