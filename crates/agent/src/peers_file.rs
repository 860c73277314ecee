//! `raft/peers.json`: an operator's word on who the peers are, after a majority of them was lost for good.
//!
//! Read at the start of a server, applied instead of the stored peer set, and deleted when that worked. Beside it lies
//! `peers.info`, which explains it. Two forms are understood, those of Consul's Raft protocols 3 and 2:
//!
//! ```text
//! [{"id": "adf4238a-882b-9ddc-4a9d-5b6758e4159e", "address": "10.1.0.1:8300", "non_voter": false}, ...]
//! ["10.1.0.1:8300", ...]
//! ```

use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tracing::{info, warn};
use tribune_rt::Env;
use tribune_rt::disk::Disk;
use tribune_server::RecoveredServer;
use tribune_types::id::NodeId;

use crate::start::StartError;

/// The file's name.
const FILE: &str = "peers.json";
/// The name of the explanation.
const INFO_FILE: &str = "peers.info";
const INFO: &str = "\
How to bring a cluster back that has lost the majority of its servers for good

Normally this folder holds no peers.json, and you should not make one: servers
that come and go are handled by joining, leaving and 'operator raft remove-peer'.

If so many servers are lost that the others cannot elect a leader:

  1. Stop all servers that are left.
  2. Write the same peers.json into this folder on each of them. It names the
     servers that are left, by their node IDs (file node-id in the data folder)
     and the addresses of their server ports:

     [
       { \"id\": \"adf4238a-882b-9ddc-4a9d-5b6758e4159e\", \"address\": \"10.1.0.1:8300\" },
       { \"id\": \"8b6dda82-3103-11e7-93ae-92361f002671\", \"address\": \"10.1.0.2:8300\" }
     ]

     \"non_voter\": true gives a server no vote. A plain list of addresses
     ([\"10.1.0.1:8300\", ...]) works, too, for servers that kept theirs.
  3. Start them. Each takes the file for its set of peers and deletes it.

Writes that only the lost servers had are lost.
";

/// The file of a server, if there is one.
pub(crate) struct PeersFile {
    disk: Disk,
    path: PathBuf,
    text: Vec<u8>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Entries {
    ById(Vec<Entry>),
    ByAddress(Vec<String>),
}

#[derive(Deserialize)]
struct Entry {
    id: String,
    address: String,
    #[serde(default)]
    non_voter: bool,
}

impl PeersFile {
    /// Looks for the file in the data folder, and puts the explanation there.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(crate) fn find(
        env: &Env,
        data_dir: Option<&Path>,
    ) -> Result<Option<PeersFile>, StartError> {
        let Some(dir) = data_dir.map(|dir| dir.join("raft")) else {
            return Ok(None);
        };
        let disk = env.disk();
        if let Err(err) = explain(env, &disk, &dir) {
            // Nothing depends on it; whatever is wrong with the folder will be told by the log.
            warn!(%err, "failed to write {INFO_FILE}");
        }
        let path = dir.join(FILE);
        match disk.read(&path) {
            Ok(text) => Ok(Some(PeersFile { disk, path, text })),
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(StartError::PeersFile {
                path,
                what: err.to_string(),
            }),
        }
    }

    /// The servers it names.
    ///
    /// # Errors
    /// It is none of the two forms.
    pub(crate) fn servers(&self) -> Result<Vec<RecoveredServer>, StartError> {
        let servers = parse(&self.text).map_err(|what| StartError::PeersFile {
            path: self.path.clone(),
            what,
        })?;
        info!(
            servers = servers.len(),
            "found {FILE}, the peer set is replaced by it"
        );
        Ok(servers)
    }

    /// The peer set is replaced: deletes the file.
    ///
    /// # Errors
    /// It may be there at the next start, which would replace the peer set again, with one that is out of date by then: this
    /// start must not go on.
    pub(crate) fn applied(self) -> Result<(), StartError> {
        let parent = self.path.parent().map(Path::to_owned).unwrap_or_default();
        let removed =
            { self.disk.remove_file(&self.path) }.and_then(|()| self.disk.sync_dir(&parent));
        removed.map_err(|source| StartError::PeersFileStays { source })?;
        info!("deleted {FILE} after the recovery");
        Ok(())
    }
}

fn explain(env: &Env, disk: &Disk, dir: &Path) -> io::Result<()> {
    let path = dir.join(INFO_FILE);
    if disk.exists(&path) {
        return Ok(());
    }
    disk.create_dir_all(dir)?;
    disk.write_atomic(&path, INFO.as_bytes(), 0o644, env.random_u64())
}

fn parse(text: &[u8]) -> Result<Vec<RecoveredServer>, String> {
    // The value first, so that errors of the syntax have a place.
    let value: serde_json::Value = serde_json::from_slice(text).map_err(|err| err.to_string())?;
    let entries = serde_json::from_value(value).map_err(|_| {
        "it is neither a list of {\"id\", \"address\", \"non_voter\"} nor a list of addresses"
            .to_owned()
    })?;
    let servers: Vec<RecoveredServer> = match entries {
        Entries::ByAddress(addrs) => addrs
            .into_iter()
            .map(|addr| RecoveredServer {
                id: None,
                addr,
                voter: true,
            })
            .collect(),
        Entries::ById(entries) => entries
            .into_iter()
            .map(|entry| {
                let id =
                    NodeId::parse(&entry.id).map_err(|err| format!("id {:?}: {err}", entry.id))?;
                Ok(RecoveredServer {
                    id: Some(id),
                    addr: entry.address,
                    voter: !entry.non_voter,
                })
            })
            .collect::<Result<_, String>>()?,
    };
    if servers.is_empty() {
        return Err("it names no server".to_owned());
    }
    Ok(servers)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "adf4238a-882b-9ddc-4a9d-5b6758e4159e";

    #[test]
    fn both_forms_name_the_same_servers() {
        let by_id = format!(
            r#"[{{"id": "{ID}", "address": "10.1.0.1:8300"}}, {{"id": "{ID}", "address": "10.1.0.2:8300", "non_voter": true}}]"#
        );
        let servers = parse(by_id.as_bytes()).unwrap();
        let shown: Vec<_> = servers.iter().map(|s| (s.addr.as_str(), s.voter)).collect();
        assert_eq!(shown, [("10.1.0.1:8300", true), ("10.1.0.2:8300", false)]);
        assert_eq!(servers[0].id.unwrap().to_string(), ID);
        let plain = parse(br#"["10.1.0.1:8300", "10.1.0.2:8300"]"#).unwrap();
        assert!(
            plain
                .iter()
                .all(|server| server.id.is_none() && server.voter)
        );
        assert_eq!(plain[1].addr, "10.1.0.2:8300");
    }

    #[test]
    fn a_file_that_is_neither_says_what_is_wrong() {
        // (text, part of the error)
        for (text, want) in [
            ("", "EOF"),
            ("[", "EOF"),
            ("[] x", "trailing characters"),
            ("[]", "names no server"),
            ("{}", "neither a list"),
            ("[1]", "neither a list"),
            (r#"["a", {"id": "b"}]"#, "neither a list"),
            (r#"[{"address": "10.1.0.1:8300"}]"#, "neither a list"),
            (r#"[{"id": "x", "address": "10.1.0.1:8300"}]"#, "id \"x\""),
        ] {
            let refused = parse(text.as_bytes()).unwrap_err();
            assert!(refused.contains(want), "{text}: {refused}");
        }
    }

    #[tokio::test]
    async fn the_file_is_found_once_and_explained_always() {
        let env = Env::ambient().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let raft = folder.path().join("raft");
        assert!(
            PeersFile::find(&env, Some(folder.path()))
                .unwrap()
                .is_none()
        );
        assert!(PeersFile::find(&env, None).unwrap().is_none());
        assert!(raft.join("peers.info").exists());
        std::fs::write(raft.join("peers.json"), r#"["10.1.0.1:8300"]"#).unwrap();
        let file = PeersFile::find(&env, Some(folder.path())).unwrap().unwrap();
        assert_eq!(file.servers().unwrap().len(), 1);
        file.applied().unwrap();
        assert!(
            PeersFile::find(&env, Some(folder.path()))
                .unwrap()
                .is_none()
        );
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_deleted_ends_the_start() {
        let env = Env::ambient().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = PeersFile {
            disk: env.disk(),
            // A folder is no file to be removed.
            path: folder.path().to_owned(),
            text: Vec::new(),
        };
        let refused = file.applied().unwrap_err().to_string();
        let want = "Failed to start Consul server: Failed to start Raft: recovery failed to delete peers.json, please \
                    delete manually (see peers.info for details): ";
        assert!(refused.starts_with(want), "{refused}");
    }
}
