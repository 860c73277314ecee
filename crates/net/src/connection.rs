//! One connection: the first byte, then calls one after the other.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tracing::debug;
use tribune_rt::Env;
use tribune_rt::net::TcpStream;
use tribune_wire::msgpack;
use tribune_wire::rpc::{RequestHeader, write_response_header};

use crate::{Handler, NetOptions};

/// The first byte of plain MessagePack RPC.
const PLAIN_RPC: u8 = 0x00;
/// Largest request header accepted, in bytes.
const HEADER_MAX: usize = 4096;

/// Why a connection ended other than by its peer.
#[derive(Debug, thiserror::Error)]
enum ConnectionError {
    #[error("no first byte in time")]
    Silent,
    #[error("protocol byte {0:#04x} is not served")]
    Protocol(u8),
    #[error("message larger than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Malformed(#[from] msgpack::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

pub(crate) async fn serve(
    env: Env,
    options: NetOptions,
    handler: Arc<dyn Handler>,
    stream: TcpStream,
    peer: SocketAddr,
) {
    if let Err(err) = run(&env, &options, handler.as_ref(), stream, peer).await {
        debug!(%peer, %err, "server connection closed");
    }
}

async fn run(
    env: &Env,
    options: &NetOptions,
    handler: &dyn Handler,
    mut stream: TcpStream,
    peer: SocketAddr,
) -> Result<(), ConnectionError> {
    stream.set_nodelay(true)?;
    let mut first = [0u8; 1];
    let read = env
        .timeout(options.handshake_timeout, stream.read_exact(&mut first))
        .await;
    match read {
        Err(_) => return Err(ConnectionError::Silent),
        Ok(Err(err)) if err.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
        Ok(Err(err)) => return Err(err.into()),
        Ok(Ok(_)) => {}
    }
    if first[0] != PLAIN_RPC {
        return Err(ConnectionError::Protocol(first[0]));
    }
    let mut inbox = BytesMut::new();
    let mut reply = Vec::new();
    loop {
        let Some(header_len) = next_value(&mut stream, &mut inbox, 0, HEADER_MAX).await? else {
            return Ok(());
        };
        let Some(body_len) =
            next_value(&mut stream, &mut inbox, header_len, options.message_max).await?
        else {
            return Ok(());
        };
        let header = RequestHeader::decode(&inbox[..header_len])?;
        let result = handler
            .call(
                peer,
                &header.method,
                &inbox[header_len..header_len + body_len],
            )
            .await;
        reply.clear();
        // The original ends the stream after every failed call, and callers expect that.
        let failed = result.is_err();
        match result {
            Ok(body) => {
                write_response_header(&mut reply, header.seq, &header.method, "");
                reply.extend_from_slice(&body);
            }
            Err(text) => {
                write_response_header(&mut reply, header.seq, &header.method, &text);
                // The body of an error is an empty map, which the caller reads and drops.
                reply.push(0x80);
            }
        }
        stream.write_all(&reply).await?;
        if failed {
            return Ok(());
        }
        inbox.advance(header_len + body_len);
    }
}

/// Reads until a complete value stands at `from`; its length, or `None` if the peer closed between calls.
async fn next_value(
    stream: &mut TcpStream,
    inbox: &mut BytesMut,
    from: usize,
    size_max: usize,
) -> Result<Option<usize>, ConnectionError> {
    loop {
        if let Some(len) = msgpack::value_len(&inbox[from..])? {
            return Ok(Some(len));
        }
        if inbox.len() - from > size_max {
            return Err(ConnectionError::TooLarge(size_max));
        }
        inbox.reserve(4096);
        if stream.read_buf(inbox).await? == 0 {
            return Ok(None);
        }
    }
}
