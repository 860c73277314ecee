//! The WAN pool: servers of several datacenters that see one another, of Tribune alone and beside real Consul servers
//! (where `CONSUL_BIN` names a Consul 1.8.7).

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::BTreeMap;

use common::pool::{
    FAST, FAST_WAN, KEY, Kind, Node, OTHER_KEY, STEADY, STEADY_WAN, all_see, consul, on_all,
};

fn hcl(datacenter: &str, more: &str) -> String {
    format!("{FAST}{FAST_WAN}datacenter = \"{datacenter}\"\n{more}")
}

/// A server that founds a datacenter of its own.
fn founder(kind: &Kind, name: &str, datacenter: &str, more: &str) -> Node {
    Node::server(kind, name, &hcl(datacenter, more))
}

/// A server that joins the founder of its datacenter.
fn second(kind: &Kind, name: &str, datacenter: &str, founder: &Node, more: &str) -> Node {
    let more = format!("server = true\nperformance {{ raft_multiplier = 1 }}\n{more}");
    Node::client(kind, name, founder, &hcl(datacenter, &more))
}

/// Status of every member of the WAN pool, as this agent sees it.
fn wan(node: &Node) -> BTreeMap<String, &'static str> {
    let list = node.try_json("/v1/agent/members?wan=1").unwrap_or_default();
    let list = list.as_array().cloned().unwrap_or_default();
    let word = |status: Option<u64>| match status {
        Some(1) => "alive",
        Some(2) => "leaving",
        Some(3) => "left",
        Some(4) => "failed",
        _ => "none",
    };
    list.iter()
        .map(|member| {
            let name = member["Name"].as_str().unwrap_or_default().to_owned();
            (name, word(member["Status"].as_u64()))
        })
        .collect()
}

/// Waits until every agent sees exactly this in the WAN pool.
fn wan_is(nodes: &[&Node], want: &[(&str, &str)]) {
    let want: BTreeMap<&str, &str> = want.iter().copied().collect();
    on_all(nodes, &format!("the WAN pool {want:?}"), |node| {
        let found = wan(node);
        let found: BTreeMap<&str, &str> = { found.iter() }.map(|(k, v)| (k.as_str(), *v)).collect();
        found == want
    });
}

/// Two servers of one kind in dc1, one of another in dc2: meeting, failing, coming back, leaving, being given up.
fn servers_meet(first: &Kind, other: &Kind) {
    let a1 = founder(first, "a1", "dc1", "");
    let mut b1 = founder(other, "b1", "dc2", "");
    let mut a2 = second(first, "a2", "dc1", &a1, "");
    // In the own datacenter nobody has to be told.
    wan_is(&[&a1, &a2], &[("a1.dc1", "alive"), ("a2.dc1", "alive")]);
    let joined = b1.put(&format!("/v1/agent/join/{}?wan=1", a1.ip), "");
    assert_eq!((joined.status, joined.text().as_str()), (200, ""));
    let all_alive = [
        ("a1.dc1", "alive"),
        ("a2.dc1", "alive"),
        ("b1.dc2", "alive"),
    ];
    wan_is(&[&a1, &a2, &b1], &all_alive);
    // A server that comes later is brought by those of its datacenter.
    let b2 = second(other, "b2", "dc2", &b1, "");
    let all_alive = [&all_alive[..], &[("b2.dc2", "alive")]].concat();
    wan_is(&[&a1, &a2, &b1, &b2], &all_alive);
    on_all(&[&a1, &b1], "those of its own datacenter", |node| {
        node.members().len() == 2
    });
    let (code, out, _) = a1.cli(&["members", "-wan"]);
    assert_eq!((code, out.lines().count()), (Some(0), 5), "{out}");
    let (_, out, _) = b1.cli(&["members", "-wan", "-detailed"]);
    assert!(
        out.contains("a2.dc1") && !out.contains("wan_join_port"),
        "{out}"
    );
    let (_, out, _) = b1.cli(&["members", "-detailed"]);
    assert!(out.contains("wan_join_port=8302"), "{out}");
    let figures = a1.json("/v1/agent/self")["Stats"]["serf_wan"].clone();
    assert_eq!(figures["members"], "4", "{figures}");

    // Killed and back, with what its file says; the original writes its file some time later.
    let remembers = other == &Kind::Tribune;
    if remembers {
        let written = |node: &Node, file: &str, name: &str| {
            std::fs::read_to_string(node.data(file))
                .is_ok_and(|lines| lines.contains(&format!("alive: {name} ")))
        };
        on_all(&[&b1], "the memory of both pools", |node| {
            written(node, "serf/remote.snapshot", "a1.dc1")
                && written(node, "serf/local.snapshot", "b2")
        });
    }
    b1.kill();
    on_all(&[&a1, &a2, &b2], "the failure of b1", |node| {
        wan(node).get("b1.dc2") == Some(&"failed")
    });
    b1.spawn();
    if !remembers {
        b1.wait_for("HTTP", |node| !node.members().is_empty());
        for (node, path) in [
            (&a1, format!("/v1/agent/join/{}?wan=1", b1.ip)),
            (&b2, format!("/v1/agent/join/{}", b1.ip)),
        ] {
            let joined = node.put(&path, "");
            assert_eq!(joined.status, 200, "{path} {}", joined.text());
        }
    }
    wan_is(&[&a1, &a2, &b1, &b2], &all_alive);

    // Gracefully, and given up: one command is for both pools.
    assert_eq!(a2.put("/v1/agent/leave", "").status, 200);
    a2.wait();
    on_all(&[&a1, &b1, &b2], "the leave of a2", |node| {
        wan(node).get("a2.dc1") == Some(&"left")
    });
    all_see(&[&a1], "a2", "left");
    let mut b2 = b2;
    b2.kill();
    all_see(&[&b1], "b2", "failed");
    on_all(&[&a1, &b1], "the failure of b2", |node| {
        wan(node).get("b2.dc2") == Some(&"failed")
    });
    let (code, _, err) = b1.cli(&["force-leave", "b2"]);
    assert_eq!(code, Some(0), "{err}");
    all_see(&[&b1], "b2", "left");
    on_all(&[&a1, &b1], "b2 left", |node| {
        wan(node).get("b2.dc2") == Some(&"left")
    });
    let refused = a1.put("/v1/agent/force-leave/b1.dc2", "");
    assert_eq!(refused.status, 500);
    assert_eq!(refused.text(), "agent: No node found with name 'b1.dc2'");
    on_all(&[&a1], "b1 as it was", |node| {
        wan(node).get("b1.dc2") == Some(&"alive")
    });
}

#[test]
fn servers_of_two_datacenters_meet() {
    servers_meet(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn servers_meet_those_of_a_consul_datacenter() {
    let Some(consul) = consul() else { return };
    servers_meet(&Kind::Tribune, &consul);
}

#[test]
fn servers_of_a_consul_datacenter_meet_ours() {
    let Some(consul) = consul() else { return };
    servers_meet(&consul, &Kind::Tribune);
}

/// Agents join at their start, again and again or once, or end saying why.
#[test]
fn an_agent_joins_another_datacenter_at_its_start_or_ends() {
    let a1 = founder(&Kind::Tribune, "a1", "dc1", "");
    let quickly = "retry_interval_wan = \"200ms\"\n";
    let mut b1 = Node::prepare(
        &Kind::Tribune,
        "b1",
        &hcl(
            "dc2",
            &format!("server = true\nbootstrap = true\n{quickly}"),
        ),
    );
    let there = a1.ip.to_string();
    b1.args(&["-join-wan", &there]);
    b1.spawn();
    wan_is(&[&a1, &b1], &[("a1.dc1", "alive"), ("b1.dc2", "alive")]);
    // Nobody listens at the first address at all.
    b1.args(&[
        "-retry-join-wan",
        "127.255.255.254",
        "-retry-join-wan",
        &there,
    ]);
    b1.kill();
    // Perhaps it had no time to write one.
    let _ = std::fs::remove_file(b1.data("serf/remote.snapshot"));
    b1.spawn();
    on_all(&[&b1], "the members", |node| wan(node).len() == 2);
    b1.kill();

    let gone = "127.255.255.254";
    for (args, want) in [
        (
            &["-join-wan", gone][..],
            "Failed to join 127.255.255.254".to_owned(),
        ),
        (
            &["-retry-join-wan", gone, "-retry-max-wan=1"],
            "agent: max join WAN retry exhausted, exiting".to_owned(),
        ),
        (
            &["-join-wan", &there, "-serf-wan-port=-1"],
            "WAN Federation is disabled".to_owned(),
        ),
    ] {
        let mut lost = Node::prepare(
            &Kind::Tribune,
            "lost",
            &hcl(
                "dc3",
                &format!("server = true\nbootstrap = true\n{quickly}"),
            ),
        );
        lost.args(args);
        lost.spawn();
        assert_eq!(lost.wait(), Some(1), "{args:?}");
        let log = lost.log();
        assert!(log.contains(&want), "{args:?} {log}");
    }
    // A client has no WAN pool; to try again and again is no error, as in the original.
    let mut lost = Node::prepare(&Kind::Tribune, "lost", &hcl("dc1", ""));
    lost.args(&["-join-wan", &there]);
    lost.spawn();
    assert_eq!(lost.wait(), Some(1));
    let log = lost.log();
    assert!(
        log.contains("Must be a server to join WAN cluster"),
        "{log}"
    );
    let retried =
        "retry_join_wan = [\"127.0.0.1\"]\nretry_max_wan = 1\nretry_interval_wan = \"1ms\"\n";
    let c1 = Node::client(&Kind::Tribune, "c1", &a1, &hcl("dc1", retried));
    on_all(&[&a1, &c1], "the client", |node| node.members().len() == 2);
    assert_eq!(wan(&a1).len(), 2);
    assert_eq!(
        c1.request("GET", "/v1/agent/members?wan=1", &[]).text(),
        "null"
    );
    let refused = c1.put(&format!("/v1/agent/join/{}?wan=1", a1.ip), "");
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (500, "Must be a server to join WAN cluster")
    );
    assert_eq!(
        c1.json("/v1/agent/self")["Stats"]["serf_wan"],
        serde_json::Value::Null
    );
}

#[test]
fn the_wan_pool_may_have_an_address_and_a_port_of_its_own() {
    let a1 = founder(&Kind::Tribune, "a1", "dc1", "");
    // Never started: only its address is of use.
    let abroad = Node::prepare(&Kind::Tribune, "abroad", "").ip;
    let mut b1 = Node::prepare(
        &Kind::Tribune,
        "b1",
        &hcl("dc2", "server = true\nbootstrap = true\n"),
    );
    let abroad = abroad.to_string();
    b1.args(&[
        "-serf-wan-bind",
        &abroad,
        "-advertise-wan",
        &abroad,
        "-serf-wan-port=9302",
        "-retry-join-wan",
        &format!("{}:8302", a1.ip),
    ]);
    b1.spawn();
    wan_is(&[&a1, &b1], &[("a1.dc1", "alive"), ("b1.dc2", "alive")]);
    let list = a1.json("/v1/agent/members?wan=1");
    let shown = |key: &str| list[1][key].clone();
    assert_eq!(
        (shown("Addr"), shown("Port")),
        (abroad.as_str().into(), 9302.into())
    );
    let tags = b1.json("/v1/agent/self")["Member"]["Tags"].clone();
    assert_eq!(tags["wan_join_port"], "9302");
}

/// Networks that are not allowed, and members that are no servers.
#[test]
fn the_wan_pool_takes_only_servers_of_allowed_networks() {
    let a1 = founder(
        &Kind::Tribune,
        "a1",
        "dc1",
        "serf_wan_allowed_cidrs = [\"127.0.0.0/8\"]\n",
    );
    let strict = founder(
        &Kind::Tribune,
        "strict",
        "dc2",
        "serf_wan_allowed_cidrs = [\"10.0.0.0/8\", \"127.255.0.0/16\"]\n",
    );
    let _ = strict.put(&format!("/v1/agent/join/{}?wan=1", a1.ip), "");
    on_all(&[&a1], "the strict one", |node| wan(node).len() == 2);
    assert!(!wan(&strict).contains_key("a1.dc1"), "{:?}", wan(&strict));

    // Into the LAN pool of a client, by mistake.
    let c1 = Node::client(&Kind::Tribune, "c1", &a1, &hcl("dc1", ""));
    let refused = a1.put(&format!("/v1/agent/join/{}:8301?wan=1", c1.ip), "");
    assert_eq!(refused.status, 500);
    let text = refused.text();
    assert!(text.contains("' is not a server"), "{text}");
    assert_eq!(wan(&a1).len(), 2, "{:?}", wan(&a1));

    // Without a WAN port.
    let mut off = Node::prepare(
        &Kind::Tribune,
        "off",
        &hcl("dc3", "server = true\nbootstrap = true\n"),
    );
    off.args(&["-serf-wan-port=-1"]);
    off.spawn();
    off.wait_for("HTTP", |node| !node.members().is_empty());
    let refused = off.put(&format!("/v1/agent/join/{}?wan=1", a1.ip), "");
    assert_eq!(
        (refused.status, refused.text().as_str()),
        (500, "WAN Federation is disabled")
    );
    let told = off.request("GET", "/v1/agent/members?wan=1", &[]).text();
    assert_eq!(told, "null");
    let stats = &off.json("/v1/agent/self")["Stats"];
    assert!(
        stats["serf_lan"].is_object() && stats["serf_wan"].is_null(),
        "{stats}"
    );
    let (_, out, _) = off.cli(&["members", "-detailed"]);
    assert!(!out.contains("wan_join_port"), "{out}");
}

/// Servers of two datacenters, asked through the first.
fn keys_rotate(first: &Kind, other: &Kind) {
    let encrypt = format!("encrypt = \"{KEY}\"\n");
    let server = |kind, name, dc| {
        let hcl = format!("{STEADY}{STEADY_WAN}datacenter = \"{dc}\"\n{encrypt}");
        Node::server(kind, name, &hcl)
    };
    let (a1, b1) = (server(first, "a1", "dc1"), server(other, "b1", "dc2"));
    let joined = b1.put(&format!("/v1/agent/join/{}?wan=1", a1.ip), "");
    assert_eq!(joined.status, 200, "{}", joined.text());
    wan_is(&[&a1, &b1], &[("a1.dc1", "alive"), ("b1.dc2", "alive")]);
    let keyring = |args: &[&str]| {
        let (code, out, err) = a1.cli(&[&["keyring"], args].concat());
        assert_eq!(code, Some(0), "{args:?} {out}{err}");
        out
    };
    let pools = |out: &str, key: &str| {
        [("WAN", 2), ("dc1 (LAN)", 1), ("dc2 (LAN)", 1)]
            .iter()
            .all(|(pool, n)| out.contains(&format!("{pool}:\n  {key} [{n}/{n}]")))
    };
    // As soon as the way to the other datacenter is known, too.
    on_all(&[&a1], "the keys of all", |_| {
        pools(&keyring(&["-list"]), KEY)
    });
    let out = keyring(&["-list", "-local-only"]);
    assert!(!out.contains("WAN") && !out.contains("dc2"), "{out}");
    keyring(&["-install", OTHER_KEY]);
    keyring(&["-use", OTHER_KEY]);
    keyring(&["-remove", KEY]);
    let out = keyring(&["-list-primary"]);
    assert!(pools(&out, OTHER_KEY) && !out.contains(KEY), "{out}");
    for node in [&a1, &b1] {
        for file in ["serf/remote.keyring", "serf/local.keyring"] {
            let text = std::fs::read_to_string(node.data(file)).expect("a keyring");
            assert!(text.contains(OTHER_KEY) && !text.contains(KEY), "{text}");
        }
    }
    let (code, _, err) = a1.cli(&["keyring", "-remove", OTHER_KEY]);
    assert_eq!(code, Some(1));
    for name in ["a1.dc1", "b1.dc2", "a1", "b1"] {
        let want = format!("{name}: Removing the primary key is not allowed");
        assert!(err.contains(&want), "{err}");
    }
    wan_is(&[&a1, &b1], &[("a1.dc1", "alive"), ("b1.dc2", "alive")]);
}

#[test]
fn the_keys_of_all_datacenters_rotate_together() {
    keys_rotate(&Kind::Tribune, &Kind::Tribune);
}

#[test]
fn the_keys_of_ours_and_of_a_consul_datacenter_rotate_together() {
    let Some(consul) = consul() else { return };
    keys_rotate(&Kind::Tribune, &consul);
    keys_rotate(&consul, &Kind::Tribune);
}
