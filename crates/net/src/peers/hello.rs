//! What both sides of a peer connection say first; the layout stands in the header of [`super`].

use super::PeerId;

/// The first byte of a connection that speaks the peer protocol.
pub(crate) const FIRST_BYTE: u8 = b'T';
/// The version spoken here.
pub(crate) const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"TRIB";
/// Bytes of a dialer's hello, the first byte of the connection included.
pub(crate) const HELLO_SIZE: usize = 4 + 1 + 1 + 16 + 16;
/// Bytes of an acceptor's answer.
pub(crate) const ANSWER_SIZE: usize = 4 + 1 + 1 + 16;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Requests and responses.
    Calls = 1,
    /// One snapshot.
    Snapshot = 2,
    /// Calls of the server RPC.
    Rpc = 3,
}

/// A dialer's hello.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) purpose: Purpose,
    pub(crate) from: PeerId,
    pub(crate) target: PeerId,
}

/// Why a hello is not understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HelloError {
    /// It is not of this protocol. No answer.
    #[error("not a hello")]
    Magic,
    /// Another version; the answer tells ours.
    #[error("peer protocol version {0} is not spoken here")]
    Version(u8),
    /// A purpose that this version does not have.
    #[error("purpose {0} is not known")]
    Purpose(u8),
}

impl Hello {
    /// The bytes of it.
    pub(crate) fn encode(&self) -> [u8; HELLO_SIZE] {
        let mut out = [0; HELLO_SIZE];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = self.purpose as u8;
        out[6..22].copy_from_slice(&self.from.0);
        out[22..].copy_from_slice(&self.target.0);
        out
    }

    /// Reads one.
    pub(crate) fn decode(bytes: &[u8; HELLO_SIZE]) -> Result<Hello, HelloError> {
        let [m0, m1, m2, m3, version, purpose, ids @ ..] = bytes;
        if [*m0, *m1, *m2, *m3] != MAGIC {
            return Err(HelloError::Magic);
        }
        if *version != VERSION {
            return Err(HelloError::Version(*version));
        }
        let purpose = match purpose {
            1 => Purpose::Calls,
            2 => Purpose::Snapshot,
            3 => Purpose::Rpc,
            other => return Err(HelloError::Purpose(*other)),
        };
        let (mut from, mut target) = ([0; 16], [0; 16]);
        from.copy_from_slice(&ids[..16]);
        target.copy_from_slice(&ids[16..]);
        Ok(Hello {
            purpose,
            from: PeerId(from),
            target: PeerId(target),
        })
    }
}

/// What an acceptor thinks of a hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Frames may follow.
    Welcome = 0,
    /// Another server than this one is meant.
    OtherServer = 1,
    /// See [`HelloError::Version`].
    Version = 2,
    /// See [`HelloError::Purpose`].
    Purpose = 3,
    /// Too many connections.
    Busy = 4,
}

/// An acceptor's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) version: u8,
    pub(crate) verdict: Verdict,
    pub(crate) from: PeerId,
}

impl Answer {
    /// The bytes of it.
    pub(crate) fn encode(&self) -> [u8; ANSWER_SIZE] {
        let mut out = [0; ANSWER_SIZE];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = self.version;
        out[5] = self.verdict as u8;
        out[6..].copy_from_slice(&self.from.0);
        out
    }

    /// Reads one; `None` if it is none.
    pub(crate) fn decode(bytes: &[u8; ANSWER_SIZE]) -> Option<Answer> {
        let [m0, m1, m2, m3, version, verdict, from @ ..] = *bytes;
        let verdict = match verdict {
            0 => Verdict::Welcome,
            1 => Verdict::OtherServer,
            2 => Verdict::Version,
            3 => Verdict::Purpose,
            4 => Verdict::Busy,
            _ => return None,
        };
        ([m0, m1, m2, m3] == MAGIC).then_some(Answer {
            version,
            verdict,
            from: PeerId(from),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FROM: PeerId = PeerId(*b"0123456789abcdef");
    const TARGET: PeerId = PeerId(*b"ghijklmnopqrstuv");

    #[test]
    fn a_hello_has_these_bytes() {
        let purposes = [Purpose::Calls, Purpose::Snapshot, Purpose::Rpc];
        for (number, purpose) in (1u8..).zip(purposes) {
            let hello = Hello {
                purpose,
                from: FROM,
                target: TARGET,
            };
            let mut bytes = *b"TRIB\x01\x000123456789abcdefghijklmnopqrstuv";
            bytes[5] = number;
            assert_eq!(hello.encode(), bytes);
            assert_eq!(Hello::decode(&bytes), Ok(hello));
            assert_eq!(bytes[0], FIRST_BYTE);
        }
    }

    #[test]
    fn an_answer_has_these_bytes() {
        let verdicts = [
            Verdict::Welcome,
            Verdict::OtherServer,
            Verdict::Version,
            Verdict::Purpose,
            Verdict::Busy,
        ];
        for (number, verdict) in (0u8..).zip(verdicts) {
            let answer = Answer {
                version: 1,
                verdict,
                from: FROM,
            };
            let mut bytes = *b"TRIB\x01\x000123456789abcdef";
            bytes[5] = number;
            assert_eq!(answer.encode(), bytes);
            assert_eq!(Answer::decode(&bytes), Some(answer));
        }
        assert_eq!(Answer::decode(b"TRIB\x01\x050123456789abcdef"), None);
        assert_eq!(Answer::decode(b"HTTP\x01\x000123456789abcdef"), None);
    }

    #[test]
    fn a_hello_of_another_kind_is_told_apart() {
        let good = Hello {
            purpose: Purpose::Calls,
            from: FROM,
            target: TARGET,
        };
        // (byte, value, error)
        let cases = [
            (0, b't', HelloError::Magic),
            (3, 0, HelloError::Magic),
            (4, 0, HelloError::Version(0)),
            (4, 2, HelloError::Version(2)),
            (5, 0, HelloError::Purpose(0)),
            (5, 4, HelloError::Purpose(4)),
        ];
        for (at, value, error) in cases {
            let mut bytes = good.encode();
            bytes[at] = value;
            assert_eq!(Hello::decode(&bytes), Err(error));
        }
    }

    #[test]
    fn an_id_prints_as_a_node_id() {
        let id = PeerId([
            0xad, 0xf4, 0x23, 0x8a, 0x88, 0x2b, 0x9d, 0xdc, 0x4a, 0x9d, 0x5b, 0x67, 0x58, 0xe4,
            0x15, 0x9e,
        ]);
        assert_eq!(id.to_string(), "adf4238a-882b-9ddc-4a9d-5b6758e4159e");
    }
}
