//! The dialing side of a connection for calls, among peers or of the server RPC.
//!
//! Callers put their frames into a shared outbox and wake the driver, which takes all that is there at once; one write
//! carries the requests of all callers that ran before it. Responses go straight to their callers.
//!
//! A caller that is dropped leaves its entry behind until the response comes, so that places in flight are counted as the
//! peer counts them, and a response to nothing is told from a late one.
//!
//! What the peer says is heard before anything more is sent. When the connection ends, calls whose last byte the stream has
//! not taken are told apart: nobody can have served them.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tribune_rt::Env;

use super::PeerError;
use super::frame::{Decoder, Frame, FrameError, HEADER_SIZE, Kind, MESSAGE_MAX};
use super::outbox::Outbox;
use super::pulse::{self, Pulse};
use super::rpc;
use crate::pool::Asked;

/// Calls in flight among peers; callers wait beyond it.
pub(super) const IN_FLIGHT_MAX: usize = 256;
/// Bytes of requests in flight, in KiB; callers wait beyond it. One message of the largest size fits with room to spare.
const IN_FLIGHT_KIB_MAX: usize = 2 * (MESSAGE_MAX >> 10);
/// Bytes of calls of the server RPC in flight; more find no place.
const RPC_BYTES_MAX: usize = 8 << 20;
/// Reads in a row before other tasks get a turn.
const READS_MAX: usize = 32;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    #[error("closed by the peer")]
    Closed,
    #[error("peer does not answer")]
    Silent,
    #[error("peer takes or sends only a part")]
    Stuck,
    #[error("not used for a while")]
    Idle,
    #[error("peer broke the protocol: {0}")]
    Violation(&'static str),
    #[error("peer broke the protocol: {0}")]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The connection has ended; the request is not on it.
#[derive(Debug)]
pub(super) struct Ended;

/// Why a call is not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NoPlace {
    /// The connection has ended.
    Ended,
    /// It does not fit, or too many are in flight.
    Full,
}

/// What a caller waits for.
pub(crate) type Pending = oneshot::Receiver<Result<Bytes, PeerError>>;

/// The handle of callers.
pub(crate) struct Conn {
    addr: SocketAddr,
    places: Arc<Semaphore>,
    kib: Arc<Semaphore>,
    state: Mutex<State>,
    open: AtomicBool,
    /// Changes with everything that comes.
    heard: AtomicU64,
    asked: Asked,
}

#[derive(Default)]
struct State {
    out: Outbox,
    calls: BTreeMap<u64, Call>,
    /// Bytes of the requests without a response.
    held: usize,
    /// Of the last request.
    sequence: u64,
    /// Bytes ever queued.
    queued: u64,
    /// Sequence of the ping that is not answered.
    ping: Option<u64>,
    pings: u64,
    driver: Option<Waker>,
    ended: bool,
}

/// A request that has no response yet.
struct Call {
    answer: oneshot::Sender<Result<Bytes, PeerError>>,
    size: usize,
    /// How many bytes the stream has taken once it has all of the request.
    end: u64,
    _room: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

/// Makes the two halves: the handle, and the driver that must run for anything to happen.
pub(crate) fn conn<S: AsyncRead + AsyncWrite + Unpin>(
    env: &Env,
    addr: SocketAddr,
    io: S,
) -> (Arc<Conn>, Driver<S>) {
    let conn = Arc::new(Conn {
        addr,
        places: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
        kib: Arc::new(Semaphore::new(IN_FLIGHT_KIB_MAX)),
        state: Mutex::default(),
        open: AtomicBool::new(true),
        heard: AtomicU64::new(0),
        asked: Asked::default(),
    });
    let driver = Driver {
        env: env.clone(),
        io,
        conn: Arc::clone(&conn),
        decoder: Decoder::default(),
        out: Outbox::default(),
        received: 0,
        frames: 0,
        silence: Pulse::default(),
        stuck_in: Pulse::default(),
        stuck_out: Pulse::default(),
        idle: Pulse::default(),
        dead_after: pulse::DEAD_AFTER,
    };
    (conn, driver)
}

impl Conn {
    /// True while requests can be made.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    /// Queues a call of the server RPC.
    ///
    /// # Errors
    /// It is not on the connection.
    pub(crate) fn call(&self, request: &rpc::Request<'_>) -> Result<Pending, NoPlace> {
        let head = request.head().ok_or(NoPlace::Full)?;
        let parts = [&head[..], request.method.as_bytes(), request.body];
        let size = parts.iter().map(|part| part.len()).sum();
        let mut state = self.state.lock();
        if state.ended {
            return Err(NoPlace::Ended);
        }
        if state.calls.len() >= rpc::IN_FLIGHT_MAX || state.held + size > RPC_BYTES_MAX {
            return Err(NoPlace::Full);
        }
        let (pending, sequence) = state.begin(size, None);
        state.out.push_parts(Kind::Request, sequence, &parts);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(pending)
    }

    /// Queues a request; waits while too many are in flight. Cancel safe.
    pub(super) async fn submit(&self, request: Bytes) -> Result<Pending, Ended> {
        let kib = u32::try_from(request.len().div_ceil(1 << 10)).map_err(|_| Ended)?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        let kib = Arc::clone(&self.kib).acquire_many_owned(kib).await;
        let (Ok(place), Ok(kib)) = (place, kib) else {
            return Err(Ended);
        };
        let mut state = self.state.lock();
        if state.ended {
            return Err(Ended);
        }
        let (pending, sequence) = state.begin(request.len(), Some((place, kib)));
        state.out.push(Kind::Request, sequence, request);
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
        Ok(pending)
    }

    /// Asks for a sign of life, unless one is asked for already.
    pub(crate) fn ping(&self) {
        let mut state = self.state.lock();
        if state.ended || state.ping.is_some() {
            return;
        }
        state.pings += 1;
        state.ping = Some(state.pings);
        state.queued += HEADER_SIZE as u64;
        let sequence = state.pings;
        state.out.push(Kind::Ping, sequence, Bytes::new());
        let driver = state.driver.take();
        drop(state);
        if let Some(driver) = driver {
            driver.wake();
        }
    }

    /// False if this answers no ping.
    fn on_pong(&self, sequence: u64) -> bool {
        let mut state = self.state.lock();
        let known = state.ping == Some(sequence);
        if known {
            state.ping = None;
        }
        known
    }

    /// Changes whenever the peer is heard.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// The calls that wait, where that is noted.
    pub(crate) fn asked(&self) -> &Asked {
        &self.asked
    }

    /// Exchanges an empty outbox for what is queued; false if nothing is: then `waker` is woken when that changes.
    fn take_out(&self, out: &mut Outbox, waker: &Waker) -> bool {
        let mut state = self.state.lock();
        if state.out.is_empty() {
            match &state.driver {
                Some(driver) if driver.will_wake(waker) => {}
                _ => state.driver = Some(waker.clone()),
            }
            return false;
        }
        out.exchange(&mut state.out);
        true
    }

    fn is_pending(&self, sequence: u64) -> bool {
        self.state.lock().calls.contains_key(&sequence)
    }

    fn answer(&self, sequence: u64, bytes: Bytes) -> bool {
        let call = self.state.lock().finish(sequence);
        let known = call.is_some();
        if let Some(call) = call {
            // Its caller may have been dropped.
            let _ = call.answer.send(Ok(bytes));
        }
        known
    }

    /// Calls without a response, and requests ever made.
    fn usage(&self) -> (usize, u64) {
        let state = self.state.lock();
        (state.calls.len(), state.sequence)
    }

    /// `sent`: bytes that the stream has taken.
    fn end(&self, why: &dyn std::fmt::Display, sent: u64) {
        let calls = {
            let mut state = self.state.lock();
            state.ended = true;
            self.open.store(false, Ordering::Release);
            state.out = Outbox::default();
            state.driver = None;
            std::mem::take(&mut state.calls)
        };
        self.places.close();
        self.kib.close();
        for call in calls.into_values() {
            let text = format!("connection to {} ended: {why}", self.addr);
            let error = match call.end > sent {
                true => PeerError::Unreachable(text),
                false => PeerError::Failed(text),
            };
            let _ = call.answer.send(Err(error));
        }
    }
}

impl State {
    /// Notes a request of `size` bytes that is about to be queued.
    fn begin(
        &mut self,
        size: usize,
        room: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
    ) -> (Pending, u64) {
        let (answer, pending) = oneshot::channel();
        self.sequence += 1;
        self.held += size;
        self.queued += (HEADER_SIZE + size) as u64;
        let call = Call {
            answer,
            size,
            end: self.queued,
            _room: room,
        };
        self.calls.insert(self.sequence, call);
        (pending, self.sequence)
    }

    fn finish(&mut self, sequence: u64) -> Option<Call> {
        let call = self.calls.remove(&sequence)?;
        self.held -= call.size;
        Some(call)
    }
}

/// The half that works. Dropping it ends the connection and all its calls.
pub(crate) struct Driver<S> {
    env: Env,
    io: S,
    conn: Arc<Conn>,
    decoder: Decoder,
    out: Outbox,
    received: u64,
    frames: u64,
    silence: Pulse,
    stuck_in: Pulse,
    stuck_out: Pulse,
    idle: Pulse,
    /// Silent rounds after which the peer is given up.
    dead_after: u32,
}

impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        self.conn.end(&"let go", self.out.sent());
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    /// Gives the peer up after `rounds` silent seconds.
    pub(crate) fn patient(mut self, rounds: u32) -> Driver<S> {
        self.dead_after = rounds;
        self
    }

    /// Runs until the connection ends; `idle` is how long it may be without calls.
    pub(crate) async fn run(mut self, idle: Option<Duration>) -> End {
        let idle = idle.map_or(u32::MAX, pulse::rounds);
        let env = self.env.clone();
        let end = loop {
            tokio::select! {
                biased;
                end = std::future::poll_fn(|cx| self.poll_io(cx)) => break end,
                () = env.sleep(pulse::ROUND) => {
                    if let Err(end) = self.on_round(idle) {
                        break end;
                    }
                }
            }
        };
        self.conn.end(&end, self.out.sent());
        end
    }

    fn on_round(&mut self, idle: u32) -> Result<(), End> {
        let (calls, requests) = self.conn.usage();
        if self.stuck_out.round(!self.out.is_empty(), self.out.sent()) >= pulse::STUCK_AFTER
            || self.stuck_in.round(self.decoder.is_amid(), self.frames) >= pulse::STUCK_AFTER
        {
            return Err(End::Stuck);
        }
        if self.idle.round(calls == 0, requests) >= idle {
            return Err(End::Idle);
        }
        let silent = self.silence.round(true, self.received);
        if silent >= self.dead_after {
            return Err(End::Silent);
        }
        if silent >= pulse::PING_AFTER {
            self.conn.ping();
        }
        Ok(())
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        match self.receive(cx).and_then(|()| self.poll_send(cx)) {
            Ok(()) => Poll::Pending,
            Err(end) => Poll::Ready(end),
        }
    }

    /// Sends what there is. Afterwards either the stream or a caller wakes the task.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        loop {
            match self.out.poll_send(&mut self.io, cx) {
                Poll::Ready(sent) => sent?,
                Poll::Pending => return Ok(()),
            }
            if !self.conn.take_out(&mut self.out, cx.waker()) {
                return Ok(());
            }
        }
    }

    /// Takes what has arrived. Afterwards the stream wakes the task, or it is woken already.
    fn receive(&mut self, cx: &mut Context<'_>) -> Result<(), End> {
        for _ in 0..READS_MAX {
            while let Some(frame) = self.decoder.next()? {
                self.on_frame(frame)?;
            }
            if let Some(header) = self.decoder.arriving()?
                && header.kind == Kind::Response
                && !self.conn.is_pending(header.sequence)
            {
                return Err(End::Violation("a response to nothing"));
            }
            match self.decoder.poll_fill(&mut self.io, cx) {
                Poll::Ready(Ok(0)) => return Err(End::Closed),
                Poll::Ready(Ok(len)) => {
                    self.received = self.received.wrapping_add(len as u64);
                    self.conn.heard.store(self.received, Ordering::Relaxed);
                }
                Poll::Ready(Err(err)) => return Err(err.into()),
                Poll::Pending => return Ok(()),
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    fn on_frame(&mut self, frame: Frame) -> Result<(), End> {
        self.frames = self.frames.wrapping_add(1);
        match frame.kind {
            Kind::Response if self.conn.answer(frame.sequence, frame.bytes) => Ok(()),
            Kind::Response => Err(End::Violation("a response to nothing")),
            Kind::Pong if self.conn.on_pong(frame.sequence) => Ok(()),
            Kind::Pong => Err(End::Violation("an answer to no ping")),
            // The peer lives but does not read for now.
            Kind::Ping => Ok(()),
            Kind::Request | Kind::Piece | Kind::End => {
                Err(End::Violation("a frame that only dialers send"))
            }
        }
    }
}

// A request and its header are counted as its KiB, rounded up; headers of empty ones do not add up to anything.
const _: () = assert!(IN_FLIGHT_MAX * HEADER_SIZE < 1 << 20);
