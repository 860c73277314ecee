//! `/v1/operator` (spec http-api.md section 3.8).

use std::sync::Arc;

use hyper::StatusCode;
use tribune_api::errors::{ApiError, parse_uint};
use tribune_api::parse::{self, BodyError};
use tribune_api::render::{self, View};
use tribune_types::id::Index;
use tribune_types::query::Query;
use tribune_types::text::text;
use tribune_types::write::{PeerRef, Write, WriteReply};

use super::mismatched;
use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::response;
use crate::step::{Planned, with_body, work};

/// The peer set.
pub(crate) fn raft_configuration(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let mut options = req.read_options(cx)?;
    // Does not block.
    options.min_index = Index(0);
    ReadPlan::new(
        cx,
        req,
        Query::RaftConfiguration,
        options,
        Shape::Json(View::Plain),
        Headers::None,
    )
    .step()
}

/// Removes a server from the peer set.
pub(crate) fn raft_remove_peer(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let peer = match (req.params.get("id"), req.params.get("address")) {
        (None, None) => {
            return Err(ApiError::bad_request(
                "Must specify either ?id with the server's ID or ?address with IP:port of peer to remove",
            ));
        }
        (Some(_), Some(_)) => {
            return Err(ApiError::bad_request(
                "Must specify only one of ?id or ?address",
            ));
        }
        (Some(id), None) => PeerRef::Id(text(&id)),
        (None, Some(address)) => PeerRef::Address(text(&address)),
    };
    let (cx, caller, dc) = (Arc::clone(cx), req.caller.clone(), req.datacenter(cx));
    work(async move {
        cx.handle
            .write(&caller, dc.as_deref(), Write::RaftRemovePeer(peer))
            .await?;
        Ok(response::empty())
    })
}

/// Autopilot settings.
pub(crate) fn autopilot(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let mut options = req.read_options(cx)?;
    options.min_index = Index(0);
    ReadPlan::new(
        cx,
        req,
        Query::AutopilotConfig,
        options,
        Shape::Found(View::Plain),
        Headers::None,
    )
    .step()
}

/// Stores autopilot settings.
pub(crate) fn set_autopilot(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let cas = req.params.get("cas").map(|given| parse_uint(&given));
    let (caller, dc, pretty) = (req.caller.clone(), req.datacenter(cx), req.pretty);
    with_body(cx, req, move |cx, body| async move {
        let config = parse::autopilot(&body).map_err(|error| match error {
            BodyError::Refused(text) => ApiError::from_text(text),
            other => ApiError::bad_request(format_args!("Error parsing autopilot config: {other}")),
        })?;
        let cas = cas.transpose().map_err(|text| {
            ApiError::bad_request(format_args!("Error parsing cas value: {text}"))
        })?;
        match cx
            .handle
            .write(
                &caller,
                dc.as_deref(),
                Write::Autopilot {
                    config,
                    cas: cas.map(Index),
                },
            )
            .await?
        {
            WriteReply::Verdict(held) => Ok(response::verdict(held, pretty)),
            WriteReply::Done => Ok(response::verdict(true, pretty)),
            _ => Err(mismatched()),
        }
    })
}

/// Health of the peer set; 429 when it is not healthy.
pub(crate) fn health(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    let (cx, caller, dc, pretty) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.datacenter(cx),
        req.pretty,
    );
    work(async move {
        let health = cx.handle.operator_health(&caller, dc.as_deref()).await?;
        let mut response = response::json_with(pretty, |out| render::operator_health(out, &health));
        if !health.healthy {
            *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
        }
        Ok(response)
    })
}
