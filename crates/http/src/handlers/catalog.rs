//! `/v1/catalog` (spec http-api.md section 3.2).

use std::sync::Arc;
use std::time::Duration;

use tribune_api::parse::{self, BodyError};
use tribune_api::render::View;
use tribune_types::query::{Endpoint, Query, ReadOptions, ServiceQuery};
use tribune_types::text::{Text, text};
use tribune_types::write::Write;

use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::response;
use crate::step::{Planned, with_body};

/// The datacenter of a write, which its body names; `None` is the own one. A parameter is not looked at.
fn write_datacenter(cx: &Cx, body: &Text) -> Option<Text> {
    (!body.is_empty() && **body != *cx.datacenter).then(|| body.clone())
}

/// Puts a node, a service and checks into the catalog.
pub(crate) fn register(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, pretty) = (req.caller.clone(), req.pretty);
    with_body(cx, req, move |cx, body| async move {
        let mut register = match parse::register(&body) {
            Ok(register) => register,
            // The servers say this in Consul, and those of the own datacenter are taken to be meant.
            Err(BodyError::Refused(text)) => {
                return Err(cx.handle.refusal(None, text).await.into());
            }
            Err(err) => return Err(err.into_api()),
        };
        let dc = write_datacenter(&cx, &register.datacenter);
        // The record keeps the datacenter it was written to.
        register.datacenter = dc.clone().unwrap_or_else(|| cx.datacenter.clone());
        cx.handle
            .write(&caller, dc.as_deref(), Write::Register(Box::new(register)))
            .await?;
        Ok(response::verdict(true, pretty))
    })
}

/// Takes a node, a service or a check out of the catalog.
pub(crate) fn deregister(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, pretty) = (req.caller.clone(), req.pretty);
    with_body(cx, req, move |cx, body| async move {
        let deregister = parse::deregister(&body).map_err(BodyError::into_api)?;
        let dc = write_datacenter(&cx, &deregister.datacenter);
        cx.handle
            .write(&caller, dc.as_deref(), Write::Deregister(deregister))
            .await?;
        Ok(response::verdict(true, pretty))
    })
}

/// Names of datacenters.
pub(crate) fn datacenters(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    // The guarantee is checked as anywhere, but it never blocks and never leaves the own datacenter.
    req.params
        .guarantee_options(&cx.datacenter, Duration::ZERO)?;
    req.cache_control()?;
    ReadPlan::new(
        cx,
        req,
        Query::Datacenters,
        ReadOptions::default(),
        Shape::Json(View::Plain),
        Headers::None,
    )
    .cacheable(cx, req)?
    .step()
}

/// Nodes.
pub(crate) fn nodes(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.discovery_options(cx)?;
    let query = Query::Nodes(req.list_options(cx));
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Json(View::Plain),
        Headers::Consistency,
    )
    .step()
}

/// Service names with their tags.
pub(crate) fn services(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.discovery_options(cx)?;
    let query = Query::Services {
        node_meta: req.params.node_meta(),
    };
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Json(View::Plain),
        Headers::Consistency,
    )
    .cacheable(cx, req)?
    .step()
}

/// The instances a request names.
pub(crate) fn service_query(
    cx: &Cx,
    req: &Req<'_>,
    endpoint: Endpoint,
) -> Result<ServiceQuery, tribune_api::errors::ApiError> {
    Ok(ServiceQuery {
        name: req.required("Missing service name")?,
        tags: req.params.all("tag").map(|tag| text(&tag)).collect(),
        endpoint,
        options: req.list_options(cx),
    })
}

fn instances(cx: &Arc<Cx>, req: &mut Req<'_>, endpoint: Endpoint) -> Planned {
    let options = req.discovery_options(cx)?;
    let query = Query::ServiceNodes(service_query(cx, req, endpoint)?);
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Json(View::Plain),
        Headers::Consistency,
    )
    .cacheable(cx, req)?
    .step()
}

/// Instances of a service.
pub(crate) fn service(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    instances(cx, req, Endpoint::Service)
}

/// Mesh-capable endpoints of a service.
pub(crate) fn connect(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    instances(cx, req, Endpoint::Connect)
}

fn on_node(cx: &Arc<Cx>, req: &mut Req<'_>, shape: Shape) -> Planned {
    let options = req.discovery_options(cx)?;
    let query = Query::NodeServices {
        node: req.required("Missing node name")?,
        filter: text(&req.params.text("filter")),
    };
    ReadPlan::new(cx, req, query, options, shape, Headers::Consistency).step()
}

/// A node with its services by ID.
pub(crate) fn node(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    on_node(cx, req, Shape::Json(View::Plain))
}

/// A node with its services as a list.
pub(crate) fn node_services(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    on_node(cx, req, Shape::Other(View::NodeServicesList))
}

/// Services linked to a gateway.
pub(crate) fn gateway_services(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.discovery_options(cx)?;
    let query = Query::GatewayServices {
        gateway: req.required("Missing gateway name")?,
    };
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Json(View::Plain),
        Headers::Consistency,
    )
    .step()
}
