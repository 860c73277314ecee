//! Who asks: the token that came with a request. Beside the request, never inside it.

use std::fmt;
use std::net::IpAddr;

use crate::text::Text;

/// The secret of an ACL token. Never printed.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Token(Text);

impl Token {
    /// Wraps a secret.
    pub fn new(secret: Text) -> Token {
        Token(secret)
    }

    /// The secret itself; for the authoriser and the wire only.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// True for the anonymous caller.
    pub fn is_anonymous(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() {
            "Token(anonymous)"
        } else {
            "Token(hidden)"
        })
    }
}

/// The origin of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Caller {
    /// Token; empty for anonymous.
    pub token: Token,
    /// Peer address, if it came over IP.
    pub addr: Option<IpAddr>,
}

impl Caller {
    /// The agent itself acting on its own behalf.
    pub fn internal() -> Caller {
        Caller::default()
    }
}
