//! TCP listeners and streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::need_runtime;
use crate::Env;

/// How to bind a listener or a datagram socket.
#[derive(Debug, Clone, Copy)]
pub struct BindOptions {
    /// Several sockets may share the address; the kernel spreads connections over them.
    pub reuse_port: bool,
    /// Connections the kernel holds before `accept`; TCP only.
    pub backlog: u32,
}

impl Default for BindOptions {
    fn default() -> Self {
        Self {
            reuse_port: false,
            backlog: 1024,
        }
    }
}

#[derive(Debug)]
enum ListenerKind {
    Real(tokio::net::TcpListener),
}

/// Accepts TCP connections.
#[derive(Debug)]
pub struct TcpListener(ListenerKind);

impl TcpListener {
    /// Binds and listens. Port 0 takes a free one; see [`TcpListener::local_addr`].
    ///
    /// # Errors
    /// When the address is taken or not ours, or outside a runtime.
    pub fn bind(_env: &Env, addr: SocketAddr, options: BindOptions) -> io::Result<Self> {
        need_runtime()?;
        let socket = Socket::new(
            Domain::for_address(addr),
            Type::STREAM.nonblocking(),
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&addr.into())?;
        socket.listen(i32::try_from(options.backlog).unwrap_or(i32::MAX))?;
        let inner = tokio::net::TcpListener::from_std(socket.into())?;
        Ok(Self(ListenerKind::Real(inner)))
    }

    /// Waits for a connection. Cancel safe.
    ///
    /// # Errors
    /// Running out of descriptors, for one: wait a little and go on.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let ListenerKind::Real(inner) = &self.0;
        let (stream, peer) = inner.accept().await?;
        Ok((TcpStream(StreamKind::Real(stream)), peer))
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let ListenerKind::Real(inner) = &self.0;
        inner.local_addr()
    }
}

#[derive(Debug)]
enum StreamKind {
    Real(tokio::net::TcpStream),
}

/// One TCP connection.
#[derive(Debug)]
pub struct TcpStream(StreamKind);

impl TcpStream {
    /// Connects to `addr`. Give it a deadline with [`Env::timeout`]. Cancel safe.
    ///
    /// # Errors
    /// When the peer refuses or cannot be reached.
    pub async fn connect(_env: &Env, addr: SocketAddr) -> io::Result<Self> {
        let inner = tokio::net::TcpStream::connect(addr).await?;
        Ok(Self(StreamKind::Real(inner)))
    }

    fn real(&self) -> &tokio::net::TcpStream {
        let StreamKind::Real(inner) = &self.0;
        inner
    }

    fn pinned(&mut self) -> Pin<&mut tokio::net::TcpStream> {
        let StreamKind::Real(inner) = &mut self.0;
        Pin::new(inner)
    }

    /// Sends small writes at once.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        self.real().set_nodelay(on)
    }

    /// Probes an idle peer after `idle`, then every `interval`.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn set_keepalive(&self, idle: Duration, interval: Duration) -> io::Result<()> {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
        SockRef::from(self.real()).set_tcp_keepalive(&keepalive)
    }

    /// The other side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.real().peer_addr()
    }

    /// This side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.real().local_addr()
    }

    /// Reads without taking; the first bytes tell which protocol speaks. Cancel safe.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.real().peek(bytes).await
    }

    /// Waits until there is something to read, or the peer has hung up. Cancel safe.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn readable(&self) -> io::Result<()> {
        self.real().readable().await
    }

    /// Reads what is there without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there.
    pub fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        self.real().try_read(bytes)
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.pinned().poll_read(cx, buf)
    }
}

impl AsyncWrite for TcpStream {
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
        self.real().is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.pinned().poll_shutdown(cx)
    }
}
