//! The reader behind [`parse`].

use std::borrow::Cow;

use super::{DEPTH_MAX, Json, JsonError};

const VALUE: &str = "looking for beginning of value";

/// Reads the first JSON value of `body`.
pub fn parse(body: &[u8]) -> Result<Json<'_>, JsonError> {
    let mut reader = Reader { bytes: body, at: 0 };
    reader.space();
    if reader.at == body.len() {
        return Err(JsonError::Empty);
    }
    reader.value(0)
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    /// The byte at hand; its absence is a truncated value.
    fn byte(&self) -> Result<u8, JsonError> {
        self.bytes.get(self.at).copied().ok_or(JsonError::Truncated)
    }

    fn bad<T>(&self, context: &'static str) -> Result<T, JsonError> {
        Err(JsonError::Syntax {
            byte: self.byte()?,
            context,
        })
    }

    fn value(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        match self.byte()? {
            b'{' if depth < DEPTH_MAX => self.object(depth + 1),
            b'[' if depth < DEPTH_MAX => self.array(depth + 1),
            b'{' | b'[' => self.bad("exceeded max depth"),
            b'"' => self.string().map(Json::String),
            b't' => self.literal(
                "true",
                [
                    "",
                    "in literal true (expecting 'r')",
                    "in literal true (expecting 'u')",
                    "in literal true (expecting 'e')",
                    "",
                ],
                Json::Bool(true),
            ),
            b'f' => self.literal(
                "false",
                [
                    "",
                    "in literal false (expecting 'a')",
                    "in literal false (expecting 'l')",
                    "in literal false (expecting 's')",
                    "in literal false (expecting 'e')",
                ],
                Json::Bool(false),
            ),
            b'n' => self.literal(
                "null",
                [
                    "",
                    "in literal null (expecting 'u')",
                    "in literal null (expecting 'l')",
                    "in literal null (expecting 'l')",
                    "",
                ],
                Json::Null,
            ),
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.bad(VALUE),
        }
    }

    fn literal(
        &mut self,
        word: &str,
        contexts: [&'static str; 5],
        value: Json<'a>,
    ) -> Result<Json<'a>, JsonError> {
        for (expected, context) in word.bytes().zip(contexts) {
            if self.byte()? != expected {
                return self.bad(context);
            }
            self.at += 1;
        }
        Ok(value)
    }

    fn digits(&mut self) {
        while let Some(b'0'..=b'9') = self.bytes.get(self.at) {
            self.at += 1;
        }
    }

    fn number(&mut self) -> Result<Json<'a>, JsonError> {
        let start = self.at;
        if self.byte()? == b'-' {
            self.at += 1;
        }
        match self.byte()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return self.bad("in numeric literal"),
        }
        if self.bytes.get(self.at) == Some(&b'.') {
            self.at += 1;
            if !self.byte()?.is_ascii_digit() {
                return self.bad("after decimal point in numeric literal");
            }
            self.digits();
        }
        if let Some(b'e' | b'E') = self.bytes.get(self.at) {
            self.at += 1;
            if let b'+' | b'-' = self.byte()? {
                self.at += 1;
            }
            if !self.byte()?.is_ascii_digit() {
                return self.bad("in exponent of numeric literal");
            }
            self.digits();
        }
        // Only ASCII was passed.
        Ok(Json::Number(
            std::str::from_utf8(&self.bytes[start..self.at]).unwrap_or_default(),
        ))
    }

    fn array(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.byte()? == b']' {
            self.at += 1;
            return Ok(Json::Array(items));
        }
        loop {
            self.space();
            items.push(self.value(depth)?);
            self.space();
            match self.byte()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(Json::Array(items));
                }
                _ => return self.bad("after array element"),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'a>, JsonError> {
        const KEY: &str = "looking for beginning of object key string";
        self.at += 1;
        let mut fields = Vec::new();
        self.space();
        if self.byte()? == b'}' {
            self.at += 1;
            return Ok(Json::Object(fields));
        }
        loop {
            self.space();
            if self.byte()? != b'"' {
                return self.bad(KEY);
            }
            let name = self.string()?;
            self.space();
            if self.byte()? != b':' {
                return self.bad("after object key");
            }
            self.at += 1;
            self.space();
            let value = self.value(depth)?;
            fields.push((name, value));
            self.space();
            match self.byte()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(Json::Object(fields));
                }
                _ => return self.bad("after object key:value pair"),
            }
        }
    }

    fn string(&mut self) -> Result<Cow<'a, str>, JsonError> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.byte()? {
                b'"' => {
                    let raw = &self.bytes[start..self.at];
                    self.at += 1;
                    return Ok(lossy(raw));
                }
                b'\\' => break,
                0..=0x1f => return self.bad("in string literal"),
                _ => self.at += 1,
            }
        }
        let mut out = lossy(&self.bytes[start..self.at]).into_owned();
        loop {
            let start = self.at;
            while !matches!(self.byte()?, b'"' | b'\\' | 0..=0x1f) {
                self.at += 1;
            }
            out.push_str(&lossy(&self.bytes[start..self.at]));
            match self.byte()? {
                b'"' => {
                    self.at += 1;
                    return Ok(Cow::Owned(out));
                }
                b'\\' => {
                    self.at += 1;
                    self.escape(&mut out)?;
                }
                _ => return self.bad("in string literal"),
            }
        }
    }

    fn escape(&mut self, out: &mut String) -> Result<(), JsonError> {
        let c = match self.byte()? {
            b'"' => '"',
            b'\\' => '\\',
            b'/' => '/',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                let unit = self.hex4()?;
                out.push(self.finish_unit(unit)?);
                return Ok(());
            }
            _ => return self.bad("in string escape code"),
        };
        out.push(c);
        self.at += 1;
        Ok(())
    }

    fn hex4(&mut self) -> Result<u32, JsonError> {
        let mut unit = 0;
        for _ in 0..4 {
            match char::from(self.byte()?).to_digit(16) {
                Some(digit) => unit = unit << 4 | digit,
                None => return self.bad("in \\u hexadecimal character escape"),
            }
            self.at += 1;
        }
        Ok(unit)
    }

    /// Joins surrogates; a lone one is U+FFFD.
    fn finish_unit(&mut self, unit: u32) -> Result<char, JsonError> {
        if (0xd800..0xdc00).contains(&unit) && self.bytes[self.at..].starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let low = self.hex4()?;
            if (0xdc00..0xe000).contains(&low) {
                let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            // The second escape stands for itself.
            self.at = back;
        }
        Ok(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER))
    }
}

/// Text of bytes, with one U+FFFD per byte that is no UTF-8 (Rust's own conversion joins some).
pub(crate) fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => {
            let mut out = String::with_capacity(bytes.len() + 8);
            for chunk in bytes.utf8_chunks() {
                out.push_str(chunk.valid());
                out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
            }
            Cow::Owned(out)
        }
    }
}
