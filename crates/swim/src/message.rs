//! What nodes say to one another (gossip.md sections 3.2 and 4.1), as values. Bytes are the codec's business.

use std::net::SocketAddr;
use std::sync::Arc;

use tribune_types::text::Text;

/// Versions a node understands and speaks: protocol minimum, maximum, current; delegate minimum, maximum, current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Versions(pub [u8; 6]);

impl Versions {
    /// What Consul 1.8 sends for every node.
    pub const CONSUL: Versions = Versions([1, 5, 2, 2, 5, 4]);

    /// Highest protocol understood: 3 answers stream pings, 4 sends nacks, 5 understands checksums.
    pub fn protocol_max(self) -> u8 {
        self.0[1]
    }
}

/// What a node says about itself. Shared by everything that mentions the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Name, unique in the pool.
    pub name: Text,
    /// Gossip address. Port 0 in a message means the receiver's own gossip port.
    pub addr: SocketAddr,
    /// At most 512 bytes, opaque at this layer.
    pub meta: Arc<[u8]>,
    /// `None` if the message had fewer than six numbers.
    pub versions: Option<Versions>,
}

/// A probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ping {
    /// Number that the ack repeats.
    pub seq: u32,
    /// Who is meant; anybody if empty.
    pub node: Text,
    /// Where to send the ack, if not to the sender of the datagram.
    pub source: Option<SocketAddr>,
    /// Name of the sender; may be empty.
    pub source_node: Text,
}

/// A request to probe somebody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndirectPing {
    /// Number that the answer repeats.
    pub seq: u32,
    /// Address of the node to probe.
    pub target: SocketAddr,
    /// Name of the node to probe.
    pub node: Text,
    /// True if a nack is wanted when no ack came in time.
    pub nack: bool,
    /// Where to send the answer, if not to the sender of the datagram.
    pub source: Option<SocketAddr>,
    /// Name of the sender; may be empty.
    pub source_node: Text,
}

/// The answer to a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Number of the probe.
    pub seq: u32,
    /// Opaque at this layer; `None` in answers to indirect and stream probes.
    pub payload: Option<Arc<[u8]>>,
}

/// Suspect or dead: somebody's word about a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accusation {
    /// Incarnation of the node that the word is about.
    pub incarnation: u32,
    /// The accused.
    pub node: Text,
    /// The accuser. In a death: equal to `node` if it left by itself.
    pub from: Text,
}

/// A node's word about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alive {
    /// Number of the statement; a higher one overrides.
    pub incarnation: u32,
    /// What it says.
    pub peer: Arc<Peer>,
}

/// One message of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Are you there?
    Ping(Ping),
    /// Is that one there?
    IndirectPing(IndirectPing),
    /// It is.
    Ack(Ack),
    /// No answer from that one, but I am here. Carries the number of the indirect ping.
    Nack(u32),
    /// Somebody does not answer.
    Suspect(Accusation),
    /// A node is there.
    Alive(Alive),
    /// A node failed or left.
    Dead(Accusation),
    /// A message of the layer above, without this layer's type byte.
    User(Arc<[u8]>),
}

/// Life of a node in the table, and its number on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NodeState {
    /// Answers.
    Alive = 0,
    /// Accused of not answering.
    Suspect = 1,
    /// Failed.
    Dead = 2,
    /// Left by itself.
    Left = 3,
}

/// One entry of an exchanged node table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteNode {
    /// Who.
    pub peer: Arc<Peer>,
    /// Of its last statement.
    pub incarnation: u32,
    /// As the sender sees it.
    pub state: NodeState,
}

/// A whole state, exchanged over a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushPull {
    /// Sent by a joiner (or in answer to one).
    pub join: bool,
    /// The node table, the sender included.
    pub nodes: Vec<RemoteNode>,
    /// State of the layer above, opaque here.
    pub user_state: Vec<u8>,
}
