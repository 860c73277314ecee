//! Transactions: all or nothing, results and texts.

use tribune_types::catalog::{Check, Node, Service};
use tribune_types::command::{Command, Outcome};
use tribune_types::id::Index;
use tribune_types::kv::KvEntry;
use tribune_types::text::text;
use tribune_types::txn::{CatalogVerb, KvVerb, TxnOp, TxnOutcome, TxnResult};

use super::{Bench, node, node_with_id, pair, register, session, set, uuid};

fn txn(bench: &mut Bench, ops: Vec<TxnOp>) -> TxnOutcome {
    match bench.done(Command::Txn(ops)).outcome {
        Outcome::Txn(outcome) => *outcome,
        other => panic!("{other:?}"),
    }
}

fn kv(verb: KvVerb, key: &str, value: &str, index: u64, session: u8) -> TxnOp {
    let session = (session > 0).then(|| uuid(session));
    TxnOp::Kv(
        verb,
        KvEntry {
            modify: Index(index),
            session,
            ..pair(key, value)
        },
    )
}

#[test]
fn every_failing_operation_is_listed_and_nothing_is_applied() {
    use KvVerb::*;
    let mut b = Bench::default();
    b.done(register(node("n")));
    b.done(Command::SessionCreate(Box::new(session(uuid(1), "n"))));
    b.done(set("t", "1"));
    let before = b.state.version().digest();
    let s = uuid(1);
    // (verb, key, index, session, text)
    let table = [
        (Set, "x", 0, 0, String::new()),
        (Get, "t", 0, 0, String::new()),
        (
            CheckIndex,
            "t",
            1,
            0,
            "failed index check for key \"t\", current modify index 3 != 1".into(),
        ),
        (
            CheckIndex,
            "t9",
            1,
            0,
            "failed to check index, key \"t9\" doesn't exist".into(),
        ),
        (
            CheckSession,
            "t",
            0,
            1,
            format!("failed session check for key \"t\", current session \"\" != \"{s}\""),
        ),
        (
            CheckSession,
            "t9",
            0,
            1,
            "failed to check session, key \"t9\" doesn't exist".into(),
        ),
        (CheckNotExists, "t", 0, 0, "key \"t\" exists".into()),
        (Get, "t9", 0, 0, "key \"t9\" doesn't exist".into()),
        (Lock, "t", 0, 9, format!("invalid session \"{}\"", uuid(9))),
        (Lock, "t", 0, 0, "missing session".into()),
        (
            Unlock,
            "t",
            0,
            1,
            "failed to unlock key \"t\", lock isn't held, or is held by another session".into(),
        ),
        (
            Cas,
            "t",
            1,
            0,
            "failed to set key \"t\", index is stale".into(),
        ),
        (
            Cas,
            "t9",
            1,
            0,
            "failed to set key \"t9\", index is stale".into(),
        ),
        (
            DeleteCas,
            "t",
            1,
            0,
            "failed to delete key \"t\", index is stale".into(),
        ),
        (DeleteCas, "t9", 1, 0, String::new()),
    ];
    let ops = table
        .iter()
        .map(|(verb, key, index, session, _)| kv(*verb, key, "v", *index, *session))
        .collect();
    let outcome = txn(&mut b, ops);
    let got: Vec<_> = outcome
        .errors
        .iter()
        .map(|e| (e.op_index, e.what.clone()))
        .collect();
    let want: Vec<_> = table
        .iter()
        .enumerate()
        .filter(|(_, row)| !row.4.is_empty())
        .map(|(at, row)| (at, row.4.clone()))
        .collect();
    assert_eq!(got, want);
    assert!(outcome.results.is_empty());
    assert_eq!(b.state.version().digest(), before);
}

#[test]
fn a_held_lock_refuses_another_session() {
    let mut b = Bench::default();
    b.done(register(node("n")));
    for id in [1, 2] {
        b.done(Command::SessionCreate(Box::new(session(uuid(id), "n"))));
    }
    txn(&mut b, vec![kv(KvVerb::Lock, "k", "v", 0, 1)]);
    let outcome = txn(
        &mut b,
        vec![
            kv(KvVerb::Lock, "k", "v", 0, 2),
            kv(KvVerb::CheckSession, "k", "", 0, 2),
        ],
    );
    assert_eq!(
        outcome.errors[0].what,
        "failed to lock key \"k\", lock is already held"
    );
    assert_eq!(
        outcome.errors[1].what,
        format!(
            "failed session check for key \"k\", current session \"{}\" != \"{}\"",
            uuid(1),
            uuid(2)
        )
    );
}

#[test]
fn reads_give_values_writes_do_not_and_deletes_give_nothing() {
    use KvVerb::*;
    let mut b = Bench::default();
    let ops = vec![
        kv(Set, "t1", "1", 0, 0),
        kv(Get, "t1", "", 0, 0),
        kv(GetTree, "t", "", 0, 0),
        kv(GetTree, "none", "", 0, 0),
        kv(CheckNotExists, "none", "", 0, 0),
        kv(CheckIndex, "t1", "", 1, 0),
        kv(Delete, "none", "", 0, 0),
        kv(DeleteTree, "t", "", 0, 0),
    ];
    let applied = b.done(Command::Txn(ops));
    let Outcome::Txn(outcome) = applied.outcome else {
        panic!()
    };
    let shown: Vec<bool> = outcome
        .results
        .iter()
        .map(|r| match r {
            TxnResult::Kv { with_value, .. } => *with_value,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        (shown, outcome.index),
        (vec![false, true, true, false], Index(1))
    );
    assert_eq!(b.state.version().usage().keys, 0);
}

#[test]
fn catalog_operations_speak_of_what_is_missing_or_stale() {
    use CatalogVerb::*;
    let mut b = Bench::default();
    b.done(register(node_with_id("srv", uuid(1))));
    let n = |verb, name: &str, index| {
        TxnOp::Node(
            verb,
            Box::new(Node {
                name: text(name),
                modify: Index(index),
                ..Node::default()
            }),
        )
    };
    let s = |verb, on: &str, index| {
        let service = Service {
            id: text("x"),
            name: text("x"),
            modify: Index(index),
            ..Service::default()
        };
        TxnOp::Service(verb, text(on), Box::new(service))
    };
    let c = |verb, on: &str, service: &str, index| {
        let check = Check {
            node: text(on),
            id: text("c"),
            service_id: text(service),
            modify: Index(index),
            ..Check::default()
        };
        TxnOp::Check(verb, Box::new(check))
    };
    let by_id = Node {
        id: Some(uuid(9)),
        name: text("srv"),
        ..Node::default()
    };
    // (operation, text)
    let table = [
        (n(Get, "none", 0), "node \"none\" doesn't exist"),
        (
            n(Cas, "none", 4),
            "failed to set node \"none\", index is stale",
        ),
        (n(Delete, "none", 0), ""),
        (
            n(DeleteCas, "none", 0),
            "failed to delete node \"none\", index is stale",
        ),
        (
            n(DeleteCas, "srv", 3),
            "failed to delete node \"srv\", index is stale",
        ),
        (
            n(Cas, "srv", 0),
            "failed to set node \"srv\", index is stale",
        ),
        (
            TxnOp::Node(Get, Box::new(by_id)),
            "node \"srv\" doesn't exist",
        ),
        (
            s(Get, "none", 0),
            "service \"x\" on node \"none\" doesn't exist",
        ),
        (s(Set, "none", 0), "Missing node registration"),
        (
            s(Cas, "srv", 4),
            "failed to set service \"x\" on node \"srv\", index is stale",
        ),
        (s(Delete, "none", 0), ""),
        (
            s(DeleteCas, "srv", 4),
            "failed to delete service \"x\" on node \"srv\", index is stale",
        ),
        (
            c(Get, "srv", "", 0),
            "check \"c\" on node \"srv\" doesn't exist",
        ),
        (c(Set, "none", "", 0), "Missing node registration"),
        (c(Set, "srv", "zz", 0), "Missing service registration"),
        (
            c(Cas, "srv", "", 4),
            "failed to set check \"c\" on node \"srv\", index is stale",
        ),
        (
            c(DeleteCas, "srv", "", 4),
            "failed to delete check \"c\" on node \"srv\", index is stale",
        ),
        (c(Delete, "srv", "", 0), ""),
    ];
    let outcome = txn(&mut b, table.iter().map(|(op, _)| op.clone()).collect());
    let got: Vec<_> = outcome
        .errors
        .iter()
        .map(|e| (e.op_index, &*e.what))
        .collect();
    let want: Vec<_> = table
        .iter()
        .enumerate()
        .filter(|(_, row)| !row.1.is_empty())
        .map(|(at, row)| (at, row.1))
        .collect();
    assert_eq!(got, want);
    let outcome = txn(
        &mut b,
        vec![
            n(Set, "t1", 0),
            s(Set, "T1", 0),
            c(Set, "t1", "X", 0),
            c(Get, "t1", "", 0),
        ],
    );
    assert_eq!((outcome.results.len(), outcome.errors.len()), (4, 0));
    let outcome = txn(
        &mut b,
        vec![
            c(DeleteCas, "t1", "", 3),
            s(DeleteCas, "t1", 3),
            n(DeleteCas, "t1", 3),
        ],
    );
    assert_eq!((outcome.results.len(), outcome.errors.len()), (0, 0));
}

#[test]
fn a_read_transaction_refuses_writes() {
    let mut b = Bench::default();
    b.done(set("a", "1"));
    let version = b.state.version();
    assert_eq!(
        version
            .txn_read(&[kv(KvVerb::Get, "a", "", 0, 0)])
            .results
            .len(),
        1
    );
    assert_eq!(
        version
            .txn_read(&[kv(KvVerb::Set, "a", "", 0, 0)])
            .errors
            .len(),
        1
    );
}
