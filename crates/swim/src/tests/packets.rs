//! What goes into packets, and when the gossip round sends them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tribune_types::text::text;

use super::bench::*;
use crate::action::{Action, Notice, Packet};
use crate::gossip::Round;
use crate::message::{Ack, Message, Peer, Ping, Versions};
use crate::swim::Queue;

fn ping(seq: u32, node: &str) -> Message {
    Message::Ping(Ping {
        seq,
        node: text(node),
        source: Some(addr(7)),
        source_node: text("b"),
    })
}

/// Gossip packets only: others begin with a ping, an indirect ping or an ack.
fn gossip(all: &[(tribune_types::time::Mono, Action)]) -> Vec<(tribune_types::time::Mono, Packet)> {
    all.iter()
        .filter_map(|(at, action)| match action {
            Action::Packet(packet) if packet.parts[0][0] > 2 => Some((*at, packet.clone())),
            _ => None,
        })
        .collect()
}

#[test]
fn acks_carry_broadcasts_and_go_where_the_ping_says() {
    let mut bench = Bench::knowing(&["b"]);
    bench.swim.set_ack_payload(Arc::from(*b"here"));
    bench
        .swim
        .broadcast(Queue::Events, Arc::from(*b"event"), None);
    let ack = Message::Ack(Ack {
        seq: 77,
        payload: Some(Arc::from(*b"here")),
    });
    let event = Message::User(Arc::from(*b"event"));
    let got = bench.hear(ping(77, "self"));
    assert_eq!(said(&got), [(addr(7), vec![ack.clone(), event.clone()])]);
    assert!(!packets(&got)[0].checksum);
    // Nobody in particular is meant, and no source given.
    let anybody = Message::Ping(Ping {
        seq: 77,
        node: text(""),
        source: None,
        source_node: text(""),
    });
    let got = bench.hear(anybody);
    assert_eq!(said(&got), [(addr(9), vec![ack, event])]);
    assert_eq!(bench.hear(ping(77, "other")), []);
}

#[test]
fn an_ack_without_a_payload_says_so() {
    let mut bench = Bench::new();
    let ack = Message::Ack(Ack {
        seq: 1,
        payload: None,
    });
    assert_eq!(said(&bench.hear(ping(1, "self"))), [(addr(7), vec![ack])]);
}

#[test]
fn user_messages_are_sent_alone_and_received_as_they_are() {
    let mut bench = Bench::knowing(&["b"]);
    bench
        .swim
        .broadcast(Queue::Events, Arc::from(*b"event"), None);
    let mut out = Vec::new();
    bench.swim.send_user(addr(4), b"hello", &mut out);
    let hello = Message::User(Arc::from(*b"hello"));
    assert_eq!(said(&out), [(addr(4), vec![hello.clone()])]);
    let bytes = Arc::from(*b"hello");
    let from = addr(9);
    assert_eq!(bench.hear_notices(hello), [Notice::User { from, bytes }]);
}

#[test]
fn a_round_tells_three_nodes_with_checksums_for_those_that_know_them() {
    let names: Vec<String> = (0..20).map(|n| format!("n{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bench = Bench::knowing(&names);
    let mut old = Peer::clone(&peer("n0", 2));
    old.versions = Some(Versions([1, 4, 2, 2, 5, 4]));
    bench.hear(alive(Arc::new(old), 6));
    bench.queued();
    bench
        .swim
        .broadcast(Queue::Intents, Arc::from(*b"join"), None);
    bench.swim.set_population(21);
    let all = gossip(&bench.run_ms(2_000));
    let mut rounds: BTreeMap<_, Vec<Packet>> = BTreeMap::new();
    for (at, packet) in all {
        rounds.entry(at).or_default().push(packet);
    }
    // 8 transmissions, some of them with pings and acks.
    let counts: Vec<usize> = rounds.values().map(Vec::len).collect();
    assert!(
        counts.iter().all(|&n| n <= 3) && counts[0] == 3,
        "{counts:?}"
    );
    for packet in rounds.values().flatten() {
        assert_eq!(packet.checksum, packet.to != addr(2));
    }
    let times: Vec<_> = rounds.keys().collect();
    for pair in times.windows(2) {
        assert!(pair[1].since(*pair[0]) >= Duration::from_millis(200));
    }
}

#[test]
fn the_gossip_round_sleeps_while_there_is_nothing_to_say_and_is_prompt_then() {
    let mut bench = Bench::knowing(&["b"]);
    bench.run_ms(10_000);
    for pause in [0, 730, 1_510, 20_090] {
        bench.run_ms(pause);
        let start = bench.now;
        bench.swim.broadcast(Queue::Events, Arc::from(*b"x"), None);
        let rounds = gossip(&bench.run_ms(150));
        assert_eq!(rounds.len(), 1, "one in 200 ms");
        let delay = rounds[0].0.since(start);
        assert!(delay <= Duration::from_millis(10), "{delay:?}");
        bench.run_ms(850);
    }
}

#[test]
fn news_of_a_busy_node_goes_out_between_the_rounds_once_and_alone() {
    let mut bench = Bench::knowing(&["b", "c", "d", "e"]);
    bench.run_ms(10_000);
    bench
        .swim
        .broadcast(Queue::Events, Arc::from(*b"old"), None);
    assert_eq!(rounds_of(&mut bench, 50), 1);
    bench
        .swim
        .broadcast(Queue::Events, Arc::from(*b"new"), None);
    let packets = gossip(&bench.run_ms(12));
    assert_eq!(packets.len(), 3);
    assert_eq!(packets[0].1.parts.len(), 1, "only what was never sent");
    bench
        .swim
        .broadcast(Queue::Events, Arc::from(*b"newer"), None);
    assert_eq!(rounds_of(&mut bench, 100), 0, "one between two rounds");
    assert_eq!(rounds_of(&mut bench, 60), 1);
}

/// Points of time at which packets of gossip go out.
fn rounds_of(bench: &mut Bench, ms: u64) -> usize {
    let packets = gossip(&bench.run_ms(ms));
    let times: std::collections::BTreeSet<_> = packets.iter().map(|(at, _)| *at).collect();
    times.len()
}

#[test]
fn an_idle_pool_wakes_for_probes_and_exchanges_only() {
    let mut bench = Bench::knowing(&["b"]);
    let mut wakes = 0;
    let end = bench.now + Duration::from_secs(60);
    while bench.swim.next_wake() <= end {
        bench.now = bench.swim.next_wake();
        wakes += 1;
        let mut out = Vec::new();
        bench.swim.on_time(bench.now, &mut out);
        for (_, messages) in said(&out) {
            if let Message::Ping(ping) = &messages[0] {
                let seq = ping.seq;
                bench.hear(Message::Ack(Ack { seq, payload: None }));
            }
        }
    }
    assert!((60..=64).contains(&wakes), "{wakes}");
    // Alone, with the own announcement queued, it does not wake for gossip either.
    let mut bench = Bench::new();
    bench.swim.announce(None);
    bench.swim.settle(bench.now, &mut Vec::new());
    assert!(bench.run_ms(29_000).is_empty());
    assert_eq!(bench.queued().len(), 1);
}

#[test]
fn the_recent_dead_hear_gossip_and_the_old_dead_and_the_left_do_not() {
    // (how b went, seconds ago) -> hears
    for (from, secs, hears) in [
        ("c", 1, true),
        ("c", 29, true),
        ("c", 31, false),
        ("b", 1, false),
    ] {
        let mut bench = Bench::knowing(&["b"]);
        bench.hear(dead("b", 5, from));
        bench.queued();
        bench.wait_ms(secs * 1000);
        bench.swim.broadcast(Queue::Events, Arc::from(*b"x"), None);
        let mut out = Vec::new();
        bench.swim.gossip(bench.now, Round::Regular, &mut out);
        assert_eq!(!out.is_empty(), hears, "{from} {secs}");
    }
}

#[test]
fn a_broadcast_is_sent_as_often_as_the_pool_needs() {
    // (members above) -> transmissions
    for (population, times) in [(0, 1), (1, 4), (9, 4), (10, 8), (99, 8)] {
        let mut bench = Bench::knowing(&["b", "c", "d"]);
        bench.swim.set_population(population);
        let ticket = bench.swim.new_ticket();
        bench
            .swim
            .broadcast(Queue::Events, Arc::from(*b"x"), Some(ticket));
        assert_eq!(bench.swim.queue_len(Queue::Events), 1);
        let all = bench.run_ms(3_000);
        let actions: Vec<Action> = all.into_iter().map(|(_, action)| action).collect();
        let event = Message::User(Arc::from(*b"x"));
        let sent = said(&actions)
            .iter()
            .filter(|(_, messages)| messages.contains(&event))
            .count();
        assert_eq!(sent, times, "{population} members");
        assert_eq!(bench.swim.queue_len(Queue::Events), 0);
        assert!(notices(actions).contains(&Notice::Sent(ticket)));
    }
}

#[test]
fn a_pruned_broadcast_ends_its_ticket_at_the_next_call() {
    let mut bench = Bench::knowing(&["b"]);
    bench.run_ms(500);
    let tickets = [bench.swim.new_ticket(), bench.swim.new_ticket()];
    assert_ne!(tickets[0], tickets[1]);
    for ticket in tickets {
        bench
            .swim
            .broadcast(Queue::Queries, Arc::from(*b"x"), Some(ticket));
    }
    assert_eq!(bench.swim.prune(Queue::Queries, 0), 2);
    assert!(bench.swim.next_wake() <= bench.now, "it wants to be called");
    let mut out = Vec::new();
    bench.swim.on_time(bench.now, &mut out);
    let ended = notices(out);
    assert!(tickets.iter().all(|t| ended.contains(&Notice::Sent(*t))));
}

#[test]
fn packets_of_a_busy_pool_stay_within_budget_with_encryption() {
    for overhead in [0, 29, 45] {
        let mut bench = Bench::knowing(&["b", "c", "d"]);
        bench.swim.set_packet_overhead(overhead);
        for n in 0..400_usize {
            let queue = [Queue::Intents, Queue::Queries, Queue::Events][n % 3];
            bench.swim.broadcast(queue, vec![7; n % 120].into(), None);
            bench.hear(alive(peer(&format!("x{n}"), 9), 1));
        }
        let mut full = 0;
        for (_, action) in bench.run_ms(3_000) {
            for packet in packets(&[action]) {
                let size: usize = packet.parts.iter().map(|part| part.len() + 2).sum();
                // A carrying message's own length is not counted.
                assert!(size + overhead <= 1400 && packet.parts.len() <= 127);
                full += usize::from(size + 2 + overhead > 1390);
            }
        }
        assert!(full > 10, "{full} packets are nearly full");
    }
}
