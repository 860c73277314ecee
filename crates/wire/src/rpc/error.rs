//! Why a body of the server RPC cannot be understood.

use crate::msgpack;
use crate::records::RecordError;

/// Why a body cannot be understood. On the serving side the text goes back to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes do not fit the method.
    #[error(transparent)]
    Decode(#[from] msgpack::Error),
    /// The values do not.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The request asks for something that servers refuse, in the words of the original.
    #[error("{0}")]
    Refused(String),
    /// The reply is none to this request.
    #[error("the reply does not answer {0}")]
    Mismatch(&'static str),
}

impl Error {
    pub(super) fn refused(text: &str) -> Error {
        Error::Refused(text.to_owned())
    }
}
