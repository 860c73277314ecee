//! User events (gossip.md section 7.5).

use tribune_serf::{Action, LTime, Message, Record, Refused, Restored, UserEvent};
use tribune_swim::Queue;
use tribune_types::text::{Text, text};

use crate::codec::{decode_state, state_bytes};
use crate::pool::Pool;
use crate::solo::{Solo, records, secs};

fn event(ltime: LTime, name: &str, payload: &str) -> Message {
    Message::UserEvent(UserEvent {
        ltime,
        name: text(name),
        payload: payload.as_bytes().into(),
        coalesce: false,
    })
}

fn delivered(actions: &[Action]) -> Vec<(LTime, Text)> {
    let events = actions.iter().filter_map(|action| match action {
        Action::UserEvent { ltime, name, .. } => Some((*ltime, name.clone())),
        _ => None,
    });
    events.collect()
}

#[test]
fn an_event_is_delivered_to_everybody_exactly_once() {
    let mut pool = Pool::joined(6);
    for n in 0..5 {
        pool.act(n, |serf, now, out| {
            serf.fire(now, "deploy", &[n as u8], out)
        })
        .expect("small");
    }
    pool.run(secs(70));
    for at in 0..6 {
        let count = pool.count(at, |action| matches!(action, Action::UserEvent { .. }));
        assert_eq!(count, 5, "at {at}");
    }
}

#[test]
fn an_event_fired_here_is_delivered_here_with_the_clock() {
    let mut solo = Solo::new();
    for ltime in 1..4 {
        let mut out = Vec::new();
        solo.serf
            .fire(solo.now, "deploy", b"v", &mut out)
            .expect("small");
        assert_eq!(delivered(&out), [(ltime, text("deploy"))]);
        assert_eq!(records(&out), [Record::EventClock(ltime)]);
        assert_eq!(solo.queued()[1], ltime as usize);
    }
    assert_eq!(solo.serf.stats().event_time, 4);
}

#[test]
fn too_large_events_are_refused_in_consuls_words() {
    let mut solo = Solo::new();
    let mut out = Vec::new();
    let mut fire = |size| solo.serf.fire(solo.now, "big", &vec![0; size], &mut out);
    assert_eq!(fire(400), Ok(()));
    let after = "encoded user event exceeds configured limit of 512 bytes after encoding";
    assert_eq!(fire(500), Err(Refused::EventSize(after.to_owned())));
    let before = "user event exceeds configured limit of 512 bytes before encoding";
    assert_eq!(fire(510), Err(Refused::EventSize(before.to_owned())));
    assert_eq!(solo.serf.stats().event_time, 2, "refused ones take no time");
}

#[test]
fn received_events_are_told_apart_and_spread_once() {
    let mut solo = Solo::among(2);
    // (time, name, payload, delivered)
    for (ltime, name, payload, news) in [
        (5, "a", "1", true),
        (5, "a", "1", false),
        (5, "a", "2", true),
        (5, "b", "1", true),
        (6, "a", "1", true),
        (600, "a", "1", true),
        (88, "late", "", false),
        (89, "in time", "", true),
    ] {
        let before = solo.queued()[1];
        let out = solo.say(&event(ltime, name, payload));
        assert_eq!(
            delivered(&out).len(),
            usize::from(news),
            "{name} of {ltime}"
        );
        assert_eq!(solo.queued()[1] - before, usize::from(news));
    }
    assert_eq!(solo.serf.stats().event_time, 601);
}

#[test]
fn events_of_an_earlier_life_are_not_delivered_again() {
    let restored = Restored {
        event_clock: 20,
        ..Restored::default()
    };
    let (mut solo, _) = Solo::with(Default::default(), &restored);
    assert_eq!(solo.serf.stats().event_time, 21);
    assert!(delivered(&solo.say(&event(20, "old", ""))).is_empty());
    assert_eq!(delivered(&solo.say(&event(21, "new", ""))).len(), 1);
}

#[test]
fn exchanged_events_are_delivered_and_not_spread_further() {
    let mut first = Solo::new();
    first
        .serf
        .fire(first.now, "deploy", b"v", &mut Vec::new())
        .expect("small");
    let state = first.serf.state(true);
    // (join, ignore old, delivered)
    for (join, ignore_old, news) in [
        (false, false, 1),
        (true, false, 1),
        (true, true, 0),
        (false, true, 1),
    ] {
        let (mut solo, _) = Solo::with(Default::default(), &Default::default());
        for turn in [news, 0] {
            let mut out = Vec::new();
            let merged = solo
                .serf
                .merge(solo.now, &state, join, ignore_old, &mut out);
            assert_eq!(merged, Ok(()));
            assert_eq!(delivered(&out).len(), turn, "join {join}, {ignore_old}");
        }
        assert_eq!(solo.queued()[1], 0);
        assert_eq!(solo.serf.stats().event_time, 2);
    }
}

#[test]
fn the_exchanged_buffer_has_512_slots_by_time() {
    let mut solo = Solo::new();
    for ltime in [3, 515, 516] {
        solo.say(&event(ltime, "e", "x"));
    }
    let state = solo.serf.state(false);
    let state = decode_state(&state.user_state).expect("own");
    assert_eq!(state.event_slots, 512);
    assert_eq!(state.event_ltime, 517);
    let slots: Vec<_> = state
        .events
        .iter()
        .map(|slot| (slot.at, slot.ltime))
        .collect();
    assert_eq!(slots, [(3, 515), (4, 516)]);
    assert_eq!(state_bytes(&state).len(), 5);
}

#[test]
fn a_flood_of_large_events_fills_no_memory() {
    let mut solo = Solo::among(2);
    for ltime in 1..4000 {
        solo.say(&event(ltime, "e", &"x".repeat(1300)));
        assert!(solo.serf.swim().queue_size_bytes(Queue::Events) <= 513 * 1024);
        // Nobody can have fired larger ones than a packet takes.
        let before = solo.queued()[1];
        let out = solo.say(&event(ltime, "e", &"x".repeat(3000)));
        assert_eq!(delivered(&out).len(), 0);
        assert_eq!(solo.queued()[1], before);
    }
    let state = decode_state(&solo.serf.state(false).user_state).expect("own");
    let events = state.events.iter().flat_map(|slot| &slot.events);
    assert!(events.map(|(_, payload)| payload.len()).sum::<usize>() <= 512 * 1024);
}

#[test]
fn a_flood_of_events_at_one_time_is_cut() {
    let mut solo = Solo::among(2);
    let mut count = 0;
    for n in 0..500 {
        count += delivered(&solo.say(&event(9, "e", &n.to_string()))).len();
    }
    assert_eq!(count, 64);
    assert_eq!(solo.queued()[1], 64);
}
