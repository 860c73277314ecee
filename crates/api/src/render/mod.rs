//! Domain values as the JSON bytes of the HTTP API (spec http-api.md section 2).
//!
//! In: borrowed records. Out: compact JSON appended to a `Vec<u8>`; [`pretty`] indents it afterwards as
//! `json.MarshalIndent` with four spaces does. Writers are straight-line code that copies constant pieces, because one
//! health answer holds hundreds of records: no intermediate tree, no reflection.
//!
//! Rules of Go that show in bytes: `<`, `>`, `&`, U+2028 and U+2029 are escaped, bytes that are no UTF-8 read
//! `\ufffd`, floats take the shortest form that reads back, map keys are in byte order. Shapes were compared with
//! bodies captured from a running Consul 1.8.7 (`tests/golden`).

mod agent;
mod answer;
mod catalog;
mod health;
mod keyring;
mod kv;
mod misc;
mod prepared;
mod pretty;
mod proxy;
mod txn;
mod ui;
mod value;
mod write;

pub use agent::{
    AgentHealthView, AgentServiceView, SelfView, agent_checks, agent_health_list, agent_health_one,
    agent_service, agent_services, members, self_report,
};
pub use answer::{View, reply};
pub use health::health_check;
pub use keyring::keyring;
pub use kv::kv_entry;
pub use misc::{events, operator_health, session_created, sessions_renewed, strings, user_event};
pub use prepared::{query_created, query_executed, query_explained};
pub use pretty::pretty;
pub use txn::{TxnReadMeta, txn_outcome};
pub use value::value;
pub use write::string;

/// What an empty list of tags looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyTags {
    /// `[]`: catalog, health and agent endpoints.
    Array,
    /// `null`: the UI's, transactions' and prepared queries' answers.
    Null,
}

/// Whose addresses to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Addresses {
    /// As registered.
    #[default]
    Lan,
    /// Tagged addresses where there are any, those of the WAN first: `translate_wan_addrs`, answers from another datacenter.
    Wan,
}
