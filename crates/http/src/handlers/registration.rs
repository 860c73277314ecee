//! Registration of local services and checks, results of TTL checks, maintenance of services.

use std::sync::Arc;

use tribune_agent::handle::CheckUpdate;
use tribune_api::errors::ApiError;
use tribune_api::json::go_quote;
use tribune_api::params::parse_bool;
use tribune_api::parse::{self, BodyError};
use tribune_types::catalog::Status;

use super::local;
use crate::cx::Cx;
use crate::request::Req;
use crate::response;
use crate::step::{Planned, with_body, work};

/// Registers a service with its checks.
pub(crate) fn service_register(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let replace = req
        .params
        .get("replace-existing-checks")
        .is_some_and(|given| given.is_empty() || given == "true");
    let caller = req.caller.clone();
    with_body(cx, req, move |cx, body| async move {
        let definition = parse::service_definition(&body).map_err(BodyError::into_api)?;
        cx.handle
            .register_service(&caller, definition, replace)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

/// Removes a service.
pub(crate) fn service_deregister(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if req.arg.is_empty() {
        return Err(ApiError::new(500, "ServiceID missing"));
    }
    let (cx, caller, id) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.arg_text().into_owned(),
    );
    work(async move {
        cx.handle
            .deregister_service(&caller, &id)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

/// `?enable` and `?reason`: the reason while turning on, `None` while turning off.
pub(crate) fn maintenance_params(req: &Req<'_>) -> Result<Option<String>, ApiError> {
    let enable = req
        .params
        .get("enable")
        .ok_or_else(|| ApiError::bad("Missing value for enable"))?;
    let on = parse_bool(&enable)
        .ok_or_else(|| ApiError::bad(format!("Invalid value for enable: {}", go_quote(&enable))))?;
    Ok(on.then(|| req.params.text("reason").into_owned()))
}

/// Maintenance mode of a service.
pub(crate) fn service_maintenance(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let id = req.required("Missing service ID")?;
    let reason = maintenance_params(req)?;
    let (cx, caller) = (Arc::clone(cx), req.caller.clone());
    work(async move {
        cx.handle
            .service_maintenance(&caller, &id, reason.as_deref())
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

/// Registers a check.
pub(crate) fn check_register(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let caller = req.caller.clone();
    with_body(cx, req, move |cx, body| async move {
        let definition = parse::check_definition(&body).map_err(BodyError::into_api)?;
        cx.handle
            .register_check(&caller, definition)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

/// Removes a check.
pub(crate) fn check_deregister(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if req.arg.is_empty() {
        return Err(ApiError::new(500, "CheckID missing"));
    }
    let (cx, caller, id) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.arg_text().into_owned(),
    );
    work(async move {
        cx.handle
            .deregister_check(&caller, &id)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

fn report(cx: &Arc<Cx>, req: &Req<'_>, status: Status) -> Planned {
    let update = CheckUpdate {
        status,
        output: req.params.text("note").into_owned(),
    };
    let (cx, caller, id) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.arg_text().into_owned(),
    );
    work(async move {
        cx.handle
            .update_check(&caller, &id, update)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

/// A TTL check passes.
pub(crate) fn check_pass(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    report(cx, req, Status::Passing)
}

/// A TTL check warns.
pub(crate) fn check_warn(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    report(cx, req, Status::Warning)
}

/// A TTL check fails.
pub(crate) fn check_fail(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    report(cx, req, Status::Critical)
}

/// Status and output of a TTL check.
pub(crate) fn check_update(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, id) = (req.caller.clone(), req.arg_text().into_owned());
    with_body(cx, req, move |cx, body| async move {
        let update = parse::check_update(&body).map_err(BodyError::into_api)?;
        let status = Status::parse(&update.status)
            .ok_or_else(|| ApiError::bad(format!("Invalid check status: '{}'", update.status)))?;
        let update = CheckUpdate {
            status,
            output: update.output.to_string(),
        };
        cx.handle
            .update_check(&caller, &id, update)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}
