//! Receiving a snapshot.
//!
//! The handler pulls; nothing is read ahead but one piece. What it reads ends only where the dialer said so: everything
//! else is an error of reading.

use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tribune_rt::Env;

use super::frame::{Decoder, Kind, MESSAGE_MAX, invalid};
use super::outbox::Outbox;
use super::pulse::ROUND;
use super::serve::ServeError;
use super::{PeerHandler, PeerId};

/// Largest header of a snapshot.
pub(super) const HEADER_MAX: usize = 1 << 20;
/// How long the rest of a snapshot that was answered early is waited for.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the one snapshot of a connection.
pub(super) async fn receive(
    env: &Env,
    handler: &dyn PeerHandler,
    from: PeerId,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    limit: Duration,
) -> Result<(), ServeError> {
    let (reader, mut writer) = tokio::io::split(stream);
    let mut body = Body {
        env: env.clone(),
        reader,
        decoder: Decoder::default(),
        piece: Bytes::new(),
        sequence: 0,
        state: State::Open,
        stall: None,
        limit,
    };
    let Some(header) = env
        .timeout(limit, body.header())
        .await
        .map_err(|_| ServeError::Stuck)??
    else {
        return Ok(());
    };
    let mut out = Outbox::default();
    let answer = {
        let mut work = handler.snapshot(from, header, &mut body);
        let mut pings = 0;
        loop {
            tokio::select! {
                biased;
                answer = &mut work => break answer,
                () = env.sleep(ROUND) => {}
            }
            pings += 1;
            out.push(Kind::Ping, pings, Bytes::new());
            let sent = env.timeout(limit, out.send(&mut writer)).await;
            sent.map_err(|_| ServeError::Stuck)??;
        }
    };
    if answer.len() > MESSAGE_MAX {
        return Err(ServeError::Answer(answer.len()));
    }
    out.push(Kind::Response, 0, answer);
    let sent = env.timeout(limit, async {
        out.send(&mut writer).await?;
        writer.shutdown().await
    });
    sent.await.map_err(|_| ServeError::Stuck)??;
    if !matches!(body.state, State::Ended) {
        // Closing with bytes unread would reset the connection, and the reset could overtake the answer.
        let _ = env.timeout(DRAIN, body.drain()).await;
    }
    Ok(())
}

/// What the handler reads.
struct Body<R> {
    env: Env,
    reader: R,
    decoder: Decoder,
    piece: Bytes,
    /// Of the last piece.
    sequence: u64,
    state: State,
    /// Runs out when nothing has arrived for too long.
    stall: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    limit: Duration,
}

/// How far the body is.
#[derive(Clone, Copy)]
enum State {
    Open,
    /// All of it has arrived.
    Ended,
    /// It will never be whole.
    Broken(io::ErrorKind),
}

impl<R: AsyncRead + Unpin> Body<R> {
    /// The header; `None` if the peer has closed instead.
    async fn header(&mut self) -> Result<Option<Bytes>, ServeError> {
        loop {
            if let Some(header) = self.decoder.arriving()? {
                if header.kind != Kind::Request || header.sequence != 0 {
                    return Err(ServeError::Violation("a snapshot begins with its header"));
                }
                if header.length as usize > HEADER_MAX {
                    return Err(ServeError::Violation("header of a snapshot is too large"));
                }
            }
            if let Some(frame) = self.decoder.next()? {
                return Ok(Some(frame.bytes));
            }
            let filled = std::future::poll_fn(|cx| self.decoder.poll_fill(&mut self.reader, cx));
            if filled.await? == 0 {
                return match self.decoder.is_amid() {
                    true => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
                    false => Ok(None),
                };
            }
        }
    }

    /// Makes the next piece the current one, or finds the end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let broken = || io::Error::new(io::ErrorKind::InvalidData, "not a piece of a snapshot");
            if let Some(header) = self.decoder.arriving().map_err(invalid)?
                && (!matches!(header.kind, Kind::Piece | Kind::End)
                    || header.sequence != self.sequence + 1
                    || (header.kind == Kind::Piece && header.length == 0))
            {
                return Poll::Ready(Err(broken()));
            }
            if let Some(frame) = self.decoder.next().map_err(invalid)? {
                self.sequence = frame.sequence;
                match frame.kind {
                    Kind::End => self.state = State::Ended,
                    _ => self.piece = frame.bytes,
                }
                return Poll::Ready(Ok(()));
            }
            match self.decoder.poll_fill(&mut self.reader, cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                Poll::Ready(Ok(_)) => self.stall = None,
                Poll::Ready(Err(err)) => return Poll::Ready(Err(err)),
                Poll::Pending => {
                    let (env, limit) = (&self.env, self.limit);
                    let stall = self.stall.get_or_insert_with(|| {
                        let env = env.clone();
                        Box::pin(async move { env.sleep(limit).await })
                    });
                    ready!(stall.as_mut().poll(cx));
                    return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                }
            }
        }
    }

    /// Throws away what is left.
    async fn drain(&mut self) {
        while matches!(self.state, State::Open) {
            self.piece = Bytes::new();
            if pin!(std::future::poll_fn(|cx| self.poll_piece(cx)))
                .await
                .is_err()
            {
                return;
            }
        }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Body<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let body = &mut *self;
        if buf.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        loop {
            if !body.piece.is_empty() {
                let len = body.piece.len().min(buf.remaining());
                buf.put_slice(&body.piece[..len]);
                body.piece.advance(len);
                return Poll::Ready(Ok(()));
            }
            match body.state {
                State::Open => {}
                State::Ended => return Poll::Ready(Ok(())),
                State::Broken(kind) => return Poll::Ready(Err(kind.into())),
            }
            if let Err(err) = ready!(body.poll_piece(cx)) {
                body.state = State::Broken(err.kind());
                return Poll::Ready(Err(err));
            }
        }
    }
}
