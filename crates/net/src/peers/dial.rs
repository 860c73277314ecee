//! Dialing a peer: the connection and the hello.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tribune_rt::Env;
use tribune_rt::net::TcpStream;

use super::PeerId;
use super::hello::{ANSWER_SIZE, Answer, Hello, VERSION, Verdict};
use crate::connection::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL};

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// Nobody listens there.
    #[error("connection refused")]
    Refused,
    /// Another server answers.
    #[error("another server ({0}) lives there")]
    OtherServer(PeerId),
    /// It speaks another version.
    #[error("peer protocol version {0} there, {VERSION} here")]
    Version(u8),
    /// It speaks this protocol, but not for what is wanted.
    #[error("it does not serve this")]
    Purpose,
    /// It has too many connections.
    #[error("too many connections")]
    Busy,
    /// What answers does not speak this protocol.
    #[error("not a server with the peer protocol")]
    Stranger,
    /// Not in time.
    #[error("no answer in time")]
    TimedOut,
    /// No connection came about.
    #[error(transparent)]
    Connect(io::Error),
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl DialError {
    /// The error with the address.
    pub(crate) fn text(&self, addr: SocketAddr) -> String {
        format!("dial {addr}: {self}")
    }
}

/// Connects and greets, within `limit`. This is the place for TLS: everything behind it takes any stream.
pub(crate) async fn dial(
    env: &Env,
    addr: SocketAddr,
    hello: &Hello,
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let dialed = env.timeout(limit, async {
        let mut stream = match TcpStream::connect(env, addr).await {
            Err(err) if err.kind() == io::ErrorKind::ConnectionRefused => {
                return Err(DialError::Refused);
            }
            connected => connected.map_err(DialError::Connect)?,
        };
        stream.set_nodelay(true)?;
        stream.set_keepalive(KEEPALIVE_IDLE, KEEPALIVE_INTERVAL)?;
        greet(&mut stream, hello).await?;
        Ok(stream)
    });
    dialed.await.unwrap_or(Err(DialError::TimedOut))
}

/// Says hello and hears the verdict.
pub(super) async fn greet(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    hello: &Hello,
) -> Result<(), DialError> {
    stream.write_all(&hello.encode()).await?;
    stream.flush().await?;
    let mut answer = [0; ANSWER_SIZE];
    stream.read_exact(&mut answer).await?;
    let Some(answer) = Answer::decode(&answer) else {
        return Err(DialError::Stranger);
    };
    match answer.verdict {
        Verdict::Version => Err(DialError::Version(answer.version)),
        Verdict::OtherServer => Err(DialError::OtherServer(answer.from)),
        Verdict::Busy => Err(DialError::Busy),
        Verdict::Purpose => Err(DialError::Purpose),
        Verdict::Welcome if answer.from == hello.target && answer.version == VERSION => Ok(()),
        Verdict::Welcome => Err(DialError::Stranger),
    }
}
