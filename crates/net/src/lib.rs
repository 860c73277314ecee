//! The server port: who may connect, what the first byte selects, and the calls on a connection.
//!
//! In: TCP connections. Out: calls to one [`Handler`], in the order of each connection. Plain MessagePack RPC (first
//! byte 0x00) is served; multiplexing, TLS and the peer protocol of other servers are refused by closing, as an
//! unknown byte is (rpc.md section 1.1).
//!
//! Bounds: connections per address, time until the first byte, bytes of one message, and one call at a time per
//! connection. A peer cannot make this process hold more than one message per connection.

mod connection;
mod limits;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tracing::{debug, warn};
use tribune_rt::net::{BindOptions, TcpListener};
use tribune_rt::{Env, TaskGroup};

use limits::PerAddress;

/// What the server port needs to know.
#[derive(Debug, Clone)]
pub struct NetOptions {
    /// Where to listen.
    pub addr: SocketAddr,
    /// Time for the first byte. Default 5 s.
    pub handshake_timeout: Duration,
    /// Connections per peer address; 0 is no limit. Default 100.
    pub conns_per_addr_max: usize,
    /// Largest message accepted, in bytes.
    pub message_max: usize,
}

/// A call's reply: the body, or the text of an error.
pub type CallResult = Result<Vec<u8>, String>;

/// Serves calls.
pub trait Handler: Send + Sync + 'static {
    /// Serves one call. `body` is one complete MessagePack value. The reply is one, too.
    fn call<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>>;
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
    group.spawn("rpc-accept", async move {
        let per_addr = PerAddress::new(options.conns_per_addr_max);
        loop {
            let accepted = tokio::select! {
                biased;
                () = connections.stop().cancelled() => return,
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(permit) = per_addr.admit(peer.ip()) else {
                        debug!(%peer, "too many connections from this address");
                        continue;
                    };
                    let served = connection::serve(
                        env.clone(),
                        options.clone(),
                        Arc::clone(&handler),
                        stream,
                        peer,
                    );
                    let stop = connections.stop().clone();
                    connections.spawn("rpc-connection", async move {
                        let _permit = permit;
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
