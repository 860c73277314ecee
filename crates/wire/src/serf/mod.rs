//! Serf's messages and what is inside of them (gossip.md sections 7, 8 and 10.5).
//!
//! - [`CODEC`]: the functions that the core needs. [`encode`], [`decode`]: messages of packets.
//! - [`encode_state`], [`decode_state`]: the part of an exchanged state.
//! - [`encode_tags`], [`decode_tags`]: metadata of nodes. [`encode_coordinate`], [`decode_coordinate`]: payloads of acks.
//! - [`keys`]: requests about keys and their answers. [`conflict`]: answers to queries about names.
//! - [`snapshot`]: the file with what a node must remember.
//! - [`pack_event`], [`unpack_event`]: payloads of Consul's user events, which the server RPC carries as well.
//!
//! A message is a type byte and a map. Input is hostile; what a state takes in memory is bounded.

pub mod conflict;
pub mod keys;
pub mod snapshot;

mod coordinate;
mod filter;
mod message;
mod state;
mod tags;

use tribune_serf::Codec;

pub use crate::rpc::{pack_event, unpack_event};
pub use coordinate::{decode_coordinate, encode_coordinate};
pub use message::{decode, encode};
pub use state::{decode_state, encode_state};
pub use tags::{decode_tags, encode_tags};

/// The wire format, as the core takes it.
pub const CODEC: Codec = Codec {
    encode_swim: crate::memberlist::encode,
    encode,
    decode: |bytes| decode(bytes).ok(),
    encode_state,
    decode_state: |bytes| decode_state(bytes).ok(),
    encode_tags,
    decode_tags,
    encode_coordinate,
    decode_coordinate,
    encode_conflict: conflict::encode,
    matches: filter::matches,
};

/// First bytes of messages.
mod kind {
    pub(super) const LEAVE: u8 = 0;
    pub(super) const JOIN: u8 = 1;
    pub(super) const PUSH_PULL: u8 = 2;
    pub(super) const USER_EVENT: u8 = 3;
    pub(super) const QUERY: u8 = 4;
    pub(super) const QUERY_RESPONSE: u8 = 5;
    pub(super) const CONFLICT_RESPONSE: u8 = 6;
    pub(super) const KEY_REQUEST: u8 = 7;
    pub(super) const KEY_RESPONSE: u8 = 8;
    pub(super) const RELAY: u8 = 9;
}

/// Why a message or payload could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not even a type byte.
    #[error("message is empty")]
    Empty,
    /// A type that does not exist, or not at this place.
    #[error("message type {0} is unknown here")]
    Kind(u8),
    /// The body is not what the type asks for.
    #[error(transparent)]
    Body(#[from] crate::msgpack::Error),
    /// An IP address of neither 4 nor 16 bytes.
    #[error("address is malformed")]
    Address,
    /// Small on the wire, large in memory.
    #[error("message would take more than {0} bytes of memory")]
    Memory(usize),
}

/// The body of a message that must be of this type.
fn body(kind: u8, bytes: &[u8]) -> Result<crate::msgpack::Reader<'_>, Malformed> {
    match bytes.split_first() {
        None => Err(Malformed::Empty),
        Some((&first, body)) if first == kind => Ok(crate::msgpack::Reader::new(body)),
        Some((&first, _)) => Err(Malformed::Kind(first)),
    }
}
