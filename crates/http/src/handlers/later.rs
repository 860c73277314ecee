//! Areas that are not built yet. Reads answer what Consul answers when there is nothing of the kind, ACL and mesh
//! endpoints what it answers when the feature is off, the rest says so with 501.

use std::sync::Arc;

use tribune_api::errors::{ApiError, CONNECT_DISABLED};
use tribune_api::json::go_quote;
use tribune_api::uuid::lookup_error;
use tribune_types::id::Index;
use tribune_types::query::QueryMeta;

use crate::cx::Cx;
use crate::request::Req;
use crate::response::{self, Response};
use crate::step::{Planned, Step, work};

/// Kinds of config entries of 1.8.
const CONFIG_KINDS: [&str; 7] = [
    "service-defaults",
    "proxy-defaults",
    "service-router",
    "service-splitter",
    "service-resolver",
    "ingress-gateway",
    "terminating-gateway",
];

/// ACLs are off.
pub(crate) fn acl_disabled(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    Err(ApiError::acl_disabled())
}

/// The mesh is off.
pub(crate) fn connect_disabled(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    Err(ApiError::new(500, CONNECT_DISABLED))
}

fn with_meta(error: ApiError) -> Planned {
    let known_leader = error.status == 404;
    let mut response = response::error(error);
    response::set_meta(
        &mut response,
        &QueryMeta {
            index: Index(1),
            known_leader,
            ..QueryMeta::default()
        },
    );
    Ok(Step::Done(response))
}

/// The mesh is off, said by a query endpoint.
pub(crate) fn connect_disabled_query(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    with_meta(ApiError::new(500, CONNECT_DISABLED))
}

fn not_built(what: &str) -> Planned {
    Err(ApiError::new(501, format!("{what} is not built yet")))
}

/// Authorization of mesh connections.
pub(crate) fn connect_authorize(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    not_built("authorization of mesh connections")
}

/// Writes of intentions.
pub(crate) fn intentions(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    not_built("writing intentions")
}

/// One intention: there is none.
pub(crate) fn intention(_cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    match lookup_error("intention", &req.arg_text()) {
        Some(why) => Err(ApiError::bad_request(why)),
        None => Err(ApiError::not_found("Intention not found")),
    }
}

/// Intentions by name.
pub(crate) fn intention_match(_cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if !req.params.has("by") {
        return Err(ApiError::new(500, "required query parameter 'by' not set"));
    }
    not_built("matching intentions")
}

/// Whether a connection is allowed.
pub(crate) fn intention_check(_cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if !req.params.has("source") {
        return Err(ApiError::new(
            500,
            "required query parameter 'source' not set",
        ));
    }
    not_built("checking intentions")
}

/// Writes of config entries.
pub(crate) fn config_write(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    not_built("writing config entries")
}

/// Config entries: there are none.
pub(crate) fn config_read(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    let arg = req.arg_text();
    let (kind, name) = match arg.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (&*arg, None),
    };
    if !kind.is_empty() && !CONFIG_KINDS.contains(&kind) {
        return Err(ApiError::new(
            500,
            format!("invalid config entry kind: {kind}"),
        ));
    }
    match name {
        Some(name) => with_meta(ApiError::not_found(format!(
            "Config entry not found for {} / {}",
            go_quote(kind),
            go_quote(name)
        ))),
        None => empty_list(cx, req),
    }
}

/// A federation state.
pub(crate) fn federation_state(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    Err(ApiError::not_found("Federation state not found"))
}

/// A list of something there cannot be yet.
pub(crate) fn empty_list(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    nothing(cx, req, b"[]")
}

/// A map of something there cannot be yet.
pub(crate) fn empty_map(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    nothing(cx, req, b"{}")
}

/// An empty answer at index 1. A client that waits for more waits its time out, since nothing changes.
fn nothing(cx: &Arc<Cx>, req: &Req<'_>, body: &'static [u8]) -> Planned {
    let options = req.read_options(cx)?;
    let meta = QueryMeta {
        index: Index(1),
        known_leader: true,
        consistency: options.consistency,
        ..QueryMeta::default()
    };
    let pretty = req.pretty;
    let answer = move || -> Response {
        let mut response = response::json(body.to_vec(), pretty);
        response::set_meta(&mut response, &meta);
        response
    };
    if options.min_index.0 == 0 {
        return Ok(Step::Done(answer()));
    }
    let (cx, wait) = (Arc::clone(cx), cx.wait(options.wait));
    work(async move {
        cx.env.sleep(wait).await;
        Ok(answer())
    })
}
