//! Probes on virtual time (gossip.md section 6.3): what is asked of whom when, and what follows from the answers.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::text;
use tribune_types::time::Mono;

use super::bench::*;
use crate::action::{Action, Notice, Warning};
use crate::message::{Ack, IndirectPing, Message, NodeState, Peer, Ping, Versions};
use crate::options::Timing;

struct Probe {
    to: SocketAddr,
    node: String,
    seq: u32,
    sent: Mono,
}

/// Runs to the next probe.
fn next_probe(bench: &mut Bench) -> Probe {
    let out = bench
        .run_until(|action| matches!(action, Action::Packet(packet) if packet.parts[0][0] == 0));
    let (to, messages) = said(&out)
        .into_iter()
        .find(|(_, messages)| matches!(messages[0], Message::Ping(_)))
        .unwrap();
    let Message::Ping(ping) = &messages[0] else {
        unreachable!()
    };
    assert_eq!((ping.source, &*ping.source_node), (Some(addr(1)), "self"));
    Probe {
        to,
        node: ping.node.to_string(),
        seq: ping.seq,
        sent: bench.now,
    }
}

fn ack(seq: u32) -> Message {
    Message::Ack(Ack { seq, payload: None })
}

fn indirect(actions: &[(Mono, Action)]) -> Vec<(SocketAddr, IndirectPing)> {
    let actions: Vec<Action> = actions.iter().map(|(_, action)| action.clone()).collect();
    said(&actions)
        .into_iter()
        .filter_map(|(to, messages)| match &messages[0] {
            Message::IndirectPing(request) => Some((to, request.clone())),
            _ => None,
        })
        .collect()
}

fn stream_pings(actions: &[(Mono, Action)]) -> Vec<(u32, Mono)> {
    actions
        .iter()
        .filter_map(|(_, action)| match action {
            Action::StreamPing { seq, deadline, .. } => Some((*seq, *deadline)),
            _ => None,
        })
        .collect()
}

fn suspected(bench: &Bench) -> bool {
    bench
        .swim
        .entries()
        .any(|entry| entry.state == NodeState::Suspect)
}

#[test]
fn every_other_node_is_probed_once_a_round_at_the_interval() {
    let mut bench = Bench::knowing(&["b", "c", "d", "e"]);
    let mut last = None;
    for round in 0..5 {
        let mut names = Vec::new();
        for n in 0..4 {
            let probe = next_probe(&mut bench);
            assert_eq!(probe.seq, round * 4 + n + 1);
            if let Some(last) = last.replace(probe.sent) {
                assert_eq!(probe.sent.since(last), Duration::from_secs(1));
            }
            names.push(probe.node);
            bench.hear(ack(probe.seq));
        }
        names.sort();
        assert_eq!(names, ["b", "c", "d", "e"]);
    }
}

#[test]
fn a_direct_ack_is_a_sample_and_improves_the_score() {
    let mut bench = Bench::knowing(&["b"]);
    bench.swim.awareness.worse(3);
    let probe = next_probe(&mut bench);
    bench.wait_ms(3);
    let payload: Option<Arc<[u8]>> = Some(Arc::from(*b"coordinate"));
    let answer = Message::Ack(Ack {
        seq: probe.seq,
        payload: payload.clone(),
    });
    let got = bench.hear_notices(answer.clone());
    let rtt = Duration::from_millis(3);
    let node = text("b");
    assert_eq!(got, [Notice::Measured { node, rtt, payload }]);
    assert_eq!(bench.swim.health_score(), 2);
    assert_eq!(bench.hear_notices(answer), [], "the first one wins");
    assert_eq!(bench.swim.health_score(), 2);
    assert_eq!(indirect(&bench.run_ms(900)), []);
}

#[test]
fn a_wrong_number_is_no_answer() {
    let mut bench = Bench::knowing(&["b"]);
    let probe = next_probe(&mut bench);
    for seq in [0, probe.seq + 1, u32::MAX] {
        assert_eq!(bench.hear(ack(seq)), []);
    }
    bench.run_ms(1_000);
    assert!(suspected(&bench));
}

#[test]
fn a_silent_node_is_asked_through_three_others_and_over_a_stream() {
    let mut bench = Bench::knowing(&["b", "c", "d", "e", "f", "g"]);
    bench.hear(suspect("g", 5, "x"));
    let mut old = Peer::clone(&peer("f", 6));
    old.versions = Some(Versions([1, 3, 2, 2, 5, 4]));
    bench.hear(alive(Arc::new(old), 6));
    for _ in 0..30 {
        let probe = next_probe(&mut bench);
        assert_eq!(
            bench
                .run_ms(499)
                .iter()
                .filter(|(_, a)| is_probe(a))
                .count(),
            0
        );
        let all = bench.run_ms(1);
        let asked = indirect(&all);
        assert_eq!(asked.len(), 3);
        for (to, request) in &asked {
            assert!(
                *to != probe.to && *to != addr(7),
                "not the target or a suspect"
            );
            assert_eq!((&*request.node, request.target), (&*probe.node, probe.to));
            assert_eq!(request.seq, probe.seq);
            assert_eq!(request.nack, *to != addr(6), "f knows no nacks");
            assert_eq!(request.source, Some(addr(1)));
        }
        let deadline = probe.sent + Duration::from_secs(1);
        assert_eq!(stream_pings(&all), [(probe.seq, deadline)]);
        // Through a helper: success, but no sample.
        bench.wait_ms(100);
        assert_eq!(bench.hear_notices(ack(probe.seq)), []);
    }
    assert_eq!(bench.swim.health_score(), 0);
}

fn is_probe(action: &Action) -> bool {
    matches!(action, Action::Packet(packet) if packet.parts[0][0] <= 1)
}

#[test]
fn an_old_node_or_a_wish_not_to_gets_no_stream_ping() {
    for (pmax, fallback, streams) in [(5, true, 1), (3, true, 1), (2, true, 0), (5, false, 0)] {
        let mut options = options();
        options.stream_fallback = fallback;
        let mut bench = Bench::with(options);
        let mut b = Peer::clone(&peer("b", 2));
        b.versions = Some(Versions([1, pmax, 2, 2, 5, 4]));
        bench.hear(alive(Arc::new(b), 1));
        next_probe(&mut bench);
        let all = bench.run_ms(600);
        assert_eq!(stream_pings(&all).len(), streams, "{pmax} {fallback}");
    }
}

#[test]
fn a_node_that_nobody_reaches_is_suspected_at_the_deadline() {
    // (helpers, nacks received) -> score
    for (helpers, nacks, score) in [
        (0, 0, 1),
        (1, 0, 1),
        (1, 1, 0),
        (3, 0, 3),
        (3, 2, 1),
        (3, 9, 0),
    ] {
        let names = ["b", "c", "d", "e"];
        let mut bench = Bench::knowing(&names[..=helpers]);
        let probe = next_probe(&mut bench);
        bench.run_ms(600);
        for _ in 0..nacks {
            bench.hear(Message::Nack(probe.seq));
        }
        assert_eq!(bench.hear(Message::Nack(probe.seq + 1)), []);
        bench.run_ms(399);
        assert!(!suspected(&bench));
        let all = bench.run_ms(1);
        let node = text(&probe.node);
        let warning = Action::Notice(Notice::Warning(Warning::Suspected(node)));
        assert!(all.iter().any(|(_, action)| *action == warning));
        assert_eq!(bench.state(&probe.node), Some((NodeState::Suspect, 5)));
        assert_eq!(bench.swim.health_score(), score, "{helpers} {nacks}");
        assert!(bench.queued().contains(&suspect(&probe.node, 5, "self")));
    }
}

#[test]
fn an_answer_over_a_stream_counts_at_the_deadline_and_blames_the_datagrams() {
    let mut bench = Bench::knowing(&["b", "c"]);
    bench.swim.awareness.worse(1);
    let probe = next_probe(&mut bench);
    let mut out = Vec::new();
    // Before it was asked for, and for another probe: nothing.
    bench
        .swim
        .on_stream_ack(bench.now, probe.seq, true, &mut out);
    bench.run_ms(600);
    bench
        .swim
        .on_stream_ack(bench.now, probe.seq + 1, true, &mut out);
    bench
        .swim
        .on_stream_ack(bench.now, probe.seq, true, &mut out);
    bench
        .swim
        .on_stream_ack(bench.now, probe.seq, false, &mut out);
    assert_eq!(out, []);
    let all = bench.run_ms(1_400);
    let node = text(&probe.node);
    let warning = Action::Notice(Notice::Warning(Warning::DatagramsBlocked(node)));
    let at: Vec<Mono> = all
        .iter()
        .filter(|(_, action)| *action == warning)
        .map(|(at, _)| *at)
        .collect();
    assert_eq!(at, [probe.sent + Duration::from_secs(2)]);
    assert!(!suspected(&bench));
    assert_eq!(bench.swim.health_score(), 0);
}

#[test]
fn a_refused_stream_shortens_the_wait_and_leaves_the_score_alone() {
    let mut bench = Bench::knowing(&["b", "c"]);
    bench.swim.awareness.worse(1);
    let probe = next_probe(&mut bench);
    let mut out = Vec::new();
    // Before it was asked for: nothing.
    bench.swim.on_stream_refused(bench.now, probe.seq, &mut out);
    bench.run_ms(501);
    bench.swim.on_stream_refused(bench.now, probe.seq, &mut out);
    bench.run_ms(99);
    assert!(!suspected(&bench), "an ack by way of others may still come");
    bench.run_ms(1);
    assert!(suspected(&bench));
    assert_eq!(bench.swim.health_score(), 1);
}

#[test]
fn an_ack_by_way_of_others_outweighs_a_refused_stream() {
    let mut bench = Bench::knowing(&["b", "c"]);
    let probe = next_probe(&mut bench);
    bench.run_ms(501);
    let mut out = Vec::new();
    bench.swim.on_stream_refused(bench.now, probe.seq, &mut out);
    bench.hear(ack(probe.seq));
    bench.run_ms(400);
    assert!(!suspected(&bench));
}

#[test]
fn an_ack_after_a_stream_answer_ends_the_probe_without_blame() {
    let mut bench = Bench::knowing(&["b", "c"]);
    let probe = next_probe(&mut bench);
    bench.run_ms(600);
    let mut out = Vec::new();
    bench
        .swim
        .on_stream_ack(bench.now, probe.seq, true, &mut out);
    assert_eq!(bench.hear_notices(ack(probe.seq)), []);
    let all = bench.run_ms(390);
    assert!(notices(all.into_iter().map(|(_, a)| a).collect()).is_empty());
    assert!(!suspected(&bench));
}

#[test]
fn a_bad_score_stretches_the_deadline_but_not_the_direct_time() {
    let mut bench = Bench::knowing(&["b", "c"]);
    bench.swim.awareness.worse(2);
    let probe = next_probe(&mut bench);
    let all = bench.run_ms(500);
    assert_eq!(indirect(&all).len(), 1);
    let deadline = probe.sent + Duration::from_secs(3);
    assert_eq!(stream_pings(&all), [(probe.seq, deadline)]);
    let all = bench.run_ms(2_499);
    assert!(!suspected(&bench) && !all.iter().any(|(_, action)| is_probe(action)));
    // The ticks at 1 and 2 seconds are over; the one at 3 begins the next.
    let all = bench.run_ms(1);
    assert!(suspected(&bench) && all.iter().any(|(_, action)| is_probe(action)));
}

#[test]
fn one_tick_that_came_during_a_probe_is_made_up_for_when_it_ends() {
    let mut bench = Bench::knowing(&["b", "c"]);
    bench.swim.awareness.worse(5);
    let probe = next_probe(&mut bench);
    bench.run_ms(3_300);
    let got = bench.hear(ack(probe.seq));
    assert_eq!(got.iter().filter(|action| is_probe(action)).count(), 1);
    let Message::Ping(Ping { seq, .. }) = said(&got)[0].1[0] else {
        panic!("not a ping");
    };
    bench.hear(ack(seq));
    let all = bench.run_ms(699);
    assert!(!all.iter().any(|(_, action)| is_probe(action)));
    let all = bench.run_ms(1);
    assert!(
        all.iter().any(|(_, action)| is_probe(action)),
        "the grid goes on"
    );
}

#[test]
fn a_suspect_is_told_what_it_is_accused_of_and_may_deny_it() {
    let mut bench = Bench::knowing(&["b"]);
    bench.hear(suspect("b", 5, "x"));
    bench.queued();
    bench
        .swim
        .broadcast(crate::Queue::Events, Arc::from(*b"x"), None);
    let out = bench.run_until(is_probe);
    let probe = packets(&out)
        .into_iter()
        .find(|packet| packet.parts[0][0] == 0)
        .unwrap();
    assert!(probe.checksum);
    let messages = &said(&out)
        .into_iter()
        .find(|(_, messages)| matches!(messages[0], Message::Ping(_)))
        .unwrap()
        .1;
    assert_eq!(messages.len(), 2, "no broadcasts ride on it");
    assert_eq!(messages[1], suspect("b", 5, "self"));
}

#[test]
fn a_probe_that_could_not_be_sent_counts_neither_way() {
    let mut bench = Bench::knowing(&["b", "c"]);
    bench.swim.awareness.worse(2);
    let probe = next_probe(&mut bench);
    bench.swim.on_send_failed(bench.now, addr(77));
    bench.swim.on_send_failed(bench.now, probe.to);
    let all = bench.run_ms(999);
    assert!(!all.iter().any(|(_, action)| is_probe(action)));
    assert_eq!(bench.swim.health_score(), 2);
    assert!(!suspected(&bench));
    // Once others were asked it goes on.
    let probe = next_probe(&mut bench);
    bench.run_ms(600);
    bench.swim.on_send_failed(bench.now, probe.to);
    bench.run_ms(2_400);
    assert!(suspected(&bench));
}

#[test]
fn a_direct_time_as_long_as_the_interval_fails_with_the_helpers_unheard() {
    let mut options = options();
    options.timing = Timing {
        probe_interval: Duration::from_millis(100),
        probe_timeout: Duration::from_millis(100),
        ..Timing::lan()
    };
    let mut bench = Bench::with(options);
    for (n, name) in [(2, "b"), (3, "c"), (4, "d")] {
        bench.hear(alive(peer(name, n), 5));
    }
    next_probe(&mut bench);
    let all = bench.run_ms(100);
    assert_eq!(indirect(&all).len(), 2);
    assert_eq!(stream_pings(&all), []);
    assert!(suspected(&bench));
    assert_eq!(bench.swim.health_score(), 2);
}

#[test]
fn dead_and_left_nodes_are_not_probed_and_are_forgotten_after_a_round() {
    let mut bench = Bench::knowing(&["b", "c", "d"]);
    bench.hear(dead("b", 5, "c"));
    bench.hear(dead("c", 5, "c"));
    for second in 0..60 {
        let probe = next_probe(&mut bench);
        assert_eq!(probe.node, "d");
        bench.hear(ack(probe.seq));
        if second < 29 {
            assert_eq!(bench.swim.len(), 4, "after {second} s");
        }
    }
    assert_eq!(bench.swim.len(), 2);
    // A pool of dead nodes only: nothing to probe, and nothing hangs.
    let mut bench = Bench::knowing(&["b", "c"]);
    bench.hear(dead("b", 5, "c"));
    bench.hear(dead("c", 5, "c"));
    let all = bench.run_ms(40_000);
    assert!(!all.iter().any(|(_, action)| is_probe(action)));
    assert_eq!(bench.swim.len(), 1);
}

#[test]
fn a_probe_for_another_node_ends_with_its_ack_or_a_nack() {
    for (nack, answered) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut bench = Bench::knowing(&["b"]);
        let request = Message::IndirectPing(IndirectPing {
            seq: 99,
            target: addr(2),
            node: text("b"),
            nack,
            source: Some(addr(4)),
            source_node: text("d"),
        });
        let got = said(&bench.hear(request));
        let [(to, messages)] = &got[..] else {
            panic!("{got:?}");
        };
        let Message::Ping(ping) = &messages[0] else {
            panic!("{messages:?}");
        };
        assert_eq!(
            (*to, &*ping.node, ping.source),
            (addr(2), "b", Some(addr(1)))
        );
        if answered {
            let payload: Option<Arc<[u8]>> = Some(Arc::from(*b"not passed on"));
            let answer = Message::Ack(Ack {
                seq: ping.seq,
                payload,
            });
            let got = said(&bench.hear(answer.clone()));
            assert_eq!(got, [(addr(4), vec![ack(99)])]);
            assert_eq!(bench.hear(answer), []);
        }
        let due = bench.now + Duration::from_millis(500);
        let later: Vec<_> = bench
            .run_ms(2_000)
            .into_iter()
            .filter(|(_, action)| {
                said(std::slice::from_ref(action))
                    .iter()
                    .any(|s| s.0 == addr(4))
            })
            .map(|(at, action)| (at, said(&[action])))
            .collect();
        let want = if nack && !answered {
            vec![(due, vec![(addr(4), vec![Message::Nack(99)])])]
        } else {
            vec![]
        };
        assert_eq!(later, want, "{nack} {answered}");
    }
}

#[test]
fn a_request_without_source_and_port_uses_the_sender_and_our_port() {
    let mut bench = Bench::new();
    let request = Message::IndirectPing(IndirectPing {
        seq: 99,
        target: ([10, 0, 0, 2], 0).into(),
        node: text("b"),
        nack: true,
        source: None,
        source_node: text(""),
    });
    let got = said(&bench.hear_from(6, request));
    assert_eq!(got[0].0, addr(2));
    let Message::Ping(ping) = &got[0].1[0] else {
        panic!("{got:?}");
    };
    let got = said(&bench.hear(ack(ping.seq)));
    assert_eq!(got, [(addr(6), vec![ack(99)])]);
}

#[test]
fn a_flood_of_requests_is_refused_beyond_a_bound() {
    let mut bench = Bench::new();
    let refused = (0..5_000)
        .filter(|&seq| {
            let got = bench.hear_notices(Message::IndirectPing(IndirectPing {
                seq,
                target: addr(2),
                node: text("b"),
                nack: true,
                source: None,
                source_node: text(""),
            }));
            got.iter().any(is_refusal)
        })
        .count();
    assert_eq!(refused, 5_000 - 1_024);
    assert_eq!(bench.run_ms(1_000).len(), 1_024, "nacks");
}

#[test]
fn a_paused_process_makes_up_for_one_probe_only() {
    let mut bench = Bench::knowing(&["b", "c"]);
    let probe = next_probe(&mut bench);
    bench.hear(ack(probe.seq));
    bench.wait_ms(60_000);
    let all = bench.run_ms(1);
    assert_eq!(all.iter().filter(|(_, action)| is_probe(action)).count(), 1);
}
