//! The rules of an agent's own services and checks, without any I/O.
//!
//! In: definitions, probe results, reports, the catalog's view of this node, and the time. Out: the checks to run, the
//! files to write, and the registrations to send. A driver owns tasks, files and the way to the servers and carries
//! out what [`Registry`] asks for; nothing here sleeps, draws randomness or speaks a format.
//!
//! Members of gossip pools as this kind of agent sees them are in [`members`]; the choice of a server by a client agent
//! is in [`servers`].
//!
//! Rules: spec agent.md sections 1 to 3, http-api.md 3.1, config.md 10, connect.md 5; texts as Consul 1.8.7 gives them.

mod alias;
mod check;
mod failover;
mod gate;
mod hash;
pub mod members;
mod metadata;
mod output;
mod rate;
mod registry;
mod schedule;
pub mod servers;
mod sidecar;
mod sync;
mod validate;

pub use alias::{AliasResult, evaluate_remote_alias};
pub use check::{Probe, check_word, probe_of};
pub use failover::failover_order;
pub use gate::StatusGate;
pub use hash::content_hash;
pub use metadata::{validate_metadata, validate_metadata_filter};
pub use output::{OutputRing, captured, truncated};
pub use rate::RateLimit;
pub use registry::{
    Action, CheckEntry, Options, PortRange, Registry, RestoredCheck, RestoredState, ServiceEntry,
    Source,
};
pub use schedule::{scale_factor, sync_delay_on_failure, sync_delay_on_join, sync_period};
pub use sync::{NodeInfo, Push, PushItem, PushResult, RemoteView};
pub use validate::{Refusal, validate_check, validate_service};
