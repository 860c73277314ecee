//! Prepared queries between processes and datacenters: of Tribune alone, and beside a real Consul (where `CONSUL_BIN` names a
//! Consul 1.8.7).

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::time::{Duration, Instant};

use common::dns::{self, Record};
use common::pool::{Kind, Node, STEADY, STEADY_WAN, consul, on_all};
use serde_json::{Value, json};

fn server(kind: &Kind, name: &str, dc: &str, join_wan: Option<&Node>) -> Node {
    let join = join_wan.map(|node| {
        format!(
            "retry_join_wan = [\"{}\"]\nretry_interval_wan = \"1s\"\n",
            node.ip
        )
    });
    let join = join.unwrap_or_default();
    let hcl = format!("{STEADY}{STEADY_WAN}datacenter = \"{dc}\"\n{join}");
    Node::server(kind, name, &hcl)
}

/// Waits until everybody has a way to every datacenter.
fn meet(nodes: &[&Node], dcs: &[&str]) {
    on_all(nodes, "ways to all datacenters", |node| {
        dcs.iter().all(|dc| {
            let path = format!("/v1/status/leader?dc={dc}");
            { node.try_json(&path) }.is_some_and(|leader| leader.to_string().contains("8300"))
        })
    });
}

/// Stores a query and gives its ID.
fn create(node: &Node, query: &Value) -> String {
    let answer = node.request("POST", "/v1/query", query.to_string().as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()["ID"].as_str().expect("an ID").to_owned()
}

fn register(node: &Node, name: &str, address: &str, status: &str) {
    let body = json!({
        "Node": name, "Address": address,
        "Service": {"Service": "db", "Port": 5432},
        "Check": {"CheckID": "c", "Name": "c", "Status": status, "ServiceID": "db"},
    });
    let answer = node.put("/v1/catalog/register", &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Names of the nodes that a query finds, where, and how many datacenters were tried.
fn executed(node: &Node, query: &str) -> (Vec<String>, String, u64) {
    let found = node.json(&format!("/v1/query/{query}"));
    let nodes = found["Nodes"].as_array().expect("a list").iter();
    let names = nodes.map(|n| n["Node"]["Node"].as_str().expect("a name").to_owned());
    let datacenter = found["Datacenter"].as_str().expect("a name").to_owned();
    let failovers = found["Failovers"].as_u64().expect("a number");
    (names.collect(), datacenter, failovers)
}

fn found(names: &[&str], dc: &str, failovers: u64) -> (Vec<String>, String, u64) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    (names, dc.to_owned(), failovers)
}

/// Three datacenters; the service is in the second and the third. `here` are agents of the first.
fn a_query_looks_elsewhere(here: &[&Node], there: [&Node; 2]) {
    let template = json!({
        "Name": "geo-",
        "Template": {"Type": "name_prefix_match", "Regexp": "(?i)^geo-(.+)$"},
        "Service": {
            "Service": "${match(1)}",
            "Failover": {"NearestN": 0, "Datacenters": ["dc9", "dc3", "dc2"]},
            "OnlyPassing": true,
        },
        "DNS": {"TTL": "7s"},
    });
    let id = create(here[0], &template);
    create(
        here[0],
        &json!({"Name": "near", "Service": {"Service": "db", "Failover": {"NearestN": 2}}}),
    );
    create(
        here[0],
        &json!({"Name": "stays", "Service": {"Service": "db"}}),
    );
    // Unknown ones are no tries.
    for node in here {
        let name = &node.name;
        let from_dc3 = found(&["n3"], "dc3", 1);
        assert_eq!(executed(node, "geo-db/execute"), from_dc3, "{name}");
        assert_eq!(executed(node, "GEO-db/execute?stale"), from_dc3, "{name}");
        assert_eq!(executed(node, "geo-none/execute").2, 2, "{name}");
        let nowhere = found(&[], "dc1", 0);
        assert_eq!(executed(node, "stays/execute"), nowhere, "{name}");
        let (nodes, dc, failovers) = executed(node, "near/execute?limit=1");
        assert_eq!((nodes.len(), dc == "dc1"), (1, false), "{name}");
        assert_eq!(failovers, 1, "{name}");
        // Asked in another datacenter, it is a query of there.
        let (status, text) = ask(node, "/v1/query/stays/execute?dc=dc2");
        assert!(status == 404 && text.contains("Query not found"), "{text}");
        let answer = dns::ask(node.dns(), "geo-db.query.consul", dns::A);
        assert_eq!(answer.records, [Record::A([10, 3, 0, 1].into())], "{name}");
        let answer = dns::ask(node.dns(), "geo-none.query.consul", dns::A);
        assert_eq!(answer.code, dns::NAME_ERROR, "{name}");
        let answer = dns::ask(node.dns(), "stays.query.dc2.consul", dns::A);
        assert_eq!(answer.code, dns::NAME_ERROR, "{name}");
        let explained = node.json("/v1/query/geo-db/explain");
        assert_eq!(explained["Query"]["Service"]["Service"], "db", "{name}");
        let (status, text) = ask(node, &format!("/v1/query/{id}/execute"));
        assert!(
            status == 500 && text.contains("by name, not by ID"),
            "{text}"
        );
    }
    // One that turns unhealthy is passed over, by the rules of the query.
    register(there[1], "n3", "10.3.0.1", "warning");
    assert_eq!(
        executed(here[0], "geo-db/execute"),
        found(&["n2"], "dc2", 2)
    );
    // What is at home comes first.
    register(here[0], "n1", "10.1.0.1", "passing");
    for node in here {
        assert_eq!(executed(node, "geo-db/execute"), found(&["n1"], "dc1", 0));
    }
    register(here[0], "n1", "10.1.0.1", "critical");
    assert_eq!(
        executed(here[0], "geo-db/execute"),
        found(&["n2"], "dc2", 2)
    );
    for query in ["near/execute", "geo-db/execute"] {
        assert_eq!(executed(there[0], "here/execute"), found(&["n2"], "dc2", 0));
        let through = executed(there[0], &format!("{query}?dc=dc1"));
        assert!(through.1 != "dc1" && through.2 > 0, "{through:?}");
    }
}

fn ask(node: &Node, path: &str) -> (u16, String) {
    let answer = node.request("GET", path, &[]);
    (answer.status, answer.text())
}

fn three_datacenters(first: &Kind, second: &Kind, third: &Kind) {
    let a = server(first, "a1", "dc1", None);
    let b = server(second, "b1", "dc2", Some(&a));
    let mut c = server(third, "c1", "dc3", Some(&a));
    let hcl = format!("{STEADY}datacenter = \"dc1\"");
    let client = Node::client(&Kind::Tribune, "client", &a, &hcl);
    meet(&[&a, &b, &c, &client], &["dc1", "dc2", "dc3"]);
    register(&b, "n2", "10.2.0.1", "passing");
    register(&c, "n3", "10.3.0.1", "passing");
    create(&b, &json!({"Name": "here", "Service": {"Service": "db"}}));
    a_query_looks_elsewhere(&[&a, &client], [&b, &c]);
    // A datacenter that dies costs a try and no more.
    register(&c, "n3", "10.3.0.1", "passing");
    assert_eq!(
        executed(&client, "geo-db/execute"),
        found(&["n3"], "dc3", 1)
    );
    c.kill();
    let started = Instant::now();
    assert_eq!(
        executed(&client, "geo-db/execute"),
        found(&["n2"], "dc2", 2)
    );
    let took = started.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    let answer = dns::ask(a.dns(), "geo-db.query.consul", dns::SRV);
    assert_eq!(answer.records, [Record::Srv(5432)]);
}

#[test]
fn a_query_with_nothing_left_looks_in_other_datacenters() {
    three_datacenters(&Kind::Tribune, &Kind::Tribune, &Kind::Tribune);
}

#[test]
fn a_query_looks_in_datacenters_of_consul() {
    let Some(consul) = consul() else { return };
    three_datacenters(&Kind::Tribune, &consul, &consul);
}

#[test]
fn a_query_of_consul_looks_in_datacenters_of_tribune() {
    let Some(consul) = consul() else { return };
    three_datacenters(&consul, &Kind::Tribune, &Kind::Tribune);
}

/// Queries and what they find survive in an archive that the other kind restores.
fn archives_carry_queries(from: &Kind, to: &Kind) {
    let (a, b) = (
        server(from, "a1", "dc1", None),
        server(to, "b1", "dc1", None),
    );
    register(&a, "n1", "10.1.0.1", "passing");
    let session = a.put(
        "/v1/session/create",
        "{\"Node\": \"n1\", \"NodeChecks\": []}",
    );
    let session = session.json()["ID"].as_str().expect("an ID").to_owned();
    let service = json!({
        "Service": "db", "Failover": {"NearestN": 3, "Datacenters": []}, "Tags": [], "NodeMeta": {},
    });
    create(
        &a,
        &json!({"Name": "plain", "Service": service, "DNS": {"TTL": "3s"}}),
    );
    create(&a, &json!({"Session": session, "Service": service}));
    create(
        &a,
        &json!({
            "Name": "geo-", "Template": {"Type": "name_prefix_match"},
            "Service": {"Service": "${name.suffix}"},
        }),
    );
    let archive = a.request("GET", "/v1/snapshot", &[]);
    let restored = b.request("PUT", "/v1/snapshot", &archive.body);
    assert_eq!((restored.status, restored.text().as_str()), (200, ""));
    let (old, new) = (a.json("/v1/query"), b.json("/v1/query"));
    assert_eq!(old, new);
    assert_eq!(new.as_array().map(Vec::len), Some(3));
    for query in ["plain", "geo-db"] {
        let query = format!("{query}/execute");
        assert_eq!(executed(&b, &query), found(&["n1"], "dc1", 0));
    }
    // A name that is taken stays taken, and the bond to the session holds.
    let body = json!({"Name": "PLAIN", "Service": {"Service": "x"}}).to_string();
    let refused = b.request("POST", "/v1/query", body.as_bytes());
    let text = refused.text();
    assert!(text.contains("aliases an existing query name"), "{text}");
    let ended = b.put(&format!("/v1/session/destroy/{session}"), "");
    assert_eq!(ended.status, 200);
    assert_eq!(b.json("/v1/query").as_array().map(Vec::len), Some(2));
}

#[test]
fn archives_carry_queries_between_servers() {
    archives_carry_queries(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn archives_carry_queries_to_consul_and_back() {
    let Some(consul) = consul() else { return };
    archives_carry_queries(&Kind::Tribune, &consul);
    archives_carry_queries(&consul, &Kind::Tribune);
}
