//! Results: what probes and clients report, time limits of reports, and removal after a long time of being critical.

use std::sync::Arc;
use std::time::Duration;

use tribune_types::catalog::{Check, Status};
use tribune_types::text::{Text, text};
use tribune_types::time::Mono;

use super::{Action, Registry, Timer};
use crate::check::{Probe, probe_of};
use crate::output::truncated;
use crate::validate::Refusal;

impl Registry {
    /// Takes the result of a probe. Results of a replaced probe are dropped. `thresholds` is off for results that act
    /// at once (a script that ran too long). `jitter` is random, below the update interval.
    #[allow(
        clippy::too_many_arguments,
        reason = "one call site; the values are all of different types"
    )]
    pub fn on_result(
        &mut self,
        now: Mono,
        id: &str,
        generation: u64,
        status: Status,
        output: &str,
        thresholds: bool,
        jitter: Duration,
    ) {
        let Some(entry) = self.checks.get_mut(id) else {
            return;
        };
        if entry.generation != generation || (thresholds && !entry.gate.admits(status)) {
            return;
        }
        self.store(now, id, status, text(output), jitter);
        self.refresh_aliases(now);
    }

    /// Takes a reported result of a TTL check and starts its time anew.
    pub fn on_report(
        &mut self,
        now: Mono,
        id: &str,
        status: Status,
        output: &str,
        jitter: Duration,
        out: &mut Vec<Action>,
    ) -> Result<(), Refusal> {
        let limit = self.options.output_size_max;
        let no_ttl = || Refusal::Failed(format!("CheckID {id:?} does not have associated TTL"));
        let entry = self.checks.get_mut(id).ok_or_else(no_ttl)?;
        let check_type = entry
            .check_type
            .clone()
            .filter(|t| probe_of(t) == Probe::Ttl)
            .ok_or_else(no_ttl)?;
        let output = truncated(output, output_limit(limit, check_type.output_max_size));
        let id = entry.check.id.clone();
        entry.ttl_output = text(&output);
        let old = entry.ttl_deadline.replace(now + check_type.ttl);
        if let Some(old) = old {
            self.timers.remove(&(old, Timer::Ttl, id.clone()));
        }
        self.timers
            .insert((now + check_type.ttl, Timer::Ttl, id.clone()));
        self.store(now, &id, status, text(&output), jitter);
        self.refresh_aliases(now);
        out.push(Action::SaveCheckState {
            id,
            ttl: check_type.ttl,
        });
        Ok(())
    }

    /// Bytes of output a probe of this check may keep.
    pub fn output_limit(&self, output_max_size: i64) -> usize {
        output_limit(self.options.output_size_max, output_max_size)
    }

    /// Runs everything that is due: expired TTLs, postponed outputs, removals.
    pub fn on_time(&mut self, now: Mono, out: &mut Vec<Action>) {
        while let Some((at, timer, id)) = self.timers.first().cloned() {
            if at > now {
                break;
            }
            self.timers.pop_first();
            match timer {
                Timer::Ttl => self.expire(now, &id),
                Timer::Deferred => {
                    if let Some(entry) = self.checks.get_mut(&id) {
                        entry.deferred = None;
                        self.sync_check_changed(&id);
                    }
                }
            }
        }
        if !self.reapable.is_empty() && now >= self.reap_at {
            self.reap_at = now + self.options.reap_interval;
            self.reap(now, out);
        }
        self.refresh_aliases(now);
    }

    fn expire(&mut self, now: Mono, id: &Text) {
        let Some(entry) = self.checks.get_mut(id) else {
            return;
        };
        entry.ttl_deadline = None;
        let output = if entry.ttl_output.is_empty() {
            "TTL expired".to_owned()
        } else {
            format!(
                "TTL expired (last output before timeout follows): {}",
                entry.ttl_output
            )
        };
        self.store(now, id, Status::Critical, text(&output), Duration::ZERO);
    }

    fn reap(&mut self, now: Mono, out: &mut Vec<Action>) {
        let least = self.options.deregister_interval_min;
        let due: Vec<(Text, Text)> = self
            .reapable
            .iter()
            .filter_map(|id| self.checks.get(id))
            .filter(|entry| {
                let after = entry
                    .check_type
                    .as_ref()
                    .map_or(Duration::MAX, |t| t.deregister_critical_service_after);
                entry
                    .critical_since
                    .is_some_and(|since| now.since(since) > after.max(least))
            })
            .map(|entry| (entry.check.service_id.clone(), entry.check.id.clone()))
            .collect();
        for (service, check) in due {
            if self.deregister_service(now, &service, out) {
                out.push(Action::Reaped { service, check });
            }
        }
    }

    /// Stores a result and decides when the catalog hears of it. True if anything changed.
    pub(super) fn store(
        &mut self,
        now: Mono,
        id: &str,
        status: Status,
        output: Text,
        jitter: Duration,
    ) -> bool {
        let output = if self.options.discard_output {
            Text::default()
        } else {
            output
        };
        let Some(entry) = self.checks.get_mut(id) else {
            return false;
        };
        if entry.check.status == status && entry.check.output == output {
            return false;
        }
        let same_status = entry.check.status == status;
        let check = Arc::make_mut(&mut entry.check);
        check.status = status;
        check.output = output;
        let id = entry.check.id.clone();
        entry.critical_since = match status {
            Status::Critical => entry.critical_since.or(Some(now)),
            _ => None,
        };
        let interval = self.options.update_interval;
        if same_status && !interval.is_zero() {
            if entry.deferred.is_none() && self.sync.is_check_synced(&id) {
                let at = now + interval / 2 + jitter;
                entry.deferred = Some(at);
                self.timers.insert((at, Timer::Deferred, id.clone()));
            }
        } else {
            self.cancel_deferred(&id);
            self.sync_check_changed(&id);
        }
        self.touch_followers_of_check(&id);
        true
    }

    /// Forgets that an output waits: it is on its way.
    pub(crate) fn cancel_deferred(&mut self, id: &Text) {
        let Some(entry) = self.checks.get_mut(id) else {
            return;
        };
        if let Some(at) = entry.deferred.take() {
            self.timers.remove(&(at, Timer::Deferred, id.clone()));
        }
    }
}

fn output_limit(agent: usize, check: i64) -> usize {
    const DEFAULT: usize = 4096;
    let own = usize::try_from(check)
        .ok()
        .filter(|n| *n > 0)
        .unwrap_or(DEFAULT);
    agent.min(own)
}

/// Equal in what the catalog keeps of a check; with or without its output.
pub(crate) fn same_check(a: &Check, b: &Check, with_output: bool) -> bool {
    a.node == b.node
        && a.id == b.id
        && a.name == b.name
        && a.status == b.status
        && a.notes == b.notes
        && (!with_output || a.output == b.output)
        && a.service_id == b.service_id
        && a.service_name == b.service_name
        && a.service_tags == b.service_tags
}
