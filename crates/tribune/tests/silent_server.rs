//! The server that a client agent talks to stands still, with all its connections open: reads go on at another one long
//! before gossip tells, and what was on its way is neither lost nor done twice. With Tribune's servers, and with real ones
//! where `CONSUL_BIN` names a Consul 1.8.7.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use std::time::{Duration, Instant};

use common::datacenter::{client_of, three_servers, voters};
use common::pool::{Kind, Node, consul, on_all};
use common::try_request;

/// Elections take little.
const QUICK: &str = "performance { raft_multiplier = 1 }\n";
/// Gossip at default timing takes six seconds and more; the agent itself less than one, on a machine that has nothing else
/// to do.
const SOON_ENOUGH: Duration = Duration::from_secs(3);

#[test]
fn reads_go_on_while_the_server_stands_still_and_a_write_is_not_done_twice() {
    for kind in [Some(Kind::Tribune), consul()].into_iter().flatten() {
        let servers = three_servers(&kind, QUICK);
        let client = client_of(&Kind::Tribune, "c", &servers, "");
        let put = client.request_of(&kind, "PUT", "/v1/kv/k", b"v");
        assert_eq!(put.text().trim(), "true");
        let all: Vec<&Node> = servers.iter().collect();
        on_all(&all, "the key", |server| {
            server.request("GET", "/v1/kv/k?stale", &[]).status == 200
        });
        // One of them is the one that the client asks.
        for still in &servers {
            stand_still(&client, still);
        }
        let log = client.log();
        assert!(log.contains("says nothing"), "{log}");
    }
}

/// A server stops and goes on.
fn stand_still(client: &Node, still: &Node) {
    let name = format!("while-{}-stood", still.name);
    let session = format!("{{\"Name\":\"{name}\"}}");
    let stopped = Instant::now();
    still.signal("-STOP");
    std::thread::scope(|scope| {
        let write = scope.spawn(|| {
            let path = "/v1/session/create";
            try_request(client.http(), "PUT", path, session.as_bytes())
        });
        let read = client.request("GET", "/v1/kv/k?stale&raw", &[]);
        let took = stopped.elapsed();
        println!("{:?}: the first read took {took:?}", still.kind);
        assert_eq!((read.status, read.text().as_str()), (200, "v"));
        assert!(took < SOON_ENOUGH, "{took:?}\n{}", client.log());
        // Later ones notice nothing.
        let begun = Instant::now();
        for _ in 0..20 {
            let read = client.request("GET", "/v1/kv/k?stale", &[]);
            assert_eq!(read.status, 200);
        }
        let took = begun.elapsed();
        assert!(took < SOON_ENOUGH, "{took:?}\n{}", client.log());
        still.signal("-CONT");
        let written = write.join().expect("no panic").expect("an answer");
        on_all(&[client], "three voters", |client| voters(client) == 3);
        let path = "/v1/session/list?consistent";
        let all = client.request_of(&still.kind, "GET", path, &[]);
        let made = all.text().matches(&name).count();
        // A server that led may have lost its office over it, and does not know what became of it.
        let least = usize::from(written.status == 200);
        assert!((least..=1).contains(&made), "{made}\n{}", all.text());
    });
    // Gossip may have taken it for dead.
    on_all(&[client], "all alive", |client| {
        let members = client.try_json("/v1/agent/members");
        let members = members.and_then(|members| members.as_array().cloned());
        let alive = { members.iter().flatten() }.filter(|member| member["Status"] == 1);
        alive.count() == 4
    });
}
