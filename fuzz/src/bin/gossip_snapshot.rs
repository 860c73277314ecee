//! The snapshot file of gossip.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_serf::Record;
use tribune_wire::serf::snapshot::{parse, render, restore};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    for line in bytes.split(|byte| *byte == b'\n') {
        let Some(record) = str::from_utf8(line).ok().and_then(parse) else {
            continue;
        };
        let mut text = String::new();
        render(&record, &mut text);
        assert_eq!(text.strip_suffix('\n').and_then(parse), Some(record));
    }
    // What is remembered, written as a compacted file, is remembered.
    for rejoin in [false, true] {
        let restored = restore(bytes, rejoin);
        let mut text = String::new();
        for (name, addr) in &restored.alive {
            render(&Record::Alive(name.clone(), *addr), &mut text);
        }
        render(&Record::Clock(restored.clock), &mut text);
        render(&Record::EventClock(restored.event_clock), &mut text);
        render(&Record::QueryClock(restored.query_clock), &mut text);
        assert_eq!(restore(text.as_bytes(), rejoin), restored);
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        b"alive: n1 10.0.0.1:8301\nalive: n2 [fd00::1]:8301\nnot-alive: n1\nclock: 5\nevent-clock: 6\nquery-clock: 7\nleave\nclock: 8\n"
            .to_vec(),
        b"coordinate: x\n# y\nalive: a b 1.2.3.4:5\nalive: cut 1.2".to_vec(),
    ]
}
