//! Sessions: the owners of locks.

use std::time::Duration;

use crate::id::{Index, SessionId};
use crate::text::Text;

/// What happens to the keys a session holds when it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum Behavior {
    /// The locks are released, the keys stay.
    #[default]
    Release,
    /// The keys are deleted.
    Delete,
}

impl Behavior {
    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Behavior::Release => "release",
            Behavior::Delete => "delete",
        }
    }
}

/// A session. Ends with its node, an attached check, its TTL or by request.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Session {
    /// Identity; nil in a create request, filled in by the leader.
    pub id: SessionId,
    /// Name for people.
    pub name: Text,
    /// Node the session belongs to.
    pub node: Text,
    /// How long locks refuse new holders after the session was invalidated. At most 60 s.
    pub lock_delay: Duration,
    /// Effect of the end on held keys.
    pub behavior: Behavior,
    /// Time to live as the client wrote it; empty means none.
    pub ttl: Text,
    /// Node-level checks that keep the session alive. `None` is shown as null.
    pub node_checks: Option<Vec<Text>>,
    /// Service-level checks (check IDs with namespace). `None` is shown as null.
    pub service_checks: Option<Vec<ServiceCheckRef>>,
    /// The older form of `node_checks` (before 1.7), kept for answers.
    pub checks: Option<Vec<Text>>,
    /// When it was created.
    pub create: Index,
    /// When it last changed.
    pub modify: Index,
}

/// A service check named by a session.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct ServiceCheckRef {
    /// Check ID on the session's node.
    pub id: Text,
    /// Namespace, always empty here.
    pub namespace: Text,
}

impl Session {
    /// All check IDs that keep the session alive.
    pub fn check_ids(&self) -> impl Iterator<Item = &Text> {
        self.node_checks
            .iter()
            .flatten()
            .chain(self.checks.iter().flatten())
            .chain(self.service_checks.iter().flatten().map(|c| &c.id))
    }
}
