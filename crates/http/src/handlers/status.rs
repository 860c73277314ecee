//! `/v1/status`.

use std::sync::Arc;

use tribune_api::render;

use crate::cx::Cx;
use crate::request::Req;
use crate::response;
use crate::step::{Planned, work};

/// Address of the leader.
pub(crate) fn leader(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let dc = req.read_options(cx)?.datacenter;
    let (cx, pretty) = (Arc::clone(cx), req.pretty);
    work(async move {
        let leader = cx.handle.status_leader(dc.as_deref()).await?;
        Ok(response::json_with(pretty, |out| {
            render::string(out, &leader)
        }))
    })
}

/// Addresses of the peers.
pub(crate) fn peers(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let dc = req.read_options(cx)?.datacenter;
    let (cx, pretty) = (Arc::clone(cx), req.pretty);
    work(async move {
        let peers = cx.handle.status_peers(dc.as_deref()).await?;
        Ok(response::json_with(pretty, |out| {
            render::strings(out, &peers)
        }))
    })
}
