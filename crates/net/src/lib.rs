//! The server RPC on the network: the server port, the pool of connections to other servers' ports, and the protocol
//! among the servers of a datacenter.
//!
//! Server port ([`serve`]): who may connect, what the first byte selects, and the calls on a connection. In: TCP
//! connections. Out: calls to one [`Handler`], in the order of each stream. Plain MessagePack RPC (first byte 0x00) and
//! yamux with MessagePack RPC on every stream (0x04) are served, streamed snapshots (0x05), and the peer protocol (0x54, if
//! there is a [`PeerHandler`]). TLS and the Raft of servers written in Go (0x01, with a warning) are refused by closing, as
//! an unknown byte is (rpc.md section 1.1).
//!
//! Pool ([`Pool`]): calls to addresses over one multiplexed connection each, and over one with frames to servers that take
//! them.
//!
//! Peers ([`Peers`]): requests to the other servers, snapshots, and watching for the end of their processes.
//!
//! Bounds: connections per address, time until the first byte, streams per address, bytes and time of one message, one call
//! at a time per stream, and bytes received but not yet used per connection and per address.

mod budget;
mod calls;
mod connection;
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing;
mod limits;
mod message;
mod metered;
mod peers;
mod pool;
mod snapshot;
mod yamux;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tracing::{debug, warn};
use tribune_rt::net::{BindOptions, TcpListener};
use tribune_rt::{Env, TaskGroup};

use connection::Port;
pub use peers::{Gone, PeerError, PeerHandler, PeerId, PeerOptions, Peers};
pub use pool::{CallError, Framed, Heed, Line, Lost, NotSent, Pool, PoolOptions, Target};
pub use snapshot::{Download, SnapshotReply, snapshot};

/// What the server port needs to know.
#[derive(Clone)]
pub struct NetOptions {
    /// Where to listen.
    pub addr: SocketAddr,
    /// Time for the first byte. Default 5 s.
    pub handshake_timeout: Duration,
    /// Connections per peer address, and as many that carry calls in frames; 0 is no limit. Default 100.
    pub conns_per_addr_max: usize,
    /// Largest message accepted, in bytes.
    pub message_max: usize,
    /// Time for all of a message once it has begun, and for a peer to take any part of a reply. Default 30 s.
    pub message_timeout: Duration,
    /// Streams of one connection, and of all connections of an address; more are refused one by one. Default 65536:
    /// callers use one per call in flight.
    pub streams_max: usize,
    /// Bytes of one connection received but not yet used; reading waits beyond it. Default 32 MiB.
    pub buffered_max: usize,
    /// The same for all connections of an address. Default 128 MiB.
    pub buffered_per_addr_max: usize,
    /// Serves the other servers. Default `None`: the peer protocol is refused.
    pub peers: Option<Arc<dyn PeerHandler>>,
}

impl NetOptions {
    /// Defaults for a server port at `addr`.
    pub fn new(addr: SocketAddr) -> NetOptions {
        NetOptions {
            addr,
            handshake_timeout: Duration::from_secs(5),
            conns_per_addr_max: 100,
            message_max: 4 << 20,
            message_timeout: Duration::from_secs(30),
            streams_max: 1 << 16,
            buffered_max: 32 << 20,
            buffered_per_addr_max: 128 << 20,
            peers: None,
        }
    }
}

/// A call's reply: the body, or why there is none.
pub type CallResult = Result<Vec<u8>, CallFailure>;

/// A failed call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallFailure {
    /// What the caller is told.
    pub text: String,
    /// The stream ends after the reply: so it is after unknown methods and requests that cannot be decoded.
    pub ends: bool,
}

impl CallFailure {
    /// A call that was understood and failed.
    pub fn failed(text: impl Into<String>) -> CallFailure {
        CallFailure {
            text: text.into(),
            ends: false,
        }
    }

    /// A call that was not understood.
    pub fn refused(text: impl Into<String>) -> CallFailure {
        CallFailure {
            text: text.into(),
            ends: true,
        }
    }
}

impl From<String> for CallFailure {
    /// As [`CallFailure::failed`].
    fn from(text: String) -> CallFailure {
        CallFailure::failed(text)
    }
}

/// Serves calls.
pub trait Handler: Send + Sync + 'static {
    /// Serves one call. `body` is one complete MessagePack value. The reply is one, too.
    fn call<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>>;

    /// Serves a call that another server passed on because it took this one for its leader. It must not be passed on
    /// again: two servers that take each other for the leader would never answer.
    fn passed_on<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        self.call(peer, method, body)
    }

    /// Serves a streamed snapshot. `request` is one complete MessagePack value; what follows it comes out of `archive`,
    /// which ends when the peer has sent everything. Dropped when the peer is cut before that.
    fn snapshot<'a>(
        &'a self,
        peer: SocketAddr,
        request: &'a [u8],
        archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>>;
}

/// Binds the server port and serves it as tasks of `group`.
///
/// # Errors
/// The address cannot be bound.
pub fn serve(
    env: &Env,
    group: &TaskGroup,
    options: NetOptions,
    handler: Arc<dyn Handler>,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(env, options.addr, BindOptions::default())?;
    let addr = listener.local_addr()?;
    let (env, connections) = (env.clone(), group.clone());
    let port = Arc::new(Port::new(&env, group, options, handler));
    group.spawn("rpc-accept", async move {
        loop {
            let accepted = tokio::select! {
                biased;
                () = connections.stop().cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(place) = port.admit(peer) else {
                        debug!(%peer, "too many connections from this address");
                        continue;
                    };
                    let served = Arc::clone(&port).serve(stream, peer, place);
                    let stop = connections.stop().clone();
                    connections.spawn("rpc-connection", async move {
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => {}
                            () = served => {}
                        }
                    });
                }
                Err(err) => {
                    // Out of descriptors, most likely: give others time to close.
                    warn!(%err, "failed to accept a connection");
                    env.sleep(Duration::from_millis(50)).await;
                }
            }
        }
    });
    Ok(addr)
}
