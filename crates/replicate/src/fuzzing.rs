//! A door for fuzz targets, open only in their build: reads a listing.

use std::io::{self, Read};

use crate::entries::Entries;

/// What an entry says: key, flags, value in base64, ModifyIndex.
pub type Listed = (String, u64, String, u64);

/// Gives its bytes away in pieces of a size.
struct Pieces<'a>(&'a [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.0.len().min(self.1.max(1)).min(out.len());
        let (now, later) = self.0.split_at(count);
        out[..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

/// Reads the listing of all keys that begin with `prefix`, as it comes in pieces of `size`.
///
/// # Errors
/// Why it cannot be trusted.
pub fn read_listing(body: &[u8], prefix: &str, size: usize) -> Result<Vec<Listed>, String> {
    let mut entries = Entries::new(Some(Pieces(body, size)), prefix);
    let mut all = Vec::new();
    while let Some(entry) = entries.next().map_err(|err| err.to_string())? {
        all.push((entry.key, entry.flags, entry.value, entry.modify_index));
    }
    assert_eq!(entries.count(), all.len() as u64, "entries are counted");
    Ok(all)
}
