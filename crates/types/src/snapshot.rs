//! Records of a state snapshot, in the order of the archive (rpc.md, section 10.3).
//!
//! `state` exports and restores these; `wire` turns them into bytes. Areas that are not built yet travel as opaque
//! records so that nothing of an archive is lost by passing through.

use crate::autopilot::AutopilotConfig;
use crate::catalog::Register;
use crate::coordinate::CoordinateEntry;
use crate::id::Index;
use crate::kv::{Key, KvEntry};
use crate::prepared::PreparedQuery;
use crate::session::Session;
use crate::text::Text;

/// One record.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// A node alone, with one service, or with one check. `create`/`modify` are the node's.
    Register {
        /// Node fields and at most one service or check, which carry their own indexes.
        register: Box<Register>,
        /// Create index of the node.
        create: Index,
        /// Modify index of the node.
        modify: Index,
    },
    /// Coordinates.
    Coordinates(Vec<CoordinateEntry>),
    /// A session.
    Session(Box<Session>),
    /// A pair.
    Kv(KvEntry),
    /// A deleted key and when.
    Tombstone {
        /// The key.
        key: Key,
        /// When it was deleted.
        index: Index,
    },
    /// A prepared query.
    PreparedQuery(Box<PreparedQuery>),
    /// Autopilot settings.
    Autopilot(AutopilotConfig),
    /// The highest change of a table or service.
    IndexEntry {
        /// Name of the index.
        name: Text,
        /// Its value.
        value: Index,
    },
    /// A record of an area this version does not interpret: type byte and the raw value behind it.
    Opaque {
        /// Type byte of the archive.
        kind: u8,
        /// The encoded value.
        body: Box<[u8]>,
    },
}
