//! Frames on their way out: small ones are put together, large ones are not copied; one system call takes as many as fit.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::AsyncWrite;

use super::frame::{HEADER_SIZE, Header, Kind};

/// Frames up to this size are copied.
const COPIED_MAX: usize = 16 << 10;
/// Pieces given to one system call.
const PIECES_MAX: usize = 16;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    size: usize,
    sent: u64,
    unflushed: bool,
}

impl Outbox {
    /// Adds a frame. Its length was checked where the bytes came from.
    pub(super) fn push(&mut self, kind: Kind, sequence: u64, bytes: Bytes) {
        self.push_with(kind, sequence, &[], bytes);
    }

    /// Adds a frame whose bytes are those of `head` and then `bytes`.
    pub(super) fn push_with(&mut self, kind: Kind, sequence: u64, head: &[u8], bytes: Bytes) {
        self.begin(kind, sequence, head.len() + bytes.len());
        self.tail.extend_from_slice(head);
        if bytes.len() <= COPIED_MAX {
            self.tail.extend_from_slice(&bytes);
        } else {
            self.close_tail();
            self.pieces.push_back(bytes);
        }
    }

    /// Adds a frame whose bytes are those of all parts, one after the other. They are copied.
    pub(super) fn push_parts(&mut self, kind: Kind, sequence: u64, parts: &[&[u8]]) {
        self.begin(kind, sequence, parts.iter().map(|part| part.len()).sum());
        for part in parts {
            self.tail.extend_from_slice(part);
        }
    }

    fn begin(&mut self, kind: Kind, sequence: u64, len: usize) {
        let header = Header {
            length: u32::try_from(len).expect("messages are at most 64 MiB"),
            sequence,
            kind,
        };
        self.size += HEADER_SIZE + len;
        self.tail.extend_from_slice(&header.encode());
    }

    /// Takes what another one holds, for an empty one: the buffers are used again.
    pub(super) fn exchange(&mut self, other: &mut Outbox) {
        std::mem::swap(&mut self.pieces, &mut other.pieces);
        std::mem::swap(&mut self.tail, &mut other.tail);
        std::mem::swap(&mut self.size, &mut other.size);
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    /// True if there is nothing to send.
    pub(super) fn is_empty(&self) -> bool {
        self.size == 0
    }

    /// Bytes to send.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Bytes that the stream has taken so far.
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// Sends; ready when nothing is left.
    pub(super) fn poll_send(
        &mut self,
        io: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        while self.size > 0 {
            self.close_tail();
            let len = {
                let mut slices = [io::IoSlice::new(&[]); PIECES_MAX];
                let count = self.pieces.len().min(PIECES_MAX);
                for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                    *slice = io::IoSlice::new(piece);
                }
                ready!(Pin::new(&mut *io).poll_write_vectored(cx, &slices[..count]))?
            };
            if len == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.taken(len);
        }
        if self.unflushed {
            ready!(Pin::new(io).poll_flush(cx))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    /// Sends all. Not cancel safe for the stream: a frame may be out in part.
    pub(super) async fn send(&mut self, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        std::future::poll_fn(|cx| self.poll_send(io, cx)).await
    }

    fn taken(&mut self, mut len: usize) {
        self.size -= len;
        self.sent += len as u64;
        while len > 0
            && let Some(first) = self.pieces.front_mut()
        {
            let now = len.min(first.len());
            first.advance(now);
            len -= now;
            if first.is_empty() {
                self.pieces.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes at a time and counts the calls.
    struct Sink {
        taken: Vec<u8>,
        at_a_time: usize,
        calls: usize,
    }

    impl AsyncWrite for Sink {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let len = bytes.len().min(self.at_a_time);
            self.taken.extend_from_slice(&bytes[..len]);
            self.calls += 1;
            Poll::Ready(Ok(len))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
            let len = all.len().min(self.at_a_time);
            self.taken.extend_from_slice(&all[..len]);
            self.calls += 1;
            Poll::Ready(Ok(len))
        }

        fn is_write_vectored(&self) -> bool {
            true
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn frames_go_out_in_order_and_together() {
        let sizes = [0, 100, 20_000, 5, 16_384, 16_385, 1_000_000, 1];
        let mut want = Vec::new();
        for (sequence, size) in (1..).zip(sizes) {
            let header = Header {
                length: u32::try_from(size).unwrap(),
                sequence,
                kind: Kind::Request,
            };
            want.extend_from_slice(&header.encode());
            want.extend(std::iter::repeat_n(sequence as u8, size));
        }
        // (bytes that the stream takes at a time, calls at most)
        for (at_a_time, calls_max) in [(usize::MAX, 1), (7_000, 200)] {
            let mut outbox = Outbox::default();
            for (sequence, size) in (1..).zip(sizes) {
                let bytes = vec![sequence as u8; size];
                let (head, rest) = bytes.split_at(size.min(3));
                match sequence % 3 {
                    0 => outbox.push(Kind::Request, sequence, bytes.into()),
                    1 => outbox.push_parts(Kind::Request, sequence, &[head, rest]),
                    _ => {
                        let rest = Bytes::copy_from_slice(rest);
                        outbox.push_with(Kind::Request, sequence, head, rest);
                    }
                }
            }
            assert_eq!(outbox.size(), want.len());
            let mut sink = Sink {
                taken: Vec::new(),
                at_a_time,
                calls: 0,
            };
            outbox.send(&mut sink).await.unwrap();
            assert!(sink.taken == want);
            assert!(sink.calls <= calls_max, "{} calls", sink.calls);
            assert!(outbox.is_empty());
            assert_eq!(outbox.sent(), want.len() as u64);
        }
    }

    #[tokio::test]
    async fn a_stream_that_takes_nothing_is_an_error() {
        let mut outbox = Outbox::default();
        outbox.push(Kind::Ping, 1, Bytes::new());
        let mut sink = Sink {
            taken: Vec::new(),
            at_a_time: 0,
            calls: 0,
        };
        let err = outbox.send(&mut sink).await.unwrap_err();
        assert_eq!(err.kind(), io::ErrorKind::WriteZero);
    }
}
