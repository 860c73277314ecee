//! Records with Go's field names, and their conversions from and to domain types.
//!
//! A mirror struct borrows: from the domain value when it is about to be encoded (`From<&T>`),
//! from the input after decoding (`TryFrom<Mirror>` for the domain type). Fields stand in byte
//! order of their wire names, which is the order they are written in; a test checks it. What each
//! field holds is said at the domain type; names and types are those of spec rpc.md section 6.

mod autopilot;
mod catalog;
mod coordinate;
mod kv;
mod prepared;
mod proxy;
mod session;
mod txn;

pub use autopilot::{AutopilotConfig, AutopilotSetConfigRequest};
pub use catalog::{
    DeregisterRequest, HealthCheck, HealthCheckDefinition, Node, NodeService, RegisterRequest,
    ServiceAddress, ServiceConnect, Weights,
};
pub use coordinate::{Coordinate, CoordinateUpdateRequest, CoordinateVector};
pub use kv::{
    DirEntry, IndexEntry, KvsRequest, RawStr, TombstoneRequest, kv_op, kv_op_word, put_dir_entry,
};
pub(crate) use prepared::{DELETE as QUERY_DELETE, SET as QUERY_SET};
pub use prepared::{
    PreparedQuery, PreparedQueryRequest, QueryDatacenterOptions, QueryDnsOptions,
    QueryTemplateOptions, ServiceQuery,
};
pub use proxy::{ConnectProxyConfig, ExposeConfig, ExposePath, MeshGatewayConfig, Upstream};
pub use session::{ServiceCheck, Session, SessionRequest};
pub use txn::{
    TxnCheckOp, TxnError, TxnKvOp, TxnNodeOp, TxnOp, TxnRequest, TxnResponse, TxnResult,
    TxnServiceOp, TxnSessionOp,
};

use tribune_types::id::{Uuid, UuidError};
use tribune_types::text::Text;

use crate::msgpack::Str;

/// Why a well-formed message is no valid record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// An identifier is not a UUID.
    #[error("{field}: {source}: {text:?}")]
    Uuid {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        text: String,
        /// What is wrong with it.
        source: UuidError,
    },
    /// A word of a closed set is unknown.
    #[error("unknown {field} {word:?}")]
    Word {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        word: String,
    },
    /// Something needed is nil.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// An operation of an area that is not built.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
}

/// Declares mirror structs.
macro_rules! mirror {
    () => {};
    ($(#[$meta:meta])* $name:ident<'a> { $($key:literal $field:ident: $ty:ty,)* } $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default, bound(deserialize = "'de: 'a"))]
        #[allow(
            missing_docs,
            unreachable_pub,
            reason = "named after the wire, documented at the domain types; some are of this crate alone"
        )]
        pub struct $name<'a> {
            $(#[serde(rename = $key)] pub $field: $ty,)*
        }
        $crate::records::mirror!($($rest)*);
    };
    ($(#[$meta:meta])* $name:ident { $($key:literal $field:ident: $ty:ty,)* } $($rest:tt)*) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(default)]
        #[allow(
            missing_docs,
            unreachable_pub,
            reason = "named after the wire, documented at the domain types; some are of this crate alone"
        )]
        pub struct $name {
            $(#[serde(rename = $key)] pub $field: $ty,)*
        }
        $crate::records::mirror!($($rest)*);
    };
}
pub(crate) use mirror;

/// Reads an optional identifier; empty is none.
pub(crate) fn uuid_opt(field: &'static str, text: &str) -> Result<Option<Uuid>, RecordError> {
    if text.is_empty() {
        return Ok(None);
    }
    Uuid::parse(text)
        .map(Some)
        .map_err(|source| RecordError::Uuid {
            field,
            text: text.to_owned(),
            source,
        })
}

/// The text of an optional identifier; none is empty.
pub(crate) fn uuid_text(id: Option<Uuid>) -> Str<'static> {
    id.map_or_else(Str::default, |id| Str::from(id.to_string()))
}

/// Borrowed strings of a list that is nil when empty.
pub(crate) fn list_or_nil(items: &[Text]) -> Option<Vec<Str<'_>>> {
    if items.is_empty() {
        None
    } else {
        Some(strs(items))
    }
}

pub(crate) fn strs(items: &[Text]) -> Vec<Str<'_>> {
    items.iter().map(Str::from).collect()
}

pub(crate) fn texts(items: Option<Vec<Str<'_>>>) -> Vec<Text> {
    items.unwrap_or_default().iter().map(Str::to_text).collect()
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;
    use crate::msgpack::{Any, from_slice, to_vec};

    fn sorted<T: Serialize + Default>() {
        let bytes = to_vec(&T::default()).unwrap();
        let (mut rest, mut last, name) = (&bytes[..], String::new(), std::any::type_name::<T>());
        let len = match rest[0] {
            0xde => {
                rest = &rest[3..];
                usize::from(u16::from_be_bytes([bytes[1], bytes[2]]))
            }
            fix => {
                rest = &rest[1..];
                usize::from(fix & 15)
            }
        };
        for _ in 0..len {
            let (key, after) = crate::msgpack::from_slice_prefix::<String>(rest).unwrap();
            let (_, after) = crate::msgpack::from_slice_prefix::<Any>(after).unwrap();
            assert!(last < key, "{name}: {last} stands before {key}");
            (rest, last) = (after, key);
        }
    }

    #[test]
    fn fields_stand_in_byte_order() {
        sorted::<AutopilotConfig<'_>>();
        sorted::<AutopilotSetConfigRequest<'_>>();
        sorted::<DeregisterRequest<'_>>();
        sorted::<HealthCheck<'_>>();
        sorted::<HealthCheckDefinition<'_>>();
        sorted::<Node<'_>>();
        sorted::<NodeService<'_>>();
        sorted::<RegisterRequest<'_>>();
        sorted::<ServiceAddress<'_>>();
        sorted::<ServiceConnect>();
        sorted::<Weights>();
        sorted::<Coordinate<'_>>();
        sorted::<CoordinateUpdateRequest<'_>>();
        sorted::<CoordinateVector>();
        sorted::<DirEntry<'_>>();
        sorted::<IndexEntry<'_>>();
        sorted::<KvsRequest<'_>>();
        sorted::<TombstoneRequest<'_>>();
        sorted::<ConnectProxyConfig<'_>>();
        sorted::<ExposeConfig<'_>>();
        sorted::<ExposePath<'_>>();
        sorted::<MeshGatewayConfig<'_>>();
        sorted::<Upstream<'_>>();
        sorted::<PreparedQuery<'_>>();
        sorted::<PreparedQueryRequest<'_>>();
        sorted::<QueryDatacenterOptions<'_>>();
        sorted::<QueryTemplateOptions<'_>>();
        sorted::<ServiceCheck<'_>>();
        sorted::<ServiceQuery<'_>>();
        sorted::<Session<'_>>();
        sorted::<SessionRequest<'_>>();
        sorted::<TxnCheckOp<'_>>();
        sorted::<TxnError<'_>>();
        sorted::<TxnKvOp<'_>>();
        sorted::<TxnNodeOp<'_>>();
        sorted::<TxnOp<'_>>();
        sorted::<TxnRequest<'_>>();
        sorted::<TxnResponse<'_>>();
        sorted::<TxnResult<'_>>();
        sorted::<TxnServiceOp<'_>>();
        sorted::<TxnSessionOp<'_>>();
    }

    #[test]
    fn nil_and_absent_fields_are_zero_and_unknown_ones_are_skipped() {
        // {"Node": nil, "New": [{"x": 1}], "Address": "a"}
        let bytes = b"\x83\xa4Node\xc0\xa3New\x91\x81\xa1x\x01\xa7Address\xa1a";
        let node: Node<'_> = from_slice(bytes).unwrap();
        assert_eq!(
            node,
            Node {
                address: "a".into(),
                ..Node::default()
            }
        );
        assert_eq!(from_slice::<Node<'_>>(b"\xc0"), Ok(Node::default()));
        assert_eq!(from_slice::<Node<'_>>(b"\x80"), Ok(Node::default()));
        assert!(from_slice::<Node<'_>>(b"\x90").is_err());
    }
}
