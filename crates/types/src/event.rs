//! User events: small named messages to all agents of a datacenter (agent.md, section 6).

use crate::id::Uuid;
use crate::text::Text;

/// A user event.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UserEvent {
    /// Identity.
    pub id: Uuid,
    /// Name.
    pub name: Text,
    /// Payload; empty is shown as null.
    pub payload: Box<[u8]>,
    /// Regular expression on node names; empty matches all.
    pub node_filter: Text,
    /// Regular expression on local service names.
    pub service_filter: Text,
    /// Regular expression on tags of a matching service.
    pub tag_filter: Text,
    /// Format version, 1.
    pub version: u32,
    /// Lamport time; 0 before it was received.
    pub ltime: u64,
}

impl UserEvent {
    /// The index of `/v1/event/list` while this is the newest event: both halves of the ID folded.
    pub fn index(&self) -> u64 {
        let (high, low) = self.id.0.split_at(8);
        let word = |half: &[u8]| half.iter().fold(0u64, |acc, b| acc << 8 | u64::from(*b));
        word(high) ^ word(low)
    }
}
