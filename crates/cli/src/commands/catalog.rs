//! `catalog datacenters`, `catalog nodes`, `catalog services`.

use std::collections::{BTreeMap, BTreeSet};

use tribune_api::client::{Node, ServiceNode};

use crate::{
    api_flags::NAMESPACE,
    columns::{row, table},
    command::{Action, Api, Command, Outcome, Run, because},
    flags::{Flag, Kind, flag, flag_of},
};

const NODE_META: Flag = flag_of(
    "node-meta",
    Kind::Pairs,
    "key=value",
    "Only nodes with this metadata. Can be given several times; all must match.",
);

pub(super) const COMMANDS: &[Command] = &[
    Command {
        path: "catalog datacenters",
        synopsis: "Lists the known datacenters",
        usage: "[options]",
        about: "Lists the known datacenters, the nearest first.",
        api: Api::Cluster,
        flags: &[],
        action: Action::Call(datacenters),
    },
    Command {
        path: "catalog nodes",
        synopsis: "Lists the nodes of a datacenter",
        usage: "[options]",
        about: "Lists the nodes of a datacenter, all of them or those that match.\n\n$ {p} catalog nodes -detailed\n$ {p} catalog nodes -service=redis -near=_agent",
        api: Api::Cluster,
        flags: &[
            flag(
                "detailed",
                Kind::Bool,
                "Show full IDs, further addresses and metadata.",
            ),
            flag(
                "filter",
                Kind::Text,
                "Only nodes for which this expression is true.",
            ),
            flag(
                "near",
                Kind::Text,
                "Sort by round trip time from this node; _agent is the agent asked.",
            ),
            NODE_META,
            flag_of(
                "service",
                Kind::Text,
                "id or name",
                "Only nodes with an instance of this service.",
            ),
        ],
        action: Action::Call(nodes),
    },
    Command {
        path: "catalog services",
        synopsis: "Lists the services of a datacenter",
        usage: "[options]",
        about: "Lists the services of a datacenter, all of them or those that match.\n\n$ {p} catalog services -tags\n$ {p} catalog services -node=foo",
        api: Api::Cluster,
        flags: &[
            NAMESPACE,
            flag_of(
                "node",
                Kind::Text,
                "id or name",
                "Only services of this node.",
            ),
            NODE_META,
            flag(
                "tags",
                Kind::Bool,
                "Show each service's tags behind its name.",
            ),
        ],
        action: Action::Call(services),
    },
];

fn datacenters(run: &mut Run<'_, '_>) -> Outcome {
    run.no_args()?;
    let names = run
        .client()?
        .datacenters()
        .map_err(because("Error listing datacenters"))?;
    names.iter().for_each(|n| run.out(n));
    Ok(0)
}

fn nodes(run: &mut Run<'_, '_>) -> Outcome {
    run.no_args()?;
    let client = run.client()?;
    let mut query = run.query();
    query.near = run.flags.text("near").to_owned();
    query.node_meta = run.flags.pairs("node-meta");
    query.filter = run.flags.text("filter").to_owned();
    let service = run.flags.text("service").to_owned();
    let nodes: Vec<Node> = if service.is_empty() {
        client
            .nodes(&query)
            .map_err(because("Error listing nodes"))?
            .0
    } else {
        let (instances, _) = client
            .service_nodes(&service, &query)
            .map_err(because("Error listing nodes for service"))?;
        instances.into_iter().map(node_of).collect()
    };
    if nodes.is_empty() {
        run.err("No nodes match the given query - try expanding your search.");
        return Ok(0);
    }
    let detailed = run.flags.on("detailed");
    let mut rows = vec![if detailed {
        row(["Node", "ID", "Address", "DC", "TaggedAddresses", "Meta"])
    } else {
        row(["Node", "ID", "Address", "DC"])
    }];
    for node in &nodes {
        let id = if detailed {
            &node.id
        } else {
            node.id.get(..8).unwrap_or(&node.id)
        };
        let mut cells = row([&node.node, id, &node.address, &node.datacenter]);
        if detailed {
            cells.push(pairs(node.tagged_addresses.as_ref()));
            cells.push(pairs(node.meta.as_ref()));
        }
        rows.push(cells);
    }
    run.out(table(&rows));
    Ok(0)
}

fn node_of(instance: ServiceNode) -> Node {
    Node {
        id: instance.id,
        node: instance.node,
        address: instance.address,
        datacenter: instance.datacenter,
        tagged_addresses: instance.tagged_addresses,
        meta: instance.node_meta,
        ..Node::default()
    }
}

fn pairs(map: Option<&BTreeMap<String, String>>) -> String {
    let list = map.into_iter().flatten().map(|(k, v)| format!("{k}={v}"));
    list.collect::<Vec<_>>().join(", ")
}

fn services(run: &mut Run<'_, '_>) -> Outcome {
    run.no_args()?;
    let client = run.client()?;
    let mut query = run.query();
    query.node_meta = run.flags.pairs("node-meta");
    let node = run.flags.text("node").to_owned();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    if node.is_empty() {
        let (services, _) = client
            .services(&query)
            .map_err(because("Error listing services"))?;
        found.extend(
            services
                .into_iter()
                .map(|(n, tags)| (n, tags.into_iter().collect())),
        );
    } else {
        let services = client
            .node_services(&node, &query)
            .map_err(because("Error listing services for node"))?;
        for service in services.unwrap_or_default().into_values() {
            let tags = found.entry(service.service).or_default();
            tags.extend(service.tags.unwrap_or_default());
        }
    }
    if found.is_empty() {
        run.err("No services match the given query - try expanding your search.");
        return Ok(0);
    }
    if !run.flags.on("tags") {
        found.keys().for_each(|n| run.out(n));
        return Ok(0);
    }
    // Six blanks between these two columns, not two: that is how 1.8.7 prints them.
    let width = found.keys().map(|n| n.chars().count()).max().unwrap_or(0) + 6;
    let lines: Vec<String> = found
        .iter()
        .map(|(name, tags)| {
            let tags = tags.iter().cloned().collect::<Vec<_>>().join(",");
            format!("{name:width$}{tags}")
        })
        .collect();
    run.out(lines.join("\n").trim_end());
    Ok(0)
}
