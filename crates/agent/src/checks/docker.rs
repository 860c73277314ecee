//! Docker checks: a command inside a running container, through the Engine's API.
//!
//! Three requests: create an exec, start it and read its output, inspect it for the exit code. The Engine is where
//! `DOCKER_HOST` says, else at its usual socket. The output comes in frames: stream (1 byte), 3 zero bytes, length
//! (4, big-endian), data.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use serde::Deserialize;
use tribune_local::{OutputRing, captured};
use tribune_rt::net::UnixStream;
use tribune_rt::{AbortOnDrop, Env};
use tribune_types::definition::CheckType;
use tribune_types::duration::format_go;

use super::Outcome;
use super::dial::{dial, os_text};
use super::http::converse;
use super::script::of_exit_code;

const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";
/// Bytes of an answer that is no output.
const ANSWER_SIZE_MAX: usize = 64 * 1024;

/// Runs a docker check.
pub(super) async fn run(env: &Env, check: &CheckType, timeout: Duration, limit: usize) -> Outcome {
    let host = std::env::var("DOCKER_HOST")
        .ok()
        .filter(|host| !host.is_empty());
    run_at(
        env,
        check,
        timeout,
        limit,
        host.as_deref().unwrap_or(DEFAULT_HOST),
    )
    .await
}

/// As [`run`], with the Engine at `host`.
pub(super) async fn run_at(
    env: &Env,
    check: &CheckType,
    timeout: Duration,
    limit: usize,
    host: &str,
) -> Outcome {
    let mut ring = OutputRing::new(limit);
    let engine = Engine { env, host, timeout };
    match env.timeout(timeout, engine.exec(check, &mut ring)).await {
        Ok(Ok(code)) => super::Outcome::new(of_exit_code(Some(code)), captured(&ring)),
        Ok(Err(text)) => Outcome::critical(text),
        Err(_) => {
            let text = format!("Timed out ({}) running check", format_go(timeout));
            Outcome {
                thresholds: false,
                ..Outcome::critical(text)
            }
        }
    }
}

struct Engine<'a> {
    env: &'a Env,
    host: &'a str,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Created {
    #[serde(rename = "Id")]
    id: String,
}

#[derive(Deserialize)]
struct Inspected {
    #[serde(rename = "ExitCode")]
    exit_code: Option<i32>,
}

impl Engine<'_> {
    async fn exec(&self, check: &CheckType, ring: &mut OutputRing) -> Result<i32, String> {
        let container = &*check.docker_container_id;
        let words: Vec<&str> = check.script_args.iter().map(|word| &**word).collect();
        let body = serde_json::json!({
            "AttachStdin": false, "AttachStdout": true, "AttachStderr": true, "Tty": false, "Cmd": words,
        });
        let failed = |what: &str, problem: String| {
            format!("{what} failed for container {container}: {problem}")
        };
        let path = format!("/containers/{}/exec", encode(container));
        let (response, guard) = self
            .post(&path, &body)
            .await
            .map_err(|problem| failed("create exec", problem))?;
        match response.status().as_u16() {
            201 => {}
            404 => {
                return Err(format!(
                    "create exec failed for unknown container {container}"
                ));
            }
            code => {
                let text = String::from_utf8_lossy(&whole(response).await.unwrap_or_default())
                    .into_owned();
                return Err(format!(
                    "create exec failed for container {container} with status code {code}: {text}"
                ));
            }
        }
        let created: Created = json(response)
            .await
            .map_err(|problem| failed("create exec", problem))?;
        drop(guard);

        let start = serde_json::json!({ "Detach": false, "Tty": false });
        let path = format!("/exec/{}/start", encode(&created.id));
        let (response, guard) = self
            .post(&path, &start)
            .await
            .map_err(|problem| failed("start exec", problem))?;
        match response.status().as_u16() {
            200 | 101 => {}
            code => {
                return Err(format!(
                    "start exec failed for container {container} with status code {code}"
                ));
            }
        }
        read_frames(response, ring)
            .await
            .map_err(|problem| failed("read output", problem))?;
        drop(guard);

        let path = format!("/exec/{}/json", encode(&created.id));
        let (response, _guard) = self
            .request(Method::GET, &path, Bytes::new())
            .await
            .map_err(|problem| failed("inspect exec", problem))?;
        if response.status().as_u16() != 200 {
            let code = response.status().as_u16();
            return Err(format!(
                "inspect exec failed for container {container} with status code {code}"
            ));
        }
        let inspected: Inspected = json(response)
            .await
            .map_err(|problem| failed("inspect exec", problem))?;
        Ok(inspected.exit_code.unwrap_or(2))
    }

    async fn post(
        &self,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(Response<Incoming>, AbortOnDrop), String> {
        self.request(Method::POST, path, Bytes::from(body.to_string()))
            .await
    }

    async fn request(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(Response<Incoming>, AbortOnDrop), String> {
        let verb = if method == Method::GET { "Get" } else { "Post" };
        let mut message = Request::new(Full::new(body));
        *message.method_mut() = method;
        *message.uri_mut() = path.parse().map_err(|_| format!("invalid path {path:?}"))?;
        let headers = message.headers_mut();
        headers.insert(HOST, HeaderValue::from_static("docker"));
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let problem =
            |problem: String| format!("{verb} \"http://{}{path}\": {problem}", self.shown_host());
        match self.host.split_once("://") {
            Some(("unix", socket)) => {
                let stream = UnixStream::connect(self.env, Path::new(socket))
                    .await
                    .map_err(|err| {
                        problem(format!("dial unix {socket}: connect: {}", os_text(&err)))
                    })?;
                converse(self.env, stream, message).await.map_err(problem)
            }
            Some(("tcp" | "http", addr)) => {
                let addr = addr.trim_end_matches('/');
                let stream = dial(self.env, addr, self.timeout)
                    .await
                    .map_err(|err| problem(err.to_string()))?;
                converse(self.env, stream, message).await.map_err(problem)
            }
            _ => Err(format!("unsupported DOCKER_HOST {:?}", self.host)),
        }
    }

    fn shown_host(&self) -> String {
        match self.host.split_once("://") {
            Some(("unix", socket)) => socket.replace('/', "%2F"),
            Some((_, addr)) => addr.to_owned(),
            None => self.host.to_owned(),
        }
    }
}

async fn whole(response: Response<Incoming>) -> Result<Bytes, String> {
    let body = Limited::new(response.into_body(), ANSWER_SIZE_MAX)
        .collect()
        .await
        .map_err(|err| err.to_string())?;
    Ok(body.to_bytes())
}

async fn json<T: serde::de::DeserializeOwned>(response: Response<Incoming>) -> Result<T, String> {
    serde_json::from_slice(&whole(response).await?).map_err(|err| err.to_string())
}

async fn read_frames(response: Response<Incoming>, ring: &mut OutputRing) -> Result<(), String> {
    let mut body = response.into_body();
    let mut frames = Frames::default();
    while let Some(frame) = body.frame().await {
        if let Some(data) = frame.map_err(|err| err.to_string())?.data_ref() {
            frames.feed(data, ring);
        }
    }
    Ok(())
}

/// Takes the frames off an output stream that comes in arbitrary pieces.
#[derive(Default)]
struct Frames {
    head: Vec<u8>,
    left: usize,
}

impl Frames {
    fn feed(&mut self, mut data: &[u8], ring: &mut OutputRing) {
        while !data.is_empty() {
            if self.left > 0 {
                let (now, later) = data.split_at(self.left.min(data.len()));
                ring.write(now);
                self.left -= now.len();
                data = later;
                continue;
            }
            let (now, later) = data.split_at((8 - self.head.len()).min(data.len()));
            self.head.extend_from_slice(now);
            data = later;
            if let &[_, _, _, _, a, b, c, d] = self.head.as_slice() {
                self.left = u32::from_be_bytes([a, b, c, d]) as usize;
                self.head.clear();
            }
        }
    }
}

/// Escapes a path segment.
fn encode(segment: &str) -> String {
    segment
        .bytes()
        .map(|b| match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                (b as char).to_string()
            }
            _ => format!("%{b:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_in_any_pieces() {
        let stream = [
            &[1, 0, 0, 0, 0, 0, 0, 3][..],
            b"abc",
            &[2, 0, 0, 0, 0, 0, 0, 2],
            b"de",
        ]
        .concat();
        for size in 1..=stream.len() {
            let mut ring = OutputRing::new(100);
            let mut frames = Frames::default();
            stream
                .chunks(size)
                .for_each(|piece| frames.feed(piece, &mut ring));
            assert_eq!(ring.text(), "abcde", "pieces of {size}");
        }
    }
}
