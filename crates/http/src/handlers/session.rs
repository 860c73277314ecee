//! `/v1/session` (spec http-api.md section 3.6).

use std::sync::Arc;

use tribune_api::errors::ApiError;
use tribune_api::parse::{self, BodyError};
use tribune_api::render;
use tribune_api::render::View;
use tribune_api::uuid::parse_session;
use tribune_types::id::SessionId;
use tribune_types::query::Query;
use tribune_types::write::{Write, WriteReply};

use super::{mismatched, refused};
use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::response;
use crate::step::{Planned, with_body, work};

const MISSING: &str = "Missing session";

/// Creates a session.
pub(crate) fn create(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, dc, pretty) = (req.caller.clone(), req.datacenter(cx), req.pretty);
    with_body(cx, req, move |cx, body| async move {
        let session = match parse::session(&body, &cx.node) {
            Ok(session) => session,
            // The servers say this in Consul.
            Err(BodyError::Refused(text)) => {
                return Err(cx.handle.refusal(dc.as_deref(), text).await.into());
            }
            Err(err) => return Err(err.into_api()),
        };
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

/// What the path names.
enum Named {
    /// A session, which may exist or not.
    Id(SessionId),
    /// One that cannot exist.
    Nobody,
    /// None, and the servers say why.
    Refused(String),
}

fn named(req: &Req<'_>) -> Result<Named, ApiError> {
    if req.arg.is_empty() {
        return Err(ApiError::bad(MISSING));
    }
    Ok(match parse_session(&req.arg_text()) {
        Ok(Some(id)) => Named::Id(id),
        Ok(None) => Named::Nobody,
        Err(text) => Named::Refused(text),
    })
}

/// Ends a session; also fine if there is none.
pub(crate) fn destroy(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let id = match named(req)? {
        Named::Id(id) => Some(id),
        Named::Nobody => None,
        Named::Refused(text) => return refused(cx, req.datacenter(cx), text),
    };
    let (cx, caller, dc, pretty) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.datacenter(cx),
        req.pretty,
    );
    work(async move {
        match id {
            Some(id) => {
                cx.handle
                    .write(&caller, dc.as_deref(), Write::SessionDestroy(id))
                    .await?;
            }
            None => cx.handle.reach(dc.as_deref()).await?,
        }
        Ok(response::verdict(true, pretty))
    })
}

/// Starts the TTL of a session anew.
pub(crate) fn renew(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let shown = req.arg_text().into_owned();
    let unknown = move || ApiError::not_found(format!("Session id '{shown}' not found"));
    let id = match named(req)? {
        Named::Id(id) => Some(id),
        Named::Nobody => None,
        Named::Refused(text) => return refused(cx, req.datacenter(cx), text),
    };
    let (cx, caller, dc, pretty) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.datacenter(cx),
        req.pretty,
    );
    work(async move {
        let Some(id) = id else {
            cx.handle.reach(dc.as_deref()).await?;
            return Err(unknown());
        };
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
    let id = match named(req)? {
        Named::Id(id) => id,
        Named::Nobody => SessionId::default(),
        Named::Refused(text) => {
            let (cx, dc) = (Arc::clone(cx), req.datacenter(cx));
            return work(async move {
                // This comes from the servers in Consul, behind the headers.
                let refusal = cx.handle.refusal(dc.as_deref(), text).await;
                Ok(response::query_error(refusal.into()))
            });
        }
    };
    let (query, shape) = (Query::SessionGet { id }, Shape::Json(View::Plain));
    ReadPlan::new(cx, req, query, options, shape, Headers::Always).step()
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
