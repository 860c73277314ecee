//! Tokens to items: `key = value`, `key { }`, `key "label" { }`, lists. Items may be separated by one comma.
//!
//! The recursion is bounded by [`DEPTH_MAX`]; labels count as levels, because each becomes one in the tree.

use super::lexer::{Kind, Lexer, Pos, Token};
use crate::error::ParseError;
use crate::tree::DEPTH_MAX;

/// A value before Go's nesting rules are applied.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) pos: Pos,
    pub(super) value: NodeValue,
}

#[derive(Debug)]
pub(super) enum NodeValue {
    Literal(Kind),
    List(Vec<Node>),
    Object(Vec<Item>),
}

/// `keys value`; the first key names it, the others are labels.
#[derive(Debug)]
pub(super) struct Item {
    pub(super) keys: Vec<String>,
    pub(super) node: Node,
}

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Vec<Item>, ParseError> {
    let mut lexer = Lexer::new(text);
    let ahead = lexer.next()?;
    let mut parser = Parser { lexer, ahead };
    let items = parser.items(0)?;
    match parser.ahead.kind {
        Kind::Eof => Ok(items),
        ref other => Err(parser.ahead.pos.error(no_key(other))),
    }
}

fn no_key(found: &Kind) -> String {
    format!(
        "expected: IDENT | STRING | ASSIGN | LBRACE got: {}",
        found.name()
    )
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    ahead: Token<'a>,
}

impl<'a> Parser<'a> {
    fn take(&mut self) -> Result<Token<'a>, ParseError> {
        let next = self.lexer.next()?;
        Ok(std::mem::replace(&mut self.ahead, next))
    }

    /// Items up to a closing brace or the end, which stays ahead.
    fn items(&mut self, depth: usize) -> Result<Vec<Item>, ParseError> {
        if depth > DEPTH_MAX {
            return Err(self
                .ahead
                .pos
                .error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let mut items = Vec::new();
        while !matches!(self.ahead.kind, Kind::Eof | Kind::RBrace) {
            items.push(self.item(depth)?);
            if self.ahead.kind == Kind::Comma {
                self.take()?;
            }
        }
        Ok(items)
    }

    fn item(&mut self, depth: usize) -> Result<Item, ParseError> {
        let mut keys = Vec::new();
        let mut raw: Vec<&str> = Vec::new();
        loop {
            let pos = self.ahead.pos;
            match &self.ahead.kind {
                Kind::Ident(_) | Kind::String(_) => {
                    let token = self.take()?;
                    raw.push(token.raw);
                    if let Kind::Ident(key) | Kind::String(key) = token.kind {
                        keys.push(key);
                    }
                    if depth + keys.len() > DEPTH_MAX + 1 {
                        return Err(pos.error(format!("nested deeper than {DEPTH_MAX} levels")));
                    }
                }
                Kind::Assign => {
                    match keys.len() {
                        0 => return Err(pos.error("no object keys found!")),
                        1 => {}
                        _ => return Err(pos.error("nested object expected: LBRACE got: ASSIGN")),
                    }
                    self.take()?;
                    return Ok(Item {
                        keys,
                        node: self.value(depth + 1)?,
                    });
                }
                Kind::LBrace if keys.is_empty() => {
                    return Err(pos.error("expected: IDENT | STRING got: LBRACE"));
                }
                Kind::LBrace => {
                    let labels = keys.len() - 1;
                    return Ok(Item {
                        keys,
                        node: self.object(depth + labels + 1)?,
                    });
                }
                // `true` and `false` are words of the language, not keys.
                other if raw.is_empty() => return Err(pos.error(no_key(other))),
                Kind::Eof | Kind::RBrace => {
                    let key = raw.join(" ");
                    return Err(pos.error(format!(
                        "key '{key}' expected start of object ('{{') or assignment ('=')"
                    )));
                }
                other => return Err(pos.error(no_key(other))),
            }
        }
    }

    fn object(&mut self, depth: usize) -> Result<Node, ParseError> {
        let pos = self.take()?.pos;
        let items = self.items(depth)?;
        if self.ahead.kind != Kind::RBrace {
            let message = format!(
                "object expected closing RBRACE got: {}",
                self.ahead.kind.name()
            );
            return Err(self.ahead.pos.error(message));
        }
        self.take()?;
        Ok(Node {
            pos,
            value: NodeValue::Object(items),
        })
    }

    fn value(&mut self, depth: usize) -> Result<Node, ParseError> {
        let pos = self.ahead.pos;
        match self.ahead.kind {
            Kind::LBrace => self.object(depth),
            Kind::LBrack => self.list(depth),
            Kind::Bool(_)
            | Kind::Number(_)
            | Kind::Float(_)
            | Kind::String(_)
            | Kind::Heredoc(_) => Ok(Node {
                pos,
                value: NodeValue::Literal(self.take()?.kind),
            }),
            ref other => {
                let message = format!(
                    "Unknown token: {}:{} {} {}",
                    pos.line,
                    pos.column,
                    other.name(),
                    self.ahead.raw
                );
                Err(pos.error(message))
            }
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, ParseError> {
        if depth > DEPTH_MAX {
            return Err(self
                .ahead
                .pos
                .error(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        let pos = self.take()?.pos;
        let mut nodes = Vec::new();
        let mut need_comma = false;
        loop {
            let at = self.ahead.pos;
            match &self.ahead.kind {
                Kind::RBrack => {
                    self.take()?;
                    return Ok(Node {
                        pos,
                        value: NodeValue::List(nodes),
                    });
                }
                Kind::Comma => {
                    need_comma = false;
                    self.take()?;
                }
                other if need_comma => {
                    let message = format!(
                        "error parsing list, expected comma or list end, got: {}",
                        other.name()
                    );
                    return Err(at.error(message));
                }
                Kind::LBrace
                | Kind::LBrack
                | Kind::Bool(_)
                | Kind::Number(_)
                | Kind::Float(_)
                | Kind::String(_)
                | Kind::Heredoc(_) => {
                    nodes.push(self.value(depth + 1)?);
                    need_comma = true;
                }
                other => {
                    let message = format!("unexpected token while parsing list: {}", other.name());
                    return Err(at.error(message));
                }
            }
        }
    }
}
