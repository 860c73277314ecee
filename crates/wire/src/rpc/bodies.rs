//! Bodies of the methods that are served: requests to writes, answers to bytes (rpc.md section 7).

use serde::Deserialize;
use tribune_types::catalog::{Deregister, Register};
use tribune_types::coordinate::CoordinateEntry;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::write::{Write, WriteReply};

use crate::msgpack::{self, Str, encode};
use crate::records::{
    CoordinateUpdateRequest, DeregisterRequest, KvsRequest, RecordError, RegisterRequest, kv_op,
};

/// Why a body cannot be understood. The text goes back to the caller.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The bytes do not fit the method's request.
    #[error(transparent)]
    Decode(#[from] msgpack::Error),
    /// The values do not.
    #[error(transparent)]
    Record(#[from] RecordError),
}

/// A write with the routing that every request carries.
#[derive(Debug, PartialEq)]
pub struct WriteCall {
    /// Datacenter it is for; empty is an error of the caller.
    pub datacenter: String,
    /// Secret of the token; empty for none.
    pub token: String,
    /// What to do.
    pub write: Write,
}

/// The fields every request has.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Common<'a> {
    #[serde(rename = "Datacenter", borrow)]
    datacenter: Str<'a>,
    #[serde(rename = "Token", borrow)]
    token: Str<'a>,
}

/// Decodes the body of a write method; `None` if the method is no write that is served.
///
/// # Errors
/// The body does not fit the method.
pub fn write_call(method: &str, body: &[u8]) -> Result<Option<WriteCall>, BodyError> {
    let write = match method {
        "Catalog.Register" => {
            Write::Register(Box::new(Register::try_from(msgpack::from_slice::<
                RegisterRequest<'_>,
            >(body)?)?))
        }
        "Catalog.Deregister" => Write::Deregister(Deregister::from(msgpack::from_slice::<
            DeregisterRequest<'_>,
        >(body)?)),
        "Coordinate.Update" => {
            let request = msgpack::from_slice::<CoordinateUpdateRequest<'_>>(body)?;
            Write::Coordinate(CoordinateEntry::try_from(request)?)
        }
        "KVS.Apply" => {
            let request = msgpack::from_slice::<KvsRequest<'_>>(body)?;
            let op: KvOp = kv_op(&request.op)?;
            Write::Kv(op, KvEntry::try_from(request.dir_ent)?)
        }
        _ => return Ok(None),
    };
    let common: Common<'_> = msgpack::from_slice(body)?;
    Ok(Some(WriteCall {
        datacenter: common.datacenter.to_string(),
        token: common.token.to_string(),
        write,
    }))
}

/// Encodes the answer to a write method.
pub fn write_reply(reply: &WriteReply, out: &mut Vec<u8>) {
    match reply {
        WriteReply::Verdict(verdict) => out.push(if *verdict { 0xc3 } else { 0xc2 }),
        _ => out.push(0x80),
    }
}

/// Encodes a bare string answer.
pub fn string_reply(text: &str, out: &mut Vec<u8>) {
    encode::put_str(out, text);
}

/// Encodes a bare list of strings.
pub fn strings_reply(texts: &[String], out: &mut Vec<u8>) {
    encode::put_array(out, u32::try_from(texts.len()).unwrap_or(u32::MAX));
    for text in texts {
        string_reply(text, out);
    }
}
