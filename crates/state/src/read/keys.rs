//! Reads of keys.

use tribune_types::id::Index;
use tribune_types::kv::{Key, KvEntry};
use tribune_types::query::Reply;

use crate::tables::Tables;
use crate::watch::{WatchKey, WatchKeys};

pub(super) fn get(tables: &Tables, key: &Key, keys: &mut WatchKeys) -> (Reply, Index) {
    keys.push(WatchKey::KvKey(key.clone()));
    match tables.pair(key) {
        Some(entry) => (Reply::Kv(vec![entry.clone()]), entry.modify),
        None => (Reply::Kv(Vec::new()), table_index(tables)),
    }
}

pub(super) fn list(tables: &Tables, prefix: &Key, keys: &mut WatchKeys) -> (Reply, Index) {
    keys.push(WatchKey::KvPrefix(prefix.clone()));
    let found: Vec<_> = tables.pairs_under(prefix).cloned().collect();
    let index = list_index(tables, prefix, found.iter().map(|entry| entry.modify).max());
    (Reply::Kv(found), index)
}

pub(super) fn names(
    tables: &Tables,
    prefix: &Key,
    separator: &[u8],
    keys: &mut WatchKeys,
) -> (Reply, Index) {
    keys.push(WatchKey::KvPrefix(prefix.clone()));
    let mut names: Vec<Key> = Vec::new();
    let mut highest = None;
    for entry in tables.pairs_under(prefix) {
        highest = highest.max(Some(entry.modify));
        let name = cut(entry, prefix.len(), separator);
        if names.last().is_none_or(|last| **last != *name) {
            names.push(name.into());
        }
    }
    (Reply::Keys(names), list_index(tables, prefix, highest))
}

/// The key up to and including the first separator behind the prefix.
fn cut<'a>(entry: &'a KvEntry, prefix_len: usize, separator: &[u8]) -> &'a [u8] {
    let rest = entry.key.get(prefix_len..).unwrap_or_default();
    if separator.is_empty() {
        return &entry.key;
    }
    match rest
        .windows(separator.len())
        .position(|window| window == separator)
    {
        Some(at) => &entry.key[..prefix_len + at + separator.len()],
        None => &entry.key,
    }
}

/// The highest change under the prefix, deletions included; the table's index for all keys and where nothing ever was.
fn list_index(tables: &Tables, prefix: &[u8], highest: Option<Index>) -> Index {
    if prefix.is_empty() {
        return table_index(tables);
    }
    match highest
        .unwrap_or_default()
        .max(tables.tombstone_under(prefix))
    {
        Index(0) => table_index(tables),
        index => index,
    }
}

fn table_index(tables: &Tables) -> Index {
    tables.indexes.kvs.max(tables.indexes.tombstones)
}
