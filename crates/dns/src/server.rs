//! The DNS server as a whole: sockets and tasks, reload, shutdown.
//!
//! Every front worker has its own sockets on the shared port (`SO_REUSEPORT`), so that the kernel spreads clients over
//! them. Before that the address is bound once without sharing, so that an address in use is an error as usual.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::Semaphore;
use tribune_agent::Handle;
use tribune_rt::net::{BindOptions, TcpListener, UdpSocket};
use tribune_rt::{CancellationToken, Env, TaskTracker};

use crate::catalog::Catalog;
use crate::front::{Meters, Shared};
use crate::options::{DnsOptions, DomainError, Settings};
use crate::recursor::Recursors;
use crate::{tcp, udp};

/// Questions that may wait for other servers at the same time.
const WAITING_MAX: usize = 1024;
/// Questions that may wait for servers of other datacenters at the same time.
const WAITING_ABROAD_MAX: usize = 512;
/// Kernel buffer per UDP socket: bursts wait there.
const UDP_BUFFER_SIZE: usize = 1024 * 1024;
/// Tries to find a port that is free for UDP and TCP when any will do.
const FREE_PORT_TRIES: usize = 16;
/// How long shutdown waits for questions under way.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Why the server did not start. Nothing is left bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// An address cannot be had.
    #[error("cannot listen for dns on {addr}")]
    Address {
        /// Which.
        addr: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A zone has no domain name.
    #[error(transparent)]
    Domain(#[from] DomainError),
}

/// A running server. Dropping it stops it without waiting.
pub struct DnsServer {
    shared: Arc<Shared>,
    addrs: Vec<SocketAddr>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl std::fmt::Debug for DnsServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DnsServer")
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

/// Starts serving on all addresses of `options`.
///
/// # Errors
/// When an address is taken or not ours, or a zone is no domain name. Nothing runs then.
pub async fn serve(env: &Env, handle: Handle, options: DnsOptions) -> Result<DnsServer, BindError> {
    start(env, Catalog::Agent(handle), options).await
}

pub(crate) async fn start(
    env: &Env,
    catalog: Catalog,
    options: DnsOptions,
) -> Result<DnsServer, BindError> {
    let settings = Settings::new(options)?;
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    // Fires when anything below fails.
    let guard = stop.clone().drop_guard();
    let mut addrs = Vec::new();
    for &addr in &settings.options.listen {
        addrs.push(reserve(env, addr).map_err(|source| BindError::Address { addr, source })?);
    }
    let shared = Arc::new(Shared {
        env: env.clone(),
        catalog,
        recursors: Recursors {
            env: env.clone(),
            listen: addrs.clone().into(),
        },
        waiting: Arc::new(Semaphore::new(WAITING_MAX)),
        waiting_abroad: Arc::new(Semaphore::new(WAITING_ABROAD_MAX)),
        meters: Meters::new(&settings.options.node),
        settings: ArcSwap::from_pointee(settings),
    });
    let connections = Arc::new(Semaphore::new(tcp::CONNECTIONS_MAX));
    for &addr in &addrs {
        for worker in env.front_workers() {
            let task = ServeTask {
                shared: Arc::clone(&shared),
                connections: Arc::clone(&connections),
                stop: stop.clone(),
                tasks: tasks.clone(),
            };
            let failed = |source| BindError::Address { addr, source };
            let bound = worker
                .spawn("dns-bind", move || async move { task.bind(addr) })
                .await;
            bound
                .map_err(io::Error::other)
                .and_then(|bound| bound)
                .map_err(failed)?;
        }
    }
    guard.disarm();
    Ok(DnsServer {
        shared,
        addrs,
        stop,
        tasks,
    })
}

/// Makes sure that the address is free, and picks a port if any will do.
fn reserve(env: &Env, addr: SocketAddr) -> io::Result<SocketAddr> {
    let mut tries = 0;
    loop {
        let udp = UdpSocket::bind(env, addr, BindOptions::default())?;
        let bound = udp.local_addr()?;
        match TcpListener::bind(env, bound, BindOptions::default()) {
            Ok(_) => return Ok(bound),
            Err(err) if addr.port() != 0 || tries == FREE_PORT_TRIES => return Err(err),
            Err(_) => tries += 1,
        }
    }
}

/// What one front worker needs for one address.
struct ServeTask {
    shared: Arc<Shared>,
    connections: Arc<Semaphore>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl ServeTask {
    /// Binds the sockets of the calling worker and starts their tasks there.
    fn bind(self, addr: SocketAddr) -> io::Result<()> {
        let env = &self.shared.env;
        let options = BindOptions {
            reuse_port: true,
            ..BindOptions::default()
        };
        let socket = UdpSocket::bind(env, addr, options)?;
        if let Err(err) = socket.set_buffer_sizes(UDP_BUFFER_SIZE, UDP_BUFFER_SIZE) {
            tracing::debug!(%err, "dns socket keeps its usual buffers");
        }
        let listener = TcpListener::bind(env, addr, options)?;
        let datagrams = udp::serve(
            Arc::clone(&self.shared),
            socket,
            self.stop.clone(),
            self.tasks.clone(),
        );
        env.spawn_here("dns-udp", self.tasks.track_future(datagrams));
        let streams = tcp::serve(
            Arc::clone(&self.shared),
            listener,
            self.connections,
            self.stop,
            self.tasks.clone(),
        );
        env.spawn_here("dns-tcp", self.tasks.track_future(streams));
        Ok(())
    }
}

impl DnsServer {
    /// The addresses in use, in the order of `listen`, with real ports.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Takes new settings into use for questions from now on. What only a restart can change stays as it is.
    ///
    /// # Errors
    /// When a zone is no domain name; the old settings stay then.
    pub fn reload(&self, options: DnsOptions) -> Result<(), DomainError> {
        let old = self.shared.settings.load();
        let kept = DnsOptions {
            listen: old.options.listen.clone(),
            domain: old.options.domain.clone(),
            alt_domain: old.options.alt_domain.clone(),
            datacenter: old.options.datacenter.clone(),
            node: old.options.node.clone(),
            translate_wan_addrs: old.options.translate_wan_addrs,
            ..options
        };
        self.shared.settings.store(Arc::new(Settings::new(kept)?));
        Ok(())
    }

    /// Stops serving and waits a little for questions under way.
    pub async fn shutdown(self) {
        self.stop.cancel();
        self.tasks.close();
        if self
            .shared
            .env
            .timeout(DRAIN_MAX, self.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("dns tasks still run after shutdown");
        }
    }
}

impl Drop for DnsServer {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
