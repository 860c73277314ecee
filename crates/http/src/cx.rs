//! What every request can reach: the agent, the world, the settings.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tribune_agent::Handle;
use tribune_rt::Env;
use tribune_types::text::Text;

use crate::meters::Meters;
use crate::options::HttpOptions;
use crate::routes::Router;

/// Blocking reads of the agent itself wait so long unless told otherwise.
const QUERY_TIME_DEFAULT: Duration = Duration::from_secs(300);
/// And never longer than this.
const QUERY_TIME_MAX: Duration = Duration::from_secs(600);

/// Shared by all connections.
pub(crate) struct Cx {
    /// Clock, sleeps, randomness.
    pub(crate) env: Env,
    /// The agent.
    pub(crate) handle: Handle,
    /// Settings.
    pub(crate) options: HttpOptions,
    /// Which handler serves a path.
    pub(crate) router: Router,
    /// What is counted and timed.
    pub(crate) meters: Meters,
    /// Own node name.
    pub(crate) node: Text,
    /// Own datacenter.
    pub(crate) datacenter: Text,
    /// Headers of every answer.
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
    discovery_max_stale_ns: AtomicU64,
}

impl Cx {
    /// Ready to serve. Header names or values that HTTP does not allow are dropped with a warning.
    pub(crate) fn new(env: &Env, handle: Handle, options: HttpOptions) -> Cx {
        let identity = handle.identity();
        let (node, datacenter) = (identity.node.clone(), identity.datacenter.clone());
        let mut headers = Vec::new();
        for (name, value) in &options.response_headers {
            match (
                HeaderName::from_bytes(name.as_bytes()),
                HeaderValue::from_str(value),
            ) {
                (Ok(name), Ok(value)) => headers.push((name, value)),
                _ => tracing::warn!(header = %name, "response header is not valid, leaving it out"),
            }
        }
        if options.translate_wan_addrs {
            headers.push((
                HeaderName::from_static("x-consul-translate-addresses"),
                HeaderValue::from_static("true"),
            ));
        }
        let cx = Cx {
            env: env.clone(),
            handle,
            router: Router::new(),
            meters: Meters::new(node.clone()),
            node,
            datacenter,
            headers,
            discovery_max_stale_ns: AtomicU64::new(0),
            options,
        };
        cx.set_discovery_max_stale(cx.options.discovery_max_stale);
        cx
    }

    /// How stale catalog and health reads without a mode may be.
    pub(crate) fn discovery_max_stale(&self) -> Duration {
        Duration::from_nanos(self.discovery_max_stale_ns.load(Ordering::Relaxed))
    }

    /// Changes [`Cx::discovery_max_stale`].
    pub(crate) fn set_discovery_max_stale(&self, limit: Duration) {
        self.discovery_max_stale_ns.store(
            u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX),
            Ordering::Relaxed,
        );
    }

    /// How long a blocking read of the agent itself waits: bounded, and lengthened by up to a sixteenth so that waiters
    /// spread.
    pub(crate) fn wait(&self, asked: Option<Duration>) -> Duration {
        let or = |given: Duration, default| if given.is_zero() { default } else { given };
        let max = or(self.options.max_query_time, QUERY_TIME_MAX);
        let wait = asked
            .unwrap_or_else(|| or(self.options.default_query_time, QUERY_TIME_DEFAULT))
            .min(max);
        wait + self.env.jitter(wait / 16)
    }
}
