//! Streams of gossip, as they arrive: encryption, compression, states.
//!
//! The first byte of the input says in which pieces and with which settings. What is after it comes as it is, and a second
//! time encrypted with a key that the decoder has.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::keyring::{Key, Keyring, Version};
use tribune_wire::memberlist::stream::{
    Seal, StreamDecoder, StreamError, StreamFraming, StreamMessage, encode_stream,
};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

/// Small, so that the bounds are met.
const SIZE_MAX: usize = 1 << 20;

fn run(bytes: &[u8]) {
    let Some((&how, bytes)) = bytes.split_first() else {
        return;
    };
    let ring = Keyring::new(Key::new(&[7; 16]).expect("16 bytes are a key"));
    let step = [1, 3, 1000, usize::MAX][usize::from(how & 3)];
    let whole = read(bytes, usize::MAX, None);
    // An error may be found sooner or later, but a message is one in any pieces.
    let pieces = read(bytes, step, None);
    assert_eq!(
        pieces.ok().flatten().as_ref(),
        whole.as_ref().ok().and_then(Option::as_ref),
        "pieces make no difference"
    );
    if let Ok(Some(message)) = &whole {
        survive(message, &ring);
    }
    if how & 4 != 0 {
        let mut sealed = vec![10];
        let size = Keyring::sealed_size(Version::Padded, bytes.len()) as u32;
        sealed.extend_from_slice(&size.to_be_bytes());
        let head = sealed.clone();
        ring.seal(Version::Padded, &head, bytes, [1; 12], &mut sealed);
        let opened = read(&sealed, step, Some(&ring));
        match whole {
            Ok(Some(_)) => assert_eq!(opened, whole),
            // Nothing can follow what was encrypted.
            _ => assert!(opened.is_err()),
        }
    }
}

fn read(
    bytes: &[u8],
    step: usize,
    ring: Option<&Keyring>,
) -> Result<Option<StreamMessage>, StreamError> {
    let mut decoder = StreamDecoder::new(SIZE_MAX);
    for piece in bytes.chunks(step) {
        decoder.push(piece);
        if let Some(message) = decoder.poll(ring, ring.is_some())? {
            return Ok(Some(message));
        }
    }
    Ok(None)
}

fn survive(message: &StreamMessage, ring: &Keyring) {
    for compress in [false, true] {
        let seal = Some(Seal {
            keyring: ring,
            nonce: [2; 12],
        });
        let mut bytes = Vec::new();
        encode_stream(message, &StreamFraming { compress, seal }, &mut bytes);
        match read(&bytes, 1400, Some(ring)) {
            Ok(again) => assert_eq!(again.as_ref(), Some(message)),
            Err(err) => assert!(bytes.len() > SIZE_MAX / 4, "{err}"),
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for (at, bytes) in tribune_fuzz::gossip("memberlist-stream")
        .into_iter()
        .enumerate()
    {
        all.push([&[at as u8], &bytes[..]].concat());
        let mut decoder = StreamDecoder::new(SIZE_MAX);
        decoder.push(&bytes);
        if let Ok(Some(message)) = decoder.poll(None, false) {
            let mut plain = vec![at as u8];
            encode_stream(&message, &StreamFraming::default(), &mut plain);
            all.push(plain);
        }
    }
    all
}
