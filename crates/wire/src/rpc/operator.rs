//! `Operator.*`: the peer set, its health, and the settings of server management.

use tribune_types::autopilot::{self as domain, OperatorHealth};
use tribune_types::id::{Index, Term};
use tribune_types::query::{Query, ReadOptions, Reply};
use tribune_types::raft::{RaftConfiguration, RaftServer as DomainServer};
use tribune_types::time::Wall;
use tribune_types::write::{PeerRef, Write};

use super::Error;
use super::fields::{Empty, Fields};
use super::status::put_datacenter;
use crate::msgpack::{self, Dur, Str, Time};
use crate::records::{
    AutopilotConfig, AutopilotSetConfigRequest, RecordError, mirror, uuid_opt, uuid_text,
};

/// Asks for the health of the peer set. Body: [`encode_server_health`].
pub const SERVER_HEALTH: &str = "Operator.ServerHealth";

mirror! {
    /// `structs.RaftServer`.
    RaftServer<'a> {
        "Address" address: Str<'a>,
        "ID" id: Str<'a>,
        "Leader" leader: bool,
        "Node" node: Str<'a>,
        "ProtocolVersion" protocol_version: Str<'a>,
        "Voter" voter: bool,
    }

    /// `structs.RaftConfigurationResponse`.
    RaftConfigurationResponse<'a> {
        "Index" index: u64,
        "Servers" servers: Option<Vec<RaftServer<'a>>>,
    }

    /// `structs.RaftRemovePeerRequest`.
    RaftRemovePeerRequest<'a> {
        "Address" address: Str<'a>,
        "ID" id: Str<'a>,
    }

    /// `autopilot.ServerHealth`.
    ServerHealth<'a> {
        "Address" address: Str<'a>,
        "Healthy" healthy: bool,
        "ID" id: Str<'a>,
        "LastContact" last_contact: Dur,
        "LastIndex" last_index: u64,
        "LastTerm" last_term: u64,
        "Leader" leader: bool,
        "Name" name: Str<'a>,
        "SerfStatus" serf_status: i64,
        "StableSince" stable_since: Time,
        "Version" version: Str<'a>,
        "Voter" voter: bool,
    }

    /// `autopilot.OperatorHealthReply`.
    OperatorHealthReply<'a> {
        "FailureTolerance" failure_tolerance: i64,
        "Healthy" healthy: bool,
        "Servers" servers: Option<Vec<ServerHealth<'a>>>,
    }
}

pub(super) fn decode(method: &str) -> Option<Query> {
    match method {
        "Operator.RaftGetConfiguration" => Some(Query::RaftConfiguration),
        "Operator.AutopilotGetConfiguration" => Some(Query::AutopilotConfig),
        _ => None,
    }
}

/// Decodes a write of this group.
pub(super) fn apply(method: &str, body: &[u8]) -> Result<Option<Write>, Error> {
    let peer = || msgpack::from_slice::<RaftRemovePeerRequest<'_>>(body);
    Ok(Some(match method {
        "Operator.AutopilotSetConfiguration" => {
            let request: AutopilotSetConfigRequest<'_> = msgpack::from_slice(body)?;
            let config = domain::AutopilotConfig::from(request.config);
            Write::Autopilot {
                cas: request.cas.then_some(config.modify),
                config,
            }
        }
        "Operator.RaftRemovePeerByAddress" => {
            Write::RaftRemovePeer(PeerRef::Address(peer()?.address.into()))
        }
        "Operator.RaftRemovePeerByID" => Write::RaftRemovePeer(PeerRef::Id(peer()?.id.into())),
        _ => return Ok(None),
    }))
}

/// Adds the settings to store. The expected index is the settings' own.
pub(super) fn put_set<'a>(
    config: &'a domain::AutopilotConfig,
    cas: Option<Index>,
    fields: &mut Fields<'a>,
) {
    let mut config = AutopilotConfig::from(config);
    if let Some(index) = cas {
        config.modify_index = index.0;
    }
    fields.bool("CAS", cas.is_some());
    fields.put("Config", config);
}

/// Adds the peer to remove and says by which method.
pub(super) fn put_remove<'a>(peer: &'a PeerRef, fields: &mut Fields<'a>) -> &'static str {
    let (method, address, id) = match peer {
        PeerRef::Address(address) => ("Operator.RaftRemovePeerByAddress", &**address, ""),
        PeerRef::Id(id) => ("Operator.RaftRemovePeerByID", "", &**id),
    };
    fields.str("Address", address);
    fields.str("ID", id);
    method
}

/// Encodes the peer set. It carries no query meta.
pub(super) fn put_raft(configuration: &RaftConfiguration, out: &mut Vec<u8>) {
    let mut fields = Fields::default();
    fields.uint("Index", configuration.index.0);
    fields.list("Servers", &configuration.servers, Empty::Nil, |s| {
        RaftServer {
            address: (&s.address).into(),
            id: uuid_text(Some(s.id)),
            leader: s.leader,
            node: (&s.node).into(),
            protocol_version: (&s.protocol_version).into(),
            voter: s.voter,
        }
    });
    fields.finish(out);
}

pub(super) fn raft(body: &[u8]) -> Result<RaftConfiguration, Error> {
    let reply: RaftConfigurationResponse<'_> = msgpack::from_slice(body)?;
    let server = |s: RaftServer<'_>| -> Result<DomainServer, RecordError> {
        Ok(DomainServer {
            id: uuid_opt("server ID", &s.id)?.unwrap_or_default(),
            node: s.node.into(),
            address: s.address.into(),
            leader: s.leader,
            voter: s.voter,
            protocol_version: s.protocol_version.into(),
        })
    };
    let servers = reply.servers.unwrap_or_default().into_iter();
    Ok(RaftConfiguration {
        servers: servers.map(server).collect::<Result<_, _>>()?,
        index: Index(reply.index),
    })
}

/// Encodes settings. They carry no query meta.
pub(super) fn put_autopilot(
    config: Option<&domain::AutopilotConfig>,
    out: &mut Vec<u8>,
) -> Result<(), Error> {
    let config = config.ok_or_else(|| Error::refused("autopilot config not initialized yet"))?;
    Ok(msgpack::to_writer(out, &AutopilotConfig::from(config))?)
}

pub(super) fn autopilot(body: &[u8]) -> Result<Reply, Error> {
    let config: AutopilotConfig<'_> = msgpack::from_slice(body)?;
    Ok(Reply::Autopilot(Some(config.into())))
}

/// Encodes the body of a request for the health of the peer set.
pub fn encode_server_health(datacenter: &str, token: &str) -> Vec<u8> {
    let mut fields = Fields::default();
    put_datacenter(&mut fields, datacenter, &ReadOptions::default(), token);
    fields.into_vec()
}

/// Words of members' states by their numbers.
const SERF_STATUS: [&str; 5] = ["none", "alive", "leaving", "left", "failed"];

/// Encodes the health of the peer set.
pub fn encode_server_health_reply(health: &OperatorHealth, out: &mut Vec<u8>) {
    let mut fields = Fields::default();
    fields.uint("FailureTolerance", u64::from(health.failure_tolerance));
    fields.bool("Healthy", health.healthy);
    fields.list("Servers", &health.servers, Empty::Nil, |s| ServerHealth {
        address: (&s.address).into(),
        healthy: s.healthy,
        id: uuid_text(Some(s.id)),
        last_contact: s.last_contact.map_or(Dur(NEVER), Dur::from),
        last_index: s.last_index,
        last_term: s.last_term.0,
        leader: s.leader,
        name: (&s.name).into(),
        serf_status: SERF_STATUS
            .iter()
            .position(|word| *word == &*s.serf_status)
            .map_or(0, |number| number as i64),
        stable_since: match s.stable_since {
            Wall(0) => Time::default(),
            since => Time {
                // The original stamps with its clock, whose zone is shown.
                offset_min: Some(0),
                ..Time::from(since)
            },
        },
        version: (&s.version).into(),
        voter: s.voter,
    });
    fields.finish(out);
}

/// The age of a contact that never was.
const NEVER: i64 = -1;

/// Decodes the health of the peer set.
///
/// # Errors
/// The bytes are no such reply.
pub fn decode_server_health_reply(body: &[u8]) -> Result<OperatorHealth, Error> {
    let reply: OperatorHealthReply<'_> = msgpack::from_slice(body)?;
    let server = |s: ServerHealth<'_>| -> Result<domain::ServerHealth, RecordError> {
        let serf_status = usize::try_from(s.serf_status)
            .ok()
            .and_then(|number| SERF_STATUS.get(number))
            .unwrap_or(&"none");
        Ok(domain::ServerHealth {
            id: uuid_opt("server ID", &s.id)?.unwrap_or_default(),
            name: s.name.into(),
            address: s.address.into(),
            serf_status: tribune_types::text::text(serf_status),
            version: s.version.into(),
            leader: s.leader,
            last_contact: (s.last_contact.0 >= 0).then(|| s.last_contact.into()),
            last_term: Term(s.last_term),
            last_index: s.last_index,
            healthy: s.healthy,
            voter: s.voter,
            stable_since: s.stable_since.to_wall().unwrap_or(Wall(0)),
        })
    };
    let servers = reply.servers.unwrap_or_default().into_iter();
    Ok(OperatorHealth {
        healthy: reply.healthy,
        failure_tolerance: u32::try_from(reply.failure_tolerance).unwrap_or_default(),
        servers: servers.map(server).collect::<Result<_, _>>()?,
    })
}
