//! Replies of a server: the first byte chooses what was asked, the rest is the body. What is understood is encoded as a
//! server does it, and has to mean the same.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::id::Uuid;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Consistency, ListOptions, Query, ServiceQuery};
use tribune_types::text::{Text, TextMap, text};
use tribune_types::write::Write;
use tribune_wire::rpc::{self, ReplyForm, RequestHeader};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let Some((first, body)) = bytes.split_first() else {
        return;
    };
    let queries = queries();
    let at = usize::from(*first);
    if let Some((method, query)) = queries.get(at) {
        let Ok((reply, meta)) = rpc::decode_reply(query, body) else {
            return;
        };
        let mut again = Vec::new();
        rpc::encode_reply(method, query, &reply, &meta, &mut again).expect("a reply to the query");
        let (reply, meta) = rpc::decode_reply(query, &again).expect("what we encode decodes");
        let mut twice = Vec::new();
        rpc::encode_reply(method, query, &reply, &meta, &mut twice).expect("a reply to the query");
        assert_eq!(again, twice, "{reply:?}");
    } else if let Some(write) = writes().get(at - queries.len()) {
        if let Ok(reply) = rpc::decode_write_reply(write, body) {
            rpc::encode_write_reply(ReplyForm::of(write), &reply, &mut Vec::new());
        }
    } else {
        drop(rpc::decode_keyring_reply(body));
        drop(rpc::decode_server_health_reply(body));
        drop(rpc::decode_server_stats(body));
        drop(rpc::decode_texts(body));
        drop(rpc::unpack_event(body));
    }
}

/// One query of each kind, with the method that asks.
fn queries() -> Vec<(&'static str, Query)> {
    let list = ListOptions::default;
    let named = || ServiceQuery {
        name: text("web"),
        ..ServiceQuery::default()
    };
    let queries = [
        Query::KvGet {
            key: b"k".as_slice().into(),
        },
        Query::KvKeys {
            prefix: b"k".as_slice().into(),
            separator: b"/".as_slice().into(),
        },
        Query::Sessions,
        Query::Nodes(list()),
        Query::Services {
            node_meta: TextMap::new(),
        },
        Query::ServiceNodes(named()),
        Query::NodeServices {
            node: text("n"),
            filter: Text::default(),
        },
        Query::NodeChecks {
            node: text("n"),
            filter: Text::default(),
        },
        Query::ServiceHealth {
            service: named(),
            passing_only: false,
        },
        Query::ServiceHealth {
            service: named(),
            passing_only: true,
        },
        Query::Coordinates {
            node: None,
            segment: None,
        },
        Query::NodeDump {
            node: None,
            filter: Text::default(),
        },
        Query::Datacenters,
        Query::DatacenterMaps,
        Query::RaftConfiguration,
        Query::AutopilotConfig,
    ];
    queries
        .into_iter()
        .map(|query| {
            let asked = rpc::encode_query(&query, &Default::default(), "dc1", "");
            (asked.expect("there is a method").0, query)
        })
        .collect()
}

fn writes() -> Vec<Write> {
    vec![
        Write::Kv(KvOp::Cas, KvEntry::default()),
        Write::SessionCreate(Box::default()),
        Write::SessionRenew(Uuid::default()),
        Write::Txn(Vec::new()),
        Write::TxnRead(Vec::new(), Consistency::Default),
        Write::Coordinate(CoordinateEntry {
            node: text("n"),
            segment: Text::default(),
            coord: Coordinate::default(),
        }),
    ]
}

/// Captured replies, each behind the number of the query of its method.
fn seeds() -> Vec<Vec<u8>> {
    let queries = queries();
    let mut seeds = Vec::new();
    for (header, body) in tribune_fuzz::rpc_messages() {
        let Ok(header) = RequestHeader::decode(&header) else {
            continue;
        };
        let asked = queries
            .iter()
            .position(|(method, _)| **method == *header.method);
        if body.len() < 4096 {
            let number = asked.unwrap_or(usize::from(u8::MAX)) as u8;
            seeds.push([&[number][..], &body].concat());
        }
    }
    seeds
}
