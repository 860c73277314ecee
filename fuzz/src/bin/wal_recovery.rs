//! Recovery of the write-ahead log from any segments.
//!
//! ```text
//! input     segment ...
//! segment   number 1 | flags 1 | length 2 (little endian) | bytes
//! flags     bit 0: repair the checksums, so that what they cover is looked at
//! ```
//!
//! Number 255 stands for the largest there is. A length beyond the input takes what is left.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_raft::fuzzing::{check_recovery, sample, seal};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

const SEAL: u8 = 1;
const SEGMENTS_MAX: usize = 8;

fn run(mut bytes: &[u8]) {
    let mut segments = Vec::new();
    while let [number, flags, low, high, rest @ ..] = bytes {
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (segment, rest) = rest.split_at(len);
        let number = if *number == u8::MAX {
            u64::MAX
        } else {
            u64::from(*number)
        };
        let mut segment = segment.to_vec();
        if flags & SEAL != 0 {
            seal(&mut segment, number);
        }
        segments.push((number, segment));
        bytes = rest;
        if segments.len() == SEGMENTS_MAX {
            break;
        }
    }
    check_recovery(&segments);
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for segments in sample() {
        for flags in [0, SEAL] {
            let mut input = Vec::new();
            for (number, bytes) in &segments {
                let used = bytes
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1);
                let bytes = &bytes[..used.min(usize::from(u16::MAX))];
                input.extend_from_slice(&[u8::try_from(*number).unwrap_or(u8::MAX), flags]);
                input.extend_from_slice(
                    &u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes(),
                );
                input.extend_from_slice(bytes);
            }
            all.push(input);
        }
    }
    all
}
