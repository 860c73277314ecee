//! Compression of answers.
//!
//! Level 1: answers are many and short-lived. Bodies that fit a packet anyway are wrapped as a stored block, which is
//! gzip in every respect but costs only a checksum. Encoders are kept per thread, since setting one up costs more than
//! compressing a short answer.

use std::cell::RefCell;
use std::io::Write;

use bytes::Bytes;
use flate2::write::GzEncoder;
use flate2::{Compress, Compression, FlushCompress, Status};
use hyper::HeaderMap;
use hyper::header::ACCEPT_ENCODING;

/// Bodies up to this size are stored.
const STORED_SIZE_MAX: usize = 860;
/// Magic, deflate, no flags, no time, fastest, unknown system (RFC 1952, section 2.3).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 4, 255];

/// True if the client takes gzip with a quality above zero.
pub(crate) fn accepted(headers: &HeaderMap) -> bool {
    headers
        .get_all(ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| {
            value.split(',').any(|coding| {
                let mut parts = coding.split(';');
                let name = parts.next().unwrap_or_default().trim();
                let refused = || {
                    parts.clone().any(|part| {
                        let quality = part
                            .trim()
                            .strip_prefix("q=")
                            .or_else(|| part.trim().strip_prefix("Q="));
                        quality.is_some_and(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0))
                    })
                };
                name.eq_ignore_ascii_case("gzip") && !refused()
            })
        })
}

/// A whole body as gzip.
pub(crate) fn compress(body: &[u8]) -> Bytes {
    if body.len() <= STORED_SIZE_MAX {
        return stored(body);
    }
    thread_local! {
        static ENCODER: RefCell<Compress> = RefCell::new(Compress::new(Compression::fast(), false));
    }
    ENCODER.with_borrow_mut(|encoder| {
        encoder.reset();
        let mut out = Vec::with_capacity(body.len() / 4 + 64);
        out.extend_from_slice(&HEADER);
        loop {
            // `total_in` counts from the reset above.
            let read = usize::try_from(encoder.total_in()).unwrap_or(usize::MAX);
            let rest = body.get(read..).unwrap_or_default();
            match encoder.compress_vec(rest, &mut out, FlushCompress::Finish) {
                Ok(Status::StreamEnd) => break,
                Ok(_) => out.reserve(out.capacity().max(4096)),
                // Deflate of given bytes into a growing buffer has no way to fail; a stored form is always right.
                Err(_) => return stored(body),
            }
        }
        trailer(&mut out, body);
        Bytes::from(out)
    })
}

fn stored(body: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(body.len() + 32);
    out.extend_from_slice(&HEADER);
    let mut rest = body;
    loop {
        let (block, after) = rest.split_at(rest.len().min(usize::from(u16::MAX)));
        rest = after;
        let size = u16::try_from(block.len()).unwrap_or(u16::MAX);
        out.push(u8::from(rest.is_empty()));
        out.extend_from_slice(&size.to_le_bytes());
        out.extend_from_slice(&(!size).to_le_bytes());
        out.extend_from_slice(block);
        if rest.is_empty() {
            break;
        }
    }
    trailer(&mut out, body);
    Bytes::from(out)
}

fn trailer(out: &mut Vec<u8>, body: &[u8]) {
    out.extend_from_slice(&crc32fast::hash(body).to_le_bytes());
    // The size modulo 2^32, by the format.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the format keeps the low 32 bits"
    )]
    out.extend_from_slice(&(body.len() as u32).to_le_bytes());
}

/// Compresses a stream piece by piece; every piece can be read as soon as it arrives.
pub(crate) struct Stream(GzEncoder<Vec<u8>>);

impl Stream {
    /// At the start of a body.
    pub(crate) fn new() -> Stream {
        Stream(GzEncoder::new(Vec::new(), Compression::fast()))
    }

    /// The bytes that carry this piece.
    pub(crate) fn piece(&mut self, bytes: &[u8]) -> std::io::Result<Bytes> {
        self.0.write_all(bytes)?;
        self.0.flush()?;
        Ok(Bytes::from(std::mem::take(self.0.get_mut())))
    }

    /// The closing bytes.
    pub(crate) fn finish(self) -> std::io::Result<Bytes> {
        self.0.finish().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn plain(gz: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        GzDecoder::new(gz).read_to_end(&mut out).unwrap();
        out
    }

    #[test]
    fn every_size_reads_back() {
        for size in [0, 1, 859, 860, 861, 5000, 70_000, 1_000_000] {
            let body: Vec<u8> = (0..size).map(|i: u64| (i * i % 251) as u8).collect();
            assert_eq!(plain(&compress(&body)), body, "{size}");
            assert_eq!(plain(&stored(&body)), body, "{size} stored");
        }
        let zeros = vec![0; 100_000];
        assert!(compress(&zeros).len() < 2000);
    }

    #[test]
    fn pieces_of_a_stream_can_be_read_before_its_end() {
        let mut stream = Stream::new();
        let first = stream.piece(b"one\n").unwrap();
        let mut decoder = flate2::write::GzDecoder::new(Vec::new());
        decoder.write_all(&first).unwrap();
        decoder.flush().unwrap();
        assert_eq!(decoder.get_ref(), b"one\n");
        let mut all = first.to_vec();
        all.extend_from_slice(&stream.piece(b"two\n").unwrap());
        all.extend_from_slice(&stream.finish().unwrap());
        assert_eq!(plain(&all), b"one\ntwo\n");
    }

    #[test]
    fn gzip_is_accepted_by_name_and_quality() {
        for (given, want) in [
            ("gzip", true),
            ("deflate, gzip;q=0.5", true),
            ("GZIP", true),
            ("gzip;q=0", false),
            ("gzip; q=0.0", false),
            ("deflate", false),
            ("gzipx", false),
            ("", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, given.parse().unwrap());
            assert_eq!(accepted(&headers), want, "{given}");
        }
    }
}
