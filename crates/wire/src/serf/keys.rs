//! Requests about keys and their answers, which travel as payloads of queries (gossip.md section 7.10).

use std::fmt;
use std::sync::Arc;

use tribune_serf::{Message, QueryId, QueryResponse};
use tribune_types::text::Text;

use super::{Malformed, body, kind, message};
use crate::msgpack::encode::{put_array, put_bool, put_nil, put_raw, put_str};

/// Size of the shortest key in a list, as the original reckons.
const KEY_SIZE_MIN: usize = 25;
/// Keys of an answer that are read.
const KEYS_MAX: usize = 4096;

/// The payload of a request. `key` is empty for a list. Secret.
pub fn encode_request(key: &[u8]) -> Arc<[u8]> {
    let mut out = vec![kind::KEY_REQUEST];
    out.extend_from_slice(b"\x81\xa3Key");
    put_raw(&mut out, key);
    Arc::from(out)
}

/// The key of a request, which may be of any size. Secret.
///
/// # Errors
/// See [`Malformed`].
pub fn decode_request(payload: &[u8]) -> Result<Vec<u8>, Malformed> {
    let mut key = Vec::new();
    body(kind::KEY_REQUEST, payload)?.fields(["Key"], |_, r| {
        key = r.bytes()?.unwrap_or_default().into_owned();
        Ok::<(), Malformed>(())
    })?;
    Ok(key)
}

/// What a member says to a request.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyResponse {
    /// It was done.
    pub result: bool,
    /// Why not; or what is to be known all the same.
    pub message: String,
    /// Keys in base64, the primary one first; `None` unless they were asked for. Secret.
    pub keys: Option<Vec<String>>,
    /// The primary key in base64; empty unless keys were asked for. Secret.
    pub primary: String,
}

impl fmt::Debug for KeyResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyResponse")
            .field("result", &self.result)
            .field("message", &self.message)
            .field("keys", &self.keys.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

/// The payload of an answer.
pub fn encode_response(response: &KeyResponse) -> Arc<[u8]> {
    let KeyResponse {
        result,
        message,
        keys,
        primary,
    } = response;
    put_response(*result, message, keys.as_deref(), primary)
}

fn put_response(result: bool, message: &str, keys: Option<&[String]>, primary: &str) -> Arc<[u8]> {
    let mut out = vec![kind::KEY_RESPONSE];
    out.extend_from_slice(b"\x84\xa4Keys");
    match keys {
        Some(keys) => {
            put_array(&mut out, keys.len() as u32);
            for key in keys {
                put_str(&mut out, key);
            }
        }
        None => put_nil(&mut out),
    }
    out.extend_from_slice(b"\xa7Message");
    put_str(&mut out, message);
    out.extend_from_slice(b"\xaaPrimaryKey");
    put_str(&mut out, primary);
    out.extend_from_slice(b"\xa6Result");
    put_bool(&mut out, result);
    Arc::from(out)
}

/// Reads the payload of an answer.
///
/// # Errors
/// See [`Malformed`].
pub fn decode_response(payload: &[u8]) -> Result<KeyResponse, Malformed> {
    let mut response = KeyResponse::default();
    body(kind::KEY_RESPONSE, payload)?.fields(
        ["Result", "Message", "Keys", "PrimaryKey"],
        |at, r| {
            match at {
                0 => response.result = r.bool()?,
                1 => response.message = r.str()?.into_owned(),
                2 => {
                    let is_nil = r.rest().first() == Some(&0xc0);
                    let mut keys = Vec::new();
                    r.list(|at, r| {
                        if at == KEYS_MAX {
                            return Err(Malformed::Memory(KEYS_MAX));
                        }
                        keys.push(r.str()?.into_owned());
                        Ok(())
                    })?;
                    response.keys = (!is_nil).then_some(keys);
                }
                _ => response.primary = r.str()?.into_owned(),
            }
            Ok::<(), Malformed>(())
        },
    )?;
    Ok(response)
}

/// The payload of the answer to a request for all keys. If the whole answer would take more than `size_max` bytes (1024),
/// as few keys as possible are left out at the end, and the message tells how many. `None` if it is too long even without
/// any.
///
/// `keys` are in base64, the primary one first; `query` and `from` (our name) are those of the answer.
pub fn encode_key_list(
    keys: &[String],
    primary: &str,
    query: QueryId,
    from: &Text,
    size_max: usize,
) -> Option<Arc<[u8]>> {
    let fits = |payload: &Arc<[u8]>| {
        let response = QueryResponse {
            ltime: query.ltime,
            id: query.id,
            from: from.clone(),
            ack: false,
            payload: Some(payload.clone()),
        };
        let mut out = Vec::new();
        message::encode(&Message::QueryResponse(response), &mut out);
        out.len() <= size_max
    };
    let whole = put_response(true, "", Some(keys), primary);
    if fits(&whole) {
        return Some(whole);
    }
    let total = keys.len();
    let first = (size_max / KEY_SIZE_MIN).min(total);
    (0..=first).rev().find_map(|count| {
        let text = format!("truncated key list response, showing first {count} of {total} keys");
        Some(put_response(true, &text, Some(&keys[..count]), primary)).filter(fits)
    })
}
