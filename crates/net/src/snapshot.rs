//! Streamed snapshots: one request per connection, with an archive behind it or behind its answer (rpc.md section 10.5).
//!
//! Serving: the request is read, what follows it goes to the handler piece by piece, then the answer goes out and the
//! archive behind it. Asking: the same from the other side. The side that has sent everything closes its half.
//!
//! An archive is not understood here. Its length is not known either: it ends with the connection, and whoever needs to
//! know whether it is whole looks into it.
//!
//! Bounds: a few pieces in flight each way; a peer that neither sends nor takes anything for the stall time is cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tribune_rt::Env;
use tribune_rt::net::TcpStream;
use tribune_types::error::RpcError;

use crate::budget::Budget;
use crate::message::{HEADER_MAX, Inbox, MessageError};
use crate::pool::{CallError, Lost};
use crate::{Handler, NetOptions};

/// The first byte of a streamed snapshot.
pub(crate) const SNAPSHOT: u8 = 0x05;
/// Pieces in flight.
const QUEUE: usize = 4;
/// Largest piece.
const PIECE: usize = 64 << 10;
/// How long a server may take for its answer: a restore goes through the log.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(600);
/// How long the rest of a request that was answered early is waited for.
const DRAIN: Duration = Duration::from_secs(5);
/// How long an asked server may send or take nothing.
const STALL: Duration = Duration::from_secs(60);

/// The answer to a snapshot request.
pub struct SnapshotReply {
    /// One complete MessagePack value.
    pub head: Vec<u8>,
    /// The archive that follows; an error ends the connection in the middle of it.
    pub archive: Option<mpsc::Receiver<Result<Bytes, RpcError>>>,
}

/// Why a snapshot connection ended other than as it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("peer sends or takes nothing")]
    Stalled,
    #[error("archive not written: {0}")]
    Archive(RpcError),
}

/// Serves the one request of a connection.
pub(crate) async fn serve(
    env: &Env,
    options: &NetOptions,
    handler: &dyn Handler,
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    peer: SocketAddr,
    budget: Arc<Budget>,
) -> Result<(), SnapshotError> {
    let mut inbox = Inbox::new(budget);
    let limit = options.message_timeout;
    let Some(len) = inbox.single(env, &mut stream, HEADER_MAX, limit).await? else {
        return Ok(());
    };
    let mut first = inbox.into_bytes();
    let request = first.split_to(len);
    let (pieces, incoming) = mpsc::channel(QUEUE);
    let answer = handler.snapshot(peer, &request, incoming);
    let mut answer = std::pin::pin!(answer);
    let feed = feed(env, &mut stream, first.freeze(), pieces, limit);
    let mut early = true;
    let reply = tokio::select! {
        biased;
        // The request may be answered before all of it is here.
        reply = &mut answer => reply,
        // An archive that is cut must not look like a whole one: the answer is dropped, and its work with it.
        fed = feed => {
            early = !fed?;
            answer.await
        }
    };
    write(env, &mut stream, &reply.head, limit).await?;
    if let Some(mut archive) = reply.archive {
        while let Some(piece) = archive.recv().await {
            let piece = piece.map_err(SnapshotError::Archive)?;
            write(env, &mut stream, &piece, limit).await?;
        }
    }
    stream.shutdown().await?;
    if early {
        // Closing with bytes unread would reset the connection, and the reset could overtake the answer.
        let drain = async {
            while read(env, &mut stream, limit).await?.is_some() {}
            Ok::<_, SnapshotError>(())
        };
        let _ = env.timeout(DRAIN, drain).await;
    }
    Ok(())
}

/// Hands on what arrives until the peer closes its half (true), or nobody wants more.
async fn feed(
    env: &Env,
    stream: &mut (impl AsyncRead + Unpin),
    first: Bytes,
    pieces: mpsc::Sender<Bytes>,
    limit: Duration,
) -> Result<bool, SnapshotError> {
    let mut piece = first;
    loop {
        if !piece.is_empty() && pieces.send(piece).await.is_err() {
            return Ok(false);
        }
        piece = match read(env, stream, limit).await? {
            Some(piece) => piece,
            None => return Ok(true),
        };
    }
}

/// The next bytes; `None` at the end.
async fn read(
    env: &Env,
    stream: &mut (impl AsyncRead + Unpin),
    limit: Duration,
) -> Result<Option<Bytes>, SnapshotError> {
    let mut piece = BytesMut::with_capacity(PIECE);
    let len = env
        .timeout(limit, stream.read_buf(&mut piece))
        .await
        .map_err(|_| SnapshotError::Stalled)??;
    Ok((len > 0).then(|| piece.freeze()))
}

async fn write(
    env: &Env,
    stream: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    limit: Duration,
) -> Result<(), SnapshotError> {
    while !bytes.is_empty() {
        let len = env
            .timeout(limit, stream.write(bytes))
            .await
            .map_err(|_| SnapshotError::Stalled)??;
        if len == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        bytes = &bytes[len..];
    }
    Ok(())
}

/// Asks `addr` on a connection of its own: sends `request` and what comes out of `upload`, then reads the answer. The
/// archive behind it, if any, is read by [`Download::next`].
///
/// # Errors
/// [`CallError`] tells whether the server may have done what it was asked for. Its own errors are in the answer.
pub async fn snapshot(
    env: &Env,
    addr: SocketAddr,
    dial_timeout: Duration,
    request: &[u8],
    upload: Option<mpsc::Receiver<Bytes>>,
) -> Result<(Vec<u8>, Download), CallError> {
    let mut stream = crate::pool::connect(env, addr, dial_timeout, SNAPSHOT)
        .await
        .map_err(CallError::NotSent)?;
    let sent = async {
        write(env, &mut stream, request, STALL).await?;
        if let Some(mut upload) = upload {
            while let Some(piece) = upload.recv().await {
                write(env, &mut stream, &piece, STALL).await?;
            }
        }
        stream.shutdown().await?;
        Ok::<_, SnapshotError>(())
    };
    // A server that refuses early closes before it has read everything; its answer says why.
    let sent = sent.await;
    let mut inbox = Inbox::new(Arc::new(Budget::new(usize::MAX)));
    let answer = inbox
        .single(env, &mut stream, HEADER_MAX, ANSWER_TIMEOUT)
        .await;
    let len = match (answer, sent) {
        (Ok(Some(len)), _) => len,
        (_, Err(err)) => return Err(lost(&err)),
        (Ok(None), Ok(())) => return Err(CallError::FateUnknown(Lost::Eof)),
        (Err(err), Ok(())) => return Err(lost(&err)),
    };
    let mut first = inbox.into_bytes();
    let head = first.split_to(len).into();
    let download = Download {
        env: env.clone(),
        stream,
        first: first.freeze(),
    };
    Ok((head, download))
}

fn lost(err: &dyn std::fmt::Display) -> CallError {
    CallError::FateUnknown(Lost::Broken(err.to_string()))
}

/// An archive on its way in.
pub struct Download {
    env: Env,
    stream: TcpStream,
    first: Bytes,
}

impl Download {
    /// The next piece; `None` at the end of the connection, which is the end of the archive if nothing went wrong. Cancel
    /// safe.
    ///
    /// # Errors
    /// The connection broke or stalled.
    pub async fn next(&mut self) -> Option<Result<Bytes, CallError>> {
        if !self.first.is_empty() {
            return Some(Ok(std::mem::take(&mut self.first)));
        }
        read(&self.env, &mut self.stream, STALL)
            .await
            .map_err(|err| lost(&err))
            .transpose()
    }
}
