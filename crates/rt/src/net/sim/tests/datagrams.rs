//! UDP.

use std::io::ErrorKind;

use super::*;
use crate::net::{RecvBatch, SendBatch, UdpSocket};

fn bind(env: &Env, addr: SocketAddr) -> UdpSocket {
    UdpSocket::bind(env, addr, BindOptions::default()).unwrap()
}

/// Sends `count` numbered datagrams and returns those that arrive within 10 s.
async fn numbers(net: &SimNet, faults: LinkFaults, count: u32) -> Vec<u32> {
    let (a, b) = (node(net, 1), node(net, 2));
    net.set_default_link(faults);
    let (from, to) = (bind(&a, at(1, 1)), bind(&b, at(2, 2)));
    to.set_buffer_sizes(8 << 20, 0).unwrap();
    for i in 0..count {
        from.send_to(&i.to_be_bytes(), at(2, 2)).await.unwrap();
        a.sleep(ms(1)).await;
    }
    let mut seen = Vec::new();
    let mut bytes = [0; 4];
    while let Ok(got) = b.timeout(secs(10), to.recv_from(&mut bytes)).await {
        assert_eq!(got.unwrap(), (4, at(1, 1)));
        seen.push(u32::from_be_bytes(bytes));
    }
    net.kill(ip(1));
    net.kill(ip(2));
    seen
}

#[test]
fn a_good_link_carries_every_datagram_once_and_in_order() {
    world(async |net| {
        let seen = numbers(&net, LinkFaults::default(), 1000).await;
        assert_eq!(seen, (0..1000).collect::<Vec<u32>>());
    });
}

#[test]
fn links_lose_duplicate_and_reorder_as_told() {
    world(async |net| {
        let lossy = LinkFaults {
            loss_per_million: 300_000,
            ..LinkFaults::default()
        };
        let seen = numbers(&net, lossy, 1000).await;
        assert!(seen.is_sorted() && seen.len() > 600 && seen.len() < 800);
        let twice = LinkFaults {
            duplicate_per_million: 300_000,
            ..LinkFaults::default()
        };
        let mut seen = numbers(&net, twice, 1000).await;
        assert!(seen.len() > 1200 && seen.len() < 1400);
        seen.dedup();
        assert_eq!(seen, (0..1000).collect::<Vec<u32>>());
        let uneven = LinkFaults {
            jitter: ms(20),
            ..LinkFaults::default()
        };
        let mut seen = numbers(&net, uneven, 1000).await;
        assert!(!seen.is_sorted());
        seen.sort_unstable();
        assert_eq!(seen, (0..1000).collect::<Vec<u32>>());
        let none = LinkFaults {
            loss_per_million: 1_000_000,
            ..LinkFaults::default()
        };
        assert!(numbers(&net, none, 100).await.is_empty());
    });
}

#[test]
fn a_slow_link_delays_datagrams_and_drops_what_would_wait_too_long() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let slow = LinkFaults {
            bandwidth: Some(104_000),
            ..LinkFaults::default()
        };
        net.set_default_link(slow);
        let (from, to) = (bind(&a, at(1, 1)), bind(&b, at(2, 2)));
        for _ in 0..300 {
            // 1040 bytes with headers: 10 ms each.
            from.send_to(&[0; 1000], at(2, 2)).await.unwrap();
        }
        let mut count = 0;
        while b
            .timeout(secs(1), to.recv_from(&mut [0; 1000]))
            .await
            .is_ok()
        {
            count += 1;
        }
        assert!(count > 95 && count < 105, "{count}");
    });
}

#[test]
fn cuts_and_missing_hosts_swallow_datagrams() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (one, two) = (bind(&a, at(1, 1)), bind(&b, at(2, 2)));
        net.cut(ip(1), ip(2));
        one.send_to(b"lost", at(2, 2)).await.unwrap();
        two.send_to(b"there", at(1, 1)).await.unwrap();
        let mut bytes = [0; 9];
        assert_eq!(one.recv_from(&mut bytes).await.unwrap(), (5, at(2, 2)));
        one.send_to(b"void", at(9, 9)).await.unwrap();
        net.heal(ip(1), ip(2));
        one.send_to(b"on its way", at(2, 2)).await.unwrap();
        net.cut(ip(1), ip(2));
        let got = b.timeout(secs(10), two.recv_from(&mut bytes)).await;
        assert!(got.is_err());
        assert_eq!(net.stats().datagrams_lost, 3);
    });
}

#[test]
fn a_full_socket_drops_and_a_long_datagram_is_refused_or_cut() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (one, two) = (bind(&a, at(1, 1)), bind(&b, at(2, 2)));
        for _ in 0..1000 {
            one.send_to(&[0; 1000], at(2, 2)).await.unwrap();
        }
        b.sleep(secs(1)).await;
        let mut batch = RecvBatch::new(1000, 10_000, 1 << 20);
        let count = two.recv_batch(&mut batch).await.unwrap();
        assert!(count > 100 && count < 250, "{count}");
        one.send_to(&[0; 65_508], at(2, 2)).await.unwrap_err();
        one.send_to(&[1; 65_507], at(2, 2)).await.unwrap();
        let mut start = [0; 10];
        assert_eq!(two.recv_from(&mut start).await.unwrap().0, 10);
    });
}

#[test]
fn batches_hold_what_has_arrived_and_fits() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (one, two) = (bind(&a, at(1, 1)), bind(&b, at(2, 2)));
        let mut out = SendBatch::new();
        for i in 0..10u8 {
            out.push(at(2, 2), &vec![i; usize::from(i)]);
        }
        assert_eq!(one.send_batch(&mut out).await.unwrap(), 0);
        assert!(out.is_empty());
        let mut batch = RecvBatch::new(5, 4, 4096);
        let mut seen = Vec::new();
        while seen.len() < 10 {
            assert!(two.recv_batch(&mut batch).await.unwrap() <= 4);
            seen.extend(batch.iter().map(|(peer, bytes)| (peer, bytes.to_vec())));
        }
        for (i, (peer, bytes)) in (0u8..).zip(&seen) {
            let want = vec![i; usize::from(i).min(5)];
            assert_eq!((*peer, bytes), (at(1, 1), &want));
        }
    });
}

#[test]
fn a_socket_with_a_fixed_peer_hears_only_that_and_of_refusals() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let one = bind(&a, at(1, 0));
        one.connect(at(2, 53)).await.unwrap();
        one.send_to(b"q", at(2, 53)).await.unwrap();
        let refused = one.recv_from(&mut [0; 9]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        let two = bind(&b, at(2, 53));
        one.send_to(b"q", at(2, 53)).await.unwrap();
        let mut bytes = [0; 9];
        let (_, asker) = two.recv_from(&mut bytes).await.unwrap();
        let stranger = bind(&b, at(2, 54));
        stranger.send_to(b"false", asker).await.unwrap();
        two.send_to(b"true", asker).await.unwrap();
        assert_eq!(one.recv_from(&mut bytes).await.unwrap(), (4, at(2, 53)));
        // Without a fixed peer nobody asks.
        let loose = bind(&a, at(1, 0));
        loose.send_to(b"q", at(2, 99)).await.unwrap();
        let quiet = a.timeout(secs(1), loose.recv_from(&mut bytes)).await;
        assert!(quiet.is_err());
    });
}

#[test]
fn ports_are_bound_once_unless_shared_and_answer_from_the_asked_address() {
    world(async |net| {
        let a = node(&net, 1);
        let any: SocketAddr = "0.0.0.0:53".parse().unwrap();
        let first = bind(&a, any);
        assert_eq!(first.local_addr().unwrap(), at(1, 53));
        let second = UdpSocket::bind(&a, at(1, 53), BindOptions::default()).unwrap_err();
        assert_eq!(second.kind(), ErrorKind::AddrInUse);
        let asker = bind(&a, "127.0.0.1:0".parse().unwrap());
        let own: SocketAddr = "127.0.0.1:53".parse().unwrap();
        asker.send_to(b"q", own).await.unwrap();
        let mut bytes = [0; 9];
        let (_, from) = first.recv_from(&mut bytes).await.unwrap();
        assert_eq!(from, asker.local_addr().unwrap());
        first.send_to(b"a", from).await.unwrap();
        assert_eq!(asker.recv_from(&mut bytes).await.unwrap(), (1, own));
        drop(first);
        let options = BindOptions {
            reuse_port: true,
            ..BindOptions::default()
        };
        let shared = UdpSocket::bind(&a, any, options).unwrap();
        let with = UdpSocket::bind(&a, any, options).unwrap();
        for _ in 0..20 {
            let asker = bind(&a, at(1, 0));
            asker.send_to(b"q", at(1, 53)).await.unwrap();
        }
        a.sleep(ms(1)).await;
        let mut batch = RecvBatch::new(9, 100, 900);
        let counts = [
            shared.recv_batch(&mut batch).await.unwrap(),
            with.recv_batch(&mut batch).await.unwrap(),
        ];
        assert_eq!(counts.iter().sum::<usize>(), 20);
        assert!(counts.iter().all(|count| *count > 4), "{counts:?}");
    });
}
