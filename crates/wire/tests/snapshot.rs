//! An archive written by a real server is read whole, and nothing of it is lost when it is written
//! again; broken archives are refused.

#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, reason = "a test")]

mod common;

use std::io::{Read, Write};

use common::Tree;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use serde_json::Value as Json;
use tribune_types::id::Index;
use tribune_types::snapshot::Record;
use tribune_wire::msgpack::{from_slice, from_slice_prefix};
use tribune_wire::snapshot::records::{Reader, StreamError, Writer, encode};
use tribune_wire::snapshot::{ArchiveError, Meta, SnapshotWriter, read_archive};

const GOLDEN: &[u8] = include_bytes!("vectors/consul-1.8.7.tgz");

pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap())
        .collect()
}

fn shown() -> Json {
    serde_json::from_str(include_str!("vectors/consul-1.8.7.json")).unwrap()
}

fn open(archive: &[u8]) -> Result<(Meta, Vec<u8>), ArchiveError> {
    let mut state = Vec::new();
    let meta = read_archive(archive, &mut |bytes| {
        state.extend_from_slice(bytes);
        Ok(())
    })?;
    Ok((meta, state))
}

fn save(meta: &Meta, state: &[u8]) -> Vec<u8> {
    let mut writer = SnapshotWriter::new(Vec::new(), meta, 1_795_404_285).unwrap();
    writer.write_all(state).unwrap();
    writer.finish().unwrap()
}

fn records(state: &[u8]) -> Vec<Record> {
    Reader::new(state).unwrap().map(Result::unwrap).collect()
}

#[test]
fn the_description_of_a_real_archive_is_understood_and_written_alike() {
    let (meta, state) = open(GOLDEN).unwrap();
    assert_eq!(
        (meta.id.as_str(), meta.index, meta.term),
        ("2-179-1795404285413", 179, 2)
    );
    assert_eq!(meta.size, state.len() as u64);
    assert_eq!(meta.servers.len(), 1);
    assert!(meta.servers[0].voter);
    let shown = shown();
    let again: Json = serde_json::from_slice(&meta.to_json()).unwrap();
    assert_eq!(again, shown["meta"]);
}

#[test]
fn every_record_of_a_real_archive_is_understood() {
    let (_, state) = open(GOLDEN).unwrap();
    let reader = Reader::new(&state[..]).unwrap();
    assert_eq!(reader.last_index(), Index(178));
    let records: Vec<Record> = reader.map(Result::unwrap).collect();
    let shown = shown();
    let shown = &shown["records"].as_array().unwrap()[1..];
    assert_eq!(records.len(), shown.len());
    for (record, json) in records.iter().zip(shown) {
        let mut bytes = Vec::new();
        encode(record, &mut bytes).unwrap();
        assert_eq!(u64::from(bytes[0]), json["type"].as_u64().unwrap());
        let opaque = matches!(record, Record::Opaque { .. });
        let built = [
            "Register",
            "CoordinateBatch",
            "Session",
            "KVS",
            "PreparedQuery",
            "Tombstone",
            "Autopilot",
            "Index",
        ];
        assert_eq!(!opaque, built.contains(&json["name"].as_str().unwrap()));
        if opaque {
            let (offset, length) = (
                json["offset"].as_u64().unwrap(),
                json["length"].as_u64().unwrap(),
            );
            assert_eq!(bytes, &state[offset as usize..(offset + length) as usize]);
            continue;
        }
        let tree: Tree = from_slice(&bytes[1..]).unwrap();
        assert!(
            tree.shows_as(&json["value"], true),
            "{record:?}\nis not {json}"
        );
    }
}

#[test]
fn an_archive_written_again_holds_the_same_records_in_the_same_order() {
    let (meta, state) = open(GOLDEN).unwrap();
    let before = records(&state);
    let mut writer = Writer::new(Vec::new(), Index(178)).unwrap();
    // As a state exports: what it does not interpret first, everything else behind.
    let (opaque, built): (Vec<_>, Vec<_>) = before
        .iter()
        .partition(|r| matches!(r, Record::Opaque { .. }));
    for record in opaque.into_iter().chain(built) {
        writer.write(record).unwrap();
    }
    let (again, size) = writer.finish().unwrap();
    assert_eq!(size, again.len() as u64);
    assert_eq!(records(&again), before);

    let archive = save(
        &Meta {
            size,
            ..meta.clone()
        },
        &again,
    );
    let (meta_again, state_again) = open(&archive).unwrap();
    assert_eq!(meta_again, Meta { size, ..meta });
    assert_eq!(state_again, again);
}

#[test]
fn the_tar_ends_after_two_zero_blocks() {
    let (meta, state) = open(GOLDEN).unwrap();
    let mut tar = Vec::new();
    GzDecoder::new(&save(&meta, &state)[..])
        .read_to_end(&mut tar)
        .unwrap();
    let mut golden = Vec::new();
    GzDecoder::new(GOLDEN).read_to_end(&mut golden).unwrap();
    assert_eq!(tar.len(), golden.len());
    assert!(tar[tar.len() - 1024..].iter().all(|b| *b == 0));
    assert!(
        tar[tar.len() - 1536..tar.len() - 1024]
            .iter()
            .any(|b| *b != 0)
    );
}

/// A tar of the given members, with padding, compressed.
fn pack(members: &[(&str, &[u8])], padding: usize) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in members {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o600);
        header.set_size(content.len() as u64);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    let mut tar = builder.into_inner().unwrap();
    tar.extend(vec![0; padding]);
    gzip(&tar)
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gz = GzEncoder::new(Vec::new(), Compression::fast());
    gz.write_all(bytes).unwrap();
    gz.finish().unwrap()
}

fn members(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut tar = tar::Archive::new(GzDecoder::new(archive));
    tar.entries()
        .unwrap()
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = entry.path().unwrap().display().to_string();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (name, content)
        })
        .collect()
}

#[test]
fn members_may_come_in_any_order_and_padding_may_follow() {
    let all = members(GOLDEN);
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [2, 0, 1]] {
        let list: Vec<(&str, &[u8])> = order.iter().map(|&i| (&*all[i].0, &*all[i].1)).collect();
        open(&pack(&list, 10_240)).unwrap();
    }
}

#[test]
fn broken_archives_are_refused_and_say_why() {
    let all = members(GOLDEN);
    let [meta, state, sums] = [0, 1, 2].map(|i| (&*all[i].0, &*all[i].1));
    let refused = |archive: &[u8]| open(archive).expect_err("accepted").to_string();

    assert_eq!(
        refused(b"no archive"),
        "failed to decompress snapshot: gzip: invalid header"
    );
    assert_eq!(refused(b""), "failed to decompress snapshot: EOF");
    // The head is read as a whole before it is looked at.
    for few in [&b"x"[..], b"123456789", b"\x1f\x8b\x08", &GOLDEN[..9]] {
        assert_eq!(
            refused(few),
            "failed to decompress snapshot: unexpected EOF"
        );
    }
    let (file, integrity) = (
        "failed to read snapshot file: ",
        "failed to read snapshot file: failed checking integrity of snapshot: ",
    );
    let data = "failed to read or write snapshot data: unexpected EOF";
    assert_eq!(refused(&GOLDEN[..3000]), format!("{file}{data}"));
    assert_eq!(
        refused(&pack(&[meta, state], 0)),
        format!("{integrity}file missing for \"SHA256SUMS\"")
    );
    assert_eq!(
        refused(&pack(&[state, sums], 0)),
        format!("{integrity}file missing for \"meta.json\"")
    );
    assert_eq!(
        refused(&pack(&[meta, sums], 0)),
        format!("{integrity}file missing for \"state.bin\"")
    );
    assert_eq!(
        refused(&pack(&[meta, state, sums, ("x", b"")], 0)),
        format!("{file}unexpected file \"x\" in snapshot")
    );
    assert_eq!(
        refused(&pack(&[meta, meta, state, sums], 0)),
        format!("{file}file \"meta.json\" occurs twice in snapshot")
    );

    let mut changed = state.1.to_vec();
    changed[100] ^= 1;
    assert_eq!(
        refused(&pack(&[meta, ("state.bin", &changed), sums], 0)),
        format!("{integrity}hash check failed for \"state.bin\"")
    );
    let text = String::from_utf8(sums.1.to_vec()).unwrap();
    let one = text
        .lines()
        .find(|l| l.ends_with("state.bin"))
        .unwrap()
        .to_owned()
        + "\n";
    assert_eq!(
        refused(&pack(&[meta, state, ("SHA256SUMS", one.as_bytes())], 0)),
        format!("{integrity}file missing for \"meta.json\"")
    );
    assert!(
        refused(&pack(&[meta, state, ("SHA256SUMS", b"garbage")], 0))
            .starts_with(&format!("{integrity}malformed checksum"))
    );

    let meta_of = |json: &str| {
        let sum = |bytes: &[u8]| {
            use sha2::Digest;
            sha2::Sha256::digest(bytes)
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect::<String>()
        };
        let sums = format!(
            "{}  meta.json\n{}  state.bin\n",
            sum(json.as_bytes()),
            sum(state.1)
        );
        pack(
            &[
                ("meta.json", json.as_bytes()),
                state,
                ("SHA256SUMS", sums.as_bytes()),
            ],
            0,
        )
    };
    assert_eq!(
        refused(&meta_of(r#"{"Version":0,"Size":20964}"#)),
        "failed to create snapshot: unsupported snapshot version 0"
    );
    assert!(
        refused(&meta_of(r#"{"Version":1,"Size":20965}"#))
            .ends_with("size didn't match (20964 != 20965)")
    );
    assert!(
        refused(&meta_of("[")).starts_with(&format!("{file}failed to decode snapshot metadata"))
    );
    let minimal = open(&meta_of(
        r#"{"Version":1,"ID":"1-2-3","Index":2,"Term":1,"Size":20964}"#,
    ))
    .unwrap();
    assert_eq!(minimal.0.index, 2);

    // Cut anywhere, or with a bit turned over, it is refused.
    for len in (0..GOLDEN.len()).step_by(97) {
        refused(&GOLDEN[..len]);
        let mut turned = GOLDEN.to_vec();
        turned[len] ^= 0x10;
        let _ = open(&turned);
    }
    let mut tar = Vec::new();
    GzDecoder::new(GOLDEN).read_to_end(&mut tar).unwrap();
    tar.extend_from_slice(b"more");
    assert_eq!(
        refused(&gzip(&tar)),
        "unread bytes remain after the end of the snapshot"
    );
}

#[test]
fn huge_claims_cost_no_memory() {
    // A description of 8 GiB, and an extension header of as much, both of zeros that never come.
    for kind in [
        tar::EntryType::Regular,
        tar::EntryType::XHeader,
        tar::EntryType::GNULongName,
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_path("meta.json").unwrap();
        header.set_size(8 << 30);
        header.set_mode(0o600);
        header.set_entry_type(kind);
        header.set_cksum();
        let mut tar = header.as_bytes().to_vec();
        tar.extend(vec![0; 4096]);
        assert!(open(&gzip(&tar)).is_err());
    }
}

#[test]
fn a_writer_holds_its_caller_to_the_size() {
    let meta = Meta {
        size: 4,
        ..Meta::default()
    };
    let mut short = SnapshotWriter::new(Vec::new(), &meta, 0).unwrap();
    short.write_all(b"abc").unwrap();
    assert!(short.finish().is_err());
    let mut long = SnapshotWriter::new(Vec::new(), &meta, 0).unwrap();
    assert!(long.write_all(b"abcde").is_err());
}

#[test]
fn streams_cut_inside_a_record_are_refused() {
    let (_, state) = open(GOLDEN).unwrap();
    let ends: Vec<usize> = shown()["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| (r["offset"].as_u64().unwrap() + r["length"].as_u64().unwrap()) as usize)
        .collect();
    for len in (0..state.len()).step_by(11).chain(ends.iter().copied()) {
        let all: Result<Vec<Record>, StreamError> = match Reader::new(&state[..len]) {
            Ok(reader) => reader.collect(),
            Err(e) => Err(e),
        };
        assert_eq!(all.is_ok(), ends.contains(&len), "cut at {len}");
    }
}

/// Hands out one byte at a time.
struct Drip<'a>(&'a [u8]);

impl Read for Drip<'_> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        let len = self.0.len().min(out.len()).min(1);
        out[..len].copy_from_slice(&self.0[..len]);
        self.0 = &self.0[len..];
        Ok(len)
    }
}

#[test]
fn records_may_be_larger_than_the_read_ahead_and_come_in_drops() {
    let big = tribune_types::kv::KvEntry {
        key: (*b"big").into(),
        value: vec![b'x'; 3_000_000].into(),
        ..Default::default()
    };
    let list = [
        Record::Kv(big),
        Record::IndexEntry {
            name: "kvs".into(),
            value: Index(7),
        },
    ];
    let mut writer = Writer::new(Vec::new(), Index(7)).unwrap();
    list.iter().for_each(|r| writer.write(r).unwrap());
    let (state, _) = writer.finish().unwrap();
    assert_eq!(records(&state)[..2], list[..]);
    let (_, small) = open(GOLDEN).unwrap();
    let dripped: Vec<Record> = Reader::new(Drip(&small))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(dripped, records(&small));
}

#[test]
fn unknown_types_and_claims_of_endless_records_are_refused() {
    let head = b"\x81\xa9LastIndex\x01";
    for kind in [1, 8, 10, 18, 31, 0x40, 0x86, 0xff] {
        let stream = [&head[..], &[kind, 0x80]].concat();
        let error = Reader::new(&stream[..]).unwrap().next_record().unwrap_err();
        assert!(
            matches!(error, StreamError::Unknown { .. }),
            "{kind}: {error}"
        );
    }
    // A pair whose value claims 4 GiB, and nested arrays without end.
    let claim = [
        &head[..],
        &[2, 0x81, 0xa5],
        b"Value",
        &[0xdb, 0xff, 0xff, 0xff, 0xff, 0],
    ]
    .concat();
    assert!(matches!(
        Reader::new(&claim[..]).unwrap().next_record(),
        Err(StreamError::Truncated { .. })
    ));
    let nested = [&head[..], &[2], &[0x91; 1 << 20]].concat();
    assert!(Reader::new(&nested[..]).unwrap().next_record().is_err());
    let deep = [
        &head[..],
        &[2, 0x81, 0xa5],
        b"Value",
        &[0x91; 1 << 16],
        &[0],
    ]
    .concat();
    assert!(Reader::new(&deep[..]).unwrap().next_record().is_err());
}

#[test]
fn the_record_stream_begins_with_the_last_index() {
    let (state, _) = Writer::new(Vec::new(), Index(300))
        .unwrap()
        .finish()
        .unwrap();
    let (head, rest) = from_slice_prefix::<Tree>(&state).unwrap();
    assert!(head.shows_as(&serde_json::json!({"LastIndex": 300}), false));
    assert_eq!(rest, b"\x1d\x81\xa8ChunkMap\x80");
    assert!(Reader::new(&b""[..]).is_err());
}
