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
mod seeds;
pub mod world;

pub use history::{Report, run_history};
pub use oracle::{Known, Lost};
pub use seeds::{first_seed, run_seeds, seeds};
