//! A datacenter of three servers of one kind, and the readiness of its parts.

use std::time::{Duration, Instant};

use super::pool::{Kind, LONG, Node, on_all};

/// Three servers that founded a cluster together: all vote, one leads, all are registered.
pub fn three_servers(kind: &Kind, hcl: &str) -> Vec<Node> {
    let hcl = format!("server = true\nbootstrap_expect = 3\nretry_interval = \"200ms\"\n{hcl}");
    let mut servers: Vec<Node> = ["s1", "s2", "s3"]
        .iter()
        .map(|name| Node::prepare(kind, name, &hcl))
        .collect();
    let joins: Vec<String> = { servers.iter() }
        .map(|server| format!("-retry-join={}", server.ip))
        .collect();
    let joins: Vec<&str> = joins.iter().map(String::as_str).collect();
    for server in &mut servers {
        server.args(&joins);
        server.spawn();
    }
    let all: Vec<&Node> = servers.iter().collect();
    on_all(&all, "the end of its join", |server| server.joins() == 1);
    on_all(&all, "three voters", |server| voters(server) == 3);
    on_all(&all, "the servers in the catalog", |server| {
        ["s1", "s2", "s3"]
            .iter()
            .all(|name| server.health(name).as_deref() == Some("passing"))
    });
    servers
}

/// A client of these servers, registered.
pub fn client_of(kind: &Kind, name: &str, servers: &[Node], hcl: &str) -> Node {
    let joins: Vec<String> = { servers.iter() }
        .map(|server| format!("\"{}\"", server.ip))
        .collect();
    let hcl = format!(
        "retry_join = [{}]\nretry_interval = \"200ms\"\n{hcl}",
        joins.join(", ")
    );
    let mut client = Node::prepare(kind, name, &hcl);
    client.spawn();
    client.wait_for("the end of its join", |client| client.joins() == 1);
    client.wait_for("its registration", |client| {
        client.health(name).as_deref() == Some("passing")
    });
    client
}

/// How many servers vote, as the leader tells this agent.
pub fn voters(node: &Node) -> usize {
    let told = node.try_json("/v1/operator/raft/configuration");
    let servers = told.and_then(|told| told["Servers"].as_array().cloned());
    let servers = servers.unwrap_or_default();
    { servers.iter() }
        .filter(|server| server["Voter"] == true)
        .count()
}

/// Position of the server that this agent takes for the leader.
pub fn leader(told_by: &Node, servers: &[Node]) -> usize {
    let deadline = Instant::now() + LONG;
    loop {
        let told = told_by.try_json("/v1/status/leader");
        let addr = told.as_ref().and_then(|told| told.as_str());
        let found =
            { servers.iter() }.position(|server| addr == Some(&format!("{}:8300", server.ip)));
        if let Some(found) = found {
            return found;
        }
        assert!(Instant::now() < deadline, "no leader: {told:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
