//! The status key: how far a flow has come, for its next run and for people.
//!
//! One JSON object per flow below the status folder of the destination, named by a digest of what the flow mirrors, so
//! that every replicator of the same prefix finds the same key. The names of its fields are those of the older tool
//! where that has them. A status that cannot be read counts as none: the next pass compares everything anyway.

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What the key holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Status {
    /// Index of the source when the destination was last seen to equal it.
    pub(crate) last_replicated: u64,
    /// Prefix at the source.
    pub(crate) source: String,
    /// Datacenter of the source.
    pub(crate) datacenter: String,
    /// Prefix at the destination.
    pub(crate) destination: String,
    /// Keys the source had below the prefix, with those left alone.
    pub(crate) keys: u64,
}

impl Status {
    /// Reads a value; `None` for anything that is no status.
    pub(crate) fn read(value: &[u8]) -> Option<Self> {
        // The decoder would take a list for its fields in order.
        let is_object = value.trim_ascii_start().starts_with(b"{");
        serde_json::from_slice(value).ok().filter(|_| is_object)
    }

    /// The value to write.
    pub(crate) fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Name of a flow's status key below the status folder.
pub(crate) fn digest(source: &str, datacenter: &str, destination: &str) -> String {
    let mut hash = Sha256::new();
    for part in [source, datacenter, destination] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let bytes: [u8; 32] = hash.finalize().into();
    bytes[..16].iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether an empty source may empty the destination, after a complete pass left `known`.
///
/// It may when the source was empty before, or when its index has grown since: removing keys raises the index, whereas a
/// lost, rebuilt or restored source starts lower. Without a status nothing speaks for it.
pub(crate) fn emptiness_is_news(known: Option<&Status>, index: u64) -> bool {
    match known {
        None => false,
        Some(status) if status.keys == 0 => index >= status.last_replicated,
        Some(status) => index > status.last_replicated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_source_is_believed_only_when_its_index_grew() {
        let status = |last_replicated, keys| Status {
            last_replicated,
            keys,
            ..Status::default()
        };
        // (last index, keys then, index now, believed)
        for (last, keys, index, want) in [
            (10, 5, 11, true),
            (10, 5, 10, false),
            (10, 5, 3, false),
            (10, 0, 10, true),
            (10, 0, 9, false),
        ] {
            let known = status(last, keys);
            assert_eq!(
                emptiness_is_news(Some(&known), index),
                want,
                "{last} {keys} {index}"
            );
        }
        assert!(!emptiness_is_news(None, 100));
    }

    #[test]
    fn a_status_survives_its_key_and_rubbish_is_none() {
        let status = Status {
            last_replicated: 7,
            source: "a/".to_owned(),
            datacenter: "dc1".to_owned(),
            destination: "b/".to_owned(),
            keys: 3,
        };
        assert_eq!(Status::read(&status.render()), Some(status));
        let older = br#"{"LastReplicated":12,"Source":"a","Destination":"b"}"#;
        assert_eq!(Status::read(older).unwrap().last_replicated, 12);
        assert_eq!(Status::read(b""), None);
        assert_eq!(Status::read(b"[1]"), None);
    }

    #[test]
    fn names_of_different_flows_differ() {
        let names = [
            digest("a", "dc1", "b"),
            digest("a", "dc1b", ""),
            digest("ad", "c1", "b"),
            digest("a", "dc2", "b"),
        ];
        for (at, name) in names.iter().enumerate() {
            assert_eq!(name.len(), 32);
            assert!(!names[at + 1..].contains(name));
        }
    }
}
