//! One pool of Tribune and of real Consul agents. Runs where `CONSUL_BIN` names a Consul 1.8.7.

#![allow(
    clippy::disallowed_methods,
    reason = "a test of the real process lives in real time"
)]

mod common;

use common::pool::{FAST, KEY, Kind, Node, OTHER_KEY, all_alive, all_see, consul, on_all};

/// A server of one kind with a client of each.
struct Mixed {
    server: Node,
    ours: Node,
    theirs: Node,
}

impl Mixed {
    fn new(server: &Kind, theirs: &Kind, hcl: &str) -> Mixed {
        let hcl = format!("{FAST}{hcl}");
        let server = Node::server(server, "server", &hcl);
        // One joins the server, the other is joined by it.
        let ours = Node::client(&Kind::Tribune, "ours", &server, &hcl);
        let mut other = Node::prepare(theirs, "theirs", &hcl);
        other.spawn();
        other.wait_for("HTTP", |node| !node.members().is_empty());
        let joined = server.put(&format!("/v1/agent/join/{}", other.ip), "");
        assert_eq!(joined.status, 200, "{}", joined.text());
        let mixed = Mixed {
            server,
            ours,
            theirs: other,
        };
        all_alive(&mixed.all());
        mixed
    }

    fn all(&self) -> [&Node; 3] {
        [&self.server, &self.ours, &self.theirs]
    }

    fn events_cross(&self) {
        for (at, node) in self.all().into_iter().enumerate() {
            let name = format!("event-{at}");
            let fired = node.put(&format!("/v1/event/fire/{name}"), "payload");
            assert_eq!(fired.status, 200, "{}", fired.text());
            on_all(&self.all(), &name, |node| node.events().contains(&name));
        }
    }

    fn members_come_and_go(&mut self) {
        for name in ["ours", "theirs"] {
            on_all(&[&self.server], "the registration", |node| {
                node.health(name).as_deref() == Some("passing")
            });
        }
        // Killed, and back again with an incarnation that others have to be told about.
        self.ours.kill();
        all_see(&[&self.server, &self.theirs], "ours", "failed");
        on_all(&[&self.server], "the failure", |node| {
            node.health("ours").as_deref() == Some("critical")
        });
        self.ours.spawn();
        all_alive(&self.all());
        self.theirs.kill();
        all_see(&[&self.server, &self.ours], "theirs", "failed");
        self.theirs.spawn();
        all_alive(&self.all());

        // Left by itself.
        assert_eq!(self.ours.put("/v1/agent/leave", "").status, 200);
        all_see(&[&self.server, &self.theirs], "ours", "left");
        assert_eq!(self.ours.wait(), Some(0));
        on_all(&[&self.server], "the leave", |node| {
            node.not_in_catalog("ours")
        });
        let hcl_join = self.server.ip.to_string();
        self.ours.args(&["-join", &hcl_join]);
        self.ours.spawn();
        all_alive(&self.all());
        assert_eq!(self.theirs.put("/v1/agent/leave", "").status, 200);
        all_see(&[&self.server, &self.ours], "theirs", "left");
        self.theirs.wait();
        self.theirs.args(&["-join", &hcl_join]);
        self.theirs.spawn();
        all_alive(&self.all());

        // Declared as left by an agent of the other kind.
        self.theirs.kill();
        all_see(&[&self.server, &self.ours], "theirs", "failed");
        let forced = self.ours.put("/v1/agent/force-leave/theirs", "");
        assert_eq!(forced.status, 200, "{}", forced.text());
        all_see(&[&self.server, &self.ours], "theirs", "left");
        let forced = self.server.put("/v1/agent/force-leave/theirs?prune", "");
        assert_eq!(forced.status, 200, "{}", forced.text());
        all_see(&[&self.server, &self.ours], "theirs", "gone");
    }

    fn keys_rotate(&self) {
        let keys = |args: &[&str]| {
            let (code, out, err) = self.server.cli(&[&["keyring"], args].concat());
            assert_eq!(code, Some(0), "{args:?} {out}{err}");
            out
        };
        let out = keys(&["-list"]);
        assert!(out.contains(&format!("{KEY} [3/3]")), "{out}");
        keys(&["-install", OTHER_KEY]);
        keys(&["-use", OTHER_KEY]);
        keys(&["-remove", KEY]);
        let out = keys(&["-list"]);
        assert!(out.contains(&format!("{OTHER_KEY} [3/3]")), "{out}");
        self.events_cross();
        all_alive(&self.all());
    }
}

#[test]
fn a_consul_server_takes_tribune_clients_for_its_own() {
    let Some(consul) = consul() else { return };
    let mut mixed = Mixed::new(&consul, &consul, "");
    mixed.events_cross();
    mixed.members_come_and_go();
}

#[test]
fn a_tribune_server_serves_consul_clients() {
    let Some(consul) = consul() else { return };
    let mut mixed = Mixed::new(&Kind::Tribune, &consul, "");
    mixed.events_cross();
    mixed.members_come_and_go();
}

#[test]
fn encrypted_pools_are_mixed_and_their_keys_rotate_and_outlive_restarts() {
    let Some(consul) = consul() else { return };
    // Both at once, since this is mostly waiting.
    std::thread::scope(|scope| {
        for server in [&consul, &Kind::Tribune] {
            let consul = &consul;
            scope.spawn(move || {
                let mut mixed = Mixed::new(server, consul, &format!("encrypt = \"{KEY}\"\n"));
                mixed.keys_rotate();
                // Whoever restarts from now on has the new key from its file, not the old one of its configuration.
                mixed.members_come_and_go();
            });
        }
    });
}

#[test]
fn a_consul_client_of_another_datacenter_is_refused_on_both_sides() {
    let Some(consul) = consul() else { return };
    let server = Node::server(&Kind::Tribune, "server", FAST);
    let mut stranger = Node::prepare(
        &consul,
        "stranger",
        &format!("{FAST}datacenter = \"dc2\"\n"),
    );
    stranger.spawn();
    stranger.wait_for("HTTP", |node| !node.members().is_empty());
    for (from, to) in [(&stranger, &server), (&server, &stranger)] {
        let refused = from.put(&format!("/v1/agent/join/{}", to.ip), "");
        assert_eq!(refused.status, 500, "{}", refused.text());
        assert!(
            refused.text().contains("part of wrong datacenter"),
            "{}",
            refused.text()
        );
    }
    assert_eq!(server.members().len(), 1);
    assert_eq!(stranger.members().len(), 1);
}
