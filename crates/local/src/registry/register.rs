//! Adding and removing services and checks.
//!
//! A registration is planned first (validation, sidecar, derived IDs) and applied only if all of it is right.
//! Re-registering keeps the result of a check that was there (spec agent.md 1.5).

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use tribune_types::catalog::{Check, GivenEmpty, Service, ServiceAddress, Status};
use tribune_types::definition::{CheckDefinition, CheckType, ServiceDefinition};
use tribune_types::id::Index;
use tribune_types::proxy::ProxyConfig;
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use super::{
    Action, CheckEntry, Registry, RestoredCheck, RestoredState, ServiceEntry, Source, Timer,
};
use crate::check::{Probe, check_word, is_script, probe_of, service_check_id, service_check_name};
use crate::gate::StatusGate;
use crate::hash::content_hash;
use crate::sidecar::{expand, pick_port, sidecar_id};
use crate::validate::{Refusal, validate_check, validate_service};

/// A checked registration, ready to apply.
struct Planned {
    service: Service,
    checks: Vec<(Check, Arc<CheckType>)>,
    token: Text,
}

impl Registry {
    /// Registers or replaces a service, its checks and its sidecar. `token` is used where the definition has none.
    ///
    /// With `replace_checks` other checks of the service go. On a refusal nothing was changed.
    pub fn register_service(
        &mut self,
        now: Mono,
        definition: &ServiceDefinition,
        token: &Text,
        source: Source,
        replace_checks: bool,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let planned = self.plan(definition, token, source, &mut BTreeSet::new())?;
        for one in planned {
            self.apply(now, one, source, replace_checks, out);
        }
        Ok(())
    }

    /// Registers or replaces a stand-alone check, or one of a registered service.
    pub fn register_check(
        &mut self,
        now: Mono,
        definition: &CheckDefinition,
        token: &Text,
        source: Source,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let (check, check_type) = self.plan_check(definition, source)?;
        let token = if definition.token.is_empty() {
            token
        } else {
            &definition.token
        };
        self.put_check(now, check, Some(check_type), token.clone(), source, out);
        Ok(())
    }

    /// Replaces everything that came from configuration by these definitions. What the API registered stays, unless
    /// it has the ID of a definition or belongs to a service that goes. On a refusal nothing was changed.
    pub fn reload(
        &mut self,
        now: Mono,
        services: &[ServiceDefinition],
        checks: &[CheckDefinition],
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let mut ports = BTreeSet::new();
        let mut planned = Vec::new();
        for definition in services {
            let one = self
                .plan(definition, &definition.token, Source::Config, &mut ports)
                .map_err(|why| {
                    Refusal::Failed(format!(
                        "Failed to register service {:?}: {why}",
                        definition.name
                    ))
                })?;
            planned.extend(one);
        }
        let kept: BTreeSet<&Text> = planned.iter().map(|one| &one.service.id).collect();
        let own: BTreeSet<&Text> = planned
            .iter()
            .flat_map(|one| one.checks.iter().map(|(c, _)| &c.id))
            .collect();
        let mut loose = Vec::new();
        for definition in checks {
            let known = |id: &Text| {
                kept.contains(id)
                    || self
                        .services
                        .get(id)
                        .is_some_and(|entry| entry.source == Source::Api)
            };
            loose.push((
                self.plan_loose(definition, Source::Config, known)?,
                definition,
            ));
        }
        let loose_ids: BTreeSet<Text> = loose
            .iter()
            .map(|((check, _), _)| check.id.clone())
            .collect();

        let gone_checks: Vec<Text> = self
            .checks
            .values()
            .filter(|e| e.source == Source::Config && e.check_type.is_some())
            .map(|e| e.check.id.clone())
            .filter(|id| !own.contains(id) && !loose_ids.contains(id))
            .collect();
        let gone_services: Vec<Text> = self
            .services
            .values()
            .filter(|e| e.source == Source::Config && !kept.contains(&e.service.id))
            .map(|e| e.service.id.clone())
            .collect();
        for id in gone_checks {
            self.remove_check(now, &id, out);
        }
        for id in gone_services {
            self.remove_service(now, &id, out);
        }
        for one in planned {
            self.apply(now, one, Source::Config, false, out);
        }
        for ((mut check, check_type), definition) in loose {
            // The service may have been planned only now.
            if let Some(entry) = self.services.get(&check.service_id) {
                check.service_name = entry.service.name.clone();
                check.service_tags = entry.service.tags.clone();
            }
            self.put_check(
                now,
                check,
                Some(check_type),
                definition.token.clone(),
                Source::Config,
                out,
            );
        }
        Ok(())
    }

    /// Takes over a service found on disk. A service of the same ID that is there wins, and the file goes.
    pub fn restore_service(
        &mut self,
        now: Mono,
        service: Service,
        token: Text,
        out: &mut Vec<Action>,
    ) {
        if self.services.contains_key(&service.id) {
            out.push(Action::ForgetService { id: service.id });
            return;
        }
        let at = out.len();
        self.apply(
            now,
            Planned {
                service,
                checks: Vec::new(),
                token,
            },
            Source::Api,
            false,
            out,
        );
        drop_saves(out, at);
    }

    /// Takes over a check found on disk. A check of the same ID that is there wins; one that cannot be run here is
    /// refused. Both ways its file goes.
    pub fn restore_check(
        &mut self,
        now: Mono,
        found: RestoredCheck,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let mut check = found.check;
        let forget = Action::ForgetCheck {
            id: check.id.clone(),
        };
        if self.checks.contains_key(&check.id) {
            out.push(forget);
            return Ok(());
        }
        let checked = self.known_service(&check.service_id).and_then(|()| {
            found
                .check_type
                .as_ref()
                .map_or(Ok(()), |t| self.check_scripts(t, found.source))
        });
        if let Err(refusal) = checked {
            out.push(forget);
            return Err(refusal);
        }
        check.status = Status::Critical;
        check.node = self.sync.node().name.clone();
        (check.create, check.modify) = (Index(0), Index(0));
        let at = out.len();
        self.put_check(
            now,
            check,
            found.check_type.map(Arc::new),
            found.token,
            Source::Api,
            out,
        );
        drop_saves(out, at);
        Ok(())
    }

    /// Takes over the state of a TTL check found on disk. The caller has dropped expired ones.
    pub fn restore_state(&mut self, now: Mono, state: &RestoredState) {
        let is_ttl = |e: &CheckEntry| {
            e.check_type
                .as_ref()
                .is_some_and(|t| probe_of(t) == Probe::Ttl)
        };
        if self.checks.get(&state.id).is_some_and(is_ttl) {
            self.store(
                now,
                &state.id,
                state.status,
                state.output.clone(),
                std::time::Duration::ZERO,
            );
            self.refresh_aliases(now);
        }
    }

    /// Removes a service with its checks and its sidecar. False if it is unknown.
    pub fn deregister_service(&mut self, now: Mono, id: &str, out: &mut Vec<Action>) -> bool {
        if !self.remove_service(now, id, out) {
            return false;
        }
        let sidecar = sidecar_id(id);
        if self
            .services
            .get(&sidecar)
            .is_some_and(|e| e.service.locally_registered_as_sidecar)
        {
            self.remove_service(now, &sidecar, out);
        }
        self.refresh_aliases(now);
        true
    }

    /// Removes a check. False if it is unknown.
    pub fn deregister_check(&mut self, now: Mono, id: &str, out: &mut Vec<Action>) -> bool {
        let known = self.remove_check(now, id, out);
        self.refresh_aliases(now);
        known
    }

    fn plan(
        &self,
        definition: &ServiceDefinition,
        token: &Text,
        source: Source,
        given_ports: &mut BTreeSet<i64>,
    ) -> Result<Vec<Planned>, Refusal> {
        validate_service(definition)?;
        let mut parent = definition.clone();
        parent.token = token.clone();
        let id = if definition.id.is_empty() {
            definition.name.clone()
        } else {
            definition.id.clone()
        };
        let mut planned = vec![self.plan_one(&parent, &id, source)?];
        if let Some(block) = &definition.sidecar {
            let sidecar = sidecar_id(&id);
            let earlier = self.services.get(&sidecar).map(|e| e.service.port);
            let pick = || {
                pick_port(self.options.sidecar_ports, earlier, |port| {
                    given_ports.contains(&port)
                        || self.reserved_ports.contains(&port)
                        || self.services.values().any(|e| e.service.port == port)
                })
            };
            let expanded = expand(&parent, &id, block, pick)?;
            given_ports.insert(expanded.port);
            let mut one = self.plan_one(&expanded, &sidecar, source)?;
            one.service.locally_registered_as_sidecar = true;
            planned.push(one);
        }
        Ok(planned)
    }

    fn plan_one(
        &self,
        definition: &ServiceDefinition,
        id: &Text,
        source: Source,
    ) -> Result<Planned, Refusal> {
        let service = service_of(definition, id);
        let count = definition.checks.len();
        let mut checks = Vec::with_capacity(count);
        for (position, check_type) in definition.checks.iter().enumerate() {
            self.check_scripts(check_type, source)?;
            let check = Check {
                node: self.sync.node().name.clone(),
                id: service_check_id(check_type, id, position, count),
                name: service_check_name(check_type, &definition.name),
                status: check_type.status.unwrap_or_default(),
                notes: check_type.notes.clone(),
                service_id: id.clone(),
                service_name: service.name.clone(),
                service_tags: service.tags.clone(),
                check_type: text(check_word(check_type)),
                ..Check::default()
            };
            checks.push((check, Arc::new(check_type.clone())));
        }
        Ok(Planned {
            service,
            checks,
            token: definition.token.clone(),
        })
    }

    fn plan_check(
        &self,
        definition: &CheckDefinition,
        source: Source,
    ) -> Result<(Check, Arc<CheckType>), Refusal> {
        self.plan_loose(definition, source, |id| self.services.contains_key(id))
    }

    fn plan_loose(
        &self,
        definition: &CheckDefinition,
        source: Source,
        known: impl Fn(&Text) -> bool,
    ) -> Result<(Check, Arc<CheckType>), Refusal> {
        let check_type = &definition.check;
        if check_type.name.is_empty() {
            return Err(Refusal::Invalid("Missing check name".to_owned()));
        }
        validate_check(check_type)
            .map_err(|why| Refusal::Invalid(format!("Invalid check: {why}")))?;
        if !definition.service_id.is_empty() && !known(&definition.service_id) {
            return Err(unknown_service(&definition.service_id));
        }
        self.check_scripts(check_type, source)?;
        let service = self
            .services
            .get(&definition.service_id)
            .map(|e| &e.service);
        let check = Check {
            node: self.sync.node().name.clone(),
            id: if check_type.id.is_empty() {
                check_type.name.clone()
            } else {
                check_type.id.clone()
            },
            name: check_type.name.clone(),
            status: check_type.status.unwrap_or_default(),
            notes: check_type.notes.clone(),
            service_id: definition.service_id.clone(),
            service_name: service.map(|s| s.name.clone()).unwrap_or_default(),
            service_tags: service.map(|s| s.tags.clone()).unwrap_or_default(),
            check_type: text(check_word(check_type)),
            ..Check::default()
        };
        Ok((check, Arc::new(check_type.clone())))
    }

    fn known_service(&self, id: &Text) -> Result<(), Refusal> {
        if id.is_empty() || self.services.contains_key(id) {
            Ok(())
        } else {
            Err(unknown_service(id))
        }
    }

    fn check_scripts(&self, check: &CheckType, source: Source) -> Result<(), Refusal> {
        if !is_script(check) {
            return Ok(());
        }
        match source {
            Source::Config
                if !self.options.enable_local_scripts && !self.options.enable_scripts =>
            {
                Err(Refusal::Failed(SCRIPTS_OFF.to_owned()))
            }
            Source::Api if !self.options.enable_scripts => {
                Err(Refusal::Failed(REMOTE_SCRIPTS_OFF.to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn apply(
        &mut self,
        now: Mono,
        planned: Planned,
        source: Source,
        replace: bool,
        out: &mut Vec<Action>,
    ) {
        let Planned {
            service,
            checks,
            token,
        } = planned;
        let id = service.id.clone();
        let old = self.services.remove(&id);
        let unchanged = old
            .as_ref()
            .is_some_and(|old| same_service(&old.service, &service) && old.token == token);
        let was_saved = old.as_ref().is_some_and(|old| old.source == Source::Api);
        let old_checks = old.map(|old| old.checks).unwrap_or_default();
        let entry = ServiceEntry {
            hash: content_hash(&service),
            service: Arc::new(service),
            token,
            source,
            checks: old_checks,
        };
        let stale: Vec<Text> = if replace {
            entry
                .checks
                .iter()
                .filter(|id| !checks.iter().any(|(c, _)| c.id == **id))
                .cloned()
                .collect()
        } else {
            Vec::new()
        };
        self.services.insert(id.clone(), entry);
        self.sync_service_put(&id, unchanged);
        match source {
            Source::Api => out.push(Action::SaveService { id: id.clone() }),
            Source::Config if was_saved => out.push(Action::ForgetService { id: id.clone() }),
            Source::Config => {}
        }
        out.push(Action::ServicesChanged);
        for id in stale {
            self.remove_check(now, &id, out);
        }
        let token = self
            .services
            .get(&id)
            .map(|e| e.token.clone())
            .unwrap_or_default();
        for (check, check_type) in checks {
            self.put_check(now, check, Some(check_type), token.clone(), source, out);
        }
        self.touch_followers(&id);
        self.refresh_aliases(now);
    }

    /// Adds or replaces a check. The result of a replaced one is kept.
    pub(super) fn put_check(
        &mut self,
        now: Mono,
        mut check: Check,
        check_type: Option<Arc<CheckType>>,
        token: Text,
        source: Source,
        out: &mut Vec<Action>,
    ) {
        let id = check.id.clone();
        let old = self.checks.remove(&id);
        let mut critical_since = None;
        let mut was_saved = false;
        let mut was_ttl = false;
        if let Some(old) = &old {
            check.status = old.check.status;
            check.output = old.check.output.clone();
            critical_since = old.critical_since;
            was_saved = old.source == Source::Api;
            was_ttl = old
                .check_type
                .as_ref()
                .is_some_and(|t| probe_of(t) == Probe::Ttl);
            self.unlink_check(old);
        }
        let probe = check_type.as_deref().map_or(Probe::None, probe_of);
        let unchanged = old.as_ref().is_some_and(|old| {
            super::results::same_check(&old.check, &check, true) && old.token == token
        });
        let generation = self.next_generation();
        if check.status == Status::Critical {
            critical_since = critical_since.or(Some(now));
        } else {
            critical_since = None;
        }
        let ttl_deadline = check_type
            .as_ref()
            .filter(|_| probe == Probe::Ttl)
            .map(|t| now + t.ttl);
        let (passing, critical) = check_type.as_ref().map_or((0, 0), |t| {
            (t.success_before_passing, t.failures_before_critical)
        });
        let entry = CheckEntry {
            ttl_output: check.output.clone(),
            check: Arc::new(check),
            check_type: check_type.clone(),
            token,
            source,
            generation,
            gate: StatusGate::new(passing, critical),
            critical_since,
            ttl_deadline,
            deferred: None,
        };
        self.link_check(now, &entry);
        self.checks.insert(id.clone(), entry);
        self.sync_check_put(&id, unchanged);
        match source {
            Source::Api => out.push(Action::SaveCheck { id: id.clone() }),
            Source::Config if was_saved => out.push(Action::ForgetCheck { id: id.clone() }),
            Source::Config => {}
        }
        if was_ttl && probe != Probe::Ttl {
            out.push(Action::ForgetCheckState { id: id.clone() });
        }
        match (probe, check_type) {
            (Probe::Ttl | Probe::LocalAlias | Probe::None, _) | (_, None) => {
                if old.is_some() {
                    out.push(Action::StopProbe { id: id.clone() });
                }
            }
            (_, Some(check_type)) => out.push(Action::StartProbe {
                id: id.clone(),
                generation,
                check_type,
            }),
        }
        self.touch_followers_of_check(&id);
        self.refresh_aliases(now);
    }

    fn remove_service(&mut self, now: Mono, id: &str, out: &mut Vec<Action>) -> bool {
        let Some(entry) = self.services.remove(id) else {
            return false;
        };
        let id = entry.service.id.clone();
        self.sync_service_gone(&id, &entry.token);
        for check in &entry.checks {
            self.remove_check(now, check, out);
        }
        if entry.source == Source::Api {
            out.push(Action::ForgetService { id: id.clone() });
        }
        out.push(Action::ServicesChanged);
        self.touch_followers(&id);
        true
    }

    pub(super) fn remove_check(&mut self, _now: Mono, id: &str, out: &mut Vec<Action>) -> bool {
        let Some(entry) = self.checks.remove(id) else {
            return false;
        };
        let id = entry.check.id.clone();
        self.unlink_check(&entry);
        self.sync_check_gone(&id, &entry.check.service_id, &entry.token);
        if entry.source == Source::Api {
            out.push(Action::ForgetCheck { id: id.clone() });
        }
        match entry.check_type.as_deref().map_or(Probe::None, probe_of) {
            Probe::Ttl => out.push(Action::ForgetCheckState { id: id.clone() }),
            Probe::LocalAlias | Probe::None => {}
            _ => out.push(Action::StopProbe { id: id.clone() }),
        }
        self.touch_followers(&entry.check.service_id);
        true
    }

    /// Enters a check into every index.
    fn link_check(&mut self, now: Mono, entry: &CheckEntry) {
        let id = &entry.check.id;
        let service = &entry.check.service_id;
        if service.is_empty() {
            self.node_checks.insert(id.clone());
        } else if let Some(owner) = self.services.get_mut(service) {
            owner.checks.insert(id.clone());
        }
        if let Some(check_type) = &entry.check_type {
            if probe_of(check_type) == Probe::LocalAlias {
                self.followers
                    .entry(check_type.alias_service.clone())
                    .or_default()
                    .insert(id.clone());
                self.touch_alias(id);
            }
            if !check_type.deregister_critical_service_after.is_zero() && !service.is_empty() {
                if self.reapable.is_empty() {
                    self.reap_at = now + self.options.reap_interval;
                }
                self.reapable.insert(id.clone());
            }
        }
        if let Some(at) = entry.ttl_deadline {
            self.timers.insert((at, Timer::Ttl, id.clone()));
        }
    }

    /// Takes a check out of every index.
    fn unlink_check(&mut self, entry: &CheckEntry) {
        let id = &entry.check.id;
        self.node_checks.remove(id);
        self.reapable.remove(id);
        if let Some(owner) = self.services.get_mut(&entry.check.service_id) {
            owner.checks.remove(id);
        }
        if let Some(check_type) = &entry.check_type
            && let Some(followers) = self.followers.get_mut(&check_type.alias_service)
        {
            followers.remove(id);
            if followers.is_empty() {
                self.followers.remove(&check_type.alias_service);
            }
        }
        if let Some(at) = entry.ttl_deadline {
            self.timers.remove(&(at, Timer::Ttl, id.clone()));
        }
        if let Some(at) = entry.deferred {
            self.timers.remove(&(at, Timer::Deferred, id.clone()));
        }
    }
}

/// What is on disk already need not be written again.
fn drop_saves(out: &mut Vec<Action>, from: usize) {
    let mut at = 0;
    out.retain(|action| {
        at += 1;
        at <= from
            || !matches!(
                action,
                Action::SaveService { .. } | Action::SaveCheck { .. }
            )
    });
}

fn unknown_service(id: &Text) -> Refusal {
    Refusal::Failed(format!("ServiceID {id:?} does not exist"))
}

fn service_of(definition: &ServiceDefinition, id: &Text) -> Service {
    let mut proxy = definition
        .proxy
        .clone()
        .filter(|p| **p != ProxyConfig::default());
    if let Some(proxy) = &mut proxy {
        for upstream in proxy.upstreams.iter_mut().flatten() {
            if upstream.destination_type.is_empty() {
                upstream.destination_type = text("service");
            }
        }
    }
    Service {
        kind: definition.kind,
        id: id.clone(),
        name: definition.name.clone(),
        tags: definition.tags.clone(),
        address: definition.address.clone(),
        tagged_addresses: tagged_addresses(definition),
        meta: definition.meta.clone(),
        port: definition.port,
        weights: Some(definition.weights.unwrap_or_default()),
        enable_tag_override: definition.enable_tag_override,
        proxy,
        connect_native: definition.connect_native,
        locally_registered_as_sidecar: false,
        given_empty: GivenEmpty::default(),
        create: Index(0),
        modify: Index(0),
    }
}

/// The named addresses, with those of the family of an own IP address filled in.
fn tagged_addresses(definition: &ServiceDefinition) -> Vec<(Text, ServiceAddress)> {
    let mut tagged = definition.tagged_addresses.clone();
    let names = match definition.address.parse::<IpAddr>() {
        Ok(IpAddr::V4(_)) => ["lan_ipv4", "wan_ipv4"],
        Ok(IpAddr::V6(_)) => ["lan_ipv6", "wan_ipv6"],
        Err(_) => return tagged,
    };
    for name in names {
        if !tagged.iter().any(|(n, _)| &**n == name) {
            let own = ServiceAddress {
                address: definition.address.clone(),
                port: definition.port,
            };
            tagged.push((text(name), own));
        }
    }
    tagged.sort_by(|a, b| a.0.cmp(&b.0));
    tagged
}

/// Equal but for what only servers or only this agent know.
pub(crate) fn same_service(a: &Service, b: &Service) -> bool {
    let none = ProxyConfig::default();
    let weights = |s: &Service| s.weights.unwrap_or_default();
    let meta = |s: &Service| s.meta.clone().unwrap_or_default();
    a.kind == b.kind
        && a.id == b.id
        && a.name == b.name
        && a.tags == b.tags
        && a.address == b.address
        && a.tagged_addresses == b.tagged_addresses
        && a.port == b.port
        && weights(a) == weights(b)
        && meta(a) == meta(b)
        && a.enable_tag_override == b.enable_tag_override
        && a.proxy.as_deref().unwrap_or(&none) == b.proxy.as_deref().unwrap_or(&none)
        && a.connect_native == b.connect_native
}

const SCRIPTS_OFF: &str = "Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
                           'enable_local_script_checks' to true";
const REMOTE_SCRIPTS_OFF: &str = "Scripts are disabled on this agent from remote calls; to enable, configure \
                                  'enable_script_checks' to true";
