//! What must come about once all is well again: ways, members, distances, events.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use rand::Rng;
use tribune_types::caller::Caller;
use tribune_types::id::Uuid;
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::text::{Text, text};

use super::super::World;
use super::super::clients::Sent;
use super::super::node::Live;
use super::probes::{event_name, fire, read, sees};

/// Every agent reaches every datacenter so soon after all is healed: failed servers are looked for every half a minute, and
/// what the packets of a start missed comes with the exchange of every minute.
pub const ROUTES_LIMIT: Duration = Duration::from_secs(130);
/// Every agent orders the datacenters by their distance so soon after that: positions are reckoned anew after a restart.
pub const ORDER_LIMIT: Duration = Duration::from_secs(120);
/// A datacenter that is cut off is known to have failed within this.
pub const DETECTION_LIMIT: Duration = Duration::from_secs(90);
/// An event is with all agents of its datacenter within this: whose packets were all lost hears of it with the exchange of
/// every half a minute.
pub const EVENT_LIMIT: Duration = Duration::from_secs(75);

/// Between two tries of one way.
const RETRY: Duration = Duration::from_millis(100);

impl World {
    /// The running agents of a datacenter.
    fn lives(&self, dc: usize) -> Vec<Live> {
        let machines = self.dcs[dc].machines.clone();
        let lives = self.nodes[machines]
            .iter()
            .filter_map(|node| node.slot.live());
        lives.collect()
    }

    fn dc_names(&self) -> Vec<Text> {
        self.dcs.iter().map(|dc| text(&dc.name)).collect()
    }

    /// True if every server sees all servers of all datacenters alive in the WAN pool, and nobody else.
    pub fn wan_is_whole(&mut self) -> bool {
        self.wan_disagreement().is_none()
    }

    /// Why the WAN pool is not what it should be.
    pub(in crate::world) fn wan_disagreement(&self) -> Option<String> {
        self.wan.as_ref()?;
        let all = self.dcs.iter().flat_map(|dc| dc.servers());
        let wanted: BTreeSet<String> = all
            .map(|number| {
                let role = &self.nodes[number].role;
                format!("{}.{} alive", role.name, role.datacenter)
            })
            .collect();
        for number in self.dcs.iter().flat_map(|dc| dc.servers()) {
            let node = &self.nodes[number];
            let Some(live) = node.slot.live() else {
                return Some(format!("{} does not run", node.label()));
            };
            let members = live.handle.members(true);
            let seen: BTreeSet<String> = { members.iter() }
                .map(|member| format!("{} {}", member.name, member.status.as_str()))
                .collect();
            if seen != wanted {
                return Some(format!("{} sees the WAN members {seen:?}", node.label()));
            }
        }
        None
    }

    /// Cuts a datacenter off until all servers know it, lets time pass, and heals. Returns how long it took to be known.
    ///
    /// # Errors
    /// It does not come to be known, or what an oracle found.
    pub fn cut_off_for_good(&mut self, dc: usize) -> Result<Duration, String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let heal = self.cut_off(dc);
        let began = self.env.mono();
        let names = self.dc_names();
        self.note(&format!("{} is cut off", names[dc]));
        self.until(
            "a lost datacenter is known to be",
            DETECTION_LIMIT,
            |world| {
                (0..names.len()).all(|from| {
                    let servers = world.dcs[from].servers();
                    world.nodes[servers].iter().all(|node| {
                        let Some(live) = node.slot.live() else {
                            return false;
                        };
                        let mut lost = (0..names.len()).filter(|to| (*to == dc) != (from == dc));
                        lost.all(|to| sees(&live.handle, &names[to]) != Some(true))
                    })
                })
            },
        )?;
        let took = self.env.mono().since(began);
        if self.bug == Some(super::Bug::ForgottenDatacenter) {
            self.pass(Duration::from_secs(40))?;
        }
        self.pass(Duration::from_secs(2))?;
        self.undo(heal)?;
        Ok(took)
    }

    /// Lets time pass, with the oracles looking.
    fn pass(&mut self, time: Duration) -> Result<(), String> {
        let end = self.env.mono() + time;
        while self.env.mono() < end {
            self.step()?;
        }
        Ok(())
    }

    /// Waits until every agent has an answer from every other datacenter. Returns how long that took.
    ///
    /// # Errors
    /// Not all within [`ROUTES_LIMIT`], or what an oracle found.
    pub fn routes(&mut self) -> Result<Duration, String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let began = self.env.mono();
        let names = self.dc_names();
        let left = Arc::new(AtomicUsize::new(0));
        let mut ways = Vec::new();
        for from in 0..names.len() {
            for (to, name) in names.iter().enumerate().filter(|(to, _)| *to != from) {
                for agent in 0..self.dcs[from].outside.slots.len() {
                    let outside = Arc::clone(&self.dcs[from].outside);
                    let (name, left) = (name.clone(), Arc::clone(&left));
                    left.fetch_add(1, Ordering::Relaxed);
                    let way = self.env.spawn("route", async move {
                        loop {
                            let name = name.clone();
                            let asked = outside.ask(agent, ROUTES_LIMIT, |handle| async move {
                                read(&handle, Some(name), Consistency::Default).await
                            });
                            if let Sent::Answered(Ok(()), _) = asked.await {
                                left.fetch_sub(1, Ordering::Relaxed);
                                return;
                            }
                            outside.env.sleep(RETRY).await;
                        }
                    });
                    ways.push((from, agent, to, way));
                }
            }
        }
        let reached = self.until("every agent reaches every datacenter", ROUTES_LIMIT, |_| {
            left.load(Ordering::Relaxed) == 0
        });
        let open: Vec<String> = { ways.iter() }
            .filter(|(.., way)| !way.is_finished())
            .map(|(from, agent, to, _)| {
                let dc = &self.dcs[*from];
                format!("{}.{} to {}", dc.outside.names[*agent], dc.name, names[*to])
            })
            .collect();
        for (.., way) in ways {
            way.abort();
        }
        reached.map_err(|what| format!("no way of {open:?}: {what}"))?;
        Ok(self.env.mono().since(began))
    }

    /// Waits until every agent names the datacenters in the order of their true distance. Returns how long that took.
    ///
    /// # Errors
    /// Not all within [`ORDER_LIMIT`], or what an oracle found.
    pub fn distances(&mut self) -> Result<Duration, String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let (began, names) = (self.env.mono(), self.dc_names());
        let Some(wan) = &self.wan else {
            return Ok(Duration::ZERO);
        };
        let wanted: Vec<Vec<Text>> = (0..names.len())
            .map(|dc| {
                let order = [dc].into_iter().chain(wan.by_distance(dc));
                order.map(|dc| names[dc].clone()).collect()
            })
            .collect();
        loop {
            self.pass(Duration::from_millis(500))?;
            let wrong = self.wrong_order(&wanted);
            let Some(wrong) = wrong else { break };
            if self.env.mono().since(began) > ORDER_LIMIT {
                let state = self.describe();
                return Err(format!("datacenters are not in order: {wrong}\n{state}"));
            }
        }
        self.note("reached: datacenters in order");
        Ok(self.env.mono().since(began))
    }

    /// What an agent says that does not agree.
    fn wrong_order(&mut self, wanted: &[Vec<Text>]) -> Option<String> {
        for (dc, wanted) in wanted.iter().enumerate() {
            for live in self.lives(dc) {
                let handle = live.handle.clone();
                let asked = live.env.spawn("order", async move {
                    let options = ReadOptions::default();
                    handle
                        .read(&Caller::internal(), Query::Datacenters, &options)
                        .await
                });
                let found = match self.runtime.block_on(asked) {
                    Ok(Ok(answer)) => answer,
                    other => return Some(format!("no answer: {other:?}")),
                };
                match found.reply() {
                    Reply::Datacenters(order) if order == wanted => {}
                    other => {
                        let name = &live.handle.identity().node;
                        return Some(format!("{name} of {}: {other:?}", wanted[0]));
                    }
                }
            }
        }
        None
    }

    /// Fires an event from every datacenter in every one and waits until all agents there have it; then looks for events
    /// that are where they do not belong.
    ///
    /// # Errors
    /// One does not arrive within [`EVENT_LIMIT`], or is elsewhere too.
    pub fn events(&mut self) -> Result<(), String> {
        let handle = self.runtime.handle().clone();
        let _inside = handle.enter();
        let (names, bug) = (self.dc_names(), self.bug);
        let mut fired = Vec::new();
        for from in 0..names.len() {
            for to in 0..names.len() {
                let lives = self.lives(from);
                let live = &lives[self.rng.random_range(0..lives.len())];
                let id = Uuid(self.rng.random());
                let (handle, all) = (live.handle.clone(), names.clone());
                let task = live.env.spawn("fire", async move {
                    fire(&handle, from, to, &all, id, bug).await
                });
                match self.runtime.block_on(task) {
                    Ok(Ok(())) => fired.push((to, id)),
                    other => {
                        return Err(format!(
                            "an event from {} for {}: {other:?}",
                            names[from], names[to]
                        ));
                    }
                }
            }
        }
        self.until(
            "every event is with all of its datacenter",
            EVENT_LIMIT,
            |world| {
                fired.iter().all(|(to, id)| {
                    let lives = world.lives(*to);
                    lives.iter().all(|live| {
                        let (known, _) = live.handle.events();
                        known.iter().any(|event| event.id == *id)
                    })
                })
            },
        )?;
        for (dc, name) in names.iter().enumerate() {
            let wanted = event_name(name);
            for live in self.lives(dc) {
                let (known, _) = live.handle.events();
                if let Some(stray) = known.iter().find(|event| event.name != wanted) {
                    let agent = &live.handle.identity().node;
                    return Err(format!(
                        "an event left its datacenter: {agent} of {name} has {stray:?}"
                    ));
                }
            }
        }
        Ok(())
    }
}
