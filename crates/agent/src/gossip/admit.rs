//! Who may be in a pool: the networks of the configuration and the rules of `tribune-local`, as the gossip core
//! asks for them. This is only the translation; the rules are `tribune_local::members`.

use std::net::IpAddr;

use ipnet::IpNet;
use tribune_local::members::{Candidate, Rules, check_alive, check_join};
use tribune_swim::{Admit, NodeState, Peer, Refusal, RemoteNode};
use tribune_types::text::TextMap;

use super::codec;

/// The rules of a pool.
#[derive(Debug)]
pub(crate) struct Admission {
    /// Networks that members may be in; empty is all.
    pub(crate) networks: Vec<IpNet>,
    /// The rest.
    pub(crate) rules: Rules,
}

impl Admit for Admission {
    fn address(&self, addr: IpAddr) -> bool {
        self.networks.is_empty() || self.networks.iter().any(|network| network.contains(&addr))
    }

    fn alive(&self, peer: &Peer) -> Result<(), Refusal> {
        let tags = codec::decode_tags(&peer.meta);
        let candidate = candidate(peer, &tags, false);
        check_alive(&self.rules, &candidate).map_err(Refusal)
    }

    fn join(&self, nodes: &[RemoteNode]) -> Result<(), Refusal> {
        let tags: Vec<TextMap> = nodes
            .iter()
            .map(|node| codec::decode_tags(&node.peer.meta))
            .collect();
        let candidates: Vec<Candidate<'_>> = nodes
            .iter()
            .zip(&tags)
            .map(|(node, tags)| candidate(&node.peer, tags, node.state == NodeState::Left))
            .collect();
        check_join(&self.rules, &candidates).map_err(Refusal)
    }
}

fn candidate<'a>(peer: &'a Peer, tags: &'a TextMap, left: bool) -> Candidate<'a> {
    Candidate {
        name: &peer.name,
        addr: peer.addr,
        tags,
        left,
    }
}
