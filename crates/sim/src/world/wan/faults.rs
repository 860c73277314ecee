//! What goes wrong between datacenters, and in one of them, drawn from a seed.

use std::net::IpAddr;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use tribune_rt::disk::Faults;
use tribune_rt::net::sim::LinkFaults;

use super::super::faults::Undo;
use super::super::{Bug, World, moved_ip};
use super::{Pair, Way, pair};

/// Kinds of faults of a world of several datacenters. A mix has each or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WanKind {
    /// A datacenter is cut off from all others.
    CutOff,
    /// Two datacenters do not hear each other; both hear the rest.
    CutPair,
    /// The link of two datacenters gets slower and loses more.
    Worse,
    /// The process of one server in each datacenter is killed.
    KillOneEach,
    /// The leaders of all datacenters are killed.
    KillLeaders,
    /// The leader of one datacenter is killed.
    KillLeader,
    /// One machine loses power; nobody is told.
    PowerLoss,
    /// All machines of a datacenter lose power.
    Blackout,
    /// One datacenter does not hear another, which hears it.
    CutOneWay,
    /// The disk of a server fails once, dies in the middle of a write, or is full for a while.
    BadDisk,
    /// The process of a machine stops for a while and goes on.
    Pause,
    /// The leader of a datacenter stops for a while and goes on.
    PauseLeader,
    /// All servers of a datacenter are killed and come back with other addresses.
    Moved,
    /// A server leaves in order and comes back.
    Leave,
}

/// All kinds.
pub const WAN_ALL: [WanKind; 14] = [
    WanKind::CutOff,
    WanKind::CutPair,
    WanKind::Worse,
    WanKind::KillOneEach,
    WanKind::KillLeaders,
    WanKind::KillLeader,
    WanKind::PowerLoss,
    WanKind::Blackout,
    WanKind::CutOneWay,
    WanKind::BadDisk,
    WanKind::Pause,
    WanKind::PauseLeader,
    WanKind::Moved,
    WanKind::Leave,
];

/// Which faults, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WanMix {
    /// The kinds; none is a quiet world.
    pub kinds: Vec<WanKind>,
    /// Mean time between two faults.
    pub every: Duration,
}

impl WanMix {
    /// One to four kinds, and how often.
    pub fn from_seed(seed: u64) -> WanMix {
        let mut rng = SmallRng::seed_from_u64(seed ^ 0x776d_6978);
        let count = rng.random_range(1..=4);
        let kinds = WAN_ALL.choose_multiple(&mut rng, count);
        WanMix {
            kinds: kinds.copied().collect(),
            every: Duration::from_millis(rng.random_range(800..3000)),
        }
    }

    /// These kinds, about one fault in one and a half seconds.
    pub fn of(kinds: &[WanKind]) -> WanMix {
        WanMix {
            kinds: kinds.to_vec(),
            every: Duration::from_millis(1500),
        }
    }
}

/// What ends a fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::world) enum WanUndo {
    /// These hear each other again, as far as this fault goes.
    Heal(Vec<Pair>),
    /// A link as it should be.
    Better(Pair),
    /// What the first sends reaches the second again, as far as this fault goes.
    Hear(Way),
}

impl World {
    /// Lets clients work for `duration` while things go wrong between the datacenters, and in each.
    ///
    /// # Errors
    /// What an oracle found.
    pub fn wan_chaos(&mut self, mix: &WanMix, duration: Duration) -> Result<(), String> {
        self.troubled(mix.every, duration, |world, rng| {
            if let Some(kind) = mix.kinds.choose(rng) {
                world.faults += 1;
                world.wan_fault(*kind, rng);
            }
            Ok(())
        })
    }

    fn wan_fault(&mut self, kind: WanKind, rng: &mut SmallRng) {
        let count = self.dcs.len();
        let dc = rng.random_range(0..count);
        let other = (dc + rng.random_range(1..count)) % count;
        let down = Duration::from_millis(rng.random_range(100..2500));
        let long = Duration::from_millis(rng.random_range(500..6000));
        let names = (&self.dcs[dc].name, &self.dcs[other].name);
        self.note(&format!("{kind:?} ({} and {})", names.0, names.1));
        match kind {
            WanKind::CutOff => {
                let heal = self.cut_off(dc);
                self.later(long, heal);
            }
            WanKind::CutPair => {
                let heal = self.cut_apart(vec![pair(dc, other)]);
                self.later(long, heal);
            }
            WanKind::Worse => {
                let worse = LinkFaults {
                    delay: Duration::from_millis(rng.random_range(80..800)),
                    jitter: Duration::from_millis(rng.random_range(0..200)),
                    loss_per_million: rng.random_range(20_000..250_000),
                    duplicate_per_million: rng.random_range(0..50_000),
                    bandwidth: rng.random_bool(0.3).then_some(50_000),
                };
                if let Some(wan) = &mut self.wan {
                    wan.worse.insert(pair(dc, other), worse);
                }
                self.set_wan_links();
                self.later(long, Undo::Wan(WanUndo::Better(pair(dc, other))));
            }
            WanKind::KillOneEach => {
                for dc in 0..count {
                    let victim = rng.random_range(self.dcs[dc].servers());
                    self.nodes[victim].kill();
                    self.later(down, Undo::Start(victim));
                }
            }
            WanKind::KillLeaders => {
                for leader in (0..count)
                    .filter_map(|dc| self.leader(dc))
                    .collect::<Vec<_>>()
                {
                    self.nodes[leader].kill();
                    self.later(down, Undo::Start(leader));
                }
            }
            WanKind::KillLeader => {
                if let Some(leader) = self.leader(dc) {
                    self.nodes[leader].kill();
                    self.later(down, Undo::Start(leader));
                }
                if self.bug == Some(Bug::NoWayAround) {
                    // The bug: nobody elsewhere comes through to the others, and nobody admits it.
                    let ips = |here: bool| {
                        let machines = self.nodes.iter().enumerate();
                        let machines = machines.filter(|(at, _)| (self.dc_of(*at) == dc) == here);
                        machines.map(|(_, node)| node.ip()).collect::<Vec<IpAddr>>()
                    };
                    self.net.partition(&ips(true), &ips(false));
                }
            }
            WanKind::PowerLoss => {
                let victim = rng.random_range(self.dcs[dc].machines.clone());
                self.nodes[victim].lose_power();
                self.later(down, Undo::Start(victim));
            }
            WanKind::CutOneWay => {
                let way = (dc, other);
                // The bug: it is said to be cut, and is not.
                let said_only = self.bug == Some(Bug::SaidToBeCut);
                if let Some(wan) = &mut self.wan {
                    *wan.deaf.entry(way).or_default() += 1;
                }
                if !said_only {
                    self.set_wan_links();
                }
                self.later(long, Undo::Wan(WanUndo::Hear(way)));
            }
            WanKind::BadDisk => self.spoil_disk(dc, (long, down), rng),
            WanKind::Pause | WanKind::PauseLeader => {
                let any = rng.random_range(self.dcs[dc].machines.clone());
                let leader = self.leader(dc).filter(|_| kind == WanKind::PauseLeader);
                let victim = leader.unwrap_or(any);
                self.nodes[victim].set_paused(true);
                self.later(long, Undo::Resume(victim));
            }
            WanKind::Moved => self.move_servers(dc, down, rng),
            WanKind::Leave => {
                let server = rng.random_range(self.dcs[dc].servers());
                self.leave_with(server);
            }
            WanKind::Blackout => {
                for victim in self.dcs[dc].machines.clone() {
                    self.nodes[victim].lose_power();
                    let down = down + Duration::from_millis(rng.random_range(0..500));
                    self.later(down, Undo::Start(victim));
                }
            }
        }
    }

    /// The disk of a server goes bad.
    fn spoil_disk(&mut self, dc: usize, (long, down): (Duration, Duration), rng: &mut SmallRng) {
        let victim = rng.random_range(self.dcs[dc].servers());
        let after = Some(rng.random_range(1..60));
        let mut faults = Faults::default();
        match rng.random_range(0..4) {
            0 => faults.fail_after = after,
            1 => faults.fail_sync_after = after,
            2 => faults.space_left = Some(rng.random_range(0..20_000)),
            _ => faults.dies_after = after,
        }
        self.nodes[victim].set_faults(faults);
        if faults.dies_after.is_some() {
            self.later(long, Undo::PowerLoss(victim));
            self.later(long + down, Undo::Start(victim));
        } else {
            self.later(long, Undo::Disk(victim));
        }
    }

    /// The servers of a datacenter move, all at once.
    fn move_servers(&mut self, dc: usize, down: Duration, rng: &mut SmallRng) {
        for server in self.dcs[dc].servers() {
            self.nodes[server].kill();
            self.addresses += 1;
            self.nodes[server].role.ip = moved_ip(dc, self.addresses);
            let down = down + Duration::from_millis(rng.random_range(0..500));
            self.later(down, Undo::Start(server));
        }
        // What others remember of them is of no use; to be found anew takes as long as it takes.
        if let Some(wan) = &mut self.wan {
            wan.moved.insert(dc);
        }
        self.set_wan_links();
    }

    /// Cuts a datacenter off from all others; what heals it.
    pub(super) fn cut_off(&mut self, dc: usize) -> Undo {
        let others = (0..self.dcs.len()).filter(|other| *other != dc);
        self.cut_apart(others.map(|other| pair(dc, other)).collect())
    }

    fn cut_apart(&mut self, pairs: Vec<Pair>) -> Undo {
        if let Some(wan) = &mut self.wan {
            for pair in &pairs {
                *wan.cuts.entry(*pair).or_default() += 1;
            }
        }
        self.set_wan_links();
        Undo::Wan(WanUndo::Heal(pairs))
    }

    /// Ends a fault.
    pub(in crate::world) fn undo_wan(&mut self, undo: WanUndo) {
        if let Some(wan) = &mut self.wan {
            match undo {
                WanUndo::Heal(pairs) => {
                    for pair in pairs {
                        let cuts = wan.cuts.entry(pair).or_default();
                        *cuts = cuts.saturating_sub(1);
                    }
                }
                WanUndo::Better(pair) => drop(wan.worse.remove(&pair)),
                WanUndo::Hear(way) => {
                    let cuts = wan.deaf.entry(way).or_default();
                    *cuts = cuts.saturating_sub(1);
                }
            }
        }
        self.set_wan_links();
    }

    /// Ends all faults between datacenters. Links are set by the caller.
    pub(in crate::world) fn heal_wan(&mut self) {
        if let Some(wan) = &mut self.wan {
            wan.cuts.clear();
            wan.deaf.clear();
            wan.worse.clear();
            if self.bug == Some(Bug::ForgottenRoute) {
                // The bug: one link stays as it is.
                wan.cuts.insert((0, 1), 1);
            }
        }
    }
}
