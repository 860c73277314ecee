//! Entries of the replicated log: one type byte, then one msgpack value.
//!
//! Type numbers below 0x40 are those of the original (spec rpc.md section 9) and carry its request
//! bodies; numbers from 0x40 to 0x7f are our own. The bit 0x80 says that a server which does not
//! know the type may skip the entry. No entry carries a token: who may write was decided before.
//!
//! A pair being set is by far the most frequent entry, so KV entries are written without serde and
//! leave out zero fields.

use tribune_types::command::{Command, RestoreStep};
use tribune_types::id::Index;
use tribune_types::kv::KvEntry;

use crate::msgpack::{self, Bytes, Str, encode as put};
use crate::records::{
    AutopilotSetConfigRequest, Coordinate, DeregisterRequest, KvsRequest, PreparedQuery,
    PreparedQueryRequest, QUERY_DELETE, QUERY_SET, RecordError, RegisterRequest, Session,
    SessionRequest, TombstoneRequest, TxnRequest, kv_op, kv_op_word, mirror, uuid_opt, uuid_text,
};

const REGISTER: u8 = 0;
const DEREGISTER: u8 = 1;
const KVS: u8 = 2;
const SESSION: u8 = 3;
const TOMBSTONE: u8 = 5;
const COORDINATES: u8 = 6;
const PREPARED_QUERY: u8 = 7;
const TXN: u8 = 8;
const AUTOPILOT: u8 = 9;
/// Our own: a piece of a snapshot archive.
const RESTORE: u8 = 0x40;

/// The bit of entries that may be skipped by those who do not know them.
const SKIPPABLE: u8 = 0x80;

/// Why an entry cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// There is no type byte.
    #[error("log entry is empty")]
    Empty,
    /// The type is unknown here.
    #[error("log entry has unknown type {kind}")]
    Unknown {
        /// The type, without the bit that allows to skip it.
        kind: u8,
        /// Whether its writer allows to skip it.
        skippable: bool,
    },
    /// The body is malformed.
    #[error("log entry of type {kind}: {source}")]
    Malformed {
        /// The type.
        kind: u8,
        /// What is wrong.
        source: msgpack::Error,
    },
    /// The body is well formed but says nothing that can be done.
    #[error("log entry of type {kind}: {source}")]
    Invalid {
        /// The type.
        kind: u8,
        /// What is wrong.
        source: RecordError,
    },
}

mirror! {
    /// A step of a restore; which fields count depends on the step.
    RestoreBody<'a> {
        "Chunks" chunks: u32,
        "Data" data: Bytes<'a>,
        "ID" id: u64,
        "Index" index: u64,
        "Seq" seq: u32,
        "Step" step: Str<'a>,
    }
}

/// Appends the entry of `command` to `out`.
pub fn encode(command: &Command, out: &mut Vec<u8>) {
    // The serializer fails on lengths beyond 32 bits only. Bodies are limited to megabytes where
    // they enter, so a failure here is a bug, and the broken entry is refused when it is decoded.
    let done = match command {
        Command::Kv(op, entry) => {
            encode_kv(kv_op_word(*op), entry, out);
            return;
        }
        Command::Register(register) => body(out, REGISTER, &RegisterRequest::from(&**register)),
        Command::Deregister(deregister) => {
            body(out, DEREGISTER, &DeregisterRequest::from(deregister))
        }
        Command::SessionCreate(session) => {
            let session = Session::from(&**session);
            body(
                out,
                SESSION,
                &SessionRequest {
                    op: "create".into(),
                    session,
                    ..SessionRequest::default()
                },
            )
        }
        Command::SessionDestroy(id) => {
            let session = Session::of(*id);
            body(
                out,
                SESSION,
                &SessionRequest {
                    op: "destroy".into(),
                    session,
                    ..SessionRequest::default()
                },
            )
        }
        Command::ReapTombstones(index) => {
            let request = TombstoneRequest {
                op: "reap".into(),
                reap_index: index.0,
                ..TombstoneRequest::default()
            };
            body(out, TOMBSTONE, &request)
        }
        Command::Coordinates(entries) => {
            let entries: Vec<Coordinate<'_>> = entries.iter().map(Into::into).collect();
            body(out, COORDINATES | SKIPPABLE, &entries)
        }
        Command::Txn(ops) => {
            let ops = Some(ops.iter().map(Into::into).collect());
            body(
                out,
                TXN,
                &TxnRequest {
                    ops,
                    ..TxnRequest::default()
                },
            )
        }
        Command::Autopilot { config, cas } => {
            let request = AutopilotSetConfigRequest {
                cas: cas.is_some(),
                cas_index: cas.map(|index| index.0),
                config: config.into(),
                ..AutopilotSetConfigRequest::default()
            };
            body(out, AUTOPILOT, &request)
        }
        Command::QuerySet(query) => body(
            out,
            PREPARED_QUERY,
            &PreparedQueryRequest {
                op: QUERY_SET.into(),
                query: Some((&**query).into()),
                ..PreparedQueryRequest::default()
            },
        ),
        Command::QueryDelete(id) => {
            let query = PreparedQuery {
                id: uuid_text(Some(*id)),
                ..PreparedQuery::default()
            };
            body(
                out,
                PREPARED_QUERY,
                &PreparedQueryRequest {
                    op: QUERY_DELETE.into(),
                    query: Some(query),
                    ..PreparedQueryRequest::default()
                },
            )
        }
        Command::Restore(step) => body(out, RESTORE, &restore_body(step)),
    };
    debug_assert!(
        done.is_ok(),
        "command does not fit into a log entry: {done:?}"
    );
}

fn body<T: serde::Serialize>(out: &mut Vec<u8>, kind: u8, value: &T) -> Result<(), msgpack::Error> {
    out.push(kind);
    msgpack::to_writer(out, value)
}

fn encode_kv(op: &str, entry: &KvEntry, out: &mut Vec<u8>) {
    out.reserve(64 + entry.key.len() + entry.value.len());
    out.push(KVS);
    put::put_map(out, 2);
    put::put_str(out, "DirEnt");
    crate::records::put_dir_entry(out, entry, false);
    put::put_str(out, "Op");
    put::put_str(out, op);
}

fn restore_body(step: &RestoreStep) -> RestoreBody<'_> {
    let empty = RestoreBody::default();
    match step {
        RestoreStep::Begin { id } => RestoreBody {
            step: "begin".into(),
            id: *id,
            ..empty
        },
        RestoreStep::Chunk { id, seq, data } => RestoreBody {
            step: "chunk".into(),
            id: *id,
            seq: *seq,
            data: Bytes(data),
            ..empty
        },
        RestoreStep::Commit { id, chunks, index } => RestoreBody {
            step: "commit".into(),
            id: *id,
            chunks: *chunks,
            index: index.0,
            ..empty
        },
        RestoreStep::Abort { id } => RestoreBody {
            step: "abort".into(),
            id: *id,
            ..empty
        },
    }
}

/// Reads an entry. It must fill `bytes`.
pub fn decode(bytes: &[u8]) -> Result<Command, EntryError> {
    let (&first, body) = bytes.split_first().ok_or(EntryError::Empty)?;
    let kind = first & !SKIPPABLE;
    let command = match kind {
        REGISTER => {
            command::<RegisterRequest<'_>>(body, |r| Ok(Command::Register(Box::new(r.try_into()?))))
        }
        DEREGISTER => command::<DeregisterRequest<'_>>(body, |r| Ok(Command::Deregister(r.into()))),
        KVS => command::<KvsRequest<'_>>(body, |r| {
            Ok(Command::Kv(kv_op(&r.op)?, r.dir_ent.try_into()?))
        }),
        SESSION => command::<SessionRequest<'_>>(body, |r| match &*r.op {
            "create" => Ok(Command::SessionCreate(Box::new(r.session.try_into()?))),
            "destroy" => Ok(Command::SessionDestroy(r.session.session_id()?)),
            op => Err(RecordError::Word {
                field: "session operation",
                word: op.to_owned(),
            }),
        }),
        TOMBSTONE => command::<TombstoneRequest<'_>>(body, |r| match &*r.op {
            "reap" => Ok(Command::ReapTombstones(Index(r.reap_index))),
            op => Err(RecordError::Word {
                field: "tombstone operation",
                word: op.to_owned(),
            }),
        }),
        COORDINATES => command::<Vec<Coordinate<'_>>>(body, |entries| {
            let entries: Result<_, _> = entries.into_iter().map(TryInto::try_into).collect();
            entries.map(Command::Coordinates)
        }),
        PREPARED_QUERY => command::<PreparedQueryRequest<'_>>(body, |r| {
            let query = r.query.ok_or(RecordError::Missing("Query"))?;
            match &*r.op {
                // A new one is set as well: its ID is filled in.
                "create" | QUERY_SET => Ok(Command::QuerySet(Box::new(query.into()))),
                QUERY_DELETE => Ok(Command::QueryDelete(
                    uuid_opt("query ID", &query.id)?.unwrap_or_default(),
                )),
                op => Err(RecordError::Word {
                    field: "prepared query operation",
                    word: op.to_owned(),
                }),
            }
        }),
        TXN => command::<TxnRequest<'_>>(body, |r| {
            let ops: Result<_, _> = r.ops.into_iter().flatten().map(TryInto::try_into).collect();
            ops.map(Command::Txn)
        }),
        AUTOPILOT => command::<AutopilotSetConfigRequest<'_>>(body, |r| {
            let expected = r.cas_index.unwrap_or(r.config.modify_index);
            Ok(Command::Autopilot {
                cas: r.cas.then_some(Index(expected)),
                config: r.config.into(),
            })
        }),
        RESTORE => command::<RestoreBody<'_>>(body, |r| restore_step(&r).map(Command::Restore)),
        _ => {
            return Err(EntryError::Unknown {
                kind,
                skippable: first & SKIPPABLE != 0,
            });
        }
    };
    command.map_err(|e| match e {
        Fault::Malformed(source) => EntryError::Malformed { kind, source },
        Fault::Invalid(source) => EntryError::Invalid { kind, source },
    })
}

enum Fault {
    Malformed(msgpack::Error),
    Invalid(RecordError),
}

fn command<'de, T: serde::Deserialize<'de>>(
    body: &'de [u8],
    convert: impl FnOnce(T) -> Result<Command, RecordError>,
) -> Result<Command, Fault> {
    let value = msgpack::from_slice(body).map_err(Fault::Malformed)?;
    convert(value).map_err(Fault::Invalid)
}

fn restore_step(r: &RestoreBody<'_>) -> Result<RestoreStep, RecordError> {
    Ok(match &*r.step {
        "begin" => RestoreStep::Begin { id: r.id },
        "chunk" => RestoreStep::Chunk {
            id: r.id,
            seq: r.seq,
            data: r.data.0.into(),
        },
        "commit" => RestoreStep::Commit {
            id: r.id,
            chunks: r.chunks,
            index: Index(r.index),
        },
        "abort" => RestoreStep::Abort { id: r.id },
        word => {
            return Err(RecordError::Word {
                field: "restore step",
                word: word.to_owned(),
            });
        }
    })
}
