//! The status key: how far a flow has come, for its next run and for people.
//!
//! One JSON object per flow below the status folder of the destination, named by a digest of the destination prefix: all
//! that write there find the same key, and the same lock beside it, whatever they copy. The names of its fields are those
//! of the older tool where that has them. A status that cannot be read, or that speaks of another source, counts as none:
//! the next pass compares everything anyway.

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

    /// Whether it speaks of this source. A datacenter whose name is not known does not tell sources apart.
    pub(crate) fn is_of(&self, source: &str, datacenter: &str) -> bool {
        let same = self.datacenter == datacenter;
        let unknown = self.datacenter.is_empty() || datacenter.is_empty();
        self.source == source && (same || unknown)
    }

    /// The value to write.
    pub(crate) fn render(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Name below the status folder of the status key of a destination prefix.
pub(crate) fn digest(destination: &str) -> String {
    let bytes: [u8; 32] = Sha256::digest(destination).into();
    bytes[..16].iter().map(|b| format!("{b:02x}")).collect()
}

/// Whether an empty source may empty the destination, after a complete pass left `known`.
///
/// It may when the source had keys then and its index has grown since: removing keys raises the index, whereas a lost,
/// rebuilt or restored source starts lower, and one whose keys are only hidden stays where it is. Without a status, or
/// where the source was empty all along, nothing speaks for it.
pub(crate) fn emptiness_is_news(known: Option<&Status>, index: u64) -> bool {
    known.is_some_and(|status| status.keys > 0 && index > status.last_replicated)
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
            (10, 0, 10, false),
            (10, 0, 11, false),
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
    fn a_status_of_another_source_is_none_of_ours() {
        let status = Status {
            source: "a/".to_owned(),
            datacenter: "dc1".to_owned(),
            ..Status::default()
        };
        // (source, datacenter, ours)
        for (source, dc, want) in [
            ("a/", "dc1", true),
            ("a/", "", true),
            ("a/", "dc2", false),
            ("b/", "dc1", false),
        ] {
            assert_eq!(status.is_of(source, dc), want, "{source} {dc}");
        }
        assert_ne!(digest("a/"), digest("a"));
        assert_eq!(digest("").len(), 32);
    }
}
