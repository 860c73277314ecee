//! The judge of those who look: what may become of a request, given what was wrong meanwhile.

use std::time::Duration;

use tribune_types::error::RpcError;

use super::super::World;
use super::super::node::Node;
use super::Pair;
use super::calendar::{Between, Calendar, Health};
use super::probes::{Asked, Fate, Probe, Seen};

/// A local request of a datacenter that is whole takes no longer: less than any word from elsewhere.
pub const LOCAL_LIMIT: Duration = Duration::from_millis(60);
/// A request to another datacenter is answered, one way or the other, as operators are told: a connection is given up after
/// 9 s without a sign of life, no server is begun with after 10 s, and a dial takes 5 s at most.
pub const REMOTE_LIMIT: Duration = Duration::from_secs(20);
/// The same while something is wrong with the own datacenter: a server of it may be lost on the way, and the next is asked.
pub const REMOTE_LIMIT_DISTURBED: Duration = Duration::from_secs(40);
/// As long as nothing is wrong it succeeds within this: some round trips, and segments that were lost.
pub const REMOTE_FINE_LIMIT: Duration = Duration::from_secs(4);

/// How often which rule was asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Local requests that had to succeed at once.
    pub local: u64,
    /// The longest of them, in ms.
    pub local_ms_max: u64,
    /// Requests to a datacenter that does not exist.
    pub unknown: u64,
    /// Requests that had to succeed in another datacenter.
    pub remote: u64,
    /// The longest of them, in ms.
    pub remote_ms_max: u64,
    /// Requests to a datacenter of which processes were killed, and which had to find another server.
    pub around: u64,
    /// Requests to a datacenter that was known to have failed.
    pub unreachable: u64,
    /// Requests to a datacenter that nothing got through to.
    pub severed: u64,
    /// The longest request to another datacenter of all, in ms.
    pub any_ms_max: u64,
    /// Prepared queries that had to find what is there at home.
    pub queries: u64,
    /// Prepared queries that had to find what is only elsewhere.
    pub failovers: u64,
    /// Prepared queries that could find nothing.
    pub nothing: u64,
}

impl Counts {
    /// Adds others.
    pub fn add(&mut self, other: &Counts) {
        self.local += other.local;
        self.local_ms_max = self.local_ms_max.max(other.local_ms_max);
        self.unknown += other.unknown;
        self.remote += other.remote;
        self.remote_ms_max = self.remote_ms_max.max(other.remote_ms_max);
        self.around += other.around;
        self.unreachable += other.unreachable;
        self.severed += other.severed;
        self.any_ms_max = self.any_ms_max.max(other.any_ms_max);
        self.queries += other.queries;
        self.failovers += other.failovers;
        self.nothing += other.nothing;
    }
}

impl Probe {
    pub(super) fn took(&self) -> Duration {
        Duration::from_nanos(self.ended_ns - self.began_ns)
    }

    /// What is wrong with it, given what else was.
    fn judge(&self, calendar: &Calendar, counts: &mut Counts) -> Result<(), String> {
        let (began, ended) = (self.began_ns, self.ended_ns);
        let took_ms = self.took().as_millis() as u64;
        let disturbed = calendar.is_disturbed(self.dc, began, ended);
        let wrong = |what: &str| {
            let at_ms = began / 1_000_000;
            Err(format!(
                "{what}, begun at {at_ms} ms, {took_ms} ms: {self:?}"
            ))
        };
        match self.asked {
            Asked::Read | Asked::Write if disturbed => {}
            Asked::Read | Asked::Write => {
                counts.local += 1;
                counts.local_ms_max = counts.local_ms_max.max(took_ms);
                if self.fate != Fate::Fine {
                    return wrong("a local request failed though nothing was wrong here");
                }
                if self.took() > LOCAL_LIMIT {
                    return wrong("a local request took too long");
                }
            }
            Asked::Nowhere => match &self.fate {
                Fate::Failed(err) if err.is_no_path() => {
                    counts.unknown += 1;
                    if self.took() > LOCAL_LIMIT && !disturbed {
                        return wrong("an unknown datacenter was looked for too long");
                    }
                }
                Fate::Fine => return wrong("a datacenter that does not exist answered"),
                _ if disturbed => {}
                _ => return wrong("an unknown datacenter failed otherwise than it should"),
            },
            Asked::Other(other, seen) => {
                counts.any_ms_max = counts.any_ms_max.max(took_ms);
                self.judge_other(other, seen, calendar, counts)
                    .or_else(|what| wrong(&what))?;
            }
            Asked::Query(wanted) => {
                self.judge_query(wanted, calendar, counts).or_else(wrong)?;
            }
        }
        Ok(())
    }

    fn judge_other(
        &self,
        other: usize,
        seen: Seen,
        calendar: &Calendar,
        counts: &mut Counts,
    ) -> Result<(), String> {
        let (began, ended) = (self.began_ns, self.ended_ns);
        let disturbed = calendar.is_disturbed(self.dc, began, ended);
        let limit = if disturbed {
            REMOTE_LIMIT_DISTURBED
        } else {
            REMOTE_LIMIT
        };
        if self.fate == Fate::NoAnswer || self.took() > limit {
            return Err("a request to another datacenter had no answer in time".to_owned());
        }
        let rough = calendar.is_rough(self.dc, other, began, ended);
        if let Fate::Failed(err) = &self.fate
            && err.is_no_path()
        {
            // A server that just started knows nobody yet, and cannot come to while nothing gets through. A client may
            // have asked such a one.
            if seen.known || !rough {
                return Err("a datacenter that was known is said to be unknown".to_owned());
            }
            return Ok(());
        }
        if calendar.is_severed(self.dc, other, began, ended) {
            counts.severed += 1;
            if self.fate == Fate::Fine {
                return Err("a datacenter answered that nothing gets through to".to_owned());
            }
        }
        if seen.known && seen.alive == Some(false) && !disturbed {
            counts.unreachable += 1;
            let Fate::Failed(err) = &self.fate else {
                return Err("a datacenter that failed did not fail".to_owned());
            };
            if !is_unreachable(err) {
                return Err("a datacenter that failed has the wrong error".to_owned());
            }
            if self.took() > LOCAL_LIMIT {
                return Err("a datacenter that failed was asked for too long".to_owned());
            }
        }
        if rough && !disturbed && !calendar.is_excused(self.dc, other, began, ended) {
            // The processes of some servers there were killed, no more: who is left serves, and can be found.
            counts.around += 1;
            if let Fate::Failed(err) = &self.fate
                && !is_leaderless(err)
            {
                return Err("a killed server was not routed around".to_owned());
            }
        }
        if !rough {
            counts.remote += 1;
            counts.remote_ms_max = counts.remote_ms_max.max(self.took().as_millis() as u64);
            if self.fate != Fate::Fine {
                return Err("a request to another datacenter failed without cause".to_owned());
            }
            if self.took() > REMOTE_FINE_LIMIT {
                return Err("a request to another datacenter took too long".to_owned());
            }
        }
        Ok(())
    }
}

/// True if the datacenter is known and nobody there can be reached, whoever said so.
fn is_unreachable(err: &RpcError) -> bool {
    match err {
        RpcError::RemoteUnreachable => true,
        RpcError::Remote(text) => text.contains("Remote DC has no server currently reachable"),
        _ => false,
    }
}

/// True if the servers there had no leader for a while.
fn is_leaderless(err: &RpcError) -> bool {
    let text = err.to_string();
    text.contains("No cluster leader") || text.contains("Not ready to serve consistent reads")
}

impl World {
    /// Looks at how the datacenters are, and at what became of requests.
    pub(in crate::world) fn look_at_wan(&mut self) -> Result<(), String> {
        if self.wan.is_none() {
            return Ok(());
        }
        let now = self.env.mono().0;
        let health: Vec<Health> = (0..self.dcs.len()).map(|dc| self.health(dc)).collect();
        let dark: Vec<bool> = (0..self.dcs.len()).map(|dc| self.is_dark(dc)).collect();
        let Some(wan) = &mut self.wan else {
            return Ok(());
        };
        let between: Vec<(Pair, Between)> = { wan.links.keys() }
            .map(|pair| {
                let between = if wan.is_severed(*pair) || dark[pair.0] || dark[pair.1] {
                    Between::Severed
                } else if wan.worse.contains_key(pair) {
                    Between::Rough
                } else {
                    Between::Fine
                };
                (*pair, between)
            })
            .collect();
        wan.calendar.look(now, &health, &between);
        for probe in wan.probes.take() {
            let judged = probe.judge(&wan.calendar, &mut wan.counts);
            judged.map_err(|what| format!("in {}: {what}", self.dcs[probe.dc].name))?;
        }
        Ok(())
    }

    fn health(&self, dc: usize) -> Health {
        let moved = self.wan.as_ref().is_some_and(|wan| wan.moved.contains(&dc));
        let dc = &self.dcs[dc];
        let machines = &self.nodes[dc.machines.clone()];
        if moved || machines.iter().any(Node::is_troubled) {
            return Health::Crippled;
        }
        let runs = |node: &&Node| node.slot.live().is_some();
        let is_whole = |node: &Node| runs(&node) && !node.is_leaving();
        if machines.iter().all(is_whole) {
            return Health::Whole;
        }
        let left = self.nodes[dc.servers()].iter().filter(runs).count();
        if left * 2 > dc.server_count && !machines.iter().any(Node::is_dark) {
            Health::Hurt
        } else {
            Health::Crippled
        }
    }

    /// True if no server of a datacenter runs.
    fn is_dark(&self, dc: usize) -> bool {
        let servers = self.dcs[dc].servers();
        self.nodes[servers].iter().all(|node| !node.is_up())
    }
}
