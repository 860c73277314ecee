//! Bodies: answers that are whole or streamed, requests read under a limit.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use tokio::sync::mpsc;
use tribune_api::errors::ApiError;
use tribune_rt::Env;
use tribune_types::error::RpcError;

use crate::gzip;

/// The body of an answer.
pub(crate) enum Body {
    /// All of it, until it is taken.
    Whole(Option<Bytes>),
    /// Pieces as they come.
    Stream(Box<Stream>),
}

/// A streamed body.
pub(crate) struct Stream {
    source: Source,
    gzip: Option<gzip::Stream>,
    ended: bool,
}

/// Where pieces come from.
pub(crate) enum Source {
    /// Pieces that cannot fail.
    Lines(mpsc::Receiver<Bytes>),
    /// Pieces of an archive; an error cuts the connection, so that the client sees that it is incomplete.
    Archive(mpsc::Receiver<Result<Bytes, RpcError>>),
}

/// Why a streamed body breaks off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    /// The source failed.
    #[error(transparent)]
    Source(#[from] RpcError),
    /// Compression failed.
    #[error("compression failed")]
    Gzip(#[from] std::io::Error),
}

impl From<Infallible> for StreamError {
    fn from(never: Infallible) -> StreamError {
        match never {}
    }
}

impl Body {
    /// No bytes.
    pub(crate) const EMPTY: Body = Body::Whole(None);

    /// A whole body.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Body {
        let bytes = bytes.into();
        Body::Whole(if bytes.is_empty() { None } else { Some(bytes) })
    }

    /// A streamed body.
    pub(crate) fn stream(source: Source, compress: bool) -> Body {
        Body::Stream(Box::new(Stream {
            source,
            gzip: compress.then(gzip::Stream::new),
            ended: false,
        }))
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        match &mut *self {
            Body::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => stream.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Whole(bytes) => bytes.is_none(),
            Body::Stream(stream) => stream.ended,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Body::Stream(_) => SizeHint::default(),
        }
    }
}

impl Stream {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, StreamError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let next = match &mut self.source {
            Source::Lines(lines) => std::task::ready!(lines.poll_recv(cx)).map(Ok),
            Source::Archive(pieces) => std::task::ready!(pieces.poll_recv(cx)),
        };
        let frame = match (next, &mut self.gzip) {
            (Some(Err(error)), _) => Err(error.into()),
            (Some(Ok(piece)), None) => Ok(piece),
            (Some(Ok(piece)), Some(gzip)) => gzip.piece(&piece).map_err(StreamError::from),
            (None, _) => {
                self.ended = true;
                match self.gzip.take() {
                    None => return Poll::Ready(None),
                    Some(gzip) => gzip.finish().map_err(StreamError::from),
                }
            }
        };
        self.ended |= frame.is_err();
        Poll::Ready(Some(frame.map(Frame::data)))
    }
}

/// How a body is bounded.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BodyLimit {
    /// Most bytes.
    pub(crate) size_max: u64,
    /// Name of the option in the documentation, for the error text; empty for the limit of other bodies.
    pub(crate) option: &'static str,
    /// Patience with a client that sends nothing.
    pub(crate) stall: Duration,
}

/// What is read and thrown away of a refused body, and for how long: a client that is still sending when the connection
/// closes may never see the answer. Go's servers do the same.
const DISCARD_SIZE_MAX: u64 = 1024 * 1024;
const DISCARD_TIME_MAX: Duration = Duration::from_secs(2);

impl BodyLimit {
    fn refuse(&self, size: u64) -> ApiError {
        if self.option.is_empty() {
            ApiError::new(
                413,
                format!(
                    "Request body({size} bytes) too large, max size: {} bytes.",
                    self.size_max
                ),
            )
        } else {
            tribune_api::errors::body_too_large(size, self.size_max, self.option)
        }
    }

    /// Refuses a body by its announced size, before anything of it is read.
    pub(crate) fn check_announced(&self, body: &Incoming) -> Result<(), ApiError> {
        match body.size_hint().exact() {
            Some(size) if size > self.size_max => Err(self.refuse(size)),
            _ => Ok(()),
        }
    }
}

/// Reads a whole body. At most `limit.size_max` bytes and one frame are held. Cancel safe: the body is then lost.
pub(crate) async fn read(
    env: &Env,
    mut body: Incoming,
    limit: BodyLimit,
) -> Result<Bytes, ApiError> {
    if let Err(refusal) = limit.check_announced(&body) {
        discard(env, &mut body).await;
        return Err(refusal);
    }
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    loop {
        let Some(piece) = next_piece(env, &mut body, limit.stall).await? else {
            break;
        };
        let held = first.len() + rest.len() + piece.len();
        if held as u64 > limit.size_max {
            discard(env, &mut body).await;
            return Err(limit.refuse(held as u64));
        }
        if first.is_empty() && rest.is_empty() {
            // Most bodies are one frame, which is then not copied.
            first = piece;
        } else {
            if rest.is_empty() {
                rest.extend_from_slice(&std::mem::take(&mut first));
            }
            rest.extend_from_slice(&piece);
        }
    }
    Ok(if rest.is_empty() {
        first
    } else {
        rest.freeze()
    })
}

async fn discard(env: &Env, body: &mut Incoming) {
    let reading = async {
        let mut size = 0;
        while let Some(Ok(frame)) = body.frame().await {
            size += frame.data_ref().map_or(0, |piece| piece.len() as u64);
            if size > DISCARD_SIZE_MAX {
                break;
            }
        }
    };
    // Enough is enough either way.
    let _ = env.timeout(DISCARD_TIME_MAX, reading).await;
}

/// The next piece of a body, `None` at its end.
pub(crate) async fn next_piece(
    env: &Env,
    body: &mut Incoming,
    stall: Duration,
) -> Result<Option<Bytes>, ApiError> {
    loop {
        match env.timeout(stall, body.frame()).await {
            Ok(None) => return Ok(None),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Ok(Some(piece)),
                // Trailers mean nothing here.
                Err(_) => {}
            },
            Ok(Some(Err(_))) => return Err(ApiError::bad("unexpected EOF")),
            Err(_) => {
                return Err(ApiError::new(
                    408,
                    "the request body did not arrive in time",
                ));
            }
        }
    }
}
