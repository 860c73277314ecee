//! UDP sockets, one datagram or a batch at a time.
//!
//! A batch receive waits once and then drains what the kernel has queued into one buffer; a
//! batch send writes what fits without waiting in between. Both cost one wake-up of the task per
//! batch. (`recvmmsg` would also save system calls; it needs unsafe code and is left until a
//! benchmark asks for it.)

use std::io;
use std::net::SocketAddr;

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::sim::SimUdp;
use super::{BindOptions, need_runtime};
use crate::Env;

#[derive(Debug)]
enum UdpKind {
    Real(tokio::net::UdpSocket),
    Sim(SimUdp),
}

/// A bound datagram socket. Usable from several tasks through `Arc`.
#[derive(Debug)]
pub struct UdpSocket(UdpKind);

impl UdpSocket {
    /// Binds; port 0 takes a free one.
    ///
    /// # Errors
    /// When the address is taken or not ours, or outside a runtime.
    pub fn bind(env: &Env, addr: SocketAddr, options: BindOptions) -> io::Result<Self> {
        if let Some(node) = env.net_node() {
            let inner = SimUdp::bind(node, addr, options)?;
            return Ok(Self(UdpKind::Sim(inner)));
        }
        need_runtime()?;
        let socket = Socket::new(
            Domain::for_address(addr),
            Type::DGRAM.nonblocking(),
            Some(Protocol::UDP),
        )?;
        if options.reuse_port {
            socket.set_reuse_port(true)?;
        }
        socket.bind(&addr.into())?;
        let inner = tokio::net::UdpSocket::from_std(socket.into())?;
        Ok(Self(UdpKind::Real(inner)))
    }

    /// Fixes the peer, so that refusals are reported.
    ///
    /// # Errors
    /// When there is no route.
    pub async fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        match &self.0 {
            UdpKind::Real(inner) => inner.connect(peer).await,
            UdpKind::Sim(inner) => inner.connect(peer),
        }
    }

    /// The bound address.
    ///
    /// # Errors
    /// When the system cannot say.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match &self.0 {
            UdpKind::Real(inner) => inner.local_addr(),
            UdpKind::Sim(inner) => Ok(inner.local_addr()),
        }
    }

    /// Asks for kernel buffers of this size; the system may grant less.
    ///
    /// # Errors
    /// When the system refuses outright.
    pub fn set_buffer_sizes(&self, recv_bytes: usize, send_bytes: usize) -> io::Result<()> {
        self.set_recv_buffer_size(recv_bytes)?;
        match &self.0 {
            UdpKind::Real(inner) => SockRef::from(inner).set_send_buffer_size(send_bytes),
            UdpKind::Sim(_) => Ok(()),
        }
    }

    /// Asks for a kernel buffer of this size for what arrives; the system may grant less.
    ///
    /// # Errors
    /// When the system refuses outright.
    pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        match &self.0 {
            UdpKind::Real(inner) => SockRef::from(inner).set_recv_buffer_size(bytes),
            UdpKind::Sim(inner) => inner.set_recv_buffer_size(bytes),
        }
    }

    /// Sends one datagram. Cancel safe.
    ///
    /// # Errors
    /// When it is too long, or the peer was found not to listen.
    pub async fn send_to(&self, bytes: &[u8], peer: SocketAddr) -> io::Result<usize> {
        match &self.0 {
            UdpKind::Real(inner) => inner.send_to(bytes, peer).await,
            UdpKind::Sim(inner) => inner.send_to(bytes, peer).await,
        }
    }

    /// Receives one datagram; what does not fit is lost. Cancel safe.
    ///
    /// # Errors
    /// A refusal reported for an earlier send, for one: go on.
    pub async fn recv_from(&self, bytes: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let inner = match &self.0 {
            UdpKind::Real(inner) => return inner.recv_from(bytes).await,
            UdpKind::Sim(inner) => inner,
        };
        let mut received = None;
        let take = |peer, datagram: &[u8]| {
            let len = datagram.len().min(bytes.len());
            bytes[..len].copy_from_slice(&datagram[..len]);
            received = Some((len, peer));
            false
        };
        inner.recv_with(take).await?;
        received.ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    /// Waits for at least one datagram, then takes what has arrived and fits into `batch`
    /// (which is emptied first). Returns how many. Cancel safe.
    ///
    /// # Errors
    /// As [`UdpSocket::recv_from`], and only when nothing was received.
    pub async fn recv_batch(&self, batch: &mut RecvBatch) -> io::Result<usize> {
        batch.metas.clear();
        batch.used = 0;
        let inner = match &self.0 {
            UdpKind::Real(inner) => inner,
            UdpKind::Sim(inner) => {
                return inner
                    .recv_with(|peer, datagram| batch.push(peer, datagram))
                    .await;
            }
        };
        loop {
            inner.readable().await?;
            while batch.has_room() {
                let space = &mut batch.bytes[batch.used..batch.used + batch.size_max];
                match inner.try_recv_from(space) {
                    Ok((len, peer)) => {
                        batch.metas.push((batch.used, len, peer));
                        batch.used += len;
                    }
                    Err(err) if err.kind() == io::ErrorKind::WouldBlock => break,
                    Err(err) if batch.metas.is_empty() => return Err(err),
                    Err(_) => break,
                }
            }
            if !batch.metas.is_empty() {
                return Ok(batch.metas.len());
            }
        }
    }

    /// Sends the whole batch in order and empties it. A datagram that the system refuses is
    /// skipped; the number of those is returned. Not cancel safe: a part may have been sent.
    ///
    /// # Errors
    /// When the socket itself is broken.
    pub async fn send_batch(&self, batch: &mut SendBatch) -> io::Result<usize> {
        let mut refused = 0;
        for &(start, len, peer) in &batch.metas {
            let bytes = &batch.bytes[start..start + len];
            let inner = match &self.0 {
                UdpKind::Real(inner) => inner,
                UdpKind::Sim(inner) => {
                    refused += usize::from(inner.send_to(bytes, peer).await.is_err());
                    continue;
                }
            };
            loop {
                match inner.try_send_to(bytes, peer) {
                    Ok(_) => break,
                    Err(err) if err.kind() == io::ErrorKind::WouldBlock => inner.writable().await?,
                    Err(_) => {
                        refused += 1;
                        break;
                    }
                }
            }
        }
        batch.clear();
        Ok(refused)
    }
}

/// Room for several received datagrams, packed into one buffer.
#[derive(Debug)]
pub struct RecvBatch {
    bytes: Box<[u8]>,
    used: usize,
    /// (start, length, sender)
    metas: Vec<(usize, usize, SocketAddr)>,
    size_max: usize,
    count_max: usize,
}

impl RecvBatch {
    /// Datagrams up to `size_max` bytes (longer ones are cut), at most `count_max` of them, in a
    /// buffer of `buffer_bytes` (at least one datagram).
    pub fn new(size_max: usize, count_max: usize, buffer_bytes: usize) -> Self {
        let size_max = size_max.max(1);
        Self {
            bytes: vec![0; buffer_bytes.max(size_max)].into_boxed_slice(),
            used: 0,
            metas: Vec::with_capacity(count_max.max(1)),
            size_max,
            count_max: count_max.max(1),
        }
    }

    fn has_room(&self) -> bool {
        self.metas.len() < self.count_max && self.bytes.len() - self.used >= self.size_max
    }

    /// Adds what fits of a datagram. False when there is no room for another. There must be room for this one.
    fn push(&mut self, peer: SocketAddr, datagram: &[u8]) -> bool {
        let len = datagram.len().min(self.size_max);
        self.bytes[self.used..self.used + len].copy_from_slice(&datagram[..len]);
        self.metas.push((self.used, len, peer));
        self.used += len;
        self.has_room()
    }

    /// Counts the datagrams of the last receive.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// True when nothing was received.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// The datagrams in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (SocketAddr, &[u8])> {
        self.metas
            .iter()
            .map(|&(start, len, peer)| (peer, &self.bytes[start..start + len]))
    }
}

/// Datagrams to be sent together, packed into one buffer that is reused.
#[derive(Debug, Default)]
pub struct SendBatch {
    bytes: Vec<u8>,
    metas: Vec<(usize, usize, SocketAddr)>,
}

impl SendBatch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a datagram that `write` appends to the buffer; it must only append.
    pub fn push_with(&mut self, peer: SocketAddr, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        write(&mut self.bytes);
        let len = self.bytes.len().saturating_sub(start);
        self.metas.push((start.min(self.bytes.len()), len, peer));
    }

    /// Adds a copy of `bytes`.
    pub fn push(&mut self, peer: SocketAddr, bytes: &[u8]) {
        self.push_with(peer, |buffer| buffer.extend_from_slice(bytes));
    }

    /// Counts the datagrams.
    pub fn len(&self) -> usize {
        self.metas.len()
    }

    /// True when there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.metas.is_empty()
    }

    /// Forgets everything, keeps the memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.metas.clear();
    }
}
