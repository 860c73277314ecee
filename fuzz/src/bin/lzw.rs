//! LZW: any bytes decompressed, whole and in pieces, and compressed and back.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::lzw::{Decoder, Error, Progress, compress, decompress};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

const SIZE_MAX: usize = 1 << 20;

fn run(bytes: &[u8]) {
    let mut whole = Vec::new();
    let result = decompress(bytes, SIZE_MAX, &mut whole);
    assert!(whole.len() <= SIZE_MAX);
    let (pieces, in_pieces) = piecemeal(bytes);
    assert_eq!((&in_pieces, &pieces), (&result, &whole));

    let mut packed = Vec::new();
    compress(bytes, &mut packed);
    assert!(packed.len() <= 3 + bytes.len() * 3 / 2 + bytes.len() / 2000);
    let mut again = Vec::new();
    assert_eq!(decompress(&packed, bytes.len(), &mut again), Ok(()));
    assert_eq!(again, bytes);
}

fn piecemeal(bytes: &[u8]) -> (Vec<u8>, Result<(), Error>) {
    let mut decoder = Decoder::new(SIZE_MAX);
    let mut out = Vec::new();
    for mut piece in bytes.chunks(7) {
        loop {
            match decoder.decode(&mut piece, &mut out, 100) {
                Ok(Progress::Input) => break,
                Ok(Progress::Output) => {}
                Ok(Progress::End) => return (out, Ok(())),
                Err(err) => return (out, Err(err)),
            }
        }
    }
    (out, Err(Error::End))
}

fn seeds() -> Vec<Vec<u8>> {
    let texts = [&b""[..], b"a", b"abababab", &[0; 3000]];
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.to_vec()).collect();
    all.push(
        (0u32..12_000)
            .map(|i| (7 * i + (i * i >> 3)) as u8)
            .collect(),
    );
    for plain in all.clone() {
        let mut packed = Vec::new();
        compress(&plain, &mut packed);
        all.push(packed);
    }
    all
}
