//! Peers over real sockets: connections made, shared, lost and refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::{Echo, LONG, THEM, US, nobody, serve, serve_peers, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tribune_net::{NetOptions, PeerError, PeerHandler, PeerId, PeerOptions, Peers};
use tribune_rt::net::{BindOptions, TcpListener, TcpStream};
use tribune_rt::{CancellationToken, Env, TaskGroup};

struct World {
    env: Env,
    echo: Arc<Echo>,
    addr: SocketAddr,
    server: TaskGroup,
    peers: Peers,
    _client: TaskGroup,
}

fn world(change: impl FnOnce(&mut NetOptions, &mut PeerOptions)) -> World {
    let env = Env::ambient().unwrap();
    let stop = CancellationToken::new();
    let (server, client) = (env.group(&stop), env.group(&stop));
    let echo = Echo::new(US);
    let mut options = NetOptions {
        peers: Some(Arc::clone(&echo) as Arc<dyn PeerHandler>),
        ..NetOptions::new("127.44.8.1:0".parse().unwrap())
    };
    let mut peer_options = PeerOptions::default();
    change(&mut options, &mut peer_options);
    let addr = serve(&env, &server, options);
    let peers = Peers::new(&env, &client, THEM, peer_options);
    World {
        env,
        echo,
        addr,
        server,
        peers,
        _client: client,
    }
}

impl World {
    async fn call(&self, request: &'static str) -> Result<Bytes, PeerError> {
        let request = Bytes::from_static(request.as_bytes());
        self.peers.call(US, self.addr, request, LONG).await
    }

    async fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        until(&self.env, what, holds).await;
    }
}

/// Forwards connections, so that they can be counted.
async fn counting(env: &Env, to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let bind = "127.44.8.2:0".parse().unwrap();
    let listener = TcpListener::bind(env, bind, BindOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let (own, counted) = (env.clone(), Arc::clone(&count));
    env.spawn("counting", async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            let env = own.clone();
            own.spawn("forward", async move {
                let mut far = TcpStream::connect(&env, to).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
            });
        }
    });
    (addr, count)
}

#[tokio::test]
async fn callers_at_a_time_share_one_dial_and_one_connection() {
    let w = world(|_, _| {});
    let (addr, count) = counting(&w.env, w.addr).await;
    let mut calls = Vec::new();
    for number in 0..200 {
        let peers = w.peers.clone();
        calls.push(w.env.spawn("call", async move {
            let request = Bytes::from(format!("request {number}"));
            peers.call(US, addr, request.clone(), LONG).await.unwrap() == request
        }));
    }
    for call in calls {
        assert!(call.join().await.unwrap());
    }
    assert_eq!(count.load(Ordering::SeqCst), 1);
    assert_eq!(w.peers.connected(), [addr]);
}

#[tokio::test]
async fn messages_of_any_size_are_carried_beside_calls_that_wait() {
    let w = world(|_, _| {});
    let waiting = {
        let (peers, addr) = (w.peers.clone(), w.addr);
        w.env.spawn("wait", async move {
            peers
                .call(US, addr, Bytes::from_static(b"wait"), LONG)
                .await
        })
    };
    w.until("it waits", || w.echo.waiting.load(Ordering::SeqCst) == 1)
        .await;
    for size in [0, 1, 16 << 10, 300_000, 20 << 20, 64 << 20] {
        let request = Bytes::from(vec![7; size]);
        let answer = w.peers.call(US, w.addr, request.clone(), LONG).await;
        assert!(answer.unwrap() == request, "{size}");
    }
    let large = Bytes::from(vec![7; (64 << 20) + 1]);
    let err = w.peers.call(US, w.addr, large, LONG).await.unwrap_err();
    assert!(matches!(err, PeerError::Failed(_)));
    w.echo.release.notify_waiters();
    assert_eq!(waiting.join().await.unwrap().unwrap(), "wait");
}

#[tokio::test]
async fn a_snapshot_goes_beside_the_calls() {
    let w = world(|_, _| {});
    let header = Bytes::from_static(b"h");
    let sent = w
        .peers
        .send_snapshot(US, w.addr, header.clone(), &[7; 1_000_000][..]);
    assert_eq!(sent.await.unwrap(), "b\"h\": 1000000");
    let other = PeerId([3; 16]);
    let sent = w.peers.send_snapshot(other, w.addr, header, &[7][..]);
    assert!(matches!(sent.await, Err(PeerError::Unreachable(_))));
}

#[tokio::test]
async fn a_refused_dial_fails_all_its_callers_at_once() {
    let w = world(|_, _| {});
    let addr = nobody(&w.env, "127.44.8.3");
    let start = w.env.mono();
    for _ in 0..50 {
        let call = w.peers.call(US, addr, Bytes::new(), LONG).await;
        assert_eq!(
            call.unwrap_err(),
            PeerError::Unreachable(format!("dial {addr}: connection refused"))
        );
    }
    let took = Duration::from_nanos(w.env.mono().0 - start.0);
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert!(w.peers.connected().is_empty());
}

#[tokio::test]
async fn a_server_that_comes_back_is_reached_within_the_pause() {
    let w = world(|_, _| {});
    assert_eq!(w.call("one").await.unwrap(), "one");
    let lost = {
        let (peers, addr) = (w.peers.clone(), w.addr);
        w.env.spawn("wait", async move {
            peers
                .call(US, addr, Bytes::from_static(b"wait"), LONG)
                .await
        })
    };
    w.until("it waits", || w.echo.waiting.load(Ordering::SeqCst) == 1)
        .await;
    assert!(w.server.shutdown(LONG).await);
    let err = lost.join().await.unwrap().unwrap_err();
    assert!(matches!(err, PeerError::Failed(_)), "{err}");
    for _ in 0..20 {
        let err = w.call("two").await.unwrap_err();
        assert!(matches!(err, PeerError::Unreachable(_)), "{err}");
        w.env.sleep(Duration::from_millis(50)).await;
    }
    let again = w.env.group(&CancellationToken::new());
    serve_peers(&w.env, &again, w.addr, &w.echo);
    let back = w.env.mono();
    while w.call("three").await.is_err() {
        w.env.sleep(Duration::from_millis(5)).await;
    }
    let took = Duration::from_nanos(w.env.mono().0 - back.0);
    assert!(took < Duration::from_millis(1500), "{took:?}");
}

#[tokio::test]
async fn another_server_at_the_address_says_so() {
    let w = world(|_, _| {});
    let other = PeerId([9; 16]);
    let call = w.peers.call(other, w.addr, Bytes::new(), LONG).await;
    assert_eq!(
        call.unwrap_err(),
        PeerError::Unreachable(format!(
            "dial {}: another server ({US}) lives there",
            w.addr
        ))
    );
    assert_eq!(
        w.call("one").await.unwrap(),
        "one",
        "the right one is served"
    );
}

#[tokio::test]
async fn a_server_without_peers_is_not_reached() {
    let w = world(|net, _| net.peers = None);
    let err = w.call("one").await.unwrap_err();
    assert!(matches!(err, PeerError::Unreachable(_)), "{err}");
}

#[tokio::test]
async fn a_call_has_a_limit_before_and_after_the_dial() {
    let w = world(|_, _| {});
    let limit = Duration::from_millis(50);
    let call = w.peers.call(US, w.addr, Bytes::from_static(b"wait"), limit);
    let err = call.await.unwrap_err();
    assert_eq!(
        err,
        PeerError::Failed(format!("no answer from {} within 50ms", w.addr))
    );
    assert_eq!(
        w.call("one").await.unwrap(),
        "one",
        "the connection is whole"
    );
    // Takes connections, says nothing.
    let bind = "127.44.8.4:0".parse().unwrap();
    let hole = TcpListener::bind(&w.env, bind, BindOptions::default()).unwrap();
    let addr = hole.local_addr().unwrap();
    let err = w
        .peers
        .call(US, addr, Bytes::new(), limit)
        .await
        .unwrap_err();
    assert_eq!(
        err,
        PeerError::Unreachable(format!("no connection to {addr} within 50ms"))
    );
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_and_made_anew() {
    let w = world(|_, peers| peers.idle_timeout = Duration::from_secs(1));
    assert_eq!(w.call("one").await.unwrap(), "one");
    w.until("it is closed", || w.peers.connected().is_empty())
        .await;
    assert_eq!(w.call("two").await.unwrap(), "two");
}

/// Reads until the other side closes; how long that took.
async fn closes(env: &Env, stream: &mut TcpStream) -> Duration {
    let start = env.mono();
    let mut rest = Vec::new();
    let read = env.timeout(LONG, stream.read_to_end(&mut rest)).await;
    assert!(read.is_ok(), "it stays open");
    Duration::from_nanos(env.mono().0 - start.0)
}

#[tokio::test]
async fn others_of_an_address_cannot_keep_its_servers_out() {
    let w = world(|net, _| net.conns_per_addr_max = 5);
    let mut held = Vec::new();
    for _ in 0..5 {
        let mut stream = TcpStream::connect(&w.env, w.addr).await.unwrap();
        stream.write_all(&[0]).await.unwrap();
        held.push(stream);
    }
    // One more is told by its first byte, or by its silence.
    let mut more = TcpStream::connect(&w.env, w.addr).await.unwrap();
    more.write_all(&[0]).await.unwrap();
    assert!(closes(&w.env, &mut more).await < Duration::from_millis(800));
    let mut silent = TcpStream::connect(&w.env, w.addr).await.unwrap();
    let took = closes(&w.env, &mut silent).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
    // Peers come in, and do not count.
    assert_eq!(w.call("one").await.unwrap(), "one");
    drop(held.pop());
    // The place is free again as soon as its end is noticed.
    let deadline = w.env.mono() + LONG;
    loop {
        let mut fifth = TcpStream::connect(&w.env, w.addr).await.unwrap();
        fifth.write_all(&[0]).await.unwrap();
        let mut byte = [0];
        let stays = { &w.env }
            .timeout(Duration::from_millis(1500), fifth.read(&mut byte))
            .await;
        if stays.is_err() {
            return;
        }
        assert!(w.env.mono() < deadline, "the place is never free again");
        w.env.sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_raft_of_a_go_server_is_closed() {
    let w = world(|_, _| {});
    for _ in 0..10 {
        let mut stream = TcpStream::connect(&w.env, w.addr).await.unwrap();
        stream.write_all(&[1, 0, 0, 0]).await.unwrap();
        assert!(closes(&w.env, &mut stream).await < Duration::from_secs(1));
    }
}
