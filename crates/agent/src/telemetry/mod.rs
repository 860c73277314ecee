//! Metrics: kept in memory in intervals of 10 s, shown as JSON or Prometheus text, sent to statsd and its relatives.
//!
//! Code anywhere records through the `metrics` facade with names that have no prefix (`rpc.query`); prefix, host name and
//! filters are applied here, when a metric is first seen (agent.md section 11). Timers are in milliseconds.
//!
//! Memory: about 300 bytes per metric and label set; their number is bounded by [`registry::SERIES_MAX`].

mod process;
mod registry;
mod render;
mod sinks;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tribune_config::Config;
use tribune_config::config::TelemetryConfig;
use tribune_rt::{Env, TaskGroup};

use crate::handle::MetricsFormat;
use registry::{Naming, Registry};

/// Length of an interval.
const INTERVAL: Duration = Duration::from_secs(10);

/// The metrics of this process. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Telemetry {
    registry: Arc<Registry>,
    prometheus: bool,
    env: Env,
}

impl Telemetry {
    /// Sets up recording for this process. Where a recorder exists already (tests with several agents), metrics go there
    /// and this one stays empty. In simulation, where a process has many agents, nothing is recorded.
    pub(crate) fn install(env: &Env, config: &Config, host: &str) -> Telemetry {
        let telemetry = &config.telemetry;
        let registry = Arc::new(Registry::new(naming(config, host)));
        if !env.is_sim() {
            // Fails only if there is a recorder, which is fine as said above.
            let _ = metrics::set_global_recorder(registry::Recorder(Arc::clone(&registry)));
        }
        Telemetry {
            registry,
            prometheus: !telemetry.prometheus_retention.is_zero(),
            env: env.clone(),
        }
    }

    /// Starts closing intervals, measuring the process and sending to the configured sinks.
    pub(crate) fn spawn(&self, tasks: &TaskGroup, config: &TelemetryConfig) {
        if self.env.is_sim() {
            return;
        }
        let senders = sinks::Senders::new(config);
        let (registry, env, stop) = (
            Arc::clone(&self.registry),
            self.env.clone(),
            tasks.stop().clone(),
        );
        tasks.spawn("telemetry", async move {
            let mut senders = senders;
            let mut process = process::Process::default();
            loop {
                process.measure();
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = env.sleep(INTERVAL) => {}
                }
                registry.close_interval(env.wall());
                senders.send(&env, &registry).await;
            }
        });
    }

    /// What may change at run time: which prefixes pass.
    pub(crate) fn reload(&self, config: &Config, host: &str) {
        self.registry.rename(naming(config, host));
    }

    /// The last complete interval in the given shape; `None` if that shape is turned off.
    pub(crate) fn render(&self, format: MetricsFormat, pretty: bool) -> Option<Bytes> {
        match format {
            MetricsFormat::Json => Some(render::json(&self.registry, self.env.wall(), pretty)),
            MetricsFormat::Prometheus => {
                self.prometheus.then(|| render::prometheus(&self.registry))
            }
        }
    }
}

fn naming(config: &Config, host: &str) -> Naming {
    let telemetry = &config.telemetry;
    let has_sink = !telemetry.prometheus_retention.is_zero()
        || [
            &telemetry.statsd_address,
            &telemetry.statsite_address,
            &telemetry.dogstatsd_address,
        ]
        .iter()
        .any(|address| !address.is_empty());
    Naming {
        prefix: telemetry.metrics_prefix.clone(),
        // Gauges name their host only where many hosts may meet: outside of this process.
        host: (has_sink && !telemetry.disable_hostname).then(|| host.to_owned()),
        allowed: config.reloadable.telemetry_allowed_prefixes.clone(),
        blocked: config.reloadable.telemetry_blocked_prefixes.clone(),
        pass_by_default: telemetry.filter_default,
    }
}
