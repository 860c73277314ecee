//! Hostile bytes on the gossip ports of a real agent, over datagrams and streams: it keeps its place in the pool, grows by
//! at most a megabyte per source, never panics, and says what it dropped without flooding its log.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use common::{Agent, wait_until};

/// Addresses that attack.
const SOURCES: u8 = 16;
/// What resident memory may grow by, at its peak, for each of them.
const GROWN_KIB_MAX: u64 = 1024;
/// Lines of the log that an attack may cause at once, and for each second that it lasts.
const LINES_MAX: usize = 200;
const LINES_PER_SEC: usize = 3;

/// A small generator, so that every run sends the same bytes.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

/// An agent under attack, and what it looked like before.
struct Target {
    agent: Agent,
    /// The port of the pool.
    gossip: SocketAddr,
    /// Its name in the pool.
    name: &'static str,
    /// Where its members are shown.
    members: &'static str,
    before_kib: u64,
    lines: usize,
    since: Instant,
}

impl Target {
    /// The LAN pool is under attack.
    fn new(hcl: &str) -> Target {
        Target::pool(hcl, Agent::lan, "node1", "/v1/agent/members")
    }

    /// The WAN pool is under attack.
    fn wan(hcl: &str) -> Target {
        Target::pool(hcl, Agent::wan, "node1.dc1", "/v1/agent/members?wan=1")
    }

    fn pool(
        hcl: &str,
        gossip: fn(&Agent) -> SocketAddr,
        name: &'static str,
        members: &'static str,
    ) -> Target {
        let agent = Agent::server(hcl);
        for _ in 0..20 {
            agent.get(members);
        }
        let gossip = gossip(&agent);
        let lines = agent.log().lines().count();
        let before_kib = agent.resident_kib();
        Target {
            agent,
            gossip,
            name,
            members,
            before_kib,
            lines,
            since: Instant::now(),
        }
    }

    /// Sends every packet from one of the sources in turn, pausing so that the agent really sees them.
    fn datagrams(&self, packets: impl Iterator<Item = Vec<u8>>) {
        let sources: Vec<UdpSocket> = (1..=SOURCES)
            .map(|n| UdpSocket::bind((Ipv4Addr::new(127, 0, 9, n), 0)).expect("a socket"))
            .collect();
        for (n, packet) in packets.enumerate() {
            let source = &sources[n % sources.len()];
            // Longer than a datagram can be is not an attack that reaches anybody.
            let _ = source.send_to(&packet[..packet.len().min(65_000)], self.gossip);
            if n % 64 == 63 {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Sends bytes on a stream, then no more, and waits for the end.
    fn stream(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.gossip).expect("a connection");
        stream
            .set_read_timeout(Some(Duration::from_secs(30)))
            .expect("a timeout");
        // The agent may close before it has read all.
        let _ = stream.write_all(bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    fn survives(&self, what: &str) {
        let agent = &self.agent;
        wait_until("the agent to answer", || {
            agent.get(self.members).status == 200
        });
        let members = agent.get(self.members).json();
        let own = members
            .as_array()
            .into_iter()
            .flatten()
            .find(|member| member["Name"] == self.name)
            .unwrap_or_else(|| panic!("{what}: not a member of its own pool: {members}"));
        assert_eq!(own["Status"], 1, "{what}");
        let log = agent.log();
        assert!(!log.contains("panicked"), "{what}:\n{log}");
        let lines = log.lines().count() - self.lines;
        let lines_max = LINES_MAX + LINES_PER_SEC * self.since.elapsed().as_secs() as usize;
        assert!(lines < lines_max, "{what}: {lines} lines of log");
        let peak = agent.resident_peak_kib();
        println!(
            "{what}: {} KiB, peak {peak}, {lines} lines",
            self.before_kib
        );
        let limit = self.before_kib + GROWN_KIB_MAX * u64::from(SOURCES);
        assert!(
            peak < limit,
            "{what}: {} KiB before, {peak} at most",
            self.before_kib
        );
    }
}

fn raw(text: &[u8]) -> Vec<u8> {
    let mut out = match text.len() {
        len @ 0..32 => vec![0xa0 | len as u8],
        len @ 32..65_536 => vec![0xda, (len >> 8) as u8, len as u8],
        len => [&[0xdb][..], &(len as u32).to_be_bytes()].concat(),
    };
    out.extend_from_slice(text);
    out
}

/// A message of the packet layer: type byte and a map.
fn message(kind: u8, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut out = vec![kind, 0x80 | fields.len() as u8];
    for (name, value) in fields {
        out.extend(raw(name.as_bytes()));
        out.extend_from_slice(value);
    }
    out
}

fn number(n: u32) -> Vec<u8> {
    [&[0xce][..], &n.to_be_bytes()].concat()
}

fn alive(name: &str, incarnation: u32, meta: &[u8]) -> Vec<u8> {
    message(
        4,
        &[
            ("Addr", raw(&[127, 0, 9, 200])),
            ("Incarnation", number(incarnation)),
            ("Meta", raw(meta)),
            ("Node", raw(name.as_bytes())),
            ("Port", vec![0xcd, 0x20, 0x6d]),
            ("Vsn", raw(&[1, 5, 2, 2, 5, 4])),
        ],
    )
}

fn accusation(kind: u8, node: &str, from: &str, incarnation: u32) -> Vec<u8> {
    message(
        kind,
        &[
            ("From", raw(from.as_bytes())),
            ("Incarnation", number(incarnation)),
            ("Node", raw(node.as_bytes())),
        ],
    )
}

fn compound(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![7, parts.len() as u8];
    for part in parts {
        out.extend((part.len() as u16).to_be_bytes());
    }
    out.extend(parts.concat());
    out
}

fn compressed(buf: &[u8]) -> Vec<u8> {
    message(9, &[("Algo", vec![0]), ("Buf", raw(buf))])
}

/// LZW of one byte repeated: after the first, every code stands for one byte more than the code before.
fn bomb(byte: u8, codes: usize) -> Vec<u8> {
    let (mut out, mut bits, mut filled) = (Vec::new(), 0u32, 0);
    let mut emit = |code: u32, width: u32| {
        bits |= code << filled;
        filled += width;
        while filled >= 8 {
            out.push(bits as u8);
            bits >>= 8;
            filled -= 8;
        }
    };
    let mut last = 257u32;
    let mut width = 9;
    emit(u32::from(byte), width);
    for _ in 0..codes {
        last += 1;
        if last == 1 << width {
            width += 1;
        }
        if last >= 4094 {
            emit(256, 12);
            (last, width) = (257, 9);
            emit(u32::from(byte), width);
        } else {
            emit(last, width);
        }
    }
    emit(257, width);
    emit(0, 7);
    out
}

/// Every type with claims of four billion bytes, entries or parts behind it.
fn claims() -> Vec<Vec<u8>> {
    let lengths: [&[u8]; 6] = [
        &[0xdf, 0xff, 0xff, 0xff, 0xff],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xdb, 0xff, 0xff, 0xff, 0xff],
        &[0xc6, 0xff, 0xff, 0xff, 0xff],
        &[0xde, 0xff, 0xff],
        &[0xda, 0xff, 0xff],
    ];
    let mut out = Vec::new();
    for kind in 0..=14u8 {
        for length in lengths {
            out.push([&[kind][..], length].concat());
            for field in ["Node", "Buf", "Payload", "Addr", "Meta", "Vsn", "Nodes"] {
                let mut packet = vec![kind, 0x81];
                packet.extend(raw(field.as_bytes()));
                packet.extend_from_slice(length);
                out.push(packet);
            }
            // The same inside of a message of the layer above.
            out.push([&[8, kind][..], length].concat());
        }
    }
    out
}

fn nested(depth: usize) -> Vec<u8> {
    (0..depth).fold(alive("deep", 1, b""), |inner, _| compound(&[inner]))
}

#[test]
fn hostile_datagrams_cost_little_and_change_nothing() {
    hostile_datagrams(&Target::new(""));
}

#[test]
fn hostile_datagrams_on_the_wan_port_likewise() {
    hostile_datagrams(&Target::wan(""));
}

fn hostile_datagrams(target: &Target) {
    let mut random = Random(1);

    let noise: Vec<Vec<u8>> = (0..20_000)
        .map(|n| {
            let len = random.below(1500);
            let mut packet = random.bytes(len);
            // Half of them with a type that exists.
            if n % 2 == 0 && !packet.is_empty() {
                packet[0] %= 14;
            }
            packet
        })
        .collect();
    target.datagrams(noise.into_iter());
    target.survives("random bytes");

    let whole = [
        alive("x", 1, &[0xff; 400]),
        accusation(3, target.name, "x", 1),
        accusation(5, target.name, "x", 1),
        compound(&[alive("y", 1, b""), accusation(3, "y", "x", 1)]),
        compressed(&bomb(4, 50)),
    ];
    let cut = whole
        .iter()
        .flat_map(|packet| (0..packet.len()).map(|len| packet[..len].to_vec()));
    target.datagrams(cut);
    target.survives("truncated packets");

    for _ in 0..20 {
        target.datagrams(claims().into_iter());
    }
    target.survives("claims of four gigabytes");

    let bombs = [
        nested(8000),
        compound(&vec![Vec::new(); 255]),
        compound(&vec![compound(&vec![Vec::new(); 200]); 100]),
        [&[7, 255][..], &[0xff; 510]].concat(),
        [&[7, 200][..], &[0; 400]].concat(),
    ];
    for _ in 0..500 {
        target.datagrams(bombs.iter().cloned());
    }
    target.survives("compound bombs");

    // A datagram of 60 kB stands for tens of megabytes.
    let large = compressed(&bomb(0x80, 38_000));
    let inner = compressed(&compressed(&bomb(7, 20_000)));
    for _ in 0..200 {
        target.datagrams([large.clone(), inner.clone()].into_iter());
    }
    target.survives("decompression bombs");

    let replayed = (0..20_000u32).map(|n| match n % 4 {
        0 => alive(target.name, n % 3, &[0xff, 0x80]),
        1 => accusation(3, target.name, "ghost", 0),
        2 => accusation(5, target.name, "ghost", 0),
        _ => alive("old", n % 2, b""),
    });
    target.datagrams(replayed);
    target.survives("replayed old incarnations");
}

/// A message of Serf in a datagram.
fn user(kind: u8, fields: &[(&str, Vec<u8>)]) -> Vec<u8> {
    [vec![8], message(kind, fields)].concat()
}

fn event(time: u32, name: &str, payload: &[u8]) -> Vec<u8> {
    let fields = [
        ("CC", vec![0xc2]),
        ("LTime", number(time)),
        ("Name", raw(name.as_bytes())),
        ("Payload", raw(payload)),
    ];
    user(3, &fields)
}

#[test]
fn what_strangers_invent_costs_little() {
    let target = Target::new("");

    let mut monstrous = b"\x86\xa2ID".to_vec();
    monstrous.extend(raw(b"7d5d2ab9-9e19-4f2e-8cc7-4a3b37a0ddc4"));
    for (field, value) in [
        ("n", &b"big"[..]),
        ("nf", b"((a{100}){100}){100}"),
        ("p", &[b'x'; 50_000]),
        ("sf", b"(\\w{200}){20}"),
    ] {
        monstrous.extend(raw(field.as_bytes()));
        monstrous.extend(raw(value));
    }
    monstrous.extend(b"\xa1v\x01");
    let events = (1..20_000u32).map(|n| match n % 4 {
        0 => event(n, &format!("consul:event:invented-{n}"), b"not an event"),
        1 => event(n, "consul:new-leader", &[b'\n'; 5000]),
        2 => event(n, &format!("consul:invented-{n}"), &[0; 600]),
        _ => event(n, "consul:event:big", &monstrous),
    });
    target.datagrams(events);
    target.survives("invented events");

    let queries = (1..20_000u32).map(|n| {
        let fields = [
            ("Addr", raw(&[127, 0, 9, 200])),
            ("Filters", vec![0x90]),
            ("Flags", vec![1]),
            ("ID", number(n)),
            ("LTime", number(n)),
            ("Name", raw(format!("invented-{n}").as_bytes())),
            ("Payload", raw(&[0; 900])),
            ("Port", vec![0xcd, 0x20, 0x6d]),
            ("RelayFactor", vec![3]),
            ("SourceNode", raw(b"ghost")),
            ("Timeout", number(u32::MAX)),
        ];
        user(4, &fields)
    });
    target.datagrams(queries);
    target.survives("invented queries");

    let intents = (1..20_000u32).map(|n| {
        let fields = [
            ("LTime", number(n)),
            ("Node", raw(format!("invented-{n}").as_bytes())),
            ("Prune", vec![0xc3]),
        ];
        user(0, &fields)
    });
    target.datagrams(intents);
    target.survives("invented leaves");
}

#[test]
fn invented_members_are_few() {
    let target = Target::new("");
    let tags = |n: u32| {
        let mut meta = b"\xff\x86".to_vec();
        for (tag, value) in [
            ("role", "node"),
            ("dc", "dc1"),
            ("id", &format!("7d5d2ab9-9e19-4f2e-8cc7-{n:012}")),
            ("segment", ""),
            ("build", "1.8.7:"),
            ("vsn", "2"),
        ] {
            meta.extend(raw(tag.as_bytes()));
            meta.extend(raw(value.as_bytes()));
        }
        meta
    };
    let members = (0..30_000u32).map(|n| alive(&format!("invented-{n}"), 1, &tags(n)));
    target.datagrams(members);
    wait_until("the last of them", || {
        let before = target.agent.resident_kib();
        std::thread::sleep(Duration::from_secs(1));
        target.agent.resident_kib() <= before + 64
    });
    let known = target.agent.get("/v1/agent/members").json();
    let known = known.as_array().map_or(0, Vec::len);
    assert!((2..4000).contains(&known), "{known}");
    let peak = target.agent.resident_peak_kib();
    let lines = target.agent.log().lines().count() - target.lines;
    println!(
        "{known} members: {} KiB, peak {peak}, {lines} lines",
        target.before_kib
    );
    assert!(
        peak < target.before_kib + GROWN_KIB_MAX * u64::from(SOURCES),
        "{peak}"
    );
    assert!(lines < 1000, "{lines} lines");
}

#[test]
fn hostile_streams_cost_little_and_change_nothing() {
    hostile_streams(&Target::new(""));
}

#[test]
fn hostile_streams_on_the_wan_port_likewise() {
    hostile_streams(&Target::wan(""));
}

fn hostile_streams(target: &Target) {
    let mut random = Random(2);

    for _ in 0..300 {
        let len = random.below(20_000);
        let mut bytes = random.bytes(len);
        if let Some(first) = bytes.first_mut() {
            *first %= 15;
        }
        target.stream(&bytes);
    }
    target.survives("random bytes");

    for claim in claims() {
        target.stream(&claim);
    }
    // A frame of four gigabytes that never comes.
    target.stream(&[10, 0xff, 0xff, 0xff, 0xff]);
    let header = |nodes: u32, user: u32| {
        message(
            6,
            &[
                ("Join", vec![0xc3]),
                ("Nodes", number(nodes)),
                ("UserStateLen", number(user)),
            ],
        )
    };
    target.stream(&header(u32::MAX, 0));
    target.stream(&header(0, u32::MAX));
    target.stream(&header(i32::MAX as u32, i32::MAX as u32));
    target.survives("claims of four gigabytes");

    // One byte per entry: an empty map each.
    let empty = [header(10_000_000, 0), vec![0x80; 4 << 20]].concat();
    target.stream(&empty);
    target.stream(&compressed(&bomb(0x80, 200_000)));
    let mut zipped = header(1_000_000, 0);
    zipped.extend(compressed(&bomb(0x80, 100_000)));
    target.stream(&zipped);
    target.survives("bombs");

    // Peers that connect and say little.
    let slow: Vec<TcpStream> = (0..300)
        .filter_map(|_| TcpStream::connect(target.gossip).ok())
        .collect();
    for mut stream in &slow {
        // A closed one is as good.
        let _ = stream.write_all(&[6, 0x83, 0xa5]);
    }
    target.survives("slow peers");
    drop(slow);
}

#[test]
fn without_the_key_nothing_is_heard() {
    let target = Target::new("encrypt = \"pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s=\"");
    let mut random = Random(3);
    let packets: Vec<Vec<u8>> = (0..10_000)
        .map(|n| match n % 4 {
            0 => alive("intruder", 1, b""),
            1 => accusation(5, "node1", "node1", 100),
            2 => [&[1][..], &random.bytes(200)].concat(),
            _ => [&[0][..], &random.bytes(28 + n % 40)].concat(),
        })
        .collect();
    target.datagrams(packets.into_iter());
    for len in [0usize, 1, 12, 28, 29, 100, 1 << 20] {
        let frame = [
            &[10][..],
            &(len as u32).to_be_bytes(),
            &random.bytes(len.min(70_000)),
        ];
        target.stream(&frame.concat());
    }
    let plain = message(
        6,
        &[
            ("Join", vec![0xc3]),
            ("Nodes", vec![0]),
            ("UserStateLen", vec![0]),
        ],
    );
    target.stream(&plain);
    target.survives("wrong keys");
    let members = target.agent.get("/v1/agent/members").json();
    assert_eq!(members.as_array().map(Vec::len), Some(1), "{members}");
}
