//! Heads of long byte strings whose bytes are used as they come.

use super::Error;

/// The head of a byte string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blob {
    /// None.
    Nil,
    /// So many bytes follow.
    Bytes(usize),
    /// So many numbers follow.
    Numbers(usize),
}

impl Blob {
    /// Reads a head and its size; `None` if it goes on past the end of `bytes`.
    pub(crate) fn head(bytes: &[u8]) -> Result<Option<(Blob, usize)>, Error> {
        let Some(&marker) = bytes.first() else {
            return Ok(None);
        };
        let width = match marker {
            0xa0..=0xbf => return Ok(Some((Blob::Bytes(usize::from(marker & 0x1f)), 1))),
            0x90..=0x9f => return Ok(Some((Blob::Numbers(usize::from(marker & 0x0f)), 1))),
            0xc0 => return Ok(Some((Blob::Nil, 1))),
            0xc4 | 0xd9 => 1,
            0xc5 | 0xda | 0xdc => 2,
            0xc6 | 0xdb | 0xdd => 4,
            _ => {
                return Err(Error::Kind {
                    expected: "bytes",
                    found: "something else",
                });
            }
        };
        let Some(digits) = bytes.get(1..1 + width) else {
            return Ok(None);
        };
        let len = digits
            .iter()
            .fold(0, |len, digit| len << 8 | usize::from(*digit));
        let blob = if matches!(marker, 0xdc | 0xdd) {
            Blob::Numbers(len)
        } else {
            Blob::Bytes(len)
        };
        Ok(Some((blob, 1 + width)))
    }
}
