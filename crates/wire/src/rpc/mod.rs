//! The server RPC: framing of calls and the bodies of methods (rpc.md sections 2.1 and 7).
//!
//! A request is two MessagePack values back to back, header and body; a response the same. [`crate::msgpack::value_len`]
//! finds the ends of values without decoding them, so that relays can copy bytes.

pub mod bodies;
mod header;

pub use header::{RequestHeader, ResponseHeader, write_request_header, write_response_header};
