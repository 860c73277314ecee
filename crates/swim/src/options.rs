//! Settings of a pool (gossip.md section 9.1) and the seams a pool is given: who may enter, and how bytes are made.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::Text;

use crate::message::{Message, Peer, RemoteNode, Versions};

/// Times and counts of failure detection and dissemination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// Between probes. LAN 1 s.
    pub probe_interval: Duration,
    /// For a direct ack before others are asked. LAN 500 ms.
    pub probe_timeout: Duration,
    /// Peers asked to probe a silent node. 3.
    pub indirect_checks: usize,
    /// Transmissions of a broadcast per decimal digit of the pool size. 4.
    pub retransmit_mult: usize,
    /// Probe intervals a suspect has, per digit of the pool size. LAN 4.
    pub suspicion_mult: u32,
    /// Longest suspicion as a multiple of the shortest. 6.
    pub suspicion_timeout_max_mult: u32,
    /// Between full exchanges, before scaling. LAN 30 s.
    pub push_pull_interval: Duration,
    /// Scores of awareness: 0 to this, exclusive. 8.
    pub awareness_max: u32,
    /// Between gossip rounds. LAN 200 ms.
    pub gossip_interval: Duration,
    /// Peers per gossip round. 3.
    pub gossip_nodes: usize,
    /// How long the dead are still gossiped to, and then forgotten. LAN 30 s.
    pub gossip_to_the_dead: Duration,
    /// After which a dead node's name may come back at another address; zero is never. 30 s.
    pub dead_node_reclaim: Duration,
    /// For a stream. LAN 10 s.
    pub stream_timeout: Duration,
}

impl Timing {
    /// Consul's LAN profile.
    pub fn lan() -> Timing {
        Timing {
            probe_interval: Duration::from_secs(1),
            probe_timeout: Duration::from_millis(500),
            indirect_checks: 3,
            retransmit_mult: 4,
            suspicion_mult: 4,
            suspicion_timeout_max_mult: 6,
            push_pull_interval: Duration::from_secs(30),
            awareness_max: 8,
            gossip_interval: Duration::from_millis(200),
            gossip_nodes: 3,
            gossip_to_the_dead: Duration::from_secs(30),
            dead_node_reclaim: Duration::from_secs(30),
            stream_timeout: Duration::from_secs(10),
        }
    }

    /// Consul's WAN profile.
    pub fn wan() -> Timing {
        Timing {
            probe_interval: Duration::from_secs(5),
            probe_timeout: Duration::from_secs(3),
            suspicion_mult: 6,
            push_pull_interval: Duration::from_secs(60),
            gossip_interval: Duration::from_millis(500),
            gossip_to_the_dead: Duration::from_secs(60),
            stream_timeout: Duration::from_secs(30),
            ..Timing::lan()
        }
    }
}

/// A refusal by [`Admit`], in words for the log of both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal(pub String);

/// Who may enter the pool. Answers come from what the caller has at hand; no waiting.
pub trait Admit: Send + Sync {
    /// True if nodes at this address may be part of the pool.
    fn address(&self, addr: IpAddr) -> bool;
    /// A statement of one node (our own included) that is about to be believed.
    ///
    /// # Errors
    /// Why it is ignored.
    fn alive(&self, peer: &Peer) -> Result<(), Refusal>;
    /// The whole table of a join.
    ///
    /// # Errors
    /// Why the join is refused as a whole.
    fn join(&self, nodes: &[RemoteNode]) -> Result<(), Refusal>;
}

/// Everybody may enter.
#[derive(Debug, Clone, Copy)]
pub struct AdmitAll;

impl Admit for AdmitAll {
    fn address(&self, _addr: IpAddr) -> bool {
        true
    }
    fn alive(&self, _peer: &Peer) -> Result<(), Refusal> {
        Ok(())
    }
    fn join(&self, _nodes: &[RemoteNode]) -> Result<(), Refusal> {
        Ok(())
    }
}

/// What a pool needs to know.
pub struct Options {
    /// Own name.
    pub name: Text,
    /// Address told to others.
    pub addr: SocketAddr,
    /// Own metadata, at most 512 bytes.
    pub meta: Arc<[u8]>,
    /// Own versions.
    pub versions: Versions,
    /// Times and counts.
    pub timing: Timing,
    /// Bytes of a datagram that encryption takes away (0, 29 or 45).
    pub packet_overhead: usize,
    /// Probe over a stream what does not answer datagrams.
    pub stream_fallback: bool,
    /// Who may enter.
    pub admit: Arc<dyn Admit>,
    /// Appends one message with its type byte. Sizes decide what fits into a packet, so the core needs bytes to plan.
    pub encode: fn(&Message, &mut Vec<u8>),
    /// Seed of all random choices.
    pub seed: u64,
    /// Entries of the node table, in any state, beyond which unknown names are refused: a bound on what a flood of invented
    /// names can cost. Nodes already known are not affected. At most 2^24 - 1 whatever is given here.
    pub nodes_max: usize,
}

impl Options {
    /// A good [`Options::nodes_max`]: several times the largest pools there are; full of the largest records it takes
    /// some 50 MB.
    pub const NODES_MAX: usize = 65_536;
}
