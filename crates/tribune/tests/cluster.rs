//! Datacenters of several servers, as real processes: they form, grow, shrink, lose servers and come back.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::pool::{FAST, Kind, LONG, Node, STEADY, all_alive, all_see, consul, on_all};

/// Votes are given soon, so that tests need not wait for them.
const EAGER: &str = "autopilot { server_stabilization_time = \"500ms\" }\n";
/// Elections are soon, where the timers have to do with it.
const QUICK: &str = "performance { raft_multiplier = 1 leave_drain_time = \"100ms\" }\n";

/// Servers that found a cluster together, not started.
fn prepare(names: &[&str], expect: usize, hcl: &str) -> Vec<Node> {
    let hcl =
        format!("server = true\nbootstrap_expect = {expect}\nretry_interval = \"200ms\"\n{hcl}");
    let mut nodes: Vec<Node> = names
        .iter()
        .map(|name| Node::prepare(&Kind::Tribune, name, &hcl))
        .collect();
    join_one_another(&mut nodes);
    nodes
}

fn join_one_another(nodes: &mut [Node]) {
    let joins: Vec<String> = { nodes.iter() }
        .map(|node| format!("-retry-join={}", node.ip))
        .collect();
    let joins: Vec<&str> = joins.iter().map(String::as_str).collect();
    for node in nodes {
        node.args(&joins);
    }
}

/// A cluster of three that has formed.
fn three(hcl: &str) -> Vec<Node> {
    let mut nodes = prepare(&["s1", "s2", "s3"], 3, hcl);
    nodes.iter_mut().for_each(Node::spawn);
    formed(&nodes);
    nodes
}

fn formed(nodes: &[Node]) {
    let all: Vec<&Node> = nodes.iter().collect();
    let peers = nodes.len();
    on_all(&all, "all to vote and one to lead", |node| {
        let peers_seen = peers_of(node);
        peers_seen.len() == peers
            && peers_seen.values().all(|peer| peer.voter)
            && peers_seen.values().filter(|peer| peer.leader).count() == 1
    });
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Peer {
    address: String,
    leader: bool,
    voter: bool,
}

/// The peer set by node, as this agent is told by the leader; empty if it cannot be told.
fn peers_of(node: &Node) -> BTreeMap<String, Peer> {
    let told = node.try_json("/v1/operator/raft/configuration");
    let servers = told.and_then(|told| told["Servers"].as_array().cloned());
    let peer = |server: &serde_json::Value| {
        let text = |key: &str| server[key].as_str().unwrap_or_default().to_owned();
        let peer = Peer {
            address: text("Address"),
            leader: server["Leader"] == true,
            voter: server["Voter"] == true,
        };
        (text("Node"), peer)
    };
    servers.unwrap_or_default().iter().map(peer).collect()
}

/// The leader's address, as this agent knows it.
fn leader_addr(node: &Node) -> Option<String> {
    let told = node.try_json("/v1/status/leader")?;
    told.as_str()
        .filter(|addr| !addr.is_empty())
        .map(str::to_owned)
}

/// Position of the leader among these, once all agree on it.
fn leader(nodes: &[Node]) -> usize {
    let deadline = Instant::now() + LONG;
    loop {
        let told: Vec<Option<String>> = nodes.iter().map(leader_addr).collect();
        let found = nodes.iter().position(|node| {
            let addr = Some(format!("{}:8300", node.ip));
            told.iter().all(|told| *told == addr)
        });
        if let Some(found) = found {
            return found;
        }
        assert!(Instant::now() < deadline, "no common leader: {told:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Writes keys through an agent, each of which must be acknowledged; the longest of these writes.
fn put_all(node: &Node, keys: &[String]) -> Duration {
    let one = |key: &String| {
        let start = Instant::now();
        assert!(put(node, key, key), "{key} through {}", node.name);
        start.elapsed()
    };
    keys.iter().map(one).max().unwrap_or_default()
}

/// What an election and the first write behind it may take: the part of it that is waiting, and what is written to disks on
/// the way, which each time may take as long as the slowest write has taken.
fn with_disks(waiting: Duration, slowest_write: Duration) -> Duration {
    const SYNCS: u32 = 4;
    waiting + SYNCS * slowest_write
}

fn put(node: &Node, key: &str, value: &str) -> bool {
    let answer = common::try_request(
        node.http(),
        "PUT",
        &format!("/v1/kv/{key}"),
        value.as_bytes(),
    );
    answer.is_ok_and(|answer| answer.status == 200 && answer.text().trim() == "true")
}

fn get(node: &Node, key: &str) -> Option<String> {
    let path = format!("/v1/kv/{key}?raw");
    let answer = common::try_request(node.http(), "GET", &path, &[]).ok()?;
    (answer.status == 200).then(|| answer.text())
}

fn wait_for_get(nodes: &[&Node], key: &str, value: &str) {
    on_all(nodes, &format!("{key} to be {value}"), |node| {
        get(node, key).as_deref() == Some(value)
    });
}

#[test]
fn three_servers_that_start_together_form_a_cluster_at_once() {
    let mut nodes = prepare(&["s1", "s2", "s3"], 3, "");
    nodes.iter_mut().for_each(Node::spawn);
    let all: Vec<&Node> = nodes.iter().collect();
    all_alive(&all);
    let start = Instant::now();
    leader(&nodes);
    let took = start.elapsed();
    assert!(
        took < Duration::from_secs(2),
        "{took:?} at default settings"
    );
    formed(&nodes);
    // A client and every server tell the same.
    let mut client = Node::client(&Kind::Tribune, "c1", &nodes[0], "");
    client.wait_for("the peers through a client", |client| {
        peers_of(client).len() == 3
    });
    let tables: Vec<String> = { nodes.iter() }
        .chain([&client])
        .map(|node| {
            let (code, out, err) = node.cli(&["operator", "raft", "list-peers"]);
            assert_eq!(code, Some(0), "{err}");
            out
        })
        .collect();
    assert!(
        tables.iter().all(|table| *table == tables[0]),
        "{tables:#?}"
    );
    for node in nodes.iter().chain([&client]) {
        assert_eq!(
            node.json("/v1/status/peers").as_array().map(Vec::len),
            Some(3)
        );
    }
    // Everybody is in the catalog.
    on_all(
        &[&nodes[0], &nodes[1], &nodes[2], &client],
        "the catalog",
        |node| {
            ["s1", "s2", "s3", "c1"]
                .iter()
                .all(|name| node.health(name).as_deref() == Some("passing"))
        },
    );
    healthy(&nodes, 1);
}

/// Waits until every server tells that all are healthy, and how many may fail.
fn healthy(nodes: &[Node], tolerance: u64) {
    let all: Vec<&Node> = nodes.iter().collect();
    on_all(&all, "health", |node| {
        let told = node
            .try_json("/v1/operator/autopilot/health")
            .unwrap_or_default();
        told["Healthy"] == true && told["FailureTolerance"] == tolerance
    });
}

#[test]
fn another_leads_within_a_second_after_the_leader_is_killed_and_nothing_is_lost() {
    let mut nodes = three("");
    for round in 0..3 {
        let old = leader(&nodes);
        // Every member votes again before the next is killed.
        formed(&nodes);
        let writers: Vec<_> = (0..50).map(|n| format!("{round}-{n}")).collect();
        let slowest = put_all(&nodes[(old + 1) % 3], &writers);
        let killed = Instant::now();
        nodes[old].kill();
        let others: Vec<&Node> = { nodes.iter() }
            .filter(|node| node.name != nodes[old].name)
            .collect();
        let old_addr = format!("{}:8300", nodes[old].ip);
        let mut known = [None; 2];
        while known.iter().any(Option::is_none) {
            for (node, known) in others.iter().zip(&mut known) {
                if known.is_none() && leader_addr(node).is_some_and(|addr| addr != old_addr) {
                    *known = Some(killed.elapsed());
                }
            }
            assert!(killed.elapsed() < Duration::from_secs(20), "no new leader");
            std::thread::sleep(Duration::from_millis(2));
        }
        let written = put(others[0], &format!("{round}-after"), "x");
        let took = killed.elapsed();
        println!("round {round}: leader known after {known:?}, first write after {took:?}");
        assert!(
            written && took < with_disks(Duration::from_secs(1), slowest),
            "{known:?} {took:?}, the slowest write before {slowest:?}"
        );
        for key in &writers {
            assert_eq!(get(others[1], key).as_deref(), Some(key.as_str()), "{key}");
        }
        nodes[old].spawn();
    }
    formed(&nodes);
}

/// Writes through an agent, one after the other begun without waiting, until one is acknowledged. Returns how long that took, and
/// the keys of all that were acknowledged.
fn write_until_one_succeeds(node: &Node, prefix: &str) -> (Duration, Vec<String>) {
    let begin = Instant::now();
    let done = std::sync::Mutex::new((None, Vec::new()));
    std::thread::scope(|scope| {
        for n in 0..200 {
            if done.lock().expect("no writer panics").0.is_some() {
                break;
            }
            let (key, done) = (format!("{prefix}-{n}"), &done);
            scope.spawn(move || {
                if put(node, &key, &key) {
                    let mut done = done.lock().expect("no writer panics");
                    done.0.get_or_insert(begin.elapsed());
                    done.1.push(key);
                }
            });
            std::thread::sleep(Duration::from_millis(25));
        }
    });
    let (took, keys) = done.into_inner().expect("no writer panics");
    (took.expect("a write that succeeds"), keys)
}

#[test]
fn another_leads_soon_after_the_leader_stood_still_and_it_follows_when_it_goes_on() {
    let nodes = three("");
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let old = leader(&nodes);
        // Every member votes again before the next stands still.
        formed(&nodes);
        let follower = &nodes[(old + 1) % 3];
        let before: Vec<_> = (0..20).map(|n| format!("{round}-before-{n}")).collect();
        let slowest = put_all(follower, &before);
        acknowledged.extend(before);
        nodes[old].signal("-STOP");
        let stopped = Instant::now();
        let (took, keys) = write_until_one_succeeds(follower, &format!("{round}-during"));
        let all = stopped.elapsed();
        println!("round {round}: first write after {took:?}, the last has an answer after {all:?}");
        let limit = with_disks(Duration::from_millis(1500), slowest);
        assert!(took < limit, "{took:?}, the slowest before {slowest:?}");
        // Those that were on their way to the old leader are not waited for long.
        let limit = with_disks(Duration::from_secs(3), slowest);
        assert!(all < limit, "{all:?}, the slowest before {slowest:?}");
        acknowledged.extend(keys);
        let last = format!("{round}-last");
        assert!(put(follower, &last, "x"));
        acknowledged.push(last.clone());
        nodes[old].signal("-CONT");
        // It thinks that it leads, and must not answer as if it did.
        let answer =
            common::try_request(nodes[old].http(), "GET", &format!("/v1/kv/{last}?raw"), &[]);
        let stale = answer.is_ok_and(|answer| answer.status == 404);
        assert!(!stale, "what was acknowledged is not there");
        formed(&nodes);
        assert_ne!(leader(&nodes), old, "it follows");
    }
    for key in &acknowledged {
        for node in &nodes {
            assert!(get(node, key).is_some(), "{key} was lost");
        }
    }
}

#[test]
fn servers_join_and_earn_their_votes_and_leave() {
    let hcl = format!("{FAST}{EAGER}{QUICK}");
    let mut nodes = three(&hcl);
    assert!(put(&nodes[0], "a", "1"));
    for name in ["s4", "s5"] {
        let mut more = prepare(&[name], 3, &hcl);
        let join = format!("-retry-join={}", nodes[0].ip);
        more[0].args(&[&join]);
        more[0].spawn();
        nodes.append(&mut more);
    }
    formed(&nodes);
    healthy(&nodes, 2);
    let all: Vec<&Node> = nodes.iter().collect();
    wait_for_get(&all, "a", "1");

    // A follower leaves, by command.
    let at = (leader(&nodes) + 1) % 5;
    let mut gone = nodes.remove(at);
    let (code, out, _) = gone.cli(&["leave"]);
    assert_eq!((code, out.trim()), (Some(0), "Graceful leave complete"));
    assert_eq!(gone.wait(), Some(0));
    formed(&nodes);
    let all: Vec<&Node> = nodes.iter().collect();
    all_see(&all, &gone.name, "left");

    // The leader leaves, by signal.
    let at = leader(&nodes);
    let mut gone = nodes.remove(at);
    let start = Instant::now();
    let (code, out, err) = gone.cli(&["leave"]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(gone.wait(), Some(0), "left after {:?}", start.elapsed());
    formed(&nodes);
    assert!(put(&nodes[0], "b", "2"));
    let all: Vec<&Node> = nodes.iter().collect();
    wait_for_get(&all, "b", "2");
    on_all(&all, "the catalog without it", |node| {
        node.not_in_catalog(&gone.name)
    });

    // One that left may come back.
    let join = format!("-retry-join={}", nodes[0].ip);
    gone.args(&[&join]);
    gone.spawn();
    nodes.push(gone);
    formed(&nodes);
}

#[test]
fn a_new_server_gets_a_snapshot_where_the_log_begins_too_late() {
    let hcl = format!(
        "{STEADY}{EAGER}{QUICK}raft_snapshot_threshold = 50\nraft_snapshot_interval = \"200ms\"\n\
         raft_trailing_logs = 10\n"
    );
    let mut nodes = three(&hcl);
    for n in 0..300 {
        assert!(put(&nodes[n % 3], &format!("k{n}"), &n.to_string()));
    }
    let snapshots = nodes[0].data("raft/snapshots");
    nodes[0].wait_for("a snapshot", |_| {
        std::fs::read_dir(&snapshots).is_ok_and(|dir| dir.count() > 0)
    });
    let mut more = prepare(&["s4"], 3, &hcl);
    let join = format!("-retry-join={}", nodes[0].ip);
    more[0].args(&[&join]);
    more[0].spawn();
    nodes.append(&mut more);
    formed(&nodes);
    let path = "/v1/kv/k299?raw&stale";
    nodes[3].wait_for("the data of its own", |node| {
        { common::try_request(node.http(), "GET", path, &[]) }
            .is_ok_and(|answer| answer.status == 200 && answer.text() == "299")
    });
    assert!(
        nodes[3]
            .data("raft/snapshots")
            .read_dir()
            .is_ok_and(|dir| dir.count() > 0)
    );
}

#[test]
fn signals_leave_or_stay_as_configured() {
    let stay = format!("{FAST}{EAGER}{QUICK}");
    let leave = format!("{stay}leave_on_terminate = true\nskip_leave_on_interrupt = false\n");
    // (settings, signal, leaves)
    for (hcl, signal, leaves) in [
        (&stay, "-INT", false),
        (&stay, "-TERM", false),
        (&leave, "-INT", true),
        (&leave, "-TERM", true),
    ] {
        let mut nodes = three(hcl);
        let mut gone = nodes.remove(0);
        gone.signal(signal);
        let code = gone.wait();
        assert_eq!(code, Some(i32::from(!leaves)), "{signal} {leaves}");
        let all: Vec<&Node> = nodes.iter().collect();
        let want = if leaves { 2 } else { 3 };
        on_all(&all, "the peers", |node| peers_of(node).len() == want);
        if leaves {
            all_see(&all, "s1", "left");
        }
    }
}

#[test]
fn a_dead_server_is_given_up_and_may_come_back() {
    let hcl = format!("{FAST}{EAGER}{QUICK}");
    let mut nodes = three(&hcl);
    let mut dead = nodes.remove((leader(&nodes) + 1) % 3);
    dead.kill();
    formed(&nodes);
    let all: Vec<&Node> = nodes.iter().collect();
    all_see(&all, &dead.name, "left");
    // Of two, none is a minority.
    healthy(&nodes, 0);
    dead.spawn();
    nodes.push(dead);
    formed(&nodes);
}

#[test]
fn dead_servers_stay_if_the_settings_say_so_until_an_operator_removes_them() {
    let hcl = format!("{FAST}{QUICK}autopilot {{ cleanup_dead_servers = false }}\n");
    let mut nodes = three(&hcl);
    let mut dead = nodes.remove((leader(&nodes) + 1) % 3);
    let id = std::fs::read_to_string(dead.data("node-id")).expect("an identity");
    dead.kill();
    let all: Vec<&Node> = nodes.iter().collect();
    all_see(&all, &dead.name, "failed");
    on_all(&all, "bad health", |node| {
        let told = common::try_request(node.http(), "GET", "/v1/operator/autopilot/health", &[]);
        told.is_ok_and(|told| told.status == 429 && told.json()["FailureTolerance"] == 0)
    });
    // Longer than autopilot would take.
    std::thread::sleep(Duration::from_secs(11));
    assert_eq!(peers_of(all[0]).len(), 3);
    let mut client = Node::client(&Kind::Tribune, "c1", all[0], FAST);
    client.wait_for("the peers through a client", |client| {
        peers_of(client).len() == 3
    });
    let (code, out, err) = client.cli(&["operator", "raft", "remove-peer", "-id", id.trim()]);
    assert_eq!(code, Some(0), "{out}{err}");
    assert_eq!(out.trim(), format!("Removed peer with id {:?}", id.trim()));
    formed(&nodes);
    let (code, _, err) = nodes[1].cli(&["operator", "raft", "remove-peer", "-id", id.trim()]);
    assert_eq!(code, Some(1));
    assert!(
        err.contains("was not found in the Raft configuration"),
        "{err}"
    );
}

#[test]
fn a_cluster_that_moved_as_a_whole_forms_again_by_identity() {
    let mut nodes = three(&format!("{FAST}{QUICK}"));
    assert!(put(&nodes[0], "kept", "1"));
    nodes.iter_mut().for_each(Node::kill);
    nodes.iter_mut().for_each(Node::move_away);
    join_one_another(&mut nodes);
    nodes.iter_mut().for_each(Node::spawn);
    leader(&nodes);
    let all: Vec<&Node> = nodes.iter().collect();
    wait_for_get(&all, "kept", "1");
    on_all(&all, "the new addresses", |node| {
        let peers = peers_of(node);
        nodes.iter().all(|one| {
            { peers.get(&one.name) }.is_some_and(|peer| peer.address == format!("{}:8300", one.ip))
        })
    });
    assert!(put(&nodes[1], "new", "2"));
}

#[test]
fn a_lost_majority_is_recovered_by_a_file() {
    for by_address in [false, true] {
        let mut nodes = three(&format!("{FAST}{QUICK}"));
        assert!(put(&nodes[0], "kept", "1"));
        let all: Vec<&Node> = nodes.iter().collect();
        wait_for_get(&all, "kept", "1");
        nodes.iter_mut().for_each(Node::kill);
        let mut left = nodes.remove(0);
        drop(nodes);
        let file = left.data("raft/peers.json");
        let id = std::fs::read_to_string(left.data("node-id")).expect("an identity");
        // What is wrong is said, and changes nothing.
        for (text, want) in [
            ("[", "EOF"),
            ("[\"nowhere\"]", "is no address"),
            (
                "[{\"id\": \"adf4238a-882b-9ddc-4a9d-5b6758e4159e\", \"address\": \"127.0.0.1:8300\"}]",
                "does not name this server",
            ),
        ] {
            std::fs::write(&file, text).expect("a file");
            left.spawn();
            assert_eq!(left.wait(), Some(1));
            assert!(left.log().contains(want), "{text}: {}", left.log());
            assert!(file.exists());
        }
        let addr = format!("{}:8300", left.ip);
        let text = if by_address {
            format!("[{addr:?}]")
        } else {
            format!(
                "[{{\"id\": {:?}, \"address\": {addr:?}, \"non_voter\": false}}]",
                id.trim()
            )
        };
        std::fs::write(&file, text).expect("a file");
        left.spawn();
        left.wait_for("the recovered data", |left| {
            get(left, "kept").as_deref() == Some("1")
        });
        assert!(!file.exists() && left.data("raft/peers.info").exists());
        assert_eq!(peers_of(&left).len(), 1);
        assert!(put(&left, "new", "2"));
        // The next start finds nothing to recover.
        left.kill();
        left.spawn();
        left.wait_for("the data", |left| get(left, "new").as_deref() == Some("2"));
    }
}

#[test]
fn without_a_majority_nobody_is_said_to_lead() {
    let mut nodes = three(&format!("{FAST}{QUICK}"));
    // Of the two that are left, one leads until the other is gone, too.
    let at = leader(&nodes);
    nodes.swap(0, at);
    nodes[2].kill();
    nodes[1].kill();
    let alone = &nodes[..1].iter().collect::<Vec<_>>();
    on_all(alone, "the leader to give up", |node| {
        node.try_json("/v1/status/leader")
            .is_some_and(|told| told == "")
    });
    let start = Instant::now();
    let refused = alone[0].request("GET", "/v1/kv/x", &[]);
    assert_eq!(
        (refused.status, refused.text().trim()),
        (500, "No cluster leader")
    );
    assert!(
        start.elapsed() >= Duration::from_secs(6),
        "{:?}",
        start.elapsed()
    );
    let stale = alone[0].request("GET", "/v1/kv/x?stale", &[]);
    assert_eq!(stale.status, 404);
    assert_eq!(stale.header("X-Consul-KnownLeader"), Some("false"));
    nodes[1].spawn();
    leader(&nodes[..2]);
    // A follower whose leader is gone gives up, too.
    let at = leader(&nodes[..2]);
    nodes[at].kill();
    let alone = &nodes[1 - at..2 - at].iter().collect::<Vec<_>>();
    on_all(alone, "the follower to give up", |node| {
        node.try_json("/v1/status/leader")
            .is_some_and(|told| told == "")
    });
}

#[test]
fn servers_that_expect_different_numbers_found_nothing_and_say_so() {
    let mut nodes = prepare(&["s1", "s2"], 2, FAST);
    nodes.append(&mut prepare(&["s3"], 3, FAST));
    join_one_another(&mut nodes);
    nodes.iter_mut().for_each(Node::spawn);
    let all: Vec<&Node> = nodes.iter().collect();
    all_alive(&all);
    on_all(&all[2..], "the complaint", |node| {
        node.log().contains("all must expect the same number")
    });
    std::thread::sleep(Duration::from_secs(2));
    // The first two may have found each other before the third came.
    assert!(leader_addr(all[2]).is_none() || peers_of(all[0]).len() == 3);
}

#[test]
fn a_server_that_expects_others_is_added_to_a_cluster_that_is_there() {
    let hcl = format!("{STEADY}{EAGER}");
    let first = Node::server(&Kind::Tribune, "s1", &hcl);
    let mut nodes = vec![first];
    for name in ["s2", "s3"] {
        let mut more = prepare(&[name], 3, &hcl);
        let join = format!("-retry-join={}", nodes[0].ip);
        more[0].args(&[&join]);
        more[0].spawn();
        nodes.append(&mut more);
    }
    formed(&nodes);
    assert!(put(&nodes[2], "a", "1"));
}

#[test]
fn a_consul_server_gets_no_vote_and_tribune_says_why() {
    let Some(consul) = consul() else { return };
    let nodes = three(&format!("{STEADY}{QUICK}"));
    let hcl = format!(
        "server = true\nretry_join = [\"{}\"]\nconnect {{ enabled = false }}\n{STEADY}",
        nodes[0].ip
    );
    let mut stranger = Node::prepare(&consul, "stranger", &hcl);
    stranger.spawn();
    let all: Vec<&Node> = nodes.iter().collect();
    on_all(&all[..1], "the refusal in the log", |node| {
        node.log().contains("server of another make")
    });
    stranger.wait_for("HTTP", |node| node.try_json("/v1/agent/self").is_some());
    std::thread::sleep(Duration::from_secs(3));
    for node in &all {
        assert_eq!(peers_of(node).len(), 3);
        assert!(node.not_in_catalog("stranger"));
        assert!(!node.members().contains_key("stranger"));
    }
    assert!(put(&nodes[1], "a", "1"));
}
