//! `Internal.KeyringOperation`: the keys of gossip pools.

use tribune_types::keyring::{self as domain, KeyringOperation, KeyringRequest};
use tribune_types::query::{QueryMeta, ReadOptions};
use tribune_types::text::Text;

use super::Error;
use super::common::{Envelope, put_meta, put_options};
use super::fields::{Empty, Fields};
use crate::msgpack::{self, Map, Str};
use crate::records::{RecordError, mirror};

/// Name of the method.
pub const KEYRING_OPERATION: &str = "Internal.KeyringOperation";

mirror! {
    /// `structs.KeyringRequest`.
    Request<'a> {
        "Forwarded" forwarded: bool,
        "Key" key: Str<'a>,
        "LocalOnly" local_only: bool,
        "Operation" operation: Str<'a>,
        "RelayFactor" relay_factor: u8,
    }

    /// `structs.KeyringResponse`.
    Response<'a> {
        "Datacenter" datacenter: Str<'a>,
        "Error" error: Str<'a>,
        "Keys" keys: Option<Map<'a, i64>>,
        "Messages" messages: Option<Map<'a, Str<'a>>>,
        "NumNodes" num_nodes: i64,
        "PrimaryKeys" primary_keys: Option<Map<'a, i64>>,
        "Segment" segment: Str<'a>,
        "WAN" wan: bool,
    }

    /// `structs.KeyringResponses`.
    Responses<'a> {
        "Responses" responses: Option<Vec<Response<'a>>>,
    }
}

/// A keyring operation with where and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyringCall {
    /// Where, and for whom.
    pub envelope: Envelope,
    /// What to do.
    pub request: KeyringRequest,
}

pub(super) fn decode(envelope: Envelope, body: &[u8]) -> Result<KeyringCall, Error> {
    let request: Request<'_> = msgpack::from_slice(body)?;
    let operation =
        KeyringOperation::parse(&request.operation).ok_or_else(|| RecordError::Word {
            field: "keyring operation",
            word: request.operation.to_string(),
        })?;
    Ok(KeyringCall {
        envelope,
        request: KeyringRequest {
            operation,
            key: request.key.into(),
            local_only: request.local_only,
            relay_factor: request.relay_factor,
            forwarded: request.forwarded,
        },
    })
}

/// Encodes the request body.
pub fn encode_keyring(request: &KeyringRequest, datacenter: &str, token: &str) -> Vec<u8> {
    let mut fields = Fields::default();
    fields.str("Datacenter", datacenter);
    fields.bool("Forwarded", request.forwarded);
    fields.str("Key", &request.key);
    fields.bool("LocalOnly", request.local_only);
    fields.str("Operation", request.operation.as_str());
    fields.uint("RelayFactor", u64::from(request.relay_factor));
    put_options(&mut fields, &ReadOptions::default(), "", token);
    fields.into_vec()
}

/// Encodes the reply: the answers of all pools. Its meta is left at zero, as the original leaves it.
pub fn encode_keyring_reply(responses: &[domain::KeyringResponse], out: &mut Vec<u8>) {
    let mut fields = Fields::default();
    fields.list("Responses", responses, Empty::Nil, Response::from);
    put_meta(&mut fields, &QueryMeta::default());
    fields.finish(out);
}

/// Decodes the reply.
///
/// # Errors
/// The bytes are no such reply.
pub fn decode_keyring_reply(body: &[u8]) -> Result<Vec<domain::KeyringResponse>, Error> {
    let reply: Responses<'_> = msgpack::from_slice(body)?;
    let responses = reply.responses.unwrap_or_default().into_iter();
    Ok(responses.map(Into::into).collect())
}

impl<'a> From<&'a domain::KeyringResponse> for Response<'a> {
    fn from(r: &'a domain::KeyringResponse) -> Self {
        let counts = |map: &'a std::collections::BTreeMap<Text, i64>| {
            Some(Map(map.iter().map(|(k, n)| (k.into(), *n)).collect()))
        };
        Response {
            datacenter: (&r.datacenter).into(),
            error: (&r.error).into(),
            keys: counts(&r.keys),
            messages: Some(Map(r
                .messages
                .iter()
                .map(|(node, text)| (node.into(), text.into()))
                .collect())),
            num_nodes: r.num_nodes,
            primary_keys: counts(&r.primary_keys),
            segment: (&r.segment).into(),
            wan: r.wan,
        }
    }
}

impl From<Response<'_>> for domain::KeyringResponse {
    fn from(r: Response<'_>) -> Self {
        let counts = |map: Option<Map<'_, i64>>| {
            let pairs = map.unwrap_or_default().0.into_iter();
            pairs.map(|(key, n)| (key.to_text(), n)).collect()
        };
        let messages = r.messages.unwrap_or_default().0.into_iter();
        domain::KeyringResponse {
            wan: r.wan,
            datacenter: r.datacenter.into(),
            segment: r.segment.into(),
            messages: messages
                .map(|(node, text)| (node.to_text(), text.to_text()))
                .collect(),
            keys: counts(r.keys),
            primary_keys: counts(r.primary_keys),
            num_nodes: r.num_nodes,
            error: r.error.into(),
        }
    }
}
