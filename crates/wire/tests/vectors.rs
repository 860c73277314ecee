//! Messages captured from a real server: every one decodes to what the capture shows, and what we
//! encode again has the same bytes.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

mod common;

use common::Tree;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use tribune_wire::msgpack::{from_slice, from_slice_prefix, to_vec, value_len};
use tribune_wire::records as mirror;

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn vectors() -> Vec<Json> {
    let all: Json = serde_json::from_str(include_str!("vectors/rpc.json")).unwrap();
    all["vectors"].as_array().unwrap().clone()
}

/// Name, bytes and shown value of every header and body.
fn messages() -> Vec<(String, Vec<u8>, Json)> {
    let mut out = Vec::new();
    for vector in vectors() {
        for side in ["request", "response"] {
            for part in ["header", "body"] {
                let Some(text) = vector[side][format!("{part}_hex")].as_str() else {
                    continue;
                };
                let name = format!("{} {side} {part}", vector["name"].as_str().unwrap());
                out.push((name, unhex(text), vector[side][part].clone()));
            }
        }
    }
    assert!(out.len() > 500, "only {} messages", out.len());
    out
}

#[test]
fn every_message_decodes_to_what_is_shown() {
    for (name, bytes, json) in messages() {
        let tree: Tree = from_slice(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(
            tree.shows_as(&json, false),
            "{name}: {tree:?} is not {json}"
        );
        assert_eq!(value_len(&bytes), Ok(Some(bytes.len())), "{name}");
    }
}

#[test]
fn every_message_encodes_to_the_same_bytes() {
    let mut floats = 0;
    for (name, bytes, _) in messages() {
        let again = to_vec(&from_slice::<Tree>(&bytes).unwrap()).unwrap();
        if bytes.contains(&0xca) && again.len() != bytes.len() {
            // The tree widens 32-bit floats.
            floats += 1;
            continue;
        }
        assert_eq!(hex(&again), hex(&bytes), "{name}");
    }
    assert!(floats <= 2);
}

#[test]
fn no_truncated_message_decodes_and_nothing_panics() {
    for (name, bytes, _) in messages().into_iter().step_by(7) {
        for len in 0..bytes.len() {
            assert!(
                from_slice::<Tree>(&bytes[..len]).is_err(),
                "{name} cut at {len}"
            );
            assert_eq!(value_len(&bytes[..len]), Ok(None), "{name} cut at {len}");
        }
    }
}

/// Request bodies that pass through mirror structs: byte for byte where the sender gave all
/// fields, else the same value.
fn typed<'a, T: Serialize + Deserialize<'a> + PartialEq + std::fmt::Debug>(
    bytes: &'a [u8],
    whole: bool,
    name: &str,
) {
    let value: T = from_slice(bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
    let again = to_vec(&value).unwrap();
    if whole {
        assert_eq!(hex(&again), hex(bytes), "{name}");
    } else {
        let leaked: &'a [u8] = Box::leak(again.into_boxed_slice());
        assert_eq!(from_slice::<T>(leaked).unwrap(), value, "{name}");
    }
}

#[test]
fn request_bodies_pass_through_mirror_structs_unchanged() {
    let (mut whole_count, mut count) = (0, 0);
    for vector in vectors() {
        let (name, method) = (
            vector["name"].as_str().unwrap(),
            vector["method"].as_str().unwrap(),
        );
        let Some(text) = vector["request"]["body_hex"].as_str() else {
            continue;
        };
        let bytes = unhex(text);
        let whole = !vector["origin"]
            .as_str()
            .unwrap_or_default()
            .contains("minimal");
        match method {
            "Catalog.Register" => typed::<mirror::RegisterRequest<'_>>(&bytes, whole, name),
            "Catalog.Deregister" => typed::<mirror::DeregisterRequest<'_>>(&bytes, whole, name),
            "KVS.Apply" => typed::<mirror::KvsRequest<'_>>(&bytes, whole, name),
            "Session.Apply" => typed::<mirror::SessionRequest<'_>>(&bytes, whole, name),
            "Txn.Apply" => typed::<mirror::TxnRequest<'_>>(&bytes, whole, name),
            "Coordinate.Update" => {
                typed::<mirror::CoordinateUpdateRequest<'_>>(&bytes, whole, name)
            }
            "Operator.AutopilotSetConfiguration" => {
                // Ours has one field more.
                typed::<mirror::AutopilotSetConfigRequest<'_>>(&bytes, false, name);
            }
            _ => continue,
        }
        count += 1;
        whole_count += usize::from(whole);
    }
    assert!(count >= 25 && whole_count >= 15, "{whole_count} of {count}");
}

#[test]
fn values_stand_back_to_back() {
    let header = unhex("82a353657101ad536572766963654d6574686f64ab5374617475732e50696e67");
    let both = [&header[..], &[0x80]].concat();
    let (tree, rest) = from_slice_prefix::<Tree>(&both).unwrap();
    assert!(matches!(tree, Tree::Map(fields) if fields.len() == 2));
    assert_eq!(rest, [0x80]);
}
