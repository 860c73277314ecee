//! JSON as Go's `encoding/json` prints it: four-space or tab indent, `<`, `>`, `&` escaped, empty containers closed.
//!
//! Works on JSON text, so that the field order of a server's answer survives.

/// Indents compact or indented JSON text anew. Text that is not JSON comes back rearranged but whole; callers pass
/// what a serializer or a checked decoder gave them.
pub fn indent(text: &str, unit: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut chars = text.chars().peekable();
    let mut in_string = false;
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        for _ in 0..depth {
            out.push_str(unit);
        }
    };
    while let Some(c) = chars.next() {
        if in_string {
            push_escaped(&mut out, c);
            if c == '\\' {
                if let Some(next) = chars.next() {
                    out.push(next);
                }
            } else if c == '"' {
                in_string = false;
            }
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.peek().is_some_and(|c| c.is_ascii_whitespace()) {
                    chars.next();
                }
                if chars.peek().is_some_and(|c| matches!(c, '}' | ']')) {
                    out.extend(chars.next());
                } else {
                    depth += 1;
                    newline(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => out.push(c),
        }
    }
    out
}

/// Serializes and indents a value.
pub fn pretty(value: &impl serde::Serialize, unit: &str) -> String {
    indent(&serde_json::to_string(value).unwrap_or_default(), unit)
}

/// Serializes a value on one line, as `json.Encoder` writes it to a handler.
pub fn compact(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

fn push_escaped(out: &mut String, c: char) {
    match c {
        '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
        c => out.push(c),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_indented_and_escaped_as_go_does() {
        let got = indent(r#"{"a":[1,{"b":"x: {\"<"}],"c":{},"d":[ ]}"#, "  ");
        let want = "{\n  \"a\": [\n    1,\n    {\n      \"b\": \"x: {\\\"\\u003c\"\n    }\n  ],\n  \"c\": {},\n  \"d\": []\n}";
        assert_eq!(got, want);
        assert_eq!(indent(&got, "  "), want);
        assert_eq!(compact(&"a&b"), "\"a\\u0026b\"");
    }
}
