//! The sockets of a simulated process, as `rt::net` hands them out.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::ReadBuf;

use super::NetNode;
use super::link::ns;
use super::state::{State, add_waker};
use super::tcp::{End, Phase};
use super::udp::gone;
use crate::net::BindOptions;

impl NetNode {
    /// Does something for the process, if it still runs.
    fn act<R>(&self, act: impl FnOnce(&mut State) -> io::Result<R>) -> io::Result<R> {
        self.with(|state| {
            if state.is_current(self.host, self.incarnation) {
                act(state)
            } else {
                Err(gone())
            }
        })
    }
}

/// A listener.
#[derive(Debug)]
pub(crate) struct SimListener {
    node: NetNode,
    id: u64,
    local: SocketAddr,
}

impl SimListener {
    pub(crate) fn bind(node: &NetNode, addr: SocketAddr, options: BindOptions) -> io::Result<Self> {
        let (id, local) =
            node.act(|state| state.listen(node.host, addr, options.reuse_port, options.backlog))?;
        Ok(Self {
            node: node.clone(),
            id,
            local,
        })
    }

    pub(crate) async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(SimStream, SocketAddr)>> {
        let accepted = self.node.with(|state| {
            if state.holds(self.node.host, cx) {
                return Poll::Pending;
            }
            let Some(listener) = state.listeners.get_mut(&self.id) else {
                return Poll::Ready(Err(gone()));
            };
            while let Some(id) = listener.queue.pop_front() {
                if let Some(conn) = state.conns.get(&id) {
                    let [dialer, own] = &conn.ends;
                    return Poll::Ready(Ok((id, own.addr, dialer.addr)));
                }
            }
            add_waker(&mut listener.acceptors, cx);
            Poll::Pending
        });
        accepted.map_ok(|(conn, local, peer)| {
            let stream = SimStream {
                node: self.node.clone(),
                conn,
                end: 1,
                local,
                peer,
            };
            (stream, peer)
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        self.node.with(|state| state.close_listener(self.id));
    }
}

/// A dial; dropping it gives it up.
#[derive(Debug)]
pub(crate) struct Dial {
    node: NetNode,
    /// `None` once it has been handed over.
    conn: Option<u64>,
}

impl Dial {
    pub(crate) fn new(node: &NetNode, to: SocketAddr) -> io::Result<Self> {
        let conn = node.act(|state| state.dial(node.host, to))?;
        Ok(Self {
            node: node.clone(),
            conn: Some(conn),
        })
    }
}

impl Future for Dial {
    type Output = io::Result<SimStream>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(id) = self.conn else {
            return Poll::Ready(Err(gone()));
        };
        let host = self.node.host;
        let done = self.node.with(|state| {
            if state.holds(host, cx) {
                return Poll::Pending;
            }
            let Some(conn) = state.conns.get_mut(&id) else {
                return Poll::Ready(Err(gone()));
            };
            let [own, target] = &mut conn.ends;
            match conn.phase {
                Phase::Dialing(_) => {
                    add_waker(&mut own.writers, cx);
                    Poll::Pending
                }
                Phase::Failed(kind) => Poll::Ready(Err(kind.into())),
                Phase::Open => Poll::Ready(Ok((own.addr, target.addr))),
            }
        });
        done.map_ok(|(local, peer)| {
            self.conn = None;
            SimStream {
                node: self.node.clone(),
                conn: id,
                end: 0,
                local,
                peer,
            }
        })
    }
}

impl Drop for Dial {
    fn drop(&mut self) {
        if let Some(conn) = self.conn {
            self.node.with(|state| state.close(conn, 0));
        }
    }
}

/// A connection's end.
#[derive(Debug)]
pub(crate) struct SimStream {
    node: NetNode,
    conn: u64,
    end: usize,
    local: SocketAddr,
    peer: SocketAddr,
}

/// What there is to read.
enum Readable {
    Bytes,
    End,
}

/// Why there is nothing: not yet, or not any more.
fn readable(end: &mut End) -> Poll<io::Result<Readable>> {
    if !end.unread.is_empty() {
        Poll::Ready(Ok(Readable::Bytes))
    } else if let Some(kind) = end.error.take() {
        Poll::Ready(Err(kind.into()))
    } else if end.fin_seen || end.dead {
        Poll::Ready(Ok(Readable::End))
    } else {
        Poll::Pending
    }
}

impl SimStream {
    /// Does something with the process's end; pending while that is paused.
    fn poll_end<R>(
        &self,
        cx: &mut Context<'_>,
        act: impl FnOnce(&mut State, &mut Context<'_>) -> Poll<io::Result<R>>,
    ) -> Poll<io::Result<R>> {
        self.node.with(|state| {
            if state.holds(self.node.host, cx) {
                return Poll::Pending;
            }
            if self.end(state).is_none() {
                return Poll::Ready(Err(gone()));
            }
            act(state, cx)
        })
    }

    fn end<'a>(&self, state: &'a mut State) -> Option<&'a mut End> {
        let conn = state.conns.get_mut(&self.conn)?;
        Some(&mut conn.ends[self.end]).filter(|end| end.held)
    }

    /// Reads into `out`: 0 at the end, `WouldBlock` when there is nothing yet.
    fn read(&self, state: &mut State, out: &mut [u8], take: bool) -> io::Result<usize> {
        let end = self.end(state).ok_or_else(gone)?;
        match readable(end) {
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
            Poll::Ready(Err(err)) => Err(err),
            Poll::Ready(Ok(Readable::End)) => Ok(0),
            Poll::Ready(Ok(Readable::Bytes)) => {
                let len = end.peek(out);
                if take {
                    state.consume(self.conn, self.end, len);
                }
                Ok(len)
            }
        }
    }

    fn poll_read_with(
        &self,
        cx: &mut Context<'_>,
        out: &mut [u8],
        take: bool,
    ) -> Poll<io::Result<usize>> {
        self.poll_end(cx, |state, cx| match self.read(state, out, take) {
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                if let Some(end) = self.end(state) {
                    add_waker(&mut end.readers, cx);
                }
                Poll::Pending
            }
            result => Poll::Ready(result),
        })
    }

    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = self.poll_read_with(cx, buf.initialize_unfilled(), true);
        read.map_ok(|len| buf.advance(len))
    }

    pub(crate) async fn peek(&self, out: &mut [u8]) -> io::Result<usize> {
        std::future::poll_fn(|cx| self.poll_read_with(cx, out, false)).await
    }

    /// An error is left for who reads.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        std::future::poll_fn(|cx| {
            self.poll_end(cx, |state, cx| {
                let Some(end) = self.end(state) else {
                    return Poll::Ready(Err(gone()));
                };
                let quiet = end.unread.is_empty() && !end.fin_seen && !end.dead;
                if quiet {
                    add_waker(&mut end.readers, cx);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(()))
            })
        })
        .await
    }

    pub(crate) fn try_read(&self, out: &mut [u8]) -> io::Result<usize> {
        self.node.with(|state| self.read(state, out, true))
    }

    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_end(cx, |state, cx| {
            let Some(end) = self.end(state) else {
                return Poll::Ready(Err(gone()));
            };
            if let Some(kind) = end.error.take() {
                return Poll::Ready(Err(kind.into()));
            }
            if end.dead || end.fin_sent {
                return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
            }
            if end.room() == 0 && bufs.iter().any(|buf| !buf.is_empty()) {
                add_waker(&mut end.writers, cx);
                return Poll::Pending;
            }
            let mut sent = 0;
            for buf in bufs {
                let len = state.write(self.conn, self.end, buf);
                sent += len;
                if len < buf.len() {
                    break;
                }
            }
            Poll::Ready(Ok(sent))
        })
    }

    pub(crate) fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_end(cx, |state, _| {
            let dead = self.end(state).is_none_or(|end| end.dead);
            if dead {
                return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
            }
            state.send_fin(self.conn, self.end);
            Poll::Ready(Ok(()))
        })
    }

    pub(crate) fn set_keepalive(&self, idle: Duration, interval: Duration) -> io::Result<()> {
        self.node
            .with(|state| state.set_keepalive(self.conn, self.end, ns(idle), ns(interval)))
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(crate) fn peer_addr(&self) -> SocketAddr {
        self.peer
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        self.node.with(|state| state.close(self.conn, self.end));
    }
}

/// A datagram socket.
#[derive(Debug)]
pub(crate) struct SimUdp {
    node: NetNode,
    id: u64,
    local: SocketAddr,
}

impl SimUdp {
    pub(crate) fn bind(node: &NetNode, addr: SocketAddr, options: BindOptions) -> io::Result<Self> {
        let (id, local) = node.act(|state| state.bind_udp(node.host, addr, options.reuse_port))?;
        Ok(Self {
            node: node.clone(),
            id,
            local,
        })
    }

    pub(crate) fn connect(&self, peer: SocketAddr) -> io::Result<()> {
        self.node.act(|state| {
            let (_, peer) = state.resolve(self.node.host, peer);
            let udp = state.udp.get_mut(&self.id).ok_or_else(gone)?;
            udp.peer = Some(peer);
            Ok(())
        })
    }

    pub(crate) fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<()> {
        self.node.act(|state| {
            let udp = state.udp.get_mut(&self.id).ok_or_else(gone)?;
            udp.queue_max = bytes;
            Ok(())
        })
    }

    pub(crate) fn local_addr(&self) -> SocketAddr {
        self.local
    }

    pub(crate) async fn send_to(&self, bytes: &[u8], to: SocketAddr) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            self.node.with(|state| {
                if state.holds(self.node.host, cx) {
                    return Poll::Pending;
                }
                Poll::Ready(state.send_udp(self.id, bytes, to))
            })
        })
        .await
    }

    /// Waits for a datagram and hands all that have arrived to `take`, until that returns false. The result tells how many
    /// it took. A refusal is returned when it comes first.
    pub(crate) async fn recv_with(
        &self,
        mut take: impl FnMut(SocketAddr, &[u8]) -> bool,
    ) -> io::Result<usize> {
        std::future::poll_fn(|cx| {
            self.node.with(|state| {
                if state.holds(self.node.host, cx) {
                    return Poll::Pending;
                }
                let Some(udp) = state.udp.get_mut(&self.id) else {
                    return Poll::Ready(Err(gone()));
                };
                let mut count = 0;
                while count == 0 || !udp.refused {
                    match udp.pop() {
                        None => break,
                        Some(Err(err)) => return Poll::Ready(Err(err)),
                        Some(Ok((from, bytes))) => {
                            count += 1;
                            if !take(from, &bytes) {
                                break;
                            }
                        }
                    }
                }
                if count == 0 {
                    add_waker(&mut udp.readers, cx);
                    return Poll::Pending;
                }
                Poll::Ready(Ok(count))
            })
        })
        .await
    }
}

impl Drop for SimUdp {
    fn drop(&mut self) {
        self.node.with(|state| state.close_udp(self.id));
    }
}
