//! One connection: the first byte, then calls directly or on streams.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::debug;
use tribune_rt::net::TcpStream;
use tribune_rt::{Env, TaskGroup};

use crate::budget::Budget;
use crate::calls::{self, CallsError};
use crate::snapshot::{self, SnapshotError};
use crate::yamux::{self, Role, SessionError};
use crate::{Handler, NetOptions};

/// The first byte of plain MessagePack RPC.
const PLAIN_RPC: u8 = 0x00;
/// The first byte of yamux with MessagePack RPC on every stream.
pub(crate) const MULTIPLEXED_RPC: u8 = 0x04;

/// Why a connection ended other than by its peer.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("no first byte in time")]
    Silent,
    #[error("protocol byte {0:#04x} is not served")]
    Protocol(u8),
    #[error(transparent)]
    Calls(#[from] CallsError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

pub(crate) async fn serve(
    env: Env,
    group: TaskGroup,
    options: Arc<NetOptions>,
    handler: Arc<dyn Handler>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    if let Err(err) = run(&env, group, options, handler, stream, peer).await {
        debug!(%peer, %err, "server connection closed");
    }
}

async fn run(
    env: &Env,
    group: TaskGroup,
    options: Arc<NetOptions>,
    handler: Arc<dyn Handler>,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let mut first = [0u8; 1];
    let read = env
        .timeout(options.handshake_timeout, stream.read_exact(&mut first))
        .await;
    match read {
        Err(_) => return Err(ConnectionError::Silent),
        Ok(Err(err)) if err.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
        Ok(Err(err)) => return Err(err.into()),
        Ok(Ok(_)) => {}
    }
    let budget = Arc::new(Budget::new(options.buffered_max));
    match first[0] {
        PLAIN_RPC => {
            calls::serve(env, &options, &*handler, &mut stream, peer, budget).await?;
            Ok(stream.shutdown().await?)
        }
        MULTIPLEXED_RPC => {
            stream.set_keepalive(KEEPALIVE_IDLE, KEEPALIVE_INTERVAL)?;
            let (_session, driver) = yamux::session(
                env,
                stream,
                Role::Acceptor,
                Arc::clone(&budget),
                options.streams_max,
            );
            let serve_stream = |stream: yamux::Stream| {
                group.spawn(
                    "rpc-stream",
                    serve_stream(
                        env.clone(),
                        Arc::clone(&options),
                        Arc::clone(&handler),
                        stream,
                        peer,
                        Arc::clone(&budget),
                    ),
                );
            };
            Ok(driver.run(serve_stream).await?)
        }
        snapshot::SNAPSHOT => {
            stream.set_keepalive(KEEPALIVE_IDLE, KEEPALIVE_INTERVAL)?;
            Ok(snapshot::serve(env, &options, &*handler, stream, peer, budget).await?)
        }
        other => Err(ConnectionError::Protocol(other)),
    }
}

/// Serves a stream. It ends with its connection, and the connection with the group.
async fn serve_stream(
    env: Env,
    options: Arc<NetOptions>,
    handler: Arc<dyn Handler>,
    mut stream: yamux::Stream,
    peer: SocketAddr,
    budget: Arc<Budget>,
) {
    match calls::serve(&env, &options, &*handler, &mut stream, peer, budget).await {
        // All replies are out, or nobody wants one.
        Ok(()) => stream.set_clean(true),
        Err(err) => debug!(%peer, %err, "stream of a server connection closed"),
    }
}

/// When the system begins to probe a silent peer, and how often.
pub(crate) const KEEPALIVE_IDLE: std::time::Duration = std::time::Duration::from_secs(15);
/// See [`KEEPALIVE_IDLE`].
pub(crate) const KEEPALIVE_INTERVAL: std::time::Duration = std::time::Duration::from_secs(15);
