//! `/v1/session` (spec http-api.md section 3.6).

use std::sync::Arc;

use tribune_api::errors::ApiError;
use tribune_api::parse::{self, BodyError};
use tribune_api::render;
use tribune_api::render::View;
use tribune_api::uuid::parse_session;
use tribune_types::id::{Index, SessionId};
use tribune_types::query::{Query, QueryMeta};
use tribune_types::write::{Write, WriteReply};

use super::mismatched;
use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::response;
use crate::step::{Planned, Step, with_body, work};

const MISSING: &str = "Missing session";

/// Creates a session.
pub(crate) fn create(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, dc, pretty) = (req.caller.clone(), req.datacenter(cx), req.pretty);
    with_body(cx, req, move |cx, body| async move {
        let session = parse::session(&body, &cx.node).map_err(BodyError::into_api)?;
        match cx
            .handle
            .write(
                &caller,
                dc.as_deref(),
                Write::SessionCreate(Box::new(session)),
            )
            .await?
        {
            WriteReply::Session(id) => Ok(response::json_with(pretty, |out| {
                render::session_created(out, id)
            })),
            _ => Err(mismatched()),
        }
    })
}

/// The session of the path; `None` for one that cannot exist.
fn named(cx: &Cx, req: &Req<'_>) -> Result<Option<SessionId>, ApiError> {
    if req.arg.is_empty() {
        return Err(ApiError::bad(MISSING));
    }
    let refused = |text| cx.handle.refusal(req.datacenter(cx).as_deref(), text);
    Ok(parse_session(&req.arg_text()).map_err(refused)?)
}

/// Ends a session; also fine if there is none.
pub(crate) fn destroy(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let Some(id) = named(cx, req)? else {
        return Ok(Step::Done(response::verdict(true, req.pretty)));
    };
    let (cx, caller, dc, pretty) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.datacenter(cx),
        req.pretty,
    );
    work(async move {
        cx.handle
            .write(&caller, dc.as_deref(), Write::SessionDestroy(id))
            .await?;
        Ok(response::verdict(true, pretty))
    })
}

/// Starts the TTL of a session anew.
pub(crate) fn renew(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let shown = req.arg_text().into_owned();
    let unknown = move || ApiError::not_found(format!("Session id '{shown}' not found"));
    let Some(id) = named(cx, req)? else {
        return Err(unknown());
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
            .write(&caller, dc.as_deref(), Write::SessionRenew(id))
            .await?
        {
            WriteReply::Renewed(sessions) if sessions.is_empty() => Err(unknown()),
            WriteReply::Renewed(sessions) => Ok(response::json_with(pretty, |out| {
                render::sessions_renewed(out, &sessions)
            })),
            _ => Err(mismatched()),
        }
    })
}

/// One session.
pub(crate) fn info(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    match named(cx, req) {
        Ok(id) => ReadPlan::new(
            cx,
            req,
            Query::SessionGet {
                id: id.unwrap_or_default(),
            },
            options,
            Shape::Json(View::Plain),
            Headers::Always,
        )
        .step(),
        Err(error) if error.status == 500 => {
            // This text comes from the servers in Consul, behind the headers.
            let mut response = response::error(error);
            response::set_meta(
                &mut response,
                &QueryMeta {
                    index: Index(1),
                    ..QueryMeta::default()
                },
            );
            Ok(Step::Done(response))
        }
        Err(error) => Err(error),
    }
}

/// Sessions of a node.
pub(crate) fn of_node(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let node = req.required("Missing node name")?;
    ReadPlan::new(
        cx,
        req,
        Query::SessionsOfNode { node },
        options,
        Shape::Json(View::Plain),
        Headers::Always,
    )
    .step()
}

/// All sessions.
pub(crate) fn list(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    ReadPlan::new(
        cx,
        req,
        Query::Sessions,
        options,
        Shape::Json(View::Plain),
        Headers::Always,
    )
    .step()
}
