//! Reads an archive.

use std::io::{self, Read};

use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};

use super::writer::hex;
use super::{ArchiveError, META, Meta, STATE, SUMS};

/// Largest description or list of checksums.
const SMALL_MAX: u64 = 1 << 20;
/// Bytes with which every compressed file begins.
pub const GZIP_HEAD: usize = 10;

/// Reads the archive in `input`, hands the bytes of the record stream to `sink` as they come, and
/// checks everything: members, checksums, sizes. Members may stand in any order, and zeros may
/// follow the end.
///
/// Only when this returns `Ok` are the bytes given to `sink` what was saved: whoever uses them
/// must be able to drop them again.
pub fn read_archive<R: Read>(
    input: R,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<Meta, ArchiveError> {
    let mut archive = tar::Archive::new(GzDecoder::new(gzip_ahead(input)?));
    let mut meta: Option<Vec<u8>> = None;
    let mut sums: Option<Vec<u8>> = None;
    let mut state: Option<(String, u64)> = None;
    // Raw: extension headers are not read into memory whatever size they claim.
    for entry in archive
        .entries()
        .map_err(ArchiveError::Container)?
        .raw(true)
    {
        let mut entry = entry.map_err(ArchiveError::Container)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let kind = entry.header().entry_type();
        if kind.is_pax_global_extensions() || kind.is_pax_local_extensions() {
            // Times and the like; skipped by the iterator.
            continue;
        }
        if !kind.is_file() {
            return Err(ArchiveError::Unexpected(name));
        }
        let size = entry.size();
        match &*name {
            META => store(&mut meta, META, small(&mut entry, META, size)?)?,
            SUMS => store(&mut sums, SUMS, small(&mut entry, SUMS, size)?)?,
            STATE => store(&mut state, STATE, stream(&mut entry, sink)?)?,
            _ => return Err(ArchiveError::Unexpected(name)),
        }
    }
    finish(&mut archive.into_inner())?;
    let meta = meta.ok_or(ArchiveError::Missing(META))?;
    let sums = sums.ok_or(ArchiveError::Missing(SUMS))?;
    let (state_sum, state_size) = state.ok_or(ArchiveError::Missing(STATE))?;
    check_sums(
        &sums,
        &[(META, &hex(&Sha256::digest(&meta))), (STATE, &state_sum)],
    )?;
    let meta = Meta::from_json(&meta)?;
    if meta.size != state_size {
        return Err(ArchiveError::Size {
            expected: meta.size,
            found: state_size,
        });
    }
    Ok(meta)
}

/// Looks at the first bytes, for an error of its own when this is no compressed file at all.
fn gzip_ahead<R: Read>(mut input: R) -> Result<impl Read, ArchiveError> {
    let mut first = Vec::new();
    input
        .by_ref()
        .take(GZIP_HEAD as u64)
        .read_to_end(&mut first)
        .map_err(ArchiveError::Container)?;
    match first[..] {
        [] => Err(ArchiveError::NoGzip("EOF")),
        // Whatever they are: they are read as a whole before they are looked at.
        ref few if few.len() < GZIP_HEAD => Err(ArchiveError::NoGzip("unexpected EOF")),
        [0x1f, 0x8b, 8, ..] => Ok(io::Cursor::new(first).chain(input)),
        _ => Err(ArchiveError::NoGzip("gzip: invalid header")),
    }
}

fn store<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), ArchiveError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(ArchiveError::Twice(name)),
    }
}

fn small(entry: &mut impl Read, name: &'static str, size: u64) -> Result<Vec<u8>, ArchiveError> {
    if size > SMALL_MAX {
        return Err(ArchiveError::TooLarge { name, size });
    }
    let mut out = Vec::new();
    entry
        .read_to_end(&mut out)
        .map_err(ArchiveError::Container)?;
    whole(out.len() as u64, size).map_err(ArchiveError::Container)?;
    Ok(out)
}

fn whole(found: u64, size: u64) -> io::Result<()> {
    if found == size {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

fn stream<R: Read>(
    entry: &mut tar::Entry<'_, R>,
    sink: &mut dyn FnMut(&[u8]) -> io::Result<()>,
) -> Result<(String, u64), ArchiveError> {
    let mut sum = Sha256::new();
    let mut found = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let len = match entry.read(&mut buffer) {
            Ok(0) => break,
            Ok(len) => len,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(ArchiveError::State(e)),
        };
        sum.update(&buffer[..len]);
        sink(&buffer[..len]).map_err(ArchiveError::Sink)?;
        found += len as u64;
    }
    whole(found, entry.size()).map_err(ArchiveError::State)?;
    Ok((hex(&sum.finalize()), found))
}

/// Reads to the end, which also checks the checksum of the compression.
fn finish(rest: &mut impl Read) -> Result<(), ArchiveError> {
    let mut buffer = [0; 4096];
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(len) if buffer[..len].iter().all(|b| *b == 0) => {}
            Ok(_) => return Err(ArchiveError::Trailing),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ArchiveError::Container(e)),
        }
    }
}

fn check_sums(list: &[u8], wanted: &[(&'static str, &str)]) -> Result<(), ArchiveError> {
    let text = String::from_utf8_lossy(list);
    let mut seen = vec![false; wanted.len()];
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let (sum, name) = line
            .split_once("  ")
            .ok_or_else(|| ArchiveError::Sums(line.to_owned()))?;
        let at = wanted
            .iter()
            .position(|(known, _)| *known == name.trim_end())
            .ok_or_else(|| ArchiveError::Sums(line.to_owned()))?;
        if !sum.eq_ignore_ascii_case(wanted[at].1) {
            return Err(ArchiveError::Sum(wanted[at].0));
        }
        seen[at] = true;
    }
    match seen.iter().position(|seen| !seen) {
        Some(at) => Err(ArchiveError::Missing(wanted[at].0)),
        None => Ok(()),
    }
}
