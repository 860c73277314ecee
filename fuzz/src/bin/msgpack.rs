//! MessagePack: any value, its length, and the records with Go's names.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::msgpack::{Any, from_slice, to_vec, value_len};
use tribune_wire::records as mirror;

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

/// A record that decodes survives encoding.
macro_rules! survive {
    ($bytes:ident: $($name:ident $(<$life:lifetime>)?),* $(,)?) => {
        $(if let Ok(record) = from_slice::<mirror::$name $(<$life>)?>($bytes) {
            let encoded = to_vec(&record).expect("a decoded record can be encoded");
            let again = from_slice::<mirror::$name $(<$life>)?>(&encoded).expect("what was encoded can be decoded");
            assert_eq!(to_vec(&again).as_ref(), Ok(&encoded), "{again:?} is not {record:?}");
        })*
    };
}

fn run(bytes: &[u8]) {
    let len = value_len(bytes);
    if let Ok(Some(len)) = len {
        assert!((1..=bytes.len()).contains(&len));
    }
    if let Ok(value) = from_slice::<Any>(bytes) {
        assert_eq!(len, Ok(Some(bytes.len())), "both find the same end");
        let encoded = to_vec(&value).expect("a decoded value can be encoded");
        let again: Any = from_slice(&encoded).expect("what was encoded can be decoded");
        assert_eq!(to_vec(&again).as_ref(), Ok(&encoded));
    }
    survive!(bytes:
        AutopilotSetConfigRequest<'_>, Coordinate<'_>, CoordinateUpdateRequest<'_>, DeregisterRequest<'_>,
        DirEntry<'_>, HealthCheck<'_>, HealthCheckDefinition<'_>, IndexEntry<'_>, KvsRequest<'_>, Node<'_>,
        NodeService<'_>, RegisterRequest<'_>, SessionRequest<'_>, TombstoneRequest<'_>, TxnRequest<'_>, TxnResponse<'_>,
    );
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = tribune_fuzz::rpc_messages()
        .into_iter()
        .map(|(_, body)| body)
        .collect();
    all.retain(|body| body.len() < 2048);
    all.sort();
    all.dedup();
    all
}
