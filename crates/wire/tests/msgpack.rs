//! The dialect: what is read leniently, what is refused, and what hostile bytes cost.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test")]

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use tribune_types::value::Value;
use tribune_wire::msgpack::{Any, Bytes, DEPTH_MAX, Error, Str, from_slice, to_vec, value_len};
use tribune_wire::records::{NodeService, RegisterRequest, TxnRequest};

#[derive(Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, bound(deserialize = "'de: 'a"))]
struct All<'a> {
    bool: bool,
    bytes: Bytes<'a>,
    float: f64,
    int: i64,
    list: Vec<u8>,
    map: BTreeMap<String, u64>,
    none: Option<u8>,
    text: Str<'a>,
    uint: u64,
}

fn field(name: &str, value: &[u8]) -> Vec<u8> {
    let mut out = vec![0x81, 0xa0 | name.len() as u8];
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(value);
    out
}

#[test]
fn nil_is_the_zero_value_of_any_field() {
    for name in [
        "bool", "bytes", "float", "int", "list", "map", "none", "text", "uint", "other",
    ] {
        assert_eq!(
            from_slice::<All<'_>>(&field(name, &[0xc0])),
            Ok(All::default()),
            "{name}"
        );
    }
}

#[test]
fn foreign_forms_are_read_where_the_original_reads_them() {
    let zero = All::default;
    for (name, value, want) in [
        (
            "bool",
            &[1][..],
            All {
                bool: true,
                ..zero()
            },
        ),
        ("bool", &[0xcc, 0], zero()),
        (
            "float",
            &[5],
            All {
                float: 5.0,
                ..zero()
            },
        ),
        (
            "float",
            &[0xca, 0x3f, 0xc0, 0, 0],
            All {
                float: 1.5,
                ..zero()
            },
        ),
        (
            "int",
            &[0xcf, 0, 0, 0, 0, 0, 0, 0, 9],
            All { int: 9, ..zero() },
        ),
        (
            "int",
            &[0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
            All { int: -1, ..zero() },
        ),
        ("uint", &[0xd0, 9], All { uint: 9, ..zero() }),
        (
            "text",
            &[0xd9, 1, b'x'],
            All {
                text: "x".into(),
                ..zero()
            },
        ),
        (
            "text",
            &[0xdb, 0, 0, 0, 1, b'x'],
            All {
                text: "x".into(),
                ..zero()
            },
        ),
        (
            "text",
            &[0xa1, 0xff],
            All {
                text: "\u{fffd}".into(),
                ..zero()
            },
        ),
        (
            "bytes",
            &[0xc4, 1, 0xff],
            All {
                bytes: Bytes(&[0xff]),
                ..zero()
            },
        ),
        (
            "bytes",
            &[0xa1, 0xff],
            All {
                bytes: Bytes(&[0xff]),
                ..zero()
            },
        ),
        (
            "list",
            &[0xdc, 0, 1, 3],
            All {
                list: vec![3],
                ..zero()
            },
        ),
        (
            "map",
            &[0xde, 0, 1, 0xa1, b'k', 3],
            All {
                map: [("k".to_owned(), 3)].into(),
                ..zero()
            },
        ),
        (
            "none",
            &[3],
            All {
                none: Some(3),
                ..zero()
            },
        ),
        ("ext", &[0xd5, 1, 0, 0], zero()),
        ("ext", &[0xc7, 2, 1, 0, 0], zero()),
    ] {
        assert_eq!(
            from_slice::<All<'_>>(&field(name, value)),
            Ok(want),
            "{name} {value:x?}"
        );
    }
}

#[test]
fn other_types_are_refused() {
    for (name, value) in [
        ("bool", &[2][..]),
        ("bool", &[0xa0]),
        ("bytes", &[0x90]),
        ("bytes", &[1]),
        ("float", &[0xa1, b'1']),
        ("int", &[0xcb, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("int", &[0xc2]),
        ("int", &[0xcf, 0xff, 0, 0, 0, 0, 0, 0, 0]),
        ("uint", &[0xff]),
        ("list", &[0x91, 0xcd, 1, 0]),
        ("list", &[0x80]),
        ("map", &[0x90]),
        ("text", &[0xc4, 1, b'x']),
        ("text", &[1]),
        ("text", &[0xc1]),
        ("bool", &[0xd5, 1, 0, 0]),
    ] {
        assert!(
            from_slice::<All<'_>>(&field(name, value)).is_err(),
            "{name} {value:x?}"
        );
    }
    assert!(
        from_slice::<All<'_>>(&[0x91, 0xc3]).is_err(),
        "a struct as an array"
    );
    assert_eq!(from_slice::<u8>(&[1, 2]), Err(Error::Trailing(1)));
    assert_eq!(from_slice::<u8>(&[]), Err(Error::End));
}

#[test]
fn integers_and_floats_stay_apart_in_free_form_values() {
    let bytes = to_vec(&Any(Value::List(vec![
        Value::Int(1),
        Value::Float(1.0),
        Value::UInt(u64::MAX),
        Value::Int(-40),
    ])))
    .unwrap();
    assert_eq!(bytes[..3], [0x94, 1, 0xcb]);
    let Any(Value::List(items)) = from_slice(&bytes).unwrap() else {
        panic!()
    };
    assert_eq!(
        items,
        [
            Value::Int(1),
            Value::Float(1.0),
            Value::UInt(u64::MAX),
            Value::Int(-40)
        ]
    );
}

#[test]
fn nesting_is_followed_to_its_limit() {
    let nest = |depth: usize| [vec![0x91; depth], vec![0xc0]].concat();
    assert!(from_slice::<Any>(&nest(DEPTH_MAX)).is_ok());
    assert_eq!(from_slice::<Any>(&nest(DEPTH_MAX + 1)), Err(Error::Depth));
    assert_eq!(from_slice::<Any>(&nest(1_000_000)), Err(Error::Depth));
    // What is skipped may nest as it likes.
    assert_eq!(
        from_slice::<All<'_>>(&field("other", &nest(1_000_000))),
        Ok(All::default())
    );
    assert_eq!(value_len(&nest(1_000_000)), Ok(Some(1_000_001)));
}

#[test]
fn false_lengths_are_refused_before_anything_is_allocated() {
    for bytes in [
        &[0xdd, 0xff, 0xff, 0xff, 0xff, 0xc0][..],
        &[0xdf, 0xff, 0xff, 0xff, 0xff, 0xc0],
        &[0xdb, 0xff, 0xff, 0xff, 0xff, 0xc0],
        &[0xc6, 0xff, 0xff, 0xff, 0xff, 0xc0],
        &[0xc9, 0xff, 0xff, 0xff, 0xff, 0xc0],
        &[0x82, 0xa0, 0xc0],
    ] {
        assert_eq!(from_slice::<Any>(bytes), Err(Error::End), "{bytes:x?}");
        assert_eq!(value_len(bytes), Ok(None), "{bytes:x?}");
    }
}

#[test]
fn structs_of_one_byte_are_counted() {
    // Two million empty operations, hundreds of times larger in memory than on the wire.
    let mut bytes = vec![0x81, 0xa3];
    bytes.extend_from_slice(b"Ops");
    bytes.extend_from_slice(&[0xdd, 0, 0x1e, 0x84, 0x80]);
    bytes.extend(vec![0x80; 2_000_000]);
    assert_eq!(from_slice::<TxnRequest<'_>>(&bytes), Err(Error::Hollow));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_do_no_harm(bytes in vec(any::<u8>(), 0..300)) {
        let _ = from_slice::<Any>(&bytes);
        let _ = from_slice::<All<'_>>(&bytes);
        let _ = from_slice::<RegisterRequest<'_>>(&bytes);
        let _ = from_slice::<NodeService<'_>>(&bytes);
        if let Ok(Some(len)) = value_len(&bytes) {
            prop_assert!(len <= bytes.len());
            prop_assert_eq!(value_len(&bytes[..len]), Ok(Some(len)));
        }
    }

    #[test]
    fn whatever_decodes_encodes_to_something_equal(bytes in vec(any::<u8>(), 0..60)) {
        if let Ok((value, _)) = tribune_wire::msgpack::from_slice_prefix::<Any>(&bytes) {
            let again = to_vec(&value).unwrap();
            let back: Any = from_slice(&again).unwrap();
            // Not-a-number is not equal to itself; compare what would be shown.
            prop_assert_eq!(format!("{back:?}"), format!("{value:?}"));
        }
    }

    #[test]
    fn another_implementation_reads_what_is_written(
        ints in vec(any::<i64>(), 0..8), text in "\\PC{0,60}", float in any::<f64>(), flag in any::<bool>(),
    ) {
        let value = (ints, text, float.to_bits(), flag);
        let bytes = to_vec(&value).unwrap();
        let back: (Vec<i64>, String, u64, bool) = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&back, &value);
        let theirs = rmp_serde::to_vec(&value).unwrap();
        prop_assert_eq!(from_slice::<(Vec<i64>, String, u64, bool)>(&theirs).unwrap(), value);
    }
}
