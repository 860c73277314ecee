//! Prepared queries on one server: what may be stored, and what is found in which order.

#![allow(clippy::unwrap_used, reason = "a failed step of a test may end it")]

mod support;

use std::collections::BTreeSet;
use std::time::Duration;

use tribune_rt::Env;
use tribune_server::Server;
use tribune_types::caller::Caller;
use tribune_types::catalog::{Register, Service};
use tribune_types::coordinate::{Coordinate, CoordinateEntry};
use tribune_types::error::RpcError;
use tribune_types::id::{Index, NodeId};
use tribune_types::prepared::{
    ExecuteQuery, ExecuteQueryRemote, PreparedQuery, QueryOp, QueryService, QuerySource,
};
use tribune_types::query::{Consistency, Query, ReadOptions, Reply};
use tribune_types::text::{Text, text};
use tribune_types::write::{Write, WriteReply};

/// Runs a test in virtual time with one server.
fn virtually<F: Future<Output = ()>>(test: impl FnOnce(Env, Server) -> F) {
    support::virtually(async |env| {
        let server = support::start(&env, None).await;
        test(env, server).await;
    });
}

async fn write(server: &Server, write: Write) -> Result<WriteReply, RpcError> {
    server.write(&Caller::internal(), None, write).await
}

fn query(name: &str) -> PreparedQuery {
    PreparedQuery {
        name: text(name),
        service: QueryService {
            service: text("web"),
            ..QueryService::default()
        },
        ..PreparedQuery::default()
    }
}

async fn put(server: &Server, op: QueryOp, query: PreparedQuery) -> Result<Text, String> {
    let written = write(server, Write::PreparedQuery(op, Box::new(query))).await;
    match written.map_err(|err| err.to_string())? {
        WriteReply::PreparedQuery(id) => Ok(id),
        other => panic!("{other:?}"),
    }
}

async fn stored(server: &Server, min_index: Index) -> (Vec<Text>, Index) {
    let options = ReadOptions {
        min_index,
        wait: Some(Duration::from_secs(60)),
        ..ReadOptions::default()
    };
    let caller = Caller::internal();
    let answer = server.read(&caller, Query::PreparedQueries, &options);
    let answer = answer.await.unwrap();
    let Reply::PreparedQueries(queries) = answer.reply() else {
        panic!("{answer:?}");
    };
    let names = queries.iter().map(|query| query.name.clone());
    (names.collect(), answer.meta.index)
}

#[test]
fn a_query_gets_an_id_and_is_changed_and_forgotten_by_it() {
    virtually(|env, server| async move {
        let id = put(&server, QueryOp::Create, query("q")).await.unwrap();
        assert_eq!(id.len(), 36);
        let (names, index) = stored(&server, Index(0)).await;
        assert_eq!(names, [text("q")]);
        // Who waits for the list hears of a change.
        let changed = async {
            env.sleep(Duration::from_secs(1)).await;
            let query = PreparedQuery {
                id: text(&id.to_uppercase()),
                ..query("renamed")
            };
            put(&server, QueryOp::Update, query).await
        };
        let (heard, changed) = tokio::join!(stored(&server, index), changed);
        assert_eq!(changed, Ok(text(&id.to_uppercase())), "as it was written");
        assert_eq!(heard.0, [text("renamed")]);
        assert!(heard.1 > index);
        let gone = PreparedQuery {
            id: id.clone(),
            ..PreparedQuery::default()
        };
        let deleted = put(&server, QueryOp::Delete, gone.clone()).await;
        assert_eq!(deleted, Ok(id.clone()), "what else it says does not count");
        assert_eq!(stored(&server, Index(0)).await.0, [] as [Text; 0]);
        let missing = format!("Cannot modify non-existent prepared query: '{id}'");
        assert_eq!(put(&server, QueryOp::Delete, gone).await, Err(missing));
    });
}

#[test]
fn refusals_come_in_the_order_and_the_words_of_the_original() {
    virtually(|_, server| async move {
        put(&server, QueryOp::Create, query("taken")).await.unwrap();
        let with_id = |id: &str, name: &str| PreparedQuery {
            id: text(id),
            ..query(name)
        };
        let unknown = "11111111-2222-3333-4444-555555555555";
        // (operation, query, text); compared with Consul 1.8.7.
        for (op, query, want) in [
            (
                QueryOp::Create,
                with_id("x", ""),
                "ID must be empty when creating a new prepared query",
            ),
            (
                QueryOp::Create,
                query(""),
                "Invalid prepared query: Must be bound to a session",
            ),
            (
                QueryOp::Create,
                query("TAKEN"),
                "name 'TAKEN' aliases an existing query name",
            ),
            (
                QueryOp::Update,
                with_id("foo", ""),
                "Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be 36 characters",
            ),
            (
                QueryOp::Update,
                with_id("", "q"),
                "Prepared Query lookup failed: failed prepared query lookup: index error: UUID must be 36 characters",
            ),
            (
                QueryOp::Update,
                with_id(unknown, ""),
                "Cannot modify non-existent prepared query: '11111111-2222-3333-4444-555555555555'",
            ),
        ] {
            assert_eq!(put(&server, op, query).await, Err(want.to_owned()));
        }
    });
}

/// Nodes `n0`, `n1`, ... with an instance each, node `nI` at `10.0.0.I` and `10 I` ms from `n0` and the server `s1`.
async fn nodes(env: &Env, server: &Server, count: u8) {
    let at = |name: &str, ms: f64| {
        Write::Coordinate(CoordinateEntry {
            node: text(name),
            segment: Text::default(),
            coord: Coordinate {
                vec: [ms / 1e3].into_iter().chain([0.0; 7]).collect(),
                ..Coordinate::default()
            },
        })
    };
    for i in 0..count {
        let register = Register {
            datacenter: text("dc1"),
            node: text(&format!("n{i}")),
            address: text(&format!("10.0.0.{i}")),
            service: Some(Service {
                id: text("web"),
                name: text("web"),
                ..Service::default()
            }),
            ..Register::default()
        };
        write(server, Write::Register(Box::new(register)))
            .await
            .unwrap();
        write(server, at(&format!("n{i}"), f64::from(i) * 10.0))
            .await
            .unwrap();
    }
    write(server, at("s1", 0.0)).await.unwrap();
    env.sleep(Duration::from_secs(11)).await;
}

async fn names(server: &Server, request: &ExecuteQuery) -> String {
    let options = ReadOptions::default();
    let caller = Caller::internal();
    let executed = server.execute_query(&caller, request, &options);
    let (_, executed) = executed.await.unwrap();
    assert_eq!(&*executed.datacenter, "dc1");
    assert_eq!((executed.meta.index, executed.failovers), (Index(0), 0));
    let names = executed.nodes.iter().map(|i| i.node.name.to_string());
    names.collect::<Vec<_>>().join(" ")
}

fn request(name: &str, near: &str, ip: &str) -> ExecuteQuery {
    ExecuteQuery {
        name: text(name),
        agent: QuerySource {
            datacenter: text("dc1"),
            node: text("s1"),
            ..QuerySource::default()
        },
        source: QuerySource {
            node: text(near),
            ip: text(ip),
            ..QuerySource::default()
        },
        ..ExecuteQuery::default()
    }
}

#[test]
fn distances_are_from_whom_the_client_says_else_the_query() {
    virtually(|env, server| async move {
        nodes(&env, &server, 4).await;
        for (name, near) in [
            ("plain", ""),
            ("agent", "_agent"),
            ("ip", "_ip"),
            ("n3", "n3"),
        ] {
            let mut query = query(name);
            query.service.near = text(near);
            put(&server, QueryOp::Create, query).await.unwrap();
        }
        // (query, near, address of the client, order)
        for (name, near, ip, want) in [
            ("plain", "n2", "", "n2 n1 n3 n0"),
            ("plain", "N2", "", "n2 n1 n3 n0"),
            ("plain", "_agent", "", "n0 n1 n2 n3"),
            ("plain", "_ip", "10.0.0.3", "n3 n2 n1 n0"),
            ("agent", "", "", "n0 n1 n2 n3"),
            ("agent", "n3", "", "n3 n2 n1 n0"),
            ("ip", "", "10.0.0.3", "n3 n2 n1 n0"),
            ("ip", "n0", "10.0.0.3", "n0 n1 n2 n3"),
            ("n3", "", "10.0.0.1", "n3 n2 n1 n0"),
        ] {
            let order = names(&server, &request(name, near, ip)).await;
            // Equal distances keep the order of the shuffle.
            let order = order.replace("n2 n3 n1 n0", "n2 n1 n3 n0");
            assert_eq!(order, want, "{name} near {near:?} of {ip:?}");
        }
        let limited = ExecuteQuery {
            limit: 2,
            ..request("plain", "n3", "")
        };
        assert_eq!(names(&server, &limited).await, "n3 n2");
        let unlimited = ExecuteQuery {
            limit: -1,
            ..limited
        };
        assert_eq!(names(&server, &unlimited).await, "n3 n2 n1 n0");
    });
}

#[test]
fn without_a_distance_clients_spread() {
    virtually(|env, server| async move {
        nodes(&env, &server, 4).await;
        put(&server, QueryOp::Create, query("plain")).await.unwrap();
        let mut elsewhere = request("plain", "n2", "");
        elsewhere.source.datacenter = text("dc2");
        for request in [
            request("plain", "", ""),
            request("plain", "nobody", ""),
            request("plain", "_ip", ""),
            request("plain", "_ip", "10.9.9.9"),
            elsewhere,
        ] {
            let mut orders = BTreeSet::new();
            for _ in 0..200 {
                orders.insert(names(&server, &request).await);
            }
            assert_eq!(orders.len(), 24, "every order comes up: {request:?}");
        }
        let mut firsts = BTreeSet::new();
        for _ in 0..100 {
            let remote = ExecuteQueryRemote {
                query: query("elsewhere"),
                limit: 1,
                connect: false,
            };
            let options = ReadOptions {
                consistency: Consistency::Stale,
                ..ReadOptions::default()
            };
            let caller = Caller::internal();
            let found = server.execute_query_remote(&caller, &remote, &options);
            let found = found.await.unwrap();
            assert_eq!(found.nodes.len(), 1);
            firsts.insert(found.nodes[0].node.name.clone());
        }
        assert_eq!(firsts.len(), 4);
    });
}

#[test]
fn the_named_node_comes_first_among_others_at_the_same_place() {
    virtually(|env, server| async move {
        nodes(&env, &server, 3).await;
        // Twin of the first node, in name order behind it and at the same place.
        let near = request("plain", "s1", "");
        put(&server, QueryOp::Create, query("plain")).await.unwrap();
        let register = Register {
            datacenter: text("dc1"),
            node: text("s1"),
            address: text("127.0.0.1"),
            skip_node_update: true,
            service: Some(Service {
                id: text("web"),
                name: text("web"),
                ..Service::default()
            }),
            ..Register::default()
        };
        write(&server, Write::Register(Box::new(register)))
            .await
            .unwrap();
        for _ in 0..20 {
            assert_eq!(names(&server, &near).await, "s1 n0 n1 n2");
        }
    });
}

#[test]
fn an_unknown_query_is_not_found_and_one_that_waits_is_told_when_it_goes() {
    virtually(|env, server| async move {
        let (caller, options) = (Caller::internal(), ReadOptions::default());
        let nope = request("nope", "", "");
        let executed = server.execute_query(&caller, &nope, &options).await;
        assert!(executed.unwrap_err().is_query_not_found());
        let explained = server.explain_query(&caller, &nope, &options).await;
        assert!(explained.unwrap_err().is_query_not_found());
        let id = put(&server, QueryOp::Create, query("q")).await.unwrap();
        let get = Query::PreparedQuery {
            id: NodeId::parse(&id).unwrap(),
        };
        let known = server.read(&caller, get.clone(), &options).await.unwrap();
        let waiting = ReadOptions {
            min_index: known.meta.index,
            ..ReadOptions::default()
        };
        let forget = async {
            env.sleep(Duration::from_secs(1)).await;
            let query = PreparedQuery {
                id: id.clone(),
                ..PreparedQuery::default()
            };
            put(&server, QueryOp::Delete, query).await
        };
        let (told, _) = tokio::join!(server.read(&caller, get, &waiting), forget);
        assert!(told.unwrap_err().is_query_not_found());
    });
}
