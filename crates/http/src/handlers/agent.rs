//! `/v1/agent`: this agent's state and process (spec http-api.md section 3.1).

use std::sync::Arc;

use hyper::header::HeaderValue;
use tribune_agent::handle::{MetricsFormat, MonitorOptions};
use tribune_agent::info::COMPATIBLE_VERSION;
use tribune_api::errors::ApiError;
use tribune_api::json::go_quote;
use tribune_api::parse::{self, BodyError};
use tribune_api::render::{self, AgentServiceView, SelfView};
use tribune_filter::{Filter, schemas};
use tribune_types::text::text;

use super::local;
use super::registration::maintenance_params;
use crate::body::{Body, Source};
use crate::cx::Cx;
use crate::request::Req;
use crate::response::{self, Response};
use crate::step::{Planned, Step, with_body, work};

/// Everything about the agent.
pub(crate) fn self_report(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (cx, pretty) = (Arc::clone(cx), req.pretty);
    work(async move {
        let report = cx.handle.self_report().await;
        let identity = cx.handle.identity();
        let view = SelfView {
            datacenter: &identity.datacenter,
            node: &identity.node,
            id: identity.id,
            revision: &report.revision,
            server: identity.server,
            version: COMPATIBLE_VERSION,
            debug_config: &report.debug_config,
            coord: report.coord.as_ref(),
            member: &report.member,
            stats: &report.stats,
            meta: &report.meta,
        };
        Ok(response::json_with(pretty, |out| {
            render::self_report(out, view)
        }))
    })
}

/// Facts about the machine.
pub(crate) fn host(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let host = cx.handle.host();
    Ok(Step::Done(response::json_with(req.pretty, |out| {
        render::value(out, &host)
    })))
}

/// Maintenance mode of the node.
pub(crate) fn maintenance(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let reason = maintenance_params(req)?;
    let (cx, caller) = (Arc::clone(cx), req.caller.clone());
    work(async move {
        cx.handle
            .node_maintenance(&caller, reason.as_deref())
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

/// Reads the configuration again.
pub(crate) fn reload(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (cx, caller) = (Arc::clone(cx), req.caller.clone());
    work(async move {
        cx.handle.reload(&caller).await.map_err(local)?;
        Ok(response::empty())
    })
}

/// Leaves and ends the process.
pub(crate) fn leave(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (cx, caller) = (Arc::clone(cx), req.caller.clone());
    work(async move {
        cx.handle.leave(&caller).await.map_err(local)?;
        Ok(response::empty())
    })
}

/// Joins a pool.
pub(crate) fn join(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let wan = !req.params.text("wan").is_empty();
    let (cx, caller, addr) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.arg_text().into_owned(),
    );
    work(async move {
        cx.handle.join(&caller, &addr, wan).await.map_err(local)?;
        Ok(response::empty())
    })
}

/// Declares a failed member as left.
pub(crate) fn force_leave(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let prune = req.params.has("prune");
    let (cx, caller, node) = (
        Arc::clone(cx),
        req.caller.clone(),
        req.arg_text().into_owned(),
    );
    work(async move {
        cx.handle
            .force_leave(&caller, &node, prune)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

/// Log lines until the client has enough.
pub(crate) fn monitor(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    const LEVELS: [&str; 6] = ["trace", "debug", "info", "warn", "err", "error"];
    let level = req.params.text("loglevel").into_owned();
    if !level.is_empty() && !LEVELS.contains(&&*level.to_ascii_lowercase()) {
        return Err(ApiError::bad_request(format_args!(
            "Unknown log level: {level}"
        )));
    }
    let lines = cx
        .handle
        .monitor(&MonitorOptions {
            level,
            json: req.params.has("logjson"),
        })
        .map_err(local)?;
    Ok(Step::Done(Response::new(Body::stream(
        Source::Lines(lines),
        req.gzip,
    ))))
}

/// Metrics as JSON or for Prometheus.
pub(crate) fn metrics(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let prometheus = req.params.text("format") == "prometheus"
        || req.accepts("application/openmetrics-text")
        || (req.accepts("text/plain") && req.accepts("version=0.0.4"))
        || (req.accepts("text/plain") && req.accepts("version=0.4.0"));
    let format = if prometheus {
        MetricsFormat::Prometheus
    } else {
        MetricsFormat::Json
    };
    let Some(bytes) = cx.handle.metrics(format, req.pretty) else {
        return Err(ApiError::new(
            415,
            "Prometheus is not enabled since its retention time is not positive",
        ));
    };
    Ok(Step::Done(if prometheus {
        response::of_type(
            HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8"),
            Body::whole(bytes),
        )
    } else {
        response::json_bytes(bytes)
    }))
}

/// Members of a pool.
pub(crate) fn members(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let wan = !req.params.text("wan").is_empty();
    let segment = req.params.text("segment");
    match (&*segment, wan) {
        ("" | "_all", _) => {}
        (_, true) => return Err(ApiError::bad("Cannot provide a segment with wan=true")),
        (_, false) if cx.handle.identity().server => {
            return Err(ApiError::new(
                500,
                "Network segments are not supported in this version of Consul",
            ));
        }
        (segment, false) => {
            return Err(ApiError::new(
                500,
                format!("segment {} not found", go_quote(segment)),
            ));
        }
    }
    let members = cx.handle.members(wan);
    if wan && members.is_empty() {
        // Clients are in no such pool, nor are servers that have it turned off.
        return Ok(Step::Done(response::json(b"null".to_vec(), req.pretty)));
    }
    Ok(Step::Done(response::json_with(req.pretty, |out| {
        render::members(out, &members)
    })))
}

/// Sets one of the agent's ACL tokens.
pub(crate) fn token(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if !cx.options.acl_enabled {
        return Err(ApiError::acl_disabled());
    }
    let (caller, kind) = (req.caller.clone(), req.arg_text().into_owned());
    with_body(cx, req, move |cx, body| async move {
        let token = parse::token(&body).map_err(BodyError::into_api)?;
        cx.handle
            .set_token(&caller, &kind, token)
            .await
            .map_err(local)?;
        Ok(response::empty())
    })
}

fn filter(req: &Req<'_>, schema: &'static tribune_filter::Schema) -> Result<Filter, ApiError> {
    Filter::parse(&req.params.text("filter"), schema).map_err(|error| {
        ApiError::new(
            500,
            format!("Failed to create boolean expression evaluator: {error}"),
        )
    })
}

/// Local services by ID.
pub(crate) fn services(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let filter = filter(req, &schemas::NODE_SERVICE)?;
    let services = cx.handle.services();
    let shown = services
        .iter()
        .map(|local| &*local.service)
        .filter(|service| filter.matches(*service));
    Ok(Step::Done(response::json_with(req.pretty, |out| {
        render::agent_services(out, shown)
    })))
}

/// Local checks by ID.
pub(crate) fn checks(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let filter = filter(req, &schemas::HEALTH_CHECK)?;
    let checks = cx.handle.checks();
    let shown = checks
        .iter()
        .map(|local| &*local.check)
        .filter(|check| filter.matches(*check));
    Ok(Step::Done(response::json_with(req.pretty, |out| {
        render::agent_checks(out, shown)
    })))
}

/// One local service; blocks while its content hash is the given one.
pub(crate) fn service(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let id = text(&req.arg_text());
    let hash = text(&req.params.text("hash"));
    let wait = cx.wait(req.params.wait()?);
    req.params.index()?;
    let (cx, pretty) = (Arc::clone(cx), req.pretty);
    work(async move {
        let found = if hash.is_empty() {
            cx.handle.service(&id)
        } else {
            cx.handle.service_changed(&id, &hash, wait).await
        };
        let Some(found) = found else {
            return Err(ApiError::not_found(format!("unknown service ID: {id}")));
        };
        let view = AgentServiceView {
            service: &found.service,
            content_hash: Some(&found.content_hash),
        };
        let mut response = response::json_with(pretty, |out| render::agent_service(out, view));
        response::set_text(&mut response, response::CONTENT_HASH, &found.content_hash);
        Ok(response)
    })
}
