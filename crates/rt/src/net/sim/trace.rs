//! What an onlooker sees of the network: counters, a digest, and single events where asked for.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Traced {
    /// A dial reached a listener.
    Dialed,
    /// A dial reached a host where nobody listens.
    Refused,
    /// Bytes of a connection arrived.
    Bytes,
    /// The end of a stream arrived.
    Fin,
    /// A reset arrived.
    Reset,
    /// Something of a connection did not get through, or its acknowledgement did not; it is tried again.
    Stuck,
    /// A connection was given up after too many tries.
    GaveUp,
    /// A datagram arrived.
    Datagram,
    /// A datagram was lost: by the link, a cut, a full buffer, or because nobody listens.
    Lost,
}

/// One event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TracedEvent {
    /// Since the network began.
    pub at: Duration,
    /// What happened.
    pub what: Traced,
    /// Who sent.
    pub from: SocketAddr,
    /// Who was to receive.
    pub to: SocketAddr,
    /// Bytes of payload.
    pub len: usize,
}

/// Counters of a network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Everything that happened.
    pub events: u64,
    /// Datagrams that arrived.
    pub datagrams: u64,
    /// Datagrams that did not.
    pub datagrams_lost: u64,
    /// Connections that came about.
    pub connections: u64,
    /// Bytes that arrived on connections.
    pub tcp_bytes: u64,
}

/// Keeps account.
#[derive(Debug, Default)]
pub(super) struct Trace {
    digest: u64,
    stats: Stats,
    kept: Option<Vec<TracedEvent>>,
}

impl Trace {
    pub(super) fn note(
        &mut self,
        now_ns: u64,
        what: Traced,
        from: SocketAddr,
        to: SocketAddr,
        len: usize,
    ) {
        self.stats.events += 1;
        match what {
            Traced::Datagram => self.stats.datagrams += 1,
            Traced::Lost => self.stats.datagrams_lost += 1,
            Traced::Dialed => self.stats.connections += 1,
            Traced::Bytes => self.stats.tcp_bytes += len as u64,
            Traced::Refused | Traced::Fin | Traced::Reset | Traced::Stuck | Traced::GaveUp => {}
        }
        for word in [now_ns, what as u64, word_of(from), word_of(to), len as u64] {
            self.digest = (self.digest.rotate_left(5) ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        }
        if let Some(kept) = &mut self.kept {
            kept.push(TracedEvent {
                at: Duration::from_nanos(now_ns),
                what,
                from,
                to,
                len,
            });
        }
    }

    pub(super) fn digest(&self) -> u64 {
        self.digest
    }

    pub(super) fn stats(&self) -> Stats {
        self.stats
    }

    pub(super) fn set_kept(&mut self, on: bool) {
        self.kept = on.then(Vec::new);
    }

    pub(super) fn take(&mut self) -> Vec<TracedEvent> {
        self.kept.as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// An address in 64 bits, well enough to tell the hosts of a world apart.
pub(super) fn word_of(addr: SocketAddr) -> u64 {
    let ip = match addr.ip() {
        IpAddr::V4(ip) => u64::from(u32::from(ip)),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            (bits >> 64) as u64 ^ bits as u64
        }
    };
    (ip << 16) ^ u64::from(addr.port())
}
