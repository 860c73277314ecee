//! Processes that die, stand still and start again; hosts without power; clocks.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::net::{UdpSocket, UnixListener, UnixStream};
use crate::{CancellationToken, TaskError, spawn_current};

/// Counts while it lives.
struct Counted(Arc<AtomicUsize>);

impl Counted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn a_killed_process_leaves_no_task_whoever_spawned_it() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let alive = Arc::new(AtomicUsize::new(0));
        let bystander = b.spawn("bystander", {
            let b = b.clone();
            async move { b.sleep(secs(10)).await }
        });
        let endless = |alive: &Arc<AtomicUsize>| {
            let counted = Counted::new(alive);
            async move {
                let _counted = counted;
                std::future::pending::<()>().await
            }
        };
        a.spawn("plain", endless(&alive));
        a.spawn_here("here", endless(&alive));
        a.front_workers()[0].spawn("front", {
            let task = endless(&alive);
            || task
        });
        let group = a.group(&CancellationToken::new());
        group.spawn("grouped", endless(&alive));
        let inner = endless(&alive);
        let outer = a.spawn("outer", async move {
            spawn_current("by a library", inner).join().await
        });
        a.sleep(ms(1)).await;
        let ran = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&ran);
        let work = a.spawn_blocking("work", move || count.fetch_add(1, Ordering::SeqCst));
        assert_eq!(alive.load(Ordering::SeqCst), 5);
        assert_eq!(a.task_names().len(), 7);
        assert!(net.is_running(ip(1)) && a.is_alive());
        a.kill();
        assert!(!net.is_running(ip(1)) && !a.is_alive());
        assert_eq!(work.await, Err(TaskError::Cancelled { name: "work" }));
        assert!(outer.await.is_err());
        b.sleep(ms(1)).await;
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(ran.load(Ordering::SeqCst), 0);
        assert!(a.task_names().is_empty());
        assert!(a.spawn("late", async {}).await.is_err());
        let late = TcpListener::bind(&a, at(1, 80), BindOptions::default()).unwrap_err();
        assert_eq!(late.kind(), ErrorKind::ConnectionAborted);
        assert!(TcpStream::connect(&a, at(2, 80)).await.is_err());
        bystander.await.unwrap();
    });
}

#[test]
fn the_current_node_is_that_of_the_task() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        a.set_clock_drift(100_000);
        a.sleep(secs(10)).await;
        let seen = |env: &Env| env.spawn("asks", async { Env::current().map(|env| env.mono()) });
        assert_eq!(seen(&a).await.unwrap(), Some(a.mono()));
        assert_eq!(seen(&b).await.unwrap(), Some(b.mono()));
        assert_ne!(a.mono(), b.mono());
    });
    assert!(Env::current().is_none());
}

#[test]
fn peers_of_a_killed_process_learn_it_after_the_delay() {
    let mut ends = [0; 2];
    for seed in 0..20 {
        let kind: usize = sim::block_on(seed, |_| async move {
            let net = SimNet::new(seed);
            net.set_default_link(delay(ms(20)));
            let (a, b) = (node(&net, 1), node(&net, 2));
            let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
            accepted.write_all(b"sent before").await.unwrap();
            let mut seen = [0; 11];
            dialed.read_exact(&mut seen).await.unwrap();
            if seed == 0 {
                dialed.write_all(b"unread").await.unwrap();
                a.sleep(ms(100)).await;
            }
            net.kill(ip(2));
            let (took, end) = timed(&net, dialed.read(&mut seen)).await;
            assert_eq!(took, ms(20));
            let reset = match end {
                Ok(0) => {
                    assert_ne!(seed, 0, "unread bytes make a reset");
                    dialed.write_all(b"x").await.unwrap();
                    a.sleep(ms(100)).await;
                    let err = dialed.read_u8().await.unwrap_err();
                    (err.kind() == ErrorKind::ConnectionReset).then_some(0)
                }
                Err(err) => (err.kind() == ErrorKind::ConnectionReset).then_some(1),
                Ok(_) => None,
            };
            let (took, refused) = timed(&net, TcpStream::connect(&a, at(2, 80))).await;
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert_eq!(took, ms(40));
            let gone = accepted.read_u8().await.unwrap_err();
            assert_eq!(gone.kind(), ErrorKind::ConnectionAborted);
            reset.unwrap()
        });
        ends[kind] += 1;
    }
    assert!(ends.iter().all(|count| *count > 2), "{ends:?}");
}

#[test]
fn peers_of_a_host_without_power_hear_nothing() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let (mut dialed, _accepted) = connected(&a, &b, at(2, 80)).await;
        net.set_down(ip(2));
        assert!(!b.is_alive());
        let silent = a.timeout(secs(60), dialed.read_u8()).await;
        assert!(silent.is_err());
        dialed.write_all(b"into the void").await.unwrap();
        let silent = a.timeout(secs(60), dialed.read_u8()).await;
        assert!(silent.is_err());
        // Another process starts there: it knows nothing of the connection.
        let again = node(&net, 2);
        let _listener = listen(&again, at(2, 80));
        let reset = a.timeout(secs(121), dialed.read_u8()).await.unwrap();
        assert_eq!(reset.unwrap_err().kind(), ErrorKind::ConnectionReset);
        TcpStream::connect(&a, at(2, 80)).await.unwrap();
    });
}

#[test]
fn a_process_starts_again_on_the_same_address_and_disk() {
    world(async |net| {
        let disk = SimDisk::new(5);
        let start = |seed| Env::sim_node(seed, disk.clone(), &net, ip(1));
        let first = start(1).unwrap();
        assert_eq!(start(2).unwrap_err().kind(), ErrorKind::AddrInUse);
        let path = Path::new("/f");
        first.disk().write_atomic(path, b"kept", 0o600, 1).unwrap();
        let listener = listen(&first, at(1, 80));
        let socket = UdpSocket::bind(&first, at(1, 80), BindOptions::default()).unwrap();
        first.sleep(secs(100)).await;
        let wall = first.wall();
        first.kill();
        disk.crash();
        let second = start(2).unwrap();
        assert_eq!(second.disk().read(path).unwrap(), b"kept");
        assert_eq!(second.wall(), wall, "the world's clock went on");
        let again = listen(&second, at(1, 80));
        UdpSocket::bind(&second, at(1, 80), BindOptions::default()).unwrap();
        // Sockets of the first do not come between.
        assert!(listener.accept().await.is_err());
        assert!(socket.send_to(b"x", at(1, 80)).await.is_err());
        drop((listener, socket));
        first.kill();
        first.set_paused(true);
        let (dialed, accepted) = (
            TcpStream::connect(&second, at(1, 80)).await,
            again.accept().await,
        );
        assert!(dialed.is_ok() && accepted.is_ok());
    });
}

#[test]
fn a_paused_process_stands_still_while_its_buffers_fill() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        let ticks = Arc::new(Mutex::new(0));
        let (env, count) = (b.clone(), Arc::clone(&ticks));
        b.spawn("ticks", async move {
            loop {
                env.sleep(ms(10)).await;
                *count.lock() += 1;
            }
        });
        let (mut dialed, mut accepted) = connected(&a, &b, at(2, 80)).await;
        let listener = listen(&b, at(2, 81));
        let echo = b.spawn("echo", async move {
            let byte = accepted.read_u8().await.unwrap();
            accepted.write_u8(byte).await.unwrap();
        });
        a.sleep(secs(1)).await;
        net.pause(ip(2));
        let before = *ticks.lock();
        assert!(before > 90);
        dialed.write_all(b"x").await.unwrap();
        // The system accepts in the process's place.
        let waiting = TcpStream::connect(&a, at(2, 81)).await.unwrap();
        let silent = a.timeout(secs(1000), dialed.read_u8()).await;
        assert!(silent.is_err());
        let held = a.timeout(secs(1), listener.accept()).await;
        assert!(held.is_err());
        assert_eq!(*ticks.lock(), before);
        net.resume(ip(2));
        assert_eq!(dialed.read_u8().await.unwrap(), b'x');
        listener.accept().await.unwrap();
        a.sleep(ms(100)).await;
        let after = *ticks.lock();
        assert!(after > before && after < before + 15, "{before} {after}");
        echo.await.unwrap();
        drop(waiting);
        b.set_paused(true);
        net.kill(ip(2));
        a.sleep(secs(1)).await;
        assert_eq!(*ticks.lock(), after, "killed while it stood");
        assert!(b.task_names().is_empty());
    });
}

#[test]
fn clocks_of_nodes_differ_as_told() {
    world(async |net| {
        let (a, b) = (node(&net, 1), node(&net, 2));
        a.set_clock_drift(200_000);
        b.skew_wall(-5_000_000_000);
        let (took, ()) = timed(&net, a.sleep(secs(12))).await;
        assert_eq!(took, secs(10));
        assert_eq!(a.mono().0, 12_000_000_000);
        assert_eq!(b.mono().0, 10_000_000_000);
        assert_eq!(a.wall().0 - b.wall().0, 7_000_000_000);
        let (took, _) = timed(&net, a.timeout(secs(12), std::future::pending::<()>())).await;
        assert_eq!(took, secs(10));
    });
}

#[test]
fn what_is_not_simulated_says_so() {
    world(async |net| {
        let a = node(&net, 1);
        let path = Path::new("/nowhere");
        let unix = UnixListener::bind(&a, path).unwrap_err();
        assert_eq!(unix.kind(), ErrorKind::Unsupported);
        let unix = UnixStream::connect(&a, path).await.unwrap_err();
        assert_eq!(unix.kind(), ErrorKind::Unsupported);
        let thread = a.spawn_thread("thread", || {}).unwrap_err();
        assert_eq!(thread.kind(), ErrorKind::Unsupported);
        for bad in ["0.0.0.0", "127.0.0.1"] {
            let started = Env::sim_node(1, SimDisk::new(1), &net, bad.parse().unwrap());
            assert_eq!(started.unwrap_err().kind(), ErrorKind::AddrNotAvailable);
        }
    });
}
