//! `/v1/txn` (spec http-api.md section 3.5).

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use tribune_api::parse::{self, TxnRequest};
use tribune_api::render::{self, TxnReadMeta};
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
    // Refused here as in reads; a transaction is then evaluated by the leader, which satisfies every guarantee.
    req.read_options(cx)?;
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
        if !errors.is_empty() {
            let outcome = TxnOutcome {
                errors,
                ..TxnOutcome::default()
            };
            return Ok(answer(&outcome, writes, pretty));
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
            Write::TxnRead(ops)
        };
        match cx.handle.write(&caller, dc.as_deref(), write).await? {
            WriteReply::Txn(outcome) => Ok(answer(&outcome, writes, pretty)),
            _ => Err(mismatched()),
        }
    })
}

fn answer(outcome: &TxnOutcome, writes: bool, pretty: bool) -> Response {
    // The leader answered, or nobody could.
    let meta = (!writes).then_some(TxnReadMeta {
        known_leader: true,
        last_contact_ns: 0,
    });
    let mut response = response::json_with(pretty, |out| render::txn_outcome(out, outcome, meta));
    if !outcome.errors.is_empty() {
        *response.status_mut() = StatusCode::CONFLICT;
    }
    if !writes {
        response::set_leader(&mut response, true, Duration::ZERO);
    }
    response
}
