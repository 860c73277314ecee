//! Tests: answers to names of prepared queries (spec dns.md 3 and 6).

#![allow(clippy::unwrap_used, reason = "only tests use this module")]

use std::net::IpAddr;
use std::sync::Arc;

use tribune_types::catalog::{Check, Node, Service, Status, Weights};
use tribune_types::query::Instance;
use tribune_types::text::text;

use crate::instances::ServiceView;
use crate::message::{Parsed, Request, parse};
use crate::options::{DnsOptions, Settings};
use crate::resolve::{Context, Executed, Fact, Facts, Lookup, Scratch, Step, resolve};
use crate::shape::Transport;
use crate::wire::{Name, rtype};

const PEER: [u8; 4] = [10, 9, 8, 7];

fn settings() -> Settings {
    let service_ttl = vec![("web".to_owned(), std::time::Duration::from_secs(3))];
    Settings::new(DnsOptions {
        service_ttl,
        ..DnsOptions::default()
    })
    .unwrap()
}

/// A question, with a client subnet of so many bits of 192.0.2.0 if there are any.
fn question(name: &str, qtype: u16, subnet: Option<u8>) -> Request {
    let mut packet = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0".to_vec();
    packet.push(u8::from(subnet.is_some()));
    packet.extend_from_slice(Name::from_text(name).unwrap().wire());
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(b"\0\x01");
    if let Some(prefix) = subnet {
        packet.extend_from_slice(b"\0\0\x29\x10\0\0\0\0\0\0\x0b\0\x08\0\x07\0\x01");
        packet.extend_from_slice(&[prefix, 0, 192, 0, 2]);
    }
    match parse(&packet) {
        Parsed::Request(request) => request,
        other => panic!("{other:?}"),
    }
}

fn run(request: &Request, facts: &Facts, seed: u64) -> (Step, Vec<u8>) {
    let settings = settings();
    let context = Context {
        settings: &settings,
        facts,
        transport: Transport::Udp,
        client: request.client(IpAddr::from(PEER)),
        now_unix: 0,
        seed,
    };
    let mut out = Vec::new();
    let step = resolve(request, &context, &mut Scratch::default(), &mut out);
    (step, out)
}

/// What the answer to a question rests on: one fact.
fn answer(request: &Request, fact: Fact, seed: u64) -> Vec<u8> {
    let mut facts = Facts::default();
    let (Step::Need(lookup), _) = run(request, &facts, seed) else {
        panic!("nothing is looked up");
    };
    facts.add(lookup, fact);
    let (step, out) = run(request, &facts, seed);
    assert_eq!(step, Step::Answered);
    out
}

fn instance(last: u8, status: Status) -> Instance {
    Instance {
        node: Arc::new(Node {
            name: text(&format!("n{last}")),
            address: text(&format!("10.0.0.{last}")),
            datacenter: text("dc2"),
            ..Node::default()
        }),
        service: Arc::new(Service {
            name: text("web"),
            port: 80,
            weights: Some(Weights {
                passing: 7,
                warning: 5,
            }),
            ..Service::default()
        }),
        checks: [Arc::new(Check {
            status,
            ..Check::default()
        })]
        .into(),
    }
}

fn found(instances: &[Instance], ttl: Option<u32>) -> Fact {
    Fact::Executed(Arc::new(Executed {
        view: ServiceView::listed(instances, "dc2", &settings()),
        service: text("web"),
        ttl,
    }))
}

#[test]
fn a_query_is_looked_up_by_its_name_for_the_client() {
    let subnet: IpAddr = [192, 0, 2, 0].into();
    // (name, subnet, query, datacenter, client)
    for (name, bits, query, dc, client) in [
        (
            "Geo.Db.query.consul",
            None,
            "geo.db",
            None,
            IpAddr::from(PEER),
        ),
        ("q.query.DC2.consul", None, "q", Some("dc2"), PEER.into()),
        ("q.query.dc1.consul", Some(24), "q", None, subnet),
    ] {
        let request = question(name, rtype::A, bits);
        let want = Lookup::Query {
            name: text(query),
            dc: dc.map(text),
            client,
        };
        assert_eq!(
            run(&request, &Facts::default(), 1).0,
            Step::Need(want),
            "{name}"
        );
    }
}

#[test]
fn what_a_query_found_keeps_its_order_its_critical_ones_and_its_ttl() {
    let instances = [
        instance(3, Status::Critical),
        instance(1, Status::Passing),
        instance(2, Status::Warning),
    ];
    for seed in 0..20 {
        let request = question("q.query.consul", rtype::A, None);
        let out = answer(&request, found(&instances, Some(9)), seed);
        assert_eq!(out[..8], *b"\x12\x34\x85\0\0\x01\0\x03");
        let records: Vec<&[u8]> = out[out.len() - 48..].chunks(16).collect();
        for (record, last) in records.iter().zip([3, 1, 2]) {
            assert_eq!(record[2..], [0, 1, 0, 1, 0, 0, 0, 9, 0, 4, 10, 0, 0, last]);
        }
    }
    // Without one of its own it has the TTL of the service.
    let request = question("q.query.consul", rtype::A, None);
    let out = answer(&request, found(&instances[1..2], None), 1);
    assert_eq!(out[out.len() - 10..], [0, 0, 0, 3, 0, 4, 10, 0, 0, 1]);
    // Weights of the order passing, warning, critical; targets in the datacenter of the instances.
    for (at, weight) in [(0, 0), (1, 7), (2, 5)] {
        let request = question("q.query.consul", rtype::SRV, None);
        let out = answer(&request, found(&instances[at..=at], None), 1);
        let target = Name::from_text("x.node.dc2.consul").unwrap();
        let tail = &target.wire()[2..15];
        assert!(out.windows(tail.len()).any(|bytes| bytes == tail), "{at}");
        let srv = [0, 1, 0, weight, 0, 80];
        assert!(out.windows(6).any(|bytes| bytes == srv), "{at}: {out:x?}");
    }
}

#[test]
fn nothing_found_and_no_query_are_no_name_and_other_failures_are_failures() {
    let request = question("q.query.consul", rtype::A, None);
    for (fact, code, authority) in [
        (found(&[], None), 3, 1),
        (Fact::NoPath, 3, 1),
        (Fact::Failed, 2, 0),
    ] {
        let out = answer(&request, fact, 1);
        assert_eq!((out[2], out[3] & 15), (0x85, code));
        assert_eq!((out[7], out[9]), (0, authority));
    }
}

#[test]
fn answers_for_a_subnet_say_so() {
    let request = question("q.query.consul", rtype::A, Some(24));
    let some = found(&[instance(1, Status::Passing)], None);
    // That there is nothing holds for everybody.
    for (fact, scope) in [(some, 24), (found(&[], None), 0), (Fact::NoPath, 0)] {
        let out = answer(&request, fact, 1);
        assert_eq!(out[out.len() - 7..], [0, 1, 24, scope, 192, 0, 2]);
    }
}
