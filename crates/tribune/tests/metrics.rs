//! What agents count and time: the names that dashboards know, with values that fit what was done; and beside a real Consul
//! (where `CONSUL_BIN` names a Consul 1.8.7), that nothing is missing which it shows after the same requests.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use common::datacenter::{client_of, leader, three_servers};
use common::dns;
use common::pool::{Kind, LONG, Node, STEADY, all_alive, consul};
use serde_json::{Value, json};

/// Everything since the start, without host names.
const TELEMETRY: &str =
    "telemetry { prometheus_retention_time = \"10m\" disable_hostname = true }\n";

/// Parts of names of a real Consul that have no counterpart here, and why.
const ABSENT: &[(&str, &str)] = &[
    ("consul_runtime_", "the garbage collector and heap of Go"),
    ("go_", "the same, by Prometheus' library"),
    ("process_", "the same"),
    ("promhttp_", "the same"),
    ("consul_acl_", "access rules are not built yet"),
    ("consul_intention_", "the mesh is not built yet"),
    ("consul_fsm_ca", "the mesh is not built yet"),
    ("consul_fsm_intention", "the mesh is not built yet"),
    ("consul_fsm_config_entry", "the mesh is not built yet"),
    ("consul_fsm_system_metadata", "of later versions' upgrades"),
    ("consul_leader_replication", "of what is not built yet"),
    ("consul_raft_boltdb", "another log"),
    (
        "consul_raft_transition_leader_lease_timeout",
        "a leader without followers is not a step of its own",
    ),
    ("consul_mesh_", "the mesh is not built yet"),
    (
        "consul_fsm_federation_state",
        "gateways of the mesh are not built yet",
    ),
    (
        "consul_raft_fsm_enqueue",
        "nothing waits between the log and the state",
    ),
    (
        "consul_raft_rpc_appendEntries_processLogs",
        "entries are applied behind the answer",
    ),
    (
        "consul_raft_candidate_electSelf",
        "a server's own vote is not a message",
    ),
    (
        "consul_health_service_query_tags{service=\"db\",tag=\"\"}",
        "a DNS name without a tag asks for no tag",
    ),
];

/// Parts of names that agents show once something went wrong, or another leader was elected, as happens to a real Consul by
/// itself on a busy machine. Tribune shows them when the same happens to it.
const TROUBLE: &[&str] = &[
    "consul_client_rpc_error",
    "consul_client_rpc_failed",
    "consul_memberlist_degraded",
    "consul_memberlist_msg_dead",
    "consul_memberlist_msg_suspect",
    "consul_raft_rpc_installSnapshot",
    "consul_raft_rpc_requestVote",
    "consul_raft_state_candidate",
    "consul_raft_transition_heartbeat_timeout",
    "consul_rpc_request_error",
    "consul_serf_member_failed",
    "consul_serf_member_flap",
];

/// A sample as Prometheus' text has it, without what belongs to its kind: name and labels, and the value (of a timer: how
/// often).
type Metrics = BTreeMap<String, f64>;

fn metrics(node: &Node) -> Metrics {
    let text = node
        .request("GET", "/v1/agent/metrics?format=prometheus", &[])
        .text();
    let mut all = Metrics::new();
    let mut summaries = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            if let Some((name, "summary")) = rest.split_once(' ') {
                summaries.insert(name.to_owned());
            }
            continue;
        }
        let Some((name, value)) = line.rsplit_once(' ').filter(|_| !line.starts_with('#')) else {
            continue;
        };
        let (base, labels) = name.split_once('{').unwrap_or((name, ""));
        let value = value.parse().unwrap_or(f64::NAN);
        let of_timer = |suffix| {
            let base = base.strip_suffix(suffix)?;
            summaries.contains(base).then_some(base)
        };
        let base = match (of_timer("_count"), of_timer("_sum")) {
            (Some(base), _) => base,
            (_, Some(_)) => continue,
            _ if summaries.contains(base) => continue,
            _ => base,
        };
        let mut labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
        labels.sort_unstable();
        let key = match labels[..] {
            [""] => base.to_owned(),
            _ => format!("{base}{{{}}}", labels.join(",")),
        };
        all.insert(key, value);
    }
    all
}

/// Names that do not depend on who leads and what IDs servers drew.
fn names(all: &Metrics) -> BTreeSet<String> {
    let plain = |name: &String| -> String {
        // An ID and what joins it.
        let id = name.len().saturating_sub(37);
        if name.starts_with("consul_raft_replication_") {
            return name[..id].to_owned();
        }
        let of_any = |name: String, server: &str| name.replace(&format!("\"{server}\""), "\"s\"");
        ["s1", "s2", "s3"].into_iter().fold(name.clone(), of_any)
    };
    all.keys().map(plain).collect()
}

/// What of `one` has no like in `other`, but for what is [`ABSENT`] or comes with [`TROUBLE`].
fn missing(one: &Metrics, other: &Metrics) -> Vec<String> {
    let absent = || ABSENT.iter().map(|(part, _)| part);
    let is_absent = |name: &String| absent().chain(TROUBLE).any(|part| name.contains(part));
    let there = names(other);
    let lacking = |name: &String| !there.contains(name) && !is_absent(name);
    names(one).into_iter().filter(lacking).collect()
}

struct Pair {
    server: Node,
    client: Node,
}

impl Pair {
    fn start(kind: &Kind) -> Pair {
        let hcl = format!("{STEADY}{TELEMETRY}");
        let server = Node::server(kind, "s1", &hcl);
        let client = Node::client(kind, "c1", &server, &hcl);
        all_alive(&[&server, &client]);
        Pair { server, client }
    }
}

fn ok(node: &Node, method: &str, path: &str, body: &str) -> Value {
    let answer = node.request_of(&node.kind, method, path, body.as_bytes());
    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
    serde_json::from_slice(&answer.body).unwrap_or_default()
}

fn get(node: &Node, path: &str) -> u64 {
    node.request("GET", path, &[]).index()
}

/// A bit of everything, through one agent.
fn work(node: &Node) {
    let key = format!("/v1/kv/{}/k", node.name);
    ok(node, "PUT", &key, "1");
    let session = ok(node, "PUT", "/v1/session/create", "{\"TTL\":\"30s\"}");
    let session = session["ID"].as_str().expect("an ID");
    for change in ["acquire", "release"] {
        ok(node, "PUT", &format!("{key}?{change}={session}"), "2");
    }
    ok(node, "PUT", &format!("/v1/session/renew/{session}"), "");
    for read in ["info/", "node/"] {
        get(node, &format!("/v1/session/{read}{session}"));
    }
    get(node, "/v1/session/list");
    ok(node, "PUT", &format!("/v1/session/destroy/{session}"), "");
    for read in ["", "?recurse", "?keys", "?consistent", "?stale"] {
        get(node, &format!("{key}{read}"));
    }
    let index = get(node, &key);
    thread::scope(|scope| {
        let waiter = scope.spawn(|| get(node, &format!("{key}?index={index}&wait=10s")));
        thread::sleep(Duration::from_millis(300));
        ok(node, "PUT", &key, "3");
        assert!(waiter.join().expect("no panic") > index);
    });
    ok(node, "PUT", &format!("{key}?cas=1"), "4");
    let op = |verb: &str| json!({"KV": {"Verb": verb, "Key": "t", "Value": "eA=="}});
    ok(node, "PUT", "/v1/txn", &json!([op("set")]).to_string());
    ok(
        node,
        "PUT",
        "/v1/txn",
        &json!([{"KV": {"Verb": "get", "Key": "t"}}]).to_string(),
    );
    for delete in [&format!("{key}?cas=1"), &key, "/v1/kv/x?recurse"] {
        ok(node, "DELETE", delete, "");
    }
    let register = json!({
        "Node": "n1", "Address": "10.0.0.1",
        "Service": {"Service": "db", "Tags": ["a"], "Port": 5432},
    });
    ok(node, "PUT", "/v1/catalog/register", &register.to_string());
    for read in [
        "catalog/datacenters",
        "catalog/nodes",
        "catalog/services",
        "catalog/service/db",
        "catalog/service/db?tag=a",
        "catalog/service/none",
        "catalog/connect/db",
        "catalog/node/n1",
        "health/node/n1",
        "health/checks/db",
        "health/state/any",
        "health/service/db?passing",
        "health/service/db?tag=a",
        "health/service/none",
        "health/connect/db",
        "coordinate/nodes",
        "coordinate/datacenters",
        "catalog/service/db?cached",
        "health/service/db?cached",
        "agent/self",
        "agent/services",
        "operator/raft/configuration",
        "status/leader",
    ] {
        get(node, &format!("/v1/{read}"));
    }
    ok(
        node,
        "PUT",
        "/v1/agent/service/register",
        "{\"Name\":\"web\",\"Check\":{\"TTL\":\"1m\"}}",
    );
    ok(node, "PUT", "/v1/agent/check/pass/service:web", "");
    let query = json!({"Name": "q", "Service": {"Service": "db"}});
    let id = ok(node, "POST", "/v1/query", &query.to_string());
    let id = id["ID"].as_str().expect("an ID");
    ok(node, "PUT", &format!("/v1/query/{id}"), &query.to_string());
    for read in ["", "/q/execute", "/q/explain", &format!("/{id}")] {
        get(node, &format!("/v1/query{read}"));
    }
    for name in [
        "db.service.consul.",
        "n1.node.consul.",
        "q.query.consul.",
        "1.0.0.10.in-addr.arpa.",
    ] {
        dns::ask(node.dns(), name, dns::A);
    }
    ok(node, "DELETE", &format!("/v1/query/{id}"), "");
    ok(node, "PUT", "/v1/event/fire/deploy", "x");
    get(node, "/v1/event/list");
    ok(node, "PUT", "/v1/agent/service/deregister/web", "");
    ok(node, "PUT", "/v1/catalog/deregister", "{\"Node\":\"n1\"}");
}

#[test]
fn what_was_done_is_counted_where_it_was_done() {
    let pair = Pair::start(&Kind::Tribune);
    let (server, client) = (&pair.server, &pair.client);
    let before = [metrics(server), metrics(client)];
    work(client);
    let after = [metrics(server), metrics(client)];
    let more = |at: usize, name: &str| {
        let of = |all: &Metrics| all.get(name).copied().unwrap_or_default();
        of(&after[at]) - of(&before[at])
    };
    // (metric, on the server, on the client)
    for (name, here, there) in [
        ("consul_kvs_apply", 8.0, 0.0),
        ("consul_fsm_kvs{op=\"set\"}", 2.0, 0.0),
        ("consul_fsm_kvs{op=\"lock\"}", 1.0, 0.0),
        ("consul_fsm_kvs{op=\"delete-tree\"}", 1.0, 0.0),
        ("consul_txn_apply", 1.0, 0.0),
        ("consul_txn_read", 1.0, 0.0),
        ("consul_session_apply", 2.0, 0.0),
        ("consul_session_renew", 1.0, 0.0),
        ("consul_prepared_query_apply", 3.0, 0.0),
        ("consul_prepared_query_execute", 2.0, 0.0),
        ("consul_prepared_query_explain", 1.0, 0.0),
        ("consul_fsm_prepared_query{op=\"update\"}", 1.0, 0.0),
        (
            "consul_catalog_service_not_found{service=\"none\"}",
            1.0,
            0.0,
        ),
        (
            "consul_catalog_service_query_tags{service=\"db\",tag=\"a\"}",
            1.0,
            0.0,
        ),
        (
            "consul_health_service_not_found{service=\"none\"}",
            1.0,
            0.0,
        ),
        ("consul_health_connect_query{service=\"db\"}", 1.0, 0.0),
        ("consul_client_api_catalog_nodes{node=\"c1\"}", 0.0, 1.0),
        (
            "consul_client_api_success_catalog_nodes{node=\"c1\"}",
            0.0,
            1.0,
        ),
        (
            "consul_client_rpc_error_catalog_nodes{node=\"c1\"}",
            0.0,
            0.0,
        ),
        ("consul_http_PUT_v1_txn", 0.0, 2.0),
    ] {
        assert_eq!((more(0, name), more(1, name)), (here, there), "{name}");
    }
    for name in [
        "consul_rpc_query",
        "consul_rpc_request",
        "consul_raft_apply",
    ] {
        assert!(more(0, name) > 5.0, "{name}: {}", more(0, name));
    }
    assert!(more(1, "consul_client_rpc") > 20.0);
    // Looked at now and then.
    common::wait_until("the position of the log", || {
        metrics(server).get("consul_raft_applied_index") >= Some(&10.0)
    });
}

#[test]
fn queries_that_wait_are_counted_while_they_do() {
    let pair = Pair::start(&Kind::Tribune);
    let waiting = || {
        let gauge = metrics(&pair.server).remove("consul_rpc_queries_blocking");
        gauge.unwrap_or_default()
    };
    let is = |count: f64| common::wait_until("the gauge", || waiting() == count);
    ok(&pair.server, "PUT", "/v1/kv/k", "1");
    // Agents ask for themselves, too; while nothing changes, the same waits all the time.
    let mut others = waiting();
    common::wait_until("the gauge to stand still", || {
        let before = std::mem::replace(&mut others, waiting());
        (0..50).all(|_| {
            thread::sleep(Duration::from_millis(10));
            waiting() == others
        }) && before == others
    });
    let index = get(&pair.server, "/v1/kv/k");
    thread::scope(|scope| {
        for node in [&pair.server, &pair.client] {
            scope.spawn(move || get(node, &format!("/v1/kv/k?index={index}&wait=30s")));
        }
        is(others + 2.0);
        ok(&pair.server, "PUT", "/v1/kv/k", "2");
    });
    is(others);
}

#[test]
fn a_reload_loses_no_metric() {
    let pair = Pair::start(&Kind::Tribune);
    let server = &pair.server;
    let name = "consul_http_PUT_v1_kv__";
    for round in 1..=2 {
        ok(server, "PUT", "/v1/kv/k", "1");
        assert_eq!(metrics(server).get(name), Some(&f64::from(round)));
        ok(server, "PUT", "/v1/agent/reload", "");
    }
}

/// A leader, a follower and a client that all had work to do.
struct Roles {
    servers: Vec<Node>,
    leads: usize,
    client: Node,
}

impl Roles {
    fn at_work(kind: &Kind) -> Roles {
        let hcl = format!("{STEADY}{TELEMETRY}performance {{ raft_multiplier = 1 }}\n");
        let servers = three_servers(kind, &hcl);
        let client = client_of(kind, "c1", &servers, &hcl);
        let leads = leader(&client, &servers);
        let roles = Roles {
            servers,
            leads,
            client,
        };
        roles.nodes().into_iter().for_each(work);
        roles
    }

    fn nodes(&self) -> [&Node; 3] {
        let follows = (self.leads + 1) % 3;
        [
            &self.servers[self.leads],
            &self.servers[follows],
            &self.client,
        ]
    }
}

#[test]
fn nothing_is_missing_that_a_real_consul_shows() {
    let Some(real) = consul() else { return };
    let real = {
        let roles = Roles::at_work(&real);
        // What is sampled now and then.
        thread::sleep(Duration::from_secs(12));
        roles.nodes().map(metrics)
    };
    let roles = Roles::at_work(&Kind::Tribune);
    let lacks = || -> Vec<String> {
        let names = ["leader", "follower", "client"];
        let lacks = names.iter().zip(roles.nodes().map(metrics)).zip(&real);
        lacks
            .flat_map(|((role, ours), real)| {
                let lack = missing(real, &ours).into_iter();
                lack.map(move |name| format!("{role}: {name}"))
            })
            .collect()
    };
    // Some come with the next sample.
    let until = Instant::now() + LONG / 2;
    while !lacks().is_empty() {
        assert!(Instant::now() < until, "{:#?}", lacks());
        thread::sleep(Duration::from_millis(500));
    }
    let ours = roles.nodes().map(metrics);
    for (real, ours) in real.iter().zip(&ours) {
        println!("only of Tribune: {:?}", missing(ours, real));
    }
}

#[test]
fn what_an_agent_asks_of_its_own_server_is_limited_like_what_a_client_asks() {
    for kind in [Some(Kind::Tribune), consul()].into_iter().flatten() {
        let limits = "limits { rpc_rate = 20 rpc_max_burst = 40 }\n";
        let server = Node::server(&kind, "s1", &format!("{STEADY}{TELEMETRY}{limits}"));
        // Several at a time, so that a slow machine asks more than is allowed, too.
        let ask = || -> [usize; 2] {
            let mut got = [0; 2];
            let until = Instant::now() + LONG;
            while got[0] < 10 || got[1] < 50 {
                match server.request("GET", "/v1/kv/k", &[]).status {
                    404 => got[0] += 1,
                    429 => got[1] += 1,
                    other => panic!("{kind:?}: {other}"),
                }
                assert!(Instant::now() < until, "{kind:?}: {got:?}");
            }
            got
        };
        let got = thread::scope(|scope| {
            let asking = [(); 4].map(|()| scope.spawn(ask));
            asking.map(|asking| asking.join().expect("no panic"))
        });
        let of = |at: usize| got.iter().map(|got| got[at]).sum::<usize>() as f64;
        let counted = metrics(&server);
        assert!(counted["consul_client_rpc"] >= of(0) + of(1), "{kind:?}");
        assert!(counted["consul_client_rpc_exceeded"] >= of(1), "{kind:?}");
    }
}
