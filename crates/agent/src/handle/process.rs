//! The process: what it tells about itself, its metrics and its log.

use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tribune_types::coordinate::Coordinate;
use tribune_types::member::Member;
use tribune_types::value::Value;

use super::{Handle, LocalError};
use crate::gossip::Pool;
use crate::host;
use crate::info::SelfReport;
use crate::logs::parse_level;
use crate::profile;
use crate::report::{self, ClientFigures, Figures, PoolFigures, Role, ServerFigures};

/// Shape of the metrics answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricsFormat {
    /// The JSON document of the last complete interval.
    Json,
    /// Prometheus text 0.0.4.
    Prometheus,
}

/// What to stream from the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonitorOptions {
    /// Lowest level, as the client wrote it; empty is INFO.
    pub level: String,
    /// JSON lines instead of text lines.
    pub json: bool,
}

impl Handle {
    /// Everything for `/v1/agent/self`.
    pub async fn self_report(&self) -> SelfReport {
        let (config, identity) = (self.config(), self.identity());
        let raft = self
            .inner
            .cluster
            .server()
            .map(|server| (server.is_leader(), server.raft_metrics()));
        let (services, checks) = (self.services(), self.checks());
        let of_type = |word: &str| {
            checks
                .iter()
                .filter(|entry| &*entry.check.check_type == word)
                .count()
        };
        let lan = { self.inner.lan.as_ref() }.map_or_else(PoolFigures::default, pool_figures);
        let figures = Figures {
            services: services.len(),
            checks: checks.len(),
            check_monitors: of_type("script") + of_type("docker"),
            check_ttls: of_type("ttl"),
            revision: &self.inner.revision,
            acl_enabled: config.acl.enabled,
            tasks: profile::alive_tasks(self.local().env()).await,
            role: match &raft {
                Some((leader, raft)) => Role::Server(ServerFigures {
                    bootstrap: config.server.bootstrap || config.dev_mode,
                    known_datacenters: { self.inner.cluster.router() }
                        .map_or(1, |router| router.datacenters().len()),
                    leader: *leader,
                    raft,
                }),
                None => Role::Client(ClientFigures {
                    known_servers: self
                        .inner
                        .cluster
                        .client()
                        .map_or(0, |client| client.server_count()),
                }),
            },
            lan,
            wan: self.inner.wan.as_ref().map(pool_figures),
        };
        SelfReport {
            debug_config: report::debug_config(&config, identity.id, &self.inner.revision),
            coord: self.coordinate(),
            member: self.own_member(),
            stats: report::stats(&figures),
            meta: config.reloadable.node_meta.clone(),
            revision: self.inner.revision.clone(),
        }
    }

    /// Metrics of the last complete interval in the given shape, ready to send; `None` if that shape is turned off.
    pub fn metrics(&self, format: MetricsFormat, pretty: bool) -> Option<Bytes> {
        self.inner.telemetry.render(format, pretty)
    }

    /// Streams log lines, each with its newline, until the receiver is dropped. 512 lines are buffered; more are dropped.
    ///
    /// # Errors
    /// The level is unknown.
    pub fn monitor(&self, options: &MonitorOptions) -> Result<mpsc::Receiver<Bytes>, LocalError> {
        let level =
            parse_level(&options.level).map_err(|err| LocalError::Invalid(err.to_string()))?;
        Ok(self.inner.logs.subscribe(level, options.json))
    }

    /// Facts about the machine, as the JSON document of `/v1/agent/host`. Reads files of the kernel.
    pub fn host(&self) -> Value {
        host::host(self.local().env())
    }

    /// A profile for `/debug/pprof/<kind>`; `None` if profiling is not allowed (`enable_debug` off).
    pub async fn profile(&self, kind: &str, duration: Duration) -> Option<Bytes> {
        if !self.config().http.enable_debug {
            return None;
        }
        Some(profile::profile(self.local().env(), kind, duration, None).await)
    }

    /// This agent as a member of the LAN pool.
    fn own_member(&self) -> Member {
        let own = match &self.inner.lan {
            Some(pool) => pool.own_member(),
            None => self.members(false).first().cloned(),
        };
        own.unwrap_or_default()
    }

    /// Own coordinate. `None` if coordinates are off.
    fn coordinate(&self) -> Option<Coordinate> {
        if self.config().coordinate.disabled {
            return None;
        }
        let pool = self.inner.lan.as_ref();
        Some(pool.map(Pool::coordinate).unwrap_or_default())
    }
}

fn pool_figures(pool: &Pool) -> PoolFigures {
    let stats = pool.stats();
    let [intent_queue, event_queue, query_queue] = stats.queued;
    PoolFigures {
        members: stats.members,
        failed: stats.failed,
        left: stats.left,
        encrypted: pool.is_encrypted(),
        health_score: stats.health_score,
        member_time: stats.member_time,
        event_time: stats.event_time,
        query_time: stats.query_time,
        intent_queue,
        event_queue,
        query_queue,
        coordinate_resets: stats.coordinate_resets,
    }
}
