//! The check of a snapshot archive, by a client that only holds the file.
//!
//! In: the bytes of an archive. Out: its [`Metadata`], once every member has been read and its checksum agrees, or
//! an error in the words of Consul's reader, whose `EOF` for a file cut short scripts look for. The state itself is
//! hashed, not decoded. Format: spec rpc.md section 10.

use std::{
    collections::BTreeMap,
    fmt,
    io::{self, Read},
};

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::error::io_text;

/// Largest `meta.json` or `SHA256SUMS` accepted.
const SMALL_MEMBER_SIZE_MAX: u64 = 1 << 20;

/// What `meta.json` says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Metadata {
    /// Format version, 1.
    pub version: i64,
    /// `<term>-<index>-<milliseconds>`.
    #[serde(rename = "ID")]
    pub id: String,
    /// Raft index.
    pub index: u64,
    /// Raft term.
    pub term: u64,
    /// Length of the state.
    pub size: u64,
}

/// The file is not a whole snapshot archive.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It does not start like gzip.
    #[error("failed to decompress snapshot: {}", gzip_text(.0))]
    Gzip(#[source] io::Error),
    /// A member could not be read.
    #[error("failed to read snapshot file: {what}: {}", io_text(.source))]
    Member {
        /// What was being read.
        what: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A member that does not belong there.
    #[error("failed to read snapshot file: unexpected file {0:?} in snapshot")]
    Unexpected(String),
    /// The metadata is not what it should be.
    #[error("failed to read snapshot file: failed to decode snapshot metadata: {0}")]
    Metadata(#[source] serde_json::Error),
    /// Checksums missing or wrong.
    #[error("failed to read snapshot file: failed checking integrity of snapshot: {0}")]
    Integrity(String),
}

fn gzip_text(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "unexpected EOF".to_owned(),
        _ => "gzip: invalid header".to_owned(),
    }
}

/// Reads a whole archive and checks it.
pub fn check(archive: impl Read) -> Result<Metadata, ArchiveError> {
    let mut raw = io::BufReader::with_capacity(64 << 10, archive);
    {
        let head = io::BufRead::fill_buf(&mut raw).map_err(ArchiveError::Gzip)?;
        if head.is_empty() {
            return Err(ArchiveError::Gzip(io::ErrorKind::UnexpectedEof.into()));
        }
        if !head.starts_with(&[0x1f, 0x8b]) {
            return Err(ArchiveError::Gzip(io::ErrorKind::InvalidData.into()));
        }
    }
    let mut inflated = MultiGzDecoder::new(raw);
    let mut seen = Seen::default();
    {
        let mut tar = tar::Archive::new(&mut inflated);
        let entries = tar
            .entries()
            .map_err(|e| member("failed reading archive", e))?;
        for entry in entries {
            let mut entry = entry.map_err(|e| member("failed reading archive", e))?;
            let name = entry
                .path()
                .map_err(|e| member("failed reading archive", e))?
                .to_string_lossy()
                .into_owned();
            seen.member(&name, &mut entry)?;
        }
    }
    // The tar reader stops at its end mark; the gzip trailer behind it carries the length and the checksum that a
    // cut file lacks.
    io::copy(&mut inflated, &mut io::sink()).map_err(|e| member("failed reading archive", e))?;
    seen.finish()
}

fn member(what: &'static str, source: io::Error) -> ArchiveError {
    ArchiveError::Member { what, source }
}

/// What has been read of an archive.
#[derive(Default)]
struct Seen {
    metadata: Option<Metadata>,
    state_size: u64,
    hashes: BTreeMap<String, String>,
    sums: Option<String>,
}

impl Seen {
    fn member(&mut self, name: &str, entry: &mut impl Read) -> Result<(), ArchiveError> {
        match name {
            "meta.json" => {
                let bytes = small(entry, "failed to read snapshot metadata")?;
                self.hashes
                    .insert(name.to_owned(), hex(&Sha256::digest(&bytes)));
                let metadata = serde_json::from_slice(&bytes).map_err(ArchiveError::Metadata)?;
                self.metadata = Some(metadata);
            }
            "state.bin" => {
                let mut hasher = Sha256::new();
                self.state_size = io::copy(entry, &mut hasher)
                    .map_err(|e| member("failed to read or write snapshot data", e))?;
                self.hashes.insert(name.to_owned(), hex(&hasher.finalize()));
            }
            "SHA256SUMS" => {
                let bytes = small(entry, "failed to read snapshot hashes")?;
                self.sums = Some(String::from_utf8_lossy(&bytes).into_owned());
            }
            other => return Err(ArchiveError::Unexpected(other.to_owned())),
        }
        Ok(())
    }

    fn finish(self) -> Result<Metadata, ArchiveError> {
        let integrity = |text: String| ArchiveError::Integrity(text);
        let sums = self.sums.unwrap_or_default();
        let mut listed = BTreeMap::new();
        for line in sums.lines() {
            let (hash, name) = line
                .split_once("  ")
                .ok_or_else(|| integrity(format!("failed to read hashes: line {line:?}")))?;
            listed.insert(name.to_owned(), hash.to_ascii_lowercase());
        }
        for name in listed.keys() {
            if !self.hashes.contains_key(name) {
                return Err(integrity(format!("list missing hash for {name:?}")));
            }
        }
        for name in ["meta.json", "state.bin"] {
            let Some(got) = self.hashes.get(name) else {
                return Err(integrity(format!("file missing for {name:?}")));
            };
            match listed.get(name) {
                None => return Err(integrity(format!("list missing hash for {name:?}"))),
                Some(want) if want != got => {
                    return Err(integrity(format!("hash check failed for {name:?}")));
                }
                Some(_) => {}
            }
        }
        let metadata = self.metadata.unwrap_or_default();
        if metadata.size != self.state_size {
            let (want, got) = (metadata.size, self.state_size);
            return Err(integrity(format!(
                "state is {got} bytes, metadata says {want}"
            )));
        }
        Ok(metadata)
    }
}

fn small(entry: &mut impl Read, what: &'static str) -> Result<Vec<u8>, ArchiveError> {
    let mut bytes = Vec::new();
    entry
        .take(SMALL_MEMBER_SIZE_MAX)
        .read_to_end(&mut bytes)
        .map_err(|e| member(what, e))?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use flate2::{Compression, write::GzEncoder};

    use super::*;

    fn archive(state: &[u8], sums: Option<&str>, extra: Option<&str>) -> Vec<u8> {
        let meta = format!(
            "{{\"Version\":1,\"ID\":\"2-7-1\",\"Index\":7,\"Term\":2,\"Size\":{}}}\n",
            state.len()
        );
        let list = format!(
            "{}  meta.json\n{}  state.bin\n",
            hex(&Sha256::digest(meta.as_bytes())),
            hex(&Sha256::digest(state))
        );
        let mut tar = tar::Builder::new(GzEncoder::new(Vec::new(), Compression::fast()));
        let mut add = |name: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o600);
            header.set_cksum();
            tar.append_data(&mut header, name, bytes).unwrap();
        };
        add("meta.json", meta.as_bytes());
        add("state.bin", state);
        add("SHA256SUMS", sums.unwrap_or(&list).as_bytes());
        if let Some(name) = extra {
            add(name, b"");
        }
        tar.into_inner().unwrap().finish().unwrap()
    }

    #[test]
    fn a_whole_archive_gives_its_metadata() {
        let got = check(&archive(b"state", None, None)[..]).unwrap();
        assert_eq!((got.index, got.term, got.size), (7, 2, 5));
        assert_eq!(got.id, "2-7-1");
    }

    #[test]
    fn an_archive_cut_anywhere_is_refused_as_eof() {
        // Random-looking state, so that the compressed stream is longer than any read buffer's first piece.
        let state: Vec<u8> = (0u32..65536)
            .map(|i| (i.wrapping_mul(2654435761) >> 13) as u8)
            .collect();
        let whole = archive(&state, None, None);
        for cut in [1, 2, 4, 8, 16, 200, whole.len() / 2, whole.len() - 5] {
            let err = check(&whole[..whole.len() - cut]).unwrap_err().to_string();
            assert!(err.contains("EOF"), "cut {cut}: {err}");
        }
    }

    #[test]
    fn what_is_not_an_archive_says_why() {
        // (bytes, part of the message)
        let wrong = "00  meta.json\n00  state.bin\n";
        for (bytes, want) in [
            (
                b"{}".to_vec(),
                "failed to decompress snapshot: gzip: invalid header",
            ),
            (
                archive(b"s", Some(wrong), None),
                "hash check failed for \"meta.json\"",
            ),
            (
                archive(b"s", Some(""), None),
                "list missing hash for \"meta.json\"",
            ),
            (archive(b"s", Some("zork"), None), "failed to read hashes"),
            (
                archive(b"s", None, Some("zork")),
                "unexpected file \"zork\" in snapshot",
            ),
        ] {
            let err = check(&bytes[..]).unwrap_err().to_string();
            assert!(err.contains(want), "{err}");
        }
    }
}
