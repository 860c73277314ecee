//! The accepting side of the peer protocol: the hello, then calls, of peers or of the server RPC; snapshots are in
//! [`receive`](super::receive).
//!
//! One task per connection does everything: it reads requests, polls the handler's futures for them, and writes what they
//! yield. A request that is answered without waiting costs no switch of tasks, and answers that are ready together go out
//! in one write.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{FuturesUnordered, Stream};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tribune_rt::Env;

use super::frame::{Decoder, Frame, FrameError, HEADER_SIZE, Header, Kind, MESSAGE_MAX};
use super::hello::{Answer, FIRST_BYTE, HELLO_SIZE, Hello, HelloError, Purpose, VERSION, Verdict};
use super::outbox::Outbox;
use super::pulse::{self, Pulse};
use super::service::{Answered, Call, Served, Service};
use super::{PeerHandler, PeerId, receive, rpc};
use crate::Handler;
use crate::budget::Budget;
use crate::limits::{ByAddress, PerAddress, Permit};

/// Connections of peers per address.
pub(crate) const CONNS_PER_ADDR_MAX: usize = 128;
/// Bytes of requests being served, per connection; reading waits beyond it.
const HELD_MAX: usize = 32 << 20;
/// Bytes of answers not yet sent, per connection; answers wait beyond it.
const OUT_MAX: usize = 1 << 20;
/// Larger requests draw on the share of their address, for all of the message before its bytes are read; so two half-sent
/// messages cannot wait for each other.
const LARGE: usize = 256 << 10;
/// The share of one address, in KiB.
const SHARE_KIB: usize = 128 << 10;
/// Reads in a row before other tasks get a turn.
const READS_MAX: usize = 32;
/// Answers in a row before they are sent and other tasks get a turn.
const ANSWERS_MAX: usize = 64;

const _: () = assert!(MESSAGE_MAX >> 10 <= SHARE_KIB);

/// Why a connection ended other than by its peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServeError {
    /// No hello in time.
    #[error("no hello in time")]
    NoHello,
    /// Not a hello.
    #[error(transparent)]
    Hello(#[from] HelloError),
    /// Another server is meant.
    #[error("hello to server {0}, which is not this one")]
    OtherServer(PeerId),
    /// Too many connections of the address.
    #[error("too many connections of peers from this address")]
    Busy,
    /// A rule was broken.
    #[error("peer broke the protocol: {0}")]
    Violation(&'static str),
    /// A rule was broken.
    #[error("peer broke the protocol: {0}")]
    Frame(#[from] FrameError),
    /// Nothing was heard for too long.
    #[error("peer is silent")]
    Silent,
    /// A message began and did not end, or an answer was not taken.
    #[error("peer takes or sends only a part")]
    Stuck,
    /// The handler's answer is too large to be sent.
    #[error("answer of {0} bytes is too large")]
    Answer(usize),
    /// The stream failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl ServeError {
    /// True if the peer did something that no server does, or was turned away.
    pub(crate) fn is_refusal(&self) -> bool {
        !matches!(
            self,
            ServeError::Silent | ServeError::Answer(_) | ServeError::Io(_)
        )
    }
}

/// What all peer connections of a port share.
pub(crate) struct PeerPort {
    handler: Arc<dyn PeerHandler>,
    rpc: Arc<dyn Handler>,
    conns: PerAddress,
    /// Connections for the server RPC.
    rpc_conns: PerAddress,
    /// Memory for large messages, in KiB.
    shares: ByAddress<Semaphore>,
}

/// A connection that was let in.
pub(crate) struct Guest {
    from: PeerId,
    addr: SocketAddr,
    purpose: Purpose,
    share: Arc<Semaphore>,
    _permit: Permit,
}

impl Guest {
    /// It comes for consensus, not with calls of the server RPC.
    pub(crate) fn is_for_raft(&self) -> bool {
        matches!(self.purpose, Purpose::Calls | Purpose::Snapshot)
    }
}

impl PeerPort {
    /// A port whose requests go to `handler`, and calls of the server RPC to `rpc`, for which an address may have
    /// `rpc_conns_max` connections; 0 is no limit.
    pub(crate) fn new(
        handler: Arc<dyn PeerHandler>,
        rpc: Arc<dyn Handler>,
        rpc_conns_max: usize,
    ) -> PeerPort {
        PeerPort {
            handler,
            rpc,
            conns: PerAddress::new(CONNS_PER_ADDR_MAX),
            rpc_conns: PerAddress::new(rpc_conns_max),
            shares: ByAddress::default(),
        }
    }

    /// Hears the hello, whose first byte has been read, and answers it.
    ///
    /// # Errors
    /// The peer is not let in, and knows why if its hello was one.
    pub(crate) async fn admit(
        &self,
        env: &Env,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        addr: SocketAddr,
        limit: Duration,
    ) -> Result<Guest, ServeError> {
        env.timeout(limit, async {
            let mut bytes = [0; HELLO_SIZE];
            bytes[0] = FIRST_BYTE;
            stream.read_exact(&mut bytes[1..]).await?;
            let own = self.handler.own_id();
            let judged = self.judge(&bytes, own, addr);
            let verdict = match &judged {
                Ok(_) => Verdict::Welcome,
                Err(ServeError::Hello(HelloError::Version(_))) => Verdict::Version,
                Err(ServeError::Hello(HelloError::Purpose(_))) => Verdict::Purpose,
                Err(ServeError::OtherServer(_)) => Verdict::OtherServer,
                Err(ServeError::Busy) => Verdict::Busy,
                Err(_) => return judged,
            };
            let answer = Answer {
                version: VERSION,
                verdict,
                from: own,
            };
            stream.write_all(&answer.encode()).await?;
            stream.flush().await?;
            judged
        })
        .await
        .map_err(|_| ServeError::NoHello)?
    }

    fn judge(
        &self,
        bytes: &[u8; HELLO_SIZE],
        own: PeerId,
        addr: SocketAddr,
    ) -> Result<Guest, ServeError> {
        let hello = Hello::decode(bytes)?;
        if hello.target != own {
            return Err(ServeError::OtherServer(hello.target));
        }
        let conns = match hello.purpose {
            Purpose::Calls | Purpose::Snapshot => &self.conns,
            Purpose::Rpc => &self.rpc_conns,
        };
        let permit = conns.admit(addr.ip()).ok_or(ServeError::Busy)?;
        Ok(Guest {
            from: hello.from,
            addr,
            purpose: hello.purpose,
            share: self.shares.share(addr.ip(), || Semaphore::new(SHARE_KIB)),
            _permit: permit,
        })
    }

    /// Serves a connection until it ends. `limit` is the time for all of a message, and for the peer to take something;
    /// `budget` what calls of the server RPC may make this process hold.
    ///
    /// # Errors
    /// It did not end by a close of the peer.
    pub(crate) async fn serve(
        &self,
        env: &Env,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send,
        guest: &Guest,
        limit: Duration,
        budget: &Budget,
    ) -> Result<(), ServeError> {
        let handler = &*self.handler;
        let service = match guest.purpose {
            Purpose::Snapshot => {
                return receive::receive(env, handler, guest.from, stream, limit).await;
            }
            Purpose::Calls => Service::Peers(handler),
            Purpose::Rpc => Service::Rpc(&*self.rpc, budget),
        };
        Calls::new(service, stream, guest).run(env, limit).await
    }
}

/// Memory for a large message: waited for, then held.
#[derive(Default)]
enum Draw {
    #[default]
    None,
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    Drawn(OwnedSemaphorePermit),
}

/// A connection with calls.
struct Calls<'a, S> {
    service: Service<'a>,
    guest: &'a Guest,
    io: S,
    decoder: Decoder,
    out: Outbox,
    running: FuturesUnordered<Call<'a>>,
    /// Bytes of the requests that are running.
    held: usize,
    /// Bytes that were received and not given back, headers included.
    charged: usize,
    draw: Draw,
    /// Of the last request.
    sequence: u64,
    received: u64,
    frames: u64,
    /// Not reading, for want of room.
    paused: bool,
    silence: Pulse,
    stuck_in: Pulse,
    stuck_out: Pulse,
}

/// What came of reading.
#[derive(PartialEq, Eq)]
enum Read {
    /// The stream wakes the task, or it is woken already.
    Waiting,
    /// There is no room for more.
    Paused,
    /// The peer has closed.
    Closed,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Calls<'a, S> {
    fn new(service: Service<'a>, io: S, guest: &'a Guest) -> Calls<'a, S> {
        Calls {
            service,
            guest,
            io,
            decoder: Decoder::default(),
            out: Outbox::default(),
            running: FuturesUnordered::new(),
            held: 0,
            charged: 0,
            draw: Draw::None,
            sequence: 0,
            received: 0,
            frames: 0,
            paused: false,
            silence: Pulse::default(),
            stuck_in: Pulse::default(),
            stuck_out: Pulse::default(),
        }
    }

    async fn run(mut self, env: &Env, limit: Duration) -> Result<(), ServeError> {
        let limit = pulse::rounds(limit);
        loop {
            tokio::select! {
                biased;
                ended = std::future::poll_fn(|cx| self.poll_io(cx)) => return ended,
                () = env.sleep(pulse::ROUND) => self.on_round(limit)?,
            }
        }
    }

    fn on_round(&mut self, limit: u32) -> Result<(), ServeError> {
        if self.stuck_out.round(!self.out.is_empty(), self.out.sent()) >= limit {
            return Err(ServeError::Stuck);
        }
        // What we do not read cannot be complete, and is not silence.
        let amid = self.decoder.is_amid() && !self.paused;
        if self.stuck_in.round(amid, self.frames) >= limit {
            return Err(ServeError::Stuck);
        }
        if self.silence.round(!self.paused, self.received) >= pulse::FORGOTTEN_AFTER {
            return Err(ServeError::Silent);
        }
        if self.paused && self.out.is_empty() {
            // Pings of the peer wait to be read, too; it must not take us for dead.
            self.out.push(Kind::Ping, 0, Bytes::new());
        }
        Ok(())
    }

    fn poll_io(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ServeError>> {
        loop {
            let read = self.read(cx)?;
            if read == Read::Closed {
                return Poll::Ready(Ok(()));
            }
            self.paused = read == Read::Paused;
            let full = self.poll_running(cx)?;
            if let Poll::Ready(sent) = self.out.poll_send(&mut self.io, cx) {
                sent?;
                if full {
                    // More answers may be ready, and nobody else would look.
                    continue;
                }
            }
            if self.paused && self.has_room(cx) && !matches!(self.draw, Draw::Waiting(_)) {
                continue;
            }
            return Poll::Pending;
        }
    }

    fn has_room(&self, cx: &Context<'_>) -> bool {
        self.running.len() < self.service.in_flight_max()
            && self.held < HELD_MAX
            && self.out.size() < OUT_MAX
            && self.service.has_room_or_wake(cx)
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Result<Read, ServeError> {
        for _ in 0..READS_MAX {
            loop {
                if !self.has_room(cx) {
                    return Ok(Read::Paused);
                }
                if let Some(header) = self.decoder.arriving()? {
                    self.check(header)?;
                    if self.poll_draw(header, cx).is_pending() {
                        return Ok(Read::Paused);
                    }
                }
                match self.decoder.next()? {
                    Some(frame) => self.on_frame(frame),
                    None => break,
                }
            }
            match self.decoder.poll_fill(&mut self.io, cx) {
                Poll::Ready(Ok(0)) => return Ok(Read::Closed),
                Poll::Ready(Ok(len)) => {
                    self.received = self.received.wrapping_add(len as u64);
                    self.charged += len;
                    self.service.charge(len);
                }
                Poll::Ready(Err(err)) => return Err(err.into()),
                Poll::Pending => return Ok(Read::Waiting),
            }
        }
        cx.waker().wake_by_ref();
        Ok(Read::Waiting)
    }

    /// Whether the next frame may come, before its bytes are waited for.
    fn check(&self, header: Header) -> Result<(), ServeError> {
        match header.kind {
            Kind::Request if header.length as usize > self.service.request_max() => {
                Err(ServeError::Violation("a call that is too large"))
            }
            Kind::Request if header.sequence == self.sequence.wrapping_add(1) => Ok(()),
            Kind::Request => Err(ServeError::Violation("sequence does not follow")),
            Kind::Ping => Ok(()),
            Kind::Response | Kind::Pong => Err(ServeError::Violation("an answer to nothing")),
            Kind::Piece | Kind::End => Err(ServeError::Violation("a snapshot among calls")),
        }
    }

    /// Draws memory for the next frame, if it is large.
    fn poll_draw(&mut self, header: Header, cx: &mut Context<'_>) -> Poll<()> {
        if header.length as usize <= LARGE {
            return Poll::Ready(());
        }
        loop {
            match &mut self.draw {
                Draw::Drawn(_) => return Poll::Ready(()),
                Draw::None => {
                    let share = Arc::clone(&self.guest.share);
                    let kib = header.length.div_ceil(1 << 10);
                    self.draw =
                        Draw::Waiting(Box::pin(
                            async move { share.acquire_many_owned(kib).await.ok() },
                        ));
                }
                Draw::Waiting(waiting) => match waiting.as_mut().poll(cx) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Some(permit)) => self.draw = Draw::Drawn(permit),
                    // Shares are never closed.
                    Poll::Ready(None) => return Poll::Ready(()),
                },
            }
        }
    }

    fn on_frame(&mut self, frame: Frame) {
        self.frames = self.frames.wrapping_add(1);
        if frame.kind != Kind::Request {
            self.out.push(Kind::Pong, frame.sequence, Bytes::new());
            self.give_back(HEADER_SIZE);
            return;
        }
        self.sequence = frame.sequence;
        let drawn = match std::mem::take(&mut self.draw) {
            Draw::Drawn(permit) => Some(permit),
            Draw::None | Draw::Waiting(_) => None,
        };
        let size = frame.bytes.len();
        self.held += size;
        let (from, addr) = (self.guest.from, self.guest.addr);
        let serving = self.service.call(from, addr, frame.bytes);
        let call = Call::new(frame.sequence, size, serving, drawn);
        self.running.push(call);
    }

    fn give_back(&mut self, len: usize) {
        self.charged -= len;
        self.service.release(len);
    }

    /// Takes answers; true if it stopped because there are enough.
    fn poll_running(&mut self, cx: &mut Context<'_>) -> Result<bool, ServeError> {
        for _ in 0..ANSWERS_MAX {
            if self.out.size() >= OUT_MAX {
                return Ok(true);
            }
            match Pin::new(&mut self.running).poll_next(cx) {
                Poll::Ready(Some(served)) => self.on_served(served)?,
                Poll::Ready(None) | Poll::Pending => return Ok(false),
            }
        }
        cx.waker().wake_by_ref();
        Ok(false)
    }

    fn on_served(&mut self, served: Served) -> Result<(), ServeError> {
        let Served {
            sequence,
            size,
            answer,
        } = served;
        self.held -= size;
        self.give_back(HEADER_SIZE + size);
        let kind = Kind::Response;
        match answer {
            Answered::Peer(bytes) if bytes.len() > MESSAGE_MAX => {
                return Err(ServeError::Answer(bytes.len()));
            }
            Answered::Peer(bytes) => self.out.push(kind, sequence, bytes),
            Answered::Rpc(Some(rpc::Answer { verdict, bytes })) => {
                self.out.push_with(kind, sequence, &[verdict], bytes);
            }
            Answered::Rpc(None) => return Err(ServeError::Violation("not a call")),
        }
        Ok(())
    }
}

impl<S> Drop for Calls<'_, S> {
    fn drop(&mut self) {
        self.service.release(self.charged);
    }
}
