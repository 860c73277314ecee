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

    fn on_bytes(&self) {
        if !self.busy.load(Ordering::Relaxed) && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since
                .store(self.env.mono().0.max(1), Ordering::Relaxed);
        }
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

/// A stream that tells its watch what arrives.
pub(crate) struct Watched<S> {
    stream: S,
    watch: Arc<Watch>,
}

impl<S> Watched<S> {
    /// Puts a stream under watch.
    pub(crate) fn new(stream: S, watch: Arc<Watch>) -> Watched<S> {
        Watched { stream, watch }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.watch.expired.load(Ordering::Acquire) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if buf.filled().len() > before => self.watch.on_bytes(),
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
    let mut builder = http1::Builder::new();
    builder
        .max_buf_size(HEAD_SIZE_MAX)
        .max_headers(HEADERS_MAX)
        .pipeline_flush(true)
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
}
