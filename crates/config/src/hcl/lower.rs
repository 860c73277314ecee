//! Items to the generic tree, by the rules of Go's HCL 1 decoder.
//!
//! ```text
//! key { a = 1 }            -> key: [{a: 1}]            a block is a list of one object
//! key {..} key {..}        -> key: [{..}, {..}]        repeated blocks and lists append
//! key "label" { a = 1 }    -> key: [{label: [{a: 1}]}]
//! [ {a = 1} ]              -> [{a: 1}]                 directly in a list an object stays an object
//! key = 1  key = 2         -> key: 2                   repeated scalars: the last wins, of the first one's type
//! ```

use std::fmt;

use super::lexer::{Kind, Pos};
use super::parser::{Item, Node, NodeValue};
use crate::error::ParseError;
use crate::tree::{Object, Tree};

/// Builds the object of a whole file.
pub(super) fn lower(items: &[Item]) -> Result<Object, ParseError> {
    object(
        items,
        &Path {
            parent: None,
            key: "root",
        },
    )
}

/// The place of a value. Written out only in an error: a long key above many items must not cost per item.
struct Path<'a> {
    parent: Option<&'a Path<'a>>,
    key: &'a str,
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}.")?;
        }
        f.write_str(self.key)
    }
}

fn object(items: &[Item], path: &Path<'_>) -> Result<Object, ParseError> {
    let mut map = Object::new();
    for item in items {
        let Some((key, labels)) = item.keys.split_first() else {
            continue;
        };
        add(&mut map, key, labels, &item.node, path)?;
    }
    Ok(map)
}

fn add(
    map: &mut Object,
    key: &str,
    labels: &[String],
    node: &Node,
    path: &Path<'_>,
) -> Result<(), ParseError> {
    let name = Path {
        parent: Some(path),
        key,
    };
    let old = map.remove(key);
    let new = match labels.split_first() {
        Some((label, rest)) => {
            let mut inner = Object::new();
            add(&mut inner, label, rest, node, &name)?;
            match old {
                None => Tree::List(vec![Tree::Map(inner)]),
                Some(Tree::List(mut list)) => {
                    list.push(Tree::Map(inner));
                    Tree::List(list)
                }
                Some(_) => return Err(mismatch(node.pos, &name, "unknown type *ast.ObjectType")),
            }
        }
        None => merge(old, node, &name)?,
    };
    map.insert(key.to_owned(), new);
    Ok(())
}

fn mismatch(pos: Pos, name: &Path<'_>, message: &str) -> ParseError {
    pos.error(format!("{name}: {message}"))
}

/// A value for a key that may have one already.
fn merge(old: Option<Tree>, node: &Node, name: &Path<'_>) -> Result<Tree, ParseError> {
    let literal = match &node.value {
        NodeValue::Literal(kind) => Some(kind),
        _ => None,
    };
    let kind = match &node.value {
        NodeValue::Literal(_) => "*ast.LiteralType",
        NodeValue::List(_) => "*ast.ListType",
        NodeValue::Object(_) => "*ast.ObjectType",
    };
    match (old, literal) {
        (None, _) => match &node.value {
            NodeValue::Object(items) => Ok(Tree::List(vec![Tree::Map(object(items, name)?)])),
            _ => plain(node, name),
        },
        (Some(Tree::List(mut list)), None) => {
            match &node.value {
                NodeValue::Object(items) => list.push(Tree::Map(object(items, name)?)),
                NodeValue::List(nodes) => {
                    for node in nodes {
                        list.push(plain(node, name)?);
                    }
                }
                NodeValue::Literal(_) => {}
            }
            Ok(Tree::List(list))
        }
        (Some(Tree::List(_)), Some(_)) => {
            Err(node.pos.error("unknown slice type: *ast.LiteralType"))
        }
        (Some(Tree::Bool(_)), Some(Kind::Bool(b))) => Ok(Tree::Bool(*b)),
        (Some(Tree::Int(_)), Some(Kind::Number(raw))) => integer(raw).map(Tree::Int),
        (Some(Tree::Int(_)), Some(Kind::String(raw))) => integer(raw).map(Tree::Int),
        (Some(Tree::Float(_)), Some(Kind::Float(raw) | Kind::Number(raw))) => {
            float(raw).map(Tree::Float)
        }
        (Some(Tree::String(_)), Some(Kind::String(s) | Kind::Heredoc(s) | Kind::Number(s))) => {
            Ok(Tree::String(s.clone()))
        }
        (Some(Tree::String(_)), _) => Err(mismatch(
            node.pos,
            name,
            &format!("unknown type for string {kind}"),
        )),
        (Some(_), _) => Err(mismatch(node.pos, name, &format!("unknown type {kind}"))),
    }
}

/// A value without history; objects stay objects.
fn plain(node: &Node, name: &Path<'_>) -> Result<Tree, ParseError> {
    Ok(match &node.value {
        NodeValue::Object(items) => Tree::Map(object(items, name)?),
        NodeValue::List(nodes) => Tree::List(
            nodes
                .iter()
                .map(|n| plain(n, name))
                .collect::<Result<_, _>>()?,
        ),
        NodeValue::Literal(kind) => match kind {
            Kind::Bool(b) => Tree::Bool(*b),
            Kind::Number(raw) => Tree::Int(integer(raw)?),
            Kind::Float(raw) => Tree::Float(float(raw)?),
            Kind::String(s) | Kind::Heredoc(s) => Tree::String(s.clone()),
            other => {
                return Err(mismatch(
                    node.pos,
                    name,
                    &format!("cannot decode {}", other.name()),
                ));
            }
        },
    })
}

/// Go's integer form: `0x` hexadecimal, leading `0` octal, else decimal.
fn integer(raw: &str) -> Result<i64, ParseError> {
    let failed =
        |why: &str| ParseError::Number(format!("strconv.ParseInt: parsing {raw:?}: {why}"));
    let (sign, digits) = match raw.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", raw),
    };
    let (radix, digits) = match digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"))
    {
        Some(hex) => (16, hex),
        None if digits.len() > 1 && digits.starts_with('0') => (8, &digits[1..]),
        None => (10, digits),
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(failed("invalid syntax"));
    }
    i64::from_str_radix(&format!("{sign}{digits}"), radix).map_err(|_| failed("value out of range"))
}

fn float(raw: &str) -> Result<f64, ParseError> {
    let failed =
        |why: &str| ParseError::Number(format!("strconv.ParseFloat: parsing {raw:?}: {why}"));
    let value: f64 = raw.parse().map_err(|_| failed("invalid syntax"))?;
    if value.is_finite() {
        Ok(value)
    } else {
        Err(failed("value out of range"))
    }
}
