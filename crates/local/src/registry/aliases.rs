//! Local alias checks follow the checks of a service of this agent at once.
//!
//! A change touches the aliases that count the changed check; touched aliases are evaluated in ID order, and their own
//! change may touch others. Evaluated again for the same change, an alias takes only a new status, not a new output,
//! so that aliases that follow one another in a circle come to rest.

use std::collections::BTreeSet;
use std::time::Duration;

use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use super::Registry;
use crate::alias::{AliasResult, evaluate, missing};
use crate::output::truncated;

impl Registry {
    /// Marks the aliases of a service, or all if the change is node-level (empty ID).
    pub(super) fn touch_followers(&mut self, service: &Text) {
        if self.followers.is_empty() {
            return;
        }
        if service.is_empty() {
            let all: Vec<Text> = self.followers.values().flatten().cloned().collect();
            self.sync.touched_aliases.extend(all);
        } else if let Some(followers) = self.followers.get(service) {
            self.sync.touched_aliases.extend(followers.iter().cloned());
        }
    }

    /// Marks the aliases that count this check.
    pub(super) fn touch_followers_of_check(&mut self, id: &str) {
        if self.followers.is_empty() {
            return;
        }
        if let Some(service) = self
            .checks
            .get(id)
            .map(|entry| entry.check.service_id.clone())
        {
            self.touch_followers(&service);
        }
    }

    /// Marks one alias.
    pub(super) fn touch_alias(&mut self, id: &Text) {
        self.sync.touched_aliases.insert(id.clone());
    }

    /// Evaluates the marked aliases.
    pub(super) fn refresh_aliases(&mut self, now: Mono) {
        let mut done: BTreeSet<Text> = BTreeSet::new();
        while let Some(id) = self.sync.touched_aliases.pop_first() {
            let again = !done.insert(id.clone());
            if let Some(result) = self.evaluate_alias(&id) {
                if again
                    && self
                        .checks
                        .get(&id)
                        .is_none_or(|entry| entry.check.status == result.status)
                {
                    continue;
                }
                let output = truncated(&result.output, self.options.output_size_max);
                self.store(now, &id, result.status, text(&output), Duration::ZERO);
            }
        }
    }

    fn evaluate_alias(&self, id: &Text) -> Option<AliasResult> {
        let target = &self.checks.get(id)?.check_type.as_ref()?.alias_service;
        let Some(service) = self.services.get(target) else {
            return Some(missing(target, ""));
        };
        Some(evaluate(
            self.counted(Some(service))
                .map(|entry| &*entry.check)
                .filter(|check| check.id != *id),
        ))
    }
}
