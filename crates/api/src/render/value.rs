//! Free-form values.

use tribune_types::value::{Value, ValueMap};

use super::write::{boolean, float, int, list, object, raw, string, uint};

/// A free-form value. Depth is that of the value, which every decoder bounds.
pub fn value(out: &mut Vec<u8>, v: &Value) {
    match v {
        Value::Null => raw(out, b"null"),
        Value::Bool(b) => boolean(out, *b),
        Value::Int(n) => int(out, *n),
        Value::UInt(n) => uint(out, *n),
        Value::Float(f) => float(out, *f),
        Value::String(s) => string(out, s),
        Value::List(items) => list(out, items, value),
        Value::Map(map) => value_map(out, map),
    }
}

/// An object of free-form values.
pub(super) fn value_map(out: &mut Vec<u8>, map: &ValueMap) {
    object(out, map, value);
}
