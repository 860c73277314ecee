//! Many streams over one connection: the common yamux, version 0, with the settings of Consul 1.8 (rpc.md section 1.4).
//!
//! `state` decides what a frame means and which frames go out; `driver` moves bytes between it and the socket and keeps
//! the timers; a [`Stream`] is one end of one stream. One task per connection, none per stream.
//!
//! Rules that callers of the real thing depend on: an accepted stream is acknowledged at once; a FIN is answered by a
//! FIN and never sent twice; the window is 256 KiB per stream and direction; a ping every 30 s must be answered within
//! 10 s, or as often and as soon as [`KeepAlive`] says.
//!
//! Memory: about 300 bytes per stream while nothing is buffered. What is received but not yet read is limited per stream
//! by the window and per connection by the [`Budget`](crate::budget::Budget); what is to be sent by [`OUT_MAX`].

mod driver;
mod frame;
mod state;
mod stream;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tribune_rt::Env;

use crate::budget::Budget;

pub(crate) use driver::{Driver, SessionError};
pub(crate) use state::SessionClosed;
pub(crate) use stream::Stream;

use state::Shared;

/// Bytes each side may send on a stream before the other has read them.
const WINDOW: u32 = 256 << 10;
/// Streams opened but not acknowledged; the acceptor of the original refuses more.
const UNACKED_MAX: usize = 256;
/// Data waiting for the socket; streams wait beyond it.
const OUT_MAX: usize = 64 << 10;
/// The value of pings that nobody waits for. Those of the keep-alive count from 1, and never get there.
const PROBE: u32 = u32::MAX;
/// Answers waiting for the socket; nothing is read beyond it.
const OUT_CONTROL_MAX: usize = 1 << 20;

/// Who began the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// We dialed: our streams are odd.
    Dialer,
    /// We accepted the connection.
    Acceptor,
}

/// How soon a peer that is gone is found to be. Whatever it sends counts as an answer: a large message may stand before
/// the one to a ping.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeepAlive {
    /// Time between pings.
    pub(crate) every: Duration,
    /// Time for the answer.
    pub(crate) within: Duration,
}

impl Default for KeepAlive {
    fn default() -> KeepAlive {
        KeepAlive {
            every: Duration::from_secs(30),
            within: Duration::from_secs(10),
        }
    }
}

/// The handle of a connection, for opening streams. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Session(Arc<Shared>);

/// Makes the two halves: the handle, and the driver that must run for anything to happen. `streams_max` is how many
/// streams may be open; more are refused one by one.
pub(crate) fn session<T: AsyncRead + AsyncWrite + Unpin>(
    env: &Env,
    io: T,
    role: Role,
    budget: Arc<Budget>,
    streams_max: usize,
    keep_alive: KeepAlive,
) -> (Session, Driver<T>) {
    let shared = Arc::new(Shared::new(role, budget, streams_max));
    (
        Session(Arc::clone(&shared)),
        Driver::new(env.clone(), io, shared, keep_alive),
    )
}

impl Session {
    /// Opens a stream. Waits while too many opened ones are not acknowledged. Cancel safe.
    ///
    /// # Errors
    /// The connection is closed, or will be.
    pub(crate) async fn open(&self) -> Result<Stream, SessionClosed> {
        let id = std::future::poll_fn(|cx| self.0.poll_open(cx)).await?;
        Ok(Stream::new(Arc::clone(&self.0), id))
    }

    /// True while streams can be opened.
    pub(crate) fn is_open(&self) -> bool {
        self.0.is_open()
    }

    /// Changes whenever the peer is heard. It counts as heard while we do not read for want of memory.
    pub(crate) fn heard(&self) -> u64 {
        self.0.heard()
    }

    /// Asks for a sign of life beside those of the keep-alive: what comes back is not waited for.
    pub(crate) fn ping(&self) {
        self.0.send_ping(PROBE);
    }

    /// Says goodbye and closes the connection. Streams end.
    pub(crate) fn close(&self) {
        self.0.close();
    }
}
