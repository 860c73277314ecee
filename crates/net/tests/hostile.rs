//! Hostile bytes on the server port: connections close, memory stays, others are served.
//!
//! Offered is always many times of what may be held. The port runs in this process, so its memory is ours.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use support::{Echo, THEM, US};
use tribune_net::{NetOptions, PeerHandler};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_wire::rpc::write_request_header;

/// An answer or a close must come within this.
const PATIENCE: Duration = Duration::from_secs(40);
/// What resident memory may grow by where little is to be held.
const LITTLE_KIB: u64 = 48 << 10;

/// A port under attack.
struct Port {
    env: Env,
    addr: SocketAddr,
    _group: TaskGroup,
}

fn port(ip: &str, change: impl FnOnce(&mut NetOptions)) -> Port {
    let env = Env::ambient().unwrap();
    let group = env.group(&CancellationToken::new());
    let mut options = NetOptions {
        peers: Some(Echo::new(US) as Arc<dyn PeerHandler>),
        ..NetOptions::new(format!("{ip}:0").parse().unwrap())
    };
    change(&mut options);
    let addr = support::serve(&env, &group, options);
    Port {
        env,
        addr,
        _group: group,
    }
}

impl Port {
    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends bytes and no more; true if the other side closes.
    fn closes_on(&self, bytes: &[u8]) -> bool {
        let mut stream = self.connect();
        // It may close before it has everything.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        closes(&mut stream)
    }

    /// Others are served.
    fn serves(&self, what: &str) {
        let mut stream = self.connect();
        stream
            .write_all(&[&[0][..], &call(7, &[0xa2, b'h', b'i'])].concat())
            .unwrap();
        let mut answer = [0; 100];
        let mut len = 0;
        while !answer[..len].ends_with(&[0xa2, b'h', b'i']) {
            let more = stream.read(&mut answer[len..]).unwrap();
            assert!(more > 0, "{what}: {:?}", &answer[..len]);
            len += more;
        }
    }
}

fn closes(stream: &mut TcpStream) -> bool {
    let mut bytes = [0; 64 << 10];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(err) => return !matches!(err.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        }
    }
}

/// A call as it is sent.
fn call(seq: u64, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_request_header(&mut out, seq, "Test.Echo");
    out.extend_from_slice(body);
    out
}

/// A frame of yamux.
fn frame(version: u8, kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut out = vec![version, kind];
    out.extend(flags.to_be_bytes());
    out.extend(stream.to_be_bytes());
    out.extend(length.to_be_bytes());
    out
}

const DATA: u8 = 0;
const WINDOW: u8 = 1;
const PING: u8 = 2;
const SYN: u16 = 1;
const RST: u16 = 8;

fn data(flags: u16, stream: u32, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap();
    [&frame(0, DATA, flags, stream, length)[..], bytes].concat()
}

/// MessagePack whose lengths lie, or that goes too deep.
fn lies() -> Vec<Vec<u8>> {
    let mut lies = Vec::new();
    for kind in [0xdd, 0xdf, 0xdb, 0xc6, 0xc9] {
        let head = [kind, 0xff, 0xff, 0xff, 0xff];
        lies.push(head.to_vec());
        lies.push([&head[..], &[0x91; 100_000]].concat());
        lies.push([&head[..], &[0xa1, b'k'].repeat(50_000)].concat());
    }
    lies.push(vec![0x91; 200_000]);
    lies.push([0x81, 0xa1, b'k'].repeat(70_000));
    lies.push(vec![0xc1; 100]);
    lies
}

/// Resident memory now and at its highest, in KiB.
fn resident() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let text = line.unwrap().trim().trim_end_matches(" kB");
        text.parse().unwrap()
    };
    (of("VmRSS:"), of("VmHWM:"))
}

/// Runs an attack: the process may grow by so many KiB while it lasts. One at a time, since they share a process.
fn measured(what: &str, grown_max: u64, attack: impl FnOnce()) {
    static ONE: std::sync::Mutex<()> = std::sync::Mutex::new(());
    let _one = ONE
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner);
    // Forgets the highest mark; where that is not allowed an earlier attack may hide this one.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
    let (before, _) = resident();
    attack();
    let (now, peak) = resident();
    println!("{what}: {before} KiB before, {peak} at most, {now} now");
    assert!(
        peak < before + grown_max,
        "{what}: {before} KiB before, {peak} at most"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_bytes_of_all_kinds_close() {
    let port = port("127.44.10.1", |_| {});
    measured("first bytes", LITTLE_KIB, || {
        for first in 0..=255u8 {
            assert!(
                port.closes_on(&[&[first][..], &[0xff; 64]].concat()),
                "{first}"
            );
        }
        port.serves("first bytes");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn broken_frames_close_the_session() {
    let port = port("127.44.10.2", |_| {});
    let open = frame(0, WINDOW, SYN, 1, 0);
    // (what, bytes after the first)
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("nothing", vec![]),
        ("half a header", frame(0, WINDOW, SYN, 1, 0)[..7].to_vec()),
        ("another version", frame(1, WINDOW, SYN, 1, 0)),
        ("an unknown kind", frame(0, 4, 0, 0, 0)),
        ("stream 0", frame(0, WINDOW, SYN, 0, 0)),
        ("an even stream", frame(0, WINDOW, SYN, 2, 0)),
        ("a stream twice", [open.clone(), open.clone()].concat()),
        (
            "a window beyond 4 GiB",
            [open.clone(), frame(0, WINDOW, 0, 1, u32::MAX)].concat(),
        ),
        (
            "data beyond the window",
            [open.clone(), frame(0, DATA, 0, 1, 300 << 10)].concat(),
        ),
        (
            "data of 4 GiB",
            [open.clone(), frame(0, DATA, 0, 1, u32::MAX)].concat(),
        ),
        (
            "data of 4 GiB for nobody",
            [frame(0, DATA, 0, 9, u32::MAX), vec![7; 1 << 20]].concat(),
        ),
        ("a farewell with an error", frame(0, 3, 0, 0, 2)),
        ("a pong to nothing", frame(0, PING, 2, 0, 1)),
        ("text", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
        ("zeros", vec![0; 100_000]),
        ("ones", vec![0xff; 100_000]),
    ];
    measured("broken frames", LITTLE_KIB, || {
        for (what, bytes) in &cases {
            assert!(port.closes_on(&[&[4][..], bytes].concat()), "{what}");
        }
        port.serves("broken frames");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_frames_are_taken_or_cut_in_little_memory() {
    let port = port("127.44.10.3", |_| {});
    measured("floods of frames", LITTLE_KIB, || {
        // (what, a frame that is sent over and over, 64 MiB of them)
        for (what, one) in [
            ("pings", frame(0, PING, SYN, 0, 1)),
            ("resets of nobody", frame(0, WINDOW, RST, 9, 0)),
            ("empty data", frame(0, DATA, 0, 9, 0)),
        ] {
            let piece = one.repeat(10_000);
            let mut stream = port.connect();
            stream
                .set_write_timeout(Some(Duration::from_secs(2)))
                .unwrap();
            stream.write_all(&[4]).unwrap();
            // Answers are not read: sooner or later no more is taken.
            let _ = (0..500).try_for_each(|_| stream.write_all(&piece));
            port.serves(what);
        }
    });
    // As many as may be open, until their tasks have had a turn.
    measured("streams opened and reset", 160 << 10, || {
        let mut stream = port.connect();
        stream
            .set_write_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        stream.write_all(&[4]).unwrap();
        for id in (1..400_000).step_by(2) {
            let pair = [frame(0, WINDOW, SYN, id, 0), frame(0, WINDOW, RST, id, 0)].concat();
            if stream.write_all(&pair).is_err() {
                break;
            }
        }
        port.serves("streams opened and reset");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_an_address_are_bounded_and_cheap() {
    let port = port("127.44.10.4", |_| {});
    measured("many streams", 256 << 10, || {
        let mut held = Vec::new();
        for _ in 0..3 {
            // More than are allowed in all, each with the first byte of a message.
            let mut stream = port.connect();
            let mut reader = stream.try_clone().unwrap();
            let drain = std::thread::Builder::new().spawn(move || closes(&mut reader));
            stream.write_all(&[4]).unwrap();
            for id in (1..100_001).step_by(2) {
                let opened = data(SYN, id, &[0x82]);
                if stream.write_all(&opened).is_err() {
                    break;
                }
            }
            held.push((stream, drain.unwrap()));
        }
        // Calls directly on a connection need no stream.
        port.serves("many streams");
        for (stream, drain) in held {
            stream.shutdown(Shutdown::Both).unwrap();
            drain.join().unwrap();
        }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_lie_end_their_stream() {
    let port = port("127.44.10.5", |_| {});
    let header = &call(1, &[])[..];
    measured("lengths that lie", LITTLE_KIB, || {
        for (n, lie) in lies().iter().enumerate() {
            for message in [lie.clone(), [header, lie].concat()] {
                assert!(port.closes_on(&[&[0][..], &message].concat()), "plain {n}");
                let framed = data(SYN, 1, &message[..message.len().min(200_000)]);
                assert!(port.closes_on(&[&[4][..], &framed].concat()), "stream {n}");
                assert!(
                    port.closes_on(&[&[5][..], &message].concat()),
                    "snapshot {n}"
                );
            }
        }
        // A body that says 4 GiB and comes.
        let mut stream = port.connect();
        stream
            .write_all(&[&[0][..], header, &[0xc6, 0xff, 0xff, 0xff, 0xff]].concat())
            .unwrap();
        let piece = vec![0; 1 << 20];
        let taken = (0..256)
            .take_while(|_| stream.write_all(&piece).is_ok())
            .count();
        assert!(taken < 64, "{taken} MiB were taken");
        port.serves("lengths that lie");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_stay_incomplete_share_the_memory_of_their_address() {
    let port = port("127.44.10.6", |options| {
        options.conns_per_addr_max = 0;
        options.buffered_max = 8 << 20;
        options.buffered_per_addr_max = 32 << 20;
        options.message_timeout = Duration::from_secs(4);
    });
    // Four megabytes less one byte.
    let mut message = call(1, &[0xdb, 0, 0x3f, 0xff, 0]);
    message.resize(message.len() + 0x3f_feff, b'v');
    let streams: Vec<u8> = (0..12u32)
        .flat_map(|n| data(SYN, 2 * n + 1, &message[..256 << 10]))
        .collect();
    let (multiplexed, plain) = ([&[4][..], &streams].concat(), [&[0][..], &message].concat());
    measured("messages without end", 160 << 10, || {
        let mut held = Vec::new();
        for n in 0..120 {
            let stream = port.connect();
            stream.set_nonblocking(true).unwrap();
            // What is not taken at once is not taken for seconds: offered are about 400 MiB.
            let all = match n % 2 {
                0 => &multiplexed,
                _ => &plain,
            };
            held.push((stream, all, 0));
        }
        for _ in 0..200 {
            for (stream, all, sent) in &mut held {
                while let Ok(len @ 1..) = stream.write(&all[*sent..]) {
                    *sent += len;
                }
            }
            std::thread::yield_now();
        }
        // They are cut in time, and then others are served.
        for (stream, _, _) in &mut held {
            stream.set_nonblocking(false).unwrap();
            let _ = stream.shutdown(Shutdown::Write);
            assert!(closes(stream));
        }
        port.serves("messages without end");
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_silent_and_the_slow_are_cut_while_others_are_served() {
    let port = port("127.44.10.7", |options| {
        options.handshake_timeout = Duration::from_millis(500);
        options.message_timeout = Duration::from_millis(800);
    });
    let half = call(1, &[0xa2, b'h', b'i']);
    // What is sent, and then silence with the connection open.
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("no byte", vec![]),
        ("half a message", [&[0][..], &half[..10]].concat()),
        ("no snapshot request", vec![5]),
        ("half a snapshot request", vec![5, 0x92, 1]),
        ("no hello", b"T".to_vec()),
        ("half a hello", b"TRIB\x01\x01half".to_vec()),
    ];
    measured("the silent", LITTLE_KIB, || {
        let mut open: Vec<_> = cases
            .iter()
            .map(|(what, bytes)| {
                let mut stream = port.connect();
                stream.write_all(bytes).unwrap();
                (what, stream)
            })
            .collect();
        port.serves("the silent");
        for (what, stream) in &mut open {
            assert!(closes(stream), "{what}");
        }
    });
    // Takes no answers.
    let large = call(1, &[&[0xdb, 0, 1, 0, 0][..], &[b'v'; 0x10000]].concat());
    measured("no answers taken", LITTLE_KIB, || {
        let mut stream = port.connect();
        stream.write_all(&[0]).unwrap();
        let taken = (0..4000)
            .take_while(|_| stream.write_all(&large).is_ok())
            .count();
        assert!(taken < 4000);
        port.serves("no answers taken");
    });
}

/// Counts what is refused.
#[derive(Default)]
struct Recorder(Arc<AtomicU64>);

struct Count(Arc<AtomicU64>);

impl metrics::CounterFn for Count {
    fn increment(&self, value: u64) {
        self.0.fetch_add(value, Ordering::SeqCst);
    }

    fn absolute(&self, _value: u64) {}
}

impl metrics::Recorder for Recorder {
    fn describe_counter(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }

    fn describe_gauge(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }

    fn describe_histogram(
        &self,
        _: metrics::KeyName,
        _: Option<metrics::Unit>,
        _: metrics::SharedString,
    ) {
    }

    fn register_counter(&self, key: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Counter {
        match key.name() {
            "rpc.peer.refused" => metrics::Counter::from_arc(Arc::new(Count(Arc::clone(&self.0)))),
            _ => metrics::Counter::noop(),
        }
    }

    fn register_gauge(&self, _: &metrics::Key, _: &metrics::Metadata<'_>) -> metrics::Gauge {
        metrics::Gauge::noop()
    }

    fn register_histogram(
        &self,
        _: &metrics::Key,
        _: &metrics::Metadata<'_>,
    ) -> metrics::Histogram {
        metrics::Histogram::noop()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_are_none_are_refused_and_counted() {
    let refused = Arc::new(AtomicU64::new(0));
    metrics::set_global_recorder(Recorder(Arc::clone(&refused))).unwrap();
    let port = port("127.44.10.8", |_| {});
    let hello = |target: [u8; 16]| [&b"TRIB\x01\x01"[..], &THEM.0, &target].concat();
    let snapshot = |rest: &[u8]| [&b"TRIB\x01\x02"[..], &THEM.0, &US.0, rest].concat();
    let peer = |rest: &[u8]| [&hello(US.0), rest].concat();
    let request = |length: u32, sequence: u64, kind: u8| {
        let mut out = length.to_be_bytes().to_vec();
        out.extend(sequence.to_be_bytes());
        out.push(kind);
        out
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("bad magic", [&b"TRIX"[..], &[0; 34]].concat()),
        ("another version", [&b"TRIB\x02"[..], &[0; 33]].concat()),
        (
            "an unknown purpose",
            [&b"TRIB\x01\x07"[..], &[0; 32]].concat(),
        ),
        ("another target", hello([9; 16])),
        ("a huge length", peer(&request(u32::MAX, 1, 1))),
        ("an unknown kind", peer(&request(0, 1, 77))),
        (
            "a replay",
            peer(&[request(0, 1, 1), request(0, 1, 1)].concat()),
        ),
        ("a response to nothing", peer(&request(0, 1, 2))),
        ("a piece among calls", peer(&request(0, 1, 5))),
        ("garbage", peer(&[0x5a; 5000])),
        ("a snapshot without header", snapshot(&request(0, 1, 6))),
        (
            "a snapshot with a huge header",
            snapshot(&request(60 << 20, 0, 1)),
        ),
        (
            "a call that is none",
            [
                &b"TRIB\x01\x03"[..],
                &THEM.0,
                &US.0,
                &request(3, 1, 1),
                b"\0\x09x",
            ]
            .concat(),
        ),
    ];
    measured("peers that are none", LITTLE_KIB, || {
        for (n, (what, bytes)) in cases.iter().enumerate() {
            assert!(port.closes_on(bytes), "{what}");
            let counted = || refused.load(Ordering::SeqCst);
            for _ in 0..1000 {
                if counted() > n as u64 {
                    break;
                }
                std::thread::yield_now();
                port.serves(what);
            }
            assert_eq!(counted(), n as u64 + 1, "{what}");
        }
    });
    // Calls with bodies that wait for nothing but their last byte, on as many connections as an address may have.
    let rpc = [&b"TRIB\x01\x03"[..], &THEM.0, &US.0].concat();
    measured("calls that do not end", LITTLE_KIB, || {
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut stream = port.connect();
            let part = [&rpc[..], &request(256 << 10, 1, 1), &[7; 200_000]].concat();
            stream.write_all(&part).unwrap();
            held.push(stream);
        }
        port.serves("calls that do not end");
    });
    // Many that say 64 MiB and send a part of it.
    measured("large requests that do not come", 48 << 10, || {
        let mut held = Vec::new();
        for _ in 0..20 {
            let mut stream = port.connect();
            stream.write_all(&peer(&request(64 << 20, 1, 1))).unwrap();
            stream.write_all(&[7; 100_000]).unwrap();
            held.push(stream);
        }
        port.serves("large requests that do not come");
    });
    drop(port.env);
}
