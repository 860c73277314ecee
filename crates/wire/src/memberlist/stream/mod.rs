//! What goes over a connection: one message in each direction (gossip.md section 4).
//!
//! ```text
//! encrypt   0a | size u32 | sealed payload, whose additional data are the five bytes before it
//! compress  09 | {Algo: 0, Buf: LZW of a message}
//! pushPull  06 | {Nodes, UserStateLen, Join} | Nodes maps | UserStateLen bytes
//! user      08 | {UserMsgLen} | UserMsgLen bytes
//! ping 00, ackResp 02, err 0d: a map
//! ```
//!
//! We write encrypt(compress(message)), each if it is on. No length precedes what is not encrypted, so a
//! [`StreamDecoder`] finds the end itself while bytes arrive.

mod decode;
mod encode;
mod feed;
mod inflate;
mod message;

use std::sync::Arc;

use tribune_swim::{Ack, Ping, PushPull};

use crate::keyring::OpenError;
use crate::{lzw, msgpack};

pub use decode::StreamDecoder;
pub use encode::{Seal, StreamFraming, encode_stream};

/// Bytes of a stream that are read at most, packed and unpacked.
pub const SIZE_MAX: usize = 20 * 1024 * 1024;

/// What a stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamMessage {
    /// A state, as request and as reply.
    PushPull(PushPull),
    /// A probe by somebody whose datagrams are not answered.
    Ping(Ping),
    /// The reply to a probe. Its payload is not set by the original.
    Ack(Ack),
    /// A message of the layer above. Consul does not send it, but takes it.
    User(Arc<[u8]>),
    /// The other side could not read the request, in its words.
    Error(String),
}

/// Why a stream could not be read. The connection is of no further use but for telling the other side.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// We have no keys. Other agents see this text.
    #[error("Remote state is encrypted and encryption is not configured")]
    NoKeyring,
    /// We want encryption. Other agents see this text.
    #[error("Encryption is configured but remote state is not encrypted")]
    NotEncrypted,
    /// No key fits, or the like.
    #[error(transparent)]
    Sealed(#[from] OpenError),
    /// Nothing came at all.
    #[error("stream ended before its message")]
    Closed,
    /// The stream ended inside of its message.
    #[error("stream ended inside of its message")]
    Truncated,
    /// More bytes than allowed, or the claim of so many.
    #[error("stream of more than {0} bytes")]
    Size(usize),
    /// It is small, but what we would have to keep is not.
    #[error("stream would take more than {0} bytes of memory")]
    Memory(usize),
    /// A type that does not exist, or not at this place.
    #[error("message type {0} is unknown on a stream")]
    Kind(u8),
    /// The bytes are not what the type asks for.
    #[error("{what} of a stream is malformed")]
    Body {
        /// Which part of the stream.
        what: &'static str,
        /// What is wrong.
        #[source]
        source: msgpack::Error,
    },
    /// Too many nodes without a name, an address, or a state that is known.
    #[error("more than {0} unusable nodes")]
    Nodes(usize),
    /// Compressed by an unknown algorithm.
    #[error("compression algorithm {0} is unknown")]
    Algorithm(u64),
    /// Compressed data is malformed.
    #[error(transparent)]
    Compressed(#[from] lzw::Error),
}

impl StreamError {
    fn body(what: &'static str) -> impl Fn(msgpack::Error) -> StreamError {
        move |source| StreamError::Body { what, source }
    }
}
