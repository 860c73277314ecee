//! HTTP checks: one request on a connection of its own, redirects followed.
//!
//! 2xx passes, 429 warns, anything else is critical. Texts follow Consul's, which are those of Go's HTTP client.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{
    ACCEPT, AUTHORIZATION, CONNECTION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue, USER_AGENT,
};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tracing::warn;
use tribune_local::OutputRing;
use tribune_rt::{AbortOnDrop, Env};
use tribune_types::catalog::Status;
use tribune_types::definition::CheckType;
use tribune_types::time::Mono;

use super::Outcome;
use super::dial::{DialError, dial};
use super::tls::{Alpn, TlsForChecks};

/// Redirects followed at most.
const REDIRECTS_MAX: usize = 10;
/// Bytes of a response's head.
const HEAD_SIZE_MAX: usize = 64 * 1024;

/// A request to make.
#[derive(Debug, Clone)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) skip_verify: bool,
}

/// The answer's status line and as much of its body as the ring keeps.
#[derive(Debug)]
pub(crate) struct HttpAnswer {
    pub(crate) code: u16,
    pub(crate) reason: String,
    pub(crate) body: OutputRing,
}

/// Runs an HTTP check.
pub(super) async fn run(
    env: &Env,
    check: &CheckType,
    timeout: Duration,
    limit: usize,
    tls: &TlsForChecks,
) -> Outcome {
    let method = if check.method.is_empty() {
        "GET"
    } else {
        &check.method
    };
    let request = HttpRequest {
        method: method.to_owned(),
        url: check.http.to_string(),
        headers: headers(check),
        body: Bytes::copy_from_slice(check.body.as_bytes()),
        skip_verify: check.tls_skip_verify,
    };
    match send(env, request, timeout, limit, tls).await {
        Ok(answer) => {
            let status = match answer.code {
                200..=299 => Status::Passing,
                429 => Status::Warning,
                _ => Status::Critical,
            };
            let output = format!(
                "HTTP {method} {}: {} {} Output: {}",
                check.http,
                answer.code,
                answer.reason,
                answer.body.text()
            );
            Outcome::new(status, output)
        }
        Err(text) => Outcome::critical(text),
    }
}

fn headers(check: &CheckType) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, values) in &check.header {
        let Ok(name) = HeaderName::from_bytes(name.as_bytes()) else {
            continue;
        };
        for value in values {
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.append(name.clone(), value);
            }
        }
    }
    let mut default = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    default(USER_AGENT, "Consul Health Check");
    default(ACCEPT, "text/plain, text/*, */*");
    headers
}

/// Sends a request and follows redirects, all within `timeout`. The error is the text to show.
pub(crate) async fn send(
    env: &Env,
    mut request: HttpRequest,
    timeout: Duration,
    limit: usize,
    tls: &TlsForChecks,
) -> Result<HttpAnswer, String> {
    let deadline = env.mono() + timeout;
    let mut shown = request.url.clone();
    for _ in 0..REDIRECTS_MAX {
        let text = |method: &str, problem: &dyn std::fmt::Display| {
            format!("{} {:?}: {problem}", verb(method), escaped(&shown))
        };
        let url: Uri = request
            .url
            .parse()
            .map_err(|_| text(&request.method, &NO_SCHEME))?;
        let left = deadline.since(env.mono());
        let exchange = exchange(env, &request, &url, left, tls);
        let (response, connection) = match env.timeout(left, exchange).await {
            Ok(result) => result.map_err(|problem| text(&request.method, &problem))?,
            Err(_) => return Err(text(&request.method, &TOO_LATE)),
        };
        match redirect(&response, &url) {
            Some((location, target)) => {
                follow(&mut request, &response, &url, target);
                shown = location;
            }
            None => return Ok(answer(env, response, connection, limit, deadline).await),
        }
    }
    Err(format!(
        "{} {:?}: stopped after {REDIRECTS_MAX} redirects",
        verb(&request.method),
        shown
    ))
}

const NO_SCHEME: &str = "unsupported protocol scheme \"\"";
const TOO_LATE: &str = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)";

/// One request and the head of its answer. The guard keeps the connection going while the body is read.
async fn exchange(
    env: &Env,
    request: &HttpRequest,
    url: &Uri,
    timeout: Duration,
    tls: &TlsForChecks,
) -> Result<(Response<hyper::body::Incoming>, AbortOnDrop), String> {
    let scheme = url.scheme_str().unwrap_or("");
    let default_port = match scheme {
        "http" => 80,
        "https" => 443,
        other => return Err(format!("unsupported protocol scheme {other:?}")),
    };
    let Some(authority) = url.authority().filter(|a| !a.host().is_empty()) else {
        return Err("http: no Host in request URL".to_owned());
    };
    let host = authority.host();
    let addr = format!("{host}:{}", authority.port_u16().unwrap_or(default_port));
    let stream = dial(env, &addr, timeout).await.map_err(|err| match err {
        DialError::Timeout { .. } => TOO_LATE.to_owned(),
        other => other.to_string(),
    })?;
    let message = message(request, url, authority.as_str())?;
    if scheme == "https" {
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let stream = tls
            .connect(env, stream, name, request.skip_verify, Alpn::Http1, timeout)
            .await?;
        converse(env, stream, message).await
    } else {
        converse(env, stream, message).await
    }
}

fn message(
    request: &HttpRequest,
    url: &Uri,
    authority: &str,
) -> Result<Request<Full<Bytes>>, String> {
    let method = Method::from_bytes(request.method.as_bytes())
        .map_err(|_| format!("net/http: invalid method {:?}", request.method))?;
    let path = url.path_and_query().map_or("/", |p| p.as_str());
    let mut message = Request::new(Full::new(request.body.clone()));
    *message.method_mut() = method;
    *message.uri_mut() = path.parse().map_err(|_| format!("invalid path {path:?}"))?;
    *message.headers_mut() = request.headers.clone();
    if !message.headers().contains_key(HOST) {
        let host = authority
            .rsplit_once('@')
            .map_or(authority, |(_, host)| host);
        let value = HeaderValue::from_str(host).map_err(|_| format!("invalid host {host:?}"))?;
        message.headers_mut().insert(HOST, value);
    }
    message
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("close"));
    Ok(message)
}

/// Sends a message over a connection that carries nothing else.
pub(super) async fn converse<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    env: &Env,
    stream: S,
    message: Request<Full<Bytes>>,
) -> Result<(Response<hyper::body::Incoming>, AbortOnDrop), String> {
    let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(HEAD_SIZE_MAX)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|err| text_of(&err))?;
    let connection = async move {
        // Its failure shows in the response or the body.
        let _ = connection.await;
    };
    let guard = env.spawn_here("check-http", connection).abort_on_drop();
    let response = sender
        .send_request(message)
        .await
        .map_err(|err| text_of(&err))?;
    Ok((response, guard))
}

fn text_of(err: &hyper::Error) -> String {
    if err.is_incomplete_message() || err.is_closed() || err.is_canceled() {
        "EOF".to_owned()
    } else if err.is_parse() {
        "net/http: malformed HTTP response".to_owned()
    } else {
        err.to_string()
    }
}

async fn answer(
    env: &Env,
    response: Response<hyper::body::Incoming>,
    connection: AbortOnDrop,
    limit: usize,
    deadline: Mono,
) -> HttpAnswer {
    let code = response.status();
    let reason = response
        .extensions()
        .get::<hyper::ext::ReasonPhrase>()
        .map(|phrase| String::from_utf8_lossy(phrase.as_bytes()).into_owned())
        .or_else(|| code.canonical_reason().map(str::to_owned))
        .unwrap_or_default();
    let mut body = OutputRing::new(limit);
    let read = read_body(response.into_body(), &mut body);
    match env.timeout(deadline.since(env.mono()), read).await {
        Ok(Ok(())) => {}
        Ok(Err(err)) => warn!(%err, "answer to a check broke off"),
        Err(_) => warn!("answer to a check took too long"),
    }
    drop(connection);
    HttpAnswer {
        code: code.as_u16(),
        reason,
        body,
    }
}

/// Reads all of a body; only the end of it is kept.
pub(super) async fn read_body(
    mut body: hyper::body::Incoming,
    ring: &mut OutputRing,
) -> Result<(), hyper::Error> {
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame?.data_ref() {
            ring.write(data);
        }
    }
    Ok(())
}

/// Where a response sends us: the text as given, and the URL it stands for.
fn redirect(response: &Response<hyper::body::Incoming>, base: &Uri) -> Option<(String, String)> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    let location = response
        .headers()
        .get(hyper::header::LOCATION)?
        .to_str()
        .ok()?;
    Some((location.to_owned(), resolve(base, location)))
}

/// A reference relative to a URL (RFC 3986, section 5.2, without dot segments).
fn resolve(base: &Uri, location: &str) -> String {
    let scheme = base.scheme_str().unwrap_or("http");
    let authority = base.authority().map_or("", |a| a.as_str());
    let path = base.path();
    if location.contains("://") {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        format!("{scheme}://{rest}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.starts_with('?') {
        format!("{scheme}://{authority}{path}{location}")
    } else {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{authority}{folder}/{location}")
    }
}

/// Turns a request into the one that follows a redirect.
fn follow(
    request: &mut HttpRequest,
    response: &Response<hyper::body::Incoming>,
    from: &Uri,
    target: String,
) {
    if matches!(response.status().as_u16(), 301..=303) {
        if request.method != "HEAD" {
            request.method = "GET".to_owned();
        }
        request.body = Bytes::new();
    }
    let same_host = target
        .parse::<Uri>()
        .is_ok_and(|to| to.authority().map(|a| a.host()) == from.authority().map(|a| a.host()));
    if !same_host {
        request.headers.remove(AUTHORIZATION);
        request.headers.remove(COOKIE);
        request.headers.remove(HOST);
    }
    request.url = target;
}

/// The method as errors begin with it: first letter as it is, the others small.
fn verb(method: &str) -> String {
    let mut chars = method.chars();
    chars
        .next()
        .map(|first| first.to_string() + &chars.as_str().to_lowercase())
        .unwrap_or_default()
}

fn escaped(url: &str) -> String {
    url.replace(' ', "%20")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_resolved_against_the_url() {
        let base: Uri = "http://h:1/a/b?q".parse().unwrap();
        for (location, want) in [
            ("https://x/y", "https://x/y"),
            ("//x/y", "http://x/y"),
            ("/c", "http://h:1/c"),
            ("c", "http://h:1/a/c"),
            ("?z", "http://h:1/a/b?z"),
        ] {
            assert_eq!(resolve(&base, location), want, "{location}");
        }
    }
}
