//! What a filter knows of records: the [`Schema`] it is checked against and the [`Fields`] trait
//! through which it reads a record. Neither copies anything.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};
use std::sync::Arc;

/// The type of a field, which decides what may be asked of it.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Text: equality, substring, regular expression.
    String,
    /// True or false: equality.
    Bool,
    /// A whole number: equality.
    Number,
    /// A list of texts: membership, emptiness.
    StringList,
    /// Texts by key: key membership, emptiness; an entry is a string.
    StringMap,
    /// Records in a list: emptiness; a field below matches when any element does.
    StructList(&'static Schema),
    /// Records by key: key membership, emptiness; an entry is a record.
    StructMap(&'static Schema),
    /// One record inside another.
    Struct(&'static Schema),
}

/// The fields of one kind of record.
#[derive(Debug)]
pub struct Schema {
    /// Names and types, in any order.
    pub fields: &'static [(&'static str, Kind)],
}

impl Schema {
    pub(crate) fn find(&self, name: &str) -> Option<(&'static str, Kind)> {
        self.fields
            .iter()
            .copied()
            .find(|(field, _)| *field == name)
    }
}

/// The value of one field of a record.
#[derive(Clone, Copy)]
pub enum Field<'a> {
    /// For [`Kind::String`].
    Str(&'a str),
    /// For [`Kind::String`]: an identifier in its text form, which the record keeps as bytes.
    Ascii([u8; 36]),
    /// For [`Kind::Bool`].
    Bool(bool),
    /// For [`Kind::Number`].
    Int(i64),
    /// For [`Kind::StringList`].
    StrList(&'a dyn StrList),
    /// For [`Kind::StringMap`].
    StrMap(&'a dyn StrMap),
    /// For [`Kind::StructList`], [`Kind::Struct`] (count 1) and [`Kind::StructMap`]: how many
    /// records there are. They are reached through [`Fields::each`] and [`Fields::entry`].
    Structs(usize),
    /// The record has no such value (an optional block that was not given).
    Absent,
}

/// A record as filters see it.
pub trait Fields {
    /// The field called `name` in the record's schema.
    fn field(&self, name: &str) -> Field<'_>;

    /// Calls `test` with the records below a [`Kind::StructList`] or [`Kind::Struct`] field until
    /// one answers true, and says whether one did.
    fn each(&self, name: &str, test: &mut dyn FnMut(&dyn Fields) -> bool) -> bool {
        let _ = (name, test);
        false
    }

    /// Calls `test` with the record under `key` of a [`Kind::StructMap`] field; `None` when there
    /// is none. A `test` that always answers false asks for presence alone.
    fn entry(
        &self,
        name: &str,
        key: &str,
        test: &mut dyn FnMut(&dyn Fields) -> bool,
    ) -> Option<bool> {
        let _ = (name, key, test);
        None
    }
}

impl<T: Fields + ?Sized> Fields for &T {
    fn field(&self, name: &str) -> Field<'_> {
        (**self).field(name)
    }
    fn each(&self, name: &str, test: &mut dyn FnMut(&dyn Fields) -> bool) -> bool {
        (**self).each(name, test)
    }
    fn entry(
        &self,
        name: &str,
        key: &str,
        test: &mut dyn FnMut(&dyn Fields) -> bool,
    ) -> Option<bool> {
        (**self).entry(name, key, test)
    }
}

impl<T: Fields + ?Sized> Fields for Arc<T> {
    fn field(&self, name: &str) -> Field<'_> {
        (**self).field(name)
    }
    fn each(&self, name: &str, test: &mut dyn FnMut(&dyn Fields) -> bool) -> bool {
        (**self).each(name, test)
    }
    fn entry(
        &self,
        name: &str,
        key: &str,
        test: &mut dyn FnMut(&dyn Fields) -> bool,
    ) -> Option<bool> {
        (**self).entry(name, key, test)
    }
}

/// A list of texts.
pub trait StrList {
    /// Whether an element equals `value`.
    fn has(&self, value: &str) -> bool;
    /// Whether there is no element.
    fn none(&self) -> bool;
}

impl<T: AsRef<str>> StrList for Vec<T> {
    fn has(&self, value: &str) -> bool {
        self.iter().any(|item| item.as_ref() == value)
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}

impl<T: AsRef<str>, const N: usize> StrList for [T; N] {
    fn has(&self, value: &str) -> bool {
        self.iter().any(|item| item.as_ref() == value)
    }
    fn none(&self) -> bool {
        N == 0
    }
}

impl<T: AsRef<str>> StrList for Arc<[T]> {
    fn has(&self, value: &str) -> bool {
        self.iter().any(|item| item.as_ref() == value)
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}

impl<T: AsRef<str>> StrList for Box<[T]> {
    fn has(&self, value: &str) -> bool {
        self.iter().any(|item| item.as_ref() == value)
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}

/// Texts by key.
pub trait StrMap {
    /// The text under `key`.
    fn value(&self, key: &str) -> Option<&str>;
    /// Whether there is no entry.
    fn none(&self) -> bool;
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> StrMap for BTreeMap<K, V> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}

impl<K: Borrow<str> + Hash + Eq, V: AsRef<str>, S: BuildHasher> StrMap for HashMap<K, V, S> {
    fn value(&self, key: &str) -> Option<&str> {
        self.get(key).map(AsRef::as_ref)
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}

/// Pairs in any order; the first of equal keys counts.
impl<K: AsRef<str>, V: AsRef<str>> StrMap for Vec<(K, V)> {
    fn value(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(k, _)| k.as_ref() == key)
            .map(|(_, v)| v.as_ref())
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}

/// Pairs in any order; the first of equal keys counts.
impl<K: AsRef<str>, V: AsRef<str>> StrMap for Arc<[(K, V)]> {
    fn value(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(k, _)| k.as_ref() == key)
            .map(|(_, v)| v.as_ref())
    }
    fn none(&self) -> bool {
        self.is_empty()
    }
}
