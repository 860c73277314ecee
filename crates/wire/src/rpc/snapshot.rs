//! The request and the answer of a streamed snapshot (rpc.md section 10.5). The archive itself goes beside them, undecoded.

use tribune_types::caller::Token;
use tribune_types::query::QueryMeta;

use super::Error;
use super::common::{Envelope, put_meta, read_meta};
use super::fields::Fields;
use crate::msgpack::{self, Str};
use crate::records::mirror;

/// What is to be done with a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnapshotOp {
    /// An archive comes back.
    Save,
    /// An archive follows the request.
    Restore,
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotCall {
    /// Where, and for whom.
    pub envelope: Envelope,
    /// Any server may answer from what it has.
    pub stale: bool,
    /// What.
    pub op: SnapshotOp,
    /// Another server took this one for its leader and passed the request on: it must not be passed on again. Said only
    /// where it is so, and skipped by the original.
    pub passed_on: bool,
}

mirror! {
    /// `structs.SnapshotRequest`.
    SnapshotRequest<'a> {
        "AllowStale" allow_stale: bool,
        "Datacenter" datacenter: Str<'a>,
        "Op" op: i64,
        "PassedOn" passed_on: bool,
        "Token" token: Str<'a>,
    }

    /// The error of `structs.SnapshotResponse`.
    SnapshotError<'a> {
        "Error" error: Str<'a>,
    }
}

/// Encodes a request.
pub fn encode_snapshot(call: &SnapshotCall) -> Vec<u8> {
    let mut fields = Fields::default();
    fields.bool("AllowStale", call.stale);
    fields.str("Datacenter", &call.envelope.datacenter);
    fields.int(
        "Op",
        match call.op {
            SnapshotOp::Save => 0,
            SnapshotOp::Restore => 1,
        },
    );
    if call.passed_on {
        fields.bool("PassedOn", true);
    }
    fields.str("Token", call.envelope.token.secret());
    fields.into_vec()
}

/// Decodes a request.
///
/// # Errors
/// The bytes are none, or ask for something unknown.
pub fn decode_snapshot(body: &[u8]) -> Result<SnapshotCall, Error> {
    let request: SnapshotRequest<'_> = msgpack::from_slice(body)?;
    Ok(SnapshotCall {
        envelope: Envelope {
            datacenter: request.datacenter.to_text(),
            token: Token::new(request.token.to_text()),
        },
        stale: request.allow_stale,
        op: match request.op {
            0 => SnapshotOp::Save,
            1 => SnapshotOp::Restore,
            other => {
                return Err(Error::refused(&format!("unrecognized snapshot op {other}")));
            }
        },
        passed_on: request.passed_on,
    })
}

/// Encodes an answer; `error` is empty on success.
pub fn encode_snapshot_reply(error: &str, meta: &QueryMeta) -> Vec<u8> {
    let mut fields = Fields::default();
    fields.str("Error", error);
    put_meta(&mut fields, meta);
    fields.into_vec()
}

/// Decodes an answer: the error, empty on success, and the meta.
///
/// # Errors
/// The bytes are none.
pub fn decode_snapshot_reply(body: &[u8]) -> Result<(String, QueryMeta), Error> {
    let answer: SnapshotError<'_> = msgpack::from_slice(body)?;
    Ok((answer.error.to_string(), read_meta(body)?))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tribune_types::id::Index;
    use tribune_types::query::Consistency;
    use tribune_types::text::text;

    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        (0..hex.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn the_captured_exchange_is_read_and_written_to_the_byte() {
        let request = bytes(
            "84aa416c6c6f775374616c65c2aa4461746163656e746572a3646331a24f7000a5546f6b656eda0024\
             61616161616161612d303030302d303030302d303030302d303030303030303030303031",
        );
        let call = SnapshotCall {
            envelope: Envelope {
                datacenter: text("dc1"),
                token: Token::new(text("aaaaaaaa-0000-0000-0000-000000000001")),
            },
            stale: false,
            op: SnapshotOp::Save,
            passed_on: false,
        };
        assert_eq!(decode_snapshot(&request), Ok(call.clone()));
        assert_eq!(encode_snapshot(&call), request);
        let response = bytes(
            "85b0436f6e73697374656e63794c6576656ca0a54572726f72a0a5496e646578ccb3ab4b6e6f776e4c\
             6561646572c3ab4c617374436f6e7461637400",
        );
        let meta = QueryMeta {
            index: Index(179),
            known_leader: true,
            last_contact: Duration::ZERO,
            consistency: Consistency::Default,
        };
        assert_eq!(decode_snapshot_reply(&response), Ok((String::new(), meta)));
        assert_eq!(encode_snapshot_reply("", &meta), response);
    }

    #[test]
    fn another_op_is_refused() {
        let call = SnapshotCall {
            envelope: Envelope::default(),
            stale: true,
            op: SnapshotOp::Restore,
            passed_on: true,
        };
        let mut body = encode_snapshot(&call);
        assert_eq!(decode_snapshot(&body), Ok(call));
        let at = body.windows(3).position(|w| w == b"\xa2Op").unwrap() + 3;
        body[at] = 2;
        assert!(decode_snapshot(&body).is_err());
    }
}
