//! Typed reads from the merged tree, with value errors collected.
//!
//! The tree was decoded against the schema, so a value has the type of its key; absent reads give the type's zero.
//! Paths are canonical keys with dots. Durations that do not parse are collected, not returned.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tribune_types::duration::parse_go_signed;

use crate::tree::{Object, Tree};

/// An object to read from.
#[derive(Clone, Copy)]
pub(crate) struct View<'a>(pub(crate) &'a Object);

impl<'a> View<'a> {
    pub(crate) fn raw(self, path: &str) -> Option<&'a Tree> {
        let (mut at, mut path) = (self.0, path);
        while let Some((outer, rest)) = path.split_once('.') {
            match at.get(outer)? {
                Tree::Map(inner) => (at, path) = (inner, rest),
                _ => return None,
            }
        }
        at.get(path)
    }

    pub(crate) fn opt_str(self, path: &str) -> Option<&'a str> {
        match self.raw(path)? {
            Tree::String(s) => Some(s),
            _ => None,
        }
    }

    pub(crate) fn str(self, path: &str) -> &'a str {
        self.opt_str(path).unwrap_or("")
    }

    pub(crate) fn string(self, path: &str) -> String {
        self.str(path).to_owned()
    }

    /// A path; empty is none.
    pub(crate) fn path(self, path: &str) -> Option<PathBuf> {
        self.opt_str(path)
            .filter(|s| !s.is_empty())
            .map(PathBuf::from)
    }

    pub(crate) fn opt_bool(self, path: &str) -> Option<bool> {
        match self.raw(path)? {
            Tree::Bool(b) => Some(*b),
            _ => None,
        }
    }

    pub(crate) fn bool(self, path: &str) -> bool {
        self.opt_bool(path).unwrap_or(false)
    }

    pub(crate) fn opt_int(self, path: &str) -> Option<i64> {
        match self.raw(path)? {
            Tree::Int(i) => Some(*i),
            _ => None,
        }
    }

    pub(crate) fn int(self, path: &str) -> i64 {
        self.opt_int(path).unwrap_or(0)
    }

    /// A count; negative reads as 0, too large as the largest.
    pub(crate) fn count(self, path: &str) -> u32 {
        u32::try_from(self.int(path).max(0)).unwrap_or(u32::MAX)
    }

    /// A count of 64 bits; negative reads as 0.
    pub(crate) fn count64(self, path: &str) -> u64 {
        u64::try_from(self.int(path)).unwrap_or(0)
    }

    pub(crate) fn opt_float(self, path: &str) -> Option<f64> {
        match self.raw(path)? {
            Tree::Float(f) => Some(*f),
            _ => None,
        }
    }

    pub(crate) fn trees(self, path: &str) -> &'a [Tree] {
        match self.raw(path) {
            Some(Tree::List(list)) => list,
            _ => &[],
        }
    }

    pub(crate) fn list(self, path: &str) -> Vec<String> {
        let text = |t: &Tree| match t {
            Tree::String(s) => Some(s.clone()),
            _ => None,
        };
        self.trees(path).iter().filter_map(text).collect()
    }

    pub(crate) fn map(self, path: &str) -> BTreeMap<String, String> {
        let pair = |(k, v): (&String, &Tree)| match v {
            Tree::String(s) => Some((k.clone(), s.clone())),
            _ => None,
        };
        self.object(path)
            .map(|map| map.0.iter().filter_map(pair).collect())
            .unwrap_or_default()
    }

    pub(crate) fn object(self, path: &str) -> Option<View<'a>> {
        match self.raw(path)? {
            Tree::Map(map) => Some(View(map)),
            _ => None,
        }
    }

    /// Objects of a list.
    pub(crate) fn objects(self, path: &str) -> impl Iterator<Item = View<'a>> {
        self.trees(path).iter().filter_map(|t| match t {
            Tree::Map(map) => Some(View(map)),
            _ => None,
        })
    }

    /// A duration named `name` in errors. Negative ones, which Consul accepts, read as zero.
    pub(crate) fn duration_as(self, path: &str, name: &str, errors: &mut Vec<String>) -> Duration {
        match self.opt_str(path) {
            Some(text) => duration(text, name, errors),
            None => Duration::ZERO,
        }
    }

    pub(crate) fn duration(self, path: &str, errors: &mut Vec<String>) -> Duration {
        self.duration_as(path, path, errors)
    }
}

/// Parses a duration text; what is wrong goes to `errors`.
pub(crate) fn duration(text: &str, name: &str, errors: &mut Vec<String>) -> Duration {
    match parse_go_signed(text) {
        Ok(nanos) => Duration::from_nanos(u64::try_from(nanos).unwrap_or(0)),
        Err(e) => {
            errors.push(format!("{name}: invalid duration: {text:?}: {e}"));
            Duration::ZERO
        }
    }
}
