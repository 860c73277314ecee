//! Accept loops. One per address and front worker for TCP (the kernel spreads connections), one for a Unix socket.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tribune_rt::net::{BindOptions, TcpListener, TcpStream, UnixListener};
use tribune_rt::{Env, TaskTracker, Worker};

use crate::conn::{self, Stops, Watches};
use crate::cx::Cx;
use crate::limiter::{Limiter, Place};
use crate::options::UnixPermissions;
use crate::tls::Tls;

/// TCP keep-alive, as Consul's.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Pause after `accept` failed, which means that descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const BACKLOG: u32 = 4096;

/// What accept loops share.
#[derive(Clone)]
pub(crate) struct Acceptor {
    pub(crate) cx: Arc<Cx>,
    pub(crate) limiter: Limiter,
    pub(crate) tls: Arc<Tls>,
    pub(crate) stops: Stops,
    pub(crate) tasks: TaskTracker,
}

impl Acceptor {
    /// Accepts TCP connections on a worker until the server stops.
    pub(crate) fn run_tcp(
        &self,
        worker: &Worker,
        listener: TcpListener,
        watches: Watches,
        tls: bool,
    ) {
        let acceptor = self.clone();
        let tracked = self.tasks.token();
        drop(worker.spawn("http-accept", move || async move {
            let _tracked = tracked;
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = acceptor.stops.graceful.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok((stream, peer)) => acceptor.take_tcp(stream, peer, &watches, tls),
                    Err(_) => acceptor.cx.env.sleep(ACCEPT_PAUSE).await,
                }
            }
        }));
    }

    fn take_tcp(&self, stream: TcpStream, peer: SocketAddr, watches: &Watches, tls: bool) {
        let addr = peer.ip().to_canonical();
        // Over the limit: closed at once, without a word.
        let Some(place) = self.limiter.enter(addr) else {
            return;
        };
        // A connection that is gone already shows so on its first read.
        let _ = stream.set_nodelay(true);
        let _ = stream.set_keepalive(KEEPALIVE, KEEPALIVE);
        if tls {
            self.spawn(tls_conn(self.clone(), stream, addr, place, watches.clone()));
        } else {
            let (cx, stops, watch) = (
                Arc::clone(&self.cx),
                self.stops.clone(),
                watches.add(&self.cx.env),
            );
            self.spawn(async move {
                conn::http1(cx, Some(addr), stream, watch, stops).await;
                drop(place);
            });
        }
    }

    /// Accepts connections on a Unix socket until the server stops.
    pub(crate) fn run_unix(
        &self,
        worker: &Worker,
        listener: UnixListener,
        watches: Watches,
        tls: bool,
    ) {
        let acceptor = self.clone();
        let tracked = self.tasks.token();
        drop(worker.spawn("http-accept-unix", move || async move {
            let _tracked = tracked;
            loop {
                let accepted = tokio::select! {
                    biased;
                    () = acceptor.stops.graceful.cancelled() => return,
                    accepted = listener.accept() => accepted,
                };
                match accepted {
                    Ok(stream) if tls => {
                        acceptor.spawn(tls_unix(acceptor.clone(), stream, watches.clone()))
                    }
                    Ok(stream) => {
                        let watch = watches.add(&acceptor.cx.env);
                        acceptor.spawn(conn::http1(
                            Arc::clone(&acceptor.cx),
                            None,
                            stream,
                            watch,
                            acceptor.stops.clone(),
                        ));
                    }
                    Err(_) => acceptor.cx.env.sleep(ACCEPT_PAUSE).await,
                }
            }
        }));
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(
            self.cx
                .env
                .spawn_here("http-conn", self.tasks.track_future(future)),
        );
    }
}

async fn tls_conn(
    acceptor: Acceptor,
    stream: TcpStream,
    addr: std::net::IpAddr,
    place: Place,
    watches: Watches,
) {
    serve_tls(acceptor, stream, Some(addr), watches).await;
    drop(place);
}

async fn tls_unix(acceptor: Acceptor, stream: tribune_rt::net::UnixStream, watches: Watches) {
    serve_tls(acceptor, stream, None, watches).await;
}

async fn serve_tls<S>(
    acceptor: Acceptor,
    stream: S,
    peer: Option<std::net::IpAddr>,
    watches: Watches,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Acceptor { cx, tls, stops, .. } = acceptor;
    let limit = cx.options.limits.https_handshake_timeout;
    let handshake = Box::pin(cx.env.timeout(limit, tls.accept(stream)));
    let accepted = tokio::select! {
        biased;
        accepted = handshake => accepted,
        () = stops.graceful.cancelled() => return,
    };
    let stream = match accepted {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            tracing::debug!(err = %error, "tls handshake failed");
            return;
        }
        Err(_) => {
            tracing::debug!("tls handshake took too long");
            return;
        }
    };
    if Tls::is_h2(&stream) {
        Box::pin(conn::http2(cx, peer, stream, stops)).await;
    } else {
        let watch = watches.add(&cx.env);
        Box::pin(conn::http1(cx, peer, stream, watch, stops)).await;
    }
}

/// Binds an address on every worker; port 0 gives all the same free port.
///
/// Sockets of this process share the port, so a first bind without sharing makes sure that no other process has it: the
/// kernel would let two agents of one user share it silently.
pub(crate) async fn bind_tcp(env: &Env, addr: SocketAddr) -> io::Result<Vec<TcpListener>> {
    let workers = env.front_workers();
    let share = workers.len() > 1;
    let mut addr = addr;
    if share && addr.port() != 0 {
        drop(bind_on(env, &workers[0], addr, false).await?);
    }
    let mut listeners = Vec::with_capacity(workers.len());
    for worker in workers {
        let listener = bind_on(env, worker, addr, share).await?;
        addr = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(listeners)
}

async fn bind_on(
    env: &Env,
    worker: &Worker,
    addr: SocketAddr,
    reuse_port: bool,
) -> io::Result<TcpListener> {
    let inner = env.clone();
    let options = BindOptions {
        reuse_port,
        backlog: BACKLOG,
    };
    let bound = worker.spawn("http-bind", move || async move {
        TcpListener::bind(&inner, addr, options)
    });
    bound.await.map_err(io::Error::other)?
}

/// Binds a Unix socket on the first worker, in place of a stale one.
pub(crate) async fn bind_unix(
    env: &Env,
    path: &Path,
    permissions: UnixPermissions,
) -> io::Result<UnixListener> {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
    match std::fs::symlink_metadata(path) {
        Ok(found) if found.file_type().is_socket() => std::fs::remove_file(path)?,
        Ok(_) => {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the path exists and is no socket",
            ));
        }
        Err(_) => {}
    }
    let (inner, owned) = (env.clone(), path.to_path_buf());
    let bound = env.front_workers()[0].spawn("http-bind", move || async move {
        UnixListener::bind(&inner, &owned)
    });
    let listener = bound.await.map_err(io::Error::other)??;
    if permissions.uid.is_some() || permissions.gid.is_some() {
        chown(path, permissions.uid, permissions.gid)?;
    }
    if let Some(mode) = permissions.mode {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}
