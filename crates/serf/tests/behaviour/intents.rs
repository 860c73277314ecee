//! The member table and its intents, row by row (gossip.md section 7.3).

use tribune_serf::{Action, MemberChange, Record};
use tribune_types::member::MemberStatus::{Alive, Failed, Leaving, Left, None};
use tribune_types::text::text;

use crate::solo::{Solo, changes, records, secs};

#[test]
fn a_new_node_is_a_member_from_the_start_and_knows_itself() {
    let (solo, out) = Solo::with(Default::default(), &Default::default());
    assert_eq!(solo.status("me"), Alive);
    assert_eq!(changes(&out), [(MemberChange::Joined, text("me"))]);
    assert_eq!(solo.serf.stats().member_time, 1);
}

#[test]
fn an_intent_for_an_unknown_name_is_kept_until_its_member_appears() {
    // (leave, its time), then the member joins: (status, time)
    for (leave, ltime, status) in [(true, 5, Leaving), (false, 5, Alive)] {
        let mut solo = Solo::new();
        let say = |solo: &mut Solo, ltime| match leave {
            true => solo.leave_intent("n2", ltime, false),
            false => solo.join_intent("n2", ltime),
        };
        say(&mut solo, ltime);
        assert_eq!(solo.queued()[0], 1, "buffered, so spread");
        say(&mut solo, ltime);
        say(&mut solo, ltime - 1);
        assert_eq!(solo.queued()[0], 1, "known or older: not spread");
        assert_eq!(solo.serf.stats().member_time, ltime + 1);
        assert_eq!(solo.status("n2"), None);
        let out = solo.alive("n2", 2);
        assert_eq!(changes(&out), [(MemberChange::Joined, text("n2"))]);
        assert_eq!((solo.status("n2"), solo.ltime("n2")), (status, ltime));
    }
}

#[test]
fn an_intent_that_is_not_newer_than_the_last_is_dropped() {
    let mut solo = Solo::among(2);
    solo.join_intent("n2", 9);
    let queued = solo.queued()[0];
    solo.leave_intent("n2", 9, false);
    solo.leave_intent("n2", 8, false);
    solo.join_intent("n2", 9);
    assert_eq!((solo.status("n2"), solo.ltime("n2")), (Alive, 9));
    assert_eq!(solo.queued()[0], queued);
}

#[test]
fn a_leave_intent_about_ourselves_is_answered_with_a_join() {
    let mut solo = Solo::among(2);
    let out = solo.leave_intent("me", 40, true);
    assert_eq!(changes(&out), []);
    assert_eq!((solo.status("me"), solo.ltime("me")), (Alive, 41));
    assert_eq!(solo.queued()[0], 1, "the join, and not the leave");
    assert_eq!(solo.serf.stats().member_time, 42);
}

#[test]
fn a_leave_is_an_intent_and_then_a_death() {
    let mut solo = Solo::among(2);
    let out = solo.leave_intent("n2", 3, false);
    assert_eq!((solo.status("n2"), changes(&out)), (Leaving, vec![]));
    assert_eq!(solo.queued()[0], 1);
    let out = solo.dead("n2", "n2");
    assert_eq!(solo.status("n2"), Left);
    assert_eq!(changes(&out), [(MemberChange::Left, text("n2"))]);
    solo.leave_intent("n2", 4, false);
    assert_eq!(
        solo.queued()[0],
        2,
        "a newer intent of a left one is spread"
    );
    assert_eq!(solo.serf.stats().left, 1);
}

#[test]
fn a_death_without_an_intent_is_a_failure_whoever_says_it() {
    for from in ["n2", "n3"] {
        let mut solo = Solo::among(3);
        let out = solo.dead("n2", from);
        assert_eq!(changes(&out), [(MemberChange::Failed, text("n2"))]);
        assert_eq!(solo.status("n2"), Failed);
        assert!(records(&out).contains(&Record::NotAlive(text("n2"))));
    }
}

#[test]
fn a_failed_member_that_is_declared_left_has_left() {
    let mut solo = Solo::among(3);
    solo.dead("n2", "n3");
    let out = solo.leave_intent("n2", 7, false);
    assert_eq!(solo.status("n2"), Left);
    assert_eq!(changes(&out), [(MemberChange::Left, text("n2"))]);
    assert_eq!(solo.queued()[0], 1);
    assert_eq!((solo.serf.stats().failed, solo.serf.stats().left), (0, 1));
}

#[test]
fn a_join_intent_takes_a_leave_back() {
    let mut solo = Solo::among(2);
    solo.leave_intent("n2", 5, false);
    let out = solo.join_intent("n2", 6);
    assert_eq!((solo.status("n2"), solo.ltime("n2")), (Alive, 6));
    assert_eq!(changes(&out), []);
    assert_eq!(solo.queued()[0], 2);
    assert_eq!(solo.serf.alive_count(), 2);
}

#[test]
fn a_member_that_comes_back_is_alive_and_keeps_the_time_of_its_intent() {
    let mut solo = Solo::among(3);
    solo.leaves("n2", 5);
    let out = solo.alive_at("n2", crate::solo::addr(9), 2);
    assert_eq!(changes(&out), [(MemberChange::Joined, text("n2"))]);
    assert_eq!((solo.status("n2"), solo.ltime("n2")), (Alive, 5));
    let member = solo.serf.member("n2").expect("known");
    assert_eq!(member.peer.addr, crate::solo::addr(9));
    assert_eq!((solo.serf.stats().failed, solo.serf.stats().left), (0, 0));
}

#[test]
fn prune_forgets_a_failed_member_at_once() {
    let mut solo = Solo::among(3);
    solo.dead("n2", "n3");
    let out = solo.leave_intent("n2", 7, true);
    let gone = [MemberChange::Left, MemberChange::Reaped].map(|change| (change, text("n2")));
    assert_eq!(changes(&out), gone);
    assert_eq!(solo.status("n2"), None);
    assert_eq!(solo.serf.stats().members, 2);
    assert_eq!(solo.queued()[0], 1);
}

#[test]
fn prune_forgets_an_alive_member_when_its_leave_has_had_its_time() {
    let mut solo = Solo::among(2);
    assert_eq!(changes(&solo.leave_intent("n2", 7, true)), []);
    assert_eq!(solo.status("n2"), Leaving);
    assert!(solo.serf.next_wake() <= solo.now + secs(8));
    assert_eq!(changes(&solo.jump(secs(7))), []);
    let out = solo.jump(secs(1));
    assert_eq!(changes(&out), [(MemberChange::Reaped, text("n2"))]);
    assert_eq!(solo.status("n2"), None);
}

#[test]
fn prune_spares_a_member_that_says_that_it_is_there() {
    let mut solo = Solo::among(2);
    solo.leave_intent("n2", 7, true);
    solo.join_intent("n2", 8);
    assert_eq!(changes(&solo.jump(secs(9))), []);
    assert_eq!(solo.status("n2"), Alive);
}

#[test]
fn malformed_messages_are_reported_and_change_nothing() {
    let mut solo = Solo::among(2);
    for bytes in [&b""[..], b"\x02", b"\xff\xff", &[0x52; 4], &[0x52; 5000]] {
        let out = solo.swim(tribune_swim::Message::User(bytes.into()));
        assert_eq!(out.len(), 1, "{out:?}");
        assert!(matches!(out[0], Action::Warning(_)));
    }
    assert_eq!(solo.queued(), [0, 0, 0]);
}

#[test]
fn a_flood_of_invented_names_changes_no_member() {
    let mut solo = Solo::among(2);
    for n in 0..20_000u64 {
        solo.leave_intent(&format!("ghost-{n}"), n, n % 2 == 0);
    }
    assert_eq!(solo.serf.stats().members, 2);
    assert!(solo.queued()[0] <= 6000, "{}", solo.queued()[0]);
    solo.jump(secs(31));
    assert!(solo.queued()[0] <= 4096);
}

#[test]
fn times_at_the_end_of_their_range_overflow_nothing() {
    let mut solo = Solo::among(2);
    solo.leave_intent("me", u64::MAX, false);
    solo.leave_intent("n2", u64::MAX, false);
    solo.join_intent("n9", u64::MAX);
    solo.jump(secs(1));
    let state = solo.serf.state(false);
    let mut out = Vec::new();
    solo.serf
        .merge(solo.now, &state, false, false, &mut out)
        .expect("merged");
    solo.serf.leave(solo.now, &mut out);
}
