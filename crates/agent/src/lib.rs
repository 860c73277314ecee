//! An agent: local services and their checks, the server inside it, and the one handle the fronts use.

mod cache;
mod checks;
mod client;
mod cluster;
mod events;
mod federation;
mod gossip;
pub mod handle;
mod host;
pub mod info;
mod local_state;
pub mod logs;
pub mod node_id;
mod own_requests;
mod peers_file;
mod persist;
mod prepared;
mod profile;
mod remote_exec;
mod report;
mod rpc;
pub mod start;
mod sync;
mod telemetry;
mod tokens;
mod watches;

pub use cache::{Cached, Freshness};
pub use client::ServerAddr;
pub use gossip::PoolError;
pub use handle::Handle;
#[cfg(fuzzing)]
#[doc(hidden)]
pub use persist::fuzzing;
pub use tribune_server::answer::{Answer, Form, Shared};
