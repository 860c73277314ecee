//! Configuration of an agent: HCL and JSON files and flags, merged and validated into one [`Config`].
//!
//! ```text
//! flags ─┐            ┌ hcl ┐
//! files ─┼─ text ─────┤     ├─ tree ─ decode(schema) ─ merge ─ build + rules ─ Config
//! -hcl  ─┘            └ json┘
//! ```
//!
//! Names and habits of the file format (aliases, letter case, lists for objects) end at `decode`; nothing after `build`
//! knows them. Error texts are a contract (docs: spec config.md). Not here: the node ID file, logging, applying a
//! reload; those are the agent's.

mod addresses;
mod build;
mod ca;
pub mod config;
mod decode;
mod defaults;
mod definition;
mod error;
pub mod flags;
mod get;
mod hcl;
mod interfaces;
mod json;
mod load;
mod merge;
mod meta;
mod rules;
mod schema;
mod sockaddr;
mod start;
mod tree;
mod unbuilt;
mod watch;

pub use config::{Config, ListenAddr, Reloadable};
pub use error::{ConfigError, ParseError, Secret};
pub use flags::{FlagError, FlagValues, parse_agent_flags};
pub use interfaces::{Interface, Interfaces};
pub use load::{
    Environment, Format, Loaded, check_source, load, parse_free, services_from_files,
    validate_paths,
};
pub use meta::check_metadata;
pub use watch::{HttpHandler, Watch, WatchHandler, WatchKind};

#[cfg(test)]
mod tests;
