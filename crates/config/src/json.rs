//! JSON text to the generic tree, with the error texts of Go's parser, which operators see and tools match on.
//!
//! Numbers become floats as in Go's untyped decoding. The last of equal keys wins. Depth is bounded by
//! [`DEPTH_MAX`], memory by the input.

use crate::error::ParseError;
use crate::tree::{DEPTH_MAX, Object, Tree};

/// Parses one JSON object; `null` is an empty one.
pub(crate) fn parse(text: &str) -> Result<Object, ParseError> {
    let mut parser = Parser {
        bytes: text.as_bytes(),
        text,
        at: 0,
    };
    let tree = parser.value(0)?;
    parser.blank();
    if parser.at < text.len() {
        return parser.unexpected("after top-level value");
    }
    let kind = match tree {
        Tree::Map(map) => return Ok(map),
        Tree::Null => return Ok(Object::new()),
        Tree::List(_) => "array",
        Tree::String(_) => "string",
        Tree::Bool(_) => "bool",
        Tree::Int(_) | Tree::Float(_) => "number",
    };
    Err(ParseError::Json(format!(
        "json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    )))
}

struct Parser<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blank(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected<T>(&self, place: &str) -> Result<T, ParseError> {
        // A multi-byte character is reported by its first byte as Go does; the text stays valid either way.
        Err(ParseError::Json(match self.peek() {
            None => "unexpected end of JSON input".to_owned(),
            Some(b'\'') => format!("invalid character '\\'' {place}"),
            Some(b'"') => format!("invalid character '\"' {place}"),
            Some(byte) => format!(
                "invalid character '{}' {place}",
                char::from(byte).escape_default()
            ),
        }))
    }

    fn value(&mut self, depth: usize) -> Result<Tree, ParseError> {
        if depth > DEPTH_MAX {
            return Err(ParseError::Json(format!(
                "exceeded max depth of {DEPTH_MAX}"
            )));
        }
        self.blank();
        match self.peek() {
            Some(b'{') => self.object(depth).map(Tree::Map),
            Some(b'[') => self.list(depth).map(Tree::List),
            Some(b'"') => self.string().map(Tree::String),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Tree::Bool(true)),
            Some(b'f') => self.word("false", Tree::Bool(false)),
            Some(b'n') => self.word("null", Tree::Null),
            _ => self.unexpected("looking for beginning of value"),
        }
    }

    fn word(&mut self, word: &str, value: Tree) -> Result<Tree, ParseError> {
        for (i, want) in word.bytes().enumerate() {
            if self.peek() != Some(want) {
                let place = format!("in literal {word} (expecting '{}')", &word[i..=i]);
                return self.unexpected(&place);
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn object(&mut self, depth: usize) -> Result<Object, ParseError> {
        self.at += 1;
        let mut map = Object::new();
        self.blank();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(map);
        }
        loop {
            self.blank();
            if self.peek() != Some(b'"') {
                return self.unexpected("looking for beginning of object key string");
            }
            let key = self.string()?;
            self.blank();
            if self.peek() != Some(b':') {
                return self.unexpected("after object key");
            }
            self.at += 1;
            let value = self.value(depth + 1)?;
            map.insert(key, value);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(map);
                }
                _ => return self.unexpected("after object key:value pair"),
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Tree>, ParseError> {
        self.at += 1;
        let mut items = Vec::new();
        self.blank();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(items);
        }
        loop {
            items.push(self.value(depth + 1)?);
            self.blank();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(items);
                }
                _ => return self.unexpected("after array element"),
            }
        }
    }

    fn digits(&mut self) {
        while self.peek().is_some_and(|b| b.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<Tree, ParseError> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return self.unexpected("in numeric literal"),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
                return self.unexpected("after decimal point in numeric literal");
            }
            self.digits();
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if !self.peek().is_some_and(|b| b.is_ascii_digit()) {
                return self.unexpected("in exponent of numeric literal");
            }
            self.digits();
        }
        let raw = &self.text[start..self.at];
        match raw.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Tree::Float(value)),
            _ => Err(ParseError::Json(format!(
                "json: cannot unmarshal number {raw} into Go value of type float64"
            ))),
        }
    }

    fn string(&mut self) -> Result<String, ParseError> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let start = self.at;
            while self
                .peek()
                .is_some_and(|b| b >= 0x20 && b != b'"' && b != b'\\')
            {
                self.at += 1;
            }
            out.push_str(&self.text[start..self.at]);
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => {
                    self.at += 1;
                    let c = self.escape()?;
                    out.push(c);
                }
                _ => return self.unexpected("in string literal"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let c = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{08}',
            Some(b'f') => '\u{0c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode();
            }
            _ => return self.unexpected("in string escape code"),
        };
        self.at += 1;
        Ok(c)
    }

    /// `\uXXXX`, with surrogate pairs; a lone half becomes the replacement character, as in Go.
    fn unicode(&mut self) -> Result<char, ParseError> {
        let high = self.hex4()?;
        if let Some(c) = char::from_u32(high) {
            return Ok(c);
        }
        if (0xd800..0xdc00).contains(&high) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        Ok(char::REPLACEMENT_CHARACTER)
    }

    fn hex4(&mut self) -> Result<u32, ParseError> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|b| char::from(b).to_digit(16)) else {
                return self.unexpected("in \\u hexadecimal character escape");
            };
            code = code * 16 + digit;
            self.at += 1;
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_json_is_reported_in_the_words_of_go() {
        // (text, error) as printed by consul validate 1.8.7
        for (text, want) in [
            ("{\"a\":1", "unexpected end of JSON input"),
            ("   ", "unexpected end of JSON input"),
            (
                "{\"a\":1,}",
                "invalid character '}' looking for beginning of object key string",
            ),
            (
                "[\"a\"]",
                "json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
            (
                "\"abc\"",
                "json: cannot unmarshal string into Go value of type map[string]interface {}",
            ),
            (
                "{} {\"a\":1}",
                "invalid character '{' after top-level value",
            ),
            (
                "{\"a\":\"b\" // c\n}",
                "invalid character '/' after object key:value pair",
            ),
            (
                "{\"a\\qb\":1}",
                "invalid character 'q' in string escape code",
            ),
            (
                "{\"a\":tru}",
                "invalid character '}' in literal true (expecting 'e')",
            ),
            (
                "{\"a\":\"\n\"}",
                "invalid character '\\n' in string literal",
            ),
            (
                "{\"a\":01}",
                "invalid character '1' after object key:value pair",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().to_string(), want, "{text}");
        }
    }

    #[test]
    fn deep_nesting_is_refused_without_recursing_into_it() {
        let text = format!("{{\"a\":{}", "[".repeat(1_000_000));
        assert_eq!(
            parse(&text).unwrap_err().to_string(),
            "exceeded max depth of 64"
        );
    }

    #[test]
    fn escapes_and_surrogate_pairs_become_characters() {
        let map = parse(r#"{"a":"\u0041\ud83d\ude00\ud800x\/"}"#).unwrap();
        assert_eq!(map["a"], Tree::String("A\u{1f600}\u{fffd}x/".to_owned()));
    }
}
