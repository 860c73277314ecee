//! Membership and failure detection: SWIM with Lifeguard, as one synchronous core (gossip.md sections 3.7, 4.2 and 6).
//!
//! In: messages of other nodes, whole states over streams, results of stream probes, and the time. Out: [`Action`]s in
//! the order in which they are to be carried out. The core opens nothing, reads no clock, and draws randomness from the
//! seed it was given, so that thousands of nodes run as events of one queue.

mod action;
mod awareness;
mod decide;
mod gossip;
mod index;
mod merge;
mod message;
mod options;
mod outbox;
mod probe;
mod queue;
mod random;
mod relay;
mod suspicion;
mod swim;
mod table;
mod tally;
mod tick;

pub use action::{Action, Notice, Packet, Ticket, Warning};
pub use index::{NameIndex, Names};
pub use message::{
    Accusation, Ack, Alive, IndirectPing, Message, NodeState, Peer, Ping, PushPull, RemoteNode,
    Versions,
};
pub use options::{Admit, AdmitAll, Options, Refusal, Timing};
pub use swim::{Entry, MergeError, Queue, Swim};
pub use tally::Tally;

#[cfg(test)]
mod tests;
