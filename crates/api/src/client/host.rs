//! The client's own access to time and threads.
//!
//! The rest of the workspace takes these from the runtime handle, so that a node can run on virtual time. The
//! client runs in the process of a command, never inside a node, and may use the machine's.
#![allow(
    clippy::disallowed_methods,
    reason = "a command's process has no runtime handle and is never simulated"
)]

use std::{
    io,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// A point in time to measure from.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Blocks this thread.
pub(crate) fn sleep(duration: Duration) {
    thread::sleep(duration);
}

/// Starts a named thread.
pub(crate) fn spawn(
    name: &str,
    work: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(work)
}
