//! Moves bytes between the socket and the state of a connection, and keeps its timers.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tribune_rt::Env;
use tribune_types::time::Mono;

use super::frame::{HEADER_SIZE, Header};
use super::state::{Next, Shared, Violation};
use super::{KeepAlive, OUT_CONTROL_MAX, Stream};

/// Time for the socket to take anything at all.
const STALL_MAX: Duration = Duration::from_secs(10);
/// Bytes taken from the socket at a time. On the stack, so that an idle connection holds no buffer.
const READ_SIZE: usize = 8 << 10;
/// Reads in a row before other tasks get a turn.
const READS_MAX: usize = 16;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The peer broke the rules.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// A ping was not answered, or the socket took nothing, for too long.
    #[error("peer does not answer")]
    Stalled,
    /// The socket failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The half of a connection that works. Dropping it ends the connection and all its streams.
pub(crate) struct Driver<T> {
    env: Env,
    io: T,
    shared: Arc<Shared>,
    header: [u8; HEADER_SIZE],
    header_len: usize,
    body: Option<Body>,
    out: Vec<u8>,
    out_sent: usize,
    /// The socket has taken nothing since.
    blocked_since: Option<Mono>,
    /// When to ping, or when the answer is due.
    ping_at: Mono,
    ping_value: u32,
    ping_open: bool,
    keep_alive: KeepAlive,
    /// Something came since the last ping, or since its answer was due. What comes may stand before the answer.
    heard: bool,
    /// Reading pauses until the budget has room.
    paused: bool,
}

/// A frame's body that is arriving.
struct Body {
    id: u32,
    left: u32,
    fin: bool,
}

/// Why polling the socket returned.
enum Turn {
    /// The peer closed, or we did.
    Ended,
    /// A deadline is to be watched that was not.
    Timers,
}

impl<T> Drop for Driver<T> {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    pub(super) fn new(env: Env, io: T, shared: Arc<Shared>, keep_alive: KeepAlive) -> Driver<T> {
        let ping_at = env.mono() + keep_alive.every;
        Driver {
            env,
            io,
            shared,
            header: [0; HEADER_SIZE],
            header_len: 0,
            body: None,
            out: Vec::new(),
            out_sent: 0,
            blocked_since: None,
            ping_at,
            ping_value: 0,
            ping_open: false,
            keep_alive,
            heard: false,
            paused: false,
        }
    }

    /// Runs the connection until it ends. Streams that the peer opens go to `serve`.
    ///
    /// # Errors
    /// When it did not end by a close of either side.
    pub(crate) async fn run(mut self, mut serve: impl FnMut(Stream)) -> Result<(), SessionError> {
        let env = self.env.clone();
        loop {
            let deadline = match self.blocked_since {
                Some(since) => self.ping_at.min(since + STALL_MAX),
                None => self.ping_at,
            };
            tokio::select! {
                biased;
                turn = std::future::poll_fn(|cx| self.poll_io(cx, &mut serve)) => match turn {
                    Ok(Turn::Ended) => return Ok(()),
                    Ok(Turn::Timers) => {}
                    Err(SessionError::Violation(violation)) => {
                        return Err(self.give_up(violation).await);
                    }
                    Err(err) => return Err(err),
                },
                () = env.sleep_until(deadline) => self.on_time()?,
            }
        }
    }

    /// Tells the peer that it broke the rules, as far as the socket takes it.
    async fn give_up(&mut self, violation: Violation) -> SessionError {
        if !matches!(violation, Violation::GoAway(_)) {
            self.shared.send_go_away(1);
            let env = self.env.clone();
            let farewell = std::future::poll_fn(|cx| self.poll_send(cx));
            let _ = env.timeout(Duration::from_secs(1), farewell).await;
        }
        violation.into()
    }

    fn on_time(&mut self) -> Result<(), SessionError> {
        let now = self.env.mono();
        if self
            .blocked_since
            .is_some_and(|since| now >= since + STALL_MAX)
        {
            return Err(SessionError::Stalled);
        }
        if now < self.ping_at {
            return Ok(());
        }
        let heard = std::mem::take(&mut self.heard);
        if self.ping_open && !self.paused && !heard {
            return Err(SessionError::Stalled);
        }
        if !self.ping_open {
            self.shared.on_round();
            self.ping_value = self.ping_value.wrapping_add(1);
            self.shared.send_ping(self.ping_value);
            self.ping_open = true;
        }
        self.ping_at = now + self.keep_alive.within;
        Ok(())
    }

    fn poll_io(
        &mut self,
        cx: &mut Context<'_>,
        serve: &mut impl FnMut(Stream),
    ) -> Poll<Result<Turn, SessionError>> {
        loop {
            // What the peer says comes first: once it has closed nothing more is sent, and whoever had queued something
            // can be told that it was not.
            let received = self.poll_receive(cx, serve)?;
            if received == Poll::Ready(false) {
                return Poll::Ready(Ok(Turn::Ended));
            }
            let was_blocked = self.blocked_since.is_some();
            let mut unblocked = false;
            if let Poll::Ready(sent) = self.poll_send(cx) {
                sent?;
                if self.shared.is_closing() {
                    let _ = ready!(Pin::new(&mut self.io).poll_shutdown(cx));
                    return Poll::Ready(Ok(Turn::Ended));
                }
                unblocked = was_blocked;
            } else if !was_blocked {
                return Poll::Ready(Ok(Turn::Timers));
            }
            // Reading may have waited for the socket to take what was to be sent: then nothing else wakes it.
            if received.is_pending() && !unblocked {
                return Poll::Pending;
            }
        }
    }

    /// Sends what there is to send. Ready when nothing is left.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        loop {
            if self.out_sent >= self.out.len() {
                self.out = Vec::new();
                self.out_sent = 0;
                self.blocked_since = None;
                if !self.shared.take_out(&mut self.out, cx.waker()) {
                    let flushed = Pin::new(&mut self.io).poll_flush(cx);
                    return flushed.map_err(SessionError::Io);
                }
            }
            match Pin::new(&mut self.io).poll_write(cx, &self.out[self.out_sent..]) {
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
                }
                Poll::Ready(Ok(len)) => {
                    self.out_sent += len;
                    self.blocked_since = None;
                }
                Poll::Ready(Err(err)) => return Poll::Ready(Err(err.into())),
                Poll::Pending => {
                    if self.blocked_since.is_none() {
                        self.blocked_since = Some(self.env.mono());
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads for one turn: ready with false at the end of the connection, with true when there is something to send.
    fn poll_receive(
        &mut self,
        cx: &mut Context<'_>,
        serve: &mut impl FnMut(Stream),
    ) -> Poll<Result<bool, SessionError>> {
        for _ in 0..READS_MAX {
            if self.shared.out_len() > OUT_CONTROL_MAX {
                // Sending wakes us; a peer that reads nothing is cut by the stall deadline.
                return if self.blocked_since.is_some() {
                    Poll::Pending
                } else {
                    Poll::Ready(Ok(true))
                };
            }
            let paused = !self.shared.budget().has_room_or_wake(cx.waker());
            if paused != self.paused {
                self.paused = paused;
                self.shared.set_paused(paused);
            }
            if paused {
                return Poll::Pending;
            }
            let mut bytes = [0u8; READ_SIZE];
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.io).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if buf.filled().is_empty() => return Poll::Ready(Ok(false)),
                Poll::Ready(Ok(())) => {
                    self.heard = true;
                    self.shared.on_heard();
                    self.on_bytes(buf.filled(), serve)?;
                }
                Poll::Ready(Err(err)) => return Poll::Ready(Err(err.into())),
                Poll::Pending => return Poll::Pending,
            }
            if self.blocked_since.is_none() && self.shared.out_len() > 0 {
                return Poll::Ready(Ok(true));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn on_bytes(
        &mut self,
        mut bytes: &[u8],
        serve: &mut impl FnMut(Stream),
    ) -> Result<(), Violation> {
        while !bytes.is_empty() {
            if let Some(body) = &mut self.body {
                let len = bytes.len().min(body.left as usize);
                let (now, rest) = bytes.split_at(len);
                self.shared.on_body(body.id, now);
                bytes = rest;
                body.left -= len as u32;
                if body.left == 0 {
                    if body.fin {
                        self.shared.on_body_fin(body.id);
                    }
                    self.body = None;
                }
                continue;
            }
            let len = bytes.len().min(HEADER_SIZE - self.header_len);
            let (now, rest) = bytes.split_at(len);
            self.header[self.header_len..self.header_len + len].copy_from_slice(now);
            self.header_len += len;
            bytes = rest;
            if self.header_len < HEADER_SIZE {
                break;
            }
            self.header_len = 0;
            let header = Header::decode(&self.header).ok_or(Violation::Frame)?;
            let mut opened = None;
            match self.shared.on_header(header, &mut opened)? {
                Next::Header => {}
                Next::Body { id, len, fin } => self.body = Some(Body { id, left: len, fin }),
                Next::Pong => {
                    if self.ping_open && header.length == self.ping_value {
                        self.ping_open = false;
                        self.ping_at = self.env.mono() + self.keep_alive.every;
                    }
                }
            }
            if let Some(id) = opened {
                serve(Stream::new(Arc::clone(&self.shared), id));
            }
        }
        Ok(())
    }
}
