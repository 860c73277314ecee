//! TCP.

use std::io::ErrorKind;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[test]
fn bytes_arrive_in_order_after_the_delay_of_their_direction() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        net.set_link(ip(1), ip(2), delay(ms(30)));
        net.set_link(ip(2), ip(1), delay(ms(5)));
        let (took, (mut dialed, mut accepted)) = timed(&net, connected(&a, &b, at(2, 80))).await;
        assert_eq!(took, ms(65), "there, back and there again");
        let (took, ()) = timed(&net, async {
            dialed.write_all(b"one ").await.unwrap();
            dialed.write_all(b"two").await.unwrap();
            let mut seen = [0; 7];
            accepted.read_exact(&mut seen).await.unwrap();
            assert_eq!(&seen, b"one two");
        })
        .await;
        assert_eq!(took, ms(30));
        let (took, ()) = timed(&net, async {
            accepted.write_all(b"back").await.unwrap();
            let mut seen = [0; 2];
            assert_eq!(dialed.peek(&mut seen).await.unwrap(), 2);
            assert_eq!(dialed.try_read(&mut seen).unwrap(), 2);
            dialed.readable().await.unwrap();
            assert_eq!(dialed.read(&mut seen).await.unwrap(), 2);
            assert_eq!(&seen, b"ck");
            let nothing = dialed.try_read(&mut seen).unwrap_err();
            assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
        })
        .await;
        assert_eq!(took, ms(5));
    });
}

#[test]
fn bytes_stay_in_order_under_jitter_and_loss() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        net.set_default_link(LinkFaults {
            delay: ms(2),
            jitter: ms(50),
            loss_per_million: 200_000,
            duplicate_per_million: 200_000,
            ..LinkFaults::default()
        });
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        let sender = a.spawn("sender", {
            let a = a.clone();
            async move {
                for i in 0..500u32 {
                    dialed.write_all(&i.to_be_bytes()).await.unwrap();
                    a.sleep(ms(1)).await;
                }
            }
        });
        for i in 0..500u32 {
            assert_eq!(accepted.read_u32().await.unwrap(), i);
        }
        assert_eq!(accepted.read(&mut [0; 1]).await.unwrap(), 0);
        sender.await.unwrap();
        assert!(net.elapsed() > secs(1), "losses cost time");
    });
}

#[test]
fn dials_fail_as_the_system_would_have_it() {
    world(async |net| {
        let a = node(&net, 1);
        let b = node(&net, 2);
        let (took, refused) = timed(&net, TcpStream::connect(&a, at(2, 80))).await;
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(took, ms(2));
        // (the case, whether someone listens)
        for case in ["cut there", "cut back", "nobody", "down"] {
            let _listener = (case != "down").then(|| listen(&b, at(2, 80)));
            let to = match case {
                "cut there" => {
                    net.cut(ip(1), ip(2));
                    2
                }
                "cut back" => {
                    net.cut(ip(2), ip(1));
                    2
                }
                "down" => {
                    net.set_down(ip(2));
                    2
                }
                _ => 9,
            };
            let dial = TcpStream::connect(&a, at(to, 80));
            assert!(a.timeout(secs(100), dial).await.is_err(), "{case}");
            let (took, timed_out) = timed(&net, TcpStream::connect(&a, at(to, 80))).await;
            assert_eq!(timed_out.unwrap_err().kind(), ErrorKind::TimedOut, "{case}");
            assert!(took >= secs(127) && took < secs(128), "{case}: {took:?}");
            net.heal_all();
        }
        net.set_up(ip(2));
        let refused = TcpStream::connect(&a, at(2, 80)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_dial_succeeds_at_its_next_try_once_the_cut_is_healed() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let listener = listen(&b, at(2, 80));
        net.cut_both(ip(1), ip(2));
        let healer = a.spawn("healer", {
            let (a, net) = (a.clone(), net.clone());
            async move {
                a.sleep(secs(4)).await;
                net.heal_both(ip(1), ip(2));
            }
        });
        let (took, dialed) = timed(&net, TcpStream::connect(&a, at(2, 80))).await;
        assert!(took >= secs(7) && took < ms(7100), "{took:?}");
        drop(dialed.unwrap());
        listener.accept().await.unwrap();
        healer.await.unwrap();
    });
}

#[test]
fn a_cut_holds_bytes_up_and_a_long_one_ends_the_connection() {
    // (which way is cut, healed after s, arrives between s and s after the cut)
    for (there, back, heal, range) in [
        (true, true, 1, Some((1, 2))),
        (true, false, 60, Some((60, 110))),
        (true, true, 800, Some((800, 930))),
        (false, true, 60, Some((0, 1))),
        (true, true, 2000, None),
        (true, false, 2000, None),
    ] {
        world(async |net| {
            let (a, b) = (node(&net, 1), node(&net, 2));
            let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
            if there {
                net.cut(ip(1), ip(2));
            }
            if back {
                net.cut(ip(2), ip(1));
            }
            let case = format!("{there} {back} {heal}");
            dialed.write_all(b"x").await.unwrap();
            let net_of_task = net.clone();
            let env = a.clone();
            a.spawn("healer", async move {
                env.sleep(secs(heal)).await;
                net_of_task.heal_all();
            });
            if let Some((from, to)) = range {
                let (took, byte) = timed(&net, accepted.read_u8()).await;
                assert_eq!(byte.unwrap(), b'x');
                assert!(took >= secs(from) && took < secs(to), "{case}: {took:?}");
                a.sleep(secs(200)).await;
                accepted.write_all(b"y").await.unwrap();
                assert_eq!(dialed.read_u8().await.unwrap(), b'y', "{case}");
            } else {
                let (took, lost) = timed(&net, dialed.read_u8()).await;
                assert_eq!(lost.unwrap_err().kind(), ErrorKind::TimedOut, "{case}");
                assert!(took > secs(900) && took < secs(1100), "{case}: {took:?}");
                let broken = dialed.write_all(b"z").await.unwrap_err();
                assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
            }
        });
    }
}

#[test]
fn a_writer_waits_for_a_reader_that_does_not_read() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        let block = vec![7; 1 << 20];
        let stuck = a.timeout(secs(3600), dialed.write_all(&block)).await;
        assert!(stuck.is_err(), "the window is less than a megabyte");
        let mut seen = 0;
        let mut buf = vec![0; 10_000];
        while let Ok(len) = b.timeout(secs(1), accepted.read(&mut buf)).await {
            seen += len.unwrap();
        }
        assert_eq!(seen, 256 << 10);
        // And all of it arrives when there is a reader.
        let writer = a.spawn("writer", async move { dialed.write_all(&block).await });
        let mut all = Vec::new();
        accepted.read_to_end(&mut all).await.unwrap();
        assert_eq!(all.len(), 1 << 20);
        writer.await.unwrap().unwrap();
    });
}

#[test]
fn a_window_opens_only_when_word_of_it_gets_back() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        dialed.write_all(&vec![1; 256 << 10]).await.unwrap();
        a.sleep(secs(1)).await;
        net.cut(ip(2), ip(1));
        let mut all = vec![0; 256 << 10];
        accepted.read_exact(&mut all).await.unwrap();
        let more = a.timeout(secs(10), dialed.write_all(b"more")).await;
        assert!(more.is_err());
        net.heal(ip(2), ip(1));
        let (took, done) = timed(&net, dialed.write_all(b"more")).await;
        done.unwrap();
        assert!(took > ms(0) && took < secs(20), "{took:?}");
    });
}

#[test]
fn a_slow_link_carries_at_its_speed() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        net.set_link(
            ip(1),
            ip(2),
            LinkFaults {
                bandwidth: Some(100_000),
                ..delay(ms(10))
            },
        );
        let writer = a.spawn("writer", async move {
            dialed.write_all(&vec![0; 1_000_000]).await.unwrap();
        });
        let (took, all) = timed(&net, async {
            let mut all = Vec::new();
            accepted.read_to_end(&mut all).await.unwrap();
            all
        })
        .await;
        assert_eq!(all.len(), 1_000_000);
        assert!(took > secs(10) && took < secs(11), "{took:?}");
        writer.await.unwrap();
    });
}

#[test]
fn each_direction_ends_on_its_own() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        dialed.write_all(b"all").await.unwrap();
        dialed.shutdown().await.unwrap();
        let refused = dialed.write_all(b"more").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
        let mut seen = Vec::new();
        accepted.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"all");
        accepted.write_all(b"answer").await.unwrap();
        drop(accepted);
        let mut seen = Vec::new();
        dialed.read_to_end(&mut seen).await.unwrap();
        assert_eq!(seen, b"answer");
    });
}

#[test]
fn a_stream_dropped_with_unread_bytes_is_reset() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, accepted) = connected(&a, &b, at(2, 80)).await;
        dialed.write_all(b"unread").await.unwrap();
        accepted.readable().await.unwrap();
        drop(accepted);
        let reset = dialed.read_u8().await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        assert_eq!(dialed.read(&mut [0]).await.unwrap(), 0, "told once");
        let broken = dialed.write_all(b"x").await.unwrap_err();
        assert_eq!(broken.kind(), ErrorKind::BrokenPipe);
    });
}

#[test]
fn bytes_sent_to_a_dropped_stream_are_answered_by_a_reset() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        accepted.write_all(b"bye").await.unwrap();
        drop(accepted);
        a.sleep(secs(1)).await;
        dialed.write_all(b"x").await.unwrap();
        a.sleep(secs(1)).await;
        // What had arrived can be read before the reset shows.
        let mut seen = [0; 3];
        dialed.read_exact(&mut seen).await.unwrap();
        let reset = dialed.read_u8().await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_lost_reset_is_made_up_for_when_the_peer_sends() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        dialed.write_all(b"unread").await.unwrap();
        accepted.write_all(b"hello").await.unwrap();
        accepted.readable().await.unwrap();
        let mut seen = [0; 5];
        dialed.read_exact(&mut seen).await.unwrap();
        net.cut_both(ip(1), ip(2));
        drop(accepted);
        a.sleep(secs(5)).await;
        net.heal_both(ip(1), ip(2));
        let quiet = a.timeout(secs(3600), dialed.read_u8()).await;
        assert!(quiet.is_err(), "nobody tells");
        dialed.write_all(b"x").await.unwrap();
        let reset = dialed.read_u8().await.unwrap_err();
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn keepalive_finds_a_silent_peer_and_leaves_a_living_one_alone() {
    // (what happens, how it ends)
    for (case, ends) in [
        ("nothing", None),
        ("short cut", None),
        ("cut", Some(ErrorKind::TimedOut)),
        ("one way", Some(ErrorKind::TimedOut)),
        ("down", Some(ErrorKind::TimedOut)),
        ("down and up", Some(ErrorKind::ConnectionReset)),
    ] {
        world(async |net| {
            let (a, b) = (node(&net, 1), node(&net, 2));
            let (mut dialed, _accepted) = connected(&a, &b, at(2, 80)).await;
            dialed.set_keepalive(secs(15), secs(15)).unwrap();
            match case {
                "short cut" => {
                    net.cut_both(ip(1), ip(2));
                    a.sleep(secs(60)).await;
                    net.heal_all();
                }
                "cut" => net.cut_both(ip(1), ip(2)),
                "one way" => net.cut(ip(2), ip(1)),
                "down" => net.set_down(ip(2)),
                "down and up" => {
                    net.set_down(ip(2));
                    a.sleep(secs(30)).await;
                    net.set_up(ip(2));
                }
                _ => {}
            }
            let before = net.elapsed();
            match (a.timeout(secs(7200), dialed.read_u8()).await, ends) {
                (Err(_), None) => {}
                (Ok(Err(err)), Some(kind)) => {
                    assert_eq!(err.kind(), kind, "{case}");
                    assert!(net.elapsed() - before <= secs(151), "{case}");
                }
                (other, _) => panic!("{case}: {other:?}"),
            }
        });
    }
}

#[test]
fn addresses_are_bound_once_unless_shared() {
    world(async |net| {
        let a = node(&net, 1);
        let bind = |addr: &str, reuse_port| {
            let options = BindOptions {
                reuse_port,
                ..BindOptions::default()
            };
            TcpListener::bind(&a, addr.parse().unwrap(), options).map_err(|err| err.kind())
        };
        // (bound, then asked for, both shared, refusal)
        let taken = Some(ErrorKind::AddrInUse);
        for (first, second, shared, refusal) in [
            ("10.0.0.1:80", "10.0.0.1:80", false, taken),
            ("10.0.0.1:80", "10.0.0.1:81", false, None),
            ("10.0.0.1:80", "127.0.0.1:80", false, None),
            ("10.0.0.1:80", "0.0.0.0:80", false, taken),
            ("0.0.0.0:80", "127.0.0.1:80", false, taken),
            ("10.0.0.1:80", "10.0.0.1:80", true, None),
            (
                "10.0.0.1:80",
                "10.0.0.2:80",
                false,
                Some(ErrorKind::AddrNotAvailable),
            ),
        ] {
            let kept = bind(first, shared).unwrap();
            let second_bound = bind(second, shared);
            assert_eq!(second_bound.as_ref().err().copied(), refusal, "{second}");
            drop((kept, second_bound));
            bind(first, false).unwrap();
        }
        let any = bind("0.0.0.0:0", false).unwrap();
        let addr = any.local_addr().unwrap();
        assert_eq!(addr.ip(), ip(1), "a wildcard is the host's address");
        for to in [addr.to_string(), format!("127.0.0.1:{}", addr.port())] {
            let to: SocketAddr = to.parse().unwrap();
            let dialed = TcpStream::connect(&a, to).await.unwrap();
            let (accepted, peer) = any.accept().await.unwrap();
            assert_eq!(peer.ip(), to.ip());
            assert_eq!(accepted.local_addr().unwrap(), to);
            assert_eq!(dialed.peer_addr().unwrap(), to);
        }
        let other = bind("10.0.0.1:0", false).unwrap();
        assert_ne!(other.local_addr().unwrap().port(), addr.port());
    });
}

#[test]
fn loopback_belongs_to_its_host() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let own: SocketAddr = "127.0.0.1:8500".parse().unwrap();
        let listener = listen(&a, own);
        let other = TcpStream::connect(&b, own).await.unwrap_err();
        assert_eq!(other.kind(), ErrorKind::ConnectionRefused);
        let from_outside = TcpStream::connect(&b, at(1, 8500)).await.unwrap_err();
        assert_eq!(from_outside.kind(), ErrorKind::ConnectionRefused);
        net.cut_both(ip(1), ip(1));
        let (took, dialed) = timed(&net, TcpStream::connect(&a, own)).await;
        dialed.unwrap();
        assert_eq!(took, ms(0));
        listener.accept().await.unwrap();
    });
}

#[test]
fn listeners_that_share_a_port_share_its_connections() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let options = BindOptions {
            reuse_port: true,
            ..BindOptions::default()
        };
        let first = TcpListener::bind(&b, at(2, 80), options).unwrap();
        let second = TcpListener::bind(&b, at(2, 80), options).unwrap();
        let mut counts = [0; 2];
        let mut dialed = Vec::new();
        for _ in 0..100 {
            dialed.push(TcpStream::connect(&a, at(2, 80)).await.unwrap());
            a.sleep(ms(5)).await;
            tokio::select! {
                biased;
                got = first.accept() => { got.unwrap(); counts[0] += 1; }
                got = second.accept() => { got.unwrap(); counts[1] += 1; }
            }
        }
        assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    });
}

#[test]
fn connections_that_nobody_accepts_end_with_the_listener() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let options = BindOptions {
            backlog: 2,
            ..BindOptions::default()
        };
        let listener = TcpListener::bind(&b, at(2, 80), options).unwrap();
        let mut waiting = Vec::new();
        for _ in 0..3 {
            waiting.push(TcpStream::connect(&a, at(2, 80)).await.unwrap());
            a.sleep(ms(10)).await;
        }
        let beyond = a.timeout(secs(1), TcpStream::connect(&a, at(2, 80))).await;
        assert!(beyond.is_err(), "the backlog is full");
        drop(listener);
        for mut stream in waiting {
            let reset = stream.read_u8().await.unwrap_err();
            assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
        }
    });
}

#[test]
fn a_dropped_dial_leaves_nothing_behind() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let listener = listen(&b, at(2, 80));
        net.set_default_link(delay(ms(100)));
        for limit in [50, 150, 250] {
            let dial = a
                .timeout(ms(limit), TcpStream::connect(&a, at(2, 80)))
                .await;
            assert_eq!(dial.is_err(), limit < 200);
        }
        a.sleep(secs(1)).await;
        // Only the one that came about is there, with its end.
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
        drop(stream);
        let more = a.timeout(secs(1), listener.accept()).await;
        assert!(more.is_err());
        a.sleep(secs(1)).await;
        net.0.with(|state| assert!(state.conns.is_empty()));
    });
}
