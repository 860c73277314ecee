//! `KVS.*`: keys and values.

use std::sync::Arc;

use tribune_types::id::Uuid;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Query, Reply};

use super::Error;
use super::fields::{Empty, Fields};
use super::session::lookup;
use crate::msgpack;
use crate::records::{DirEntry, KvsRequest, RawStr, kv_op, kv_op_word, mirror};

mirror! {
    /// `structs.KeyRequest`.
    KeyRequest<'a> {
        "Key" key: RawStr<'a>,
    }

    /// `structs.KeyListRequest`. The spelling is the original's.
    KeyListRequest<'a> {
        "Prefix" prefix: RawStr<'a>,
        "Seperator" separator: RawStr<'a>,
    }

    /// `structs.IndexedDirEntries`.
    IndexedDirEntries<'a> {
        "Entries" entries: Option<Vec<DirEntry<'a>>>,
    }

    /// `structs.IndexedKeyList`.
    IndexedKeyList<'a> {
        "Keys" keys: Option<Vec<RawStr<'a>>>,
    }
}

pub(super) fn decode(method: &str, body: &[u8]) -> Result<Option<Query>, Error> {
    let key = || msgpack::from_slice::<KeyRequest<'_>>(body).map(|request| request.key.0.into());
    Ok(Some(match method {
        "KVS.Get" => Query::KvGet { key: key()? },
        "KVS.List" => Query::KvList { prefix: key()? },
        "KVS.ListKeys" => {
            let request: KeyListRequest<'_> = msgpack::from_slice(body)?;
            Query::KvKeys {
                prefix: request.prefix.0.into(),
                separator: request.separator.0.into(),
            }
        }
        _ => return Ok(None),
    }))
}

pub(super) fn put_reply<'a>(reply: &'a Reply, fields: &mut Fields<'a>) -> bool {
    match reply {
        Reply::Kv(entries) => {
            fields.list("Entries", entries, Empty::Nil, |e| DirEntry::from(&**e));
        }
        Reply::Keys(keys) => fields.list("Keys", keys, Empty::Nil, |k| RawStr(k)),
        _ => return false,
    }
    true
}

pub(super) fn entries(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedDirEntries<'_> = msgpack::from_slice(body)?;
    let entries = reply.entries.unwrap_or_default().into_iter();
    let entries = entries.map(|e| KvEntry::try_from(e).map(Arc::new));
    Ok(Reply::Kv(entries.collect::<Result<_, _>>()?))
}

pub(super) fn keys(body: &[u8]) -> Result<Reply, Error> {
    let reply: IndexedKeyList<'_> = msgpack::from_slice(body)?;
    let keys = reply.keys.unwrap_or_default();
    Ok(Reply::Keys(keys.into_iter().map(|k| k.0.into()).collect()))
}

pub(super) fn apply(body: &[u8]) -> Result<(KvOp, KvEntry), Error> {
    let mut request: KvsRequest<'_> = msgpack::from_slice(body)?;
    let op = kv_op(&request.op)
        .map_err(|_| Error::Refused(format!("Invalid KVS operation '{}'", &*request.op)))?;
    let session = std::mem::take(&mut request.dir_ent.session);
    let mut entry = KvEntry::try_from(request.dir_ent)?;
    entry.session = match op {
        _ if session.is_empty() => None,
        KvOp::Lock => Some(lookup(&session)?),
        // Whoever holds the lock, it is not this one.
        KvOp::Unlock => Some(Uuid::parse(&session).unwrap_or_default()),
        // Only locks look at the session.
        _ => None,
    };
    Ok((op, entry))
}

pub(super) fn put_apply<'a>(op: KvOp, entry: &'a KvEntry, fields: &mut Fields<'a>) {
    fields.put("DirEnt", DirEntry::from(entry));
    fields.str("Op", kv_op_word(op));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack::to_vec;

    #[test]
    fn a_session_that_is_no_uuid_matters_to_locks_only() {
        for (op, want) in [
            ("set", None),
            ("unlock", None),
            (
                "lock",
                Some("failed session lookup: index error: UUID must be 36 characters"),
            ),
        ] {
            let request = KvsRequest {
                op: op.into(),
                dir_ent: DirEntry {
                    key: RawStr(b"k"),
                    session: "x".into(),
                    ..DirEntry::default()
                },
                ..KvsRequest::default()
            };
            let got = apply(&to_vec(&request).unwrap());
            assert_eq!(got.err().map(|e| e.to_string()).as_deref(), want, "{op}");
        }
    }
}
