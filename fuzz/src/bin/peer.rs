//! What servers say to one another: hellos, answers to them, calls, and frames in any pieces.
//!
//! The first byte of the input says in which pieces what is after it arrives.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_net::fuzzing::{answer, call, frames, hello};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn run(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else {
        return;
    };
    for said in [hello(bytes), answer(bytes)].into_iter().flatten() {
        assert_eq!(said, bytes[..said.len()], "what is understood, said again");
    }
    if let Some(said) = call(bytes) {
        assert_eq!(said, bytes, "a call, made again");
    }
    let (whole, refused) = frames(bytes, usize::MAX);
    let sent = whole.concat();
    assert_eq!(sent, bytes[..sent.len()], "what is understood, sent again");
    let step = [1, 2, 13, 1000][usize::from(how & 3)];
    let (pieces, error) = frames(bytes, step);
    assert_eq!(pieces, whole, "pieces make no difference");
    assert_eq!(error, refused, "and neither for errors");
}

fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![
        b"\x00TRIB\x01\x010123456789abcdefghijklmnopqrstuv".to_vec(),
        b"\x01TRIB\x01\x020123456789abcdefghijklmnopqrstuv".to_vec(),
        b"\x01TRIB\x01\x030123456789abcdefghijklmnopqrstuv".to_vec(),
        b"\x01\x00\x07KVS.Get\x82\xa3Key\xa1k\xaaDatacenter\xa3dc1".to_vec(),
        b"\x01\x01\x0bStatus.Ping\x80".to_vec(),
    ];
    for verdict in 0..=4 {
        seeds.push([&b"\x02TRIB\x01"[..], &[verdict], b"0123456789abcdef"].concat());
    }
    let mut stream = vec![3];
    for kind in 1..=6u8 {
        // Only requests, responses and pieces have bytes.
        let bytes: &[u8] = match kind {
            1 | 2 | 5 => b"bytes",
            _ => b"",
        };
        let frame = [
            &(bytes.len() as u32).to_be_bytes()[..],
            &u64::from(kind).to_be_bytes(),
            &[kind],
            bytes,
        ]
        .concat();
        seeds.push([&[kind], &frame[..]].concat());
        stream.extend(frame);
    }
    // More than is promised, and a promise that is not kept.
    seeds.push(
        [
            &stream[..],
            &[0, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 7, 1],
        ]
        .concat(),
    );
    seeds.push(
        [
            &stream[..],
            &[0, 0, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 7, 1, 9],
        ]
        .concat(),
    );
    seeds.push(stream);
    seeds
}
