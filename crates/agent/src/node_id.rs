//! The identity of this node: configured, else kept in a file, else derived from the machine, else drawn.
//!
//! Order and file: spec agent.md section 3. The file is `node-id` below the data folder.

use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha512};
use tribune_rt::Env;
use tribune_types::id::{NodeId, Uuid, UuidError};

/// Files of the kernel with a UUID of the machine.
const HOST_ID_FILES: [&str; 2] = ["/sys/class/dmi/id/product_uuid", "/etc/machine-id"];

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum NodeIdError {
    /// The file exists but cannot be read or written.
    #[error("failed to use node ID file {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The file holds no UUID.
    #[error("specified NodeID in {} is invalid: {source}", path.display())]
    Invalid {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: UuidError,
    },
}

/// Finds the identity and keeps a new one in the data folder. Blocks; without a data folder nothing is kept.
pub fn node_id(
    env: &Env,
    configured: Option<NodeId>,
    disable_host_id: bool,
    data_dir: Option<&Path>,
) -> Result<NodeId, NodeIdError> {
    if let Some(id) = configured {
        return Ok(id);
    }
    let file = data_dir.map(|dir| dir.join("node-id"));
    if let Some(path) = &file
        && let Some(id) = stored(env, path)?
    {
        return Ok(id);
    }
    let id = match host_id(env).filter(|_| !disable_host_id) {
        Some(id) => id,
        None => {
            let mut bytes = [0; 16];
            env.fill_random(&mut bytes);
            Uuid::from_random(bytes)
        }
    };
    if let Some(path) = file {
        let keep = || {
            if let Some(parent) = path.parent() {
                env.disk().create_dir_all(parent)?;
            }
            env.disk()
                .write_atomic(&path, id.to_string().as_bytes(), 0o600, env.random_u64())
        };
        keep().map_err(|source| NodeIdError::File {
            path: path.clone(),
            source,
        })?;
    }
    Ok(id)
}

fn stored(env: &Env, path: &Path) -> Result<Option<NodeId>, NodeIdError> {
    match env.disk().read(path) {
        Ok(bytes) => Uuid::parse(String::from_utf8_lossy(&bytes).trim())
            .map(Some)
            .map_err(|source| NodeIdError::Invalid {
                path: path.to_owned(),
                source,
            }),
        Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(NodeIdError::File {
            path: path.to_owned(),
            source,
        }),
    }
}

/// The machine's UUID, hashed so that it does not tell what the machine is.
fn host_id(env: &Env) -> Option<NodeId> {
    if env.is_sim() {
        return None;
    }
    let text = HOST_ID_FILES
        .iter()
        .find_map(|path| env.disk().read(Path::new(path)).ok())?;
    let text = String::from_utf8_lossy(&text).trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    let digest = Sha512::digest(text.as_bytes());
    let mut bytes = [0; 16];
    bytes.copy_from_slice(digest.get(..16)?);
    Some(Uuid(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_identity_is_configured_or_kept_or_drawn() {
        let env = Env::ambient().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("new");
        let drawn = node_id(&env, None, true, Some(&dir)).unwrap();
        assert_eq!(node_id(&env, None, true, Some(&dir)).unwrap(), drawn);
        let own = Uuid::from_random([9; 16]);
        assert_eq!(node_id(&env, Some(own), true, Some(&dir)).unwrap(), own);
        assert_ne!(node_id(&env, None, true, None).unwrap(), drawn);
        std::fs::write(
            dir.join("node-id"),
            "ADF4238A-882b-9ddc-4a9d-5b6758e4159e\n",
        )
        .unwrap();
        let kept = node_id(&env, None, true, Some(&dir)).unwrap();
        assert_eq!(kept.to_string(), "adf4238a-882b-9ddc-4a9d-5b6758e4159e");
        std::fs::write(dir.join("node-id"), "nonsense").unwrap();
        assert!(node_id(&env, None, true, Some(&dir)).is_err());
        let consul = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/consul-1.8.7-data");
        assert!(node_id(&env, None, true, Some(&consul)).is_ok());
    }
}
