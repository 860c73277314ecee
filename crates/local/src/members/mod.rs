//! Members of a gossip pool as this kind of agent sees them: which tags we carry, who the others are by theirs, and who
//! may be in our pool (spec gossip.md sections 10.1 to 10.3).
//!
//! In: decoded tags, names, addresses. Out: tags, facts, refusals in words. Bytes of tags, the node table and every
//! clock are elsewhere; the driver of a pool turns what it decoded into [`Candidate`]s.

mod number;
mod recognise;
mod rules;
mod tags;

pub use recognise::{
    AclMode, ClientFacts, MemberKind, Role, SegmentAddr, ServerFacts, Version, is_tribune,
    recognise, role_of,
};
pub use rules::{Candidate, PoolRules, Rules, check_alive, check_join};
pub use tags::{OwnTags, Pool, ServerTags, TRIBUNE_TAG, own_tags};
