//! Where a request is served: here, at the leader, or nowhere yet (rpc.md section 5.1).
//!
//! In: what is asked for and what this server knows of itself and of the leader. Out: one [`Route`]. Nothing is waited for
//! and nothing is sent here.
//!
//! Reads are never sent away within the datacenter: a follower asks the leader how far the log is (a few bytes, for all
//! reads that wait at that moment), catches up to there, and evaluates and parks itself. The leader does the same with
//! itself: that it believes to lead is no licence to read, its lease or a quorum is.
//!
//! Invariant: a request that another server passed on is never passed on again, so that servers that take one another for
//! the leader do not send it around.

use tribune_net::Target;
use tribune_types::error::RpcError;
use tribune_types::query::Consistency;

/// How a request came to this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From whoever wants the answer: a front of this agent, or a client.
    Asked,
    /// Another server of this datacenter took this one for its leader.
    PassedOn,
}

/// What a request needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Any server, whatever it knows.
    AnyServer,
    /// State as good as the guarantee.
    Read(Consistency),
    /// The leader.
    Leader,
}

/// What this server knows when it decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct View {
    /// The request is for this datacenter.
    pub(crate) own_datacenter: bool,
    /// This server leads and is ready, as far as it knows.
    pub(crate) leading: bool,
    /// Who leads, if it is somebody else and is known.
    pub(crate) leader: Option<Target>,
    /// What this server has is fresh enough for a stale read: it has heard from a leader ever, and lately if the request
    /// says so.
    pub(crate) fresh: bool,
    /// This server is about to leave.
    pub(crate) leaving: bool,
}

/// Where to serve.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// Here and now.
    Here,
    /// Here, once this server has everything that was acknowledged before.
    CatchUp,
    /// At the leader.
    Leader(Target),
    /// Nowhere until there is a leader.
    Wait,
    /// Nowhere.
    Refuse(RpcError),
}

/// Decides where a request is served.
pub(crate) fn decide(need: Need, origin: Origin, view: &View) -> Route {
    if !view.own_datacenter {
        return Route::Refuse(RpcError::NoPath);
    }
    let consistency = match need {
        Need::AnyServer => return Route::Here,
        Need::Read(Consistency::Stale) if view.fresh => return Route::Here,
        Need::Read(consistency) => Some(consistency),
        Need::Leader => None,
    };
    if view.leaving {
        return Route::Refuse(RpcError::NoLeader);
    }
    match (consistency, view.leading, view.leader) {
        (Some(_), true, _) | (Some(_), false, Some(_)) => Route::CatchUp,
        (None, true, _) => Route::Here,
        (None, false, Some(leader)) if origin == Origin::Asked => Route::Leader(leader),
        // Whoever passed it on has old news, and will have newer ones when it asks again.
        (None, false, Some(_)) => Route::Refuse(RpcError::NoLeader),
        (_, false, None) => Route::Wait,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    const STALE: Need = Need::Read(Consistency::Stale);
    const DEFAULT: Need = Need::Read(Consistency::Default);
    const CONSISTENT: Need = Need::Read(Consistency::Consistent);

    fn at(port: u16) -> Target {
        SocketAddr::from(([127, 0, 0, 1], port)).into()
    }

    #[test]
    fn a_request_goes_to_the_one_place_that_may_serve_it() {
        use Origin::{Asked, PassedOn};
        let no_leader = || Route::Refuse(RpcError::NoLeader);
        let other = Some(at(1));
        // (need, origin, leading, leader elsewhere, fresh, leaving, want)
        for (need, origin, leading, leader, fresh, leaving, want) in [
            // The leader serves everything, and makes sure of its lead for reads.
            (STALE, Asked, true, None, true, false, Route::Here),
            (STALE, Asked, true, None, false, false, Route::CatchUp),
            (DEFAULT, Asked, true, None, true, false, Route::CatchUp),
            (CONSISTENT, Asked, true, None, true, false, Route::CatchUp),
            (Need::Leader, Asked, true, None, true, false, Route::Here),
            (Need::Leader, PassedOn, true, None, true, false, Route::Here),
            // A follower reads for itself and sends the rest to the leader.
            (STALE, Asked, false, other, true, false, Route::Here),
            (STALE, Asked, false, other, false, false, Route::CatchUp),
            (DEFAULT, Asked, false, other, true, false, Route::CatchUp),
            (CONSISTENT, Asked, false, other, true, false, Route::CatchUp),
            (
                Need::Leader,
                Asked,
                false,
                other,
                true,
                false,
                Route::Leader(at(1)),
            ),
            // What came from another server stays here.
            (
                Need::Leader,
                PassedOn,
                false,
                other,
                true,
                false,
                no_leader(),
            ),
            (
                Need::Leader,
                PassedOn,
                false,
                None,
                true,
                false,
                Route::Wait,
            ),
            (DEFAULT, PassedOn, false, other, true, false, Route::CatchUp),
            // Without a leader only old answers can be had, and only after there was one.
            (STALE, Asked, false, None, true, false, Route::Here),
            (STALE, Asked, false, None, false, false, Route::Wait),
            (DEFAULT, Asked, false, None, true, false, Route::Wait),
            (CONSISTENT, Asked, false, None, true, false, Route::Wait),
            (Need::Leader, Asked, false, None, true, false, Route::Wait),
            // Who leaves sends nobody on and lets nobody wait.
            (STALE, Asked, true, None, true, true, Route::Here),
            (STALE, Asked, false, None, false, true, no_leader()),
            (DEFAULT, Asked, true, None, true, true, no_leader()),
            (CONSISTENT, Asked, false, other, true, true, no_leader()),
            (Need::Leader, Asked, false, other, true, true, no_leader()),
            (Need::Leader, Asked, true, None, true, true, no_leader()),
            // Some things every server knows.
            (
                Need::AnyServer,
                Asked,
                false,
                None,
                false,
                true,
                Route::Here,
            ),
            (
                Need::AnyServer,
                PassedOn,
                false,
                other,
                false,
                false,
                Route::Here,
            ),
        ] {
            let view = View {
                own_datacenter: true,
                leading,
                leader,
                fresh,
                leaving,
            };
            assert_eq!(
                decide(need, origin, &view),
                want,
                "{need:?} {origin:?} {view:?}"
            );
            let abroad = View {
                own_datacenter: false,
                ..view
            };
            assert_eq!(
                decide(need, origin, &abroad),
                Route::Refuse(RpcError::NoPath)
            );
        }
    }
}
