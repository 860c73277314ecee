//! Streams that this node opens: exchanges of states, and probes of nodes that do not answer datagrams (spec gossip.md
//! sections 4 and 6.3).

use std::net::SocketAddr;

use tokio::io::AsyncWriteExt;
use tracing::debug;
use tribune_rt::millis;
use tribune_rt::net::TcpStream;
use tribune_swim::MergeError;
use tribune_types::text::Text;
use tribune_types::time::Mono;

use super::Pool;
use super::codec::{self, Allowance, StreamError, StreamMessage};
use super::join::dial_text;

/// Why states are exchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// An operator wants to be part of the other's pool. Events from before that are not delivered.
    Join,
    /// Finding back, after a failure or a restart.
    Rejoin,
    /// Among members, every now and then.
    Periodic,
}

impl Pool {
    /// Exchanges states with the node at `to`. The error is a text for logs and joins.
    pub(super) async fn push_pull(&self, to: SocketAddr, purpose: Purpose) -> Result<(), String> {
        let limit = self.shared.stream_timeout;
        match self.env().timeout(limit, self.exchange(to, purpose)).await {
            Ok(result) => result,
            Err(_) => Err(format!("dial tcp {to}: i/o timeout")),
        }
    }

    async fn exchange(&self, to: SocketAddr, purpose: Purpose) -> Result<(), String> {
        let join = purpose != Purpose::Periodic;
        let _one = self
            .shared
            .exchanges
            .acquire()
            .await
            .map_err(|_| "shutting down".to_owned())?;
        let started = self.env().mono();
        let mut stream = self.connect(to).await?;
        let state = self.shared.core.lock().state(join);
        let ring = self.shared.keys.outgoing();
        let bytes = codec::seal_push_pull(self.env(), ring.as_deref(), state)
            .map_err(|err| err.to_string())?;
        let failed = |err: std::io::Error| format!("exchange with {to}: {err}");
        stream.write_all(&bytes).await.map_err(failed)?;
        metrics::counter!("memberlist.tcp.sent").increment(bytes.len() as u64);
        drop(bytes);
        let (cipher, strict) = self.shared.keys.incoming();
        let mut allowance = Allowance::wished();
        let reply = codec::read_stream(&mut stream, cipher.as_deref(), strict, &mut allowance);
        let remote = match reply.await {
            Ok((StreamMessage::PushPull(remote), _)) => remote,
            Ok((StreamMessage::Error(text), _)) => return Err(format!("remote error: {text}")),
            Ok(_) => return Err("unexpected answer to a push/pull".to_owned()),
            Err(StreamError::Closed) => return Err("EOF".to_owned()),
            Err(err) => return Err(err.to_string()),
        };
        let merged = self
            .with(move |turn| {
                turn.members_changed = true;
                turn.serf
                    .merge(turn.now, &remote, join, purpose == Purpose::Join, turn.out)
            })
            .await
            .ok_or_else(|| "shutting down".to_owned())?;
        let took = self.env().mono().since(started);
        metrics::histogram!("memberlist.pushPullNode").record(millis(took));
        merged.map_err(|err| merge_text(&err))
    }

    async fn connect(&self, to: SocketAddr) -> Result<TcpStream, String> {
        self.dial(to).await.map_err(|err| dial_text(to, &err))
    }

    async fn dial(&self, to: SocketAddr) -> std::io::Result<TcpStream> {
        metrics::counter!("memberlist.tcp.connect").increment(1);
        let stream = TcpStream::connect(self.env(), to).await?;
        // Without it a small answer may wait; a failure to set it costs only that.
        let _ = stream.set_nodelay(true);
        Ok(stream)
    }
}

/// Probes over a stream and tells the core.
pub(super) async fn stream_ping(
    pool: &Pool,
    to: SocketAddr,
    node: &Text,
    seq: u32,
    deadline: Mono,
) {
    let left = deadline.since(pool.env().mono());
    let answer = match pool.env().timeout(left, ping(pool, to, node, seq)).await {
        Ok(Ok(acked)) => Ok(acked),
        Ok(Err(failed)) => {
            debug!(%node, %to, err = %failed.text, "memberlist: probe over TCP failed");
            Err(failed.refused)
        }
        Err(_) => Err(false),
    };
    pool.with(move |turn| match answer {
        Err(true) => turn.serf.on_stream_refused(turn.now, seq, turn.out),
        Err(false) => turn.serf.on_stream_ack(turn.now, seq, false, turn.out),
        Ok(acked) => turn.serf.on_stream_ack(turn.now, seq, acked, turn.out),
    })
    .await;
}

/// A probe over a stream that failed.
struct PingFailed {
    text: String,
    /// Nobody listens at the address.
    refused: bool,
}

impl From<String> for PingFailed {
    fn from(text: String) -> PingFailed {
        PingFailed {
            text,
            refused: false,
        }
    }
}

async fn ping(pool: &Pool, to: SocketAddr, node: &Text, seq: u32) -> Result<bool, PingFailed> {
    let mut stream = pool.dial(to).await.map_err(|err| PingFailed {
        refused: err.kind() == std::io::ErrorKind::ConnectionRefused,
        text: dial_text(to, &err),
    })?;
    let bytes = codec::seal_stream_ping(
        pool.env(),
        pool.shared.keys.outgoing().as_deref(),
        pool.shared.core.lock().swim().local(),
        node,
        seq,
    );
    stream
        .write_all(&bytes)
        .await
        .map_err(|err| err.to_string())?;
    let (cipher, strict) = pool.shared.keys.incoming();
    let mut allowance = Allowance::fixed(codec::SMALL);
    match codec::read_stream(&mut stream, cipher.as_deref(), strict, &mut allowance).await {
        Ok((StreamMessage::Ack(ack), _)) => Ok(ack.seq == seq),
        Ok((StreamMessage::Error(text), _)) => Err(format!("remote error: {text}").into()),
        Ok(_) => Err("unexpected answer to a ping".to_owned().into()),
        Err(err) => Err(err.to_string().into()),
    }
}

/// Why a state was not taken over.
pub(super) fn merge_text(err: &MergeError) -> String {
    match err {
        MergeError::Versions(text) | MergeError::Refused(text) => text.clone(),
    }
}
