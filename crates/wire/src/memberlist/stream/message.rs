//! Messages of a stream, unpacked, read as they arrive.

use std::net::SocketAddr;
use std::sync::Arc;

use tribune_swim::{NodeState, Peer, PushPull, RemoteNode};
use tribune_types::text::Text;

use super::feed::Feed;
use super::{StreamError, StreamMessage};
use crate::ip;
use crate::memberlist::body::{decode_ack, decode_ping, take_versions};
use crate::memberlist::kind;
use crate::msgpack::{Error, Reader, Scan};

/// Takes one message.
#[derive(Debug)]
pub(super) struct Parser {
    at: At,
    scan: Scan,
    state: PushPull,
    /// Nodes that are still to come, and bytes after them.
    nodes_left: usize,
    tail_len: usize,
    /// Bytes of memory that what we keep takes.
    kept: usize,
    unusable: usize,
    size_max: usize,
}

#[derive(Debug, Clone, Copy)]
enum At {
    Kind,
    Value(u8),
    StateHead,
    Nodes,
    UserState,
    UserHead,
    User,
}

/// Nodes that are left out before the whole stream is refused. Refusing it for one would let a single odd member, whom
/// real agents hand on without looking, keep everybody out of the pool.
const UNUSABLE_MAX: usize = 1000;

impl Parser {
    pub(super) fn new(size_max: usize) -> Parser {
        Parser {
            at: At::Kind,
            scan: Scan::default(),
            state: PushPull::default(),
            nodes_left: 0,
            tail_len: 0,
            kept: 0,
            unusable: 0,
            size_max,
        }
    }

    /// Moves on; the message once it is whole, `None` if more bytes are needed.
    pub(super) fn advance(
        &mut self,
        feed: &mut Feed,
    ) -> Result<Option<StreamMessage>, StreamError> {
        loop {
            let message = match self.at {
                At::Kind => {
                    let Some(&kind) = feed.bytes().first() else {
                        return Ok(None);
                    };
                    feed.consume(1);
                    self.at = match kind {
                        kind::PING | kind::ACK | kind::ERROR => At::Value(kind),
                        kind::PUSH_PULL => At::StateHead,
                        kind::USER => At::UserHead,
                        other => return Err(StreamError::Kind(other)),
                    };
                    continue;
                }
                At::User | At::UserState => {
                    let Some(bytes) = feed.bytes().get(..self.tail_len) else {
                        return Ok(None);
                    };
                    if matches!(self.at, At::User) {
                        StreamMessage::User(Arc::from(bytes))
                    } else {
                        self.state.user_state = bytes.to_vec();
                        StreamMessage::PushPull(std::mem::take(&mut self.state))
                    }
                }
                At::Nodes if self.nodes_left == 0 => {
                    self.at = At::UserState;
                    continue;
                }
                At::Value(_) | At::StateHead | At::Nodes | At::UserHead => {
                    let what = self.what();
                    let Some(len) = self
                        .scan
                        .advance(feed.bytes())
                        .map_err(StreamError::body(what))?
                    else {
                        return Ok(None);
                    };
                    self.scan = Scan::default();
                    let mut reader = Reader::new(&feed.bytes()[..len]);
                    let message = self.value(&mut reader)?;
                    feed.consume(len);
                    match message {
                        Some(message) => message,
                        None => continue,
                    }
                }
            };
            return Ok(Some(message));
        }
    }

    fn what(&self) -> &'static str {
        match self.at {
            At::StateHead | At::UserHead => "header",
            At::Nodes => "node",
            _ => "message",
        }
    }

    /// Takes the value that is due; it is all there.
    fn value(&mut self, reader: &mut Reader<'_>) -> Result<Option<StreamMessage>, StreamError> {
        let malformed = StreamError::body(self.what());
        match self.at {
            At::Value(kind::PING) => decode_ping(reader)
                .map(|ping| Some(StreamMessage::Ping(ping)))
                .map_err(malformed),
            At::Value(kind::ACK) => decode_ack(reader)
                .map(|ack| Some(StreamMessage::Ack(ack)))
                .map_err(malformed),
            At::Value(_) => decode_error(reader)
                .map(|text| Some(StreamMessage::Error(text)))
                .map_err(malformed),
            At::StateHead => {
                let (nodes, tail, join) = decode_state_head(reader).map_err(malformed)?;
                self.nodes_left = self.claim(nodes)?;
                self.tail_len = self.claim(tail)?;
                self.state.join = join;
                self.at = At::Nodes;
                Ok(None)
            }
            At::UserHead => {
                let len = decode_user_head(reader).map_err(malformed)?;
                self.tail_len = self.claim(len)?;
                self.at = At::User;
                Ok(None)
            }
            _ => {
                self.nodes_left -= 1;
                match decode_node(reader).map_err(malformed)? {
                    Some(node) => self.keep(node)?,
                    None => self.unusable += 1,
                }
                if self.unusable > UNUSABLE_MAX {
                    return Err(StreamError::Nodes(UNUSABLE_MAX));
                }
                Ok(None)
            }
        }
    }

    /// A number of things that take a byte each at least. The original takes negative ones as none.
    fn claim(&self, count: i64) -> Result<usize, StreamError> {
        let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
        if count > self.size_max {
            Err(StreamError::Size(self.size_max))
        } else {
            Ok(count)
        }
    }

    fn keep(&mut self, node: RemoteNode) -> Result<(), StreamError> {
        // The entry, the peer, two counted allocations.
        const NODE: usize = size_of::<RemoteNode>() + size_of::<Peer>() + 5 * 16;
        self.kept += NODE + node.peer.name.len() + node.peer.meta.len();
        // Nodes as real agents send them take about as much memory as they have bytes; the rest is for short names.
        let kept_max = 3 * self.size_max + 65_536;
        if self.kept > kept_max {
            return Err(StreamError::Memory(kept_max));
        }
        self.state.nodes.push(node);
        Ok(())
    }
}

fn decode_error(reader: &mut Reader<'_>) -> Result<String, Error> {
    let mut text = String::new();
    reader.fields(["Error"], |_, r| {
        text = r.str()?.into_owned();
        Ok::<(), Error>(())
    })?;
    Ok(text)
}

fn decode_state_head(reader: &mut Reader<'_>) -> Result<(i64, i64, bool), Error> {
    let (mut nodes, mut tail, mut join) = (0, 0, false);
    reader.fields(["Nodes", "UserStateLen", "Join"], |at, r| {
        match at {
            0 => nodes = r.int()?,
            1 => tail = r.int()?,
            _ => join = r.bool()?,
        }
        Ok::<(), Error>(())
    })?;
    Ok((nodes, tail, join))
}

fn decode_user_head(reader: &mut Reader<'_>) -> Result<i64, Error> {
    let mut len = 0;
    reader.fields(["UserMsgLen"], |_, r| {
        len = r.int()?;
        Ok::<(), Error>(())
    })?;
    Ok(len)
}

/// A node; `None` without a name, an address, or a state that is known.
fn decode_node(reader: &mut Reader<'_>) -> Result<Option<RemoteNode>, Error> {
    let (mut name, mut versions, mut incarnation, mut state) = (Text::default(), None, 0, 0);
    let (mut ip, mut port) = (None, 0);
    let mut meta: Arc<[u8]> = Arc::default();
    reader.fields(
        [
            "Name",
            "Addr",
            "Port",
            "Meta",
            "Incarnation",
            "State",
            "Vsn",
        ],
        |at, r| {
            match at {
                0 => name = r.text()?,
                1 => ip = ip::from_bytes(&r.bytes()?.unwrap_or_default()),
                2 => port = r.uint()?,
                3 => meta = r.blob()?,
                4 => incarnation = r.uint()?,
                5 => state = r.int()?,
                _ => versions = take_versions(r)?,
            }
            Ok::<(), Error>(())
        },
    )?;
    let state = match state {
        0 => NodeState::Alive,
        1 => NodeState::Suspect,
        2 => NodeState::Dead,
        3 => NodeState::Left,
        _ => return Ok(None),
    };
    let Some(ip) = ip.filter(|_| !name.is_empty()) else {
        return Ok(None);
    };
    let addr = SocketAddr::new(ip, port);
    let peer = Arc::new(Peer {
        name,
        addr,
        meta,
        versions,
    });
    Ok(Some(RemoteNode {
        peer,
        incarnation,
        state,
    }))
}
