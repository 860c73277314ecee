//! Gossip alone: thousands of agents as events of one queue (architecture: simulation, tier 1).
//!
//! A [`Pool`] owns the real cores of `swim` and `serf`, a network with faults and virtual time. The [`Oracle`] judges
//! what agents report against what happened; [`Predict`] says what the formulas of SWIM expect; [`Bug`] puts old bugs
//! back, to see that the oracle notices.

mod agent;
mod bug;
mod event;
mod faults;
mod link;
mod measure;
mod oracle;
mod pool;
mod predict;
mod queue;
mod size;
mod stream;
mod trace;
mod traffic;
mod view;
mod watch;
mod wire;

pub use agent::{addr_of, consul_serf, index_of, name_of, tags_of};
pub use bug::Bug;
pub use faults::{CutId, WatchId};
pub use link::{Cut, Link, Nodes};
pub use measure::{Figures, PerAgent, Reach, measure};
pub use oracle::{FalseFailure, Oracle, Truth};
pub use pool::{Counts, Pool, PoolOptions};
pub use predict::Predict;
pub use size::{datagram_size, push_pull_size};
pub use trace::Trace;
pub use traffic::{Sent, Traffic};
pub use view::Disagreement;
pub use watch::Watch;
pub use wire::lone_agent;
