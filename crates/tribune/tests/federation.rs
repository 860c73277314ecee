//! Requests between datacenters: of Tribune alone, and beside a real Consul (where `CONSUL_BIN` names a Consul 1.8.7).

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::dns::{self, Record};
use common::netns::{self, Host, Net, may_make_namespaces};
use common::pool::{FAST_WAN, Kind, LONG, Node, STEADY, STEADY_WAN, consul, on_all};
use common::try_request;

/// The longest that a request to a datacenter may take that has just fallen silent.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The longest that a write may take that waits for nothing but a disk, which others may keep busy.
const WRITE_MAX: Duration = Duration::from_secs(4);

fn server(kind: &Kind, name: &str, dc: &str, join_wan: Option<&Node>, more: &str) -> Node {
    let join = join_wan.map(|node| {
        format!(
            "retry_join_wan = [\"{}\"]\nretry_interval_wan = \"1s\"\n",
            node.ip
        )
    });
    let join = join.unwrap_or_default();
    let hcl = format!("{STEADY}datacenter = \"{dc}\"\n{join}{more}");
    Node::server(kind, name, &hcl)
}

/// Three servers of a datacenter.
fn three(kind: &Kind, prefix: &str, dc: &str, join_wan: Option<&Node>, more: &str) -> Vec<Node> {
    let join = join_wan.map(|node| format!("retry_join_wan = [\"{}\"]\n", node.ip));
    let join = join.unwrap_or_default();
    let hcl = format!(
        "{STEADY}{join}datacenter = \"{dc}\"\nserver = true\nbootstrap_expect = 3\n\
         retry_interval = \"200ms\"\nretry_interval_wan = \"500ms\"\n\
         performance {{ raft_multiplier = 1 }}\n{more}"
    );
    let mut nodes: Vec<Node> = (1..=3)
        .map(|n| Node::prepare(kind, &format!("{prefix}{n}"), &hcl))
        .collect();
    let joins: Vec<String> = { nodes.iter() }
        .map(|node| format!("-retry-join={}", node.ip))
        .collect();
    let joins: Vec<&str> = joins.iter().map(String::as_str).collect();
    for node in &mut nodes {
        node.args(&joins);
        node.spawn();
    }
    let all: Vec<&Node> = nodes.iter().collect();
    on_all(&all, "a leader that all know", |node| {
        let path = format!("/v1/health/node/{prefix}3");
        { node.try_json(&path) }.is_some_and(|checks| checks.to_string().contains("passing"))
    });
    nodes
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

/// What an agent answers: status and text.
fn ask(node: &Node, path: &str) -> (u16, String) {
    let answer = node.request("GET", path, &[]);
    (answer.status, answer.text())
}

fn put(node: &Node, path: &str, body: &str) -> (u16, String) {
    let answer = node.put(path, body);
    (answer.status, answer.text().trim().to_owned())
}

fn ok(text: &str) -> (u16, String) {
    (200, text.to_owned())
}

/// Everything that `here` can ask of the datacenter `dc`, where `there` is a server.
fn everything_crosses(here: &Node, there: &Node, dc: &str) {
    let at = |path: &str| match path.contains('?') {
        true => format!("{path}&dc={dc}"),
        false => format!("{path}?dc={dc}"),
    };
    let tag = format!("{}-{dc}", here.name);

    // Keys: written there, and the index is the one of there.
    let key = format!("/v1/kv/{tag}");
    assert_eq!(put(here, &at(&key), "one"), ok("true"));
    assert_eq!(ask(here, &at(&format!("{key}?raw"))), ok("one"));
    let (far, near) = (
        here.request("GET", &at(&key), &[]),
        there.request("GET", &key, &[]),
    );
    assert_eq!((far.text(), far.index()), (near.text(), near.index()));
    assert_eq!(ask(here, &key).0, 404, "it is not a key of here");
    // A blocking query waits there, and ends with the change.
    let index = far.index();
    let started = Instant::now();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let path = at(&format!("{key}?index={index}&wait=30s"));
            here.request("GET", &path, &[])
        });
        thread::sleep(Duration::from_millis(300));
        assert!(!waiting.is_finished());
        assert_eq!(put(there, &key, "two"), ok("true"));
        let woken = waiting.join().expect("an answer");
        assert!(woken.index() > index && woken.text().contains("dHdv"));
    });
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    let ops = format!("[{{\"KV\":{{\"Verb\":\"get\",\"Key\":\"{tag}\"}}}}]");
    let (status, text) = put(here, &at("/v1/txn"), &ops);
    assert!(status == 200 && text.contains("dHdv"), "{text}");

    // The catalog, health and DNS.
    let service = format!("web-{}", here.name);
    let body = format!(
        "{{\"Datacenter\":\"{dc}\",\"Node\":\"n-{tag}\",\"Address\":\"10.1.2.3\",\
         \"Service\":{{\"Service\":\"{service}\",\"Port\":80}}}}"
    );
    assert_eq!(put(here, "/v1/catalog/register", &body), ok("true"));
    for path in [
        format!("/v1/catalog/service/{service}"),
        format!("/v1/health/service/{service}"),
        "/v1/catalog/nodes".to_owned(),
        format!("/v1/catalog/node/n-{tag}"),
    ] {
        let far = ask(here, &at(&path));
        assert!(far.0 == 200 && far.1.contains("10.1.2.3"), "{path} {far:?}");
        assert_eq!(far, ask(there, &path), "{path}");
    }
    for name in [
        format!("{service}.service.{dc}.consul"),
        format!("n-{tag}.node.{dc}.consul"),
    ] {
        let answer = dns::ask(here.dns(), &name, dns::A);
        assert_eq!(answer.records, [Record::A([10, 1, 2, 3].into())], "{name}");
    }

    // A session of a node there holds a lock there.
    let body = format!("{{\"Node\":\"{}\"}}", there.name);
    let (_, made) = put(here, &at("/v1/session/create"), &body);
    let id = made.split('"').nth(3).unwrap_or_default().to_owned();
    assert_eq!(id.len(), 36, "{made}");
    let lock = at(&format!("/v1/kv/lock-{tag}?acquire={id}"));
    assert_eq!(put(here, &lock, ""), ok("true"));
    assert!(
        ask(there, &format!("/v1/session/info/{id}"))
            .1
            .contains(&id)
    );
    let renewed = put(here, &at(&format!("/v1/session/renew/{id}")), "");
    assert!(renewed.0 == 200 && renewed.1.contains(&id), "{renewed:?}");
    let ended = put(here, &at(&format!("/v1/session/destroy/{id}")), "");
    assert_eq!(ended, ok("true"));
    assert_eq!(ask(there, &format!("/v1/session/info/{id}")), ok("[]"));

    // An event is one of there.
    let event = format!("deploy-{}", here.name);
    let fired = put(here, &at(&format!("/v1/event/fire/{event}")), "x");
    assert_eq!(fired.0, 200, "{fired:?}");
    on_all(&[there], "the event", |node| node.events().contains(&event));
    assert!(!here.events().contains(&event));

    // The servers themselves.
    let leader = format!("\"{}:8300\"", there.ip);
    assert_eq!(ask(here, &at("/v1/status/leader")).1.trim(), leader);
    for path in [
        "/v1/status/peers",
        "/v1/operator/raft/configuration",
        "/v1/operator/autopilot/configuration",
        "/v1/coordinate/nodes",
        "/v1/internal/ui/services",
    ] {
        // Coordinates may change in between.
        on_all(&[here], path, |here| {
            ask(here, &at(path)) == ask(there, path)
        });
    }
    on_all(&[here], "the health of the servers there", |node| {
        let health = ask(node, &at("/v1/operator/autopilot/health"));
        health.0 == 200 && health.1.contains(&there.name)
    });
    let archive = here.request("GET", &at("/v1/snapshot"), &[]);
    assert!(archive.status == 200 && archive.body.starts_with(&[0x1f, 0x8b]));
    assert_eq!(put(there, &key, "three"), ok("true"));
    let restored = here.request("PUT", &at("/v1/snapshot"), &archive.body);
    assert_eq!((restored.status, restored.text().as_str()), (200, ""));
    on_all(&[here], "the restored state", |node| {
        ask(node, &at(&format!("{key}?raw"))) == ok("two")
    });

    // What is refused there is told in the words of there, with the hop in front.
    let (status, text) = put(here, &at(&format!("{key}?acquire=x")), "");
    assert_eq!(status, 500);
    assert!(text.starts_with("rpc error making call: "), "{text}");
    // A bad value is found with the answer in hand, which is not shown.
    let asked = here.request("GET", &at("/v1/health/service/consul?passing=x"), &[]);
    assert_eq!(
        (asked.status, asked.text().as_str()),
        (400, "Invalid value for ?passing")
    );
    assert_eq!(asked.header("X-Consul-Index"), None);
    // Archives are streamed, and what is said of them carries no hops.
    for (path, body, said) in [
        (
            "/v1/snapshot?stale",
            "no archive",
            "stale not allowed for restore",
        ),
        (
            "/v1/snapshot",
            "few",
            "failed to decompress snapshot: unexpected EOF",
        ),
    ] {
        let asked = put(here, &at(path), body);
        assert_eq!(asked, (500, said.to_owned()), "{path}");
    }
    // In front of the cache nobody tells this error from others.
    for (path, status) in [
        ("/v1/query/none/execute", 404),
        ("/v1/query/none/execute?cached", 500),
    ] {
        let asked = ask(here, &at(path));
        assert_eq!(asked.0, status, "{path}");
        assert!(asked.1.ends_with("Query not found"), "{path} {asked:?}");
    }
    // The command line asks the same.
    let flag = format!("-datacenter={dc}");
    let (code, out, err) = here.cli(&["kv", "get", &flag, &tag]);
    assert_eq!((code, out.trim()), (Some(0), "two"), "{err}");
}

/// What servers of `dc` say of what is switched off or does not exist; `hops` lie between.
fn refusals_cross(here: &Node, dc: &str, hops: usize) {
    let hop = "rpc error making call: ".repeat(hops);
    for (method, path, status, said) in [
        (
            "GET",
            "/v1/connect/ca/roots",
            500,
            "Connect must be enabled in order to use this endpoint",
        ),
        ("GET", "/v1/config/zz", 500, "invalid config entry kind: zz"),
        (
            "GET",
            "/v1/connect/intentions/11111111-1111-1111-1111-111111111111",
            500,
            "Intention not found",
        ),
        ("PUT", "/v1/kv/a?acquire=", 500, "missing session"),
        ("PUT", "/v1/kv/a?release=", 500, "missing session"),
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        let asked = here.request(method, &format!("{path}{and}dc={dc}"), &[]);
        let found = (asked.status, asked.text());
        assert_eq!(found, (status, format!("{hop}{said}")), "{path}");
    }
}

/// Snapshots are streamed, and their errors carry nothing of the hops they made.
fn nobody_there(here: &Node, hop: &str) {
    let at = "nope";
    let error = |path: &str| {
        let hop = if path.contains("snapshot") { "" } else { hop };
        (500, format!("{hop}No path to datacenter"))
    };
    for path in [
        "/v1/kv/a",
        "/v1/catalog/nodes",
        "/v1/health/service/web?index=5",
        "/v1/status/leader",
        "/v1/session/list",
        "/v1/operator/raft/configuration",
        "/v1/operator/autopilot/health",
        "/v1/snapshot",
        "/v1/coordinate/nodes",
        "/v1/internal/ui/nodes",
        // What is wrong otherwise would be told by the servers there.
        "/v1/session/info/x",
        "/v1/query/x",
        "/v1/query/x/execute",
        "/v1/catalog/nodes?filter=x",
        "/v1/health/service/web?passing=x",
        "/v1/coordinate/node/",
        "/v1/snapshot?index=x",
        "/v1/snapshot?stale&consistent",
        // So is what is switched off, or what there is none of.
        "/v1/connect/ca/roots",
        "/v1/agent/connect/ca/roots",
        "/v1/connect/intentions",
        "/v1/connect/intentions/x",
        "/v1/connect/intentions/match?by=source&name=web",
        "/v1/connect/intentions/check?source=a&destination=b",
        "/v1/config/",
        "/v1/config/service-defaults",
        "/v1/config/service-defaults/web",
        "/v1/config/zz",
        "/v1/internal/federation-states",
        "/v1/internal/federation-states/mesh-gateways",
        "/v1/internal/federation-state/dc1",
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        let asked = ask(here, &format!("{path}{and}dc={at}"));
        assert_eq!(asked, error(path), "{path}");
    }
    for (path, body) in [
        ("/v1/kv/a", ""),
        ("/v1/event/fire/x", ""),
        ("/v1/session/create", ""),
        ("/v1/snapshot", ""),
        ("/v1/kv/a?acquire=x", ""),
        ("/v1/kv/a?release=x", ""),
        ("/v1/kv/a?acquire=", ""),
        ("/v1/kv/a?release=", ""),
        ("/v1/snapshot?stale", "no archive"),
        ("/v1/session/renew/x", ""),
        ("/v1/session/destroy/x", ""),
        ("/v1/session/create", "{\"Behavior\":\"x\"}"),
        ("/v1/txn", "[{\"KV\":{\"Verb\":\"x\",\"Key\":\"a\"}}]"),
    ] {
        let and = if path.contains('?') { '&' } else { '?' };
        let asked = put(here, &format!("{path}{and}dc={at}"), body);
        assert_eq!(asked, error(path), "{path}");
    }
    // An agent looks at these itself, before it looks for the datacenter.
    let asked = put(here, &format!("/v1/event/fire/x?node=(&dc={at}"), "");
    let text = "Invalid node filter: error parsing regexp: missing closing ): `(`";
    assert_eq!(asked, (500, text.to_owned()));
    for (path, text) in [
        ("/v1/status/leader?index=x", "Invalid index"),
        ("/v1/status/peers?wait=x", "Invalid wait time"),
        ("/v1/operator/autopilot/health?index=x", "Invalid index"),
        ("/v1/config/zz?wait=x", "Invalid wait time"),
    ] {
        let asked = ask(here, &format!("{path}&dc={at}"));
        assert_eq!(asked, (400, text.to_owned()), "{path}");
    }
    for (params, ops, text) in [
        (
            "index=x",
            "[{\"KV\":{\"Verb\":\"get\",\"Key\":\"a\"}}]",
            "400 Invalid index",
        ),
        (
            "index=x",
            "x",
            "400 Failed to parse body: invalid character 'x' looking for beginning of value",
        ),
    ] {
        let (status, said) = put(here, &format!("/v1/txn?{params}&dc={at}"), ops);
        assert_eq!(format!("{status} {said}"), text, "{params}");
    }
    let answer = dns::ask(here.dns(), &format!("web.service.{at}.consul"), dns::A);
    assert_eq!(answer.code, dns::NAME_ERROR);
}

fn two_datacenters(first: &Kind, other: &Kind) {
    let a = server(first, "a1", "dc1", None, STEADY_WAN);
    let b = server(other, "b1", "dc2", Some(&a), STEADY_WAN);
    let hcl = format!("{STEADY}datacenter = \"dc1\"");
    let client = Node::client(&Kind::Tribune, "c1", &a, &hcl);
    meet(&[&a, &b, &client], &["dc1", "dc2"]);
    everything_crosses(&a, &b, "dc2");
    everything_crosses(&b, &a, "dc1");
    // A client passes the datacenter on to its server.
    everything_crosses(&client, &b, "dc2");
    refusals_cross(&a, "dc2", 1);
    refusals_cross(&client, "dc2", 2);
    for node in [&a, &b] {
        nobody_there(node, "");
    }
    nobody_there(&client, "rpc error making call: ");
    for (node, want) in [(&a, "[\"dc1\",\"dc2\"]"), (&b, "[\"dc2\",\"dc1\"]")] {
        on_all(&[node], "the datacenters by distance", |node| {
            ask(node, "/v1/catalog/datacenters").1 == want
        });
    }
    for node in [&a, &b] {
        on_all(&[node], "the coordinates of all servers", |node| {
            let maps = ask(node, "/v1/coordinate/datacenters").1;
            maps.contains("\"a1\"") && maps.contains("\"b1\"")
        });
    }
    let (code, out, err) = a.cli(&["rtt", "-wan", "a1.dc1", "b1.dc2"]);
    assert!(
        code == Some(0) && out.contains("using WAN coordinates"),
        "{out}{err}"
    );
    let (code, out, _) = a.cli(&["catalog", "datacenters"]);
    assert_eq!((code, out.as_str()), (Some(0), "dc1\ndc2\n"));
}

#[test]
fn two_datacenters_serve_one_another() {
    two_datacenters(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn a_datacenter_and_one_of_consul_serve_one_another() {
    let Some(consul) = consul() else { return };
    two_datacenters(&Kind::Tribune, &consul);
}

/// Reads of `dc`, whose servers are of this kind, at `here` while `act` runs, and a moment longer: how many there were, and
/// those that failed for another reason than real servers that have no leader for long.
fn while_asked(
    here: &Node,
    (servers, dc): (&Kind, &str),
    act: impl FnOnce(),
) -> (usize, Vec<String>) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let reads = scope.spawn(|| {
            let mut failed = Vec::new();
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                count += 1;
                let path = format!("/v1/kv/steady?raw&dc={dc}");
                let (status, text) = ask(here, &path);
                if status == 500 && servers.lost_its_leader(&text) {
                    println!("{dc} has no leader for long: {text}");
                } else if (status, text.as_str()) != (200, "here") {
                    failed.push(format!("{status} {text}"));
                }
            }
            (count, failed)
        });
        thread::sleep(Duration::from_millis(200));
        act();
        thread::sleep(Duration::from_secs(1));
        done.store(true, Ordering::Relaxed);
        reads.join().expect("no panic")
    })
}

fn one_of_three_dies(first: &Kind, other: &Kind) {
    let a = server(first, "a1", "dc1", None, "");
    let mut b = three(other, "b", "dc2", Some(&a), "");
    let all: Vec<&Node> = b.iter().collect();
    meet(&[&[&a], &all[..]].concat(), &["dc1", "dc2"]);
    // Every server of dc2 is known, not only the first that came.
    on_all(&[&a], "all servers of dc2", |node| {
        let members = node.try_json("/v1/agent/members?wan=1").unwrap_or_default();
        members.to_string().matches("\"dc\":\"dc2\"").count() == 3
    });
    let written = || {
        let answer = a.request_of(other, "PUT", "/v1/kv/steady?dc=dc2", b"here");
        assert_eq!(answer.text().trim(), "true");
    };
    written();
    // Whoever it is that dies, and whoever is asked: it comes back, and the next one dies.
    for victim in &mut b {
        let (count, failed) = while_asked(&a, (other, "dc2"), || victim.kill());
        // Without a leader nobody can answer for a moment; that is held.
        let some = &failed[..failed.len().min(5)];
        assert!(failed.is_empty(), "{} of {count}: {some:?}", failed.len());
        written();
        victim.spawn();
        on_all(&[&*victim], "the server to serve again", |node| {
            let read = try_request(node.http(), "GET", "/v1/kv/steady?raw&consistent", &[]);
            read.is_ok_and(|answer| answer.text() == "here")
        });
        on_all(&[&a], "one server to be dispensable again", |node| {
            let health = node.try_json("/v1/operator/autopilot/health?dc=dc2");
            health.is_some_and(|health| health["FailureTolerance"] == 1)
        });
    }
}

#[test]
fn a_server_of_another_datacenter_that_dies_is_routed_around() {
    one_of_three_dies(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn a_consul_server_of_another_datacenter_that_dies_is_routed_around() {
    let Some(consul) = consul() else { return };
    one_of_three_dies(&Kind::Tribune, &consul);
}

/// Local requests wait for no other datacenter, which would take them 5 s and more.
fn nothing_local_waits(here: &Node) {
    for _ in 0..100 {
        let started = Instant::now();
        assert_eq!(put(here, "/v1/kv/local", "x"), ok("true"));
        let wrote = started.elapsed();
        assert!(wrote < WRITE_MAX, "{wrote:?}");
        let started = Instant::now();
        assert_eq!(ask(here, "/v1/kv/local?raw"), ok("x"));
        let answer = dns::ask(here.dns(), "consul.service.consul", dns::A);
        assert_eq!(answer.code, dns::OK);
        let read = started.elapsed();
        assert!(read < Duration::from_secs(1), "{read:?}");
    }
}

/// With the pool's own settings, so that it is not gossip that notices.
#[test]
fn a_datacenter_that_falls_silent_costs_others_nothing_and_is_found_again() {
    let a = server(&Kind::Tribune, "a1", "dc1", None, "");
    let b = server(&Kind::Tribune, "b1", "dc2", Some(&a), "");
    meet(&[&a, &b], &["dc1", "dc2"]);
    assert_eq!(put(&a, "/v1/kv/far?dc=dc2", "x"), ok("true"));
    b.signal("-STOP");
    let unreachable = "Remote DC has no server currently reachable";
    thread::scope(|scope| {
        let asked: Vec<_> = (0..64)
            .map(|_| {
                scope.spawn(|| {
                    let started = Instant::now();
                    let (status, text) = ask(&a, "/v1/kv/far?raw&dc=dc2");
                    (started.elapsed(), status, text)
                })
            })
            .collect();
        nothing_local_waits(&a);
        for asked in asked {
            let (took, status, text) = asked.join().expect("no panic");
            assert!(took < SILENCE_MAX, "{took:?} {text}");
            assert_eq!(status, 500);
            assert!(
                text.contains("EOF") || text == unreachable || text.contains("session"),
                "{text}"
            );
        }
    });
    // DNS does not say that the name does not exist.
    let answer = try_dns(&a, "b1.node.dc2.consul");
    assert_eq!(answer, Some(2), "SERVFAIL");
    b.signal("-CONT");
    on_all(&[&a], "dc2 to be there again", |node| {
        ask(node, "/v1/kv/far?raw&dc=dc2") == ok("x")
    });
}

/// The code of an answer that may take its time.
fn try_dns(node: &Node, name: &str) -> Option<u8> {
    let socket = std::net::UdpSocket::bind((node.ip, 0)).ok()?;
    socket.set_read_timeout(Some(SILENCE_MAX)).ok()?;
    let packet = dns::question(7, name, dns::A);
    socket.send_to(&packet, node.dns()).ok()?;
    let mut buffer = [0u8; 4096];
    let (size, _) = socket.recv_from(&mut buffer).ok()?;
    dns::parse(&buffer[..size]).map(|answer| answer.code)
}

fn the_other_side_is_gone(first: &Kind, other: &Kind) {
    let a = server(first, "a1", "dc1", None, FAST_WAN);
    let mut b = three(other, "b", "dc2", Some(&a), FAST_WAN);
    let all: Vec<&Node> = b.iter().collect();
    meet(&[&[&a], &all[..]].concat(), &["dc1", "dc2"]);
    on_all(&[&a], "a key there", |node| {
        put(node, "/v1/kv/far?dc=dc2", "x") == ok("true")
    });
    b.iter_mut().for_each(Node::kill);
    let unreachable = (
        500,
        "Remote DC has no server currently reachable".to_owned(),
    );
    let started = Instant::now();
    on_all(&[&a], "the right error", |node| {
        ask(node, "/v1/kv/far?dc=dc2") == unreachable
    });
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "{took:?}");
    // Known, and unreachable, at once and for as long as it is so; and the names of datacenters stay.
    let until = Instant::now() + Duration::from_secs(5);
    while Instant::now() < until {
        let started = Instant::now();
        assert_eq!(ask(&a, "/v1/kv/far?dc=dc2"), unreachable);
        assert_eq!(put(&a, "/v1/kv/far?dc=dc2", "y"), unreachable);
        assert_eq!(ask(&a, "/v1/snapshot?dc=dc2"), unreachable);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(1), "{took:?}");
        nothing_local_waits(&a);
    }
    assert_eq!(try_dns(&a, "b1.node.dc2.consul"), Some(2), "SERVFAIL");
    assert_eq!(ask(&a, "/v1/catalog/datacenters").1, "[\"dc1\",\"dc2\"]");
    b.iter_mut().for_each(Node::spawn);
    on_all(&[&a], "dc2 to be there again", |node| {
        let path = "/v1/kv/far?raw&dc=dc2";
        try_request(node.http(), "GET", path, &[]).is_ok_and(|answer| answer.text() == "x")
    });
}

#[test]
fn a_datacenter_that_is_gone_is_known_and_unreachable() {
    the_other_side_is_gone(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn a_consul_datacenter_that_is_gone_is_known_and_unreachable() {
    let Some(consul) = consul() else { return };
    the_other_side_is_gone(&Kind::Tribune, &consul);
}

fn host(net: &Net, number: usize) -> Host {
    let hcl = format!(
        "server = true\nbootstrap = true\ndatacenter = \"dc{number}\"\nperformance {{ raft_multiplier = 1 }}\n\
         retry_join_wan = [\"{}\"]\nretry_interval_wan = \"1s\"",
        netns::addr(0)
    );
    let mut host = Host::prepare(net, number, &hcl);
    host.start();
    host
}

/// What an agent answers, and how long that took; 0 if it does not answer at all.
fn timed(host: &Host, method: &str, path: &str) -> (Duration, u16, String) {
    let started = Instant::now();
    let limit = Duration::from_secs(60);
    match netns::request(&host.socket(), method, path, b"x", limit) {
        Ok(answer) => (started.elapsed(), answer.status, answer.text()),
        Err(err) => (started.elapsed(), 0, err.to_string()),
    }
}

fn until(what: &str, host: &Host, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < deadline, "never: {what}\n{}", host.log());
        thread::sleep(Duration::from_millis(50));
    }
}

/// No error tells that packets get lost, and gossip takes its time.
#[test]
fn a_datacenter_behind_a_cut_network_fails_in_time_and_harms_no_other() {
    if !may_make_namespaces() {
        return;
    }
    let net = Net::new(3);
    let hosts: Vec<Host> = (0..3).map(|number| host(&net, number)).collect();
    let here = &hosts[0];
    let far = |dc: usize| format!("/v1/kv/far?dc=dc{dc}");
    for dc in [1, 2] {
        until("a way", here, || {
            timed(here, "PUT", &far(dc)).2.trim() == "true"
        });
    }
    net.split(&[1]);
    let unreachable = "Remote DC has no server currently reachable";
    thread::scope(|scope| {
        let asked: Vec<_> = (0..32)
            .map(|_| scope.spawn(|| timed(here, "GET", &far(1))))
            .collect();
        let cut = Instant::now();
        while !asked.iter().all(|asked| asked.is_finished()) || cut.elapsed().as_secs() < 3 {
            for path in ["/v1/kv/near", &far(2)] {
                let (took, status, text) = timed(here, "PUT", path);
                assert_eq!((status, text.trim()), (200, "true"), "{path}");
                assert!(took < WRITE_MAX, "{path} {took:?}");
            }
        }
        for asked in asked {
            let (took, status, text) = asked.join().expect("no panic");
            assert!(status == 500 && took < SILENCE_MAX, "{took:?} {text}");
        }
    });
    // Nobody waits any more.
    until("the right error", here, || {
        timed(here, "GET", &far(1)).2 == unreachable
    });
    for _ in 0..100 {
        let (took, status, text) = timed(here, "PUT", &far(1));
        assert_eq!((status, text.as_str()), (500, unreachable));
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
    net.heal();
    until("a way back", here, || {
        timed(here, "PUT", &far(1)).2.trim() == "true"
    });
    until("its way to us", here, || {
        timed(&hosts[1], "PUT", &far(0)).1 == 200
    });
}
