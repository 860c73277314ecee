//! The generic tree that both file formats are parsed into, before any schema is applied.
//!
//! In: what the HCL and JSON parsers make. Out: values for `decode`, and for `flags`, which builds fragments of the
//! same shape. Numbers keep the kind that Go's decoders would give them (HCL: int or float, JSON: always float),
//! because the error texts name it. Depth is bounded by the parsers ([`DEPTH_MAX`]).

use std::collections::BTreeMap;

use tribune_types::text::text;
use tribune_types::value::Value;

/// Levels of nesting (objects, lists, labels) a file may have. Real files stay under ten.
pub(crate) const DEPTH_MAX: usize = 64;

/// An object with its keys in byte order.
pub(crate) type Object = BTreeMap<String, Tree>;

/// A parsed value without a schema.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tree {
    /// JSON null; treated as absent.
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    String(String),
    List(Vec<Tree>),
    Map(Object),
}

impl Tree {
    /// Go's name of the kind, as in `expected a map, got 'slice'`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Tree::Null => "invalid",
            Tree::Bool(_) => "bool",
            Tree::Int(_) => "int",
            Tree::Float(_) => "float64",
            Tree::String(_) => "string",
            Tree::List(_) => "slice",
            Tree::Map(_) => "map",
        }
    }

    /// Go's name of the type, as in `got unconvertible type '[]interface {}'`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Tree::List(_) => "[]interface {}",
            Tree::Map(_) => "map[string]interface {}",
            other => other.kind(),
        }
    }

    /// The free-form value of the vocabulary crate.
    pub(crate) fn to_value(&self) -> Value {
        match self {
            Tree::Null => Value::Null,
            Tree::Bool(b) => Value::Bool(*b),
            Tree::Int(i) => Value::Int(*i),
            Tree::Float(f) => Value::Float(*f),
            Tree::String(s) => Value::String(text(s)),
            Tree::List(items) => Value::List(items.iter().map(Tree::to_value).collect()),
            Tree::Map(map) => {
                Value::Map(map.iter().map(|(k, v)| (text(k), v.to_value())).collect())
            }
        }
    }
}
