//! Watches the leader: when it is gone, an election is held at once instead of waiting out the timers.
//!
//! Three things speak for that: a connection that ended at an address that refuses new ones, the word of the pool that the
//! server failed, and silence, where the leader would have spoken four times. The last is all there is when a machine loses
//! power or stands still, and also what a stutter looks like. The consensus layer therefore asks the leader, then the others,
//! before it holds an election among them (decision 11); wrong evidence costs a change of leaders at most.

use std::time::Duration;

use tracing::info;
use tribune_raft::LeaderInfo;
use tribune_types::member::MemberStatus;

use crate::Server;
use crate::peers::peer_id;

/// After evidence that changed nothing, for instance because this server has no vote: how long until it is looked at anew.
const AGAIN: Duration = Duration::from_secs(1);

/// Watches until the server stops.
pub(crate) async fn run(server: Server) {
    let mut changes = server.raft().leader_changes();
    let mut leader = None;
    let mut said = None;
    loop {
        tokio::select! {
            biased;
            () = server.stop().cancelled() => return,
            change = changes.next() => match change {
                Some(now) => {
                    leader = now;
                    said = None;
                }
                None => return,
            },
            () = watch(&server, leader.as_ref(), &mut said) => {}
        }
    }
}

/// Watches one leader; returns only to begin anew. `said` is the last word on it.
async fn watch(server: &Server, leader: Option<&LeaderInfo>, said: &mut Option<&'static str>) {
    let Some(leader) = leader.filter(|leader| leader.id != server.options().id) else {
        return std::future::pending().await;
    };
    let directory = server.directory();
    let seen = directory.version();
    let addr = directory.addr_of(leader.id, &leader.addr);
    let failed =
        { directory.by_id(leader.id) }.is_some_and(|server| server.status == MemberStatus::Failed);
    let why = if failed {
        "the pool says that it failed"
    } else {
        let gone = async {
            match addr {
                Some(addr) => drop(server.peers().watch(peer_id(leader.id), addr).await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = gone => "its process has ended",
            () = moved(server, leader, seen) => return,
            () = server.raft().leader_silent() => "it says nothing",
        }
    };
    if said.replace(why) != Some(why) {
        info!(leader = %leader.id, "the leader seems to be gone, {why}: an election is held at once unless it answers");
    }
    server.raft().on_peer_gone(leader.id);
    server.env().sleep(AGAIN).await;
}

/// Resolves when the pool says something new about the leader: that it lives elsewhere, or that it failed.
async fn moved(server: &Server, leader: &LeaderInfo, mut seen: u64) {
    let directory = server.directory();
    let look = || {
        let found = directory.by_id(leader.id);
        let failed = found.is_some_and(|server| server.status == MemberStatus::Failed);
        (directory.addr_of(leader.id, &leader.addr), failed)
    };
    let before = look();
    loop {
        directory.changed_since(seen).await;
        seen = directory.version();
        if look() != before {
            return;
        }
    }
}
