//! The client against a server of a few lines: framing, headers, errors, the lock protocol.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
};

use super::*;

/// Answers requests with prepared texts, in order; records request lines and bodies.
struct Server {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start(answers: Vec<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let mut answers: VecDeque<String> = answers.into_iter().map(str::to_owned).collect();
        host::spawn("fake-server", move || {
            while !answers.is_empty() {
                let Ok((stream, _)) = listener.accept() else {
                    return;
                };
                let mut reader = BufReader::new(stream);
                while let Some(text) = read_request(&mut reader) {
                    log.lock().unwrap().push(text);
                    let Some(answer) = answers.pop_front() else {
                        return;
                    };
                    reader.get_mut().write_all(answer.as_bytes()).unwrap();
                    if !answer.contains("Content-Length") && !answer.contains("chunked") {
                        break;
                    }
                    if answers.is_empty() {
                        return;
                    }
                }
            }
        })
        .unwrap();
        Self { addr, seen }
    }

    fn client(&self) -> Client {
        Client::new(ClientConfig::new(&self.addr.to_string(), false).unwrap()).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .map(|r| r.lines().next().unwrap_or_default().to_owned())
            .collect()
    }
}

fn read_request(reader: &mut BufReader<std::net::TcpStream>) -> Option<String> {
    let mut text = String::new();
    let mut length = 0;
    let mut chunked = false;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let lower = line.to_ascii_lowercase();
        if let Some(n) = lower.strip_prefix("content-length:") {
            length = n.trim().parse().ok()?;
        }
        chunked |= lower.contains("chunked");
        text.push_str(&line);
        if line == "\r\n" {
            break;
        }
    }
    if chunked {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).ok()?;
            let size = usize::from_str_radix(line.trim(), 16).ok()?;
            let mut piece = vec![0; size + 2];
            reader.read_exact(&mut piece).ok()?;
            if size == 0 {
                break;
            }
            text.push_str(&String::from_utf8_lossy(&piece[..size]));
        }
    } else {
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        text.push_str(&String::from_utf8_lossy(&body));
    }
    Some(text)
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nX-Consul-Index: 7\r\nX-Consul-Knownleader: true\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[test]
fn every_framing_of_a_body_is_understood() {
    let answers = [
        ok("[\"a\"]"),
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\n[\"a\r\n2\r\n\"]\r\n0\r\nT: 1\r\n\r\n".to_owned(),
        "HTTP/1.0 200 OK\r\n\r\n[\"a\"]".to_owned(),
    ];
    let server = Server::start(answers.iter().map(String::as_str).collect());
    let client = server.client();
    for _ in 0..3 {
        assert_eq!(client.datacenters().unwrap(), ["a"]);
    }
    assert_eq!(server.lines().len(), 3);
}

#[test]
fn a_body_cut_short_is_an_error() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n[\"a\"]",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n[\"a\"]",
    ] {
        let server = Server::start(vec![answer]);
        let err = server.client().datacenters().unwrap_err();
        assert_eq!(err.to_string(), "unexpected EOF");
    }
}

#[test]
fn answers_that_are_not_http_are_errors_not_panics() {
    for answer in [
        "",
        "zork\r\n\r\n",
        "HTTP/1.1 zork\r\n\r\n",
        "HTTP/1.1 200 OK\r\nzork\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
    ] {
        let server = Server::start(vec![answer]);
        server.client().datacenters().unwrap_err();
    }
}

#[test]
fn options_and_headers_reach_the_wire_and_come_back() {
    let server = Server::start(vec![&ok("[]")].into_iter().map(|s| s.as_str()).collect());
    let mut config = ClientConfig::new(&server.addr.to_string(), false).unwrap();
    config.token = "tok".to_owned();
    config.basic_auth = Some(("u".to_owned(), "p".to_owned()));
    let options = QueryOptions {
        datacenter: "dc 2".to_owned(),
        stale: true,
        wait_index: 9,
        wait: Duration::from_secs(3),
        node_meta: vec![("a".to_owned(), "b".to_owned())],
        filter: "X == \"y\"".to_owned(),
        ..QueryOptions::default()
    };
    let (_, meta) = Client::new(config).unwrap().nodes(&options).unwrap();
    assert_eq!((meta.last_index, meta.known_leader), (7, true));
    let seen = server.seen.lock().unwrap()[0].clone();
    assert!(seen.starts_with(
        "GET /v1/catalog/nodes?dc=dc%202&filter=X%20%3D%3D%20%22y%22&index=9&node-meta=a%3Ab&stale=&wait=3000ms HTTP/1.1\r\n"
    ), "{seen}");
    assert!(seen.contains("X-Consul-Token: tok\r\n"));
    assert!(seen.contains("Authorization: Basic dTpw\r\n"));
}

#[test]
fn errors_read_as_scripts_know_them() {
    let server = Server::start(vec![
        "HTTP/1.1 500 x\r\nContent-Length: 19\r\n\r\nNo path to datacent",
        "HTTP/1.1 403 x\r\nContent-Length: 2\r\n\r\nno",
        "HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n",
    ]);
    let (client, options) = (server.client(), QueryOptions::default());
    let err = client.datacenters().unwrap_err();
    assert_eq!(
        err.to_string(),
        "Unexpected response code: 500 (No path to datacent)"
    );
    let err = client.kv_get("a", &options).unwrap_err();
    assert_eq!(err.to_string(), "Unexpected response code: 403");
    assert_eq!(client.kv_get("a", &options).unwrap().0, None);

    let closed = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let client = Client::new(ClientConfig::new(&closed.to_string(), false).unwrap()).unwrap();
    assert_eq!(
        client.kv_get("a b", &options).unwrap_err().to_string(),
        format!(
            "Get \"http://{closed}/v1/kv/a%20b\": dial tcp {closed}: connect: connection refused"
        )
    );
}

#[test]
fn a_streamed_body_arrives_in_chunks() {
    let server = Server::start(vec!["HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"]);
    let body = std::io::Cursor::new(b"snapshot bytes".to_vec());
    server
        .client()
        .snapshot_restore(body, &QueryOptions::default())
        .unwrap();
    assert!(server.seen.lock().unwrap()[0].ends_with("\r\n\r\nsnapshot bytes"));
}

#[test]
fn a_lock_waits_for_its_holder_and_gives_the_key_back() {
    let flags = lock::LOCK_FLAG;
    let held = |by: &str| {
        ok(&format!(
            "[{{\"Key\":\"k\",\"Flags\":{flags},\"Session\":\"{by}\",\"Value\":null}}]"
        ))
    };
    let answers = [held("other"), held(""), ok("true"), held("me"), ok("true")];
    let server = Server::start(answers.iter().map(String::as_str).collect());
    let mut options = lock::LockOptions::new("k");
    options.session = "me".to_owned();
    let taken = lock::Lock::acquire(&server.client(), options, &|| true)
        .unwrap()
        .unwrap();
    // The monitor looks once and then blocks on the index; its second look takes the release's place in this
    // server's queue, so what matters is the requests up to the acquire.
    let lines = server.lines();
    assert!(
        lines[0].starts_with("GET /v1/kv/k?wait=15000ms"),
        "{lines:?}"
    );
    assert!(
        lines[1].starts_with("GET /v1/kv/k?index=7&wait="),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with(&format!("PUT /v1/kv/k?acquire=me&flags={flags} ")),
        "{lines:?}"
    );
    drop(taken);
}

#[test]
fn a_lock_gives_up_when_its_time_is_over_and_keeps_off_foreign_keys() {
    let flags = lock::LOCK_FLAG;
    let other = ok(&format!(
        "[{{\"Key\":\"k\",\"Flags\":{flags},\"Session\":\"other\"}}]"
    ));
    let server = Server::start(vec![&other; 1000].into_iter().map(|s| s.as_str()).collect());
    let mut options = lock::LockOptions::new("k");
    options.session = "me".to_owned();
    options.give_up_after = Some(Duration::from_millis(20));
    let got = lock::Lock::acquire(&server.client(), options.clone(), &|| true).unwrap();
    assert!(got.is_none());

    let foreign = ok("[{\"Key\":\"k\",\"Flags\":0,\"Session\":\"\"}]");
    let server = Server::start(vec![&foreign]);
    let err = lock::Lock::acquire(&server.client(), options, &|| true)
        .err()
        .unwrap();
    assert_eq!(err.to_string(), "Existing key does not match lock use");
}

#[test]
fn a_silent_agent_is_waited_for_as_long_as_the_client_was_told() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    let ask = |patience: Patience| {
        let mut config = ClientConfig::new(&addr, false).unwrap();
        config.patience = patience;
        let start = host::now();
        let error = Client::new(config).unwrap().datacenters().unwrap_err();
        (error.to_string(), start.elapsed())
    };
    let limit = Duration::from_millis(300);
    for stop in [None, Some(Arc::new(AtomicBool::new(false)))] {
        let (text, took) = ask(Patience {
            silence_max: Some(limit),
            stop,
        });
        assert!(text.ends_with("i/o timeout"), "{text}");
        assert!(took >= Duration::from_millis(240), "{took:?}");
    }
    let stop = Arc::new(AtomicBool::new(false));
    let setter = stop.clone();
    host::spawn("stopper", move || {
        host::sleep(limit);
        setter.store(true, Ordering::Relaxed);
    })
    .unwrap();
    let (text, _) = ask(Patience {
        silence_max: None,
        stop: Some(stop),
    });
    assert!(text.ends_with("stopped"), "{text}");
}

#[test]
fn a_refused_transaction_names_its_operation() {
    let server = Server::start(vec![
        "HTTP/1.1 200 OK\r\nContent-Length: 32\r\n\r\n{\"Results\":[],\"Errors\":null    }",
        "HTTP/1.1 409 Conflict\r\nContent-Length: 58\r\n\r\n{\"Results\":null,\"Errors\":[{\"OpIndex\":2,\"What\":\"denied\"}]}\n",
        "HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\nbig",
    ]);
    let client = server.client();
    let operations = [KvOperation {
        verb: "delete",
        key: "k".to_owned(),
        ..KvOperation::default()
    }];
    let options = QueryOptions {
        datacenter: "dc2".to_owned(),
        ..QueryOptions::default()
    };
    assert_eq!(client.kv_txn(&operations, &options).unwrap(), Ok(()));
    let problems = client.kv_txn(&operations, &options).unwrap().unwrap_err();
    assert_eq!(
        (problems[0].op_index, problems[0].what.as_str()),
        (2, "denied")
    );
    let error = client.kv_txn(&operations, &options).unwrap_err();
    assert_eq!(error.status(), Some(413));
    assert_eq!(server.lines()[0], "PUT /v1/txn?dc=dc2 HTTP/1.1");
}
