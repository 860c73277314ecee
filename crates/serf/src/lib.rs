//! Members, intents, user events, queries and network coordinates on top of failure detection (gossip.md sections 7
//! and 8), as one synchronous core that owns the core of the layer below.
//!
//! In: messages of other nodes, whole states over streams, wishes of the application, and the time. Out: [`Action`]s in
//! the order in which they are to be carried out. Bytes are made and read by the [`Codec`] it is given.

mod action;
mod below;
mod clock;
mod codec;
mod coordinates;
mod events;
mod intents;
mod leave;
mod members;
mod message;
mod queries;
mod questions;
mod recent;
mod serf;
mod snapshot;
mod state;
mod tally;
mod upkeep;
mod vivaldi;

pub use action::{Action, Asked, KeyOperation, MemberChange, MemberEvent, QueryId, Record};
pub use codec::Codec;
pub use message::{
    ConflictAnswer, EventSlot, Filter, JoinIntent, LTime, LeaveIntent, Message, Query,
    QueryResponse, StateExchange, UserEvent,
};
pub use serf::{MemberView, Options, Question, Refused, Restored, Serf, Stats};
pub use tally::Tally;
