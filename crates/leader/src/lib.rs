//! Planners of the leader: what a server does besides serving while it leads.
//!
//! Synchronous cores: events and the time go in, due work comes out. The driver (in `server`) proposes the resulting
//! commands and tells the planners how they went. All memory here is soft: a new leader builds it anew from the state
//! (agent.md section 7, rpc.md section 8).

pub mod autopilot;
pub mod coordinates;
pub mod founding;
pub mod lock_delay;
pub mod peers;
pub mod reconcile;
pub mod sessions;
pub mod tombstones;
