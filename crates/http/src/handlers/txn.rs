//! `/v1/txn` (spec http-api.md section 3.5).

use std::sync::Arc;

use hyper::StatusCode;
use tribune_api::parse::{self, TxnRequest};
use tribune_api::render::{self, TxnReadMeta};
use tribune_types::query::{Consistency, QueryMeta};
use tribune_types::txn::{TxnOp, TxnOutcome};
use tribune_types::write::{Write, WriteReply};

use super::mismatched;
use crate::body::BodyLimit;
use crate::cx::Cx;
use crate::request::Req;
use crate::response::{self, Response};
use crate::step::{Planned, with_limited_body};

/// Applies operations together.
pub(crate) fn apply(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    // For a transaction that only reads; one that writes is carried out by the leader, which satisfies every guarantee.
    let consistency = req.read_options(cx).map(|options| options.consistency);
    let limits = &cx.options.limits;
    let value_size_max = limits.kv_value_size_max;
    let limit = BodyLimit {
        size_max: limits.txn_size_max.max(value_size_max),
        option: "txn_max_req_len",
        stall: limits.slow_client_timeout,
    };
    let (caller, dc, pretty) = (req.caller.clone(), req.datacenter(cx), req.pretty);
    with_limited_body(cx, req, limit, move |cx, body| async move {
        let TxnRequest {
            mut ops,
            errors,
            writes,
        } = parse::txn(&body, value_size_max)?;
        // Nobody looks at how to read for a transaction that writes.
        let consistency = match writes {
            true => Consistency::Default,
            false => consistency?,
        };
        if !errors.is_empty() {
            cx.handle.reach(dc.as_deref()).await?;
            let outcome = TxnOutcome {
                errors,
                ..TxnOutcome::default()
            };
            let nobody_asked = QueryMeta {
                known_leader: true,
                ..QueryMeta::default()
            };
            return Ok(answer(&outcome, (!writes).then_some(nobody_asked), pretty));
        }
        for op in &mut ops {
            if let TxnOp::Node(_, node) = op
                && node.datacenter.is_empty()
            {
                node.datacenter = dc.clone().unwrap_or_else(|| cx.datacenter.clone());
            }
        }
        let write = if writes {
            Write::Txn(ops)
        } else {
            Write::TxnRead(ops, consistency)
        };
        match cx.handle.write(&caller, dc.as_deref(), write).await? {
            WriteReply::Txn(outcome) => Ok(answer(&outcome, None, pretty)),
            WriteReply::TxnRead(outcome, meta) => Ok(answer(&outcome, Some(meta), pretty)),
            _ => Err(mismatched()),
        }
    })
}

/// The answer; `meta` belongs to a transaction that only reads.
fn answer(outcome: &TxnOutcome, meta: Option<QueryMeta>, pretty: bool) -> Response {
    let shown = meta.map(|meta| TxnReadMeta {
        known_leader: meta.known_leader,
        last_contact_ns: u64::try_from(meta.last_contact.as_nanos()).unwrap_or(u64::MAX),
    });
    let mut response = response::json_with(pretty, |out| render::txn_outcome(out, outcome, shown));
    if !outcome.errors.is_empty() {
        *response.status_mut() = StatusCode::CONFLICT;
    }
    if let Some(meta) = meta {
        response::set_leader(&mut response, meta.known_leader, meta.last_contact);
    }
    response
}
