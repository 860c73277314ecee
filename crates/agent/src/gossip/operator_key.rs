//! Reads a key as an operator writes it: base64 with padding; line ends are skipped. The words and positions of refusals
//! are those of Consul 1.8.7, since they are shown to operators.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Bits behind the last byte do not matter.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The bytes of a key, of whatever size.
///
/// # Errors
/// Where it stops being base64.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, String> {
    if let Some(at) = wrong_at(text.as_bytes()) {
        return Err(format!("illegal base64 data at input byte {at}"));
    }
    let digits: Vec<u8> = text.bytes().filter(|b| !is_line_end(*b)).collect();
    // What passed the scan decodes.
    BASE64.decode(digits).map_err(|err| err.to_string())
}

/// Position of what is wrong, as Go counts it: the character, or the group of four that is not complete.
fn wrong_at(bytes: &[u8]) -> Option<usize> {
    let mut rest = bytes
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, b)| !is_line_end(*b));
    let mut place = 0;
    let mut after = 0;
    while let Some((at, byte)) = rest.next() {
        after = at + 1;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/') {
            place = (place + 1) % 4;
            continue;
        }
        if byte != b'=' || place < 2 {
            return Some(at);
        }
        if place == 2 {
            match rest.next() {
                None => return Some(bytes.len()),
                Some((_, b'=')) => {}
                Some((next, _)) => return Some(next - 1),
            }
        }
        // Nothing follows the padding.
        return rest.next().map(|(at, _)| at);
    }
    (place > 0).then(|| after - place)
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_or_refused_where_they_go_wrong() {
        // (text, size or position); positions of the first block as Consul 1.8.7 gave them.
        for (text, want) in [
            ("x", Err(0)),
            ("AAA!", Err(3)),
            ("AAAAA", Err(4)),
            ("AAAAAAAAAAAAAAAAAAAAAA", Err(20)),
            ("AAAA\n", Ok(3)),
            ("", Ok(0)),
            ("MDEyMzQ1Njc4OWFiY2RlZg==", Ok(16)),
            ("AA\r\n==", Ok(1)),
            ("AB==", Ok(1)),
            ("AAA=", Ok(2)),
            ("=", Err(0)),
            ("A===", Err(1)),
            ("AA=", Err(3)),
            ("AA=A", Err(2)),
            ("AAA=A", Err(4)),
            ("AAAA====", Err(4)),
            ("AAAA AAAA", Err(4)),
            ("ää", Err(0)),
        ] {
            let want = match want {
                Ok(size) => Ok(vec![0; size].len()),
                Err(at) => Err(format!("illegal base64 data at input byte {at}")),
            };
            assert_eq!(decode(text).map(|bytes| bytes.len()), want, "{text:?}");
        }
    }
}
