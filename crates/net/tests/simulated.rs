//! The server port, the pool and the peers of this crate on a simulated network.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc};
use tribune_net::{
    CallError, CallResult, Framed, Gone, Handler, Heed, Lost, NetOptions, NotSent, PeerHandler,
    PeerId, PeerOptions, Peers, Pool, PoolOptions, SnapshotReply, Target, serve,
};
use tribune_rt::disk::SimDisk;
use tribune_rt::net::sim::{LinkFaults, SimNet};
use tribune_rt::{CancellationToken, Env, TaskGroup, sim};

/// A server that answers with the request, and counts.
struct Echo {
    id: PeerId,
    calls: Arc<AtomicUsize>,
}

impl Handler for Echo {
    fn call<'a>(
        &'a self,
        _peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            if method == "Test.Wait" {
                std::future::pending::<()>().await;
            }
            Ok(body.to_vec())
        })
    }

    fn snapshot<'a>(
        &'a self,
        _peer: SocketAddr,
        _request: &'a [u8],
        _archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        Box::pin(async {
            SnapshotReply {
                head: vec![0xc0],
                archive: None,
            }
        })
    }
}

impl PeerHandler for Echo {
    fn own_id(&self) -> PeerId {
        self.id
    }

    fn call<'a>(
        &'a self,
        _from: PeerId,
        _addr: SocketAddr,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        Box::pin(async { request })
    }

    fn snapshot<'a>(
        &'a self,
        _from: PeerId,
        _header: Bytes,
        body: &'a mut (dyn AsyncRead + Send + Unpin),
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        Box::pin(async {
            let mut all = Vec::new();
            let whole = body.read_to_end(&mut all).await.is_ok();
            Bytes::from(format!("{whole} {}", all.len()))
        })
    }
}

const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2));
const ADDR: SocketAddr = SocketAddr::new(SERVER, 8300);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

fn node(net: &SimNet, ip: IpAddr, seed: u64) -> Env {
    Env::sim_node(seed, SimDisk::new(seed), net, ip).unwrap()
}

fn start_server(net: &SimNet, id: u8) -> (Env, Arc<AtomicUsize>) {
    let env = node(net, SERVER, u64::from(id));
    let calls = Arc::new(AtomicUsize::new(0));
    let echo = Arc::new(Echo {
        id: PeerId([id; 16]),
        calls: Arc::clone(&calls),
    });
    let mut options = NetOptions::new(ADDR);
    options.peers = Some(Arc::clone(&echo) as Arc<dyn PeerHandler>);
    let group = env.group(&CancellationToken::new());
    serve(&env, &group, options, echo).unwrap();
    (env, calls)
}

/// A raw string, long enough for several segments.
fn value() -> Vec<u8> {
    let mut value = vec![0xda, 0x10, 0x00];
    value.resize(3 + 0x1000, b'v');
    value
}

async fn call(pool: &Pool, limit: u64) -> Result<(), CallError> {
    let reply = pool.call(ADDR, "Test.Echo", &value(), secs(limit)).await?;
    assert_eq!(reply, value());
    Ok(())
}

#[test]
fn calls_go_on_after_a_cut_and_none_is_answered_without_being_served() {
    let run = |seed| {
        sim::block_on(seed, |_| async move {
            let net = SimNet::new(seed);
            net.set_default_link(LinkFaults {
                jitter: Duration::from_millis(5),
                loss_per_million: 10_000,
                ..LinkFaults::default()
            });
            let (_server, served) = start_server(&net, 1);
            let client = node(&net, CLIENT, seed);
            let group = client.group(&CancellationToken::new());
            let pool = Pool::new(&client, &group, PoolOptions::default());
            let mut answered = 0;
            for _ in 0..100 {
                call(&pool, 20).await.unwrap();
                answered += 1;
            }
            net.cut_both(SERVER, CLIENT);
            let lost = call(&pool, 5).await.unwrap_err();
            assert_eq!(lost, CallError::FateUnknown(Lost::Deadline));
            // The connection is found out to be dead, then it cannot be made again.
            client.sleep(secs(60)).await;
            let lost = call(&pool, 5).await.unwrap_err();
            assert!(
                matches!(&lost, CallError::NotSent(NotSent::Dial(text)) if text.ends_with("i/o timeout")),
                "{lost}"
            );
            net.heal_both(SERVER, CLIENT);
            for _ in 0..100 {
                call(&pool, 20).await.unwrap();
                answered += 1;
            }
            // Only the first of the lost calls may have been served, too.
            let served = served.load(Ordering::SeqCst);
            assert!(served == answered || served == answered + 1, "{served}");
            net.digest()
        })
    };
    assert_eq!(run(1), run(1), "the same seed is the same run");
    assert_ne!(run(1), run(2));
}

#[test]
fn a_one_way_cut_is_a_cut() {
    for (from, to) in [(SERVER, CLIENT), (CLIENT, SERVER)] {
        sim::block_on(1, |_| async move {
            let net = SimNet::new(1);
            let (_server, _) = start_server(&net, 1);
            let client = node(&net, CLIENT, 2);
            let group = client.group(&CancellationToken::new());
            let pool = Pool::new(&client, &group, PoolOptions::default());
            call(&pool, 5).await.unwrap();
            net.cut(from, to);
            call(&pool, 5).await.unwrap_err();
            net.heal(from, to);
            // Retransmission may take as long again as the cut took.
            client.sleep(secs(10)).await;
            call(&pool, 5).await.unwrap();
        });
    }
}

#[test]
fn a_killed_server_is_noticed_at_once_and_its_successor_is_found() {
    for seed in 0..10 {
        sim::block_on(seed, |_| async move {
            let net = SimNet::new(seed);
            let (server, _) = start_server(&net, 1);
            let client = node(&net, CLIENT, seed);
            let group = client.group(&CancellationToken::new());
            let pool = Pool::new(&client, &group, PoolOptions::default());
            call(&pool, 5).await.unwrap();
            server.kill();
            client.sleep(Duration::from_millis(10)).await;
            let began = net.elapsed();
            let refused = call(&pool, 5).await.unwrap_err();
            assert!(refused.is_not_sent(), "{refused}");
            assert!(
                refused.to_string().contains("connection refused"),
                "{refused}"
            );
            assert!(net.elapsed() - began < secs(1));
            let (_server, _) = start_server(&net, 2);
            call(&pool, 5).await.unwrap();
        });
    }
}

#[test]
fn watching_tells_a_death_from_a_cut_and_from_a_pause() {
    // (what happens, what the watch says, within ms)
    for (case, says, within) in [
        ("killed", Some(Gone::Refused), 200),
        ("replaced", Some(Gone::Replaced(PeerId([2; 16]))), 2_000),
        ("cut", None, 0),
        ("power", None, 0),
        ("paused", None, 0),
        ("cut and killed", Some(Gone::Refused), 130_000),
    ] {
        sim::block_on(3, |_| async move {
            let net = SimNet::new(3);
            let (server, _) = start_server(&net, 1);
            let client = node(&net, CLIENT, 2);
            let group = client.group(&CancellationToken::new());
            let own = PeerId([9; 16]);
            let peers = Peers::new(&client, &group, own, PeerOptions::default());
            let target = PeerId([1; 16]);
            let echo = peers
                .call(target, ADDR, Bytes::from_static(b"hi"), secs(5))
                .await;
            assert_eq!(echo.unwrap(), "hi");
            let watch = client.spawn("watch", peers.watch(target, ADDR));
            client.sleep(secs(10)).await;
            assert!(!watch.is_finished());
            match case {
                "killed" => server.kill(),
                "replaced" => {
                    server.kill();
                    let _ = start_server(&net, 2);
                }
                "cut" => net.cut_both(SERVER, CLIENT),
                "power" => net.set_down(SERVER),
                "paused" => net.pause(SERVER),
                _ => {
                    net.cut_both(SERVER, CLIENT);
                    server.kill();
                    client.sleep(secs(60)).await;
                    assert!(!watch.is_finished(), "nobody can know");
                    net.heal_all();
                }
            }
            match says {
                Some(gone) => {
                    let limit = Duration::from_millis(within);
                    let seen = client.timeout(limit, watch).await;
                    assert_eq!(seen.expect(case).unwrap(), gone, "{case}");
                }
                None => {
                    client.sleep(secs(300)).await;
                    assert!(!watch.is_finished(), "{case}");
                }
            }
        });
    }
}

#[test]
fn a_snapshot_over_a_slow_link_arrives_whole() {
    sim::block_on(4, |_| async {
        let net = SimNet::new(4);
        let (_server, _) = start_server(&net, 1);
        let client = node(&net, CLIENT, 2);
        net.set_link(
            CLIENT,
            SERVER,
            LinkFaults {
                bandwidth: Some(200_000),
                loss_per_million: 5_000,
                ..LinkFaults::default()
            },
        );
        let group = client.group(&CancellationToken::new());
        let peers = Peers::new(&client, &group, PeerId([9; 16]), PeerOptions::default());
        let body = vec![7u8; 2_000_000];
        let answer = peers
            .send_snapshot(PeerId([1; 16]), ADDR, Bytes::new(), &body[..])
            .await;
        assert_eq!(answer.unwrap(), "true 2000000");
        assert!(net.elapsed() > secs(10));
    });
}

/// A pool that listens to its servers: whoever owes an answer is silent after 300 and another 500 ms.
fn listening(client: &Env, group: &TaskGroup, changed: &Arc<Notify>) -> Pool {
    let options = PoolOptions {
        framed: Some(Framed {
            own: PeerId([9; 16]),
            calls_min: 0,
            idle_timeout: secs(60),
        }),
        heed: Some(Heed {
            ping_after: Duration::from_millis(300),
            silent_after: Duration::from_millis(500),
            prompt_max: secs(60),
            changed: Arc::clone(changed),
        }),
        ..PoolOptions::default()
    };
    Pool::new(client, group, options)
}

#[test]
fn a_server_that_owes_an_answer_is_silent_until_it_is_heard_and_loses_no_call() {
    for (framed, how) in [
        (false, "cut"),
        (true, "cut"),
        (false, "pause"),
        (true, "pause"),
    ] {
        sim::block_on(6, |_| async move {
            let net = SimNet::new(6);
            let (_server, served) = start_server(&net, 1);
            let client = node(&net, CLIENT, 2);
            let group = client.group(&CancellationToken::new());
            let changed = Arc::new(Notify::new());
            let pool = listening(&client, &group, &changed);
            let target = Target {
                addr: ADDR,
                id: framed.then_some(PeerId([1; 16])),
            };
            let (env, asked) = (client.clone(), pool.clone());
            let call = async move || {
                let line = asked.line(target).await?;
                line.call("Test.Echo", &[1], secs(50)).await
            };
            assert_eq!(call().await, Ok(vec![1]));
            assert_eq!(pool.framed().len(), usize::from(framed));
            match how {
                "cut" => net.cut_both(SERVER, CLIENT),
                _ => net.pause(SERVER),
            }
            // Nothing is due yet.
            env.sleep(secs(1)).await;
            assert!(!pool.is_silent(ADDR));
            let begun = client.mono();
            let wakes = changed.notified();
            let pending = client.spawn("call", async move { call().await });
            wakes.await;
            let took = client.mono().since(begun);
            let expected = Duration::from_millis(780)..Duration::from_millis(900);
            assert!(expected.contains(&took), "{how} {framed} {took:?}");
            assert!(pool.is_silent(ADDR));
            client.sleep(secs(2)).await;
            assert!(pool.is_silent(ADDR) && !pending.is_finished());
            let wakes = changed.notified();
            net.heal_all();
            net.resume(SERVER);
            wakes.await;
            assert!(!pool.is_silent(ADDR));
            assert_eq!(pending.join().await.unwrap(), Ok(vec![1]));
            assert_eq!(served.load(Ordering::SeqCst), 2);
        });
    }
}

#[test]
fn a_server_that_takes_its_time_is_not_silent_and_one_with_parked_calls_alone_is_not_asked() {
    // (longest time for an answer, whether the server is pinged again and again)
    for (limit, pinged) in [(50, true), (100, false)] {
        for framed in [false, true] {
            sim::block_on(8, |_| async move {
                let net = SimNet::new(8);
                let (_server, _) = start_server(&net, 1);
                let client = node(&net, CLIENT, 2);
                let group = client.group(&CancellationToken::new());
                let pool = listening(&client, &group, &Arc::default());
                let target = Target {
                    addr: ADDR,
                    id: framed.then_some(PeerId([1; 16])),
                };
                let asked = pool.clone();
                client.spawn("call", async move {
                    let line = asked.line(target).await?;
                    line.call("Test.Wait", &[1], secs(limit)).await
                });
                client.sleep(secs(1)).await;
                let before = net.stats().tcp_bytes;
                for _ in 0..100 {
                    client.sleep(Duration::from_millis(100)).await;
                    assert!(!pool.is_silent(ADDR));
                }
                let bytes = net.stats().tcp_bytes - before;
                // Frames have a keep-alive of their own.
                let least = if framed { 200 } else { 0 };
                assert_eq!(bytes > least, pinged, "{limit} {framed} {bytes}");
            });
        }
    }
}
