//! One connection to a server: its streams, the calls on them, and its end when it is idle.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::Notify;
use tracing::debug;
use tribune_rt::Env;
use tribune_rt::net::TcpStream;
use tribune_types::time::Mono;
use tribune_wire::rpc::{ResponseHeader, write_passed_on_header, write_request_header};

use super::PoolOptions;
use super::error::{CallError, Lost, NotSent};
use super::slot::Link;
use super::vigil::{self, Asked, Silent, Voice};
use crate::budget::Budget;
use crate::connection::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, MULTIPLEXED_RPC};
use crate::message::{Inbox, MessageError};
use crate::peers::rpc::Request;
use crate::yamux::{self, Role, Session, Stream};

/// Bytes of replies held while their callers do not read them.
const BUFFERED_MAX: usize = 32 << 20;
/// Time for all of a reply once it has begun.
const REPLY_TIMEOUT: Duration = Duration::from_secs(60);
/// Streams open at a time; callers wait beyond it.
const STREAMS_MAX: usize = 1 << 16;

/// A connection.
pub(super) struct Conn {
    env: Env,
    options: PoolOptions,
    session: Session,
    budget: Arc<Budget>,
    use_: Mutex<Use>,
    asked: Asked,
    /// A call has ended and none is left.
    idle: Notify,
}

struct Use {
    streams: Vec<Stream>,
    calls: usize,
    idle_since: Mono,
}

/// Dials. The second half of the result must run for anything to happen, and ends with the connection.
pub(super) async fn dial(
    env: &Env,
    addr: SocketAddr,
    options: &PoolOptions,
    silent: &Arc<Silent>,
) -> Result<(Arc<Conn>, impl Future<Output = ()> + Send + 'static), NotSent> {
    let stream = connect(env, addr, options.dial_timeout, MULTIPLEXED_RPC).await?;
    let budget = Arc::new(Budget::new(BUFFERED_MAX));
    let keep_alive = yamux::KeepAlive {
        every: options.ping_every,
        within: options.ping_within,
    };
    let (session, driver) = yamux::session(
        env,
        stream,
        Role::Dialer,
        Arc::clone(&budget),
        STREAMS_MAX,
        keep_alive,
    );
    let conn = Arc::new(Conn {
        env: env.clone(),
        options: options.clone(),
        session,
        budget,
        use_: Mutex::new(Use {
            streams: Vec::new(),
            calls: 0,
            idle_since: env.mono(),
        }),
        asked: Asked::default(),
        idle: Notify::new(),
    });
    let (kept, silent) = (Arc::clone(&conn), Arc::clone(silent));
    let running = async move {
        let mut driver = std::pin::pin!(driver.run(drop));
        let heed = kept.options.heed.as_ref();
        let ended = tokio::select! {
            biased;
            ended = &mut driver => ended,
            () = kept.close_when_idle() => driver.await,
            never = vigil::keep(&kept.env, &*kept, addr, heed, &silent) => match never {},
        };
        // Idle streams hold on to the connection's state.
        kept.use_.lock().streams = Vec::new();
        if let Err(err) = ended {
            debug!(%addr, %err, "connection to a server ended");
        }
    };
    Ok((conn, running))
}

/// Connects within `limit` and says with the `first` byte what the connection is for.
pub(crate) async fn connect(
    env: &Env,
    addr: SocketAddr,
    limit: Duration,
    first: u8,
) -> Result<TcpStream, NotSent> {
    let failed =
        |err: &dyn std::fmt::Display| NotSent::Dial(format!("dial tcp {addr}: {err}").into());
    let connected = env.timeout(limit, async {
        let mut stream = TcpStream::connect(env, addr).await?;
        stream.set_nodelay(true)?;
        stream.set_keepalive(KEEPALIVE_IDLE, KEEPALIVE_INTERVAL)?;
        stream.write_all(&[first]).await?;
        Ok::<_, io::Error>(stream)
    });
    match connected.await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(err)) if err.kind() == io::ErrorKind::ConnectionRefused => {
            Err(failed(&"connect: connection refused"))
        }
        Ok(Err(err)) => Err(failed(&err)),
        Err(_) => Err(failed(&"i/o timeout")),
    }
}

impl Link for Conn {
    fn is_open(&self) -> bool {
        self.session.is_open()
    }
}

impl Voice for Conn {
    fn heard(&self) -> u64 {
        self.session.heard()
    }

    fn ping(&self) {
        self.session.ping();
    }

    fn asked(&self) -> &Asked {
        &self.asked
    }
}

impl Conn {
    /// Makes a call on a stream of its own.
    pub(super) async fn call(
        &self,
        seq: u64,
        call: Request<'_>,
        deadline: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let _counted = self.count();
        let _owed = vigil::begin(&self.asked, self.options.heed.as_ref(), deadline);
        let mut stream = self.stream().await?;
        let mut request = Vec::with_capacity(80 + call.body.len());
        match call.passed_on {
            false => write_request_header(&mut request, seq, call.method),
            true => write_passed_on_header(&mut request, seq, call.method),
        }
        request.extend_from_slice(call.body);
        // A timeout around it would take twice the room, in every call that waits.
        let outcome = tokio::select! {
            biased;
            outcome = self.exchange(&mut stream, seq, request) => Some(outcome),
            () = self.env.sleep(deadline) => None,
        };
        match outcome {
            Some(Ok(reply)) => {
                self.give_back(stream);
                Ok(reply)
            }
            Some(Err(err)) => {
                // After an error reply the stream is at rest but not used again.
                stream.set_clean(matches!(err, CallError::Remote(_)));
                Err(err)
            }
            None => Err(CallError::FateUnknown(Lost::Deadline)),
        }
    }

    async fn exchange(
        &self,
        stream: &mut Stream,
        seq: u64,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, CallError> {
        let mut rest = &request[..];
        while !rest.is_empty() {
            match stream.write(rest).await {
                Ok(len) => rest = &rest[len..],
                Err(_) if rest.len() == request.len() => {
                    return Err(CallError::NotSent(NotSent::Session));
                }
                Err(err) => return Err(CallError::FateUnknown(broken(&err))),
            }
        }
        drop(request);
        let mut inbox = Inbox::new(Arc::clone(&self.budget));
        let reply_max = self.options.reply_max;
        let message = inbox
            .message(&self.env, stream, reply_max, REPLY_TIMEOUT)
            .await;
        let (header_len, body_len) = match message {
            Ok(Some(lengths)) => lengths,
            // The connection ended with the last of the request still here: nobody can have served it.
            Ok(None) | Err(MessageError::Io(_)) if !stream.was_sent() => {
                return Err(CallError::NotSent(NotSent::Session));
            }
            Ok(None) => return Err(CallError::FateUnknown(Lost::Eof)),
            Err(MessageError::Io(err)) => return Err(CallError::FateUnknown(broken(&err))),
            Err(MessageError::Slow(_)) => return Err(CallError::FateUnknown(Lost::Deadline)),
            Err(err) => return Err(unreadable(&err)),
        };
        let header =
            ResponseHeader::decode(&inbox.bytes()[..header_len]).map_err(|err| unreadable(&err))?;
        if header.seq != seq {
            return Err(unreadable(&"rpc: reply to another call"));
        }
        if !header.error.is_empty() {
            return Err(CallError::Remote(header.error.to_string()));
        }
        if inbox.bytes().len() != header_len + body_len {
            return Err(unreadable(&"rpc: bytes after the reply"));
        }
        let mut bytes = inbox.into_bytes();
        Ok(bytes.split_off(header_len).into())
    }

    /// An idle stream, or a new one.
    async fn stream(&self) -> Result<Stream, CallError> {
        loop {
            let idle = self.use_.lock().streams.pop();
            match idle {
                Some(mut stream) if stream.is_usable() => {
                    stream.set_clean(false);
                    return Ok(stream);
                }
                Some(_) => {}
                None => break,
            }
        }
        self.session
            .open()
            .await
            .map_err(|_| CallError::NotSent(NotSent::Session))
    }

    fn give_back(&self, mut stream: Stream) {
        stream.set_clean(true);
        if !stream.is_usable() {
            return;
        }
        let mut used = self.use_.lock();
        if used.streams.len() < self.options.idle_streams_max {
            used.streams.push(stream);
        } else {
            drop(used);
            drop(stream);
        }
    }

    fn count(&self) -> Counted<'_> {
        self.use_.lock().calls += 1;
        Counted(self)
    }

    /// Closes the session once no call was on it for the idle time.
    async fn close_when_idle(&self) {
        loop {
            let (calls, since) = {
                let used = self.use_.lock();
                (used.calls, used.idle_since)
            };
            let deadline = since + self.options.idle_timeout;
            if calls > 0 {
                self.idle.notified().await;
            } else if self.env.mono() >= deadline {
                // A call that comes between is told that it was not sent, and dials anew.
                self.session.close();
                return;
            } else {
                self.env.sleep_until(deadline).await;
            }
        }
    }
}

/// Counts a call while it lives.
struct Counted<'a>(&'a Conn);

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let mut used = self.0.use_.lock();
        used.calls -= 1;
        if used.calls == 0 {
            used.idle_since = self.0.env.mono();
            self.0.idle.notify_one();
        }
    }
}

fn broken(err: &io::Error) -> Lost {
    match err.kind() {
        io::ErrorKind::ConnectionReset => Lost::Broken("stream reset".to_owned()),
        io::ErrorKind::BrokenPipe => Lost::Broken("stream closed".to_owned()),
        io::ErrorKind::NotConnected => Lost::Broken("session shutdown".to_owned()),
        _ => Lost::Broken(err.to_string()),
    }
}

fn unreadable(err: &dyn std::fmt::Display) -> CallError {
    CallError::FateUnknown(Lost::Reply(err.to_string()))
}
