//! Shared strings and small sorted string maps, the storage form of names in records.

use std::sync::Arc;

/// A shared immutable string. The empty one does not allocate.
pub type Text = Arc<str>;

/// Makes a [`Text`]; the empty string shares one static allocation.
pub fn text(s: &str) -> Text {
    if s.is_empty() {
        Text::default()
    } else {
        Text::from(s)
    }
}

/// A map of strings kept as a sorted vector: metadata has few pairs and many copies.
///
/// Invariant: keys are strictly ascending by bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TextMap(Vec<(Text, Text)>);

impl TextMap {
    /// An empty map. Does not allocate.
    pub const fn new() -> TextMap {
        TextMap(Vec::new())
    }

    /// The value of `key`. O(log n).
    pub fn get(&self, key: &str) -> Option<&Text> {
        self.0
            .binary_search_by(|(k, _)| (**k).cmp(key))
            .ok()
            .map(|at| &self.0[at].1)
    }

    /// Sets `key`, replacing an older value. O(n).
    pub fn insert(&mut self, key: Text, value: Text) {
        match self.0.binary_search_by(|(k, _)| k.cmp(&key)) {
            Ok(at) => self.0[at].1 = value,
            Err(at) => self.0.insert(at, (key, value)),
        }
    }

    /// Removes `key` and returns its value.
    pub fn remove(&mut self, key: &str) -> Option<Text> {
        let at = self.0.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        Some(self.0.remove(at).1)
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without any pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Pairs in ascending order of keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&Text, &Text)> {
        self.0.iter().map(|(k, v)| (k, v))
    }

    /// True if every pair of `wanted` is in this map with the same value.
    pub fn contains_all(&self, wanted: &TextMap) -> bool {
        wanted.iter().all(|(k, v)| self.get(k) == Some(v))
    }
}

impl FromIterator<(Text, Text)> for TextMap {
    /// Later pairs win over earlier ones with the same key.
    fn from_iter<I: IntoIterator<Item = (Text, Text)>>(pairs: I) -> TextMap {
        let mut sorted: Vec<(Text, Text)> = pairs.into_iter().collect();
        sorted.sort_by(|a, b| a.0.cmp(&b.0));
        sorted.reverse();
        sorted.dedup_by(|later, kept| later.0 == kept.0);
        sorted.reverse();
        TextMap(sorted)
    }
}

/// True if two names are equal but for ASCII and Unicode letter case, as the catalog compares them.
pub fn same_name(a: &str, b: &str) -> bool {
    a == b || fold(a) == fold(b)
}

/// The lower-case form under which the catalog indexes node and service names.
pub fn fold(name: &str) -> String {
    if name.is_ascii() {
        name.to_ascii_lowercase()
    } else {
        name.to_lowercase()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_equal_keys_wins() {
        let map: TextMap = [("b", "1"), ("a", "2"), ("b", "3")]
            .into_iter()
            .map(|(k, v)| (text(k), text(v)))
            .collect();
        assert_eq!(map.get("b").map(|v| &**v), Some("3"));
        assert_eq!(map.len(), 2);
        assert_eq!(
            map.iter().map(|(k, _)| &**k).collect::<Vec<_>>(),
            ["a", "b"]
        );
    }

    #[test]
    fn names_match_in_any_letter_case() {
        assert!(same_name("Web", "wEB"));
        assert!(!same_name("web", "web2"));
    }
}
