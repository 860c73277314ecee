//! Calls of the server RPC in frames: what stands in a request and in its answer.
//!
//! ```text
//! request   flags u8 | length of the method u8 | method, UTF-8 | body, one MessagePack value
//! answer    verdict u8 | bytes
//! ```
//!
//! Flags: 1, another server has passed the call on; the others are 0. Verdicts: 0 the bytes are the reply, 1 the call was
//! understood and failed, 2 it was not understood, 3 it was served and its reply is too large. The bytes of all but 0 are
//! what the caller is told. Nothing here ends a connection but a request that is none.
//!
//! Bounds: [`REQUEST_MAX`] for a request, [`MESSAGE_MAX`] for an answer, [`IN_FLIGHT_MAX`] calls at a time. What does not fit
//! is for the streams of the same port: a caller never waits for a place.

use std::net::SocketAddr;

use bytes::{Buf, Bytes};
use tribune_wire::msgpack::Scan;

use super::frame::MESSAGE_MAX;
use crate::pool::{CallError, Lost};
use crate::{CallResult, Handler};

/// Largest request.
pub(crate) const REQUEST_MAX: usize = 256 << 10;
/// Calls in flight on a connection.
pub(crate) const IN_FLIGHT_MAX: usize = 512;
/// Requests up to this size are served from a copy of their own: the buffer they came in is used again.
const COPIED_MAX: usize = 16 << 10;
/// Replies up to this size are copied out of the buffer they came in.
const REPLY_COPIED_MAX: usize = 64 << 10;

const PASSED_ON: u8 = 1;

const REPLY: u8 = 0;
const FAILED: u8 = 1;
const NOT_UNDERSTOOD: u8 = 2;
const TOO_LARGE: u8 = 3;

/// A call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) body: &'a [u8],
    pub(crate) passed_on: bool,
}

impl<'a> Request<'a> {
    /// What stands before the method; `None` if the call does not fit into a frame.
    pub(crate) fn head(&self) -> Option<[u8; 2]> {
        let method = u8::try_from(self.method.len()).ok()?;
        let size = 2 + self.method.len() + self.body.len();
        let flags = if self.passed_on { PASSED_ON } else { 0 };
        (size <= REQUEST_MAX).then_some([flags, method])
    }

    /// Reads one; `None` if it is none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Request<'a>> {
        let [flags, method_len, rest @ ..] = bytes else {
            return None;
        };
        if flags & !PASSED_ON != 0 {
            return None;
        }
        let (method, body) = rest.split_at_checked(usize::from(*method_len))?;
        if Scan::default().advance(body) != Ok(Some(body.len())) {
            return None;
        }
        Some(Request {
            method: std::str::from_utf8(method).ok()?,
            body,
            passed_on: flags & PASSED_ON != 0,
        })
    }
}

/// An answer on its way: its verdict and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) verdict: u8,
    pub(super) bytes: Bytes,
}

impl Answer {
    fn of(result: CallResult) -> Answer {
        let (verdict, bytes) = match result {
            Ok(reply) => (REPLY, reply),
            Err(failure) if failure.ends => (NOT_UNDERSTOOD, failure.text.into_bytes()),
            Err(failure) => (FAILED, failure.text.into_bytes()),
        };
        if bytes.len() >= MESSAGE_MAX {
            let text = format!("a reply of {} bytes is too large", bytes.len());
            return Answer {
                verdict: TOO_LARGE,
                bytes: text.into(),
            };
        }
        Answer {
            verdict,
            bytes: bytes.into(),
        }
    }
}

/// Serves one request; `None` if it is none.
pub(super) async fn serve(
    handler: &dyn Handler,
    peer: SocketAddr,
    request: Bytes,
) -> Option<Answer> {
    let request = match request.len() {
        0..=COPIED_MAX => Bytes::copy_from_slice(&request),
        _ => request,
    };
    let call = Request::decode(&request)?;
    let served = match call.passed_on {
        false => handler.call(peer, call.method, call.body),
        true => handler.passed_on(peer, call.method, call.body),
    };
    Some(Answer::of(served.await))
}

/// What a caller is told.
///
/// # Errors
/// The server's words, or what cannot be understood.
pub(crate) fn read_answer(mut bytes: Bytes) -> Result<Vec<u8>, CallError> {
    let unreadable = |text: &str| Err(CallError::FateUnknown(Lost::Reply(text.to_owned())));
    let Some(verdict) = bytes.first().copied() else {
        return unreadable("rpc: an answer without a verdict");
    };
    bytes.advance(1);
    match verdict {
        // It would keep all of the buffer.
        REPLY if bytes.len() <= REPLY_COPIED_MAX => Ok(bytes.to_vec()),
        REPLY => Ok(bytes.into()),
        FAILED | NOT_UNDERSTOOD => {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            Err(CallError::Remote(text))
        }
        TOO_LARGE => unreadable(&String::from_utf8_lossy(&bytes)),
        _ => unreadable("rpc: an answer with an unknown verdict"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CallFailure;

    #[test]
    fn a_request_has_these_bytes() {
        for (passed_on, flags) in [(false, 0), (true, 1)] {
            let request = Request {
                method: "KVS.Get",
                body: b"\x81\xa3Key\xa1k",
                passed_on,
            };
            let mut bytes = b"\x00\x07KVS.Get\x81\xa3Key\xa1k".to_vec();
            bytes[0] = flags;
            let head = request.head().unwrap();
            assert_eq!(
                [&head, request.method.as_bytes(), request.body].concat(),
                bytes
            );
            assert_eq!(Request::decode(&bytes), Some(request));
        }
    }

    #[test]
    fn what_is_no_request_is_told_from_one() {
        // (bytes, what)
        let cases: [(&[u8], &str); 11] = [
            (b"", "nothing"),
            (b"\0", "half a head"),
            (b"\0\0", "no body"),
            (b"\0\x03Abc", "no body"),
            (b"\0\x04Abc", "less than the method"),
            (b"\0\xffAbc\xc0", "less than the method"),
            (b"\x02\x03Abc\xc0", "an unknown flag"),
            (b"\0\x03Ab\xff\xc0", "not UTF-8"),
            (b"\0\x03Abc\x81\xa1k", "less than a value"),
            (b"\0\x03Abc\xc0\xc0", "more than a value"),
            (b"\0\x03Abc\xc1", "no MessagePack"),
        ];
        for (bytes, what) in cases {
            assert_eq!(Request::decode(bytes), None, "{what}");
        }
        assert!(
            Request::decode(b"\0\0\xc0").is_some(),
            "a name may be empty"
        );
    }

    #[test]
    fn what_does_not_fit_has_no_head() {
        let long = "m".repeat(256);
        let body = vec![0; REQUEST_MAX];
        // (length of the method, length of the body, fits)
        for (method, len, fits) in [
            (255, 1, true),
            (256, 1, false),
            (7, REQUEST_MAX - 9, true),
            (7, REQUEST_MAX - 8, false),
        ] {
            let request = Request {
                method: &long[..method],
                body: &body[..len],
                passed_on: false,
            };
            assert_eq!(request.head().is_some(), fits, "{method} {len}");
        }
    }

    #[test]
    fn an_answer_says_the_same_on_both_sides() {
        let read = |result| {
            let answer = Answer::of(result);
            read_answer([&[answer.verdict][..], &answer.bytes].concat().into())
        };
        for len in [
            0,
            1,
            REPLY_COPIED_MAX,
            REPLY_COPIED_MAX + 1,
            MESSAGE_MAX - 1,
        ] {
            assert!(read(Ok(vec![7; len])) == Ok(vec![7; len]), "{len}");
        }
        for failure in [CallFailure::failed("no"), CallFailure::refused("what?")] {
            let text = failure.text.clone();
            assert_eq!(read(Err(failure)), Err(CallError::Remote(text)));
        }
        let large = read(Ok(vec![7; MESSAGE_MAX])).unwrap_err();
        assert!(matches!(large, CallError::FateUnknown(Lost::Reply(_))));
        for bytes in [&b""[..], b"\x04", b"\xffreply"] {
            let err = read_answer(Bytes::copy_from_slice(bytes)).unwrap_err();
            assert!(matches!(err, CallError::FateUnknown(Lost::Reply(_))));
        }
    }
}
