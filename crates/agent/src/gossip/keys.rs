//! The gossip keys of a pool: in memory, in their file, and changed by operators (spec gossip.md sections 7.10 and 10.6).
//!
//! The first key encrypts, all decrypt. A change is made in memory and then on disk, one change at a time; if the disk
//! fails, the change is kept in memory and the answer says that it may not survive a restart.
//!
//! `encrypt` of the configuration creates the file when it is missing. A file that exists wins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::RwLock;
use tracing::{info, warn};
use tribune_rt::Env;
use tribune_serf::KeyOperation;
use tribune_wire::keyring::{
    EMPTY, FileError, Key, KeyError, Keyring, Layout, NO_KEYRING, OVERHEAD,
};

use super::options::KeyOptions;

const FILE_MODE: u32 = 0o600;
const FOLDER_MODE: u32 = 0o700;

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The configured key.
    #[error("Invalid key: {0}")]
    Configured(KeyError),
    /// The file holds something else.
    #[error("keyring file {path:?}")]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: FileError,
    },
    /// The file cannot be read or written.
    #[error("keyring file {path:?}")]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
}

/// The keys of a pool.
pub(super) struct Keys {
    /// `None`: no encryption at all.
    ring: RwLock<Option<Arc<Keyring>>>,
    file: Option<PathBuf>,
    verify_incoming: bool,
    verify_outgoing: bool,
    /// One change at a time, from memory to disk.
    changing: tokio::sync::Mutex<()>,
}

impl Keys {
    /// The keys of the file, or the configured one. Blocks.
    pub(super) fn load(env: &Env, label: &str, options: &KeyOptions) -> Result<Keys, KeysError> {
        let configured = match options.configured.reveal() {
            "" => None,
            key => Some(Key::from_base64(key).map_err(KeysError::Configured)?),
        };
        let kept = match &options.file {
            Some(path) if env.disk().exists(path) => Some(read(env, path)?),
            _ => None,
        };
        let ring = match (kept, configured) {
            (Some(kept), configured) => {
                if configured.is_some_and(|key| !kept.contains(&key)) {
                    warn!(
                        "{label} keyring exists and does not hold the key of \"encrypt\"; the keyring is used"
                    );
                }
                Some(kept)
            }
            (None, Some(key)) => {
                let ring = Keyring::new(key);
                if let Some(path) = &options.file {
                    let text = ring.to_file(Layout::Compact);
                    write(env, path, &text).map_err(|source| KeysError::File {
                        path: path.clone(),
                        source,
                    })?;
                }
                Some(ring)
            }
            (None, None) => None,
        };
        Ok(Keys {
            ring: RwLock::new(ring.map(Arc::new)),
            file: options.file.clone(),
            verify_incoming: options.verify_incoming,
            verify_outgoing: options.verify_outgoing,
            changing: tokio::sync::Mutex::default(),
        })
    }

    /// True if there are keys.
    pub(super) fn is_encrypted(&self) -> bool {
        self.ring.read().is_some()
    }

    /// For what comes in: the keys, and whether plain text is refused.
    pub(super) fn incoming(&self) -> (Option<Arc<Keyring>>, bool) {
        (self.ring.read().clone(), self.verify_incoming)
    }

    /// For what goes out; `None` is plain text.
    pub(super) fn outgoing(&self) -> Option<Arc<Keyring>> {
        self.ring.read().clone().filter(|_| self.verify_outgoing)
    }

    /// Bytes that encryption takes of a datagram.
    pub(super) fn packet_overhead(&self) -> usize {
        if self.outgoing().is_some() {
            OVERHEAD
        } else {
            0
        }
    }

    /// The keys in base64, the primary one first. Secret.
    ///
    /// # Errors
    /// There are none; the text is for other members.
    pub(super) fn list(&self) -> Result<Vec<String>, &'static str> {
        let ring = self.ring.read();
        let ring = ring.as_ref().ok_or(EMPTY)?;
        Ok(ring.keys().map(Key::to_base64).collect())
    }

    /// Carries out a change and makes it durable. Not cancel safe: memory and file may differ.
    ///
    /// # Errors
    /// Why it was not done, or not made durable; the text is for other members.
    pub(super) async fn change(
        &self,
        env: &Env,
        operation: KeyOperation,
        key: &[u8],
    ) -> Result<(), String> {
        let _one = self.changing.lock().await;
        let old = self.ring.read().clone().ok_or(NO_KEYRING)?;
        let Some(ring) = changed(&old, operation, key)? else {
            return Ok(());
        };
        let text = ring.to_file(Layout::Indented);
        *self.ring.write() = Some(Arc::new(ring));
        info!(?operation, "serf: gossip keys changed");
        let Some(path) = self.file.clone() else {
            return Ok(());
        };
        let env_for_work = env.clone();
        let work = env.spawn_blocking("keyring", move || write(&env_for_work, &path, &text));
        let problem = match work.join().await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(err)) => err.to_string(),
            Err(err) => err.to_string(),
        };
        warn!(%problem, "serf: failed to write the keyring file");
        Err(format!("Failed to write keyring file: {problem}"))
    }
}

/// The ring after an operation; `None` if it stays as it is.
fn changed(ring: &Keyring, operation: KeyOperation, key: &[u8]) -> Result<Option<Keyring>, String> {
    let mut ring = ring.clone();
    let changes = match operation {
        KeyOperation::List => false,
        KeyOperation::Install => {
            let key = Key::new(key).map_err(|err| err.to_string())?;
            ring.install(key)
        }
        // A key of another size cannot be in the ring.
        KeyOperation::Use => {
            let absent = tribune_wire::keyring::UseError::Absent.to_string();
            let key = Key::new(key).map_err(|_| absent)?;
            let changes = *ring.primary() != key;
            ring.use_key(&key).map_err(|err| err.to_string())?;
            changes
        }
        KeyOperation::Remove => match Key::new(key) {
            Ok(key) => ring.remove(&key).map_err(|err| err.to_string())?,
            Err(_) => false,
        },
    };
    Ok(changes.then_some(ring))
}

fn read(env: &Env, path: &Path) -> Result<Keyring, KeysError> {
    let bytes = env.disk().read(path).map_err(|source| KeysError::File {
        path: path.to_owned(),
        source,
    })?;
    Keyring::from_file(&bytes).map_err(|source| KeysError::Content {
        path: path.to_owned(),
        source,
    })
}

fn write(env: &Env, path: &Path, text: &str) -> std::io::Result<()> {
    let disk = env.disk();
    if let Some(folder) = path.parent() {
        disk.create_dir_all(folder)?;
        disk.set_mode(folder, FOLDER_MODE)?;
    }
    disk.write_atomic(path, text.as_bytes(), FILE_MODE, env.random_u64())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8, size: usize) -> Vec<u8> {
        vec![n; size]
    }

    #[test]
    fn operations_change_the_ring_or_say_why_not() {
        use KeyOperation::{Install, Remove, Use};
        let (a, b, c) = (key(1, 16), key(2, 32), key(3, 24));
        let mut ring = Keyring::new(Key::new(&a).unwrap());
        ring.install(Key::new(&b).unwrap());
        // (operation, key, result)
        for (operation, asked, want) in [
            (Install, &c, Ok(Some(vec![&a, &b, &c]))),
            (Install, &b, Ok(None)),
            (
                Install,
                &key(1, 15),
                Err("key size must be 16, 24 or 32 bytes"),
            ),
            (Use, &b, Ok(Some(vec![&b, &a]))),
            (Use, &a, Ok(None)),
            (Use, &c, Err("Requested key is not in the keyring")),
            (Use, &key(1, 3), Err("Requested key is not in the keyring")),
            (Remove, &b, Ok(Some(vec![&a]))),
            (Remove, &c, Ok(None)),
            (Remove, &key(1, 3), Ok(None)),
            (Remove, &a, Err("Removing the primary key is not allowed")),
        ] {
            let found = changed(&ring, operation, asked).map(|ring| {
                ring.map(|ring| {
                    ring.keys()
                        .map(|key| key.as_bytes().to_vec())
                        .collect::<Vec<_>>()
                })
            });
            let want = want
                .map(|keys: Option<Vec<&Vec<u8>>>| {
                    keys.map(|keys| keys.into_iter().cloned().collect::<Vec<_>>())
                })
                .map_err(str::to_owned);
            assert_eq!(found, want, "{operation:?}");
        }
    }
}
