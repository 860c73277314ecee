//! The grammar. Input text, output a tree of unchecked matches.
//!
//! Clients see the parser's complaints, and those come from a parsing expression grammar that
//! reports what it expected at the farthest place it reached. So this recursive descent tries its
//! alternatives in the grammar's order and records every failed expectation ([`Parser::fail`]);
//! rules that complain in words ([`Parser::complain`]) win over expectations. It never parses the
//! same text twice at the same level, so its time is linear where the original's was exponential.

use crate::error::{FilterError, at};
use crate::goquote::unquote;

/// How deep parentheses and `not` may nest.
const DEPTH_MAX: usize = 200;

/// How many distinct complaints are kept; more would only repeat the first ones.
const COMPLAINTS_MAX: usize = 16;

const SPACE: &str = "[ \\t\\r\\n]";

/// An expression before it meets a schema.
#[derive(Debug)]
pub(crate) enum Ast {
    And(Vec<Ast>),
    Or(Vec<Ast>),
    Not(Box<Ast>),
    Match {
        selector: Vec<String>,
        op: Op,
        value: String,
    },
}

/// What a match asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Equal,
    NotEqual,
    In,
    NotIn,
    IsEmpty,
    IsNotEmpty,
    Matches,
    NotMatches,
}

pub(crate) fn parse(src: &str) -> Result<Ast, FilterError> {
    let mut p = Parser {
        src,
        pos: 0,
        depth: 0,
        too_deep: false,
        farthest: 0,
        expected: Vec::new(),
        complaints: Vec::new(),
    };
    p.space();
    let ast = p.or_expr().filter(|_| {
        p.space();
        p.end()
    });
    if p.too_deep {
        return Err(FilterError::TooDeep { limit: DEPTH_MAX });
    }
    match ast {
        Some(ast) if p.complaints.is_empty() => Ok(ast),
        _ => Err(FilterError::Syntax(p.report())),
    }
}

struct Parser<'s> {
    src: &'s str,
    pos: usize,
    depth: usize,
    too_deep: bool,
    farthest: usize,
    expected: Vec<&'static str>,
    complaints: Vec<(usize, &'static str)>,
}

impl Parser<'_> {
    // Expressions.

    fn or_expr(&mut self) -> Option<Ast> {
        let first = self.and_expr()?;
        let mut rest = Vec::new();
        loop {
            let back = self.pos;
            if self.space()
                && self.word("\"or\"", "or")
                && self.space()
                && let Some(next) = self.and_expr()
            {
                rest.push(next);
                continue;
            }
            self.pos = back;
            break;
        }
        Some(join(first, rest, Ast::Or))
    }

    fn and_expr(&mut self) -> Option<Ast> {
        let first = self.not_expr()?;
        let mut rest = Vec::new();
        loop {
            let back = self.pos;
            if self.space()
                && self.word("\"and\"", "and")
                && self.space()
                && let Some(next) = self.not_expr()
            {
                rest.push(next);
                continue;
            }
            self.pos = back;
            break;
        }
        Some(join(first, rest, Ast::And))
    }

    fn not_expr(&mut self) -> Option<Ast> {
        if self.depth >= DEPTH_MAX {
            self.too_deep = true;
            return None;
        }
        self.depth += 1;
        let back = self.pos;
        let mut found = None;
        if self.word("\"not\"", "not") && self.space() {
            found = self.not_expr().map(|inner| Ast::Not(Box::new(inner)));
        }
        if found.is_none() && !self.too_deep {
            self.pos = back;
            found = self.group();
        }
        self.depth -= 1;
        found
    }

    fn group(&mut self) -> Option<Ast> {
        let back = self.pos;
        if self.word("\"(\"", "(") {
            self.space();
            if let Some(inner) = self.or_expr() {
                self.space();
                if self.word("\")\"", ")") {
                    return Some(inner);
                }
                self.complain("rule \"grouping\": Unmatched parentheses");
            }
            self.pos = back;
        }
        self.match_expr()
    }

    // Matches.

    fn match_expr(&mut self) -> Option<Ast> {
        let back = self.pos;
        if let Some(selector) = self.selector() {
            let after = self.pos;
            for (op, tail) in SELECTOR_OP_VALUE {
                self.pos = after;
                if tail(self)
                    && let Some(value) = self.value()
                {
                    return Some(Ast::Match {
                        selector,
                        op: *op,
                        value,
                    });
                }
            }
            for (op, words) in [
                (Op::IsEmpty, &["is", "empty"][..]),
                (Op::IsNotEmpty, &["is", "not", "empty"][..]),
            ] {
                self.pos = after;
                if words.iter().all(|word| self.space() && self.keyword(word)) {
                    return Some(Ast::Match {
                        selector,
                        op,
                        value: String::new(),
                    });
                }
            }
        }
        self.pos = back;
        let value = self.value()?;
        let after = self.pos;
        for (op, words) in [(Op::In, &["in"][..]), (Op::NotIn, &["not", "in"][..])] {
            self.pos = after;
            if words.iter().all(|word| self.space() && self.keyword(word)) && self.space() {
                let target = self.pos;
                if let Some(selector) = self.selector() {
                    return Some(Ast::Match {
                        selector,
                        op,
                        value,
                    });
                }
                self.pos = target;
                self.complain("rule \"match\": Invalid selector");
            }
        }
        self.pos = back;
        None
    }

    fn selector(&mut self) -> Option<Vec<String>> {
        let mut parts = vec![self.identifier()?];
        loop {
            let back = self.pos;
            let next = if self.word("\".\"", ".") {
                self.identifier()
            } else {
                self.index()
            };
            match next {
                Some(part) => parts.push(part),
                None => {
                    self.pos = back;
                    return Some(parts);
                }
            }
        }
    }

    fn identifier(&mut self) -> Option<String> {
        let start = self.pos;
        if !self.class("[a-zA-Z]", |c| c.is_ascii_alphabetic()) {
            return None;
        }
        while self.class("[a-zA-Z0-9_]", |c| c.is_ascii_alphanumeric() || c == '_') {}
        Some(self.src[start..self.pos].to_owned())
    }

    fn index(&mut self) -> Option<String> {
        if !self.word("\"[\"", "[") {
            return None;
        }
        self.space();
        let inside = self.pos;
        let Some(key) = self.string() else {
            self.pos = inside;
            self.complain("rule \"index\": Invalid index");
            return None;
        };
        self.space();
        if self.word("\"]\"", "]") {
            return Some(key);
        }
        self.complain("rule \"index\": Unclosed index expression");
        None
    }

    fn value(&mut self) -> Option<String> {
        let back = self.pos;
        if let Some(parts) = self.selector() {
            return Some(parts.join("."));
        }
        self.pos = back;
        if let Some(number) = self.number() {
            return Some(number);
        }
        self.pos = back;
        self.string()
    }

    fn number(&mut self) -> Option<String> {
        let start = self.pos;
        self.word("\"-\"", "-");
        if !self.word("\"0\"", "0") {
            if !self.class("[1-9]", |c| matches!(c, '1'..='9')) {
                return None;
            }
            while self.class("[0-9]", |c| c.is_ascii_digit()) {}
        }
        let whole = self.pos;
        let mut fraction = false;
        if self.word("\".\"", ".") {
            while self.class("[0-9]", |c| c.is_ascii_digit()) {
                fraction = true;
            }
        }
        if !fraction {
            self.pos = whole;
        }
        let after = self.pos;
        if self.space() || self.end() || self.word("\")\"", ")") {
            self.pos = after;
            return Some(self.src[start..after].to_owned());
        }
        self.complain("rule \"number\": Invalid number literal");
        None
    }

    fn string(&mut self) -> Option<String> {
        let start = self.pos;
        let quote = if self.word("\"`\"", "`") {
            '`'
        } else if self.word("\"\\\"\"", "\"") {
            '"'
        } else {
            return None;
        };
        let Some(len) = self.src[self.pos..].find(quote) else {
            self.pos = self.src.len();
            self.complain("rule \"string\": Unterminated string literal");
            return None;
        };
        self.pos += len + 1;
        let value = unquote(&self.src[start..self.pos]);
        if value.is_none() {
            let end = std::mem::replace(&mut self.pos, start);
            self.complain("rule \"string\": invalid syntax");
            self.pos = end;
        }
        Some(value.unwrap_or_default())
    }

    // Terminals: on failure they note what would have been welcome.

    fn keyword(&mut self, word: &'static str) -> bool {
        let want = match word {
            "in" => "\"in\"",
            "is" => "\"is\"",
            "not" => "\"not\"",
            "empty" => "\"empty\"",
            "contains" => "\"contains\"",
            _ => "\"matches\"",
        };
        self.word(want, word)
    }

    fn word(&mut self, want: &'static str, word: &str) -> bool {
        if self.src[self.pos..].starts_with(word) {
            self.pos += word.len();
            return true;
        }
        self.fail(want);
        false
    }

    fn class(&mut self, want: &'static str, accept: impl Fn(char) -> bool) -> bool {
        match self.src[self.pos..].chars().next() {
            Some(c) if accept(c) => {
                self.pos += c.len_utf8();
                true
            }
            _ => {
                self.fail(want);
                false
            }
        }
    }

    /// One or more blanks; says whether there was one.
    fn space(&mut self) -> bool {
        let start = self.pos;
        while self.class(SPACE, |c| matches!(c, ' ' | '\t' | '\r' | '\n')) {}
        self.pos > start
    }

    fn end(&mut self) -> bool {
        if self.pos == self.src.len() {
            return true;
        }
        self.fail("EOF");
        false
    }

    // Findings.

    fn fail(&mut self, want: &'static str) {
        if self.pos < self.farthest {
            return;
        }
        if self.pos > self.farthest {
            self.farthest = self.pos;
            self.expected.clear();
        }
        if !self.expected.contains(&want) {
            self.expected.push(want);
        }
    }

    fn complain(&mut self, what: &'static str) {
        let finding = (self.pos, what);
        if self.complaints.len() < COMPLAINTS_MAX && !self.complaints.contains(&finding) {
            self.complaints.push(finding);
        }
    }

    fn report(mut self) -> String {
        if !self.complaints.is_empty() {
            let lines: Vec<_> = self
                .complaints
                .iter()
                .map(|(pos, what)| at(self.src, *pos, what))
                .collect();
            return lines.join("\n");
        }
        // The end of the text sorts last, whatever its name.
        self.expected.sort_by_key(|want| (*want == "EOF", *want));
        let list = match self.expected.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => String::new(),
        };
        at(
            self.src,
            self.farthest,
            &format!("no match found, expected: {list}"),
        )
    }
}

type Tail = fn(&mut Parser<'_>) -> bool;

/// Operators between a selector and a value, in the grammar's order.
const SELECTOR_OP_VALUE: &[(Op, Tail)] = &[
    (Op::Equal, |p| {
        p.space();
        p.word("\"==\"", "==") && (p.space(), true).1
    }),
    (Op::NotEqual, |p| {
        p.space();
        p.word("\"!=\"", "!=") && (p.space(), true).1
    }),
    (Op::In, |p| p.space() && p.keyword("contains") && p.space()),
    (Op::NotIn, |p| {
        p.space() && p.keyword("not") && p.space() && p.keyword("contains") && p.space()
    }),
    (Op::Matches, |p| {
        p.space() && p.keyword("matches") && p.space()
    }),
    (Op::NotMatches, |p| {
        p.space() && p.keyword("not") && p.space() && p.keyword("matches") && p.space()
    }),
];

fn join(first: Ast, mut rest: Vec<Ast>, wrap: fn(Vec<Ast>) -> Ast) -> Ast {
    if rest.is_empty() {
        return first;
    }
    rest.insert(0, first);
    wrap(rest)
}
