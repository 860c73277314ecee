//! Tribune and real Consul agents side by side, on Consul's own timing: failures are noticed no later, and nothing flaps.
//! Runs where `CONSUL_BIN` names a Consul 1.8.7. What the kinds say to one another is tested in `beside_consul`.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::dns;
use common::pool::{FAST, Kind, Node, all_alive, all_see, consul, on_all};

/// A failure spreads from whoever notices first; the others hear of it in a few rounds of gossip.
const SPREAD: Duration = Duration::from_secs(2);

fn signal(node: &Node, signal: &str) {
    let sent = Command::new("kill")
        .args([signal, &node.pid().to_string()])
        .status()
        .expect("kill runs");
    assert!(sent.success());
}

/// When every agent of each kind had seen it: ours, theirs.
fn latest(nodes: &[&Node], took: &[Duration]) -> [Duration; 2] {
    [true, false].map(|ours| {
        let of_kind = nodes
            .iter()
            .zip(took)
            .filter(|(node, _)| (node.kind == Kind::Tribune) == ours);
        of_kind.map(|(_, took)| *took).max().unwrap_or_default()
    })
}

#[test]
fn a_killed_agent_of_either_kind_is_failed_on_all_in_the_time_consul_takes() {
    let Some(consul) = consul() else { return };
    let kinds = [Kind::Tribune, consul];
    // Both pools at once, since this is mostly waiting.
    std::thread::scope(|scope| {
        for server in &kinds {
            let kinds = &kinds;
            scope.spawn(move || kill_one_of_each(server, kinds));
        }
    });
}

fn kill_one_of_each(server: &Kind, kinds: &[Kind; 2]) {
    let server = Node::server(server, "server", "");
    let mut clients: Vec<Node> = Vec::new();
    for (kind, word) in kinds.iter().zip(["ours", "theirs"]) {
        for number in 0..3 {
            clients.push(Node::client(kind, &format!("{word}{number}"), &server, ""));
        }
    }
    let mut all: Vec<&Node> = vec![&server];
    all.extend(&clients);
    all_alive(&all);
    for victim in ["ours0", "theirs0"] {
        let at = clients.iter().position(|node| node.name == victim);
        let mut victim = clients.remove(at.expect("it is there"));
        let mut rest: Vec<&Node> = vec![&server];
        rest.extend(&clients);
        on_all(&[&server], "the registration", |node| {
            node.health(&victim.name).as_deref() == Some("passing")
        });
        victim.kill();
        let took = all_see(&rest, &victim.name, "failed");
        let [ours, theirs] = latest(&rest, &took);
        println!(
            "{:?}: {} failed: ours {ours:?}, theirs {theirs:?}",
            server.kind, victim.name
        );
        for (node, took) in rest.iter().zip(&took) {
            let late = node.kind == Kind::Tribune && *took > theirs + SPREAD;
            assert!(
                !late,
                "{} noticed {} late: {took:?}, theirs {theirs:?}\n{}",
                node.name,
                victim.name,
                node.log()
            );
        }
        on_all(&[&server], "the failure in the catalog", |node| {
            node.health(&victim.name).as_deref() == Some("critical")
        });
    }
}

#[test]
fn a_paused_agent_of_either_kind_comes_back_by_refuting() {
    let Some(consul) = consul() else { return };
    let server = Node::server(&Kind::Tribune, "server", FAST);
    let ours = Node::client(&Kind::Tribune, "ours", &server, FAST);
    let theirs = Node::client(&consul, "theirs", &server, FAST);
    let all = [&server, &ours, &theirs];
    all_alive(&all);
    for paused in [&ours, &theirs] {
        let rest: Vec<&Node> = all.into_iter().filter(|n| n.name != paused.name).collect();
        signal(paused, "-STOP");
        all_see(&rest, &paused.name, "failed");
        signal(paused, "-CONT");
        all_alive(&all);
    }
}

#[test]
fn services_of_either_kind_are_found_through_either_kind() {
    let Some(consul) = consul() else { return };
    for server in [&Kind::Tribune, &consul] {
        let server = Node::server(server, "server", FAST);
        let ours = Node::client(&Kind::Tribune, "ours", &server, FAST);
        let mut theirs = Node::client(&consul, "theirs", &server, FAST);
        let all = [&server, &ours, &theirs];
        all_alive(&all);
        for node in [&ours, &theirs] {
            let body = format!(r#"{{"Name": "web-{}", "Port": 80}}"#, node.name);
            let answer = node.put("/v1/agent/service/register", &body);
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let records = |node: &Node, name: &str| {
            let name = format!("web-{name}.service.consul");
            dns::ask(node.dns(), &name, dns::A).records.len()
        };
        for name in ["ours", "theirs"] {
            on_all(&all, "the service", |node| records(node, name) == 1);
        }
        theirs.kill();
        on_all(&[&server, &ours], "the end of the service", |node| {
            records(node, "theirs") == 0 && records(node, "ours") == 1
        });
    }
}

/// Ten agents for `TRIBUNE_SOAK_SECS` seconds (600): nobody is ever anything but alive.
#[test]
#[ignore = "takes ten minutes; set TRIBUNE_SOAK_SECS for another time"]
fn ten_agents_do_not_flap() {
    let Some(consul) = consul() else { return };
    let secs = std::env::var("TRIBUNE_SOAK_SECS")
        .ok()
        .and_then(|secs| secs.parse().ok())
        .unwrap_or(600);
    let server = Node::server(&Kind::Tribune, "server", "");
    let mut nodes = vec![server];
    for number in 1..10 {
        let kind = if number % 2 == 0 {
            &consul
        } else {
            &Kind::Tribune
        };
        let node = Node::client(kind, &format!("n{number}"), &nodes[0], "");
        nodes.push(node);
    }
    let all: Vec<&Node> = nodes.iter().collect();
    all_alive(&all);
    let resident = |node: &Node| {
        let status = std::fs::read_to_string(format!("/proc/{}/status", node.pid()));
        let status = status.expect("it runs");
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        line.unwrap_or_default().to_owned()
    };
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(secs) {
        for node in &all {
            let members = node.members();
            assert_eq!(members.len(), 10, "{}: {members:?}", node.name);
            let wrong = members.iter().find(|(_, status)| **status != "alive");
            assert_eq!(wrong, None, "as {} sees it:\n{}", node.name, node.log());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    // What came and went between the looks.
    for node in &all {
        let log = node.log();
        for trouble in ["EventMemberFailed", "EventMemberLeave", "EventMemberReap"] {
            assert!(!log.contains(trouble), "{}:\n{log}", node.name);
        }
        println!("{} {:?} {}", node.name, node.kind, resident(node));
    }
}
