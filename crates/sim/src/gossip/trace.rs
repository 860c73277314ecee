//! A fingerprint of a whole run: two runs with equal fingerprints had the same events with the same bytes in the same
//! order at the same times.

/// A running hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace(u64);

impl Trace {
    /// Of nothing.
    pub(crate) fn new() -> Trace {
        Trace(0x9E37_79B9_7F4A_7C15)
    }

    /// Adds a number.
    pub(crate) fn number(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    /// Adds bytes with their count.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.number(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.number(u64::from(*byte));
        }
    }

    /// The fingerprint.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_length_and_content_count() {
        let of = |parts: &[&[u8]]| {
            let mut trace = Trace::new();
            for part in parts {
                trace.bytes(part);
            }
            trace.value()
        };
        let all = [
            of(&[b"ab", b"c"]),
            of(&[b"a", b"bc"]),
            of(&[b"c", b"ab"]),
            of(&[b"abc"]),
            of(&[b"0123456789"]),
            of(&[b"0123456798"]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
    }
}
