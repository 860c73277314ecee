//! A server: the replicated state machine, its readers and watchers, and the duties of the leader.

pub mod answer;
