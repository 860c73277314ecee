//! `/v1/health` (spec http-api.md section 3.3).

use std::sync::Arc;

use tribune_api::params::parse_bool;
use tribune_api::render::View;
use tribune_types::catalog::Status;
use tribune_types::query::{Endpoint, Query, ReadOptions};
use tribune_types::text::text;

use super::catalog::service_query;
use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::step::Planned;

fn plan(cx: &Arc<Cx>, req: &Req<'_>, query: Query, options: ReadOptions) -> ReadPlan {
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Json(View::Plain),
        Headers::Consistency,
    )
}

/// Checks of a node.
pub(crate) fn node(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.discovery_options(cx)?;
    let query = Query::NodeChecks {
        node: req.required("Missing node name")?,
        filter: text(&req.params.text("filter")),
    };
    plan(cx, req, query, options).step()
}

/// Checks of a service.
pub(crate) fn checks(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.discovery_options(cx)?;
    let query = Query::ServiceChecks {
        service: req.required("Missing service name")?,
        options: req.list_options(cx),
    };
    plan(cx, req, query, options).step()
}

/// Checks in a state. Words that are no state match nothing.
pub(crate) fn state(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.discovery_options(cx)?;
    let word = req.required("Missing check state")?;
    let query = match (&*word, Status::parse(&word)) {
        ("any", _) => Query::ChecksInState {
            state: None,
            options: req.list_options(cx),
        },
        (_, Some(status)) => Query::ChecksInState {
            state: Some(status),
            options: req.list_options(cx),
        },
        // No service is named by a space: checks of none, with the index of all checks.
        _ => Query::ServiceChecks {
            service: text(" "),
            options: req.list_options(cx),
        },
    };
    plan(cx, req, query, options).step()
}

fn instances(cx: &Arc<Cx>, req: &mut Req<'_>, endpoint: Endpoint) -> Planned {
    let options = req.discovery_options(cx)?;
    let service = service_query(cx, req, endpoint)?;
    let passing_only = match req.params.get("passing") {
        None => Some(false),
        Some(given) if given.is_empty() => Some(true),
        Some(given) => parse_bool(&given),
    };
    let query = Query::ServiceHealth {
        service,
        passing_only: passing_only.unwrap_or_default(),
    };
    let mut plan = plan(cx, req, query, options);
    if passing_only.is_none() {
        // The agent looks at it when it has what the servers say, and their errors come first.
        plan = plan.refused("Invalid value for ?passing");
    }
    plan.cacheable(cx, req)?.step()
}

/// Instances of a service with their checks.
pub(crate) fn service(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    instances(cx, req, Endpoint::Service)
}

/// Mesh-capable endpoints of a service with their checks.
pub(crate) fn connect(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    instances(cx, req, Endpoint::Connect)
}

/// Ingress gateways of a service with their checks.
pub(crate) fn ingress(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    instances(cx, req, Endpoint::Ingress)
}
