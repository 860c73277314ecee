//! What can be wrong with a value.

use std::fmt;

/// Why a value could not be decoded or encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The input stops inside a value, or a length points past its end.
    #[error("msgpack: unexpected end of input")]
    End,
    /// The value is of another type.
    #[error("msgpack: expected {expected}, found {found}")]
    Kind {
        /// The type asked for.
        expected: &'static str,
        /// The type at hand.
        found: &'static str,
    },
    /// The marker 0xc1, which no encoder writes.
    #[error("msgpack: reserved marker 0xc1")]
    Reserved,
    /// Arrays and maps nest too deeply.
    #[error("msgpack: nesting deeper than {} levels", super::DEPTH_MAX)]
    Depth,
    /// More empty structs than any sensible message holds.
    #[error("msgpack: too many empty structs")]
    Hollow,
    /// Something follows where the value should end.
    #[error("msgpack: {0} bytes after the end of the value")]
    Trailing(usize),
    /// A sequence or map too long for the format, or of unknown length (encoding).
    #[error("msgpack: length cannot be encoded")]
    Length,
    /// A number that does not fit where it belongs.
    #[error("msgpack: number out of range")]
    Range,
    /// A time is neither 15 nor 16 bytes of a known version.
    #[error("msgpack: malformed time")]
    Time,
    /// A finding of serde or of a type's own decoder.
    #[error("msgpack: {0}")]
    Message(String),
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Error::Message(msg.to_string())
    }
}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(msg: T) -> Self {
        Error::Message(msg.to_string())
    }
}
