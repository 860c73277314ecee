//! Calls captured from a real server, in both roles: what a client sends decodes to a call and encodes to the same
//! bytes, what a server answers decodes to a reply and encodes to the same bytes.

#![allow(
    missing_docs,
    unreachable_pub,
    clippy::unwrap_used,
    dead_code,
    reason = "a test"
)]

mod common;

use std::collections::BTreeSet;

use common::Tree;
use serde_json::Value as Json;
use tribune_types::query::Reply;
use tribune_types::write::{Write, WriteReply};
use tribune_wire::msgpack::from_slice;
use tribune_wire::rpc::{
    self, Call, Envelope, ReplyForm, decode_call, decode_reply, decode_write_reply, encode_query,
    encode_reply, encode_write, encode_write_reply,
};

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

/// One captured call of a method that is built here.
struct Capture {
    name: String,
    method: String,
    /// All fields are there, as a real agent sends them.
    whole: bool,
    request: Vec<u8>,
    /// The body, unless the call failed.
    reply: Option<Vec<u8>>,
    error: String,
}

const GROUPS: [&str; 10] = [
    "Catalog",
    "Coordinate",
    "Health",
    "Internal",
    "KVS",
    "Operator",
    "PreparedQuery",
    "Session",
    "Status",
    "Txn",
];

fn captures() -> Vec<Capture> {
    let all: Json = serde_json::from_str(include_str!("vectors/rpc.json")).unwrap();
    let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
    let vectors = all["vectors"].as_array().unwrap().iter();
    let captures = vectors.map(|v| {
        let error = text(&v["response"]["header"]["Error"]);
        Capture {
            name: text(&v["name"]),
            method: text(&v["method"]),
            whole: !text(&v["origin"]).contains("minimal"),
            request: unhex(v["request"]["body_hex"].as_str().unwrap()),
            reply: v["response"]["body_hex"]
                .as_str()
                .filter(|_| error.is_empty())
                .map(unhex),
            error,
        }
    });
    captures
        .filter(|c| {
            GROUPS
                .iter()
                .any(|g| c.method.starts_with(&format!("{g}.")))
        })
        .collect()
}

fn call(capture: &Capture) -> Call {
    let name = &capture.name;
    decode_call(&capture.method, &capture.request)
        .unwrap_or_else(|e| panic!("{name}: {e}"))
        .unwrap_or_else(|| panic!("{name}: method is unknown"))
}

/// What the servers refuse while they decode. Everything else decodes.
fn refused(capture: &Capture) -> bool {
    ["Session.Get#1"].contains(&&*capture.name)
}

/// Equal as messages: the order of maps with free keys is random in the original.
fn same(name: &str, ours: &[u8], theirs: &[u8]) {
    let tree = |bytes: &[u8]| sorted(from_slice::<Tree>(bytes).unwrap());
    assert_eq!(tree(ours), tree(theirs), "{name}");
    if !has_free_map(&tree(theirs)) {
        assert_eq!(ours, theirs, "{name}");
    }
}

fn sorted(tree: Tree) -> Tree {
    match tree {
        Tree::Map(mut pairs) => {
            pairs.sort_by_key(|(key, _)| format!("{key:?}"));
            let pairs = pairs.into_iter().map(|(k, v)| (k, sorted(v)));
            Tree::Map(pairs.collect())
        }
        Tree::List(items) => Tree::List(items.into_iter().map(sorted).collect()),
        other => other,
    }
}

/// Sorts lists of names.
fn sort_names(tree: Tree) -> Tree {
    match tree {
        Tree::Map(pairs) => {
            let pairs = pairs.into_iter().map(|(k, v)| (k, sort_names(v)));
            Tree::Map(pairs.collect())
        }
        Tree::List(mut items) => {
            items.sort_by_key(|item| format!("{item:?}"));
            Tree::List(items)
        }
        other => other,
    }
}

/// Whether there is a map whose keys are no field names; those begin with a capital letter.
fn has_free_map(tree: &Tree) -> bool {
    match tree {
        Tree::Map(pairs) => pairs.iter().any(|(key, value)| {
            let field =
                matches!(key, Tree::Raw(k) if k.first().is_some_and(u8::is_ascii_uppercase));
            !field || has_free_map(value)
        }),
        Tree::List(items) => items.iter().any(has_free_map),
        _ => false,
    }
}

/// The request without what the original's HTTP layer alone knows: the address of its client.
fn without_origin(bytes: &[u8]) -> Vec<u8> {
    let mut tree = from_slice::<Tree>(bytes).unwrap();
    if let Tree::Map(fields) = &mut tree {
        for (key, value) in fields {
            let Tree::Map(source) = value else { continue };
            if *key == Tree::Raw(b"Source".to_vec()) {
                source.retain(|(key, _)| *key != Tree::Raw(b"Ip".to_vec()));
            }
        }
    }
    tribune_wire::msgpack::to_vec(&tree).unwrap()
}

#[test]
fn every_request_decodes_and_encodes_to_the_same_bytes() {
    let (mut methods, mut whole) = (BTreeSet::new(), 0);
    for capture in captures() {
        let name = &capture.name;
        if refused(&capture) {
            let error = decode_call(&capture.method, &capture.request).unwrap_err();
            assert_eq!(error.to_string(), capture.error, "{name}");
            continue;
        }
        methods.insert(capture.method.clone());
        let (envelope, (method, again)) = match call(&capture) {
            Call::Ping | Call::RaftStats => continue,
            Call::Answered { reply, .. } => panic!("{name} is answered at once: {reply:?}"),
            Call::Leader(envelope) => (envelope.clone(), (rpc::LEADER, status(&envelope))),
            Call::Peers(envelope) => (envelope.clone(), (rpc::PEERS, status(&envelope))),
            Call::ServerHealth(envelope) => {
                let body = rpc::encode_server_health(&envelope.datacenter, envelope.token.secret());
                (envelope, (rpc::SERVER_HEALTH, body))
            }
            Call::Query {
                envelope,
                query,
                options,
            } => {
                let body = encode_query(
                    &query,
                    &options,
                    &envelope.datacenter,
                    envelope.token.secret(),
                );
                (envelope, body.unwrap())
            }
            Call::Write { envelope, write } => {
                let body = encode_write(&write, &envelope.datacenter, envelope.token.secret());
                (envelope, body.unwrap())
            }
            Call::ExecuteQuery {
                envelope,
                request,
                options,
            } => {
                let body = execute(&request, &options, &envelope);
                (envelope, (rpc::EXECUTE_QUERY, body))
            }
            Call::ExplainQuery {
                envelope,
                request,
                options,
            } => {
                let body = execute(&request, &options, &envelope);
                (envelope, (rpc::EXPLAIN_QUERY, body))
            }
            Call::ExecuteQueryRemote {
                envelope,
                request,
                options,
            } => {
                let (dc, token) = (&envelope.datacenter, envelope.token.secret());
                let body = rpc::encode_execute_query_remote(&request, &options, dc, token);
                (envelope.clone(), (rpc::EXECUTE_QUERY_REMOTE, body))
            }
            Call::EventFire(fire) => {
                let event = rpc::unpack_event(&fire.payload).unwrap();
                assert_eq!(*event.name, *fire.name);
                let write = Write::EventFire(Box::new(event));
                let envelope = fire.envelope;
                let body = encode_write(&write, &envelope.datacenter, envelope.token.secret());
                (envelope, body.unwrap())
            }
            Call::Keyring(call) => {
                let envelope = call.envelope;
                let (dc, token) = (&envelope.datacenter, envelope.token.secret());
                let body = rpc::encode_keyring(&call.request, dc, token);
                (envelope.clone(), (rpc::KEYRING_OPERATION, body))
            }
        };
        assert!(
            capture.method.starts_with("Catalog.ListDatacenters")
                || capture.method == "Coordinate.ListDatacenters"
                || !envelope.datacenter.is_empty(),
            "{name}"
        );
        // Of methods that answer the same, callers use one.
        let alias = [
            "Catalog.NodeServices",
            "Catalog.ServiceList",
            "Internal.GatewayServiceDump",
        ]
        .contains(&&*capture.method);
        assert!(alias || method == capture.method, "{name} became {method}");
        if capture.name == "Txn.Apply#1" {
            // A check without a status is a critical one; here it is only read.
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let theirs = text(&capture.request).replace("Status\u{fffd}", "Status\u{fffd}critical");
            assert_eq!(text(&again), theirs, "{name}");
        } else if capture.method.starts_with("PreparedQuery.") && capture.whole {
            // Here the address of the client is sent.
            same(name, &again, &capture.request);
            whole += 1;
        } else if capture.whole {
            same(
                name,
                &without_origin(&again),
                &without_origin(&capture.request),
            );
            whole += 1;
        }
    }
    assert!(methods.len() >= 44, "{}: {methods:?}", methods.len());
    assert!(whole >= 52, "{whole}");
}

fn execute(
    request: &tribune_types::prepared::ExecuteQuery,
    options: &tribune_types::query::ReadOptions,
    envelope: &Envelope,
) -> Vec<u8> {
    let token = envelope.token.secret();
    rpc::encode_execute_query(request, options, &envelope.datacenter, token)
}

/// What is linked to gateways is not kept yet.
fn query_of_gateway(capture: &Capture) -> bool {
    capture.method.contains("Gateway")
}

fn status(envelope: &Envelope) -> Vec<u8> {
    rpc::encode_status(&envelope.datacenter, envelope.token.secret())
}

#[test]
fn every_reply_decodes_and_encodes_to_the_same_bytes() {
    let mut count = 0;
    for capture in captures() {
        let Some(reply) = &capture.reply else {
            continue;
        };
        let name = &capture.name;
        let mut again = Vec::new();
        match call(&capture) {
            Call::Answered { .. } => panic!("{name} is answered at once"),
            Call::Ping => again.extend_from_slice(rpc::EMPTY),
            Call::Leader(_) => {
                rpc::encode_text(&rpc::decode_text(reply).unwrap(), &mut again);
            }
            Call::Peers(_) => {
                rpc::encode_texts(&rpc::decode_texts(reply).unwrap(), &mut again);
            }
            Call::RaftStats => {
                let stats = rpc::decode_server_stats(reply).unwrap();
                rpc::encode_server_stats(&stats, &mut again);
            }
            Call::ServerHealth(_) => {
                let health = rpc::decode_server_health_reply(reply).unwrap();
                assert_eq!(&*health.servers[0].serf_status, "alive");
                rpc::encode_server_health_reply(&health, &mut again);
            }
            Call::Query { query, .. } => {
                if capture.method == "Catalog.NodeServices"
                    || capture.method == "Catalog.ServiceList"
                    || query_of_gateway(&capture)
                {
                    continue;
                }
                let (data, meta) =
                    decode_reply(&query, reply).unwrap_or_else(|e| panic!("{name}: {e}"));
                encode_reply(&capture.method, &query, &data, &meta, &mut again).unwrap();
            }
            Call::Write { write, .. } => {
                let data =
                    decode_write_reply(&write, reply).unwrap_or_else(|e| panic!("{name}: {e}"));
                encode_write_reply(ReplyForm::of(&write), &data, &mut again);
                if capture.name == "Session.Renew#2" {
                    // No session, no index.
                    assert_eq!(data, WriteReply::Renewed(Vec::new()));
                    continue;
                }
            }
            Call::ExecuteQuery { .. } | Call::ExecuteQueryRemote { .. } => {
                let executed = rpc::decode_executed_query(reply).unwrap();
                assert_eq!(&*executed.service, "db");
                rpc::encode_executed_query(&executed, &mut again);
            }
            Call::ExplainQuery { .. } => {
                let explained = rpc::decode_explained_query(reply).unwrap();
                assert_eq!(explained.query.service.failover.nearest_n, 1);
                rpc::encode_explained_query(&explained, &mut again);
            }
            Call::EventFire(_) => {
                let write = Write::EventFire(Box::default());
                encode_write_reply(ReplyForm::of(&write), &WriteReply::Done, &mut again);
            }
            Call::Keyring(_) => {
                let responses = rpc::decode_keyring_reply(reply).unwrap();
                assert!(responses.iter().all(|r| r.num_nodes > 0));
                rpc::encode_keyring_reply(&responses, &mut again);
            }
        }
        if capture.method == "Catalog.ListServices" {
            // The union of tags is in any order; ours is sorted.
            let tags = |tree: Tree| format!("{:?}", sorted(sort_names(tree)));
            let (ours, theirs) = (from_slice(&again).unwrap(), from_slice(reply).unwrap());
            assert_eq!(tags(ours), tags(theirs), "{name}");
            continue;
        }
        same(name, &again, reply);
        count += 1;
    }
    assert!(count >= 60, "{count}");
}

#[test]
fn the_two_forms_of_services_on_a_node_carry_the_same() {
    let find = |name: &str| captures().into_iter().find(|c| c.name == name).unwrap();
    let capture = find("Catalog.NodeServices#1");
    let Call::Query { query, .. } = call(&capture) else {
        panic!("no query");
    };
    // The list form of what the map form shows.
    let Tree::Map(mut body) = from_slice(capture.reply.as_ref().unwrap()).unwrap() else {
        panic!("no map");
    };
    for (key, value) in &mut body {
        let Tree::Map(found) = value else { continue };
        assert_eq!(*key, Tree::Raw(b"NodeServices".to_vec()));
        for (_, services) in found {
            if let Tree::Map(pairs) = services
                && pairs.iter().any(|(k, _)| *k == Tree::Raw(b"db1".to_vec()))
            {
                *services = Tree::List(pairs.iter().map(|(_, s)| s.clone()).collect());
            }
        }
    }
    let list = tribune_wire::msgpack::to_vec(&Tree::Map(body)).unwrap();
    let (reply, meta) = decode_reply(&query, &list).unwrap();
    let Reply::NodeServices(Some((node, services))) = &reply else {
        panic!("no services");
    };
    assert_eq!((&*node.name, services.len()), ("ext1", 2));
    let mut again = Vec::new();
    encode_reply("Catalog.NodeServices", &query, &reply, &meta, &mut again).unwrap();
    same("map", &again, capture.reply.as_ref().unwrap());
    let unknown = find("Catalog.NodeServices#2");
    again.clear();
    let none = Reply::NodeServices(None);
    let meta = tribune_types::query::QueryMeta {
        index: tribune_types::id::Index(1),
        known_leader: true,
        ..meta
    };
    encode_reply("Catalog.NodeServices", &query, &none, &meta, &mut again).unwrap();
    assert_eq!(again, unknown.reply.unwrap());
}

#[test]
fn truncated_bodies_are_errors() {
    for capture in captures().iter().filter(|c| !refused(c)) {
        if matches!(call(capture), Call::Ping | Call::RaftStats) {
            continue;
        }
        for len in (0..capture.request.len()).step_by(5) {
            assert!(
                decode_call(&capture.method, &capture.request[..len]).is_err(),
                "{} cut at {len}",
                capture.name
            );
        }
        let (Some(reply), Call::Query { query, .. }) = (&capture.reply, call(capture)) else {
            continue;
        };
        if query_of_gateway(capture) {
            continue;
        }
        for len in (0..reply.len()).step_by(11) {
            assert!(
                decode_reply(&query, &reply[..len]).is_err(),
                "{} cut at {len}",
                capture.name
            );
        }
    }
}
