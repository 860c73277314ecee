//! The command line: a table of commands over the HTTP client.
//!
//! In: the arguments, a [`Host`] (streams, environment, the agent's entry point). Out: an exit code, with text on the
//! streams. Texts, flags and exit codes are those of Consul 1.8.7 (spec cli.md); help texts are our own and name the
//! program as it was invoked, so that a link named `consul` reads right.
//!
//! ```text
//! args -> dispatch: help? version? completion? which command? -> flags: Go's rules -> commands::*: calls, output
//! ```
//!
//! Invariants: results go to standard output, everything else to standard error; nothing here knows a cluster beyond
//! what `api::client` tells; only the agent command does not come back through this crate's own code.

mod api_flags;
mod columns;
mod command;
mod commands;
mod complete;
mod config_files;
mod dispatch;
mod flags;
mod help;
mod host;
mod threads;

pub use dispatch::run;
pub use host::{Agent, Host};
