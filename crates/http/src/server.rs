//! The running front: binds, serves, reloads, stops.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tribune_agent::Handle;
use tribune_rt::{CancellationToken, Env, TaskTracker};

use crate::conn::{Stops, Watches};
use crate::cx::Cx;
use crate::limiter::Limiter;
use crate::listen::{self, Acceptor};
use crate::options::{HttpOptions, HttpReload, Place};
use crate::tls::{Tls, TlsError};

/// After the deadline connections are cut; their tasks need a moment to notice.
const CUT_TIME: Duration = Duration::from_secs(1);

/// Why the front did not start. Nothing listens.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be had.
    #[error("failed to listen on {place}")]
    Bind {
        /// The address.
        place: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("failed to set up https")]
    Tls(#[from] TlsError),
}

/// A running front. Dropping it stops nothing; call [`HttpServer::shutdown`].
pub struct HttpServer {
    cx: Arc<Cx>,
    addrs: Vec<SocketAddr>,
    sockets: Vec<PathBuf>,
    limiter: Limiter,
    tls: Arc<Tls>,
    stops: Stops,
    tasks: TaskTracker,
}

/// Binds all listeners and serves them on the front workers.
///
/// # Errors
/// [`BindError`] when an address is taken or certificates are unusable; then nothing listens.
pub async fn serve(
    env: &Env,
    handle: Handle,
    options: HttpOptions,
) -> Result<HttpServer, BindError> {
    let tls = Arc::new(Tls::default());
    if let Some(options) = &options.tls {
        tls.set(options)?;
    }
    let cx = Arc::new(Cx::new(env, handle, options));
    let stops = Stops {
        graceful: CancellationToken::new(),
        now: CancellationToken::new(),
    };
    let limiter = Limiter::new(cx.options.limits.max_conns_per_client);
    let acceptor = Acceptor {
        cx: Arc::clone(&cx),
        limiter: limiter.clone(),
        tls: Arc::clone(&tls),
        stops: stops.clone(),
        tasks: TaskTracker::new(),
    };
    let server = HttpServer {
        cx: Arc::clone(&cx),
        addrs: Vec::new(),
        sockets: Vec::new(),
        limiter,
        tls,
        stops,
        tasks: acceptor.tasks.clone(),
    };
    server.bind(env, &acceptor).await
}

impl HttpServer {
    async fn bind(mut self, env: &Env, acceptor: &Acceptor) -> Result<HttpServer, BindError> {
        let cx = Arc::clone(&self.cx);
        let workers = env.front_workers();
        let watches: Vec<Watches> = workers.iter().map(|_| Watches::default()).collect();
        let mut tcp = Vec::new();
        let mut unix = Vec::new();
        // Everything is bound before anything is accepted, so that a failure leaves nothing running.
        for listener in &cx.options.listeners {
            match &listener.place {
                Place::Tcp(addr) => {
                    let bound =
                        listen::bind_tcp(env, *addr)
                            .await
                            .map_err(|source| BindError::Bind {
                                place: addr.to_string(),
                                source,
                            })?;
                    if let Some(addr) = bound.first().and_then(|first| first.local_addr().ok()) {
                        self.addrs.push(addr);
                    }
                    tcp.push((bound, listener.tls));
                }
                Place::Unix(path) => {
                    let bound = listen::bind_unix(env, path, cx.options.unix)
                        .await
                        .map_err(|source| BindError::Bind {
                            place: format!("unix://{}", path.display()),
                            source,
                        })?;
                    self.sockets.push(path.clone());
                    unix.push((bound, listener.tls));
                }
            }
        }
        for (bound, tls) in tcp {
            for ((worker, watches), listener) in workers.iter().zip(&watches).zip(bound) {
                acceptor.run_tcp(worker, listener, watches.clone(), tls);
            }
        }
        for (listener, tls) in unix {
            acceptor.run_unix(&workers[0], listener, watches[0].clone(), tls);
        }
        let limit = cx.options.limits.slow_client_timeout;
        for (worker, watches) in workers.iter().zip(watches) {
            let sweep = watches.sweep(env.clone(), limit, self.stops.graceful.clone());
            drop(worker.spawn("http-sweep", move || sweep));
        }
        Ok(self)
    }

    /// The bound TCP addresses, in the order of the listeners.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Takes new settings. Connections that are open keep what they have.
    ///
    /// # Errors
    /// [`TlsError`] when the certificates are unusable; then nothing changed.
    pub fn reload(&self, reload: &HttpReload) -> Result<(), TlsError> {
        if let Some(tls) = &reload.tls {
            self.tls.set(tls)?;
        }
        self.limiter.set_max(reload.max_conns_per_client);
        self.cx.set_discovery_max_stale(reload.discovery_max_stale);
        Ok(())
    }

    /// Stops accepting, lets answers in work finish until `deadline`, then cuts the rest. False if something still ran.
    pub async fn shutdown(&self, deadline: Duration) -> bool {
        self.stops.graceful.cancel();
        self.tasks.close();
        let env = &self.cx.env;
        let mut done = env.timeout(deadline, self.tasks.wait()).await.is_ok();
        if !done {
            self.stops.now.cancel();
            done = env.timeout(CUT_TIME, self.tasks.wait()).await.is_ok();
        }
        for path in &self.sockets {
            let _ = std::fs::remove_file(path);
        }
        done
    }
}
