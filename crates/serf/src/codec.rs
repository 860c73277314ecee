//! The seam to bytes. Sizes decide what is refused and what is resent, and received bytes are spread unchanged, so the
//! core needs bytes; which ones is the codec's business.

use std::sync::Arc;

use tribune_types::coordinate::Coordinate;
use tribune_types::text::TextMap;

use crate::message::{ConflictAnswer, Message, StateExchange};

/// Functions of the wire format.
#[derive(Debug, Clone, Copy)]
pub struct Codec {
    /// Appends a message of the layer below with its type byte.
    pub encode_swim: fn(&tribune_swim::Message, &mut Vec<u8>),
    /// Appends a message with its type byte.
    pub encode: fn(&Message, &mut Vec<u8>),
    /// Reads a message with its type byte; `None` if it is malformed or of no known type.
    pub decode: fn(&[u8]) -> Option<Message>,
    /// Appends the state with its type byte.
    pub encode_state: fn(&StateExchange, &mut Vec<u8>),
    /// Reads a state with its type byte.
    pub decode_state: fn(&[u8]) -> Option<StateExchange>,
    /// Metadata of a node from its tags.
    pub encode_tags: fn(&TextMap) -> Arc<[u8]>,
    /// Tags from metadata; what cannot be read is left out.
    pub decode_tags: fn(&[u8]) -> TextMap,
    /// The payload of an ack.
    pub encode_coordinate: fn(&Coordinate) -> Arc<[u8]>,
    /// The coordinate in the payload of an ack, if there is one that can be read.
    pub decode_coordinate: fn(&[u8]) -> Option<Coordinate>,
    /// The answer to a conflict query; `None` if the name is unknown.
    pub encode_conflict: fn(Option<&ConflictAnswer>) -> Arc<[u8]>,
    /// True if a regular expression is found in a value; false if it is none.
    pub matches: fn(expr: &str, value: &str) -> bool,
}
