//! Work and trouble in one datacenter: clients at work while things go wrong, and the end of the trouble.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use tribune_rt::disk::Faults;
use tribune_rt::net::sim::LinkFaults;

use super::clients::Client;
use super::faults::{Kind, Mix, Undo};
use super::node::Node;
use super::watchers::{self, Watcher};
use super::{CLIENTS, WATCHERS, World, moved_ip, services};

/// Clocks run fast or slow by this many millionths at most. Leases bear two clocks of which one runs by a sixteenth faster
/// than the other.
const DRIFT_MAX_PPM: i32 = 25_000;

impl World {
    /// Starts clients, watchers and registrars, unless they work already.
    pub fn work(&mut self) {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        if std::mem::replace(&mut self.working, true) {
            return;
        }
        if self.wan.is_some() {
            return self.work_across();
        }
        let (env, seed, dc) = (&self.env, self.seed, &mut self.dcs[0]);
        for id in 0..CLIENTS {
            let client = Client::new(Arc::clone(&dc.outside), id, seed);
            env.spawn("client", client.run());
        }
        for number in 0..WATCHERS {
            let watcher = Watcher::new(&dc.outside, number, seed);
            env.spawn("watcher", Arc::clone(&watcher).run());
            dc.watchers.push(watcher);
        }
        let writer = watchers::write_watched(Arc::clone(&dc.outside), seed);
        env.spawn("writer", writer);
        let known = Arc::clone(&dc.registrations);
        let registrar = services::register(Arc::clone(&dc.outside), known, seed);
        env.spawn("registrar", registrar);
    }

    /// Lets clients work for `duration` while things go wrong in the first datacenter. For what goes wrong between
    /// datacenters see [`World::wan_chaos`].
    ///
    /// # Errors
    /// What an oracle found.
    pub fn chaos(&mut self, mix: &Mix, duration: Duration) -> Result<(), String> {
        self.troubled(mix.every, duration, |world, rng| {
            if let Some(kind) = mix.draw(rng) {
                world.faults += 1;
                world.fault(kind, rng)?;
            }
            Ok(())
        })
    }

    /// Lets clients work for `duration`, with `trouble` about `every` so often.
    pub(super) fn troubled(
        &mut self,
        every: Duration,
        duration: Duration,
        mut trouble: impl FnMut(&mut World, &mut SmallRng) -> Result<(), String>,
    ) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        self.work();
        let end = self.env.mono() + duration;
        let mut rng = SmallRng::seed_from_u64(self.rng.random());
        let pause = |rng: &mut SmallRng| every.mul_f64(rng.random_range(0.3..1.7));
        let mut next = self.env.mono() + pause(&mut rng);
        while self.env.mono() < end {
            self.step()?;
            if self.env.mono() >= next {
                next = self.env.mono() + pause(&mut rng);
                trouble(self, &mut rng)?;
            }
        }
        Ok(())
    }

    fn fault(&mut self, kind: Kind, rng: &mut SmallRng) -> Result<(), String> {
        let victim = rng.random_range(0..self.nodes.len());
        let servers = self.dcs[0].server_count;
        let server = rng.random_range(0..servers);
        let leader = self.leader(0).unwrap_or(server);
        let while_down = Duration::from_millis(rng.random_range(100..2500));
        let long = Duration::from_millis(rng.random_range(300..4000));
        self.note(&format!(
            "{kind:?} (victim {victim}, server {server}, leader {leader})"
        ));
        let ips: Vec<IpAddr> = self.nodes.iter().map(Node::ip).collect();
        match kind {
            Kind::Partition | Kind::OneWay => {
                let (one, other): (Vec<IpAddr>, Vec<IpAddr>) =
                    ips.iter().partition(|_| rng.random_bool(0.5));
                if kind == Kind::Partition {
                    self.net.partition(&one, &other);
                } else {
                    for (from, to) in one.iter().flat_map(|a| other.iter().map(move |b| (a, b))) {
                        self.net.cut(*from, *to);
                    }
                }
                self.later(long, Undo::Links);
            }
            Kind::IsolateLeader => {
                let own = ips[leader];
                let others: Vec<IpAddr> = ips.iter().copied().filter(|ip| *ip != own).collect();
                self.net.partition(&[own], &others);
                self.later(long, Undo::Links);
            }
            Kind::SlowLink => {
                let other = ips[rng.random_range(0..ips.len())];
                let slow = LinkFaults {
                    delay: Duration::from_millis(rng.random_range(50..800)),
                    jitter: Duration::from_millis(rng.random_range(0..200)),
                    bandwidth: rng.random_bool(0.3).then_some(20_000),
                    ..LinkFaults::default()
                };
                self.net.set_link_both(ips[server], other, slow);
                self.later(long, Undo::Links);
            }
            Kind::Lossy => {
                self.net.set_default_link(LinkFaults {
                    jitter: Duration::from_millis(rng.random_range(0..50)),
                    loss_per_million: rng.random_range(10_000..150_000),
                    duplicate_per_million: rng.random_range(0..100_000),
                    ..LinkFaults::default()
                });
                self.later(long, Undo::Links);
            }
            Kind::Kill | Kind::KillLeader => {
                let victim = if kind == Kind::Kill { victim } else { leader };
                self.nodes[victim].kill();
                self.later(while_down, Undo::Start(victim));
            }
            Kind::PowerLoss => {
                self.nodes[victim].lose_power();
                self.later(while_down, Undo::Start(victim));
            }
            Kind::PowerLossAll => {
                for number in 0..self.nodes.len() {
                    self.nodes[number].lose_power();
                    let down = while_down + Duration::from_millis(rng.random_range(0..500));
                    self.later(down, Undo::Start(number));
                }
            }
            Kind::DieInWrite => {
                let faults = Faults {
                    dies_after: Some(rng.random_range(1..60)),
                    ..Faults::default()
                };
                self.nodes[victim].set_faults(faults);
                self.later(long, Undo::PowerLoss(victim));
                self.later(long + while_down, Undo::Start(victim));
            }
            Kind::DiskError => {
                let mut faults = Faults::default();
                let after = Some(rng.random_range(1..40));
                if rng.random_bool(0.5) {
                    faults.fail_after = after;
                } else {
                    faults.fail_sync_after = after;
                }
                self.nodes[victim].set_faults(faults);
            }
            Kind::DiskFull => {
                let faults = Faults {
                    space_left: Some(rng.random_range(0..20_000)),
                    ..Faults::default()
                };
                self.nodes[victim].set_faults(faults);
                self.later(long, Undo::Disk(victim));
            }
            Kind::ClockJump => {
                let by = Duration::from_millis(rng.random_range(1..100_000)).as_nanos() as i64;
                let by = if rng.random_bool(0.5) { by } else { -by };
                self.nodes[victim].skew(by);
            }
            Kind::ClockDrift => {
                let ppm = rng.random_range(-DRIFT_MAX_PPM..=DRIFT_MAX_PPM);
                self.nodes[victim].set_drift(ppm);
                self.later(long, Undo::Clock(victim));
            }
            Kind::Pause | Kind::PauseLeader => {
                let victim = if kind == Kind::Pause { victim } else { leader };
                self.nodes[victim].set_paused(true);
                self.later(long, Undo::Resume(victim));
            }
            Kind::NewAddress => {
                self.nodes[server].kill();
                self.addresses += 1;
                self.nodes[server].role.ip = moved_ip(0, self.addresses);
                self.later(while_down, Undo::Start(server));
            }
            Kind::Leave => {
                // Only clients: a server that leaves needs an operator to come back.
                let victim = if self.nodes.len() > servers {
                    rng.random_range(servers..self.nodes.len())
                } else {
                    return Ok(());
                };
                // Nobody waits for it: its end shows as the end of its process.
                drop(self.nodes[victim].shutdown(true));
            }
            Kind::MoveLead => self.move_lead(leader),
            Kind::LeaveServer => self.leave_with(server),
            Kind::RemovePeer => self.remove_peer(server, victim),
            Kind::Replace => self.replace(server),
            Kind::Recover => self.recover(while_down, rng),
            Kind::LeftBehind => self.leave_behind(server, leader, rng),
        }
        Ok(())
    }

    pub(super) fn heal_links(&self) {
        self.net.heal_all();
        self.net.reset_links();
        self.net.set_default_link(LinkFaults::default());
        self.set_wan_links();
    }

    /// Ends all faults, starts what is down, and lets clients finish what they have begun.
    ///
    /// # Errors
    /// What an oracle found.
    pub fn heal(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        self.note("healing");
        // What went wrong a moment ago ends now, and is to be known all the same.
        self.look_at_wan()?;
        // A machine that is lost stays lost until there is another one.
        self.undo
            .retain(|(_, undo)| matches!(undo, Undo::Replace(_)));
        self.heal_wan();
        self.heal_links();
        for number in 0..self.nodes.len() {
            let node = &mut self.nodes[number];
            node.set_paused(false);
            node.set_drift(0);
            let dying = node.disk.faults().dies_after.is_some();
            node.set_faults(Faults::default());
            if dying {
                node.lose_power();
            }
        }
        for number in 0..self.nodes.len() {
            self.start(number)?;
        }
        self.stop.cancel();
        Ok(())
    }
}
