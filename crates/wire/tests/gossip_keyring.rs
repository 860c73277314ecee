//! Keys, the ring, sealed payloads and the file (gossip.md sections 5, 7.10 and 10.6), and the snapshot file (7.11).

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

use tribune_serf::{Record, Restored};
use tribune_types::text::text;
use tribune_wire::keyring::{
    Key, KeyError, Keyring, Layout, OVERHEAD, OVERHEAD_PADDED, OpenError, Version,
};
use tribune_wire::serf::snapshot;

fn key(byte: u8, size: usize) -> Key {
    Key::new(&vec![byte; size]).unwrap()
}

#[test]
fn keys_have_three_sizes_and_are_not_shown() {
    for size in 0..40 {
        assert_eq!(
            Key::new(&vec![1; size]).is_ok(),
            matches!(size, 16 | 24 | 32),
            "{size}"
        );
    }
    assert_eq!(
        Key::new(b"short").unwrap_err().to_string(),
        "key size must be 16, 24 or 32 bytes"
    );
    let key = Key::from_base64("AAECAwQFBgcICQoLDA0ODw==").unwrap();
    assert_eq!(key.as_bytes(), (0..16).collect::<Vec<u8>>());
    assert_eq!(key.to_base64(), "AAECAwQFBgcICQoLDA0ODw==");
    assert_eq!(
        Key::from_base64("AAECAwQFBgcICQoLDA0ODw"),
        Err(KeyError::Base64)
    );
    assert_eq!(Key::from_base64("AAEC"), Err(KeyError::Size));
    assert_eq!(
        format!("{key:?} {:?}", Keyring::new(key)),
        "Key(128 bits) [Key(128 bits)]"
    );
}

#[test]
fn the_first_key_is_the_primary_one() {
    let [a, b, c] = [key(1, 16), key(2, 24), key(3, 32)];
    let mut ring = Keyring::new(a);
    assert!(ring.install(b) && ring.install(c) && !ring.install(b));
    let keys = |ring: &Keyring| ring.keys().copied().collect::<Vec<_>>();
    assert_eq!(keys(&ring), [a, b, c]);
    ring.use_key(&c).unwrap();
    assert_eq!(keys(&ring), [c, a, b]);
    ring.use_key(&c).unwrap();
    assert_eq!((keys(&ring), *ring.primary()), (vec![c, a, b], c));
    assert_eq!(
        ring.use_key(&key(9, 16)).unwrap_err().to_string(),
        "Requested key is not in the keyring"
    );
    assert_eq!(
        ring.remove(&c).unwrap_err().to_string(),
        "Removing the primary key is not allowed"
    );
    assert_eq!((ring.remove(&a), ring.remove(&a)), (Ok(true), Ok(false)));
    assert_eq!(keys(&ring), [c, b]);
}

#[test]
fn payloads_are_opened_by_any_key_and_by_no_other() {
    for size in [16, 24, 32] {
        for version in [Version::Plain, Version::Padded] {
            for len in [0, 1, 15, 16, 17, 1400] {
                let plain: Vec<u8> = (0..len).map(|i| i as u8).collect();
                let mut payload = b"before".to_vec();
                Keyring::new(key(1, size)).seal(version, b"aad", &plain, [5; 12], &mut payload);
                let mut payload = payload.split_off(6);
                assert_eq!(payload.len(), Keyring::sealed_size(version, len));
                let most = if version == Version::Plain {
                    OVERHEAD
                } else {
                    OVERHEAD_PADDED
                };
                assert!(payload.len() <= len + most);

                let mut ring = Keyring::new(key(2, 32));
                assert_eq!(ring.open(b"aad", &payload), Err(OpenError::Key));
                ring.install(key(1, size));
                assert_eq!(ring.open(b"aad", &payload), Ok(plain.clone()));
                assert_eq!(
                    ring.open(b"", &payload),
                    Err(OpenError::Key),
                    "other additional data"
                );
                for at in [1, 12, 13, payload.len() - 1] {
                    payload[at] ^= 0x80;
                    assert_eq!(
                        ring.open(b"aad", &payload),
                        Err(OpenError::Key),
                        "changed at {at}"
                    );
                    payload[at] ^= 0x80;
                }
                // The version is not protected, so the padding may be nonsense.
                payload[0] = 1 - payload[0];
                assert!(matches!(
                    ring.open(b"aad", &payload),
                    Ok(_) | Err(OpenError::Padding)
                ));
                payload[0] = 2;
                assert_eq!(ring.open(b"aad", &payload), Err(OpenError::Version(2)));
            }
        }
    }
    let ring = Keyring::new(key(1, 16));
    for len in 0..29 {
        assert_eq!(ring.open(b"", &vec![1; len]), Err(OpenError::Short(len)));
    }
    let mut empty = Vec::new();
    ring.seal(Version::Plain, b"", b"", [0; 12], &mut empty);
    empty[0] = 0;
    assert_eq!(ring.open(b"", &empty), Err(OpenError::Padding));
}

#[test]
fn the_file_is_a_list_of_keys() {
    let mut ring = Keyring::new(key(0, 16));
    assert_eq!(
        ring.to_file(Layout::Compact),
        "[\"AAAAAAAAAAAAAAAAAAAAAA==\"]"
    );
    ring.install(key(1, 16));
    let text = ring.to_file(Layout::Indented);
    assert_eq!(
        text,
        "[\n  \"AAAAAAAAAAAAAAAAAAAAAA==\",\n  \"AQEBAQEBAQEBAQEBAQEBAQ==\"\n]"
    );
    for layout in [Layout::Compact, Layout::Indented] {
        let again = Keyring::from_file(ring.to_file(layout).as_bytes()).unwrap();
        assert!(again.keys().eq(ring.keys()));
    }
    let twice =
        Keyring::from_file(b" [\"AAAAAAAAAAAAAAAAAAAAAA==\", \"AAAAAAAAAAAAAAAAAAAAAA==\"]\n")
            .unwrap();
    assert_eq!(twice.keys().len(), 1);
    for (bytes, wanted) in [
        (&b""[..], "keyring is not a JSON list of texts"),
        (b"{}", "keyring is not a JSON list of texts"),
        (b"[1]", "keyring is not a JSON list of texts"),
        (b"\xff", "keyring is not a JSON list of texts"),
        (b"[] x", "keyring is not a JSON list of texts"),
        (b"[]", "keyring has no keys"),
        (b"null", "keyring has no keys"),
        (
            b"[\"AAAAAAAAAAAAAAAAAAAAAA==\", \"AAEC\"]",
            "key number 2 of the keyring is malformed",
        ),
        (b"[\"\"]", "key number 1 of the keyring is malformed"),
    ] {
        assert_eq!(Keyring::from_file(bytes).unwrap_err().to_string(), wanted);
    }
}

#[test]
fn records_are_lines() {
    let addr = |text: &str| text.parse().unwrap();
    for (record, line) in [
        (
            Record::Alive(text("n1"), addr("10.0.0.1:8301")),
            "alive: n1 10.0.0.1:8301",
        ),
        (
            Record::Alive(text("a b: c"), addr("[fd00::1]:8301")),
            "alive: a b: c [fd00::1]:8301",
        ),
        (Record::NotAlive(text("a b")), "not-alive: a b"),
        (Record::Clock(7), "clock: 7"),
        (
            Record::EventClock(u64::MAX),
            "event-clock: 18446744073709551615",
        ),
        (Record::QueryClock(0), "query-clock: 0"),
        (Record::Leave, "leave"),
    ] {
        let mut out = String::new();
        snapshot::render(&record, &mut out);
        assert_eq!(out, format!("{line}\n"));
        assert_eq!(snapshot::parse(line), Some(record));
    }
    for line in [
        "",
        "leave ",
        "alive: n1",
        "alive: n1 10.0.0.1",
        "alive:",
        "clock: -1",
        "clock: x",
        "clock:5",
        "# clock: 5",
        "coordinate: x",
        "other: 1",
    ] {
        assert_eq!(snapshot::parse(line), None, "{line}");
    }
}

#[test]
fn a_file_remembers_what_was_last_known() {
    let restore = |file: &str, rejoin| snapshot::restore(file.as_bytes(), rejoin);
    let addr = "10.0.0.1:1".parse().unwrap();
    let file = "clock: 5\nalive: a 10.0.0.1:1\n#x\n\u{0}garbage\nalive: b 10.0.0.1:1\nnot-alive: a\nevent-clock: 9\nquery-clock: 3\nclock: 4\n";
    let known = Restored {
        clock: 4,
        event_clock: 9,
        query_clock: 3,
        alive: vec![(text("b"), addr)],
    };
    assert_eq!(restore(file, false), known);
    let left = format!("{file}leave\nclock: 6\n");
    assert_eq!(
        restore(&left, true),
        Restored {
            clock: 6,
            ..known.clone()
        }
    );
    assert_eq!(
        restore(&left, false),
        Restored {
            clock: 6,
            ..Restored::default()
        }
    );
    let back = format!("{left}alive: c 10.0.0.1:1\n");
    assert_eq!(restore(&back, false).alive, [(text("c"), addr)]);
    assert_eq!(
        restore(&format!("{file}alive: d 10.0.0.1:1"), false),
        known,
        "the last line does not end"
    );
    assert_eq!(
        snapshot::restore(b"alive: \xff 10.0.0.1:1\nclock: 2\n", false).clock,
        2
    );
    assert_eq!(restore("", false), Restored::default());
}
