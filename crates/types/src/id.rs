//! Identifiers: UUIDs of nodes and sessions, positions in the replicated log.

use std::fmt;

/// A 128-bit identifier in the 8-4-4-4-12 text form, always shown in lower case.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub [u8; 16]);

/// Identity of a node (agent), stable over restarts and renames.
pub type NodeId = Uuid;

/// Identity of a session.
pub type SessionId = Uuid;

/// Why a text is no UUID. Nothing was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UuidError {
    /// Not 36 characters.
    #[error("uuid string is wrong length")]
    Length,
    /// A dash is missing or a character is not hexadecimal.
    #[error("uuid is improperly formatted")]
    Format,
}

impl Uuid {
    /// Parses the 36-character form in any letter case.
    pub fn parse(s: &str) -> Result<Uuid, UuidError> {
        let bytes = s.as_bytes();
        if bytes.len() != 36 {
            return Err(UuidError::Length);
        }
        let mut out = [0u8; 16];
        let mut filled = 0;
        let mut at = 0;
        while at < 36 {
            if matches!(at, 8 | 13 | 18 | 23) {
                if bytes[at] != b'-' {
                    return Err(UuidError::Format);
                }
                at += 1;
                continue;
            }
            let high = hex(bytes[at]).ok_or(UuidError::Format)?;
            let low = hex(bytes[at + 1]).ok_or(UuidError::Format)?;
            out[filled] = high << 4 | low;
            filled += 1;
            at += 2;
        }
        Ok(Uuid(out))
    }

    /// Marks 16 random bytes as a version 4 UUID (RFC 9562, section 5.4).
    pub fn from_random(mut bytes: [u8; 16]) -> Uuid {
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        Uuid(bytes)
    }

    /// The all-zero value, which stands for "none" in some formats.
    pub fn is_nil(&self) -> bool {
        self.0 == [0; 16]
    }

    /// The text form as ASCII bytes, without allocation.
    pub fn encode(&self) -> [u8; 36] {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut out = [b'-'; 36];
        let mut at = 0;
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                at += 1;
            }
            out[at] = DIGITS[usize::from(byte >> 4)];
            out[at + 1] = DIGITS[usize::from(byte & 15)];
            at += 2;
        }
        out
    }
}

fn hex(c: u8) -> Option<u8> {
    match c {
        b'0'..=b'9' => Some(c - b'0'),
        b'a'..=b'f' => Some(c - b'a' + 10),
        b'A'..=b'F' => Some(c - b'A' + 10),
        _ => None,
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.encode();
        f.write_str(std::str::from_utf8(&bytes).unwrap_or_default())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

counter!(
    /// Position of an entry in the replicated log, as the consensus layer counts.
    LogIndex
);
counter!(
    /// Election term.
    Term
);
counter!(
    /// Index of a change of the state as clients see it (`CreateIndex`, `ModifyIndex`, `X-Consul-Index`).
    ///
    /// Grows with the log index; a restored snapshot may put it ahead (rpc.md, section 10.2).
    Index
);

impl Index {
    /// The larger of both.
    pub fn at_least(self, other: Index) -> Index {
        self.max(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uuid_prints_as_it_was_parsed_in_lower_case() {
        let id = Uuid::parse("ADF4238a-882b-9ddc-4a9d-5b6758e4159e").unwrap();
        assert_eq!(id.to_string(), "adf4238a-882b-9ddc-4a9d-5b6758e4159e");
    }

    #[test]
    fn malformed_uuids_are_refused() {
        assert_eq!(Uuid::parse("abc"), Err(UuidError::Length));
        assert_eq!(
            Uuid::parse("adf4238a-882b-9ddc-4a9d-5b6758e4159g"),
            Err(UuidError::Format)
        );
        assert_eq!(
            Uuid::parse("adf4238a+882b-9ddc-4a9d-5b6758e4159e"),
            Err(UuidError::Format)
        );
        assert_eq!(
            Uuid::parse("ädf4238a-882b-9ddc-4a9d-5b6758e4159"),
            Err(UuidError::Format)
        );
    }
}
