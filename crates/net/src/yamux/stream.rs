//! One end of one stream.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::state::Shared;

/// A stream. Dropping it resets the stream, unless [`Stream::set_clean`] says that nothing is under way on it: then it is
/// closed with a FIN. A FIN of the peer is always answered by one.
pub(crate) struct Stream {
    shared: Arc<Shared>,
    id: u32,
    clean: bool,
}

impl Stream {
    pub(super) fn new(shared: Arc<Shared>, id: u32) -> Stream {
        Stream {
            shared,
            id,
            clean: false,
        }
    }

    /// Says whether nothing is under way on it.
    pub(crate) fn set_clean(&mut self, clean: bool) {
        self.clean = clean;
    }

    /// True while it can carry another exchange.
    pub(crate) fn is_usable(&self) -> bool {
        self.shared.is_usable(self.id)
    }

    /// True if what was written last may have reached the peer. False only where the connection ended before.
    pub(crate) fn was_sent(&self) -> bool {
        self.shared.was_sent(self.id)
    }

    /// Resolves once the peer will send no more.
    pub(crate) fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.shared.poll_hung_up(self.id, cx)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.abandon(self.id, self.clean);
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.shared.poll_read(self.id, cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.shared.poll_write(self.id, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // The driver sends what was written without being asked.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared.shutdown(self.id);
        Poll::Ready(Ok(()))
    }
}
