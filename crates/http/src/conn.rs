//! One connection: HTTP/1.1 or HTTP/2 on any stream, until it ends or the server stops.
//!
//! When the client hangs up, hyper drops the future of the request in work, and with it a parked query. A client that
//! dribbles the head of a request is cut off by [`Watch`]: the stream notes when a head began, a sweeper per worker looks
//! at all of them every few seconds. That costs a connection 64 bytes and no timer, and leaves idle keep-alive
//! connections and blocking queries alone.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, rt};
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tribune_rt::{CancellationToken, Env};

use crate::cx::Cx;
use crate::response::Response;
use crate::wrap::{self, Answering};

/// Bytes of a request head, URL included. The same for the read buffer, which hyper starts at 8 KiB.
pub(crate) const HEAD_SIZE_MAX: usize = 128 * 1024;
/// Header fields of a request.
const HEADERS_MAX: usize = 128;
/// Requests in work on one HTTP/2 connection.
const STREAMS_MAX: u32 = 250;
/// How often heads are looked at.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// When the head of the next request began to arrive.
pub(crate) struct Watch {
    env: Env,
    /// Monotonic nanoseconds; 0 while no head is under way.
    head_since: AtomicU64,
    /// A request is in work: what arrives is its body.
    busy: AtomicBool,
    expired: AtomicBool,
    reader: Mutex<Option<Waker>>,
}

impl Watch {
    fn new(env: &Env) -> Arc<Watch> {
        Arc::new(Watch {
            env: env.clone(),
            head_since: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            expired: AtomicBool::new(false),
            reader: Mutex::new(None),
        })
    }

    /// Notes the arrival of bytes; true for the first ones of a head.
    fn on_bytes(&self) -> bool {
        let first =
            !self.busy.load(Ordering::Relaxed) && self.head_since.load(Ordering::Relaxed) == 0;
        if first {
            self.head_since
                .store(self.env.mono().0.max(1), Ordering::Relaxed);
        }
        first
    }

    fn on_request(&self) {
        self.head_since.store(0, Ordering::Relaxed);
        self.busy.store(true, Ordering::Relaxed);
    }

    fn on_answer(&self) {
        self.busy.store(false, Ordering::Relaxed);
    }

    fn expire(&self, before: u64) {
        let since = self.head_since.load(Ordering::Relaxed);
        if since != 0 && since < before {
            self.expired.store(true, Ordering::Release);
            if let Some(waker) = self.reader.lock().take() {
                waker.wake();
            }
        }
    }
}

/// The connections of one worker whose heads are watched.
#[derive(Clone, Default)]
pub(crate) struct Watches(Arc<Mutex<Vec<Weak<Watch>>>>);

impl Watches {
    /// Watches a new connection.
    pub(crate) fn add(&self, env: &Env) -> Arc<Watch> {
        let watch = Watch::new(env);
        self.0.lock().push(Arc::downgrade(&watch));
        watch
    }

    /// Cuts connections off whose head takes longer than `limit`, until `stop`.
    pub(crate) async fn sweep(self, env: Env, limit: Duration, stop: CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = env.sleep(SWEEP_EVERY) => {}
            }
            let before = (env.mono() - limit).0;
            self.0.lock().retain(|watch| match watch.upgrade() {
                Some(watch) => {
                    watch.expire(before);
                    true
                }
                None => false,
            });
        }
    }
}

/// A stream that tells its watch what arrives, and mends request lines.
///
/// Go takes `"`, `<`, `>` and a backtick in a URL as they are, and scripts rely on it (`?filter=Node=="web"`), while
/// the parser below hyper refuses them. They are escaped on the way in. Requests that a client sends before it has the
/// answer to the one before are not mended.
pub(crate) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
    /// The end of the request line has not come yet.
    in_line: bool,
    /// Escaped bytes that did not fit the reader's buffer.
    rest: Bytes,
}

impl<S> Watched<S> {
    /// Puts a stream under watch.
    pub(crate) fn new(stream: S, watch: Arc<Watch>) -> Watched<S> {
        Watched {
            stream,
            watch,
            in_line: false,
            rest: Bytes::new(),
        }
    }
}

impl<S> Watched<S> {
    /// Escapes what the parser would refuse in the part of the request line that arrived after `before`.
    fn mend(&mut self, buf: &mut ReadBuf<'_>, before: usize) {
        let arrived = buf.filled().get(before..).unwrap_or_default();
        let line_end = arrived.iter().position(|byte| *byte == b'\n');
        self.in_line = line_end.is_none();
        let (line, after) = arrived.split_at(line_end.unwrap_or(arrived.len()));
        if !line.iter().any(|byte| REFUSED.contains(byte)) {
            return;
        }
        let mut mended = Vec::with_capacity(arrived.len() + 64);
        for byte in line {
            match byte {
                b'"' => mended.extend_from_slice(b"%22"),
                b'<' => mended.extend_from_slice(b"%3C"),
                b'>' => mended.extend_from_slice(b"%3E"),
                b'`' => mended.extend_from_slice(b"%60"),
                _ => mended.push(*byte),
            }
        }
        mended.extend_from_slice(after);
        let mut mended = Bytes::from(mended);
        buf.set_filled(before);
        let size = mended.len().min(buf.remaining());
        buf.put_slice(&mended.split_to(size));
        self.rest = mended;
    }
}

/// What Go takes in a URL and the parser does not.
const REFUSED: [u8; 4] = [b'"', b'<', b'>', b'`'];

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.expired.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        if !self.rest.is_empty() {
            let size = self.rest.len().min(buf.remaining());
            buf.put_slice(&self.rest.split_to(size));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => {
                self.in_line |= self.watch.on_bytes();
                if self.in_line {
                    self.mend(buf, before);
                }
            }
            // Only a head that came in pieces needs waking.
            Poll::Pending if self.watch.head_since.load(Ordering::Relaxed) != 0 => {
                *self.watch.reader.lock() = Some(cx.waker().clone())
            }
            _ => {}
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Answers the requests of one connection.
pub(crate) struct ConnService {
    cx: Arc<Cx>,
    peer: Option<IpAddr>,
    watch: Option<Arc<Watch>>,
}

impl Service<Request<Incoming>> for ConnService {
    type Response = Response;
    type Error = Infallible;
    type Future = InWork;

    fn call(&self, request: Request<Incoming>) -> InWork {
        if let Some(watch) = &self.watch {
            watch.on_request();
        }
        InWork {
            answering: wrap::answer(&self.cx, self.peer, request),
            watch: self.watch.clone(),
        }
    }
}

/// A request in work.
pub(crate) struct InWork {
    answering: Answering,
    watch: Option<Arc<Watch>>,
}

impl Future for InWork {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = std::task::ready!(Pin::new(&mut self.answering).poll(cx));
        if let Some(watch) = &self.watch {
            watch.on_answer();
        }
        Poll::Ready(Ok(response))
    }
}

/// When connections end.
#[derive(Clone)]
pub(crate) struct Stops {
    /// No further requests; answers in work may finish.
    pub(crate) graceful: CancellationToken,
    /// At once.
    pub(crate) now: CancellationToken,
}

/// Serves HTTP/1.1 on a stream.
pub(crate) async fn http1<S>(
    cx: Arc<Cx>,
    peer: Option<IpAddr>,
    stream: S,
    watch: Arc<Watch>,
    stops: Stops,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let io = TokioIo::new(Watched::new(stream, Arc::clone(&watch)));
    let service = ConnService {
        cx,
        peer,
        watch: Some(watch),
    };
    // Not `pipeline_flush`: with it the refusal of a head that is too large is never flushed.
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(HEAD_SIZE_MAX)
        .max_headers(HEADERS_MAX)
        .title_case_headers(true);
    let mut conn = pin!(builder.serve_connection(io, service));
    tokio::select! {
        biased;
        // How a connection broke off is the client's business.
        _ = conn.as_mut() => return,
        () = stops.graceful.cancelled() => {}
    }
    conn.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = conn => {}
        () = stops.now.cancelled() => {}
    }
}

/// Serves HTTP/2 on a stream.
pub(crate) async fn http2<S>(cx: Arc<Cx>, peer: Option<IpAddr>, stream: S, stops: Stops)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let executor = Executor(cx.env.clone());
    let service = ConnService {
        cx,
        peer,
        watch: None,
    };
    let mut builder = http2::Builder::new(executor);
    let head_size = u32::try_from(HEAD_SIZE_MAX).unwrap_or(u32::MAX);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(head_size);
    let mut conn = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        biased;
        _ = conn.as_mut() => return,
        () = stops.graceful.cancelled() => {}
    }
    conn.as_mut().graceful_shutdown();
    tokio::select! {
        biased;
        _ = conn => {}
        () = stops.now.cancelled() => {}
    }
}

/// Starts the tasks of HTTP/2 streams on the worker of their connection.
#[derive(Clone)]
struct Executor(Env);

impl<F> rt::Executor<F> for Executor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        // Ends with its connection.
        drop(self.0.spawn_here("http2-stream", async move {
            future.await;
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The future of one parked connection; hyper's buffers come on top.
    #[test]
    fn a_connection_task_stays_small() {
        fn size<F>(
            _make: impl Fn(Arc<Cx>, tribune_rt::net::TcpStream, Arc<Watch>, Stops) -> F,
        ) -> usize {
            size_of::<F>()
        }
        let bytes = size(|cx, stream, watch, stops| http1(cx, None, stream, watch, stops));
        assert!(bytes < 2048, "{bytes} bytes");
    }

    /// Serves pieces of a request; keeps nothing back.
    struct Pieces(Vec<&'static [u8]>);

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            if !self.0.is_empty() {
                buf.put_slice(self.0.remove(0));
            }
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn request_lines_are_mended_and_nothing_else_is() {
        use tokio::io::AsyncReadExt;
        // (pieces, what the parser sees)
        for (pieces, want) in [
            (
                vec![&b"GET /a HTTP/1.1\r\nX: \"<>`\r\n\r\n"[..]],
                &b"GET /a HTTP/1.1\r\nX: \"<>`\r\n\r\n"[..],
            ),
            (
                vec![b"GET /?f=N==\"a\" H\r\nX: \"\r\n\r\n"],
                b"GET /?f=N==%22a%22 H\r\nX: \"\r\n\r\n",
            ),
            (
                vec![b"GET /<", b"`>", b"\" H\r\n", b"X: <\r\n"],
                b"GET /%3C%60%3E%22 H\r\nX: <\r\n",
            ),
        ] {
            let env = Env::ambient().unwrap();
            let mut stream = Watched::new(Pieces(pieces), Watch::new(&env));
            // A buffer that the escaped line does not fit.
            let mut seen = Vec::new();
            let mut buffer = [0; 32];
            loop {
                let size = stream.read(&mut buffer).await.unwrap();
                if size == 0 {
                    break;
                }
                seen.extend_from_slice(&buffer[..size]);
            }
            assert_eq!(
                String::from_utf8_lossy(&seen),
                String::from_utf8_lossy(want)
            );
        }
    }

    #[tokio::test]
    async fn a_head_that_dribbles_is_cut_off_and_an_idle_connection_is_not() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let env = Env::ambient().unwrap();
        let watch = Watch::new(&env);
        let (near, mut far) = tokio::io::duplex(64);
        let mut stream = Watched::new(near, Arc::clone(&watch));
        let mut byte = [0; 8];
        watch.expire(u64::MAX);
        far.write_all(b"GET").await.unwrap();
        assert_eq!(stream.read(&mut byte).await.unwrap(), 3);
        let (read, ()) = tokio::join!(stream.read(&mut byte), async { watch.expire(u64::MAX) });
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }
}
