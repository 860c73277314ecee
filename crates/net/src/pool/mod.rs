//! Calls to the server ports of others, over one multiplexed connection per address.
//!
//! A call takes an idle stream of the connection or opens a new one; callers of an address that has no connection yet
//! wait for one dial. A stream goes back to the idle ones only after a successful call, at most 32 of them are kept, and a
//! connection without calls is closed after two minutes (rpc.md section 1.5). Replies are not read ahead: memory is that
//! of the reply at hand.
//!
//! Calls that are answered promptly may take a [`Line`]: frames of the peer protocol, on a second connection to servers that
//! take them.
//!
//! A server that was asked and says nothing is told from one that answers slowly ([`Heed`]).
//!
//! Nothing is tried again here but the use of a connection that has ended before the call was on it.

mod conn;
mod error;
mod framed;
mod line;
mod slot;
#[cfg(test)]
mod tests;
mod vigil;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tribune_rt::{Env, TaskGroup};

pub(crate) use conn::connect;
pub use error::{CallError, Lost, NotSent};
pub use framed::Framed;
pub use line::{Line, Target};
pub(crate) use vigil::Asked;
pub use vigil::Heed;

use framed::Places;
use slot::Slot;
use vigil::Silent;

use crate::peers::rpc::Request;
use crate::yamux::KeepAlive;

/// How connections are made and kept.
#[derive(Debug, Clone)]
pub struct PoolOptions {
    /// Time for a connection to come about. Default 10 s.
    pub dial_timeout: Duration,
    /// How long a connection without calls is kept. Default 127 s, as clients do; servers 120 s.
    pub idle_timeout: Duration,
    /// Idle streams kept per connection. Default 32, as clients do; servers 64.
    pub idle_streams_max: usize,
    /// Largest reply accepted, in bytes. Default 64 MiB.
    pub reply_max: usize,
    /// Time between the pings of a connection. Default 30 s.
    pub ping_every: Duration,
    /// Time within which a server must send anything after a ping. Default 10 s.
    pub ping_within: Duration,
    /// When calls on a [`Line`] are made in frames. Default `None`: never.
    pub framed: Option<Framed>,
    /// When a server that was asked counts as silent. Default `None`: only the keep-alive of a connection ends it.
    pub heed: Option<Heed>,
}

impl Default for PoolOptions {
    fn default() -> PoolOptions {
        PoolOptions {
            dial_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(127),
            idle_streams_max: 32,
            reply_max: 64 << 20,
            ping_every: KeepAlive::default().every,
            ping_within: KeepAlive::default().within,
            framed: None,
            heed: None,
        }
    }
}

/// The connections of an agent to servers. Cheap to clone.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    env: Env,
    group: TaskGroup,
    options: PoolOptions,
    slots: Mutex<BTreeMap<SocketAddr, Arc<Slot<conn::Conn, NotSent>>>>,
    framed: Places,
    silent: Arc<Silent>,
    seq: AtomicU64,
}

impl Pool {
    /// A pool without connections. Connections are tasks of `group` and end with it.
    pub fn new(env: &Env, group: &TaskGroup, options: PoolOptions) -> Pool {
        Pool(Arc::new(Inner {
            env: env.clone(),
            group: group.clone(),
            options,
            slots: Mutex::default(),
            framed: Places::default(),
            silent: Arc::default(),
            seq: AtomicU64::new(0),
        }))
    }

    /// Calls `method` at `addr` and waits for the reply, for at most `deadline` after the connection is there. `body` is
    /// one complete MessagePack value, and so is the reply.
    ///
    /// Cancel safe: dropping the call resets its stream, so that the server need not serve it any longer. It may have been
    /// served all the same.
    ///
    /// # Errors
    /// [`CallError`] tells whether the server may have served it.
    pub async fn call(
        &self,
        addr: SocketAddr,
        method: &str,
        body: &[u8],
        deadline: Duration,
    ) -> Result<Vec<u8>, CallError> {
        self.exchange(
            addr,
            Request {
                method,
                body,
                passed_on: false,
            },
            deadline,
        )
        .await
    }

    /// Returns once there is a connection to `addr`. Cancel safe.
    ///
    /// # Errors
    /// It cannot be reached.
    pub async fn connect(&self, addr: SocketAddr) -> Result<(), CallError> {
        let made = self.conn(addr).await;
        made.map(drop).map_err(CallError::NotSent)
    }

    async fn exchange(
        &self,
        addr: SocketAddr,
        call: Request<'_>,
        deadline: Duration,
    ) -> Result<Vec<u8>, CallError> {
        let seq = self.0.seq.fetch_add(1, Ordering::Relaxed);
        let mut error = NotSent::Session;
        for _ in 0..2 {
            let conn = match self.conn(addr).await {
                Ok(conn) => conn,
                Err(err) => return Err(CallError::NotSent(err)),
            };
            match conn.call(seq, call, deadline).await {
                Err(CallError::NotSent(err)) => {
                    self.forget(addr, &conn);
                    error = err;
                }
                Err(err) => {
                    if err.is_end() {
                        self.forget(addr, &conn);
                    }
                    return Err(err);
                }
                Ok(reply) => return Ok(reply),
            }
        }
        Err(CallError::NotSent(error))
    }

    /// True while a server that owes an answer says nothing, as [`PoolOptions::heed`] says. Its calls wait all the same.
    pub fn is_silent(&self, addr: SocketAddr) -> bool {
        self.0.silent.contains(addr)
    }

    /// Addresses that there is a connection with frames to.
    pub fn framed(&self) -> Vec<SocketAddr> {
        self.0.framed.connected()
    }

    /// Addresses that there is a connection with streams to.
    pub fn connected(&self) -> Vec<SocketAddr> {
        let slots = self.0.slots.lock();
        slots
            .iter()
            .filter(|(_, slot)| slot.conn().is_some())
            .map(|(addr, _)| *addr)
            .collect()
    }

    async fn conn(&self, addr: SocketAddr) -> Result<Arc<conn::Conn>, NotSent> {
        let slot = Arc::clone(self.0.slots.lock().entry(addr).or_default());
        if let Some(conn) = slot.conn() {
            return Ok(conn);
        }
        // Seldom, and large: kept out of the calls that wait.
        Box::pin(slot.conn_or_dial(async || {
            let (conn, running) =
                conn::dial(&self.0.env, addr, &self.0.options, &self.0.silent).await?;
            let (pool, made) = (Arc::downgrade(&self.0), Arc::clone(&conn));
            let stop = self.0.group.stop().clone();
            self.0.group.spawn("rpc-session", async move {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = running => {}
                }
                if let Some(inner) = pool.upgrade() {
                    Pool(inner).forget(addr, &made);
                }
            });
            Ok(conn)
        }))
        .await
    }

    /// Lets go of a connection: new calls dial anew, calls on their way go on.
    fn forget(&self, addr: SocketAddr, conn: &Arc<conn::Conn>) {
        let mut slots = self.0.slots.lock();
        if let Some(slot) = slots.get(&addr) {
            slot.forget(conn);
            // Nobody dials or is about to.
            if slot.conn().is_none() && Arc::strong_count(slot) == 1 {
                slots.remove(&addr);
            }
        }
    }
}
