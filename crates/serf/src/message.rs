//! Messages of this layer (gossip.md section 7.1), as values.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::{Text, TextMap};

/// Lamport time.
pub type LTime = u64;

/// A node is about to leave, or is to be considered as left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaveIntent {
    /// Member clock.
    pub ltime: LTime,
    /// Who.
    pub node: Text,
    /// Forget it, too.
    pub prune: bool,
}

/// A node joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JoinIntent {
    /// Member clock.
    pub ltime: LTime,
    /// Who.
    pub node: Text,
}

/// A named message to all members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserEvent {
    /// Event clock.
    pub ltime: LTime,
    /// Name.
    pub name: Text,
    /// Payload; nil and empty are the same to every reader.
    pub payload: Arc<[u8]>,
    /// May be merged with others of its name. Consul never sets it.
    pub coalesce: bool,
}

/// A condition on who answers a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// These nodes.
    Nodes(Vec<Text>),
    /// Nodes whose tag matches a regular expression.
    Tag {
        /// Tag; a missing one is the empty string.
        tag: Text,
        /// Regular expression, searched.
        expr: Text,
    },
    /// Of a type or shape that is not known: nobody passes.
    Unknown,
}

/// A question to all members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// Query clock.
    pub ltime: LTime,
    /// Random; with the clock the identity of the query.
    pub id: u32,
    /// Where answers go.
    pub source: SocketAddr,
    /// Name of the asking node; may be empty.
    pub source_node: Text,
    /// All must pass.
    pub filters: Vec<Filter>,
    /// Those that pass confirm with an ack.
    pub ack: bool,
    /// Receivers do not spread it further.
    pub no_broadcast: bool,
    /// Number of random members through which each answer is sent as well.
    pub relay_factor: u8,
    /// Time from receipt in which answers count.
    pub timeout: Duration,
    /// Name; the prefix `_serf_` is reserved.
    pub name: Text,
    /// Payload.
    pub payload: Arc<[u8]>,
}

/// An ack or an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryResponse {
    /// Of the query.
    pub ltime: LTime,
    /// Of the query.
    pub id: u32,
    /// Who answers.
    pub from: Text,
    /// Confirmation of receipt, without a payload.
    pub ack: bool,
    /// `None` is nil.
    pub payload: Option<Arc<[u8]>>,
}

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// Type 0.
    Leave(LeaveIntent),
    /// Type 1.
    Join(JoinIntent),
    /// Type 3.
    UserEvent(UserEvent),
    /// Type 4.
    Query(Query),
    /// Type 5.
    QueryResponse(QueryResponse),
    /// Type 9: a complete message of this layer to be handed on.
    Relay {
        /// Where to.
        to: SocketAddr,
        /// Name of that node; may be empty.
        node: Text,
        /// The message with its type byte.
        message: Arc<[u8]>,
    },
}

/// Type 2: the state of this layer inside of an exchanged state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateExchange {
    /// Member clock.
    pub ltime: LTime,
    /// Last intent of every member, sorted by name.
    pub status_ltimes: Vec<(Text, LTime)>,
    /// Members that left.
    pub left: Vec<Text>,
    /// Event clock.
    pub event_ltime: LTime,
    /// Recent events by time. The wire has slots, most of them nil: `event_slots` of them.
    pub events: Vec<EventSlot>,
    /// Number of slots on the wire, empty ones included.
    pub event_slots: usize,
    /// Query clock.
    pub query_ltime: LTime,
}

/// Events of one Lamport time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSlot {
    /// Position on the wire.
    pub at: usize,
    /// The time.
    pub ltime: LTime,
    /// Name and payload of each.
    pub events: Vec<(Text, Arc<[u8]>)>,
}

/// Type 6: what a member knows of a name that two claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConflictAnswer {
    /// Name.
    pub name: Text,
    /// Address it is known at.
    pub addr: SocketAddr,
    /// Tags.
    pub tags: TextMap,
    /// Number of the status (1 alive to 4 failed).
    pub status: u8,
    /// Minimum, maximum and current protocol, then those of the delegate.
    pub versions: [u8; 6],
}
