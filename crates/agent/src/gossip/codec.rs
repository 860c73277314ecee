//! The pool's view of the wire: datagrams and streams with their encryption, tags, events, keys.
//!
//! All formats are `tribune-wire`'s; here they are put together, with randomness from the environment.

use tokio::io::AsyncReadExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tribune_rt::Env;
use tribune_rt::net::TcpStream;
use tribune_swim::{Ack, Message, Packet, Peer, Ping, PushPull};
use tribune_types::text::Text;
use tribune_wire::keyring::{Keyring, OpenError, Version};
use tribune_wire::memberlist::stream::{
    SIZE_MAX, Seal, StreamDecoder, StreamFraming, encode_stream,
};
use tribune_wire::memberlist::{Framing, Limits, Malformed, frame, open};

pub(super) use tribune_wire::memberlist::stream::{StreamError, StreamMessage};
pub(super) use tribune_wire::serf::{CODEC, decode_tags, pack_event, unpack_event};

/// Bytes a stream may have without asking anybody. What is decoded from them takes up to three times as much.
pub(super) const SMALL: usize = 128 << 10;
/// Bytes of a large stream of somebody who is not established, at least.
const STRANGER: usize = 1 << 20;
/// Bytes more for each member we know: whoever comes back to a large pool has a large state. Real ones take some 400.
const STRANGER_PER_MEMBER: usize = 1 << 10;
/// Bytes read at once.
const CHUNK: usize = 8 << 10;

/// What is wrong with a datagram.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum DatagramError {
    /// No key opens it, and plain text is refused.
    #[error("{0}")]
    Sealed(OpenError),
    /// A part of it cannot be understood.
    #[error("{0}")]
    Malformed(Malformed),
}

/// Opens a datagram and gives every message of it to `each`; of what cannot be understood, the first is returned.
pub(super) fn open_datagram(
    ring: Option<&Keyring>,
    strict: bool,
    bytes: &[u8],
    mut each: impl FnMut(Message),
) -> Result<(), DatagramError> {
    let opened = match ring.map(|ring| ring.open(&[], bytes)) {
        None => None,
        Some(Ok(opened)) => Some(opened),
        Some(Err(err)) if strict => return Err(DatagramError::Sealed(err)),
        Some(Err(_)) => None,
    };
    let plain = opened.as_deref().unwrap_or(bytes);
    let mut problem = None;
    open(plain, &Limits::default(), &mut |message| match message {
        Ok(message) => each(message),
        Err(err) => {
            problem.get_or_insert(err);
        }
    });
    match problem {
        None => Ok(()),
        Some(err) => Err(DatagramError::Malformed(err)),
    }
}

/// Appends a datagram.
pub(super) fn seal_datagram(env: &Env, ring: Option<&Keyring>, packet: &Packet, out: &mut Vec<u8>) {
    let framing = Framing {
        compress: true,
        checksum: packet.checksum,
    };
    let Some(ring) = ring else {
        frame(&packet.parts, framing, out);
        return;
    };
    let mut plain = Vec::new();
    frame(&packet.parts, framing, &mut plain);
    ring.seal(Version::Plain, &[], &plain, nonce(env), out);
}

/// True for a message of the layer above that announces a join or a leave.
pub(super) fn is_intent(message: &[u8]) -> bool {
    matches!(message.first(), Some(0 | 1))
}

fn nonce(env: &Env) -> [u8; 12] {
    let mut nonce = [0; 12];
    env.fill_random(&mut nonce);
    nonce
}

fn seal(env: &Env, ring: Option<&Keyring>, message: &StreamMessage) -> Vec<u8> {
    let framing = StreamFraming {
        compress: true,
        seal: ring.map(|keyring| Seal {
            keyring,
            nonce: nonce(env),
        }),
    };
    let mut out = Vec::new();
    encode_stream(message, &framing, &mut out);
    out
}

/// A state as a stream.
///
/// # Errors
/// It is larger than what others read.
pub(super) fn seal_push_pull(
    env: &Env,
    ring: Option<&Keyring>,
    state: PushPull,
) -> Result<Vec<u8>, TooLarge> {
    let bytes = seal(env, ring, &StreamMessage::PushPull(state));
    if bytes.len() > SIZE_MAX {
        return Err(TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// The own state is too large for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("local node state of {0} bytes is larger than limit ({SIZE_MAX})")]
pub(super) struct TooLarge(usize);

/// A probe as a stream.
pub(super) fn seal_stream_ping(
    env: &Env,
    ring: Option<&Keyring>,
    own: &Peer,
    node: &Text,
    seq: u32,
) -> Vec<u8> {
    let ping = Ping {
        seq,
        node: node.clone(),
        source: Some(own.addr),
        source_node: own.name.clone(),
    };
    seal(env, ring, &StreamMessage::Ping(ping))
}

/// The answer to a probe as a stream.
pub(super) fn seal_stream_ack(env: &Env, ring: Option<&Keyring>, seq: u32) -> Vec<u8> {
    seal(env, ring, &StreamMessage::Ack(Ack { seq, payload: None }))
}

/// What was wrong with a request, as a stream.
pub(super) fn seal_stream_error(env: &Env, ring: Option<&Keyring>, problem: &str) -> Vec<u8> {
    seal(env, ring, &StreamMessage::Error(problem.to_owned()))
}

/// How much a stream may make us hold.
pub(super) struct Allowance<'a> {
    size_max: usize,
    /// For more: who lets it, and how much that is.
    more: Option<(&'a Semaphore, usize)>,
    permit: Option<SemaphorePermit<'a>>,
}

impl Allowance<'_> {
    /// A decoder for it. With more than a little comes trust in keys: what they open may unpack to any size.
    fn decoder(&self) -> StreamDecoder {
        let decoder = StreamDecoder::new(self.size_max);
        if self.permit.is_some() {
            decoder.trusting_keys(SIZE_MAX)
        } else {
            decoder
        }
    }
}

impl<'a> Allowance<'a> {
    /// So many bytes.
    pub(super) fn fixed(size_max: usize) -> Allowance<'a> {
        Allowance {
            size_max,
            more: None,
            permit: None,
        }
    }

    /// As many as another agent sends us at our own wish.
    pub(super) fn wished() -> Allowance<'a> {
        Allowance::fixed(SIZE_MAX)
    }

    /// A little; more if nobody else has more, and a lot more for an established member. `members` is how many we know.
    pub(super) fn guarded(
        large: &'a Semaphore,
        established: bool,
        members: usize,
    ) -> Allowance<'a> {
        let more = if established {
            SIZE_MAX
        } else {
            STRANGER
                .max(STRANGER_PER_MEMBER.saturating_mul(members))
                .min(SIZE_MAX)
        };
        Allowance {
            size_max: SMALL,
            more: Some((large, more)),
            permit: None,
        }
    }

    /// Waits for permission to hold more. False if there is none to be had.
    async fn grow(&mut self) -> bool {
        let Some((large, more)) = self.more.take() else {
            return false;
        };
        self.permit = large.acquire().await.ok();
        self.size_max = more;
        self.permit.is_some()
    }
}

/// Reads the one message of a direction of a stream, and whether it came under one of our keys.
pub(super) async fn read_stream(
    stream: &mut TcpStream,
    ring: Option<&Keyring>,
    strict: bool,
    allowance: &mut Allowance<'_>,
) -> Result<(StreamMessage, bool), StreamError> {
    let mut decoder = allowance.decoder();
    // Kept only while more may be allowed: then everything is read anew.
    let mut kept = Vec::new();
    let mut chunk = vec![0; CHUNK];
    loop {
        // A broken connection says as little as a closed one.
        let count = stream.read(&mut chunk).await.unwrap_or(0);
        if count == 0 {
            return Err(decoder.finish());
        }
        decoder.push(&chunk[..count]);
        if allowance.more.is_some() {
            kept.extend_from_slice(&chunk[..count]);
        }
        match decoder.poll(ring, strict) {
            Ok(Some(message)) => return Ok((message, decoder.was_sealed())),
            Ok(None) => {}
            Err(err) if is_about_size(&err) && allowance.grow().await => {
                decoder = allowance.decoder();
                decoder.push(&std::mem::take(&mut kept));
                if let Some(message) = decoder.poll(ring, strict)? {
                    return Ok((message, decoder.was_sealed()));
                }
            }
            Err(err) => return Err(err),
        }
    }
}

fn is_about_size(err: &StreamError) -> bool {
    matches!(
        err,
        StreamError::Size(_)
            | StreamError::Memory(_)
            | StreamError::Compressed(tribune_wire::lzw::Error::Size(_))
    )
}
