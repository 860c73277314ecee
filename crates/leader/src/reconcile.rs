//! Reconciliation: what the catalog must say about a member of the gossip pool (rpc.md section 8.2).
//!
//! Pure planning: a member and what the catalog has in, the registration that is missing out. Nothing is planned if
//! the catalog is right already, so that a full pass over all members writes nothing.

use tribune_types::catalog::{
    CONSUL_SERVICE, Check, Node, Register, SERF_ALIVE_OUTPUT, SERF_FAILED_OUTPUT, SERF_HEALTH,
    SERF_HEALTH_NAME, Service, Status, Weights,
};
use tribune_types::id::NodeId;
use tribune_types::text::{Text, TextMap, text};

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
    /// Port of the server RPC.
    pub port: u16,
    /// Version, without build metadata.
    pub version: Text,
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
    let meta: TextMap = [
        ("non_voter", "false"),
        ("raft_version", "3"),
        ("serf_protocol_current", "2"),
        ("serf_protocol_min", "1"),
        ("serf_protocol_max", "5"),
        ("version", &*facts.version),
    ]
    .into_iter()
    .map(|(key, value)| (text(key), text(value)))
    .collect();
    Service {
        id: text(CONSUL_SERVICE),
        name: text(CONSUL_SERVICE),
        port: i64::from(facts.port),
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
}
