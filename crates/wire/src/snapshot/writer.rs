//! Writes an archive.

use std::io::{self, Write};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest, Sha256};

use super::{META, Meta, STATE, SUMS};

/// Size of a tar block.
const BLOCK: u64 = 512;

/// Takes the bytes of the record stream through [`Write`] and produces the archive around them.
///
/// The sizes of members stand in front of them, so the size of the stream must be known
/// ([`Meta::size`]); [`SnapshotWriter::finish`] fails if it was another.
#[derive(Debug)]
pub struct SnapshotWriter<W: Write> {
    out: GzEncoder<W>,
    sum: Sha256,
    meta_sum: String,
    left: u64,
    size: u64,
    mtime: u64,
}

impl<W: Write> SnapshotWriter<W> {
    /// Starts an archive. `unix_secs` is the time its members carry.
    pub fn new(out: W, meta: &Meta, unix_secs: u64) -> io::Result<Self> {
        let json = meta.to_json();
        let mut writer = SnapshotWriter {
            out: GzEncoder::new(out, Compression::default()),
            sum: Sha256::new(),
            meta_sum: hex(&Sha256::digest(&json)),
            left: meta.size,
            size: meta.size,
            mtime: unix_secs,
        };
        writer.member(META, &json)?;
        writer.head(STATE, meta.size)?;
        Ok(writer)
    }

    /// Ends the archive and returns the writer below. Without this it is not valid.
    pub fn finish(mut self) -> io::Result<W> {
        if self.left > 0 {
            let text = format!("{} bytes of the snapshot are missing", self.left);
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        self.pad(self.size)?;
        let state_sum = hex(&std::mem::take(&mut self.sum).finalize());
        let sums = format!("{}  {META}\n{state_sum}  {STATE}\n", self.meta_sum);
        self.member(SUMS, sums.as_bytes())?;
        // Two zero blocks and not a byte more: the original refuses padding.
        self.out.write_all(&[0; 2 * BLOCK as usize])?;
        self.out.finish()
    }

    fn member(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.head(name, content.len() as u64)?;
        self.out.write_all(content)?;
        self.pad(content.len() as u64)
    }

    fn head(&mut self, name: &str, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(name)?;
        header.set_mode(0o600);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(size);
        header.set_mtime(self.mtime);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let fill = (BLOCK - size % BLOCK) % BLOCK;
        self.out.write_all(&[0; BLOCK as usize][..fill as usize])
    }
}

impl<W: Write> Write for SnapshotWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() as u64 > self.left {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "the snapshot is larger than announced",
            ));
        }
        let written = self.out.write(bytes)?;
        self.sum.update(&bytes[..written]);
        self.left -= written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Lower-case hexadecimal digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
