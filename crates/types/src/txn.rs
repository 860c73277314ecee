//! Transactions: up to 64 operations applied together or not at all (http-api.md, section 3.5).

use std::sync::Arc;

use crate::catalog::{Check, Node, Service};
use crate::id::{Index, SessionId};
use crate::kv::KvEntry;
use crate::text::Text;

/// One operation.
#[derive(Debug, Clone, PartialEq)]
pub enum TxnOp {
    /// On a key; which fields of the entry count depends on the verb.
    Kv(KvVerb, KvEntry),
    /// On a node.
    Node(CatalogVerb, Box<Node>),
    /// On a service instance of the named node.
    Service(CatalogVerb, Text, Box<Service>),
    /// On a check.
    Check(CatalogVerb, Box<Check>),
    /// Ends a session (only inside servers).
    SessionDestroy(SessionId),
}

/// What to do with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvVerb {
    /// Set value and flags.
    Set,
    /// Set if unchanged since the entry's modify index.
    Cas,
    /// Take the lock.
    Lock,
    /// Release the lock.
    Unlock,
    /// Read.
    Get,
    /// Read all keys of a prefix.
    GetTree,
    /// Fail unless the modify index matches.
    CheckIndex,
    /// Fail unless the session holds the lock.
    CheckSession,
    /// Fail if the key exists.
    CheckNotExists,
    /// Delete.
    Delete,
    /// Delete all keys of a prefix.
    DeleteTree,
    /// Delete if unchanged.
    DeleteCas,
}

impl KvVerb {
    /// Every verb with its word in the API.
    pub const WORDS: [(&'static str, KvVerb); 12] = [
        ("set", KvVerb::Set),
        ("cas", KvVerb::Cas),
        ("lock", KvVerb::Lock),
        ("unlock", KvVerb::Unlock),
        ("get", KvVerb::Get),
        ("get-tree", KvVerb::GetTree),
        ("check-index", KvVerb::CheckIndex),
        ("check-session", KvVerb::CheckSession),
        ("check-not-exists", KvVerb::CheckNotExists),
        ("delete", KvVerb::Delete),
        ("delete-tree", KvVerb::DeleteTree),
        ("delete-cas", KvVerb::DeleteCas),
    ];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, verb)| *verb == self)
            .map_or("", |(word, _)| word)
    }

    /// Parses the word of the API.
    pub fn parse(word: &str) -> Option<KvVerb> {
        Self::WORDS
            .iter()
            .find(|(w, _)| *w == word)
            .map(|(_, verb)| *verb)
    }

    /// True for verbs that change nothing.
    pub fn is_read(self) -> bool {
        matches!(
            self,
            KvVerb::Get
                | KvVerb::GetTree
                | KvVerb::CheckIndex
                | KvVerb::CheckSession
                | KvVerb::CheckNotExists
        )
    }
}

/// What to do with a node, service or check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogVerb {
    /// Read.
    Get,
    /// Write.
    Set,
    /// Write if unchanged.
    Cas,
    /// Delete.
    Delete,
    /// Delete if unchanged.
    DeleteCas,
}

impl CatalogVerb {
    /// Every verb with its word in the API.
    pub const WORDS: [(&'static str, CatalogVerb); 5] = [
        ("get", CatalogVerb::Get),
        ("set", CatalogVerb::Set),
        ("cas", CatalogVerb::Cas),
        ("delete", CatalogVerb::Delete),
        ("delete-cas", CatalogVerb::DeleteCas),
    ];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, verb)| *verb == self)
            .map_or("", |(word, _)| word)
    }

    /// Parses the word of the API.
    pub fn parse(word: &str) -> Option<CatalogVerb> {
        Self::WORDS
            .iter()
            .find(|(w, _)| *w == word)
            .map(|(_, verb)| *verb)
    }
}

impl TxnOp {
    /// True for operations that change nothing.
    pub fn is_read(&self) -> bool {
        match self {
            TxnOp::Kv(verb, _) => verb.is_read(),
            TxnOp::Node(verb, _) | TxnOp::Service(verb, _, _) | TxnOp::Check(verb, _) => {
                *verb == CatalogVerb::Get
            }
            TxnOp::SessionDestroy(_) => false,
        }
    }
}

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub enum TxnResult {
    /// A pair; `with_value` is false after writes, which answer without the value.
    Kv {
        /// The pair after the operation.
        entry: Arc<KvEntry>,
        /// Show the value.
        with_value: bool,
    },
    /// A node.
    Node(Arc<Node>),
    /// A service instance.
    Service(Arc<Service>),
    /// A check.
    Check(Arc<Check>),
}

/// One failed operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnError {
    /// Position of the operation, from 0.
    pub op_index: usize,
    /// Text as clients see it.
    pub what: String,
}

/// The outcome of a transaction. With any error nothing was applied.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct TxnOutcome {
    /// Results in the order of operations.
    pub results: Vec<TxnResult>,
    /// Errors in the order of operations.
    pub errors: Vec<TxnError>,
    /// Index of the change, or of the state read.
    pub index: Index,
}
