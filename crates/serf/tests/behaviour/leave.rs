//! Leaving and declaring others as left (gossip.md section 7.4).

use tribune_serf::{Action, MemberChange, Record};
use tribune_types::member::MemberStatus::{Alive, Failed, Leaving, Left, None as Unknown};
use tribune_types::text::text;

use crate::pool::Pool;
use crate::solo::{Solo, changes, records, secs};

fn left(actions: &[Action]) -> bool {
    actions.contains(&Action::Left)
}

#[test]
fn a_node_without_others_leaves_at_once() {
    let mut solo = Solo::new();
    let mut out = Vec::new();
    solo.serf.leave(solo.now, &mut out);
    assert!(left(&out));
    assert_eq!(changes(&out), [(MemberChange::Left, text("me"))]);
    assert_eq!(solo.status("me"), Left);
    let records = records(&out);
    assert_eq!(records[0], Record::Leave);
    assert!(
        records[1..]
            .iter()
            .all(|record| matches!(record, Record::Clock(_)))
    );
}

#[test]
fn leaving_is_intent_then_death_then_time_to_spread() {
    let mut pool = Pool::joined(5);
    let begun = pool.now;
    pool.act(0, |serf, now, out| serf.leave(now, out));
    assert_eq!(pool.status(0, "n1"), Leaving);
    pool.run(secs(8));
    let end = pool.logs[0]
        .iter()
        .find(|(_, action)| *action == Action::Left);
    let took = end.expect("left").0.since(begun);
    assert!(took > secs(3) && took < secs(6), "{took:?}");
    for at in 1..5 {
        assert_eq!(pool.status(at, "n1"), Left, "at {at}");
        let failed = pool.count(at, |action| {
            matches!(action, Action::Member(event) if event.change == MemberChange::Failed)
        });
        assert_eq!(failed, 0, "a leave is never seen as a failure");
        let gone = pool.count(
            at,
            |action| matches!(action, Action::Member(event) if event.change == MemberChange::Left),
        );
        assert_eq!(gone, 1);
    }
}

#[test]
fn a_leaving_node_answers_probes() {
    let mut solo = Solo::among(3);
    let mut out = Vec::new();
    solo.serf.leave(solo.now, &mut out);
    solo.jump(secs(5));
    let ping = tribune_swim::Ping {
        seq: 77,
        node: text("me"),
        source: None,
        source_node: text("n2"),
    };
    let out = solo.swim(tribune_swim::Message::Ping(ping));
    assert!(matches!(out[..], [Action::Packet(_)]), "{out:?}");
}

#[test]
fn a_broadcast_that_takes_too_long_does_not_stop_the_leave() {
    let mut solo = Solo::among(3);
    let mut out = Vec::new();
    solo.serf.leave(solo.now, &mut out);
    assert!(!left(&out));
    // One jump is one gossip tick, in which nothing is told as often as planned.
    assert_eq!(changes(&solo.jump(secs(4))), []);
    assert_eq!(solo.status("me"), Leaving);
    let out = solo.jump(secs(1));
    assert_eq!(changes(&out), [(MemberChange::Left, text("me"))]);
    assert!(!left(&out));
    let mut ends = 0;
    for _ in 0..8 {
        ends += usize::from(left(&solo.jump(secs(1))));
    }
    assert_eq!(ends, 1);
}

#[test]
fn leaving_again_does_nothing_but_repeat_the_end() {
    let mut solo = Solo::among(2);
    let mut out = Vec::new();
    solo.serf.leave(solo.now, &mut out);
    out.clear();
    solo.serf.leave(solo.now, &mut out);
    assert_eq!(out, []);
    for _ in 0..20 {
        solo.jump(secs(1));
    }
    solo.serf.leave(solo.now, &mut out);
    assert_eq!(out, [Action::Left]);
}

#[test]
fn a_node_that_leaves_does_not_refute_its_leave() {
    let mut solo = Solo::among(2);
    let mut out = Vec::new();
    solo.serf.leave(solo.now, &mut out);
    let time = solo.ltime("me");
    solo.leave_intent("me", time + 3, false);
    assert_eq!((solo.status("me"), solo.ltime("me")), (Leaving, time + 3));
    solo.serf.joined(solo.now, &mut out);
    assert_eq!(solo.status("me"), Leaving);
}

#[test]
fn force_leave_turns_failed_into_left_everywhere() {
    let mut pool = Pool::joined(4);
    pool.kill(3);
    pool.run(secs(40));
    for at in 0..3 {
        assert_eq!(pool.status(at, "n4"), Failed, "at {at}");
    }
    let ticket = pool
        .act(0, |serf, now, out| serf.force_leave(now, "n4", false, out))
        .expect("others are alive");
    pool.run(secs(3));
    assert_eq!(pool.count(0, |action| *action == Action::Sent(ticket)), 1);
    for at in 0..3 {
        assert_eq!(pool.status(at, "n4"), Left, "at {at}");
    }
    pool.act(1, |serf, now, out| serf.force_leave(now, "n4", true, out));
    pool.run(secs(3));
    for at in 0..3 {
        assert_eq!(pool.status(at, "n4"), Unknown, "at {at}");
    }
}

#[test]
fn force_leave_of_a_living_node_is_refuted() {
    let mut pool = Pool::joined(4);
    for prune in [false, true] {
        pool.act(0, |serf, now, out| serf.force_leave(now, "n4", prune, out));
        assert_eq!(pool.status(0, "n4"), Leaving);
        pool.run(secs(20));
        for at in 0..4 {
            assert_eq!(pool.status(at, "n4"), Alive, "at {at}");
        }
    }
}

#[test]
fn force_leave_without_others_needs_no_broadcast() {
    let mut solo = Solo::among(2);
    solo.dead("n2", "n9");
    let mut out = Vec::new();
    let ticket = solo.serf.force_leave(solo.now, "n2", false, &mut out);
    assert_eq!(ticket, None);
    assert_eq!(solo.status("n2"), Left);
    assert_eq!(
        solo.serf.force_leave(solo.now, "nobody", true, &mut out),
        None
    );
}

#[test]
fn a_broadcast_that_takes_too_long_ends_its_ticket_as_unsent() {
    // Eight transmissions are wanted; a round has three, and there will be one for each jump.
    let mut solo = Solo::among(20);
    solo.dead("n2", "n3");
    let mut out = Vec::new();
    let ticket = solo.serf.force_leave(solo.now, "n2", false, &mut out);
    let ticket = ticket.expect("n3 is alive");
    let unsent = Action::Unsent(ticket);
    assert!(!solo.jump(secs(4)).contains(&unsent));
    assert!(solo.jump(secs(1)).contains(&unsent));
    let later = solo.run(secs(10));
    assert!(!later.contains(&unsent) && !later.contains(&Action::Sent(ticket)));
}
