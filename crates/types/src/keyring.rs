//! Gossip encryption keys as operators see and change them (gossip.md sections 7.10 and 10.6).

use std::collections::BTreeMap;

use crate::text::Text;

/// What to do with keys, on all members of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyringOperation {
    /// List the keys.
    List,
    /// Add a key, without encrypting with it yet.
    Install,
    /// Encrypt with a key that is there.
    Use,
    /// Remove a key that is not the primary one.
    Remove,
}

impl KeyringOperation {
    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyringOperation::List => "list",
            KeyringOperation::Install => "install",
            KeyringOperation::Use => "use",
            KeyringOperation::Remove => "remove",
        }
    }

    /// Parses the word on the wire.
    pub fn parse(word: &str) -> Option<KeyringOperation> {
        Some(match word {
            "list" => KeyringOperation::List,
            "install" => KeyringOperation::Install,
            "use" => KeyringOperation::Use,
            "remove" => KeyringOperation::Remove,
            _ => return None,
        })
    }
}

/// A request about keys. The token of the caller travels beside it.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyringRequest {
    /// What to do.
    pub operation: KeyringOperation,
    /// The key in base64, as the operator wrote it; empty for a list. Secret.
    pub key: Text,
    /// Ask the pool of this datacenter only. For lists.
    pub local_only: bool,
    /// Members through which each answer is sent as well, 0 to 5.
    pub relay_factor: u8,
    /// Sent on by a server of another datacenter: the own LAN pool only, and no further.
    pub forwarded: bool,
}

impl std::fmt::Debug for KeyringRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyringRequest")
            .field("operation", &self.operation)
            .field("local_only", &self.local_only)
            .field("relay_factor", &self.relay_factor)
            .field("forwarded", &self.forwarded)
            .finish_non_exhaustive()
    }
}

/// What the members of one pool answered.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct KeyringResponse {
    /// The pool of all datacenters' servers.
    pub wan: bool,
    /// Datacenter of the pool (of the server asked, if it is the WAN).
    pub datacenter: Text,
    /// Network segment; empty without Enterprise.
    pub segment: Text,
    /// What single members had to say.
    pub messages: BTreeMap<Text, Text>,
    /// How many members hold each key. Keys are secret.
    pub keys: BTreeMap<Text, i64>,
    /// How many members encrypt with each key.
    pub primary_keys: BTreeMap<Text, i64>,
    /// Members asked.
    pub num_nodes: i64,
    /// Why it failed as a whole, e.g. `1/3 nodes reported failure`; empty if it did not.
    pub error: Text,
}

impl std::fmt::Debug for KeyringResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyringResponse")
            .field("wan", &self.wan)
            .field("datacenter", &self.datacenter)
            .field("segment", &self.segment)
            .field("messages", &self.messages)
            .field("keys", &self.keys.len())
            .field("num_nodes", &self.num_nodes)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}
