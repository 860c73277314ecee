//! Areas that are not built yet. Reads answer what Consul answers when there is nothing of the kind, ACL and mesh
//! endpoints what it answers when the feature is off, the rest says so with 501.
//!
//! What servers would say comes behind what they say first: that there is no way to the datacenter of a request.

use std::sync::Arc;

use tribune_api::errors::{ApiError, CONNECT_DISABLED};
use tribune_api::json::go_quote;
use tribune_api::uuid::lookup_error;
use tribune_types::id::Index;
use tribune_types::query::QueryMeta;
use tribune_types::text::Text;

use super::refused;
use crate::cx::Cx;
use crate::read::Headers;
use crate::request::Req;
use crate::response;
use crate::step::{Outcome, Planned, Step, work};

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

/// The mesh is off, which the server that is asked says whatever the datacenter.
pub(crate) fn connect_disabled(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    refused(cx, None, CONNECT_DISABLED.to_owned())
}

/// The mesh is off, which the agent itself knows.
pub(crate) fn connect_disabled_write(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    Err(ApiError::new(500, CONNECT_DISABLED))
}

/// The mesh is off in the datacenter that is asked for.
pub(crate) fn connect_disabled_there(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    refused(cx, req.datacenter(cx), CONNECT_DISABLED.to_owned())
}

/// As [`connect_disabled_there`], said by a query endpoint.
pub(crate) fn connect_disabled_query(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    query_refused(cx, req.datacenter(cx), CONNECT_DISABLED.to_owned())
}

/// The mesh is off, so no service has a chain.
pub(crate) fn discovery_chain(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    if req.arg.is_empty() {
        return Err(ApiError::bad_request("Missing chain name"));
    }
    query_refused(cx, None, CONNECT_DISABLED.to_owned())
}

/// As [`refused`], with the headers of an answer that tells nothing.
fn query_refused(cx: &Arc<Cx>, dc: Option<Text>, text: String) -> Planned {
    let cx = Arc::clone(cx);
    work(async move {
        let refusal = cx.handle.refusal(dc.as_deref(), text).await;
        Ok(response::query_error(refusal.into()))
    })
}

/// What servers would say, behind what they say first where there is no way to the datacenter that is asked for.
fn by_servers(
    cx: &Arc<Cx>,
    req: &Req<'_>,
    headers: Headers,
    said: impl FnOnce() -> Outcome + Send + 'static,
) -> Planned {
    let Some(dc) = req.datacenter(cx) else {
        return said().map(Step::Done);
    };
    let cx = Arc::clone(cx);
    work(async move {
        match cx.handle.reach(Some(&dc)).await {
            Ok(()) => said(),
            Err(err) => headers.failed(err.into()),
        }
    })
}

/// An error behind the headers of an answer that found nothing.
fn not_found(text: String) -> Outcome {
    let mut response = response::error(ApiError::not_found(text));
    let meta = QueryMeta {
        index: Index(1),
        known_leader: true,
        ..QueryMeta::default()
    };
    response::set_meta(&mut response, &meta);
    Ok(response)
}

fn not_built(what: &str) -> Outcome {
    Err(ApiError::new(501, format!("{what} is not built yet")))
}

/// Authorization of mesh connections.
pub(crate) fn connect_authorize(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    not_built("authorization of mesh connections").map(Step::Done)
}

/// Writes of intentions.
pub(crate) fn intentions(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    by_servers(cx, req, Headers::None, || not_built("writing intentions"))
}

/// One intention: there is none.
pub(crate) fn intention(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    const UNKNOWN: &str = "Intention not found";
    req.read_options(cx)?;
    let invalid = lookup_error("intention", &req.arg_text());
    let (cx, dc) = (Arc::clone(cx), req.datacenter(cx));
    work(async move {
        let is_invalid = invalid.is_some();
        let text = invalid.unwrap_or_else(|| UNKNOWN.to_owned());
        let refusal = cx.handle.refusal(dc.as_deref(), text).await.to_string();
        Err(match &*refusal {
            // Only the server of this agent is understood.
            UNKNOWN => ApiError::not_found(UNKNOWN),
            text if is_invalid && text.contains("UUID") => ApiError::bad_request(text),
            _ => ApiError::from_text(refusal),
        })
    })
}

/// Intentions by name.
pub(crate) fn intention_match(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    let missing = |what: &str| {
        let text = format!("required query parameter '{what}' not set");
        Err(ApiError::new(500, text))
    };
    match req.params.get("by").as_deref() {
        None => return missing("by"),
        Some("source" | "destination") => {}
        Some(_) => {
            return Err(ApiError::new(
                500,
                "'by' parameter must be one of 'source' or 'destination'",
            ));
        }
    }
    if !req.params.has("name") {
        return missing("name");
    }
    by_servers(cx, req, Headers::None, || not_built("matching intentions"))
}

/// Whether a connection is allowed.
pub(crate) fn intention_check(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    for what in ["source", "destination"] {
        if !req.params.has(what) {
            let text = format!("required query parameter '{what}' not set");
            return Err(ApiError::new(500, text));
        }
    }
    by_servers(cx, req, Headers::None, || not_built("checking intentions"))
}

/// Writes of config entries. They go to the primary datacenter, whichever is named.
pub(crate) fn config_write(_cx: &Arc<Cx>, _req: &mut Req<'_>) -> Planned {
    not_built("writing config entries").map(Step::Done)
}

/// Config entries: there are none.
pub(crate) fn config_read(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    req.read_options(cx)?;
    let arg = req.arg_text();
    let (kind, name) = match arg.split_once('/') {
        Some((kind, name)) => (kind, Some(name)),
        None => (&*arg, None),
    };
    let missing = match name {
        _ if !kind.is_empty() && !CONFIG_KINDS.contains(&kind) => {
            let text = format!("invalid config entry kind: {kind}");
            return refused(cx, req.datacenter(cx), text);
        }
        None => return nothing(cx, req, b"[]", Headers::Success),
        Some(name) => format!(
            "Config entry not found for {} / {}",
            go_quote(kind),
            go_quote(name)
        ),
    };
    by_servers(cx, req, Headers::None, || not_found(missing))
}

/// A federation state: there is none.
pub(crate) fn federation_state(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    if req.arg.is_empty() {
        return Err(ApiError::bad_request("Missing datacenter name"));
    }
    req.read_options(cx)?;
    by_servers(cx, req, Headers::Always, || Err(ApiError::not_found("")))
}

/// A list of something there cannot be yet.
pub(crate) fn empty_list(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    nothing(cx, req, b"[]", Headers::Always)
}

/// A map of something there cannot be yet.
pub(crate) fn empty_map(cx: &Arc<Cx>, req: &mut Req<'_>) -> Planned {
    nothing(cx, req, b"{}", Headers::Always)
}

/// An empty answer at index 1. A client that waits for more waits its time out, since nothing changes.
fn nothing(cx: &Arc<Cx>, req: &Req<'_>, body: &'static [u8], headers: Headers) -> Planned {
    let options = req.read_options(cx)?;
    let meta = QueryMeta {
        index: Index(1),
        known_leader: true,
        consistency: options.consistency,
        ..QueryMeta::default()
    };
    let pretty = req.pretty;
    let answer = move || -> Outcome {
        let mut response = response::json(body.to_vec(), pretty);
        response::set_meta(&mut response, &meta);
        Ok(response)
    };
    if options.min_index.0 == 0 {
        return by_servers(cx, req, headers, answer);
    }
    let (cx, wait) = (Arc::clone(cx), cx.wait(options.wait));
    work(async move {
        if let Err(err) = cx.handle.reach(options.datacenter.as_deref()).await {
            return headers.failed(err.into());
        }
        cx.env.sleep(wait).await;
        answer()
    })
}
