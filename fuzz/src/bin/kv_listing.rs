//! Listings of the KV store as `tribune replicate` reads them: however a body comes in pieces, the same is read; what breaks
//! off is never taken for whole; what was read, listed again, reads the same. The first byte is the size of the pieces, the
//! second how much is cut off.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use serde_json::json;
use tribune_replicate::fuzzing::{Listed, read_listing};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let [size, cut, body @ ..] = bytes else {
        return;
    };
    let whole = read_listing(body, "", usize::MAX);
    assert_eq!(
        read_listing(body, "", usize::from(*size)),
        whole,
        "pieces make no difference"
    );
    let Ok(whole) = whole else { return };
    let rest = body.len() - usize::from(*cut).min(body.len());
    if body[rest..].iter().any(|byte| !byte.is_ascii_whitespace()) {
        assert!(
            read_listing(&body[..rest], "", usize::MAX).is_err(),
            "what broke off is not whole"
        );
    }
    assert_eq!(
        read_listing(&listing(&whole), "", 7),
        Ok(whole),
        "what was read is read again"
    );
}

fn listing(entries: &[Listed]) -> Vec<u8> {
    let entries = entries.iter().map(|(key, flags, value, index)| {
        json!({"LockIndex": 0, "Key": key, "Flags": flags, "Value": value, "CreateIndex": 1, "ModifyIndex": index})
    });
    serde_json::Value::from_iter(entries)
        .to_string()
        .into_bytes()
}

fn seeds() -> Vec<Vec<u8>> {
    let some = |key: &str, flags, value: &str| (key.to_owned(), flags, value.to_owned(), 9);
    let bodies = [
        b"[]".to_vec(),
        b" [ {\"Key\":\"a\",\"Value\":null} , {\"Key\":\"a/\\u00e9\\\"{}\",\"Session\":\"x\",\"More\":{\"a\":[1,{}]}} ] \n".to_vec(),
        b"[{\"Key\":\"b\"},{\"Key\":\"a\"}]".to_vec(),
        b"{}".to_vec(),
        listing(&[some("a/", 0, ""), some("a/b", u64::MAX, "eA=="), some("a/c\u{fffd}", 1, "")]),
    ];
    let cuts = [[1, 0], [3, 1], [64, 200]];
    { bodies.iter() }
        .flat_map(|body| cuts.map(|cut| [&cut[..], body].concat()))
        .collect()
}
