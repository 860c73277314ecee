//! Datagrams.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::task::Waker;

use super::state::{Event, HostId, State};
use super::trace::{Traced, word_of};

/// Largest payload.
const DATAGRAM_MAX: usize = 65_507;
/// Bytes that wait in a socket by default.
const QUEUE_MAX: usize = 208 << 10;
/// What a waiting datagram costs beside its bytes.
const OVERHEAD: usize = 256;
/// A datagram that would wait longer than this for a slow link is lost.
const LINK_QUEUE_MAX_NS: u64 = 1_000_000_000;

/// A bound socket.
#[derive(Debug)]
pub(super) struct Udp {
    pub(super) host: HostId,
    pub(super) local: SocketAddr,
    /// Accepts for every address of the host.
    any: bool,
    pub(super) peer: Option<SocketAddr>,
    pub(super) queue: VecDeque<(SocketAddr, Vec<u8>)>,
    queued: usize,
    pub(super) queue_max: usize,
    pub(super) refused: bool,
    pub(super) readers: Vec<Waker>,
}

/// One datagram on its way.
#[derive(Debug)]
pub(super) struct Datagram {
    from: SocketAddr,
    to: SocketAddr,
    from_host: HostId,
    to_host: HostId,
    /// Who sent it, to be told that nobody listens.
    sender: u64,
    bytes: Vec<u8>,
}

impl Udp {
    /// Takes what arrived first, or the refusal of something sent before.
    pub(super) fn pop(&mut self) -> Option<io::Result<(SocketAddr, Vec<u8>)>> {
        if std::mem::take(&mut self.refused) {
            return Some(Err(io::ErrorKind::ConnectionRefused.into()));
        }
        let (from, bytes) = self.queue.pop_front()?;
        self.queued -= bytes.len() + OVERHEAD;
        Some(Ok((from, bytes)))
    }
}

impl State {
    pub(super) fn bind_udp(
        &mut self,
        host: HostId,
        addr: SocketAddr,
        shares: bool,
    ) -> io::Result<(u64, SocketAddr)> {
        let ip = self.bindable(host, addr.ip())?;
        let socket = self.fresh_id();
        let entry = &mut self.hosts[host];
        let port = entry.udp.bind(ip, addr.port(), shares, socket)?;
        let local = SocketAddr::new(ip.unwrap_or(entry.ip), port);
        self.udp.insert(
            socket,
            Udp {
                host,
                local,
                any: ip.is_none(),
                peer: None,
                queue: VecDeque::new(),
                queued: 0,
                queue_max: QUEUE_MAX,
                refused: false,
                readers: Vec::new(),
            },
        );
        Ok((socket, local))
    }

    pub(super) fn close_udp(&mut self, socket: u64) {
        if let Some(mut gone) = self.udp.remove(&socket) {
            let port = gone.local.port();
            self.hosts[gone.host].udp.release(port, socket);
            Self::wake(&mut self.woken, &mut gone.readers);
        }
    }

    /// Closes all sockets of a host.
    pub(super) fn end_udp(&mut self, host: HostId) {
        let of_host = self.udp.iter().filter(|(_, udp)| udp.host == host);
        let ids: Vec<u64> = of_host.map(|(id, _)| *id).collect();
        for id in ids {
            self.close_udp(id);
        }
    }

    pub(super) fn send_udp(
        &mut self,
        socket: u64,
        bytes: &[u8],
        to: SocketAddr,
    ) -> io::Result<usize> {
        let udp = self.udp.get_mut(&socket).ok_or_else(gone)?;
        if std::mem::take(&mut udp.refused) {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if bytes.len() > DATAGRAM_MAX {
            return Err(rustix::io::Errno::MSGSIZE.into());
        }
        let (from_host, mut from, any) = (udp.host, udp.local, udp.any);
        let (to_host, to) = self.resolve(from_host, to);
        if any && to.ip().is_loopback() {
            from.set_ip(to.ip());
        }
        let local = from_host == to_host;
        let faults = self.faults(from_host, to_host);
        let lost = self.is_broken(from_host, to_host)
            || !local
                && (self.backlog_ns(from_host, to_host) > LINK_QUEUE_MAX_NS
                    || faults.draws_loss(&mut self.rng));
        if lost {
            self.note(Traced::Lost, from, to, bytes.len());
            return Ok(bytes.len());
        }
        let copies = 1 + u32::from(!local && faults.draws_duplicate(&mut self.rng));
        for _ in 0..copies {
            let at = self.arrival_ns(from_host, to_host, bytes.len());
            let datagram = Datagram {
                from,
                to,
                from_host,
                to_host,
                sender: socket,
                bytes: bytes.to_vec(),
            };
            self.schedule(at, Event::Datagram(Box::new(datagram)));
        }
        Ok(bytes.len())
    }

    pub(super) fn on_datagram(&mut self, datagram: Datagram) {
        let Datagram {
            from,
            to,
            from_host,
            to_host,
            sender,
            bytes,
        } = datagram;
        let len = bytes.len();
        if self.is_broken(from_host, to_host) {
            return self.note(Traced::Lost, from, to, len);
        }
        let ports = &self.hosts[to_host].udp;
        let found = ports.find(to.ip(), to.port(), word_of(from));
        let Some(udp) = found.and_then(|socket| self.udp.get_mut(&socket)) else {
            self.note(Traced::Lost, from, to, len);
            let asks = self.udp.get(&sender).is_some_and(|udp| udp.peer.is_some());
            if asks {
                let at = self.arrival_ns(to_host, from_host, len);
                self.schedule(at, Event::Unreachable { socket: sender });
            }
            return;
        };
        let fits = udp.queued + len + OVERHEAD <= udp.queue_max;
        if !fits || udp.peer.is_some_and(|peer| peer != from) {
            return self.note(Traced::Lost, from, to, len);
        }
        udp.queued += len + OVERHEAD;
        udp.queue.push_back((from, bytes));
        Self::wake(&mut self.woken, &mut udp.readers);
        self.note(Traced::Datagram, from, to, len);
    }

    pub(super) fn on_unreachable(&mut self, socket: u64) {
        if let Some(udp) = self.udp.get_mut(&socket) {
            udp.refused = true;
            Self::wake(&mut self.woken, &mut udp.readers);
        }
    }
}

/// The socket's process has ended.
pub(super) fn gone() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the simulated process has ended",
    )
}
