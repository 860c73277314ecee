//! Founding a cluster together: who the first peers are, once enough servers see one another (rpc.md section 8.3).
//!
//! In: how many servers this one expects, and the servers of the datacenter as the pool tells of them. Out: wait, a
//! reason not to go on, or the exact set of first peers. Whoever sees the same servers computes the same set; that all of
//! them do see the same is settled by asking each, which is the driver's part.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use tribune_types::id::NodeId;
use tribune_types::member::MemberStatus;
use tribune_types::text::Text;

use crate::peers::PoolServer;

/// Servers that are more than any cluster has.
const FOUNDERS_MAX: usize = 64;

/// The first peers by identity.
pub type Founders = BTreeMap<NodeId, Founder>;

/// One of the first peers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Founder {
    /// Where its server RPC listens.
    pub addr: SocketAddr,
    /// It votes.
    pub voter: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Founding {
    /// Too few servers are there.
    Wait {
        /// Voters that are there.
        voters: u32,
    },
    /// These servers may found the cluster.
    Ready {
        /// All of them.
        founders: Founders,
        /// The one of them that begins: the lowest identity with a vote that expects others.
        chair: NodeId,
    },
}

/// Why no cluster can be founded as things are. An operator has to change something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    /// All must expect the same number.
    #[error(
        "server {name:?} expects {theirs} servers and this one {own}: all must expect the same number"
    )]
    Expect {
        /// The other.
        name: Text,
        /// What it expects.
        theirs: i64,
        /// What this one expects.
        own: u32,
    },
    /// A cluster is founded there without waiting.
    #[error(
        "server {0:?} is in bootstrap mode: it founds a cluster alone, this server waits to be added to it"
    )]
    Founder(Text),
    /// One identity twice.
    #[error("servers {0:?} and {1:?} tell the same node identity")]
    Twins(Text, Text),
}

/// What to do with the servers that are there, of which this one is one.
///
/// # Errors
/// Why nothing can be done.
pub fn plan(own: NodeId, expect: u32, servers: &[PoolServer]) -> Result<Founding, Obstacle> {
    let mut founders = Founders::new();
    let mut chair: Option<NodeId> = None;
    let mut names: BTreeMap<NodeId, &Text> = BTreeMap::new();
    let alive = |server: &&PoolServer| server.ours && server.status == MemberStatus::Alive;
    for server in servers.iter().filter(alive) {
        if server.bootstrap {
            return Err(Obstacle::Founder(server.name.clone()));
        }
        if server.expect != 0 && server.expect != i64::from(expect) {
            return Err(Obstacle::Expect {
                name: server.name.clone(),
                theirs: server.expect,
                own: expect,
            });
        }
        let (Some(id), Some(addr)) = (server.id, server.addr) else {
            continue;
        };
        if let Some(twin) = names.insert(id, &server.name) {
            return Err(Obstacle::Twins(twin.clone(), server.name.clone()));
        }
        if server.voter && server.expect != 0 {
            chair = Some(chair.map_or(id, |chair| chair.min(id)));
        }
        let voter = server.voter;
        founders.insert(id, Founder { addr, voter });
    }
    let voters = founders.values().filter(|founder| founder.voter).count();
    let voters = u32::try_from(voters).unwrap_or(u32::MAX);
    let complete = voters >= expect && founders.contains_key(&own);
    match chair {
        Some(chair) if complete && founders.len() <= FOUNDERS_MAX => {
            Ok(Founding::Ready { founders, chair })
        }
        _ => Ok(Founding::Wait { voters }),
    }
}

#[cfg(test)]
mod tests {
    use tribune_types::text::text;

    use super::*;
    use crate::peers::tests::{addr, id, server};

    fn expecting(n: u8, expect: i64) -> PoolServer {
        PoolServer {
            expect,
            ..server(n, MemberStatus::Alive)
        }
    }

    fn of(ns: &[u8]) -> Founders {
        let founder = |n: &u8| Founder {
            addr: addr(*n),
            voter: true,
        };
        ns.iter().map(|n| (id(*n), founder(n))).collect()
    }

    fn ready(ns: &[u8]) -> Founding {
        let founders = of(ns);
        let chair = *founders.keys().next().unwrap();
        Founding::Ready { founders, chair }
    }

    #[test]
    fn the_cluster_is_founded_once_enough_servers_are_there() {
        // (servers that are there, what to do with expect = 3)
        for (there, want) in [
            (vec![1], Founding::Wait { voters: 1 }),
            (vec![1, 2], Founding::Wait { voters: 2 }),
            (vec![3, 1, 2], ready(&[1, 2, 3])),
            (vec![4, 3, 1, 2], ready(&[1, 2, 3, 4])),
            // Not without this server itself.
            (vec![2, 3, 4], Founding::Wait { voters: 3 }),
        ] {
            let servers: Vec<_> = there.iter().map(|n| expecting(*n, 3)).collect();
            assert_eq!(plan(id(1), 3, &servers), Ok(want), "{there:?}");
        }
    }

    #[test]
    fn only_servers_that_can_be_peers_count() {
        let failed = PoolServer {
            status: MemberStatus::Failed,
            ..expecting(3, 3)
        };
        let other_kind = PoolServer {
            ours: false,
            expect: 5,
            ..expecting(3, 3)
        };
        let nameless = PoolServer {
            id: None,
            ..expecting(3, 3)
        };
        let no_vote = PoolServer {
            voter: false,
            ..expecting(3, 3)
        };
        for third in [failed, other_kind, nameless, no_vote.clone()] {
            let servers = [expecting(1, 3), expecting(2, 3), third];
            assert_eq!(plan(id(1), 3, &servers), Ok(Founding::Wait { voters: 2 }));
        }
        // Those without a vote come along.
        let servers = [
            expecting(1, 2),
            expecting(2, 2),
            PoolServer {
                expect: 2,
                ..no_vote
            },
        ];
        let Ok(Founding::Ready { founders, .. }) = plan(id(1), 2, &servers) else {
            panic!("not ready");
        };
        assert_eq!(founders.len(), 3);
        assert!(!founders[&id(3)].voter);
    }

    #[test]
    fn servers_that_do_not_agree_found_nothing() {
        let founder = PoolServer {
            bootstrap: true,
            ..expecting(3, 0)
        };
        let twin = PoolServer {
            id: Some(id(2)),
            ..expecting(3, 3)
        };
        for (third, want) in [
            (
                expecting(3, 5),
                Obstacle::Expect {
                    name: text("s3"),
                    theirs: 5,
                    own: 3,
                },
            ),
            (founder, Obstacle::Founder(text("s3"))),
            (twin, Obstacle::Twins(text("s2"), text("s3"))),
        ] {
            let servers = [expecting(1, 3), expecting(2, 3), third];
            assert_eq!(plan(id(1), 3, &servers), Err(want));
        }
        // Who expects nothing waits for whoever does.
        let servers = [expecting(1, 3), expecting(2, 3), expecting(3, 0)];
        assert_eq!(plan(id(1), 3, &servers), Ok(ready(&[1, 2, 3])));
    }

    #[test]
    fn the_lowest_identity_with_a_vote_that_expects_others_takes_the_chair() {
        let chair = |servers: &[PoolServer]| match plan(id(1), 2, servers) {
            Ok(Founding::Ready { chair, .. }) => Some(chair),
            _ => None,
        };
        let (mut low, mut high) = (expecting(1, 2), expecting(2, 2));
        if low.id > high.id {
            std::mem::swap(&mut low, &mut high);
        }
        let third = expecting(3, 2);
        assert_eq!(chair(&[high.clone(), low.clone()]), low.id);
        let quiet = PoolServer {
            expect: 0,
            ..low.clone()
        };
        assert_eq!(chair(&[quiet.clone(), high.clone()]), high.id);
        let silent = PoolServer {
            expect: 0,
            ..high.clone()
        };
        assert_eq!(chair(&[quiet, silent]), None);
        let no_vote = PoolServer {
            voter: false,
            ..low
        };
        assert_ne!(chair(&[no_vote.clone(), high, third]), no_vote.id);
    }
}
