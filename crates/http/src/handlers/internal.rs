//! `/v1/internal/ui` (spec http-api.md section 3.12). Without a leader any server's data will do.

use std::sync::Arc;

use tribune_api::render::View;
use tribune_types::query::Query;
use tribune_types::text::{Text, text};

use crate::cx::Cx;
use crate::read::{Headers, ReadPlan, Shape};
use crate::request::Req;
use crate::step::Planned;

/// All nodes with what is on them.
pub(crate) fn nodes(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let query = Query::NodeDump {
        node: None,
        filter: text(&req.params.text("filter")),
    };
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Json(View::Plain),
        Headers::Always,
    )
    .untranslated()
    .stale_without_leader()
    .step()
}

/// One node with what is on it.
pub(crate) fn node(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let node = req.required("Missing node name")?;
    let query = Query::NodeDump {
        node: Some(node),
        // Not for one node.
        filter: Text::default(),
    };
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Found(View::OneNode),
        Headers::Always,
    )
    .untranslated()
    .stale_without_leader()
    .step()
}

/// Services in summary.
pub(crate) fn services(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let query = Query::ServiceDump {
        kind: None,
        filter: text(&req.params.text("filter")),
    };
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Json(View::ServiceSummary),
        Headers::Always,
    )
    .stale_without_leader()
    .step()
}

/// Services behind a gateway in summary.
pub(crate) fn gateway_nodes(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = req.read_options(cx)?;
    let query = Query::GatewayServices {
        gateway: req.required("Missing gateway name")?,
    };
    ReadPlan::new(
        cx,
        req,
        query,
        options,
        Shape::Other(View::GatewayNodes),
        Headers::Always,
    )
    .stale_without_leader()
    .step()
}
