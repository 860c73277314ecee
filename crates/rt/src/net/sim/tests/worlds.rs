//! Whole worlds: the same seed is the same run.

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::UdpSocket;
use crate::net::sim::TracedEvent;

const NODES: u8 = 5;

/// Pings by UDP and echoes by TCP between all nodes, under faults, for a minute.
fn ping_world(seed: u64) -> (Vec<TracedEvent>, u64) {
    sim::block_on(seed, |world| async move {
        let net = SimNet::new(seed);
        net.set_trace(true);
        net.set_default_link(LinkFaults {
            delay: Duration::from_micros(700),
            jitter: ms(3),
            loss_per_million: 20_000,
            duplicate_per_million: 20_000,
            bandwidth: Some(1_000_000),
        });
        for n in 1..=NODES {
            start(&net, n, seed);
        }
        for _ in 0..60 {
            let victim = u8::try_from(1 + world.random_below(u64::from(NODES))).unwrap();
            let other = u8::try_from(1 + world.random_below(u64::from(NODES))).unwrap();
            match world.random_below(6) {
                0 => {
                    net.kill(ip(victim));
                    start(&net, victim, world.random_u64());
                }
                1 => {
                    net.set_down(ip(victim));
                    world.sleep(ms(300)).await;
                    start(&net, victim, world.random_u64());
                }
                2 => net.cut(ip(victim), ip(other)),
                3 => net.heal_all(),
                4 => net.pause(ip(victim)),
                _ => net.resume(ip(victim)),
            }
            world.sleep(secs(1)).await;
        }
        (net.take_trace(), net.digest())
    })
}

fn start(net: &SimNet, n: u8, seed: u64) {
    let env = Env::sim_node(seed ^ u64::from(n), SimDisk::new(1), net, ip(n)).unwrap();
    let listener = listen(&env, at(n, 7));
    let udp = UdpSocket::bind(&env, at(n, 7), BindOptions::default()).unwrap();
    env.spawn("accepts", {
        let env = env.clone();
        async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                env.spawn("echoes", async move {
                    let (mut read, mut write) = tokio::io::split(&mut stream);
                    let _ = tokio::io::copy(&mut read, &mut write).await;
                });
            }
        }
    });
    env.spawn("pings", {
        let env = env.clone();
        async move {
            loop {
                env.sleep(env.jitter(ms(100))).await;
                let to = at(
                    u8::try_from(1 + env.random_below(u64::from(NODES))).unwrap(),
                    7,
                );
                let _ = udp.send_to(b"ping", to).await;
            }
        }
    });
    env.spawn("talks", {
        let env = env.clone();
        async move {
            loop {
                env.sleep(env.jitter(ms(200))).await;
                let to = at(
                    u8::try_from(1 + env.random_below(u64::from(NODES))).unwrap(),
                    7,
                );
                let exchange = async {
                    let mut stream = TcpStream::connect(&env, to).await?;
                    let bytes = vec![1; usize::try_from(env.random_below(5000)).unwrap()];
                    stream.write_all(&bytes).await?;
                    stream.shutdown().await?;
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).await
                };
                let _ = env.timeout(secs(3), exchange).await;
            }
        }
    });
}

#[test]
fn a_world_is_decided_by_its_seed() {
    let (first, digest) = ping_world(7);
    let (second, again) = ping_world(7);
    assert!(first.len() > 2000, "{}", first.len());
    let differs = first.iter().zip(&second).position(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!((first.len(), digest), (second.len(), again));
    let (other, digest_of_other) = ping_world(8);
    assert_ne!(first, other);
    assert_ne!(digest, digest_of_other);
}

#[test]
fn a_world_of_many_packets_is_cheap() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (from, to) = (
            UdpSocket::bind(&a, at(1, 1), BindOptions::default()).unwrap(),
            UdpSocket::bind(&b, at(2, 2), BindOptions::default()).unwrap(),
        );
        let began = std::time::Instant::now();
        let echo = b.spawn("echo", async move {
            let mut bytes = [0; 100];
            for _ in 0..50_000 {
                let (len, peer) = to.recv_from(&mut bytes).await.unwrap();
                to.send_to(&bytes[..len], peer).await.unwrap();
            }
        });
        for _ in 0..500 {
            for _ in 0..100 {
                from.send_to(b"ping", at(2, 2)).await.unwrap();
            }
            for _ in 0..100 {
                from.recv_from(&mut [0; 100]).await.unwrap();
            }
        }
        echo.await.unwrap();
        assert_eq!(net.stats().datagrams, 100_000);
        // A third of a second in a dev build; whatever polls in between would cost far more than this.
        assert!(began.elapsed() < secs(20), "{:?}", began.elapsed());
    });
}
