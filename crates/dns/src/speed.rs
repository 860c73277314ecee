//! What a question costs in the core; run with `cargo test --release -p tribune-dns -- --ignored --nocapture speed`.

use crate::message::{Parsed, parse};
use crate::options::{DnsOptions, Settings};
use crate::pick::Rng;
use crate::resolve::{Context, Facts, Scratch, Step, resolve};
use crate::shape::Transport;
use crate::wire::Name;
use crate::world::World;

#[test]
#[ignore = "measures, asserts nothing about time"]
fn speed_of_service_questions() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let env = runtime.block_on(async { tribune_rt::Env::ambient().unwrap() });
    let now_ns = || env.mono().0;
    let settings = Settings::new(DnsOptions::default()).unwrap();
    for instances in [3usize, 100, 3000] {
        let mut world = World::empty();
        for number in 0..instances {
            let node = format!("node-{number:04}");
            world.node(
                &node,
                &format!("10.1.{}.{}", number / 250, number % 250 + 1),
            );
            world.service(&node, "web", 80);
        }
        for (kind, qtype) in [("A", 1u16), ("SRV", 33)] {
            let mut packet = b"\x12\x34\x01\x00\0\x01\0\0\0\0\0\0".to_vec();
            packet.extend_from_slice(Name::from_text("web.service.consul").unwrap().wire());
            packet.extend_from_slice(&qtype.to_be_bytes());
            packet.extend_from_slice(b"\0\x01");
            let (mut facts, mut scratch, mut out, mut rng) = (
                Facts::default(),
                Scratch::default(),
                Vec::new(),
                Rng::new(1),
            );
            let mut fact = None;
            const ROUNDS: u32 = 200_000;
            let started = now_ns();
            for _ in 0..ROUNDS {
                out.clear();
                facts.clear();
                let Parsed::Request(request) = parse(&packet) else {
                    panic!()
                };
                loop {
                    let context = Context {
                        settings: &settings,
                        facts: &facts,
                        transport: Transport::Udp,
                        client: std::net::IpAddr::from([127, 0, 0, 1]),
                        now_unix: 1,
                        seed: rng.next(),
                    };
                    match resolve(&request, &context, &mut scratch, &mut out) {
                        Step::Answered => break,
                        Step::Forward => panic!(),
                        Step::Need(lookup) => {
                            let known = fact
                                .get_or_insert_with(|| world.catalog(&lookup, &settings).unwrap())
                                .clone();
                            facts.add(lookup, known);
                        }
                    }
                }
            }
            let ns = (now_ns() - started) / u64::from(ROUNDS);
            println!(
                "{kind:4} {instances:5} instances: {ns} ns, {} bytes",
                out.len()
            );
        }
    }
}
