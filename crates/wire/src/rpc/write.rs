//! Writes: which method carries what, and the replies (rpc.md section 7).

use tribune_types::catalog::Register;
use tribune_types::id::Index;
use tribune_types::kv::KvOp;
use tribune_types::query::{Consistency, QueryMeta, ReadOptions};
use tribune_types::uuid::parse_node_id;
use tribune_types::write::{Write, WriteReply};

use super::common::{put_meta, put_options, read_meta};
use super::fields::Fields;
use super::status::EMPTY;
use super::{Error, coordinate, event, kvs, operator, prepared, session, status, txn};
use crate::msgpack::{self, encode};
use crate::records::{DeregisterRequest, RegisterRequest};

/// The method that carries `write`, and its request body. Every write has one; `None` is for those to come.
pub fn encode_write(
    write: &Write,
    datacenter: &str,
    token: &str,
) -> Option<(&'static str, Vec<u8>)> {
    let packed = match write {
        Write::EventFire(fired) => {
            let mut packed = Vec::new();
            event::pack_event(fired, &mut packed);
            packed
        }
        _ => Vec::new(),
    };
    let mut fields = Fields::default();
    let method = match write {
        Write::Register(register) => {
            let mut request = RegisterRequest::from(&**register);
            request.datacenter = datacenter.into();
            request.token = token.into();
            if let Some([_]) = request.checks.as_deref() {
                // Agents give a single check this way.
                request.check = request.checks.take().and_then(|mut checks| checks.pop());
            }
            return Some(("Catalog.Register", whole(&request)));
        }
        Write::Deregister(deregister) => {
            let mut request = DeregisterRequest::from(deregister);
            request.datacenter = datacenter.into();
            request.token = token.into();
            return Some(("Catalog.Deregister", whole(&request)));
        }
        Write::Kv(op, entry) => {
            kvs::put_apply(*op, entry, &mut fields);
            "KVS.Apply"
        }
        Write::SessionCreate(session) => {
            session::put_create(session, &mut fields);
            "Session.Apply"
        }
        Write::SessionDestroy(id) => {
            session::put_destroy(*id, &mut fields);
            "Session.Apply"
        }
        Write::SessionRenew(id) => {
            session::put_specific(*id, &mut fields);
            "Session.Renew"
        }
        Write::Txn(ops) => {
            txn::put_ops(ops, &mut fields);
            "Txn.Apply"
        }
        Write::TxnRead(ops, _) => {
            txn::put_ops(ops, &mut fields);
            "Txn.Read"
        }
        Write::Coordinate(entry) => {
            coordinate::put_update(entry, &mut fields);
            "Coordinate.Update"
        }
        Write::EventFire(fired) => {
            event::put_fire(&fired.name, &packed, &mut fields);
            "Internal.EventFire"
        }
        Write::Autopilot { config, cas } => {
            operator::put_set(config, *cas, &mut fields);
            "Operator.AutopilotSetConfiguration"
        }
        Write::PreparedQuery(op, query) => {
            prepared::put_apply(*op, query, &mut fields);
            "PreparedQuery.Apply"
        }
        Write::RaftRemovePeer(peer) => operator::put_remove(peer, &mut fields),
    };
    fields.str("Datacenter", datacenter);
    match write {
        // These travel as reads.
        Write::SessionRenew(_) => put_options(&mut fields, &ReadOptions::default(), "", token),
        Write::TxnRead(_, consistency) => {
            let options = ReadOptions {
                consistency: *consistency,
                ..ReadOptions::default()
            };
            put_options(&mut fields, &options, "", token);
        }
        // Any server may send an event.
        Write::EventFire(_) => {
            let options = ReadOptions {
                consistency: Consistency::Stale,
                ..ReadOptions::default()
            };
            put_options(&mut fields, &options, "", token);
        }
        _ => fields.str("Token", token),
    }
    Some((method, fields.into_vec()))
}

fn whole<T: serde::Serialize>(request: &T) -> Vec<u8> {
    let encoded = msgpack::to_vec(request);
    debug_assert!(encoded.is_ok(), "a request cannot be encoded");
    encoded.unwrap_or_default()
}

/// The write of a method; `None` if the method is none. Transactions are decoded apart.
pub(super) fn decode_write(method: &str, body: &[u8]) -> Result<Option<Write>, Error> {
    Ok(Some(match method {
        "Catalog.Register" => {
            let request: RegisterRequest<'_> = msgpack::from_slice(body)?;
            if !request.id.is_empty() {
                parse_node_id(&request.id)
                    .map_err(|why| Error::Refused(format!("Bad node ID: {why}")))?;
            }
            Write::Register(Box::new(Register::try_from(request)?))
        }
        "Catalog.Deregister" => {
            let request: DeregisterRequest<'_> = msgpack::from_slice(body)?;
            Write::Deregister(request.into())
        }
        "Coordinate.Update" => coordinate::update(body)?,
        "KVS.Apply" => {
            let (op, entry) = kvs::apply(body)?;
            Write::Kv(op, entry)
        }
        "Session.Apply" => session::apply(body)?,
        "Session.Renew" => session::renew(body)?,
        "PreparedQuery.Apply" => prepared::apply(body)?,
        _ => return operator::apply(method, body),
    }))
}

/// How the reply to a write looks. Taken from the write before it is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplyForm {
    /// An empty map.
    Nothing,
    /// The verdict of a condition.
    Verdict,
    /// The original answers `false` when nothing was asked, and nobody looks.
    NoVerdict,
    /// The ID of a session; empty if there is none to tell.
    SessionId,
    /// The ID of a prepared query.
    QueryId,
    /// The renewed session.
    Renewed,
    /// Outcome of a transaction.
    Txn,
    /// Outcome of a transaction that only reads, with query meta.
    TxnRead,
    /// Query meta and nothing else.
    Meta,
}

impl ReplyForm {
    /// The form of the reply to `write`.
    pub fn of(write: &Write) -> ReplyForm {
        match write {
            Write::Register(_)
            | Write::Deregister(_)
            | Write::Coordinate(_)
            | Write::RaftRemovePeer(_) => ReplyForm::Nothing,
            Write::Kv(KvOp::Set | KvOp::Delete | KvOp::DeleteTree, _)
            | Write::Autopilot { cas: None, .. } => ReplyForm::NoVerdict,
            Write::Kv(..) | Write::Autopilot { .. } => ReplyForm::Verdict,
            Write::SessionCreate(_) | Write::SessionDestroy(_) => ReplyForm::SessionId,
            Write::PreparedQuery(..) => ReplyForm::QueryId,
            Write::SessionRenew(_) => ReplyForm::Renewed,
            Write::Txn(_) => ReplyForm::Txn,
            Write::TxnRead(..) => ReplyForm::TxnRead,
            Write::EventFire(_) => ReplyForm::Meta,
        }
    }
}

/// Appends the reply to a write.
pub fn encode_write_reply(form: ReplyForm, reply: &WriteReply, out: &mut Vec<u8>) {
    match (form, reply) {
        (ReplyForm::NoVerdict, _) => encode::put_bool(out, false),
        (_, WriteReply::Verdict(verdict)) => encode::put_bool(out, *verdict),
        (_, WriteReply::Session(id)) => status::encode_text(&id.to_string(), out),
        (_, WriteReply::PreparedQuery(id)) => status::encode_text(id, out),
        (ReplyForm::SessionId, _) => status::encode_text("", out),
        (_, WriteReply::Renewed(sessions)) => {
            let mut fields = Fields::default();
            session::put_sessions(sessions, &mut fields);
            // The original says nothing about the leader here.
            let index = sessions.iter().map(|s| s.modify).max();
            let meta = QueryMeta {
                index: index.unwrap_or(Index(1)),
                ..QueryMeta::default()
            };
            put_meta(&mut fields, &meta);
            fields.finish(out);
        }
        (_, WriteReply::TxnRead(outcome, meta)) => txn::put_read_outcome(outcome, meta, out),
        (_, WriteReply::Txn(outcome)) => txn::put_outcome(outcome, out),
        (ReplyForm::Meta, _) => {
            let mut fields = Fields::default();
            let meta = QueryMeta {
                known_leader: true,
                ..QueryMeta::default()
            };
            put_meta(&mut fields, &meta);
            fields.finish(out);
        }
        _ => out.extend_from_slice(EMPTY),
    }
}

/// Decodes the reply to a write that [`encode_write`] encoded.
///
/// # Errors
/// The bytes are no such reply. The write was carried out all the same.
pub fn decode_write_reply(write: &Write, body: &[u8]) -> Result<WriteReply, Error> {
    Ok(match ReplyForm::of(write) {
        ReplyForm::Nothing | ReplyForm::Meta => WriteReply::Done,
        ReplyForm::NoVerdict => WriteReply::Verdict(true),
        ReplyForm::Verdict => WriteReply::Verdict(msgpack::from_slice(body)?),
        ReplyForm::SessionId => match write {
            Write::SessionDestroy(_) => WriteReply::Done,
            _ => WriteReply::Session(session::created(body)?),
        },
        ReplyForm::QueryId => WriteReply::PreparedQuery(prepared::applied(body)?),
        ReplyForm::Renewed => WriteReply::Renewed(session::sessions(body)?),
        ReplyForm::Txn => WriteReply::Txn(Box::new(txn::outcome(body)?)),
        ReplyForm::TxnRead => {
            let meta = QueryMeta {
                index: Index(0),
                ..read_meta(body)?
            };
            WriteReply::TxnRead(Box::new(txn::outcome(body)?), meta)
        }
    })
}
