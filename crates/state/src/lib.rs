//! The replicated state: catalog, KV, sessions, coordinates, prepared queries and their indexes, as in-memory tables.
//!
//! In: commands at their index ([`State::apply`]). Out: outcome, touched watch keys, effects. Readers take a
//! [`Version`], an immutable O(1) copy, evaluate queries on it and record which watch keys could change the reply.
//! No clock, no randomness, no I/O: equal command sequences give equal states on every server.
//!
//! Who waits for a watch key, lock-delays, session TTLs and the decoding of archives are not here.

mod apply;
mod catalog;
mod change;
mod digest;
mod export;
mod intern;
mod kv;
mod near;
mod prepared;
mod read;
mod restore;
mod session;
mod tables;
mod txn;
mod version;
mod watch;

pub use apply::{Applied, Effect, State};
pub use export::Export;
pub use read::ReadContext;
pub use restore::{Carry, RestoreError, Staging};
pub use version::{Usage, Version};
pub use watch::{WatchKey, WatchKeys};

#[cfg(test)]
mod tests;
