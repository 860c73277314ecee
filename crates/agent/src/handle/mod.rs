//! The one handle of a running agent, which every front (HTTP, DNS) and the binary use.
//!
//! Three parts: `cluster` (reads and writes of replicated data, wherever it is served), `local` (this agent's own
//! services, checks and events) and `process` (what it tells about itself). Fronts know neither servers nor state behind it.

mod cluster;
mod local;
mod process;

use std::sync::Arc;

use crate::cache::Cache;
use crate::cluster::Cluster;
use crate::gossip::Pool;
use crate::info::Identity;
use crate::local_state::LocalAgent;
use crate::logs::Logs;
use crate::prepared::Executions;
use crate::telemetry::Telemetry;

pub use cluster::{SnapshotRestore, SnapshotSave};
pub use local::{CheckUpdate, LocalError};
pub use process::{MetricsFormat, MonitorOptions};

/// Handle of a running agent. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    pub(crate) inner: Arc<Inner>,
}

/// What all clones of a handle share.
pub(crate) struct Inner {
    /// Who this agent is.
    pub(crate) identity: Identity,
    /// Its own services, checks, events and process.
    pub(crate) local: Arc<LocalAgent>,
    /// The way to the servers.
    pub(crate) cluster: Arc<Cluster>,
    /// Answers of it that are kept.
    pub(crate) cache: Cache,
    /// What prepared queries found lately.
    pub(crate) executions: Executions,
    /// The gossip pool of the datacenter; `None` where there is no network, in simulations of other parts.
    pub(crate) lan: Option<Pool>,
    /// The gossip pool of the servers of all datacenters; `None` on clients, and where it is turned off.
    pub(crate) wan: Option<Pool>,
    /// Metrics of this process.
    pub(crate) telemetry: Telemetry,
    /// Its log pipeline.
    pub(crate) logs: Logs,
    /// Tribune's own version and build.
    pub(crate) revision: String,
}
