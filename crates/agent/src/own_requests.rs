//! What an agent asks of the servers of its datacenter, be it one of them: counted and limited (config `limits.rpc_rate`). Calls
//! that arrive on the server port are others' requests, and pass by.

use metrics::Counter;
use parking_lot::Mutex;
use tribune_config::Config;
use tribune_local::RateLimit;
use tribune_rt::Env;
use tribune_types::error::RpcError;

/// The count and the limit.
pub(crate) struct OwnRequests {
    env: Env,
    rate: Mutex<RateLimit>,
    asked: Counter,
    exceeded: Counter,
}

impl OwnRequests {
    pub(crate) fn new(env: &Env, config: &Config) -> OwnRequests {
        let limits = &config.reloadable;
        OwnRequests {
            env: env.clone(),
            rate: Mutex::new(RateLimit::new(limits.rpc_rate, limits.rpc_max_burst)),
            asked: metrics::counter!("client.rpc"),
            exceeded: metrics::counter!("client.rpc.exceeded"),
        }
    }

    /// Takes in new limits.
    pub(crate) fn reload(&self, config: &Config) {
        let limits = &config.reloadable;
        let mut rate = self.rate.lock();
        rate.set(limits.rpc_rate, limits.rpc_max_burst);
    }

    /// Counts a request that is about to be made.
    ///
    /// # Errors
    /// There were too many.
    pub(crate) fn admit(&self) -> Result<(), RpcError> {
        self.asked.increment(1);
        if self.rate.lock().admit(self.env.mono()) {
            return Ok(());
        }
        self.exceeded.increment(1);
        Err(RpcError::RateLimited)
    }
}
