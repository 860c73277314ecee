//! Export, restore, and replacement by a user's archive.

use std::convert::Infallible;
use std::sync::Arc;

use tribune_types::autopilot::AutopilotConfig;
use tribune_types::command::{Command, Outcome, RestoreStep};
use tribune_types::id::{Index, LogIndex};
use tribune_types::snapshot::Record;
use tribune_types::text::text;

use super::{Bench, check, node, pair, register, service, set, with_check, with_service};
use crate::{Carry, Effect, RestoreError, State, WatchKey};

fn restore(records: Vec<Record>, carry: Carry) -> Result<State, RestoreError<Infallible>> {
    State::restore(records.into_iter().map(Ok), carry)
}

#[test]
fn opaque_records_and_unknown_indexes_keep_their_place() {
    let opaque = |kind| Record::Opaque {
        kind,
        body: [kind].into(),
    };
    let index = |name: &str, value| Record::IndexEntry {
        name: text(name),
        value: Index(value),
    };
    // The reader takes any order.
    let given = vec![
        opaque(29),
        index("acl-tokens", 40),
        index("service.gone", 4),
        opaque(12),
        opaque(13),
        opaque(17),
        opaque(19),
        Record::Autopilot(AutopilotConfig::default()),
        Record::Tombstone {
            key: (*b"gone").into(),
            index: Index(3),
        },
        Record::Kv(pair("k", "v")),
    ];
    let state = restore(given, Carry::default()).unwrap();
    assert_eq!(state.last_index(), Index(40));
    let shown: Vec<String> = state
        .version()
        .export()
        .map(|r| match r {
            Record::Opaque { kind, .. } => kind.to_string(),
            Record::IndexEntry { name, value } => format!("{name}={value}"),
            Record::Kv(_) => "kv".into(),
            Record::Tombstone { .. } => "tombstone".into(),
            Record::Autopilot(_) => "autopilot".into(),
            other => format!("{other:?}"),
        })
        .collect();
    let want = [
        "17",
        "19",
        "kv",
        "tombstone",
        "autopilot",
        "12",
        "13",
        "acl-tokens=40",
        "tombstones=3",
        "29",
    ];
    assert_eq!(shown, want);
}

#[test]
fn recorded_indexes_win_over_implied_ones_and_missing_ones_are_implied() {
    let mut b = Bench::default();
    b.done(with_service("n", service("s", "web")));
    b.done(with_check("n", check("c", "", Default::default())));
    let records: Vec<Record> = b
        .state
        .version()
        .export()
        .filter(|r| !matches!(r, Record::IndexEntry { .. }))
        .collect();
    let state = restore(records, Carry::default()).unwrap();
    let index = |state: &State, query| {
        state
            .version()
            .read(&query, &Default::default(), &mut Default::default())
            .unwrap()
            .1
    };
    assert_eq!(
        index(&state, super::health("web")),
        Index(2),
        "a node-level check counts for the service"
    );
    let with_index = b.state.version().export().chain([Record::IndexEntry {
        name: text("service.WEB"),
        value: Index(9),
    }]);
    let state = restore(with_index.collect(), Carry::default()).unwrap();
    assert_eq!(index(&state, super::health("web")), Index(9));
}

#[test]
fn a_check_of_a_missing_service_is_refused() {
    let mut broken = node("n");
    broken.checks = vec![check("c", "s", Default::default())];
    let record = Record::Register {
        register: Box::new(broken),
        create: Index(1),
        modify: Index(1),
    };
    assert!(matches!(
        restore(vec![record], Carry::default()),
        Err(RestoreError::MissingService { .. })
    ));
}

#[test]
fn an_archive_arrives_in_pieces_and_replaces_the_state_above_both_indexes() {
    let mut b = Bench::default();
    b.done(register(node("old")));
    let step = |step| Command::Restore(step);
    let chunk = |id, seq| {
        step(RestoreStep::Chunk {
            id,
            seq,
            data: [u8::try_from(seq).unwrap()].into(),
        })
    };
    b.refused(chunk(1, 0));
    b.done(step(RestoreStep::Begin { id: 1 }));
    b.done(chunk(1, 0));
    b.refused(chunk(1, 2));
    b.refused(chunk(2, 1));
    b.done(chunk(1, 1));
    // An unfinished restore travels with the internal snapshot.
    let version = b.state.version();
    let moved = restore(version.export().collect(), version.carry()).unwrap();
    assert_eq!(moved.version().digest(), version.digest());
    assert_eq!(moved.last_index(), Index(7));
    b.state = moved;
    b.refused(step(RestoreStep::Commit {
        id: 1,
        chunks: 3,
        index: Index(100),
    }));
    b.refused(step(RestoreStep::Commit {
        id: 2,
        chunks: 2,
        index: Index(100),
    }));
    let applied = b.done(step(RestoreStep::Commit {
        id: 1,
        chunks: 2,
        index: Index(100),
    }));
    let data: Vec<Arc<[u8]>> = vec![[0].into(), [1].into()];
    assert_eq!(
        applied.effects,
        [Effect::RestoreReady {
            data,
            index: Index(100)
        }]
    );
    b.refused(step(RestoreStep::Commit {
        id: 1,
        chunks: 2,
        index: Index(100),
    }));
    assert!(matches!(
        b.done(step(RestoreStep::Abort { id: 1 })).outcome,
        Outcome::Done
    ));
    let new = restore(vec![Record::Kv(pair("k", "v"))], Carry::default()).unwrap();
    let applied = b.state.replace(new, LogIndex(b.index), Index(100));
    assert_eq!(applied.touched, [WatchKey::Everything]);
    assert_eq!(b.state.last_index(), Index(100));
    assert_eq!(
        b.state.index_offset(),
        100 - b.index,
        "the next log index is shown as 101"
    );
    // An archive from the past does not move the offset.
    let (last, offset) = (b.state.last_index(), b.state.index_offset());
    b.state.replace(State::new(), LogIndex(b.index), Index(5));
    assert_eq!(
        (b.state.last_index(), b.state.index_offset()),
        (last, offset)
    );
}

#[test]
fn old_versions_do_not_change() {
    let mut b = Bench::default();
    b.done(set("a", "1"));
    let old = b.state.version();
    let digest = old.digest();
    b.done(set("a", "2"));
    b.done(with_service("n", service("s", "web")));
    assert_eq!(old.digest(), digest);
    assert_ne!(b.state.version().digest(), digest);
}
