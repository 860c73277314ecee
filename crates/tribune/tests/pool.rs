//! Pools of Tribune agents: who is in them, who is refused, and what follows them.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use common::dns;
use common::pool::{FAST, KEY, Kind, Node, OTHER_KEY, all_alive, all_see, on_all};

fn server(hcl: &str) -> Node {
    Node::server(&Kind::Tribune, "s1", &format!("{FAST}{hcl}"))
}

fn client(name: &str, join: &Node, hcl: &str) -> Node {
    Node::client(&Kind::Tribune, name, join, &format!("{FAST}{hcl}"))
}

/// A client that joins nobody by itself.
fn loner(name: &str, hcl: &str) -> Node {
    let mut node = Node::prepare(&Kind::Tribune, name, &format!("{FAST}{hcl}"));
    node.spawn();
    node.wait_for("HTTP", |node| !node.members().is_empty());
    node
}

/// The answer code of the server's and another agent's DNS for a node.
fn dns_codes(nodes: [&Node; 2], name: &str) -> [u8; 2] {
    nodes.map(|node| dns::ask(node.dns(), &format!("{name}.node.consul"), dns::A).code)
}

#[test]
fn the_catalog_and_dns_follow_the_pool() {
    let s1 = server("");
    let mut c1 = client("c1", &s1, "");
    // One joins over the API, one by a flag.
    let mut c2 = loner("c2", "");
    let joined = c2.put(&format!("/v1/agent/join/{}", s1.ip), "");
    assert_eq!((joined.status, joined.text().as_str()), (200, ""));
    let mut c3 = Node::prepare(&Kind::Tribune, "c3", FAST);
    c3.args(&["-join", &s1.ip.to_string()]);
    c3.spawn();
    all_alive(&[&s1, &c1, &c2, &c3]);
    let (code, out, _) = c1.cli(&["members"]);
    assert_eq!((code, out.lines().count()), (Some(0), 5), "{out}");
    let (_, out, _) = c1.cli(&["members", "-detailed"]);
    assert!(
        out.contains("role=consul") && out.contains("role=node"),
        "{out}"
    );

    for name in ["c1", "c2", "c3"] {
        on_all(&[&s1, &c1], "the registration", |node| {
            node.health(name).as_deref() == Some("passing")
        });
    }
    let service = r#"{"Name": "web", "Port": 80}"#;
    assert_eq!(c1.put("/v1/agent/service/register", service).status, 200);
    on_all(&[&s1, &c2], "the service in DNS", |node| {
        !dns::ask(node.dns(), "web.service.consul", dns::A)
            .records
            .is_empty()
    });
    assert_eq!(dns_codes([&s1, &c2], "c1"), [dns::OK; 2]);

    c1.kill();
    all_see(&[&s1, &c2, &c3], "c1", "failed");
    on_all(&[&s1, &c2], "the failure in the catalog", |node| {
        node.health("c1").as_deref() == Some("critical")
            && dns::ask(node.dns(), "web.service.consul", dns::A)
                .records
                .is_empty()
    });

    // It comes back by itself, and so does its service.
    c1.spawn();
    all_alive(&[&s1, &c1, &c2, &c3]);
    on_all(&[&s1, &c2], "the recovery in the catalog", |node| {
        node.health("c1").as_deref() == Some("passing")
            && !dns::ask(node.dns(), "web.service.consul", dns::A)
                .records
                .is_empty()
    });

    assert_eq!(c2.put("/v1/agent/leave", "").status, 200);
    assert_eq!(c2.wait(), Some(0));
    all_see(&[&s1, &c1, &c3], "c2", "left");
    on_all(&[&s1, &c1], "c2 out of the catalog", |node| {
        node.not_in_catalog("c2")
    });
    assert_eq!(dns_codes([&s1, &c1], "c2"), [dns::NAME_ERROR; 2]);

    c3.kill();
    all_see(&[&s1, &c1], "c3", "failed");
    let (code, out, err) = c1.cli(&["force-leave", "c3"]);
    assert_eq!((code, out.as_str(), err.as_str()), (Some(0), "", ""));
    all_see(&[&s1, &c1], "c3", "left");
    on_all(&[&s1], "c3 out of the catalog", |node| {
        node.not_in_catalog("c3")
    });
    let (code, _, _) = s1.cli(&["force-leave", "-prune", "c3"]);
    assert_eq!(code, Some(0));
    all_see(&[&s1, &c1], "c3", "gone");
    let (code, _, err) = c1.cli(&["force-leave", "zz"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("agent: No node found with name 'zz'"), "{err}");
    // The server is there all along.
    assert_eq!(s1.health("s1").as_deref(), Some("passing"));
}

#[test]
fn an_event_reaches_every_agent_that_is_meant() {
    let s1 = server("");
    let c1 = client("c1", &s1, "");
    let c2 = client("c2", &s1, "");
    let all = [&s1, &c1, &c2];
    all_alive(&all);
    for (node, name) in [(&c1, "from-client"), (&s1, "from-server")] {
        let fired = node.put(&format!("/v1/event/fire/{name}"), "payload");
        assert_eq!(fired.status, 200, "{}", fired.text());
        on_all(&all, name, |node| node.events().contains(&name.to_owned()));
    }
    let fired = c2.put("/v1/event/fire/for-c1?node=^c1$", "");
    assert_eq!(fired.status, 200);
    on_all(&[&c1], "for-c1", |node| node.events().len() == 3);
    let (code, out, _) = c2.cli(&["event", "-name", "last"]);
    assert_eq!((code, out.starts_with("Event ID: ")), (Some(0), true));
    on_all(&all, "last", |node| {
        node.events().contains(&"last".to_owned())
    });
    assert_eq!(s1.events(), ["from-client", "from-server", "last"]);
    let list = c2.json("/v1/event/list?name=from-client");
    assert_eq!(list[0]["Payload"], "cGF5bG9hZA==");
}

#[test]
fn keys_rotate_while_the_pool_lives() {
    let encrypt = format!("encrypt = \"{KEY}\"\n");
    let s1 = server(&encrypt);
    let mut c1 = client("c1", &s1, &encrypt);
    let c2 = client("c2", &s1, &encrypt);
    all_alive(&[&s1, &c1, &c2]);

    let keyring = |args: &[&str]| {
        let (code, out, err) = s1.cli(&[&["keyring"], args].concat());
        assert_eq!(code, Some(0), "{args:?} {out}{err}");
        out
    };
    let out = keyring(&["-list"]);
    assert!(out.contains(&format!("dc1 (LAN):\n  {KEY} [3/3]")), "{out}");
    assert!(out.contains(&format!("WAN:\n  {KEY} [1/1]")), "{out}");
    keyring(&["-install", OTHER_KEY]);
    keyring(&["-use", OTHER_KEY]);
    keyring(&["-remove", KEY]);
    let out = keyring(&["-list-primary"]);
    assert!(
        out.contains(&format!("dc1 (LAN):\n  {OTHER_KEY} [3/3]")),
        "{out}"
    );
    assert!(!out.contains(KEY), "{out}");
    let (code, _, err) = s1.cli(&["keyring", "-remove", OTHER_KEY]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("c1: Removing the primary key is not allowed"),
        "{err}"
    );

    // The file outlives the process; the old key of the configuration does not count any more.
    let file = std::fs::read_to_string(c1.data("serf/local.keyring")).expect("a keyring");
    assert!(file.contains(OTHER_KEY) && !file.contains(KEY), "{file}");
    let file = std::fs::read_to_string(s1.data("serf/remote.keyring")).expect("a keyring");
    assert!(file.contains(OTHER_KEY) && !file.contains(KEY), "{file}");
    c1.kill();
    all_see(&[&s1, &c2], "c1", "failed");
    c1.spawn();
    all_alive(&[&s1, &c1, &c2]);

    // The wrong key, and none at all.
    for hcl in [encrypt.as_str(), ""] {
        let stranger = loner("stranger", hcl);
        let refused = stranger.put(&format!("/v1/agent/join/{}", s1.ip), "");
        assert_eq!(refused.status, 500, "{}", refused.text());
        assert!(
            refused.text().contains("Failed to join"),
            "{}",
            refused.text()
        );
        assert_eq!(stranger.members().len(), 1);
        assert!(!s1.members().contains_key("stranger"));
    }
    let answer = c1.request("GET", "/v1/operator/keyring", &[]);
    assert_eq!(
        (answer.status, answer.text().as_str()),
        (500, "keyring operations must run against a server node")
    );
}

#[test]
fn another_datacenter_is_refused_and_both_sides_say_why() {
    let s1 = server("");
    let stranger = loner("stranger", "datacenter = \"dc2\"\n");
    let refused = stranger.put(&format!("/v1/agent/join/{}", s1.ip), "");
    assert_eq!(refused.status, 500);
    let text = refused.text();
    assert!(
        text.contains("Member 's1' part of wrong datacenter 'dc1'"),
        "{text}"
    );
    on_all(&[&s1], "the reason in the log", |node| {
        node.log()
            .contains("Member 'stranger' part of wrong datacenter 'dc2'")
    });
    let refused = s1.put(&format!("/v1/agent/join/{}", stranger.ip), "");
    assert_eq!(refused.status, 500);
    assert_eq!(s1.members().len(), 1);
    assert_eq!(stranger.members().len(), 1);
}

#[test]
fn a_restarted_agent_finds_its_pool_by_itself() {
    let s1 = server("");
    let mut c1 = loner("c1", "");
    assert_eq!(c1.put(&format!("/v1/agent/join/{}", s1.ip), "").status, 200);
    all_alive(&[&s1, &c1]);
    // At once, so that nobody has noticed, and after it was declared dead.
    for wait in [false, true] {
        // Written about every half second, as Consul does; without it the server would find c1 again after 30 s.
        on_all(&[&c1], "the memory of the pool", |node| {
            std::fs::read_to_string(node.data("serf/local.snapshot"))
                .is_ok_and(|lines| lines.contains("alive: s1 "))
        });
        c1.kill();
        if wait {
            all_see(&[&s1], "c1", "failed");
        }
        c1.spawn();
        all_alive(&[&s1, &c1]);
    }
    // After it left, only if told so.
    assert_eq!(c1.put("/v1/agent/leave", "").status, 200);
    assert_eq!(c1.wait(), Some(0));
    all_see(&[&s1], "c1", "left");
    c1.args(&["-rejoin"]);
    c1.spawn();
    all_alive(&[&s1, &c1]);
}

#[test]
fn an_agent_whose_joins_all_fail_says_so_and_ends() {
    let mut alone = Node::prepare(&Kind::Tribune, "alone", FAST);
    alone.args(&["-join", "127.255.255.254"]);
    alone.spawn();
    assert_eq!(alone.wait(), Some(1));
    let log = alone.log();
    assert!(log.contains("Failed to join 127.255.255.254"), "{log}");
}
