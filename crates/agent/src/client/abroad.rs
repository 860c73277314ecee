//! Calls to the servers of another datacenter (rpc.md sections 4 and 5.1).
//!
//! Servers are asked one after the other, without a pause. Another one is asked when the one before has seen nothing of the
//! call, when its connection ended under a call that does no harm twice, and when it had no leader and said so at once, as
//! one that leaves does, or could not connect to it. Servers that have waited for a leader themselves have waited enough;
//! where none has, they are asked again and again within the hold time, with pauses.
//!
//! What a call may cost whoever makes it: a connection comes about within 5 s or not at all; one on which nothing is heard
//! any more is given up 9 s after the last sign of life; after 10 s no other server is begun with. When no server can be
//! reached, the datacenter is taken for unreachable: calls fail at once, without a try of their own, until one of its servers can
//! be connected to again, which one task looks for. So a datacenter that is gone costs the first callers seconds and
//! the others nothing, and holds neither tasks nor memory here but that one task.

#[cfg(test)]
mod tests;

use std::sync::Weak;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::select_ok;
use tracing::{debug, info, warn};
use tribune_local::servers::{may_retry, retry_pause};
use tribune_net::{CallError, PoolOptions};
use tribune_types::error::RpcError;
use tribune_types::text::Text;

use super::{Asking, Client, Kind, Place, prompt};

/// No other server is asked this long after the begin of a call.
const BUDGET: Duration = Duration::from_secs(10);
/// A server that has no leader and says so sooner than this has not waited for one.
const NOT_WAITED: Duration = Duration::from_secs(1);
/// First pause before an unreachable datacenter is looked for again.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// Longest such pause.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How connections to other datacenters are kept.
pub(crate) fn pool_options() -> PoolOptions {
    PoolOptions {
        dial_timeout: Duration::from_secs(5),
        idle_timeout: Duration::from_secs(120),
        idle_streams_max: 64,
        ping_every: Duration::from_secs(3),
        ping_within: Duration::from_secs(6),
        ..PoolOptions::default()
    }
}

/// What is known of the way to another datacenter.
pub(super) struct Abroad {
    /// None of its servers could be reached, and none was since.
    cut_off: AtomicBool,
    /// It was asked since its servers were put in order.
    used: AtomicBool,
    /// The client that this is part of.
    own: Weak<Client>,
}

/// All servers, asked once.
#[derive(Default)]
struct Round {
    asked: Vec<Text>,
    /// One of them did nothing for want of a leader.
    leaderless: bool,
    number: u32,
}

impl Round {
    fn next(self) -> Round {
        Round {
            number: self.number + 1,
            ..Round::default()
        }
    }
}

/// True if nothing was done because there was no leader, or because a server could not connect to the one that it knows:
/// servers of the original do not wait for another one then.
fn is_leaderless(said: &str) -> bool {
    said.contains("No cluster leader") || said.contains("rpc error getting client: ")
}

impl Abroad {
    pub(super) fn new(own: Weak<Client>) -> Abroad {
        Abroad {
            cut_off: AtomicBool::new(false),
            used: AtomicBool::new(false),
            own,
        }
    }
}

impl Client {
    /// False while nothing can be asked: there are no servers, or none could be reached lately.
    pub(crate) fn is_reachable(&self) -> bool {
        !self.is_cut_off() && self.server_count() > 0
    }

    fn is_cut_off(&self) -> bool {
        match &self.place {
            Place::Home(_) => false,
            Place::Abroad(state) => state.cut_off.load(Ordering::Acquire),
        }
    }

    /// True if the datacenter was asked since the last time this was.
    pub(crate) fn take_used(&self) -> bool {
        match &self.place {
            Place::Home(_) => true,
            Place::Abroad(state) => state.used.swap(false, Ordering::Relaxed),
        }
    }

    /// What is said when there is nobody to ask.
    pub(super) fn nobody(&self) -> RpcError {
        match &self.place {
            Place::Home(_) => RpcError::NoServers,
            Place::Abroad(_) => RpcError::RemoteUnreachable,
        }
    }

    pub(super) async fn call_abroad(
        &self,
        state: &Abroad,
        call: &Asking<'_>,
    ) -> Result<Vec<u8>, RpcError> {
        if state.cut_off.load(Ordering::Acquire) {
            return Err(RpcError::RemoteUnreachable);
        }
        state.used.store(true, Ordering::Relaxed);
        let label = self.datacenter.to_string();
        metrics::counter!("rpc.cross-dc", "datacenter" => label).increment(1);
        let begin = self.env.mono();
        let mut round = Round::default();
        let mut said = None;
        loop {
            let next = self.servers.lock().first_but(&round.asked).cloned();
            let Some(server) = next else {
                let waited = self.env.mono().since(begin);
                if !round.leaderless || waited >= self.hold.min(BUDGET) {
                    break;
                }
                let pause = self.env.jitter(retry_pause(round.number, self.hold));
                self.env.sleep(pause).await;
                round = round.next();
                continue;
            };
            let tried = self.env.mono();
            let target = prompt::target(&server, call.method, call.deadline);
            let answer = match self.line(&server, target).await {
                Ok(line) => self.answer(&server, line, call).await,
                Err(err) => Err(err),
            };
            let err = match answer {
                Ok(reply) => return Ok(reply),
                Err(err) => err,
            };
            let leaderless = matches!(&err, CallError::Remote(said) if is_leaderless(said));
            match &err {
                // The server is as good as any, and there is a connection to it.
                CallError::Remote(_) if !leaderless => {
                    debug!(method = call.method, %err, "call abroad failed")
                }
                _ => self.on_failure(&server, call.method, &err),
            }
            round.asked.push(server.name);
            let now = self.env.mono();
            let late = now.since(begin) >= BUDGET;
            if err.is_not_sent() {
                if late && self.servers.lock().first_but(&round.asked).is_some() {
                    return Err(said.unwrap_or(RpcError::RemoteUnreachable));
                }
                continue;
            }
            let shown = err.to_string();
            let again = if leaderless {
                round.leaderless = true;
                now.since(tried) < NOT_WAITED
            } else {
                may_retry(&shown, call.kind == Kind::Read, err.is_end())
            };
            said = Some(RpcError::Remote(shown));
            if late || !again {
                break;
            }
        }
        Err(said.unwrap_or_else(|| {
            self.cut_off(state);
            RpcError::RemoteUnreachable
        }))
    }

    /// No server could be reached: nobody tries until one can be.
    fn cut_off(&self, state: &Abroad) {
        if self.server_count() == 0 || state.cut_off.swap(true, Ordering::AcqRel) {
            return;
        }
        warn!(dc = %self.datacenter, "no server of another datacenter can be reached");
        let Some(own) = state.own.upgrade() else {
            return;
        };
        self.tasks.spawn("reach-datacenter", async move {
            let stop = own.tasks.stop().clone();
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = own.reach_again() => {}
            }
        });
    }

    /// Connects to any server of the datacenter, until that works or there is none.
    async fn reach_again(&self) {
        let Place::Abroad(state) = &self.place else {
            return;
        };
        let mut pause = PAUSE_MIN;
        loop {
            self.env.sleep(pause / 2 + self.env.jitter(pause)).await;
            pause = (pause * 2).min(PAUSE_MAX);
            let servers = self.servers.lock().all().to_vec();
            let connects = servers.iter().map(|server| self.pool.connect(server.addr));
            let connects: Vec<_> = connects.map(Box::pin).collect();
            // Without servers it is the list of them that says so.
            if servers.is_empty() || select_ok(connects).await.is_ok() {
                break;
            }
        }
        state.cut_off.store(false, Ordering::Release);
        if self.server_count() > 0 {
            info!(dc = %self.datacenter, "another datacenter can be reached again");
        }
    }
}
