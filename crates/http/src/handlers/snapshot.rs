//! `/v1/snapshot`: archives in and out, piece by piece.

use std::sync::Arc;

use hyper::header::HeaderValue;
use tribune_agent::handle::SnapshotRestore;
use tribune_api::errors::ApiError;
use tribune_types::query::{Consistency, ReadOptions};

use crate::body::{self, Body, Source};
use crate::cx::Cx;
use crate::request::Req;
use crate::response;
use crate::step::{Planned, work};

/// Where, and whether any server will do. Nothing else is looked at.
fn options(cx: &Cx, req: &Req<'_>) -> ReadOptions {
    ReadOptions {
        datacenter: req.datacenter(cx),
        consistency: match req.params.has("stale") {
            true => Consistency::Stale,
            false => Consistency::Default,
        },
        ..ReadOptions::default()
    }
}

/// Streams an archive out. An error on the way cuts the connection.
pub(crate) fn save(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = options(cx, req);
    let (cx, caller, gzip) = (Arc::clone(cx), req.caller.clone(), req.gzip);
    work(async move {
        let save = cx.handle.snapshot_save(&caller, &options).await?;
        let body = Body::stream(Source::Archive(save.chunks), gzip);
        let mut response = response::of_type(HeaderValue::from_static("application/x-gzip"), body);
        response::set_meta(&mut response, &save.meta);
        Ok(response)
    })
}

/// Streams an archive in, piece by piece. The server keeps the pieces until the archive is checked, and bounds their size.
pub(crate) fn restore(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let options = options(cx, req);
    let (cx, caller) = (Arc::clone(cx), req.caller.clone());
    let mut incoming = req.take_body()?;
    let stall = cx.options.limits.slow_client_timeout;
    work(async move {
        let SnapshotRestore { chunks, done } =
            cx.handle.snapshot_restore(&caller, &options).await?;
        while let Some(piece) = body::next_piece(&cx.env, &mut incoming, stall).await? {
            // A closed channel means that the outcome is known already.
            if chunks.send(piece).await.is_err() {
                break;
            }
        }
        drop(chunks);
        match done.await {
            Ok(outcome) => outcome?,
            Err(_) => {
                return Err(ApiError::new(
                    500,
                    "failed to restore snapshot: the server stopped",
                ));
            }
        }
        Ok(response::empty())
    })
}
