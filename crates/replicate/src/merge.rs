//! What has to change at the destination: two sorted listings, compared as they are read.
//!
//! In: the source's entries and the destination's, both in key order. Out: changes in key order. An entry differs in
//! its value or its flags; indexes, locks and sessions are each side's own. Keys that the rules leave alone are passed
//! over on both sides.
//!
//! Invariant: a key is only called extra after the source's listing has gone past it, in order and without error.

use std::io::Read;

use crate::{
    entries::{Entries, Entry, ListingError},
    rules::Rules,
};

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Change {
    /// The destination lacks this entry, or has another value or flags.
    Set {
        /// Name at the destination.
        key: String,
        /// Flags to set.
        flags: u64,
        /// Value to set, in base64.
        value: String,
        /// ModifyIndex of what is there, 0 when nothing is.
        replaces: u64,
    },
    /// The destination has a key that the source lacks.
    Extra(String),
}

/// Which side failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MergeError {
    #[error("source")]
    Source(#[source] ListingError),
    #[error("destination")]
    Destination(#[source] ListingError),
}

/// Two listings side by side.
pub(crate) struct Merge<'a, S, D> {
    rules: &'a Rules,
    source: Entries<S>,
    destination: Entries<D>,
    /// Read ahead, with its name at the destination.
    wanted: Option<Entry>,
    present: Option<Entry>,
    started: bool,
    same: u64,
}

impl<'a, S: Read, D: Read> Merge<'a, S, D> {
    pub(crate) fn new(rules: &'a Rules, source: Entries<S>, destination: Entries<D>) -> Self {
        Self {
            rules,
            source,
            destination,
            wanted: None,
            present: None,
            started: false,
            same: 0,
        }
    }

    /// Entries that the source listed, also those left alone.
    pub(crate) fn source_count(&self) -> u64 {
        self.source.count()
    }

    /// Entries that were equal so far.
    pub(crate) fn same(&self) -> u64 {
        self.same
    }

    /// The next difference; `None` when both listings are at their end.
    pub(crate) fn next(&mut self) -> Result<Option<Change>, MergeError> {
        if !self.started {
            self.started = true;
            self.advance_source()?;
            self.advance_destination()?;
        }
        loop {
            let order = match (&self.wanted, &self.present) {
                (None, None) => return Ok(None),
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some(wanted), Some(present)) => wanted.key.cmp(&present.key),
            };
            match order {
                std::cmp::Ordering::Less => return self.take_wanted(0),
                std::cmp::Ordering::Greater => {
                    let extra = self.present.take().map(|entry| Change::Extra(entry.key));
                    self.advance_destination()?;
                    return Ok(extra);
                }
                std::cmp::Ordering::Equal => {
                    let present = self.present.take().unwrap_or_default();
                    self.advance_destination()?;
                    let equal = self.wanted.as_ref().is_some_and(|wanted| {
                        wanted.flags == present.flags && wanted.value == present.value
                    });
                    if equal {
                        self.same += 1;
                        self.advance_source()?;
                    } else {
                        return self.take_wanted(present.modify_index);
                    }
                }
            }
        }
    }

    fn take_wanted(&mut self, replaces: u64) -> Result<Option<Change>, MergeError> {
        let change = self.wanted.take().map(|entry| Change::Set {
            key: entry.key,
            flags: entry.flags,
            value: entry.value,
            replaces,
        });
        self.advance_source()?;
        Ok(change)
    }

    fn advance_source(&mut self) -> Result<(), MergeError> {
        self.wanted = loop {
            match self.source.next().map_err(MergeError::Source)? {
                None => break None,
                Some(mut entry) => {
                    if let Some(key) = self.rules.to_destination(&entry.key) {
                        entry.key = key;
                        break Some(entry);
                    }
                }
            }
        };
        Ok(())
    }

    fn advance_destination(&mut self) -> Result<(), MergeError> {
        self.present = loop {
            match self.destination.next().map_err(MergeError::Destination)? {
                Some(entry) if !self.rules.is_mirrored(&entry.key) => {}
                other => break other,
            }
        };
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    type Side = BTreeMap<String, (u64, String)>;

    fn listing(side: &Side) -> Vec<u8> {
        let list: Vec<_> = side
            .iter()
            .map(|(key, (flags, value))| {
                serde_json::json!({"Key": key, "Flags": flags, "Value": value, "ModifyIndex": 5})
            })
            .collect();
        serde_json::to_vec(&list).unwrap()
    }

    fn side(entries: &[(&str, u64, &str)]) -> Side {
        entries
            .iter()
            .map(|(key, flags, value)| ((*key).to_owned(), (*flags, (*value).to_owned())))
            .collect()
    }

    fn rules(source: &str, destination: &str, excludes: &[&str]) -> Rules {
        Rules {
            source: source.to_owned(),
            destination: destination.to_owned(),
            excludes: excludes.iter().map(|e| (*e).to_owned()).collect(),
            exclude_matches: Vec::new(),
            status_dir: "own".to_owned(),
        }
    }

    fn changes(rules: &Rules, from: &Side, to: &Side) -> Vec<Change> {
        let (from, to) = (listing(from), listing(to));
        let from = Entries::new(Some(from.as_slice()), &rules.source);
        let to = Entries::new(Some(to.as_slice()), &rules.destination);
        let mut merge = Merge::new(rules, from, to);
        let mut all = Vec::new();
        while let Some(change) = merge.next().unwrap() {
            all.push(change);
        }
        all
    }

    fn apply(to: &mut Side, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Set {
                    key,
                    flags,
                    value,
                    replaces,
                } => {
                    assert_eq!(replaces, if to.contains_key(&key) { 5 } else { 0 }, "{key}");
                    to.insert(key, (flags, value));
                }
                Change::Extra(key) => {
                    to.remove(&key).unwrap();
                }
            }
        }
    }

    #[test]
    fn only_what_differs_changes() {
        let from = side(&[
            ("a/1", 0, "x"),
            ("a/2", 7, ""),
            ("a/3", 0, "z"),
            ("a/4", 1, "q"),
        ]);
        let to = side(&[
            ("b/0", 0, "old"),
            ("b/1", 0, "x"),
            ("b/2", 0, ""),
            ("b/4", 1, "p"),
            ("b/9", 0, ""),
        ]);
        let got = changes(&rules("a/", "b/", &[]), &from, &to);
        let set = |key: &str, flags, value: &str, replaces| Change::Set {
            key: key.to_owned(),
            flags,
            value: value.to_owned(),
            replaces,
        };
        let want = [
            Change::Extra("b/0".to_owned()),
            set("b/2", 7, "", 5),
            set("b/3", 0, "z", 0),
            set("b/4", 1, "q", 5),
            Change::Extra("b/9".to_owned()),
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn what_is_left_alone_is_neither_written_nor_deleted() {
        let from = side(&[("k1", 0, "n"), ("own/x", 0, "n"), ("secret/1", 0, "n")]);
        let to = side(&[
            ("own/y", 0, "o"),
            ("secret/2", 0, "o"),
            ("secret/1", 0, "o"),
        ]);
        let got = changes(&rules("", "", &["secret/"]), &from, &to);
        assert_eq!(got.len(), 1, "{got:?}");
        assert!(matches!(&got[0], Change::Set { key, .. } if key == "k1"));
    }

    /// Against the obvious way to compute the result, over many small random stores.
    #[test]
    fn the_destination_equals_the_source_afterwards() {
        let mut random = 0x2545_f491_4f6c_dd1d_u64;
        let mut below = |n: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % n
        };
        let names = [
            "",
            "/",
            "a",
            "a/",
            "a/b",
            "b",
            "b/",
            "é",
            "\u{10ffff}",
            "z\u{1}",
            "own/s",
        ];
        for round in 0..2000 {
            let prefixes = ["p/", "p", "q/r", "", "own/"];
            let (source, destination) = (prefixes[below(5) as usize], prefixes[below(5) as usize]);
            let excludes: &[&str] = if below(2) == 0 { &[] } else { &["p/a", "b"] };
            let rules = rules(source, destination, excludes);
            let mut random_side = |prefix: &str| -> Side {
                let mut side = Side::new();
                for name in names {
                    let key = format!("{prefix}{name}");
                    if below(2) == 0 && !key.is_empty() {
                        side.insert(key, (below(2), ["", "eA=="][below(2) as usize].to_owned()));
                    }
                }
                side
            };
            let (from, mut to) = (random_side(source), random_side(destination));
            let mut want: Side = to.clone();
            want.retain(|key, _| !rules.is_mirrored(key));
            for (key, entry) in &from {
                if let Some(there) = rules.to_destination(key) {
                    want.insert(there, entry.clone());
                }
            }
            let found = changes(&rules, &from, &to);
            apply(&mut to, found);
            assert_eq!(to, want, "round {round}: {source:?} to {destination:?}");
            assert_eq!(changes(&rules, &from, &to), [], "round {round}: twice");
        }
    }
}
