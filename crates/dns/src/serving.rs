//! The drivers over real loopback sockets, with a fixed catalog and fake recursors.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tribune_rt::Env;
use tribune_rt::net::{BindOptions, TcpStream, UdpSocket};

use crate::catalog::{Catalog, Waits};
use crate::options::DnsOptions;
use crate::server::{BindError, DnsServer, start};
use crate::world::World;

const LIMIT: Duration = Duration::from_secs(20);

fn query(id: u16, name: &str, qtype: u16) -> Vec<u8> {
    let mut packet = id.to_be_bytes().to_vec();
    packet.extend_from_slice(b"\x01\x00\0\x01\0\0\0\0\0\0");
    packet.extend_from_slice(crate::wire::Name::from_text(name).unwrap().wire());
    packet.extend_from_slice(&qtype.to_be_bytes());
    packet.extend_from_slice(b"\0\x01");
    packet
}

fn options() -> DnsOptions {
    DnsOptions {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..DnsOptions::default()
    }
}

async fn server(env: &Env, waits: Waits, options: DnsOptions) -> DnsServer {
    start(
        env,
        Catalog::Fixed(Arc::new(World::captured("ref")), waits),
        options,
    )
    .await
    .unwrap()
}

async fn ask_udp(env: &Env, server: SocketAddr, packet: &[u8]) -> Vec<u8> {
    let socket =
        UdpSocket::bind(env, "127.0.0.1:0".parse().unwrap(), BindOptions::default()).unwrap();
    socket.send_to(packet, server).await.unwrap();
    let mut answer = vec![0; 65_535];
    let (size, _) = env
        .timeout(LIMIT, socket.recv_from(&mut answer))
        .await
        .expect("an answer in time")
        .unwrap();
    answer.truncate(size);
    answer
}

async fn ask_tcp(stream: &mut TcpStream, packet: &[u8]) -> Vec<u8> {
    stream
        .write_all(&u16::try_from(packet.len()).unwrap().to_be_bytes())
        .await
        .unwrap();
    stream.write_all(packet).await.unwrap();
    let size = stream.read_u16().await.unwrap();
    let mut answer = vec![0; usize::from(size)];
    stream.read_exact(&mut answer).await.unwrap();
    answer
}

/// Answers every UDP question with this code and as many A records.
async fn recursor(env: &Env, code: u8, addresses: u8) -> SocketAddr {
    let socket =
        UdpSocket::bind(env, "127.0.0.1:0".parse().unwrap(), BindOptions::default()).unwrap();
    let addr = socket.local_addr().unwrap();
    env.spawn("test-recursor", async move {
        let mut bytes = vec![0; 4096];
        while let Ok((size, peer)) = socket.recv_from(&mut bytes).await {
            let mut wrong = bytes[..size].to_vec();
            wrong[2] |= 0x80;
            wrong[0] ^= 0xff;
            // A forged answer first, which must be passed over.
            socket.send_to(&wrong, peer).await.unwrap();
            let mut answer = bytes[..size].to_vec();
            answer[2] |= 0x80;
            answer[3] = 0x80 | code;
            answer[7] = addresses;
            for last in 0..addresses {
                answer.extend_from_slice(b"\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02");
                answer.push(last);
            }
            socket.send_to(&answer, peer).await.unwrap();
        }
    });
    addr
}

#[tokio::test]
async fn questions_are_answered_over_udp_and_several_over_one_tcp_connection() {
    let env = Env::ambient().unwrap();
    for waits in [Waits::No, Waits::Yes] {
        let server = server(&env, waits, options()).await;
        let addr = server.local_addrs()[0];
        let answer = ask_udp(&env, addr, &query(7, "web.service.consul", 1)).await;
        assert_eq!(answer[..8], *b"\0\x07\x85\0\0\x01\0\x01");
        assert!(answer.ends_with(&[127, 0, 0, 10]));
        let mut stream = TcpStream::connect(&env, addr).await.unwrap();
        for id in 0..20 {
            let answer = ask_tcp(&mut stream, &query(id, "lots.service.consul", 1)).await;
            assert_eq!(answer[..2], id.to_be_bytes());
            assert_eq!(answer[6..8], 1200u16.to_be_bytes());
        }
        server.shutdown().await;
    }
}

#[tokio::test]
async fn silence_on_tcp_keeps_the_connection_and_a_cut_message_ends_it() {
    let env = Env::ambient().unwrap();
    let server = server(&env, Waits::No, options()).await;
    let mut stream = TcpStream::connect(&env, server.local_addrs()[0])
        .await
        .unwrap();
    stream.write_all(b"\0\x03abc\0\0").await.unwrap();
    let answer = ask_tcp(&mut stream, &query(1, "foo.node.consul", 1)).await;
    assert_eq!(answer[3] & 15, 0);
    stream.write_all(b"\xff\xffonly this").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    env.timeout(LIMIT, stream.read_to_end(&mut rest))
        .await
        .expect("closed in time")
        .unwrap();
    assert!(rest.is_empty());
}

#[tokio::test]
async fn other_names_go_to_the_recursors_in_order_and_failures_to_the_next() {
    let env = Env::ambient().unwrap();
    let (failing, good) = (recursor(&env, 2, 0).await, recursor(&env, 0, 7).await);
    let server = server(
        &env,
        Waits::No,
        DnsOptions {
            recursors: vec![failing, good],
            ..options()
        },
    )
    .await;
    let addr = server.local_addrs()[0];
    let answer = ask_udp(&env, addr, &query(0x1234, "example.com", 1)).await;
    assert_eq!(answer[..4], *b"\x12\x34\x81\x80");
    assert_eq!(answer[6..8], [0, 7]);
    // An instance with a host name: the alias and five of its addresses, cut to three.
    let answer = ask_udp(&env, addr, &query(1, "named.service.consul", 1)).await;
    assert_eq!(answer[6..8], [0, 3]);
    let mut stream = TcpStream::connect(&env, addr).await.unwrap();
    let answer = ask_tcp(&mut stream, &query(2, "named.service.consul", 1)).await;
    assert_eq!(answer[6..8], [0, 6]);
}

#[tokio::test]
async fn recursors_that_fail_or_are_this_server_give_servfail() {
    let env = Env::ambient().unwrap();
    let (failing, refusing) = (recursor(&env, 2, 0).await, recursor(&env, 5, 0).await);
    let server = server(
        &env,
        Waits::No,
        DnsOptions {
            recursors: vec![failing, refusing],
            ..options()
        },
    )
    .await;
    let addr = server.local_addrs()[0];
    let answer = ask_udp(&env, addr, &query(3, "example.com", 1)).await;
    assert_eq!(answer[..4], *b"\0\x03\x81\x82");
    server
        .reload(DnsOptions {
            recursors: vec![addr],
            ..options()
        })
        .unwrap();
    let answer = ask_udp(&env, addr, &query(4, "example.com", 1)).await;
    assert_eq!(answer[..4], *b"\0\x04\x81\x82");
}

#[tokio::test]
async fn a_silent_recursor_is_given_up_after_the_timeout() {
    let env = Env::ambient().unwrap();
    let silent =
        UdpSocket::bind(&env, "127.0.0.1:0".parse().unwrap(), BindOptions::default()).unwrap();
    let recursors = vec![silent.local_addr().unwrap()];
    let recursor_timeout = Duration::from_millis(50);
    let server = server(
        &env,
        Waits::No,
        DnsOptions {
            recursors,
            recursor_timeout,
            ..options()
        },
    )
    .await;
    let asked = env.mono();
    let answer = ask_udp(&env, server.local_addrs()[0], &query(5, "example.com", 1)).await;
    assert_eq!(answer[3], 0x82);
    assert!(env.mono().since(asked) >= recursor_timeout);
}

#[tokio::test]
async fn a_reload_turns_recursion_off_and_changes_ttls_but_not_the_zone() {
    let env = Env::ambient().unwrap();
    let good = recursor(&env, 0, 1).await;
    let server = server(
        &env,
        Waits::No,
        DnsOptions {
            recursors: vec![good],
            ..options()
        },
    )
    .await;
    let addr = server.local_addrs()[0];
    assert_eq!(
        ask_udp(&env, addr, &query(1, "example.com", 1)).await[3] & 15,
        0
    );
    let changed = DnsOptions {
        domain: "other.".to_owned(),
        node_ttl: Duration::from_secs(9),
        ..options()
    };
    server.reload(changed).unwrap();
    assert_eq!(
        ask_udp(&env, addr, &query(2, "example.com", 1)).await[3] & 15,
        5
    );
    let answer = ask_udp(&env, addr, &query(3, "solo.node.consul", 1)).await;
    assert_eq!(answer[3] & 15, 3);
    let answer = ask_udp(&env, addr, &query(4, "n1.node.consul", 1)).await;
    assert_eq!(answer[answer.len() - 10..answer.len() - 6], [0, 0, 0, 9]);
}

#[tokio::test]
async fn an_address_in_use_is_an_error() {
    let env = Env::ambient().unwrap();
    let first = server(&env, Waits::No, options()).await;
    let taken = DnsOptions {
        listen: first.local_addrs().to_vec(),
        ..DnsOptions::default()
    };
    let again = start(
        &env,
        Catalog::Fixed(Arc::new(World::captured("ref")), Waits::No),
        taken.clone(),
    )
    .await;
    assert!(matches!(again, Err(BindError::Address { .. })), "{again:?}");
    first.shutdown().await;
    let third = start(
        &env,
        Catalog::Fixed(Arc::new(World::captured("ref")), Waits::No),
        taken,
    )
    .await;
    assert!(third.is_ok(), "{third:?}");
}
