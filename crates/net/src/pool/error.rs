//! Why a call has no reply.

use std::sync::Arc;

/// Why a call has no reply. The texts reach clients, which match on parts of them (rpc.md section 3).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// There is no connection, and the server has seen nothing of the call.
    #[error("rpc error getting client: {0}")]
    NotSent(NotSent),
    /// The connection broke or the deadline passed after the call was sent: it may or may not have been served.
    #[error("rpc error making call: {0}")]
    FateUnknown(Lost),
    /// The server answered with this error.
    #[error("rpc error making call: {0}")]
    Remote(String),
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotSent {
    /// The server cannot be reached.
    #[error("failed to get conn: {0}")]
    Dial(Arc<str>),
    /// The connection ended before the call was on it, twice.
    #[error("session shutdown")]
    Session,
}

/// How a call was lost.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Lost {
    /// The connection or stream ended.
    #[error("EOF")]
    Eof,
    /// The stream was reset, or the connection failed.
    #[error("{0}")]
    Broken(String),
    /// No reply in time.
    #[error("i/o deadline reached")]
    Deadline,
    /// The reply cannot be understood, or is too large.
    #[error("{0}")]
    Reply(String),
}

impl CallError {
    /// True if the server has seen nothing of the call: any other server may be asked instead.
    pub fn is_not_sent(&self) -> bool {
        matches!(self, CallError::NotSent(_))
    }

    /// True for the ends of connections that reads are tried again after.
    pub fn is_end(&self) -> bool {
        matches!(
            self,
            CallError::NotSent(NotSent::Session)
                | CallError::FateUnknown(Lost::Eof | Lost::Broken(_))
        )
    }
}
