//! Hostile packets: whatever comes, the core neither panics nor answers with more than it may, and what it answers is
//! a well-formed message.

use domain::base::Message;

use crate::message::{Parsed, parse};
use crate::options::{DnsOptions, Settings};
use crate::pick::Rng;
use crate::resolve::{Context, Facts, Scratch, Step, resolve};
use crate::shape::Transport;
use crate::world::World;

struct Target {
    world: World,
    settings: Settings,
    scratch: Scratch,
}

impl Target {
    fn new() -> Target {
        let settings = Settings::new(DnsOptions::default()).unwrap();
        Target {
            world: World::captured("ref"),
            settings,
            scratch: Scratch::default(),
        }
    }

    /// Feeds a packet and checks what comes back.
    fn feed(&mut self, packet: &[u8]) {
        let mut out = Vec::new();
        match parse(packet) {
            Parsed::Silence => return,
            Parsed::Refusal(bytes) => out = bytes,
            Parsed::Request(request) => {
                let mut facts = Facts::default();
                loop {
                    let context = Context {
                        settings: &self.settings,
                        facts: &facts,
                        transport: Transport::Udp,
                        client: std::net::IpAddr::from([127, 0, 0, 1]),
                        now_unix: 1,
                        seed: 1,
                    };
                    match resolve(&request, &context, &mut self.scratch, &mut out) {
                        Step::Answered => break,
                        Step::Forward => panic!("there are no recursors"),
                        Step::Need(lookup) => {
                            let fact = self.world.catalog(&lookup, &self.settings).unwrap();
                            facts.add(lookup, fact);
                        }
                    }
                }
            }
        }
        assert!(out.len() >= 12 && out[2] & 0x80 != 0, "a response");
        assert_eq!(out[..2], packet[..2], "the same id");
        let message = Message::from_octets(&out).unwrap();
        for section in [message.answer(), message.authority(), message.additional()]
            .into_iter()
            .flatten()
        {
            for record in section {
                record.expect("a well-formed record");
            }
        }
    }
}

fn query(name: &[u8], qtype: u16) -> Vec<u8> {
    let mut packet = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\x01".to_vec();
    packet.extend_from_slice(name);
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(b"\0\x01");
    packet.extend_from_slice(b"\0\0\x29\x04\xd0\0\0\0\0\0\x0b\0\x08\0\x07\0\x01\x18\0\x01\x02\x03");
    packet
}

#[test]
fn random_bytes_and_damaged_questions_never_panic() {
    let (mut target, mut rng) = (Target::new(), Rng::new(42));
    for _ in 0..20_000 {
        let size = (rng.next() % 90) as usize;
        let packet: Vec<u8> = (0..size).map(|_| rng.next() as u8).collect();
        target.feed(&packet);
    }
    let seeds = [
        query(b"\x03web\x07service\x06consul\0", 33),
        query(b"\x04lots\x07service\x06consul\0", 255),
        query(b"\x04both\x04node\x06consul\0", 1),
        query(b"\x0210\x010\x010\x03127\x07in-addr\x04arpa\0", 12),
        query(b"\x087f000001\x04addr\x06consul\0", 1),
    ];
    for round in 0..20_000 {
        let mut packet = seeds[round % seeds.len()].clone();
        for _ in 0..=rng.next() % 4 {
            let at = 2 + (rng.next() as usize) % (packet.len() - 2);
            packet[at] = match rng.next() % 4 {
                0 => 0,
                1 => 0xff,
                2 => 0xc0,
                _ => rng.next() as u8,
            };
        }
        if rng.next() % 4 == 0 {
            packet.truncate(rng.next() as usize % packet.len());
        }
        target.feed(&packet);
    }
}

#[test]
fn packets_of_64_kib_and_names_of_the_largest_size_are_answered() {
    let mut target = Target::new();
    let mut packet = query(b"\x03web\x07service\x06consul\0", 1);
    packet.resize(65_535, 0);
    target.feed(&packet);
    packet[10..12].copy_from_slice(&[0, 2]);
    target.feed(&packet);
    // 127 labels of one byte, in the zone and out of it.
    for end in [b"\x06consul\0".as_slice(), b"\x01a\0"] {
        let mut name = Vec::new();
        while name.len() + 2 + end.len() <= 255 {
            name.extend_from_slice(b"\x01a");
        }
        name.extend_from_slice(end);
        for qtype in [1, 2, 6, 33, 255] {
            target.feed(&query(&name, qtype));
        }
    }
    let mut deep = Vec::new();
    while deep.len() + 2 + 16 <= 255 {
        deep.extend_from_slice(b"\x01_");
    }
    deep.extend_from_slice(b"\x07service\x06consul\0");
    target.feed(&query(&deep, 33));
}
