//! A value tree that keeps everything a message says: order of maps, strings as bytes.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value as Json;

#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Raw(Vec<u8>),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Nil => s.serialize_none(),
            Tree::Bool(v) => s.serialize_bool(*v),
            Tree::Int(v) => s.serialize_i64(*v),
            Tree::Uint(v) => s.serialize_u64(*v),
            Tree::Float(v) => s.serialize_f64(*v),
            Tree::Raw(v) => s.serialize_bytes(v),
            Tree::List(v) => s.collect_seq(v),
            Tree::Map(v) => {
                let mut map = s.serialize_map(Some(v.len()))?;
                for (key, value) in v {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl<'de> Visitor<'de> for V {
            type Value = Tree;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }
            fn visit_unit<E: Error>(self) -> Result<Tree, E> {
                Ok(Tree::Nil)
            }
            fn visit_bool<E: Error>(self, v: bool) -> Result<Tree, E> {
                Ok(Tree::Bool(v))
            }
            fn visit_i64<E: Error>(self, v: i64) -> Result<Tree, E> {
                Ok(Tree::Int(v))
            }
            fn visit_u64<E: Error>(self, v: u64) -> Result<Tree, E> {
                Ok(Tree::Uint(v))
            }
            fn visit_f64<E: Error>(self, v: f64) -> Result<Tree, E> {
                Ok(Tree::Float(v))
            }
            fn visit_str<E: Error>(self, v: &str) -> Result<Tree, E> {
                Ok(Tree::Raw(v.as_bytes().to_vec()))
            }
            fn visit_bytes<E: Error>(self, v: &[u8]) -> Result<Tree, E> {
                Ok(Tree::Raw(v.to_vec()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tree, A::Error> {
                let mut out = Vec::new();
                while let Some(item) = seq.next_element()? {
                    out.push(item);
                }
                Ok(Tree::List(out))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
                let mut out = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    out.push(entry);
                }
                Ok(Tree::Map(out))
            }
        }
        d.deserialize_any(V)
    }
}

impl Tree {
    /// Whether this is what the vectors show as `json`. With `loose`, nil and empty lists and maps
    /// are one.
    pub fn shows_as(&self, json: &Json, loose: bool) -> bool {
        if loose && self.is_hollow() && hollow(json) {
            return true;
        }
        match (self, json) {
            (Tree::Nil, Json::Null) => true,
            (Tree::Bool(a), Json::Bool(b)) => a == b,
            (Tree::Int(a), Json::Number(n)) => n.as_i64() == Some(*a),
            (Tree::Uint(a), Json::Number(n)) => n.as_u64() == Some(*a),
            (Tree::Float(a), Json::Number(n)) => {
                n.as_f64().is_some_and(|n| n == *a || n as f32 == *a as f32)
            }
            (Tree::Raw(a), Json::String(b)) => a == b.as_bytes(),
            (Tree::Raw(a), Json::Object(b)) => {
                match (b.get("$hex"), b.get("$blob"), b.get("$time")) {
                    (Some(Json::String(hex)), ..) => *a == super::unhex(hex),
                    (_, Some(_), _) => true,
                    (.., Some(_)) => tribune_wire::msgpack::Time::from_bytes(a).is_ok(),
                    _ => false,
                }
            }
            (Tree::List(a), Json::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.shows_as(b, loose))
            }
            (Tree::Map(a), Json::Object(b)) => {
                a.len() == b.len()
                    && a.iter().all(|(key, value)| {
                        let key = match key {
                            Tree::Raw(key) => String::from_utf8_lossy(key).into_owned(),
                            other => format!("{other:?}"),
                        };
                        b.get(&key).is_some_and(|b| value.shows_as(b, loose))
                    })
            }
            _ => false,
        }
    }

    fn is_hollow(&self) -> bool {
        match self {
            Tree::Nil => true,
            Tree::List(items) => items.is_empty(),
            Tree::Map(items) => items.is_empty(),
            _ => false,
        }
    }
}

fn hollow(json: &Json) -> bool {
    match json {
        Json::Null => true,
        Json::Array(items) => items.is_empty(),
        Json::Object(items) => items.is_empty(),
        _ => false,
    }
}
