//! Outcomes of transactions.

use tribune_types::txn::{TxnOutcome, TxnResult};

use super::catalog::{node, service};
use super::health::health_check;
use super::kv::kv_entry;
use super::write::{boolean, field, list, raw, uint};
use super::{Addresses, EmptyTags};

/// The extra fields of a transaction that only reads.
#[derive(Debug, Clone, Copy)]
pub struct TxnReadMeta {
    /// A leader is known.
    pub known_leader: bool,
    /// Age of the answering server's view in nanoseconds.
    pub last_contact_ns: u64,
}

/// An outcome; with errors there are no results.
pub fn txn_outcome(out: &mut Vec<u8>, outcome: &TxnOutcome, read: Option<TxnReadMeta>) {
    raw(out, b"{\"Results\":");
    if outcome.errors.is_empty() {
        list(out, &outcome.results, result);
        raw(out, b",\"Errors\":null");
    } else {
        raw(out, b"null,\"Errors\":");
        list(out, &outcome.errors, |out, error| {
            raw(out, b"{\"OpIndex\":");
            uint(out, error.op_index as u64);
            field(out, b",\"What\":", &error.what);
            out.push(b'}');
        });
    }
    if let Some(meta) = read {
        raw(out, b",\"Index\":0,\"LastContact\":");
        uint(out, meta.last_contact_ns);
        raw(out, b",\"KnownLeader\":");
        boolean(out, meta.known_leader);
        raw(out, b",\"ConsistencyLevel\":\"\"");
    }
    out.push(b'}');
}

fn result(out: &mut Vec<u8>, result: &TxnResult) {
    match result {
        TxnResult::Kv { entry, with_value } => {
            raw(out, b"{\"KV\":");
            kv_entry(out, entry, *with_value);
        }
        TxnResult::Node(n) => {
            raw(out, b"{\"Node\":");
            node(out, n, Addresses::Lan);
        }
        TxnResult::Service(s) => {
            raw(out, b"{\"Service\":");
            service(out, s, Addresses::Lan, EmptyTags::Null);
        }
        TxnResult::Check(check) => {
            raw(out, b"{\"Check\":");
            health_check(out, check, EmptyTags::Null);
        }
    }
    out.push(b'}');
}
