//! A server port with a peer handler, for the tests over real sockets.

#![allow(dead_code, reason = "not every test needs all of it")]

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc};
use tribune_net::{
    CallFailure, CallResult, Handler, NetOptions, PeerHandler, PeerId, SnapshotReply,
};
use tribune_rt::net::{BindOptions, TcpListener};
use tribune_rt::{Env, TaskGroup};

/// Longest wait for what should happen soon, on a busy machine.
pub(crate) const LONG: Duration = Duration::from_secs(40);

/// The server that most tests talk to.
pub(crate) const US: PeerId = PeerId([1; 16]);
/// The one that talks to it.
pub(crate) const THEM: PeerId = PeerId([2; 16]);

/// Answers peers with what they sent; `wait` waits for a release first.
pub(crate) struct Echo {
    id: PeerId,
    /// Requests that wait.
    pub(crate) waiting: AtomicUsize,
    /// Lets them go.
    pub(crate) release: Notify,
}

impl Echo {
    /// As server `id`.
    pub(crate) fn new(id: PeerId) -> Arc<Echo> {
        Arc::new(Echo {
            id,
            waiting: AtomicUsize::new(0),
            release: Notify::new(),
        })
    }
}

impl PeerHandler for Echo {
    fn own_id(&self) -> PeerId {
        self.id
    }

    fn call<'a>(
        &'a self,
        _from: PeerId,
        _addr: SocketAddr,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        Box::pin(async move {
            if request == "wait" {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.release.notified().await;
            }
            request
        })
    }

    fn snapshot<'a>(
        &'a self,
        _from: PeerId,
        header: Bytes,
        body: &'a mut (dyn AsyncRead + Send + Unpin),
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        Box::pin(async move {
            let mut all = Vec::new();
            match body.read_to_end(&mut all).await {
                Ok(len) => Bytes::from(format!("{header:?}: {len}")),
                Err(err) => Bytes::from(err.to_string()),
            }
        })
    }
}

/// The server RPC: `Test.Echo`, and errors.
struct Rpc;

impl Handler for Rpc {
    fn call<'a>(
        &'a self,
        _peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        let result = match method {
            "Test.Echo" => Ok(body.to_vec()),
            _ => Err(CallFailure::refused("no such method")),
        };
        Box::pin(std::future::ready(result))
    }

    fn snapshot<'a>(
        &'a self,
        _peer: SocketAddr,
        _request: &'a [u8],
        _archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        Box::pin(std::future::ready(SnapshotReply {
            head: vec![0xc0],
            archive: None,
        }))
    }
}

/// Waits until something holds.
pub(crate) async fn until(env: &Env, what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..LONG.as_millis() / 5 {
        if holds() {
            return;
        }
        env.sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}

/// An address where nobody listens.
pub(crate) fn nobody(env: &Env, ip: &str) -> SocketAddr {
    let addr = format!("{ip}:0").parse().unwrap();
    let listener = TcpListener::bind(env, addr, BindOptions::default()).unwrap();
    listener.local_addr().unwrap()
}

/// Serves a port.
pub(crate) fn serve(env: &Env, group: &TaskGroup, options: NetOptions) -> SocketAddr {
    tribune_net::serve(env, group, options, Arc::new(Rpc)).unwrap()
}

/// Serves a port for peers at `addr`.
pub(crate) fn serve_peers(
    env: &Env,
    group: &TaskGroup,
    addr: SocketAddr,
    echo: &Arc<Echo>,
) -> SocketAddr {
    let options = NetOptions {
        peers: Some(Arc::clone(echo) as Arc<dyn PeerHandler>),
        ..NetOptions::new(addr)
    };
    serve(env, group, options)
}
