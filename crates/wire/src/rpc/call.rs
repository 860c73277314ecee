//! Calls as they arrive at a server: the method says what the body is.

use tribune_types::prepared::{ExecuteQuery, ExecuteQueryRemote};
use tribune_types::query::{Query, QueryMeta, ReadOptions};
use tribune_types::write::Write;

use super::common::{Common, Envelope};
use super::event::EventFire;
use super::keyring::{KEYRING_OPERATION, KeyringCall};
use super::prepared::{EXECUTE_QUERY, EXECUTE_QUERY_REMOTE, EXPLAIN_QUERY};
use super::query::decode_query;
use super::status::{LEADER, PEERS, PING, RAFT_STATS};
use super::write::decode_write;
use super::{Error, event, keyring, operator, prepared, txn};
use crate::msgpack;

/// What a caller wants.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// An answer that there is somebody.
    Ping,
    /// The leader's address.
    Leader(Envelope),
    /// The addresses of all peers.
    Peers(Envelope),
    /// How far the log of this very server is.
    RaftStats,
    /// Health of the peer set.
    ServerHealth(Envelope),
    /// Data.
    Query {
        /// Where, and for whom.
        envelope: Envelope,
        /// Which.
        query: Query,
        /// How; the datacenter is in the envelope.
        options: ReadOptions,
    },
    /// A change.
    Write {
        /// Where, and for whom.
        envelope: Envelope,
        /// Which.
        write: Write,
    },
    /// A prepared query to be carried out.
    ExecuteQuery {
        /// Where, and for whom.
        envelope: Envelope,
        /// Which.
        request: ExecuteQuery,
        /// How; the datacenter is in the envelope.
        options: ReadOptions,
    },
    /// A prepared query of another datacenter to be carried out here.
    ExecuteQueryRemote {
        /// Where, and for whom.
        envelope: Envelope,
        /// Which.
        request: Box<ExecuteQueryRemote>,
        /// How; the datacenter is in the envelope.
        options: ReadOptions,
    },
    /// A prepared query to be shown as it renders.
    ExplainQuery {
        /// Where, and for whom.
        envelope: Envelope,
        /// Which.
        request: ExecuteQuery,
        /// How; the datacenter is in the envelope.
        options: ReadOptions,
    },
    /// A request whose reply follows from itself: nothing is done.
    Answered {
        /// Where it was to be done, and for whom.
        envelope: Envelope,
        /// The body of the reply.
        reply: Vec<u8>,
    },
    /// A user event to be sent.
    EventFire(EventFire),
    /// Something about gossip keys.
    Keyring(KeyringCall),
}

/// Decodes a call; `None` if the method is not known here.
///
/// # Errors
/// The body does not fit the method, or says what is always refused. The text goes back to the caller.
pub fn decode_call(method: &str, body: &[u8]) -> Result<Option<Call>, Error> {
    match method {
        PING => return Ok(Some(Call::Ping)),
        RAFT_STATS => return Ok(Some(Call::RaftStats)),
        _ => {}
    }
    let common: Common<'_> = msgpack::from_slice(body)?;
    let envelope = common.envelope();
    Ok(Some(match method {
        LEADER => Call::Leader(envelope),
        PEERS => Call::Peers(envelope),
        operator::SERVER_HEALTH => Call::ServerHealth(envelope),
        KEYRING_OPERATION => Call::Keyring(keyring::decode(envelope, body)?),
        "Txn.Apply" => match txn::ops(body)? {
            Ok(ops) => Call::Write {
                envelope,
                write: Write::Txn(ops),
            },
            Err(outcome) => answered(envelope, |out| txn::put_outcome(&outcome, out)),
        },
        "Txn.Read" => match txn::ops(body)? {
            Ok(ops) => Call::Write {
                envelope,
                write: Write::TxnRead(ops, common.read_options().consistency),
            },
            Err(outcome) => answered(envelope, |out| {
                let meta = QueryMeta {
                    known_leader: true,
                    ..QueryMeta::default()
                };
                txn::put_read_outcome(&outcome, &meta, out);
            }),
        },
        EXECUTE_QUERY => Call::ExecuteQuery {
            envelope,
            request: prepared::decode_execute(body)?,
            options: common.read_options(),
        },
        EXPLAIN_QUERY => Call::ExplainQuery {
            envelope,
            request: prepared::decode_execute(body)?,
            options: common.read_options(),
        },
        EXECUTE_QUERY_REMOTE => Call::ExecuteQueryRemote {
            envelope,
            request: Box::new(prepared::decode_execute_remote(body)?),
            options: common.read_options(),
        },
        "Internal.EventFire" => Call::EventFire(event::decode(envelope, body)?),
        _ => {
            if let Some(query) = decode_query(method, body, &common)? {
                return Ok(Some(Call::Query {
                    envelope,
                    query,
                    options: common.read_options(),
                }));
            }
            match decode_write(method, body)? {
                Some(write) => Call::Write { envelope, write },
                None => return Ok(None),
            }
        }
    }))
}

fn answered(envelope: Envelope, put: impl FnOnce(&mut Vec<u8>)) -> Call {
    let mut reply = Vec::new();
    put(&mut reply);
    Call::Answered { envelope, reply }
}
