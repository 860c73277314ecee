//! Go's quoted string form, both ways: clients match error texts that carry `%q`, and string
//! literals of expressions use Go's escapes.

use std::fmt::Write as _;

/// `text` between double quotes with Go's escapes.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            c if (c as u32) < 0x80 => {
                let _ = write!(out, "\\x{:02x}", c as u32);
            }
            c if c.is_control() || c.is_whitespace() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The value of a literal with its quotes, or `None` for an escape Go does not know.
///
/// Bytes written as `\xff` that do not form UTF-8 become replacement characters: no record field
/// holds such bytes, so they cannot match either way.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    if let Some(raw) = literal.strip_prefix('`') {
        return Some(raw.strip_suffix('`')?.replace('\r', ""));
    }
    let body = literal.strip_prefix('"')?.strip_suffix('"')?;
    let mut out: Vec<u8> = Vec::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        match c {
            '\n' | '"' => return None,
            '\\' => escape(&mut chars, &mut out)?,
            c => push(&mut out, c),
        }
    }
    Some(match String::from_utf8(out) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

fn escape(chars: &mut std::str::Chars<'_>, out: &mut Vec<u8>) -> Option<()> {
    match chars.next()? {
        'a' => out.push(7),
        'b' => out.push(8),
        'f' => out.push(12),
        'n' => out.push(b'\n'),
        'r' => out.push(b'\r'),
        't' => out.push(b'\t'),
        'v' => out.push(11),
        c @ ('\\' | '"') => push(out, c),
        'x' => out.push(u8::try_from(digits(chars, 0, 2, 16)?).ok()?),
        'u' => push(
            out,
            char::from_u32(digits(chars, 0, 4, 16)?).unwrap_or('\u{fffd}'),
        ),
        'U' => {
            let code = digits(chars, 0, 8, 16)?;
            if code > 0x0010_ffff {
                return None;
            }
            push(out, char::from_u32(code).unwrap_or('\u{fffd}'));
        }
        c @ '0'..='7' => out.push(u8::try_from(digits(chars, c.to_digit(8)?, 2, 8)?).ok()?),
        _ => return None,
    }
    Some(())
}

fn digits(chars: &mut std::str::Chars<'_>, start: u32, count: usize, radix: u32) -> Option<u32> {
    let mut value = start;
    for _ in 0..count {
        value = value
            .checked_mul(radix)?
            .checked_add(chars.next()?.to_digit(radix)?)?;
    }
    Some(value)
}

fn push(out: &mut Vec<u8>, c: char) {
    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

/// Go's `strconv.ParseInt(text, 0, 64)`, with its error text.
pub(crate) fn parse_int(text: &str) -> Result<i64, String> {
    let fail = |what: &str| format!("strconv.ParseInt: parsing {}: {what}", quote(text));
    let (negative, body) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let lower = body.to_ascii_lowercase();
    // The sign of a base: Go skips "0x", "0o", "0b" and the bare zero of old octal.
    let (radix, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, lower.as_str(), false)
    };
    if digits.is_empty() || !underscores_ok(digits, prefixed) {
        return Err(fail("invalid syntax"));
    }
    let mut value: Option<u64> = Some(0);
    for c in digits.chars().filter(|&c| c != '_') {
        let digit = c.to_digit(radix).ok_or_else(|| fail("invalid syntax"))?;
        value = value
            .and_then(|v| v.checked_mul(u64::from(radix)))
            .and_then(|v| v.checked_add(u64::from(digit)));
    }
    let value = value.map(i128::from).map(|v| if negative { -v } else { v });
    value
        .and_then(|v| i64::try_from(v).ok())
        .ok_or_else(|| fail("value out of range"))
}

/// Underscores stand between digits only; a base prefix counts as a digit.
fn underscores_ok(digits: &str, prefixed: bool) -> bool {
    let bytes = digits.as_bytes();
    bytes.iter().enumerate().all(|(i, &b)| {
        b != b'_'
            || ((if i == 0 {
                prefixed
            } else {
                bytes[i - 1] != b'_'
            }) && bytes.get(i + 1).is_some_and(|&next| next != b'_'))
    })
}

/// Go's `strconv.ParseBool`, with its error text.
pub(crate) fn parse_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(format!(
            "strconv.ParseBool: parsing {}: invalid syntax",
            quote(text)
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::{parse_int, quote, unquote};

    #[test]
    fn literals_follow_go() {
        for (text, want) in [
            (r#""a\tb""#, Some("a\tb")),
            (r#""\x77\u0065\142""#, Some("web")),
            (r#""\U00110000""#, None),
            (r#""\400""#, None),
            (r#""\'""#, None),
            (r#""\""#, None),
            (r#""\ud800""#, Some("\u{fffd}")),
            ("\"a\nb\"", None),
            ("`a\\x\r`", Some("a\\x")),
        ] {
            assert_eq!(unquote(text).as_deref(), want, "{text}");
        }
    }

    #[test]
    fn integers_follow_go() {
        for (text, want) in [
            ("80", Some(80)),
            ("0x5_0", Some(80)),
            ("8_0", Some(80)),
            ("0120", Some(80)),
            ("0_120", Some(80)),
            ("0b1010000", Some(80)),
            ("+80", Some(80)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("_80", None),
            ("80_", None),
            ("8__0", None),
            ("08", None),
            ("0x", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(parse_int(text).ok(), want, "{text}");
        }
    }

    #[test]
    fn quoting_escapes_what_go_escapes() {
        assert_eq!(
            quote("a\"\\\té\u{1}\u{a0}"),
            "\"a\\\"\\\\\\té\\x01\\u00a0\""
        );
    }
}
