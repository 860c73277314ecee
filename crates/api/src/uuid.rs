//! UUIDs in requests; the rules and the texts are those of the server RPC as well.

pub use tribune_types::uuid::{lookup_error, parse_node_id, parse_session};
