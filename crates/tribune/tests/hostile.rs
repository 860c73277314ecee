//! Hostile bytes on every door of a real agent: it keeps serving, keeps its memory, and never panics.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::{Agent, Response, dns, free_port, parse, run, wait_until};

/// What resident memory may have grown by once a group of attacks is over. The debug binary runs on the system's
/// allocator, which keeps some of what it once had.
const GROWN_KIB_MAX: u64 = 32 * 1024;
/// What it may grow by meanwhile.
const PEAK_KIB_MAX: u64 = 192 * 1024;
/// An answer or a close must come within this.
const PATIENCE: Duration = Duration::from_secs(40);

/// An agent under attack.
struct Target {
    agent: Agent,
    resident: u64,
}

impl Target {
    fn new() -> Target {
        let agent = Agent::server("");
        // Threads and buffers that every agent has after its first requests.
        for n in 0..5 {
            agent.put(&format!("/v1/kv/warm/{n}"), vec![b'x'; 400 * 1024]);
            agent.get("/v1/kv/warm/?recurse&keys");
            dns::ask(agent.dns, "node1.node.consul", dns::A);
        }
        agent.request("DELETE", "/v1/kv/warm/?recurse", b"");
        let resident = agent.resident_kib();
        Target { agent, resident }
    }

    /// After an attack: all doors answer, the memory is back, nothing panicked.
    fn survives(&self, what: &str) {
        let agent = &self.agent;
        assert_eq!(
            agent.put("/v1/kv/alive", what).text().trim(),
            "true",
            "{what}"
        );
        assert_eq!(agent.get("/v1/kv/alive?raw").text(), what);
        let found = dns::ask(agent.dns, "node1.node.consul", dns::A);
        assert_eq!(found.records.len(), 1, "{what}");
        assert!(rpc_serves(agent.rpc), "{what}: the server port");
        let log = agent.log();
        assert!(!log.contains("panicked"), "{what}:\n{log}");
        let peak = agent.resident_peak_kib();
        // What was begun for the attackers may take a moment to end.
        let mut now = agent.resident_kib();
        wait_until("the memory to be back", || {
            now = agent.resident_kib();
            now < self.resident + GROWN_KIB_MAX
        });
        println!("{what}: {} KiB, now {now}, peak {peak}", self.resident);
        assert!(
            peak < self.resident + PEAK_KIB_MAX,
            "{what}: {} KiB before, {peak} at most",
            self.resident
        );
    }
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// Sends bytes, says that there are no more, and reads until the other side closes. `None`: it hangs.
fn attack(addr: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = connect(addr);
    // It may close before it has everything.
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    read_to_close(&mut stream)
}

fn read_to_close(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0u8; 65_536];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return Some(answer),
            Ok(size) => answer.extend_from_slice(&buffer[..size]),
            Err(err) if matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return None;
            }
            // Reset: closed with bytes of ours unread.
            Err(_) => return Some(answer),
        }
    }
}

/// The answer to a request that is complete: a client that says at once that it will send no more counts as gone.
fn answer_to(addr: SocketAddr, what: &str, bytes: &[u8]) -> Response {
    let mut stream = connect(addr);
    let _ = stream.write_all(bytes);
    let Some(answer) = read_to_close(&mut stream) else {
        panic!("{what}: neither answer nor close within {PATIENCE:?}");
    };
    parse(&answer).unwrap_or_else(|| panic!("{what}: no answer in {} bytes", answer.len()))
}

/// Seeded bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.next() as u8).collect()
    }
}

fn request(line: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    [
        format!("{line}\r\nHost: h\r\nConnection: close\r\n{headers}\r\n").as_bytes(),
        body,
    ]
    .concat()
}

fn with_body(method: &str, path: &str, body: &[u8]) -> Vec<u8> {
    let length = format!("Content-Length: {}\r\n", body.len());
    request(&format!("{method} {path} HTTP/1.1"), &length, body)
}

#[test]
fn broken_requests_are_refused_and_closed() {
    let target = Target::new();
    let http = target.agent.http;
    let long = "a".repeat(1024 * 1024);
    let get = "GET /v1/status/leader HTTP/1.1";
    let many: String = (0..100_000).map(|n| format!("X-{n}: y\r\n")).collect();
    let some: String = (0..1000).map(|n| format!("X-{n}: y\r\n")).collect();
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("an empty line", b"\r\n\r\n".to_vec()),
        ("no version", b"GET /\r\n\r\n".to_vec()),
        ("no path", request("GET", "", b"")),
        ("an unknown version", request("GET / HTTP/9.9", "", b"")),
        ("version 0.9", request("GET / HTTP/0.9", "", b"")),
        ("no method", request(" / HTTP/1.1", "", b"")),
        ("spaces", request("GET  /  HTTP/1.1", "", b"")),
        (
            "a NUL in the path",
            request("GET /v1/kv/a\0b HTTP/1.1", "", b""),
        ),
        ("a NUL in a header", request(get, "X: a\0b\r\n", b"")),
        ("a NUL in a header name", request(get, "X\0: b\r\n", b"")),
        ("a header without colon", request(get, "nonsense\r\n", b"")),
        ("a folded header", request(get, "X: a\r\n b\r\n", b"")),
        ("a space before the colon", request(get, "X : a\r\n", b"")),
        (
            "a long method",
            request(&format!("{long} / HTTP/1.1"), "", b""),
        ),
        (
            "a long path",
            request(&format!("GET /{long} HTTP/1.1"), "", b""),
        ),
        (
            "a long query",
            request(&format!("GET /v1/kv/a?{long} HTTP/1.1"), "", b""),
        ),
        (
            "a long header",
            request(get, &format!("X: {long}\r\n"), b""),
        ),
        (
            "a long header name",
            request(get, &format!("{long}: x\r\n"), b""),
        ),
        ("1,000 headers", request(get, &some, b"")),
        ("100,000 headers", request(get, &many, b"")),
        (
            "a length below zero",
            request(get, "Content-Length: -1\r\n", b""),
        ),
        (
            "a length of words",
            request(get, "Content-Length: ten\r\n", b""),
        ),
        (
            "a length beyond 64 bits",
            request(get, "Content-Length: 99999999999999999999\r\n", b""),
        ),
        (
            "two lengths",
            request(get, "Content-Length: 1\r\nContent-Length: 2\r\n", b"ab"),
        ),
        (
            "a length and chunks",
            request(
                "PUT /v1/kv/a HTTP/1.1",
                "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
                b"zzzz\r\n\r\n",
            ),
        ),
        (
            "an unknown encoding",
            request(get, "Transfer-Encoding: zip\r\n", b""),
        ),
        (
            "a chunk of 2^64 bytes",
            request(
                "PUT /v1/kv/a HTTP/1.1",
                "Transfer-Encoding: chunked\r\n",
                b"10000000000000000\r\n",
            ),
        ),
        (
            "a chunk size of words",
            request(
                "PUT /v1/kv/a HTTP/1.1",
                "Transfer-Encoding: chunked\r\n",
                b"xyz\r\nabc\r\n0\r\n\r\n",
            ),
        ),
        (
            "a body cut short",
            request("PUT /v1/kv/a HTTP/1.1", "Content-Length: 100\r\n", b"abc"),
        ),
        ("a bad escape", request("GET /v1/kv/%zz HTTP/1.1", "", b"")),
        (
            "an escape cut short",
            request("GET /v1/kv/% HTTP/1.1", "", b""),
        ),
        (
            "an escaped NUL",
            request("GET /v1/kv/%00 HTTP/1.1", "", b""),
        ),
        (
            "bad UTF-8 in the path",
            [b"GET /v1/kv/\xff\xfe HTTP/1.1\r\nHost: h\r\n\r\n".as_slice()].concat(),
        ),
        (
            "the HTTP/2 preface",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        ),
        (
            "TLS",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"
                .to_vec(),
        ),
        (
            "an unknown tunnel",
            request("CONNECT h:1 HTTP/1.1", "", b""),
        ),
        ("an answer", b"HTTP/1.1 200 OK\r\n\r\n".to_vec()),
        ("random bytes", Random(1).bytes(100_000)),
    ];
    for (what, bytes) in &cases {
        let Some(answer) = attack(http, bytes) else {
            panic!("{what}: neither answer nor close within {PATIENCE:?}");
        };
        if let Some(answer) = parse(&answer) {
            assert!(
                matches!(answer.status, 300..=599),
                "{what} was answered with {} {}",
                answer.status,
                answer.text()
            );
        }
    }
    // Odd, and served.
    for (what, bytes) in [
        (
            "an upgrade",
            request(get, "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n", b""),
        ),
        (
            "a websocket",
            request(
                get,
                "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                b"",
            ),
        ),
        (
            "no host",
            format!("{get}\r\nConnection: close\r\n\r\n").into_bytes(),
        ),
        (
            "HTTP/1.0",
            b"GET /v1/status/leader HTTP/1.0\r\n\r\n".to_vec(),
        ),
        (
            "a body with GET",
            request(get, "Content-Length: 3\r\n", b"abc"),
        ),
    ] {
        let answer = answer_to(http, what, &bytes);
        assert_eq!(answer.status, 200, "{what}");
    }
    target.survives("broken requests");
}

#[test]
fn parameters_out_of_range_are_refused_by_value() {
    let target = Target::new();
    let http = target.agent.http;
    for path in [
        "/v1/kv/a?index=18446744073709551616",
        "/v1/kv/a?index=-1",
        "/v1/kv/a?index=1e9",
        "/v1/kv/a?index=1&wait=1e99s",
        "/v1/kv/a?index=1&wait=9999999999999999999h",
        "/v1/kv/a?wait=-5",
        "/v1/kv/a?stale&consistent",
        "/v1/kv/a?%zz",
        "/v1/health/service/a?filter=%28%28%28%28",
        "/v1/health/state/nonsense%00",
        "/v1/session/info/not-an-id",
        "/v1/event/list?index=x",
    ] {
        let answer = answer_to(
            http,
            path,
            &request(&format!("GET {path} HTTP/1.1"), "", b""),
        );
        assert!(
            matches!(answer.status, 400 | 404 | 500),
            "{path}: {answer:?}"
        );
        assert!(answer.body.len() < 4096, "{path}");
    }
    for path in [
        "/v1/kv/a?flags=18446744073709551616",
        "/v1/kv/a?flags=-1",
        "/v1/kv/a?cas=99999999999999999999999",
        "/v1/kv/a?acquire=no-session",
        "/v1/session/create?dc=%00",
    ] {
        let answer = answer_to(http, path, &with_body("PUT", path, b"{}"));
        assert!(
            matches!(answer.status, 400 | 404 | 500),
            "{path}: {answer:?}"
        );
    }
    // Filters as deep and as long as an address can carry them.
    for filter in [
        "%28".repeat(30_000),
        "not+".repeat(25_000),
        "a==b+and+".repeat(10_000),
        format!("Node+matches+%22{}%22", "%28a*%29*".repeat(5000)),
        "Node+matches+%22%28%28a%7B100%7D%29%7B100%7D%29%7B100%7D%22".to_owned(),
    ] {
        let line = format!("GET /v1/catalog/nodes?filter={filter} HTTP/1.1");
        let answer = answer_to(http, "a filter", &request(&line, "", b""));
        assert!(
            matches!(answer.status, 400..=599),
            "{}: {}",
            &filter[..20],
            answer.status
        );
    }
    target.survives("parameters");
}

/// Endpoints that read JSON.
const JSON_DOORS: &[&str] = &[
    "/v1/catalog/register",
    "/v1/catalog/deregister",
    "/v1/agent/service/register",
    "/v1/agent/check/register",
    "/v1/agent/check/update/x",
    "/v1/session/create",
    "/v1/txn",
    "/v1/coordinate/update",
    "/v1/operator/autopilot/configuration",
];

#[test]
fn json_that_is_deep_long_or_broken_is_refused() {
    let target = Target::new();
    let http = target.agent.http;
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(100_000), close.repeat(100_000));
    let inside = |field: &str, value: &str| format!("{{\"{field}\": {value}}}");
    let long_list = format!("[{}1]", "1,".repeat(5_000_000));
    let below_limit = format!("[{}{{}}]", "{},".repeat(2_600_000));
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("lists in lists", deep("[", "]").into()),
        ("lists without end", "[".repeat(100_000).into()),
        (
            "objects in objects",
            format!("{}1{}", "{\"Check\":".repeat(100_000), "}".repeat(100_000)).into(),
        ),
        ("depth in Meta", inside("Meta", &deep("[", "]")).into()),
        (
            "depth in Proxy",
            inside("Proxy", &inside("Config", &deep("[", "]"))).into(),
        ),
        (
            "depth in an unknown field",
            inside("Nonsense", &deep("[", "]")).into(),
        ),
        ("10 MB of numbers", long_list.into()),
        ("8 MB of objects", below_limit.into()),
        ("an unended string", b"{\"Node\": \"abc".to_vec()),
        ("bad UTF-8", b"[\"\xff\xfe\xc0\x80\"]".to_vec()),
        ("half a surrogate", br#"["\ud800"]"#.to_vec()),
        ("a NUL", b"[\"a\0b\"]\0".to_vec()),
        (
            "a giant number",
            format!("[{}]", "9".repeat(100_000)).into(),
        ),
        ("a giant exponent", inside("Port", "1e999999999").into()),
        (
            "a number out of range",
            inside("Port", "99999999999999999999999").into(),
        ),
        ("an unknown escape", br#"["\q"]"#.to_vec()),
        ("random bytes", Random(7).bytes(50_000)),
        ("nothing", vec![]),
        ("null", b"null".to_vec()),
    ];
    for (what, body) in &cases {
        for path in JSON_DOORS {
            let told = format!("{what} to {path}");
            let answer = answer_to(http, &told, &with_body("PUT", path, body));
            // Some doors take an empty body, null or a field that they do not know.
            let harmless = matches!(*what, "nothing" | "null") || what.contains("unknown field");
            let lenient = what.starts_with("half")
                || what.starts_with("depth")
                || what.contains("Port")
                || what.contains("giant exponent")
                || what.contains("out of range");
            assert!(
                matches!(answer.status, 400..=599) || harmless || lenient,
                "{told}: {} {}",
                answer.status,
                answer.text()
            );
            assert!(
                answer.body.len() < 64 * 1024,
                "{told}: {} bytes",
                answer.body.len()
            );
        }
    }
    target.survives("JSON");
}

#[test]
fn bodies_without_end_are_cut_off() {
    let target = Target::new();
    let http = target.agent.http;
    for path in [
        "/v1/kv/big",
        "/v1/txn",
        "/v1/agent/service/register",
        "/v1/event/fire/x",
    ] {
        // Chunks for ever: the client is told, or thrown out, long before this much.
        let mut stream = connect(http);
        let head = format!("PUT {path} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("sent");
        let chunk = [b"10000\r\n".as_slice(), &[b'['; 0x10000], b"\r\n"].concat();
        let taken = (0..1024)
            .take_while(|_| stream.write_all(&chunk).is_ok())
            .count();
        assert!(taken < 1024, "{path}: 64 MiB were taken");
        if let Some(answer) = read_to_close(&mut stream).as_deref().and_then(parse) {
            assert!(matches!(answer.status, 400..=499), "{path}: {answer:?}");
        }
        // A body that is announced too large is refused unread.
        let head =
            format!("PUT {path} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000000000\r\n\r\n");
        let answer = answer_to(http, path, head.as_bytes());
        assert!(matches!(answer.status, 400..=499), "{path}: {answer:?}");
    }
    // A snapshot that never ends and is none.
    let mut stream = connect(http);
    stream
        .write_all(b"PUT /v1/snapshot HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        .expect("sent");
    let noise = Random(3).bytes(0x10000);
    let chunk = [b"10000\r\n".as_slice(), &noise, b"\r\n"].concat();
    let taken = (0..1024)
        .take_while(|_| stream.write_all(&chunk).is_ok())
        .count();
    assert!(taken < 1024, "64 MiB of no snapshot were taken");
    drop(stream);
    target.survives("bodies without end");
}

#[test]
fn slow_heads_are_cut_off_while_others_are_served() {
    let target = Target::new();
    let http = target.agent.http;
    let mut slow: Vec<_> = (0..150)
        .map(|n| {
            let mut stream = connect(http);
            let part = b"GET /v1/status/leader HTTP/1.1\r\nHost: h\r\nX: ";
            stream
                .write_all(&part[..part.len() - n % 20])
                .expect("sent");
            stream
        })
        .collect();
    let started = Instant::now();
    let mut idle = connect(http);
    // The limit is 30 s, looked at every 5.
    let limit = Duration::from_secs(45);
    let mut tick = Instant::now();
    while !slow.is_empty() {
        assert!(
            started.elapsed() < limit,
            "{} slow heads are still open",
            slow.len()
        );
        let asked = Instant::now();
        assert_eq!(target.agent.get("/v1/status/leader").status, 200);
        assert!(asked.elapsed() < Duration::from_secs(5), "others wait");
        // One byte a second each does not help.
        let drip = tick.elapsed() > Duration::from_secs(1);
        if drip {
            tick = Instant::now();
        }
        slow.retain_mut(|stream| {
            stream.set_nonblocking(true).expect("set");
            if drip && stream.write_all(b"y").is_err() {
                return false;
            }
            let mut byte = [0u8; 256];
            matches!(stream.read(&mut byte), Err(err) if err.kind() == ErrorKind::WouldBlock)
        });
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(started.elapsed() > Duration::from_secs(20), "cut too early");
    // A connection that said nothing is no slow head.
    idle.write_all(&request("GET /v1/status/leader HTTP/1.1", "", b""))
        .expect("open");
    let answer = read_to_close(&mut idle).as_deref().and_then(parse);
    assert_eq!(answer.expect("an answer").status, 200);
    target.survives("slow heads");
}

#[test]
fn pipelined_requests_are_answered_in_order_and_floods_of_connections_are_bounded() {
    let target = Target::new();
    let http = target.agent.http;
    let mut all = Vec::new();
    for n in 0..1000 {
        all.extend(
            format!("PUT /v1/kv/p HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n{n:04}").bytes(),
        );
        all.extend(b"GET /v1/kv/p?raw HTTP/1.1\r\nHost: h\r\n\r\n");
    }
    all.extend(request("GET /v1/status/leader HTTP/1.1", "", b""));
    let mut stream = connect(http);
    let mut sender = stream.try_clone().expect("a second handle");
    let sending = std::thread::spawn(move || sender.write_all(&all));
    let answers = read_to_close(&mut stream).expect("closed at the end");
    sending.join().expect("no panic").expect("sent");
    let text = String::from_utf8_lossy(&answers);
    assert_eq!(text.matches("HTTP/1.1 200 OK").count(), 2001);
    let mut at = 0;
    for n in 0..1000 {
        let value = format!("\r\n\r\n{n:04}");
        let found = text[at..].find(&value);
        at += found.unwrap_or_else(|| panic!("{n:04} is missing or out of order"));
    }

    // 200 connections of one address are kept, later ones are closed; when they go, all is as before.
    let held: Vec<_> = (0..300).map(|_| connect(http)).collect();
    let mut open = 0;
    for mut stream in held {
        stream
            .set_read_timeout(Some(Duration::from_millis(1)))
            .expect("a timeout");
        let mut byte = [0u8];
        open += usize::from(
            matches!(stream.read(&mut byte), Err(err) if err.kind() == ErrorKind::WouldBlock),
        );
    }
    assert!(open <= 300);
    wait_until("places to be free again", || {
        common::try_request(http, "GET", "/v1/status/leader", b"").is_ok()
    });
    target.survives("floods");
}

#[test]
fn dns_packets_of_any_kind_leave_the_server_answering() {
    let target = Target::new();
    let dns_addr = target.agent.dns;
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(dns_addr).expect("connected");
    socket.set_nonblocking(true).expect("set");
    let mut random = Random(42);
    let valid = dns::question(1, "_web._tcp.service.dc1.consul", dns::SRV);
    let mut drained = [0u8; 65_536];
    for n in 0..10_000u64 {
        let packet = match n % 4 {
            0 => {
                let size = (random.next() % 600) as usize;
                random.bytes(size)
            }
            // A good question with some bytes changed.
            1 => {
                let mut packet = valid.clone();
                for _ in 0..=random.next() % 4 {
                    let at = random.next() as usize % packet.len();
                    packet[at] = random.next() as u8;
                }
                packet
            }
            2 => valid[..random.next() as usize % valid.len()].to_vec(),
            // A head that promises much.
            _ => {
                let mut packet = random.bytes(12);
                packet[2] &= 0x7f;
                let size = (random.next() % 100) as usize;
                packet.extend(random.bytes(size));
                packet
            }
        };
        let _ = socket.send(&packet);
        while let Ok(size) = socket.recv(&mut drained) {
            assert!(size >= 12, "an answer of {size} bytes");
        }
    }
    for packet in special_packets() {
        let _ = socket.send(&packet);
    }
    let _ = socket.send(&vec![0xff; 65_507]);
    target.survives("UDP");

    // Over TCP: lengths that lie, and every special packet.
    let framed = |packet: &[u8]| [&(packet.len() as u16).to_be_bytes(), packet].concat();
    let mut streams: Vec<Vec<u8>> = special_packets().iter().map(|p| framed(p)).collect();
    streams.push(vec![]);
    streams.push(vec![0]);
    streams.push(vec![0, 0, 0, 0, 0, 0]);
    streams.push([&[0xff, 0xff], valid.as_slice()].concat());
    streams.push([&[0, 5], valid.as_slice()].concat());
    streams.push(framed(&random.bytes(65_535)));
    streams.push(random.bytes(200_000));
    streams.push(framed(&valid).repeat(5000));
    for (n, bytes) in streams.iter().enumerate() {
        assert!(attack(dns_addr, bytes).is_some(), "TCP case {n} hangs");
    }
    // Slow and idle connections do not keep others out.
    let held: Vec<_> = (0..300)
        .map(|n| {
            let mut stream = connect(dns_addr);
            let part = [[0xff, 0xff].as_slice(), &valid].concat();
            let _ = stream.write_all(&part[..n % part.len()]);
            stream
        })
        .collect();
    let answer =
        attack(dns_addr, &framed(&dns::question(9, "consul", dns::SOA))).expect("an answer");
    let answer = dns::parse(&answer[2..]).expect("well-formed");
    assert_eq!(
        (answer.code, answer.records),
        (dns::OK, vec![dns::Record::Other(dns::SOA)])
    );
    // They are thrown out in time.
    for mut stream in held {
        assert!(
            read_to_close(&mut stream).is_some(),
            "a slow connection stays open"
        );
    }
    target.survives("TCP");
}

/// Loops, forward pointers, long names, counts without records.
fn special_packets() -> Vec<Vec<u8>> {
    let head = |counts: [u8; 8]| [[0, 1, 1, 0].as_slice(), &counts].concat();
    let one = head([0, 1, 0, 0, 0, 0, 0, 0]);
    let tail = [0, 1, 0, 1];
    let name = |name: &[u8]| [&one, name, &tail].concat();
    vec![
        name(&[0xc0, 12]),
        name(&[0xc0, 14, 0xc0, 12]),
        name(&[1, b'a', 0xc0, 12]),
        name(&[0xff, 0xff]),
        name(&[0xc0]),
        name(&[63]),
        name(&[64, b'a', 0]),
        name(&[0x80, 1, 0]),
        name(&[[63u8].as_slice(), &[b'a'; 63]].concat().repeat(5)),
        name(&[&[1u8, b'a'].repeat(127)[..], &[0]].concat()),
        name(&[&[1u8, b'a'].repeat(128)[..], &[0]].concat()),
        name(&[1, 0, 1, 0xff, 6, b'c', b'o', b'n', b's', b'u', b'l', 0]),
        head([0xff; 8]),
        [
            head([0, 1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
            vec![0, 0, 1, 0, 1],
        ]
        .concat(),
        [
            head([0xff, 0xff, 0, 0, 0, 0, 0, 0]),
            [0, 0, 1, 0, 1].repeat(1000),
        ]
        .concat(),
        // EDNS: a size of zero, options that lie, two of them.
        [
            head([0, 1, 0, 0, 0, 0, 0, 1]),
            vec![0, 0, 1, 0, 1, 0, 0, 41, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat(),
        [
            head([0, 1, 0, 0, 0, 0, 0, 1]),
            vec![0, 0, 1, 0, 1, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0xff, 0xff],
        ]
        .concat(),
        [
            head([0, 1, 0, 0, 0, 0, 0, 1]),
            vec![
                0, 0, 1, 0, 1, 0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 8, 0, 8, 0xff, 0xff, 0, 1, 255, 255,
            ],
        ]
        .concat(),
    ]
}

/// One call on the server port.
fn rpc_serves(addr: SocketAddr) -> bool {
    let mut call = vec![0u8, 0x82, 0xad];
    call.extend(b"ServiceMethod");
    call.push(0xad);
    call.extend(b"Status.Leader");
    call.extend([0xa3, b'S', b'e', b'q', 1, 0x80]);
    let answer = attack(addr, &call);
    answer.is_some_and(|bytes| bytes.windows(10).any(|w| w == b"127.0.0.1:"))
}

#[test]
fn the_server_port_closes_on_what_it_does_not_speak() {
    let target = Target::new();
    let rpc = target.agent.rpc;
    assert!(rpc_serves(rpc));
    for first in 1..=255u8 {
        let answer = attack(rpc, &[&[first], [0u8; 64].as_slice()].concat());
        assert!(answer.is_some(), "first byte {first} hangs");
    }
    target.survives("first bytes");

    let huge = [0xff; 4];
    let header = {
        let mut call = vec![0u8, 0x82, 0xad];
        call.extend(b"ServiceMethod");
        call.push(0xad);
        call.extend(b"Status.Leader");
        call.extend([0xa3, b'S', b'e', b'q', 1]);
        call
    };
    let mut cases: Vec<Vec<u8>> = Vec::new();
    // Arrays, maps, strings and bytes of four billion, in place of the header and of the body.
    for kind in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        cases.push([[0u8, kind].as_slice(), &huge].concat());
        cases.push([[0u8, kind].as_slice(), &huge, &[0x91; 100_000]].concat());
        cases.push([header.as_slice(), &[kind], &huge, &[0x91; 100_000]].concat());
    }
    cases.push([[0u8].as_slice(), &[0x91; 3_000_000]].concat());
    cases.push([header.as_slice(), &[0x91; 3_000_000]].concat());
    cases.push([header.as_slice(), &[0xc1]].concat());
    cases.push(header.clone());
    cases.push([header.as_slice(), &header[1..], &header[1..]].concat());
    cases.push([[0u8].as_slice(), &Random(5).bytes(100_000)].concat());
    for (n, bytes) in cases.iter().enumerate() {
        assert!(attack(rpc, bytes).is_some(), "case {n} hangs");
    }
    target.survives("lengths that lie");

    // A body that never ends: bytes of four billion, sent as long as they are taken.
    let mut stream = connect(rpc);
    stream
        .write_all(&[header.as_slice(), &[0xc6], &huge].concat())
        .expect("sent");
    let piece = vec![0u8; 1024 * 1024];
    let taken = (0..256)
        .take_while(|_| stream.write_all(&piece).is_ok())
        .count();
    assert!(taken < 256, "256 MiB were taken");
    drop(stream);
    target.survives("a body without end");

    // Half-open connections: those without a first byte go in time, and others are served meanwhile.
    let mut silent: Vec<_> = (0..90).map(|_| connect(rpc)).collect();
    assert!(rpc_serves(rpc));
    for stream in &mut silent {
        assert_eq!(
            read_to_close(stream).as_deref(),
            Some([].as_slice()),
            "a silent connection stays open"
        );
    }
    target.survives("half-open connections");
}

#[test]
fn configuration_files_of_any_kind_get_an_error_and_no_agent() {
    let dir = tempfile::tempdir().expect("a folder");
    let deep = |open: &str, middle: &str, close: &str| {
        format!("{}{middle}{}", open.repeat(100_000), close.repeat(100_000)).into_bytes()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("lists.hcl", [b"a = ".to_vec(), deep("[", "", "]")].concat()),
        ("blocks.hcl", deep("a { ", "", "}")),
        (
            "objects.hcl",
            [b"a = ".to_vec(), deep("{ a = ", "1", "}")].concat(),
        ),
        (
            "lists.json",
            [b"{\"a\": ".to_vec(), deep("[", "", "]"), b"}".to_vec()].concat(),
        ),
        ("objects.json", deep("{\"a\":", "1", "}")),
        (
            "open-lists.hcl",
            [b"a = ".to_vec(), b"[".repeat(1_000_000)].concat(),
        ),
        ("string.hcl", b"node_name = \"abc".to_vec()),
        (
            "interpolation.hcl",
            [b"node_name = \"".to_vec(), b"${".repeat(100_000)].concat(),
        ),
        ("heredoc.hcl", b"node_name = <<EOF\nabc\n".to_vec()),
        ("heredoc-empty.hcl", b"node_name = <<".to_vec()),
        ("comment.hcl", b"/* node_name = 1".to_vec()),
        ("string.json", b"{\"node_name\": \"abc".to_vec()),
        ("escape.json", b"{\"node_name\": \"\\ud800\\u00\"}".to_vec()),
        ("binary.hcl", Random(11).bytes(100_000)),
        ("binary.json", Random(12).bytes(100_000)),
        ("utf8.hcl", b"node_name = \"\xff\xfe\"\xc0".to_vec()),
        ("nul.hcl", b"node_name = \"a\0\"\0".to_vec()),
        (
            "number.hcl",
            [
                b"ports { http = ".to_vec(),
                b"9".repeat(100_000),
                b" }".to_vec(),
            ]
            .concat(),
        ),
        ("number.json", b"{\"ports\": {\"http\": 1e999999}}".to_vec()),
        (
            "long.hcl",
            [
                b"client_addr = \"".to_vec(),
                vec![b'a'; 10_000_000],
                b"\"".to_vec(),
            ]
            .concat(),
        ),
        (
            "long.json",
            [
                b"{\"nonsense\": [".to_vec(),
                b"1,".repeat(5_000_000),
                b"1]}".to_vec(),
            ]
            .concat(),
        ),
        ("many.hcl", b"nonsense { a = 1 }\n".repeat(200_000)),
        (
            "address.hcl",
            b"bind_addr = \"{{ GetPrivateInterfaces | | }}\"".to_vec(),
        ),
        (
            "address-deep.hcl",
            [
                b"bind_addr = \"{{ ".to_vec(),
                b"(".repeat(100_000),
                b" }}\"".to_vec(),
            ]
            .concat(),
        ),
        (
            "duration.hcl",
            b"session_ttl_min = \"99999999999999999h\"".to_vec(),
        ),
    ];
    for (name, bytes) in &cases {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        for command in ["validate", "agent"] {
            // Room for the process and some copies of the file, not for memory without bound.
            let mut limited = std::process::Command::new("sh");
            limited
                .args(["-c", "ulimit -v 2000000; exec \"$@\"", "sh"])
                .arg(Agent::binary())
                .arg(command);
            if command == "agent" {
                limited.arg(format!("-data-dir={}", dir.path().join("data").display()));
                limited.arg("-server");
                // One that starts is a fault, but no trouble for others.
                for name in ["http", "dns", "serf-lan", "serf-wan", "server"] {
                    limited.arg(format!("-{name}-port={}", free_port()));
                }
                limited.arg("-config-file");
            }
            limited.arg(&path);
            let started = Instant::now();
            let (code, out, err) = run(limited);
            assert_eq!(code, Some(1), "{command} {name}: {out:.500}{err:.500}");
            let told = format!("{out}{err}");
            assert!(
                !told.contains("panicked") && !told.contains("overflow"),
                "{command} {name}: {told:.500}"
            );
            assert!(told.len() > 10, "{command} {name} says nothing");
            assert!(
                told.len() < 3 * bytes.len() + 64 * 1024,
                "{command} {name}: {} bytes of error",
                told.len()
            );
            assert!(
                started.elapsed() < PATIENCE,
                "{command} {name} took {:?}",
                started.elapsed()
            );
        }
    }
}
