//! Counts for metrics (gossip.md section 10.10).

use tribune_serf::{Message, QueryResponse, Question, Tally};
use tribune_swim::{Ack, Message as SwimMessage};
use tribune_types::text::text;

use crate::solo::{Solo, addr, secs};

#[test]
fn who_comes_back_within_a_minute_of_its_failure_flaps() {
    // (seconds away, by its own wish, counted)
    for (away, wish, want) in [(59, false, 1), (61, false, 0), (10, true, 0)] {
        let mut solo = Solo::among(3);
        if wish {
            solo.leaves("n2", 5);
        } else {
            solo.dead("n2", "n3");
        }
        solo.serf.take_tally();
        solo.now = solo.now + secs(away);
        solo.alive_at("n2", addr(2), 2);
        assert_eq!(solo.serf.take_tally().flaps, want, "{away} {wish}");
        assert_eq!(solo.serf.take_tally(), Tally::default());
    }
}

#[test]
fn copies_of_answers_are_counted() {
    let mut solo = Solo::among(3);
    let asked = solo
        .serf
        .ask(solo.now, Question::default(), &mut Vec::new())
        .expect("small");
    solo.serf.take_tally();
    for (ack, times) in [(true, 2), (false, 3)] {
        for _ in 0..times {
            solo.say(&Message::QueryResponse(QueryResponse {
                ltime: asked.ltime,
                id: asked.id,
                from: text("n2"),
                ack,
                payload: None,
            }));
        }
    }
    let tally = solo.serf.take_tally();
    assert_eq!((tally.duplicate_acks, tally.duplicate_answers), (1, 2));
}

#[test]
fn measurements_that_are_no_place_are_counted() {
    let mut solo = Solo::with_room_for(10);
    solo.alive("n2", 2);
    solo.serf.take_tally();
    // The first probe has the number 1; it is answered in the very moment it is sent.
    for _ in 0..100 {
        let wake = solo.serf.next_wake();
        solo.jump(wake.since(solo.now));
        solo.swim(SwimMessage::Ack(Ack {
            seq: 1,
            payload: Some(vec![0; 24].into()),
        }));
        let tally = solo.serf.take_tally();
        if tally.swim.probed.is_some() {
            assert_eq!((tally.coordinates_rejected, tally.zero_rtts), (1, 1));
            return;
        }
    }
    panic!("no probe");
}
