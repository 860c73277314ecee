//! The one place that knows how cores are started and bytes are read.

use std::sync::Arc;

use tribune_serf::{Action, Codec, Serf};
use tribune_swim::{Message, Peer};
use tribune_types::time::Mono;

use super::agent;
use super::pool::{Pool, PoolOptions};

/// The production codec.
pub(crate) const CODEC: Codec = tribune_wire::serf::CODEC;

/// Reads one part of a datagram.
pub(crate) fn decode(part: &[u8]) -> Option<Message> {
    tribune_wire::memberlist::decode(part).ok()
}

/// What an agent says about itself at its start, and its first incarnation.
pub(crate) fn peer_of(index: usize) -> (Arc<Peer>, u32) {
    (agent::peer_of(index, CODEC.encode_tags), 1)
}

/// A core that has known all of these for long.
pub(crate) fn start_known(
    options: tribune_serf::Options,
    pool: tribune_swim::Options,
    peers: &[(Arc<Peer>, u32)],
    now: Mono,
    out: &mut Vec<Action>,
) -> Serf {
    Serf::with_members(options, pool, CODEC, now, peers, out)
}

/// A core with a table of this size that shares nothing with another one, as an agent in a process of its own has it.
pub fn lone_agent(nodes: usize, seed: u64) -> Serf {
    let peers: Vec<_> = (0..nodes).map(peer_of).collect();
    let mut pool = Pool::strangers(PoolOptions::new(0, seed));
    let (options, below) = (pool.serf_options(0), pool.swim_options(0));
    start_known(options, below, &peers, Mono(0), &mut Vec::new())
}
