//! Maintenance mode: a critical check without a probe, for the node or a service (spec agent.md 1.4).

use tribune_types::catalog::{Check, NODE_MAINTENANCE, SERVICE_MAINTENANCE_PREFIX, Status};
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use super::{Action, Registry, Source};
use crate::validate::Refusal;

impl Registry {
    /// Turns maintenance of a service on (with a reason, which may be empty) or off.
    pub fn service_maintenance(
        &mut self,
        now: Mono,
        service_id: &str,
        reason: Option<&str>,
        token: &Text,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let service = self
            .services
            .get(service_id)
            .map(|entry| entry.service.clone())
            .ok_or_else(|| {
                Refusal::NotFound(format!("No service registered with ID {service_id:?}"))
            })?;
        let check = Check {
            id: text(&format!("{SERVICE_MAINTENANCE_PREFIX}{service_id}")),
            name: text("Service Maintenance Mode"),
            notes: notes(reason, "service"),
            service_id: service.id.clone(),
            service_name: service.name.clone(),
            service_tags: service.tags.clone(),
            ..Check::default()
        };
        self.maintenance(now, check, reason.is_some(), token, out);
        Ok(())
    }

    /// Turns maintenance of the node on (with a reason, which may be empty) or off.
    pub fn node_maintenance(
        &mut self,
        now: Mono,
        reason: Option<&str>,
        token: &Text,
        out: &mut Vec<Action>,
    ) {
        let check = Check {
            id: text(NODE_MAINTENANCE),
            name: text("Node Maintenance Mode"),
            notes: notes(reason, "node"),
            ..Check::default()
        };
        self.maintenance(now, check, reason.is_some(), token, out);
    }

    fn maintenance(
        &mut self,
        now: Mono,
        mut check: Check,
        on: bool,
        token: &Text,
        out: &mut Vec<Action>,
    ) {
        let is_on = self.checks.contains_key(&check.id);
        if on && !is_on {
            check.node = self.sync.node().name.clone();
            check.status = Status::Critical;
            check.check_type = text("maintenance");
            self.put_check(now, check, None, token.clone(), Source::Api, out);
        } else if !on && is_on {
            let id = check.id;
            self.remove_check(now, &id, out);
        }
        self.refresh_aliases(now);
    }
}

fn notes(reason: Option<&str>, what: &str) -> Text {
    match reason {
        Some(reason) if !reason.is_empty() => text(reason),
        _ => text(&format!(
            "Maintenance mode is enabled for this {what}, but no reason was provided. This is a default message."
        )),
    }
}
