//! The smallest pieces: strings, numbers, base64, times.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tribune_types::text::{Text, TextMap};
use tribune_types::time::Wall;

/// True for bytes that may need an escape. 0xE2 starts U+2028 and U+2029.
const SPECIAL: [bool; 256] = {
    let mut table = [false; 256];
    let mut i = 0;
    while i < 0x20 {
        table[i] = true;
        i += 1;
    }
    table[b'"' as usize] = true;
    table[b'\\' as usize] = true;
    table[b'<' as usize] = true;
    table[b'>' as usize] = true;
    table[b'&' as usize] = true;
    table[0xE2] = true;
    table
};

/// A JSON string with its quotes.
pub fn string(out: &mut Vec<u8>, s: &str) {
    out.reserve(s.len() + 2);
    out.push(b'"');
    escaped(out, s.as_bytes());
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut done = 0;
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        if !SPECIAL[usize::from(byte)] {
            at += 1;
            continue;
        }
        let escape: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0xE2 => match bytes.get(at + 1..at + 3) {
                Some([0x80, 0xA8]) => b"\\u2028",
                Some([0x80, 0xA9]) => b"\\u2029",
                _ => {
                    at += 1;
                    continue;
                }
            },
            _ => &[
                b'\\',
                b'u',
                b'0',
                b'0',
                HEX[usize::from(byte >> 4)],
                HEX[usize::from(byte & 15)],
            ],
        };
        out.extend_from_slice(&bytes[done..at]);
        out.extend_from_slice(escape);
        at += if byte == 0xE2 { 3 } else { 1 };
        done = at;
    }
    out.extend_from_slice(&bytes[done..]);
}

/// A JSON string of bytes that need not be UTF-8; each byte that is none becomes `\ufffd`.
pub(super) fn bytes_string(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    match std::str::from_utf8(bytes) {
        Ok(text) => escaped(out, text.as_bytes()),
        Err(_) => {
            for chunk in bytes.utf8_chunks() {
                escaped(out, chunk.valid().as_bytes());
                for _ in chunk.invalid() {
                    out.extend_from_slice(b"\\ufffd");
                }
            }
        }
    }
    out.push(b'"');
}

/// Constant bytes.
pub(super) fn raw(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(bytes);
}

/// A constant piece followed by a string.
pub(super) fn field(out: &mut Vec<u8>, piece: &[u8], s: &str) {
    out.extend_from_slice(piece);
    string(out, s);
}

/// An unsigned number.
pub(super) fn uint(out: &mut Vec<u8>, mut n: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (n % 10) as u8;
        n /= 10;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// A signed number.
pub(super) fn int(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    uint(out, n.unsigned_abs());
}

/// `true` or `false`.
pub(super) fn boolean(out: &mut Vec<u8>, b: bool) {
    out.extend_from_slice(if b { b"true" } else { b"false" });
}

/// A float as Go's JSON encoder writes it; what is no number reads `null`.
pub(super) fn float(out: &mut Vec<u8>, f: f64) {
    use std::io::Write;
    if !f.is_finite() {
        raw(out, b"null");
        return;
    }
    let size = f.abs();
    // Writing to a Vec cannot fail.
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{f:e}");
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                let _ = write!(out, "{digits}e+{exponent}");
            }
            _ => raw(out, text.as_bytes()),
        }
    } else {
        let _ = write!(out, "{f}");
    }
}

/// Bytes in base64, or `null` when empty.
pub(super) fn base64(out: &mut Vec<u8>, bytes: &[u8]) {
    if bytes.is_empty() {
        raw(out, b"null");
        return;
    }
    out.push(b'"');
    let start = out.len();
    // 4 characters per 3 bytes, rounded up.
    let size = bytes.len().div_ceil(3) * 4;
    out.resize(start + size, 0);
    let written = STANDARD.encode_slice(bytes, &mut out[start..]).unwrap_or(0);
    out.truncate(start + written);
    out.push(b'"');
}

/// An array of strings.
pub(super) fn string_list<S: AsRef<str>>(out: &mut Vec<u8>, items: &[S]) {
    list(out, items, |out, item| string(out, item.as_ref()));
}

/// An array.
pub(super) fn list<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut each: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    let mut first = true;
    for item in items {
        if !first {
            out.push(b',');
        }
        first = false;
        each(out, item);
    }
    out.push(b']');
}

/// An object with keys already in byte order.
pub(super) fn object<K: AsRef<str>, T>(
    out: &mut Vec<u8>,
    pairs: impl IntoIterator<Item = (K, T)>,
    mut each: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'{');
    let mut first = true;
    for (key, value) in pairs {
        if !first {
            out.push(b',');
        }
        first = false;
        string(out, key.as_ref());
        out.push(b':');
        each(out, value);
    }
    out.push(b'}');
}

/// A string map, or `null`.
pub(super) fn text_map(out: &mut Vec<u8>, map: Option<&TextMap>) {
    match map {
        None => raw(out, b"null"),
        Some(map) => object(out, map.iter(), |out, value: &Text| string(out, value)),
    }
}

/// `"CreateIndex":…,"ModifyIndex":…` with a leading comma.
pub(super) fn indexes(out: &mut Vec<u8>, create: u64, modify: u64) {
    raw(out, b",\"CreateIndex\":");
    uint(out, create);
    raw(out, b",\"ModifyIndex\":");
    uint(out, modify);
}

/// A field list that leaves out empty values: knows whether a comma is due.
pub(super) struct Sparse {
    first: bool,
}

impl Sparse {
    /// Opens the object.
    pub(super) fn open(out: &mut Vec<u8>) -> Sparse {
        out.push(b'{');
        Sparse { first: true }
    }

    /// Writes the name; the caller writes the value.
    pub(super) fn name(&mut self, out: &mut Vec<u8>, name: &str) {
        if !self.first {
            out.push(b',');
        }
        self.first = false;
        out.push(b'"');
        raw(out, name.as_bytes());
        raw(out, b"\":");
    }

    /// A string, left out when empty.
    pub(super) fn text(&mut self, out: &mut Vec<u8>, name: &str, s: &str) {
        if !s.is_empty() {
            self.name(out, name);
            string(out, s);
        }
    }

    /// `true`, left out when false.
    pub(super) fn flag(&mut self, out: &mut Vec<u8>, name: &str, b: bool) {
        if b {
            self.name(out, name);
            raw(out, b"true");
        }
    }

    /// A number, left out when zero.
    pub(super) fn int(&mut self, out: &mut Vec<u8>, name: &str, n: i64) {
        if n != 0 {
            self.name(out, name);
            int(out, n);
        }
    }

    /// Closes the object.
    pub(super) fn close(self, out: &mut Vec<u8>) {
        out.push(b'}');
    }
}

/// A time as RFC 3339 in UTC, fraction without trailing zeros.
pub(super) fn time(out: &mut Vec<u8>, at: Wall) {
    use std::io::Write;
    let secs = at.unix_secs();
    let (days, of_day) = (secs / 86_400, secs % 86_400);
    // Civil date from days since 1970 (Howard Hinnant's algorithm), for dates after 1970.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    let _ = write!(
        out,
        "\"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
    );
    let nanos = at.0 % 1_000_000_000;
    if nanos != 0 {
        let text = format!("{nanos:09}");
        let _ = write!(out, ".{}", text.trim_end_matches('0'));
    }
    raw(out, b"Z\"");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn strings_are_escaped_as_go_does() {
        for (given, want) in [
            ("plain", r#""plain""#),
            ("a<b>&c", r#""a\u003cb\u003e\u0026c""#),
            ("q\"\\", r#""q\"\\""#),
            (
                "\n\r\t\u{0}\u{1f}\u{7f}",
                "\"\\n\\r\\t\\u0000\\u001f\u{7f}\"",
            ),
            ("\u{2028}\u{2029}\u{202a}€", "\"\\u2028\\u2029\u{202a}€\""),
            ("é", "\"é\""),
            ("\u{fffd}", "\"\u{fffd}\""),
        ] {
            assert_eq!(of(|out| string(out, given)), want, "{given:?}");
        }
    }

    #[test]
    fn each_bad_byte_is_one_replacement() {
        for (given, want) in [
            (&b"a\xffb"[..], r#""a\ufffdb""#),
            (b"\xe2\x82", r#""\ufffd\ufffd""#),
            (b"\xed\xa0\x80", r#""\ufffd\ufffd\ufffd""#),
        ] {
            assert_eq!(of(|out| bytes_string(out, given)), want);
        }
    }

    #[test]
    fn floats_take_the_shortest_form_that_reads_back() {
        for (given, want) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (0.00001, "0.00001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (f64::MAX, "1.7976931348623157e+308"),
            (-2.0, "-2"),
            (f64::NAN, "null"),
        ] {
            assert_eq!(of(|out| float(out, given)), want);
        }
    }

    #[test]
    fn numbers_print_over_their_whole_range() {
        for (given, want) in [
            (0, "0"),
            (i64::MIN, "-9223372036854775808"),
            (i64::MAX, "9223372036854775807"),
            (-7, "-7"),
        ] {
            assert_eq!(of(|out| int(out, given)), want);
        }
        assert_eq!(of(|out| uint(out, u64::MAX)), "18446744073709551615");
    }

    #[test]
    fn base64_is_standard_with_padding_and_empty_is_null() {
        for (given, want) in [
            (&b""[..], "null"),
            (b"hello", "\"aGVsbG8=\""),
            (b"\xff\xff\xfe", "\"///+\""),
        ] {
            assert_eq!(of(|out| base64(out, given)), want);
        }
    }

    #[test]
    fn times_are_utc_without_trailing_zeros() {
        for (nanos, want) in [
            (0, "\"1970-01-01T00:00:00Z\""),
            (1_795_414_410_000_000_000, "\"2026-11-23T06:13:30Z\""),
            (951_782_400_500_000_000, "\"2000-02-29T00:00:00.5Z\""),
            (
                4_102_444_799_000_000_001,
                "\"2099-12-31T23:59:59.000000001Z\"",
            ),
        ] {
            assert_eq!(of(|out| time(out, Wall(nanos))), want);
        }
    }
}
