//! The local half of the agent: its own services, checks and events.

/// This agent's own state and tasks.
pub(crate) struct LocalAgent {}
