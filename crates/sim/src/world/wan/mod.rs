//! Several datacenters: the WAN between them, what goes wrong there, and what must hold.
//!
//! Each pair of datacenters has a link of its own with 80 to 250 ms each way, jitter and losses (`links`). In every sixth
//! world only one server of each datacenter is told of one of each other, and the rest of the WAN pool comes about by
//! itself. Datacenters are cut off, in one direction or both, links get worse, servers and leaders die, stand still, leave or
//! move, disks fail, whole datacenters lose power ([`WanKind`]).
//!
//! What must hold:
//!
//! - A datacenter that is whole serves its own, from every agent, as if it were alone, whatever happens to others (`judge`).
//! - A datacenter that nobody knows is unknown, one that failed is unreachable, each with its own error; no request to
//!   another datacenter is without an answer for longer than a bound, one that nothing stands in the way of succeeds, and
//!   servers whose processes are killed are routed around (`judge`).
//! - A prepared query finds at home what is there, and in another datacenter what is not, as long as one can be reached, and
//!   in the nearest when all is well (`queries`).
//! - Each datacenter alone is linearizable for clients of which some come through others.
//! - After all is healed, every agent reaches every datacenter within a bound, all servers see each other, every agent
//!   names the datacenters in the order of their distance, and events stay where they belong (`after`).
//!
//! What a datacenter must keep by itself is asked by the oracles of single datacenters, in each.

mod after;
mod calendar;
mod faults;
mod judge;
mod links;
mod probes;
mod queries;
mod run;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use tribune_rt::net::sim::LinkFaults;

pub use after::{DETECTION_LIMIT, EVENT_LIMIT, ORDER_LIMIT, ROUTES_LIMIT};
pub use faults::{WAN_ALL, WanKind, WanMix};
pub use judge::{Counts, LOCAL_LIMIT, REMOTE_FINE_LIMIT, REMOTE_LIMIT, REMOTE_LIMIT_DISTURBED};
pub use run::{Federation, POOL_LIMIT, WanReport, run_federation};

pub(super) use faults::WanUndo;

use super::clients::Client;
use super::datacenter::Datacenter;
use super::node::Node;
use super::watchers::{self, Watcher};
use super::{Bug, World};
use calendar::Calendar;
use probes::Probes;

/// Two datacenters, the lower number first.
type Pair = (usize, usize);

/// Clients and watchers of each datacenter: as many again come through others.
const CLIENTS: u32 = 2;
/// Identities of clients from elsewhere begin here.
const FIRST_ABROAD: u32 = 100;

/// From one datacenter to another.
type Way = (usize, usize);

fn pair(one: usize, other: usize) -> Pair {
    (one.min(other), one.max(other))
}

/// What lies between the datacenters.
pub(super) struct Wan {
    /// How links are when nothing is wrong.
    links: BTreeMap<Pair, LinkFaults>,
    /// How links are that are worse now.
    worse: BTreeMap<Pair, LinkFaults>,
    /// How many faults cut a pair apart now.
    cuts: BTreeMap<Pair, u32>,
    /// How many faults keep what the first sends from the second now.
    deaf: BTreeMap<Way, u32>,
    /// Datacenters whose servers have other addresses than at the beginning.
    moved: BTreeSet<usize>,
    /// There is something for prepared queries to find.
    has_queries: bool,
    calendar: Calendar,
    probes: Arc<Probes>,
    counts: judge::Counts,
    /// The datacenters of the order oracle's book changed places. A bug put in on purpose.
    swapped: bool,
}

impl Wan {
    pub(super) fn new(seed: u64, dcs: &[Datacenter], bug: Option<Bug>) -> Wan {
        Wan {
            links: links::draw(seed, dcs.len()),
            worse: BTreeMap::new(),
            cuts: BTreeMap::new(),
            deaf: BTreeMap::new(),
            moved: BTreeSet::new(),
            has_queries: false,
            calendar: Calendar::new(dcs.len()),
            probes: Arc::default(),
            counts: judge::Counts::default(),
            swapped: bug == Some(Bug::WrongOrder),
        }
    }

    /// What the link of a pair does now.
    fn link(&self, of: Pair) -> LinkFaults {
        let now = self.worse.get(&of).or_else(|| self.links.get(&of));
        now.copied().unwrap_or_default()
    }

    /// True if nothing gets from the first to the second.
    fn is_cut(&self, from: usize, to: usize) -> bool {
        let counts = [self.cuts.get(&pair(from, to)), self.deaf.get(&(from, to))];
        counts.into_iter().flatten().any(|count| *count > 0)
    }

    /// True if no request of one is answered by the other: something is cut, in one direction at least.
    fn is_severed(&self, (one, other): Pair) -> bool {
        self.is_cut(one, other) || self.is_cut(other, one)
    }

    /// The other datacenters, from the nearest on.
    fn by_distance(&self, from: usize) -> Vec<usize> {
        let mut others: Vec<(std::time::Duration, usize)> = { self.links.iter() }
            .filter_map(|((one, other), link)| match from {
                from if from == *one => Some((link.delay, *other)),
                from if from == *other => Some((link.delay, *one)),
                _ => None,
            })
            .collect();
        others.sort();
        let mut order: Vec<usize> = others.into_iter().map(|(_, dc)| dc).collect();
        if self.swapped {
            order.reverse();
        }
        order
    }
}

impl World {
    /// Sets the links between datacenters as they are to be now. Without effect on a single one.
    pub(super) fn set_wan_links(&self) {
        let Some(wan) = &self.wan else { return };
        let ips = |dc: usize| -> Vec<IpAddr> {
            let machines = self.dcs[dc].machines.clone();
            self.nodes[machines].iter().map(Node::ip).collect()
        };
        for pair in wan.links.keys() {
            let (ones, others) = (ips(pair.0), ips(pair.1));
            let link = wan.link(*pair);
            let cut = (wan.is_cut(pair.0, pair.1), wan.is_cut(pair.1, pair.0));
            for (one, other) in { ones.iter() }.flat_map(|a| others.iter().map(move |b| (*a, *b))) {
                self.net.set_link_both(one, other, link);
                for (from, to, cut) in [(one, other, cut.0), (other, one, cut.1)] {
                    if cut {
                        self.net.cut(from, to);
                    } else {
                        self.net.heal(from, to);
                    }
                }
            }
        }
    }

    /// Starts clients and watchers of every datacenter, here and abroad, and those who only look.
    pub(super) fn work_across(&mut self) {
        let (env, seed) = (self.env.clone(), self.seed);
        for (number, dc) in self.dcs.iter_mut().enumerate() {
            let seed = seed ^ (number as u64) << 56;
            let ways = [(Some(&dc.outside), 0), (dc.abroad.as_ref(), FIRST_ABROAD)];
            for (outside, first) in ways {
                let Some(outside) = outside else { continue };
                for id in first..first + CLIENTS {
                    env.spawn("client", Client::new(Arc::clone(outside), id, seed).run());
                }
                // One of each kind: what number it has decides.
                for kind in [0, 1] {
                    let watcher = Watcher::new(outside, first * 3 + kind, seed);
                    env.spawn("watcher", Arc::clone(&watcher).run());
                    dc.watchers.push(watcher);
                }
            }
            env.spawn(
                "writer",
                watchers::write_watched(Arc::clone(&dc.outside), seed),
            );
        }
        let Some(wan) = &self.wan else { return };
        let names: Vec<String> = self.dcs.iter().map(|dc| dc.name.clone()).collect();
        for (number, dc) in self.dcs.iter().enumerate() {
            let prober = probes::Prober::new(number, &names, dc, Arc::clone(&wan.probes), seed);
            env.spawn("local probe", prober.clone().run_local());
            env.spawn("remote probe", prober.clone().run_remote());
            if wan.has_queries {
                env.spawn("query probe", prober.clone().run_queries());
            }
            env.spawn("events", prober.run_events());
        }
    }
}
