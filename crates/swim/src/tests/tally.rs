//! Counts for metrics.

use std::time::Duration;

use super::bench::{Bench, alive, dead, peer, suspect};
use crate::tally::Tally;

#[test]
fn only_what_is_believed_is_counted_and_only_once() {
    let mut bench = Bench::knowing(&["b", "c"]);
    bench.swim.take_tally();
    for message in [
        alive(peer("d", 4), 1),
        alive(peer("d", 4), 1),
        suspect("b", 4, "c"),
        suspect("b", 5, "c"),
        suspect("b", 5, "d"),
        dead("c", 5, "b"),
        dead("c", 5, "b"),
        dead("nobody", 5, "b"),
    ] {
        bench.hear(message);
    }
    let tally = bench.swim.take_tally();
    assert_eq!((tally.alive, tally.suspect, tally.dead), (1, 1, 1));
    assert_eq!(bench.swim.take_tally(), Tally::default());
}

#[test]
fn probes_tell_how_long_they_took_and_whether_health_stretched_them() {
    let mut bench = Bench::knowing(&["b"]);
    bench.swim.take_tally();
    // Nobody answers: the second probe runs with a bad score, three intervals long.
    bench.run_ms(2_000);
    let tally = bench.swim.take_tally();
    assert_eq!(tally.probed, Some(Duration::from_secs(1)));
    assert_eq!(tally.degraded_probes, 1);
}

#[test]
fn a_burial_without_the_confirmations_it_waited_for_is_counted() {
    // (members, confirmed by, counted)
    for (names, by, want) in [
        (&["b", "c"][..], &[][..], 0),
        (&["b", "c", "d"], &[], 1),
        (&["b", "c", "d"], &["d"], 1),
        (&["b", "c", "d"], &["d", "e"], 0),
    ] {
        let mut bench = Bench::knowing(names);
        bench.hear(suspect("b", 5, "c"));
        for from in by {
            bench.hear(suspect("b", 5, from));
        }
        bench.swim.take_tally();
        for _ in 0..60 {
            bench.wait_ms(1_000);
            bench.swim.expire_suspicions(bench.now, &mut Vec::new());
        }
        let tally = bench.swim.take_tally();
        assert_eq!((tally.dead, tally.degraded_timeouts), (1, want), "{by:?}");
    }
}
