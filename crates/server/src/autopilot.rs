//! Autopilot while this server leads: judges the peer set, gives votes to new servers that prove healthy, gives up dead
//! ones (rpc.md section 8.6). The decisions are `tribune_leader::autopilot`.
//!
//! Every two seconds each server is asked for its figures by RPC, all at the same time, with a second to answer; those that
//! the pool takes for dead are not asked. Dead servers are looked for every ten seconds, and at once when a server has come
//! or got its vote: a failed one is declared as left to the pools, which then takes it out of the peer set.

use std::time::Duration;

use futures_util::future::join_all;
use metrics::gauge;
use tracing::{info, warn};
use tribune_leader::autopilot::{HealthTracker, Held, Observed, Stats, prune};
use tribune_leader::peers::Peer;
use tribune_raft::{PeerInfo, RaftMetrics};
use tribune_types::autopilot::{AutopilotConfig, OperatorHealth};
use tribune_types::id::{LogIndex, Term};
use tribune_types::member::MemberStatus;
use tribune_types::text::text;
use tribune_types::time::Mono;
use tribune_wire::rpc;

use crate::Server;

/// Time for a server's figures.
const STATS_TIMEOUT: Duration = Duration::from_secs(1);
/// How often dead servers are looked for.
const PRUNE_EVERY: Duration = Duration::from_secs(10);
/// Time for one change of the peer set.
pub(crate) const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);

/// What is remembered between rounds.
#[derive(Debug, Default)]
pub(crate) struct Autopilot {
    tracker: HealthTracker,
    latest: Option<Latest>,
    /// A server has come: look for dead ones at the next round.
    prune_soon: bool,
}

#[derive(Debug)]
struct Latest {
    at: Mono,
    /// The peer set that was judged.
    membership: LogIndex,
    report: OperatorHealth,
}

/// One round's findings.
struct Round {
    config: AutopilotConfig,
    observed: Vec<Observed>,
    report: OperatorHealth,
}

/// Works until dropped at the end of the term.
pub(crate) async fn run(server: &Server) {
    *server.autopilot().lock() = Autopilot::default();
    let mut prune_at = server.env().mono() + PRUNE_EVERY;
    let mut held = None;
    loop {
        let round = judge(server).await;
        gauge!("autopilot.healthy").set(if round.report.healthy { 1.0 } else { 0.0 });
        gauge!("autopilot.failure_tolerance").set(f64::from(round.report.failure_tolerance));
        let promoted = promote(server, &round).await;
        let soon = std::mem::take(&mut server.autopilot().lock().prune_soon);
        let now = server.env().mono();
        if promoted || soon || now >= prune_at {
            prune_at = now + PRUNE_EVERY;
            give_up(server, &round.config, &mut held).await;
        }
        server.env().sleep(server.options().health_interval).await;
    }
}

/// A server has come into the peer set.
pub(crate) fn on_joined(server: &Server) {
    server.autopilot().lock().prune_soon = true;
}

/// The health of the peer set: the last verdict if it is fresh, else a new one.
pub(crate) async fn report(server: &Server) -> OperatorHealth {
    let now = server.env().mono();
    let membership = server.raft().membership().index;
    let fresh = |latest: &&Latest| {
        latest.membership == membership && now.since(latest.at) < server.options().health_interval
    };
    let known = {
        let autopilot = server.autopilot().lock();
        let latest = autopilot.latest.as_ref().filter(fresh);
        latest.map(|latest| latest.report.clone())
    };
    match known {
        Some(report) => report,
        None => judge(server).await.report,
    }
}

async fn judge(server: &Server) -> Round {
    let version = server.version();
    let config = { version.autopilot() }
        .map(|config| (*config).clone())
        .unwrap_or_default();
    let own = server.raft().metrics();
    let membership = server.raft().membership();
    let observed = join_all(
        membership
            .peers
            .iter()
            .map(|peer| observe(server, &own, peer)),
    )
    .await;
    let at = server.env().mono();
    let mut autopilot = server.autopilot().lock();
    let report = { &mut autopilot.tracker }.observe((server.env().wall(), at), &config, &observed);
    autopilot.latest = Some(Latest {
        at,
        membership: membership.index,
        report: report.clone(),
    });
    Round {
        config,
        observed,
        report,
    }
}

async fn observe(server: &Server, own: &RaftMetrics, peer: &PeerInfo) -> Observed {
    let options = server.options();
    let known = server.directory().by_id(peer.id);
    let mut observed = Observed {
        id: peer.id,
        name: known
            .as_ref()
            .map(|known| known.name.clone())
            .or_else(|| Some(server.version().node_by_id(&peer.id)?.name.clone()))
            .unwrap_or_else(|| text("(unknown)")),
        address: text(&peer.addr),
        version: known
            .as_ref()
            .map_or_else(|| options.version.clone(), |known| known.version.clone()),
        serf: known.map_or(MemberStatus::None, |known| known.status),
        leader: peer.id == options.id,
        voter: peer.voter,
        stats: None,
    };
    if observed.leader {
        observed.name = options.node.clone();
        observed.version = options.version.clone();
        observed.serf = MemberStatus::Alive;
        observed.stats = Some(Stats {
            last_contact: Duration::ZERO,
            last_term: Term(own.last_log_term.0),
            last_index: own.last_log_index.0,
        });
    } else if observed.serf != MemberStatus::Failed && observed.serf != MemberStatus::Left {
        observed.stats = stats_of(server, peer).await;
    }
    observed
}

async fn stats_of(server: &Server, peer: &PeerInfo) -> Option<Stats> {
    let addr = server.directory().addr_of(peer.id, &peer.addr)?;
    let called = { server.calls() }.call(addr, rpc::RAFT_STATS, rpc::EMPTY, STATS_TIMEOUT);
    // The time for a connection counts, too.
    let reply = server
        .env()
        .timeout(STATS_TIMEOUT, called)
        .await
        .ok()?
        .ok()?;
    let stats = rpc::decode_server_stats(&reply).ok()?;
    Some(Stats {
        last_contact: stats.last_contact?,
        last_term: stats.last_term,
        last_index: stats.last_index,
    })
}

/// Gives votes to those who have earned them. True if somebody got one.
async fn promote(server: &Server, round: &Round) -> bool {
    let now = server.env().mono();
    let earned = {
        let autopilot = server.autopilot().lock();
        { &autopilot.tracker }.promotable(now, &round.config, &round.observed)
    };
    let mut promoted = false;
    for id in earned {
        if { server.directory().by_id(id) }.is_some_and(|known| !known.voter) {
            continue;
        }
        let change = server.raft().add_voter(id);
        match server.env().timeout(CHANGE_TIMEOUT, change).await {
            Ok(Ok(_)) => {
                info!(server = %id, "autopilot: server is stable and has a vote now");
                promoted = true;
            }
            Ok(Err(err)) => {
                warn!(server = %id, %err, "autopilot: failed to give a server its vote")
            }
            Err(_) => warn!(server = %id, "autopilot: giving a server its vote takes long"),
        }
    }
    promoted
}

/// Gives up dead servers, as far as the settings and the majority allow.
async fn give_up(server: &Server, config: &AutopilotConfig, held: &mut Option<Held>) {
    let peers = peers(server);
    let complete = { server.membership() }
        .settled(server.env().mono())
        .is_some();
    let servers = server.directory().servers();
    let pruning = prune(server.options().id, config, &servers, &peers, complete);
    if let Some(why) = &pruning.held
        && held.as_ref() != Some(why)
    {
        warn!("autopilot: dead servers are not removed: {why}");
    }
    *held = pruning.held;
    for name in pruning.force_leave {
        info!(server = %name, "autopilot: removing a failed server");
        server.force_leave(name);
    }
    for id in pruning.remove {
        info!(server = %id, "autopilot: removing a peer that the pool does not know");
        let change = server.raft().remove(id);
        match server.env().timeout(CHANGE_TIMEOUT, change).await {
            Ok(Ok(_)) => {}
            Ok(Err(err)) => warn!(server = %id, %err, "autopilot: failed to remove a peer"),
            Err(_) => warn!(server = %id, "autopilot: removing a peer takes long"),
        }
    }
}

/// The peer set as the planners know it.
pub(crate) fn peers(server: &Server) -> Vec<Peer> {
    let membership = server.raft().membership();
    let peers = membership.peers.into_iter().map(|peer| Peer {
        id: peer.id,
        addr: peer.addr,
        voter: peer.voter,
    });
    peers.collect()
}
