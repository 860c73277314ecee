//! `/debug/pprof/`: profiles, when the agent allows them.

use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use tribune_api::errors::ApiError;

use crate::body::Body;
use crate::cx::Cx;
use crate::request::Req;
use crate::response;
use crate::step::{Planned, work};

/// Seconds of a CPU profile if none are given.
const PROFILE_SECONDS: u64 = 30;
/// Longest profile.
const PROFILE_SECONDS_MAX: u64 = 600;

/// A profile by name; the index lists the names.
pub(crate) fn pprof(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let kind = req.arg_text().into_owned();
    let seconds = req
        .params
        .get("seconds")
        .and_then(|given| given.parse().ok());
    let default = if kind == "trace" { 1 } else { PROFILE_SECONDS };
    let duration = Duration::from_secs(
        seconds
            .filter(|seconds| *seconds > 0)
            .unwrap_or(default)
            .min(PROFILE_SECONDS_MAX),
    );
    let cx = Arc::clone(cx);
    work(async move {
        let Some(profile) = cx.handle.profile(&kind, duration).await else {
            // Only the operator may profile, and without ACLs nobody is one.
            return Err(ApiError::acl_disabled());
        };
        let content_type = if kind.is_empty() {
            "text/html; charset=utf-8"
        } else {
            "application/octet-stream"
        };
        Ok(response::of_type(
            HeaderValue::from_static(content_type),
            Body::whole(profile),
        ))
    })
}
