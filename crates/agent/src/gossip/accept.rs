//! Streams that others open: exchanges of states, probes over TCP, messages of the layer above (spec gossip.md section 4).
//!
//! Bounds: 128 streams, 32 of one source, of which 2 are served at a time while the others wait unread. A stream may have
//! 128 KiB, which cost half a megabyte when decoded. One at a time in the process may have more: a megabyte, or 20 if its
//! source is an established member; in a large pool a kilobyte for each known member, since those that come back from a
//! partition are not established any more. What comes under one of our keys is from a member, whatever it unpacks to. Every
//! stream ends at its deadline. So a source that is not a member costs about a megabyte.
//!
//! Of an unknown source's table as many new names are taken over as it may introduce (`hostile`); the rest comes when this
//! node asks members of its own choice.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;
use tracing::{debug, warn};
use tribune_rt::net::{TcpListener, TcpStream};
use tribune_rt::{CancellationToken, TaskGroup};
use tribune_swim::{Message, NodeState, PushPull, RemoteNode};

use super::codec::{self, Allowance, StreamError, StreamMessage};
use super::exchange::merge_text;
use super::{Pool, spawn};

/// Streams at the same time.
const STREAMS_MAX: usize = 128;
/// Of one source, the waiting ones included.
const SOURCE_STREAMS_MAX: usize = 32;
/// Of one source, served at the same time.
const SOURCE_SERVED_MAX: usize = 2;
/// How long to wait after an error of the listener.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Streams by source.
#[derive(Debug, Default)]
struct Sources(Mutex<BTreeMap<IpAddr, Source>>);

#[derive(Debug)]
struct Source {
    open: usize,
    served: Arc<Semaphore>,
}

/// One counted stream.
struct Counted {
    sources: Arc<Sources>,
    from: IpAddr,
    served: Arc<Semaphore>,
}

impl Sources {
    /// Counts a stream in; `None` if there are too many.
    fn enter(self: &Arc<Self>, from: IpAddr) -> Option<Counted> {
        let mut sources = self.0.lock();
        let total: usize = sources.values().map(|source| source.open).sum();
        if total >= STREAMS_MAX {
            return None;
        }
        let source = sources.entry(from).or_insert_with(|| Source {
            open: 0,
            served: Arc::new(Semaphore::new(SOURCE_SERVED_MAX)),
        });
        if source.open >= SOURCE_STREAMS_MAX {
            return None;
        }
        source.open += 1;
        Some(Counted {
            sources: Arc::clone(self),
            from,
            served: Arc::clone(&source.served),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut sources = self.sources.0.lock();
        if let Some(source) = sources.get_mut(&self.from) {
            source.open -= 1;
            if source.open == 0 {
                sources.remove(&self.from);
            }
        }
    }
}

/// Accepts until `stop`.
pub(super) async fn run(
    pool: Pool,
    listener: TcpListener,
    tasks: TaskGroup,
    stop: CancellationToken,
) {
    let sources = Arc::new(Sources::default());
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, from) = match accepted {
            Ok((stream, from)) => (stream, super::canonical(from)),
            Err(err) => {
                warn!(%err, "memberlist: failed to accept a connection");
                pool.env().sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        metrics::counter!("memberlist.tcp.accept").increment(1);
        let Some(counted) = sources.enter(from.ip()) else {
            let now = pool.env().mono();
            pool.shared
                .hostile
                .dropped(now, from.ip(), &"too many streams");
            continue;
        };
        let pool = pool.clone();
        spawn(&tasks, "gossip-stream", async move {
            let limit = pool.shared.stream_timeout;
            // Out of time is an end like any other; the stream closes with the task.
            let _ = pool
                .env()
                .timeout(limit, serve(&pool, stream, from, &counted))
                .await;
        });
    }
}

async fn serve(pool: &Pool, mut stream: TcpStream, from: SocketAddr, counted: &Counted) {
    let Ok(_served) = counted.served.acquire().await else {
        return;
    };
    // Without it the answer may wait; a failure to set it costs only that.
    let _ = stream.set_nodelay(true);
    let (ring, strict) = pool.shared.keys.incoming();
    let (established, members) = pool.standing(from.ip());
    let mut allowance = Allowance::guarded(&pool.shared.large, established, members);
    let inbound = codec::read_stream(&mut stream, ring.as_deref(), strict, &mut allowance).await;
    let (inbound, sealed) = match inbound {
        Ok((message, sealed)) => (Ok(message), sealed),
        Err(err) => (Err(err), false),
    };
    match inbound {
        Ok(StreamMessage::PushPull(mut remote)) => {
            if !sealed && !established {
                limit_names(pool, from.ip(), &mut remote);
            }
            push_pull(pool, &mut stream, from, remote).await;
        }
        Ok(StreamMessage::Ping(ping)) => {
            if !pool.shared.core.lock().answers_stream_ping(&ping.node) {
                debug!(%from, node = %ping.node, "memberlist: ping over TCP for another node");
                return;
            }
            let ring = pool.shared.keys.outgoing();
            let bytes = codec::seal_stream_ack(pool.env(), ring.as_deref(), ping.seq);
            send(&mut stream, &bytes).await;
        }
        Ok(StreamMessage::User(bytes)) => {
            let message = Message::User(bytes);
            pool.with(move |turn| {
                turn.members_changed = true;
                turn.serf.on_message(turn.now, from, message, turn.out);
            })
            .await;
        }
        Ok(StreamMessage::Ack(_) | StreamMessage::Error(_)) => {
            let now = pool.env().mono();
            pool.shared
                .hostile
                .dropped(now, from.ip(), &"an answer that nobody asked for");
        }
        Err(StreamError::Closed) => {}
        Err(err) => {
            let now = pool.env().mono();
            pool.shared.hostile.dropped(now, from.ip(), &err);
            let ring = pool.shared.keys.outgoing();
            let bytes = codec::seal_stream_error(pool.env(), ring.as_deref(), &err.to_string());
            send(&mut stream, &bytes).await;
        }
    }
}

/// Leaves out of a stranger's table the new names that it may not introduce; its own name comes first.
fn limit_names(pool: &Pool, from: IpAddr, remote: &mut PushPull) {
    let new: Vec<bool> = {
        let core = pool.shared.core.lock();
        let is_new = |node: &RemoteNode| {
            node.state == NodeState::Alive && core.member(&node.peer.name).is_none()
        };
        remote.nodes.iter().map(is_new).collect()
    };
    let wanted = new.iter().filter(|new| **new).count();
    let (now, hostile) = (pool.env().mono(), &pool.shared.hostile);
    let mut room =
        hostile.introduces(now, from, u32::try_from(wanted).unwrap_or(u32::MAX)) as usize;
    if room >= wanted {
        return;
    }
    hostile.dropped(now, from, &"too many members from a stranger");
    // One place is kept for the source itself.
    let mut own_room = room.min(1);
    room -= own_room;
    let mut new = new.into_iter();
    remote.nodes.retain(|node| {
        let room = match new.next() {
            Some(true) if node.peer.addr.ip() == from && own_room > 0 => &mut own_room,
            Some(true) => &mut room,
            _ => return true,
        };
        let fits = *room > 0;
        *room = room.saturating_sub(1);
        fits
    });
}

async fn push_pull(pool: &Pool, stream: &mut TcpStream, from: SocketAddr, remote: PushPull) {
    let join = remote.join;
    let state = pool.shared.core.lock().state(join);
    let ring = pool.shared.keys.outgoing();
    let bytes = match codec::seal_push_pull(pool.env(), ring.as_deref(), state) {
        Ok(bytes) => bytes,
        Err(err) => {
            if let Some(suppressed) = pool.shared.hostile.may_warn(pool.env().mono()) {
                warn!(%from, %err, suppressed, "memberlist: push/pull not answered");
            }
            return;
        }
    };
    if !send(stream, &bytes).await {
        return;
    }
    drop(bytes);
    let merged = pool
        .with(move |turn| {
            turn.members_changed = true;
            turn.serf.merge(turn.now, &remote, join, false, turn.out)
        })
        .await;
    if let Some(Err(err)) = merged
        && let Some(suppressed) = pool.shared.hostile.may_warn(pool.env().mono())
    {
        warn!(%from, err = %merge_text(&err), suppressed, "memberlist: push/pull refused");
    }
}

/// Sends and ends the own direction. False if the peer is gone.
async fn send(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    metrics::counter!("memberlist.tcp.sent").increment(bytes.len() as u64);
    stream.write_all(bytes).await.is_ok() && stream.flush().await.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_has_some_streams_and_all_sources_together_have_more() {
        let sources = Arc::new(Sources::default());
        let ip = |n: u8| IpAddr::from([10, 0, 0, n]);
        let mut held: Vec<Counted> = (0..100).filter_map(|_| sources.enter(ip(1))).collect();
        assert_eq!(held.len(), SOURCE_STREAMS_MAX);
        for n in 2..=50 {
            held.extend((0..10).filter_map(|_| sources.enter(ip(n))));
        }
        assert_eq!(held.len(), STREAMS_MAX);
        held.clear();
        assert!(sources.0.lock().is_empty());
        assert!(sources.enter(ip(1)).is_some());
    }
}
