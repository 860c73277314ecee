//! Autopilot: the health of servers by their own figures, and since when it lasts (rpc.md section 8.6).

use std::collections::BTreeMap;
use std::time::Duration;

use tribune_types::autopilot::{AutopilotConfig, OperatorHealth, ServerHealth};
use tribune_types::id::{NodeId, Term};
use tribune_types::member::MemberStatus;
use tribune_types::text::Text;
use tribune_types::time::Wall;

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

/// Remembers since when each server is healthy or not.
#[derive(Debug, Default)]
pub struct HealthTracker {
    since: BTreeMap<NodeId, (bool, Wall)>,
}

impl HealthTracker {
    /// Judges all servers of the peer set. Servers that are gone are forgotten.
    pub fn observe(
        &mut self,
        now: Wall,
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
            let since = match self.since.get(&server.id) {
                Some((was, since)) if *was == healthy => *since,
                _ => now,
            };
            kept.insert(server.id, (healthy, since));
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
                stable_since: since,
            });
        }
        self.since = kept;
        report.failure_tolerance = healthy_voters.saturating_sub(voters / 2 + 1);
        report
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
            let report = tracker.observe(Wall(1), &config, &servers);
            assert_eq!(report.servers.iter().filter(|s| s.healthy).count(), healthy);
            assert_eq!(report.failure_tolerance, tolerance);
            assert_eq!(report.healthy, healthy == 3);
        }
    }

    #[test]
    fn stable_since_moves_only_when_the_verdict_changes() {
        let config = AutopilotConfig::default();
        let mut tracker = HealthTracker::default();
        let one = [server(1, true, 0, 10)];
        assert_eq!(
            tracker.observe(Wall(5), &config, &one).servers[0].stable_since,
            Wall(5)
        );
        assert_eq!(
            tracker.observe(Wall(9), &config, &one).servers[0].stable_since,
            Wall(5)
        );
        let mut silent = one.clone();
        silent[0].stats = None;
        assert_eq!(
            tracker.observe(Wall(12), &config, &silent).servers[0].stable_since,
            Wall(12)
        );
    }

    #[test]
    fn a_single_healthy_server_tolerates_no_failure() {
        let report = HealthTracker::default().observe(
            Wall(1),
            &AutopilotConfig::default(),
            &[server(1, true, 0, 1)],
        );
        assert!(report.healthy);
        assert_eq!(report.failure_tolerance, 0);
    }
}
