//! Streams of gossip that are hostile, cut, or not what is expected (gossip.md section 4), and states in them.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

use std::sync::Arc;

use tribune_serf::{EventSlot, StateExchange};
use tribune_swim::{Ack, NodeState, Peer, PushPull, RemoteNode, Versions};
use tribune_types::text::text;
use tribune_wire::keyring::{Key, Keyring, OpenError, Version};
use tribune_wire::memberlist::stream::{
    SIZE_MAX, Seal, StreamDecoder, StreamError, StreamFraming, StreamMessage, encode_stream,
};
use tribune_wire::msgpack::encode::{put_raw, put_str, put_uint};
use tribune_wire::{lzw, serf};

fn ring() -> Keyring {
    Keyring::new(Key::new(&[7; 16]).unwrap())
}

fn state(count: usize) -> StreamMessage {
    let nodes = (0..count)
        .map(|n| RemoteNode {
            peer: Arc::new(Peer {
                name: text(&format!("node-{n}")),
                addr: ([10, 0, (n >> 8) as u8, n as u8], 8301).into(),
                meta: vec![n as u8; 150].into(),
                versions: Some(Versions::CONSUL),
            }),
            incarnation: n as u32,
            state: [
                NodeState::Alive,
                NodeState::Suspect,
                NodeState::Dead,
                NodeState::Left,
            ][n % 4],
        })
        .collect();
    StreamMessage::PushPull(PushPull {
        join: true,
        nodes,
        user_state: vec![3; 10 * count],
    })
}

fn plain(message: &StreamMessage) -> Vec<u8> {
    let mut out = Vec::new();
    encode_stream(message, &StreamFraming::default(), &mut out);
    out
}

fn read(bytes: &[u8], keyring: Option<&Keyring>) -> Result<StreamMessage, StreamError> {
    read_within(SIZE_MAX, bytes, keyring)
}

fn read_within(
    size_max: usize,
    bytes: &[u8],
    keyring: Option<&Keyring>,
) -> Result<StreamMessage, StreamError> {
    let mut decoder = StreamDecoder::new(size_max);
    for piece in bytes.chunks(1500) {
        decoder.push(piece);
        if let Some(message) = decoder.poll(keyring, true)? {
            return Ok(message);
        }
    }
    Err(decoder.finish())
}

fn compress_buf(plain: &[u8]) -> Vec<u8> {
    let mut buf = Vec::new();
    lzw::compress(plain, &mut buf);
    buf
}

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut out = b"\x09\x82\xa4Algo\x00\xa3Buf".to_vec();
    put_raw(&mut out, &compress_buf(plain));
    out
}

fn seal(plain: &[u8], size: Option<u32>) -> Vec<u8> {
    let sealed = Keyring::sealed_size(Version::Plain, plain.len()) as u32;
    let mut out = vec![10];
    out.extend_from_slice(&size.unwrap_or(sealed).to_be_bytes());
    let aad = out.clone();
    ring().seal(Version::Plain, &aad, plain, [9; 12], &mut out);
    out
}

fn head(nodes: i64, tail: i64) -> Vec<u8> {
    let mut out = b"\x06\x82\xa5Nodes".to_vec();
    tribune_wire::msgpack::encode::put_int(&mut out, nodes);
    put_str(&mut out, "UserStateLen");
    tribune_wire::msgpack::encode::put_int(&mut out, tail);
    out
}

#[test]
fn streams_pass_in_every_framing_and_in_pieces_of_any_size() {
    let keyring = ring();
    for message in [
        state(0),
        state(1),
        state(700),
        StreamMessage::User(Arc::from([1, 2])),
        StreamMessage::Error("no".into()),
    ] {
        for compress in [false, true] {
            for seal in [
                None,
                Some(Seal {
                    keyring: &keyring,
                    nonce: [3; 12],
                }),
            ] {
                let mut bytes = Vec::new();
                encode_stream(&message, &StreamFraming { compress, seal }, &mut bytes);
                for step in [1, 13, 5000, usize::MAX] {
                    let mut decoder = StreamDecoder::new(SIZE_MAX);
                    let ring = seal.map(|seal| seal.keyring);
                    let mut found = None;
                    for piece in bytes.chunks(step) {
                        assert_eq!(found, None);
                        decoder.push(piece);
                        found = decoder.poll(ring, true).unwrap();
                    }
                    assert_eq!(found.as_ref(), Some(&message));
                    assert_eq!(decoder.poll(ring, true), Ok(None), "a message comes once");
                }
                for len in [0, 1, 4, 5, 6, 12, 20, bytes.len() / 2, bytes.len() - 1] {
                    let cut = &bytes[..len.min(bytes.len() - 1)];
                    let wanted = if cut.is_empty() {
                        StreamError::Closed
                    } else {
                        StreamError::Truncated
                    };
                    assert_eq!(read(cut, seal.map(|seal| seal.keyring)), Err(wanted));
                }
            }
        }
    }
}

#[test]
fn encryption_must_be_as_configured() {
    let message = StreamMessage::Ack(Ack {
        seq: 1,
        payload: None,
    });
    let sealed = seal(&plain(&message), None);
    let keyring = ring();
    assert_eq!(read(&sealed, Some(&keyring)), Ok(message.clone()));
    let err = read(&sealed, None).unwrap_err();
    assert_eq!(
        err.to_string(),
        "Remote state is encrypted and encryption is not configured"
    );
    let err = read(&plain(&message), Some(&keyring)).unwrap_err();
    assert_eq!(
        err.to_string(),
        "Encryption is configured but remote state is not encrypted"
    );
    let mut decoder = StreamDecoder::new(SIZE_MAX);
    decoder.push(&plain(&message));
    assert_eq!(
        decoder.poll(Some(&keyring), false),
        Ok(Some(message.clone())),
        "unless plain ones are accepted"
    );

    let other = Keyring::new(Key::new(&[8; 16]).unwrap());
    let err = read(&sealed, Some(&other)).unwrap_err();
    assert_eq!(
        err.to_string(),
        "No installed keys could decrypt the message"
    );
    let mut moved = sealed.clone();
    moved[1] ^= 0x01;
    assert_eq!(
        read(&moved, Some(&keyring)),
        Err(StreamError::Truncated),
        "a longer frame is waited for"
    );
    moved[1] = 2;
    assert_eq!(
        read(&moved, Some(&keyring)),
        Err(StreamError::Size(SIZE_MAX)),
        "but not one of 32 MiB"
    );
    let short = seal(&plain(&message), Some(30));
    assert_eq!(
        read(&short, Some(&keyring)),
        Err(StreamError::Sealed(OpenError::Key))
    );
    let short = seal(&plain(&message), Some(28));
    assert_eq!(
        read(&short, Some(&keyring)),
        Err(StreamError::Sealed(OpenError::Short(28)))
    );
    let twice = seal(&sealed, None);
    assert_eq!(read(&twice, Some(&keyring)), Err(StreamError::Kind(10)));
    for cut in [0, 1, 8] {
        let cut = seal(&plain(&message)[..cut], None);
        assert_eq!(
            read(&cut, Some(&keyring)),
            Err(StreamError::Truncated),
            "nothing can follow"
        );
    }
}

#[test]
fn messages_out_of_place_are_refused_at_their_first_byte() {
    for kind in [1, 3, 4, 5, 7, 11, 12, 14, 0xf4] {
        assert_eq!(read(&[kind], None), Err(StreamError::Kind(kind)));
        assert_eq!(read(&compress(&[kind]), None), Err(StreamError::Kind(kind)));
    }
    assert_eq!(
        read(&compress(&compress(&[0, 0x80])), None),
        Err(StreamError::Kind(9))
    );
}

#[test]
fn compressed_streams_are_read_in_every_form() {
    let message = state(3);
    let buf = compress_buf(&plain(&message));
    let raw = |buf: &[u8]| {
        let mut out = Vec::new();
        put_raw(&mut out, buf);
        out
    };
    let mut numbers = vec![0xdc];
    numbers.extend_from_slice(&(buf.len() as u16).to_be_bytes());
    buf.iter()
        .for_each(|byte| put_uint(&mut numbers, u64::from(*byte)));
    let bin = [&[0xc5][..], &(buf.len() as u16).to_be_bytes(), &buf].concat();
    let padded = [&buf[..], &[0xff; 500]].concat();
    for (what, bytes) in [
        (
            "another order",
            [&b"\x09\x82\xa3Buf"[..], &raw(&buf), b"\xa4Algo\x00"].concat(),
        ),
        (
            "no algorithm",
            [&b"\x09\x81\xa3Buf"[..], &raw(&buf)].concat(),
        ),
        (
            "by position",
            [&b"\x09\x93\x00"[..], &raw(&buf), b"\x01"].concat(),
        ),
        (
            "wide head",
            [&b"\x09\xdf\x00\x00\x00\x01\xa3Buf"[..], &raw(&buf)].concat(),
        ),
        (
            "unknown fields",
            [
                &b"\x09\x83\xa1X\x93\x01\x80\xa1y\xa3Buf"[..],
                &raw(&buf),
                b"\xa1Z\xc0",
            ]
            .concat(),
        ),
        ("numbers", [&b"\x09\x81\xa3Buf"[..], &numbers].concat()),
        ("bin", [&b"\x09\x81\xa3Buf"[..], &bin].concat()),
        (
            "padding after the end code",
            [&b"\x09\x81\xa3Buf"[..], &raw(&padded)].concat(),
        ),
    ] {
        for step in [1, 5, usize::MAX] {
            let mut decoder = StreamDecoder::new(SIZE_MAX);
            let found = bytes.chunks(step).find_map(|piece| {
                decoder.push(piece);
                decoder.poll(None, false).unwrap()
            });
            assert_eq!(found.as_ref(), Some(&message), "{what}");
        }
    }
    for (what, bytes, wanted) in [
        (
            "algorithm",
            b"\x09\x82\xa4Algo\x01\xa3Buf\xa0".to_vec(),
            StreamError::Algorithm(1),
        ),
        (
            "nil",
            b"\x09\x81\xa3Buf\xc0".to_vec(),
            StreamError::Compressed(lzw::Error::End),
        ),
        (
            "nothing",
            b"\x09\x80".to_vec(),
            StreamError::Compressed(lzw::Error::End),
        ),
        (
            "no end code",
            [&b"\x09\x81\xa3Buf"[..], &raw(&buf[..200])].concat(),
            StreamError::Compressed(lzw::Error::End),
        ),
        (
            "short message",
            compress(&plain(&message)[..200]),
            StreamError::Truncated,
        ),
        (
            "claim",
            b"\x09\x81\xa3Buf\xdb\xff\xff\xff\xff".to_vec(),
            StreamError::Size(SIZE_MAX),
        ),
    ] {
        assert_eq!(read(&bytes, None), Err(wanted), "{what}");
    }
    assert!(matches!(
        read(b"\x09\x07", None),
        Err(StreamError::Body { .. })
    ));
    assert!(matches!(
        read(b"\x09\x81\xa3Buf\xc3", None),
        Err(StreamError::Body { .. })
    ));
}

#[test]
fn claims_are_refused_or_waited_for_but_not_allocated() {
    for (nodes, tail) in [(i64::MAX, 0), (0, i64::MAX), (1 << 25, 0), (0, 1 << 25)] {
        assert_eq!(
            read(&head(nodes, tail), None),
            Err(StreamError::Size(SIZE_MAX))
        );
    }
    assert_eq!(
        read(&head(-5, -5), None),
        Ok(StreamMessage::PushPull(PushPull::default()))
    );
    for bytes in [
        head(1 << 24, 1 << 24),
        [head(1, 0), b"\x81\xa4Meta\xdb\xff\xff\xff\xff".to_vec()].concat(),
    ] {
        assert_eq!(read(&bytes, None), Err(StreamError::Truncated));
    }
    assert_eq!(
        read(b"\x08\x81\xaaUserMsgLen\xce\xff\xff\xff\xff", None),
        Err(StreamError::Size(SIZE_MAX))
    );
    // Without encryption the limit is what comes.
    let long = [
        head(1, 0),
        b"\x81\xa4Meta\xdb\x7f\xff\xff\xff".to_vec(),
        vec![0; 5000],
    ]
    .concat();
    assert_eq!(read_within(4096, &long, None), Err(StreamError::Size(4096)));
    let message = plain(&state(10));
    assert!(read_within(message.len(), &message, None).is_ok());
    assert_eq!(
        read_within(1000, &message, None),
        Err(StreamError::Size(1000))
    );
}

#[test]
fn small_streams_that_would_become_large_are_refused_early() {
    // A node per byte.
    let bytes = [head(1 << 20, 0), vec![0x80; 1 << 20]].concat();
    assert_eq!(read(&bytes, None), Err(StreamError::Nodes(1000)));
    // Names only.
    let node = b"\x82\xa4Addr\xa4\x0a\x00\x00\x01\xa4Name\xa1a";
    let nodes = [head(1 << 20, 0), node.repeat(1 << 20)].concat();
    for bytes in [nodes.clone(), compress(&nodes)] {
        assert_eq!(
            read(&bytes, None),
            Err(StreamError::Memory(3 * SIZE_MAX + 65_536))
        );
    }
    // Zeros, of which few bytes become many.
    let zeros = [head(0, 30 << 20), vec![0; 30 << 20]].concat();
    assert_eq!(
        read(&compress(&zeros), None),
        Err(StreamError::Size(SIZE_MAX))
    );
    let zeros = compress(
        &[
            &b"\x02\x81\xa7Payload\xdb\x00\xff\xff\xff"[..],
            &vec![0; 1 << 20],
        ]
        .concat(),
    );
    assert_eq!(
        read_within(100_000, &zeros, None),
        Err(StreamError::Compressed(lzw::Error::Size(100_000)))
    );
    // Nesting.
    let nested = [head(1, 0), vec![0x91; 100_000], vec![0xc0]].concat();
    assert!(matches!(read(&nested, None), Err(StreamError::Body { .. })));
}

#[test]
fn nodes_that_nobody_can_use_are_left_out() {
    let nodes: [&[u8]; 6] = [
        b"\x80",
        b"\xc0",
        b"\x82\xa4Name\xa1a\xa4Addr\xa1x",
        b"\x83\xa4Name\xa1a\xa4Addr\xa4\x0a\x00\x00\x01\xa5State\x04",
        b"\x82\xa4Addr\xa4\x0a\x00\x00\x01\xa4Name\xa0",
        b"\x97\xa1b\xa4\x0a\x00\x00\x02\x07\xc0\x05\x03\xa6\x01\x05\x02\x02\x05\x04",
    ];
    let bytes = [head(6, 1), nodes.concat(), vec![1]].concat();
    let Ok(StreamMessage::PushPull(state)) = read(&bytes, None) else {
        panic!()
    };
    let [node] = &state.nodes[..] else {
        panic!("{state:?}")
    };
    assert_eq!(
        (&*node.peer.name, node.peer.addr, node.incarnation),
        ("b", ([10, 0, 0, 2], 7).into(), 5)
    );
    assert_eq!(
        (node.state, node.peer.versions, state.user_state),
        (NodeState::Left, Some(Versions::CONSUL), vec![1])
    );
}

#[test]
fn long_values_in_small_pieces_take_linear_time() {
    let mut bytes = b"\x02\x82\xa5SeqNo\x01\xa7Payload".to_vec();
    put_raw(&mut bytes, &vec![5; 3 << 20]);
    let numbers = [&b"\x02\x81\xa1x\xdd\x00\x30\x00\x00"[..], &vec![5; 3 << 20]].concat();
    for bytes in [compress(&bytes), bytes, compress(&numbers), numbers] {
        let mut decoder = StreamDecoder::new(SIZE_MAX);
        let found = bytes.chunks(16).find_map(|piece| {
            decoder.push(piece);
            decoder.poll(None, false).unwrap()
        });
        assert!(matches!(found, Some(StreamMessage::Ack(_))));
    }
}

#[test]
fn states_have_as_many_slots_as_they_say() {
    let slot = |at, ltime| EventSlot {
        at,
        ltime,
        events: vec![(text("e"), Arc::from([1, 2])), (text("f"), Arc::from([]))],
    };
    let state = StateExchange {
        ltime: 9,
        status_ltimes: vec![(text("a"), 1), (text("b"), u64::MAX)],
        left: vec![text("b")],
        event_ltime: 600,
        events: vec![slot(511, 511), slot(0, 512), slot(7, 519)],
        event_slots: 512,
        query_ltime: 4,
    };
    let mut bytes = Vec::new();
    serf::encode_state(&state, &mut bytes);
    let mut again = serf::decode_state(&bytes).unwrap();
    again.events.sort_by_key(|slot| slot.ltime);
    assert_eq!(again, state);
    // (slots, what is on the wire, places that are read)
    for (slots, wire, places) in [
        (0, &b"\xc0"[..], vec![]),
        (1, b"\x91", vec![0]),
        (8, b"\x98", vec![0, 7]),
        (16, b"\xdc\x00\x10", vec![0, 7]),
    ] {
        let state = StateExchange {
            event_slots: slots,
            ..state.clone()
        };
        let mut bytes = Vec::new();
        serf::encode_state(&state, &mut bytes);
        let at = bytes.windows(7).position(|w| w == b"\xa6Events").unwrap();
        assert!(bytes[at + 7..].starts_with(wire));
        let again = serf::decode_state(&bytes).unwrap();
        assert_eq!(again.event_slots, slots);
        assert_eq!(
            again.events.iter().map(|slot| slot.at).collect::<Vec<_>>(),
            places
        );
    }
}

#[test]
fn states_are_read_in_every_form_and_hostile_ones_are_refused() {
    assert_eq!(
        serf::decode_state(b"\x02\x80"),
        Ok(StateExchange::default())
    );
    let nil = serf::decode_state(b"\x02\x83\xa6Events\xc0\xabLeftMembers\xc0\xacStatusLTimes\xc0");
    assert_eq!(nil, Ok(StateExchange::default()));
    let twice =
        serf::decode_state(b"\x02\x81\xacStatusLTimes\x84\xa1b\x01\xa1a\x02\xa1b\x03\xa1a\x04")
            .unwrap();
    assert_eq!(twice.status_ltimes, [(text("a"), 4), (text("b"), 3)]);
    let odd = serf::decode_state(b"\x02\x81\xa6Events\x93\x80\xc0\x92\x05\x91\x92\xa1e\xc4\x01x")
        .unwrap();
    assert_eq!(odd.event_slots, 3);
    assert_eq!(
        odd.events[0],
        EventSlot {
            at: 0,
            ltime: 0,
            events: vec![]
        }
    );
    assert_eq!(
        odd.events[1],
        EventSlot {
            at: 2,
            ltime: 5,
            events: vec![(text("e"), Arc::from(*b"x"))]
        }
    );
    for bytes in [
        &b""[..],
        b"\x02",
        b"\x01\x80",
        b"\x02\x07",
        b"\x02\x81\xa6Events\x91\x07",
        b"\x02\x81\xacStatusLTimes\x81\x01\x01",
    ] {
        assert!(serf::decode_state(bytes).is_err(), "{bytes:x?}");
        assert!((serf::CODEC.decode_state)(bytes).is_none());
    }
    let many = |field: &str, head: u8, element: &[u8]| {
        let count = (SIZE_MAX / element.len()) as u32;
        let mut out = vec![2, 0x81];
        put_str(&mut out, field);
        out.push(head);
        out.extend_from_slice(&count.to_be_bytes());
        out.extend(element.repeat(count as usize));
        serf::decode_state(&out)
    };
    assert_eq!(
        many("Events", 0xdd, b"\xc0").unwrap().event_slots,
        SIZE_MAX,
        "nil takes nothing"
    );
    assert!(matches!(
        many("Events", 0xdd, b"\x80"),
        Err(serf::Malformed::Memory(_))
    ));
    assert!(matches!(
        many("LeftMembers", 0xdd, b"\xa1x"),
        Err(serf::Malformed::Memory(_))
    ));
    assert!(matches!(
        many("StatusLTimes", 0xdf, b"\xa0\x00"),
        Err(serf::Malformed::Memory(_))
    ));
}

#[test]
fn what_a_key_opens_may_be_larger_than_what_anybody_sends() {
    let keyring = ring();
    let message = state(2000);
    let packed = compress(&plain(&message));
    let size_max = packed.len() + 100;
    assert!(plain(&message).len() > 2 * size_max);
    // (bytes, under a key, read)
    for (bytes, sealed, want) in [
        (packed.clone(), false, false),
        (seal(&packed, None), true, true),
        (seal(&plain(&message), None), true, false),
    ] {
        let mut decoder = StreamDecoder::new(size_max).trusting_keys(SIZE_MAX);
        let mut read = Ok(None);
        for piece in bytes.chunks(1500) {
            decoder.push(piece);
            read = decoder.poll(Some(&keyring), false);
            if !matches!(read, Ok(None)) {
                break;
            }
        }
        assert_eq!(matches!(read, Ok(Some(_))), want, "{read:?}");
        assert_eq!(decoder.was_sealed(), sealed && want);
    }
}
