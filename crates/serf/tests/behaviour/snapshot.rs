//! What is written to the snapshot file (gossip.md section 7.11).

use std::time::Duration;

use tribune_serf::{Record, Restored};
use tribune_types::text::text;

use crate::solo::{Solo, addr, records, secs};

#[test]
fn members_are_recorded_as_they_come_and_go() {
    let mut solo = Solo::new();
    let out = solo.alive("n2", 2);
    assert_eq!(records(&out), [Record::Alive(text("n2"), addr(2))]);
    solo.leave_intent("n2", 5, false);
    let out = solo.dead("n2", "n2");
    assert_eq!(
        records(&out),
        [Record::NotAlive(text("n2")), Record::Clock(5)]
    );
}

#[test]
fn a_clock_that_moved_is_recorded_within_half_a_second_and_once() {
    let mut solo = Solo::among(2);
    let half = Duration::from_millis(500);
    let before = solo.serf.swim().next_wake();
    solo.join_intent("n2", 6);
    solo.join_intent("n2", 7);
    assert!(solo.serf.next_wake() <= (solo.now + half).min(before.max(solo.now + half)));
    assert_eq!(records(&solo.jump(half)), [Record::Clock(7)]);
    assert_eq!(records(&solo.jump(half)), []);
    assert_eq!(records(&solo.jump(half * 10)), []);
}

#[test]
fn stored_clocks_go_on_and_are_not_recorded_again() {
    let restored = Restored {
        clock: 30,
        event_clock: 20,
        query_clock: 10,
        alive: vec![(text("n2"), addr(2)), (text("n3"), addr(3))],
    };
    let (mut solo, out) = Solo::with(Default::default(), &restored);
    assert_eq!(records(&out), [Record::Alive(text("me"), addr(1))]);
    let stats = solo.serf.stats();
    assert_eq!(
        (stats.member_time, stats.event_time, stats.query_time),
        (31, 21, 11)
    );
    // Who was not heard of yet stays in the file.
    solo.alive_at("n3", addr(33), 1);
    assert_eq!(
        solo.serf.records(),
        [
            Record::Alive(text("me"), addr(1)),
            Record::Alive(text("n3"), addr(33)),
            Record::Alive(text("n2"), addr(2)),
            Record::Clock(30),
            Record::EventClock(20),
            Record::QueryClock(10),
        ]
    );
    solo.alive("n2", 2);
    solo.dead("n2", "n3");
    assert!(
        !solo
            .serf
            .records()
            .contains(&Record::Alive(text("n2"), addr(2)))
    );
}

#[test]
fn after_the_leave_nothing_but_clocks_is_recorded() {
    let mut solo = Solo::among(2);
    let mut out = Vec::new();
    solo.serf.leave(solo.now, &mut out);
    assert_eq!(records(&out)[0], Record::Leave);
    out = solo.alive("n3", 3);
    out.extend(solo.join_intent("n3", 99));
    for _ in 0..12 {
        out.extend(solo.jump(secs(1)));
    }
    let records = records(&out);
    assert!(records.contains(&Record::Clock(99)));
    assert!(
        records
            .iter()
            .all(|record| matches!(record, Record::Clock(_)))
    );
    let compacted = solo.serf.records();
    assert_eq!(compacted.len(), 4);
    assert_eq!(compacted[3], Record::Leave);
}
