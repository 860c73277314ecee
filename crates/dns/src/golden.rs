//! The core against captured answers of Consul 1.8.7: same header, same records as sets, section by section.
//!
//! Answers are decoded by the `domain` crate, so that this crate's reader and writer are both checked by another one.
//! The four servers of the captures:
//!
//! ```text
//! A  dc1, alternative domain alt.test, enable_truncate
//! B  dc2, translate_wan_addrs, node_ttl 5s, service_ttl web 7s and * 3s, a recursor
//! C  dc1, domain "Example.Org.", a_record_limit 2, only_passing, disable_compression, no metadata records,
//!    enable_truncate, udp_answer_limit 8, SOA min_ttl 60 and refresh 1800, a recursor
//! D  dc1, udp_answer_limit 0
//! ```

use std::sync::Arc;
use std::time::Duration;

use domain::base::Message;
use domain::base::iana::Rtype;
use domain::base::rdata::ComposeRecordData;
use domain::rdata::AllRecordData;
use tribune_types::text::text;

use crate::message::{Parsed, parse};
use crate::options::{DnsOptions, Settings, SoaOptions};
use crate::resolve::{Context, Fact, Facts, Lookup, Scratch, Step, fail_recursion, resolve};
use crate::shape::Transport;
use crate::wire::{Data, Name, Owner, Record};
use crate::world::World;

const ANSWERS: &str = include_str!("../tests/vectors/consul-1.8.7.txt");

fn server(letter: &str) -> (World, Settings) {
    let recursor = vec!["127.0.0.1:53".parse().unwrap()];
    let secs = Duration::from_secs;
    let (node, options) = match letter {
        "A" => (
            "ref1",
            DnsOptions {
                alt_domain: "alt.test".to_owned(),
                enable_truncate: true,
                ..DnsOptions::default()
            },
        ),
        "B" => (
            "ref2",
            DnsOptions {
                datacenter: text("dc2"),
                translate_wan_addrs: true,
                node_ttl: secs(5),
                service_ttl: vec![("web".to_owned(), secs(7)), ("*".to_owned(), secs(3))],
                recursors: recursor,
                ..DnsOptions::default()
            },
        ),
        "C" => (
            "refC",
            DnsOptions {
                domain: "Example.Org.".to_owned(),
                a_record_limit: 2,
                only_passing: true,
                disable_compression: true,
                node_meta_txt: false,
                enable_truncate: true,
                udp_answer_limit: 8,
                soa: SoaOptions {
                    min_ttl: 60,
                    refresh: 1800,
                    ..SoaOptions::default()
                },
                recursors: recursor,
                ..DnsOptions::default()
            },
        ),
        "D" => (
            "refD",
            DnsOptions {
                udp_answer_limit: 0,
                ..DnsOptions::default()
            },
        ),
        other => panic!("{other}"),
    };
    let mut world = World::captured(node);
    if letter > "B" {
        world.datacenters = vec!["dc1"];
    }
    (world, Settings::new(options).unwrap())
}

/// What the recursor of the captures knew.
fn elsewhere(host: &Name) -> Arc<[Record]> {
    let name = |text: &str| Name::from_text(text).unwrap();
    let record = |owner: &str, ttl, data| Record {
        owner: Owner::Name(name(owner)),
        ttl,
        data,
    };
    if *host == name("svc.example.org") {
        return [record("svc.example.org", 60, Data::A([192, 0, 2, 1]))].into();
    }
    if *host == name("big.example.org") {
        return (10..20)
            .map(|last| record("big.example.org", 60, Data::A([192, 0, 2, last])))
            .collect();
    }
    if *host == name("www.example.net") {
        return [
            record(
                "www.example.net",
                300,
                Data::Cname(name("edge.example.net")),
            ),
            record("edge.example.net", 30, Data::A([192, 0, 2, 2])),
            record(
                "edge.example.net",
                30,
                Data::Txt(b"\x0cmy_txt_value".as_slice().into()),
            ),
            record(
                "edge.example.net",
                30,
                Data::Raw {
                    rtype: 15,
                    rdata: b"\0\x0a\x04mail\x07example\x03net\0".as_slice().into(),
                },
            ),
        ]
        .into();
    }
    [].into()
}

/// The outcome of a packet: bytes, silence, or passing it on.
enum Outcome {
    Bytes(Vec<u8>),
    Silence,
    Forward(Vec<u8>),
}

fn run(world: &World, settings: &Settings, packet: &[u8], transport: Transport) -> Outcome {
    let request = match parse(packet) {
        Parsed::Silence => return Outcome::Silence,
        Parsed::Refusal(bytes) => return Outcome::Bytes(bytes),
        Parsed::Request(request) => request,
    };
    let (mut facts, mut scratch, mut out) = (Facts::default(), Scratch::default(), Vec::new());
    loop {
        let context = Context {
            settings,
            facts: &facts,
            transport,
            client: std::net::IpAddr::from([127, 0, 0, 1]),
            now_unix: 1_700_000_000,
            seed: 11,
        };
        match resolve(&request, &context, &mut scratch, &mut out) {
            Step::Answered => return Outcome::Bytes(out),
            Step::Forward => {
                fail_recursion(&request, &mut scratch, &mut out);
                return Outcome::Forward(out);
            }
            Step::Need(Lookup::Host(host)) => {
                let fact = Fact::Host(elsewhere(&host));
                facts.add(Lookup::Host(host), fact);
            }
            Step::Need(lookup) => {
                let fact = world.catalog(&lookup, settings).unwrap();
                facts.add(lookup, fact);
            }
        }
    }
}

/// Header, question and sections in a comparable form; SOA serials left out.
fn decoded(bytes: &[u8]) -> Vec<String> {
    let mut out = vec![format!("{:02x?}", &bytes[..4])];
    let Ok(message) = Message::from_octets(bytes.to_vec()) else {
        return out;
    };
    for question in message.question().flatten() {
        out.push(format!(
            "Q {} {} {}",
            question.qname(),
            question.qtype(),
            question.qclass()
        ));
    }
    let mut section = |label: &str, records: domain::base::message::RecordSection<'_, Vec<u8>>| {
        let mut lines: Vec<String> = records
            .map(|record| {
                let record = record.expect("a well-formed record");
                let (owner, ttl, kind) = (
                    record.owner().to_string(),
                    record.ttl().as_secs(),
                    record.rtype(),
                );
                let record = record
                    .to_any_record::<AllRecordData<_, _>>()
                    .expect("well-formed data");
                let data = match record.data() {
                    AllRecordData::Soa(soa) => {
                        let times = [soa.refresh(), soa.retry(), soa.expire(), soa.minimum()]
                            .map(|ttl| ttl.as_secs());
                        format!("{} {} {times:?}", soa.mname(), soa.rname())
                    }
                    AllRecordData::Opt(opt) => {
                        let mut bytes = Vec::new();
                        opt.compose_rdata(&mut bytes)
                            .expect("memory does not run out");
                        format!("{bytes:?} {}", u16::from(record.class()))
                    }
                    other => other.to_string(),
                };
                assert!(kind == Rtype::OPT || u16::from(record.class()) == 1);
                format!("{label} {owner} {ttl} {kind} {data}")
            })
            .collect();
        lines.sort();
        out.extend(lines);
    };
    if let Ok(answer) = message.answer() {
        section("AN", answer);
    }
    if let Ok(authority) = message.authority() {
        section("NS", authority);
    }
    if let Ok(additional) = message.additional() {
        section("AR", additional);
    }
    out
}

fn unhex(text: &str) -> Vec<u8> {
    if text == "-" {
        return Vec::new();
    }
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

#[test]
fn answers_are_those_of_consul() {
    let mut wrong = Vec::new();
    let mut count = 0;
    let servers = ["A", "B", "C", "D"].map(|letter| (letter, server(letter)));
    for line in ANSWERS.lines().filter(|line| !line.starts_with('#')) {
        let (line, comment) = line.split_once("  # ").unwrap();
        let [letter, transport, mode, request, want] = line.split(' ').collect::<Vec<_>>()[..]
        else {
            panic!("{line}")
        };
        let (_, (world, settings)) = servers.iter().find(|(name, _)| *name == letter).unwrap();
        let transport = if transport == "tcp" {
            Transport::Tcp
        } else {
            Transport::Udp
        };
        count += 1;
        let got = match run(world, settings, &unhex(request), transport) {
            Outcome::Bytes(bytes) => bytes,
            Outcome::Silence => Vec::new(),
            // The recursor's own answers are passed through; only its failures are ours.
            Outcome::Forward(failure) if want.get(4..8) == Some("8182") => failure,
            Outcome::Forward(_) if settings.recursion() => continue,
            Outcome::Forward(_) => panic!("forwarded without recursors: {comment}"),
        };
        let (got, want) = if mode == "count" && want.contains(':') {
            let number = |at: usize| u16::from_be_bytes([got[at], got[at + 1]]);
            let got = format!(
                "{}:{:04x}:{}:{}:{}",
                got.len(),
                number(2),
                number(6),
                number(8),
                number(10)
            );
            (vec![got], vec![want.to_owned()])
        } else {
            let want = unhex(want);
            let sizes = (got.len() != want.len())
                .then(|| format!("size {} instead of {}", got.len(), want.len()));
            let (mut lines, wanted) = if want.is_empty() || got.is_empty() {
                (vec![format!("{got:02x?}")], vec![format!("{want:02x?}")])
            } else {
                (decoded(&got), decoded(&want))
            };
            // MX content from elsewhere is not compressed here.
            lines.extend(sizes.filter(|_| !lines.iter().any(|line| line.contains(" MX "))));
            (lines, wanted)
        };
        if got != want {
            wrong.push(format!(
                "{letter} {transport:?} {comment}\n   got {got:#?}\n  want {want:#?}"
            ));
        }
    }
    assert!(count > 1000, "{count}");
    assert!(
        wrong.is_empty(),
        "{} of {count} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn where_nobody_can_be_asked_the_failure_speaks_for_the_zone() {
    let (_, settings) = server("A");
    for name in [
        "web.service.consul",
        "_web._tcp.service.dc2.consul",
        "a.node.dc2.consul",
        "web.connect.consul",
        "q.query.dc2.consul",
    ] {
        let mut packet = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
        packet.extend_from_slice(Name::from_text(name).unwrap().wire());
        packet.extend_from_slice(b"\0\x01\0\x01");
        let Parsed::Request(request) = parse(&packet) else {
            panic!()
        };
        let (mut facts, mut scratch, mut out) = (Facts::default(), Scratch::default(), Vec::new());
        loop {
            let context = Context {
                settings: &settings,
                facts: &facts,
                transport: Transport::Udp,
                client: std::net::IpAddr::from([127, 0, 0, 1]),
                now_unix: 1,
                seed: 1,
            };
            let Step::Need(lookup) = resolve(&request, &context, &mut scratch, &mut out) else {
                break;
            };
            facts.add(lookup, Fact::Failed);
        }
        // An answer, authoritative, recursion desired; none available; the server failed. Seen on Consul 1.8.7.
        assert_eq!(out[2..4], [0x85, 0x02], "{name}");
    }
}

#[test]
fn each_of_the_instances_is_answered_about_equally_often() {
    let (world, settings) = server("A");
    let mut packet = b"\0\x01\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    packet.extend_from_slice(Name::from_text("many.service.consul").unwrap().wire());
    packet.extend_from_slice(b"\0\x01\0\x01");
    let Parsed::Request(request) = parse(&packet) else {
        panic!()
    };
    let (mut facts, mut scratch, mut out) = (Facts::default(), Scratch::default(), Vec::new());
    let mut counts = [0u32; 7];
    for seed in 0..6_000 {
        out.clear();
        loop {
            let context = Context {
                settings: &settings,
                facts: &facts,
                transport: Transport::Udp,
                client: std::net::IpAddr::from([127, 0, 0, 1]),
                now_unix: 1,
                seed,
            };
            let Step::Need(lookup) = resolve(&request, &context, &mut scratch, &mut out) else {
                break;
            };
            let fact = world.catalog(&lookup, &settings).unwrap();
            facts.add(lookup, fact);
        }
        assert_eq!(out[7], 3);
        for record in out[packet.len()..].chunks_exact(16) {
            counts[usize::from(record[15])] += 1;
        }
    }
    // Three of six: a mean of 3000 with a standard deviation of about 39.
    assert!(
        counts[1..]
            .iter()
            .all(|count| (2_800..3_200).contains(count)),
        "{counts:?}"
    );
}
