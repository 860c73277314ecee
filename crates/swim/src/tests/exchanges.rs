//! Exchanged states (gossip.md sections 4.1, 4.2 and 6.8).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::bench::*;
use crate::action::{Action, Notice};
use crate::message::{NodeState, Peer, PushPull, RemoteNode, Versions};
use crate::options::{Admit, Refusal};
use crate::swim::MergeError;

use NodeState::{Alive as Up, Dead, Left, Suspect};

fn remote(name: &str, n: u8, incarnation: u32, state: NodeState) -> RemoteNode {
    RemoteNode {
        peer: peer(name, n),
        incarnation,
        state,
    }
}

fn speaking(name: &str, state: NodeState, versions: Option<[u8; 6]>) -> RemoteNode {
    let mut node = remote(name, 9, 1, state);
    let mut peer = Peer::clone(&node.peer);
    peer.versions = versions.map(Versions);
    node.peer = Arc::new(peer);
    node
}

fn merge(
    bench: &mut Bench,
    nodes: Vec<RemoteNode>,
    join: bool,
) -> (Result<(), MergeError>, Vec<Notice>) {
    let remote = PushPull {
        join,
        nodes,
        user_state: Vec::new(),
    };
    let mut out = Vec::new();
    let result = bench.swim.merge(bench.now, &remote, join, &mut out);
    bench.swim.table.check();
    (result, notices(out))
}

#[test]
fn entries_are_taken_over_as_the_table_says() {
    // (remote state) -> (state here, notices); b was alive here at 5, x is unknown.
    for (state, here, told) in [
        (Up, (Up, 7), vec![]),
        (Suspect, (Suspect, 7), vec![]),
        (Dead, (Suspect, 7), vec![]),
        (Left, (Left, 7), vec![Notice::Gone(peer("b", 2))]),
    ] {
        let mut bench = Bench::knowing(&["b", "c"]);
        let nodes = vec![remote("b", 2, 7, state)];
        let (result, got) = merge(&mut bench, nodes, false);
        assert_eq!((result, got), (Ok(()), told), "{state:?}");
        assert_eq!(bench.state("b"), Some(here), "{state:?}");
        let queued = bench.queued();
        let want = match here.0 {
            Suspect => suspect("b", 7, "self"),
            Left => dead("b", 7, "b"),
            _ => alive(peer("b", 2), 7),
        };
        assert_eq!(queued, [want], "{state:?}");

        let (_, got) = merge(&mut bench, vec![remote("x", 3, 2, state)], false);
        let joined = vec![Notice::Joined(peer("x", 3))];
        assert_eq!(got, if state == Up { joined } else { vec![] });
        assert_eq!(bench.state("x").is_some(), state == Up);
    }
}

#[test]
fn a_restarted_node_learns_from_its_own_entry_to_raise_its_incarnation() {
    for (state, incarnation, want) in [
        (Up, 1, 1),
        (Up, 4, 5),
        (Suspect, 4, 5),
        (Dead, 9, 10),
        (Left, 9, 10),
        (Suspect, u32::MAX, u32::MAX),
    ] {
        let mut bench = Bench::new();
        let nodes = vec![remote("b", 2, 3, Up), remote("self", 1, incarnation, state)];
        merge(&mut bench, nodes, true).0.unwrap();
        assert_eq!(bench.state("self"), Some((Up, want)), "{state:?}");
        let denied = bench.queued().contains(&alive(peer("self", 1), want));
        assert_eq!(denied, (state, incarnation) != (Up, 1), "{state:?}");
    }
}

#[test]
fn a_port_of_zero_takes_ours() {
    let mut bench = Bench::new();
    let mut node = remote("b", 2, 3, Up);
    let mut peer = Peer::clone(&node.peer);
    peer.addr.set_port(0);
    node.peer = Arc::new(peer);
    merge(&mut bench, vec![node], true).0.unwrap();
    assert_eq!(bench.swim.entry("b").unwrap().peer.addr, addr(2));
}

#[test]
fn versions_that_exclude_one_another_stop_the_merge() {
    let consul = Some([1, 5, 2, 2, 5, 4]);
    // (remote nodes) -> error
    for (nodes, want) in [
        (vec![speaking("x", Up, consul)], None),
        (
            vec![speaking("x", Up, Some([1, 5, 6, 2, 5, 4]))],
            Some("Node 'x' protocol version (6) is incompatible: [1, 5]"),
        ),
        (
            vec![speaking("x", Up, Some([6, 9, 6, 2, 5, 4]))],
            Some("Node 'x' protocol version (6) is incompatible: [6, 5]"),
        ),
        (
            vec![speaking("x", Up, Some([1, 5, 2, 2, 5, 6]))],
            Some("Node 'x' delegate protocol version (6) is incompatible: [2, 5]"),
        ),
        // The dead do not narrow the range, but must fit into it.
        (vec![speaking("x", Dead, Some([3, 3, 2, 2, 5, 4]))], None),
        (
            vec![speaking("x", Dead, Some([1, 5, 7, 2, 5, 4]))],
            Some("Node 'x' protocol version (7) is incompatible: [1, 5]"),
        ),
        (
            vec![speaking("x", Left, None)],
            Some("Node 'x' protocol version (0) is incompatible: [1, 5]"),
        ),
        // A remote range that excludes us: the first entry that does not fit is told.
        (
            vec![speaking("x", Up, Some([3, 5, 3, 2, 5, 4]))],
            Some("Node 'self' protocol version (2) is incompatible: [3, 5]"),
        ),
    ] {
        let mut bench = Bench::new();
        let (result, got) = merge(&mut bench, nodes.clone(), false);
        match want {
            None => assert_eq!(result, Ok(()), "{nodes:?}"),
            Some(text) => {
                assert_eq!(result, Err(MergeError::Versions(text.to_owned())));
                assert_eq!((got, bench.swim.len()), (vec![], 1));
            }
        }
    }
}

struct NoStrangers;

impl Admit for NoStrangers {
    fn address(&self, _: IpAddr) -> bool {
        true
    }
    fn alive(&self, peer: &Peer) -> Result<(), Refusal> {
        match &*peer.name {
            "stranger" => Err(Refusal("a stranger".to_owned())),
            _ => Ok(()),
        }
    }
    fn join(&self, nodes: &[RemoteNode]) -> Result<(), Refusal> {
        nodes.iter().try_for_each(|node| self.alive(&node.peer))
    }
}

#[test]
fn a_join_is_refused_as_a_whole_and_an_exchange_entry_by_entry() {
    for join in [true, false] {
        let mut options = options();
        options.admit = Arc::new(NoStrangers);
        let mut bench = Bench::with(options);
        let nodes = vec![
            remote("b", 2, 1, Up),
            remote("stranger", 3, 1, Up),
            remote("c", 4, 1, Up),
        ];
        let (result, got) = merge(&mut bench, nodes, join);
        if join {
            assert_eq!(result, Err(MergeError::Refused("a stranger".to_owned())));
            assert_eq!((got, bench.swim.len()), (vec![], 1));
        } else {
            assert_eq!(result, Ok(()));
            let kinds: Vec<bool> = got.iter().map(is_refusal).collect();
            assert_eq!(kinds, [false, true, false]);
            assert_eq!(bench.swim.len(), 3);
        }
    }
}

#[test]
fn a_hostile_table_gives_a_bounded_number_of_warnings() {
    let mut options = options();
    options.nodes_max = 10;
    let mut bench = Bench::with(options);
    let nodes = (0..10_000).map(|n| remote(&format!("n{n}"), 2, 1, Up));
    let (result, got) = merge(&mut bench, nodes.collect(), false);
    assert_eq!(result, Ok(()));
    assert_eq!(bench.swim.len(), 10);
    assert!(got.len() <= 9 + 16, "{}", got.len());
}

#[test]
fn the_state_told_holds_everybody_once_in_any_state() {
    let mut bench = Bench::knowing(&["b", "c", "d"]);
    bench.hear(dead("b", 6, "x"));
    bench.hear(dead("c", 7, "c"));
    bench.hear(suspect("d", 8, "x"));
    for join in [true, false] {
        let mut told = bench.swim.state(join);
        assert_eq!((told.join, told.user_state.len()), (join, 0));
        told.nodes.sort_by(|a, b| a.peer.name.cmp(&b.peer.name));
        let want = [
            remote("b", 2, 6, Dead),
            remote("c", 3, 7, Left),
            remote("d", 4, 8, Suspect),
            remote("self", 1, 1, Up),
        ];
        assert_eq!(told.nodes, want);
    }
}

#[test]
fn exchanges_begin_after_a_delay_and_choose_the_living() {
    let mut bench = Bench::knowing(&["b", "c", "d"]);
    bench.hear(dead("b", 5, "b"));
    let mut times = Vec::new();
    for _ in 0..200 {
        for (at, action) in bench.run_ms(1_000) {
            if let Action::PushPull { to, node } = action {
                assert_ne!((to, &*node), (addr(2), "b"));
                times.push(at);
            }
        }
        // Probes fail here; the suspects deny it.
        for (n, name) in [(3, "c"), (4, "d")] {
            let (state, incarnation) = bench.state(name).unwrap();
            if state != Up {
                bench.hear(alive(peer(name, n), incarnation + 1));
            }
        }
    }
    let first = times[0].since(START);
    assert!(first >= Duration::from_secs(30) && first < Duration::from_secs(60));
    for pair in times.windows(2) {
        assert_eq!(pair[1].since(pair[0]), Duration::from_secs(30));
    }
}

#[test]
fn stream_pings_for_us_or_nobody_are_answered() {
    let bench = Bench::new();
    for (node, want) in [
        ("self", true),
        ("", true),
        ("other", false),
        ("Self", false),
    ] {
        assert_eq!(bench.swim.answers_stream_ping(node), want, "{node}");
    }
}
