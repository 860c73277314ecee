//! Calls of the server RPC as they arrive: a header and a body, one behind the other.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::msgpack::value_len;
use tribune_wire::rpc::RequestHeader;
use tribune_wire::rpc::bodies::write_call;

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let Ok(Some(header_size)) = value_len(bytes) else {
        return;
    };
    let (header, body) = bytes.split_at(header_size);
    let Ok(header) = RequestHeader::decode(header) else {
        return;
    };
    match write_call(&header.method, body) {
        Ok(None) => {}
        Ok(Some(call)) => assert!(call.token.len() + call.datacenter.len() <= 3 * body.len()),
        Err(error) => drop(error.to_string()),
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let served = [
        "Catalog.Register",
        "Catalog.Deregister",
        "Coordinate.Update",
        "KVS.Apply",
    ];
    tribune_fuzz::rpc_messages()
        .into_iter()
        .filter(|(header, _)| {
            let header = String::from_utf8_lossy(header);
            served.iter().any(|method| header.ends_with(method))
        })
        .map(|(header, body)| [header, body].concat())
        .filter(|call| call.len() < 4096)
        .collect()
}
