//! The peer set follows the pool: who is to be added, moved or removed (rpc.md section 8.2).
//!
//! In: the servers of the datacenter as the pool tells of them, and the peer set. Out: changes of the peer set about one
//! member, or the reason why a member is none of ours. Pure planning; nothing is planned if the peer set is right.
//!
//! A peer is its node identity. A server that comes back under another address is the same peer and is moved; another
//! server under the address of a peer replaces it. New servers get no vote at first: whether they earn one is decided by
//! `autopilot`. A leader never removes itself.

use std::net::SocketAddr;

use tribune_types::id::NodeId;
use tribune_types::member::MemberStatus;
use tribune_types::text::Text;

/// A server of the datacenter, as its tags tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolServer {
    /// Name in the pool.
    pub name: Text,
    /// Node identity; `None` if it tells none that is a UUID.
    pub id: Option<NodeId>,
    /// Where its server RPC listens; `None` if it tells no usable port.
    pub addr: Option<SocketAddr>,
    /// Life.
    pub status: MemberStatus,
    /// Version it runs.
    pub version: Text,
    /// Number of servers that it waits for to found a cluster; 0 if it does not.
    pub expect: i64,
    /// It founds a cluster alone.
    pub bootstrap: bool,
    /// It is to have a vote.
    pub voter: bool,
    /// It is of Tribune's own kind. Others cannot share the log.
    pub ours: bool,
}

/// A server of the peer set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Node identity.
    pub id: NodeId,
    /// `ip:port` of the server RPC.
    pub addr: String,
    /// It votes.
    pub voter: bool,
}

/// One change of the peer set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerStep {
    /// Receives the log from now on, without a vote.
    Add {
        /// Who.
        id: NodeId,
        /// Where.
        addr: SocketAddr,
    },
    /// Is reached elsewhere from now on.
    Move {
        /// Who.
        id: NodeId,
        /// Where.
        addr: SocketAddr,
    },
    /// Is a peer no more.
    Remove {
        /// Who.
        id: NodeId,
        /// A word for the log.
        why: &'static str,
    },
}

/// Why a member does not become a peer, in words for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A server of another make.
    #[error(
        "it is no server of Tribune: servers of another make cannot share Tribune's replicated log, join it to a \
         datacenter of its own kind"
    )]
    OtherKind,
    /// It tells no identity.
    #[error("it tells no node identity that is a UUID")]
    NoIdentity,
    /// It tells no address.
    #[error("it tells no usable port of its server RPC")]
    NoAddress,
    /// Both found clusters alone, and one of the two has to give in.
    #[error(
        "two servers are in bootstrap mode, the other is {0:?}: only one may be, or they found two clusters"
    )]
    TwoFounders(Text),
}

/// What the peer set needs about the member called `name`. `own` is the leader. A member that the pool has forgotten is
/// not among `servers`; see [`plan_reaped`].
///
/// # Errors
/// Why it does not become a peer.
pub fn plan(
    own: NodeId,
    name: &str,
    servers: &[PoolServer],
    peers: &[Peer],
) -> Result<Vec<PeerStep>, Refusal> {
    let Some(server) = servers.iter().find(|server| *server.name == *name) else {
        return Ok(Vec::new());
    };
    match server.status {
        MemberStatus::Alive => joined(own, server, servers, peers),
        MemberStatus::Left => Ok(gone(own, server, "left", servers, peers)),
        // Failed servers are autopilot's business; the others will soon be something else.
        MemberStatus::Failed | MemberStatus::Leaving | MemberStatus::None => Ok(Vec::new()),
    }
}

/// What the peer set needs about a member that the pool has forgotten.
pub fn plan_reaped(
    own: NodeId,
    server: &PoolServer,
    servers: &[PoolServer],
    peers: &[Peer],
) -> Vec<PeerStep> {
    gone(own, server, "reaped", servers, peers)
}

fn joined(
    own: NodeId,
    server: &PoolServer,
    servers: &[PoolServer],
    peers: &[Peer],
) -> Result<Vec<PeerStep>, Refusal> {
    if !server.ours {
        return Err(Refusal::OtherKind);
    }
    let id = server.id.ok_or(Refusal::NoIdentity)?;
    let addr = server.addr.ok_or(Refusal::NoAddress)?;
    let known = peers.iter().find(|peer| peer.id == id);
    if known.is_none() && server.bootstrap {
        let other = servers.iter().find(|other| {
            other.bootstrap && other.status == MemberStatus::Alive && other.name != server.name
        });
        if let Some(other) = other {
            return Err(Refusal::TwoFounders(other.name.clone()));
        }
    }
    let text = addr.to_string();
    let mut steps: Vec<PeerStep> = peers
        .iter()
        .filter(|peer| peer.addr == text && peer.id != id && peer.id != own)
        // After a restart of all with their addresses exchanged, the holder of the address lives elsewhere.
        .filter(|peer| !is_alive(peer.id, servers))
        .map(|peer| PeerStep::Remove {
            id: peer.id,
            why: "replaced at its address",
        })
        .collect();
    match known {
        None => steps.push(PeerStep::Add { id, addr }),
        Some(peer) if peer.addr != text => steps.push(PeerStep::Move { id, addr }),
        Some(_) => {}
    }
    Ok(steps)
}

fn gone(
    own: NodeId,
    server: &PoolServer,
    why: &'static str,
    servers: &[PoolServer],
    peers: &[Peer],
) -> Vec<PeerStep> {
    let Some(id) = server.id.filter(|id| *id != own) else {
        return Vec::new();
    };
    // The same server may be there under another name.
    if !peers.iter().any(|peer| peer.id == id) || is_alive(id, servers) {
        return Vec::new();
    }
    vec![PeerStep::Remove { id, why }]
}

fn is_alive(id: NodeId, servers: &[PoolServer]) -> bool {
    let alive = |server: &&PoolServer| server.status == MemberStatus::Alive;
    servers
        .iter()
        .filter(alive)
        .any(|server| server.id == Some(id))
}

#[cfg(test)]
pub(crate) mod tests {
    use tribune_types::text::text;

    use super::*;

    pub(crate) fn id(n: u8) -> NodeId {
        NodeId::from_random([n; 16])
    }

    /// Server `n` at 10.0.0.n.
    pub(crate) fn server(n: u8, status: MemberStatus) -> PoolServer {
        PoolServer {
            name: text(&format!("s{n}")),
            id: Some(id(n)),
            addr: Some(addr(n)),
            status,
            version: text("1.8.7"),
            expect: 0,
            bootstrap: false,
            voter: true,
            ours: true,
        }
    }

    pub(crate) fn addr(n: u8) -> SocketAddr {
        SocketAddr::new([10, 0, 0, n].into(), 8300)
    }

    pub(crate) fn peer(n: u8) -> Peer {
        Peer {
            id: id(n),
            addr: addr(n).to_string(),
            voter: true,
        }
    }

    fn add(n: u8) -> PeerStep {
        PeerStep::Add {
            id: id(n),
            addr: addr(n),
        }
    }

    fn remove(n: u8, why: &'static str) -> PeerStep {
        PeerStep::Remove { id: id(n), why }
    }

    use MemberStatus::{Alive, Failed, Leaving, Left};

    #[test]
    fn servers_come_and_go_with_the_pool() {
        // (status of server 2, is it a peer, steps)
        for (status, is_peer, want) in [
            (Alive, false, vec![add(2)]),
            (Alive, true, vec![]),
            (Failed, true, vec![]),
            (Failed, false, vec![]),
            (Leaving, true, vec![]),
            (Left, true, vec![remove(2, "left")]),
            (Left, false, vec![]),
        ] {
            let servers = [server(1, Alive), server(2, status)];
            let mut peers = vec![peer(1)];
            peers.extend(is_peer.then(|| peer(2)));
            assert_eq!(
                plan(id(1), "s2", &servers, &peers),
                Ok(want),
                "{status:?} {is_peer}"
            );
        }
    }

    #[test]
    fn a_leader_never_removes_itself() {
        let servers = [server(1, Left), server(2, Alive)];
        assert_eq!(plan(id(1), "s1", &servers, &[peer(1), peer(2)]), Ok(vec![]));
        assert_eq!(plan_reaped(id(1), &server(1, Failed), &[], &[peer(1)]), []);
        // Not even when another server tells its address.
        let twin = PoolServer {
            addr: Some(addr(1)),
            ..server(2, Alive)
        };
        assert_eq!(
            plan(id(1), "s2", &[twin], &[peer(1)]),
            Ok(vec![PeerStep::Add {
                id: id(2),
                addr: addr(1)
            }])
        );
    }

    #[test]
    fn a_known_identity_elsewhere_is_moved_and_a_new_one_at_a_known_address_replaces() {
        let moved = PoolServer {
            addr: Some(addr(9)),
            ..server(2, Alive)
        };
        assert_eq!(
            plan(id(1), "s2", &[moved], &[peer(1), peer(2)]),
            Ok(vec![PeerStep::Move {
                id: id(2),
                addr: addr(9)
            }])
        );
        let new = PoolServer {
            addr: Some(addr(2)),
            ..server(3, Alive)
        };
        assert_eq!(
            plan(id(1), "s3", &[new], &[peer(1), peer(2)]),
            Ok(vec![
                remove(2, "replaced at its address"),
                PeerStep::Add {
                    id: id(3),
                    addr: addr(2)
                }
            ])
        );
    }

    #[test]
    fn servers_that_exchanged_their_addresses_stay_peers() {
        let swapped = [
            server(1, Alive),
            PoolServer {
                addr: Some(addr(3)),
                ..server(2, Alive)
            },
            PoolServer {
                addr: Some(addr(2)),
                ..server(3, Alive)
            },
        ];
        let peers = [peer(1), peer(2), peer(3)];
        for (n, to) in [(2, 3), (3, 2)] {
            assert_eq!(
                plan(id(1), &format!("s{n}"), &swapped, &peers),
                Ok(vec![PeerStep::Move {
                    id: id(n),
                    addr: addr(to)
                }])
            );
        }
    }

    #[test]
    fn a_server_that_is_there_under_another_name_stays() {
        let renamed = PoolServer {
            name: text("new"),
            ..server(2, Alive)
        };
        let servers = [server(2, Left), renamed];
        assert_eq!(plan(id(1), "s2", &servers, &[peer(1), peer(2)]), Ok(vec![]));
        let reaped = server(2, Failed);
        assert_eq!(
            plan_reaped(id(1), &reaped, &servers, &[peer(1), peer(2)]),
            []
        );
        assert_eq!(
            plan_reaped(id(1), &reaped, &[], &[peer(1), peer(2)]),
            [remove(2, "reaped")]
        );
    }

    #[test]
    fn who_cannot_be_a_peer_is_told_why() {
        let other_kind = PoolServer {
            ours: false,
            ..server(2, Alive)
        };
        let nameless = PoolServer {
            id: None,
            ..server(2, Alive)
        };
        let portless = PoolServer {
            addr: None,
            ..server(2, Alive)
        };
        for (server, want) in [
            (other_kind, Refusal::OtherKind),
            (nameless, Refusal::NoIdentity),
            (portless, Refusal::NoAddress),
        ] {
            assert_eq!(plan(id(1), "s2", &[server], &[peer(1)]), Err(want));
        }
        let founder = |n| PoolServer {
            bootstrap: true,
            ..server(n, Alive)
        };
        assert_eq!(
            plan(id(1), "s2", &[founder(1), founder(2)], &[peer(1)]),
            Err(Refusal::TwoFounders(text("s1")))
        );
        // A peer that once founded the cluster may keep its setting.
        assert_eq!(
            plan(id(1), "s2", &[founder(1), founder(2)], &[peer(1), peer(2)]),
            Ok(vec![])
        );
    }
}
