//! Figures of a running agent in groups, as `info` prints them.

use std::collections::BTreeMap;

use tribune_raft::{RaftMetrics, Role as RaftRole};
use tribune_types::duration::format_go;

use crate::info::COMPATIBLE_VERSION;

/// What the caller has counted.
#[derive(Debug, Clone)]
pub(crate) struct Figures<'a> {
    /// Local services.
    pub(crate) services: usize,
    /// Local checks.
    pub(crate) checks: usize,
    /// Of these, the ones that run a command.
    pub(crate) check_monitors: usize,
    /// Of these, the ones that wait for reports.
    pub(crate) check_ttls: usize,
    /// Tribune's own version and build.
    pub(crate) revision: &'a str,
    /// ACLs are enforced.
    pub(crate) acl_enabled: bool,
    /// Tasks alive in all runtimes.
    pub(crate) tasks: usize,
    /// Server or client.
    pub(crate) role: Role<'a>,
    /// The LAN gossip pool.
    pub(crate) lan: PoolFigures,
    /// The WAN gossip pool; servers only.
    pub(crate) wan: Option<PoolFigures>,
}

/// Server or client.
#[derive(Debug, Clone)]
pub(crate) enum Role<'a> {
    /// Serves.
    Server(ServerFigures<'a>),
    /// Asks servers.
    Client(ClientFigures),
}

/// Figures of a server.
#[derive(Debug, Clone)]
pub(crate) struct ServerFigures<'a> {
    /// Elected itself at its first start.
    pub(crate) bootstrap: bool,
    /// Datacenters it knows, its own included.
    pub(crate) known_datacenters: usize,
    /// It leads.
    pub(crate) leader: bool,
    /// Consensus.
    pub(crate) raft: &'a RaftMetrics,
}

/// Figures of a client.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct ClientFigures {
    /// Servers it can ask.
    pub(crate) known_servers: usize,
}

/// Figures of a gossip pool. The default is that of a pool whose only member is this agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PoolFigures {
    /// Members in any state.
    pub(crate) members: usize,
    /// Members that do not answer.
    pub(crate) failed: usize,
    /// Members that left.
    pub(crate) left: usize,
    /// Packets are encrypted.
    pub(crate) encrypted: bool,
    /// How unwell this member believes itself; 0 is well.
    pub(crate) health_score: u32,
    /// Clock of membership.
    pub(crate) member_time: u64,
    /// Clock of events.
    pub(crate) event_time: u64,
    /// Clock of queries.
    pub(crate) query_time: u64,
    /// Membership messages waiting to be sent.
    pub(crate) intent_queue: usize,
    /// Events waiting to be sent.
    pub(crate) event_queue: usize,
    /// Queries waiting to be sent.
    pub(crate) query_queue: usize,
    /// Times the coordinate was started anew.
    pub(crate) coordinate_resets: u64,
}

impl Default for PoolFigures {
    fn default() -> PoolFigures {
        PoolFigures {
            members: 1,
            failed: 0,
            left: 0,
            encrypted: false,
            health_score: 0,
            member_time: 1,
            event_time: 1,
            query_time: 1,
            intent_queue: 0,
            event_queue: 0,
            query_queue: 0,
            coordinate_resets: 0,
        }
    }
}

type Group = BTreeMap<String, String>;

/// `Stats` of `/v1/agent/self`: group, key, value.
pub(crate) fn stats(figures: &Figures<'_>) -> BTreeMap<String, Group> {
    let mut out = BTreeMap::from([
        (
            "agent".to_owned(),
            group([
                ("check_monitors", figures.check_monitors.to_string()),
                ("check_ttls", figures.check_ttls.to_string()),
                ("checks", figures.checks.to_string()),
                ("services", figures.services.to_string()),
            ]),
        ),
        (
            "build".to_owned(),
            group([
                ("prerelease", String::new()),
                ("revision", figures.revision.to_owned()),
                ("version", COMPATIBLE_VERSION.to_owned()),
            ]),
        ),
        ("runtime".to_owned(), runtime(figures.tasks)),
        ("serf_lan".to_owned(), pool(&figures.lan)),
    ]);
    let mut consul = group([(
        "acl",
        if figures.acl_enabled {
            "enabled"
        } else {
            "disabled"
        }
        .to_owned(),
    )]);
    match &figures.role {
        Role::Server(server) => {
            let leader = server
                .raft
                .leader
                .as_ref()
                .map(|leader| leader.addr.clone());
            consul.extend(group([
                ("bootstrap", server.bootstrap.to_string()),
                ("known_datacenters", server.known_datacenters.to_string()),
                ("leader", server.leader.to_string()),
                ("leader_addr", leader.unwrap_or_default()),
                ("server", "true".to_owned()),
            ]));
            out.insert("raft".to_owned(), raft(server.raft));
        }
        Role::Client(client) => {
            consul.extend(group([
                ("known_servers", client.known_servers.to_string()),
                ("server", "false".to_owned()),
            ]));
        }
    }
    out.insert("consul".to_owned(), consul);
    if let Some(wan) = &figures.wan {
        out.insert("serf_wan".to_owned(), pool(wan));
    }
    out
}

fn group<const N: usize>(pairs: [(&str, String); N]) -> Group {
    pairs
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

fn runtime(tasks: usize) -> Group {
    let cores = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .to_string();
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        arch => arch,
    };
    group([
        ("arch", arch.to_owned()),
        ("cpu_count", cores.clone()),
        ("goroutines", tasks.to_string()),
        ("max_procs", cores),
        ("os", std::env::consts::OS.to_owned()),
        ("version", format!("rust{}", env!("CARGO_PKG_RUST_VERSION"))),
    ])
}

fn raft(raft: &RaftMetrics) -> Group {
    let peers = &raft.membership.peers;
    let servers: Vec<String> = peers
        .iter()
        .map(|peer| {
            let suffrage = if peer.voter { "Voter" } else { "Nonvoter" };
            format!(
                "{{Suffrage:{suffrage} ID:{} Address:{}}}",
                peer.id, peer.addr
            )
        })
        .collect();
    let state = match raft.role {
        RaftRole::Leader => "Leader",
        RaftRole::Candidate => "Candidate",
        RaftRole::Follower | RaftRole::Learner => "Follower",
        RaftRole::Shutdown => "Shutdown",
    };
    let last_contact = match raft.last_contact {
        _ if raft.role == RaftRole::Leader => "0".to_owned(),
        None => "never".to_owned(),
        Some(age) => format_go(age),
    };
    let voters = peers.iter().filter(|peer| peer.voter).count();
    group([
        ("applied_index", raft.applied_index.0.to_string()),
        ("commit_index", raft.commit_index.0.to_string()),
        // Committed entries go to the machine at once; none waits in a queue of its own.
        ("fsm_pending", "0".to_owned()),
        ("last_contact", last_contact),
        ("last_log_index", raft.last_log_index.0.to_string()),
        ("last_log_term", raft.last_log_term.0.to_string()),
        ("last_snapshot_index", raft.snapshot_index.0.to_string()),
        ("last_snapshot_term", raft.snapshot_term.0.to_string()),
        ("latest_configuration", format!("[{}]", servers.join(" "))),
        (
            "latest_configuration_index",
            raft.membership.index.0.to_string(),
        ),
        ("num_peers", voters.saturating_sub(1).to_string()),
        ("protocol_version", "3".to_owned()),
        ("protocol_version_max", "3".to_owned()),
        ("protocol_version_min", "0".to_owned()),
        ("snapshot_version_max", "1".to_owned()),
        ("snapshot_version_min", "0".to_owned()),
        ("state", state.to_owned()),
        ("term", raft.term.0.to_string()),
    ])
}

fn pool(pool: &PoolFigures) -> Group {
    group([
        ("coordinate_resets", pool.coordinate_resets.to_string()),
        ("encrypted", pool.encrypted.to_string()),
        ("event_queue", pool.event_queue.to_string()),
        ("event_time", pool.event_time.to_string()),
        ("failed", pool.failed.to_string()),
        ("health_score", pool.health_score.to_string()),
        ("intent_queue", pool.intent_queue.to_string()),
        ("left", pool.left.to_string()),
        ("member_time", pool.member_time.to_string()),
        ("members", pool.members.to_string()),
        ("query_queue", pool.query_queue.to_string()),
        ("query_time", pool.query_time.to_string()),
    ])
}
