//! Which keys a flow touches, and what they are called on the other side.
//!
//! In: a key of either side. Out: its name on the other side, or that it is left alone. Left alone are keys that are
//! excluded (by their name at the source), the replicator's own below the status folder of the destination, and keys
//! that cannot be named over HTTP: those whose bytes are no UTF-8, which listings show with U+FFFD.
//!
//! Invariant: on the keys it maps, the mapping keeps byte order, since it replaces one common beginning by another.

/// The rules of one flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Prefix at the source.
    pub(crate) source: String,
    /// Prefix at the destination.
    pub(crate) destination: String,
    /// Beginnings of source keys that are left alone.
    pub(crate) excludes: Vec<String>,
    /// Parts of source keys that are left alone.
    pub(crate) exclude_matches: Vec<String>,
    /// Folder of the replicator's own keys at the destination, without a slash at its end.
    pub(crate) status_dir: String,
}

impl Rules {
    /// Name at the destination of a key of the source.
    pub(crate) fn to_destination(&self, key: &str) -> Option<String> {
        let rest = key.strip_prefix(self.source.as_str())?;
        let there = [self.destination.as_str(), rest].concat();
        (!self.is_left_alone(key, &there)).then_some(there)
    }

    /// Whether a key of the destination mirrors a key that the source has or could have.
    pub(crate) fn is_mirrored(&self, key: &str) -> bool {
        key.strip_prefix(self.destination.as_str())
            .is_some_and(|rest| {
                let here = [self.source.as_str(), rest].concat();
                !self.is_left_alone(&here, key)
            })
    }

    /// Name at the source of a key of the destination that is mirrored.
    pub(crate) fn to_source(&self, key: &str) -> String {
        let rest = key.strip_prefix(self.destination.as_str()).unwrap_or(key);
        [self.source.as_str(), rest].concat()
    }

    fn is_left_alone(&self, source: &str, destination: &str) -> bool {
        let own = destination
            .strip_prefix(self.status_dir.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        own || source.is_empty()
            || destination.is_empty()
            || source.contains(char::REPLACEMENT_CHARACTER)
            || self.excludes.iter().any(|e| source.starts_with(e.as_str()))
            || self
                .exclude_matches
                .iter()
                .any(|e| source.contains(e.as_str()))
    }
}

/// Whether one of the prefixes begins with the other: some key may lie below both.
pub(crate) fn overlap(a: &str, b: &str) -> bool {
    a.starts_with(b) || b.starts_with(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(source: &str, destination: &str) -> Rules {
        Rules {
            source: source.to_owned(),
            destination: destination.to_owned(),
            excludes: vec!["a/secret".to_owned()],
            exclude_matches: vec!["/.lock".to_owned()],
            status_dir: "own/statuses".to_owned(),
        }
    }

    #[test]
    fn a_key_has_the_same_fate_seen_from_both_sides() {
        // (source prefix, destination prefix, source key, name there)
        for (source, destination, key, want) in [
            ("a/", "a/", "a/x", Some("a/x")),
            ("a/", "b/", "a/x", Some("b/x")),
            ("a", "b", "ab/x", Some("bb/x")),
            ("a/", "", "a/x", Some("x")),
            ("", "all/", "x", Some("all/x")),
            ("a/", "", "a/", None),
            ("a/", "b/", "a/secret", None),
            ("a/", "b/", "a/secrets/x", None),
            ("a/", "b/", "a/job/.lock", None),
            ("a/", "b/", "a/\u{fffd}", None),
            ("", "", "own/statuses/1", None),
            ("", "", "own/statuses", None),
            ("", "", "own/statuses2", Some("own/statuses2")),
            ("a/", "own/", "a/statuses/1", None),
        ] {
            let rules = rules(source, destination);
            assert_eq!(rules.to_destination(key).as_deref(), want, "{source} {key}");
            let there = key.replacen(source, destination, 1);
            assert_eq!(rules.is_mirrored(&there), want.is_some(), "{there}");
            assert_eq!(rules.to_source(&there), key);
        }
        assert_eq!(rules("a/", "b/").to_destination("c/x"), None);
        assert!(!rules("a/", "b/").is_mirrored("c/x"));
    }

    #[test]
    fn prefixes_overlap_when_one_begins_with_the_other() {
        for (a, b, want) in [
            ("a/", "a/b/", true),
            ("a", "ab", true),
            ("", "x", true),
            ("a/", "b/", false),
            ("a/b", "a/c", false),
        ] {
            assert_eq!((overlap(a, b), overlap(b, a)), (want, want), "{a} {b}");
        }
    }
}
