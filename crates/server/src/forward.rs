//! Requests that only the leader serves, on servers that do not lead: passed on to it in frames of the peer protocol, on one
//! connection beside that of the consensus layer. Where that has no more room they go on streams (`tribune_net::Line`).
//!
//! In: a method and a body, from a front of this agent (encoded once) or from the server port (copied, never decoded). Out:
//! the leader's reply, or that this server leads now and shall serve the request itself.
//!
//! What happens to a request is one of three things, and they are kept apart. The leader answered: its words are passed
//! on, with the prefix that callers know. Nothing was done, because there was no leader, no connection to it, or it leads
//! no more: the request is held and tried again, as [`hold`](crate::hold) says. The connection ended after the request was
//! on it: nobody knows what became of it, and it is never tried again, unless twice is as good as once.
//!
//! A connection to a leader that lost its lead but does not close (its process is paused, the network is cut) would be
//! waited for until its keep-alive fails. The leader's successor can only be there because the old one can commit
//! nothing more, so a request is given up a moment after the successor is known.

use std::pin::{Pin, pin};
use std::time::Duration;

use tokio::sync::futures::Notified;
use tracing::debug;
use tribune_net::{CallError, Framed, Lost, NotSent, PeerId, PoolOptions, Target};
use tribune_types::error::RpcError;
use tribune_types::text::Text;
use tribune_wire::rpc::{self, Effect, Outline};

use crate::Server;
use crate::hold::Hold;
use crate::peers::peer_id;
use crate::route::{Need, Origin, Route, View, decide};

/// Longest time a leader may take: a proposal has a limit of its own, which is shorter.
const CALL_TIMEOUT: Duration = Duration::from_secs(60);
/// How long the answer of a former leader is waited for: it may be on its way. One that handed its office over has answered
/// before, and where its process has ended nobody waits, so this is for a leader that fell silent.
const GRACE: Duration = Duration::from_millis(300);

/// How long a connection between servers is kept without calls.
const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// How connections between servers are kept (rpc.md section 1.5).
pub(crate) fn pool_options(own: PeerId) -> PoolOptions {
    PoolOptions {
        idle_timeout: IDLE_TIMEOUT,
        framed: Some(Framed {
            own,
            calls_min: 0,
            idle_timeout: IDLE_TIMEOUT,
        }),
        idle_streams_max: 64,
        ..PoolOptions::default()
    }
}

/// Wakes whoever waits for a leader when another one is known, until the server stops.
pub(crate) async fn follow(server: Server) {
    let mut changes = server.raft().leader_changes();
    loop {
        let leader = tokio::select! {
            biased;
            () = server.stop().cancelled() => return,
            change = changes.next() => match change {
                Some(leader) => leader,
                None => return,
            },
        };
        match leader {
            Some(leader) => debug!(id = %leader.id, addr = %leader.addr, "another leader is known"),
            None => debug!("no leader is known"),
        }
        server.leading().notify_waiters();
    }
}

impl Server {
    /// Passes a call that arrived on the server port on to the leader, if it is for the leader and somebody else is it.
    /// `None`: serve it here. The body need not be understood here, only its datacenter is looked at.
    ///
    /// Cancel safe: the request may be served all the same.
    ///
    /// # Errors
    /// The leader's words, or why it was not asked, or that it is not known what became of the request.
    pub async fn relay(
        &self,
        origin: Origin,
        method: &str,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, RpcError> {
        if !rpc::is_for_leader(method) || self.leads_on() {
            return Ok(None);
        }
        match Outline::of(body) {
            Ok(outline) if *outline.datacenter == *self.options().datacenter => {}
            // What is wrong with it, the decoder can tell better.
            _ => return Ok(None),
        }
        self.at_leader(origin, &mut self.hold(), method, body).await
    }

    /// Asks the leader until it answers; `None` as soon as this server leads itself.
    ///
    /// # Errors
    /// As [`Server::relay`].
    pub(crate) async fn at_leader(
        &self,
        origin: Origin,
        hold: &mut Hold,
        method: &str,
        body: &[u8],
    ) -> Result<Option<Vec<u8>>, RpcError> {
        loop {
            let mut changed = pin!(self.leading().notified());
            let Some(leader) = self.find_leader(origin, hold).await? else {
                return Ok(None);
            };
            let err = match self.call(leader, method, body, changed.as_mut()).await {
                Ok(reply) => return Ok(Some(reply)),
                Err(err) => err,
            };
            let again = err.is_not_sent()
                || is_no_leader(&err)
                || (err.is_end() && does_no_harm_twice(method));
            debug!(leader = %leader.addr, method, %err, again, "the leader did not serve a request");
            let err = RpcError::Remote(err.to_string());
            if !again || !self.wait(hold, changed).await? {
                return Err(err);
            }
        }
    }

    /// Waits for a leader: who and where it is, or `None` if this server is it.
    ///
    /// # Errors
    /// There is none within the hold time, or the request must not be passed on.
    pub(crate) async fn find_leader(
        &self,
        origin: Origin,
        hold: &mut Hold,
    ) -> Result<Option<Target>, RpcError> {
        loop {
            let changed = pin!(self.leading().notified());
            match decide(Need::Leader, origin, &self.view()) {
                Route::Leader(leader) => return Ok(Some(leader)),
                Route::Here => return Ok(None),
                Route::Refuse(err) => return Err(err),
                Route::Wait | Route::CatchUp => {}
            }
            if !self.wait(hold, changed).await? {
                return Err(RpcError::NoLeader);
            }
        }
    }

    /// What is known of the leader now, for a request of this datacenter that is not stale.
    pub(crate) fn view(&self) -> View {
        let leading = self.is_leader();
        View {
            own_datacenter: true,
            leading,
            leader: if leading { None } else { self.leader() },
            fresh: false,
            leaving: self.is_leaving(),
        }
    }

    /// True while this server neither leads nor knows who does.
    pub(crate) fn is_leaderless(&self) -> bool {
        !self.is_leader() && !self.raft().has_leader()
    }

    /// The leader, if somebody else is it.
    fn leader(&self) -> Option<Target> {
        let leader = self.raft().leader()?;
        if leader.id == self.options().id {
            return None;
        }
        // The pool knows sooner than the log where a server lives that came back elsewhere.
        let addr = self.directory().addr_of(leader.id, &leader.addr)?;
        Some(Target {
            addr,
            id: Some(peer_id(leader.id)),
        })
    }

    /// True if requests for the leader are served here: the short way, before anything is decided.
    pub(crate) fn leads_on(&self) -> bool {
        self.is_leader() && !self.is_leaving()
    }

    /// True if a request for `datacenter` is for this one; `None` is.
    pub(crate) fn is_own_datacenter(&self, datacenter: Option<&Text>) -> bool {
        datacenter.is_none_or(|dc| **dc == *self.options().datacenter)
    }

    /// Makes one call. `changed` tells of news about who leads since before `leader` was looked up.
    async fn call(
        &self,
        leader: Target,
        method: &str,
        body: &[u8],
        mut changed: Pin<&mut Notified<'_>>,
    ) -> Result<Vec<u8>, CallError> {
        // First the connection alone: while there is none, giving up is harmless.
        let line = tokio::select! {
            biased;
            line = self.calls().line(leader) => line?,
            () = self.superseded(leader, changed.as_mut()) => {
                return Err(CallError::NotSent(NotSent::Session));
            }
        };
        tokio::select! {
            biased;
            reply = line.pass_on(method, body, CALL_TIMEOUT) => reply,
            () = self.given_up(leader, changed) => Err(CallError::FateUnknown(Lost::Eof)),
        }
    }

    /// Resolves once somebody else than `leader` is known to lead.
    async fn superseded(&self, leader: Target, mut changed: Pin<&mut Notified<'_>>) {
        changed.as_mut().await;
        loop {
            let changed = self.leading().notified();
            if self.is_leader() || self.leader().is_some_and(|known| known != leader) {
                return;
            }
            changed.await;
        }
    }

    async fn given_up(&self, leader: Target, changed: Pin<&mut Notified<'_>>) {
        self.superseded(leader, changed).await;
        self.env().sleep(GRACE).await;
    }
}

/// True for what is asked of the leader and changes nothing that a second time would not change in the same way.
fn does_no_harm_twice(method: &str) -> bool {
    rpc::effect_abroad(method) == Some(Effect::Read)
}

/// True if the answer says that nothing was done for want of a leader.
fn is_no_leader(err: &CallError) -> bool {
    matches!(err, CallError::Remote(text) if text.contains(NO_LEADER))
}

/// Matched by everybody who forwards (rpc.md section 3).
const NO_LEADER: &str = "No cluster leader";

/// A reply that cannot be understood. The request was served.
pub(crate) fn unreadable(err: &rpc::Error) -> RpcError {
    RpcError::Remote(format!("rpc error making call: {err}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_text_of_the_original_says_that_there_was_no_leader() {
        assert_eq!(RpcError::NoLeader.to_string(), NO_LEADER);
        for (err, want) in [
            (CallError::Remote(NO_LEADER.to_owned()), true),
            (
                CallError::Remote(format!("rpc error making call: {NO_LEADER}")),
                true,
            ),
            (CallError::Remote("Permission denied".to_owned()), false),
            (CallError::FateUnknown(Lost::Eof), false),
            (
                CallError::FateUnknown(Lost::Broken(NO_LEADER.to_owned())),
                false,
            ),
        ] {
            assert_eq!(is_no_leader(&err), want, "{err}");
        }
    }
}
