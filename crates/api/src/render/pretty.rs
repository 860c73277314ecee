//! Indentation of compact JSON: four spaces, `{}` and `[]` stay closed, one newline at the end.

/// Indents compact JSON.
pub fn pretty(compact: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(compact.len() * 2);
    let mut depth = 0usize;
    let mut at = 0;
    while at < compact.len() {
        let byte = compact[at];
        match byte {
            b'"' => {
                let end = string_end(compact, at);
                out.extend_from_slice(&compact[at..end]);
                at = end;
                continue;
            }
            b'{' | b'[' => {
                out.push(byte);
                if let Some(close @ (b'}' | b']')) = compact.get(at + 1) {
                    out.push(*close);
                    at += 1;
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(byte);
            }
            b',' => {
                out.push(b',');
                line(&mut out, depth);
            }
            b':' => out.extend_from_slice(b": "),
            _ => out.push(byte),
        }
        at += 1;
    }
    out.push(b'\n');
    out
}

fn line(out: &mut Vec<u8>, depth: usize) {
    out.push(b'\n');
    for _ in 0..depth {
        out.extend_from_slice(b"    ");
    }
}

/// Position after the string that starts at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while let Some(byte) = bytes.get(end) {
        match byte {
            b'"' => return end + 1,
            b'\\' => end += 2,
            _ => end += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::pretty;

    #[test]
    fn indents_by_four_and_keeps_empty_brackets_closed() {
        for (given, want) in [
            ("true", "true\n"),
            ("[]", "[]\n"),
            (
                r#"{"a":[1,{"b":"x,{\"}"}],"c":{}}"#,
                "{\n    \"a\": [\n        1,\n        {\n            \"b\": \"x,{\\\"}\"\n        }\n    ],\n    \"c\": {}\n}\n",
            ),
        ] {
            assert_eq!(String::from_utf8(pretty(given.as_bytes())).unwrap(), want);
        }
    }
}
