//! A fixed catalog for tests, read from `tests/vectors/world.txt`, and evaluated the simple way.

#![allow(clippy::unwrap_used, reason = "only tests use this module")]

use std::net::IpAddr;
use std::sync::Arc;

use tribune_agent::Shared;
use tribune_types::catalog::{Check, Node, Service, ServiceAddress, ServiceKind, Status, Weights};
use tribune_types::id::Index;
use tribune_types::proxy::ProxyConfig;
use tribune_types::query::{Endpoint, Instance, Reply, ReverseMatch};
use tribune_types::text::{same_name, text};

use crate::options::Settings;
use crate::resolve::{Fact, Lookup};

const WORLD: &str = include_str!("../tests/vectors/world.txt");

/// Nodes, instances and checks of one datacenter; every datacenter in `datacenters` has the same.
#[derive(Debug, Default)]
pub(crate) struct World {
    nodes: Vec<Node>,
    services: Vec<(String, Arc<Service>)>,
    checks: Vec<Arc<Check>>,
    pub(crate) datacenters: Vec<&'static str>,
}

fn field(value: &str) -> &str {
    if value == "-" { "" } else { value }
}

impl World {
    /// The world of the captures. `server` is the node of the agent itself.
    pub(crate) fn captured(server: &str) -> World {
        let mut world = World {
            datacenters: vec!["dc1", "dc2"],
            ..World::default()
        };
        for line in WORLD
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty())
        {
            world.line(line);
        }
        for number in 0..1200u16 {
            let node = format!("lots-{number:04}.acme");
            world.node(
                &node,
                &format!("10.3.{}.{}", number / 250, number % 250 + 1),
            );
            world.service(&node, "lots", 8000);
        }
        world.nodes.push(Node {
            name: text(server),
            address: text("127.0.0.1"),
            meta: Some(
                [(text("consul-network-segment"), text(""))]
                    .into_iter()
                    .collect(),
            ),
            ..Node::default()
        });
        // The ports of the captured servers.
        let port = [("ref2", 31310), ("refC", 31340), ("refD", 31360)]
            .into_iter()
            .find(|(name, _)| *name == server);
        world.service(server, "consul", port.map_or(31300, |(_, port)| port));
        world
    }

    /// A datacenter `dc1` with nothing in it.
    #[cfg(test)]
    pub(crate) fn empty() -> World {
        World {
            datacenters: vec!["dc1"],
            ..World::default()
        }
    }

    pub(crate) fn node(&mut self, name: &str, address: &str) {
        self.nodes.push(Node {
            name: text(name),
            address: text(address),
            ..Node::default()
        });
    }

    pub(crate) fn service(&mut self, node: &str, name: &str, port: i64) {
        self.services.push((
            node.to_owned(),
            Arc::new(Service {
                id: text(name),
                name: text(name),
                port,
                ..Service::default()
            }),
        ));
    }

    fn line(&mut self, line: &str) {
        if let Some(rest) = line.strip_prefix("node ") {
            let columns: Vec<&str> = rest.splitn(4, ' ').collect();
            let pair = |pair: &str, last: bool| {
                let (key, value) = if last {
                    pair.rsplit_once('=')
                } else {
                    pair.split_once('=')
                }
                .unwrap();
                (text(key), text(value))
            };
            let tagged = field(columns[2])
                .split(',')
                .filter(|item| !item.is_empty())
                .map(|item| pair(item, false))
                .collect();
            let meta = field(columns[3])
                .split(';')
                .filter(|item| !item.is_empty())
                .map(|item| pair(item, item.contains('`')))
                .collect();
            self.nodes.push(Node {
                name: text(columns[0]),
                address: text(columns[1]),
                tagged_addresses: Some(tagged),
                meta: Some(meta),
                ..Node::default()
            });
            return;
        }
        let columns: Vec<&str> = line.split(' ').collect();
        match columns[0] {
            "service" => {
                let mut tagged_addresses: Vec<_> = field(columns[7])
                    .split(',')
                    .filter_map(|item| {
                        let (tag, rest) = item.split_once('=')?;
                        let (address, port) = rest.rsplit_once('/')?;
                        Some((
                            text(tag),
                            ServiceAddress {
                                address: text(address),
                                port: port.parse().unwrap(),
                            },
                        ))
                    })
                    .collect();
                tagged_addresses.sort_by(|a, b| a.0.cmp(&b.0));
                let destination = columns[9].strip_prefix("connect-proxy:");
                let service = Service {
                    kind: if destination.is_some() {
                        ServiceKind::ConnectProxy
                    } else {
                        ServiceKind::Typical
                    },
                    id: text(columns[2]),
                    name: text(columns[3]),
                    address: text(field(columns[4])),
                    port: columns[5].parse().unwrap(),
                    tags: field(columns[6])
                        .split(',')
                        .filter(|tag| !tag.is_empty())
                        .map(text)
                        .collect(),
                    tagged_addresses,
                    weights: field(columns[8])
                        .split_once('/')
                        .map(|(passing, warning)| Weights {
                            passing: passing.parse().unwrap(),
                            warning: warning.parse().unwrap(),
                        }),
                    proxy: destination.map(|name| {
                        Box::new(ProxyConfig {
                            destination_service_name: text(name),
                            ..ProxyConfig::default()
                        })
                    }),
                    connect_native: columns[9] == "native",
                    ..Service::default()
                };
                self.services
                    .push((columns[1].to_owned(), Arc::new(service)));
            }
            "check" => self.checks.push(Arc::new(Check {
                node: text(columns[1]),
                service_id: text(field(columns[2])),
                id: text(columns[3]),
                status: Status::parse(columns[4]).unwrap(),
                ..Check::default()
            })),
            other => panic!("{other}"),
        }
    }

    /// The fact that the catalog has for a lookup; `None` for lookups that are not its.
    pub(crate) fn catalog(&self, lookup: &Lookup, settings: &Settings) -> Option<Fact> {
        let (reply, dc) = match lookup {
            Lookup::Service {
                name,
                tag,
                endpoint,
                dc,
            } => (self.instances(name, tag.as_deref(), *endpoint), dc),
            Lookup::Node { name, dc } => {
                let node = self
                    .nodes
                    .iter()
                    .find(|node| same_name(&node.name, name))
                    .cloned();
                (
                    Reply::NodeServices(node.map(|node| (Arc::new(node), Vec::new()))),
                    dc,
                )
            }
            // There are none.
            Lookup::Query { .. } => return Some(Fact::NoPath),
            Lookup::Reverse(addr) => (Reply::Reverse(self.reverse(*addr)), &None),
            Lookup::Host(_) => return None,
        };
        let dc = dc.as_deref().unwrap_or(&settings.options.datacenter);
        if !self.datacenters.contains(&dc) {
            return Some(Fact::NoPath);
        }
        Some(Fact::Catalog(Arc::new(Shared::new(
            in_datacenter(reply, dc),
            Index(1),
        ))))
    }

    fn instances(&self, name: &str, tag: Option<&str>, endpoint: Endpoint) -> Reply {
        let wanted = |service: &Service| match endpoint {
            Endpoint::Service => same_name(&service.name, name),
            Endpoint::Connect => service
                .connect_name()
                .is_some_and(|service| same_name(service, name)),
            Endpoint::Ingress => false,
        };
        let tagged = |service: &Service| {
            tag.is_none_or(|tag| service.tags.iter().any(|other| same_name(other, tag)))
        };
        let instances = self
            .services
            .iter()
            .filter(|(_, service)| wanted(service) && tagged(service));
        Reply::Instances(
            instances
                .map(|(node, service)| Instance {
                    node: Arc::new(
                        self.nodes
                            .iter()
                            .find(|other| *other.name == **node)
                            .unwrap()
                            .clone(),
                    ),
                    service: Arc::clone(service),
                    checks: self
                        .checks
                        .iter()
                        .filter(|check| {
                            *check.node == **node
                                && (check.service_id.is_empty() || check.service_id == service.id)
                        })
                        .cloned()
                        .collect(),
                })
                .collect(),
        )
    }

    fn reverse(&self, addr: IpAddr) -> Option<ReverseMatch> {
        let here = |address: &str| address.parse() == Ok(addr);
        if let Some(node) = self.nodes.iter().find(|node| here(&node.address)) {
            return Some(ReverseMatch::Node(Arc::new(node.clone())));
        }
        let service = self
            .services
            .iter()
            .find(|(_, service)| here(&service.address));
        service.map(|(_, service)| ReverseMatch::Service(Arc::clone(service)))
    }
}

fn in_datacenter(reply: Reply, dc: &str) -> Reply {
    let there = |node: &Arc<Node>| {
        Arc::new(Node {
            datacenter: text(dc),
            ..Node::clone(node)
        })
    };
    match reply {
        Reply::Instances(list) => Reply::Instances(
            list.into_iter()
                .map(|instance| Instance {
                    node: there(&instance.node),
                    ..instance
                })
                .collect(),
        ),
        Reply::NodeServices(Some((node, services))) => {
            Reply::NodeServices(Some((there(&node), services)))
        }
        Reply::Reverse(Some(ReverseMatch::Node(node))) => {
            Reply::Reverse(Some(ReverseMatch::Node(there(&node))))
        }
        other => other,
    }
}
