//! Random inputs, hostile ones included: nothing panics, the tables stay consistent, packets stay within bounds, and the
//! same inputs give the same outputs.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use tribune_types::text::text;
use tribune_types::time::Mono;

use super::bench::*;
use crate::action::Action;
use crate::message::{
    Ack, IndirectPing, Message, NodeState, Peer, Ping, PushPull, RemoteNode, Versions,
};
use crate::swim::{Queue, Swim};

const NAMES: [&str; 9] = ["self", "a", "b", "c", "d", "e", "f", "", "self2"];

#[derive(Debug, Clone)]
enum Step {
    Hear(Message),
    Merge(Vec<RemoteNode>, bool),
    Wait(u64),
    Wake,
    StreamAck(u32, bool),
    SendFailed(u8),
    SetMeta(u8),
    Leave,
    Broadcast(u8, usize),
    Prune(u8),
}

fn name() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&NAMES[..])
}

fn incarnation() -> impl Strategy<Value = u32> {
    prop_oneof![5 => 0_u32..6, 1 => Just(u32::MAX), 1 => Just(u32::MAX - 1)]
}

fn record() -> impl Strategy<Value = Arc<Peer>> {
    let versions = prop_oneof![
        8 => Just(Some(Versions::CONSUL)),
        1 => Just(None),
        1 => any::<[u8; 6]>().prop_map(|v| Some(Versions(v))),
    ];
    (name(), 0_u8..4, any::<bool>(), 0_u8..3, versions).prop_map(
        |(name, n, zero_port, meta, versions)| {
            let mut addr = addr(n);
            if zero_port && n == 3 {
                addr.set_port(0);
            }
            Arc::new(Peer {
                name: text(name),
                addr,
                meta: vec![b'm'; usize::from(meta) * 200].into(),
                versions,
            })
        },
    )
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        6 => (record(), incarnation()).prop_map(|(peer, n)| alive(peer, n)),
        4 => (name(), incarnation(), name()).prop_map(|(a, n, b)| suspect(a, n, b)),
        3 => (name(), incarnation(), name()).prop_map(|(a, n, b)| dead(a, n, b)),
        2 => (0_u32..40, any::<bool>()).prop_map(|(seq, payload)| Message::Ack(Ack {
            seq,
            payload: payload.then(|| Arc::from([1, 2, 3])),
        })),
        1 => (0_u32..40).prop_map(Message::Nack),
        1 => (any::<u32>(), name(), any::<bool>()).prop_map(|(seq, node, source)| {
            Message::Ping(Ping {
                seq,
                node: text(node),
                source: source.then(|| addr(3)),
                source_node: text(""),
            })
        }),
        1 => (any::<u32>(), name(), any::<bool>()).prop_map(|(seq, node, nack)| {
            Message::IndirectPing(IndirectPing {
                seq,
                target: addr(2),
                node: text(node),
                nack,
                source: None,
                source_node: text(""),
            })
        }),
        1 => prop::collection::vec(any::<u8>(), 0..50)
            .prop_map(|bytes| Message::User(bytes.into())),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop::sample::select(
        &[
            NodeState::Alive,
            NodeState::Suspect,
            NodeState::Dead,
            NodeState::Left,
        ][..],
    );
    let node = (record(), incarnation(), state).prop_map(|(peer, incarnation, state)| RemoteNode {
        peer,
        incarnation,
        state,
    });
    prop_oneof![
        20 => message().prop_map(Step::Hear),
        3 => (prop::collection::vec(node, 0..8), any::<bool>())
            .prop_map(|(nodes, join)| Step::Merge(nodes, join)),
        6 => (0_u64..3_000).prop_map(Step::Wait),
        1 => (0_u64..100_000).prop_map(Step::Wait),
        12 => Just(Step::Wake),
        1 => (0_u32..40, any::<bool>()).prop_map(|(seq, acked)| Step::StreamAck(seq, acked)),
        1 => (0_u8..4).prop_map(Step::SendFailed),
        1 => any::<u8>().prop_map(Step::SetMeta),
        1 => prop::bool::weighted(0.1).prop_map(|leave| if leave { Step::Leave } else { Step::Wake }),
        2 => (0_u8..3, 0_usize..1_500).prop_map(|(queue, size)| Step::Broadcast(queue, size)),
        1 => (0_u8..3).prop_map(Step::Prune),
    ]
}

fn queue(n: u8) -> Queue {
    [Queue::Intents, Queue::Queries, Queue::Events][usize::from(n)]
}

fn run(steps: &[Step]) -> Vec<Action> {
    let mut all = Vec::new();
    let mut now = START;
    let mut swim = Swim::new(options(), now, &mut all);
    for step in steps {
        let before = all.len();
        apply(&mut swim, &mut now, step, &mut all);
        check(&swim, now, &all[before..]);
    }
    all
}

fn apply(swim: &mut Swim, now: &mut Mono, step: &Step, out: &mut Vec<Action>) {
    match step {
        Step::Hear(message) => swim.on_message(*now, addr(9), message.clone(), out),
        Step::Merge(nodes, join) => {
            let remote = PushPull {
                join: *join,
                nodes: nodes.clone(),
                user_state: Vec::new(),
            };
            drop(swim.merge(*now, &remote, *join, out));
        }
        Step::Wait(ms) => {
            *now = *now + Duration::from_millis(*ms);
            swim.on_time(*now, out);
        }
        Step::Wake => {
            *now = (*now).max(swim.next_wake());
            swim.on_time(*now, out);
            assert!(swim.next_wake() > *now, "a busy loop");
        }
        Step::StreamAck(seq, acked) => swim.on_stream_ack(*now, *seq, *acked, out),
        Step::SendFailed(n) => swim.on_send_failed(*now, addr(*n)),
        Step::SetMeta(n) => drop(swim.set_meta(*now, Arc::from([*n]), out)),
        Step::Leave => drop(swim.leave(*now, out)),
        Step::Broadcast(n, size) => swim.broadcast(queue(*n), vec![1; *size].into(), None),
        Step::Prune(n) => drop(swim.prune(queue(*n), 2)),
    }
}

fn check(swim: &Swim, now: Mono, actions: &[Action]) {
    swim.table.check();
    let entries: Vec<_> = swim.entries().collect();
    assert_eq!(entries.len(), swim.len());
    let up = entries
        .iter()
        .filter(|entry| matches!(entry.state, NodeState::Alive | NodeState::Suspect));
    assert_eq!(up.count(), swim.alive_count());
    let suspects = swim.table.count(NodeState::Suspect);
    assert_eq!(swim.suspicions.len(), suspects, "a timer per suspect");
    assert!(entries.iter().all(|entry| entry.since <= now));
    assert!(swim.health_score() < 8);
    let own = swim.entry("self").unwrap();
    assert!(own.state == NodeState::Alive || swim.leaving);
    assert_eq!(own.peer.addr, addr(1));
    for packet in packets(actions) {
        assert!((1..=127).contains(&packet.parts.len()));
        let size: usize = packet.parts.iter().map(|part| part.len() + 2).sum();
        assert!(packet.parts.len() == 1 || size <= 1400);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn any_inputs_keep_the_invariants_and_repeat_exactly(
        steps in prop::collection::vec(step(), 0..120),
    ) {
        let first = run(&steps);
        prop_assert_eq!(first, run(&steps));
    }
}
