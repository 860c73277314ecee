//! Free-form values: opaque proxy and upstream configuration that is stored and returned as it came.

use std::collections::BTreeMap;

use crate::text::Text;

/// A JSON-like value. Integers and floats stay apart, because the server protocol tells them apart
/// (rpc.md, section 2.2).
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// JSON null.
    #[default]
    Null,
    /// JSON true or false.
    Bool(bool),
    /// A number that came as an integer.
    Int(i64),
    /// An integer above `i64::MAX`.
    UInt(u64),
    /// A number that came as a float; every number of a JSON body does.
    Float(f64),
    /// Text.
    String(Text),
    /// List in order.
    List(Vec<Value>),
    /// Object; keys in byte order, as they are rendered.
    Map(ValueMap),
}

/// An object of free-form values.
pub type ValueMap = BTreeMap<Text, Value>;
