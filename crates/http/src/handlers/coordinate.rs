//! `/v1/coordinate` (spec http-api.md section 3.7).

use std::sync::Arc;

use tribune_api::parse::{self, BodyError};
use tribune_api::render::View;
use tribune_types::query::{Query, ReadOptions};
use tribune_types::text::text;
use tribune_types::write::Write;

use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::response;
use crate::step::{Planned, with_body};

/// Coordinates of servers by datacenter.
pub(crate) fn datacenters(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    ReadPlan::new(
        cx,
        req,
        Query::DatacenterMaps,
        ReadOptions::default(),
        Shape::Json(View::Plain),
        Headers::None,
    )
    .step()
}

/// Coordinates of all nodes.
pub(crate) fn nodes(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let segment = req.params.get("segment").map(|segment| text(&segment));
    ReadPlan::new(
        cx,
        req,
        Query::Coordinates {
            node: None,
            segment,
        },
        options,
        Shape::Json(View::Plain),
        Headers::Always,
    )
    .step()
}

/// Coordinates of a node.
pub(crate) fn node(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let segment = req.params.get("segment").map(|segment| text(&segment));
    let query = Query::Coordinates {
        node: Some(text(&req.arg_text())),
        segment,
    };
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Found(View::Plain),
        Headers::Always,
    )
    .step()
}

/// Hands in a coordinate.
pub(crate) fn update(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let (caller, dc) = (req.caller.clone(), req.datacenter(cx));
    with_body(cx, req, move |cx, body| async move {
        match parse::coordinate_update(&body).map_err(BodyError::into_api)? {
            Some(entry) => {
                let write = Write::Coordinate(entry);
                cx.handle.write(&caller, dc.as_deref(), write).await?;
            }
            None => cx.handle.reach(dc.as_deref()).await?,
        }
        Ok(response::empty())
    })
}
