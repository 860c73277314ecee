//! TCP listeners and streams.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::need_runtime;
use super::sim::{Dial, SimListener, SimStream};
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
    Sim(SimListener),
}

/// Accepts TCP connections.
#[derive(Debug)]
pub struct TcpListener(ListenerKind);

impl TcpListener {
    /// Binds and listens. Port 0 takes a free one; see [`TcpListener::local_addr`].
    ///
    /// # Errors
    /// When the address is taken or not ours, or outside a runtime.
    pub fn bind(env: &Env, addr: SocketAddr, options: BindOptions) -> io::Result<Self> {
        if let Some(node) = env.net_node() {
            let inner = SimListener::bind(node, addr, options)?;
            return Ok(Self(ListenerKind::Sim(inner)));
        }
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
        match &self.0 {
            ListenerKind::Real(inner) => {
                let (stream, peer) = inner.accept().await?;
                Ok((TcpStream(StreamKind::Real(stream)), peer))
            }
            ListenerKind::Sim(inner) => {
                let (stream, peer) = inner.accept().await?;
                Ok((TcpStream(StreamKind::Sim(stream)), peer))
            }
        }
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            ListenerKind::Real(inner) => inner.local_addr(),
            ListenerKind::Sim(inner) => Ok(inner.local_addr()),
        }
    }
}

#[derive(Debug)]
enum StreamKind {
    Real(tokio::net::TcpStream),
    Sim(SimStream),
}

/// One TCP connection.
#[derive(Debug)]
pub struct TcpStream(StreamKind);

impl TcpStream {
    /// Connects to `addr`. Give it a deadline with [`Env::timeout`]. Cancel safe.
    ///
    /// # Errors
    /// When the peer refuses or cannot be reached.
    pub async fn connect(env: &Env, addr: SocketAddr) -> io::Result<Self> {
        if let Some(node) = env.net_node() {
            let inner = Dial::new(node, addr)?.await?;
            return Ok(Self(StreamKind::Sim(inner)));
        }
        let inner = tokio::net::TcpStream::connect(addr).await?;
        Ok(Self(StreamKind::Real(inner)))
    }

    /// Sends small writes at once.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn set_nodelay(&self, on: bool) -> io::Result<()> {
        match &self.0 {
            StreamKind::Real(inner) => inner.set_nodelay(on),
            StreamKind::Sim(_) => Ok(()),
        }
    }

    /// Probes an idle peer after `idle`, then every `interval`.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn set_keepalive(&self, idle: Duration, interval: Duration) -> io::Result<()> {
        match &self.0 {
            StreamKind::Real(inner) => {
                let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
                SockRef::from(inner).set_tcp_keepalive(&keepalive)
            }
            StreamKind::Sim(inner) => inner.set_keepalive(idle, interval),
        }
    }

    /// The other side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            StreamKind::Real(inner) => inner.peer_addr(),
            StreamKind::Sim(inner) => Ok(inner.peer_addr()),
        }
    }

    /// This side.
    ///
    /// # Errors
    /// When the connection is gone.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            StreamKind::Real(inner) => inner.local_addr(),
            StreamKind::Sim(inner) => Ok(inner.local_addr()),
        }
    }

    /// Reads without taking; the first bytes tell which protocol speaks. Cancel safe.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            StreamKind::Real(inner) => inner.peek(bytes).await,
            StreamKind::Sim(inner) => inner.peek(bytes).await,
        }
    }

    /// Waits until there is something to read, or the peer has hung up. Cancel safe.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn readable(&self) -> io::Result<()> {
        match &self.0 {
            StreamKind::Real(inner) => inner.readable().await,
            StreamKind::Sim(inner) => inner.readable().await,
        }
    }

    /// Reads what is there without waiting.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there.
    pub fn try_read(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.0 {
            StreamKind::Real(inner) => inner.try_read(bytes),
            StreamKind::Sim(inner) => inner.try_read(bytes),
        }
    }
}

impl AsyncRead for TcpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.0 {
            StreamKind::Real(inner) => Pin::new(inner).poll_read(cx, buf),
            StreamKind::Sim(inner) => inner.poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for TcpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            StreamKind::Real(inner) => Pin::new(inner).poll_write(cx, buf),
            StreamKind::Sim(inner) => inner.poll_write(cx, &[io::IoSlice::new(buf)]),
        }
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            StreamKind::Real(inner) => Pin::new(inner).poll_write_vectored(cx, bufs),
            StreamKind::Sim(inner) => inner.poll_write(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            StreamKind::Real(inner) => inner.is_write_vectored(),
            StreamKind::Sim(_) => true,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            StreamKind::Real(inner) => Pin::new(inner).poll_flush(cx),
            StreamKind::Sim(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            StreamKind::Real(inner) => Pin::new(inner).poll_shutdown(cx),
            StreamKind::Sim(inner) => inner.poll_shutdown(cx),
        }
    }
}
