//! Maps whose fields come from several places and are written in byte order of their names.
//!
//! Requests and replies of the original merge common fields (query options, query meta) into their own. Here each
//! source adds what it has, and [`Fields::finish`] sorts. Values are borrowed and encoded straight into the output.

use serde::ser::{Serialize, Serializer};

use crate::msgpack::{self, encode};

/// Something that can be written as one value.
trait Encode {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), msgpack::Error>;
}

impl<T: Serialize> Encode for T {
    fn encode(&self, out: &mut Vec<u8>) -> Result<(), msgpack::Error> {
        msgpack::to_writer(out, self)
    }
}

enum Value<'a> {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Raw(&'a [u8]),
    Other(Box<dyn Encode + 'a>),
}

/// A map in the making.
#[derive(Default)]
pub(super) struct Fields<'a>(Vec<(&'static str, Value<'a>)>);

impl<'a> Fields<'a> {
    pub(super) fn nil(&mut self, key: &'static str) {
        self.0.push((key, Value::Nil));
    }

    pub(super) fn bool(&mut self, key: &'static str, value: bool) {
        self.0.push((key, Value::Bool(value)));
    }

    pub(super) fn int(&mut self, key: &'static str, value: i64) {
        self.0.push((key, Value::Int(value)));
    }

    pub(super) fn uint(&mut self, key: &'static str, value: u64) {
        self.0.push((key, Value::Uint(value)));
    }

    pub(super) fn str(&mut self, key: &'static str, value: &'a str) {
        self.0.push((key, Value::Raw(value.as_bytes())));
    }

    pub(super) fn raw(&mut self, key: &'static str, value: &'a [u8]) {
        self.0.push((key, Value::Raw(value)));
    }

    pub(super) fn put(&mut self, key: &'static str, value: impl Serialize + 'a) {
        self.0.push((key, Value::Other(Box::new(value))));
    }

    /// A list, converted item by item while it is written.
    pub(super) fn list<T, M: Serialize + 'a>(
        &mut self,
        key: &'static str,
        items: &'a [T],
        empty: Empty,
        convert: impl Fn(&'a T) -> M + 'a,
    ) {
        if items.is_empty() && empty == Empty::Nil {
            return self.nil(key);
        }
        self.put(key, Each { items, convert });
    }

    /// Appends the map.
    pub(super) fn finish(mut self, out: &mut Vec<u8>) {
        self.0.sort_unstable_by_key(|(key, _)| *key);
        debug_assert!(
            self.0.windows(2).all(|pair| pair[0].0 != pair[1].0),
            "a field was added twice"
        );
        encode::put_map(out, self.0.len() as u32);
        for (key, value) in &self.0 {
            encode::put_str(out, key);
            match value {
                Value::Nil => encode::put_nil(out),
                Value::Bool(v) => encode::put_bool(out, *v),
                Value::Int(v) => encode::put_int(out, *v),
                Value::Uint(v) => encode::put_uint(out, *v),
                Value::Raw(v) => encode::put_raw(out, v),
                Value::Other(v) => {
                    let done = v.encode(out);
                    // It fails on lengths beyond 32 bits only, which do not get into this process.
                    debug_assert!(done.is_ok(), "{key} cannot be encoded: {done:?}");
                }
            }
        }
    }

    /// The map alone.
    pub(super) fn into_vec(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.finish(&mut out);
        out
    }
}

/// How a list without items is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// As nil: the list was never made.
    Nil,
    /// As a list: it was made and nothing put in.
    List,
}

impl Empty {
    /// What is left of a filtered list is a list, even if nothing is left.
    pub(super) fn after(filter: &str) -> Empty {
        if filter.is_empty() {
            Empty::Nil
        } else {
            Empty::List
        }
    }
}

/// Items that are converted while they are written.
pub(super) struct Each<'a, T, F> {
    pub(super) items: &'a [T],
    pub(super) convert: F,
}

impl<'a, T, M: Serialize, F: Fn(&'a T) -> M> Serialize for Each<'a, T, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.items.iter().map(&self.convert))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_written_in_byte_order_whatever_the_order_of_adding() {
        let mut fields = Fields::default();
        fields.str("Token", "t");
        fields.uint("Index", 7);
        fields.list("Empty", &[0u8; 0], Empty::Nil, |b| *b);
        fields.list("List", &[1u8, 2], Empty::Nil, |b| *b);
        fields.bool("AllowStale", true);
        assert_eq!(
            fields.into_vec(),
            b"\x85\xaaAllowStale\xc3\xa5Empty\xc0\xa5Index\x07\xa4List\x92\x01\x02\xa5Token\xa1t"
        );
    }

    #[test]
    fn a_filter_leaves_a_list() {
        assert_eq!(Empty::after(""), Empty::Nil);
        assert_eq!(Empty::after("Node == x"), Empty::List);
    }
}
