//! What an `Env` promises on its real and simulated backends.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tribune_rt::net::{
    BindOptions, RecvBatch, SendBatch, TcpListener, TcpStream, UdpSocket, UnixListener, UnixStream,
};
use tribune_rt::process::Command;
use tribune_rt::{CancellationToken, Env, RealConfig, TaskError};

fn real() -> Env {
    Env::real(RealConfig {
        front_workers: Some(2),
    })
    .unwrap()
}

fn loopback() -> SocketAddr {
    "127.0.0.1:0".parse().unwrap()
}

#[test]
fn tasks_run_fail_and_stop_as_their_handles_say() {
    let env = real();
    let (done, aborted, panicked) = env.block_on(async {
        let done = env.spawn("adds", async { 1 + 1 }).join().await;
        let stuck = env.spawn("stuck", std::future::pending::<()>());
        stuck.abort();
        let fail = true;
        let panicked = env
            .spawn("bad", async move { assert!(!fail, "oh {}", 1) })
            .join()
            .await;
        (done, stuck.join().await, panicked)
    });
    assert_eq!(done, Ok(2));
    assert_eq!(aborted, Err(TaskError::Cancelled { name: "stuck" }));
    assert_eq!(
        panicked,
        Err(TaskError::Panicked {
            name: "bad",
            message: "oh 1".to_owned()
        })
    );
}

#[test]
fn a_group_stops_and_joins_its_tasks() {
    let env = real();
    let root = CancellationToken::new();
    let group = env.group(&root);
    let stop = group.stop().clone();
    group.spawn("waits", async move { stop.cancelled().await });
    assert_eq!(group.len(), 1);
    root.cancel();
    assert!(env.block_on(group.shutdown(Duration::from_secs(5))));
    assert!(group.is_empty());
}

#[test]
fn front_workers_run_tasks_on_threads_of_their_own() {
    let env = real();
    let mut names = Vec::new();
    for worker in env.front_workers() {
        let task = worker.spawn("name", || async {
            std::thread::current().name().map(str::to_owned)
        });
        names.push(env.block_on(task).unwrap().unwrap());
    }
    assert_eq!(names, ["front-0", "front-1"]);
    let on_core = env.spawn("name", async {
        std::thread::current().name().map(str::to_owned)
    });
    assert_eq!(env.block_on(on_core).unwrap().unwrap(), "core");
}

#[test]
fn an_env_may_be_dropped_inside_one_of_its_tasks() {
    let env = real();
    let (tx, rx) = std::sync::mpsc::channel();
    let inner = env.clone();
    let task = env.spawn("last", async move {
        inner.sleep(Duration::from_millis(20)).await;
        drop(inner);
        tx.send(()).unwrap();
    });
    drop((env, task));
    rx.recv_timeout(Duration::from_secs(5)).unwrap();
}

#[test]
fn randomness_stays_in_range_and_time_moves_forward() {
    let env = real();
    assert_eq!(env.random_below(0), 0);
    assert_eq!(env.jitter(Duration::ZERO), Duration::ZERO);
    for _ in 0..1000 {
        assert!(env.random_below(3) < 3);
        assert!(env.jitter(Duration::from_millis(5)) < Duration::from_millis(5));
    }
    let before = env.mono();
    env.block_on(env.sleep(Duration::from_millis(2)));
    assert!(env.mono().0 >= before.0 + 2_000_000);
    assert!(
        env.block_on(env.timeout(Duration::from_millis(1), std::future::pending::<()>()))
            .is_err()
    );
}

#[test]
fn tcp_listeners_share_a_port_and_carry_bytes() {
    let env = real();
    env.block_on(async {
        let options = BindOptions {
            reuse_port: true,
            ..BindOptions::default()
        };
        let first = TcpListener::bind(&env, loopback(), options).unwrap();
        let addr = first.local_addr().unwrap();
        let second = TcpListener::bind(&env, addr, options).unwrap();
        let mut client = TcpStream::connect(&env, addr).await.unwrap();
        client.set_nodelay(true).unwrap();
        client
            .set_keepalive(Duration::from_secs(30), Duration::from_secs(10))
            .unwrap();
        let (mut served, peer) = tokio::select! {
            got = first.accept() => got.unwrap(),
            got = second.accept() => got.unwrap(),
        };
        assert_eq!(peer, client.local_addr().unwrap());
        client.write_all(b"ping").await.unwrap();
        let mut seen = [0; 4];
        assert!(served.peek(&mut seen).await.unwrap() > 0);
        served.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"ping");
    });
    assert!(
        TcpListener::bind(&env, loopback(), BindOptions::default()).is_err(),
        "no reactor here"
    );
}

#[test]
fn udp_batches_arrive_whole_and_in_order() {
    let env = real();
    env.block_on(async {
        let a = UdpSocket::bind(&env, loopback(), BindOptions::default()).unwrap();
        let b = UdpSocket::bind(&env, loopback(), BindOptions::default()).unwrap();
        let to = b.local_addr().unwrap();
        let mut out = SendBatch::new();
        for i in 0..10u8 {
            out.push(to, &vec![i; usize::from(i) + 1]);
        }
        assert_eq!(a.send_batch(&mut out).await.unwrap(), 0);
        assert!(out.is_empty());
        let mut batch = RecvBatch::new(512, 4, 4096);
        let mut seen = Vec::new();
        while seen.len() < 10 {
            assert!(b.recv_batch(&mut batch).await.unwrap() <= 4);
            seen.extend(batch.iter().map(|(peer, bytes)| (peer, bytes.to_vec())));
        }
        for (i, (peer, bytes)) in (0u8..).zip(&seen) {
            assert_eq!(
                (*peer, bytes),
                (a.local_addr().unwrap(), &vec![i; usize::from(i) + 1])
            );
        }
    });
}

#[test]
fn unix_sockets_carry_bytes() {
    let env = real();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    env.block_on(async {
        let listener = UnixListener::bind(&env, &path).unwrap();
        let mut client = UnixStream::connect(&env, &path).await.unwrap();
        let mut served = listener.accept().await.unwrap();
        served.write_all(b"hi").await.unwrap();
        let mut seen = [0; 2];
        client.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen, b"hi");
    });
}

#[test]
fn killing_a_group_ends_the_grandchildren() {
    let env = real();
    env.block_on(async {
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), "sleep 1000 & echo started; wait".into()],
            ..Command::default()
        };
        let mut child = command.spawn().unwrap();
        let mut stdout = child.take_stdout().unwrap();
        let mut line = [0; 8];
        stdout.read_exact(&mut line).await.unwrap();
        child.kill_group().unwrap();
        assert!(!child.wait().await.unwrap().success());
        // The pipe closes only when the sleeping grandchild is gone too.
        let mut rest = Vec::new();
        env.timeout(Duration::from_secs(10), stdout.read_to_end(&mut rest))
            .await
            .unwrap()
            .unwrap();
    });
}

#[test]
fn both_outputs_of_a_child_share_a_pipe_and_keep_their_order() {
    let env = real();
    env.block_on(async {
        let command = Command {
            program: "sh".into(),
            args: vec!["-c".into(), "echo a; echo b >&2; echo c".into()],
            one_output: true,
            ..Command::default()
        };
        let mut child = command.spawn().unwrap();
        assert!(child.take_stderr().is_none());
        let mut out = Vec::new();
        // It ends, so this process holds no end of it for writing.
        child
            .take_stdout()
            .unwrap()
            .read_to_end(&mut out)
            .await
            .unwrap();
        assert_eq!(out, b"a\nb\nc\n");
        assert!(child.wait().await.unwrap().success());
    });
}

#[test]
fn a_child_reads_its_input() {
    let env = real();
    env.block_on(async {
        let command = Command {
            program: "cat".into(),
            stdin: Some(b"abc".to_vec()),
            ..Command::default()
        };
        let mut child = command.spawn().unwrap();
        let mut out = Vec::new();
        child
            .take_stdout()
            .unwrap()
            .read_to_end(&mut out)
            .await
            .unwrap();
        assert!(child.wait().await.unwrap().success());
        assert_eq!(out, b"abc");
    });
}

#[tokio::test(start_paused = true)]
async fn a_simulation_is_decided_by_its_seed() {
    let trace = |env: Env| async move {
        let start = env.wall();
        env.sleep(Duration::from_secs(3600)).await;
        let random: Vec<u64> = (0..4).map(|_| env.random_below(1000)).collect();
        (env.wall().0 - start.0, env.mono().0, random)
    };
    let first = trace(Env::sim(7).unwrap()).await;
    assert_eq!(first, trace(Env::sim(7).unwrap()).await);
    assert_ne!(first.2, trace(Env::sim(8).unwrap()).await.2);
    assert_eq!(first.0, 3_600_000_000_000, "virtual time is exact");
    let env = Env::sim(1).unwrap();
    let before = env.wall().0;
    env.skew_wall(-5);
    assert_eq!(env.wall().0, before - 5);
    assert_eq!(env.spawn_blocking("work", || 4).await, Ok(4));
}
