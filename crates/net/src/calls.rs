//! Serving the calls of one stream, one after the other.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tribune_rt::Env;
use tribune_rt::net::TcpStream;
use tribune_wire::rpc::{RequestHeader, write_response_header};

use crate::budget::Budget;
use crate::message::{Inbox, MessageError};
use crate::yamux;
use crate::{CallFailure, Handler, NetOptions};

/// Bodies up to this size are sent together with their header.
const TOGETHER_MAX: usize = 16 << 10;

/// Why the calls of a stream ended other than by its peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallsError {
    #[error(transparent)]
    Message(#[from] MessageError),
    #[error(transparent)]
    Header(#[from] tribune_wire::msgpack::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("peer takes no reply")]
    Stalled,
}

/// A stream that carries calls.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {
    /// Resolves once the peer cannot want an answer any more.
    fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl Duplex for TcpStream {
    fn poll_hung_up(&mut self, _cx: &mut Context<'_>) -> Poll<()> {
        // A peer that has closed its half may still read the answer.
        Poll::Pending
    }
}

impl Duplex for yamux::Stream {
    fn poll_hung_up(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        yamux::Stream::poll_hung_up(self, cx)
    }
}

/// Serves until the peer closes or breaks a rule, or a call fails in a way that ends the stream.
pub(crate) async fn serve(
    env: &Env,
    options: &NetOptions,
    handler: &dyn Handler,
    stream: &mut impl Duplex,
    peer: SocketAddr,
    budget: Arc<Budget>,
) -> Result<(), CallsError> {
    let mut inbox = Inbox::new(budget);
    loop {
        let message = inbox
            .message(env, stream, options.message_max, options.message_timeout)
            .await?;
        let Some((header_len, body_len)) = message else {
            return Ok(());
        };
        let (header, rest) = inbox.bytes().split_at(header_len);
        let header = RequestHeader::decode(header)?;
        let body = &rest[..body_len];
        let call = match header.passed_on {
            false => handler.call(peer, &header.method, body),
            true => handler.passed_on(peer, &header.method, body),
        };
        let result = tokio::select! {
            biased;
            result = call => result,
            () = poll_fn(|cx| stream.poll_hung_up(cx)) => return Ok(()),
        };
        let mut reply = Vec::new();
        let ends = matches!(&result, Err(CallFailure { ends: true, .. }));
        match result {
            Ok(body) => {
                write_response_header(&mut reply, header.seq, &header.method, "");
                if body.len() <= TOGETHER_MAX {
                    reply.extend_from_slice(&body);
                } else {
                    write(env, stream, &reply, options.message_timeout).await?;
                    reply = body;
                }
            }
            Err(failure) => {
                write_response_header(&mut reply, header.seq, &header.method, &failure.text);
                // The body of an error is an empty map, which the caller reads and drops.
                reply.push(0x80);
            }
        }
        write(env, stream, &reply, options.message_timeout).await?;
        if ends {
            return Ok(());
        }
        inbox.consume(header_len + body_len);
    }
}

/// Writes all, as long as the peer takes something within `limit` each time.
async fn write(
    env: &Env,
    stream: &mut impl Duplex,
    mut bytes: &[u8],
    limit: Duration,
) -> Result<(), CallsError> {
    while !bytes.is_empty() {
        let len = env
            .timeout(limit, stream.write(bytes))
            .await
            .map_err(|_| CallsError::Stalled)??;
        if len == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        bytes = &bytes[len..];
    }
    Ok(())
}
