//! What can be wrong with a packet or a message.

use crate::{lzw, msgpack};

/// Why a message could not be read. It is dropped; others of the same packet are not concerned unless it says so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not even a type byte.
    #[error("message is empty")]
    Empty,
    /// A type that does not exist, or not at this place.
    #[error("message type {0} is unknown here")]
    Kind(u8),
    /// The body is not what the type asks for.
    #[error("message of type {kind} is malformed")]
    Body {
        /// Type byte.
        kind: u8,
        /// What is wrong.
        #[source]
        source: msgpack::Error,
    },
    /// An IP address of neither 4 nor 16 bytes.
    #[error("message of type {0} has a malformed address")]
    Address(u8),
    /// The packet was damaged: nothing of it is used.
    #[error("packet has a wrong checksum")]
    Checksum,
    /// The last parts of a compound are missing: so many.
    #[error("packet lacks its last {0} parts")]
    Truncated(usize),
    /// Compressed by an unknown algorithm.
    #[error("compression algorithm {0} is unknown")]
    Algorithm(u64),
    /// Compressed data is malformed, or expands to too much.
    #[error("compressed message is malformed")]
    Compressed(#[source] lzw::Error),
    /// Packed too often into one another.
    #[error("packet is packed more than {0} times")]
    Depth(usize),
    /// Too many parts: the rest of the packet is not used.
    #[error("packet has more than {0} parts")]
    Parts(usize),
}

impl Malformed {
    /// What is wrong with the body of a message of some type.
    pub(crate) fn body(kind: u8) -> impl Fn(msgpack::Error) -> Malformed {
        move |source| Malformed::Body { kind, source }
    }
}
