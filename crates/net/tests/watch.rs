//! Watching for the end of a process, with real ones.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use support::{Echo, THEM, US, nobody, serve_peers};
use tokio::io::AsyncWriteExt;
use tribune_net::{Gone, PeerId, PeerOptions, Peers};
use tribune_rt::net::{BindOptions, TcpListener, TcpStream};
use tribune_rt::{CancellationToken, Env, TaskHandle};

/// Names the address for the process that this test starts of itself.
const CHILD: &str = "TRIBUNE_NET_TEST_PEER";

/// Not a test: what the child process runs.
#[test]
fn child() {
    let Ok(addr) = std::env::var(CHILD) else {
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let env = Env::ambient().unwrap();
        let group = env.group(&CancellationToken::new());
        let addr = serve_peers(&env, &group, addr.parse().unwrap(), &Echo::new(US));
        println!("\nlistening on {addr}");
        std::future::pending::<()>().await;
    });
}

/// A process that serves peers.
struct Process {
    child: Child,
    addr: SocketAddr,
}

impl Process {
    fn start(addr: &str) -> Process {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, addr)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addr = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on ").map(str::to_owned));
        Process {
            child,
            addr: addr.expect("it listens").parse().unwrap(),
        }
    }

    /// SIGKILL, without waiting for the end.
    fn kill(&mut self) {
        self.child.kill().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn peers(env: &Env) -> Peers {
    let group = env.group(&CancellationToken::new());
    let options = PeerOptions {
        dial_timeout: Duration::from_millis(300),
        ..PeerOptions::default()
    };
    Peers::new(env, &group, THEM, options)
}

fn watch(env: &Env, target: PeerId, addr: SocketAddr) -> TaskHandle<Gone> {
    env.spawn("watch", peers(env).watch(target, addr))
}

/// It is soon said to be gone: how. The machine may be busy.
async fn gone(env: &Env, watch: &mut TaskHandle<Gone>) -> Gone {
    let told = env.timeout(Duration::from_secs(5), watch).await;
    told.expect("it is said to be gone").unwrap()
}

/// It is not said to be gone for so many milliseconds.
async fn lives_on(env: &Env, watch: &mut TaskHandle<Gone>, ms: u64) {
    let told = env.timeout(Duration::from_millis(ms), watch).await;
    assert_eq!(told.ok().map(Result::unwrap), None);
}

#[tokio::test]
async fn a_process_that_is_killed_is_gone_within_50_ms() {
    let env = Env::ambient().unwrap();
    let mut took = Vec::new();
    for _ in 0..5 {
        let mut process = Process::start("127.44.9.1:0");
        let mut watch = watch(&env, US, process.addr);
        lives_on(&env, &mut watch, 200).await;
        let start = env.mono();
        process.kill();
        assert_eq!(gone(&env, &mut watch).await, Gone::Refused);
        took.push(Duration::from_nanos(env.mono().0 - start.0));
    }
    took.sort();
    println!("from SIGKILL to knowing: {took:?}");
    // The system may be busy once; it is not busy three times.
    assert!(took[2] < Duration::from_millis(50), "{took:?}");
}

#[tokio::test]
async fn nobody_at_the_address_is_gone_at_once() {
    let env = Env::ambient().unwrap();
    let mut watch = watch(&env, US, nobody(&env, "127.44.9.2"));
    assert_eq!(gone(&env, &mut watch).await, Gone::Refused);
}

/// Forwards connections to `to`, and cuts them when told to.
async fn proxy(env: &Env, to: SocketAddr) -> (SocketAddr, tokio::sync::mpsc::Sender<()>) {
    let bind = "127.44.9.3:0".parse().unwrap();
    let listener = TcpListener::bind(env, bind, BindOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap();
    let (cut, mut told) = tokio::sync::mpsc::channel(1);
    let own = env.clone();
    env.spawn("proxy", async move {
        loop {
            let (mut near, _) = listener.accept().await.unwrap();
            let Ok(mut far) = TcpStream::connect(&own, to).await else {
                continue;
            };
            tokio::select! {
                biased;
                Some(()) = told.recv() => {}
                _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
            }
        }
    });
    (addr, cut)
}

#[tokio::test]
async fn a_connection_that_is_cut_is_made_anew_while_somebody_listens() {
    let env = Env::ambient().unwrap();
    let mut process = Process::start("127.44.9.4:0");
    let (addr, cut) = proxy(&env, process.addr).await;
    let mut watch = watch(&env, US, addr);
    for _ in 0..5 {
        lives_on(&env, &mut watch, 150).await;
        cut.send(()).await.unwrap();
    }
    lives_on(&env, &mut watch, 500).await;
    // Behind the proxy there is nobody any more, but it still takes connections: no proof.
    process.kill();
    lives_on(&env, &mut watch, 1000).await;
}

#[tokio::test]
async fn a_peer_that_says_nothing_is_not_gone_until_it_is() {
    let env = Env::ambient().unwrap();
    let bind = "127.44.9.5:0".parse().unwrap();
    // Takes connections as a stopped process does: the system answers, nobody else.
    let hole = TcpListener::bind(&env, bind, BindOptions::default()).unwrap();
    let mut watch = watch(&env, US, hole.local_addr().unwrap());
    lives_on(&env, &mut watch, 2000).await;
    drop(hole);
    assert_eq!(gone(&env, &mut watch).await, Gone::Refused);
}

#[tokio::test]
async fn another_server_at_the_address_means_that_the_first_is_gone() {
    let env = Env::ambient().unwrap();
    let mut process = Process::start("127.44.9.6:0");
    let (stop, other) = (CancellationToken::new(), PeerId([7; 16]));
    let mut watch = watch(&env, US, process.addr);
    lives_on(&env, &mut watch, 200).await;
    // It takes the address over so quickly that no dial is refused.
    let (addr, _cut) = proxy(&env, process.addr).await;
    let mut through = self::watch(&env, US, addr);
    lives_on(&env, &mut through, 200).await;
    process.kill();
    assert_eq!(gone(&env, &mut watch).await, Gone::Refused);
    process.child.wait().unwrap();
    let group = env.group(&stop);
    serve_peers(&env, &group, process.addr, &Echo::new(other));
    assert_eq!(gone(&env, &mut through).await, Gone::Replaced(other));
}

#[tokio::test]
async fn something_that_is_no_server_proves_nothing() {
    let env = Env::ambient().unwrap();
    let bind = "127.44.9.7:0".parse().unwrap();
    let listener = TcpListener::bind(&env, bind, BindOptions::default()).unwrap();
    let addr = listener.local_addr().unwrap();
    env.spawn("web", async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let mut watch = watch(&env, US, addr);
    lives_on(&env, &mut watch, 1000).await;
}
