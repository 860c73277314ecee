//! What a server must know of a call to pass it on: whether its method is for the leader alone, whether servers of other
//! datacenters are asked for it, the datacenter, and how long the answer may take.
//!
//! The rest of the body is walked over and not decoded, so that what this version does not know survives.

use std::time::Duration;

use serde::Deserialize;

use super::Error;
use crate::msgpack::{self, Dur, Str};

/// The part of a request body that decides who serves it, and for how long.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Outline<'a> {
    /// The datacenter; an empty one is none.
    #[serde(rename = "Datacenter")]
    pub datacenter: Str<'a>,
    /// The request waits until the index is above this; 0 does not wait.
    #[serde(rename = "MinQueryIndex")]
    pub min_index: u64,
    #[serde(rename = "MaxQueryTime")]
    max_query_time: Dur,
}

impl<'a> Outline<'a> {
    /// Looks into a body, which is one complete value.
    ///
    /// # Errors
    /// Not a map, or the datacenter is no text.
    pub fn of(body: &'a [u8]) -> Result<Outline<'a>, Error> {
        Ok(msgpack::from_slice(body)?)
    }

    /// How long the request wants to wait, if it says so.
    pub fn wait(&self) -> Option<Duration> {
        (self.max_query_time.0 > 0).then(|| self.max_query_time.into())
    }
}

/// What a call does at the servers of another datacenter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Nothing that a second time would do again.
    Read,
    /// Something.
    Change,
}

/// What `method` does where it is served, if its calls are sent to the datacenter that they name. `None`: every server
/// answers for itself, or the method is not known (rpc.md section 7, column DC).
pub fn effect_abroad(method: &str) -> Option<Effect> {
    Some(match method {
        "Catalog.GatewayServices"
        | "Catalog.ListNodes"
        | "Catalog.ListServices"
        | "Catalog.NodeServiceList"
        | "Catalog.NodeServices"
        | "Catalog.ServiceList"
        | "Catalog.ServiceNodes"
        | "ConfigEntry.Get"
        | "ConfigEntry.List"
        | "ConfigEntry.ListAll"
        | "ConfigEntry.ResolveServiceConfig"
        | "Coordinate.ListNodes"
        | "Coordinate.Node"
        | "FederationState.Get"
        | "FederationState.List"
        | "FederationState.ListMeshGateways"
        | "Health.ChecksInState"
        | "Health.NodeChecks"
        | "Health.ServiceChecks"
        | "Health.ServiceNodes"
        | "Intention.Check"
        | "Intention.Get"
        | "Intention.List"
        | "Intention.Match"
        | "Internal.GatewayServiceDump"
        | "Internal.NodeDump"
        | "Internal.NodeInfo"
        | "Internal.ServiceDump"
        | "KVS.Get"
        | "KVS.List"
        | "KVS.ListKeys"
        | "Operator.AutopilotGetConfiguration"
        | "Operator.RaftGetConfiguration"
        | "Operator.ServerHealth"
        | "PreparedQuery.Execute"
        | "PreparedQuery.ExecuteRemote"
        | "PreparedQuery.Explain"
        | "PreparedQuery.Get"
        | "PreparedQuery.List"
        | "Session.Get"
        | "Session.List"
        | "Session.NodeSessions"
        | "Session.Renew"
        | "Status.Leader"
        | "Status.Peers"
        | "Txn.Read" => Effect::Read,
        "Catalog.Deregister"
        | "Catalog.Register"
        | "Coordinate.Update"
        | "Internal.EventFire"
        | "KVS.Apply"
        | "Operator.AutopilotSetConfiguration"
        | "Operator.RaftRemovePeerByAddress"
        | "Operator.RaftRemovePeerByID"
        | "PreparedQuery.Apply"
        | "Session.Apply"
        | "Txn.Apply" => Effect::Change,
        _ => return None,
    })
}

/// True if only the leader serves `method`: it changes the state, or what only the leader keeps beside it.
pub fn is_for_leader(method: &str) -> bool {
    matches!(
        method,
        "Catalog.Register"
            | "Catalog.Deregister"
            | "Coordinate.Update"
            | "KVS.Apply"
            | "Operator.AutopilotSetConfiguration"
            | "Operator.RaftRemovePeerByAddress"
            | "Operator.RaftRemovePeerByID"
            | "Operator.ServerHealth"
            | "PreparedQuery.Apply"
            | "Session.Apply"
            | "Session.Renew"
            | "Txn.Apply"
    )
}

/// True if requests of `method` or their replies may be large: lists of everything, and transactions.
pub fn is_large(method: &str) -> bool {
    matches!(
        method,
        "Catalog.ListNodes" | "Health.ChecksInState" | "KVS.List" | "KVS.ListKeys"
    ) || method.starts_with("Internal.")
        || method.starts_with("Txn.")
}

#[cfg(test)]
mod tests {
    use tribune_types::id::Index;
    use tribune_types::kv::{KvEntry, KvOp};
    use tribune_types::query::{Query, ReadOptions};
    use tribune_types::write::Write;

    use super::super::{encode_query, encode_status, encode_write};
    use super::*;

    #[test]
    fn the_datacenter_is_found_among_fields_of_any_shape() {
        let write = Write::Kv(KvOp::Set, KvEntry::default());
        let (method, body) = encode_write(&write, "dc7", "secret").unwrap();
        assert!(is_for_leader(method));
        assert_eq!(&*Outline::of(&body).unwrap().datacenter, "dc7");
        let body = encode_status("", "");
        assert_eq!(&*Outline::of(&body).unwrap().datacenter, "");
        // Fields that nobody knows are walked over.
        let body = b"\x82\xa5Later\x93\x01\x81\xa1k\xc0\xc3\xaaDatacenter\xa2d2";
        assert_eq!(&*Outline::of(body).unwrap().datacenter, "d2");
    }

    #[test]
    fn the_time_that_a_request_wants_to_wait_is_found() {
        let options = ReadOptions {
            min_index: Index(7),
            wait: Some(Duration::from_secs(90)),
            ..ReadOptions::default()
        };
        let (method, body) = encode_query(&Query::Sessions, &options, "dc2", "").unwrap();
        let outline = Outline::of(&body).unwrap();
        assert_eq!((&*outline.datacenter, outline.min_index), ("dc2", 7));
        assert_eq!(outline.wait(), Some(Duration::from_secs(90)));
        assert_eq!(effect_abroad(method), Some(Effect::Read));
        // A time that is none, or negative, is the default of the servers.
        for body in [
            &b"\x80"[..],
            b"\x81\xacMaxQueryTime\x00",
            b"\x81\xacMaxQueryTime\xff",
        ] {
            assert_eq!(Outline::of(body).unwrap().wait(), None, "{body:x?}");
        }
    }

    #[test]
    fn what_only_the_leader_serves_is_sent_abroad_and_the_own_affairs_of_servers_are_not() {
        for method in [
            "Catalog.Register",
            "Coordinate.Update",
            "KVS.Apply",
            "Operator.ServerHealth",
            "Session.Apply",
            "Session.Renew",
            "Txn.Apply",
        ] {
            assert!(is_for_leader(method) && effect_abroad(method).is_some());
        }
        for method in [
            "Catalog.ListDatacenters",
            "Coordinate.ListDatacenters",
            "Internal.KeyringOperation",
            "KVS.Nope",
            "Nope.Nope",
            "Status.Ping",
            "Status.RaftStats",
            "",
        ] {
            assert_eq!(effect_abroad(method), None, "{method}");
        }
    }

    #[test]
    fn bodies_that_are_no_requests_are_errors() {
        for body in [
            &b""[..],
            b"\x01",
            b"\x81\xaaDatacenter\x01",
            b"\x81\xaaData",
        ] {
            assert!(Outline::of(body).is_err(), "{body:x?}");
        }
    }
}
