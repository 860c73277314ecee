//! Queries (gossip.md section 7.6), asked and answered.

use std::net::SocketAddr;
use std::time::Duration;

use tribune_serf::{
    Action, Asked, Filter, KeyOperation, Message, Query, QueryId, QueryResponse, Question, Record,
    Refused, Restored,
};
use tribune_types::text::{Text, text};

use crate::codec::{decode, decode_swim};
use crate::pool::Pool;
use crate::solo::{Solo, addr, records, secs};

fn query(ltime: u64, id: u32) -> Query {
    Query {
        ltime,
        id,
        source: addr(99),
        source_node: text("asker"),
        filters: Vec::new(),
        ack: false,
        no_broadcast: false,
        relay_factor: 0,
        timeout: secs(5),
        name: text("load"),
        payload: b"now".as_slice().into(),
    }
}

fn asked(actions: &[Action]) -> Vec<&Asked> {
    let asked = actions.iter().filter_map(|action| match action {
        Action::Query(asked) => Some(asked),
        _ => None,
    });
    asked.collect()
}

/// Direct messages of this layer, and where they go.
fn direct(actions: &[Action]) -> Vec<(SocketAddr, Message)> {
    let mut messages = Vec::new();
    for action in actions {
        let Action::Packet(packet) = action else {
            continue;
        };
        for part in &packet.parts {
            if let tribune_swim::Message::User(bytes) = decode_swim(part) {
                messages.push((packet.to, decode(&bytes).expect("own")));
            }
        }
    }
    messages
}

fn response(id: QueryId, from: &str, ack: bool) -> Message {
    Message::QueryResponse(QueryResponse {
        ltime: id.ltime,
        id: id.id,
        from: text(from),
        ack,
        payload: (!ack).then(|| b"fine".as_slice().into()),
    })
}

#[test]
fn everybody_answers_once_and_the_asker_hears_once_of_each() {
    let mut pool = Pool::joined(5);
    let question = Question {
        name: text("load"),
        ack: true,
        relay_factor: 2,
        ..Question::default()
    };
    let begun = pool.now;
    let id = pool
        .act(0, |serf, now, out| serf.ask(now, question, out))
        .expect("small");
    // The application of each node answers when it hears of it.
    for _ in 0..30 {
        pool.run(Duration::from_millis(100));
        for at in 0..5 {
            let open = pool.logs[at]
                .iter()
                .position(|(_, action)| matches!(action, Action::Query(_)));
            if let Some(open) = open {
                let (_, action) = pool.logs[at].remove(open);
                let Action::Query(asked) = action else {
                    unreachable!()
                };
                assert_eq!(asked.query, id);
                pool.act(at, |serf, now, out| serf.respond(now, id, b"fine", out))
                    .expect("open");
                let again = pool.act(at, |serf, now, out| serf.respond(now, id, b"fine", out));
                assert_eq!(again, Err(Refused::NoQuery));
            }
        }
    }
    pool.run(secs(5));
    let mut acks: Vec<Text> = Vec::new();
    let mut answers: Vec<Text> = Vec::new();
    for (at, action) in &pool.logs[0] {
        match action {
            Action::QueryAck { from, .. } => acks.push(from.clone()),
            Action::QueryAnswer { from, payload, .. } => {
                assert_eq!(&**payload, b"fine");
                answers.push(from.clone());
            }
            Action::QueryOver(over) => {
                assert_eq!(*over, id);
                assert_eq!(at.since(begun), Duration::from_millis(3200));
            }
            _ => {}
        }
    }
    let names = ["n1", "n2", "n3", "n4", "n5"].map(text);
    acks.sort();
    answers.sort();
    assert_eq!(
        (acks.as_slice(), answers.as_slice()),
        (&names[..], &names[..])
    );
    assert_eq!(pool.count(0, |action| *action == Action::QueryOver(id)), 1);
}

#[test]
fn a_query_is_spread_once_whatever_its_filters_say() {
    let nodes = |names: &[&str]| Filter::Nodes(names.iter().map(|name| text(name)).collect());
    let tag = |tag: &str, expr: &str| Filter::Tag {
        tag: text(tag),
        expr: text(expr),
    };
    let tables = [
        (vec![], true),
        (vec![nodes(&["x", "me"])], true),
        (vec![nodes(&["x"])], false),
        (vec![nodes(&[])], false),
        (vec![tag("role", "web")], true),
        (vec![tag("role", "db")], false),
        (vec![tag("missing", "")], true),
        (vec![tag("missing", "x")], false),
        (vec![nodes(&["me"]), tag("role", "db")], false),
        (vec![Filter::Unknown], false),
    ];
    let options = tribune_serf::Options {
        tags: [(text("role"), text("web-server"))].into_iter().collect(),
        ..Default::default()
    };
    let (mut solo, _) = Solo::with(options, &Restored::default());
    for (n, (filters, passes)) in tables.into_iter().enumerate() {
        let mut query = query(5, n as u32);
        query.filters = filters;
        let out = solo.say(&Message::Query(query.clone()));
        assert_eq!(
            asked(&out).len(),
            usize::from(passes),
            "{:?}",
            query.filters
        );
        assert_eq!(solo.queued()[2], n + 1);
        let out = solo.say(&Message::Query(query));
        assert_eq!(out, [], "seen");
        assert_eq!(solo.queued()[2], n + 1);
    }
    let mut quiet = query(6, 1);
    quiet.no_broadcast = true;
    let before = solo.queued()[2];
    assert_eq!(asked(&solo.say(&Message::Query(quiet))).len(), 1);
    assert_eq!(solo.queued()[2], before);
}

#[test]
fn old_queries_are_not_heard() {
    let restored = Restored {
        query_clock: 10,
        ..Restored::default()
    };
    let (mut solo, _) = Solo::with(Default::default(), &restored);
    // (time, heard)
    for (ltime, heard) in [
        (10, false),
        (11, true),
        (700, true),
        (188, false),
        (189, true),
    ] {
        let out = solo.say(&Message::Query(query(ltime, 1)));
        assert_eq!(asked(&out).len(), usize::from(heard), "{ltime}");
    }
    assert_eq!(solo.serf.stats().query_time, 701);
}

#[test]
fn a_query_is_recorded_and_an_ack_goes_to_its_source() {
    let mut solo = Solo::among(3);
    let mut wanted = query(5, 1);
    wanted.ack = true;
    let out = solo.say(&Message::Query(wanted));
    assert_eq!(records(&out), [Record::QueryClock(5)]);
    let ack = QueryResponse {
        ltime: 5,
        id: 1,
        from: text("me"),
        ack: true,
        payload: None,
    };
    assert_eq!(direct(&out), [(addr(99), Message::QueryResponse(ack))]);
}

#[test]
fn answers_come_in_time_or_not_at_all() {
    let mut solo = Solo::among(3);
    solo.say(&Message::Query(query(5, 1)));
    let id = QueryId { ltime: 5, id: 1 };
    let mut out = Vec::new();
    let large = solo.serf.respond(solo.now, id, &[0; 1000], &mut out);
    let why = "response exceeds limit of 1024 bytes".to_owned();
    assert_eq!(large, Err(Refused::QuerySize(why)));
    solo.now = solo.now + secs(5);
    assert_eq!(solo.serf.respond(solo.now, id, b"x", &mut out), Ok(()));
    assert_eq!(direct(&out).len(), 1);
    assert_eq!(direct(&out)[0].0, addr(99));
    solo.say(&Message::Query(query(6, 1)));
    solo.now = solo.now + secs(5) + Duration::from_nanos(1);
    let id = QueryId { ltime: 6, id: 1 };
    let late = solo.serf.respond(solo.now, id, b"x", &mut out);
    assert_eq!(late, Err(Refused::NoQuery));
}

#[test]
fn answers_go_through_relays_if_there_are_enough_members() {
    // (members, relay factor, answer size, relays)
    for (last, factor, size, relays) in [
        (3, 0, 10, 0),
        (3, 2, 10, 2),
        (3, 3, 10, 0),
        (9, 3, 10, 3),
        (9, 3, 950, 0),
    ] {
        let mut solo = Solo::among(last);
        let mut wanted = query(5, 1);
        wanted.relay_factor = factor;
        solo.say(&Message::Query(wanted));
        let id = QueryId { ltime: 5, id: 1 };
        let mut out = Vec::new();
        solo.serf
            .respond(solo.now, id, &vec![7; size], &mut out)
            .expect("open");
        let sent = direct(&out);
        assert_eq!(sent.len(), 1 + relays, "{last} members, factor {factor}");
        for (to, message) in &sent[1..] {
            assert_ne!(*to, addr(1));
            let Message::Relay { to, node, message } = message else {
                panic!("not a relay");
            };
            assert_eq!((*to, &**node), (addr(99), "asker"));
            assert_eq!(decode(message).as_ref(), Some(&sent[0].1));
        }
    }
}

#[test]
fn a_relay_is_unwrapped_and_handed_on() {
    let mut solo = Solo::among(3);
    let id = QueryId { ltime: 1, id: 2 };
    let mut inner = Vec::new();
    crate::codec::encode(&response(id, "n3", false), &mut inner);
    let out = solo.say(&Message::Relay {
        to: addr(50),
        node: text("x"),
        message: inner.into(),
    });
    assert_eq!(direct(&out), [(addr(50), response(id, "n3", false))]);
}

#[test]
fn only_answers_to_open_questions_count() {
    let mut solo = Solo::among(3);
    let mut out = Vec::new();
    let question = Question {
        name: text("load"),
        timeout: Some(secs(2)),
        ..Question::default()
    };
    let id = solo
        .serf
        .ask(solo.now, question.clone(), &mut out)
        .expect("small");
    assert!(id.id < 1 << 31);
    assert_eq!(asked(&out).len(), 1);
    assert_eq!(solo.queued()[2], 1);
    let news = |solo: &mut Solo, message| solo.say(&message).len();
    assert_eq!(news(&mut solo, response(id, "n2", true)), 1);
    assert_eq!(news(&mut solo, response(id, "n2", true)), 0);
    assert_eq!(news(&mut solo, response(id, "n2", false)), 1);
    assert_eq!(news(&mut solo, response(id, "n2", false)), 0);
    let other = QueryId {
        id: id.id ^ 1,
        ..id
    };
    assert_eq!(news(&mut solo, response(other, "n3", false)), 0);
    let other = QueryId { ltime: 9, ..id };
    assert_eq!(news(&mut solo, response(other, "n3", false)), 0);
    assert!(solo.serf.next_wake() <= solo.now + secs(2));
    assert!(solo.jump(secs(2)).contains(&Action::QueryOver(id)));
    assert_eq!(news(&mut solo, response(id, "n3", false)), 0);

    let id = solo
        .serf
        .ask(solo.now, question.clone(), &mut out)
        .expect("small");
    solo.serf.close(id);
    assert_eq!(news(&mut solo, response(id, "n3", false)), 0);
    assert!(!solo.jump(secs(3)).contains(&Action::QueryOver(id)));

    for _ in 0..64 {
        let asked = solo.serf.ask(solo.now, question.clone(), &mut out);
        assert!(asked.is_ok());
    }
    let asked = solo.serf.ask(solo.now, question, &mut out);
    assert_eq!(asked, Err(Refused::TooMany));
    let large = Question {
        payload: vec![0; 1000].into(),
        ..Question::default()
    };
    solo.jump(secs(3));
    let why = "query exceeds limit of 1024 bytes".to_owned();
    assert_eq!(
        solo.serf.ask(solo.now, large, &mut out),
        Err(Refused::QuerySize(why))
    );
}

#[test]
fn invented_answers_are_cut() {
    let mut solo = Solo::among(3);
    let question = Question {
        timeout: Some(secs(60)),
        ..Question::default()
    };
    let id = solo
        .serf
        .ask(solo.now, question, &mut Vec::new())
        .expect("small");
    let mut count = 0;
    for n in 0..2000 {
        count += solo.say(&response(id, &format!("ghost-{n}"), false)).len();
    }
    assert_eq!(count, 259);
}

#[test]
fn internal_queries_are_not_for_the_application() {
    let mut solo = Solo::among(3);
    let mut ask = |ltime, name: &str, payload: &str| {
        let mut query = query(ltime, 1);
        query.name = text(name);
        query.payload = payload.as_bytes().into();
        query.ack = name == "_serf_ping";
        let out = solo.say(&Message::Query(query));
        assert!(asked(&out).is_empty(), "{name}");
        out
    };
    let out = ask(5, "_serf_ping", "");
    assert_eq!(direct(&out).len(), 1, "the ack");
    let out = ask(6, "_serf_nonsense", "");
    assert!(direct(&out).is_empty());
    for (n, (name, operation)) in [
        ("_serf_install-key", KeyOperation::Install),
        ("_serf_use-key", KeyOperation::Use),
        ("_serf_remove-key", KeyOperation::Remove),
        ("_serf_list-keys", KeyOperation::List),
    ]
    .into_iter()
    .enumerate()
    {
        let out = ask(7 + n as u64, name, "k");
        let found = out.iter().find_map(|action| match action {
            Action::KeyQuery { operation, asked } => Some((*operation, asked.payload.clone())),
            _ => None,
        });
        assert_eq!(found, Some((operation, b"k".as_slice().into())), "{name}");
    }
    let answer = |out: &[Action]| match direct(out).as_slice() {
        [(to, Message::QueryResponse(response))] => {
            assert_eq!((*to, response.ack), (addr(99), false));
            let payload = response.payload.clone().expect("an answer");
            String::from_utf8_lossy(&payload).into_owned()
        }
        [] => "none".to_owned(),
        other => panic!("{other:?}"),
    };
    // What we know of a name; nothing of our own.
    assert_eq!(
        answer(&ask(20, "_serf_conflict", "n2")),
        "n2 at 127.0.0.2:8301 is 1"
    );
    assert_eq!(answer(&ask(21, "_serf_conflict", "nobody")), "nil");
    assert_eq!(answer(&ask(22, "_serf_conflict", "me")), "none");
}

#[test]
fn what_may_be_answered_is_bounded_and_the_newest_count() {
    let mut solo = Solo::among(3);
    for n in 0..1000u64 {
        let mut query = query(5 + n / 60, n as u32);
        query.timeout = Duration::MAX;
        solo.say(&Message::Query(query));
    }
    let mut respond = |n: u64| {
        let id = QueryId {
            ltime: 5 + n / 60,
            id: n as u32,
        };
        solo.serf.respond(solo.now, id, b"", &mut Vec::new())
    };
    assert_eq!(respond(0), Err(Refused::NoQuery));
    assert_eq!(respond(999), Ok(()));
    assert_eq!(respond(900), Ok(()));
}
