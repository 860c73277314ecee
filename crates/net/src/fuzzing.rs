//! What the fuzz target of the peer protocol needs to reach; built with `cfg(fuzzing)` only.

use crate::peers::frame::{Decoder, Header};
use crate::peers::hello::{ANSWER_SIZE, Answer, HELLO_SIZE, Hello};
use crate::peers::rpc::Request;

/// The frames in `bytes`, which arrive in pieces of `step` bytes; each as it would be sent. The second half of the result is
/// why the rest is refused, if it is.
pub fn frames(bytes: &[u8], step: usize) -> (Vec<Vec<u8>>, Option<String>) {
    let mut decoder = Decoder::default();
    let mut frames = Vec::new();
    for piece in bytes.chunks(step.max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => {
                    let header = Header {
                        length: frame.bytes.len() as u32,
                        sequence: frame.sequence,
                        kind: frame.kind,
                    };
                    frames.push([&header.encode()[..], &frame.bytes].concat());
                }
                Ok(None) => break,
                Err(err) => return (frames, Some(err.to_string())),
            }
        }
    }
    (frames, None)
}

/// A dialer's hello as it would be sent, if `bytes` begin with one.
pub fn hello(bytes: &[u8]) -> Option<Vec<u8>> {
    let hello = Hello::decode(bytes.first_chunk::<HELLO_SIZE>()?).ok()?;
    Some(hello.encode().to_vec())
}

/// A call of the server RPC as it would be sent, if `bytes` are one and fit into a frame.
pub fn call(bytes: &[u8]) -> Option<Vec<u8>> {
    let call = Request::decode(bytes)?;
    Some([&call.head()?, call.method.as_bytes(), call.body].concat())
}

/// An acceptor's answer as it would be sent, if `bytes` begin with one.
pub fn answer(bytes: &[u8]) -> Option<Vec<u8>> {
    let answer = Answer::decode(bytes.first_chunk::<ANSWER_SIZE>()?)?;
    Some(answer.encode().to_vec())
}
