//! What a driver must carry out, and what the layer above must know.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::message::Peer;

/// One datagram to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Where to.
    pub to: SocketAddr,
    /// Encoded messages, each with its type byte; at most 127. More than one is framed as a compound.
    pub parts: Vec<Arc<[u8]>>,
    /// True if the datagram carries a checksum (gossip.md section 3.6).
    pub checksum: bool,
}

/// Names a broadcast whose end somebody waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// What to do, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Send a datagram.
    Packet(Packet),
    /// Open a stream, send a ping, and report with `on_stream_ack` or `on_stream_refused`.
    StreamPing {
        /// Where to.
        to: SocketAddr,
        /// Who is meant.
        node: Text,
        /// Number of the probe.
        seq: u32,
        /// Give up then.
        deadline: Mono,
    },
    /// Exchange states over a stream with this node, not as a joiner.
    PushPull {
        /// Where to.
        to: SocketAddr,
        /// Who is meant.
        node: Text,
    },
    /// Something the layer above must know.
    Notice(Notice),
}

/// News of the pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A node is alive that was unknown, dead or left.
    Joined(Arc<Peer>),
    /// A node died or left (which of both, the layer above knows better).
    Gone(Arc<Peer>),
    /// An alive node changed its metadata.
    Updated(Arc<Peer>),
    /// Another node claims the name of a living one.
    Conflict {
        /// Who holds the name.
        holder: Arc<Peer>,
        /// Who claims it.
        claimant: Arc<Peer>,
    },
    /// A message of the layer above.
    User {
        /// Who sent the datagram.
        from: SocketAddr,
        /// The message.
        bytes: Arc<[u8]>,
    },
    /// A direct probe was answered.
    Measured {
        /// By whom.
        node: Text,
        /// After which time.
        rtt: Duration,
        /// The payload of the ack.
        payload: Option<Arc<[u8]>>,
    },
    /// A broadcast was sent as often as planned, or replaced.
    Sent(Ticket),
    /// Worth a line in the log.
    Warning(Warning),
}

/// Worth a line in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warning {
    /// A node answers over streams but not over datagrams.
    DatagramsBlocked(Text),
    /// A probe failed; the node is suspected from now on.
    Suspected(Text),
    /// A node suspects or buries us, or tells something else about us than we do; we say otherwise.
    Refuted {
        /// Who accused us. Our own name, if it is about what we say of ourselves.
        from: Text,
    },
    /// A statement or request was ignored. One input gives a bounded number of these.
    Refused {
        /// Whose.
        node: Text,
        /// Why.
        reason: String,
    },
}
