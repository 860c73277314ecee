//! Recovery from a lost majority: an operator says who the peers are, and the stored peer set is replaced at start.
//!
//! In: the servers an operator names, by identity or by address alone. Out: the peer set for the consensus layer, or why
//! it cannot be one. Reading the operator's file is the agent's part.
//!
//! An address alone stands for the identity that the stored peer set has there: the log is opened for a look first.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use tribune_raft::{MembershipView, NoPeers, Raft, RaftConfig, RecoveredPeer};
use tribune_rt::Env;
use tribune_state::State;
use tribune_types::id::NodeId;

use crate::hub::Hub;
use crate::soft::Soft;
use crate::store::Store;
use crate::{StartError, machine};

/// A server that is to be a peer after a recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecoveredServer {
    /// Node identity; `None` if only the address is known.
    pub id: Option<NodeId>,
    /// `ip:port` of its server RPC.
    pub addr: String,
    /// It votes.
    pub voter: bool,
}

/// Adds the peer set to recover to the settings of the consensus layer.
pub(crate) async fn prepare(
    env: &Env,
    config: RaftConfig,
    servers: &[RecoveredServer],
) -> Result<RaftConfig, StartError> {
    if servers.is_empty() {
        return Ok(config);
    }
    let stored = if servers.iter().all(|server| server.id.is_some()) {
        MembershipView::default()
    } else {
        look(env, &config).await?
    };
    let own = (config.id, config.member.addr.as_str());
    let peers = resolve(own, servers, &stored).map_err(StartError::Recover)?;
    Ok(RaftConfig {
        recover: Some(peers),
        ..config
    })
}

/// The stored peer set.
async fn look(env: &Env, config: &RaftConfig) -> Result<MembershipView, StartError> {
    let state = State::new();
    let store = Arc::new(Store::new(state.version()));
    let hub = Arc::new(Hub::new(Arc::clone(&store)));
    let soft = Arc::new(Soft::new(env.clone()));
    let machine = machine::StateMachine::new(env, state, store, hub, soft);
    let raft = Raft::open(env, config.clone(), Box::new(machine), Arc::new(NoPeers)).await?;
    // Filled by the core's first turn.
    let mut stored = raft.membership();
    for _ in 0..100 {
        if !stored.peers.is_empty() {
            break;
        }
        env.sleep(std::time::Duration::from_millis(10)).await;
        stored = raft.membership();
    }
    raft.shutdown().await;
    Ok(stored)
}

fn resolve(
    (own, own_addr): (NodeId, &str),
    servers: &[RecoveredServer],
    stored: &MembershipView,
) -> Result<Vec<RecoveredPeer>, String> {
    let by_addr: BTreeMap<&str, NodeId> = stored
        .peers
        .iter()
        .map(|peer| (peer.addr.as_str(), peer.id))
        .chain([(own_addr, own)])
        .collect();
    let (mut ids, mut addrs) = (BTreeSet::new(), BTreeSet::new());
    let mut peers = Vec::new();
    for server in servers {
        let addr: SocketAddr = { server.addr.parse() }
            .map_err(|_| format!("{:?} is no address of the form ip:port", server.addr))?;
        let addr = addr.to_string();
        let id = server.id.or_else(|| by_addr.get(addr.as_str()).copied());
        let Some(id) = id else {
            return Err(format!(
                "the identity of the server at {addr} is not known: name it as {{\"id\", \"address\"}}"
            ));
        };
        if !ids.insert(id) {
            return Err(format!("server {id} is named twice"));
        }
        if !addrs.insert(addr.clone()) {
            return Err(format!("address {addr} is named twice"));
        }
        peers.push(RecoveredPeer {
            id,
            member: tribune_raft::Member { addr },
            voter: server.voter,
        });
    }
    if !peers.iter().any(|peer| peer.voter) {
        return Err("it names no server with a vote".to_owned());
    }
    if !ids.contains(&own) {
        return Err(format!("it does not name this server, {own} at {own_addr}"));
    }
    Ok(peers)
}

#[cfg(test)]
mod tests {
    use tribune_raft::PeerInfo;

    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId::from_random([n; 16])
    }

    fn named(n: Option<u8>, addr: &str) -> RecoveredServer {
        RecoveredServer {
            id: n.map(id),
            addr: addr.to_owned(),
            voter: true,
        }
    }

    fn resolved(servers: &[RecoveredServer]) -> Result<Vec<(NodeId, String)>, String> {
        let stored = MembershipView {
            peers: vec![PeerInfo {
                id: id(2),
                addr: "10.0.0.2:8300".to_owned(),
                voter: true,
                matched: None,
                last_contact: None,
            }],
            ..MembershipView::default()
        };
        let peers = resolve((id(1), "10.0.0.1:8300"), servers, &stored)?;
        Ok(peers
            .into_iter()
            .map(|peer| (peer.id, peer.member.addr))
            .collect())
    }

    #[test]
    fn addresses_alone_stand_for_the_servers_that_were_there() {
        assert_eq!(
            resolved(&[named(None, "10.0.0.1:8300"), named(None, "10.0.0.2:8300")]),
            Ok(vec![
                (id(1), "10.0.0.1:8300".to_owned()),
                (id(2), "10.0.0.2:8300".to_owned())
            ])
        );
        // An identity may live elsewhere now.
        assert_eq!(
            resolved(&[
                named(Some(1), "10.0.0.1:8300"),
                named(Some(2), "10.0.0.7:8300")
            ]),
            Ok(vec![
                (id(1), "10.0.0.1:8300".to_owned()),
                (id(2), "10.0.0.7:8300".to_owned())
            ])
        );
    }

    #[test]
    fn a_set_that_cannot_be_one_is_refused_in_words() {
        let own = named(Some(1), "10.0.0.1:8300");
        let no_vote = RecoveredServer {
            voter: false,
            ..own.clone()
        };
        for (servers, want) in [
            (
                vec![own.clone(), named(None, "10.0.0.9:8300")],
                "the identity of the server at 10.0.0.9:8300",
            ),
            (
                vec![own.clone(), named(Some(1), "10.0.0.9:8300")],
                "is named twice",
            ),
            (
                vec![own.clone(), named(Some(2), "10.0.0.1:8300")],
                "address 10.0.0.1:8300 is named twice",
            ),
            (
                vec![own.clone(), named(Some(2), "host:8300")],
                "\"host:8300\" is no address",
            ),
            (
                vec![named(Some(2), "10.0.0.2:8300")],
                "it does not name this server",
            ),
            (vec![no_vote], "no server with a vote"),
        ] {
            let refused = resolved(&servers).unwrap_err();
            assert!(refused.contains(want), "{refused}");
        }
    }
}
