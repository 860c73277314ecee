//! Calls of the server RPC as they arrive: a header and a body, one behind the other. What is understood is encoded as a
//! client does it, and has to mean the same. The body is also taken for a reply to what it asks for.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::msgpack::value_len;
use tribune_wire::rpc::{self, Call, Envelope, RequestHeader, decode_call};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let Ok(Some(header_size)) = value_len(bytes) else {
        return;
    };
    let (header, body) = bytes.split_at(header_size);
    let Ok(header) = RequestHeader::decode(header) else {
        return;
    };
    let call = match decode_call(&header.method, body) {
        Ok(Some(call)) => call,
        Ok(None) => return,
        Err(error) => return drop(error.to_string()),
    };
    let Some((method, again)) = encode(&call, body.len()) else {
        return;
    };
    let call = decode_call(method, &again);
    let call = call
        .expect("what we encode decodes")
        .expect("the method exists");
    let (_, twice) = encode(&call, again.len()).expect("a call of the same kind");
    assert_eq!(again, twice, "{call:?}");
}

/// The call as a client encodes it; replies to it are decoded on the way.
fn encode(call: &Call, size: usize) -> Option<(&'static str, Vec<u8>)> {
    let bounded = |envelope: &Envelope| {
        let kept = envelope.token.secret().len() + envelope.datacenter.len();
        assert!(kept <= 3 * size);
    };
    match call {
        Call::Query {
            envelope,
            query,
            options,
        } => {
            bounded(envelope);
            let (dc, token) = (&envelope.datacenter, envelope.token.secret());
            let (method, body) = rpc::encode_query(query, options, dc, token)?;
            drop(rpc::decode_reply(query, &body));
            Some((method, body))
        }
        Call::Write { envelope, write } => {
            bounded(envelope);
            let (dc, token) = (&envelope.datacenter, envelope.token.secret());
            let (method, body) = rpc::encode_write(write, dc, token)?;
            drop(rpc::decode_write_reply(write, &body));
            Some((method, body))
        }
        Call::ExecuteQuery {
            envelope,
            request,
            options,
        } => {
            bounded(envelope);
            let (dc, token) = (&envelope.datacenter, envelope.token.secret());
            let body = rpc::encode_execute_query(request, options, dc, token);
            drop(rpc::decode_executed_query(&body));
            Some((rpc::EXECUTE_QUERY, body))
        }
        Call::ExecuteQueryRemote {
            envelope,
            request,
            options,
        } => {
            bounded(envelope);
            let (dc, token) = (&envelope.datacenter, envelope.token.secret());
            let body = rpc::encode_execute_query_remote(request, options, dc, token);
            Some((rpc::EXECUTE_QUERY_REMOTE, body))
        }
        Call::ExplainQuery {
            envelope,
            request,
            options,
        } => {
            bounded(envelope);
            let (dc, token) = (&envelope.datacenter, envelope.token.secret());
            let body = rpc::encode_execute_query(request, options, dc, token);
            drop(rpc::decode_explained_query(&body));
            Some((rpc::EXPLAIN_QUERY, body))
        }
        Call::Keyring(call) => {
            let (dc, token) = (&call.envelope.datacenter, call.envelope.token.secret());
            let body = rpc::encode_keyring(&call.request, dc, token);
            drop(rpc::decode_keyring_reply(&body));
            Some((rpc::KEYRING_OPERATION, body))
        }
        Call::EventFire(fire) => {
            drop(rpc::unpack_event(&fire.payload));
            None
        }
        _ => None,
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
        "PreparedQuery.",
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
