//! The server RPC: framing of calls and the bodies of methods (rpc.md sections 2, 5, 6 and 7).
//!
//! A request is two MessagePack values back to back, header and body; a response the same. [`crate::msgpack::value_len`]
//! finds the ends of values without decoding them, so that relays can copy bytes.
//!
//! Callers: [`encode_query`] and [`decode_reply`], [`encode_write`] and [`decode_write_reply`], and the functions of
//! methods that are neither. Servers: [`decode_call`], [`encode_reply`], [`encode_write_reply`]. One module per group of
//! methods knows its bodies.

mod call;
mod catalog;
mod common;
mod coordinate;
mod error;
mod event;
mod fields;
mod header;
mod health;
mod internal;
mod keyring;
mod kvs;
mod operator;
mod outline;
mod prepared;
mod query;
mod session;
mod snapshot;
mod status;
mod txn;
mod write;

pub use call::{Call, decode_call};
pub use common::Envelope;
pub use error::Error;
pub use event::{EventFire, pack_event, unpack_event};
pub use header::{
    RequestHeader, ResponseHeader, write_passed_on_header, write_request_header,
    write_response_header,
};
pub use keyring::{
    KEYRING_OPERATION, KeyringCall, decode_keyring_reply, encode_keyring, encode_keyring_reply,
};
pub use operator::{
    SERVER_HEALTH, decode_server_health_reply, encode_server_health, encode_server_health_reply,
};
pub use outline::{Effect, Outline, effect_abroad, is_for_leader, is_large};
pub use prepared::{
    EXECUTE_QUERY, EXECUTE_QUERY_REMOTE, EXPLAIN_QUERY, decode_executed_query,
    decode_explained_query, encode_execute_query, encode_execute_query_remote,
    encode_executed_query, encode_explained_query,
};
pub use query::{decode_reply, encode_query, encode_reply};
pub use snapshot::{
    SnapshotCall, SnapshotOp, decode_snapshot, decode_snapshot_reply, encode_snapshot,
    encode_snapshot_reply,
};
pub use status::{
    EMPTY, LEADER, PEERS, PING, RAFT_STATS, decode_server_stats, decode_text, decode_texts,
    encode_server_stats, encode_status, encode_text, encode_texts,
};
pub use write::{ReplyForm, decode_write_reply, encode_write, encode_write_reply};
