//! JSON as Go's decoder reads it: the same values, the same error texts, bounded depth.
//!
//! In: the bytes of a request body. Out: a borrowed [`Json`] tree; strings without escapes point into the body. Only
//! the first value is read, what follows is ignored, as Go's streaming decoder does. Bytes that are no UTF-8 and lone
//! surrogates become U+FFFD, one per byte.
//!
//! Invariants: no input panics; recursion ends at [`DEPTH_MAX`]; memory is a small multiple of the body. Error texts
//! were read off a running Consul 1.8.7 (clients print them).

mod parse;
mod quote;

use std::borrow::Cow;

pub(crate) use parse::lossy;
pub use parse::parse;
pub use quote::go_quote;

/// Deepest nesting accepted. Consul 1.8.7 takes 10,000; nothing sensible passes 30, and the trees are walked by
/// recursion in several crates.
pub const DEPTH_MAX: usize = 128;

/// A JSON value that borrows from the body.
#[derive(Debug, Clone, PartialEq)]
pub enum Json<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number as written.
    Number(&'a str),
    /// A string with escapes resolved.
    String(Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object in the order written; names may repeat.
    Object(Vec<(Cow<'a, str>, Json<'a>)>),
}

impl Json<'_> {
    /// What Go calls this kind of value in error texts.
    pub fn kind(&self) -> &'static str {
        match self {
            Json::Null => "null",
            Json::Bool(_) => "bool",
            Json::Number(_) => "number",
            Json::String(_) => "string",
            Json::Array(_) => "array",
            Json::Object(_) => "object",
        }
    }
}

/// Why a body cannot be decoded. `Display` is the text clients see after a prefix such as `Request decode failed: `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Nothing but white space.
    #[error("EOF")]
    Empty,
    /// The value ends too early.
    #[error("unexpected EOF")]
    Truncated,
    /// A byte that cannot stand there.
    #[error("invalid character {} {context}", quote::quote_byte(*.byte))]
    Syntax {
        /// The byte.
        byte: u8,
        /// Where it stands.
        context: &'static str,
    },
    /// A field that the strict bodies do not know.
    #[error("json: unknown field {}", go_quote(.0))]
    UnknownField(String),
    /// A value of the wrong type. The text is complete.
    #[error("json: cannot unmarshal {0}")]
    Type(String),
    /// A value that its own decoder refuses (durations, base64).
    #[error("{0}")]
    Value(String),
}
