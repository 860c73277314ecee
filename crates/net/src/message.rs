//! Reading calls off a stream: two MessagePack values back to back, found without decoding them.
//!
//! Between messages a peer may be silent for as long as it likes. From the first byte of a message on it has a deadline
//! for all of it, however many bytes it sends in between.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tribune_rt::Env;
use tribune_wire::msgpack::{self, Scan};

use crate::budget::Budget;

/// Largest header accepted, in bytes.
pub(crate) const HEADER_MAX: usize = 4096;
/// Room for the first bytes of a message; most requests fit.
const FIRST_READ: usize = 256;
/// Room for further bytes.
const READ: std::ops::Range<usize> = 4 << 10..64 << 10;

/// Why no message could be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MessageError {
    /// Too many bytes.
    #[error("message larger than {0} bytes")]
    TooLarge(usize),
    /// Not complete in time.
    #[error("message not complete within {0:?}")]
    Slow(Duration),
    /// Not MessagePack.
    #[error(transparent)]
    Malformed(#[from] msgpack::Error),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// Bytes received and not yet used. They count against the connection's budget.
pub(crate) struct Inbox {
    bytes: BytesMut,
    budget: Arc<Budget>,
}

impl Inbox {
    pub(crate) fn new(budget: Arc<Budget>) -> Inbox {
        Inbox {
            bytes: BytesMut::new(),
            budget,
        }
    }

    /// What has been received.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Drops the first bytes; with nothing left the buffer is given back.
    pub(crate) fn consume(&mut self, len: usize) {
        self.budget.release(len);
        self.bytes.advance(len);
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
        }
    }

    /// All that has been received.
    pub(crate) fn into_bytes(mut self) -> BytesMut {
        self.budget.release(self.bytes.len());
        std::mem::take(&mut self.bytes)
    }

    /// Reads until a header and a body of at most `body_max` bytes are complete; their lengths, or `None` if the peer
    /// has closed. Cancel safe.
    ///
    /// # Errors
    /// The stream is of no more use.
    pub(crate) async fn message(
        &mut self,
        env: &Env,
        stream: &mut (impl AsyncRead + Unpin),
        body_max: usize,
        limit: Duration,
    ) -> Result<Option<(usize, usize)>, MessageError> {
        if self.bytes.is_empty() && !self.read(stream).await? {
            return Ok(None);
        }
        env.timeout(limit, async {
            let Some(header) = self.value(stream, 0, HEADER_MAX).await? else {
                return Ok(None);
            };
            let body = self.value(stream, header, body_max).await?;
            Ok(body.map(|body| (header, body)))
        })
        .await
        .map_err(|_| MessageError::Slow(limit))?
    }

    /// Reads until one value of at most `size_max` bytes is complete; its length, or `None` if the peer has closed. What
    /// follows the value may have been read, too. Cancel safe.
    ///
    /// # Errors
    /// The stream is of no more use.
    pub(crate) async fn single(
        &mut self,
        env: &Env,
        stream: &mut (impl AsyncRead + Unpin),
        size_max: usize,
        limit: Duration,
    ) -> Result<Option<usize>, MessageError> {
        env.timeout(limit, self.value(stream, 0, size_max))
            .await
            .map_err(|_| MessageError::Slow(limit))?
    }

    /// Reads until a complete value stands at `from`; its length.
    async fn value(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        from: usize,
        size_max: usize,
    ) -> Result<Option<usize>, MessageError> {
        let mut scan = Scan::default();
        loop {
            let value = &self.bytes[from..];
            match scan.advance(value)? {
                Some(len) if len > size_max => return Err(MessageError::TooLarge(size_max)),
                Some(len) => return Ok(Some(len)),
                None if value.len() > size_max || scan.least() > size_max => {
                    return Err(MessageError::TooLarge(size_max));
                }
                None => {}
            }
            if !self.read(stream).await? {
                return Ok(None);
            }
        }
    }

    /// Reads what is there; false at the end.
    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<bool, MessageError> {
        let room = match self.bytes.len() {
            0 => FIRST_READ,
            held => held.clamp(READ.start, READ.end),
        };
        self.bytes.reserve(room);
        let len = stream.read_buf(&mut self.bytes).await?;
        self.budget.charge(len);
        Ok(len > 0)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.budget.release(self.bytes.len());
    }
}
