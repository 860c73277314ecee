//! gRPC checks: the `Check` call of the standard health protocol (grpc.health.v1), by hand.
//!
//! ```text
//! request  = 00 len(4, big-endian) 0a len service        HealthCheckRequest { 1: service }
//! response = 00 len(4, big-endian) 08 status             HealthCheckResponse { 1: status }, 1 is SERVING
//! ```
//! The outcome of the call is in the trailer `grpc-status`, or in the head of an answer without a body.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, TE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tribune_rt::Env;
use tribune_types::catalog::Status;
use tribune_types::definition::CheckType;

use super::Outcome;
use super::dial::{dial, split};
use super::tls::{Alpn, TlsForChecks};

/// Bytes of an answer that are looked at.
const ANSWER_SIZE_MAX: usize = 64 * 1024;
const SERVING: u64 = 1;
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// Runs a gRPC check.
pub(super) async fn run(
    env: &Env,
    check: &CheckType,
    timeout: Duration,
    tls: &TlsForChecks,
) -> Outcome {
    let (target, service) = check.grpc.split_once('/').unwrap_or((&check.grpc, ""));
    let text = match env
        .timeout(timeout, call(env, check, target, service, timeout, tls))
        .await
    {
        Ok(Ok(SERVING)) => {
            return Outcome::new(
                Status::Passing,
                format!("gRPC check {}: success", check.grpc),
            );
        }
        Ok(Ok(_)) => "gRPC application didn't report service healthy".to_owned(),
        Ok(Err(text)) => text,
        Err(_) => failure("DeadlineExceeded", "context deadline exceeded"),
    };
    Outcome::critical(text)
}

fn failure(code: &str, text: &str) -> String {
    format!("rpc error: code = {code} desc = {text}")
}

async fn call(
    env: &Env,
    check: &CheckType,
    target: &str,
    service: &str,
    timeout: Duration,
    tls: &TlsForChecks,
) -> Result<u64, String> {
    let dialing = |err: String| {
        failure(
            "Unavailable",
            &format!("connection error: desc = {:?}", format!("transport: {err}")),
        )
    };
    let stream = dial(env, target, timeout)
        .await
        .map_err(|err| dialing(format!("Error while dialing {err}")))?;
    if check.grpc_use_tls {
        let host = split(target).map_or(target, |(host, _)| host);
        let stream = tls
            .connect(
                env,
                stream,
                host,
                check.tls_skip_verify,
                Alpn::Http2,
                timeout,
            )
            .await
            .map_err(|err| dialing(format!("authentication handshake failed: {err}")))?;
        ask(env, stream, "https", target, service).await
    } else {
        ask(env, stream, "http", target, service).await
    }
}

async fn ask<S: AsyncRead + AsyncWrite + Send + Unpin + 'static>(
    env: &Env,
    stream: S,
    scheme: &str,
    target: &str,
    service: &str,
) -> Result<u64, String> {
    let closed = |_: hyper::Error| failure("Unavailable", "connection closed");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(Spawner(env.clone()), TokioIo::new(stream))
            .await
            .map_err(closed)?;
    let connection = async move {
        // Its failure shows in the response.
        let _ = connection.await;
    };
    let _guard = env.spawn_here("check-grpc", connection).abort_on_drop();
    let request =
        request(scheme, target, service).ok_or_else(|| failure("Internal", "malformed target"))?;
    let response = sender.send_request(request).await.map_err(closed)?;
    if response.status() != StatusCode::OK {
        let code = if response.status() == StatusCode::NOT_FOUND {
            "Unimplemented"
        } else {
            "Unknown"
        };
        let reason = response.status().canonical_reason().unwrap_or_default();
        let number = response.status().as_u16();
        return Err(failure(
            code,
            &format!("{reason}: HTTP status code {number}"),
        ));
    }
    verdict(response.headers())?;
    let (message, trailers) = read(response.into_body()).await.map_err(closed)?;
    verdict(&trailers)?;
    serving_status(&message).ok_or_else(|| failure("Internal", "malformed health answer"))
}

fn request(scheme: &str, target: &str, service: &str) -> Option<Request<Full<Bytes>>> {
    let mut request = Request::new(Full::new(encode(service)));
    *request.method_mut() = Method::POST;
    *request.uri_mut() = format!("{scheme}://{target}/grpc.health.v1.Health/Check")
        .parse()
        .ok()?;
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    headers.insert(USER_AGENT, HeaderValue::from_static("Consul Health Check"));
    Some(request)
}

fn encode(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        put_varint(&mut message, service.len() as u64);
        message.put_slice(service.as_bytes());
    }
    let mut framed = BytesMut::with_capacity(message.len() + 5);
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(&message);
    framed.freeze()
}

fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// The `status` of a framed answer; absent means 0.
fn serving_status(framed: &[u8]) -> Option<u64> {
    let (head, message) = framed.split_at_checked(5)?;
    let len = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
    // A compressed answer was not asked for.
    if head[0] != 0 {
        return None;
    }
    let mut rest = message.get(..len)?;
    let mut status = 0;
    while !rest.is_empty() {
        let tag = take_varint(&mut rest)?;
        match tag & 7 {
            0 => {
                let value = take_varint(&mut rest)?;
                if tag >> 3 == 1 {
                    status = value;
                }
            }
            1 => rest = rest.get(8..)?,
            2 => {
                let len = usize::try_from(take_varint(&mut rest)?).ok()?;
                rest = rest.get(len..)?;
            }
            5 => rest = rest.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for at in 0..10 {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

async fn read(mut body: hyper::body::Incoming) -> Result<(Vec<u8>, HeaderMap), hyper::Error> {
    let mut message = Vec::new();
    let mut trailers = HeaderMap::new();
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if message.len() + data.len() <= ANSWER_SIZE_MAX => {
                message.extend_from_slice(&data)
            }
            Ok(_) => break,
            Err(frame) => {
                if let Ok(found) = frame.into_trailers() {
                    trailers = found;
                }
            }
        }
    }
    Ok((message, trailers))
}

/// The error a head or trailer reports, if it does.
fn verdict(headers: &HeaderMap) -> Result<(), String> {
    let Some(code) = headers.get("grpc-status").and_then(|v| v.to_str().ok()) else {
        return Ok(());
    };
    let code: usize = code.parse().unwrap_or(2);
    if code == 0 {
        return Ok(());
    }
    let text = headers
        .get("grpc-message")
        .map(|v| percent_decoded(v.as_bytes()))
        .unwrap_or_default();
    Err(failure(CODES.get(code).unwrap_or(&"Unknown"), &text))
}

fn percent_decoded(bytes: &[u8]) -> String {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten();
        let value =
            escape.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match value {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Runs the parts of an HTTP/2 connection as tasks of the environment.
#[derive(Clone)]
struct Spawner(Env);

impl<F> hyper::rt::Executor<F> for Spawner
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    fn execute(&self, future: F) {
        // It ends with the connection.
        drop(self.0.spawn_here("check-grpc-stream", future));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_request_names_the_service() {
        assert_eq!(&encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(encode(&"x".repeat(200)).len(), 5 + 3 + 200);
    }

    #[test]
    fn the_status_is_found_among_unknown_fields_and_broken_answers_are_none() {
        for (bytes, want) in [
            (&[0, 0, 0, 0, 2, 8, 1][..], Some(1)),
            (&[0, 0, 0, 0, 0], Some(0)),
            (&[0, 0, 0, 0, 5, 0x12, 1, b'x', 8, 2], Some(2)),
            (&[0, 0, 0, 0, 9, 8, 1], None),
            (&[1, 0, 0, 0, 2, 8, 1], None),
            (&[0, 0, 0, 0, 1, 8], None),
            (&[0, 0], None),
            (&[0, 0, 0, 0, 2, 0x12, 9], None),
        ] {
            assert_eq!(serving_status(bytes), want, "{bytes:?}");
        }
    }
}
