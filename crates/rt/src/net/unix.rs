//! Unix stream sockets: the HTTP listener on a path, and local daemons such as docker's.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::need_runtime;
use crate::Env;

/// A simulated node has no place for a path that its peers share.
fn need_real(env: &Env) -> io::Result<()> {
    match env.net_node() {
        None => Ok(()),
        Some(_) => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "unix sockets are not simulated",
        )),
    }
}

#[derive(Debug)]
enum ListenerKind {
    Real(tokio::net::UnixListener),
}

/// Accepts connections on a path.
#[derive(Debug)]
pub struct UnixListener(ListenerKind);

impl UnixListener {
    /// Binds to `path`, which must not exist; removing a stale socket, owner and mode are the
    /// caller's decisions.
    ///
    /// # Errors
    /// When the path is taken or not writable, or outside a runtime; `Unsupported` on a simulated network.
    pub fn bind(env: &Env, path: &Path) -> io::Result<Self> {
        need_real(env)?;
        need_runtime()?;
        Ok(Self(ListenerKind::Real(tokio::net::UnixListener::bind(
            path,
        )?)))
    }

    /// Waits for a connection. Cancel safe.
    ///
    /// # Errors
    /// Running out of descriptors, for one: wait a little and go on.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        let ListenerKind::Real(inner) = &self.0;
        let (stream, _) = inner.accept().await?;
        Ok(UnixStream(StreamKind::Real(stream)))
    }
}

#[derive(Debug)]
enum StreamKind {
    Real(tokio::net::UnixStream),
}

/// One Unix stream connection.
#[derive(Debug)]
pub struct UnixStream(StreamKind);

impl UnixStream {
    /// Connects to the socket at `path`. Cancel safe.
    ///
    /// # Errors
    /// When nobody listens there; `Unsupported` on a simulated network.
    pub async fn connect(env: &Env, path: &Path) -> io::Result<Self> {
        need_real(env)?;
        let inner = tokio::net::UnixStream::connect(path).await?;
        Ok(Self(StreamKind::Real(inner)))
    }

    fn pinned(&mut self) -> Pin<&mut tokio::net::UnixStream> {
        let StreamKind::Real(inner) = &mut self.0;
        Pin::new(inner)
    }
}

impl AsyncRead for UnixStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.pinned().poll_read(cx, buf)
    }
}

impl AsyncWrite for UnixStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.pinned().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        let StreamKind::Real(inner) = &self.0;
        inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_shutdown(cx)
    }
}
