//! The vocabulary of Tribune: identifiers, times, records, requests and answers.
//!
//! Words without effects: nothing here reads a clock, draws randomness, does I/O or knows a wire format. Every other
//! crate speaks in these types; foreign shapes (JSON names, Go field names) live in the codec crates.

pub mod autopilot;
pub mod caller;
pub mod catalog;
pub mod command;
pub mod coordinate;
pub mod definition;
pub mod duration;
pub mod error;
pub mod event;
pub mod id;
pub mod keyring;
pub mod kv;
pub mod member;
pub mod prepared;
pub mod proxy;
pub mod query;
pub mod raft;
pub mod session;
pub mod snapshot;
pub mod text;
pub mod time;
pub mod txn;
pub mod uuid;
pub mod value;
pub mod write;
