//! The keys of the WAN pool, as long as this server is alone in it.
//!
//! Gossip between datacenters is not built yet, so every server is the only member of its WAN pool. Its keys exist all
//! the same, in `remote.keyring`, and follow every change of the LAN's: operators find the pools in step, and a data
//! folder is ready for the day when servers meet others.

use tribune_config::Config;
use tribune_rt::Env;
use tribune_serf::KeyOperation;
use tribune_types::keyring::KeyringOperation;
use tribune_types::text::{Text, text};

use super::keyring::KeyResult;
use super::keys::Keys;
use super::operator_key;
use super::options::{KeyOptions, PoolError};
use crate::info::Identity;

/// The keys of a pool of one.
pub(crate) struct WanKeys {
    env: Env,
    keys: Keys,
    /// Name of the only member.
    member: Text,
}

impl WanKeys {
    /// The keys of the file, or the configured one; `None` on agents that are in no WAN pool. Blocks.
    ///
    /// # Errors
    /// The file cannot be used, or the configured key is none.
    pub(crate) fn load(
        env: &Env,
        config: &Config,
        identity: &Identity,
    ) -> Result<Option<WanKeys>, PoolError> {
        if !identity.server || config.addrs.serf_wan_advertise.is_none() {
            return Ok(None);
        }
        let options = KeyOptions {
            configured: config.encrypt.key.clone(),
            file: config
                .data_dir
                .as_ref()
                .filter(|_| !config.encrypt.disable_keyring_file)
                .map(|dir| dir.join("serf").join("remote.keyring")),
            verify_incoming: config.encrypt.verify_incoming,
            verify_outgoing: config.encrypt.verify_outgoing,
        };
        Ok(Some(WanKeys {
            keys: Keys::load(env, "WAN", &options)?,
            member: text(&format!("{}.{}", identity.node, identity.datacenter)),
            env: env.clone(),
        }))
    }

    /// As [`Pool::keyring`](super::Pool::keyring).
    pub(crate) async fn keyring(&self, operation: KeyringOperation, key: &str) -> KeyResult {
        let mut result = KeyResult::default();
        let operation = match operation {
            KeyringOperation::List => KeyOperation::List,
            KeyringOperation::Install => KeyOperation::Install,
            KeyringOperation::Use => KeyOperation::Use,
            KeyringOperation::Remove => KeyOperation::Remove,
        };
        let bytes = match operation_key(operation, key) {
            Ok(bytes) => bytes,
            Err(problem) => {
                result.error = Some(problem);
                return result;
            }
        };
        (result.nodes, result.responses) = (1, 1);
        let answer = match operation {
            KeyOperation::List => self.keys.list().map_err(str::to_owned),
            _ => {
                let changed = self.keys.change(&self.env, operation, &bytes).await;
                changed.map(|()| Vec::new())
            }
        };
        match answer {
            Ok(list) => {
                let primary = list.iter().take(1);
                result.primary_keys = primary.map(|key| (text(key), 1)).collect();
                result.keys = list.iter().map(|key| (text(key), 1)).collect();
            }
            Err(problem) => {
                result.errors = 1;
                result.messages = [(self.member.clone(), text(&problem))].into();
                result.error = Some("1/1 nodes reported failure".to_owned());
            }
        }
        result
    }
}

fn operation_key(operation: KeyOperation, key: &str) -> Result<Vec<u8>, String> {
    match operation {
        KeyOperation::List => Ok(Vec::new()),
        _ => operator_key::decode(key),
    }
}
