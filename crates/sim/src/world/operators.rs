//! What operators do to the servers of a cluster: hand the lead over, take servers out and bring them back, replace machines,
//! recover from a lost majority by `peers.json`.
//!
//! Data is lost for good once in a world at most, and never of so many servers that nobody is left who has what was
//! acknowledged: a machine is replaced only while the others are a majority of the peers, and a recovery saves so many that
//! each majority of them has somebody of each majority before.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::Rng;
use rand::rngs::SmallRng;
use rand::seq::SliceRandom;
use tribune_raft::Role;
use tribune_rt::disk::Faults;
use tribune_server::Server;
use tribune_types::catalog::{SERF_HEALTH, Status};
use tribune_types::text::text;
use tribune_types::write::{PeerRef, Write};

use super::faults::Undo;
use super::{Bug, World};

/// Between two looks whether a machine can be replaced.
const LOOK_EVERY: Duration = Duration::from_millis(300);
/// A machine that cannot be spared is found again after this.
const SPARED_WITHIN: Duration = Duration::from_secs(25);
/// What a machine does not do that was lost: it comes back as a new one, whatever becomes of that.
const NAME_FREE_WITHIN: Duration = Duration::from_secs(120);

/// A machine that is lost, and is to be replaced by a new one of the same name and address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Replacement {
    number: usize,
    /// Its disk is still there, and is taken away only if the others do without.
    asks: bool,
    /// On the clock of the world.
    until_ns: u64,
}

/// What became of leaders that were asked to hand over.
#[derive(Debug, Default)]
pub(super) struct Offices(Mutex<Outcome>);

#[derive(Debug, Default)]
struct Outcome {
    moved: u64,
    kept: u64,
    wrong: Option<String>,
}

impl Offices {
    /// How many handed over, and how many did not.
    pub(super) fn counts(&self) -> (u64, u64) {
        let outcome = self.0.lock();
        (outcome.moved, outcome.kept)
    }

    /// # Errors
    /// One that said so leads on.
    pub(super) fn look(&self) -> Result<(), String> {
        self.0.lock().wrong.clone().map_or(Ok(()), Err)
    }
}

impl World {
    fn server_of(&self, number: usize) -> Option<Server> {
        self.nodes[number].slot.live()?.server
    }

    /// Asks a leader to hand over. Who was told that it did finds it in office no more.
    pub(super) fn move_lead(&mut self, leader: usize) {
        let Some(live) = self.nodes[leader].slot.live() else {
            return;
        };
        let Some(server) = live.server else { return };
        let (offices, name) = (Arc::clone(&self.offices), self.nodes[leader].label());
        let hollow = self.bug == Some(Bug::HollowHandOver);
        live.env.spawn("move lead", async move {
            let before = server.raft_metrics();
            // The bug: it says so, and does nothing.
            let done = hollow || server.move_lead().await.is_ok();
            let after = server.raft_metrics();
            if before.role != Role::Leader {
                return;
            }
            let mut outcome = offices.0.lock();
            if !done {
                outcome.kept += 1;
                return;
            }
            outcome.moved += 1;
            if after.role == Role::Leader && after.term == before.term {
                let term = after.term;
                outcome.wrong = Some(format!("{name} handed over and leads term {term} on"));
            }
        });
    }

    /// A server leaves in order. It is started again when it has gone.
    pub(super) fn leave_with(&mut self, server: usize) {
        if self.dcs[self.dc_of(server)].server_count > 1 {
            drop(self.nodes[server].shutdown(true));
        }
    }

    /// Takes a server out of the peer set, by way of any agent.
    pub(super) fn remove_peer(&mut self, server: usize, agent: usize) {
        let Some(id) = self.nodes[server].id() else {
            return;
        };
        let outside = Arc::clone(&self.dcs[0].outside);
        let asked = Write::RaftRemovePeer(PeerRef::Id(text(&id.to_string())));
        self.env.spawn("operator", async move {
            // Whether it was done shows in the end: the peer set is whole again.
            let _ = outside.write(agent, asked).await;
        });
    }

    /// A machine is lost for good.
    pub(super) fn replace(&mut self, server: usize) {
        let forgetful = self.bug == Some(Bug::Amnesia);
        if (self.lost && !forgetful) || self.dcs[0].server_count < 3 {
            return;
        }
        self.lost = true;
        // The bug: there are many, and none is waited for.
        let count = self.dcs[0].server_count;
        let victims = [server, (server + 1) % count];
        for victim in &victims[..if forgetful { 2 } else { 1 }] {
            self.nodes[*victim].lose_power();
            self.await_replacement(*victim, true, SPARED_WITHIN);
        }
    }

    fn await_replacement(&mut self, number: usize, asks: bool, within: Duration) {
        self.gone.insert(number);
        let until_ns = (self.env.mono() + within).0;
        let what = Replacement {
            number,
            asks,
            until_ns,
        };
        self.later(LOOK_EVERY, Undo::Replace(what));
    }

    /// Brings a new machine in for one that was lost, if the time has come.
    pub(super) fn replace_if_possible(&mut self, what: Replacement) -> Result<(), String> {
        let forgetful = self.bug == Some(Bug::Amnesia);
        let number = what.number;
        let over = self.env.mono().0 >= what.until_ns;
        // A new machine of a known name is refused by the catalog until the old one is known to have failed.
        let is_time =
            forgetful || (self.is_name_free(number) && (!what.asks || self.can_spare(number)));
        if !is_time && !over {
            self.later(LOOK_EVERY, Undo::Replace(what));
            return Ok(());
        }
        let label = self.nodes[number].label();
        if is_time && what.asks {
            self.nodes[number].wipe(forgetful)?;
            self.dcs[0].registrations.forget(number);
            self.note(&format!("{label} is a new machine"));
        } else {
            self.note(&format!("{label} is back"));
        }
        self.gone.remove(&number);
        self.start(number)
    }

    /// True if the leader's catalog has no healthy node of the name of a machine.
    fn is_name_free(&self, number: usize) -> bool {
        let Some(server) = self.leader(0).and_then(|leader| self.server_of(leader)) else {
            return false;
        };
        let name = &self.nodes[number].role.name;
        match server.version().check(name, SERF_HEALTH) {
            None => true,
            Some(check) => check.status == Status::Critical,
        }
    }

    /// True if all other servers run, and are a majority of the peers without this one.
    fn can_spare(&self, number: usize) -> bool {
        let others = self.dcs[0].servers().filter(|other| *other != number);
        let seen: Option<Vec<_>> = others
            .map(|other| Some(self.server_of(other)?.raft_metrics().membership))
            .collect();
        let newest = seen.and_then(|seen| seen.into_iter().max_by_key(|view| view.index));
        let (Some(newest), Some(id)) = (newest, self.nodes[number].id()) else {
            return false;
        };
        let voters: Vec<_> = newest.peers.iter().filter(|peer| peer.voter).collect();
        let votes = voters.iter().any(|peer| peer.id == id);
        !votes || voters.len() >= 3
    }

    /// Stops all servers, loses some, and lets an operator tell the rest who the peers are.
    pub(super) fn recover(&mut self, down: Duration, rng: &mut SmallRng) {
        let servers: Vec<usize> = self.dcs[0].servers().collect();
        let mut ends = Vec::new();
        for number in &servers {
            let Some(server) = self.server_of(*number) else {
                return;
            };
            let metrics = server.raft_metrics();
            let voters = metrics.membership.peers.iter().filter(|peer| peer.voter);
            // What was acknowledged is with a majority of all servers, as long as all are peers.
            let fit = voters.count() == servers.len() && metrics.last_log_index.0 > 0;
            if !fit || self.nodes[*number].is_troubled() {
                return;
            }
            ends.push((metrics.last_log_index, *number));
        }
        if std::mem::replace(&mut self.lost, true) || servers.len() < 3 {
            return;
        }
        let mut order = servers.clone();
        order.shuffle(rng);
        let mut lost = rng.random_range(0..=1);
        if self.bug == Some(Bug::WrongSurvivor) {
            // The bug: of all who could be saved, the worst.
            ends.sort();
            order = ends.iter().rev().map(|(_, number)| *number).collect();
            lost = servers.len() - 1;
        }
        let power = rng.random_bool(0.5);
        for number in servers {
            if power {
                self.nodes[number].lose_power();
            } else {
                self.nodes[number].kill();
            }
        }
        let (lost, saved) = order.split_at(lost);
        let file = self.peers_file(saved);
        self.note(&format!("lost are {lost:?}, peers.json is {file}"));
        for number in saved {
            if let Err(what) = self.nodes[*number].write_file("raft/peers.json", &file) {
                self.note(&what);
            }
            let down = down + Duration::from_millis(rng.random_range(0..500));
            self.later(down, Undo::Start(*number));
        }
        for number in lost {
            if let Err(what) = self.nodes[*number].wipe(false) {
                self.note(&what);
            }
            self.dcs[0].registrations.forget(*number);
            self.await_replacement(*number, false, NAME_FREE_WITHIN);
        }
    }

    fn peers_file(&self, named: &[usize]) -> String {
        let entry = |number: &usize| {
            let node = &self.nodes[*number];
            let id = node.id()?;
            Some(format!(
                r#"{{"id": "{id}", "address": "{}:8300"}}"#,
                node.ip()
            ))
        };
        let entries: Vec<String> = named.iter().filter_map(entry).collect();
        format!("[{}]", entries.join(", "))
    }

    /// A server is away for so long that it needs a snapshot, which then meets a bad disk.
    pub(super) fn leave_behind(&mut self, server: usize, leader: usize, rng: &mut SmallRng) {
        let servers = self.dcs[0].server_count;
        if servers < 3 {
            return;
        }
        let victim = if server == leader {
            (server + 1) % servers
        } else {
            server
        };
        let after = Some(rng.random_range(1..50));
        let mut faults = Faults::default();
        match rng.random_range(0..4) {
            0 => faults.fail_after = after,
            1 => faults.fail_sync_after = after,
            2 => faults.dies_after = after,
            _ => faults.space_left = Some(rng.random_range(0..60_000)),
        }
        self.nodes[victim].kill();
        let away = Duration::from_millis(rng.random_range(2000..4500));
        let later = away + Duration::from_millis(rng.random_range(300..1500));
        self.later(away, Undo::StartOn(victim, faults));
        if faults.dies_after.is_some() {
            self.later(later, Undo::PowerLoss(victim));
            self.later(later + Duration::from_millis(200), Undo::Start(victim));
        } else {
            self.later(later, Undo::Disk(victim));
        }
    }
}
