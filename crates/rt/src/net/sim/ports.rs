//! Who has which port of a host, for one protocol.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

/// First port given to sockets that ask for none.
const EPHEMERAL_FIRST: u16 = 32_768;
/// Last of them.
const EPHEMERAL_LAST: u16 = 60_999;

/// A bound socket.
#[derive(Debug, Clone, Copy)]
struct Bound {
    /// `None` is every address of the host.
    ip: Option<IpAddr>,
    /// Shares the port with others that do.
    shares: bool,
    /// Takes what arrives; outgoing connections only hold the port.
    listens: bool,
    socket: u64,
}

/// The ports of a host.
#[derive(Debug)]
pub(super) struct Ports {
    bound: BTreeMap<u16, Vec<Bound>>,
    next: u16,
}

impl Ports {
    /// Ports are handed out from `start` on, wherever that lies among the ephemeral ones.
    pub(super) fn new(start: u16) -> Self {
        let count = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1;
        Self {
            bound: BTreeMap::new(),
            next: EPHEMERAL_FIRST + start % count,
        }
    }

    /// Binds a socket; port 0 takes a free one. Returns the port.
    pub(super) fn bind(
        &mut self,
        ip: Option<IpAddr>,
        port: u16,
        shares: bool,
        socket: u64,
    ) -> io::Result<u16> {
        let port = if port == 0 { self.free()? } else { port };
        let there = self.bound.entry(port).or_default();
        let taken = there.iter().any(|other| {
            let overlaps = ip.is_none() || other.ip.is_none() || ip == other.ip;
            other.listens && overlaps && !(shares && other.shares)
        });
        if taken {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        there.push(Bound {
            ip,
            shares,
            listens: true,
            socket,
        });
        Ok(port)
    }

    /// Takes a free port for an outgoing connection.
    pub(super) fn take(&mut self, socket: u64) -> io::Result<u16> {
        let port = self.free()?;
        self.bound.entry(port).or_default().push(Bound {
            ip: None,
            shares: false,
            listens: false,
            socket,
        });
        Ok(port)
    }

    fn free(&mut self) -> io::Result<u16> {
        for _ in EPHEMERAL_FIRST..=EPHEMERAL_LAST {
            let port = self.next;
            self.next = if port >= EPHEMERAL_LAST {
                EPHEMERAL_FIRST
            } else {
                port + 1
            };
            if !self.bound.contains_key(&port) {
                return Ok(port);
            }
        }
        Err(io::ErrorKind::AddrNotAvailable.into())
    }

    /// The socket that takes what arrives for `ip` and `port`: one bound to that address before one bound to all. Among
    /// several that share, `spread` decides.
    pub(super) fn find(&self, ip: IpAddr, port: u16, spread: u64) -> Option<u64> {
        let there = self.bound.get(&port)?;
        let pick = |wanted: Option<IpAddr>| {
            let fits = |bound: &&Bound| bound.listens && bound.ip == wanted;
            let count = there.iter().filter(fits).count() as u64;
            let index = usize::try_from(spread.checked_rem(count)?).ok()?;
            there
                .iter()
                .filter(fits)
                .nth(index)
                .map(|bound| bound.socket)
        };
        pick(Some(ip)).or_else(|| pick(None))
    }

    /// Gives a socket's port back. Harmless when it has none.
    pub(super) fn release(&mut self, port: u16, socket: u64) {
        if let Some(there) = self.bound.get_mut(&port) {
            there.retain(|bound| bound.socket != socket);
            if there.is_empty() {
                self.bound.remove(&port);
            }
        }
    }
}
