//! One simulated agent: its core, and what the world does to it.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tribune_serf::{Restored, Serf};
use tribune_swim::{Peer, Versions};
use tribune_types::text::{Text, TextMap, text};
use tribune_types::time::Mono;

use super::event::Event;

/// What the world does to an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Life {
    Running,
    Paused,
    /// Stopped: without a word, or after leaving.
    Stopped,
}

/// One agent.
pub(crate) struct Agent {
    pub(crate) name: Text,
    pub(crate) core: Option<Serf>,
    pub(crate) life: Life,
    /// Number of starts. What was meant for an earlier life is not delivered.
    pub(crate) lives: u32,
    /// The one planned wake-up that counts.
    pub(crate) wake: Mono,
    /// What arrived while it was paused.
    pub(crate) inbox: VecDeque<Event>,
    pub(crate) inbox_bytes: usize,
    /// What the snapshot file of the last life remembers.
    pub(crate) remembered: Restored,
    /// Joins under way, and whether one of them succeeded.
    pub(crate) joining: usize,
    pub(crate) join_reached: bool,
    /// Remembered members that are still to be tried, the next one last.
    pub(crate) to_try: Vec<SocketAddr>,
}

/// No wake-up is planned.
pub(crate) const NEVER: Mono = Mono(u64::MAX);

impl Agent {
    pub(crate) fn new(index: usize) -> Agent {
        Agent {
            name: name_of(index),
            core: None,
            life: Life::Stopped,
            lives: 0,
            wake: NEVER,
            inbox: VecDeque::new(),
            inbox_bytes: 0,
            remembered: Restored::default(),
            joining: 0,
            join_reached: false,
            to_try: Vec::new(),
        }
    }

    /// The core, if it may act now.
    pub(crate) fn active(&mut self) -> Option<&mut Serf> {
        match self.life {
            Life::Running => self.core.as_mut(),
            _ => None,
        }
    }
}

/// Name of an agent.
pub fn name_of(index: usize) -> Text {
    text(&format!("node-{index:05}"))
}

/// The agent of a name.
pub fn index_of(name: &str) -> Option<usize> {
    name.strip_prefix("node-")?.parse().ok()
}

/// Gossip address of an agent.
pub fn addr_of(index: usize) -> SocketAddr {
    let [_, a, b, c] = u32::try_from(index)
        .expect("fewer than 2^24 agents")
        .to_be_bytes();
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, a, b, c)), 8301)
}

/// The agent at an address.
pub(crate) fn index_at(addr: SocketAddr) -> Option<usize> {
    match addr.ip() {
        IpAddr::V4(ip) => {
            let [ten, a, b, c] = ip.octets();
            (ten == 10 && addr.port() == 8301).then(|| u32::from_be_bytes([0, a, b, c]) as usize)
        }
        IpAddr::V6(_) => None,
    }
}

/// The tags of a Consul client (gossip.md section 10.1), with an id of its own.
pub fn tags_of(index: usize) -> TextMap {
    let id = format!("{index:08x}-7472-4962-8e65-{index:012x}");
    [
        ("role", "node"),
        ("dc", "dc1"),
        ("segment", ""),
        ("id", id.as_str()),
        ("vsn", "2"),
        ("vsn_min", "2"),
        ("vsn_max", "3"),
        ("build", "1.8.7:3ef8ad84"),
        ("acls", "0"),
    ]
    .into_iter()
    .map(|(key, value)| (text(key), text(value)))
    .collect()
}

/// What an agent says about itself at its start.
pub(crate) fn peer_of(index: usize, encode_tags: fn(&TextMap) -> Arc<[u8]>) -> Arc<Peer> {
    Arc::new(Peer {
        name: name_of(index),
        addr: addr_of(index),
        meta: encode_tags(&tags_of(index)),
        versions: Some(Versions::CONSUL),
    })
}

/// Consul's settings of the upper layer (gossip.md section 9.2).
pub fn consul_serf(tags: TextMap) -> tribune_serf::Options {
    tribune_serf::Options {
        tags,
        broadcast_timeout: Duration::from_secs(5),
        leave_propagate_delay: Duration::from_secs(3),
        reap_interval: Duration::from_secs(15),
        reconnect_interval: Duration::from_secs(30),
        reconnect_timeout: Duration::from_secs(72 * 3600),
        tombstone_timeout: Duration::from_secs(24 * 3600),
        recent_intent_timeout: Duration::from_secs(300),
        queue_len_min: 4096,
        event_size_max: 512,
        query_size_max: 1024,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_lead_back_to_the_agent() {
        for index in [0, 1, 255, 256, 9_999, 65_536] {
            assert_eq!(index_of(&name_of(index)), Some(index));
            assert_eq!(index_at(addr_of(index)), Some(index));
        }
        assert_eq!(index_of("web"), None);
        assert_eq!(index_at(SocketAddr::from(([127, 0, 0, 1], 8301))), None);
    }
}
