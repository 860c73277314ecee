//! Datagrams (gossip.md sections 3.3 to 3.6).
//!
//! ```text
//! hasCrc    0c | CRC-32 of the rest, u32 | message                      outermost only
//! compress  09 | {Algo: 0, Buf: LZW of a message}
//! compound  07 | count u8 | count sizes u16 | messages back to back
//! ```
//!
//! We write hasCrc(compress(compound(messages))), each if it applies. We read compress and compound in any nesting, of
//! bounded depth. Memory: at most [`Limits::expanded`] bytes for everything that a datagram expands to, no copies of what
//! is not compressed. Time is linear in the datagram and what it expands to, times the depth.

use tribune_swim::Message;

use super::{Malformed, body, kind};
use crate::lzw;
use crate::msgpack::encode::put_raw_head;
use crate::msgpack::{Error, Reader};

/// Parts a compound may have: from 128 on, Consul 1.8.7 drops all of them.
pub const PARTS_MAX: usize = 127;

/// How messages become a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framing {
    /// Compress, if that makes it shorter.
    pub compress: bool,
    /// Put a checksum in front.
    pub checksum: bool,
}

/// What a datagram may make us do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes that all its compressed messages expand to.
    pub expanded: usize,
    /// Messages in it, those that pack others included.
    pub parts: usize,
    /// Messages packed into one another.
    pub depth: usize,
}

impl Default for Limits {
    /// Far beyond what any agent sends.
    fn default() -> Limits {
        Limits {
            expanded: 4 * 65_536,
            parts: 4096,
            depth: 16,
        }
    }
}

/// Appends the datagram of some encoded messages; how many it holds. That is all of them, unless there are more than
/// [`PARTS_MAX`] or one of several is too long for a compound.
pub fn frame<P: AsRef<[u8]>>(parts: &[P], framing: Framing, out: &mut Vec<u8>) -> usize {
    if parts.is_empty() {
        return 0;
    }
    let start = out.len();
    if framing.checksum {
        out.extend_from_slice(&[kind::HAS_CRC, 0, 0, 0, 0]);
    }
    let message = out.len();
    let count = put_parts(parts, out);
    if framing.compress {
        shrink(message, out);
    }
    if framing.checksum {
        let checksum = crc32fast::hash(&out[message..]);
        out[start + 1..message].copy_from_slice(&checksum.to_be_bytes());
    }
    count
}

fn put_parts<P: AsRef<[u8]>>(parts: &[P], out: &mut Vec<u8>) -> usize {
    let fitting = parts
        .iter()
        .take(PARTS_MAX)
        .take_while(|part| part.as_ref().len() <= usize::from(u16::MAX));
    let count = fitting.count().max(1);
    if count == 1 {
        out.extend_from_slice(parts[0].as_ref());
        return 1;
    }
    out.extend_from_slice(&[kind::COMPOUND, count as u8]);
    for part in &parts[..count] {
        out.extend_from_slice(&(part.as_ref().len() as u16).to_be_bytes());
    }
    for part in &parts[..count] {
        out.extend_from_slice(part.as_ref());
    }
    count
}

/// What stands before the size of compressed data.
const COMPRESS_HEAD: &[u8] = b"\x09\x82\xa4Algo\x00\xa3Buf";

/// Replaces the message that begins at `at` by its compressed form, if that is shorter.
fn shrink(at: usize, out: &mut Vec<u8>) {
    let plain_end = out.len();
    let plain = out[at..].to_vec();
    lzw::compress(&plain, out);
    let buf_len = out.len() - plain_end;
    let mut head = COMPRESS_HEAD.to_vec();
    put_raw_head(&mut head, buf_len);
    if head.len() + buf_len >= plain.len() {
        out.truncate(plain_end);
        return;
    }
    // It is shorter, so the head fits where the plain message was.
    out[at..at + head.len()].copy_from_slice(&head);
    out.copy_within(plain_end.., at + head.len());
    out.truncate(at + head.len() + buf_len);
}

/// Appends the compressed form of a message, whatever its length.
pub(super) fn put_compressed(plain: &[u8], out: &mut Vec<u8>) {
    let mut buf = Vec::with_capacity(plain.len() / 2);
    lzw::compress(plain, &mut buf);
    out.extend_from_slice(COMPRESS_HEAD);
    put_raw_head(out, buf.len());
    out.extend_from_slice(&buf);
}

/// Reads a datagram (decrypted, if it was encrypted) and calls `each` for every message in it, in order, and for everything
/// in it that is malformed.
pub fn open(packet: &[u8], limits: &Limits, each: &mut impl FnMut(Result<Message, Malformed>)) {
    let message = match packet.split_first_chunk::<5>() {
        Some(([kind::HAS_CRC, checksum @ ..], message)) => {
            if crc32fast::hash(message) != u32::from_be_bytes(*checksum) {
                return each(Err(Malformed::Checksum));
            }
            message
        }
        _ => packet,
    };
    let mut opening = Opening {
        limits,
        expanded: 0,
        parts: 0,
        each,
    };
    opening.message(message, 0);
}

struct Opening<'a, F> {
    limits: &'a Limits,
    expanded: usize,
    parts: usize,
    each: &'a mut F,
}

/// The rest of the datagram is not to be looked at.
struct Stop;

impl<F: FnMut(Result<Message, Malformed>)> Opening<'_, F> {
    fn message(&mut self, bytes: &[u8], depth: usize) -> Option<Stop> {
        self.parts += 1;
        if self.parts > self.limits.parts {
            (self.each)(Err(Malformed::Parts(self.limits.parts)));
            return Some(Stop);
        }
        let (packed, content) = match bytes.split_first() {
            Some((&packed @ (kind::COMPOUND | kind::COMPRESS), content)) => (packed, content),
            _ => {
                (self.each)(body::decode(bytes));
                return None;
            }
        };
        if depth >= self.limits.depth {
            (self.each)(Err(Malformed::Depth(self.limits.depth)));
            return None;
        }
        if packed == kind::COMPOUND {
            return self.compound(content, depth);
        }
        match self.decompress(content) {
            Ok(plain) => self.message(&plain, depth + 1),
            Err(malformed) => {
                (self.each)(Err(malformed));
                None
            }
        }
    }

    fn compound(&mut self, content: &[u8], depth: usize) -> Option<Stop> {
        let Some((&count, rest)) = content.split_first() else {
            (self.each)(Err(Malformed::Truncated(0)));
            return None;
        };
        let count = usize::from(count);
        let Some((sizes, mut rest)) = rest.split_at_checked(2 * count) else {
            (self.each)(Err(Malformed::Truncated(count)));
            return None;
        };
        for (at, size) in sizes.chunks_exact(2).enumerate() {
            let size = usize::from(u16::from_be_bytes([size[0], size[1]]));
            let Some((part, after)) = rest.split_at_checked(size) else {
                (self.each)(Err(Malformed::Truncated(count - at)));
                return None;
            };
            rest = after;
            if let Some(stop) = self.message(part, depth + 1) {
                return Some(stop);
            }
        }
        None
    }

    fn decompress(&mut self, content: &[u8]) -> Result<Vec<u8>, Malformed> {
        let (mut algorithm, mut buf) = (0, None);
        Reader::new(content)
            .fields(["Algo", "Buf"], |at, r| {
                match at {
                    0 => algorithm = u64::from(r.uint::<u8>()?),
                    _ => buf = r.bytes()?,
                }
                Ok::<(), Error>(())
            })
            .map_err(Malformed::body(kind::COMPRESS))?;
        if algorithm != 0 {
            return Err(Malformed::Algorithm(algorithm));
        }
        let mut plain = Vec::new();
        let room = self.limits.expanded - self.expanded;
        let result = lzw::decompress(&buf.unwrap_or_default(), room, &mut plain);
        // What was written before an error counts as well.
        self.expanded += plain.len().min(room);
        result.map_err(Malformed::Compressed)?;
        Ok(plain)
    }
}
