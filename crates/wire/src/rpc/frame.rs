//! Finding where a MessagePack value ends, with bounded work and no allocation.

/// Why bytes are no MessagePack value that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ScanError {
    /// The marker byte `0xc1`, which the format never uses.
    #[error("msgpack: unused marker byte")]
    Marker,
    /// Containers inside containers beyond the limit.
    #[error("msgpack: value nested too deeply")]
    Depth,
    /// The value claims to be longer than the limit.
    #[error("msgpack: value too large")]
    Size,
}

/// Deepest nesting accepted.
const DEPTH_MAX: usize = 64;

/// Length of the first value in `bytes`, or `None` if it is not complete yet.
///
/// `size_max` bounds what the value may claim; a container of n items claims at least n bytes, so a short frame cannot
/// make the reader wait for, or reserve, more than that.
///
/// # Errors
/// See [`ScanError`]; more bytes would not help.
pub fn scan(bytes: &[u8], size_max: usize) -> Result<Option<usize>, ScanError> {
    let mut at = 0usize;
    // Values still to read on each level of nesting.
    let mut open: [u64; DEPTH_MAX] = [0; DEPTH_MAX];
    let mut depth = 0usize;
    open[0] = 1;
    loop {
        while open[depth] == 0 {
            if depth == 0 {
                return Ok(Some(at));
            }
            depth -= 1;
        }
        open[depth] -= 1;
        let Some(&marker) = bytes.get(at) else { return Ok(None) };
        at += 1;
        let payload = |len_bytes: usize, at: &mut usize| -> Option<u64> {
            let field = bytes.get(*at..*at + len_bytes)?;
            *at += len_bytes;
            Some(field.iter().fold(0u64, |acc, byte| acc << 8 | u64::from(*byte)))
        };
        let (skip, children) = match marker {
            0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff => (0, 0),
            0x80..=0x8f => (0, u64::from(marker & 0x0f) * 2),
            0x90..=0x9f => (0, u64::from(marker & 0x0f)),
            0xa0..=0xbf => (u64::from(marker & 0x1f), 0),
            0xc1 => return Err(ScanError::Marker),
            0xcc | 0xd0 => (1, 0),
            0xcd | 0xd1 => (2, 0),
            0xce | 0xd2 | 0xca => (4, 0),
            0xcf | 0xd3 | 0xcb => (8, 0),
            0xd4 => (2, 0),
            0xd5 => (3, 0),
            0xd6 => (5, 0),
            0xd7 => (9, 0),
            0xd8 => (17, 0),
            0xc4..=0xc6 | 0xd9..=0xdb | 0xc7..=0xc9 | 0xdc..=0xdf => {
                let width = match marker {
                    0xc4 | 0xd9 | 0xc7 => 1,
                    0xc5 | 0xda | 0xc8 | 0xdc | 0xde => 2,
                    _ => 4,
                };
                let Some(len) = payload(width, &mut at) else { return Ok(None) };
                match marker {
                    0xdc | 0xdd => (0, len),
                    0xde | 0xdf => (0, len * 2),
                    // Extension values have a type byte before their data.
                    0xc7..=0xc9 => (len + 1, 0),
                    _ => (len, 0),
                }
            }
        };
        let claimed = (at as u64).saturating_add(skip).saturating_add(children);
        if claimed > size_max as u64 {
            return Err(ScanError::Size);
        }
        at += skip as usize;
        if at > bytes.len() {
            return Ok(None);
        }
        if children > 0 {
            if depth + 1 == DEPTH_MAX {
                return Err(ScanError::Depth);
            }
            depth += 1;
            open[depth] = children;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1 << 20;

    #[test]
    fn values_end_where_they_end() {
        // (bytes, length)
        let cases: [(&[u8], usize); 7] = [
            (&[0xc0, 0xff], 1),
            (&[0xa3, b'a', b'b', b'c', 0x01], 4),
            (&[0x82, 0xa1, b'a', 0x01, 0xa1, b'b', 0x92, 0x01, 0x02, 0xff], 9),
            (&[0xda, 0x00, 0x02, b'x', b'y'], 5),
            (&[0xc4, 0x01, 0x00], 3),
            (&[0xc7, 0x01, 0x05, 0x00], 4),
            (&[0xdc, 0x00, 0x01, 0xcb, 0, 0, 0, 0, 0, 0, 0, 0], 12),
        ];
        for (bytes, want) in cases {
            assert_eq!(scan(bytes, MAX), Ok(Some(want)), "{bytes:x?}");
            for cut in 0..want {
                assert_eq!(scan(&bytes[..cut], MAX), Ok(None), "{bytes:x?} cut at {cut}");
            }
        }
    }

    #[test]
    fn claims_beyond_the_limit_are_refused_before_their_bytes_arrive() {
        assert_eq!(scan(&[0xdb, 0xff, 0xff, 0xff, 0xff], MAX), Err(ScanError::Size));
        assert_eq!(scan(&[0xdd, 0xff, 0xff, 0xff, 0xff], MAX), Err(ScanError::Size));
        assert_eq!(scan(&[0xdf, 0xff, 0xff, 0xff, 0xff], MAX), Err(ScanError::Size));
    }

    #[test]
    fn deep_nesting_is_refused() {
        assert_eq!(scan(&[0x91; 1000], MAX), Err(ScanError::Depth));
    }

    #[test]
    fn the_unused_marker_is_refused() {
        assert_eq!(scan(&[0xc1], MAX), Err(ScanError::Marker));
    }
}
