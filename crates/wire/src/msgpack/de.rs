//! Bytes to serde, borrowing from the input where the target can.
//!
//! Nil is the zero value of whatever was asked for; unknown fields are skipped; a struct must be a
//! map. Memory stays within a fixed multiple of the input: counts are checked against the bytes at
//! hand, and structs that come as nil or as empty maps (one byte each, large in memory) are
//! counted.

use serde::de::{self, Deserialize, IntoDeserializer, Visitor};

use super::scan::{self, Head};
use super::{Error, value_len};

/// How deep arrays and maps may nest.
pub const DEPTH_MAX: usize = 96;

/// Structs without any field that one value may hold.
const HOLLOW_MAX: u32 = 50_000;

/// Decodes a value that fills `bytes`.
pub fn from_slice<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, Error> {
    match from_slice_prefix(bytes)? {
        (value, []) => Ok(value),
        (_, rest) => Err(Error::Trailing(rest.len())),
    }
}

/// Decodes the value at the start of `bytes` and returns what follows it.
pub fn from_slice_prefix<'de, T: Deserialize<'de>>(
    bytes: &'de [u8],
) -> Result<(T, &'de [u8]), Error> {
    let mut de = Deserializer::new(bytes);
    let value = T::deserialize(&mut de)?;
    Ok((value, de.rest))
}

/// The serde deserializer; reads one value off the start of a slice.
#[derive(Debug)]
pub struct Deserializer<'de> {
    rest: &'de [u8],
    depth: usize,
    hollow: u32,
}

impl<'de> Deserializer<'de> {
    /// A deserializer at the start of `bytes`.
    pub fn new(bytes: &'de [u8]) -> Self {
        Deserializer {
            rest: bytes,
            depth: 0,
            hollow: 0,
        }
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'de [u8] {
        self.rest
    }

    fn head(&mut self) -> Result<Head<'de>, Error> {
        scan::head(&mut self.rest)
    }

    fn skip(&mut self) -> Result<(), Error> {
        let len = value_len(self.rest)?.ok_or(Error::End)?;
        self.rest = self.rest.get(len..).ok_or(Error::End)?;
        Ok(())
    }

    fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Result<T, Error>) -> Result<T, Error> {
        if self.depth >= DEPTH_MAX {
            return Err(Error::Depth);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    fn seq<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.nested(|de| {
            let mut access = Items { de, left: len };
            let value = visitor.visit_seq(&mut access)?;
            for _ in 0..access.left {
                access.de.skip()?;
            }
            Ok(value)
        })
    }

    fn map<V: Visitor<'de>>(&mut self, len: usize, visitor: V) -> Result<V::Value, Error> {
        self.nested(|de| {
            let mut access = Items { de, left: len };
            let value = visitor.visit_map(&mut access)?;
            for _ in 0..access.left {
                access.de.skip()?;
                access.de.skip()?;
            }
            Ok(value)
        })
    }

    fn float(&mut self) -> Result<f64, Error> {
        match self.head()? {
            Head::Nil => Ok(0.0),
            Head::Float(v) => Ok(v),
            Head::Int(v) => Ok(v as f64),
            Head::Uint(v) => Ok(v as f64),
            other => Err(kind("float", &other)),
        }
    }
}

fn kind(expected: &'static str, found: &Head<'_>) -> Error {
    Error::Kind {
        expected,
        found: found.name(),
    }
}

fn text<'de, V: Visitor<'de>>(bytes: &'de [u8], visitor: V) -> Result<V::Value, Error> {
    match std::str::from_utf8(bytes) {
        Ok(text) => visitor.visit_borrowed_str(text),
        Err(_) => visitor.visit_borrowed_bytes(bytes),
    }
}

macro_rules! integers {
    ($($method:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
            match self.head()? {
                Head::Nil => visitor.visit_u64(0),
                Head::Uint(v) => visitor.visit_u64(v),
                Head::Int(v) => visitor.visit_i64(v),
                other => Err(kind("integer", &other)),
            }
        }
    )*};
}

impl<'de> de::Deserializer<'de> for &mut Deserializer<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Nil => visitor.visit_unit(),
            Head::Bool(v) => visitor.visit_bool(v),
            Head::Uint(v) => visitor.visit_u64(v),
            Head::Int(v) => visitor.visit_i64(v),
            Head::Float(v) => visitor.visit_f64(v),
            Head::Str(v) => text(v, visitor),
            Head::Bin(v) => visitor.visit_borrowed_bytes(v),
            Head::Array(len) => self.seq(len, visitor),
            Head::Map(len) => self.map(len, visitor),
            other @ Head::Ext => Err(kind("a plain value", &other)),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Nil | Head::Int(0) | Head::Uint(0) => visitor.visit_bool(false),
            Head::Int(1) | Head::Uint(1) => visitor.visit_bool(true),
            Head::Bool(v) => visitor.visit_bool(v),
            other => Err(kind("bool", &other)),
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_f64(self.float()?)
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Nil => visitor.visit_borrowed_str(""),
            Head::Str(v) => text(v, visitor),
            other => Err(kind("string", &other)),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Nil => visitor.visit_borrowed_bytes(&[]),
            Head::Str(v) | Head::Bin(v) => visitor.visit_borrowed_bytes(v),
            other => Err(kind("bytes", &other)),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if let Some(rest) = self.rest.strip_prefix(&[0xc0]) {
            self.rest = rest;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Nil => visitor.visit_unit(),
            other => Err(kind("nil", &other)),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Nil => self.seq(0, visitor),
            Head::Array(len) => self.seq(len, visitor),
            other => Err(kind("array", &other)),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Nil => self.map(0, visitor),
            Head::Map(len) => self.map(len, visitor),
            other => Err(kind("map", &other)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let len = match self.head()? {
            Head::Nil => 0,
            Head::Map(len) => len,
            other => return Err(kind("struct as a map", &other)),
        };
        if len == 0 {
            self.hollow += 1;
            if self.hollow > HOLLOW_MAX {
                return Err(Error::Hollow);
            }
        }
        self.map(len, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.head()? {
            Head::Str(name) => match std::str::from_utf8(name) {
                Ok(name) => visitor.visit_enum(name.into_deserializer()),
                Err(_) => Err(Error::Kind {
                    expected: "a word",
                    found: "bytes",
                }),
            },
            other => Err(kind("a word", &other)),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

struct Items<'a, 'de> {
    de: &'a mut Deserializer<'de>,
    left: usize,
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: de::DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.de).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}

impl<'de> de::MapAccess<'de> for &mut Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: de::DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(&mut *self.de).map(Some)
    }

    fn next_value_seed<V: de::DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        seed.deserialize(&mut *self.de)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
