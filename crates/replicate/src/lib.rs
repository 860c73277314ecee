//! Mirrors prefixes of the KV store from source datacenters into destination datacenters, as `tribune replicate`.
//!
//! In: [`Given`] (what the command line says, with the paths of configuration files). Out: a running [`Job`], which tells
//! lines for a log, counters, and how it ended. Everything goes over the HTTP API of an agent on either side, so that
//! both may be Tribune or Consul, datacenters of one cluster or of strangers.
//!
//! ```text
//! Given + files -> Settings -> Job: one flow per prefix and destination, one feed per prefix of several
//!
//! flow:  lock ── look at the source (blocking) ── pass ── status key ──┐
//!          ^                    ^────────────────────────────────────┘
//!          └── lock lost
//!
//! pass:  source listing ─┐
//!                        ├─ merge ─ sets ─> writers (transactions)     deletes, when the source was read to its end
//!   destination listing ─┘
//! ```
//!
//! Invariants:
//! - Memory does not grow with a prefix: both listings are sorted by key, are read entry by entry and merged as they
//!   come; held are one entry of each, what the writers have at hand, what a feed hands out (a MiB for each destination),
//!   and the names of at most `pass::DELETES_MAX` keys to delete (more are left to the next pass).
//! - However many destinations a prefix has, its source is read once for each change; a destination that is slow or down
//!   does not keep the others from their copies.
//! - Every transaction checks that the flow's session still holds the flow's lock: who lost it cannot write.
//! - Nothing is deleted unless the source's listing was read to its end and in order; an empty listing deletes only
//!   when the source's index shows that keys were removed since the last complete pass.
//! - The status key is written after everything it speaks of was acknowledged. An interrupted flow starts with a whole
//!   comparison, so there is no moment at which being killed does harm.
//!
//! Not here: terminals, signals and the table of flags; those are the command line's.

mod entries;
mod feed;
mod file;
mod flow;
#[cfg(fuzzing)]
pub mod fuzzing;
mod given;
mod holder;
mod host;
mod job;
mod merge;
mod meters;
mod pass;
mod rules;
mod settings;
mod source;
mod spec;
mod status;
mod writers;

pub use file::FileError;
pub use given::Given;
pub use job::{Ended, Job, StartError};
pub use meters::{Counts, Meters, serve_metrics};
pub use settings::{Endpoint, Level, Log, Mirror, Retry, Settings, SettingsError};
pub use spec::{PrefixSpec, SpecError};
