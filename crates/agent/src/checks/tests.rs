use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tribune_rt::net::{BindOptions, TcpListener, UnixListener};
use tribune_types::text::text;

use super::*;

const LIMIT: usize = 4096;

fn env() -> Env {
    Env::ambient().unwrap()
}

async fn probe(env: &Env, check: &CheckType) -> (Status, String) {
    let tls = TlsForChecks::new(env.disk(), None);
    let outcome = run_probe(env, probe_of(check), check, LIMIT, &tls).await;
    (outcome.status, outcome.output)
}

fn base() -> CheckType {
    CheckType {
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        ..CheckType::default()
    }
}

fn script(line: &str) -> CheckType {
    CheckType {
        script_args: ["/bin/sh", "-c", line].map(text).to_vec(),
        ..base()
    }
}

/// Serves requests; the answer shows what came.
async fn serve(env: &Env) -> String {
    let listener =
        TcpListener::bind(env, "127.0.0.1:0".parse().unwrap(), BindOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let own = env.clone();
    env.spawn("server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            own.spawn("connection", async move {
                let service = service_fn(answer);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    });
    addr
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .map_or("-", |v| v.to_str().unwrap())
            .to_owned()
    };
    let path = request.uri().path().to_owned();
    let mut response = Response::builder();
    match path.as_str() {
        "/loop" => response = response.status(302).header("location", "/loop"),
        "/moved" => response = response.status(302).header("location", "show?x=1"),
        "/kept" => response = response.status(307).header("location", "/show"),
        code => {
            if let Ok(code) = code[1..].parse::<u16>() {
                response = response.status(code);
            }
        }
    }
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let shown = format!(
        "{method} {uri} host={} agent={} accept={} connection={} a={}",
        header("host"),
        header("user-agent"),
        header("accept"),
        header("connection"),
        header("x-a")
    );
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let text = match path.as_str() {
        "/big" => "0123456789".repeat(1000),
        "/show" => format!("{shown} body={}", String::from_utf8_lossy(&body)),
        _ => "hello\n".to_owned(),
    };
    Ok(response.body(Full::new(Bytes::from(text))).unwrap())
}

#[tokio::test]
async fn http_checks_judge_by_the_status_code() {
    let env = env();
    let addr = serve(&env).await;
    for (path, status, line) in [
        ("/ok", Status::Passing, "200 OK"),
        // The server used here has no word for it and says so.
        ("/299", Status::Passing, "299 <none>"),
        ("/429", Status::Warning, "429 Too Many Requests"),
        ("/404", Status::Critical, "404 Not Found"),
        ("/500", Status::Critical, "500 Internal Server Error"),
        ("/304", Status::Critical, "304 Not Modified"),
    ] {
        let url = format!("http://{addr}{path}");
        let check = CheckType {
            http: text(&url),
            ..base()
        };
        let body = if path == "/304" { "" } else { "hello\n" };
        assert_eq!(
            probe(&env, &check).await,
            (status, format!("HTTP GET {url}: {line} Output: {body}"))
        );
    }
}

#[tokio::test]
async fn http_checks_send_what_they_are_told_and_close() {
    let env = env();
    let addr = serve(&env).await;
    let url = format!("http://{addr}/show");
    let check = CheckType {
        http: text(&url),
        method: text("PUT"),
        body: text("payload"),
        header: vec![
            (text("Host"), vec![text("h.example")]),
            (text("X-A"), vec![text("1")]),
        ],
        ..base()
    };
    let (_, output) = probe(&env, &check).await;
    let want = "PUT /show host=h.example agent=Consul Health Check accept=text/plain, text/*, */* connection=close a=1 \
                body=payload";
    assert_eq!(output, format!("HTTP PUT {url}: 200 OK Output: {want}"));
}

#[tokio::test]
async fn http_checks_follow_redirects_up_to_ten() {
    let env = env();
    let addr = serve(&env).await;
    let run = |path: &str| CheckType {
        http: text(&format!("http://{addr}{path}")),
        method: text("POST"),
        ..base()
    };
    let (status, output) = probe(&env, &run("/moved")).await;
    assert_eq!(status, Status::Passing);
    assert!(output.contains("Output: GET /show?x=1 "), "{output}");
    let (_, output) = probe(&env, &run("/kept")).await;
    assert!(output.contains("Output: POST /show "), "{output}");
    let (status, output) = probe(
        &env,
        &CheckType {
            method: text(""),
            ..run("/loop")
        },
    )
    .await;
    assert_eq!(
        (status, &*output),
        (
            Status::Critical,
            "Get \"/loop\": stopped after 10 redirects"
        )
    );
}

#[tokio::test]
async fn http_output_is_the_end_of_the_body() {
    let env = env();
    let addr = serve(&env).await;
    let url = format!("http://{addr}/big");
    let check = CheckType {
        http: text(&url),
        ..base()
    };
    let tls = TlsForChecks::new(env.disk(), None);
    let outcome = run_probe(&env, Probe::Http, &check, 20, &tls).await;
    assert_eq!(
        outcome.output,
        format!("HTTP GET {url}: 200 OK Output: 01234567890123456789")
    );
}

#[tokio::test]
async fn unreachable_servers_are_critical_with_the_reason() {
    let env = env();
    let addr = serve(&env).await;
    let silent =
        TcpListener::bind(&env, "127.0.0.1:0".parse().unwrap(), BindOptions::default()).unwrap();
    let silent = silent.local_addr().map(|a| (a, silent)).unwrap();
    let http = |url: &str| CheckType {
        http: text(url),
        timeout: Duration::from_secs(2),
        ..base()
    };
    let tcp = |addr: &str| CheckType {
        tcp: text(addr),
        ..base()
    };
    let refused = "dial tcp 127.0.0.1:1: connect: connection refused";
    for (check, want) in [
        (
            http("http://127.0.0.1:1/x"),
            format!("Get \"http://127.0.0.1:1/x\": {refused}"),
        ),
        (
            http("ftp://a"),
            "Get \"ftp://a\": unsupported protocol scheme \"ftp\"".to_owned(),
        ),
        (
            http("not a url"),
            "Get \"not%20a%20url\": unsupported protocol scheme \"\"".to_owned(),
        ),
        (
            http(&format!("http://{}/", silent.0)),
            format!(
                "Get \"http://{}/\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                silent.0
            ),
        ),
        (
            http(&format!("https://{addr}/")),
            format!(
                "Get \"https://{addr}/\": tls: first record does not look like a TLS handshake"
            ),
        ),
        (tcp("127.0.0.1:1"), refused.to_owned()),
        (
            tcp("noport"),
            "dial tcp: address noport: missing port in address".to_owned(),
        ),
        (
            tcp("::1:80"),
            "dial tcp: address ::1:80: too many colons in address".to_owned(),
        ),
        (
            tcp("nohost.invalid:1"),
            "dial tcp: lookup nohost.invalid: no such host".to_owned(),
        ),
    ] {
        assert_eq!(probe(&env, &check).await, (Status::Critical, want));
    }
    let check = tcp(&addr);
    assert_eq!(
        probe(&env, &check).await,
        (Status::Passing, format!("TCP connect {addr}: Success"))
    );
}

#[tokio::test]
async fn broken_answers_are_critical() {
    let env = env();
    for bytes in [&b""[..], b"garbage\r\n\r\n", b"HTTP/1.1 2"] {
        let listener =
            TcpListener::bind(&env, "127.0.0.1:0".parse().unwrap(), BindOptions::default())
                .unwrap();
        let addr = listener.local_addr().unwrap();
        env.spawn("broken", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(bytes).await;
        });
        let check = CheckType {
            http: text(&format!("http://{addr}/")),
            ..base()
        };
        assert_eq!(probe(&env, &check).await.0, Status::Critical, "{bytes:?}");
    }
}

#[tokio::test]
async fn scripts_are_judged_by_their_exit_code() {
    let env = env();
    for (check, status, output) in [
        (script("echo hi"), Status::Passing, "hi\n"),
        (script("echo w; exit 1"), Status::Warning, "w\n"),
        (script("echo c >&2; exit 7"), Status::Critical, "c\n"),
        (script("kill -9 $$"), Status::Critical, ""),
        (
            CheckType {
                script_args: vec![text("/nope")],
                ..base()
            },
            Status::Critical,
            "fork/exec /nope: no such file or directory",
        ),
        (
            CheckType {
                script_args: vec![text("nope-cmd")],
                ..base()
            },
            Status::Critical,
            "exec: \"nope-cmd\": executable file not found in $PATH",
        ),
    ] {
        assert_eq!(probe(&env, &check).await, (status, output.to_owned()));
    }
    let (_, output) = probe(&env, &script("seq 1 2000")).await;
    assert!(
        output.starts_with("Captured 4096 of 8893 bytes\n...\n\n1182\n"),
        "{output}"
    );
}

#[tokio::test]
async fn a_script_that_takes_too_long_is_killed_with_what_it_started() {
    let env = env();
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let line = format!("echo part; (sleep 3; touch {}) & sleep 20", mark.display());
    let check = CheckType {
        // Time to say something on a busy machine.
        timeout: Duration::from_millis(1500),
        ..script(&line)
    };
    let tls = TlsForChecks::new(env.disk(), None);
    let outcome = run_probe(&env, Probe::Script, &check, LIMIT, &tls).await;
    assert_eq!(outcome.output, "Timed out (1.5s) running check\n\npart\n");
    assert!(!outcome.thresholds, "it acts at once");
    env.sleep(Duration::from_millis(2500)).await;
    assert!(!mark.exists(), "its children are gone too");
}

#[tokio::test]
async fn grpc_checks_ask_the_health_service() {
    let env = env();
    let listener =
        TcpListener::bind(&env, "127.0.0.1:0".parse().unwrap(), BindOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap();
    let own = env.clone();
    env.spawn("server", async move {
        while let Ok((stream, _)) = listener.accept().await {
            let executor = hyper_util::rt::TokioExecutor::new();
            own.spawn("connection", async move {
                let _ = hyper::server::conn::http2::Builder::new(executor)
                    .serve_connection(TokioIo::new(stream), service_fn(health))
                    .await;
            });
        }
    });
    for (path, status, want) in [
        ("", Status::Passing, "gRPC check {}: success"),
        ("/up", Status::Passing, "gRPC check {}: success"),
        (
            "/down",
            Status::Critical,
            "gRPC application didn't report service healthy",
        ),
        (
            "/gone",
            Status::Critical,
            "rpc error: code = NotFound desc = unknown service",
        ),
    ] {
        let target = format!("{addr}{path}");
        let check = CheckType {
            grpc: text(&target),
            ..base()
        };
        assert_eq!(
            probe(&env, &check).await,
            (status, want.replace("{}", &target))
        );
    }
    let check = CheckType {
        grpc: text("127.0.0.1:1"),
        ..base()
    };
    let refused = "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while dialing \
                   dial tcp 127.0.0.1:1: connect: connection refused\"";
    assert_eq!(
        probe(&env, &check).await,
        (Status::Critical, refused.to_owned())
    );
    let plain = serve(&env).await;
    let check = CheckType {
        grpc: text(&plain),
        ..base()
    };
    let closed = "rpc error: code = Unavailable desc = connection closed";
    assert_eq!(
        probe(&env, &check).await,
        (Status::Critical, closed.to_owned())
    );
}

type Frames = futures_util::stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>;

async fn health(request: Request<Incoming>) -> Result<Response<StreamBody<Frames>>, Infallible> {
    assert_eq!(request.uri().path(), "/grpc.health.v1.Health/Check");
    let asked = request.into_body().collect().await.unwrap().to_bytes();
    let service = asked.get(7..).unwrap_or_default();
    let status = if service == b"down" { 2 } else { 1 };
    let response = Response::builder().header("content-type", "application/grpc");
    if service == b"gone" {
        let body = StreamBody::new(futures_util::stream::iter(Vec::new()));
        let response = response
            .header("grpc-status", "5")
            .header("grpc-message", "unknown%20service");
        return Ok(response.body(body).unwrap());
    }
    let mut trailers = hyper::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    let frames = vec![
        Ok(Frame::data(Bytes::from(vec![0, 0, 0, 0, 2, 8, status]))),
        Ok(Frame::trailers(trailers)),
    ];
    Ok(response
        .body(StreamBody::new(futures_util::stream::iter(frames)))
        .unwrap())
}

#[tokio::test]
async fn docker_checks_run_in_the_container_or_say_why_not() {
    let env = env();
    let folder = tempfile::tempdir().unwrap();
    let check = CheckType {
        docker_container_id: text("abc"),
        script_args: vec![text("x")],
        ..base()
    };
    let missing = format!("unix://{}/none.sock", folder.path().display());
    let outcome = docker::run_at(&env, &check, Duration::from_secs(5), LIMIT, &missing).await;
    assert_eq!(outcome.status, Status::Critical);
    let path = folder.path().join("none.sock").display().to_string();
    let want = format!(
        "create exec failed for container abc: Post \"http://{}/containers/abc/exec\": dial unix {path}: connect: no \
         such file or directory",
        path.replace('/', "%2F")
    );
    assert_eq!(outcome.output, want);

    let socket = folder.path().join("docker.sock");
    let listener = UnixListener::bind(&env, &socket).unwrap();
    let own = env.clone();
    static EXIT: AtomicUsize = AtomicUsize::new(0);
    env.spawn("engine", async move {
        while let Ok(stream) = listener.accept().await {
            own.spawn("connection", async move {
                let engine = service_fn(|request: Request<Incoming>| async move {
                    let (status, body) = match request.uri().path() {
                        "/containers/abc/exec" => (201, Bytes::from_static(b"{\"Id\":\"e1\"}")),
                        "/exec/e1/start" => (
                            200,
                            Bytes::from_static(b"\x01\0\0\0\0\0\0\x03out\x02\0\0\0\0\0\0\x03err"),
                        ),
                        "/exec/e1/json" => (
                            200,
                            Bytes::from(format!(
                                "{{\"ExitCode\":{}}}",
                                EXIT.load(Ordering::Relaxed)
                            )),
                        ),
                        _ => (404, Bytes::new()),
                    };
                    Ok::<_, Infallible>(
                        Response::builder()
                            .status(status)
                            .body(Full::new(body))
                            .unwrap(),
                    )
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), engine)
                    .await;
            });
        }
    });
    let host = format!("unix://{}", socket.display());
    for (code, status) in [
        (0, Status::Passing),
        (1, Status::Warning),
        (2, Status::Critical),
    ] {
        EXIT.store(code, Ordering::Relaxed);
        let outcome = docker::run_at(&env, &check, Duration::from_secs(5), LIMIT, &host).await;
        assert_eq!((outcome.status, &*outcome.output), (status, "outerr"));
    }
    let other = CheckType {
        docker_container_id: text("zzz"),
        ..check
    };
    let outcome = docker::run_at(&env, &other, Duration::from_secs(5), LIMIT, &host).await;
    assert_eq!(
        outcome.output,
        "create exec failed for unknown container zzz"
    );
}

#[tokio::test]
async fn a_stopped_or_replaced_check_leaves_one_job_or_none() {
    let env = env();
    let scheduler = Scheduler::new(&env);
    let check = Arc::new(CheckType {
        tcp: text("127.0.0.1:1"),
        ..base()
    });
    scheduler.start(text("a"), 1, Arc::clone(&check));
    scheduler.start(text("a"), 2, Arc::clone(&check));
    scheduler.start(text("b"), 3, check);
    assert_eq!(scheduler.len(), 2);
    assert_eq!(scheduler.jobs.lock().queue.len(), 2);
    scheduler.stop(&text("a"));
    scheduler.stop(&text("never"));
    assert_eq!((scheduler.len(), scheduler.jobs.lock().queue.len()), (1, 1));
}
