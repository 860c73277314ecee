//! The description inside an archive, `meta.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::ArchiveError;
use crate::msgpack;

/// What an archive says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// `<term>-<index>-<milliseconds>`.
    pub id: String,
    /// Last log index the state contains.
    pub index: u64,
    /// Term of that index.
    pub term: u64,
    /// The peer set when it was saved. A restore does not touch the peers.
    pub servers: Vec<MetaServer>,
    /// Log index of that peer set.
    pub configuration_index: u64,
    /// Bytes of the record stream.
    pub size: u64,
}

/// A server of the peer set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetaServer {
    /// Identity.
    pub id: String,
    /// `ip:port`.
    pub address: String,
    /// It votes.
    pub voter: bool,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Json {
    version: i64,
    #[serde(rename = "ID")]
    id: String,
    index: u64,
    term: u64,
    peers: Option<String>,
    configuration: Configuration,
    configuration_index: u64,
    size: u64,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Configuration {
    servers: Option<Vec<Server>>,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(default, rename_all = "PascalCase")]
struct Server {
    suffrage: u8,
    #[serde(rename = "ID")]
    id: String,
    address: String,
}

/// The version of the description that is written and read.
const VERSION: i64 = 1;

impl Meta {
    /// The JSON line of an archive.
    pub fn to_json(&self) -> Vec<u8> {
        let server = |s: &MetaServer| Server {
            suffrage: u8::from(!s.voter),
            id: s.id.clone(),
            address: s.address.clone(),
        };
        let peers: Vec<&str> = self
            .servers
            .iter()
            .filter(|s| s.voter)
            .map(|s| &*s.address)
            .collect();
        let json = Json {
            version: VERSION,
            id: self.id.clone(),
            index: self.index,
            term: self.term,
            peers: msgpack::to_vec(&peers)
                .ok()
                .map(|bytes| STANDARD.encode(bytes)),
            configuration: Configuration {
                servers: Some(self.servers.iter().map(server).collect()),
            },
            configuration_index: self.configuration_index,
            size: self.size,
        };
        let mut out = serde_json::to_vec(&json).unwrap_or_default();
        out.push(b'\n');
        out
    }

    /// Reads the JSON of an archive. Fields other than the version may be missing.
    pub fn from_json(bytes: &[u8]) -> Result<Meta, ArchiveError> {
        let json: Json = serde_json::from_slice(bytes).map_err(ArchiveError::Meta)?;
        if json.version != VERSION {
            return Err(ArchiveError::Version(json.version));
        }
        let server = |s: Server| MetaServer {
            id: s.id,
            address: s.address,
            voter: s.suffrage == 0,
        };
        Ok(Meta {
            id: json.id,
            index: json.index,
            term: json.term,
            servers: json
                .configuration
                .servers
                .into_iter()
                .flatten()
                .map(server)
                .collect(),
            configuration_index: json.configuration_index,
            size: json.size,
        })
    }
}
