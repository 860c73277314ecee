//! Sessions, coordinates, events, the peer set and autopilot.

use std::sync::Arc;

use tribune_types::autopilot::{AutopilotConfig, OperatorHealth};
use tribune_types::coordinate::{Coordinate, CoordinateEntry, DatacenterMap};
use tribune_types::duration::format_go;
use tribune_types::event::UserEvent;
use tribune_types::id::SessionId;
use tribune_types::raft::RaftConfiguration;
use tribune_types::session::Session;
use tribune_types::time::Wall;

use super::write::{
    base64, boolean, field, float, indexes, list, raw, string, string_list, time, uint,
};

/// `{"ID":"…"}` of a new session.
pub fn session_created(out: &mut Vec<u8>, id: SessionId) {
    raw(out, b"{\"ID\":\"");
    raw(out, &id.encode());
    raw(out, b"\"}");
}

/// Sessions after a renewal.
pub fn sessions_renewed(out: &mut Vec<u8>, sessions: &[Arc<Session>]) {
    list(out, sessions, |out, s| session(out, s));
}

/// A list of strings.
pub fn strings<S: AsRef<str>>(out: &mut Vec<u8>, items: &[S]) {
    string_list(out, items);
}

pub(super) fn session(out: &mut Vec<u8>, session: &Session) {
    raw(out, b"{\"ID\":\"");
    raw(out, &session.id.encode());
    field(out, b"\",\"Name\":", &session.name);
    field(out, b",\"Node\":", &session.node);
    raw(out, b",\"LockDelay\":");
    uint(
        out,
        u64::try_from(session.lock_delay.as_nanos()).unwrap_or(u64::MAX),
    );
    field(out, b",\"Behavior\":", session.behavior.as_str());
    field(out, b",\"TTL\":", &session.ttl);
    raw(out, b",\"NodeChecks\":");
    match &session.node_checks {
        None => raw(out, b"null"),
        Some(checks) => string_list(out, checks),
    }
    raw(out, b",\"ServiceChecks\":");
    match &session.service_checks {
        None => raw(out, b"null"),
        Some(checks) => list(out, checks, |out, check| {
            field(out, b"{\"ID\":", &check.id);
            field(out, b",\"Namespace\":", &check.namespace);
            out.push(b'}');
        }),
    }
    if let Some(checks) = session.checks.as_ref().filter(|checks| !checks.is_empty()) {
        raw(out, b",\"Checks\":");
        string_list(out, checks);
    }
    indexes(out, session.create.0, session.modify.0);
    out.push(b'}');
}

pub(super) fn coordinate(out: &mut Vec<u8>, coord: &Coordinate) {
    raw(out, b"{\"Vec\":");
    list(out, &coord.vec, |out, x| float(out, *x));
    raw(out, b",\"Error\":");
    float(out, coord.error);
    raw(out, b",\"Adjustment\":");
    float(out, coord.adjustment);
    raw(out, b",\"Height\":");
    float(out, coord.height);
    out.push(b'}');
}

pub(super) fn coordinate_entry(out: &mut Vec<u8>, entry: &CoordinateEntry) {
    field(out, b"{\"Node\":", &entry.node);
    field(out, b",\"Segment\":", &entry.segment);
    raw(out, b",\"Coord\":");
    coordinate(out, &entry.coord);
    out.push(b'}');
}

pub(super) fn datacenter_map(out: &mut Vec<u8>, map: &DatacenterMap) {
    field(out, b"{\"Datacenter\":", &map.datacenter);
    field(out, b",\"AreaID\":", &map.area);
    raw(out, b",\"Coordinates\":");
    list(out, &map.coordinates, coordinate_entry);
    out.push(b'}');
}

/// An event.
pub fn user_event(out: &mut Vec<u8>, event: &UserEvent) {
    raw(out, b"{\"ID\":\"");
    raw(out, &event.id.encode());
    field(out, b"\",\"Name\":", &event.name);
    raw(out, b",\"Payload\":");
    base64(out, &event.payload);
    field(out, b",\"NodeFilter\":", &event.node_filter);
    field(out, b",\"ServiceFilter\":", &event.service_filter);
    field(out, b",\"TagFilter\":", &event.tag_filter);
    raw(out, b",\"Version\":");
    uint(out, u64::from(event.version));
    raw(out, b",\"LTime\":");
    uint(out, event.ltime);
    out.push(b'}');
}

/// Events, oldest first.
pub fn events<'a>(out: &mut Vec<u8>, events: impl IntoIterator<Item = &'a UserEvent>) {
    list(out, events, user_event);
}

pub(super) fn raft_configuration(out: &mut Vec<u8>, config: &RaftConfiguration) {
    raw(out, b"{\"Servers\":");
    list(out, &config.servers, |out, server| {
        raw(out, b"{\"ID\":\"");
        raw(out, &server.id.encode());
        field(out, b"\",\"Node\":", &server.node);
        field(out, b",\"Address\":", &server.address);
        raw(out, b",\"Leader\":");
        boolean(out, server.leader);
        field(out, b",\"ProtocolVersion\":", &server.protocol_version);
        raw(out, b",\"Voter\":");
        boolean(out, server.voter);
        out.push(b'}');
    });
    raw(out, b",\"Index\":");
    uint(out, config.index.0);
    out.push(b'}');
}

pub(super) fn autopilot_config(out: &mut Vec<u8>, config: &AutopilotConfig) {
    raw(out, b"{\"CleanupDeadServers\":");
    boolean(out, config.cleanup_dead_servers);
    field(
        out,
        b",\"LastContactThreshold\":",
        &format_go(config.last_contact_threshold),
    );
    raw(out, b",\"MaxTrailingLogs\":");
    uint(out, config.max_trailing_logs);
    raw(out, b",\"MinQuorum\":");
    uint(out, config.min_quorum);
    field(
        out,
        b",\"ServerStabilizationTime\":",
        &format_go(config.server_stabilization_time),
    );
    field(out, b",\"RedundancyZoneTag\":", &config.redundancy_zone_tag);
    raw(out, b",\"DisableUpgradeMigration\":");
    boolean(out, config.disable_upgrade_migration);
    field(out, b",\"UpgradeVersionTag\":", &config.upgrade_version_tag);
    indexes(out, config.create.0, config.modify.0);
    out.push(b'}');
}

/// Health of the peer set.
pub fn operator_health(out: &mut Vec<u8>, health: &OperatorHealth) {
    raw(out, b"{\"Healthy\":");
    boolean(out, health.healthy);
    raw(out, b",\"FailureTolerance\":");
    uint(out, u64::from(health.failure_tolerance));
    raw(out, b",\"Servers\":");
    list(out, &health.servers, |out, server| {
        raw(out, b"{\"ID\":\"");
        raw(out, &server.id.encode());
        field(out, b"\",\"Name\":", &server.name);
        field(out, b",\"Address\":", &server.address);
        field(out, b",\"SerfStatus\":", &server.serf_status);
        field(out, b",\"Version\":", &server.version);
        raw(out, b",\"Leader\":");
        boolean(out, server.leader);
        raw(out, b",\"LastContact\":");
        match server.last_contact {
            Some(since) => string(out, &format_go(since)),
            // Consul's way of saying never.
            None => raw(out, b"\"-1ns\""),
        }
        raw(out, b",\"LastTerm\":");
        uint(out, server.last_term.0);
        raw(out, b",\"LastIndex\":");
        uint(out, server.last_index);
        raw(out, b",\"Healthy\":");
        boolean(out, server.healthy);
        raw(out, b",\"Voter\":");
        boolean(out, server.voter);
        raw(out, b",\"StableSince\":");
        match server.stable_since {
            // Nothing was heard of it.
            Wall(0) => raw(out, b"\"0001-01-01T00:00:00Z\""),
            since => time(out, since),
        }
        out.push(b'}');
    });
    out.push(b'}');
}
