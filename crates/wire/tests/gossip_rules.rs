//! What the reader of gossip accepts and refuses (gossip.md section 2), how packets are framed, and that hostile packets
//! are bounded.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

use std::net::SocketAddr;
use std::sync::Arc;

use tribune_serf::{Filter, Message as SerfMessage, QueryId};
use tribune_swim::{Ack, Alive, Message, Peer, Ping, Versions};
use tribune_types::text::text;
use tribune_wire::memberlist::{
    Framing, Limits, Malformed, PARTS_MAX, decode, encode, frame, open,
};
use tribune_wire::msgpack::encode::{put_map, put_raw, put_str};
use tribune_wire::{lzw, serf};

/// A message of a type byte and a map.
fn message(kind: u8, fields: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = vec![kind];
    put_map(&mut out, fields.len() as u32);
    for (name, value) in fields {
        put_str(&mut out, name);
        out.extend_from_slice(value);
    }
    out
}

type Read = Vec<Result<Message, Malformed>>;

fn all(packet: &[u8]) -> Read {
    let mut all = Vec::new();
    open(packet, &Limits::default(), &mut |message| all.push(message));
    all
}

fn ping(seq: u32, node: &str) -> Message {
    Message::Ping(Ping {
        seq,
        node: text(node),
        source: None,
        source_node: text(""),
    })
}

#[test]
fn pings_are_read_in_every_form_the_original_reads() {
    const SEQ: &[u8] = &[7];
    const NODE: &[u8] = b"\xa1n";
    let long = [&[0xd9, 40][..], &[b'n'; 40]].concat();
    // (what, message, sequence number, node)
    let table: Vec<(&str, Vec<u8>, u32, &str)> = vec![
        (
            "sorted",
            message(0, &[("Node", NODE), ("SeqNo", SEQ)]),
            7,
            "n",
        ),
        (
            "another order",
            message(0, &[("SeqNo", SEQ), ("Node", NODE)]),
            7,
            "n",
        ),
        (
            "unknown fields",
            message(
                0,
                &[
                    ("Xx", b"\x81\xa1a\x92\x01\xc0"),
                    ("SeqNo", SEQ),
                    ("Y", b"\xc7\x01\x05\x00"),
                    ("Node", NODE),
                ],
            ),
            7,
            "n",
        ),
        ("missing fields", message(0, &[]), 0, ""),
        (
            "nil fields",
            message(
                0,
                &[
                    ("Node", b"\xc0"),
                    ("SeqNo", b"\xc0"),
                    ("SourceAddr", b"\xc0"),
                ],
            ),
            0,
            "",
        ),
        ("nil instead of a map", vec![0, 0xc0], 0, ""),
        (
            "a field twice",
            message(0, &[("SeqNo", b"\x01"), ("SeqNo", SEQ)]),
            7,
            "",
        ),
        (
            "letter case",
            message(0, &[("seqno", b"\x01"), ("NODE", NODE)]),
            0,
            "",
        ),
        ("u8", message(0, &[("SeqNo", b"\xcc\x07")]), 7, ""),
        ("u16", message(0, &[("SeqNo", b"\xcd\x00\x07")]), 7, ""),
        (
            "u32",
            message(0, &[("SeqNo", b"\xce\xff\xff\xff\xff")]),
            u32::MAX,
            "",
        ),
        (
            "u64",
            message(0, &[("SeqNo", b"\xcf\x00\x00\x00\x00\x00\x00\x00\x07")]),
            7,
            "",
        ),
        ("i8", message(0, &[("SeqNo", b"\xd0\x07")]), 7, ""),
        ("i16", message(0, &[("SeqNo", b"\xd1\x00\x07")]), 7, ""),
        (
            "i32",
            message(0, &[("SeqNo", b"\xd2\x00\x00\x00\x07")]),
            7,
            "",
        ),
        (
            "i64",
            message(0, &[("SeqNo", b"\xd3\x00\x00\x00\x00\x00\x00\x00\x07")]),
            7,
            "",
        ),
        (
            "str8",
            message(0, &[("Node", &long)]),
            0,
            "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn",
        ),
        ("raw16", message(0, &[("Node", b"\xda\x00\x01n")]), 0, "n"),
        (
            "raw32",
            message(0, &[("Node", b"\xdb\x00\x00\x00\x01n")]),
            0,
            "n",
        ),
        (
            "not UTF-8",
            message(0, &[("Node", b"\xa1\xff")]),
            0,
            "\u{fffd}",
        ),
        ("by position", vec![0, 0x92, 7, 0xa1, b'n'], 7, "n"),
        (
            "by position, more",
            vec![0, 0x97, 7, 0xa1, b'n', 0xc0, 0xc0, 0xc0, 0x81, 1, 2, 9],
            7,
            "n",
        ),
        ("by position, less", vec![0, 0x91, 7], 7, ""),
        (
            "wide head",
            [&[0, 0xdf, 0, 0, 0, 1][..], b"\xa5SeqNo\x07"].concat(),
            7,
            "",
        ),
        (
            "trailing bytes",
            [message(0, &[("SeqNo", SEQ)]), vec![0xc1, 0xff]].concat(),
            7,
            "",
        ),
    ];
    for (what, bytes, seq, node) in table {
        assert_eq!(decode(&bytes), Ok(ping(seq, node)), "{what}");
    }
}

#[test]
fn pings_that_the_original_refuses_are_malformed() {
    let table: Vec<(&str, Vec<u8>)> = vec![
        ("bin for a text", message(0, &[("Node", b"\xc4\x01n")])),
        ("list for a text", message(0, &[("Node", b"\x91\x61")])),
        ("number for a text", message(0, &[("Node", b"\x07")])),
        ("text for a number", message(0, &[("SeqNo", b"\xa17")])),
        (
            "float for a number",
            message(0, &[("SeqNo", b"\xcb\x40\x1c\x00\x00\x00\x00\x00\x00")]),
        ),
        ("bool for a number", message(0, &[("SeqNo", b"\xc3")])),
        (
            "too large",
            message(0, &[("SeqNo", b"\xcf\x00\x00\x00\x01\x00\x00\x00\x00")]),
        ),
        ("negative", message(0, &[("SeqNo", b"\xff")])),
        (
            "port too large",
            message(0, &[("SourcePort", b"\xce\x00\x01\x00\x00")]),
        ),
        ("number as a name", vec![0, 0x81, 1, 2]),
        (
            "bin as a name",
            [&[0, 0x81, 0xc4, 5][..], b"SeqNo\x07"].concat(),
        ),
        ("no map", vec![0, 0x07]),
        ("nothing", vec![0]),
        ("cut", vec![0, 0x82, 0xa4, b'N', b'o']),
        ("claims", vec![0, 0xdf, 0xff, 0xff, 0xff, 0xff, 0xa0]),
        ("reserved", vec![0, 0xc1]),
    ];
    for (what, bytes) in table {
        assert!(
            matches!(decode(&bytes), Err(Malformed::Body { kind: 0, .. })),
            "{what}: {:?}",
            decode(&bytes)
        );
    }
}

#[test]
fn bytes_are_read_as_raw_bin_or_numbers() {
    for (what, value, wanted) in [
        ("raw", &b"\xa3\x01\x02\xff"[..], Some(&[1, 2, 0xff][..])),
        ("str8", b"\xd9\x03\x01\x02\xff", Some(&[1, 2, 0xff])),
        ("bin8", b"\xc4\x03\x01\x02\xff", Some(&[1, 2, 0xff])),
        ("bin16", b"\xc5\x00\x03\x01\x02\xff", Some(&[1, 2, 0xff])),
        (
            "bin32",
            b"\xc6\x00\x00\x00\x03\x01\x02\xff",
            Some(&[1, 2, 0xff]),
        ),
        (
            "numbers",
            b"\x93\x01\xd1\x00\x02\xcc\xff",
            Some(&[1, 2, 0xff]),
        ),
        ("numbers, some nil", b"\x92\x01\xc0", Some(&[1, 0])),
        ("empty", b"\xa0", Some(&[])),
        ("nil", b"\xc0", None),
    ] {
        let ack = Ack {
            seq: 1,
            payload: wanted.map(Arc::from),
        };
        assert_eq!(
            decode(&message(2, &[("SeqNo", b"\x01"), ("Payload", value)])),
            Ok(Message::Ack(ack)),
            "{what}"
        );
    }
    for value in [
        &b"\x91\xcd\x01\x00"[..],
        b"\x91\xff",
        b"\x91\xa1a",
        b"\xc3",
        b"\x80",
        b"\xcb\0\0\0\0\0\0\0\0",
    ] {
        assert!(
            decode(&message(2, &[("Payload", value)])).is_err(),
            "{value:x?}"
        );
    }
}

fn alive(fields: &[(&str, &[u8])]) -> Result<Message, Malformed> {
    let mut all: Vec<(&str, &[u8])> = vec![
        ("Addr", b"\xa4\x0a\x00\x00\x01"),
        ("Port", b"\xcd\x20\x6d"),
        ("Node", b"\xa1n"),
        ("Incarnation", b"\x02"),
    ];
    all.extend_from_slice(fields);
    decode(&message(4, &all))
}

#[test]
fn addresses_and_versions_are_whole_or_absent() {
    let peer = |addr: &str, versions| {
        let (meta, addr) = (Arc::from([]), addr.parse::<SocketAddr>().unwrap());
        let peer = Arc::new(Peer {
            name: text("n"),
            addr,
            meta,
            versions,
        });
        Ok(Message::Alive(Alive {
            incarnation: 2,
            peer,
        }))
    };
    let mapped = [&b"\xb0"[..], &[0; 10], b"\xff\xff\x0a\x00\x00\x02"].concat();
    let six = [&b"\xb0\xfd"[..], &[0; 14], b"\x01"].concat();
    // (fields, what is read)
    let table: Vec<(&str, &[u8], Result<Message, Malformed>)> = vec![
        (
            "Vsn",
            b"\xa6\x01\x05\x02\x02\x05\x04",
            peer("10.0.0.1:8301", Some(Versions::CONSUL)),
        ),
        (
            "Vsn",
            b"\x96\x01\x05\x02\x02\x05\x04",
            peer("10.0.0.1:8301", Some(Versions::CONSUL)),
        ),
        (
            "Vsn",
            b"\xa7\x01\x05\x02\x02\x05\x04\x09",
            peer("10.0.0.1:8301", Some(Versions::CONSUL)),
        ),
        (
            "Vsn",
            b"\xa5\x01\x05\x02\x02\x05",
            peer("10.0.0.1:8301", None),
        ),
        ("Vsn", b"\xc0", peer("10.0.0.1:8301", None)),
        ("Port", b"\xc0", peer("10.0.0.1:0", None)),
        ("Addr", &mapped, peer("10.0.0.2:8301", None)),
        ("Addr", &six, peer("[fd00::1]:8301", None)),
        (
            "Addr",
            b"\xa5\x0a\x00\x00\x01\x02",
            Err(Malformed::Address(4)),
        ),
        ("Addr", b"\xa0", Err(Malformed::Address(4))),
        ("Addr", b"\xc0", Err(Malformed::Address(4))),
    ];
    for (name, value, wanted) in table {
        assert_eq!(alive(&[(name, value)]), wanted, "{name} {value:x?}");
    }
    // The sender's address is only a hint.
    for fields in [
        &[("SourceAddr", &b"\xa4\x0a\x00\x00\x01"[..])][..],
        &[("SourceAddr", b"\xa1x"), ("SourcePort", b"\x07")],
    ] {
        assert_eq!(decode(&message(0, fields)), Ok(ping(0, "")));
    }
    assert_eq!(decode(&message(1, &[])), Err(Malformed::Address(1)));
}

#[test]
fn types_out_of_place_are_unknown() {
    assert_eq!(decode(&[]), Err(Malformed::Empty));
    for kind in [6, 7, 9, 10, 12, 13, 14, 99, 244, 255] {
        assert_eq!(decode(&[kind, 0x80]), Err(Malformed::Kind(kind)));
    }
    for kind in [2, 6, 7, 8, 10, 255] {
        assert_eq!(
            serf::decode(&[kind, 0x80]),
            Err(serf::Malformed::Kind(kind))
        );
    }
    assert_eq!(serf::decode(&[]), Err(serf::Malformed::Empty));
}

fn nacks(count: usize) -> Vec<Vec<u8>> {
    (0..count as u32)
        .map(|seq| {
            let mut out = Vec::new();
            encode(&Message::Nack(seq), &mut out);
            out
        })
        .collect()
}

#[test]
fn datagrams_are_framed_as_briefly_as_allowed() {
    let framed = |parts: &[Vec<u8>], compress, checksum| {
        let mut out = b"before".to_vec();
        let count = frame(parts, Framing { compress, checksum }, &mut out);
        (count, out.split_off(6))
    };
    assert_eq!(framed(&[], true, true), (0, vec![]));
    let one = nacks(1);
    assert_eq!(
        framed(&one, true, false),
        (1, one[0].clone()),
        "compression would not make it shorter"
    );
    let (_, packet) = framed(&one, false, true);
    assert_eq!(packet[0], 12);
    assert_eq!(packet[5..], one[0]);
    let (_, packet) = framed(&nacks(3), false, false);
    assert_eq!(packet[..8], [7, 3, 0, 9, 0, 9, 0, 9]);
    let (count, packet) = framed(&nacks(100), true, true);
    assert_eq!((count, packet[0], packet[5]), (100, 12, 9));
    assert_eq!(
        all(&packet),
        (0..100)
            .map(|seq| Ok(Message::Nack(seq)))
            .collect::<Vec<_>>()
    );
    for (given, taken) in [(126, 126), (127, 127), (128, 127), (300, 127)] {
        let (count, packet) = framed(&nacks(given), false, false);
        assert_eq!((count, usize::from(packet[1])), (taken, taken));
        assert_eq!(all(&packet).len(), taken);
    }
    assert_eq!(PARTS_MAX, 127);
    let long = vec![8; 70_000];
    assert_eq!(
        framed(&[long.clone(), one[0].clone()], false, false),
        (1, long.clone())
    );
    assert_eq!(
        framed(&[one[0].clone(), long], false, false),
        (1, one[0].clone())
    );
}

fn compound(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = vec![7, parts.len() as u8];
    out.extend(
        parts
            .iter()
            .flat_map(|part| (part.len() as u16).to_be_bytes()),
    );
    out.extend(parts.concat());
    out
}

fn compress(plain: &[u8]) -> Vec<u8> {
    let mut buf = Vec::new();
    lzw::compress(plain, &mut buf);
    let mut value = Vec::new();
    put_raw(&mut value, &buf);
    message(9, &[("Algo", b"\x00"), ("Buf", &value)])
}

fn checksum(plain: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame(
        &[plain],
        Framing {
            compress: false,
            checksum: true,
        },
        &mut out,
    );
    out
}

#[test]
fn what_is_wrong_with_a_part_does_not_concern_the_others() {
    let [a, b] = [nacks(2)[0].clone(), nacks(2)[1].clone()];
    let (good_a, good_b) = (Ok(Message::Nack(0)), Ok(Message::Nack(1)));
    let crc = checksum(&a);
    let mut damaged = crc.clone();
    *damaged.last_mut().unwrap() ^= 1;
    // (what, packet, what is read)
    let table: Vec<(&str, Vec<u8>, Read)> = vec![
        (
            "compound in compound",
            compound(&[compound(std::slice::from_ref(&a)), b.clone()]),
            vec![good_a.clone(), good_b.clone()],
        ),
        (
            "compress in compress",
            compress(&compress(&a)),
            vec![good_a.clone()],
        ),
        (
            "compress in compound",
            compound(&[compress(&a), b.clone()]),
            vec![good_a.clone(), good_b.clone()],
        ),
        ("checksum", crc.clone(), vec![good_a.clone()]),
        ("damaged", damaged, vec![Err(Malformed::Checksum)]),
        (
            "checksum in compound",
            compound(&[crc.clone(), b.clone()]),
            vec![Err(Malformed::Kind(12)), good_b.clone()],
        ),
        (
            "checksum in compress",
            compress(&crc),
            vec![Err(Malformed::Kind(12))],
        ),
        (
            "checksum in checksum",
            checksum(&crc),
            vec![Err(Malformed::Kind(12))],
        ),
        (
            "checksum of nothing",
            vec![12, 0, 0, 0, 0],
            vec![Err(Malformed::Empty)],
        ),
        (
            "short checksum",
            vec![12, 0, 0, 0],
            vec![Err(Malformed::Kind(12))],
        ),
        (
            "unknown type",
            compound(&[vec![99, 1], a.clone()]),
            vec![Err(Malformed::Kind(99)), good_a.clone()],
        ),
        (
            "state in a packet",
            compound(&[vec![6, 0x80], a.clone()]),
            vec![Err(Malformed::Kind(6)), good_a.clone()],
        ),
        (
            "empty part",
            compound(&[vec![], a.clone()]),
            vec![Err(Malformed::Empty), good_a.clone()],
        ),
        ("no parts", vec![7, 0], vec![]),
        ("no count", vec![7], vec![Err(Malformed::Truncated(0))]),
        (
            "no sizes",
            vec![7, 2, 0, 9, 0],
            vec![Err(Malformed::Truncated(2))],
        ),
        (
            "cut",
            [&[7, 3, 0, 9, 0, 9, 0, 9][..], &a, &b[..5]].concat(),
            vec![good_a.clone(), Err(Malformed::Truncated(2))],
        ),
        ("empty", vec![], vec![Err(Malformed::Empty)]),
        (
            "algorithm",
            message(9, &[("Algo", b"\x01"), ("Buf", b"\xa0")]),
            vec![Err(Malformed::Algorithm(1))],
        ),
        (
            "nothing compressed",
            message(9, &[]),
            vec![Err(Malformed::Compressed(lzw::Error::End))],
        ),
    ];
    for (what, packet, wanted) in table {
        assert_eq!(all(&packet), wanted, "{what}");
    }
}

#[test]
fn hostile_packets_are_bounded() {
    let bomb = compress(&vec![8; 3 << 20]);
    assert!(bomb.len() < 8192, "{}", bomb.len());
    let size = Malformed::Compressed(lzw::Error::Size(4 * 65_536));
    assert_eq!(all(&bomb), [Err(size)]);

    // The room is that of the whole datagram.
    let large = compress(&vec![8; 200_000]);
    let read = all(&compound(&vec![large; 20]));
    assert_eq!(read.iter().filter(|message| message.is_ok()).count(), 1);

    let nack = nacks(1)[0].clone();
    let nested = |depth: usize| (0..depth).fold(nack.clone(), |inner, _| compound(&[inner]));
    assert_eq!(all(&nested(16)), [Ok(Message::Nack(0))]);
    assert_eq!(all(&nested(17)), [Err(Malformed::Depth(16))]);
    assert_eq!(
        all(&(0..17).fold(nack, |inner, _| compress(&inner))),
        [Err(Malformed::Depth(16))]
    );

    let empty = compound(&vec![vec![]; 255]);
    let read = all(&compound(&vec![empty; 100]));
    assert!(read.len() <= 4096, "{}", read.len());
    assert_eq!(read.last(), Some(&Err(Malformed::Parts(4096))));
}

#[test]
fn filters_that_are_not_understood_let_nobody_pass() {
    let query = |filters: &[u8]| {
        let bytes = message(
            4,
            &[
                ("Addr", b"\xa4\x0a\x00\x00\x01"),
                ("Filters", filters),
                ("Timeout", b"\xff"),
            ],
        );
        match serf::decode(&bytes) {
            Ok(SerfMessage::Query(query)) => Ok(query.filters),
            Ok(other) => panic!("{other:?}"),
            Err(err) => Err(err),
        }
    };
    let nodes = |names: &[&str]| Filter::Nodes(names.iter().map(|name| text(name)).collect());
    let table: Vec<(&[u8], Vec<Filter>)> = vec![
        (b"\xc0", vec![]),
        (b"\x90", vec![]),
        (b"\x91\xa5\x00\x92\xa1a\xa0", vec![nodes(&["a", ""])]),
        (b"\x91\xc4\x02\x00\xc0", vec![nodes(&[])]),
        (
            b"\x91\xa2\x01\x80",
            vec![Filter::Tag {
                tag: text(""),
                expr: text(""),
            }],
        ),
        (b"\x93\xa0\xc0\xa2\x02\x80", vec![Filter::Unknown; 3]),
        (
            b"\x92\xa3\x00\x91\x01\xa2\x01\x01",
            vec![Filter::Unknown; 2],
        ),
    ];
    for (bytes, wanted) in table {
        assert_eq!(query(bytes), Ok(wanted), "{bytes:x?}");
    }
    let many = [&b"\xdc\xff\xff"[..], &[0xa0; 65_535]].concat();
    assert!(matches!(query(&many), Err(serf::Malformed::Memory(_))));
    assert!(matches!(
        serf::decode(&message(4, &[])),
        Err(serf::Malformed::Address)
    ));
}

#[test]
fn expressions_are_searched_and_bad_ones_match_nothing() {
    for (expr, value, wanted) in [
        ("", "", true),
        ("^con", "consul", true),
        ("nsu", "consul", true),
        ("^nsu", "consul", false),
        ("(", "(", false),
        ("(?:x{1000}){1000}", "x", false),
    ] {
        assert_eq!(
            (serf::CODEC.matches)(expr, value),
            wanted,
            "{expr} in {value}"
        );
    }
}

#[test]
fn tags_are_read_as_far_as_they_go() {
    for (meta, wanted) in [
        (&b""[..], &[("role", "")][..]),
        (b"old", &[("role", "old")]),
        (b"\xff\x82\xa1b\xa12\xa1a\xa11", &[("a", "1"), ("b", "2")]),
        (b"\xff\x82\xa1a\xa11\xa1b\x07", &[("a", "1")]),
        (b"\xff\x8f\xa1a\xa11\xa1b\xa12", &[("a", "1"), ("b", "2")]),
        (b"\xff\xdf\xff\xff\xff\xff\xa1a\xa11\xa1b", &[("a", "1")]),
        (b"\xff\x81\xa1a\xc0", &[("a", "")]),
        (b"\xff\xc0", &[]),
        (b"\xff\x07", &[]),
        (b"\xff", &[]),
    ] {
        let wanted = wanted
            .iter()
            .map(|(key, value)| (text(key), text(value)))
            .collect();
        assert_eq!(serf::decode_tags(meta), wanted, "{meta:x?}");
    }
    assert_eq!(&*serf::encode_tags(&Default::default()), b"\xff\x80");
}

#[test]
fn coordinates_of_other_versions_are_none() {
    let coordinate =
        serf::decode_coordinate(b"\x01\x82\xa5Error\x01\xa3Vec\x92\x02\xca\x3f\x80\x00\x00")
            .unwrap();
    assert_eq!(
        (coordinate.error, coordinate.vec, coordinate.height),
        (1.0, vec![2.0, 1.0], 0.0)
    );
    for payload in [&b""[..], b"\x02\x80", b"\x01", b"\x01\x81\xa5Error\xa1x"] {
        assert_eq!(serf::decode_coordinate(payload), None, "{payload:x?}");
    }
    let many = [&b"\x01\x81\xa3Vec\xdc\xff\xff"[..], &[1; 65_535]].concat();
    assert_eq!(serf::decode_coordinate(&many), None);
}

#[test]
fn lists_of_keys_are_cut_to_the_size_of_an_answer() {
    let key = |n: usize| format!("{n:043}=");
    let query = QueryId {
        ltime: 5,
        id: 1 << 30,
    };
    let list = |count: usize, size_max| {
        let keys: Vec<String> = (0..count).map(key).collect();
        let payload = serf::keys::encode_key_list(&keys, &key(0), query, &text("node"), size_max)?;
        Some(serf::keys::decode_response(&payload).unwrap())
    };
    let whole = list(15, 1024).unwrap();
    assert_eq!(
        (
            whole.result,
            &*whole.message,
            whole.keys.map(|keys| keys.len())
        ),
        (true, "", Some(15))
    );
    for count in [30, 40, 100] {
        let cut = list(count, 1024).unwrap();
        let shown = cut.keys.unwrap().len();
        assert_eq!(
            cut.message,
            format!("truncated key list response, showing first {shown} of {count} keys")
        );
        assert!(cut.result && (15..22).contains(&shown), "{shown}");
        assert_eq!(cut.primary, key(0));
    }
    assert_eq!(list(3, 50), None);
}
