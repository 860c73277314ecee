//! One connection: the first byte, then calls directly or on streams, a snapshot, or the peer protocol.
//!
//! An address with as many connections as it may have gets a few more on probation: they have a second to prove that they
//! come from a server, or are closed. So other users of an address cannot lock its servers out.
//!
//! Memory: what all connections of an address have received and not used is bounded, and so is the number of their streams;
//! a stream that waits for its message costs about a kilobyte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::{debug, warn};
use tribune_rt::net::TcpStream;
use tribune_rt::{Env, TaskGroup};

use crate::budget::Budget;
use crate::calls::{self, CallsError, Duplex};
use crate::limits::{ByAddress, Hush, PerAddress, Permit};
use crate::metered::Metered;
use crate::peers::hello::FIRST_BYTE as PEERS;
use crate::peers::serve::{PeerPort, ServeError};
use crate::snapshot::{self, SnapshotError};
use crate::yamux::{self, Role, SessionError};
use crate::{Handler, NetOptions};

/// The first byte of plain MessagePack RPC.
const PLAIN_RPC: u8 = 0x00;
/// The first byte of the Raft of servers written in Go.
const GO_RAFT: u8 = 0x01;
/// The first byte of yamux with MessagePack RPC on every stream.
pub(crate) const MULTIPLEXED_RPC: u8 = 0x04;

/// Connections per address on probation.
const PROBATION_MAX: usize = 16;
/// Time for the hello of a peer on probation.
const PROBATION_TIMEOUT: Duration = Duration::from_secs(1);

/// Why a connection ended other than by its peer.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("no first byte in time")]
    Silent,
    #[error("protocol byte {0:#04x} is not served")]
    Protocol(u8),
    #[error("too many connections from this address")]
    TooMany,
    #[error(transparent)]
    Calls(#[from] CallsError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Peer(#[from] ServeError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What the connections of a server port share.
pub(crate) struct Port {
    env: Env,
    group: TaskGroup,
    options: NetOptions,
    handler: Arc<dyn Handler>,
    conns: PerAddress,
    probation: PerAddress,
    streams: PerAddress,
    budgets: ByAddress<Budget>,
    peers: Option<PeerPort>,
    go_raft: Hush,
}

/// A connection's place under the limits of its address.
pub(crate) struct Place {
    permit: Permit,
    on_probation: bool,
}

impl Port {
    pub(crate) fn new(
        env: &Env,
        group: &TaskGroup,
        options: NetOptions,
        handler: Arc<dyn Handler>,
    ) -> Port {
        Port {
            env: env.clone(),
            group: group.clone(),
            conns: PerAddress::new(options.conns_per_addr_max),
            probation: PerAddress::new(PROBATION_MAX),
            streams: PerAddress::new(options.streams_max),
            budgets: ByAddress::default(),
            peers: options.peers.clone().map(|peers| {
                PeerPort::new(peers, Arc::clone(&handler), options.conns_per_addr_max)
            }),
            options,
            handler,
            go_raft: Hush::default(),
        }
    }

    /// A place for a connection from `peer`, or `None` if it has too many.
    pub(crate) fn admit(&self, peer: SocketAddr) -> Option<Place> {
        if let Some(permit) = self.conns.admit(peer.ip()) {
            return Some(Place {
                permit,
                on_probation: false,
            });
        }
        self.peers.as_ref()?;
        Some(Place {
            permit: self.probation.admit(peer.ip())?,
            on_probation: true,
        })
    }

    /// Serves a connection until it ends.
    pub(crate) async fn serve(self: Arc<Self>, stream: TcpStream, peer: SocketAddr, place: Place) {
        metrics::counter!("rpc.accept_conn").increment(1);
        if let Err(err) = self.run(stream, peer, place).await {
            debug!(%peer, %err, "server connection closed");
        }
    }

    async fn run(
        self: &Arc<Self>,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: Place,
    ) -> Result<(), ConnectionError> {
        stream.set_nodelay(true)?;
        // A peer whose machine is gone without a word must not keep its place.
        stream.set_keepalive(KEEPALIVE_IDLE, KEEPALIVE_INTERVAL)?;
        let limit = match place.on_probation {
            true => PROBATION_TIMEOUT.min(self.options.handshake_timeout),
            false => self.options.handshake_timeout,
        };
        let mut first = [0u8; 1];
        let read = self.env.timeout(limit, stream.read_exact(&mut first)).await;
        match read {
            Err(_) => return Err(ConnectionError::Silent),
            Ok(Err(err)) if err.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
            Ok(Err(err)) => return Err(err.into()),
            Ok(Ok(_)) => {}
        }
        match (first[0], &self.peers) {
            (PEERS, Some(peers)) => self.run_peer(peers, stream, peer, place, limit).await,
            _ if place.on_probation => Err(ConnectionError::TooMany),
            (first, _) => {
                let served = self.run_protocol(first, stream, peer).await;
                drop(place);
                served
            }
        }
    }

    /// What the first byte selects, on any stream.
    async fn run_protocol(
        self: &Arc<Self>,
        first: u8,
        stream: impl Duplex,
        peer: SocketAddr,
    ) -> Result<(), ConnectionError> {
        let (env, options) = (&self.env, &self.options);
        let budget = Arc::new(self.budget(peer));
        match first {
            PLAIN_RPC => {
                let handler = &*self.handler;
                let mut stream = Metered::new(stream, Arc::clone(&budget));
                calls::serve(env, options, handler, &mut stream, peer, budget).await?;
                Ok(stream.shutdown().await?)
            }
            MULTIPLEXED_RPC => {
                let (_session, driver) = yamux::session(
                    env,
                    stream,
                    Role::Acceptor,
                    Arc::clone(&budget),
                    options.streams_max,
                    yamux::KeepAlive::default(),
                );
                let serve_stream = |stream: yamux::Stream| {
                    let Some(permit) = self.streams.admit(peer.ip()) else {
                        // Dropping it resets it.
                        return;
                    };
                    let port = Arc::clone(self);
                    let served = port.serve_stream(stream, peer, Arc::clone(&budget), permit);
                    self.group.spawn("rpc-stream", served);
                };
                Ok(driver.run(serve_stream).await?)
            }
            snapshot::SNAPSHOT => {
                let handler = &*self.handler;
                Ok(snapshot::serve(env, options, handler, stream, peer, budget).await?)
            }
            GO_RAFT => {
                if let Some(left_out) = self.go_raft.speak(self.env.mono()) {
                    warn!(
                        %peer,
                        left_out,
                        "refused the raft of a Consul server: servers of Consul cannot join the peer set of Tribune servers"
                    );
                }
                Err(ConnectionError::Protocol(GO_RAFT))
            }
            other => Err(ConnectionError::Protocol(other)),
        }
    }

    /// What a connection of `peer` may make this process hold.
    fn budget(&self, peer: SocketAddr) -> Budget {
        let options = &self.options;
        let of_address = || Budget::new(options.buffered_per_addr_max);
        let of_address = self.budgets.share(peer.ip(), of_address);
        Budget::within(of_address, options.buffered_max)
    }

    async fn run_peer(
        &self,
        peers: &PeerPort,
        mut stream: TcpStream,
        peer: SocketAddr,
        place: Place,
        limit: Duration,
    ) -> Result<(), ConnectionError> {
        let served = async {
            let guest = peers.admit(&self.env, &mut stream, peer, limit).await?;
            // It counts among its own kind from now on.
            drop(place.permit);
            metrics::counter!("rpc.peer.accept").increment(1);
            if guest.is_for_raft() {
                metrics::counter!("rpc.raft_handoff").increment(1);
            }
            let limit = self.options.message_timeout;
            let budget = self.budget(peer);
            peers.serve(&self.env, stream, &guest, limit, &budget).await
        };
        let served = served.await;
        if served.as_ref().is_err_and(ServeError::is_refusal) {
            metrics::counter!("rpc.peer.refused").increment(1);
        }
        Ok(served?)
    }

    /// Serves a stream. It ends with its connection, and the connection with the group.
    async fn serve_stream(
        self: Arc<Self>,
        mut stream: yamux::Stream,
        peer: SocketAddr,
        budget: Arc<Budget>,
        _permit: Permit,
    ) {
        let (env, options, handler) = (&self.env, &self.options, &*self.handler);
        match calls::serve(env, options, handler, &mut stream, peer, budget).await {
            // All replies are out, or nobody wants one.
            Ok(()) => stream.set_clean(true),
            Err(err) => debug!(%peer, %err, "stream of a server connection closed"),
        }
    }
}

/// When the system begins to probe a silent peer, and how often.
pub(crate) const KEEPALIVE_IDLE: std::time::Duration = std::time::Duration::from_secs(15);
/// See [`KEEPALIVE_IDLE`].
pub(crate) const KEEPALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(15);
