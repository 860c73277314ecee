//! Characters to tokens: identifiers, numbers, strings, heredocs, punctuation. Comments are dropped.
//!
//! Positions are line and column in characters, from 1. Every token is a slice of the input or a string no longer than
//! it, so memory is bounded by the file.

use crate::error::ParseError;

/// A place in the text, both from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pos {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl Pos {
    pub(super) fn error(self, message: impl Into<String>) -> ParseError {
        ParseError::Hcl {
            line: self.line,
            column: self.column,
            message: message.into(),
        }
    }
}

/// What a token is, with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    Eof,
    Ident(String),
    Bool(bool),
    Number(String),
    Float(String),
    String(String),
    Heredoc(String),
    Assign,
    Comma,
    LBrace,
    RBrace,
    LBrack,
    RBrack,
    Add,
    Sub,
}

impl Kind {
    /// The token's name in error texts.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Kind::Eof => "EOF",
            Kind::Ident(_) => "IDENT",
            Kind::Bool(_) => "BOOL",
            Kind::Number(_) => "NUMBER",
            Kind::Float(_) => "FLOAT",
            Kind::String(_) => "STRING",
            Kind::Heredoc(_) => "HEREDOC",
            Kind::Assign => "ASSIGN",
            Kind::Comma => "COMMA",
            Kind::LBrace => "LBRACE",
            Kind::RBrace => "RBRACE",
            Kind::LBrack => "LBRACK",
            Kind::RBrack => "RBRACK",
            Kind::Add => "ADD",
            Kind::Sub => "SUB",
        }
    }
}

/// A token with its place and its source text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind,
    pub(super) pos: Pos,
    pub(super) raw: &'a str,
}

/// Reads tokens one at a time.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
    pos: Pos,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Lexer<'a> {
        let at = if text.starts_with('\u{feff}') { 3 } else { 0 };
        Lexer {
            text,
            at,
            pos: Pos { line: 1, column: 1 },
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        if c == '\n' {
            self.pos = Pos {
                line: self.pos.line + 1,
                column: 1,
            };
        } else {
            self.pos.column += 1;
        }
        Some(c)
    }

    fn bump_while(&mut self, keep: impl Fn(char) -> bool) {
        while self.peek().is_some_and(&keep) {
            self.bump();
        }
    }

    fn fail<T>(&self, message: &str) -> Result<T, ParseError> {
        Err(self.pos.error(message))
    }

    pub(super) fn next(&mut self) -> Result<Token<'a>, ParseError> {
        self.skip_blank()?;
        let (start, pos) = (self.at, self.pos);
        let Some(c) = self.peek() else {
            return Ok(Token {
                kind: Kind::Eof,
                pos,
                raw: "",
            });
        };
        let kind = match c {
            '"' => Kind::String(self.string()?),
            '<' => Kind::Heredoc(self.heredoc()?),
            '0'..='9' => self.number(start)?,
            '-' => {
                self.bump();
                if self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    self.number(start)?
                } else {
                    Kind::Sub
                }
            }
            '.' => {
                self.bump();
                if !self.peek().is_some_and(|c| c.is_ascii_digit()) {
                    return Err(pos.error("illegal char"));
                }
                self.bump_while(|c| c.is_ascii_digit());
                self.exponent();
                Kind::Float(self.text[start..self.at].to_owned())
            }
            c if is_letter(c) => {
                self.bump_while(|c| is_letter(c) || c.is_numeric() || c == '-' || c == '.');
                match &self.text[start..self.at] {
                    "true" => Kind::Bool(true),
                    "false" => Kind::Bool(false),
                    word => Kind::Ident(word.to_owned()),
                }
            }
            _ => {
                self.bump();
                match c {
                    '=' => Kind::Assign,
                    ',' => Kind::Comma,
                    '{' => Kind::LBrace,
                    '}' => Kind::RBrace,
                    '[' => Kind::LBrack,
                    ']' => Kind::RBrack,
                    '+' => Kind::Add,
                    _ => return Err(pos.error("illegal char")),
                }
            }
        };
        Ok(Token {
            kind,
            pos,
            raw: &self.text[start..self.at],
        })
    }

    /// Skips white space and comments (`#`, `//`, `/* */`).
    fn skip_blank(&mut self) -> Result<(), ParseError> {
        loop {
            self.bump_while(|c| matches!(c, ' ' | '\t' | '\n' | '\r'));
            let rest = &self.text[self.at..];
            if rest.starts_with('#') || rest.starts_with("//") {
                self.bump_while(|c| c != '\n');
            } else if rest.starts_with("/*") {
                self.bump();
                self.bump();
                while !self.text[self.at..].starts_with("*/") {
                    if self.bump().is_none() {
                        return self.fail("comment not terminated");
                    }
                }
                self.bump();
                self.bump();
            } else if rest.starts_with('/') {
                return self.fail("expected '/' for comment");
            } else {
                return Ok(());
            }
        }
    }

    fn exponent(&mut self) -> bool {
        if !matches!(self.peek(), Some('e' | 'E')) {
            return false;
        }
        self.bump();
        if matches!(self.peek(), Some('+' | '-')) {
            self.bump();
        }
        self.bump_while(|c| c.is_ascii_digit());
        true
    }

    fn number(&mut self, start: usize) -> Result<Kind, ParseError> {
        if self.bump() == Some('0') && matches!(self.peek(), Some('x' | 'X')) {
            self.bump();
            if !self.peek().is_some_and(|c| c.is_ascii_hexdigit()) {
                return self.fail("illegal hexadecimal number");
            }
            self.bump_while(|c| c.is_ascii_hexdigit());
            return Ok(Kind::Number(self.text[start..self.at].to_owned()));
        }
        self.bump_while(|c| c.is_ascii_digit());
        let mut float = false;
        if self.peek() == Some('.') {
            float = true;
            self.bump();
            self.bump_while(|c| c.is_ascii_digit());
        }
        float |= self.exponent();
        let raw = self.text[start..self.at].to_owned();
        Ok(if float {
            Kind::Float(raw)
        } else {
            Kind::Number(raw)
        })
    }

    /// A quoted string. Within `${...}` quotes, escapes and line ends are plain text.
    fn string(&mut self) -> Result<String, ParseError> {
        self.bump();
        let mut out = String::new();
        let mut braces = 0usize;
        loop {
            let Some(c) = self.peek() else {
                return self.fail("literal not terminated");
            };
            if c == '\n' && braces == 0 {
                self.bump();
                self.bump();
                return self.fail("literal not terminated");
            }
            self.bump();
            match c {
                '"' if braces == 0 => return Ok(out),
                '\\' if braces == 0 => {
                    let c = self.escape()?;
                    out.push(c);
                    continue;
                }
                '$' if braces == 0 && self.peek() == Some('{') => {
                    self.bump();
                    out.push_str("${");
                    braces = 1;
                    continue;
                }
                '{' if braces > 0 => braces += 1,
                '}' if braces > 0 => braces -= 1,
                _ => {}
            }
            out.push(c);
        }
    }

    fn escape(&mut self) -> Result<char, ParseError> {
        let at = self.pos;
        let Some(c) = self.bump() else {
            return self.fail("literal not terminated");
        };
        let (digits, radix, mut code) = match c {
            'a' => return Ok('\u{07}'),
            'b' => return Ok('\u{08}'),
            'f' => return Ok('\u{0c}'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\u{0b}'),
            '\\' | '"' => return Ok(c),
            '0'..='7' => (2, 8, c.to_digit(8).unwrap_or(0)),
            'x' => (2, 16, 0),
            'u' => (4, 16, 0),
            'U' => (8, 16, 0),
            _ => return Err(at.error("illegal char escape")),
        };
        for _ in 0..digits {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(radix)) else {
                return self.fail("illegal char escape");
            };
            self.bump();
            code = code
                .checked_mul(radix)
                .and_then(|c| c.checked_add(digit))
                .unwrap_or(u32::MAX);
        }
        match char::from_u32(code) {
            Some(c) => Ok(c),
            None => self.fail("illegal char escape"),
        }
    }

    /// `<<MARK` or `<<-MARK`, lines, and a line with the mark alone. With `-` the indentation of the closing mark is
    /// taken off every line if all lines have it.
    fn heredoc(&mut self) -> Result<String, ParseError> {
        let start = self.pos;
        self.bump();
        if self.peek() != Some('<') {
            return Err(start.error("heredoc expected second '<', didn't see it"));
        }
        self.bump();
        let indented = self.peek() == Some('-');
        if indented {
            self.bump();
        }
        let mark_at = self.at;
        self.bump_while(|c| is_letter(c) || c.is_numeric());
        let mark = &self.text[mark_at..self.at];
        if mark.is_empty() {
            return self.fail("zero-length heredoc anchor");
        }
        if self.peek() == Some('\r') {
            self.bump();
        }
        if self.peek() != Some('\n') {
            return self.fail("invalid characters in heredoc anchor");
        }
        self.bump();
        let body_at = self.at;
        loop {
            let line_at = self.at;
            self.bump_while(|c| c != '\n');
            let line = &self.text[line_at..self.at];
            if self.peek().is_none() {
                return self.fail("heredoc not terminated");
            }
            // The line end stays for the white space rule; a heredoc ends with its mark.
            if line.trim_start().trim_end_matches('\r') == mark {
                let body = &self.text[body_at..line_at];
                let prefix = &line[..line.len() - line.trim_start().len()];
                return Ok(if indented {
                    unindent(body, prefix)
                } else {
                    body.to_owned()
                });
            }
            self.bump();
        }
    }
}

fn unindent(body: &str, prefix: &str) -> String {
    let lines = || body.split_inclusive('\n');
    if !lines().all(|line| line.starts_with(prefix)) {
        return body.to_owned();
    }
    lines().map(|line| &line[prefix.len()..]).collect()
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}
