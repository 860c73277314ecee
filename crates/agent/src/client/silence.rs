//! What a client agent does about a server that falls silent without closing its connections, as when its machine loses
//! power, its process is stopped or a cable is cut: gossip takes seconds to tell.
//!
//! In: the servers that owe an answer and say nothing ([`tribune_net::Heed`]). Out: the server to ask next, and when a call is
//! to be asked elsewhere as well. A silent server is passed over as long as another one is not silent, as one that failed;
//! who belongs to the pool is for gossip alone to say.
//!
//! A server that is only slow does no harm and takes none: what it was asked it may still answer. So calls that wait for a
//! change, of which it may have thousands, are asked elsewhere only when it stays silent for a while longer, and not all
//! at once.
//!
//! Who hears nobody gives up nobody: then it is more likely this agent that is cut off.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tracing::warn;
use tribune_local::servers::{ServerAddr, Servers};
use tribune_net::Heed;
use tribune_types::text::Text;

use super::{Asking, CALL_TIMEOUT, Client};

/// Silence after which a server is asked for a sign of life, and silence after that.
const PING_AFTER: Duration = Duration::from_millis(250);
const SILENT_AFTER: Duration = Duration::from_millis(500);
/// A server that takes longer to connect to is passed over if there are others: the same time, in as many steps, so that a
/// stall of this process is none of the server.
const SLOW_STEP: Duration = Duration::from_millis(50);
const SLOW_STEPS: u32 = 15;
/// How much longer at least a server is silent before what waits for a change is asked elsewhere; up to three times as long,
/// at random.
const WATCH_PAUSE: Duration = Duration::from_secs(1);

/// When a server is silent. `changed` is woken when one falls silent or is heard again.
pub(super) fn heed(changed: &Arc<Notify>) -> Heed {
    Heed {
        ping_after: PING_AFTER,
        silent_after: SILENT_AFTER,
        prompt_max: CALL_TIMEOUT,
        changed: Arc::clone(changed),
    }
}

/// Why a silent server is passed over.
pub(super) const SAYS_NOTHING: &str = "says nothing";

/// Tells it once, however many calls find the same.
fn pass_over(servers: &mut Servers, server: &ServerAddr, err: &'static str) {
    if servers
        .first()
        .is_some_and(|first| first.name == server.name)
    {
        warn!(server = %server.name, addr = %server.addr, err, "server not reached");
        servers.on_failure(&server.name);
    }
}

impl Client {
    /// The server to ask: the first one that is not silent, which becomes the first of all, or just the first.
    pub(super) fn next_server(&self) -> Option<ServerAddr> {
        let mut servers = self.servers.lock();
        let heard = |server: &ServerAddr| !self.pool.is_silent(server.addr);
        let silent = servers.all().iter().position(heard).unwrap_or(0);
        for _ in 0..silent {
            let server = servers.first()?.clone();
            pass_over(&mut servers, &server, SAYS_NOTHING);
        }
        servers.first().cloned()
    }

    /// Puts a server that is not reached at the end.
    pub(super) fn pass_over(&self, server: &ServerAddr, err: &'static str) {
        pass_over(&mut self.servers.lock(), server, err);
    }

    /// The server to ask after those that were: one that is not silent, if there is one.
    pub(super) fn next_server_but(&self, asked: &[Text]) -> Option<ServerAddr> {
        let servers = self.servers.lock();
        let heard = self.others(&servers, asked).next();
        heard.or_else(|| servers.first_but(asked)).cloned()
    }

    /// Servers that are neither silent nor among these.
    fn others<'a>(
        &'a self,
        servers: &'a Servers,
        but: &'a [Text],
    ) -> impl Iterator<Item = &'a ServerAddr> {
        let others = { servers.all().iter() }.filter(|server| !but.contains(&server.name));
        others.filter(|server| !self.pool.is_silent(server.addr))
    }

    /// True if a server is silent and another one is not.
    fn is_doubtful(&self, server: &ServerAddr) -> bool {
        if !self.pool.is_silent(server.addr) {
            return false;
        }
        let servers = self.servers.lock();
        let other = { self.others(&servers, std::slice::from_ref(&server.name)) }.next();
        other.is_some()
    }

    /// Resolves when a call to `server` is better asked elsewhere, too.
    pub(super) async fn in_doubt(&self, server: &ServerAddr, call: &Asking<'_>) {
        loop {
            self.until(|| self.is_doubtful(server)).await;
            if call.deadline <= CALL_TIMEOUT {
                return;
            }
            let pause = WATCH_PAUSE + self.env.jitter(2 * WATCH_PAUSE);
            let heard = self.until(|| !self.is_doubtful(server));
            // Seldom: kept out of the future that parks.
            if Box::pin(self.env.timeout(pause, heard)).await.is_err() {
                return;
            }
        }
    }

    /// Resolves when connecting to `server` has taken long, and there are others that have not, `slow` ones apart.
    pub(super) async fn is_slow(&self, server: &ServerAddr, slow: &[Text]) {
        for _ in 0..SLOW_STEPS {
            self.env.sleep(SLOW_STEP).await;
        }
        let is_other = |other: &ServerAddr| other.name != server.name;
        let has_others = self.others(&self.servers.lock(), slow).any(is_other);
        if slow.contains(&server.name) || !has_others {
            // There is time, up to what a connection may take.
            std::future::pending::<()>().await;
        }
    }
}
