//! Hostile bytes on the server port of a cluster's members, behind every first byte, the servers' own protocol included: the
//! cluster keeps its leader and its data, memory is bounded, connections are closed, nothing panics, and the log says why
//! without a flood. What single servers do with broken calls is tested in `hostile`.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use common::datacenter::{leader, three_servers, voters};
use common::pool::{Kind, Node, on_all};

/// What resident memory may have grown by, at its peak, over all attacks of a test. The debug binary runs on the system's
/// allocator, which keeps some of what it once had.
const GROWN_KIB_MAX: u64 = 160 * 1024;
/// Lines of the log that a kind of attack may cause on one server.
const LINES_MAX: usize = 60;
/// A close must come within this: the time for the first bytes of a connection is 5 s, the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(40);

const RAFT_OF_CONSUL: u8 = 0x01;
const CALLS: u8 = 0x00;
const YAMUX: u8 = 0x04;
const SNAPSHOT: u8 = 0x05;
const PEERS: u8 = 0x54;

/// A cluster under attack.
struct Target {
    servers: Vec<Node>,
    leader: usize,
    before: Vec<(u64, usize)>,
    round: u32,
}

impl Target {
    fn new() -> Target {
        let servers = three_servers(&Kind::Tribune, "");
        for server in &servers {
            for _ in 0..5 {
                server.put("/v1/kv/warm", &"x".repeat(400 * 1024));
                server.json("/v1/catalog/nodes");
            }
        }
        let leader = leader(&servers[0], &servers);
        let before = { servers.iter() }
            .map(|server| (peak_kib(server), server.log().lines().count()))
            .collect();
        Target {
            servers,
            leader,
            before,
            round: 0,
        }
    }

    /// Where leader and a follower listen: both are attacked.
    fn doors(&self) -> [(SocketAddr, [u8; 16]); 2] {
        [self.leader, (self.leader + 1) % 3].map(|at| {
            let server = &self.servers[at];
            let id = std::fs::read_to_string(server.data("node-id")).expect("an identity");
            let digits: Vec<u8> = { id.bytes() }
                .filter_map(|byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
                .collect();
            let mut bytes = [0; 16];
            for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
                *byte = pair[0] << 4 | pair[1];
            }
            ((server.ip, 8300).into(), bytes)
        })
    }

    /// After an attack: the same leader, the same voters, every server writes and reads, and nothing grew without bound.
    fn survives(&mut self, what: &str) {
        self.round += 1;
        for (server, (peak, lines)) in self.servers.iter().zip(&mut self.before) {
            let key = format!("/v1/kv/alive/{}", self.round);
            assert_eq!(server.put(&key, what).text().trim(), "true", "{what}");
            assert_eq!(
                server
                    .request("GET", &format!("{key}?raw&consistent"), b"")
                    .text(),
                what
            );
            assert_eq!(voters(server), 3, "{what}");
            let log = server.log();
            assert!(!log.contains("panicked"), "{what}:\n{log}");
            let (now, count) = (peak_kib(server), log.lines().count());
            println!(
                "{what}: {} of {peak} KiB at most, {} lines",
                server.name,
                count - *lines
            );
            assert!(
                now < *peak + GROWN_KIB_MAX,
                "{what}: {peak} KiB before, {now} at most"
            );
            // Gossip and its own work write some, too.
            let said = log
                .lines()
                .skip(*lines)
                .filter(|line| line.contains("[WARN]") || line.contains("[ERROR]"))
                .count();
            assert!(said < LINES_MAX, "{what}: {said} lines of trouble\n{log}");
            *lines = count;
        }
        assert_eq!(
            leader(&self.servers[0], &self.servers),
            self.leader,
            "{what} cost the leader"
        );
    }
}

fn peak_kib(node: &Node) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()))
        .unwrap_or_else(|err| panic!("{err}; log:\n{}", node.log()));
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("no peak in:\n{status}"))
}

fn connect(addr: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    stream
}

/// What the other side said until it closed. `None`: it neither says anything nor closes.
fn read_to_close(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut answer = Vec::new();
    let mut buffer = [0u8; 65_536];
    let began = Instant::now();
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
        if began.elapsed() > PATIENCE {
            return None;
        }
    }
}

/// Sends, and waits for the close without closing first.
fn is_closed(addr: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = connect(addr);
    let _ = stream.write_all(bytes);
    read_to_close(&mut stream)
}

/// Sends, says that there is no more, and waits for the close.
fn is_closed_after_the_end(addr: SocketAddr, bytes: &[u8]) -> Option<Vec<u8>> {
    let mut stream = connect(addr);
    let _ = stream.write_all(bytes);
    let _ = stream.shutdown(Shutdown::Write);
    read_to_close(&mut stream)
}

/// Seeded bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = (self.0.wrapping_mul(6_364_136_223_846_793_005))
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }

    fn bytes(&mut self, size: usize) -> Vec<u8> {
        (0..size).map(|_| self.next() as u8).collect()
    }
}

/// How a server would greet another; the first byte of the port is the first of these.
fn hello(purpose: u8, target: [u8; 16]) -> Vec<u8> {
    [b"TRIB".as_slice(), &[1, purpose], &[7; 16], &target].concat()
}

fn frame(length: u32, sequence: u64, kind: u8) -> Vec<u8> {
    [
        length.to_be_bytes().as_slice(),
        &sequence.to_be_bytes(),
        &[kind],
    ]
    .concat()
}

#[test]
fn strangers_that_speak_as_peers_are_refused_or_thrown_out() {
    let mut target = Target::new();
    let mut random = Random(1);
    for (addr, id) in target.doors() {
        assert_eq!(PEERS, hello(1, id)[0]);
        // Greetings cut short, and wrong ones.
        for size in 1..hello(1, id).len() {
            assert!(
                is_closed_after_the_end(addr, &hello(1, id)[..size]).is_some(),
                "{size} bytes of a greeting hang"
            );
        }
        let changed = |at: usize, byte: u8| {
            let mut bytes = hello(1, id);
            bytes[at] = byte;
            bytes
        };
        let mut wrong = vec![
            hello(1, [0; 16]),
            hello(2, [0xff; 16]),
            [b"T".as_slice(), &random.bytes(1000)].concat(),
        ];
        wrong.extend([0, 2, 255].map(|version| changed(4, version)));
        wrong.extend([0, 4, 255].map(|purpose| changed(5, purpose)));
        wrong.extend([1, 2, 3].map(|at| changed(at, b'x')));
        for bytes in &wrong {
            let Some(answer) = is_closed(addr, bytes) else {
                panic!("a wrong greeting hangs: {bytes:?}");
            };
            assert!(answer.is_empty() || answer[5] != 0, "welcome: {bytes:?}");
        }
    }
    target.survives("greetings");

    for (addr, id) in target.doors() {
        // Welcome, and then nonsense: one frame each.
        let calls = [
            frame(u32::MAX, 1, 1),
            frame((64 << 20) + 1, 1, 1),
            frame(0, 0, 1),
            frame(0, 2, 1),
            frame(0, u64::MAX, 1),
            frame(0, 1, 0),
            frame(0, 1, 7),
            frame(0, 1, 255),
            frame(0, 1, 2),
            frame(0, 1, 5),
            frame(0, 1, 6),
            frame(1, 1, 3),
            frame(u32::MAX, 1, 4),
            random.bytes(10_000),
        ];
        for bytes in calls {
            let closed = is_closed(addr, &[hello(1, id), bytes.clone()].concat());
            assert!(closed.is_some(), "hangs after {:?}", &bytes[..13]);
        }
        let call = |call: &[u8]| [frame(call.len() as u32, 1, 1), call.to_vec()].concat();
        let rpc = [
            frame((256 << 10) + 1, 1, 1),
            frame(0, 0, 1),
            frame(0, 2, 1),
            frame(0, 1, 5),
            frame(0, 1, 2),
            call(b""),
            call(b"\x00\xffKVS.Get\x80"),
            call(b"\x00\x07KVS.Get"),
            call(b"\x00\x07KVS.Get\x80\x80"),
            call(b"\x00\x07KVS.Get\xdf\xff\xff\xff\xff"),
            call(b"\x02\x07KVS.Get\x80"),
            call(b"\x00\x02\xff\xfe\x80"),
            random.bytes(10_000),
        ];
        for bytes in rpc {
            let closed = is_closed(addr, &[hello(3, id), bytes.clone()].concat());
            assert!(closed.is_some(), "hangs after {:?}", &bytes[..13]);
        }
        let snapshots = [
            frame(u32::MAX, 0, 1),
            frame((1 << 20) + 1, 0, 1),
            frame(0, 1, 1),
            [frame(4, 0, 1), vec![1, 2, 3, 4], frame(0, 1, 5)].concat(),
            [
                frame(4, 0, 1),
                vec![1, 2, 3, 4],
                frame((256 << 10) + 1, 1, 5),
            ]
            .concat(),
            [frame(4, 0, 1), vec![1, 2, 3, 4], frame(1, 2, 5), vec![0]].concat(),
            [frame(4, 0, 1), vec![1, 2, 3, 4], frame(0, 1, 6)].concat(),
            [frame(4, 0, 1), vec![1, 2, 3, 4], frame(0, 1, 1)].concat(),
            random.bytes(10_000),
        ];
        for (n, bytes) in snapshots.iter().enumerate() {
            let closed = is_closed_after_the_end(addr, &[hello(2, id), bytes.clone()].concat());
            assert!(closed.is_some(), "snapshot {n} hangs");
        }
    }
    target.survives("frames");

    // Whole requests of every first byte that mean nothing: each is answered, or ends the connection.
    for (addr, id) in target.doors() {
        for first in 0..=255u8 {
            let mut bytes = hello(1, id);
            for (n, size) in [0usize, 1, 16, 300].into_iter().enumerate() {
                let body = [&[first], random.bytes(size).as_slice()].concat();
                bytes.extend(frame(body.len() as u32, n as u64 + 1, 1));
                bytes.extend(body);
            }
            assert!(
                is_closed_after_the_end(addr, &bytes).is_some(),
                "requests of {first} hang"
            );
        }
        // Calls of known and unknown names, with anything as their body: none ends the connection.
        let methods = ["KVS.Get", "KVS.Apply", "Catalog.Register", "Nope.Nope", ""];
        for passed_on in [0, 1] {
            let mut bytes = hello(3, id);
            for (n, method) in (1..).zip(methods) {
                let head = [passed_on, method.len() as u8];
                let call = [&head, method.as_bytes(), b"\x81\xa3Key\x07"].concat();
                bytes.extend(frame(call.len() as u32, n, 1));
                bytes.extend(call);
            }
            let answer = is_closed_after_the_end(addr, &bytes);
            assert!(answer.is_some(), "calls hang");
        }
    }
    target.survives("requests without a meaning");

    // Promises of much: memory is taken for what arrives.
    for (addr, id) in target.doors() {
        let mut held = Vec::new();
        for _ in 0..60 {
            let mut stream = connect(addr);
            let promise = [hello(1, id), frame(64 << 20, 1, 1), vec![0; 1000]].concat();
            let _ = stream.write_all(&promise);
            held.push(stream);
            let mut stream = connect(addr);
            let promise = [hello(3, id), frame(256 << 10, 1, 1), vec![0; 1000]].concat();
            let _ = stream.write_all(&promise);
            held.push(stream);
        }
        // Pings whose answers nobody reads.
        let mut deaf = connect(addr);
        deaf.set_write_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        let _ = deaf.write_all(&hello(1, id));
        let pings = frame(0, 1, 3).repeat(10_000);
        let sent = (0..200)
            .take_while(|_| deaf.write_all(&pings).is_ok())
            .count();
        println!("{} pings were taken", sent * 10_000);
    }
    target.survives("promises");
}

#[test]
fn broken_multiplexing_ends_its_connection_alone() {
    let mut target = Target::new();
    let mut random = Random(2);
    let header = |version: u8, kind: u8, flags: u16, stream: u32, length: u32| {
        [
            &[version, kind],
            flags.to_be_bytes().as_slice(),
            &stream.to_be_bytes(),
            &length.to_be_bytes(),
        ]
        .concat()
    };
    const SYN: u16 = 1;
    const DATA: u8 = 0;
    const WINDOW: u8 = 1;
    const PING: u8 = 2;
    const GO_AWAY: u8 = 3;
    for (addr, _) in target.doors() {
        // What cannot be understood is answered by closing.
        for bytes in [
            header(1, DATA, SYN, 1, 0),
            header(255, DATA, SYN, 1, 0),
            header(0, 4, 0, 1, 0),
            header(0, 255, 0xffff, u32::MAX, u32::MAX),
            header(0, DATA, SYN, 1, u32::MAX),
            [
                header(0, WINDOW, SYN, 1, 0),
                header(0, DATA, 0, 1, 0x7fff_ffff),
            ]
            .concat(),
            [header(0, WINDOW, SYN, 1, 0), header(0, WINDOW, SYN, 1, 0)].concat(),
            random.bytes(10_000),
        ] {
            let closed = is_closed(addr, &[[YAMUX].as_slice(), &bytes].concat());
            assert!(closed.is_some(), "hangs after {:?}", &bytes[..12]);
        }
        // What is merely odd must not hurt: it ends with the connection.
        let odd = [
            header(0, DATA, 0, 77, 4),
            header(0, WINDOW, SYN, 2, 0),
            header(0, WINDOW, SYN, 0, 0),
            header(0, WINDOW, 0, 1, u32::MAX).repeat(1000),
            [
                header(0, WINDOW, SYN, 1, 0),
                header(0, WINDOW, 0, 1, u32::MAX).repeat(1000),
            ]
            .concat(),
            header(0, PING, SYN, 0, 1).repeat(10_000),
            header(0, PING, 2, 0, 12_345).repeat(1000),
            header(0, GO_AWAY, 0, 0, 99),
            header(0, DATA, 4, 5, 0).repeat(1000),
        ];
        for (n, bytes) in odd.iter().enumerate() {
            let closed = is_closed_after_the_end(addr, &[[YAMUX].as_slice(), bytes].concat());
            assert!(closed.is_some(), "odd case {n} hangs");
        }
        // Streams without end, each with the beginning of a call; garbage in each.
        let mut many = vec![YAMUX];
        for n in 0..20_000u32 {
            many.extend(header(0, WINDOW, SYN, n * 2 + 1, 0));
            many.extend(header(0, DATA, 0, n * 2 + 1, 3));
            many.extend([0x82, 0xad, b'S']);
        }
        assert!(
            is_closed_after_the_end(addr, &many).is_some(),
            "20,000 streams hang"
        );
        let mut calls = vec![YAMUX];
        for n in 0..200u32 {
            let body = match n % 3 {
                // Lengths that lie, in place of the header.
                0 => [[0xdf, 0xff, 0xff, 0xff, 0xff].as_slice(), &[0x91; 1000]].concat(),
                1 => [
                    [0x82].as_slice(),
                    &[0xdb, 0xff, 0xff, 0xff, 0xff],
                    &[0x91; 1000],
                ]
                .concat(),
                _ => random.bytes(1000),
            };
            calls.extend(header(0, WINDOW, SYN, n * 2 + 1, 0));
            calls.extend(header(0, DATA, 0, n * 2 + 1, body.len() as u32));
            calls.extend(body);
        }
        assert!(
            is_closed_after_the_end(addr, &calls).is_some(),
            "200 broken calls hang"
        );
        // Pings whose answers nobody reads.
        let mut deaf = connect(addr);
        deaf.set_write_timeout(Some(Duration::from_secs(2)))
            .expect("a timeout");
        let _ = deaf.write_all(&[YAMUX]);
        let pings = header(0, PING, SYN, 0, 1).repeat(10_000);
        let taken = (0..1000)
            .take_while(|_| deaf.write_all(&pings).is_ok())
            .count();
        println!("{} pings were taken", taken * 10_000);
    }
    target.survives("multiplexing");
}

#[test]
fn the_raft_of_consul_is_refused_with_a_word_in_the_log() {
    let mut target = Target::new();
    for (addr, _) in target.doors() {
        for _ in 0..50 {
            let vote = [[RAFT_OF_CONSUL, 1].as_slice(), &[0x85; 200]].concat();
            assert_eq!(is_closed(addr, &vote).as_deref(), Some([].as_slice()));
        }
    }
    for at in [target.leader, (target.leader + 1) % 3] {
        let log = target.servers[at].log();
        let said = log
            .lines()
            .filter(|line| line.contains("[WARN]") && line.contains("raft of a Consul server"))
            .count();
        assert!((1..5).contains(&said), "{said} words:\n{log}");
    }
    target.survives("the Raft of Consul");
}

#[test]
fn silent_and_slow_strangers_are_thrown_out_and_hold_up_nobody() {
    let mut target = Target::new();
    // Half-open: nothing at all, a part of a greeting, a part of a snapshot's request. All are closed in time.
    for (addr, id) in target.doors() {
        let greeting = hello(1, id);
        let starts: [&[u8]; 3] = [b"", &greeting[..20], &greeting[..1]];
        let mut held: Vec<TcpStream> = Vec::new();
        for start in starts {
            for _ in 0..25 {
                let mut stream = connect(addr);
                let _ = stream.write_all(start);
                held.push(stream);
            }
        }
        let asked = Instant::now();
        for server in &target.servers {
            assert_eq!(
                server.request("GET", "/v1/kv/warm?consistent", b"").status,
                200
            );
        }
        assert!(
            asked.elapsed() < Duration::from_secs(5),
            "others wait: {:?}",
            asked.elapsed()
        );
        for stream in &mut held {
            assert!(
                read_to_close(stream).is_some(),
                "a half-open connection stays"
            );
        }
    }
    target.survives("half-open connections");

    // One byte after the other: those that are not yet known are cut off, the others hold up nobody.
    for (addr, id) in target.doors() {
        let mut slow: Vec<(TcpStream, Vec<u8>)> = Vec::new();
        for n in 0..40 {
            let bytes = match n % 4 {
                0 => hello(1, id),
                1 => [[CALLS].as_slice(), &[0x82; 100]].concat(),
                2 => [[SNAPSHOT].as_slice(), &[0x84, 0xaa], b"AllowStale", &[0xc2]].concat(),
                _ => [[YAMUX].as_slice(), &[0; 100]].concat(),
            };
            slow.push((connect(addr), bytes));
        }
        for at in 0..8 {
            for (stream, bytes) in &mut slow {
                let _ = stream.write_all(&bytes[at..=at]);
            }
            let asked = Instant::now();
            let answer =
                target.servers[target.leader].request("GET", "/v1/kv/warm?consistent", b"");
            assert_eq!(answer.status, 200);
            assert!(
                asked.elapsed() < Duration::from_secs(2),
                "others wait: {:?}",
                asked.elapsed()
            );
            std::thread::sleep(Duration::from_millis(800));
        }
        // A greeting takes five seconds at most.
        for (stream, _) in slow.iter_mut().step_by(4) {
            assert!(read_to_close(stream).is_some(), "a slow greeting stays");
        }
    }
    target.survives("slow senders");
}

#[test]
fn snapshots_that_are_none_leave_the_data() {
    let mut target = Target::new();
    let mut random = Random(3);
    let mut request = vec![SNAPSHOT, 0x84, 0xaa];
    request.extend(b"AllowStale");
    request.extend([0xc2, 0xaa]);
    request.extend(b"Datacenter");
    request.extend([0xa3]);
    request.extend(b"dc1");
    request.extend([0xa2]);
    request.extend(b"Op");
    request.extend([1, 0xa5]);
    request.extend(b"Token");
    request.push(0xa0);
    for (addr, _) in target.doors() {
        for bytes in [
            vec![SNAPSHOT],
            vec![SNAPSHOT, 0xdf, 0xff, 0xff, 0xff, 0xff],
            [[SNAPSHOT].as_slice(), &[0x91; 2_000_000]].concat(),
            request[..10].to_vec(),
            request.clone(),
            [request.clone(), random.bytes(1_000_000)].concat(),
            [request.clone(), vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3]].concat(),
        ] {
            assert!(
                is_closed_after_the_end(addr, &bytes).is_some(),
                "{} bytes hang",
                bytes.len()
            );
        }
        // One that never ends.
        let mut stream = connect(addr);
        let _ = stream.write_all(&request);
        let piece = random.bytes(1 << 16);
        let began = Instant::now();
        while stream.write_all(&piece).is_ok() {
            assert!(began.elapsed() < PATIENCE, "nothing is taken for ever");
        }
    }
    target.survives("snapshots");
    let all: Vec<&Node> = target.servers.iter().collect();
    on_all(&all, "the data", |server| {
        server.request("GET", "/v1/kv/warm?raw", b"").body.len() == 400 * 1024
    });
}
