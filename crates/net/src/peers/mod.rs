//! The peer protocol: how the servers of a datacenter talk to one another, beside the RPC that clients speak.
//!
//! The first byte 0x54 (`T`) on the server port selects it. Both sides then say who they are, and whom they mean:
//!
//! ```text
//! dialer    "TRIB" | version u8 = 1 | purpose u8 | own id [16] | id of the server that is meant [16]
//! acceptor  "TRIB" | version u8 = 1 | verdict u8 | own id [16]
//! ```
//!
//! The first byte is the `T` of the dialer's magic. Purposes: 1 calls, 2 one snapshot, 3 calls of the server RPC. Verdicts: 0 welcome, 1 another server lives
//! here, 2 version not spoken (the acceptor's own stands in its answer), 3 purpose not known, 4 too many connections. After
//! any but 0 the acceptor closes. From then on both sides send frames (integers are big endian):
//!
//! ```text
//! length u32 | sequence u64 | kind u8 | bytes, `length` of them
//! ```
//!
//! | kind | sent by | sequence | bytes |
//! | --- | --- | --- | --- |
//! | 1 request | dialer | calls: 1, 2, 3 and so on; snapshot: 0 | opaque, up to 64 MiB; header of a snapshot: 1 MiB; RPC: see [`rpc`], up to 256 KiB |
//! | 2 response | acceptor | that of the request | opaque, up to 64 MiB; RPC: see [`rpc`] |
//! | 3 ping | dialer of calls; any acceptor | any | none |
//! | 4 pong | acceptor of calls | that of the ping | none |
//! | 5 piece | dialer of a snapshot | 1, 2, 3 and so on | up to 256 KiB, at least 1 |
//! | 6 end | dialer of a snapshot | follows the last piece | none |
//!
//! Responses come in any order. Whatever breaks these rules ends the connection: a sequence that does not follow, a
//! response to nothing, a length beyond its bound. What a frame means is not known here.
//!
//! Calls of the server RPC are those that others make on streams of the same port: requests that servers pass on to their
//! leader, and those of client agents that ask much. They have a connection of their own, so that calls which wait hold up
//! no vote and no heartbeat. Any agent may make them; a server that does not serve them says so (verdict 3), and there are
//! the streams.
//!
//! A snapshot has a connection of its own, so that it holds up no calls; without its end frame it is not whole. While the
//! acceptor works on it, or reads no further calls for want of room, it pings every second so that the dialer can tell work
//! from death; those pings are not answered.
//!
//! Bounds, per connection: 256 calls in flight, on both sides (RPC: 512); 32 MiB of requests that are being served, beyond which reading waits;
//! 1 MiB of responses that the peer does not take. Per address: [`serve::CONNS_PER_ADDR_MAX`] connections, and 128 MiB for
//! messages larger than 256 KiB. Memory is taken as bytes arrive, never for a length that was only announced. A frame that
//! has begun must be complete, and a response taken, within the port's message timeout. A dialer pings when it has heard nothing for two
//! seconds, and gives the connection up three seconds later (RPC: eight); an acceptor gives up after thirty silent seconds.
//! Connections for the RPC count apart from those of servers, up to the number that the port allows an address otherwise, and
//! what they have received counts with the rest of what the address sent.
//!
//! Identities are claims, not proofs: whoever can reach the port can claim any. TLS will change that; the code here works
//! on any stream.

pub(crate) mod conn;
pub(crate) mod dial;
pub(crate) mod frame;
pub(crate) mod hello;
mod outbox;
mod pulse;
mod receive;
pub(crate) mod rpc;
mod send;
pub(crate) mod serve;
mod service;
mod slot;
#[cfg(test)]
mod tests;
mod watch;

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncRead;
use tracing::debug;
use tribune_rt::{Env, TaskGroup};

use conn::Conn;
use frame::MESSAGE_MAX;
use hello::Purpose;
use slot::{Next, Slot};

/// Who a server is: its node id, which stays the same whatever address it has.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 16]);

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a peer gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// There is no connection: the peer has seen nothing of the request.
    #[error("peer is unreachable: {0}")]
    Unreachable(String),
    /// The connection broke or the answer did not come in time: the peer may or may not have acted.
    #[error("peer did not answer: {0}")]
    Failed(String),
}

/// How a process is known to have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// Nobody listens at its address any more.
    Refused,
    /// Another server answers there.
    Replaced(PeerId),
}

/// Serves what peers ask for.
pub trait PeerHandler: Send + Sync + 'static {
    /// Who this server is. Peers that mean another one are turned away.
    fn own_id(&self) -> PeerId;

    /// Serves one request. Many are served at a time, all in the task of their connection: whatever takes long belongs
    /// elsewhere. Dropped when the connection ends.
    fn call<'a>(
        &'a self,
        from: PeerId,
        addr: SocketAddr,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>>;

    /// Takes a snapshot. `body` ends where it is whole; if it is cut, reading fails. The answer may be given before all of
    /// it was read.
    fn snapshot<'a>(
        &'a self,
        from: PeerId,
        header: Bytes,
        body: &'a mut (dyn AsyncRead + Send + Unpin),
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>>;
}

/// How connections to peers are made and kept.
#[derive(Debug, Clone)]
pub struct PeerOptions {
    /// Time for a connection to come about, hello included. Default 2 s.
    pub dial_timeout: Duration,
    /// How long a connection without calls is kept. Default 5 min.
    pub idle_timeout: Duration,
}

impl Default for PeerOptions {
    fn default() -> PeerOptions {
        PeerOptions {
            dial_timeout: Duration::from_secs(2),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

/// The connections of a server to its peers. Cheap to clone.
#[derive(Clone)]
pub struct Peers(Arc<Inner>);

struct Inner {
    env: Env,
    group: TaskGroup,
    own: PeerId,
    options: PeerOptions,
    slots: Mutex<BTreeMap<(SocketAddr, PeerId), Arc<Slot>>>,
}

/// Slots kept before those that nobody needs are looked for.
const SLOTS_SWEEP: usize = 64;

impl Peers {
    /// Without connections yet. Those that calls make are tasks of `group` and end with it.
    pub fn new(env: &Env, group: &TaskGroup, own: PeerId, options: PeerOptions) -> Peers {
        Peers(Arc::new(Inner {
            env: env.clone(),
            group: group.clone(),
            own,
            options,
            slots: Mutex::default(),
        }))
    }

    /// Sends a request to `target` at `addr` and waits for the answer, for `limit` in all. Requests of an address share one
    /// connection and are answered in any order; callers that find none share one dial. After a failed dial there is a
    /// pause (10 ms, doubling up to 1 s) in which calls fail with the same error at once.
    ///
    /// Cancel safe: dropping the call changes nothing for others. The peer may serve it all the same.
    ///
    /// # Errors
    /// [`PeerError`] tells whether the peer may have acted.
    pub async fn call(
        &self,
        target: PeerId,
        addr: SocketAddr,
        request: Bytes,
        limit: Duration,
    ) -> Result<Bytes, PeerError> {
        if request.len() > MESSAGE_MAX {
            let text = format!("a request of {} bytes is too large", request.len());
            return Err(PeerError::Failed(text));
        }
        let sent = AtomicBool::new(false);
        let exchange = self.exchange(target, addr, request, &sent);
        match self.0.env.timeout(limit, exchange).await {
            Ok(answer) => answer,
            Err(_) if sent.load(Ordering::Relaxed) => Err(PeerError::Failed(format!(
                "no answer from {addr} within {limit:?}"
            ))),
            Err(_) => Err(PeerError::Unreachable(format!(
                "no connection to {addr} within {limit:?}"
            ))),
        }
    }

    async fn exchange(
        &self,
        target: PeerId,
        addr: SocketAddr,
        request: Bytes,
        sent: &AtomicBool,
    ) -> Result<Bytes, PeerError> {
        // A connection may end before the request is on it; a second one that does is no accident.
        for _ in 0..2 {
            let conn = self
                .conn(target, addr)
                .await
                .map_err(|err| PeerError::Unreachable(err.to_string()))?;
            if let Ok(answer) = conn.submit(request.clone()).await {
                sent.store(true, Ordering::Relaxed);
                return answer
                    .await
                    .unwrap_or_else(|_| Err(PeerError::Failed(format!("{addr} was let go"))));
            }
        }
        Err(PeerError::Unreachable(format!(
            "connections to {addr} do not last"
        )))
    }

    /// Sends a snapshot on a connection of its own: a header, then all of `body`; waits for the answer, however long the
    /// peer works on it, as long as it shows signs of life.
    ///
    /// Cancel safe: when dropped, the peer finds the snapshot cut.
    ///
    /// # Errors
    /// [`PeerError`] tells whether the peer may have acted. [`PeerError::Failed`] also if `body` cannot be read.
    pub async fn send_snapshot(
        &self,
        target: PeerId,
        addr: SocketAddr,
        header: Bytes,
        body: impl AsyncRead + Send + Unpin,
    ) -> Result<Bytes, PeerError> {
        let inner = &self.0;
        let limit = inner.options.dial_timeout;
        let hello = inner.hello(target, Purpose::Snapshot);
        let stream = dial::dial(&inner.env, addr, &hello, limit)
            .await
            .map_err(|err| PeerError::Unreachable(err.text(addr)))?;
        send::send(&inner.env, stream, header, body)
            .await
            .map_err(|err| PeerError::Failed(format!("snapshot to {addr}: {err}")))
    }

    /// Resolves when the process of `target` at `addr` has ended: nobody listens there any more, or another server answers.
    /// Holds a connection to notice at once. A connection that breaks, a peer that is silent, and dials that time out prove
    /// nothing: it keeps trying.
    ///
    /// Works in the task that polls it; dropping it closes the connection.
    pub fn watch(
        &self,
        target: PeerId,
        addr: SocketAddr,
    ) -> impl Future<Output = Gone> + Send + 'static {
        let inner = &self.0;
        let hello = inner.hello(target, Purpose::Calls);
        watch::watch(inner.env.clone(), addr, hello, inner.options.dial_timeout)
    }

    /// Addresses that there is a connection for calls to.
    pub fn connected(&self) -> Vec<SocketAddr> {
        let slots = self.0.slots.lock();
        slots
            .iter()
            .filter(|(_, slot)| slot.is_open())
            .map(|((addr, _), _)| *addr)
            .collect()
    }

    async fn conn(&self, target: PeerId, addr: SocketAddr) -> Result<Arc<Conn>, Arc<str>> {
        let slot = self.slot(target, addr);
        match slot.next(self.0.env.mono()) {
            Next::Open(conn) => Ok(conn),
            Next::Pausing(error) => Err(error),
            Next::Dialing(dialed) => dialed.await.unwrap_or_else(|_| Err(stopping())),
            Next::Dial(dialed) => {
                self.connect(target, addr, slot);
                dialed.await.unwrap_or_else(|_| Err(stopping()))
            }
        }
    }

    fn slot(&self, target: PeerId, addr: SocketAddr) -> Arc<Slot> {
        let mut slots = self.0.slots.lock();
        if let Some(slot) = slots.get(&(addr, target)) {
            return Arc::clone(slot);
        }
        if slots.len() >= SLOTS_SWEEP {
            let now = self.0.env.mono();
            slots.retain(|_, slot| Arc::strong_count(slot) > 1 || !slot.is_stale(now));
        }
        Arc::clone(slots.entry((addr, target)).or_default())
    }

    /// Dials and then runs the connection, in a task of its own.
    fn connect(&self, target: PeerId, addr: SocketAddr, slot: Arc<Slot>) {
        let inner = &self.0;
        let hello = inner.hello(target, Purpose::Calls);
        let (env, options) = (inner.env.clone(), inner.options.clone());
        let stop = inner.group.stop().clone();
        inner.group.spawn("peer-connection", async move {
            let connection = async {
                let dialed = dial::dial(&env, addr, &hello, options.dial_timeout).await;
                let stream = match dialed {
                    Ok(stream) => stream,
                    Err(err) => {
                        slot.failed(env.mono(), err.text(addr).into());
                        return;
                    }
                };
                let (conn, driver) = conn::conn(&env, addr, stream);
                slot.opened(conn);
                let end = driver.run(Some(options.idle_timeout)).await;
                debug!(peer = %addr, %target, err = %end, "connection to a peer ended");
                slot.ended();
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = connection => return,
            }
            slot.ended();
        });
    }
}

impl Inner {
    fn hello(&self, target: PeerId, purpose: Purpose) -> hello::Hello {
        hello::Hello {
            purpose,
            from: self.own,
            target,
        }
    }
}

fn stopping() -> Arc<str> {
    Arc::from("this server is stopping")
}
