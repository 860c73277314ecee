//! Frame headers (rpc.md section 1.4).
//!
//! ```text
//! version u8 = 0 | type u8 | flags u16 | stream u32 | length u32      big endian
//! ```

/// Bytes of a header.
pub(super) const HEADER_SIZE: usize = 12;

/// Opens a stream.
pub(super) const SYN: u16 = 1;
/// Accepts a stream; answers a ping.
pub(super) const ACK: u16 = 2;
/// Nothing more will be sent.
pub(super) const FIN: u16 = 4;
/// The stream is gone.
pub(super) const RST: u16 = 8;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `length` bytes follow.
    Data,
    /// `length` more bytes may be sent.
    WindowUpdate,
    /// `length` is an opaque value to send back.
    Ping,
    /// `length` is a reason: 0 normal, 1 protocol error, 2 internal error.
    GoAway,
}

/// One header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) flags: u16,
    pub(super) stream: u32,
    pub(super) length: u32,
}

impl Header {
    /// Reads a header; `None` if it is not one of version 0.
    pub(super) fn decode(bytes: &[u8; HEADER_SIZE]) -> Option<Header> {
        let [version, kind, f1, f0, s3, s2, s1, s0, l3, l2, l1, l0] = *bytes;
        let kind = match kind {
            0 => Kind::Data,
            1 => Kind::WindowUpdate,
            2 => Kind::Ping,
            3 => Kind::GoAway,
            _ => return None,
        };
        (version == 0).then_some(Header {
            kind,
            flags: u16::from_be_bytes([f1, f0]),
            stream: u32::from_be_bytes([s3, s2, s1, s0]),
            length: u32::from_be_bytes([l3, l2, l1, l0]),
        })
    }

    /// Appends it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let kind = match self.kind {
            Kind::Data => 0,
            Kind::WindowUpdate => 1,
            Kind::Ping => 2,
            Kind::GoAway => 3,
        };
        out.extend_from_slice(&[0, kind]);
        out.extend_from_slice(&self.flags.to_be_bytes());
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&self.length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_read_back() {
        for kind in [Kind::Data, Kind::WindowUpdate, Kind::Ping, Kind::GoAway] {
            let header = Header {
                kind,
                flags: SYN | FIN,
                stream: 0x0102_0304,
                length: 262_144,
            };
            let mut out = Vec::new();
            header.write(&mut out);
            assert_eq!(
                Header::decode(out.as_slice().try_into().unwrap()),
                Some(header)
            );
        }
        assert_eq!(Header::decode(&[1; 12]), None, "another version");
        assert_eq!(Header::decode(&[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]), None);
    }
}
