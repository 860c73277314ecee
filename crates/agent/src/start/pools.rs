//! The gossip pools of an agent: bound before anything is served, run when there is a handle for what they tell, joined
//! until that works.

use tokio::sync::mpsc;
use tracing::warn;
use tribune_config::Config;
use tribune_rt::net::{BindOptions, TcpListener};
use tribune_rt::{Env, TaskGroup};

use super::StartError;
use crate::gossip::{self, LanParts, Pool, PoolError, RetryJoin};
use crate::handle::Handle;
use crate::info::Identity;

/// The pools that were started.
pub(super) struct Pools {
    pub(super) lan: Pool,
    /// Of a server only, and not if it is turned off.
    pub(super) wan: Option<Pool>,
    parts: LanParts,
}

impl Pools {
    /// Binds the pools' ports.
    ///
    /// # Errors
    /// The first one that cannot be used.
    pub(super) fn start(
        env: &Env,
        tasks: &TaskGroup,
        config: &Config,
        identity: &Identity,
        revision: &str,
    ) -> Result<Pools, StartError> {
        let (role, lan_word) = match identity.server {
            true => ("server", "LAN Serf"),
            false => ("client", "lan serf"),
        };
        let failed = |pool, source: PoolError| {
            // The original takes the server port first: where both are taken, that is the one its users read of.
            let addr = config.addrs.rpc_bind;
            if identity.server
                && let Err(source) = TcpListener::bind(env, addr, BindOptions::default())
            {
                return StartError::RpcPort { addr, source };
            }
            StartError::Gossip { role, pool, source }
        };
        let wan = gossip::start_wan(env, tasks, config, identity, revision)
            .map_err(|source| failed("WAN Serf", source))?;
        let (lan, parts) = gossip::start_lan(env, tasks, config, identity, revision)
            .map_err(|source| failed(lan_word, source))?;
        Ok(Pools { lan, wan, parts })
    }

    /// Follows what the pools tell, and joins those that are to be joined; what comes out says that the tries are used up.
    pub(super) fn run(
        self,
        config: &Config,
        handle: &Handle,
        tasks: &TaskGroup,
    ) -> mpsc::Receiver<String> {
        gossip::run_lan(handle, &self.lan, self.parts, tasks);
        if let Some(wan) = &self.wan {
            gossip::run_wan(handle, &self.lan, wan, tasks);
        }
        retry_join(config, handle, tasks)
    }
}

/// Joins again and again until it works; what comes out says that the tries are used up.
fn retry_join(config: &Config, handle: &Handle, tasks: &TaskGroup) -> mpsc::Receiver<String> {
    let (exhausted, joins) = mpsc::channel(1);
    let join = &config.join;
    let lan = RetryJoin {
        addrs: join.retry_lan.clone(),
        interval: join.retry_interval_lan,
        max: join.retry_max_lan,
    };
    let wan = RetryJoin {
        addrs: join.retry_wan.clone(),
        interval: join.retry_interval_wan,
        max: join.retry_max_wan,
    };
    for (join, label) in [(lan, "LAN"), (wan, "WAN")] {
        if join.addrs.is_empty() {
            continue;
        }
        if label == "WAN" && !handle.identity().server {
            warn!("\"retry_join_wan\" has no effect on a client");
            continue;
        }
        let pool = handle.pool_to_join(label == "WAN").cloned();
        let env = handle.inner.local.env().clone();
        let run = join.run(env, label, pool, exhausted.clone());
        let stop = tasks.stop().clone();
        tasks.spawn("retry-join", async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = run => {}
            }
        });
    }
    joins
}
