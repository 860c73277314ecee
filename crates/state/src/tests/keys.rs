//! Keys: verdicts, indexes, tombstones.

use tribune_types::command::{Command, Outcome};
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_types::query::{Query, Reply};

use super::{Bench, node, pair, register, session, set, uuid};
use crate::{Effect, WatchKey};

fn get(bench: &Bench, key: &str) -> KvEntry {
    bench
        .state
        .version()
        .kv(key.as_bytes())
        .map(|e| (**e).clone())
        .unwrap_or_default()
}

fn list_index(bench: &Bench, prefix: &str) -> u64 {
    bench
        .read(&Query::KvList {
            prefix: prefix.as_bytes().into(),
        })
        .1
        .0
}

fn get_index(bench: &Bench, key: &str) -> u64 {
    bench
        .read(&Query::KvGet {
            key: key.as_bytes().into(),
        })
        .1
        .0
}

#[test]
fn writing_the_same_again_changes_nothing() {
    let mut b = Bench::default();
    assert_eq!(
        b.done(set("a", "1")).touched,
        [WatchKey::KvKey((*b"a").into())]
    );
    let again = b.done(set("a", "1"));
    assert!(again.touched.is_empty());
    assert_eq!(get(&b, "a").modify, Index(1));
    b.done(Command::Kv(
        KvOp::Set,
        KvEntry {
            flags: 3,
            ..pair("a", "1")
        },
    ));
    assert_eq!(
        (get(&b, "a").create, get(&b, "a").modify),
        (Index(1), Index(3))
    );
    assert_eq!(
        b.read(&Query::KvGet {
            key: (*b"zz").into()
        })
        .1,
        Index(3),
        "missing keys answer the table index"
    );
}

#[test]
fn cas_compares_with_the_stored_index_and_zero_means_absent() {
    let cas = |index, value| KvEntry {
        modify: Index(index),
        ..pair("k", value)
    };
    let mut b = Bench::default();
    assert!(
        !b.verdict(KvOp::Cas, cas(7, "x")),
        "absent, but an index was expected"
    );
    assert!(b.verdict(KvOp::Cas, cas(0, "x")));
    assert!(!b.verdict(KvOp::Cas, cas(0, "y")), "exists");
    assert!(!b.verdict(KvOp::Cas, cas(1, "y")), "stale");
    assert!(b.verdict(KvOp::Cas, cas(2, "y")));
    assert!(!b.verdict(KvOp::DeleteCas, cas(2, "")));
    assert!(b.verdict(KvOp::DeleteCas, cas(5, "")));
    assert!(
        b.verdict(KvOp::DeleteCas, cas(99, "")),
        "an absent key counts as deleted"
    );
}

#[test]
fn a_lock_counts_holders_and_survives_plain_writes() {
    let mut b = Bench::default();
    b.done(register(node("n")));
    for id in [1, 2] {
        b.done(Command::SessionCreate(Box::new(session(uuid(id), "n"))));
    }
    let by = |id, value: &str| KvEntry {
        session: Some(uuid(id)),
        ..pair("l", value)
    };
    assert_eq!(
        b.refused(Command::Kv(KvOp::Lock, by(9, "v"))),
        format!("invalid session \"{}\"", uuid(9))
    );
    assert_eq!(
        b.refused(Command::Kv(KvOp::Lock, pair("l", "v"))),
        "missing session"
    );
    // (op, session, verdict, lock index, holder)
    for (op, id, want, lock_index, holder) in [
        (KvOp::Lock, 1, true, 1, Some(1)),
        (KvOp::Lock, 1, true, 1, Some(1)),
        (KvOp::Lock, 2, false, 1, Some(1)),
        (KvOp::Unlock, 2, false, 1, Some(1)),
        (KvOp::Unlock, 1, true, 1, None),
        (KvOp::Unlock, 1, false, 1, None),
        (KvOp::Lock, 2, true, 2, Some(2)),
    ] {
        assert_eq!(b.verdict(op, by(id, "v")), want, "{op:?} by {id}");
        assert_eq!(get(&b, "l").lock_index, lock_index, "{op:?} by {id}");
        assert_eq!(get(&b, "l").session, holder.map(uuid), "{op:?} by {id}");
    }
    b.done(set("l", "other"));
    assert_eq!(
        (get(&b, "l").session, get(&b, "l").lock_index),
        (Some(uuid(2)), 2)
    );
    assert!(!b.verdict(
        KvOp::Unlock,
        KvEntry {
            key: (*b"none").into(),
            ..by(1, "")
        }
    ));
}

#[test]
fn lists_answer_the_highest_change_under_the_prefix_deletions_included() {
    let mut b = Bench::default();
    for key in ["a/b/x", "a/c", "d"] {
        b.done(set(key, "1"));
    }
    assert_eq!(
        (
            list_index(&b, "a/"),
            list_index(&b, "none"),
            list_index(&b, "")
        ),
        (2, 3, 3)
    );
    let deleted = b.done(Command::Kv(KvOp::Delete, pair("a/c", "")));
    assert_eq!(deleted.effects, [Effect::Tombstones(Index(4))]);
    b.done(set("d", "2"));
    assert_eq!(
        (
            list_index(&b, "a/"),
            list_index(&b, "a/c"),
            get_index(&b, "a/c")
        ),
        (4, 4, 5)
    );
    assert!(
        b.done(Command::Kv(KvOp::Delete, pair("a/c", "")))
            .touched
            .is_empty()
    );
    let tree = b.done(Command::Kv(KvOp::DeleteTree, pair("a/", "")));
    assert_eq!(tree.touched, [WatchKey::KvPrefix((*b"a/").into())]);
    b.done(set("d", "3"));
    assert_eq!(
        (
            list_index(&b, "a/"),
            list_index(&b, "a"),
            list_index(&b, "a/b")
        ),
        (7, 7, 8)
    );
    assert!(
        b.done(Command::Kv(KvOp::DeleteTree, pair("nothing", "")))
            .touched
            .is_empty()
    );
    b.done(Command::ReapTombstones(Index(6)));
    assert_eq!(b.state.version().usage().tombstones, 1);
    b.done(Command::ReapTombstones(Index(7)));
    assert_eq!(
        (b.state.version().usage().tombstones, list_index(&b, "a/")),
        (0, 8)
    );
}

#[test]
fn names_are_cut_behind_the_first_separator_past_the_prefix() {
    let mut b = Bench::default();
    for key in ["a", "a/b", "a/b/c", "a/b/d", "a/z", "b"] {
        b.done(set(key, "1"));
    }
    // (prefix, separator, names)
    for (prefix, separator, want) in [
        ("", "", vec!["a", "a/b", "a/b/c", "a/b/d", "a/z", "b"]),
        ("", "/", vec!["a", "a/", "b"]),
        ("a/", "/", vec!["a/b", "a/b/", "a/z"]),
        ("a", "/", vec!["a", "a/"]),
        ("a/b", "/b", vec!["a/b", "a/b/c", "a/b/d"]),
        ("x", "/", vec![]),
    ] {
        let query = Query::KvKeys {
            prefix: prefix.as_bytes().into(),
            separator: separator.as_bytes().into(),
        };
        let Reply::Keys(names) = b.read(&query).0 else {
            panic!()
        };
        let names: Vec<_> = names
            .iter()
            .map(|n| String::from_utf8_lossy(n).into_owned())
            .collect();
        assert_eq!(names, want, "{prefix:?} cut at {separator:?}");
    }
}

#[test]
fn deleting_everything_moves_the_table_index_without_a_tombstone() {
    let mut b = Bench::default();
    b.done(set("a", "1"));
    assert!(matches!(
        b.done(Command::Kv(KvOp::DeleteTree, pair("", ""))).outcome,
        Outcome::Done
    ));
    assert_eq!(
        (list_index(&b, ""), b.state.version().usage().tombstones),
        (2, 0)
    );
}
