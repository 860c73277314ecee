//! Recovery of the journal of local registrations from any two files.
//!
//! ```text
//! input   file | file
//! file    flags 1 | length 2 (little endian) | what stands behind the head of the file
//! flags   bit 0: repair the checksums, so that what they cover is looked at
//!         bit 1: there is no such file
//!         bit 2: the bytes are the whole file, head and all
//! ```
//!
//! A length beyond the input takes what is left.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_agent::fuzzing::{JournalFile, check_recovery, file, sample};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

const SEAL: u8 = 1;
const ABSENT: u8 = 2;
const WHOLE: u8 = 4;
/// Bytes before the first record.
const HEAD: usize = 512;

fn run(mut bytes: &[u8]) {
    let mut take = || -> JournalFile {
        let [flags, low, high, rest @ ..] = bytes else {
            return None;
        };
        let len = usize::from(u16::from_le_bytes([*low, *high])).min(rest.len());
        let (records, rest) = rest.split_at(len);
        bytes = rest;
        match *flags {
            flags if flags & ABSENT != 0 => None,
            flags if flags & WHOLE != 0 => Some(records.to_vec()),
            flags => Some(file(records, flags & SEAL != 0)),
        }
    };
    check_recovery(&[take(), take()]);
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all = vec![vec![ABSENT, 0, 0, ABSENT, 0, 0]];
    for files in sample() {
        for flags in [0, SEAL, WHOLE] {
            let mut input = Vec::new();
            for bytes in files.iter().flatten() {
                let used = bytes
                    .iter()
                    .rposition(|byte| *byte != 0)
                    .map_or(0, |at| at + 1)
                    .max(HEAD);
                let start = if flags == WHOLE { 0 } else { HEAD };
                let bytes = &bytes[start..used];
                input.push(flags);
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
