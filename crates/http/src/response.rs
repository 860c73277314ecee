//! Answers and their headers.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::{Response as HttpResponse, StatusCode};
use tribune_api::errors::ApiError;
use tribune_types::id::Index;
use tribune_types::query::QueryMeta;

use crate::body::Body;

/// An answer.
pub(crate) type Response = HttpResponse<Body>;

/// `X-Consul-Index`.
pub(crate) const INDEX: HeaderName = HeaderName::from_static("x-consul-index");
/// `X-Consul-KnownLeader`.
pub(crate) const KNOWN_LEADER: HeaderName = HeaderName::from_static("x-consul-knownleader");
/// `X-Consul-LastContact`.
pub(crate) const LAST_CONTACT: HeaderName = HeaderName::from_static("x-consul-lastcontact");
/// `X-Consul-Effective-Consistency`.
pub(crate) const CONSISTENCY: HeaderName =
    HeaderName::from_static("x-consul-effective-consistency");
/// `X-Consul-ContentHash`.
pub(crate) const CONTENT_HASH: HeaderName = HeaderName::from_static("x-consul-contenthash");
/// `X-Consul-Reason`.
pub(crate) const REASON: HeaderName = HeaderName::from_static("x-consul-reason");
/// `X-Cache`.
pub(crate) const CACHE: HeaderName = HeaderName::from_static("x-cache");

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const FALSE: HeaderValue = HeaderValue::from_static("false");
const ZERO: HeaderValue = HeaderValue::from_static("0");

/// 200 without a body.
pub(crate) fn empty() -> Response {
    Response::new(Body::EMPTY)
}

/// A status without a body.
pub(crate) fn status(code: StatusCode) -> Response {
    let mut response = empty();
    *response.status_mut() = code;
    response
}

/// 200 with a body of a content type.
pub(crate) fn of_type(content_type: HeaderValue, body: Body) -> Response {
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

/// 200 with rendered JSON.
pub(crate) fn json_bytes(bytes: impl Into<Bytes>) -> Response {
    of_type(JSON, Body::whole(bytes))
}

/// 200 with compact JSON, indented if asked.
pub(crate) fn json(compact: Vec<u8>, pretty: bool) -> Response {
    json_bytes(if pretty {
        tribune_api::render::pretty(&compact)
    } else {
        compact
    })
}

/// 200 with JSON that a writer makes.
pub(crate) fn json_with(pretty: bool, write: impl FnOnce(&mut Vec<u8>)) -> Response {
    let mut out = Vec::with_capacity(256);
    write(&mut out);
    json(out, pretty)
}

/// 200 with `true` or `false`.
pub(crate) fn verdict(held: bool, pretty: bool) -> Response {
    json_bytes(match (held, pretty) {
        (true, false) => &b"true"[..],
        (false, false) => b"false",
        (true, true) => b"true\n",
        (false, true) => b"false\n",
    })
}

/// An error answer. A refused body is not read further, so the connection is closed after it.
pub(crate) fn error(error: ApiError) -> Response {
    let mut response = if error.text.is_empty() {
        empty()
    } else {
        let bytes = match error.text {
            std::borrow::Cow::Borrowed(text) => Bytes::from_static(text.as_bytes()),
            std::borrow::Cow::Owned(text) => Bytes::from(text),
        };
        of_type(TEXT, Body::whole(bytes))
    };
    *response.status_mut() =
        StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if matches!(error.status, 408 | 413) {
        response
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// An error that the servers gave instead of an answer: with the headers of an answer that tells nothing, unless something
/// was not found.
pub(crate) fn query_error(refused: ApiError) -> Response {
    let found = refused.status != 404;
    let mut response = error(refused);
    if found {
        let nothing = QueryMeta {
            index: Index(1),
            ..QueryMeta::default()
        };
        set_meta(&mut response, &nothing);
    }
    response
}

/// Marks a body as compressed.
pub(crate) fn mark_gzip(response: &mut Response) {
    response
        .headers_mut()
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
}

/// Index, leader and age of a query's answer.
pub(crate) fn set_meta(response: &mut Response, meta: &QueryMeta) {
    let headers = response.headers_mut();
    headers.insert(INDEX, HeaderValue::from(meta.index.0.max(1)));
    set_leader(response, meta.known_leader, meta.last_contact);
}

/// Leader and age alone.
pub(crate) fn set_leader(response: &mut Response, known: bool, last_contact: Duration) {
    let headers = response.headers_mut();
    headers.insert(KNOWN_LEADER, if known { TRUE } else { FALSE });
    let millis = u64::try_from(last_contact.as_millis()).unwrap_or(u64::MAX);
    headers.insert(
        LAST_CONTACT,
        if millis == 0 {
            ZERO
        } else {
            HeaderValue::from(millis)
        },
    );
}

/// The guarantee in effect.
pub(crate) fn set_consistency(response: &mut Response, meta: &QueryMeta) {
    response.headers_mut().insert(
        CONSISTENCY,
        HeaderValue::from_static(meta.consistency.as_str()),
    );
}

/// A header from text that may hold anything; left out if HTTP does not allow it.
pub(crate) fn set_text(response: &mut Response, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
