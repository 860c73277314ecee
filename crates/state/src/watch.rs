//! Watch keys: what a write touched and what a read depends on.
//!
//! A reader records the keys whose touch could change its reply; a writer reports the keys it touched. Names in keys
//! are case-folded ([`tribune_types::text::fold`]). Invariant: if the reply of a query differs between two versions,
//! some key touched in between [wakes](WatchKey::wakes) some key recorded in the first.

use smallvec::SmallVec;
use tribune_types::catalog::Status;
use tribune_types::id::SessionId;
use tribune_types::kv::Key;
use tribune_types::text::Text;

/// Something that changes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchKey {
    /// One key.
    KvKey(Key),
    /// All keys of a prefix. Touched by deletion of a tree.
    KvPrefix(Key),
    /// One session.
    Session(SessionId),
    /// The list of sessions.
    Sessions,
    /// The sessions of a node.
    SessionsOfNode(Text),
    /// Any node record.
    Nodes,
    /// A node record or the services on it.
    Node(Text),
    /// The checks on a node.
    NodeChecks(Text),
    /// Any service instance.
    Services,
    /// Instances of a service, their nodes and checks.
    Service(Text),
    /// Mesh endpoints of a service, their nodes and checks.
    Connect(Text),
    /// Any check.
    Checks,
    /// Checks that are or were in this state.
    ChecksIn(Status),
    /// Any coordinate.
    Coordinates,
    /// The coordinates of a node.
    Coordinate(Text),
    /// Any prepared query.
    PreparedQueries,
    /// Autopilot settings.
    Autopilot,
    /// The whole state was replaced.
    Everything,
}

impl WatchKey {
    /// True if a touch of `self` must wake a waiter that recorded `parked`.
    pub fn wakes(&self, parked: &WatchKey) -> bool {
        match (self, parked) {
            (WatchKey::Everything, _) => true,
            (WatchKey::KvKey(key), WatchKey::KvPrefix(prefix)) => key.starts_with(prefix),
            (WatchKey::KvPrefix(prefix), WatchKey::KvKey(key)) => key.starts_with(prefix),
            (WatchKey::KvPrefix(a), WatchKey::KvPrefix(b)) => a.starts_with(b) || b.starts_with(a),
            (a, b) => a == b,
        }
    }
}

/// The keys recorded by a read. Seldom more than three.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchKeys(SmallVec<[WatchKey; 2]>);

impl WatchKeys {
    /// No keys. Does not allocate.
    pub fn new() -> WatchKeys {
        WatchKeys::default()
    }

    /// Records a key.
    pub fn push(&mut self, key: WatchKey) {
        self.0.push(key);
    }

    /// Forgets all keys and keeps the memory.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// The recorded keys.
    pub fn iter(&self) -> std::slice::Iter<'_, WatchKey> {
        self.0.iter()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True without keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if one of `touched` wakes a waiter with these keys. O(n*m).
    pub fn woken_by(&self, touched: &[WatchKey]) -> bool {
        touched
            .iter()
            .any(|t| self.0.iter().any(|parked| t.wakes(parked)))
    }
}

impl IntoIterator for WatchKeys {
    type Item = WatchKey;
    type IntoIter = smallvec::IntoIter<[WatchKey; 2]>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a WatchKeys {
    type Item = &'a WatchKey;
    type IntoIter = std::slice::Iter<'a, WatchKey>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}
