//! Paths as Go's `ServeMux` sees them: decoded, cleaned, without unprintable characters.

use std::borrow::Cow;

use tribune_api::params::is_printable;

/// True if every character may stand in a path. Bytes that are no UTF-8 may, as in Consul.
pub(crate) fn printable(path: &[u8]) -> bool {
    if path.iter().all(|b| (b' '..=b'~').contains(b)) {
        return true;
    }
    path.utf8_chunks()
        .all(|chunk| chunk.valid().chars().all(is_printable))
}

/// The cleaned path if it differs: no `//`, `.` or `..`. A trailing slash stays.
pub(crate) fn cleaned(path: &[u8]) -> Option<Vec<u8>> {
    let clean_already =
        path.first() == Some(&b'/') && !path.windows(2).any(|pair| pair == b"//" || pair == b"/.");
    if clean_already {
        return None;
    }
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let mut out = Vec::with_capacity(path.len() + 1);
    for part in &parts {
        out.push(b'/');
        out.extend_from_slice(part);
    }
    if path.last() == Some(&b'/') || parts.is_empty() {
        out.push(b'/');
    }
    if out == path { None } else { Some(out) }
}

/// A decoded path in its encoded form, for `Location` headers.
pub(crate) fn encoded(path: &[u8]) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(path.len());
    for byte in path {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'_'
            | b'.'
            | b'~'
            | b'$'
            | b'&'
            | b'+'
            | b','
            | b'/'
            | b':'
            | b';'
            | b'='
            | b'@' => {
                out.push(char::from(*byte));
            }
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

/// Text of a path argument.
pub(crate) fn text(arg: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(arg)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (given, want) in [
            ("/v1/kv/a", None),
            ("/v1/kv/", None),
            ("/", None),
            ("/v1/kv//a", Some("/v1/kv/a")),
            ("/v1/kv/a//", Some("/v1/kv/a/")),
            ("/v1/../v1/kv/a", Some("/v1/kv/a")),
            ("/v1/kv/./a/", Some("/v1/kv/a/")),
            ("/../..", Some("/")),
            ("//", Some("/")),
            ("", Some("/")),
            ("v1", Some("/v1")),
            ("/v1/kv/.hidden", None),
            ("/v1/kv/..a", None),
            ("/v1/kv/a..", None),
        ] {
            assert_eq!(
                cleaned(given.as_bytes()),
                want.map(|w| w.as_bytes().to_vec()),
                "{given}"
            );
        }
    }

    #[test]
    fn control_characters_are_not_printable_and_broken_utf8_is() {
        for (given, want) in [
            (&b"/v1/kv/a b"[..], true),
            ("/v1/kv/\u{e9}".as_bytes(), true),
            (b"/v1/kv/\xff", true),
            (b"/v1/kv/\0", false),
            (b"/v1/kv/\n", false),
            (b"/v1/kv/\x7f", false),
            ("/v1/kv/\u{200b}".as_bytes(), false),
            ("/v1/kv/\u{2028}".as_bytes(), false),
        ] {
            assert_eq!(printable(given), want, "{given:?}");
        }
    }
}
