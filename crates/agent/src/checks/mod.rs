//! Running the probes of checks: one queue of deadlines for all of them.
//!
//! In: what to run (from the registry's actions). Out: results, handed to the [`LocalAgent`]. A run is a short task,
//! bounded in time, output and number; stopping a check drops its run and with it its connection or process group.
//! The first run of a check comes after a random part of its interval, then one interval after the end of the last
//! run (spec agent.md 1.1). Runs wait for a slot when too many are on their way.

pub(crate) mod alias;
mod dial;
mod docker;
mod grpc;
pub(crate) mod http;
mod script;
mod tls;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore};
use tracing::{debug, warn};
use tribune_local::{Probe, probe_of};
use tribune_rt::{AbortOnDrop, CancellationToken, Env};
use tribune_types::catalog::Status;
use tribune_types::definition::CheckType;
use tribune_types::text::Text;
use tribune_types::time::Mono;

pub(crate) use tls::{TlsFilesForChecks, TlsForChecks};

use crate::Handle;

/// Shortest time between runs.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Probes over the network at the same time.
const NETWORK_RUNS_MAX: usize = 512;
/// Processes at the same time.
const PROCESS_RUNS_MAX: usize = 64;
/// Limit of one run over the network, unless the check has its own.
const NETWORK_TIMEOUT: Duration = Duration::from_secs(10);
/// Limit of one script, unless the check has its own.
const SCRIPT_TIMEOUT: Duration = Duration::from_secs(30);

/// What a run found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) status: Status,
    pub(crate) output: String,
    /// The thresholds count it; a script that ran too long acts at once.
    pub(crate) thresholds: bool,
}

impl Outcome {
    fn new(status: Status, output: impl Into<String>) -> Outcome {
        Outcome {
            status,
            output: output.into(),
            thresholds: true,
        }
    }

    fn critical(output: impl Into<String>) -> Outcome {
        Outcome::new(Status::Critical, output)
    }
}

/// The queue of all probes.
pub(crate) struct Scheduler {
    env: Env,
    jobs: Mutex<Jobs>,
    wake: Notify,
    network: Arc<Semaphore>,
    processes: Arc<Semaphore>,
}

#[derive(Default)]
struct Jobs {
    by_id: BTreeMap<Text, Job>,
    queue: BTreeSet<(Mono, Text)>,
}

struct Job {
    generation: u64,
    check: Arc<CheckType>,
    interval: Duration,
    due: Option<Mono>,
    running: Option<AbortOnDrop>,
}

impl Scheduler {
    pub(crate) fn new(env: &Env) -> Scheduler {
        Scheduler {
            env: env.clone(),
            jobs: Mutex::default(),
            wake: Notify::new(),
            network: Arc::new(Semaphore::new(NETWORK_RUNS_MAX)),
            processes: Arc::new(Semaphore::new(PROCESS_RUNS_MAX)),
        }
    }

    /// Runs a check from now on, in place of an earlier one of the same ID.
    pub(crate) fn start(&self, id: Text, generation: u64, check: Arc<CheckType>) {
        let mut interval = check.interval;
        let follows = probe_of(&check) == Probe::RemoteAlias;
        if !follows && interval < INTERVAL_MIN {
            warn!(check = %id, interval = ?interval, minimum = ?INTERVAL_MIN, "check has interval below minimum");
            interval = INTERVAL_MIN;
        }
        let first = if follows {
            Duration::ZERO
        } else {
            self.env.jitter(interval)
        };
        let due = self.env.mono() + first;
        {
            let mut jobs = self.jobs.lock();
            jobs.remove(&id);
            jobs.queue.insert((due, id.clone()));
            jobs.by_id.insert(
                id,
                Job {
                    generation,
                    check,
                    interval,
                    due: Some(due),
                    running: None,
                },
            );
        }
        self.wake.notify_one();
    }

    /// Stops a check and a run of it that is on its way.
    pub(crate) fn stop(&self, id: &Text) {
        self.jobs.lock().remove(id);
    }

    /// Number of checks.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.jobs.lock().by_id.len()
    }

    /// Starts runs as they become due, until `stop`.
    pub(crate) async fn run(self: Arc<Self>, handle: Handle, stop: CancellationToken) {
        loop {
            let next = self.start_due(&handle);
            let sleep = async {
                match next {
                    Some(at) => self.env.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                () = self.wake.notified() => {}
                () = sleep => {}
            }
        }
        let jobs = std::mem::take(&mut *self.jobs.lock());
        drop(jobs);
    }

    /// Starts what is due; gives the next deadline.
    fn start_due(self: &Arc<Self>, handle: &Handle) -> Option<Mono> {
        let now = self.env.mono();
        let mut jobs = self.jobs.lock();
        while let Some((at, id)) = jobs.queue.first().cloned() {
            if at > now {
                return Some(at);
            }
            jobs.queue.pop_first();
            if let Some(job) = jobs.by_id.get_mut(&id) {
                job.due = None;
                let run = Arc::clone(self).one_run(
                    handle.clone(),
                    id,
                    job.generation,
                    Arc::clone(&job.check),
                );
                job.running = Some(self.env.spawn("check-run", run).abort_on_drop());
            }
        }
        None
    }

    async fn one_run(
        self: Arc<Self>,
        handle: Handle,
        id: Text,
        generation: u64,
        check: Arc<CheckType>,
    ) {
        let probe = probe_of(&check);
        if probe == Probe::RemoteAlias {
            alias::follow(&handle, &id, generation, &check).await;
            return;
        }
        let slots = match probe {
            Probe::Script | Probe::Docker => &self.processes,
            _ => &self.network,
        };
        let Ok(slot) = slots.acquire().await else {
            return;
        };
        let local = &handle.inner.local;
        let limit = local.output_limit(check.output_max_size);
        let outcome = run_probe(&self.env, probe, &check, limit, &local.tls_for_checks()).await;
        drop(slot);
        debug!(check = %id, status = outcome.status.as_str(), "check ran");
        local.on_probe_result(&id, generation, &outcome);
        self.finished(&id, generation);
    }

    fn finished(&self, id: &Text, generation: u64) {
        let mut jobs = self.jobs.lock();
        let Some(job) = jobs
            .by_id
            .get_mut(id)
            .filter(|job| job.generation == generation)
        else {
            return;
        };
        let due = self.env.mono() + job.interval;
        job.due = Some(due);
        // The guard belongs to the task that is ending here; letting it go only asks a done task to stop.
        let ended = job.running.take();
        jobs.queue.insert((due, id.clone()));
        drop(jobs);
        self.wake.notify_one();
        drop(ended);
    }
}

impl Jobs {
    fn remove(&mut self, id: &Text) {
        if let Some(due) = self.by_id.remove(id).and_then(|job| job.due) {
            self.queue.remove(&(due, id.clone()));
        }
    }
}

/// Runs a probe once. Bounded in time; cancel safe.
pub(crate) async fn run_probe(
    env: &Env,
    probe: Probe,
    check: &CheckType,
    output_limit: usize,
    tls: &TlsForChecks,
) -> Outcome {
    let timeout = |default| {
        if check.timeout.is_zero() {
            default
        } else {
            check.timeout
        }
    };
    match probe {
        Probe::Http => http::run(env, check, timeout(NETWORK_TIMEOUT), output_limit, tls).await,
        Probe::Tcp => dial::run(env, check, timeout(NETWORK_TIMEOUT)).await,
        Probe::Grpc => grpc::run(env, check, timeout(NETWORK_TIMEOUT), tls).await,
        Probe::Script => script::run(env, check, timeout(SCRIPT_TIMEOUT), output_limit).await,
        Probe::Docker => docker::run(env, check, timeout(SCRIPT_TIMEOUT), output_limit).await,
        Probe::Ttl | Probe::LocalAlias | Probe::RemoteAlias | Probe::None => {
            Outcome::critical("this check has no probe")
        }
    }
}

#[cfg(test)]
mod tests;
