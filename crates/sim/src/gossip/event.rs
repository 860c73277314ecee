//! What can happen to an agent from outside.

use std::net::SocketAddr;
use std::sync::Arc;

use super::stream::{Answer, Request, StreamId};

/// One thing that happens at one moment.
#[derive(Debug)]
pub(crate) enum Event {
    /// A datagram arrives.
    Packet {
        to: usize,
        from: SocketAddr,
        parts: Vec<Arc<[u8]>>,
    },
    /// A timer of the core is due.
    Wake { node: usize },
    /// A stream with its request arrives.
    Request { to: usize, request: Request },
    /// The answer of a stream arrives.
    Answer { id: StreamId, answer: Answer },
    /// Nobody listens there, or nobody answered in time.
    StreamFailed { id: StreamId },
}
