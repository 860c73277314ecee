//! Keys and values.

use tribune_types::kv::{Key, KvEntry};

use super::write::{base64, bytes_string, indexes, list, raw, uint};

/// A pair; `with_value` is false after writes in transactions.
pub fn kv_entry(out: &mut Vec<u8>, entry: &KvEntry, with_value: bool) {
    raw(out, b"{\"LockIndex\":");
    uint(out, entry.lock_index);
    raw(out, b",\"Key\":");
    bytes_string(out, &entry.key);
    raw(out, b",\"Flags\":");
    uint(out, entry.flags);
    raw(out, b",\"Value\":");
    if with_value {
        base64(out, &entry.value);
    } else {
        raw(out, b"null");
    }
    if let Some(session) = entry.session {
        raw(out, b",\"Session\":\"");
        raw(out, &session.encode());
        out.push(b'"');
    }
    indexes(out, entry.create.0, entry.modify.0);
    out.push(b'}');
}

/// Key names.
pub(super) fn keys(out: &mut Vec<u8>, keys: &[Key]) {
    list(out, keys, |out, key| bytes_string(out, key));
}
