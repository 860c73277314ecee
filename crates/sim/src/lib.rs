//! Simulation on virtual time from one seed. For tests only.
//!
//! - [`world`] runs whole clusters of production agents with clients, faults and oracles.
//! - [`linear`] decides whether a recorded history is linearizable; also for histories of real processes.
//! - [`gossip`] runs the gossip cores of thousands of agents as events of one queue.
//! - [`run_history`]: several lives of one server on one misbehaving disk. In each life clients write keys; at a random
//!   moment the machine loses power; the next life starts from what the disk kept. The oracle knows what was acknowledged.
//!
//! A failing seed is printed with the command that replays it.

pub mod gossip;
mod history;
pub mod linear;
mod oracle;
pub mod world;

pub use history::{Report, run_history};
pub use oracle::{Known, Lost};

/// Number of seeds to run: `TRIBUNE_SEEDS`, or `default`.
pub fn seeds(default: u64) -> u64 {
    std::env::var("TRIBUNE_SEEDS")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(default)
}

/// The first seed to run: `TRIBUNE_SEED`, to replay one.
pub fn first_seed() -> Option<u64> {
    std::env::var("TRIBUNE_SEED")
        .ok()
        .and_then(|n| n.parse().ok())
}
