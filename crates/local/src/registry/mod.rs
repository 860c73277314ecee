//! The registry: every service and check of this agent, with its latest result and whether the catalog has it.
//!
//! One owner calls it with the time; it answers with [`Action`]s, to be carried out in order. `register` adds and
//! removes, `results` takes what probes and clients report and runs the timers, `aliases` keeps local alias checks up
//! to date, and [`crate::sync`] compares with the catalog. About 1 KiB per service with one check.
//!
//! Invariants: a check with a `service_id` is in that service's set of checks, and goes with the service; `timers`
//! holds exactly the deadlines named in the entries.

mod aliases;
mod maintenance;
mod register;
mod results;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tribune_types::catalog::{Check, Service, Status};
use tribune_types::definition::CheckType;
use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::gate::StatusGate;
use crate::sync::{NodeInfo, SyncState};

pub(crate) use register::same_service;
pub(crate) use results::same_check;

/// Where a registration came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Configuration files; not persisted.
    Config,
    /// The API; persisted.
    Api,
}

/// An inclusive range of ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    /// Lowest port.
    pub min: u16,
    /// Highest port.
    pub max: u16,
}

/// Settings of the rules.
#[derive(Debug, Clone)]
pub struct Options {
    /// This agent is a server; its `consul` service is the leader's business.
    pub server: bool,
    /// Scripts may be registered through the API.
    pub enable_scripts: bool,
    /// Scripts may be registered by files.
    pub enable_local_scripts: bool,
    /// Bytes of output kept per check.
    pub output_size_max: usize,
    /// Keep no output at all.
    pub discard_output: bool,
    /// How long a change of output alone may wait for its way to the catalog; zero sends at once.
    pub update_interval: Duration,
    /// How often critical services are looked at.
    pub reap_interval: Duration,
    /// Least time a service is critical before it is removed.
    pub deregister_interval_min: Duration,
    /// Ports given to sidecars without one; `None` gives none.
    pub sidecar_ports: Option<PortRange>,
}

/// A registered service.
#[derive(Debug, Clone)]
pub struct ServiceEntry {
    /// The instance.
    pub service: Arc<Service>,
    /// Token of its catalog writes; empty means the agent's.
    pub token: Text,
    /// Where it came from.
    pub source: Source,
    /// Hash of its content.
    pub hash: Text,
    pub(crate) checks: BTreeSet<Text>,
}

impl ServiceEntry {
    /// IDs of its checks in order.
    pub fn check_ids(&self) -> impl Iterator<Item = &Text> {
        self.checks.iter()
    }
}

/// A registered check.
#[derive(Debug, Clone)]
pub struct CheckEntry {
    /// The check with its latest result.
    pub check: Arc<Check>,
    /// How it is run; `None` for maintenance.
    pub check_type: Option<Arc<CheckType>>,
    /// Token of its catalog writes; empty means the agent's.
    pub token: Text,
    /// Where it came from.
    pub source: Source,
    /// Counts registrations, so that a late result of a replaced probe is not taken.
    pub generation: u64,
    pub(crate) gate: StatusGate,
    pub(crate) critical_since: Option<Mono>,
    pub(crate) ttl_deadline: Option<Mono>,
    pub(crate) ttl_output: Text,
    pub(crate) deferred: Option<Mono>,
}

impl CheckEntry {
    /// Since when it is critical without a break.
    pub fn critical_since(&self) -> Option<Mono> {
        self.critical_since
    }
}

/// What the driver must do, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run a check from now on, under this generation. Replaces an earlier run of the same ID.
    StartProbe {
        /// Check ID.
        id: Text,
        /// To be handed back with results.
        generation: u64,
        /// What to run.
        check_type: Arc<CheckType>,
    },
    /// Stop running a check.
    StopProbe {
        /// Check ID.
        id: Text,
    },
    /// Write the service to its file.
    SaveService {
        /// Service ID.
        id: Text,
    },
    /// Remove the file of a service.
    ForgetService {
        /// Service ID.
        id: Text,
    },
    /// Write the check to its file.
    SaveCheck {
        /// Check ID.
        id: Text,
    },
    /// Remove the file of a check.
    ForgetCheck {
        /// Check ID.
        id: Text,
    },
    /// Write the state of a TTL check to its file.
    SaveCheckState {
        /// Check ID.
        id: Text,
        /// How long the state holds.
        ttl: Duration,
    },
    /// Remove the state file of a TTL check.
    ForgetCheckState {
        /// Check ID.
        id: Text,
    },
    /// Some service was added, changed or removed.
    ServicesChanged,
    /// A service was removed because a check was critical for too long.
    Reaped {
        /// Service ID.
        service: Text,
        /// The check.
        check: Text,
    },
}

/// A check as it was found on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredCheck {
    /// The check; its status is not taken over.
    pub check: Check,
    /// How it is run; `None` for maintenance.
    pub check_type: Option<CheckType>,
    /// Token of its catalog writes.
    pub token: Text,
    /// Where it came from.
    pub source: Source,
}

/// The state of a TTL check as it was found on disk, not expired.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoredState {
    /// Check ID.
    pub id: Text,
    /// Status.
    pub status: Status,
    /// Output.
    pub output: Text,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Ttl,
    Deferred,
}

/// All services and checks of this agent. See the module header.
#[derive(Debug)]
pub struct Registry {
    pub(crate) options: Options,
    pub(crate) services: BTreeMap<Text, ServiceEntry>,
    pub(crate) checks: BTreeMap<Text, CheckEntry>,
    /// IDs of checks without a service.
    node_checks: BTreeSet<Text>,
    /// Service followed -> local alias checks.
    followers: BTreeMap<Text, BTreeSet<Text>>,
    /// Checks whose service is removed when they stay critical.
    reapable: BTreeSet<Text>,
    reap_at: Mono,
    timers: BTreeSet<(Mono, Timer, Text)>,
    /// Ports of services still to be restored.
    reserved_ports: BTreeSet<i64>,
    generation: u64,
    pub(crate) sync: SyncState,
}

impl Registry {
    /// An empty registry of the named node.
    pub fn new(options: Options, node: NodeInfo) -> Registry {
        Registry {
            options,
            services: BTreeMap::new(),
            checks: BTreeMap::new(),
            node_checks: BTreeSet::new(),
            followers: BTreeMap::new(),
            reapable: BTreeSet::new(),
            reap_at: Mono(0),
            timers: BTreeSet::new(),
            reserved_ports: BTreeSet::new(),
            generation: 0,
            sync: SyncState::new(node),
        }
    }

    /// All services in ID order.
    pub fn services(&self) -> impl Iterator<Item = &ServiceEntry> {
        self.services.values()
    }

    /// One service.
    pub fn service(&self, id: &str) -> Option<&ServiceEntry> {
        self.services.get(id)
    }

    /// All checks in ID order.
    pub fn checks(&self) -> impl Iterator<Item = &CheckEntry> {
        self.checks.values()
    }

    /// One check.
    pub fn check(&self, id: &str) -> Option<&CheckEntry> {
        self.checks.get(id)
    }

    /// Checks of the node itself and of one service, in ID order.
    pub fn checks_of_service<'a>(
        &'a self,
        service: &'a ServiceEntry,
    ) -> impl Iterator<Item = &'a CheckEntry> {
        self.counted(Some(service))
    }

    /// Starts or stops keeping output; takes effect with the next result.
    pub fn set_discard_output(&mut self, discard: bool) {
        self.options.discard_output = discard;
    }

    /// Keeps ports of services that are about to be restored away from new sidecars; an empty list ends that.
    pub fn reserve_ports(&mut self, ports: impl IntoIterator<Item = i64>) {
        self.reserved_ports = ports.into_iter().collect();
    }

    /// When [`Registry::on_time`] wants to be called next.
    pub fn next_wake(&self) -> Option<Mono> {
        let timer = self.timers.first().map(|(at, _, _)| *at);
        let reap = (!self.reapable.is_empty()).then_some(self.reap_at);
        timer.into_iter().chain(reap).min()
    }

    fn next_generation(&mut self) -> u64 {
        self.generation += 1;
        self.generation
    }

    /// Node-level checks and those of a service, in ID order.
    fn counted<'a>(
        &'a self,
        service: Option<&'a ServiceEntry>,
    ) -> impl Iterator<Item = &'a CheckEntry> {
        let mut ids: Vec<&Text> = self
            .node_checks
            .iter()
            .chain(service.into_iter().flat_map(|s| &s.checks))
            .collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.checks.get(id))
    }
}

#[cfg(test)]
mod tests;
