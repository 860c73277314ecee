//! Codecs between Tribune's values and the bytes Consul speaks: the only home of Go field names.
//!
//! - [`msgpack`]: the Go dialect of MessagePack, as a serde format and as plain functions.
//! - [`records`]: mirror structs with Go names, and their conversions from and to domain types.
//! - [`entry`]: entries of the replicated log.
//! - [`rpc`]: framing and bodies of the server RPC.
//! - [`snapshot`]: the snapshot archive and the record stream inside it.
//! - [`memberlist`], [`serf`]: messages, packets and streams of gossip; [`lzw`], [`keyring`]: how they are compressed and
//!   encrypted.
//!
//! Everything here treats its input as hostile: lengths are checked against the bytes at hand,
//! nesting is bounded, nothing panics. Source of the formats: spec rpc.md sections 2, 6, 9, 10, and
//! gossip.md.

pub mod entry;
pub mod keyring;
pub mod lzw;
pub mod memberlist;
pub mod msgpack;
pub mod records;
pub mod rpc;
pub mod serf;
pub mod snapshot;

mod ip;
