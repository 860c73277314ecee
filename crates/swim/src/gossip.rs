//! Packets: how broadcasts ride on them, the gossip round, and when whole states are exchanged (gossip.md sections 3.6,
//! 3.7, 6.2 and 6.4).

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::Text;
use tribune_types::time::Mono;

use crate::action::{Action, Packet};
use crate::message::{Message, NodeState, Peer};
use crate::swim::Swim;
use crate::table::LOCAL;

/// What a gossip round carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Round {
    /// All that is queued.
    Regular,
    /// What was never sent.
    Fresh,
}

/// When the next exchange of states is due.
#[derive(Debug, Clone)]
pub(crate) struct Exchanges {
    /// `None`: never.
    pub(crate) due: Option<Mono>,
    /// The random delay of the start is over.
    begun: bool,
}

impl Exchanges {
    /// The first period begins after a random delay. An interval of zero never exchanges.
    pub(crate) fn new(begin: Mono, interval: Duration) -> Exchanges {
        Exchanges {
            due: (!interval.is_zero()).then_some(begin),
            begun: false,
        }
    }

    /// As of a node that has run for long in a pool of so many: the next exchange is somewhere in a whole period.
    pub(crate) fn under_way(
        now: Mono,
        interval: Duration,
        nodes: usize,
        rng: &mut crate::random::Rng,
    ) -> Exchanges {
        let period = exchange_interval(interval, nodes);
        Exchanges {
            due: (!interval.is_zero()).then(|| now + rng.below_duration(period)),
            begun: true,
        }
    }
}

impl Swim {
    /// Bytes of a message.
    pub(crate) fn encode(&mut self, message: &Message) -> Arc<[u8]> {
        self.scratch.clear();
        (self.options.encode)(message, &mut self.scratch);
        Arc::from(self.scratch.as_slice())
    }

    /// Sends a message with as many broadcasts as there is room for.
    pub(crate) fn send(&mut self, to: SocketAddr, message: &Message, out: &mut Vec<Action>) {
        let mut parts = vec![self.encode(message)];
        self.outbox.fill(self.table.len(), &mut parts);
        out.push(Action::Packet(Packet {
            to,
            parts,
            checksum: false,
        }));
    }

    /// A gossip round: some random nodes get what is queued; in a round between the regular ones, what was never sent.
    pub(crate) fn gossip(&mut self, now: Mono, round: Round, out: &mut Vec<Action>) {
        let to_the_dead = self.options.timing.gossip_to_the_dead;
        let targets = self.table.pick(
            self.options.timing.gossip_nodes,
            &mut self.rng,
            |_, entry| match entry.state {
                NodeState::Alive | NodeState::Suspect => true,
                NodeState::Dead => now.since(entry.since) <= to_the_dead,
                NodeState::Left => false,
            },
        );
        for (sent, slot) in targets.into_iter().enumerate() {
            let mut parts = Vec::new();
            let below = match round {
                Round::Regular => usize::MAX,
                // The round itself has sent it that often.
                Round::Fresh => sent + 1,
            };
            self.outbox.fill_below(below, self.table.len(), &mut parts);
            if parts.is_empty() {
                return;
            }
            let peer = self.table.peer(slot);
            out.push(Action::Packet(Packet {
                to: peer.addr,
                parts,
                checksum: understands_checksums(peer),
            }));
        }
    }

    /// True if a gossip round has something to say, and may find somebody to hear it.
    pub(crate) fn has_gossip(&self) -> bool {
        let local_left = self.table.get(LOCAL).state == NodeState::Left;
        let others_left = self.table.count(NodeState::Left) - usize::from(local_left);
        !self.outbox.is_empty() && self.table.len() - 1 > others_left
    }

    /// True if a round between the regular ones has something to say.
    pub(crate) fn has_fresh_gossip(&self) -> bool {
        self.outbox.has_fresh() && self.has_gossip()
    }

    /// Begins a period of exchanges, and an exchange if a period is over.
    pub(crate) fn exchange(&mut self, now: Mono, out: &mut Vec<Action>) {
        if self.exchanges.due.is_none_or(|due| now < due) {
            return;
        }
        if self.exchanges.begun {
            let target = self
                .table
                .pick(1, &mut self.rng, |_, entry| entry.state == NodeState::Alive);
            if let Some(&slot) = target.first() {
                let peer = self.table.peer(slot);
                out.push(Action::PushPull {
                    to: peer.addr,
                    node: Text::clone(&peer.name),
                });
            }
        }
        let interval = self.options.timing.push_pull_interval;
        self.exchanges = Exchanges {
            due: Some(now + exchange_interval(interval, self.table.len())),
            begun: true,
        };
    }
}

/// True if a packet to this node may carry a checksum, where there is one at all.
pub(crate) fn understands_checksums(peer: &Peer) -> bool {
    peer.versions
        .is_some_and(|versions| versions.protocol_max() >= 5)
}

/// Whole states grow with the pool, so they are exchanged less often in large ones: once more than the interval for each
/// doubling beyond 32 nodes.
fn exchange_interval(interval: Duration, nodes: usize) -> Duration {
    let mut factor = 1;
    let mut size = 32_usize;
    while size < nodes {
        factor += 1;
        size = size.saturating_mul(2);
    }
    interval.saturating_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exchanges_are_rarer_in_larger_pools() {
        // interval * (ceil(log2 n - log2 32) + 1) beyond 32 nodes
        for (nodes, factor) in [
            (1, 1),
            (32, 1),
            (33, 2),
            (64, 2),
            (65, 3),
            (128, 3),
            (1_000, 6),
            (10_000, 10),
        ] {
            let second = Duration::from_secs(1);
            assert_eq!(exchange_interval(second, nodes), second * factor, "{nodes}");
        }
    }
}
