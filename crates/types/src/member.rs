//! Members of a gossip pool as agents report them.

use crate::text::{Text, TextMap};

/// Life of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MemberStatus {
    /// Unknown.
    None,
    /// Reachable.
    #[default]
    Alive,
    /// Announced its leave.
    Leaving,
    /// Left.
    Left,
    /// Failed.
    Failed,
}

impl MemberStatus {
    /// Number in the API.
    pub fn as_number(self) -> u8 {
        match self {
            MemberStatus::None => 0,
            MemberStatus::Alive => 1,
            MemberStatus::Leaving => 2,
            MemberStatus::Left => 3,
            MemberStatus::Failed => 4,
        }
    }

    /// Word in command output.
    pub fn as_str(self) -> &'static str {
        match self {
            MemberStatus::None => "none",
            MemberStatus::Alive => "alive",
            MemberStatus::Leaving => "leaving",
            MemberStatus::Left => "left",
            MemberStatus::Failed => "failed",
        }
    }
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Member {
    /// Node name (WAN: `node.dc`).
    pub name: Text,
    /// IP address.
    pub addr: Text,
    /// Gossip port.
    pub port: u16,
    /// Tags.
    pub tags: TextMap,
    /// Life.
    pub status: MemberStatus,
    /// Range and choice of the protocol: min, max, current.
    pub protocol: [u8; 3],
    /// Range and choice of the delegate protocol: min, max, current.
    pub delegate: [u8; 3],
}
