//! A stream that is not read while the budget of its connection is used up.
//!
//! For connections that carry calls directly. A yamux session looks at the budget itself; its streams must not, since
//! their bytes are counted already.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::budget::Budget;
use crate::calls::Duplex;

/// See the module.
pub(crate) struct Metered<S> {
    io: S,
    budget: Arc<Budget>,
}

impl<S> Metered<S> {
    /// Reads of `io` wait for room in `budget`. Whoever reads charges it.
    pub(crate) fn new(io: S, budget: Arc<Budget>) -> Metered<S> {
        Metered { io, budget }
    }
}

impl<S: Duplex> Duplex for Metered<S> {
    fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.io.poll_hung_up(cx)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.budget.has_room_or_wake(cx.waker()) {
            return Poll::Pending;
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
