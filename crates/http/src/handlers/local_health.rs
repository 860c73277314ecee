//! `/v1/agent/health/service`: health of local instances as a status code (spec http-api.md section 3.1).

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::HeaderValue;
use tribune_agent::info::{AggregatedStatus, LocalHealth};
use tribune_api::errors::ApiError;
use tribune_api::render::{self, AgentHealthView};
use tribune_types::catalog::Check;

use crate::body::Body;
use crate::cx::Cx;
use crate::request::Req;
use crate::response::{self, Response};
use crate::step::{Planned, Step};

fn code(status: AggregatedStatus) -> StatusCode {
    match status {
        AggregatedStatus::Passing => StatusCode::OK,
        AggregatedStatus::Warning => StatusCode::TOO_MANY_REQUESTS,
        AggregatedStatus::Critical | AggregatedStatus::Maintenance => {
            StatusCode::SERVICE_UNAVAILABLE
        }
    }
}

fn view(health: &LocalHealth) -> AgentHealthView<'_, impl IntoIterator<Item = &Check>> {
    AgentHealthView {
        status: health.status.as_str(),
        service: &health.service.service,
        checks: health.checks.iter().map(|check| &*check.check),
    }
}

/// The client wants one word.
fn wants_text(req: &Req<'_>) -> bool {
    let accept = req
        .headers
        .get(hyper::header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    accept.is_some_and(|accept| accept.starts_with("text/plain"))
        || req.params.text("format") == "text"
}

fn done(mut response: Response, status: StatusCode, reason: &str) -> Planned {
    *response.status_mut() = status;
    response::set_text(&mut response, response::REASON, reason);
    Ok(Step::Done(response))
}

fn word(word: &str) -> Response {
    response::of_type(
        HeaderValue::from_static("text/plain"),
        Body::whole(word.to_owned()),
    )
}

/// All local instances of a service; the worst one decides.
pub(crate) fn by_name(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if req.arg.is_empty() {
        return Err(ApiError::new(500, "Bad request: Missing service Name"));
    }
    let name = req.arg_text();
    let found = cx.handle.health_by_name(&name);
    let Some(worst) = found.iter().map(|health| health.status).max() else {
        let reason = format!("ServiceName {name} Not Found");
        let response = if wants_text(req) {
            word(&reason)
        } else {
            response::json(b"[]".to_vec(), req.pretty)
        };
        return done(response, StatusCode::NOT_FOUND, &reason);
    };
    let response = if wants_text(req) {
        word(worst.as_str())
    } else {
        response::json_with(req.pretty, |out| {
            render::agent_health_list(out, found.iter().map(view))
        })
    };
    done(response, code(worst), worst.as_str())
}

/// One local instance.
pub(crate) fn by_id(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if req.arg.is_empty() {
        return Err(ApiError::new(500, "Bad request: Missing serviceID"));
    }
    let id = req.arg_text();
    let Some(found) = cx.handle.health_by_id(&id) else {
        let reason = format!("ServiceId {id} not found");
        let response = if wants_text(req) {
            // A quirk of Consul: text was asked for, a JSON string is sent.
            response::json_with(req.pretty, |out| render::string(out, &reason))
        } else {
            response::json(
                b"{\"AggregatedStatus\":\"critical\",\"Service\":null,\"Checks\":null}".to_vec(),
                req.pretty,
            )
        };
        return done(response, StatusCode::NOT_FOUND, &reason);
    };
    let response = if wants_text(req) {
        word(found.status.as_str())
    } else {
        response::json_with(req.pretty, |out| {
            render::agent_health_one(out, view(&found))
        })
    };
    done(response, code(found.status), found.status.as_str())
}
