//! Key/value records and the operations on them.

use crate::id::{Index, SessionId};

/// A key: any bytes, compared bytewise.
pub type Key = Box<[u8]>;

/// One stored pair.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KvEntry {
    /// The key.
    pub key: Key,
    /// The value; empty is shown as `null`.
    pub value: Box<[u8]>,
    /// Opaque number of the client.
    pub flags: u64,
    /// How often the lock on this key changed hands.
    pub lock_index: u64,
    /// The session holding the lock.
    pub session: Option<SessionId>,
    /// When the key was created.
    pub create: Index,
    /// When the key last changed.
    pub modify: Index,
}

/// A write operation on one key or a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvOp {
    /// Set value and flags, keep the lock.
    Set,
    /// Set if the key's modify index equals the entry's (0: if absent). Answers a verdict.
    Cas,
    /// Take the lock for the entry's session and set. Answers a verdict.
    Lock,
    /// Release the lock of the entry's session and set. Answers a verdict.
    Unlock,
    /// Delete the key.
    Delete,
    /// Delete if the modify index equals the entry's. Answers a verdict.
    DeleteCas,
    /// Delete all keys with the entry's key as prefix.
    DeleteTree,
}
