//! Calls in frames over real sockets: beside streams, instead of them, and where they are not taken.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use support::{Echo, LONG, THEM, US, nobody, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tribune_net::{
    CallError, CallFailure, CallResult, Framed, Handler, Lost, NetOptions, NotSent, PeerHandler,
    PeerId, Pool, PoolOptions, SnapshotReply, Target,
};
use tribune_rt::net::TcpStream;
use tribune_rt::{CancellationToken, Env, TaskGroup, TaskHandle};

/// A server of a few methods.
#[derive(Default)]
struct Methods {
    waiting: AtomicUsize,
    release: Notify,
}

impl Methods {
    async fn serve(&self, method: &str, body: &[u8]) -> CallResult {
        match method {
            "Test.Echo" => {}
            "Test.Wait" => {
                self.waiting.fetch_add(1, Ordering::SeqCst);
                self.release.notified().await;
            }
            "Test.Long" => return Ok(value(3 << 20)),
            "Test.Fail" => return Err(CallFailure::failed("no such thing")),
            _ => return Err(CallFailure::refused(format!("no {method}"))),
        }
        Ok(body.to_vec())
    }
}

impl Handler for Methods {
    fn call<'a>(
        &'a self,
        _peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.serve(method, body))
    }

    fn passed_on<'a>(
        &'a self,
        _peer: SocketAddr,
        _method: &'a str,
        _body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(vec![0xc3])))
    }

    fn snapshot<'a>(
        &'a self,
        _peer: SocketAddr,
        _request: &'a [u8],
        _archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        unreachable!("nobody sends one")
    }
}

/// A raw string of this many bytes.
fn value(len: usize) -> Vec<u8> {
    let mut out = vec![0xdb];
    out.extend_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
    out.resize(len + 5, b'v');
    out
}

struct World {
    env: Env,
    methods: Arc<Methods>,
    addr: SocketAddr,
    server: TaskGroup,
    pool: Pool,
    _client: TaskGroup,
}

fn world(change: impl FnOnce(&mut NetOptions, &mut Framed)) -> World {
    let env = Env::ambient().unwrap();
    let stop = CancellationToken::new();
    let (server, client) = (env.group(&stop), env.group(&stop));
    let methods = Arc::new(Methods::default());
    let mut net = NetOptions {
        peers: Some(Echo::new(US) as Arc<dyn PeerHandler>),
        ..NetOptions::new("127.61.1.1:0".parse().unwrap())
    };
    let mut framed = Framed {
        own: THEM,
        calls_min: 0,
        idle_timeout: LONG,
    };
    change(&mut net, &mut framed);
    let addr = serve(&env, &server, net, &methods);
    let options = PoolOptions {
        framed: Some(framed),
        ..PoolOptions::default()
    };
    let pool = Pool::new(&env, &client, options);
    World {
        env,
        methods,
        addr,
        server,
        pool,
        _client: client,
    }
}

fn serve(env: &Env, group: &TaskGroup, net: NetOptions, methods: &Arc<Methods>) -> SocketAddr {
    let methods = Arc::clone(methods) as Arc<dyn Handler>;
    tribune_net::serve(env, group, net, methods).unwrap()
}

impl World {
    fn target(&self) -> Target {
        Target {
            addr: self.addr,
            id: Some(US),
        }
    }

    async fn call_at(
        &self,
        target: Target,
        method: &str,
        body: &[u8],
    ) -> Result<Vec<u8>, CallError> {
        self.pool.line(target).await?.call(method, body, LONG).await
    }

    async fn call(&self, method: &str, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.call_at(self.target(), method, body).await
    }

    /// A call that waits, once it does.
    async fn waiting(&self) -> TaskHandle<Result<Vec<u8>, CallError>> {
        let (pool, target) = (self.pool.clone(), self.target());
        let before = self.methods.waiting.load(Ordering::SeqCst);
        let call = self.env.spawn("wait", async move {
            let line = pool.line(target).await?;
            line.call("Test.Wait", &[0xc0], LONG).await
        });
        let waits = || self.methods.waiting.load(Ordering::SeqCst) > before;
        self.until("it waits", waits).await;
        call
    }

    async fn until(&self, what: &str, holds: impl FnMut() -> bool) {
        until(&self.env, what, holds).await;
    }

    /// Which connections there are: with frames, with streams.
    fn connected(&self) -> (bool, bool) {
        let is_there = |addrs: Vec<SocketAddr>| addrs.contains(&self.addr);
        (
            is_there(self.pool.framed()),
            is_there(self.pool.connected()),
        )
    }
}

#[tokio::test]
async fn frames_and_streams_say_the_same() {
    let framed = world(|_, _| {});
    let streams = world(|net, _| net.peers = None);
    let no_method = "x".repeat(255);
    for (method, body) in [
        ("Test.Echo", value(100)),
        ("Test.Echo", value(100_000)),
        ("Test.Long", vec![0xc0]),
        ("Test.Fail", vec![0xc0]),
        ("Test.Nope", vec![0xc0]),
        ("", vec![0xc0]),
        (&no_method, vec![0xc0]),
    ] {
        let want = streams.call(method, &body).await;
        assert!(framed.call(method, &body).await == want, "{method}");
    }
    assert_eq!(framed.connected(), (true, false));
    assert_eq!(streams.connected(), (false, true));
    for w in [framed, streams] {
        let line = w.pool.line(w.target()).await.unwrap();
        assert_eq!(
            line.pass_on("Test.Echo", &[0xc0], LONG).await,
            Ok(vec![0xc3])
        );
    }
}

#[tokio::test]
async fn what_does_not_fit_into_a_frame_goes_on_a_stream() {
    let w = world(|_, _| {});
    let body = value(300 << 10);
    assert!(w.call("Test.Echo", &body).await == Ok(body));
    assert_eq!(w.connected(), (true, true));
    let long = "x".repeat(256);
    let err = w.call(&long, &[0xc0]).await.unwrap_err();
    assert_eq!(err, CallError::Remote(format!("no {long}")));
}

#[tokio::test]
async fn calls_that_wait_hold_up_no_others_however_many_they_are() {
    let w = world(|_, _| {});
    let mut waiting = Vec::new();
    for _ in 0..600 {
        let (pool, target) = (w.pool.clone(), w.target());
        waiting.push(w.env.spawn("wait", async move {
            let line = pool.line(target).await?;
            line.call("Test.Wait", &[0xc0], LONG).await
        }));
    }
    let all = || w.methods.waiting.load(Ordering::SeqCst) == 600;
    w.until("all wait", all).await;
    assert_eq!(w.connected(), (true, true));
    assert_eq!(w.call("Test.Echo", &[0x07]).await, Ok(vec![0x07]));
    w.methods.release.notify_waiters();
    for call in waiting {
        assert_eq!(call.join().await.unwrap(), Ok(vec![0xc0]));
    }
}

#[tokio::test]
async fn a_server_that_takes_no_frames_is_called_on_streams() {
    // Another server lives there; it has no peers; it has too many such connections; it is not known who it is.
    let other = Some(PeerId([9; 16]));
    let w = world(|net, _| net.conns_per_addr_max = 2);
    let without = world(|net, _| net.peers = None);
    let mut held = Vec::new();
    for (w, id) in [(&w, other), (&without, Some(US)), (&w, None)] {
        let target = Target { addr: w.addr, id };
        for n in 0..3 {
            assert_eq!(w.call_at(target, "Test.Echo", &[n]).await, Ok(vec![n]));
        }
        assert_eq!(w.connected(), (false, true));
    }
    for _ in 0..2 {
        let mut stream = TcpStream::connect(&w.env, w.addr).await.unwrap();
        let hello = [&b"TRIB\x01\x03"[..], &[2; 16], &[1; 16]].concat();
        stream.write_all(&hello).await.unwrap();
        let mut answer = [0; 22];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(answer[5], 0, "welcome");
        held.push(stream);
    }
    assert_eq!(w.call("Test.Echo", &[1]).await, Ok(vec![1]));
    assert_eq!(w.connected(), (false, true));
    // There is room again, which is found out within a second or so.
    held.clear();
    let deadline = w.env.mono() + LONG;
    while !w.connected().0 {
        assert!(w.env.mono() < deadline, "it never takes frames again");
        assert_eq!(w.call("Test.Echo", &[1]).await, Ok(vec![1]));
        w.env.sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_the_same_error_either_way() {
    let w = world(|_, _| {});
    let nobody = nobody(&w.env, "127.61.1.2");
    for id in [None, Some(US)] {
        let target = Target { addr: nobody, id };
        let err = w.pool.line(target).await.err().unwrap();
        let text = format!("dial tcp {nobody}: connect: connection refused");
        assert_eq!(err, CallError::NotSent(NotSent::Dial(text.into())));
    }
}

#[tokio::test]
async fn a_call_that_was_sent_is_of_unknown_fate_when_its_server_goes() {
    let w = world(|_, _| {});
    let lost = w.waiting().await;
    assert!(w.server.shutdown(LONG).await);
    let err = lost.join().await.unwrap().unwrap_err();
    assert_eq!(err, CallError::FateUnknown(Lost::Eof));
    let err = w.call("Test.Echo", &[1]).await.unwrap_err();
    assert!(err.is_not_sent(), "{err}");
    // It is back at once when its server is, whatever was tried meanwhile.
    for _ in 0..20 {
        assert!(w.call("Test.Echo", &[1]).await.is_err());
    }
    let again = w.env.group(&CancellationToken::new());
    let net = NetOptions {
        peers: Some(Echo::new(US) as Arc<dyn PeerHandler>),
        ..NetOptions::new(w.addr)
    };
    serve(&w.env, &again, net, &w.methods);
    assert_eq!(w.call("Test.Echo", &[1]).await, Ok(vec![1]));
    let _ = again.shutdown(LONG).await;
}

#[tokio::test]
async fn a_call_has_a_deadline_and_leaves_the_connection_whole() {
    let w = world(|_, _| {});
    let line = w.pool.line(w.target()).await.unwrap();
    let call = line.call("Test.Wait", &[0xc0], Duration::from_millis(30));
    let err = call.await.unwrap_err();
    assert_eq!(err, CallError::FateUnknown(Lost::Deadline));
    assert_eq!(w.call("Test.Echo", &[1]).await, Ok(vec![1]));
    assert_eq!(w.connected(), (true, false));
}

#[tokio::test]
async fn few_calls_are_not_worth_a_connection_and_one_without_calls_is_closed() {
    let w = world(|_, framed| {
        framed.calls_min = 50;
        framed.idle_timeout = Duration::from_secs(1);
    });
    for _ in 0..49 {
        w.call("Test.Echo", &[1]).await.unwrap();
    }
    assert_eq!(w.connected(), (false, true));
    for _ in 0..500 {
        w.call("Test.Echo", &[1]).await.unwrap();
    }
    assert_eq!(w.connected(), (true, true));
    w.until("it is closed", || !w.connected().0).await;
    assert_eq!(w.call("Test.Echo", &[1]).await, Ok(vec![1]));
    assert_eq!(w.connected(), (false, true));
}
