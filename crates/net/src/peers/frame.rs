//! Frames of a peer connection; the layout stands in the header of [`super`].
//!
//! The decoder holds what has arrived and nothing more: about twice the bytes at hand, at least one read. What a frame
//! announces is checked before its bytes are waited for.

use std::pin::pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes in front of those of a frame.
pub(crate) const HEADER_SIZE: usize = 13;
/// Largest request and response.
pub(crate) const MESSAGE_MAX: usize = 64 << 20;
/// Largest piece of a snapshot.
pub(crate) const PIECE_MAX: usize = 256 << 10;

/// Room for a read, at least and at most; between them as much as is held.
const READ: std::ops::Range<usize> = 8 << 10..1 << 20;
/// With less room than this more is made.
const ROOM_LEAST: usize = 2 << 10;
/// A buffer that held more than this is not kept.
const KEPT: usize = 64 << 10;

/// What a frame carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Request = 1,
    Response = 2,
    Ping = 3,
    Pong = 4,
    Piece = 5,
    End = 6,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Request,
            2 => Kind::Response,
            3 => Kind::Ping,
            4 => Kind::Pong,
            5 => Kind::Piece,
            6 => Kind::End,
            _ => return None,
        })
    }

    fn length_max(self) -> usize {
        match self {
            Kind::Request | Kind::Response => MESSAGE_MAX,
            Kind::Piece => PIECE_MAX,
            Kind::Ping | Kind::Pong | Kind::End => 0,
        }
    }
}

/// Why a frame is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FrameError {
    #[error("frame of unknown kind {0}")]
    Kind(u8),
    #[error("frame of {length} bytes is too large for its kind ({kind:?})")]
    Length { kind: Kind, length: u32 },
}

/// What stands in front of a frame's bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) length: u32,
    pub(crate) sequence: u64,
    pub(crate) kind: Kind,
}

impl Header {
    /// The bytes of it.
    pub(crate) fn encode(&self) -> [u8; HEADER_SIZE] {
        let mut out = [0; HEADER_SIZE];
        out[..4].copy_from_slice(&self.length.to_be_bytes());
        out[4..12].copy_from_slice(&self.sequence.to_be_bytes());
        out[12] = self.kind as u8;
        out
    }

    fn decode(bytes: &[u8; HEADER_SIZE]) -> Result<Header, FrameError> {
        let [l3, l2, l1, l0, s7, s6, s5, s4, s3, s2, s1, s0, kind] = *bytes;
        let kind = Kind::from_byte(kind).ok_or(FrameError::Kind(kind))?;
        let length = u32::from_be_bytes([l3, l2, l1, l0]);
        if length as usize > kind.length_max() {
            return Err(FrameError::Length { kind, length });
        }
        Ok(Header {
            length,
            sequence: u64::from_be_bytes([s7, s6, s5, s4, s3, s2, s1, s0]),
            kind,
        })
    }
}

/// A frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
    pub(crate) bytes: Bytes,
}

/// Cuts what arrives into frames.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: BytesMut,
}

impl Decoder {
    /// The next frame, if all of it is here.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let Some(header) = self.arriving()? else {
            return Ok(None);
        };
        let size = HEADER_SIZE + header.length as usize;
        if self.bytes.len() < size {
            return Ok(None);
        }
        let mut frame = self.bytes.split_to(size);
        if size > KEPT {
            // The rest would keep all of the frame's memory alive.
            self.bytes = BytesMut::from(&self.bytes[..]);
        }
        frame.advance(HEADER_SIZE);
        Ok(Some(Frame {
            kind: header.kind,
            sequence: header.sequence,
            bytes: frame.freeze(),
        }))
    }

    /// What the next frame will be, once its header is here.
    pub(crate) fn arriving(&self) -> Result<Option<Header>, FrameError> {
        self.bytes
            .first_chunk::<HEADER_SIZE>()
            .map(Header::decode)
            .transpose()
    }

    /// True while a frame has begun and is not complete.
    pub(crate) fn is_amid(&self) -> bool {
        !self.bytes.is_empty()
    }

    /// Reads what is there; how much. 0 is the end of the stream.
    pub(crate) fn poll_fill(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<usize>> {
        let held = self.bytes.len();
        if self.bytes.capacity() - held < ROOM_LEAST {
            self.bytes.reserve(held.clamp(READ.start, READ.end));
        }
        pin!(io.read_buf(&mut self.bytes)).poll(cx)
    }

    /// The next frame; `None` at the end of the stream between two frames. Cancel safe.
    pub(crate) async fn read(
        &mut self,
        io: &mut (impl AsyncRead + Unpin),
    ) -> std::io::Result<Option<Frame>> {
        loop {
            if let Some(frame) = self.next().map_err(invalid)? {
                return Ok(Some(frame));
            }
            if std::future::poll_fn(|cx| self.poll_fill(io, cx)).await? == 0 {
                return match self.is_amid() {
                    true => Err(std::io::ErrorKind::UnexpectedEof.into()),
                    false => Ok(None),
                };
            }
        }
    }

    /// Bytes that have arrived.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Bytes that are taken for those that have arrived.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }
}

/// A broken rule as an error of the stream.
pub(crate) fn invalid(err: FrameError) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, err)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(kind: Kind, sequence: u64, length: u32) -> [u8; HEADER_SIZE] {
        Header {
            length,
            sequence,
            kind,
        }
        .encode()
    }

    #[test]
    fn frames_have_these_bytes() {
        // (kind, sequence, bytes of the frame, on the wire)
        let golden: [(Kind, u64, &[u8], &[u8]); 6] = [
            (
                Kind::Request,
                1,
                b"ab",
                b"\0\0\0\x02\0\0\0\0\0\0\0\x01\x01ab",
            ),
            (
                Kind::Response,
                0x0102_0304_0506_0708,
                b"c",
                b"\0\0\0\x01\x01\x02\x03\x04\x05\x06\x07\x08\x02c",
            ),
            (Kind::Ping, 3, b"", b"\0\0\0\0\0\0\0\0\0\0\0\x03\x03"),
            (
                Kind::Pong,
                u64::MAX,
                b"",
                b"\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\x04",
            ),
            (
                Kind::Piece,
                1,
                b"xyz",
                b"\0\0\0\x03\0\0\0\0\0\0\0\x01\x05xyz",
            ),
            (Kind::End, 2, b"", b"\0\0\0\0\0\0\0\0\0\0\0\x02\x06"),
        ];
        let mut all = Decoder::default();
        for (kind, sequence, bytes, wire) in golden {
            let length = u32::try_from(bytes.len()).unwrap();
            assert_eq!(
                [&header(kind, sequence, length)[..], bytes].concat(),
                wire,
                "{kind:?}"
            );
            all.push(wire);
        }
        for (kind, sequence, bytes, _) in golden {
            let frame = all.next().unwrap().unwrap();
            assert_eq!((frame.kind, frame.sequence), (kind, sequence));
            assert_eq!(frame.bytes, bytes);
        }
        assert_eq!(all.next(), Ok(None));
        assert!(!all.is_amid());
    }

    #[test]
    fn a_length_is_refused_as_soon_as_it_is_read() {
        // (kind, length, allowed)
        let cases = [
            (Kind::Request, 64 << 20, true),
            (Kind::Request, (64 << 20) + 1, false),
            (Kind::Response, u32::MAX, false),
            (Kind::Piece, 256 << 10, true),
            (Kind::Piece, (256 << 10) + 1, false),
            (Kind::Ping, 1, false),
            (Kind::Pong, 1, false),
            (Kind::End, 1, false),
        ];
        for (kind, length, allowed) in cases {
            let mut decoder = Decoder::default();
            decoder.push(&header(kind, 1, length));
            let next = decoder.next();
            assert_eq!(next.is_ok(), allowed, "{kind:?} {length}: {next:?}");
            assert!(decoder.capacity() < 1000, "nothing is taken for a length");
        }
        for kind in [0, 7, 255] {
            let mut decoder = Decoder::default();
            decoder.push(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, kind]);
            assert_eq!(decoder.next(), Err(FrameError::Kind(kind)));
        }
    }

    #[tokio::test]
    async fn memory_grows_with_what_arrives_and_is_given_back() {
        let large = vec![7; 40 << 20];
        let wire = [&header(Kind::Request, 1, 40 << 20)[..], &large, b"rest"].concat();
        let mut decoder = Decoder::default();
        let mut rest = &wire[..];
        let mut seen = 0;
        while !rest.is_empty() {
            // At most 300 KiB at a time.
            let mut piece = &rest[..rest.len().min(300_000)];
            let len = std::future::poll_fn(|cx| decoder.poll_fill(&mut piece, cx))
                .await
                .unwrap();
            rest = &rest[len..];
            seen += len;
            let held = decoder.capacity();
            assert!(held <= 2 * seen + (2 << 20), "{held} for {seen}");
            if let Some(frame) = decoder.next().unwrap() {
                assert_eq!(frame.bytes.len(), 40 << 20);
                assert!(decoder.capacity() < 2 << 20, "{}", decoder.capacity());
            }
        }
        assert_eq!(&decoder.bytes[..], b"rest");
    }
}
