//! Which writer renders the reply to a query.

use tribune_types::query::Reply;

use super::write::{list, raw, string_list};
use super::{Addresses, EmptyTags, catalog, kv, misc, prepared, ui};

/// The form of a reply where one reply has several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum View {
    /// The form of most endpoints.
    #[default]
    Plain,
    /// `/v1/catalog/node-services/`: services as a list.
    NodeServicesList,
    /// `/v1/internal/ui/services`: a summary by service.
    ServiceSummary,
    /// `/v1/internal/ui/node/`: one node instead of a list.
    OneNode,
    /// `/v1/internal/ui/gateway-services-nodes/`: an empty list rather than null.
    GatewayNodes,
}

/// A reply as compact JSON.
pub fn reply(reply: &Reply, view: View, addresses: Addresses) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(size_guess(reply));
    let out = &mut buffer;
    match reply {
        Reply::Kv(entries) => list(out, entries, |out, entry| kv::kv_entry(out, entry, true)),
        Reply::Keys(keys) => kv::keys(out, keys),
        Reply::Sessions(sessions) => list(out, sessions, |out, s| misc::session(out, s)),
        Reply::Nodes(nodes) => list(out, nodes, |out, n| catalog::node(out, n, addresses)),
        Reply::Services(services) => catalog::service_names(out, services),
        Reply::ServiceNodes(pairs) => list(out, pairs, |out, (n, s)| {
            catalog::service_node(out, n, s, addresses)
        }),
        Reply::NodeServices(found) if view == View::NodeServicesList => {
            catalog::node_services_list(out, found.as_ref(), addresses)
        }
        Reply::NodeServices(found) => catalog::node_services_map(out, found.as_ref(), addresses),
        Reply::Checks(checks) => catalog::checks(out, checks, EmptyTags::Array),
        Reply::Instances(instances) if view == View::ServiceSummary => {
            ui::service_summary(out, instances)
        }
        Reply::Instances(instances) => {
            catalog::instances(out, instances, addresses, EmptyTags::Array)
        }
        Reply::NodeDump(dumps) if view == View::OneNode => match dumps.first() {
            Some(dump) => ui::node_dump(out, dump, addresses),
            None => raw(out, b"null"),
        },
        Reply::NodeDump(dumps) => list(out, dumps, |out, dump| ui::node_dump(out, dump, addresses)),
        Reply::Coordinates(entries) => list(out, entries, |out, entry| {
            misc::coordinate_entry(out, entry)
        }),
        Reply::PreparedQueries(queries) => {
            list(out, queries, |out, q| prepared::prepared_query(out, q));
        }
        Reply::Datacenters(names) => string_list(out, names),
        Reply::DatacenterMaps(maps) => list(out, maps, misc::datacenter_map),
        Reply::RaftConfiguration(config) => misc::raft_configuration(out, config),
        Reply::Autopilot(Some(config)) => misc::autopilot_config(out, config),
        Reply::GatewayServices if view == View::GatewayNodes => raw(out, b"[]"),
        Reply::Autopilot(None) | Reply::GatewayServices | Reply::Reverse(_) => raw(out, b"null"),
    }
    buffer
}

/// Bytes to reserve: growing a buffer of megabytes by doubling costs more than rendering into it.
fn size_guess(reply: &Reply) -> usize {
    match reply {
        Reply::Kv(entries) => entries
            .iter()
            .map(|e| 128 + e.key.len() + e.value.len() / 3 * 4 + 4)
            .sum(),
        Reply::Keys(keys) => keys.iter().map(|key| key.len() + 3).sum(),
        Reply::Sessions(sessions) => sessions.len() * 256,
        Reply::Nodes(nodes) => nodes.len() * 384,
        Reply::Services(services) => services.len() * 48,
        Reply::ServiceNodes(pairs) => pairs.len() * 640,
        Reply::Checks(checks) => checks.len() * 320,
        Reply::Instances(instances) => instances.len() * 1024,
        Reply::NodeDump(dumps) => dumps.len() * 1024,
        Reply::Coordinates(entries) => entries.len() * 192,
        Reply::PreparedQueries(queries) => queries.len() * 512,
        _ => 256,
    }
    .max(64)
}
