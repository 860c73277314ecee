//! The one handle of a running agent, which every front (HTTP, DNS) and the binary use.
//!
//! Two halves: `cluster` (reads and writes of replicated data, wherever it is served) and `local` (this agent's own
//! services, checks, events and process). Fronts know neither servers nor state behind it.

mod cluster;
mod local;

pub use cluster::{SnapshotSave, SnapshotRestore};
pub use local::{CheckUpdate, LocalError, MetricsFormat, MonitorOptions};

/// Handle of a running agent. Cheap to clone.
#[derive(Clone)]
pub struct Handle {}
