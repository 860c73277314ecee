//! Sending a snapshot.

use std::io;
use std::pin::pin;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tribune_rt::Env;

use super::frame::{Decoder, Kind};
use super::outbox::Outbox;
use super::receive::HEADER_MAX;

/// Largest piece sent.
const PIECE: usize = 128 << 10;
/// How long the peer may show no sign of life: it pings every second while it works.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long the answer of a peer that takes no more is waited for.
const ANSWER_AFTER_ERROR: Duration = Duration::from_secs(5);

/// Why a snapshot has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    #[error("header of {0} bytes is too large")]
    Header(usize),
    #[error("cannot be read: {0}")]
    Body(#[source] io::Error),
    #[error("peer shows no sign of life")]
    Silent,
    #[error("closed by the peer")]
    Closed,
    #[error("peer broke the protocol")]
    Violation,
    #[error(transparent)]
    Io(io::Error),
}

/// Sends all of a snapshot and waits for the answer, which may come early.
pub(super) async fn send(
    env: &Env,
    stream: impl AsyncRead + AsyncWrite + Unpin,
    header: Bytes,
    body: impl AsyncRead + Unpin,
) -> Result<Bytes, SendError> {
    if header.len() > HEADER_MAX {
        return Err(SendError::Header(header.len()));
    }
    let (mut reader, mut writer) = tokio::io::split(stream);
    let mut answer = pin!(answer(env, &mut reader));
    let sent = tokio::select! {
        biased;
        answer = &mut answer => return answer,
        sent = pieces(&mut writer, header, body) => sent,
    };
    match sent {
        Ok(()) => answer.await,
        Err(err @ SendError::Body(_)) => Err(err),
        // A peer that refuses early answers, then closes; its answer says why.
        Err(err) => match env.timeout(ANSWER_AFTER_ERROR, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) | Err(_) => Err(err),
        },
    }
}

async fn pieces(
    writer: &mut (impl AsyncWrite + Unpin),
    header: Bytes,
    mut body: impl AsyncRead + Unpin,
) -> Result<(), SendError> {
    let mut out = Outbox::default();
    out.push(Kind::Request, 0, header);
    let mut sequence = 0;
    loop {
        sequence += 1;
        let mut piece = BytesMut::with_capacity(PIECE).limit(PIECE);
        let len = body.read_buf(&mut piece).await.map_err(SendError::Body)?;
        match len {
            0 => out.push(Kind::End, sequence, Bytes::new()),
            _ => out.push(Kind::Piece, sequence, piece.into_inner().freeze()),
        }
        out.send(writer).await.map_err(SendError::Io)?;
        if len == 0 {
            return Ok(());
        }
    }
}

async fn answer(env: &Env, reader: &mut (impl AsyncRead + Unpin)) -> Result<Bytes, SendError> {
    let mut decoder = Decoder::default();
    loop {
        let frame = env
            .timeout(SILENCE_MAX, decoder.read(reader))
            .await
            .map_err(|_| SendError::Silent)?
            .map_err(SendError::Io)?
            .ok_or(SendError::Closed)?;
        match frame.kind {
            Kind::Ping => {}
            Kind::Response if frame.sequence == 0 => return Ok(frame.bytes),
            _ => return Err(SendError::Violation),
        }
    }
}
