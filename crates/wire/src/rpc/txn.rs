//! `Txn.*`: operations that are applied together.

use std::sync::Arc;

use tribune_types::catalog::{Check, Node, Service};
use tribune_types::id::Index;
use tribune_types::kv::KvEntry;
use tribune_types::query::QueryMeta;
use tribune_types::txn::{TxnError, TxnOp, TxnOutcome, TxnResult};
use tribune_types::uuid::lookup_error;

use super::Error;
use super::common::put_meta;
use super::fields::{Empty, Fields};
use crate::msgpack;
use crate::records::{self, RecordError, TxnRequest, TxnResponse};

/// Operations, or the outcome of a transaction in which some are none.
pub(super) fn ops(body: &[u8]) -> Result<Result<Vec<TxnOp>, TxnOutcome>, Error> {
    let request: TxnRequest<'_> = msgpack::from_slice(body)?;
    let (mut ops, mut errors) = (Vec::new(), Vec::new());
    for (op_index, op) in request.ops.unwrap_or_default().into_iter().enumerate() {
        match TxnOp::try_from(op) {
            Ok(op) => ops.push(op),
            Err(err) => errors.push(TxnError {
                op_index,
                what: match err {
                    RecordError::Missing(_) => "no operation specified".to_owned(),
                    RecordError::Uuid { text, .. } => lookup_error("session", &text)
                        .unwrap_or_else(|| "invalid session".to_owned()),
                    err => err.to_string(),
                },
            }),
        }
    }
    if errors.is_empty() {
        return Ok(Ok(ops));
    }
    Ok(Err(TxnOutcome {
        errors,
        ..TxnOutcome::default()
    }))
}

pub(super) fn put_ops<'a>(ops: &'a [TxnOp], fields: &mut Fields<'a>) {
    fields.list("Ops", ops, Empty::Nil, records::TxnOp::from);
}

pub(super) fn put_outcome(outcome: &TxnOutcome, out: &mut Vec<u8>) {
    fields(outcome).finish(out);
}

/// Encodes the outcome of a transaction that only reads. The original gives no index with it.
pub(super) fn put_read_outcome(outcome: &TxnOutcome, meta: &QueryMeta, out: &mut Vec<u8>) {
    let mut fields = fields(outcome);
    put_meta(&mut fields, meta);
    fields.finish(out);
}

fn fields(outcome: &TxnOutcome) -> Fields<'_> {
    let response = TxnResponse::from(outcome);
    let mut fields = Fields::default();
    let applied = response.errors.is_none();
    fields.put("Errors", response.errors);
    fields.put(
        "Results",
        applied.then(|| response.results.unwrap_or_default()),
    );
    fields
}

pub(super) fn outcome(body: &[u8]) -> Result<TxnOutcome, Error> {
    let response: TxnResponse<'_> = msgpack::from_slice(body)?;
    let errors = response.errors.unwrap_or_default().into_iter();
    let errors = errors.map(|e| TxnError {
        op_index: usize::try_from(e.op_index).unwrap_or_default(),
        what: e.what.to_string(),
    });
    let results = response.results.unwrap_or_default().into_iter();
    Ok(TxnOutcome {
        results: results
            .filter_map(|r| result(r).transpose())
            .collect::<Result<_, _>>()?,
        errors: errors.collect(),
        index: Index(0),
    })
}

/// One result; none if no field of it is set.
fn result(r: records::TxnResult<'_>) -> Result<Option<TxnResult>, Error> {
    if let Some(entry) = r.kv {
        // Writes answer without the value, which looks like an empty one.
        return Ok(Some(TxnResult::Kv {
            entry: Arc::new(KvEntry::try_from(entry)?),
            with_value: true,
        }));
    }
    if let Some(node) = r.node {
        return Ok(Some(TxnResult::Node(Arc::new(Node::try_from(node)?))));
    }
    if let Some(service) = r.service {
        let service = Service::try_from(service)?;
        return Ok(Some(TxnResult::Service(Arc::new(service))));
    }
    Ok(r.check
        .map(|check| TxnResult::Check(Arc::new(Check::from(check)))))
}
