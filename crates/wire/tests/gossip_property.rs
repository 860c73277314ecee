//! Gossip: what is encoded decodes to the same, random bytes do no harm, and the fast LZW equals a slow and obvious one.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use tribune_serf as core;
use tribune_swim::{
    Accusation, Ack, Alive, IndirectPing, Message, NodeState, Peer, Ping, PushPull, RemoteNode,
    Versions,
};
use tribune_types::coordinate::Coordinate;
use tribune_types::text::{Text, TextMap, text};
use tribune_wire::keyring::{Key, Keyring};
use tribune_wire::memberlist::stream::{
    Seal, StreamDecoder, StreamFraming, StreamMessage, encode_stream,
};
use tribune_wire::memberlist::{self, Framing, Limits};
use tribune_wire::{lzw, serf};

fn name() -> impl Strategy<Value = Text> {
    prop_oneof!["[a-z0-9.-]{0,40}", "\\PC{0,8}"].prop_map(|s| text(&s))
}

fn blob() -> impl Strategy<Value = Arc<[u8]>> {
    vec(any::<u8>(), 0..100).prop_map(Arc::from)
}

fn addr() -> impl Strategy<Value = SocketAddr> {
    let ip = prop_oneof![
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(|ip| IpAddr::from(ip).to_canonical())
    ];
    (ip, any::<u16>()).prop_map(SocketAddr::from)
}

fn source() -> impl Strategy<Value = Option<SocketAddr>> {
    option::of(addr().prop_filter("a source has a port", |addr| addr.port() != 0))
}

fn peer() -> impl Strategy<Value = Arc<Peer>> {
    (name(), addr(), blob(), option::of(any::<[u8; 6]>())).prop_map(
        |(name, addr, meta, versions)| {
            Arc::new(Peer {
                name,
                addr,
                meta,
                versions: versions.map(Versions),
            })
        },
    )
}

fn accusation() -> impl Strategy<Value = Accusation> {
    (any::<u32>(), name(), name()).prop_map(|(incarnation, node, from)| Accusation {
        incarnation,
        node,
        from,
    })
}

fn ping() -> impl Strategy<Value = Ping> {
    (any::<u32>(), name(), source(), name()).prop_map(|(seq, node, source, source_node)| Ping {
        seq,
        node,
        source,
        source_node,
    })
}

fn ack() -> impl Strategy<Value = Ack> {
    (any::<u32>(), option::of(blob())).prop_map(|(seq, payload)| Ack { seq, payload })
}

fn message() -> impl Strategy<Value = Message> {
    prop_oneof![
        ping().prop_map(Message::Ping),
        (ping(), addr(), any::<bool>()).prop_map(|(ping, target, nack)| {
            let Ping {
                seq,
                node,
                source,
                source_node,
            } = ping;
            Message::IndirectPing(IndirectPing {
                seq,
                target,
                node,
                nack,
                source,
                source_node,
            })
        }),
        ack().prop_map(Message::Ack),
        any::<u32>().prop_map(Message::Nack),
        accusation().prop_map(Message::Suspect),
        accusation().prop_map(Message::Dead),
        (any::<u32>(), peer())
            .prop_map(|(incarnation, peer)| Message::Alive(Alive { incarnation, peer })),
        blob().prop_map(Message::User),
    ]
}

fn stream_message() -> impl Strategy<Value = StreamMessage> {
    let state = prop_oneof![
        Just(NodeState::Alive),
        Just(NodeState::Suspect),
        Just(NodeState::Dead),
        Just(NodeState::Left)
    ];
    let node = (
        peer().prop_filter("nodes have names", |peer| !peer.name.is_empty()),
        any::<u32>(),
        state,
    )
        .prop_map(|(peer, incarnation, state)| RemoteNode {
            peer,
            incarnation,
            state,
        });
    prop_oneof![
        (any::<bool>(), vec(node, 0..20), vec(any::<u8>(), 0..500)).prop_map(
            |(join, nodes, user_state)| StreamMessage::PushPull(PushPull {
                join,
                nodes,
                user_state
            })
        ),
        ping().prop_map(StreamMessage::Ping),
        ack().prop_map(StreamMessage::Ack),
        blob().prop_map(StreamMessage::User),
        name().prop_map(|text| StreamMessage::Error(text.to_string())),
    ]
}

fn filter() -> impl Strategy<Value = core::Filter> {
    prop_oneof![
        vec(name(), 0..5).prop_map(core::Filter::Nodes),
        (name(), name()).prop_map(|(tag, expr)| core::Filter::Tag { tag, expr }),
        Just(core::Filter::Unknown),
    ]
}

fn query() -> impl Strategy<Value = core::Query> {
    let identity = (
        any::<u64>(),
        any::<u32>(),
        addr(),
        name(),
        vec(filter(), 0..4),
    );
    let rest = (
        any::<bool>(),
        any::<bool>(),
        any::<u8>(),
        0..i64::MAX as u64,
        name(),
        blob(),
    );
    (identity, rest).prop_map(|((ltime, id, source, source_node, filters), rest)| {
        let (ack, no_broadcast, relay_factor, nanos, name, payload) = rest;
        let timeout = Duration::from_nanos(nanos);
        core::Query {
            ltime,
            id,
            source,
            source_node,
            filters,
            ack,
            no_broadcast,
            relay_factor,
            timeout,
            name,
            payload,
        }
    })
}

fn serf_message() -> impl Strategy<Value = core::Message> {
    prop_oneof![
        (any::<u64>(), name(), any::<bool>()).prop_map(
            |(ltime, node, prune)| core::Message::Leave(core::LeaveIntent { ltime, node, prune })
        ),
        (any::<u64>(), name())
            .prop_map(|(ltime, node)| core::Message::Join(core::JoinIntent { ltime, node })),
        (any::<u64>(), name(), blob(), any::<bool>()).prop_map(
            |(ltime, name, payload, coalesce)| {
                core::Message::UserEvent(core::UserEvent {
                    ltime,
                    name,
                    payload,
                    coalesce,
                })
            }
        ),
        query().prop_map(core::Message::Query),
        (
            any::<u64>(),
            any::<u32>(),
            name(),
            any::<bool>(),
            option::of(blob())
        )
            .prop_map(|(ltime, id, from, ack, payload)| {
                core::Message::QueryResponse(core::QueryResponse {
                    ltime,
                    id,
                    from,
                    ack,
                    payload,
                })
            }),
        (addr(), name(), blob()).prop_map(|(to, node, message)| core::Message::Relay {
            to,
            node,
            message
        }),
    ]
}

fn tags() -> impl Strategy<Value = TextMap> {
    vec((name(), name()), 0..20).prop_map(|pairs| pairs.into_iter().collect())
}

fn state() -> impl Strategy<Value = core::StateExchange> {
    let slots = proptest::collection::btree_map(
        0..60usize,
        (any::<u64>(), vec((name(), blob()), 0..4)),
        0..8,
    );
    let times = proptest::collection::btree_map("[a-z]{0,9}", any::<u64>(), 0..20);
    (
        any::<[u64; 3]>(),
        times,
        vec(name(), 0..6),
        slots,
        60..70usize,
    )
        .prop_map(
            |(clocks, times, left, slots, event_slots)| core::StateExchange {
                ltime: clocks[0],
                status_ltimes: times
                    .into_iter()
                    .map(|(name, time)| (text(&name), time))
                    .collect(),
                left,
                event_ltime: clocks[1],
                events: slots
                    .into_iter()
                    .map(|(at, (ltime, events))| core::EventSlot { at, ltime, events })
                    .collect(),
                event_slots,
                query_ltime: clocks[2],
            },
        )
}

/// Data with repetitions of all lengths, and data that soon fills the table.
fn repetitive() -> impl Strategy<Value = Vec<u8>> {
    let parts = vec((vec(any::<u8>(), 1..20), 1..80usize), 0..20);
    prop_oneof![
        parts.prop_map(|parts| parts
            .iter()
            .flat_map(|(part, times)| part.repeat(*times))
            .collect()),
        vec(any::<u8>(), 0..9000),
        vec(0..6u8, 0..20_000),
    ]
}

/// Bits, the lowest first.
#[derive(Default)]
struct Bits {
    out: Vec<u8>,
    count: usize,
}

impl Bits {
    fn put(&mut self, code: usize, width: usize) {
        for bit in 0..width {
            if self.count.is_multiple_of(8) {
                self.out.push(0);
            }
            *self.out.last_mut().unwrap() |= ((code >> bit & 1) as u8) << (self.count % 8);
            self.count += 1;
        }
    }
}

/// The encoder as gossip.md section 3.5 puts it. One that does not clear goes on with a full table instead.
fn slow_compress(input: &[u8], leading_clear: bool, clears: bool) -> Vec<u8> {
    let mut bits = Bits::default();
    if leading_clear {
        bits.put(256, 9);
    }
    let (mut hi, mut width, mut overflow) = (257, 9, 512);
    let mut table: HashMap<Vec<u8>, usize> = HashMap::new();
    let code = |table: &HashMap<Vec<u8>, usize>, string: &[u8]| match string {
        [byte] => usize::from(*byte),
        string => table[string],
    };
    let mut current: Vec<u8> = Vec::new();
    for &byte in input {
        let mut longer = current.clone();
        longer.push(byte);
        if longer.len() == 1 || table.contains_key(&longer) {
            current = longer;
            continue;
        }
        bits.put(code(&table, &current), width);
        current = vec![byte];
        if !clears && hi == 4095 {
            continue;
        }
        hi += 1;
        if hi == overflow && width < 12 {
            width += 1;
            overflow *= 2;
        }
        if clears && hi == 4095 {
            bits.put(256, width);
            (hi, width, overflow) = (257, 9, 512);
            table.clear();
        } else {
            table.insert(longer, hi);
        }
    }
    if !current.is_empty() {
        bits.put(code(&table, &current), width);
        hi += 1;
        if hi == overflow && width < 12 {
            width += 1;
        }
        if clears && hi == 4095 {
            bits.put(256, width);
            width = 9;
        }
    }
    bits.put(257, width);
    bits.out
}

fn inflate(input: &[u8], step: usize, room: usize, size_max: usize) -> Result<Vec<u8>, lzw::Error> {
    let mut decoder = lzw::Decoder::new(size_max);
    let mut out = Vec::new();
    for mut piece in input.chunks(step) {
        loop {
            match decoder.decode(&mut piece, &mut out, room)? {
                lzw::Progress::Input => break,
                lzw::Progress::Output => {}
                lzw::Progress::End => return Ok(out),
            }
        }
    }
    Err(lzw::Error::End)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn messages_pass_through_their_bytes(message in message()) {
        let mut bytes = Vec::new();
        memberlist::encode(&message, &mut bytes);
        prop_assert_eq!(memberlist::decode(&bytes), Ok(message));
    }

    #[test]
    fn packets_hold_what_was_put_in(messages in vec(message(), 1..130), compress: bool, checksum: bool) {
        let parts: Vec<Vec<u8>> = messages.iter().map(|message| {
            let mut out = Vec::new();
            memberlist::encode(message, &mut out);
            out
        }).collect();
        let mut packet = Vec::new();
        let count = memberlist::frame(&parts, Framing { compress, checksum }, &mut packet);
        prop_assert_eq!(count, messages.len().min(127));
        let mut read = Vec::new();
        memberlist::open(&packet, &Limits::default(), &mut |message| read.push(message.unwrap()));
        prop_assert_eq!(&read[..], &messages[..count]);
    }

    #[test]
    fn streams_hold_what_was_put_in(message in stream_message(), compress: bool, sealed: bool, step in 1..3000usize) {
        let keyring = Keyring::new(Key::new(&[1; 32]).unwrap());
        let seal = sealed.then_some(Seal { keyring: &keyring, nonce: [2; 12] });
        let mut bytes = Vec::new();
        encode_stream(&message, &StreamFraming { compress, seal }, &mut bytes);
        let mut decoder = StreamDecoder::new(1 << 20);
        let read = bytes.chunks(step).find_map(|piece| {
            decoder.push(piece);
            decoder.poll(sealed.then_some(&keyring), true).unwrap()
        });
        prop_assert_eq!(read, Some(message));
    }

    #[test]
    fn serf_messages_pass_through_their_bytes(message in serf_message()) {
        let mut bytes = Vec::new();
        serf::encode(&message, &mut bytes);
        prop_assert_eq!(serf::decode(&bytes), Ok(message));
    }

    #[test]
    fn states_pass_through_their_bytes(state in state()) {
        let mut bytes = Vec::new();
        serf::encode_state(&state, &mut bytes);
        prop_assert_eq!(serf::decode_state(&bytes), Ok(state));
    }

    #[test]
    fn tags_and_coordinates_pass_through_their_bytes(tags in tags(), numbers in vec(any::<f64>(), 3..11)) {
        prop_assert_eq!(serf::decode_tags(&serf::encode_tags(&tags)), tags);
        let [error, adjustment, height] = [numbers[0], numbers[1], numbers[2]];
        let coordinate = Coordinate { vec: numbers[3..].to_vec(), error, adjustment, height };
        let again = serf::decode_coordinate(&serf::encode_coordinate(&coordinate)).unwrap();
        prop_assert_eq!(format!("{again:?}"), format!("{coordinate:?}"));
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn compression_equals_the_slow_one_and_is_undone(input in repetitive(), step in 1..5000usize, room in 1..5000usize) {
        let mut fast = Vec::new();
        lzw::compress(&input, &mut fast);
        prop_assert_eq!(&fast, &slow_compress(&input, false, true));
        for packed in [fast, slow_compress(&input, true, true), slow_compress(&input, false, false)] {
            prop_assert_eq!(inflate(&packed, step, room, input.len()), Ok(input.clone()));
            if let Some(less) = input.len().checked_sub(1) {
                prop_assert_eq!(inflate(&packed, step, room, less), Err(lzw::Error::Size(less)));
            }
            let cut = &packed[..packed.len() - 1];
            prop_assert!(inflate(cut, step, room, input.len()).is_err());
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300), kind in 0..14u8) {
        let bytes = [&[kind][..], &bytes].concat();
        memberlist::open(&bytes, &Limits::default(), &mut |_| {});
        let _ = serf::decode(&bytes);
        let _ = serf::decode_state(&[&[2], &bytes[1..]].concat());
        let _ = serf::decode_coordinate(&bytes);
        let _ = serf::keys::decode_response(&[&[8], &bytes[1..]].concat());
        let _ = serf::keys::decode_request(&[&[7], &bytes[1..]].concat());
        let _ = serf::conflict::decode(&[&[6], &bytes[1..]].concat());
        serf::decode_tags(&bytes);
        serf::snapshot::restore(&bytes, true);
        let mut decoder = StreamDecoder::new(1 << 16);
        decoder.push(&bytes);
        let _ = decoder.poll(None, false);
        let _ = inflate(&bytes, 3, 100, 10_000);
    }
}
