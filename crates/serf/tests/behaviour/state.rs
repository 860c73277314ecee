//! Exchanged states and conflicts (gossip.md sections 7.7 and 7.9).

use std::sync::Arc;

use tribune_serf::{Action, MemberChange, StateExchange};
use tribune_swim::{NodeState, Peer, PushPull, RemoteNode, Versions};
use tribune_types::member::MemberStatus::{Alive, Leaving, Left};
use tribune_types::text::text;

use crate::codec::{decode_state, state_bytes};
use crate::pool::Pool;
use crate::solo::{Solo, addr, changes, secs};

fn merge(solo: &mut Solo, state: &StateExchange) -> Vec<Action> {
    let mut out = Vec::new();
    let remote = PushPull {
        user_state: state_bytes(state),
        ..PushPull::default()
    };
    solo.serf
        .merge(solo.now, &remote, false, false, &mut out)
        .expect("merged");
    out
}

#[test]
fn the_state_tells_clocks_times_and_who_left() {
    let mut solo = Solo::among(4);
    solo.join_intent("n3", 8);
    solo.leaves("n2", 5);
    let state = decode_state(&solo.serf.state(true).user_state).expect("own");
    assert_eq!(
        (state.ltime, state.event_ltime, state.query_ltime),
        (9, 1, 1)
    );
    assert_eq!(state.left, [text("n2")]);
    let times = [("me", 0), ("n2", 5), ("n3", 8), ("n4", 0)];
    assert_eq!(
        state.status_ltimes,
        times.map(|(name, time)| (text(name), time))
    );
    assert!(solo.serf.state(true).join && !solo.serf.state(false).join);
}

#[test]
fn merging_moves_clocks_and_takes_intents_over() {
    let mut solo = Solo::among(4);
    solo.leave_intent("n4", 6, false);
    solo.dead("n3", "n2");
    let state = StateExchange {
        ltime: 50,
        event_ltime: 60,
        query_ltime: 0,
        status_ltimes: [("n4", 7), ("n3", 9), ("n2", 0), ("unknown", 11)]
            .map(|(name, time)| (text(name), time))
            .to_vec(),
        left: vec![text("n3")],
        ..StateExchange::default()
    };
    let out = merge(&mut solo, &state);
    let stats = solo.serf.stats();
    assert_eq!(
        (stats.member_time, stats.event_time, stats.query_time),
        (50, 60, 1)
    );
    assert_eq!((solo.status("n4"), solo.ltime("n4")), (Alive, 7));
    assert_eq!(
        (solo.status("n3"), solo.ltime("n3")),
        (Left, 10),
        "one later"
    );
    assert_eq!(changes(&out), [(MemberChange::Left, text("n3"))]);
    assert_eq!(solo.queued()[0], 1, "only what came by packet is spread");
    solo.alive("unknown", 9);
    assert_eq!(solo.ltime("unknown"), 11);
}

#[test]
fn being_called_left_is_refuted() {
    let mut solo = Solo::among(2);
    let state = StateExchange {
        ltime: 10,
        status_ltimes: vec![(text("me"), 9)],
        left: vec![text("me"), text("me")],
        ..StateExchange::default()
    };
    merge(&mut solo, &state);
    assert_eq!(solo.status("me"), Alive);
    assert_eq!(solo.queued()[0], 1);
    assert!(solo.ltime("me") > 10);
}

#[test]
fn a_leave_that_was_said_behind_ones_back_is_refuted() {
    // (the time that others know of us, join intents spread, the own time afterwards): ours is 3.
    for (known, spread, want) in [(2, 0, 3), (3, 0, 3), (4, 1, 20), (19, 1, 20)] {
        let mut solo = Solo::among(2);
        solo.join_intent("me", 3);
        let queued = solo.queued()[0];
        let state = StateExchange {
            ltime: 20,
            status_ltimes: vec![(text("me"), known), (text("n2"), 9)],
            ..StateExchange::default()
        };
        merge(&mut solo, &state);
        assert_eq!(solo.status("me"), Alive, "{known}");
        assert_eq!(solo.queued()[0], queued + spread, "{known}");
        assert_eq!(solo.ltime("me"), want, "{known}");
        // Once.
        merge(&mut solo, &state);
        assert_eq!(solo.queued()[0], queued + spread, "{known}");
    }
}

#[test]
fn a_left_member_without_a_time_is_left_since_the_beginning() {
    let mut solo = Solo::among(2);
    let state = StateExchange {
        left: vec![text("n2")],
        ..StateExchange::default()
    };
    merge(&mut solo, &state);
    assert_eq!((solo.status("n2"), solo.ltime("n2")), (Leaving, 1));
}

#[test]
fn who_has_not_heard_of_a_return_does_not_make_it_a_leave() {
    // (what the other side has in its node table of n2, which is alive here with incarnation 5; status afterwards)
    for (there, want) in [
        (None, Alive),
        (Some((NodeState::Left, 4)), Alive),
        (Some((NodeState::Dead, 4)), Alive),
        (Some((NodeState::Dead, 5)), Alive),
        (Some((NodeState::Alive, 5)), Leaving),
    ] {
        let mut solo = Solo::among(3);
        solo.alive_at("n2", addr(2), 5);
        let known = |name: &str, n: u8, incarnation: u32, state: NodeState| RemoteNode {
            peer: Arc::new(Peer {
                name: text(name),
                addr: addr(n),
                meta: b"role=x".as_slice().into(),
                versions: Some(Versions::CONSUL),
            }),
            incarnation,
            state,
        };
        let mut remote = PushPull {
            nodes: vec![known("n3", 3, 1, NodeState::Alive)],
            user_state: state_bytes(&StateExchange {
                ltime: 20,
                status_ltimes: vec![(text("n2"), 15), (text("n3"), 0)],
                left: vec![text("n2")],
                ..StateExchange::default()
            }),
            ..PushPull::default()
        };
        if let Some((state, incarnation)) = there {
            remote.nodes.push(known("n2", 2, incarnation, state));
        }
        let mut out = Vec::new();
        solo.serf
            .merge(solo.now, &remote, false, false, &mut out)
            .expect("merged");
        assert_eq!(solo.status("n2"), want, "{there:?}");
    }
}

#[test]
fn a_user_state_that_cannot_be_read_is_reported() {
    let mut solo = Solo::among(2);
    for bytes in [vec![], vec![2, 0x80]] {
        let mut out = Vec::new();
        let remote = PushPull {
            user_state: bytes,
            ..PushPull::default()
        };
        let merged = solo.serf.merge(solo.now, &remote, true, true, &mut out);
        assert_eq!(merged, Ok(()));
        assert!(
            out.iter()
                .any(|action| matches!(action, Action::Warning(_)))
        );
    }
}

#[test]
fn a_conflict_is_reported_and_changes_nothing() {
    let mut solo = Solo::among(2);
    let out = solo.alive_at("n2", addr(77), 9);
    let conflict = out.iter().find_map(|action| match action {
        Action::Conflict { holder, claimant } => Some((holder.addr, claimant.addr)),
        _ => None,
    });
    assert_eq!(conflict, Some((addr(2), addr(77))));
    assert_eq!(solo.serf.member("n2").expect("known").peer.addr, addr(2));
    assert_eq!(changes(&out), []);
}

#[test]
fn who_was_away_during_a_leave_learns_of_it_by_exchange() {
    let mut pool = Pool::joined(4);
    pool.kill(3);
    pool.run(secs(40));
    pool.act(2, |serf, now, out| serf.leave(now, out));
    pool.run(secs(8));
    pool.revive(3);
    pool.kill(2);
    pool.run(secs(120));
    assert_eq!(pool.status(3, "n3"), Left);
    for at in [0, 1, 3] {
        for name in ["n1", "n2", "n4"] {
            assert_eq!(pool.status(at, name), Alive, "{name} at {at}");
        }
    }
}
