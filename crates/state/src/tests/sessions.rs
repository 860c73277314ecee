//! Sessions: what creation demands, what ends them, what their end does.

use std::time::Duration;

use tribune_types::catalog::Status;
use tribune_types::command::{Command, Outcome};
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Query, Reply};
use tribune_types::session::{Behavior, ServiceCheckRef, Session};
use tribune_types::text::text;

use super::{
    Bench, check, deregister, node, pair, register, service, session, uuid, with_check,
    with_service,
};
use crate::{Effect, WatchKey};

fn create(session: Session) -> Command {
    Command::SessionCreate(Box::new(session))
}

fn bench() -> Bench {
    let mut b = Bench::default();
    b.done(register(node("n")));
    b.done(with_service("n", service("s", "web")));
    b.done(with_check("n", check("ok", "", Status::Passing)));
    b.done(with_check("n", check("svc", "s", Status::Warning)));
    b.done(with_check("n", check("bad", "", Status::Critical)));
    b
}

fn watched(id: u8) -> Session {
    Session {
        node_checks: Some(vec![text("OK")]),
        service_checks: Some(vec![ServiceCheckRef {
            id: text("svc"),
            ..ServiceCheckRef::default()
        }]),
        ..session(uuid(id), "N")
    }
}

#[test]
fn creation_needs_the_node_and_checks_that_are_not_critical() {
    let mut b = bench();
    assert_eq!(
        b.refused(create(session(uuid(1), "zzz"))),
        "Missing node registration"
    );
    let on = |id: &str| Session {
        node_checks: Some(vec![text(id)]),
        ..session(uuid(1), "n")
    };
    assert_eq!(
        b.refused(create(on("nope"))),
        "Missing check 'nope' registration"
    );
    assert_eq!(
        b.refused(create(on("bad"))),
        "Check 'bad' is in critical state"
    );
    let applied = b.done(create(watched(1)));
    assert_eq!(applied.outcome, Outcome::Session(uuid(1)));
    assert!(matches!(&applied.effects[..], [Effect::SessionCreated(s)] if s.create == Index(9)));
    b.refused(create(watched(1)));
    let (reply, index) = b.read(&Query::SessionsOfNode { node: text("n") });
    assert!(matches!(reply, Reply::Sessions(list) if list.len() == 1));
    assert_eq!(index, Index(9));
}

#[test]
fn a_session_ends_with_its_node_its_checks_or_by_request() {
    // (what, command)
    for (what, command) in [
        ("request", Command::SessionDestroy(uuid(1))),
        ("node", deregister("N", "", "")),
        ("service", deregister("n", "s", "")),
        ("check", deregister("n", "", "ok")),
        (
            "critical node check",
            with_check("n", check("ok", "", Status::Critical)),
        ),
        (
            "critical service check",
            with_check("n", check("svc", "s", Status::Critical)),
        ),
    ] {
        let mut b = bench();
        b.done(create(watched(1)));
        assert!(b.verdict(
            KvOp::Lock,
            KvEntry {
                session: Some(uuid(1)),
                ..pair("k", "v")
            }
        ));
        let applied = b.done(command);
        assert!(
            applied.touched.contains(&WatchKey::Session(uuid(1))),
            "{what}"
        );
        assert!(
            applied.touched.contains(&WatchKey::KvKey((*b"k").into())),
            "{what}"
        );
        assert!(
            applied
                .effects
                .iter()
                .any(|e| matches!(e, Effect::SessionEnded { .. })),
            "{what}"
        );
        let version = b.state.version();
        assert_eq!(version.sessions().count(), 0, "{what}");
        let entry = version.kv(b"k").unwrap();
        assert_eq!(
            (entry.session, entry.lock_index, entry.modify),
            (None, 1, Index(b.index)),
            "{what}"
        );
    }
}

#[test]
fn a_warning_does_not_end_a_session() {
    let mut b = bench();
    b.done(create(watched(1)));
    b.done(with_check("n", check("ok", "", Status::Warning)));
    assert_eq!(b.state.version().sessions().count(), 1);
}

#[test]
fn the_end_releases_or_deletes_and_reports_the_delayed_keys() {
    let mut b = bench();
    let delay = Duration::from_secs(15);
    b.done(create(Session {
        behavior: Behavior::Delete,
        lock_delay: delay,
        ..session(uuid(1), "n")
    }));
    b.done(create(session(uuid(2), "n")));
    for (key, holder) in [("a", 1), ("b", 1), ("c", 2)] {
        assert!(b.verdict(
            KvOp::Lock,
            KvEntry {
                session: Some(uuid(holder)),
                ..pair(key, "v")
            }
        ));
    }
    let ended = b.done(Command::SessionDestroy(uuid(1)));
    let delayed = ended.effects.iter().find_map(|e| match e {
        Effect::SessionEnded { delayed_keys, .. } => Some(delayed_keys.clone()),
        _ => None,
    });
    assert_eq!(delayed, Some(vec![(*b"a").into(), (*b"b").into()]));
    assert_eq!(b.state.version().usage().keys, 1);
    let ended = b.done(Command::SessionDestroy(uuid(2)));
    assert!(
        matches!(&ended.effects[..], [Effect::SessionEnded { delayed_keys, .. }] if delayed_keys.is_empty())
    );
    assert!(b.done(Command::SessionDestroy(uuid(2))).touched.is_empty());
}

#[test]
fn a_deleted_key_is_no_longer_held() {
    let mut b = bench();
    b.done(create(session(uuid(1), "n")));
    assert!(b.verdict(
        KvOp::Lock,
        KvEntry {
            session: Some(uuid(1)),
            ..pair("k", "v")
        }
    ));
    b.done(Command::Kv(KvOp::Delete, pair("k", "")));
    b.done(super::set("k", "free"));
    b.done(Command::SessionDestroy(uuid(1)));
    assert_eq!(b.state.version().kv(b"k").unwrap().modify, Index(8 + 1));
}
