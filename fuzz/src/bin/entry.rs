//! Entries of the replicated log: what decodes is the same after encoding and decoding it.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_types::command::{Command, RestoreStep};
use tribune_types::id::Index;
use tribune_types::kv::{KvEntry, KvOp};
use tribune_wire::entry::{decode, encode};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let command = match decode(bytes) {
        Ok(command) => command,
        Err(error) => return drop(error.to_string()),
    };
    let mut encoded = Vec::new();
    encode(&command, &mut encoded);
    let again = decode(&encoded).expect("what was encoded can be decoded");
    if again != command {
        // A number that is none is not equal to itself.
        assert_eq!(format!("{again:?}"), format!("{command:?}"));
    }
}

fn seeds() -> Vec<Vec<u8>> {
    // The bodies of these calls are the bodies of entries.
    let kinds = [
        ("Catalog.Register", 0),
        ("Catalog.Deregister", 1),
        ("KVS.Apply", 2),
        ("Session.Apply", 3),
        ("Txn.Apply", 8),
        ("Operator.AutopilotSetConfiguration", 9),
    ];
    let mut all = Vec::new();
    for (header, body) in tribune_fuzz::rpc_messages() {
        let header = String::from_utf8_lossy(&header).into_owned();
        if let Some((_, kind)) = kinds.iter().find(|(method, _)| header.ends_with(method)) {
            all.push([&[*kind], &body[..]].concat());
        }
    }
    let commands = [
        Command::Kv(
            KvOp::Set,
            KvEntry {
                key: b"k".as_slice().into(),
                ..KvEntry::default()
            },
        ),
        Command::ReapTombstones(Index(7)),
        Command::Coordinates(Vec::new()),
        Command::Restore(RestoreStep::Chunk {
            id: 1,
            seq: 2,
            data: b"abc".as_slice().into(),
        }),
        Command::Restore(RestoreStep::Commit {
            id: 1,
            chunks: 2,
            index: Index(3),
        }),
    ];
    for command in commands {
        let mut out = Vec::new();
        encode(&command, &mut out);
        all.push(out);
    }
    all
}
