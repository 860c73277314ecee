//! Which calls of a client agent go in frames (see `tribune-net`), and when.
//!
//! In: a call. Out: the server as calls in frames, or on streams, know it. Frames cost less, but what waits takes one of a
//! few places, and what is large stands before everything behind it. So blocking queries, of which an agent may have
//! thousands, lists of everything and transactions stay on streams.
//!
//! An agent that asks little has no second connection: it would keep a timer here and at the server for nothing.

use std::time::Duration;

use tribune_local::servers::ServerAddr;
use tribune_net::{Framed, Heed, PeerId, PoolOptions, Target};
use tribune_types::id::NodeId;
use tribune_wire::rpc;

use super::CALL_TIMEOUT;

/// Calls within a second that are worth a second connection.
const CALLS_MIN: u32 = 8;
/// How long it is kept without calls.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// How connections to the servers of the own datacenter are kept.
pub(super) fn pool_options(own: NodeId, heed: Heed) -> PoolOptions {
    PoolOptions {
        framed: Some(Framed {
            own: PeerId(own.0),
            calls_min: CALLS_MIN,
            idle_timeout: IDLE_TIMEOUT,
        }),
        heed: Some(heed),
        ..PoolOptions::default()
    }
}

/// The server, for one call.
pub(super) fn target(server: &ServerAddr, method: &str, deadline: Duration) -> Target {
    let id = server.id.filter(|_| is_prompt(method, deadline));
    Target {
        addr: server.addr,
        id: id.map(|id| PeerId(id.0)),
    }
}

/// True for a call that is answered promptly and with little. Whatever waits for a change has a longer deadline.
fn is_prompt(method: &str, deadline: Duration) -> bool {
    deadline <= CALL_TIMEOUT && !rpc::is_large(method)
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;

    #[test]
    fn only_small_calls_that_do_not_wait_go_in_frames_and_only_to_known_servers() {
        let id = NodeId::from_random([7; 16]);
        let longer = CALL_TIMEOUT + Duration::from_millis(1);
        // (method, deadline, in frames)
        for (method, deadline, framed) in [
            ("KVS.Get", CALL_TIMEOUT, true),
            ("KVS.Get", longer, false),
            ("KVS.Apply", CALL_TIMEOUT, true),
            ("Health.ServiceNodes", CALL_TIMEOUT, true),
            ("Session.Renew", CALL_TIMEOUT, true),
            ("Status.Leader", CALL_TIMEOUT, true),
            ("KVS.List", CALL_TIMEOUT, false),
            ("KVS.ListKeys", CALL_TIMEOUT, false),
            ("Internal.NodeDump", CALL_TIMEOUT, false),
            ("Txn.Apply", CALL_TIMEOUT, false),
        ] {
            for id in [None, Some(id)] {
                let server = ServerAddr {
                    name: text("s"),
                    addr: ([127, 0, 0, 1], 8300).into(),
                    datacenter: text("dc1"),
                    id,
                };
                let want = id.filter(|_| framed).map(|id| PeerId(id.0));
                assert_eq!(target(&server, method, deadline).id, want, "{method}");
            }
        }
    }
}
