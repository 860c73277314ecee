//! The runtime seam: clock, randomness, tasks, sockets, files, processes and signals.
//!
//! A node owns one [`Env`]; everything that touches the world takes it from there. [`Env`] is a
//! concrete clonable handle with the backend as an enum inside, so that no crate above carries a
//! runtime type parameter. Two backends exist: real (tokio threads, the operating system's clock
//! and files) and simulated (one thread, virtual time, one seed, an in-memory disk that loses
//! what was not synced). A simulated node may have its sockets on a simulated network
//! ([`net::sim::SimNet`]), with hosts that crash and links that lose and delay.
//!
//! Invariants: no other crate reads a clock, draws randomness from the system, or spawns on its
//! own (`clippy.toml` at the root bans the functions); in simulation every answer follows from
//! the seed and the order of calls.
#![allow(
    clippy::disallowed_methods,
    reason = "this crate is the one home of the functions that the others must not call"
)]

pub mod disk;
mod env;
mod life;
pub mod net;
pub mod process;
mod real;
pub mod signals;
pub mod sim;
mod stopwatch;
mod task;
mod time;

pub use disk::{Disk, File, OpenOptions};
pub use env::Env;
pub use real::{RealConfig, Worker};
#[cfg(feature = "sim")]
pub use sim::block_on as sim_block_on;
pub use stopwatch::{Stopwatch, millis};
pub use task::{AbortOnDrop, TaskError, TaskGroup, TaskHandle, ThreadHandle, spawn_current};
pub use time::{Elapsed, Interval};
pub use tokio_util::sync::CancellationToken;
pub use tokio_util::task::TaskTracker;
