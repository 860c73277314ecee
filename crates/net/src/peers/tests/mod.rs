//! Both sides against hand-driven peers, on virtual time.

mod acceptor;
mod calls;
mod dialer;
mod snapshots;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{Notify, mpsc};
use tribune_rt::Env;

use super::frame::{Decoder, Frame, HEADER_SIZE, Header, Kind};
use super::{PeerHandler, PeerId};
use crate::{CallFailure, CallResult, SnapshotReply};

const US: PeerId = PeerId([1; 16]);
const THEM: PeerId = PeerId([2; 16]);
const LIMIT: Duration = Duration::from_secs(10);

fn addr() -> SocketAddr {
    "192.0.2.7:1".parse().unwrap()
}

/// Answers by the first byte: `w` waits for a release, `l` with a mebibyte, anything else with itself.
#[derive(Default)]
struct Handler {
    running: AtomicUsize,
    release: Notify,
    snapshots: Mutex<Vec<Result<usize, std::io::ErrorKind>>>,
}

struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Handler {
    fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }
}

impl PeerHandler for Handler {
    fn own_id(&self) -> PeerId {
        US
    }

    fn call<'a>(
        &'a self,
        from: PeerId,
        peer: SocketAddr,
        request: Bytes,
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        assert_eq!((from, peer), (THEM, addr()));
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(&self.running);
        Box::pin(async move {
            let _running = running;
            match request.first() {
                Some(b'w') => self.release.notified().await,
                Some(b'l') => return Bytes::from(vec![b'l'; 1 << 20]),
                _ => {}
            }
            request
        })
    }

    fn snapshot<'a>(
        &'a self,
        from: PeerId,
        header: Bytes,
        body: &'a mut (dyn AsyncRead + Send + Unpin),
    ) -> Pin<Box<dyn Future<Output = Bytes> + Send + 'a>> {
        assert_eq!(from, THEM);
        Box::pin(async move {
            if header == "no" {
                return Bytes::from_static(b"refused");
            }
            let mut all = Vec::new();
            let read = body.read_to_end(&mut all).await;
            self.snapshots.lock().push(read.map_err(|err| err.kind()));
            if header == "slow" {
                self.release.notified().await;
            }
            assert!(all.iter().all(|byte| *byte == 7));
            header
        })
    }
}

impl crate::Handler for Handler {
    /// Answers by the method: `Wait` waits for a release, `Long` answers with a mebibyte, `Huge` with more than fits,
    /// `Fail` fails, `Echo` answers with the body, and nothing else is understood.
    fn call<'a>(
        &'a self,
        peer: SocketAddr,
        method: &'a str,
        body: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        assert_eq!(peer, addr());
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(&self.running);
        Box::pin(async move {
            let _running = running;
            match method {
                "Wait" => self.release.notified().await,
                "Long" => return Ok(vec![b'l'; 1 << 20]),
                "Huge" => return Ok(vec![b'h'; 64 << 20]),
                "Fail" => return Err(CallFailure::failed("it failed")),
                "Echo" => {}
                _ => return Err(CallFailure::refused(format!("no {method}"))),
            }
            Ok(body.to_vec())
        })
    }

    fn passed_on<'a>(
        &'a self,
        _: SocketAddr,
        _: &'a str,
        _: &'a [u8],
    ) -> Pin<Box<dyn Future<Output = CallResult> + Send + 'a>> {
        Box::pin(std::future::ready(Ok(b"passed on".to_vec())))
    }

    fn snapshot<'a>(
        &'a self,
        _: SocketAddr,
        _: &'a [u8],
        _: mpsc::Receiver<Bytes>,
    ) -> Pin<Box<dyn Future<Output = SnapshotReply> + Send + 'a>> {
        unreachable!("nobody sends one")
    }
}

/// The far side, frame by frame.
struct Peer {
    env: Env,
    io: DuplexStream,
    decoder: Decoder,
}

impl Peer {
    fn new(env: &Env, io: DuplexStream) -> Peer {
        Peer {
            env: env.clone(),
            io,
            decoder: Decoder::default(),
        }
    }

    async fn send(&mut self, kind: Kind, sequence: u64, bytes: &[u8]) {
        self.io
            .write_all(&frame(kind, sequence, bytes))
            .await
            .unwrap();
    }

    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        self.decoder.read(&mut self.io).await.ok()?
    }

    /// The next frame as (kind, sequence, bytes); `None` at the end.
    async fn told(&mut self) -> Option<(Kind, u64, Vec<u8>)> {
        let frame = self.next().await?;
        Some((frame.kind, frame.sequence, frame.bytes.to_vec()))
    }

    /// Waits for the other side to close.
    async fn closed(&mut self) {
        while self.next().await.is_some() {}
    }

    async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        for _ in 0..10_000 {
            if holds() {
                return;
            }
            self.env.sleep(Duration::from_millis(1)).await;
        }
        panic!("never: {what}");
    }
}

/// A frame on the wire.
fn frame(kind: Kind, sequence: u64, bytes: &[u8]) -> Vec<u8> {
    let header = head(kind, sequence, u32::try_from(bytes.len()).unwrap());
    [&header[..], bytes].concat()
}

/// The header of one.
fn head(kind: Kind, sequence: u64, length: u32) -> [u8; HEADER_SIZE] {
    Header {
        length,
        sequence,
        kind,
    }
    .encode()
}

/// What breaks the rules whoever sends it: (what, bytes).
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let mut huge = frame(Kind::Request, 1, b"");
    huge[..4].fill(0xff);
    let mut garbage = vec![0x55; 10_000];
    garbage[4] = 0;
    vec![
        (
            "an unknown kind",
            vec![0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 99],
        ),
        ("kind 0", vec![0; 100]),
        ("a length beyond the bound", huge),
        ("a ping with bytes", frame(Kind::Ping, 1, b"x")),
        ("garbage", garbage),
        ("text", b"GET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec()),
        ("a piece among calls", frame(Kind::Piece, 1, b"x")),
        ("an end among calls", frame(Kind::End, 1, b"")),
        ("a pong to no ping", frame(Kind::Pong, 1, b"")),
        ("a response to nothing", frame(Kind::Response, 77, b"x")),
        (
            "the head of a response to nothing",
            head(Kind::Response, 77, 64 << 20).to_vec(),
        ),
    ]
}

fn handler() -> Arc<Handler> {
    Arc::default()
}
