//! Whether a world that was healed has become whole: peer sets, pools and catalogs agree with what runs.

use std::sync::Arc;

use tribune_types::caller::Caller;
use tribune_types::catalog::{SERF_HEALTH, Status};
use tribune_types::member::MemberStatus;
use tribune_types::text::text;
use tribune_types::write::Write as Change;

use super::datacenter::Datacenter;
use super::node::{Live, Node};
use super::{Bug, PATIENCE, World};

impl World {
    /// True if every agent runs, there is one leader that all servers follow, everybody sees everybody, and the catalog
    /// says the same.
    pub fn converged(&mut self) -> bool {
        if self.bug == Some(Bug::LostNode) {
            self.lose_a_node();
        }
        if self.bug == Some(Bug::RemovedForGood) {
            // A moment for it to be done.
            self.remove_peer(1, 0);
            self.runtime.block_on(self.env.sleep(PATIENCE / 50));
        }
        self.disagreement().is_none()
    }

    /// Why the world has not converged.
    pub(super) fn disagreement(&self) -> Option<String> {
        let apart = |dc: &Datacenter| {
            let what = self.disagreement_in(dc)?;
            Some(format!("in {}: {what}", dc.name))
        };
        { self.dcs.iter().find_map(apart) }.or_else(|| self.wan_disagreement())
    }

    fn disagreement_in(&self, dc: &Datacenter) -> Option<String> {
        let machines = &self.nodes[dc.machines.clone()];
        let mut lives = Vec::new();
        for node in machines {
            match node.slot.live() {
                Some(live) => lives.push((node, live)),
                None => return Some(format!("{} does not run", node.role.name)),
            }
        }
        let mut leaders = Vec::new();
        let mut applied = Vec::new();
        for (node, live) in &lives {
            let Some(server) = &live.server else { continue };
            let metrics = server.raft_metrics();
            let voters = metrics.membership.peers.iter().filter(|peer| peer.voter);
            if voters.count() != dc.server_count {
                return Some(format!(
                    "{} has the peers {:?}",
                    node.role.name, metrics.membership.peers
                ));
            }
            leaders.push(metrics.leader.map(|leader| leader.id));
            applied.push(metrics.applied_index);
        }
        leaders.dedup();
        applied.dedup();
        if leaders.len() != 1 || leaders[0].is_none() {
            return Some(format!("leaders are {leaders:?}"));
        }
        for (node, live) in &lives {
            let members = live.handle.members(false);
            let alive = members
                .iter()
                .filter(|member| member.status == MemberStatus::Alive)
                .count();
            if alive != machines.len() || members.len() != machines.len() {
                let seen: Vec<_> = members
                    .iter()
                    .map(|member| format!("{} {}", member.name, member.status.as_str()))
                    .collect();
                return Some(format!("{} sees {seen:?}", node.role.name));
            }
        }
        if let Some(differs) = catalog_differs(&lives) {
            return Some(differs);
        }
        (applied.len() != 1).then(|| format!("applied are {applied:?}"))
    }

    fn lose_a_node(&mut self) {
        let name = text(&self.nodes[self.dcs[0].machines.end - 1].role.name);
        let outside = Arc::clone(&self.dcs[0].outside);
        self.runtime.block_on(async {
            let change = Change::Deregister(tribune_types::catalog::Deregister {
                datacenter: text("dc1"),
                node: name,
                ..Default::default()
            });
            let _ = outside
                .ask(0, PATIENCE, |handle| async move {
                    handle.write(&Caller::internal(), None, change).await
                })
                .await;
        });
    }
}

/// Compares the catalog with the pool and with what agents have.
fn catalog_differs(lives: &[(&Node, Live)]) -> Option<String> {
    let version = lives
        .iter()
        .find_map(|(_, live)| live.server.as_ref())?
        .version();
    let registered: Vec<&str> = version.nodes().map(|node| &*node.name).collect();
    if registered.len() != lives.len() {
        return Some(format!("the catalog has the nodes {registered:?}"));
    }
    for (node, live) in lives {
        let name = &node.role.name;
        match version.check(name, SERF_HEALTH) {
            Some(check) if check.status == Status::Passing => {}
            check => return Some(format!("the catalog says of {name}: {check:?}")),
        }
        let mut of_catalog: Vec<(String, i64)> = version
            .services_on(name)
            .iter()
            .filter(|service| &*service.name != "consul")
            .map(|service| (service.id.to_string(), service.port))
            .collect();
        let mut of_agent: Vec<(String, i64)> = live
            .handle
            .services()
            .iter()
            .map(|local| (local.service.id.to_string(), local.service.port))
            .collect();
        of_catalog.sort();
        of_agent.sort();
        if of_catalog != of_agent {
            return Some(format!(
                "the catalog has {of_catalog:?} on {name}, its agent {of_agent:?}"
            ));
        }
    }
    None
}
