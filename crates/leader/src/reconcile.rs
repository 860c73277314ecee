//! Reconciliation: what the catalog must say about a member of the gossip pool (rpc.md section 8.2).
//!
//! Pure planning: a member and what the catalog has in, the missing registration or the deregistration out. Nothing is
//! planned if the catalog is right already, so that a full pass over all members writes nothing.
//!
//! A leader never takes itself out of the catalog: if it leaves, its successor does.

use tribune_types::catalog::{
    CONSUL_SERVICE, Check, Deregister, Node, Register, SERF_ALIVE_OUTPUT, SERF_FAILED_OUTPUT,
    SERF_HEALTH, SERF_HEALTH_NAME, Service, Status, Weights,
};
use tribune_types::id::NodeId;
use tribune_types::member::MemberStatus;
use tribune_types::text::{Text, TextMap, same_name, text};

/// An agent of the datacenter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Node name.
    pub name: Text,
    /// Node identity.
    pub id: Option<NodeId>,
    /// Gossip address.
    pub address: Text,
    /// Set if it is a server.
    pub server: Option<ServerFacts>,
    /// Node record to create if there is none yet: what the agent itself would register, where that is known. Without it
    /// the agent's own registration and this one would race, and this one would win with less.
    pub node: NodeFacts,
}

/// Addresses and metadata of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeFacts {
    /// Tagged addresses.
    pub tagged_addresses: Option<TextMap>,
    /// Metadata.
    pub meta: Option<TextMap>,
}

/// What a server's tags say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerFacts {
    /// Port of the server RPC, as told.
    pub port: i64,
    /// Version, without build metadata.
    pub version: Text,
    /// Version of the Raft protocol.
    pub raft_version: i64,
    /// Gossip protocol: min, max, current.
    pub serf_protocol: [u8; 3],
}

/// A member of the LAN pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Name in the pool.
    pub name: Text,
    /// Life.
    pub status: MemberStatus,
    /// Set if it is a client or a server of our datacenter. Others are members, but no business of the catalog.
    pub agent: Option<Agent>,
}

/// One change of the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// The member is alive and the catalog does not say so.
    Alive(Box<Register>),
    /// The member failed and the catalog does not say so.
    Failed(Box<Register>),
    /// The member is no more.
    Gone(Deregister, Gone),
}

/// Why a member is no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It left.
    Left,
    /// The pool has forgotten it.
    Reaped,
}

impl Gone {
    /// A word for the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Gone::Left => "left",
            Gone::Reaped => "reaped",
        }
    }
}

/// What the catalog has about a node.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known<'a> {
    /// The node.
    pub node: Option<&'a Node>,
    /// Its `consul` service.
    pub consul: Option<&'a Service>,
    /// Its serfHealth check.
    pub serf_health: Option<&'a Check>,
}

/// What to do about the member called `name`, `None` if the pool does not know it. `own` is the leader's name.
pub fn plan(
    datacenter: &Text,
    own: &str,
    name: &Text,
    member: Option<&Member>,
    known: Known<'_>,
) -> Option<Step> {
    if same_name(own, name) {
        return None;
    }
    let Some(member) = member else {
        // Nodes without this check were registered from outside, and are not the pool's to remove.
        known.serf_health?;
        return gone(datacenter, known, Gone::Reaped);
    };
    let agent = member.agent.as_ref()?;
    match member.status {
        MemberStatus::Alive => {
            alive(datacenter, agent, known).map(|register| Step::Alive(Box::new(register)))
        }
        MemberStatus::Failed => {
            failed(datacenter, name, known).map(|register| Step::Failed(Box::new(register)))
        }
        MemberStatus::Left => gone(datacenter, known, Gone::Left),
        // It will soon be left or failed.
        MemberStatus::Leaving | MemberStatus::None => None,
    }
}

fn gone(datacenter: &Text, known: Known<'_>, why: Gone) -> Option<Step> {
    let node = known.node?;
    let deregister = Deregister {
        datacenter: datacenter.clone(),
        node: node.name.clone(),
        ..Deregister::default()
    };
    Some(Step::Gone(deregister, why))
}

/// What must be registered for an alive member; `None` if the catalog is right.
pub fn alive(datacenter: &Text, agent: &Agent, known: Known<'_>) -> Option<Register> {
    let service = agent.server.as_ref().map(consul_service);
    let service_right = match (&service, known.consul) {
        (None, _) => true,
        (Some(want), Some(have)) => want.meta == have.meta && want.port == have.port,
        (Some(_), None) => false,
    };
    let node_right = known.node.is_some_and(|node| {
        node.address == agent.address && (agent.id.is_none() || node.id == agent.id)
    });
    let check_right = known
        .serf_health
        .is_some_and(|check| check.status == Status::Passing);
    if node_right && service_right && check_right {
        return None;
    }
    Some(Register {
        datacenter: datacenter.clone(),
        id: agent.id,
        node: agent.name.clone(),
        address: agent.address.clone(),
        tagged_addresses: match known.node {
            Some(node) => node.tagged_addresses.clone(),
            None => agent.node.tagged_addresses.clone(),
        },
        node_meta: match known.node {
            Some(node) => node.meta.clone(),
            None => agent.node.meta.clone(),
        },
        service,
        checks: vec![serf_health(&agent.name, Status::Passing)],
        skip_node_update: false,
    })
}

/// What must be registered for a failed member; `None` if the node is unknown or known as failed.
pub fn failed(datacenter: &Text, name: &Text, known: Known<'_>) -> Option<Register> {
    let node = known.node?;
    if known
        .serf_health
        .is_some_and(|check| check.status == Status::Critical)
    {
        return None;
    }
    Some(Register {
        datacenter: datacenter.clone(),
        id: node.id,
        node: name.clone(),
        address: node.address.clone(),
        checks: vec![serf_health(name, Status::Critical)],
        skip_node_update: true,
        ..Register::default()
    })
}

fn serf_health(node: &Text, status: Status) -> Check {
    Check {
        node: node.clone(),
        id: text(SERF_HEALTH),
        name: text(SERF_HEALTH_NAME),
        status,
        output: text(if status == Status::Passing {
            SERF_ALIVE_OUTPUT
        } else {
            SERF_FAILED_OUTPUT
        }),
        ..Check::default()
    }
}

fn consul_service(facts: &ServerFacts) -> Service {
    let [min, max, current] = facts.serf_protocol;
    let meta: TextMap = [
        // Consul reads a tag here that no server sets, so this is false for all.
        ("non_voter", text("false")),
        ("raft_version", text(&facts.raft_version.to_string())),
        ("serf_protocol_current", text(&current.to_string())),
        ("serf_protocol_min", text(&min.to_string())),
        ("serf_protocol_max", text(&max.to_string())),
        ("version", facts.version.clone()),
    ]
    .into_iter()
    .map(|(key, value)| (text(key), value))
    .collect();
    Service {
        id: text(CONSUL_SERVICE),
        name: text(CONSUL_SERVICE),
        port: facts.port,
        weights: Some(Weights::default()),
        meta: Some(meta),
        ..Service::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> Agent {
        Agent {
            name: text("s1"),
            id: Some(NodeId::from_random([7; 16])),
            address: text("127.0.0.1"),
            server: Some(ServerFacts {
                port: 8300,
                version: text("1.8.7"),
                raft_version: 3,
                serf_protocol: [1, 5, 2],
            }),
            node: NodeFacts {
                meta: Some([(text("rack"), text("7"))].into_iter().collect()),
                ..NodeFacts::default()
            },
        }
    }

    #[test]
    fn a_new_node_starts_with_what_its_agent_would_register() {
        let plan = alive(&text("dc1"), &server(), Known::default()).unwrap();
        assert_eq!(plan.node_meta, server().node.meta);
    }

    #[test]
    fn a_new_server_is_registered_with_its_service_and_health() {
        let plan = alive(&text("dc1"), &server(), Known::default()).unwrap();
        assert_eq!(plan.service.as_ref().map(|s| s.port), Some(8300));
        assert_eq!(plan.checks[0].status, Status::Passing);
    }

    #[test]
    fn nothing_is_written_when_the_catalog_is_right() {
        let agent = server();
        let plan = alive(&text("dc1"), &agent, Known::default()).unwrap();
        let node = Node {
            id: agent.id,
            name: plan.node.clone(),
            address: plan.address.clone(),
            ..Node::default()
        };
        let known = Known {
            node: Some(&node),
            consul: plan.service.as_ref(),
            serf_health: Some(&plan.checks[0]),
        };
        assert_eq!(alive(&text("dc1"), &agent, known), None);
    }

    #[test]
    fn an_alive_member_keeps_the_metadata_of_its_node() {
        let node = Node {
            name: text("s1"),
            address: text("10.0.0.9"),
            meta: Some([(text("rack"), text("8"))].into_iter().collect()),
            ..Node::default()
        };
        let plan = alive(
            &text("dc1"),
            &server(),
            Known {
                node: Some(&node),
                ..Known::default()
            },
        )
        .unwrap();
        assert_eq!(plan.node_meta, node.meta);
    }

    #[test]
    fn a_failed_member_turns_critical_once_and_only_if_known() {
        let node = Node {
            name: text("c1"),
            address: text("10.0.0.9"),
            ..Node::default()
        };
        let known = Known {
            node: Some(&node),
            ..Known::default()
        };
        let plan = failed(&text("dc1"), &text("c1"), known).unwrap();
        assert!(plan.skip_node_update);
        let known = Known {
            serf_health: Some(&plan.checks[0]),
            ..known
        };
        assert_eq!(failed(&text("dc1"), &text("c1"), known), None);
        assert_eq!(failed(&text("dc1"), &text("c1"), Known::default()), None);
    }

    fn member(name: &str, status: MemberStatus, ours: bool) -> Member {
        let agent = Agent {
            name: text(name),
            server: None,
            ..server()
        };
        Member {
            name: text(name),
            status,
            agent: ours.then_some(agent),
        }
    }

    #[test]
    fn every_life_of_a_member_has_its_place_in_the_catalog() {
        use MemberStatus::{Alive, Failed, Leaving, Left, None as Unknown};
        let node = Node {
            id: server().id,
            name: text("c1"),
            address: text("127.0.0.1"),
            ..Node::default()
        };
        let (passing, critical) = (
            serf_health(&text("c1"), Status::Passing),
            serf_health(&text("c1"), Status::Critical),
        );
        // (status, of our datacenter, node known, health, step)
        for (status, ours, is_known, health, want) in [
            (Some(Alive), true, false, None, "alive"),
            (Some(Alive), true, true, None, "alive"),
            (Some(Alive), true, true, Some(&critical), "alive"),
            (Some(Alive), true, true, Some(&passing), ""),
            (Some(Alive), false, false, None, ""),
            (Some(Failed), true, true, Some(&passing), "failed"),
            (Some(Failed), true, true, None, "failed"),
            (Some(Failed), true, true, Some(&critical), ""),
            (Some(Failed), true, false, None, ""),
            (Some(Failed), false, true, Some(&passing), ""),
            (Some(Left), true, true, Some(&passing), "left"),
            (Some(Left), true, true, None, "left"),
            (Some(Left), true, false, None, ""),
            (Some(Left), false, true, Some(&passing), ""),
            (Some(Leaving), true, true, Some(&passing), ""),
            (Some(Unknown), true, true, Some(&passing), ""),
            (None, true, true, Some(&passing), "reaped"),
            (None, true, true, Some(&critical), "reaped"),
            (None, true, true, None, ""),
            (None, true, false, None, ""),
        ] {
            let member = status.map(|status| member("c1", status, ours));
            let known = Known {
                node: is_known.then_some(&node),
                consul: None,
                serf_health: health,
            };
            let name = text("c1");
            let step = plan(&text("dc1"), "s1", &name, member.as_ref(), known);
            let found = match &step {
                None => "",
                Some(Step::Alive(_)) => "alive",
                Some(Step::Failed(_)) => "failed",
                Some(Step::Gone(_, why)) => why.as_str(),
            };
            assert_eq!(found, want, "{status:?} {ours} {is_known} {health:?}");
            // The leader itself is never planned, in whatever letter case.
            assert_eq!(
                plan(&text("dc1"), "C1", &name, member.as_ref(), known),
                None
            );
        }
    }

    #[test]
    fn a_member_that_moved_or_was_replaced_is_registered_anew() {
        let agent = Agent {
            server: None,
            ..server()
        };
        let health = serf_health(&agent.name, Status::Passing);
        let right = Node {
            id: agent.id,
            name: agent.name.clone(),
            address: agent.address.clone(),
            ..Node::default()
        };
        let moved = Node {
            address: text("10.0.0.9"),
            ..right.clone()
        };
        let replaced = Node {
            id: Some(NodeId::from_random([9; 16])),
            ..right.clone()
        };
        for (node, want) in [(&right, false), (&moved, true), (&replaced, true)] {
            let known = Known {
                node: Some(node),
                consul: None,
                serf_health: Some(&health),
            };
            let plan = alive(&text("dc1"), &agent, known);
            assert_eq!(plan.is_some(), want, "{node:?}");
        }
    }

    #[test]
    fn a_server_with_another_port_or_version_is_registered_anew() {
        let agent = server();
        let plan = alive(&text("dc1"), &agent, Known::default()).unwrap();
        let node = Node {
            id: agent.id,
            name: plan.node.clone(),
            address: plan.address.clone(),
            ..Node::default()
        };
        let known = Known {
            node: Some(&node),
            consul: plan.service.as_ref(),
            serf_health: Some(&plan.checks[0]),
        };
        let facts = agent.server.clone().unwrap();
        for other in [
            ServerFacts {
                port: 9300,
                ..facts.clone()
            },
            ServerFacts {
                version: text("1.8.8"),
                ..facts.clone()
            },
            ServerFacts {
                serf_protocol: [1, 5, 5],
                ..facts.clone()
            },
        ] {
            let changed = Agent {
                server: Some(other),
                ..agent.clone()
            };
            assert!(alive(&text("dc1"), &changed, known).is_some());
        }
    }
}
