//! What holds for every request: path rules, blocking and write restrictions, methods, token, gzip, headers, timing.
//!
//! Order, as in Consul: unprintable characters, redirects, unknown paths; then for a known route: query string, blocked
//! endpoints, method, write restriction, handler. Spec http-api.md sections 1.1 to 1.3.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, CONTENT_ENCODING, HeaderValue, LOCATION, VARY};
use hyper::{Request, StatusCode};
use tribune_api::errors::{ApiError, ENDPOINT_BLOCKED, WRITE_RESTRICTED};
use tribune_api::params::{Params, decode_path};
use tribune_types::caller::Caller;
use tribune_types::time::Mono;

use crate::body::Body;
use crate::cx::Cx;
use crate::request::{Req, token};
use crate::response::{self, Response};
use crate::routes::{Found, ROUTES, Route};
use crate::step::{Step, Work};
use crate::{gzip, path};

/// The answer to a request, now or later.
pub(crate) enum Answering {
    /// At hand; taken once.
    Now(Option<Box<Response>>),
    /// Still to come.
    Later(Box<Later>),
}

/// A request in work.
pub(crate) struct Later {
    cx: Arc<Cx>,
    work: Work,
    gzip: bool,
    route: usize,
    method: usize,
    start: Mono,
}

impl Future for Answering {
    type Output = Response;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Response> {
        match &mut *self {
            Answering::Now(response) => Poll::Ready(
                response
                    .take()
                    .map_or_else(response::empty, |response| *response),
            ),
            Answering::Later(later) => {
                let outcome = std::task::ready!(later.work.as_mut().poll(context));
                let mut response = outcome.unwrap_or_else(response::error);
                finish(&later.cx, &mut response, later.gzip);
                let status = response.status();
                later
                    .cx
                    .record(later.route, later.method, status, later.start);
                Poll::Ready(response)
            }
        }
    }
}

fn now(response: Response) -> Answering {
    Answering::Now(Some(Box::new(response)))
}

/// Answers a request.
pub(crate) fn answer(cx: &Arc<Cx>, peer: Option<IpAddr>, request: Request<Incoming>) -> Answering {
    let (head, body) = request.into_parts();
    let raw_path = head.uri.path();
    let Some(decoded) = decode_path(raw_path) else {
        return now(malformed());
    };
    let outside = |mut response: Response| {
        add_headers(cx, &mut response);
        now(response)
    };
    if !cx.options.allow_unprintable && !path::printable(&decoded) {
        return outside(response::status(StatusCode::BAD_REQUEST));
    }
    if let Some(clean) = path::cleaned(&decoded) {
        return outside(redirect(&clean, head.uri.query(), head.method.as_str()));
    }
    let (at, arg_start) = match cx.router.find(&decoded) {
        Found::Route(at, arg_start) => (at, arg_start),
        Found::AddSlash => {
            let mut with_slash = decoded.into_owned();
            with_slash.push(b'/');
            return outside(redirect(
                &with_slash,
                head.uri.query(),
                head.method.as_str(),
            ));
        }
        Found::Nothing if &*decoded == b"/" => {
            return outside(response::of_type(
                HeaderValue::from_static("text/plain; charset=utf-8"),
                Body::whole("Consul Agent"),
            ));
        }
        Found::Nothing => return outside(response::status(StatusCode::NOT_FOUND)),
    };
    let start = cx.env.mono();
    let route = &ROUTES[at];
    let Ok(params) = Params::parse(head.uri.query().unwrap_or_default()) else {
        return with_vary(
            cx,
            response::status(StatusCode::INTERNAL_SERVER_ERROR),
            false,
        );
    };
    let takes_gzip = gzip::accepted(&head.headers);
    let method = match admit(cx, route, (&decoded, arg_start), head.method.as_str(), peer) {
        Ok(method) => method,
        Err(response) => return with_vary(cx, *response, takes_gzip),
    };
    let caller = Caller {
        token: token(&params, &head.headers),
        addr: peer,
    };
    let pretty = cx.options.pretty_default || params.has("pretty");
    let mut req = Req::new(
        &decoded[arg_start..],
        &params,
        &head.headers,
        caller,
        pretty,
        takes_gzip,
        body,
    );
    let (_, handler) = route.methods[method];
    let planned = if route.refuses_namespace {
        req.refuse_namespace()
    } else {
        Ok(())
    }
    .and_then(|()| handler(cx, &mut req));
    let outcome = match planned {
        Err(error) => Err(error),
        Ok(Step::Done(response)) => Ok(response),
        Ok(Step::Read(plan)) => match plan.run(cx) {
            Ok(outcome) => outcome,
            Err(work) => return later(cx, work, takes_gzip, at, method, start),
        },
        Ok(Step::Work(work)) => return later(cx, work, takes_gzip, at, method, start),
    };
    let mut response = outcome.unwrap_or_else(response::error);
    finish(cx, &mut response, takes_gzip);
    cx.record(at, method, response.status(), start);
    now(response)
}

fn later(
    cx: &Arc<Cx>,
    work: Work,
    gzip: bool,
    route: usize,
    method: usize,
    start: Mono,
) -> Answering {
    Answering::Later(Box::new(Later {
        cx: Arc::clone(cx),
        work,
        gzip,
        route,
        method,
        start,
    }))
}

impl Cx {
    fn record(&self, route: usize, method: usize, status: StatusCode, start: Mono) {
        let took = self.env.mono().since(start);
        let millis = took.as_secs_f64() * 1e3;
        self.meters.record(route, method, status, millis);
    }
}

/// The position of the method in the route, or the refusal.
fn admit(
    cx: &Cx,
    route: &Route,
    (path, arg_start): (&[u8], usize),
    method: &str,
    peer: Option<IpAddr>,
) -> Result<usize, Box<Response>> {
    let refuse = |error| Box::new(response::error(error));
    if cx
        .options
        .block_endpoints
        .iter()
        .any(|prefix| path.starts_with(prefix.as_bytes()))
    {
        return Err(refuse(ApiError::new(403, ENDPOINT_BLOCKED)));
    }
    if let Some(narrowed) = route.narrowed
        && let Some(response) = refuse_narrowed(narrowed(&path[arg_start..]), method)
    {
        return Err(Box::new(response));
    }
    let Some(at) = route.methods.iter().position(|(name, _)| *name == method) else {
        let mut response = if method == "OPTIONS" {
            response::empty()
        } else {
            response::error(ApiError::new(405, format!("method {method} not allowed")))
        };
        if let Ok(allow) = HeaderValue::from_str(&route.allow()) {
            response.headers_mut().insert(ALLOW, allow);
        }
        return Err(Box::new(response));
    };
    let writers = &cx.options.allow_write_from;
    if method != "GET" && !writers.is_empty() {
        let allowed = peer.is_some_and(|peer| {
            writers
                .iter()
                .any(|network| network.contains(&peer.to_canonical()))
        });
        if !allowed {
            return Err(refuse(ApiError::new(403, WRITE_RESTRICTED)));
        }
    }
    Ok(at)
}

/// The answer to `OPTIONS` and to other methods than those of a path, where the handler gives it in Consul.
fn refuse_narrowed(methods: &[&str], method: &str) -> Option<Response> {
    if methods.contains(&method) {
        return None;
    }
    let methods = methods.join(",");
    let (mut response, allow) = if method == "OPTIONS" {
        let nothing = response::json(b"{}".to_vec(), false);
        (nothing, format!("OPTIONS,{methods}"))
    } else {
        let text = format!("method {method} not allowed");
        (response::error(ApiError::new(405, text)), methods)
    };
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(ALLOW, allow);
    }
    Some(response)
}

fn with_vary(cx: &Cx, mut response: Response, takes_gzip: bool) -> Answering {
    finish(cx, &mut response, takes_gzip);
    now(response)
}

/// Headers and compression of an answer from a route.
fn finish(cx: &Cx, response: &mut Response, takes_gzip: bool) {
    if takes_gzip && !response.headers().contains_key(CONTENT_ENCODING) {
        match response.body_mut() {
            Body::Whole(None) => {}
            Body::Whole(Some(bytes)) => {
                *bytes = gzip::compress(bytes);
                response::mark_gzip(response);
            }
            // The handler made it so.
            Body::Stream(_) => response::mark_gzip(response),
        }
    }
    response
        .headers_mut()
        .insert(VARY, HeaderValue::from_static("Accept-Encoding"));
    add_headers(cx, response);
}

fn add_headers(cx: &Cx, response: &mut Response) {
    for (name, value) in &cx.headers {
        response.headers_mut().insert(name.clone(), value.clone());
    }
}

/// A path that cannot be decoded.
fn malformed() -> Response {
    let mut response = response::error(ApiError::new(400, "400 Bad Request"));
    response
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// 301 to a path; with the little page that Go sends to readers.
fn redirect(path: &[u8], query: Option<&str>, method: &str) -> Response {
    let mut location = path::encoded(path);
    if let Some(query) = query {
        location.push('?');
        location.push_str(query);
    }
    let mut response = if method == "GET" || method == "HEAD" {
        let shown = location
            .replace('&', "&amp;")
            .replace('<', "&lt;")
            .replace('>', "&gt;")
            .replace('"', "&#34;")
            .replace('\'', "&#39;");
        response::of_type(
            HeaderValue::from_static("text/html; charset=utf-8"),
            Body::whole(format!("<a href=\"{shown}\">Moved Permanently</a>.\n\n")),
        )
    } else {
        response::empty()
    };
    *response.status_mut() = StatusCode::MOVED_PERMANENTLY;
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}
