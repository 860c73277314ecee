//! Numbers and versions in tags, read as the agents that wrote them read them.

use super::recognise::Version;

/// A decimal integer of 64 bits with an optional sign and nothing around it.
pub(super) fn integer(text: &str) -> Option<i64> {
    // The standard parser takes the same texts: an optional sign, then decimal digits only.
    text.parse().ok()
}

/// The first `digits.digits.digits` in a build text.
pub(super) fn version(build: &str) -> Option<Version> {
    let bytes = build.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        match triple(&build[at..]) {
            Triple::Found(parts) => return parts,
            // A longer look from within the same digits cannot succeed either.
            Triple::None => at += digits(&bytes[at..]),
        }
    }
    None
}

enum Triple {
    None,
    /// `None` inside: there is one, but its numbers do not fit.
    Found(Option<Version>),
}

/// `text` starts with a digit.
fn triple(text: &str) -> Triple {
    let bytes = text.as_bytes();
    let mut parts = [""; 3];
    let mut at = 0;
    for (position, part) in parts.iter_mut().enumerate() {
        if position > 0 {
            if bytes.get(at) != Some(&b'.') {
                return Triple::None;
            }
            at += 1;
        }
        let len = digits(&bytes[at..]);
        if len == 0 {
            return Triple::None;
        }
        *part = &text[at..at + len];
        at += len;
    }
    let number = |part: &str| part.parse::<i64>().ok().and_then(|n| u64::try_from(n).ok());
    let [Some(major), Some(minor), Some(patch)] = parts.map(number) else {
        return Triple::Found(None);
    };
    Triple::Found(Some(Version {
        major,
        minor,
        patch,
    }))
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Host and port of `host:port`, `[host]:port`: brackets are needed around colons, and stand nowhere else.
pub(super) fn host_port(text: &str) -> Option<(&str, i64)> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    if bare.contains(['[', ']']) || port.contains(['[', ']']) {
        return None;
    }
    Some((bare, integer(port)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn builds_hold_a_version_somewhere() {
        // (build, version)
        for (build, want) in [
            ("1.8.7:3ef8ad84", Some((1, 8, 7))),
            ("1.8.7", Some((1, 8, 7))),
            ("1.8.7beta1:", Some((1, 8, 7))),
            ("v1.10.0+ent", Some((1, 10, 0))),
            ("x 12.1 0.8.5", Some((0, 8, 5))),
            ("1.2.3.4", Some((1, 2, 3))),
            ("1..2.3.4", Some((2, 3, 4))),
            ("01.08.007", Some((1, 8, 7))),
            ("1.8", None),
            ("1.8.x", None),
            ("", None),
            ("devel", None),
            ("99999999999999999999.0.0", None),
        ] {
            let found = version(build).map(|v| (v.major, v.minor, v.patch));
            assert_eq!(found, want, "{build}");
        }
    }

    #[test]
    fn addresses_of_segments_have_a_host_and_a_port() {
        for (text, want) in [
            ("10.0.0.1:8301", Some(("10.0.0.1", 8301))),
            ("[fe80::1]:8301", Some(("fe80::1", 8301))),
            (":8301", Some(("", 8301))),
            ("10.0.0.1", None),
            ("fe80::1:8301", None),
            ("[fe80::1]", None),
            ("[a]b:1", None),
            ("10.0.0.1:", None),
            ("10.0.0.1:x", None),
        ] {
            assert_eq!(host_port(text), want, "{text}");
        }
    }
}
