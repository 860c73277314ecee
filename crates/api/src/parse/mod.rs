//! Request bodies as domain values (spec http-api.md sections 1.2, 2 and 4).
//!
//! In: the bytes of a body. Out: a definition, a catalog write, a session, a transaction, ... or a [`BodyError`] with
//! status and text. Field names match in any letter case; the last of equal names wins; `null` leaves the default.
//! Bodies that Consul decodes strictly refuse unknown fields.
//!
//! Nothing is validated here that the servers or the agent validate; only what the domain types cannot hold is refused.

mod catalog;
mod decode;
mod definition;
mod misc;
mod prepared;
mod proxy;
mod session;
mod txn;

pub use catalog::{deregister, register};
pub use definition::{check_definition, service_definition};
pub use misc::{CheckUpdateBody, autopilot, check_update, coordinate_update, keyring_key, token};
pub use prepared::prepared_query;
pub use session::session;
pub use txn::{TXN_OPS_MAX, TxnRequest, txn};

use crate::json::JsonError;

/// Why a body gives no request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It cannot be decoded. The endpoint puts its prefix before the text.
    #[error("{0}")]
    Decode(#[from] JsonError),
    /// It holds a namespace field.
    #[error("{0} - Namespaces are a Consul Enterprise feature")]
    Namespace(JsonError),
    /// It names a check status that does not exist (400, without prefix).
    #[error("{0}")]
    BadStatus(&'static str),
    /// It decodes but holds a value the servers would refuse, with their text (500).
    #[error("{0}")]
    Refused(String),
}

impl BodyError {
    /// The answer of endpoints that say `Request decode failed: …`.
    pub fn into_api(self) -> crate::errors::ApiError {
        match self {
            BodyError::BadStatus(text) => crate::errors::ApiError::bad(text),
            BodyError::Refused(text) => crate::errors::ApiError::from_text(text),
            other => crate::errors::ApiError::decode(other),
        }
    }
}
