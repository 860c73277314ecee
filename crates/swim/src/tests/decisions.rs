//! The decision tables of gossip.md section 6.8, row by row.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tribune_types::text::text;

use super::bench::*;
use crate::action::{Action, Notice, Warning};
use crate::message::{Accusation, Alive, Message, NodeState, Peer, RemoteNode, Versions};
use crate::options::{Admit, Options, Refusal, Timing};
use crate::swim::Swim;

use NodeState::{Alive as Up, Dead, Left, Suspect};

/// A bench that knows "b" at incarnation 5 in this state for so many seconds.
fn knowing_b(state: NodeState, secs: u64) -> Bench {
    let mut bench = Bench::knowing(&["b", "c", "d", "e"]);
    match state {
        Up => {}
        Suspect => drop(bench.hear(suspect("b", 5, "c"))),
        Dead => drop(bench.hear(dead("b", 5, "c"))),
        Left => drop(bench.hear(dead("b", 5, "b"))),
    }
    assert_eq!(bench.state("b"), Some((state, 5)));
    bench.queued();
    bench.wait_ms(secs * 1000);
    bench
}

fn with_meta(name: &str, n: u8, meta: &[u8]) -> Arc<Peer> {
    let mut peer = Peer::clone(&peer(name, n));
    peer.meta = meta.into();
    Arc::new(peer)
}

fn with_versions(name: &str, n: u8, versions: Option<[u8; 6]>) -> Arc<Peer> {
    let mut peer = Peer::clone(&peer(name, n));
    peer.versions = versions.map(Versions);
    Arc::new(peer)
}

#[test]
fn alive_about_a_known_node_at_its_address() {
    // (known state, heard incarnation, other metadata) -> (state, incarnation, notice, passed on)
    for (known, heard, other_meta, want, notice, passed) in [
        // Row 9.
        (Up, 4, false, (Up, 5), "", false),
        (Up, 5, true, (Up, 5), "", false),
        (Suspect, 5, false, (Suspect, 5), "", false),
        (Dead, 5, false, (Dead, 5), "", false),
        (Left, 5, true, (Left, 5), "", false),
        // Rows 14 and 15.
        (Up, 6, false, (Up, 6), "", true),
        (Up, 6, true, (Up, 6), "updated", true),
        (Suspect, 6, false, (Up, 6), "", true),
        (Suspect, 6, true, (Up, 6), "updated", true),
        (Dead, 6, false, (Up, 6), "joined", true),
        (Dead, 6, true, (Up, 6), "joined", true),
        (Left, 6, false, (Up, 6), "joined", true),
        (Up, u32::MAX, false, (Up, u32::MAX), "", true),
    ] {
        let case = format!("{known:?} hears {heard}, other metadata: {other_meta}");
        let mut bench = knowing_b(known, 1);
        let meta: &[u8] = if other_meta { b"other" } else { b"meta" };
        let message = alive(with_meta("b", 2, meta), heard);
        let got = bench.hear_notices(message.clone());
        let told = match &got[..] {
            [] => "",
            [Notice::Joined(_)] => "joined",
            [Notice::Updated(_)] => "updated",
            other => panic!("{case}: {other:?}"),
        };
        assert_eq!(bench.state("b"), Some(want), "{case}");
        assert_eq!(told, notice, "{case}");
        let queued = bench.queued();
        assert_eq!(
            queued,
            if passed { vec![message] } else { vec![] },
            "{case}"
        );
        let up = bench.swim.suspicions.len();
        assert_eq!(up, usize::from(want.0 == Suspect), "{case}");
    }
}

#[test]
fn alive_at_another_address_takes_over_only_a_left_or_long_dead_name() {
    // (known state, for seconds, heard incarnation) -> taken over
    for (known, secs, heard, taken) in [
        (Up, 100, 9, false),
        (Suspect, 3, 9, false),
        (Dead, 30, 9, false),
        (Dead, 31, 9, true),
        (Dead, 31, 1, true),
        (Left, 0, 9, true),
        (Left, 0, 1, true),
    ] {
        let case = format!("{known:?} for {secs} s hears {heard}");
        let mut bench = knowing_b(known, secs);
        let claimant = peer("b", 99);
        let got = bench.hear_notices(alive(Arc::clone(&claimant), heard));
        if taken {
            assert_eq!(got, [Notice::Joined(claimant)], "{case}");
            assert_eq!(bench.state("b"), Some((Up, heard)), "{case}");
            assert_eq!(bench.swim.entry("b").unwrap().peer.addr, addr(99), "{case}");
        } else {
            let holder = peer("b", 2);
            assert_eq!(got, [Notice::Conflict { holder, claimant }], "{case}");
            assert_eq!(bench.state("b"), Some((known, 5)), "{case}");
        }
        assert_eq!(bench.queued().len(), usize::from(taken), "{case}");
    }
}

#[test]
fn another_port_is_another_address_and_reclaim_can_be_off() {
    let mut options = options();
    options.timing = Timing {
        dead_node_reclaim: Duration::ZERO,
        ..Timing::lan()
    };
    let mut bench = Bench::with(options);
    bench.hear(alive(peer("b", 2), 5));
    bench.hear(dead("b", 5, "c"));
    bench.wait_ms(25_000);
    let mut moved = Peer::clone(&peer("b", 2));
    moved.addr.set_port(9999);
    let got = bench.hear_notices(alive(Arc::new(moved), 9));
    assert!(matches!(&got[..], [Notice::Conflict { .. }]), "{got:?}");
}

#[test]
fn an_unknown_node_joins_unless_its_incarnation_is_zero() {
    let mut bench = Bench::new();
    let got = bench.hear_notices(alive(peer("b", 2), 1));
    assert_eq!(got, [Notice::Joined(peer("b", 2))]);
    assert_eq!(bench.queued(), [alive(peer("b", 2), 1)]);
    // Rows 5 and 9: it is remembered as dead, but nobody is told.
    assert_eq!(bench.hear_notices(alive(peer("c", 3), 0)), []);
    assert_eq!(bench.state("c"), Some((Dead, 0)));
    assert_eq!((bench.queued(), bench.swim.alive_count()), (vec![], 2));
}

#[test]
fn port_zero_means_our_own() {
    let mut bench = Bench::new();
    let mut stranger = Peer::clone(&peer("b", 2));
    stranger.addr.set_port(0);
    bench.hear(alive(Arc::new(stranger), 1));
    assert_eq!(bench.swim.entry("b").unwrap().peer.addr, addr(2));
}

#[test]
fn impossible_or_missing_versions_are_refused() {
    for (versions, refused) in [
        (None, true),
        (Some([0, 5, 2, 2, 5, 4]), true),
        (Some([1, 0, 2, 2, 5, 4]), true),
        (Some([3, 2, 2, 2, 5, 4]), true),
        (Some([2, 2, 9, 0, 0, 0]), false),
    ] {
        let mut bench = Bench::new();
        let got = bench.hear_notices(alive(with_versions("b", 2, versions), 1));
        assert_eq!(got.iter().any(is_refusal), refused, "{versions:?}");
        assert_eq!(bench.state("b").is_none(), refused, "{versions:?}");
    }
}

/// Admits 10.0.0.1 to 10.0.0.9, and nobody with the metadata "bad". Counts the questions.
struct Strict(Arc<AtomicUsize>);

impl Admit for Strict {
    fn address(&self, addr: IpAddr) -> bool {
        matches!(addr, IpAddr::V4(v4) if v4.octets()[3] < 10)
    }
    fn alive(&self, peer: &Peer) -> Result<(), Refusal> {
        self.0.fetch_add(1, Ordering::Relaxed);
        match &*peer.meta {
            b"bad" => Err(Refusal("bad metadata".to_owned())),
            _ => Ok(()),
        }
    }
    fn join(&self, _: &[RemoteNode]) -> Result<(), Refusal> {
        Ok(())
    }
}

fn strict() -> (Bench, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut options = options();
    options.admit = Arc::new(Strict(Arc::clone(&asked)));
    (Bench::with(options), asked)
}

#[test]
fn a_node_that_is_not_admitted_is_not_known() {
    let (mut bench, _) = strict();
    let got = bench.hear_notices(alive(with_meta("b", 2, b"bad"), 1));
    assert_eq!(
        got,
        [Notice::Warning(Warning::Refused {
            node: text("b"),
            reason: "bad metadata".to_owned()
        })]
    );
    assert_eq!((bench.state("b"), bench.queued()), (None, vec![]));
    // A known node keeps what it had.
    bench.hear(alive(peer("b", 2), 1));
    bench.hear(alive(with_meta("b", 2, b"bad"), 2));
    assert_eq!(bench.state("b"), Some((Up, 1)));
}

#[test]
fn addresses_that_are_not_allowed_are_refused_as_source_and_inside() {
    let (mut bench, _) = strict();
    // (source, address inside) -> known
    for (source, inside, known) in [(2, 20, false), (20, 2, false), (9, 2, true)] {
        let mut out = Vec::new();
        let message = alive(peer("b", inside), 1);
        bench
            .swim
            .on_message(bench.now, addr(source), message, &mut out);
        assert_eq!(bench.state("b").is_some(), known, "{source} {inside}");
        assert_eq!(notices(out).iter().any(is_refusal), !known);
    }
    // Row 6: a name that may move, but not there.
    bench.hear(dead("b", 1, "b"));
    let got = bench.hear_notices(alive(peer("b", 20), 3));
    assert!(got.iter().all(is_refusal) && got.len() == 1, "{got:?}");
    assert_eq!(bench.state("b"), Some((Left, 1)));
}

#[test]
fn our_own_statements_are_admitted_too_and_old_news_asks_nobody() {
    let (mut bench, asked) = strict();
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1, "at the start");
    bench.hear(alive(peer("b", 2), 5));
    assert_eq!(asked.swap(0, Ordering::Relaxed), 1);
    for incarnation in [0, 4, 5] {
        assert_eq!(
            bench.hear(alive(with_meta("b", 2, b"bad"), incarnation)),
            []
        );
    }
    assert_eq!(asked.swap(0, Ordering::Relaxed), 0, "replays cost nothing");
    let mut out = Vec::new();
    assert_eq!(
        bench.swim.set_meta(bench.now, Arc::from(*b"bad"), &mut out),
        None
    );
    assert!(notices(out).iter().any(is_refusal));
    assert_eq!(&*bench.swim.local().meta, b"meta");
    assert_eq!(bench.swim.incarnation(), 1);
}

#[test]
fn a_node_that_its_own_pool_would_refuse_starts_with_a_warning() {
    let mut options = options();
    options.admit = Arc::new(Strict(Arc::default()));
    options.meta = Arc::from(*b"bad");
    let mut out = Vec::new();
    let swim = Swim::new(options, START, &mut out);
    let got = notices(out);
    assert!(is_refusal(&got[0]), "{got:?}");
    assert_eq!(got[1], Notice::Joined(Arc::clone(swim.local())));
    assert_eq!(swim.len(), 1);
}

#[test]
fn invented_names_are_bounded() {
    let mut options = options();
    options.nodes_max = 4;
    let mut bench = Bench::with(options);
    for n in 2..100 {
        let got = bench.hear_notices(alive(peer(&format!("n{n}"), n), 1));
        assert_eq!(got.iter().any(is_refusal), n > 4, "{got:?}");
    }
    assert_eq!(bench.swim.len(), 4);
    // Those known already go on as before.
    bench.hear(alive(peer("n3", 3), 7));
    assert_eq!(bench.state("n3"), Some((Up, 7)));
    for name in [String::new(), "x".repeat(513)] {
        let mut bench = Bench::new();
        assert!(is_refusal(&bench.hear_notices(alive(peer(&name, 2), 1))[0]));
    }
    let mut bench = Bench::new();
    assert!(is_refusal(
        &bench.hear_notices(alive(with_meta("b", 2, &[0; 513]), 1))[0]
    ));
}

#[test]
fn alive_about_ourselves_is_denied_unless_it_is_what_we_say() {
    let same = peer("self", 1);
    // (heard, record) -> own incarnation, refuted
    for (heard, record, want, refuted) in [
        // Rows 10 and 12.
        (0, with_meta("self", 1, b"old"), 1, false),
        (1, Arc::clone(&same), 1, false),
        // Row 13.
        (1, with_meta("self", 1, b"old"), 2, true),
        (
            1,
            with_versions("self", 1, Some([1, 5, 2, 2, 5, 3])),
            2,
            true,
        ),
        (2, Arc::clone(&same), 3, true),
        (50, with_meta("self", 1, b"old"), 51, true),
        (u32::MAX - 1, Arc::clone(&same), u32::MAX, true),
        (u32::MAX, Arc::clone(&same), u32::MAX, true),
    ] {
        let case = format!("{heard} {record:?}");
        let mut bench = Bench::new();
        let got = bench.hear_notices(alive(record, heard));
        assert_eq!(bench.swim.incarnation(), want, "{case}");
        assert_eq!(bench.swim.health_score(), u32::from(refuted), "{case}");
        let (news, told) = if refuted {
            let from = text("self");
            (
                vec![alive(Arc::clone(&same), want)],
                vec![Notice::Warning(Warning::Refuted { from })],
            )
        } else {
            (vec![], vec![])
        };
        assert_eq!((bench.queued(), got), (news, told), "{case}");
        assert_eq!(bench.swim.local(), &same, "{case}");
    }
}

#[test]
fn our_name_at_another_address_is_a_conflict() {
    let mut bench = Bench::new();
    let got = bench.hear_notices(alive(peer("self", 77), 9));
    let (holder, claimant) = (peer("self", 1), peer("self", 77));
    assert_eq!(got, [Notice::Conflict { holder, claimant }]);
    assert_eq!(bench.swim.incarnation(), 1);
}

#[test]
fn suspect_about_another_node() {
    // (known state, heard incarnation) -> (state, incarnation), passed on
    for (known, heard, want, passed) in [
        (Up, 4, (Up, 5), false),
        (Up, 5, (Suspect, 5), true),
        (Up, 9, (Suspect, 9), true),
        (Suspect, 4, (Suspect, 5), false),
        (Dead, 9, (Dead, 5), false),
        (Left, 9, (Left, 5), false),
        // A confirmation, which does not change the incarnation.
        (Suspect, 9, (Suspect, 5), true),
    ] {
        let mut bench = knowing_b(known, 1);
        let message = suspect("b", heard, "x");
        assert_eq!(bench.hear_notices(message.clone()), [], "{known:?} {heard}");
        assert_eq!(bench.state("b"), Some(want), "{known:?} {heard}");
        let queued = bench.queued();
        assert_eq!(queued, if passed { vec![message] } else { vec![] });
        assert_eq!(
            bench.swim.alive_count() == 5,
            want.0 == Up || want.0 == Suspect
        );
    }
    let mut bench = Bench::new();
    assert_eq!(bench.hear(suspect("nobody", 5, "x")), []);
    assert_eq!(bench.queued(), []);
}

#[test]
fn confirmations_keep_the_accuser_and_count_each_once() {
    let mut bench = knowing_b(Suspect, 0);
    // The pool of 5 needs two confirmations; c accused first.
    for (from, passed) in [
        ("c", false),
        ("d", true),
        ("d", false),
        ("e", true),
        ("x", false),
    ] {
        let message = suspect("b", 5, from);
        bench.hear(message.clone());
        assert_eq!(
            bench.queued(),
            if passed { vec![message] } else { vec![] },
            "{from}"
        );
    }
    assert_eq!(
        bench.swim.suspicions.next(),
        Some(bench.now + Duration::from_secs(4))
    );
}

#[test]
fn a_confirmation_that_leaves_no_time_leaves_time_to_answer() {
    let mut bench = knowing_b(Suspect, 20);
    let second = suspect("b", 5, "d");
    bench.hear(second.clone());
    // 11.4 s are over, but the pool hears of it only now.
    assert_eq!(bench.queued(), [second]);
    for (ms, state, queued) in [
        (999, Suspect, vec![]),
        (1, Dead, vec![dead("b", 5, "self")]),
    ] {
        bench.wait_ms(ms);
        bench.swim.expire_suspicions(bench.now, &mut Vec::new());
        assert_eq!(bench.state("b"), Some((state, 5)));
        assert_eq!(bench.queued(), queued);
    }
}

#[test]
fn an_accusation_that_nobody_confirmed_is_told_once_more_before_the_burial() {
    let mut bench = knowing_b(Suspect, 24);
    for (state, queued) in [
        (Suspect, suspect("b", 5, "c")),
        (Dead, dead("b", 5, "self")),
    ] {
        bench.swim.expire_suspicions(bench.now, &mut Vec::new());
        assert_eq!(bench.state("b"), Some((state, 5)));
        assert_eq!(bench.queued(), [queued]);
        bench.wait_ms(1000);
    }
}

#[test]
fn dead_about_another_node() {
    // (known state, heard incarnation, from) -> (state, incarnation), passed on
    for (known, heard, from, want, passed) in [
        (Up, 4, "c", (Up, 5), false),
        (Up, 5, "c", (Dead, 5), true),
        (Up, 9, "b", (Left, 9), true),
        (Suspect, 5, "c", (Dead, 5), true),
        (Suspect, 4, "c", (Suspect, 5), false),
        (Suspect, 5, "b", (Left, 5), true),
        (Dead, 9, "b", (Dead, 5), false),
        (Left, 9, "c", (Left, 5), false),
    ] {
        let case = format!("{known:?} {heard} {from}");
        let mut bench = knowing_b(known, 1);
        let message = dead("b", heard, from);
        let got = bench.hear_notices(message.clone());
        assert_eq!(bench.state("b"), Some(want), "{case}");
        let told = if passed {
            vec![Notice::Gone(peer("b", 2))]
        } else {
            vec![]
        };
        assert_eq!(got, told, "{case}");
        assert_eq!(
            bench.queued(),
            if passed { vec![message] } else { vec![] },
            "{case}"
        );
        assert_eq!(
            bench.swim.suspicions.len(),
            usize::from(want.0 == Suspect),
            "{case}"
        );
    }
    let mut bench = Bench::new();
    assert_eq!(bench.hear(dead("nobody", 5, "x")), []);
}

#[test]
fn accusations_of_ourselves_are_denied_with_a_higher_incarnation() {
    for accuse in [suspect, dead] {
        // (own metadata changes before, accused incarnation) -> own incarnation
        for (changes, accused, want) in [
            (1, 1, 2),
            (0, 1, 2),
            (0, 10, 11),
            (3, 3, 4),
            (1, u32::MAX - 1, u32::MAX),
            (1, u32::MAX, u32::MAX),
        ] {
            let mut bench = Bench::knowing(&["b"]);
            for _ in 0..changes {
                let meta = Arc::from(*b"meta");
                bench.swim.set_meta(bench.now, meta, &mut Vec::new());
            }
            bench.queued();
            let own = bench.swim.incarnation();
            let got = bench.hear_notices(accuse("self", accused, "x"));
            if accused < own {
                assert_eq!((got, bench.swim.incarnation()), (vec![], own));
                continue;
            }
            assert_eq!(bench.swim.incarnation(), want);
            assert_eq!(bench.state("self"), Some((Up, want)));
            let from = text("x");
            assert_eq!(got, [Notice::Warning(Warning::Refuted { from })]);
            assert_eq!(bench.queued(), [alive(peer("self", 1), want)]);
            assert_eq!(bench.swim.health_score(), 1);
        }
    }
}

#[test]
fn a_denial_replaces_what_is_queued_about_us() {
    let mut bench = Bench::knowing(&["b"]);
    bench.hear(dead("self", 4, "x"));
    bench.hear(suspect("self", 5, "x"));
    bench.hear(suspect("self", 6, "x"));
    assert_eq!(bench.queued(), [alive(peer("self", 1), 7)]);
}

#[test]
fn a_replayed_flood_at_the_last_incarnation_changes_nothing_more() {
    let mut bench = Bench::knowing(&["b"]);
    for _ in 0..100 {
        bench.hear(dead("self", u32::MAX, "x"));
        bench.hear(alive(peer("self", 1), u32::MAX));
    }
    assert_eq!(bench.state("self"), Some((Up, u32::MAX)));
    assert_eq!(bench.swim.health_score(), 7);
    assert_eq!(bench.queued().len(), 1);
    let mut out = Vec::new();
    bench.swim.set_meta(bench.now, Arc::from(*b"new"), &mut out);
    assert_eq!(bench.swim.incarnation(), u32::MAX);
}

#[test]
fn a_leaving_node_buries_itself_and_says_nothing_else_about_itself() {
    let mut bench = Bench::knowing(&["b"]);
    let mut out = Vec::new();
    let ticket = bench.swim.leave(bench.now, &mut out);
    assert!(ticket.is_some());
    assert_eq!(out, [Action::Notice(Notice::Gone(peer("self", 1)))]);
    assert_eq!(bench.state("self"), Some((Left, 1)));
    assert_eq!(bench.swim.alive_count(), 1);
    for message in [
        alive(peer("self", 1), 9),
        suspect("self", 9, "x"),
        dead("self", 9, "x"),
    ] {
        assert_eq!(bench.hear(message), []);
    }
    let mut out = Vec::new();
    assert_eq!(bench.swim.leave(bench.now, &mut out), None, "twice");
    assert_eq!(
        bench.swim.set_meta(bench.now, Arc::from(*b"new"), &mut out),
        None
    );
    assert_eq!(out, []);
    assert_eq!(bench.state("self"), Some((Left, 1)));
    assert_eq!(bench.queued(), [dead("self", 1, "self")]);
}

#[test]
fn the_ticket_of_a_leave_ends_when_it_was_told_often_enough() {
    let mut bench = Bench::knowing(&["b"]);
    let ticket = bench.swim.leave(bench.now, &mut Vec::new()).unwrap();
    let all = bench.run_ms(2_000);
    let told = all
        .iter()
        .filter(|(_, action)| {
            said(std::slice::from_ref(action))
                .iter()
                .any(|(_, messages)| messages.contains(&dead("self", 1, "self")))
        })
        .count();
    assert_eq!(told, 4, "4 times the digits of 2");
    let ended = all
        .iter()
        .filter(|(_, action)| *action == Action::Notice(Notice::Sent(ticket)));
    assert_eq!(ended.count(), 1);
    // Alone there is nobody to wait for.
    let mut bench = Bench::new();
    assert_eq!(bench.swim.leave(bench.now, &mut Vec::new()), None);
}

#[test]
fn new_metadata_raises_the_incarnation_and_ends_its_ticket() {
    let mut bench = Bench::knowing(&["b"]);
    let mut out = Vec::new();
    let ticket = bench
        .swim
        .set_meta(bench.now, Arc::from(*b"new"), &mut out)
        .unwrap();
    let new = with_meta("self", 1, b"new");
    assert_eq!(notices(out), [Notice::Updated(Arc::clone(&new))]);
    assert_eq!((bench.swim.local(), bench.swim.incarnation()), (&new, 2));
    // A newer statement replaces it and ends its ticket.
    let got = bench.hear_notices(suspect("self", 2, "x"));
    assert!(got.contains(&Notice::Sent(ticket)));
    assert_eq!(bench.queued(), [alive(new, 3)]);
    let mut bench = Bench::new();
    let nobody = bench
        .swim
        .set_meta(bench.now, Arc::from(*b"new"), &mut Vec::new());
    assert_eq!((nobody, bench.swim.incarnation()), (None, 2));
}

#[test]
fn a_new_node_is_alive_with_incarnation_1_and_announces_itself() {
    let mut out = Vec::new();
    let swim = Swim::new(options(), START, &mut out);
    assert_eq!(out, [Action::Notice(Notice::Joined(peer("self", 1)))]);
    assert_eq!(
        (swim.len(), swim.alive_count(), swim.incarnation()),
        (1, 1, 1)
    );
    let mut bench = Bench { swim, now: START };
    let own = Alive {
        incarnation: 1,
        peer: peer("self", 1),
    };
    assert_eq!(bench.queued(), [Message::Alive(own)]);
}

#[test]
fn suspects_are_buried_when_their_time_is_over_and_not_if_they_deny_it() {
    for denied in [false, true] {
        let mut bench = Bench::knowing(&["b", "c"]);
        bench.hear(suspect("b", 5, "c"));
        bench.run_ms(3_999);
        assert_eq!(bench.state("b"), Some((Suspect, 5)));
        if denied {
            bench.hear(alive(peer("b", 2), 6));
        }
        let all = bench.run_ms(2);
        assert_eq!(
            all.iter()
                .any(|(_, action)| *action == Action::Notice(Notice::Gone(peer("b", 2)))),
            !denied
        );
        assert_eq!(
            bench.state("b"),
            Some(if denied { (Up, 6) } else { (Dead, 5) })
        );
        if !denied {
            let word = Accusation {
                incarnation: 5,
                node: text("b"),
                from: text("self"),
            };
            assert!(bench.queued().contains(&Message::Dead(word)));
        }
    }
}

#[test]
fn a_table_known_from_the_start_is_small_and_quiet() {
    let count = 10_000_u32;
    let nodes: Vec<_> = (0..count)
        .map(|n| {
            let mut record = Peer::clone(&peer(&format!("node-{n}"), 2));
            record.addr = ([10, 1, (n >> 8) as u8, n as u8], 8301).into();
            (Arc::new(record), n)
        })
        .collect();
    let mut options: Options = options();
    options.name = text("node-77");
    let mut out = Vec::new();
    let swim = Swim::with_table(options, START, nodes.iter().cloned(), &mut out);
    swim.table.check();
    assert_eq!(out, []);
    assert_eq!((swim.len(), swim.alive_count()), (10_000, 10_000));
    assert_eq!(swim.incarnation(), 77);
    assert!(!swim.has_gossip());
    let bytes = swim.table_size_bytes();
    assert!(bytes <= 36 * count as usize, "{bytes}");
    let entry = swim.entry("node-4711").unwrap();
    assert!(Arc::ptr_eq(entry.peer, &nodes[4711].0));
}
