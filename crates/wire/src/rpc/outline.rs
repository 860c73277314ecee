//! What a server must know of a call to pass it on: whether its method is for the leader alone, and the datacenter.
//!
//! The rest of the body is walked over and not decoded, so that what this version does not know survives.

use serde::Deserialize;

use super::Error;
use crate::msgpack::{self, Str};

/// The part of a request body that decides who serves it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
pub struct Outline<'a> {
    /// The datacenter; an empty one is none.
    #[serde(rename = "Datacenter")]
    pub datacenter: Str<'a>,
}

impl<'a> Outline<'a> {
    /// Looks into a body, which is one complete value.
    ///
    /// # Errors
    /// Not a map, or the datacenter is no text.
    pub fn of(body: &'a [u8]) -> Result<Outline<'a>, Error> {
        Ok(msgpack::from_slice(body)?)
    }
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
            | "Session.Apply"
            | "Session.Renew"
            | "Txn.Apply"
    )
}

#[cfg(test)]
mod tests {
    use tribune_types::kv::{KvEntry, KvOp};
    use tribune_types::write::Write;

    use super::super::{encode_status, encode_write};
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
