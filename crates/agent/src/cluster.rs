//! The cluster half of the agent: where replicated data is read and written.

/// What the agent needs to reach the servers, or the server inside this process.
pub(crate) struct Cluster {}
