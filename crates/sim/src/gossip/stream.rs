//! Streams between agents: one request, at most one answer, values handed over as they are.
//!
//! The way: set-up and request take three one-way delays and the time of their bytes, the answer one more. A stopped host's
//! port refuses after one round trip; a cut, a paused agent or a late answer end at the deadline.

use std::net::SocketAddr;

use tribune_swim::PushPull;
use tribune_types::text::Text;
use tribune_types::time::Mono;

/// Names an exchange while it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// What is asked.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A probe, naming its target.
    Ping(Text),
    /// The state of the one who asks.
    PushPull(Box<PushPull>),
}

/// A request on its way.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: StreamId,
    pub(crate) from: usize,
    pub(crate) deadline: Mono,
    pub(crate) ask: Ask,
}

/// What comes back.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It is there.
    Ack,
    /// The state of the one who was asked.
    PushPull(Box<PushPull>),
}

/// What the one who began it wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Probe with this number.
    Probe { seq: u32 },
    /// Periodic exchange, or a try to reach a failed member (as a joiner).
    Exchange { join: bool },
    /// A join that the application asked for.
    Join,
    /// A join of a restarted agent with a member that it remembers; the next one is tried if it fails.
    Rejoin,
}

impl Purpose {
    /// True if the exchange is marked as a join.
    pub(crate) fn joins(self) -> bool {
        match self {
            Purpose::Exchange { join } => join,
            Purpose::Join | Purpose::Rejoin => true,
            Purpose::Probe { .. } => false,
        }
    }
}

/// An exchange that runs, as its beginner keeps it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Open {
    pub(crate) from: usize,
    /// Life of the beginner in which it began.
    pub(crate) life: u32,
    pub(crate) to: SocketAddr,
    pub(crate) purpose: Purpose,
}
