//! Calls of the server RPC as they arrive: a header and a body, one behind the other.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::msgpack::value_len;
use tribune_wire::rpc::{Call, RequestHeader, decode_call};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let Ok(Some(header_size)) = value_len(bytes) else {
        return;
    };
    let (header, body) = bytes.split_at(header_size);
    let Ok(header) = RequestHeader::decode(header) else {
        return;
    };
    match decode_call(&header.method, body) {
        Ok(Some(Call::Query { envelope, .. } | Call::Write { envelope, .. })) => {
            let size = envelope.token.secret().len() + envelope.datacenter.len();
            assert!(size <= 3 * body.len());
        }
        Ok(_) => {}
        Err(error) => drop(error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let served = [
        "Catalog.",
        "Coordinate.",
        "Health.",
        "Internal.",
        "KVS.",
        "Operator.",
        "Session.",
        "Status.",
        "Txn.",
    ];
    tribune_fuzz::rpc_messages()
        .into_iter()
        .filter(|(header, _)| {
            let header = String::from_utf8_lossy(header);
            served.iter().any(|group| header.contains(group))
        })
        .map(|(header, body)| [header, body].concat())
        .filter(|call| call.len() < 4096)
        .collect()
}
