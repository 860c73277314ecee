//! Key/value pairs, tombstones and index entries.

use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};

use super::{RecordError, mirror, uuid_opt, uuid_text};
use crate::msgpack::{Bytes, Str, encode};

mirror! {
    /// `structs.DirEntry`.
    DirEntry<'a> {
        "CreateIndex" create_index: u64,
        "Flags" flags: u64,
        "Key" key: RawStr<'a>,
        "LockIndex" lock_index: u64,
        "ModifyIndex" modify_index: u64,
        "Session" session: Str<'a>,
        "Value" value: Bytes<'a>,
    }

    /// `structs.KVSRequest`.
    KvsRequest<'a> {
        "Datacenter" datacenter: Str<'a>,
        "DirEnt" dir_ent: DirEntry<'a>,
        "Op" op: Str<'a>,
        "Token" token: Str<'a>,
    }

    /// `structs.TombstoneRequest`.
    TombstoneRequest<'a> {
        "Datacenter" datacenter: Str<'a>,
        "Op" op: Str<'a>,
        "ReapIndex" reap_index: u64,
        "Token" token: Str<'a>,
    }

    /// One row of the table of indexes.
    IndexEntry<'a> {
        "Key" key: Str<'a>,
        "Value" value: u64,
    }
}

/// A string that need not be UTF-8 and is kept as it is; unlike bytes, empty is not nil.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RawStr<'a>(pub &'a [u8]);

impl serde::Serialize for RawStr<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

impl<'de: 'a, 'a> serde::Deserialize<'de> for RawStr<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Bytes::deserialize(deserializer).map(|bytes| RawStr(bytes.0))
    }
}

/// Every write operation with its word.
const OPS: [(&str, KvOp); 7] = [
    ("set", KvOp::Set),
    ("cas", KvOp::Cas),
    ("lock", KvOp::Lock),
    ("unlock", KvOp::Unlock),
    ("delete", KvOp::Delete),
    ("delete-cas", KvOp::DeleteCas),
    ("delete-tree", KvOp::DeleteTree),
];

/// The word of an operation.
pub fn kv_op_word(op: KvOp) -> &'static str {
    OPS.iter()
        .find(|(_, known)| *known == op)
        .map_or("", |(word, _)| word)
}

/// The operation of a word.
pub fn kv_op(word: &str) -> Result<KvOp, RecordError> {
    OPS.iter()
        .find(|(known, _)| *known == word)
        .map(|(_, op)| *op)
        .ok_or_else(|| RecordError::Word {
            field: "KV operation",
            word: word.to_owned(),
        })
}

impl<'a> From<&'a KvEntry> for DirEntry<'a> {
    fn from(e: &'a KvEntry) -> Self {
        DirEntry {
            create_index: e.create.0,
            flags: e.flags,
            key: RawStr(&e.key),
            lock_index: e.lock_index,
            modify_index: e.modify.0,
            session: uuid_text(e.session),
            value: Bytes(&e.value),
        }
    }
}

impl TryFrom<DirEntry<'_>> for KvEntry {
    type Error = RecordError;

    fn try_from(e: DirEntry<'_>) -> Result<Self, RecordError> {
        Ok(KvEntry {
            key: e.key.0.into(),
            value: e.value.0.into(),
            flags: e.flags,
            lock_index: e.lock_index,
            session: uuid_opt("KV session", &e.session)?,
            create: Index(e.create_index),
            modify: Index(e.modify_index),
        })
    }
}

/// Appends a `DirEntry` without the detour over serde. With `full`, every field is written, as the
/// original does; without, zero fields are left out, which every decoder reads as zero.
pub fn put_dir_entry(out: &mut Vec<u8>, e: &KvEntry, full: bool) {
    let numbers = |key: &'static str, value: u64| (full || value != 0).then_some((key, value));
    let create = numbers("CreateIndex", e.create.0);
    let flags = numbers("Flags", e.flags);
    let lock = numbers("LockIndex", e.lock_index);
    let modify = numbers("ModifyIndex", e.modify.0);
    let session = full || e.session.is_some();
    let value = full || !e.value.is_empty();
    let optional = [
        create.is_some(),
        flags.is_some(),
        lock.is_some(),
        modify.is_some(),
        session,
        value,
    ];
    encode::put_map(out, 1 + optional.iter().filter(|is| **is).count() as u32);
    let number = |out: &mut Vec<u8>, field: Option<(&str, u64)>| {
        if let Some((key, value)) = field {
            encode::put_str(out, key);
            encode::put_uint(out, value);
        }
    };
    number(out, create);
    number(out, flags);
    encode::put_str(out, "Key");
    encode::put_raw(out, &e.key);
    number(out, lock);
    number(out, modify);
    if session {
        encode::put_str(out, "Session");
        match e.session {
            Some(id) => encode::put_raw(out, &id.encode()),
            None => encode::put_str(out, ""),
        }
    }
    if value {
        encode::put_str(out, "Value");
        encode::put_bytes_or_nil(out, &e.value);
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::id::Uuid;

    use super::*;
    use crate::msgpack::{from_slice, to_vec};

    #[test]
    fn the_direct_encoder_writes_what_serde_writes() {
        for entry in [
            KvEntry::default(),
            KvEntry {
                key: (*b"a\xff").into(),
                value: vec![7; 300].into(),
                flags: 1 << 40,
                ..KvEntry::default()
            },
            KvEntry {
                session: Some(Uuid([9; 16])),
                lock_index: 3,
                create: Index(1),
                modify: Index(2),
                ..KvEntry::default()
            },
        ] {
            let mut full = Vec::new();
            put_dir_entry(&mut full, &entry, true);
            assert_eq!(full, to_vec(&DirEntry::from(&entry)).unwrap());
            let mut short = Vec::new();
            put_dir_entry(&mut short, &entry, false);
            let back: DirEntry<'_> = from_slice(&short).unwrap();
            assert_eq!(KvEntry::try_from(back), Ok(entry));
        }
    }

    #[test]
    fn every_operation_has_a_word() {
        for (word, op) in OPS {
            assert_eq!(kv_op(word), Ok(op));
            assert_eq!(kv_op_word(op), word);
        }
        assert!(kv_op("get").is_err());
    }
}
