//! `/v1/kv/` (spec http-api.md section 3.4).

use std::sync::Arc;

use tribune_api::errors::{ApiError, parse_uint};
use tribune_api::render::View;
use tribune_api::uuid::parse_session;
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::Query;
use tribune_types::write::{Write, WriteReply};

use super::{mismatched, refused};
use crate::body::BodyLimit;
use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::response;
use crate::step::{Planned, with_limited_body, work};

const MISSING_KEY: &str = "Missing key name";
/// A lock without who holds it.
const MISSING_SESSION: &str = "missing session";

/// One key, a prefix, or key names.
pub(crate) fn get(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let params = req.params;
    let (query, shape) = if params.has("keys") {
        let separator = params
            .bytes("separator")
            .or_else(|| params.bytes("seperator"))
            .unwrap_or_default();
        (
            Query::KvKeys {
                prefix: req.arg.into(),
                separator: separator.into(),
            },
            Shape::Keys {
                all: req.arg.is_empty(),
            },
        )
    } else if params.has("recurse") {
        (
            Query::KvList {
                prefix: req.arg.into(),
            },
            Shape::Found(View::Plain),
        )
    } else if req.arg.is_empty() {
        return Err(ApiError::bad(MISSING_KEY));
    } else {
        let shape = if params.has("raw") {
            Shape::RawValue
        } else {
            Shape::Found(View::Plain)
        };
        (
            Query::KvGet {
                key: req.arg.into(),
            },
            shape,
        )
    };
    ReadPlan::new(cx, req, query, options, shape, Headers::Success).step()
}

/// Refuses combinations that contradict each other.
fn conflicting(req: &Req<'_>, names: &[&str]) -> Result<(), ApiError> {
    if names.iter().filter(|name| req.params.has(name)).count() > 1 {
        return Err(ApiError::bad(format!(
            "Conflicting flags: {}",
            req.params.encode()
        )));
    }
    Ok(())
}

fn number(req: &Req<'_>, name: &str) -> Result<Option<u64>, ApiError> {
    req.params
        .get(name)
        .map(|given| parse_uint(&given).map_err(|text| ApiError::new(500, text)))
        .transpose()
}

/// Set, conditionally or with a lock.
pub(crate) fn put(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if req.arg.is_empty() {
        return Err(ApiError::bad(MISSING_KEY));
    }
    conflicting(req, &["cas", "acquire", "release"])?;
    let mut entry = KvEntry {
        key: req.arg.into(),
        ..KvEntry::default()
    };
    let mut op = KvOp::Set;
    // An empty value means none.
    if let Some(given) = req.params.get("flags").filter(|given| !given.is_empty()) {
        entry.flags = parse_uint(&given).map_err(|text| ApiError::new(500, text))?;
    }
    if let Some(index) = number(req, "cas")? {
        op = KvOp::Cas;
        entry.modify = Index(index);
    }
    if let Some(session) = req.params.get("acquire") {
        op = KvOp::Lock;
        if session.is_empty() {
            return refused(cx, req.datacenter(cx), MISSING_SESSION.to_owned());
        }
        let id = parse_session(&session)
            .and_then(|id| id.ok_or_else(|| format!("invalid session \"{session}\"")));
        match id {
            Ok(id) => entry.session = Some(id),
            Err(text) => return refused(cx, req.datacenter(cx), text),
        }
    }
    if let Some(session) = req.params.get("release") {
        op = KvOp::Unlock;
        if session.is_empty() {
            return refused(cx, req.datacenter(cx), MISSING_SESSION.to_owned());
        }
        match parse_session(&session) {
            Ok(Some(id)) => entry.session = Some(id),
            // Nobody holds a lock with it.
            _ => {
                let (cx, dc, pretty) = (Arc::clone(cx), req.datacenter(cx), req.pretty);
                return work(async move {
                    cx.handle.reach(dc.as_deref()).await?;
                    Ok(response::verdict(false, pretty))
                });
            }
        }
    }
    let limits = &cx.options.limits;
    let limit = BodyLimit {
        size_max: limits.kv_value_size_max,
        option: "kv_max_value_size",
        stall: limits.slow_client_timeout,
    };
    let (caller, dc, pretty) = (req.caller.clone(), req.datacenter(cx), req.pretty);
    with_limited_body(cx, req, limit, move |cx, value| async move {
        entry.value = (&*value).into();
        match cx
            .handle
            .write(&caller, dc.as_deref(), Write::Kv(op, entry))
            .await?
        {
            WriteReply::Verdict(held) => Ok(response::verdict(held, pretty)),
            WriteReply::Done => Ok(response::verdict(true, pretty)),
            _ => Err(mismatched()),
        }
    })
}

/// Delete a key, conditionally, or a prefix.
pub(crate) fn delete(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    conflicting(req, &["recurse", "cas"])?;
    let mut entry = KvEntry {
        key: req.arg.into(),
        ..KvEntry::default()
    };
    let op = if req.params.has("recurse") {
        KvOp::DeleteTree
    } else if req.arg.is_empty() {
        return Err(ApiError::bad(MISSING_KEY));
    } else if let Some(index) = number(req, "cas")? {
        entry.modify = Index(index);
        KvOp::DeleteCas
    } else {
        KvOp::Delete
    };
    let (cx, caller, dc, pretty) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.datacenter(cx),
        req.pretty,
    );
    work(async move {
        match cx
            .handle
            .write(&caller, dc.as_deref(), Write::Kv(op, entry))
            .await?
        {
            WriteReply::Verdict(held) => Ok(response::verdict(held, pretty)),
            WriteReply::Done => Ok(response::verdict(true, pretty)),
            _ => Err(mismatched()),
        }
    })
}
