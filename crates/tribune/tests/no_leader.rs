//! What one sees of a datacenter whose servers have lost their majority: of Tribune, and of Consul (where `CONSUL_BIN` names
//! a Consul 1.8.7).

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use common::datacenter::three_servers;
use common::pool::{Kind, Node, STEADY, consul, on_all};

/// Elections and their end are soon, and requests wait little for a leader.
const QUICK: &str = "performance { raft_multiplier = 1 rpc_hold_timeout = \"500ms\" }\n";

fn the_ui_shows_what_was_there(kind: &Kind) {
    let mut servers = three_servers(kind, &format!("{STEADY}{QUICK}"));
    let body = "{\"Node\":\"outside\",\"Address\":\"10.1.2.3\",\"Service\":{\"Service\":\"web\"}}";
    let registered = servers[0].request_of(kind, "PUT", "/v1/catalog/register", body.as_bytes());
    assert_eq!(registered.status, 200, "{}", registered.text());
    let paths = [
        "/v1/internal/ui/nodes",
        "/v1/internal/ui/node/outside",
        "/v1/internal/ui/services",
    ];
    let shows = |node: &Node, path: &str| {
        let shown = node.request("GET", path, &[]);
        shown.status == 200 && shown.text().contains("web")
    };
    on_all(&[&servers[0]], "what was registered", |node| {
        node.request("GET", "/v1/catalog/service/web?stale", &[])
            .text()
            .contains("web")
    });
    servers[1].kill();
    servers[2].kill();
    let left = &servers[0];
    on_all(&[left], "that nobody leads", |node| {
        node.try_json("/v1/status/leader")
            .is_some_and(|it| it == "")
    });
    for path in paths {
        assert!(shows(left, path), "{path}");
        let shown = left.request("GET", path, &[]);
        assert_eq!(
            shown.header("X-Consul-KnownLeader"),
            Some("false"),
            "{path}"
        );
        let refused = left.request("GET", &format!("{path}?consistent"), &[]);
        assert_eq!(refused.status, 500, "{path}");
    }
    // Any state will do, or none.
    let stale = left.request("GET", "/v1/snapshot?stale", &[]);
    assert_eq!(stale.status, 200, "{}", stale.text());
    for path in [
        "/v1/catalog/nodes",
        "/v1/health/service/web",
        "/v1/snapshot",
    ] {
        let refused = left.request("GET", path, &[]);
        let refused = (refused.status, refused.text());
        assert_eq!(refused, (500, "No cluster leader".to_owned()), "{path}");
    }
}

#[test]
fn the_ui_shows_what_is_left() {
    the_ui_shows_what_was_there(&Kind::Tribune);
}

#[test]
fn the_ui_of_consul_does_as_well() {
    let Some(consul) = consul() else { return };
    the_ui_shows_what_was_there(&consul);
}
