//! Joining at the start: once (`start_join`), or again and again until it works (`retry_join`).
//!
//! In: the addresses of the configuration. Out: a joined pool, or the end of the agent when the tries are used up.
//! Addresses of clouds (`provider=...`) are not supported yet; each try says so and goes on with the others.

use std::time::Duration;

use tokio::sync::mpsc;
use tracing::{error, info, warn};
use tribune_rt::Env;

use super::Pool;

/// What is tried, and how often.
#[derive(Debug, Clone)]
pub(crate) struct RetryJoin {
    /// Addresses.
    pub(crate) addrs: Vec<String>,
    /// Between tries.
    pub(crate) interval: Duration,
    /// Tries; 0 is no limit.
    pub(crate) max: u32,
}

impl RetryJoin {
    /// Tries until it works. When the tries are used up, the reason goes into `exhausted`. Without a pool, for the reason
    /// given instead of one, every try fails.
    pub(crate) async fn run(
        self,
        env: Env,
        label: &'static str,
        pool: Result<Pool, String>,
        exhausted: mpsc::Sender<String>,
    ) {
        info!("Joining cluster...: cluster={label}");
        let mut tries = 0;
        loop {
            let addrs = self.usable(label);
            let joined = if addrs.is_empty() {
                warn!("No addresses discovered: cluster={label}");
                super::join::Joined::default()
            } else {
                match &pool {
                    Ok(pool) => pool.join(&addrs).await,
                    Err(why) => {
                        warn!(error = %why, "({label}) couldn't join: number_of_nodes=0");
                        super::join::Joined::default()
                    }
                }
            };
            if joined.count > 0 {
                info!(
                    "Join cluster completed. Synced with initial agents: cluster={label} num_agents={}",
                    joined.count
                );
                return;
            }
            tries += 1;
            if self.max > 0 && tries > self.max {
                let reason = format!("agent: max join {label} retry exhausted, exiting");
                error!(error = %reason, "Retry join failed");
                // Full or closed: the agent ends already.
                let _ = exhausted.try_send(reason);
                return;
            }
            warn!(
                "Join cluster failed, will retry: cluster={label} retry_interval={:?}",
                self.interval
            );
            env.sleep(self.interval).await;
        }
    }

    fn usable(&self, label: &str) -> Vec<String> {
        let mut addrs = Vec::new();
        for addr in &self.addrs {
            if is_discovery(addr) {
                error!(
                    address = %shown(addr),
                    "Cannot discover address: cluster={label}: discovery of cloud instances is not supported yet"
                );
            } else {
                addrs.push(addr.clone());
            }
        }
        addrs
    }
}

/// True for `provider=... key=value ...`.
pub(crate) fn is_discovery(addr: &str) -> bool {
    addr.split_whitespace()
        .any(|word| word.starts_with("provider="))
}

/// Secrets of a cloud do not belong into a log: only the provider is shown.
fn shown(addr: &str) -> &str {
    addr.split_whitespace()
        .find(|word| word.starts_with("provider="))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_for_clouds_are_known_and_keep_their_secrets() {
        let addr = "provider=aws tag_key=a secret_access_key=hush";
        assert!(is_discovery(addr));
        assert_eq!(shown(addr), "provider=aws");
        assert!(!is_discovery("provider.example:8301"));
    }
}
