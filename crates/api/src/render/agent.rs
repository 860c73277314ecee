//! What an agent tells about its own services, checks, members and settings.

use std::collections::BTreeMap;

use tribune_types::catalog::{Check, Service, ServiceKind};
use tribune_types::coordinate::Coordinate;
use tribune_types::id::NodeId;
use tribune_types::member::Member;
use tribune_types::text::TextMap;
use tribune_types::value::ValueMap;

use super::EmptyTags;
use super::health::{agent_health_check, health_check};
use super::misc::coordinate;
use super::proxy::{agent_proxy, tagged_addresses, weights};
use super::value::value_map;
use super::write::{boolean, field, int, list, object, raw, string, string_list, text_map, uint};

/// A local service to show.
#[derive(Debug, Clone, Copy)]
pub struct AgentServiceView<'a> {
    /// The instance.
    pub service: &'a Service,
    /// Hash of its content, shown when one service is read.
    pub content_hash: Option<&'a str>,
}

/// The parts of an agent's health answer.
#[derive(Debug, Clone, Copy)]
pub struct AgentHealthView<'a, C> {
    /// The word for the whole.
    pub status: &'a str,
    /// The instance.
    pub service: &'a Service,
    /// Its checks and the node's.
    pub checks: C,
}

/// One local service.
pub fn agent_service(out: &mut Vec<u8>, view: AgentServiceView<'_>) {
    let service = view.service;
    out.push(b'{');
    if service.kind != ServiceKind::Typical {
        field(out, b"\"Kind\":", service.kind.as_str());
        out.push(b',');
    }
    field(out, b"\"ID\":", &service.id);
    field(out, b",\"Service\":", &service.name);
    raw(out, b",\"Tags\":");
    string_list(out, &service.tags);
    raw(out, b",\"Meta\":");
    match &service.meta {
        None => raw(out, b"{}"),
        meta => text_map(out, meta.as_ref()),
    }
    raw(out, b",\"Port\":");
    int(out, service.port);
    field(out, b",\"Address\":", &service.address);
    if !service.tagged_addresses.is_empty() {
        raw(out, b",\"TaggedAddresses\":");
        tagged_addresses(out, &service.tagged_addresses);
    }
    raw(out, b",\"Weights\":");
    weights(out, service.weights);
    raw(out, b",\"EnableTagOverride\":");
    boolean(out, service.enable_tag_override);
    if service.create.0 != 0 {
        raw(out, b",\"CreateIndex\":");
        uint(out, service.create.0);
    }
    if service.modify.0 != 0 {
        raw(out, b",\"ModifyIndex\":");
        uint(out, service.modify.0);
    }
    if let Some(hash) = view.content_hash {
        field(out, b",\"ContentHash\":", hash);
    }
    if service.kind != ServiceKind::Typical {
        raw(out, b",\"Proxy\":");
        match service.proxy.as_deref() {
            Some(proxy) => agent_proxy(out, proxy),
            None => raw(out, b"{\"MeshGateway\":{},\"Expose\":{}}"),
        }
    }
    if service.connect_native {
        raw(out, b",\"Connect\":{\"Native\":true}");
    }
    out.push(b'}');
}

/// Local services by ID, in ID order.
pub fn agent_services<'a>(out: &mut Vec<u8>, services: impl IntoIterator<Item = &'a Service>) {
    object(
        out,
        services.into_iter().map(|s| (&s.id, s)),
        |out, service| {
            agent_service(
                out,
                AgentServiceView {
                    service,
                    content_hash: None,
                },
            )
        },
    );
}

/// Local checks by ID, in ID order. Indexes of local checks read 0.
pub fn agent_checks<'a>(out: &mut Vec<u8>, checks: impl IntoIterator<Item = &'a Check>) {
    object(out, checks.into_iter().map(|c| (&c.id, c)), |out, check| {
        health_check(out, check, EmptyTags::Array)
    });
}

/// Health of one local instance.
pub fn agent_health_one<'a, C: IntoIterator<Item = &'a Check>>(
    out: &mut Vec<u8>,
    view: AgentHealthView<'_, C>,
) {
    field(out, b"{\"AggregatedStatus\":", view.status);
    raw(out, b",\"Service\":");
    agent_service(
        out,
        AgentServiceView {
            service: view.service,
            content_hash: None,
        },
    );
    raw(out, b",\"Checks\":");
    list(out, view.checks, agent_health_check);
    out.push(b'}');
}

/// Health of several local instances.
pub fn agent_health_list<'a, C: IntoIterator<Item = &'a Check>>(
    out: &mut Vec<u8>,
    views: impl IntoIterator<Item = AgentHealthView<'a, C>>,
) {
    list(out, views, agent_health_one);
}

fn member(out: &mut Vec<u8>, member: &Member) {
    field(out, b"{\"Name\":", &member.name);
    field(out, b",\"Addr\":", &member.addr);
    raw(out, b",\"Port\":");
    uint(out, u64::from(member.port));
    raw(out, b",\"Tags\":");
    text_map(out, Some(&member.tags));
    raw(out, b",\"Status\":");
    uint(out, u64::from(member.status.as_number()));
    for (prefix, versions) in [("Protocol", member.protocol), ("Delegate", member.delegate)] {
        for (suffix, version) in ["Min", "Max", "Cur"].iter().zip(versions) {
            raw(out, b",\"");
            raw(out, prefix.as_bytes());
            raw(out, suffix.as_bytes());
            raw(out, b"\":");
            uint(out, u64::from(version));
        }
    }
    out.push(b'}');
}

/// Members of a pool.
pub fn members(out: &mut Vec<u8>, members: &[Member]) {
    list(out, members, member);
}

/// The parts of `/v1/agent/self`.
#[derive(Debug, Clone, Copy)]
pub struct SelfView<'a> {
    /// Datacenter.
    pub datacenter: &'a str,
    /// Node name.
    pub node: &'a str,
    /// Node identity.
    pub id: NodeId,
    /// Own version and build.
    pub revision: &'a str,
    /// Acts as a server.
    pub server: bool,
    /// Version of Consul whose behaviour is offered.
    pub version: &'a str,
    /// Settings in effect.
    pub debug_config: &'a ValueMap,
    /// Own coordinate.
    pub coord: Option<&'a Coordinate>,
    /// Own member.
    pub member: &'a Member,
    /// Figures by group.
    pub stats: &'a BTreeMap<String, BTreeMap<String, String>>,
    /// Node metadata.
    pub meta: &'a TextMap,
}

/// `/v1/agent/self`.
pub fn self_report(out: &mut Vec<u8>, view: SelfView<'_>) {
    field(out, b"{\"Config\":{\"Datacenter\":", view.datacenter);
    field(out, b",\"NodeName\":", view.node);
    raw(out, b",\"NodeID\":\"");
    raw(out, &view.id.encode());
    field(out, b"\",\"Revision\":", view.revision);
    raw(out, b",\"Server\":");
    boolean(out, view.server);
    field(out, b",\"Version\":", view.version);
    raw(out, b"},\"DebugConfig\":");
    value_map(out, view.debug_config);
    raw(out, b",\"Coord\":");
    match view.coord {
        Some(coord) => coordinate(out, coord),
        None => raw(out, b"null"),
    }
    raw(out, b",\"Member\":");
    member(out, view.member);
    raw(out, b",\"Stats\":");
    object(out, view.stats, |out, group| {
        object(out, group, |out, value: &String| string(out, value))
    });
    raw(out, b",\"Meta\":");
    text_map(out, Some(view.meta));
    out.push(b'}');
}
