//! Snapshots cross between the makes: one saved by a real Consul restores into a cluster of Tribune servers, one saved there
//! restores into a real Consul, and what the HTTP API tells is the same, indexes included. Records of areas that Tribune does
//! not serve come back as they were. Runs where `CONSUL_BIN` names a Consul 1.8.7.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use common::datacenter::{client_of, three_servers};
use common::pool::{Kind, Node, STEADY, consul, on_all};

/// The token that may do anything on the real servers.
const TOKEN: &str = "5d4d4e5a-0a6b-4c4a-9df2-1d1ea0b29c3c";
/// The mesh and ACLs on; everybody may do everything but save snapshots.
const ACL: &str = "connect { enabled = true }\nacl { enabled = true default_policy = \"allow\" tokens { master = \
                   \"5d4d4e5a-0a6b-4c4a-9df2-1d1ea0b29c3c\" } }\n";

/// What both makes serve, by path. Members of the pool come and go with the cluster, so nodes are those that no agent runs on.
const SERVED: &[&str] = &[
    "/v1/kv/?recurse",
    "/v1/kv/app/?recurse",
    "/v1/kv/app/held",
    "/v1/kv/app/?keys&separator=/",
    "/v1/kv/gone/?recurse",
    "/v1/catalog/nodes?node-meta=kind:external",
    "/v1/catalog/node/ext1",
    "/v1/catalog/node/ext2",
    "/v1/catalog/node-services/ext1",
    "/v1/catalog/service/web",
    "/v1/catalog/service/db",
    "/v1/catalog/connect/web",
    "/v1/health/service/web",
    "/v1/health/service/web?passing",
    "/v1/health/service/db",
    "/v1/health/node/ext1",
    "/v1/health/node/ext2",
    "/v1/health/checks/web",
    "/v1/health/state/critical?node-meta=kind:external",
    "/v1/session/list",
    "/v1/session/node/ext1",
    "/v1/coordinate/node/ext1",
    "/v1/operator/autopilot/configuration",
];

/// Paths whose `X-Consul-Index` is that of the data, not of tables that a cluster's own nodes are in, too.
const INDEXED: &[&str] = &[
    "/v1/kv/app/?recurse",
    "/v1/kv/app/held",
    "/v1/kv/gone/?recurse",
    "/v1/health/service/web",
    "/v1/health/service/db",
    "/v1/catalog/service/web",
];

/// What real servers alone serve so far.
const KEPT: &[&str] = &[
    "/v1/query",
    "/v1/connect/intentions",
    "/v1/config/service-defaults",
    "/v1/config/service-router",
    "/v1/config/proxy-defaults",
    "/v1/acl/policies",
    "/v1/acl/tokens",
    "/v1/acl/roles",
    "/v1/acl/binding-rules",
    "/v1/connect/ca/roots",
];

fn path(path: &str) -> String {
    let mark = if path.contains('?') { '&' } else { '?' };
    format!("{path}{mark}token={TOKEN}")
}

fn put(node: &Node, to: &str, body: &Value) -> Value {
    put_raw(node, to, body.to_string().as_bytes())
}

fn put_raw(node: &Node, to: &str, body: &[u8]) -> Value {
    let answer = node.request("PUT", &path(to), body);
    assert_eq!(answer.status, 200, "{to}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

/// Nodes that no agent runs on, with services, checks, sessions and coordinates; keys of every kind; settings.
fn fill(node: &Node) {
    for (name, id) in [
        ("ext1", "11111111-1111-4111-8111-111111111111"),
        ("ext2", "22222222-2222-4222-8222-222222222222"),
    ] {
        let register = json!({
            "Node": name, "ID": id, "Address": "192.0.2.7", "TaggedAddresses": {"lan": "192.0.2.7", "wan": "198.51.100.7"},
            "NodeMeta": {"kind": "external", "zone": name},
            "Service": {
                "ID": "web-1", "Service": "web", "Port": 8080, "Address": "192.0.2.8", "Tags": ["a", "b"], "Meta": {"v": "1"},
                "Weights": {"Passing": 10, "Warning": 2}, "EnableTagOverride": true,
                "TaggedAddresses": {"lan": {"Address": "192.0.2.8", "Port": 8080}, "wan": {"Address": "198.51.100.8", "Port": 80}}
            },
            "Checks": [
                {"Node": name, "CheckID": "ping", "Name": "ping", "Status": "passing", "Output": "pong\n", "Notes": "n"},
                {"Node": name, "CheckID": "web-http", "Name": "http", "Status": if name == "ext1" { "passing" } else { "critical" },
                 "ServiceID": "web-1", "Definition": {"HTTP": "http://192.0.2.8/", "Interval": "10s", "Timeout": "2s"}}
            ]
        });
        put(node, "/v1/catalog/register", &register);
    }
    let db = json!({"Node": "ext2", "SkipNodeUpdate": true, "Service": {"ID": "db", "Service": "db", "Port": 5432}});
    put(node, "/v1/catalog/register", &db);
    let proxy = json!({"Node": "ext1", "SkipNodeUpdate": true, "Service": {
        "Kind": "connect-proxy", "ID": "web-proxy", "Service": "web-proxy", "Port": 21000,
        "Proxy": {"DestinationServiceName": "web", "DestinationServiceID": "web-1", "LocalServicePort": 8080,
                  "Config": {"a": 1, "b": {"c": [1, "x", 2.5, true]}},
                  "Upstreams": [{"DestinationType": "service", "DestinationName": "db", "LocalBindPort": 9191}]}}});
    put(node, "/v1/catalog/register", &proxy);
    put(
        node,
        "/v1/catalog/register",
        &json!({"Node": "ext1", "SkipNodeUpdate": true, "Service": {"Service": "short"}}),
    );
    put(
        node,
        "/v1/catalog/deregister",
        &json!({"Node": "ext1", "ServiceID": "short"}),
    );

    let session = put(
        node,
        "/v1/session/create",
        &json!({
        "Node": "ext1", "Name": "s", "NodeChecks": ["ping"], "Behavior": "delete", "LockDelay": "7s", "TTL": "3600s"}),
    );
    let session = session["ID"].as_str().expect("an identity").to_owned();
    put(
        node,
        "/v1/session/create",
        &json!({"Node": "ext2", "NodeChecks": ["ping"], "LockDelay": "0s"}),
    );
    let every_byte: Vec<u8> = (0..=255).collect();
    for (key, body) in [
        ("app/text?flags=42", b"hello".as_slice()),
        ("app/empty", b""),
        ("app/bytes?flags=18446744073709551615", &every_byte),
        ("app/deep/er/key", &[b'x'; 100_000]),
        ("app/%C3%BCmlaut%20%2F", b"name"),
        ("gone/one", b"1"),
        ("gone/two", b"2"),
        ("other", b"null"),
    ] {
        put_raw(node, &format!("/v1/kv/{key}"), body);
    }
    // Twice, so that the numbers of creation, change and lock differ.
    for verb in ["acquire", "release", "acquire"] {
        put_raw(node, &format!("/v1/kv/app/held?{verb}={session}"), b"mine");
    }
    let gone = node.request("DELETE", &path("/v1/kv/gone/?recurse"), b"");
    assert_eq!(gone.status, 200);
    put(
        node,
        "/v1/operator/autopilot/configuration",
        &json!({
        "CleanupDeadServers": true, "LastContactThreshold": "321ms", "MaxTrailingLogs": 333, "ServerStabilizationTime": "9s"}),
    );
    let vector: Vec<f64> = (0..8).map(|n| f64::from(n) * 0.001).collect();
    put(
        node,
        "/v1/coordinate/update",
        &json!({
        "Node": "ext1", "Coord": {"Vec": vector, "Error": 0.5, "Adjustment": -0.001, "Height": 0.0002}}),
    );
    on_all(&[node], "the coordinate", |node| {
        { node.try_json(&path("/v1/coordinate/node/ext1")) }.is_some_and(|found| found.is_array())
    });
}

/// Records that real servers alone serve so far.
fn fill_what_is_only_kept(node: &Node) {
    let query = json!({"Name": "near", "Service": {"Service": "web", "Near": "_agent", "Failover": {"Datacenters": ["dc2"]}},
                       "DNS": {"TTL": "10s"}});
    let made = node.request("POST", &path("/v1/query"), query.to_string().as_bytes());
    assert_eq!(made.status, 200, "{}", made.text());
    let template = json!({"Name": "geo", "Template": {"Type": "name_prefix_match", "Regexp": "^geo-(.*)$"},
                          "Service": {"Service": "${match(1)}"}});
    let made = node.request("POST", &path("/v1/query"), template.to_string().as_bytes());
    assert_eq!(made.status, 200, "{}", made.text());
    let intention =
        json!({"SourceName": "web", "DestinationName": "db", "Action": "deny", "Meta": {"a": "b"}});
    let made = node.request(
        "POST",
        &path("/v1/connect/intentions"),
        intention.to_string().as_bytes(),
    );
    assert_eq!(made.status, 200, "{}", made.text());
    for entry in [
        json!({"Kind": "proxy-defaults", "Name": "global", "Config": {"protocol": "http", "n": 1}}),
        json!({"Kind": "service-defaults", "Name": "web", "Protocol": "http"}),
        json!({"Kind": "service-router", "Name": "web", "Routes": [
            {"Match": {"HTTP": {"PathPrefix": "/admin"}}, "Destination": {"Service": "db"}}]}),
    ] {
        put(node, "/v1/config", &entry);
    }
    let policy = put(
        node,
        "/v1/acl/policy",
        &json!({"Name": "readers", "Rules": "key_prefix \"\" { policy = \"read\" }"}),
    );
    let role = put(
        node,
        "/v1/acl/role",
        &json!({"Name": "app", "Policies": [{"ID": policy["ID"]}],
                                               "ServiceIdentities": [{"ServiceName": "web"}]}),
    );
    put(
        node,
        "/v1/acl/token",
        &json!({"Description": "of the app", "Roles": [{"ID": role["ID"]}], "Local": true}),
    );
}

/// What a path tells, without what differs on every request.
fn told(node: &Node, at: &str) -> Value {
    let answer = node.request("GET", &path(at), b"");
    assert!(
        matches!(answer.status, 200 | 404),
        "{} {at}: {}",
        node.name,
        answer.text()
    );
    let body = serde_json::from_slice(&answer.body).unwrap_or(Value::String(answer.text()));
    let index = if INDEXED.contains(&at) {
        answer.index()
    } else {
        0
    };
    json!({"status": answer.status, "body": body, "index": index})
}

fn all_told(node: &Node, paths: &[&'static str]) -> BTreeMap<&'static str, Value> {
    paths.iter().map(|at| (*at, told(node, at))).collect()
}

fn equal(want: &BTreeMap<&str, Value>, found: &BTreeMap<&str, Value>, who: &str) {
    for (at, want) in want {
        let found = &found[at];
        assert!(
            want == found,
            "{who}: {at}\nwas    {want:#}\nis now {found:#}"
        );
    }
}

fn save(node: &Node) -> Vec<u8> {
    let answer = node.request("GET", &path("/v1/snapshot"), b"");
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.index() > 1);
    answer.body
}

fn restore(node: &Node, archive: &[u8]) {
    let answer = node.request("PUT", &path("/v1/snapshot"), archive);
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// The highest number in the answers: the restored cluster goes on above it.
fn highest_index(found: &BTreeMap<&str, Value>) -> u64 {
    fn highest(value: &Value) -> u64 {
        match value {
            Value::Array(list) => list.iter().map(highest).max().unwrap_or(0),
            Value::Object(map) => {
                let own = map.get("ModifyIndex").and_then(Value::as_u64).unwrap_or(0);
                map.values().map(highest).max().unwrap_or(0).max(own)
            }
            _ => 0,
        }
    }
    found.values().map(highest).max().unwrap_or(0)
}

#[test]
fn a_snapshot_of_consul_lives_on_in_tribune_and_comes_back() {
    let Some(consul) = consul() else { return };
    let (theirs, ours) = std::thread::scope(|scope| {
        let ours = scope.spawn(|| three_servers(&Kind::Tribune, STEADY));
        let theirs = Node::server(&consul, "theirs", &format!("{STEADY}{ACL}"));
        fill(&theirs);
        fill_what_is_only_kept(&theirs);
        (theirs, ours.join().expect("no panic"))
    });
    let client = client_of(&Kind::Tribune, "client", &ours, STEADY);
    // What the cluster had is gone afterwards.
    put_raw(&client, "/v1/kv/app/before", b"x");
    let want = all_told(&theirs, SERVED);
    let kept = all_told(&theirs, KEPT);
    let archive = save(&theirs);
    restore(&client, &archive);
    let mut all: Vec<&Node> = ours.iter().collect();
    all.push(&client);
    for node in &all {
        equal(&want, &all_told(node, SERVED), &node.name);
    }
    // It goes on above, also through a restart of all.
    put_raw(&client, "/v1/kv/later", b"x");
    let later = told(&client, "/v1/kv/later")["body"][0]["ModifyIndex"].as_u64();
    assert!(later > Some(highest_index(&want)), "{later:?}");
    let gone = client.request("DELETE", "/v1/kv/later", b"");
    assert_eq!(gone.status, 200);
    let mut ours = ours;
    ours.iter_mut().for_each(Node::kill);
    // Through the client they find one another, and it need not wait until gossip tries dead servers again.
    let join = format!("-retry-join={}", client.ip);
    for server in &mut ours {
        server.args(&[&join]);
        server.spawn();
    }
    let mut all: Vec<&Node> = ours.iter().collect();
    all.push(&client);
    // The cluster's own nodes come back by themselves; those of the other cluster go once the pool is settled.
    on_all(&all, "the nodes of the cluster", |node| {
        ["s1", "s2", "s3", "client"]
            .iter()
            .all(|name| node.health(name).as_deref() == Some("passing"))
    });
    for node in &all {
        equal(&want, &all_told(node, SERVED), &node.name);
    }

    // And back, with everything that nobody served meanwhile.
    let archive = save(&client);
    let back = Node::server(&consul, "back", &format!("{STEADY}{ACL}"));
    restore(&back, &archive);
    equal(&want, &all_told(&back, SERVED), "back");
    equal(&kept, &all_told(&back, KEPT), "back");
}

#[test]
fn a_snapshot_of_tribune_restores_into_consul() {
    let Some(consul) = consul() else { return };
    let (ours, theirs) = std::thread::scope(|scope| {
        let theirs = scope.spawn(|| Node::server(&consul, "theirs", STEADY));
        let ours = three_servers(&Kind::Tribune, STEADY);
        // Through each of them: two pass it on.
        fill(&ours[2]);
        (ours, theirs.join().expect("no panic"))
    });
    let mut want = all_told(&ours[0], SERVED);
    for server in &ours[1..] {
        on_all(&[server], "all that was written", |server| {
            told(server, "/v1/kv/?recurse&stale")["body"] == want["/v1/kv/?recurse"]["body"]
        });
        equal(&want, &all_told(server, SERVED), &server.name);
    }
    for (n, server) in ours.iter().enumerate() {
        let archive = save(server);
        put_raw(&theirs, "/v1/kv/app/before", b"x");
        restore(&theirs, &archive);
        equal(
            &want,
            &all_told(&theirs, SERVED),
            &format!("from server {n}"),
        );
        // The next has something new.
        put_raw(server, "/v1/kv/app/more", n.to_string().as_bytes());
        want = all_told(server, SERVED);
    }
}

#[test]
fn what_is_no_snapshot_is_refused_by_every_agent_and_changes_nothing() {
    let ours = three_servers(&Kind::Tribune, STEADY);
    let client = client_of(&Kind::Tribune, "client", &ours, STEADY);
    put_raw(&client, "/v1/kv/a", b"1");
    let good = save(&client);
    let mut broken = good.clone();
    let middle = broken.len() / 2;
    broken[middle] ^= 0x55;
    let mut all: Vec<&Node> = ours.iter().collect();
    all.push(&client);
    for node in all {
        for (what, body) in [
            ("nothing", &b""[..]),
            ("noise", b"noise"),
            ("a part", &good[..good.len() / 2]),
            ("a broken one", &broken),
        ] {
            let answer = node.request("PUT", "/v1/snapshot", body);
            assert_eq!(
                answer.status,
                500,
                "{} took {what}: {}",
                node.name,
                answer.text()
            );
        }
        let stale = node.request("PUT", "/v1/snapshot?stale", &good);
        assert_eq!(
            (
                stale.status,
                stale.text().contains("stale not allowed for restore")
            ),
            (500, true),
            "{}",
            stale.text()
        );
        assert_eq!(node.request("GET", "/v1/kv/a?raw", b"").text(), "1");
        let answer = node.request("GET", "/v1/snapshot?stale", b"");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
