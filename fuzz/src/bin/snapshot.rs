//! Snapshots: the record stream, the archive, and the container inside its compression. The first byte chooses.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use std::io::Write;

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tribune_types::id::Index;
use tribune_types::snapshot::Record;
use tribune_wire::snapshot::read_archive;
use tribune_wire::snapshot::records::{Reader, Writer};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

const STREAM: u8 = 0;
const ARCHIVE: u8 = 1;
const CONTAINER: u8 = 2;

fn run(bytes: &[u8]) {
    let Some((&which, bytes)) = bytes.split_first() else {
        return;
    };
    match which % 3 {
        STREAM => stream(bytes),
        ARCHIVE => archive(bytes),
        _ => archive(&packed(bytes)),
    }
}

/// A stream that is read and written is the same from then on.
fn stream(bytes: &[u8]) {
    let Some((last, records)) = read(bytes) else {
        return;
    };
    let once = write(last, &records);
    let (again, records) = read(&once).expect("what was written can be read");
    assert_eq!(again, last);
    assert_eq!(write(last, &records), once);
}

fn read(bytes: &[u8]) -> Option<(Index, Vec<Record>)> {
    let mut reader = Reader::new(bytes).ok()?;
    let mut records = Vec::new();
    loop {
        match reader.next_record() {
            Ok(Some(record)) => records.push(record),
            Ok(None) => return Some((reader.last_index(), records)),
            Err(error) => {
                let _ = error.to_string();
                return None;
            }
        }
    }
}

fn write(last: Index, records: &[Record]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new(), last).expect("memory takes everything");
    for record in records {
        writer
            .write(record)
            .expect("a record that was read can be written");
    }
    writer.finish().expect("memory takes everything").0
}

fn archive(bytes: &[u8]) {
    let mut size = 0;
    let read = read_archive(bytes, &mut |piece| {
        size += piece.len() as i64;
        Ok(())
    });
    match read {
        Ok(meta) => drop(meta.to_json()),
        Err(error) => drop(error.to_string()),
    }
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::none());
    out.write_all(bytes).expect("memory takes everything");
    out.finish().expect("memory takes everything")
}

fn seeds() -> Vec<Vec<u8>> {
    let archive = tribune_fuzz::vectors("wire/tests/vectors/consul-1.8.7.tgz");
    let mut container = Vec::new();
    std::io::copy(&mut GzDecoder::new(&archive[..]), &mut container)
        .expect("the captured archive unpacks");
    let mut state = Vec::new();
    read_archive(&archive[..], &mut |piece| {
        state.extend_from_slice(piece);
        Ok(())
    })
    .expect("the captured archive is whole");
    let (last, records) = read(&state).expect("the captured stream is whole");
    let mut all = vec![
        [&[ARCHIVE], &archive[..]].concat(),
        [&[CONTAINER], &container[..]].concat(),
    ];
    // One record each: small inputs are fast.
    for record in &records {
        all.push([&[STREAM], &write(last, std::slice::from_ref(record))[..]].concat());
    }
    all
}
