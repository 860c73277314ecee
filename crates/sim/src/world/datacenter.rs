//! One datacenter of a world: its machines, those who work with it, and what is known of it.

use std::ops::Range;
use std::sync::Arc;

use tribune_rt::{CancellationToken, Env};
use tribune_types::text::text;

use super::bug::Bug;
use super::clients::Outside;
use super::history::History;
use super::node::{Node, Slot};
use super::oracles::Seen;
use super::services::Registrations;
use super::watchers::Watcher;

/// One datacenter.
pub(super) struct Datacenter {
    /// Its name.
    pub(super) name: String,
    /// The numbers of its machines; servers first.
    pub(super) machines: Range<usize>,
    /// How many of them are servers.
    pub(super) server_count: usize,
    /// Those who ask its own agents.
    pub(super) outside: Arc<Outside>,
    /// Those who ask the agents of other datacenters for it.
    pub(super) abroad: Option<Arc<Outside>>,
    /// Registrations with its agents.
    pub(super) registrations: Arc<Registrations>,
    /// Who watches it, with the way each takes.
    pub(super) watchers: Vec<Arc<Watcher>>,
    /// What the oracles saw there.
    pub(super) seen: Seen,
}

impl Datacenter {
    /// The datacenter of `machines` among all `nodes`.
    pub(super) fn new(
        name: &str,
        machines: Range<usize>,
        server_count: usize,
        nodes: &[Node],
        world: (&Env, &CancellationToken, Option<Bug>),
    ) -> Datacenter {
        let (env, stop, bug) = world;
        let history = Arc::new(History::default());
        let slots_of = |here: bool| -> Vec<Arc<Slot>> {
            let chosen = nodes.iter().enumerate();
            let chosen = chosen.filter(|(number, _)| machines.contains(number) == here);
            chosen.map(|(_, node)| Arc::clone(&node.slot)).collect()
        };
        let names: Vec<String> = { nodes[machines.clone()].iter() }
            .map(|node| node.role.name.clone())
            .collect();
        let outside = |here: bool| Outside {
            env: env.clone(),
            slots: slots_of(here),
            servers: if here { server_count } else { 0 },
            datacenter: (!here).then(|| text(name)),
            names: names.clone(),
            history: Arc::clone(&history),
            stop: stop.clone(),
            bug,
        };
        let abroad = outside(false);
        Datacenter {
            name: name.to_owned(),
            server_count,
            outside: Arc::new(outside(true)),
            abroad: (!abroad.slots.is_empty()).then(|| Arc::new(abroad)),
            registrations: Arc::default(),
            watchers: Vec::new(),
            seen: Seen::default(),
            machines,
        }
    }

    /// The numbers of its servers.
    pub(super) fn servers(&self) -> Range<usize> {
        self.machines.start..self.machines.start + self.server_count
    }
}
