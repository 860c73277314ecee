//! The leader's task: lives from winning an election to losing it.
//!
//! On gaining leadership: a barrier, soft memory built anew from the state, autopilot settings stored if absent, the
//! server itself registered in the catalog, and only then ready for consistent reads. While leading: sessions are ended
//! on time, tombstones reaped, coordinates committed; the peer set and the catalog follow the gossip pool
//! (`reconciling`), and servers are looked after (`autopilot`).

use std::time::Duration;

use metrics::{counter, histogram};
use tokio::sync::mpsc;
use tracing::{debug, info, warn};
use tribune_raft::LeadershipChange;
use tribune_rt::Stopwatch;
use tribune_types::command::Command;
use tribune_types::error::RpcError;
use tribune_types::id::Index;
use tribune_types::time::Mono;

use crate::{Server, autopilot, reconciling};

/// Wait before establishing leadership is tried again.
const ESTABLISH_RETRY: Duration = Duration::from_secs(1);

/// Follows leadership changes until the server stops.
pub(crate) async fn run(server: Server, mut changes: mpsc::UnboundedReceiver<LeadershipChange>) {
    let mut term = None;
    loop {
        let change = match term {
            None => tokio::select! {
                biased;
                () = server.stop().cancelled() => return,
                change = changes.recv() => change,
            },
            Some(_) => tokio::select! {
                biased;
                () = server.stop().cancelled() => return,
                change = changes.recv() => change,
                () = lead(&server) => continue,
            },
        };
        match change {
            None => return,
            Some(LeadershipChange::Gained { term: gained }) => {
                info!(term = gained.0, "cluster leadership acquired");
                server.soft().clear();
                term = Some(gained);
            }
            Some(LeadershipChange::Lost) => {
                info!("cluster leadership lost");
                server.set_ready(false);
                server.soft().clear();
                term = None;
            }
        }
        server.leading().notify_waiters();
    }
}

/// Leads until dropped. Returns only when it must start over: establishing failed, or the state was replaced.
async fn lead(server: &Server) {
    let epoch = server.store().load().epoch;
    if let Err(err) = establish(server).await {
        warn!(%err, "failed to establish leadership, trying again");
        server.env().sleep(ESTABLISH_RETRY).await;
        return;
    }
    server.set_ready(true);
    server.leading().notify_waiters();
    // They end with the term: they are dropped together.
    tokio::select! {
        biased;
        () = duties(server, epoch) => {}
        () = reconciling::run(server) => {}
        () = autopilot::run(server) => {}
    }
}

/// What is due by time, until the state is replaced.
async fn duties(server: &Server, epoch: u64) {
    let mut coordinates_at = server.env().mono() + server.options().coordinate_period;
    loop {
        let wake = next_wake(server).map_or(coordinates_at, |at| at.min(coordinates_at));
        tokio::select! {
            biased;
            () = server.soft().changed.notified() => {}
            () = server.env().sleep_until(wake) => {}
        }
        if server.store().load().epoch != epoch {
            info!("state replaced, establishing leadership anew");
            server.soft().clear();
            return;
        }
        let now = server.env().mono();
        end_sessions(server, now).await;
        reap_tombstones(server, now).await;
        if now >= coordinates_at {
            coordinates_at = now + server.options().coordinate_period;
            commit_coordinates(server).await;
        }
    }
}

async fn establish(server: &Server) -> Result<(), RpcError> {
    {
        counter!("raft.barrier").increment(1);
        let _timed = Stopwatch::start(server.env(), &histogram!("leader.barrier"));
        let reached = server.raft().read_barrier().await;
        reached.map_err(|_| RpcError::NoLeader)?;
    }
    let version = server.store().load().version.clone();
    {
        let now = server.env().mono();
        let mut timers = server.soft().sessions.lock();
        for session in version.sessions() {
            timers.on_session(now, session);
        }
        let newest = version.newest_tombstone();
        if newest > Index(0) {
            server.soft().tombstones.lock().on_delete(now, newest);
        }
    }
    if version.autopilot().is_none() {
        let config = server.options().autopilot.clone();
        server
            .propose(Command::Autopilot { config, cas: None })
            .await?;
    }
    reconciling::register_self(server).await
}

fn next_wake(server: &Server) -> Option<Mono> {
    let sessions = server.soft().sessions.lock().next_wake();
    let tombstones = server.soft().tombstones.lock().next_wake();
    match (sessions, tombstones) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

async fn end_sessions(server: &Server, now: Mono) {
    let due = server.soft().sessions.lock().due(now);
    for id in due {
        debug!(session = %id, "session TTL expired");
        let _timed = Stopwatch::start(server.env(), &histogram!("session_ttl.invalidate"));
        if let Err(err) = server.propose(Command::SessionDestroy(id)).await {
            warn!(session = %id, %err, "failed to end an expired session");
            server
                .soft()
                .sessions
                .lock()
                .on_end_failed(server.env().mono(), id);
        } else {
            server.soft().sessions.lock().on_ended(id);
        }
    }
}

async fn reap_tombstones(server: &Server, now: Mono) {
    let Some(index) = server.soft().tombstones.lock().due(now) else {
        return;
    };
    let _timed = Stopwatch::start(server.env(), &histogram!("leader.reapTombstones"));
    if let Err(err) = server.propose(Command::ReapTombstones(index)).await {
        warn!(index = index.0, %err, "failed to reap tombstones");
        server.soft().tombstones.lock().on_delete(now, index);
    }
}

async fn commit_coordinates(server: &Server) {
    let batches = server.coordinates().lock().take();
    for batch in batches {
        if let Err(err) = server.propose(Command::Coordinates(batch)).await {
            warn!(%err, "failed to commit coordinates");
            return;
        }
    }
}
