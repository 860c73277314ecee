//! Quoting as Go's `%q` and its JSON error texts do it.

use std::fmt::Write;

/// Quotes like Go's `strconv.Quote`.
pub fn go_quote(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        push(&mut out, c, Some('"'));
    }
    out.push('"');
    out
}

/// A byte of a body as Go's JSON errors show it: in single quotes, seen as a code point.
pub(super) fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let mut out = String::from("'");
            push(&mut out, char::from(byte), None);
            out.push('\'');
            out
        }
    }
}

fn push(out: &mut String, c: char, quote: Option<char>) {
    match c {
        '\\' => out.push_str(r"\\"),
        c if Some(c) == quote => {
            out.push('\\');
            out.push(c);
        }
        '\u{7}' => out.push_str(r"\a"),
        '\u{8}' => out.push_str(r"\b"),
        '\u{c}' => out.push_str(r"\f"),
        '\n' => out.push_str(r"\n"),
        '\r' => out.push_str(r"\r"),
        '\t' => out.push_str(r"\t"),
        '\u{b}' => out.push_str(r"\v"),
        c if (c as u32) < 0x20 || c as u32 == 0x7f => {
            let _ = write!(out, "\\x{:02x}", c as u32);
        }
        c if !crate::params::is_printable(c) => {
            let code = c as u32;
            let _ = if code < 0x10000 {
                write!(out, "\\u{code:04x}")
            } else {
                write!(out, "\\U{code:08x}")
            };
        }
        c => out.push(c),
    }
}
