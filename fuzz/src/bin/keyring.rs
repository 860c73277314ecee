//! Keys of gossip: sealed payloads that somebody else made or changed, and the file of keys.
#![no_main]
#![allow(missing_docs, reason = "a program")]

use tribune_wire::keyring::{Key, Keyring, Layout, Version};

tribune_fuzz::target! { memory: 16, seeds: seeds, run: run }

fn ring() -> Keyring {
    let mut ring = Keyring::new(Key::new(&[7; 32]).expect("32 bytes are a key"));
    ring.install(Key::new(&[8; 24]).expect("24 bytes are a key"));
    ring
}

fn run(bytes: &[u8]) {
    let ring = ring();
    let (aad, rest) = bytes.split_at(bytes.len().min(5));
    let _ = ring.open(aad, rest);
    for version in [Version::Plain, Version::Padded] {
        let mut payload = Vec::new();
        ring.seal(version, aad, rest, [3; 12], &mut payload);
        assert_eq!(payload.len(), Keyring::sealed_size(version, rest.len()));
        assert_eq!(ring.open(aad, &payload).as_deref(), Ok(rest));
        if let Some(&at) = bytes.first() {
            // The version is not authenticated.
            let at = 1 + usize::from(at) % (payload.len() - 1);
            payload[at] ^= 1;
            assert!(ring.open(aad, &payload).is_err());
        }
    }
    if let Ok(ring) = Keyring::from_file(bytes) {
        for layout in [Layout::Compact, Layout::Indented] {
            let again = Keyring::from_file(ring.to_file(layout).as_bytes())
                .expect("what was written can be read");
            assert!(again.keys().eq(ring.keys()));
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let mut all = tribune_fuzz::gossip("memberlist-packet-encrypted");
    all.push(ring().to_file(Layout::Compact).into_bytes());
    all.push(ring().to_file(Layout::Indented).into_bytes());
    for version in [Version::Plain, Version::Padded] {
        let mut sealed = b"12345".to_vec();
        ring().seal(version, b"12345", b"hello", [1; 12], &mut sealed);
        all.push(sealed);
    }
    all
}
