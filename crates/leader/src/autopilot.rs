//! Autopilot: the health of servers by their own figures, who earns a vote, and which dead servers are given up
//! (rpc.md section 8.6).
//!
//! In: what is observed of the servers, the settings, the peer set and the pool. Out: verdicts with the time since when
//! they hold, and who is to be promoted or removed. Dead servers go only while a majority of the voters is left, or
//! one mistake of the pool would end the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tribune_types::autopilot::{AutopilotConfig, OperatorHealth, ServerHealth};
use tribune_types::id::{NodeId, Term};
use tribune_types::member::MemberStatus;
use tribune_types::text::Text;
use tribune_types::time::{Mono, Wall};

use crate::peers::{Peer, PoolServer};

/// What is known of one server at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// Node identity.
    pub id: NodeId,
    /// Node name.
    pub name: Text,
    /// `ip:port` of the server RPC.
    pub address: Text,
    /// Version it runs.
    pub version: Text,
    /// Gossip status.
    pub serf: MemberStatus,
    /// It leads.
    pub leader: bool,
    /// It votes.
    pub voter: bool,
    /// Its own figures; `None` if it did not answer in time.
    pub stats: Option<Stats>,
}

/// Figures a server reports of its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Time since it heard the leader; zero on the leader.
    pub last_contact: Duration,
    /// Term of its last entry.
    pub last_term: Term,
    /// Index of its last entry.
    pub last_index: u64,
}

/// Times are told in whole seconds.
const NS_PER_SECOND: u64 = 1_000_000_000;

/// Remembers since when each server is healthy or not.
#[derive(Debug, Default)]
pub struct HealthTracker {
    since: BTreeMap<NodeId, Verdict>,
}

#[derive(Debug, Clone, Copy)]
struct Verdict {
    healthy: bool,
    /// Since when, as clients are told.
    since: Wall,
    /// Since when, by the clock that does not jump.
    at: Mono,
}

impl HealthTracker {
    /// Judges all servers of the peer set. Servers that are gone are forgotten.
    pub fn observe(
        &mut self,
        (now, mono): (Wall, Mono),
        config: &AutopilotConfig,
        servers: &[Observed],
    ) -> OperatorHealth {
        let leader = servers.iter().find(|s| s.leader).and_then(|s| s.stats);
        let mut report = OperatorHealth {
            healthy: true,
            failure_tolerance: 0,
            servers: Vec::new(),
        };
        let (mut voters, mut healthy_voters) = (0u32, 0u32);
        let mut kept = BTreeMap::new();
        for server in servers {
            let healthy = is_healthy(config, leader, server);
            let verdict = match self.since.get(&server.id) {
                // Nothing is known of it, not even since when; so Consul says.
                _ if server.stats.is_none() => Verdict {
                    healthy,
                    since: Wall(0),
                    at: mono,
                },
                Some(before) if before.healthy == healthy => *before,
                _ => Verdict {
                    healthy,
                    since: Wall(now.0 - now.0 % NS_PER_SECOND),
                    at: mono,
                },
            };
            kept.insert(server.id, verdict);
            voters += u32::from(server.voter);
            healthy_voters += u32::from(server.voter && healthy);
            report.healthy &= healthy;
            report.servers.push(ServerHealth {
                id: server.id,
                name: server.name.clone(),
                address: server.address.clone(),
                serf_status: Text::from(server.serf.as_str()),
                version: server.version.clone(),
                leader: server.leader,
                last_contact: server.stats.map(|s| s.last_contact),
                last_term: server.stats.map_or(Term(0), |s| s.last_term),
                last_index: server.stats.map_or(0, |s| s.last_index),
                healthy,
                voter: server.voter,
                stable_since: verdict.since,
            });
        }
        self.since = kept;
        report.failure_tolerance = healthy_voters.saturating_sub(voters / 2 + 1);
        report
    }

    /// Servers without a vote that have been healthy long enough to get one. Those that are not to vote at all are the
    /// caller's to leave out.
    pub fn promotable(
        &self,
        mono: Mono,
        config: &AutopilotConfig,
        servers: &[Observed],
    ) -> Vec<NodeId> {
        let stable = |server: &&Observed| {
            let verdict = self.since.get(&server.id);
            !server.voter
                && verdict.is_some_and(|verdict| {
                    verdict.healthy && mono.since(verdict.at) >= config.server_stabilization_time
                })
        };
        let found = servers.iter().filter(stable);
        found.map(|server| server.id).collect()
    }

    /// Forgets everything: another server leads, or the term is new.
    pub fn clear(&mut self) {
        self.since.clear();
    }
}

fn is_healthy(config: &AutopilotConfig, leader: Option<Stats>, server: &Observed) -> bool {
    let (Some(leader), Some(stats)) = (leader, server.stats) else {
        return false;
    };
    server.serf == MemberStatus::Alive
        && stats.last_contact <= config.last_contact_threshold
        && stats.last_term == leader.last_term
        && leader.last_index.saturating_sub(stats.last_index) <= config.max_trailing_logs
}

/// Dead servers to give up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pruning {
    /// Failed members to declare as left; they then leave the peer set, too.
    pub force_leave: Vec<Text>,
    /// Peers that the pool does not know, to be removed from the peer set.
    pub remove: Vec<NodeId>,
    /// Why dead voters are kept all the same.
    pub held: Option<Held>,
}

/// Why dead voters stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Held {
    /// Too few would be left for the settings.
    #[error("{dead} of {voters} voters are dead, and at least {min} must stay")]
    MinQuorum {
        /// Dead voters.
        dead: u64,
        /// Voters.
        voters: u64,
        /// `min_quorum`.
        min: u64,
    },
    /// Too many are dead to tell who is cut off.
    #[error("{dead} of {voters} voters are dead, which is not a minority")]
    TooMany {
        /// Dead voters.
        dead: u64,
        /// Voters.
        voters: u64,
    },
}

/// Which dead servers to give up. `complete` says that the pool is known for long enough that who is missing is gone.
pub fn prune(
    own: NodeId,
    config: &AutopilotConfig,
    servers: &[PoolServer],
    peers: &[Peer],
    complete: bool,
) -> Pruning {
    let mut pruning = Pruning::default();
    if !config.cleanup_dead_servers {
        return pruning;
    }
    let is_there = |id: NodeId| {
        servers.iter().any(|s| {
            s.id == Some(id) && matches!(s.status, MemberStatus::Alive | MemberStatus::Leaving)
        })
    };
    let votes = |id: NodeId| peers.iter().any(|peer| peer.id == id && peer.voter);
    let mut dead = BTreeSet::new();
    let mut failed_voters = Vec::new();
    for server in servers {
        if !server.ours || server.status != MemberStatus::Failed {
            continue;
        }
        match server.id {
            // It is there under another name: the old name is not worth keeping, the peer is.
            Some(id) if is_there(id) || !votes(id) => pruning.force_leave.push(server.name.clone()),
            Some(id) if id == own => {}
            Some(id) => {
                dead.insert(id);
                failed_voters.push(server.name.clone());
            }
            None => pruning.force_leave.push(server.name.clone()),
        }
    }
    let mut lost_voters = Vec::new();
    let unknown = |peer: &&Peer| !servers.iter().any(|server| server.id == Some(peer.id));
    for peer in peers.iter().filter(|_| complete).filter(unknown) {
        if peer.id == own {
            continue;
        }
        if peer.voter {
            dead.insert(peer.id);
            lost_voters.push(peer.id);
        } else {
            pruning.remove.push(peer.id);
        }
    }
    if dead.is_empty() {
        return pruning;
    }
    let voters = peers.iter().filter(|peer| peer.voter).count() as u64;
    let dead = dead.len() as u64;
    pruning.held = if voters.saturating_sub(dead) < config.min_quorum {
        Some(Held::MinQuorum {
            dead,
            voters,
            min: config.min_quorum,
        })
    } else if dead > voters.saturating_sub(1) / 2 {
        Some(Held::TooMany { dead, voters })
    } else {
        pruning.force_leave.append(&mut failed_voters);
        pruning.remove.append(&mut lost_voters);
        None
    };
    pruning
}

#[cfg(test)]
mod tests {
    use super::*;
    use tribune_types::text::text;

    fn server(n: u8, leader: bool, contact_ms: u64, index: u64) -> Observed {
        Observed {
            id: NodeId::from_random([n; 16]),
            name: text("s"),
            address: text("127.0.0.1:8300"),
            version: text("1.8.7"),
            serf: MemberStatus::Alive,
            leader,
            voter: true,
            stats: Some(Stats {
                last_contact: Duration::from_millis(contact_ms),
                last_term: Term(3),
                last_index: index,
            }),
        }
    }

    #[test]
    fn tolerance_counts_healthy_voters_above_the_quorum() {
        let config = AutopilotConfig::default();
        let mut tracker = HealthTracker::default();
        // (last contact in ms of the third, its index, healthy servers, tolerance)
        for (contact, index, healthy, tolerance) in [
            (50, 1000, 3, 1),
            (201, 1000, 2, 0),
            (50, 749, 2, 0),
            (50, 750, 3, 1),
        ] {
            let servers = [
                server(1, true, 0, 1000),
                server(2, false, 10, 990),
                server(3, false, contact, index),
            ];
            let report = tracker.observe((Wall(1), Mono(1)), &config, &servers);
            assert_eq!(report.servers.iter().filter(|s| s.healthy).count(), healthy);
            assert_eq!(report.failure_tolerance, tolerance);
            assert_eq!(report.healthy, healthy == 3);
        }
    }

    #[test]
    fn stable_since_moves_only_when_the_verdict_changes() {
        let config = AutopilotConfig::default();
        let mut tracker = HealthTracker::default();
        let leader = server(1, true, 0, 10);
        let silent = Observed {
            stats: None,
            ..server(2, false, 0, 10)
        };
        let second = |n: u64| Wall(n * NS_PER_SECOND);
        // (second, the other server, since when)
        for (at, other, want) in [
            (5, server(2, false, 0, 10), 5),
            (9, server(2, false, 0, 10), 5),
            (12, silent.clone(), 0),
            (13, silent, 0),
            (14, server(2, false, 900, 10), 0),
            (15, server(2, false, 0, 10), 15),
            (16, server(2, false, 900, 10), 16),
        ] {
            let now = (Wall(second(at).0 + 7), Mono(at));
            let report = tracker.observe(now, &config, &[leader.clone(), other]);
            assert_eq!(report.servers[0].stable_since, second(5), "after {at} s");
            assert_eq!(report.servers[1].stable_since, second(want), "after {at} s");
        }
    }

    #[test]
    fn a_single_healthy_server_tolerates_no_failure() {
        let report = HealthTracker::default().observe(
            (Wall(1), Mono(1)),
            &AutopilotConfig::default(),
            &[server(1, true, 0, 1)],
        );
        assert!(report.healthy);
        assert_eq!(report.failure_tolerance, 0);
    }

    #[test]
    fn a_new_server_earns_its_vote_by_being_healthy_for_long_enough() {
        let config = AutopilotConfig::default();
        let mut tracker = HealthTracker::default();
        let learner = |contact_ms| Observed {
            voter: false,
            ..server(2, false, contact_ms, 10)
        };
        let mut at = |seconds: u64, contact_ms: u64| {
            let servers = [server(1, true, 0, 10), learner(contact_ms)];
            let mono = Mono(seconds * 1_000_000_000);
            // The wall clock may say what it likes.
            tracker.observe((Wall(99 - seconds), mono), &config, &servers);
            tracker.promotable(mono, &config, &servers)
        };
        // (second, last contact in ms, promoted)
        for (second, contact_ms, promoted) in [
            (0, 10, false),
            (9, 10, false),
            (10, 300, false),
            (11, 10, false),
            (20, 10, false),
            (21, 10, true),
        ] {
            let want = if promoted {
                vec![learner(0).id]
            } else {
                vec![]
            };
            assert_eq!(at(second, contact_ms), want, "after {second} s");
        }
    }

    mod pruning {
        use super::super::*;
        use crate::peers::tests::{id, peer, server};
        use MemberStatus::{Alive, Failed};
        use tribune_types::text::text;

        /// Servers 1 to `total` are peers; the last `failed` of them failed.
        fn with_failed(total: u8, failed: u8, config: &AutopilotConfig) -> Pruning {
            let servers: Vec<_> = (1..=total)
                .map(|n| server(n, if n > total - failed { Failed } else { Alive }))
                .collect();
            let peers: Vec<_> = (1..=total).map(peer).collect();
            prune(id(1), config, &servers, &peers, true)
        }

        #[test]
        fn only_a_minority_is_given_up() {
            let config = AutopilotConfig::default();
            // (voters, failed, given up)
            for (total, failed, given_up) in [
                (1, 0, true),
                (2, 1, false),
                (3, 1, true),
                (3, 2, false),
                (4, 1, true),
                (4, 2, false),
                (5, 2, true),
                (5, 3, false),
                (7, 3, true),
            ] {
                let pruning = with_failed(total, failed, &config);
                let want = if given_up { failed } else { 0 };
                assert_eq!(
                    pruning.force_leave.len(),
                    usize::from(want),
                    "{failed} of {total}"
                );
                assert_eq!(pruning.held.is_none(), given_up, "{failed} of {total}");
            }
        }

        #[test]
        fn the_settings_can_keep_more_or_all() {
            let keep = |min_quorum| AutopilotConfig {
                min_quorum,
                ..AutopilotConfig::default()
            };
            assert_eq!(with_failed(5, 1, &keep(4)).force_leave, [text("s5")]);
            let held = Held::MinQuorum {
                dead: 1,
                voters: 5,
                min: 5,
            };
            assert_eq!(with_failed(5, 1, &keep(5)).held, Some(held));
            let off = AutopilotConfig {
                cleanup_dead_servers: false,
                ..AutopilotConfig::default()
            };
            assert_eq!(with_failed(5, 1, &off), Pruning::default());
        }

        #[test]
        fn failed_servers_without_a_vote_go_whatever_the_majority() {
            let config = AutopilotConfig::default();
            let mut learner = peer(3);
            learner.voter = false;
            let servers = [
                server(1, Alive),
                server(2, Failed),
                server(3, Failed),
                server(4, Failed),
            ];
            let pruning = prune(id(1), &config, &servers, &[peer(1), peer(2), learner], true);
            assert_eq!(pruning.force_leave, [text("s3"), text("s4")]);
            assert_eq!(pruning.held, Some(Held::TooMany { dead: 1, voters: 2 }));
        }

        #[test]
        fn peers_that_the_pool_does_not_know_go_once_it_is_complete() {
            let config = AutopilotConfig::default();
            let servers = [server(1, Alive), server(2, Alive)];
            let peers = [peer(1), peer(2), peer(3)];
            let known = |complete| prune(id(1), &config, &servers, &peers, complete);
            assert_eq!(known(false), Pruning::default());
            assert_eq!(known(true).remove, [id(3)]);
            // Both kinds of dead count together.
            let servers = [server(1, Alive), server(2, Failed)];
            let both = prune(id(1), &config, &servers, &peers, true);
            assert_eq!(both.held, Some(Held::TooMany { dead: 2, voters: 3 }));
            assert!(both.remove.is_empty() && both.force_leave.is_empty());
        }

        #[test]
        fn a_server_that_came_back_under_another_name_is_not_dead() {
            let config = AutopilotConfig::default();
            let renamed = PoolServer {
                name: text("new"),
                ..server(3, Alive)
            };
            let servers = [
                server(1, Alive),
                server(2, Alive),
                server(3, Failed),
                renamed,
            ];
            let peers = [peer(1), peer(2), peer(3)];
            let pruning = prune(id(1), &config, &servers, &peers, true);
            assert_eq!(pruning.force_leave, [text("s3")]);
            assert_eq!((pruning.remove, pruning.held), (vec![], None));
        }
    }
}
