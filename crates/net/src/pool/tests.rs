//! The pool against the server port.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, mpsc};
use tribune_rt::net::{BindOptions, TcpListener, TcpStream};
use tribune_rt::{CancellationToken, Env, TaskGroup};
use tribune_wire::rpc::write_request_header;

use super::{CallError, Lost, Pool, PoolOptions};
use crate::{CallFailure, CallResult, Handler, NetOptions, SnapshotReply, serve, snapshot};

/// A server of a few methods.
#[derive(Default)]
struct Methods {
    peers: Mutex<Vec<SocketAddr>>,
    running: AtomicUsize,
    passed_on: AtomicUsize,
    release: Notify,
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Methods {
    async fn serve(&self, peer: SocketAddr, method: &str, body: &[u8]) -> CallResult {
        {
            let mut peers = self.peers.lock();
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        self.running.fetch_add(1, Ordering::SeqCst);
        let _running = Running(&self.running);
        match method {
            "Test.Echo" => Ok(body.to_vec()),
            "Test.Wait" => {
                self.release.notified().await;
                Ok(vec![0xc3])
            }
            "Test.Fail" => Err(CallFailure::failed("no such thing")),
            "Test.Long" => Ok(value(3 << 20)),
            _ => Err(CallFailure::refused(format!(
                "rpc: can't find method {method}"
            ))),
        }
    }

    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

impl Handler for Methods {
    fn call<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(self.serve(peer, method, body))
    }

    fn passed_on<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        self.passed_on.fetch_add(1, Ordering::SeqCst);
        Box::pin(self.serve(peer, method, body))
    }

    fn snapshot<'a>(
        &'a self,
        _peer: SocketAddr,
        request: &'a [u8],
        mut archive: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        Box::pin(async move {
            // What follows the request comes back behind the answer, unless the request is false.
            if request == [0xc2] {
                return SnapshotReply {
                    head: vec![0xc2],
                    archive: None,
                };
            }
            let (tx, back) = mpsc::channel(1000);
            while let Some(piece) = archive.recv().await {
                let _ = tx.send(Ok(piece)).await;
            }
            SnapshotReply {
                head: vec![0xc3],
                archive: Some(back),
            }
        })
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

const LONG: Duration = Duration::from_secs(20);

fn world(options: PoolOptions, change: impl FnOnce(&mut NetOptions)) -> World {
    let env = Env::ambient().unwrap();
    let stop = CancellationToken::new();
    let (server, client) = (env.group(&stop), env.group(&stop));
    let methods = Arc::new(Methods::default());
    let mut net = NetOptions::new("127.44.0.1:0".parse().unwrap());
    change(&mut net);
    let addr = serve(&env, &server, net, Arc::clone(&methods) as Arc<dyn Handler>).unwrap();
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

impl World {
    async fn call(&self, method: &str, body: &[u8]) -> Result<Vec<u8>, CallError> {
        self.pool.call(self.addr, method, body, LONG).await
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..1000 {
            if holds() {
                return;
            }
            self.env.sleep(Duration::from_millis(10)).await;
        }
        panic!("never: {what}");
    }
}

#[tokio::test]
async fn calls_at_a_time_share_one_connection_and_do_not_wait_for_one_another() {
    let w = world(PoolOptions::default(), |_| {});
    let mut waiting = Vec::new();
    for _ in 0..300 {
        let (pool, addr) = (w.pool.clone(), w.addr);
        waiting.push(w.env.spawn("wait", async move {
            pool.call(addr, "Test.Wait", &[0x80], LONG).await
        }));
    }
    w.until("all wait", || w.methods.running() == 300).await;
    for len in [0, 100, 300_000, 3 << 20] {
        let body = value(len);
        assert_eq!(w.call("Test.Echo", &body).await, Ok(body), "{len}");
    }
    w.methods.release.notify_waiters();
    for call in waiting {
        assert_eq!(call.join().await.unwrap(), Ok(vec![0xc3]));
    }
    assert_eq!(w.methods.peers.lock().len(), 1);
    assert_eq!(w.pool.connected(), [w.addr]);
}

#[tokio::test]
async fn an_error_reply_is_told_from_a_lost_call() {
    let w = world(PoolOptions::default(), |_| {});
    let err = w.call("Test.Fail", &[0x80]).await.unwrap_err();
    assert_eq!(err, CallError::Remote("no such thing".to_owned()));
    assert_eq!(err.to_string(), "rpc error making call: no such thing");
    let err = w.call("Nope.Nope", &[0x80]).await.unwrap_err();
    assert_eq!(
        err,
        CallError::Remote("rpc: can't find method Nope.Nope".to_owned())
    );
    assert_eq!(w.call("Test.Echo", &[0x01]).await, Ok(vec![0x01]));
    assert_eq!(w.methods.peers.lock().len(), 1, "the connection stays");
}

#[tokio::test]
async fn a_call_that_is_passed_on_is_told_from_one_that_is_made() {
    let w = world(PoolOptions::default(), |_| {});
    let body = value(100);
    w.pool.connect(w.addr).await.unwrap();
    assert_eq!(w.call("Test.Echo", &body).await, Ok(body.clone()));
    assert_eq!(w.methods.passed_on.load(Ordering::SeqCst), 0);
    let line = w.pool.line(w.addr.into()).await.unwrap();
    let passed_on = line.pass_on("Test.Echo", &body, LONG).await;
    assert_eq!(passed_on, Ok(body));
    assert_eq!(w.methods.passed_on.load(Ordering::SeqCst), 1);
    assert_eq!(w.methods.peers.lock().len(), 1);
}

#[tokio::test]
async fn a_refused_connection_means_that_nothing_was_sent() {
    let w = world(PoolOptions::default(), |_| {});
    let nobody = {
        let listener = TcpListener::bind(
            &w.env,
            "127.44.0.2:0".parse().unwrap(),
            BindOptions::default(),
        );
        listener.unwrap().local_addr().unwrap()
    };
    let err = w
        .pool
        .call(nobody, "Test.Echo", &[0x80], LONG)
        .await
        .unwrap_err();
    assert!(err.is_not_sent());
    assert_eq!(
        err.to_string(),
        format!(
            "rpc error getting client: failed to get conn: dial tcp {nobody}: connect: connection refused"
        )
    );
    assert!(w.pool.connected().is_empty());
}

#[tokio::test]
async fn a_dropped_call_is_not_served_any_longer_and_spoils_nothing() {
    let w = world(PoolOptions::default(), |_| {});
    let short = Duration::from_millis(50);
    let call = w.call("Test.Wait", &[0x80]);
    assert!(w.env.timeout(short, call).await.is_err());
    w.until("the server knows", || w.methods.running() == 0)
        .await;
    let err = w
        .pool
        .call(w.addr, "Test.Wait", &[0x80], short)
        .await
        .unwrap_err();
    assert_eq!(err, CallError::FateUnknown(Lost::Deadline));
    w.until("the server knows", || w.methods.running() == 0)
        .await;
    assert_eq!(w.call("Test.Echo", &[0x01]).await, Ok(vec![0x01]));
    assert_eq!(w.methods.peers.lock().len(), 1);
}

#[tokio::test]
async fn a_connection_that_breaks_leaves_the_fate_open_and_the_next_call_dials() {
    let w = world(PoolOptions::default(), |_| {});
    let call = w.call("Test.Wait", &[0x80]);
    let end = async {
        w.until("it waits", || w.methods.running() == 1).await;
        w.server.shutdown(LONG).await;
    };
    let (outcome, ()) = tokio::join!(call, end);
    let err = outcome.unwrap_err();
    assert!(matches!(err, CallError::FateUnknown(_)), "{err:?}");
    assert!(err.is_end());
    w.until("the connection is gone", || w.pool.connected().is_empty())
        .await;
    let again = w.env.group(&CancellationToken::new());
    let handler = Arc::clone(&w.methods) as Arc<dyn Handler>;
    serve(&w.env, &again, NetOptions::new(w.addr), handler).unwrap();
    assert_eq!(w.call("Test.Echo", &[0x01]).await, Ok(vec![0x01]));
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_busy_one_is_not() {
    let options = PoolOptions {
        idle_timeout: Duration::from_millis(200),
        ..PoolOptions::default()
    };
    let w = world(options, |_| {});
    let waiting = {
        let (pool, addr) = (w.pool.clone(), w.addr);
        w.env.spawn("wait", async move {
            pool.call(addr, "Test.Wait", &[0x80], LONG).await
        })
    };
    w.until("it waits", || w.methods.running() == 1).await;
    w.env.sleep(Duration::from_millis(500)).await;
    assert_eq!(w.pool.connected(), [w.addr]);
    w.methods.release.notify_waiters();
    assert_eq!(waiting.join().await.unwrap(), Ok(vec![0xc3]));
    w.until("it is closed", || w.pool.connected().is_empty())
        .await;
    assert_eq!(w.call("Test.Echo", &[0x01]).await, Ok(vec![0x01]));
}

#[tokio::test]
async fn a_reply_larger_than_allowed_is_refused() {
    let options = PoolOptions {
        reply_max: 1 << 20,
        ..PoolOptions::default()
    };
    let w = world(options, |_| {});
    let err = w.call("Test.Long", &[0x80]).await.unwrap_err();
    assert!(matches!(err, CallError::FateUnknown(Lost::Reply(_))));
    assert_eq!(w.call("Test.Echo", &[0x01]).await, Ok(vec![0x01]));
}

#[tokio::test]
async fn replies_that_make_no_sense_are_lost_calls() {
    // (what the server answers to the request with sequence number 0)
    let answers: &[&[u8]] = &[
        b"\xc1\xc1\xc1",
        b"\x01\x01",
        b"\x83\xa5Error\xa0\xa3Seq\x07\xadServiceMethod\xa1x\x80",
        b"\x83\xa5Error\xa0\xa3Seq\x00\xadServiceMethod\xa1x\x80\x80",
        b"\x83\xa5Error\xa0\xa3Seq\x00",
        b"",
    ];
    for answer in answers {
        let env = Env::ambient().unwrap();
        let group = env.group(&CancellationToken::new());
        let bind = "127.44.0.3:0".parse().unwrap();
        let listener = TcpListener::bind(&env, bind, BindOptions::default()).unwrap();
        let addr = listener.local_addr().unwrap();
        let answer = answer.to_vec();
        env.spawn("strange", async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1 + 12 + 12];
            stream.read_exact(&mut head).await.unwrap();
            let mut out = vec![0, 1, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0];
            let len = u8::try_from(answer.len()).unwrap();
            out.extend_from_slice(&[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, len]);
            out.extend_from_slice(&answer);
            stream.write_all(&out).await.unwrap();
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        });
        let pool = Pool::new(&env, &group, PoolOptions::default());
        let err = pool.call(addr, "Test.Echo", &[0x80], LONG).await;
        assert!(matches!(err, Err(CallError::FateUnknown(_))), "{err:?}");
    }
}

// --- snapshots ---------------------------------------------------------------------------------

#[tokio::test]
async fn an_archive_follows_its_request_and_another_its_answer() {
    let w = world(PoolOptions::default(), |_| {});
    for pieces in [0usize, 1, 10] {
        let (tx, upload) = mpsc::channel(1);
        let sent = Bytes::from(vec![7; 50_000]);
        w.env.spawn("upload", async move {
            for _ in 0..pieces {
                tx.send(sent.clone()).await.unwrap();
            }
        });
        let (head, mut download) = snapshot(&w.env, w.addr, LONG, &[0xc3], Some(upload))
            .await
            .unwrap();
        assert_eq!(head, [0xc3]);
        let mut got = 0;
        while let Some(piece) = download.next().await {
            let piece = piece.unwrap();
            assert!(piece.iter().all(|byte| *byte == 7));
            got += piece.len();
        }
        assert_eq!(got, pieces * 50_000);
    }
}

#[tokio::test]
async fn a_snapshot_may_be_refused_while_it_is_still_sent() {
    let w = world(PoolOptions::default(), |_| {});
    let (tx, upload) = mpsc::channel(1);
    w.env.spawn("upload", async move {
        for _ in 0..100 {
            let _ = tx.send(Bytes::from(vec![7; 50_000])).await;
        }
    });
    let answer = snapshot(&w.env, w.addr, LONG, &[0xc2], Some(upload)).await;
    let (head, mut download) = answer.unwrap();
    assert_eq!(head, [0xc2]);
    assert!(download.next().await.is_none());
}

#[tokio::test]
async fn a_snapshot_connection_that_stands_still_is_cut() {
    let w = world(PoolOptions::default(), |net| {
        net.message_timeout = Duration::from_millis(100);
    });
    for sent in [&[5u8][..], &[5, 0xc3], &[5, 0xc3, 1, 2, 3], &[5, 0xc1]] {
        let mut stream = TcpStream::connect(&w.env, w.addr).await.unwrap();
        stream.write_all(sent).await.unwrap();
        assert!(closes(&w, &mut stream, LONG).await, "{sent:?}");
    }
}

// --- the server port ---------------------------------------------------------------------------

fn request(seq: u64, method: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    write_request_header(&mut out, seq, method);
    out.extend_from_slice(body);
    out
}

async fn plain(w: &World) -> TcpStream {
    let mut stream = TcpStream::connect(&w.env, w.addr).await.unwrap();
    stream.write_all(&[0]).await.unwrap();
    stream
}

/// Reads until the other side closes; true if it did so in time.
async fn closes(w: &World, stream: &mut TcpStream, within: Duration) -> bool {
    let mut rest = Vec::new();
    w.env
        .timeout(within, stream.read_to_end(&mut rest))
        .await
        .is_ok()
}

#[tokio::test]
async fn a_message_that_never_ends_is_cut_and_silence_between_messages_is_not() {
    let w = world(PoolOptions::default(), |net| {
        net.message_timeout = Duration::from_millis(300);
    });
    let mut idle = plain(&w).await;
    let mut slow = plain(&w).await;
    let bytes = request(1, "Test.Echo", &value(100));
    let mut cut = false;
    for byte in &bytes[..60] {
        // One byte after the other, each well within the limit.
        if slow.write_all(&[*byte]).await.is_err() {
            cut = true;
            break;
        }
        w.env.sleep(Duration::from_millis(10)).await;
    }
    assert!(cut || closes(&w, &mut slow, Duration::from_secs(1)).await);
    idle.write_all(&bytes).await.unwrap();
    let mut header = [0; 1];
    idle.read_exact(&mut header).await.unwrap();
    assert_eq!(header, [0x83]);
}

#[tokio::test]
async fn a_failed_call_keeps_the_stream_and_one_that_is_not_understood_ends_it() {
    let w = world(PoolOptions::default(), |_| {});
    let mut stream = plain(&w).await;
    let mut bytes = request(1, "Test.Fail", &[0x80]);
    bytes.extend(request(2, "Test.Echo", &[0x05]));
    bytes.extend(request(3, "Nope.Nope", &[0x80]));
    bytes.extend(request(4, "Test.Echo", &[0x06]));
    stream.write_all(&bytes).await.unwrap();
    let mut all = Vec::new();
    // A peer that is closed with bytes unread may see a reset.
    let _ = stream.read_to_end(&mut all).await;
    let text = String::from_utf8_lossy(&all);
    assert!(text.contains("no such thing") && text.contains("can't find method"));
    let seqs = all.windows(5).filter(|w| &w[..4] == b"\xa3Seq").count();
    assert_eq!(seqs, 3);
}

#[tokio::test]
async fn what_is_too_large_or_of_another_protocol_is_closed() {
    let w = world(PoolOptions::default(), |net| net.message_max = 1000);
    let mut large = plain(&w).await;
    large
        .write_all(&request(1, "Test.Echo", &value(999)))
        .await
        .unwrap();
    assert!(closes(&w, &mut large, LONG).await);
    for byte in [1, 2, 3, 6, 7, 22, 255] {
        let mut stream = TcpStream::connect(&w.env, w.addr).await.unwrap();
        stream.write_all(&[byte]).await.unwrap();
        assert!(closes(&w, &mut stream, LONG).await, "{byte}");
    }
    let body = value(990);
    assert_eq!(w.call("Test.Echo", &body).await, Ok(body));
    let err = w.call("Test.Echo", &value(2000)).await.unwrap_err();
    assert!(matches!(err, CallError::FateUnknown(_)), "{err:?}");
}
